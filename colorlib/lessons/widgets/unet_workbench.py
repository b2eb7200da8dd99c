"""Chapter 03: a workbench for U-Nets: choose a network and a loss, train it for half a minute, compare."""

import dataclasses
import functools
import html
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import ipywidgets as widgets
import matplotlib.pyplot as plt
import torch
from matplotlib.figure import Figure

from colorlib import show
from colorlib.anatomy import receptive_field
from colorlib.color import join_lab, lab_to_rgb
from colorlib.config import seed_everything
from colorlib.data import Loaders, make_loaders
from colorlib.lessons.more_losses import HUBER, RECONSTRUCTION
from colorlib.lessons.widgets import to_png
from colorlib.lessons.widgets.live_training import LivePanel, first_scenes
from colorlib.lessons.widgets.sheets import draw_image, sheet
from colorlib.metrics import evaluate, gray, predict
from colorlib.training import reconstruction_step
from colorlib.unet import UNet

DEPTHS, WIDTHS, LOSSES = (1, 2, 3, 4, 5), (4, 8, 16, 32), ("l1", "l2", HUBER)
RATES = (1e-3, 3e-3, 1e-2, 3e-2, 1e-1)
SECONDS = 30.0  # of a training
MEASUREMENTS = 10  # in a training
N_HELD_OUT, N_PREVIEW = 24, 3  # held-out scenes to measure on, and to show
WARM_UP = 0.1  # share of the time in which the learning rate rises


@dataclass
class Trial:
    """What one training gave.

    Attributes:
        settings: depth, width, skips, loss, dropout, lr.
        n_weights: number of weights of the network.
        field: its receptive field, pixels.
        points: (seconds, steps, scores of `evaluate`) of each measurement; the first is before the training.
        note: why it ended early; "" if it did not.
    """

    settings: dict
    n_weights: int
    field: int
    points: list[tuple[float, int, dict]] = dataclasses.field(default_factory=list)
    note: str = ""

    @property
    def label(self) -> str:
        """The settings in one line, as in "4 downs, width 16, skips, l1, dropout 0, lr 0.01"."""
        s = self.settings
        skips = "skips" if s["skips"] else "no skips"
        return f"{s['depth']} downs, width {s['width']}, {skips}, {s['loss']}, dropout {s['dropout']:g}, lr {s['lr']:g}"


def build(depth: int, width: int, skips: bool, dropout: float) -> UNet:
    """Return an untrained U-Net."""
    return UNet(base_channels=width, n_down=depth, skips=skips, dropout=dropout)


@functools.lru_cache
def field_of(depth: int) -> int:
    """Return the receptive field of a U-Net of that depth, pixels; neither its width nor its skips change it."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return receptive_field(UNet(base_channels=4, n_down=depth))


def seconds_per_pass(net: UNet, loaders: Loaders, n_images: int = 1500) -> float:
    """Estimate the seconds that training on `n_images` scenes takes on this computer, from two steps."""
    L, ab, *_ = next(loaders.train.epoch(0))
    optimizer = torch.optim.AdamW(net.parameters(), lr=0.0)
    net.to(L.device, memory_format=torch.channels_last).train()
    times = []
    for _ in range(3):
        start = time.perf_counter()
        reconstruction_step(net, optimizer, L, ab, RECONSTRUCTION["l1"]).item()
        times.append(time.perf_counter() - start)
    return min(times) * n_images / len(L)


def train_for(
    loaders: Loaders,
    settings: dict,
    seconds: float = SECONDS,
    *,
    seed: int = 0,
    on_step: Callable[[float], bool] = lambda share: False,
    on_measure: Callable[[Trial, UNet], None] = lambda trial, net: None,
) -> Trial:
    """Train a U-Net for a given time, with AdamW and a learning rate that rises and falls, and measure it on the way.

    Args:
        loaders: of scenes; `valid` is measured ten times.
        settings: depth, width, skips, loss, dropout, lr.
        seconds: of training; the measurements come on top.
        seed: of the random weights.
        on_step: called before each step with the share of the time that is over; if it returns True, the training
            ends with a last measurement.
        on_measure: called after each measurement.
    Raises:
        ValueError: the training diverged: the loss or a prediction is nan or infinite.
    """
    seed_everything(seed)
    net = build(*(settings[name] for name in ("depth", "width", "skips", "dropout")))
    net.to(loaders.train.device, memory_format=torch.channels_last)
    trial = Trial(dict(settings), sum(p.numel() for p in net.parameters()), field_of(settings["depth"]))
    optimizer, loss_fn = torch.optim.AdamW(net.parameters()), RECONSTRUCTION[settings["loss"]]
    trained, steps, stopped, losses = 0.0, 0, False, []

    def measure() -> None:
        if losses and not math.isfinite(torch.stack(losses).sum().item()):
            raise ValueError(f"the loss is not a number after {steps} steps; choose a lower learning rate")
        losses.clear()
        trial.points.append((trained, steps, evaluate(net, loaders.valid, perceptual=False)))
        on_measure(trial, net)

    measure()
    while trained < seconds and not stopped:
        net.train()
        for L, ab, *_ in loaders.train:
            share = trained / seconds
            stopped = on_step(share)
            if stopped or share >= 1:
                break
            for group in optimizer.param_groups:
                group["lr"] = settings["lr"] * min(share / WARM_UP + 0.01, (1 - share) / (1 - WARM_UP))
            start = time.perf_counter()
            losses.append(reconstruction_step(net, optimizer, L, ab, loss_fn))
            trained, steps = trained + time.perf_counter() - start, steps + 1
            if trained >= seconds * len(trial.points) / MEASUREMENTS and trained < seconds:
                measure()
                net.train()
    measure()
    trial.note = "stopped" if stopped else ""
    return trial


@show.in_style
def trial_figure(trial: Trial, net: UNet, loaders: Loaders, grays: dict) -> Figure:
    """Draw the held-out errors of a trial against the seconds, and gray | prediction | truth of some scenes."""
    L, ab = loaders.valid.first(N_PREVIEW)
    rows = [torch.zeros_like(ab).cpu(), predict(net, L), ab.cpu()]
    images = torch.stack([lab_to_rgb(join_lab(L.cpu(), row)) for row in rows])  # (3, n, 3, H, W)
    figure, (left, right) = plt.subplots(1, 2, figsize=(show.WIDTH - 1, 2.7), width_ratios=[3, 2])
    seconds = [point[0] for point in trial.points]
    for i, region in enumerate(("determined", "ambiguous")):
        errors = [scores[f"ab_mae/{region}"] for *_, scores in trial.points]
        left.plot(seconds, errors, color=show.COLORS[i], marker=show.MARKERS[i], label=f"{region}: {errors[-1]:.1f}")
        left.axhline(grays[f"ab_mae/{region}"], ls=":", lw=1.2, color=show.COLORS[i])
    left.set(xlabel="seconds of training", ylabel="ab MAE (Lab units)", title="held-out error; dotted: all gray")
    left.set_ylim(0, 1.3 * grays["ab_mae/ambiguous"])
    left.legend()
    image = sheet(images)
    draw_image(right, image)
    step = image.shape[0] / 3
    right.set_yticks([step * (i + 0.5) for i in range(3)], ["gray", "network", "truth"])
    return figure


@show.in_style
def trials_figure(trials: Sequence[Trial], gray_error: float) -> Figure:
    """Draw every trial as a point: its error on determined pixels against its number of weights."""
    figure, ax = plt.subplots(figsize=(show.WIDTH - 1, 2.7))
    for i, trial in enumerate(trials):
        x, y = trial.n_weights, trial.points[-1][2]["ab_mae/determined"]
        which = LOSSES.index(trial.settings["loss"])
        fill = show.COLORS[which] if trial.settings["skips"] else "white"
        ax.scatter(x, y, marker=show.MARKERS[which], color=fill, edgecolor=show.COLORS[which], s=45, zorder=2)
        ax.annotate(f" {i + 1}", (x, y), size=8)
    ax.axhline(gray_error, ls=":", color="0.3", lw=1.2)
    ax.annotate("all gray", (1, gray_error), xycoords=ax.get_yaxis_transform(), ha="right", va="bottom", size=8)
    ax.set(xscale="log", xlabel="number of weights", ylabel="ab MAE, determined", xlim=(600, 1e7))
    ax.set_ylim(0, 1.15 * gray_error)
    ax.set_title("Your trainings: ● L1   ■ L2   ▲ Huber; hollow: no skips")
    ax.grid(axis="y")
    return figure


def trials_table(trials: Sequence[Trial]) -> str:
    """Return the trials as an HTML table."""
    head = ("", "network", "weights", "field", "steps", "error: determined", "ambiguous", "chroma ratio", "")
    rows = []
    for i, trial in enumerate(trials):
        _, steps, scores = trial.points[-1]
        numbers = (scores["ab_mae/determined"], scores["ab_mae/ambiguous"], scores["chroma_ratio/ambiguous"])
        cells = (i + 1, html.escape(trial.label), f"{trial.n_weights:,}", f"{trial.field} px", steps)
        rows.append((*cells, *(f"{number:.2f}" for number in numbers), trial.note))
    lines = ["".join(f"<th>{cell}</th>" for cell in head)] + ["".join(f"<td>{c}</td>" for c in row) for row in rows]
    return "<table>" + "".join(f"<tr>{line}</tr>" for line in lines) + "</table>"


class Workbench(LivePanel):
    """Choose a U-Net and a loss, see the network, train it for half a minute, and compare it with earlier ones.

    `trials` keeps all results until they are reset.

    Args:
        loaders: of scenes.
        seconds: of a training.
        seed: of the random weights.
    """

    def __init__(self, loaders: Loaders, seconds: float = SECONDS, seed: int = 0):
        self.loaders = dataclasses.replace(loaders, valid=first_scenes(loaders.valid, N_HELD_OUT))
        self.seconds, self.seed = seconds, seed
        self.grays = evaluate(gray, self.loaders.valid, perceptual=False)
        self.trials: list[Trial] = []

        def choice(name: str, options: Sequence, value) -> widgets.SelectionSlider:
            named = [(option if isinstance(option, str) else f"{option:g}", option) for option in options]
            return widgets.SelectionSlider(options=named, value=value, description=name, continuous_update=False)

        controls = {
            "depth": choice("depth", DEPTHS, 4),
            "width": choice("width", WIDTHS, 8),
            "skips": widgets.Checkbox(True, description="skips"),
            "loss": widgets.ToggleButtons(options=LOSSES, description="loss"),
            "dropout": choice("dropout", (0.0, 0.2, 0.5), 0.0),
            "lr": choice("lr", RATES, 1e-2),
        }
        super().__init__(controls, "training")
        self.facts = widgets.HTML()
        self.run = widgets.Button(button_style="primary")
        self.reset = widgets.Button(description="Reset")
        self.live, self.results = (
            widgets.Image(format="png", layout={"max_width": "100%", "display": "none"}) for _ in range(2)
        )
        self.table = widgets.HTML()
        names = ("facts", "run", "reset", "progress", "status", "picture", "live", "results", "table")
        self.add_classes(**{name: getattr(self, name) for name in names})
        self.run.on_click(self.press)
        self.reset.on_click(self.forget)
        for control in controls.values():
            control.observe(self.redraw, names="value")
        rows = [("depth", "width", "skips"), ("loss",), ("dropout", "lr")]
        row = {"flex_flow": "row wrap"}
        self.children = [
            *(widgets.HBox([controls[name] for name in names], layout=row) for names in rows),
            self.facts, self.picture,
            widgets.HBox([self.run, self.reset, self.progress], layout=row),
            self.status, self.live, self.results, self.table,
        ]  # fmt: skip
        self.set_busy(False)
        self.redraw()

    def press(self, button=None) -> None:
        """Start a training; a second press stops it."""
        (self.ask_to_stop if self.busy else self.begin)()

    def set_busy(self, busy: bool) -> None:
        """Change the label of the button, and lock the controls during a training."""
        self.run.description = "Stop" if busy else f"Train {self.seconds:g} s"
        for widget in (self.reset, *self.controls.values()):
            widget.disabled = busy

    def redraw(self, change=None) -> None:
        """Draw the chosen network, and count, measure and estimate what there is to know before a training."""
        values = {name: self.controls[name].value for name in ("depth", "width", "skips", "dropout")}
        net = build(**values)
        self.picture.value = to_png(show.unet_diagram(net, self.loaders.valid.size))
        n_weights, seconds = sum(p.numel() for p in net.parameters()), seconds_per_pass(net, self.loaders)
        self.facts.value = (
            f"<b>{n_weights:,}</b> weights · receptive field <b>{field_of(values['depth'])} px</b> · about "
            f"<b>{seconds:.0f} s</b> for 1,500 scenes on this computer"
        )

    def work(self, **settings) -> str:
        """Train the chosen network and keep the result."""
        trial = train_for(
            self.loaders, settings, self.seconds, seed=self.seed, on_step=self.show_progress, on_measure=self.show_trial
        )
        self.trials.append(trial)
        self.show_results()
        error = trial.points[-1][2]["ab_mae/determined"]
        return f"Training {len(self.trials)}: {trial.note or 'finished'}, error on determined pixels {error:.1f}."

    def show_trial(self, trial: Trial, net: UNet) -> None:
        """Draw the curve and the pictures of the running training."""
        self.live.value = to_png(trial_figure(trial, net, self.loaders, self.grays))
        self.live.layout.display = ""

    def show_results(self) -> None:
        """List and draw all trials."""
        self.table.value = trials_table(self.trials) if self.trials else ""
        if self.trials:
            self.results.value = to_png(trials_figure(self.trials, self.grays["ab_mae/determined"]))
        self.results.layout.display = "" if self.trials else "none"

    def forget(self, button=None) -> None:
        """Remove all results."""
        self.trials.clear()
        self.live.layout.display = "none"
        self.show_results()
        self.tell("No training yet.")


def unet_workbench(loaders: Loaders | None = None, seconds: float = SECONDS, seed: int = 0) -> Workbench:
    """Return a workbench; without loaders, it paints 300 scenes of 64 × 64 px."""
    loaders = loaders or make_loaders("scenes", 64, n_train=300, n_test=N_HELD_OUT, seed=seed)
    return Workbench(loaders, seconds, seed)
