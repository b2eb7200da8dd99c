"""The side experiments of chapter 03."""

from colorlib.config import pick_device, seed_everything
from colorlib.data import make_loaders
from colorlib.lessons.experiments.common import predict_first
from colorlib.lessons.experiments.registry import experiment
from colorlib.metrics import evaluate, gray
from colorlib.training import fit_reconstruction
from colorlib.unet import UNet


@experiment(
    settings={"seeds": [0, 1, 2], "size": 64, "n_train": 1500, "n_test": 200, "epochs": 5, "base_channels": 16},
    tiny={"seeds": [0], "size": 32, "n_train": 300, "n_test": 60, "epochs": 5, "base_channels": 8},
    holds=lambda table: all(
        seed["without skips"]["ab_mae/edges"] > 1.1 * seed["U-Net"]["ab_mae/edges"]
        and seed["U-Net"]["chroma_ratio/ambiguous"] < 0.5
        for seed in table.values()
    ),
)
def skips(seeds: list[int], size: int, n_train: int, n_test: int, epochs: int, base_channels: int) -> dict:
    """Chapter 03: the same autoencoder with and without skip connections, trained with L1 on painted scenes."""
    table, ab = {}, {}
    for seed in seeds:
        loaders = make_loaders("scenes", size, n_train=n_train, n_test=n_test, seed=seed, device=pick_device())
        table[f"seed {seed}"] = {"ab = 0": evaluate(gray, loaders.test)}
        for name, with_skips in {"U-Net": True, "without skips": False}.items():
            seed_everything(seed)
            net = UNet(base_channels=base_channels, skips=with_skips)
            fit_reconstruction(net, loaders, epochs=epochs)
            table[f"seed {seed}"][name] = evaluate(net, loaders.test)
            ab.setdefault(name, predict_first(net, loaders.test))
    return {"table": table, "ab": ab}
