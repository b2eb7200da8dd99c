"""The side experiment of chapter 05."""

from colorlib.config import pick_device, seed_everything
from colorlib.data import VALID_SEED, make_loaders
from colorlib.lessons.experiments.common import predict_first
from colorlib.lessons.experiments.registry import experiment
from colorlib.lessons.scene_labels import LABELS, scene_label_loaders
from colorlib.pretraining import GrayClassifier, fit_classifier
from colorlib.resnet import N_FEATURES, resnet_unet
from colorlib.scenes import paint_scenes
from colorlib.training import fit_reconstruction


@experiment(
    settings={
        "seeds": [0, 1, 2], "size": 64, "crop": 32, "n_labeled": 2500, "label_epochs": 5, "n_train": 100, "n_test": 60,
        "lr": 1e-3,
    },
    tiny={"seeds": [0], "size": 32, "n_labeled": 160, "label_epochs": 1, "n_test": 20},
    holds=lambda table: all(
        row["after 40 steps"] < 0.9 * row["after 20 steps"] for rows in table.values() for row in rows.values()
    ),
)  # fmt: skip
def pretraining(
    seeds: list[int], size: int, crop: int, n_labeled: int, label_epochs: int, n_train: int, n_test: int, lr: float
) -> dict:
    """Chapter 05: a ResNet U-Net with a random encoder and with one pretrained to classify gray scenes."""
    table, ab = {}, {}
    for seed in seeds:
        loaders = make_loaders(
            "scenes", size, batch_size=5, n_train=n_train, n_test=n_test, seed=seed, device=pick_device()
        )
        for name in ("pretrained", "random"):
            seed_everything(seed)
            net = resnet_unet("resnet18", None)
            if name == "pretrained":
                known, held_out = paint_scenes(n_labeled, size, seed + 100), paint_scenes(n_test, size, VALID_SEED)
                classifier = GrayClassifier(net.encoder, N_FEATURES, len(LABELS))
                labeled = scene_label_loaders(known, held_out, crop, batch_size=32, seed=seed)
                fit_classifier(classifier, labeled, loss="multilabel", epochs=label_epochs)
            seed_everything(seed)
            history = fit_reconstruction(net, loaders, epochs=2, lr=lr)
            after = history["valid_ab_mae/determined"]
            table.setdefault(f"seed {seed}", {})[name] = {"after 20 steps": after[0], "after 40 steps": after[1]}
            ab.setdefault(name, predict_first(net, loaders.test))
    return {"table": table, "ab": ab}
