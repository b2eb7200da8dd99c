"""Chapter 05: what to freeze, and how fast to learn? Live races of half a minute on crops of the bundled photos."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import ipywidgets as widgets
import matplotlib.pyplot as plt
import torch
import torch.nn.functional as F
from matplotlib.figure import Figure

from colorlib import show
from colorlib.batches import Batches
from colorlib.color import to_tensor
from colorlib.config import seed_everything
from colorlib.data import BUNDLED_TEST, BUNDLED_VALID, Loaders, bundled_photo, make_loaders
from colorlib.images import fit_square
from colorlib.lessons.widgets import to_png
from colorlib.lessons.widgets.live_training import LivePanel
from colorlib.metrics import evaluate, gray
from colorlib.resnet import resnet_unet
from colorlib.training import fit_reconstruction

FREEZE = {"nothing": 0.0, "for the first 30 % of the steps": 0.3, "always": 1.0}
RATES = (3e-5, 1e-4, 5e-4, 1e-3, 3e-3, 1e-2)
EPOCHS, CROPS = 10, 16  # of a race, and crops per photo and epoch: 10 × 6 steps of 16 crops, 30 s on two cores


@dataclass
class Race:
    """A finished race: its settings, and the error over gray's after each epoch.

    Attributes:
        label: the settings, as in "pretrained, frozen: nothing, lr 0.003, encoder 0.0005".
        steps: number of training steps before each measurement.
        errors: ab error over gray's on held-out crops.
        note: why it ended early; "" if it did not.
    """

    label: str
    steps: list[int]
    errors: list[float]
    note: str = ""


def race_loaders(size: int = 64, batch_size: int = 16, crops: int = CROPS, seed: int = 0) -> Loaders:
    """Return crops of the bundled photos for short races.

    Args:
        size: side of the crops, pixels.
        batch_size: crops per batch.
        crops: crops per training photo and epoch.
        seed: of the crops.
    Returns:
        `train`: random crops of six photos. `valid`: 15 fixed crops of three other photos, each whole and in quarters.
    """
    loaders = make_loaders("bundled", size, batch_size, seed=seed)
    loaders.train.repeats = crops
    held_out = []
    for name in (*BUNDLED_VALID, *BUNDLED_TEST):
        square = to_tensor(fit_square(bundled_photo(name), 2 * size))
        whole = F.interpolate(square[None].float(), (size, size), mode="area")[0].round().to(torch.uint8)
        quarters = [square[:, i : i + size, j : j + size] for i in (0, size) for j in (0, size)]
        held_out += [whole, *quarters]
    return replace(loaders, valid=Batches(torch.stack(held_out), size, len(held_out)))


def run_race(
    loaders: Loaders,
    start: str = "pretrained",
    freeze: float = 0.0,
    lr: float = 3e-3,
    encoder_lr: float = 5e-4,
    *,
    epochs: int = EPOCHS,
    seed: int = 0,
    weights: str = "photos-encoder",
    on_step: Callable[[float], bool] = lambda share: False,
) -> Race:
    """Train a slim ResNet U-Net with L1 and a linear schedule, and measure it after every epoch.

    Args:
        loaders: from `race_loaders`.
        start: of the encoder: "pretrained" or "random".
        freeze, lr, encoder_lr: as in `fit_reconstruction`.
        epochs: passes over the crops.
        seed: of the random weights; the same in all races, so that they begin with the same decoder.
        weights: of the pretrained encoder, as in `resnet_unet`.
        on_step: called before each step with the share of the steps that are done; if it returns True, the race ends
            at the next measurement.
    Raises:
        ValueError: as in `fit_reconstruction`.
    """
    seed_everything(seed)
    net = resnet_unet("resnet18", None, decoder="slim")
    if start == "pretrained":
        net.encoder.load_state_dict(resnet_unet("resnet18", weights, decoder="slim").encoder.state_dict())
    steps, done, stop = epochs * len(loaders.train), 0, False

    def watch(module: torch.nn.Module, inputs: tuple) -> None:
        nonlocal done, stop
        if module.training:
            stop = on_step(done / steps) or stop
            done += 1
        elif stop:
            raise KeyboardInterrupt  # `fit_reconstruction` then ends and keeps what it has measured

    net.register_forward_pre_hook(watch)
    history = fit_reconstruction(
        net, loaders, epochs=epochs, lr=lr, encoder_lr=encoder_lr, freeze=freeze, schedule="linear", progress=False
    )
    of_gray = evaluate(gray, loaders.valid, perceptual=False)["ab_mae"]
    frozen = next((name for name, share in FREEZE.items() if share == freeze), f"for {freeze:.0%} of the steps")
    return Race(
        f"{start}, frozen: {frozen}, lr {lr:g}, encoder {encoder_lr:g}",
        [len(loaders.train) * epoch for epoch in history["epoch"]],
        [error / of_gray for error in history["valid_ab_mae"]],
        history.diverged or "stopped" * history.interrupted,
    )


@show.in_style
def race_results(races: Sequence[Race]) -> Figure:
    """Draw the error over gray's of each race against its steps, with the last value in the legend."""
    figure, ax = plt.subplots(figsize=(show.WIDTH - 1, 3.3))
    for i, race in enumerate(races):
        look = {"color": show.COLORS[i % 7], "marker": show.MARKERS[i % 7], "ls": show.DASHES[i // 7 % 4]}
        last = f"{race.errors[-1]:.2f}" if race.errors else "nothing measured"
        note = f" ({race.note})" if race.note else ""
        ax.plot(race.steps, race.errors, label=f"{i + 1}. {last}{note}: {race.label}", **look)
    ax.axhline(1, ls=":", color="0.3", lw=1.2)
    ax.annotate("all gray", (1, 1), xycoords=ax.get_yaxis_transform(), ha="right", va="bottom", size=8, color="0.3")
    ax.set(xlabel="training steps", ylabel="ab error over gray's (1 = gray)", title="Error on crops of held-out photos")
    highest = max([1.0, *(error for race in races for error in race.errors)])
    ax.set_ylim(top=min(highest + 0.05, 1.6))  # a race that goes wrong must not hide the others
    ax.grid(axis="y")
    if races:
        ax.legend(loc="upper center", bbox_to_anchor=(0.5, -0.2))
    return figure


class RacePanel(LivePanel):
    """Choose what is frozen and the learning rates, run a race, and see it beside all earlier ones.

    A race runs in a thread, so that it can be stopped. `races` keeps all results.

    Args:
        loaders, epochs, seed, weights: as in `run_race`.
    """

    def __init__(self, loaders: Loaders, epochs: int = EPOCHS, seed: int = 0, weights: str = "photos-encoder"):
        self.loaders, self.fixed = loaders, {"epochs": epochs, "seed": seed, "weights": weights}
        self.races: list[Race] = []

        def rate(name: str, value: float) -> widgets.SelectionSlider:
            return widgets.SelectionSlider(
                options=[(f"{rate:g}", rate) for rate in RATES], value=value, description=name, continuous_update=False
            )

        controls = {
            "start": widgets.ToggleButtons(options=["pretrained", "random"], description="start"),
            "freeze": widgets.Dropdown(options=list(FREEZE.items()), description="frozen"),
            "lr": rate("lr", 3e-3),
            "encoder_lr": rate("encoder lr", 5e-4),
        }
        super().__init__(controls, "race")
        self.run = widgets.Button(description="Run the race", button_style="primary")
        self.stop = widgets.Button(description="Stop", disabled=True)
        self.add_classes(**{name: getattr(self, name) for name in ("run", "stop", "progress", "status", "picture")})
        self.run.on_click(self.begin)
        self.stop.on_click(self.ask_to_stop)
        buttons = widgets.HBox([self.run, self.stop, self.progress], layout={"flex_flow": "row wrap"})
        self.children = [*controls.values(), buttons, self.status, self.picture]
        self.redraw()

    def work(self, **settings) -> str:
        """Run a race and keep its result."""
        race = run_race(self.loaders, **settings, **self.fixed, on_step=self.show_progress)
        self.races.append(race)
        self.redraw()
        return f"Race {len(self.races)}: {race.note or 'finished'}."

    def set_busy(self, busy: bool) -> None:
        """Enable the button that makes sense."""
        self.run.disabled, self.stop.disabled = busy, not busy

    def redraw(self) -> None:
        """Draw all races so far."""
        self.picture.value = to_png(race_results(self.races))


def freeze_and_rates_explorer(
    loaders: Loaders | None = None, epochs: int = EPOCHS, seed: int = 0, weights: str = "photos-encoder"
) -> RacePanel:
    """Return a panel that runs races on the bundled photos; arguments as in `run_race`, by default `race_loaders()`."""
    return RacePanel(loaders or race_loaders(seed=seed), epochs, seed, weights)
