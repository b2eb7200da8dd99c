"""Chapter 04: λ, the loss and the patch size. Stored games for every combination, and live ones of half a minute."""

import copy
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import ipywidgets as widgets
import matplotlib.pyplot as plt
import torch
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from colorlib import show
from colorlib.color import join_lab, lab_to_rgb
from colorlib.config import seed_everything
from colorlib.data import Loaders
from colorlib.lessons.games import Game, Rules
from colorlib.lessons.seeds import mean_over_seeds
from colorlib.lessons.widgets import FigurePanel, to_png
from colorlib.lessons.widgets.live_training import LivePanel, first_scenes
from colorlib.lessons.widgets.sheets import draw_image, sheet
from colorlib.metrics import evaluate, predict
from colorlib.unet import UNet

ERROR, COLOR = "ab_mae/determined", "chroma_ratio/ambiguous"
PATCHES = {16: 1, 34: 2, 70: 3}  # pixels -> layers of stride 2
LAMBDAS = (0, 5, 20, 100, 500)
STEPS, MEASUREMENTS, N_SHOWN = 250, 10, 4  # of a live game: 30 s on two cores


@show.in_style
def playground_figure(
    record: Mapping, tensors: Mapping, L: torch.Tensor, lambda_l1: float, loss: str, patch: int
) -> Figure:
    """Draw the pictures of one stored game, and where it lies among all in the plane of color and error.

    A large mark is the mean of a game over the seeds. The seeds of the chosen game are small dots.

    Args:
        record, tensors: of `experiments.stored("playground")`; the pictures are those of the first seed.
        L: (n, 1, H, W), the held-out pictures that were stored.
        lambda_l1, loss, patch: of the game.
    Raises:
        ValueError: there is no such stored game.
    """
    chosen = f"lambda {lambda_l1:g}, {loss}, patch {patch}"
    means = mean_over_seeds(record["table"])
    if chosen not in means:
        raise ValueError(f"There is no stored game {chosen!r}.")
    figure, (left, right) = plt.subplots(1, 2, figsize=(show.WIDTH, 3.6), width_ratios=[4, 5])
    ab = tensors[chosen].float()  # Lab units
    lab = torch.cat([join_lab(L[: len(ab)], torch.zeros_like(ab))[:, :1], ab], dim=1)
    draw_image(left, sheet(lab_to_rgb(lab)[:4].unflatten(0, (-1, 2))))
    row = means[chosen]
    left.set_title(f"λ {lambda_l1:g}, {loss}, {patch} px patches")
    left.set_xlabel(f"mean hue entropy {row['hue_entropy']:.2f}, of balloons {row['hue_entropy/balloon']:.2f}")
    games = {name: parts(name) for name in means}
    colors, markers, sizes = (
        dict(zip(dict.fromkeys(values), looks, strict=False))
        for values, looks in zip(
            zip(*games.values(), strict=True), (show.COLORS, show.MARKERS, (4.5, 7, 10)), strict=True
        )
    )
    for name, (value, kind, side) in games.items():
        look = {"color": colors[value], "marker": markers[kind], "ms": sizes[side], "alpha": 0.75, "mew": 0}
        right.plot(means[name][COLOR], means[name][ERROR], ls="none", **look)
    of_seeds = [(rows[chosen][COLOR], rows[chosen][ERROR]) for rows in record["table"].values()]
    right.plot(*zip(*of_seeds, strict=True), ".k", ms=5)
    right.plot(row[COLOR], row[ERROR], marker="o", ms=15, mfc="none", mec="black", ls="none")
    right.set(xlabel="chroma ratio, ambiguous pixels (1 = truth)", ylabel="ab MAE, determined (Lab units)")
    seeds = len(of_seeds)
    right.set_title(f"{len(means)} games, mean of {seeds} seeds; the circle: {row[COLOR]:.2f} and {row[ERROR]:.1f}")
    right.grid()
    keys = [({"color": color, "marker": "o"}, f"λ {value:g}") for value, color in colors.items()]
    keys += [({"color": "0.4", "marker": marker}, kind) for kind, marker in markers.items()]
    keys += [({"color": "0.4", "marker": "o", "ms": size}, f"{side} px") for side, size in sizes.items()]
    keys.append(({"color": "black", "marker": "."}, f"{seeds} seeds of\nthe circle"))
    handles = [Line2D([], [], ls="none", label=label, **look) for look, label in keys]
    figure.legend(handles=handles, loc="outside right center")
    return figure


def parts(name: str) -> tuple[float, str, int]:
    """Return λ, the loss and the patch size of a stored game, from its name: "lambda 20, bce, patch 34"."""
    value, loss, patch = name.split(", ")
    return float(value.removeprefix("lambda ")), loss, int(patch.removeprefix("patch "))


def playground(record: Mapping, tensors: Mapping, L: torch.Tensor) -> FigurePanel:
    """Return a panel that draws `playground_figure`, with controls for λ, the loss and the patch size."""
    names = next(iter(record["table"].values()))
    lambdas, kinds, patches = (list(dict.fromkeys(values)) for values in zip(*map(parts, names), strict=True))

    def draw(lambda_l1: float, loss: str, patch: int) -> Figure:
        return playground_figure(record, tensors, L, lambda_l1, loss, patch)

    return FigurePanel(
        draw,
        lambda_l1=widgets.SelectionSlider(
            options=[(f"{v:g}", v) for v in sorted(lambdas)], value=sorted(lambdas)[-2], description="λ"
        ),
        loss=widgets.ToggleButtons(options=kinds, description="loss"),
        patch=widgets.ToggleButtons(
            options=sorted(patches), value=34 if 34 in patches else patches[0], description="patch (px)"
        ),
    )


@dataclass
class LiveGame:
    """A game that was played live.

    Attributes:
        label: the rules, as in "λ 20, bce, 34 px".
        steps, losses, chroma, error: at each measurement; the losses of the discriminator are the mean since the last.
        ab: (n, 2, H, W), what the generator paints at the end.
        note: why it ended early; "" if it did not.
    """

    label: str
    steps: list[int] = field(default_factory=list)
    losses: list[float] = field(default_factory=list)
    chroma: list[float] = field(default_factory=list)
    error: list[float] = field(default_factory=list)
    ab: torch.Tensor | None = None
    note: str = ""


def play_live(
    start: UNet,
    loaders: Loaders,
    rules: Rules,
    label: str,
    *,
    steps: int = STEPS,
    seed: int = 0,
    n_measured: int = 60,
    on_step: Callable[[float], bool] = lambda share: False,
) -> LiveGame:
    """Play a short game from a copy of a trained network, and measure it on held-out scenes along the way.

    Args:
        start: stays as it is.
        loaders: `train` for the steps; the first `n_measured` of `valid` are measured.
        rules, steps: as in `Game`.
        label: of the result.
        seed: of the discriminator; the same in all games.
        on_step: called before each step with the share of the steps that are done; if it returns True, the game ends.
    """
    seed_everything(seed)
    game = Game(copy.deepcopy(start), loaders.train, rules, steps)
    few = first_scenes(loaders.valid, n_measured)
    result, recent, every = LiveGame(label), [], max(1, steps // MEASUREMENTS)
    try:
        while game.played < steps:
            if on_step(game.played / steps):
                result.note = f"stopped after {game.played} steps"
                break
            losses = game.step()
            recent.append((losses["loss_d_real"] + losses["loss_d_fake"]) / 2)
            if game.played % every == 0 or game.played == steps:
                scores = evaluate(game.averaged, few, perceptual=False)
                result.steps.append(game.played)
                result.losses.append(sum(recent) / len(recent))
                result.chroma.append(scores[COLOR])
                result.error.append(scores[ERROR])
                recent = []
        result.ab = predict(game.averaged, few.first(N_SHOWN)[0])
    except ArithmeticError as error:
        result.note = str(error)
    return result


@show.in_style
def live_figure(games: Sequence[LiveGame], L: torch.Tensor, ab_start: torch.Tensor) -> Figure:
    """Draw the curves of live games, and the pictures of the last one that has some.

    Args:
        games: may be empty.
        L, ab_start: (n, 1, H, W) and (n, 2, H, W), network-scaled: pictures, as the generator colors them at the start.
    """
    figure, axes = plt.subplots(1, 4, figsize=(show.WIDTH + 1, 3.1), width_ratios=[3, 3, 3, 2.2])
    quantities = {"losses": "discriminator's loss", "chroma": "chroma ratio, ambiguous", "error": "ab MAE, determined"}
    for ax, (name, title) in zip(axes, quantities.items(), strict=False):
        for i, game in enumerate(games):
            look = {"color": show.COLORS[i % 7], "marker": show.MARKERS[i % 7], "ls": show.DASHES[i // 7 % 4]}
            ax.plot(game.steps, getattr(game, name), label=f"{i + 1}. {game.label}", **look)
        ax.set(title=title, xlabel="step")
        ax.grid(axis="y")
    axes[0].axhline(math.log(2), color="0.3", ls=":", lw=1.2)
    if games:
        figure.legend(*axes[0].get_legend_handles_labels(), loc="outside lower left", ncols=2)
    axes[3].axis("off")
    drawn = [game.ab for game in games if game.ab is not None]
    ab = drawn[-1] if drawn else ab_start
    rgb = lab_to_rgb(join_lab(L[: len(ab)].cpu(), ab))
    draw_image(axes[3], sheet(rgb[:4].unflatten(0, (-1, 2)) if len(rgb) >= 4 else rgb[:1, None]))
    axes[3].set_title("the last game" if drawn else "at the start")
    return figure


class LiveGamePanel(LivePanel):
    """Choose λ, loss, patch and rates, play a short game from the L1 network, and compare it with earlier ones.

    A game runs in a thread; the button Stop ends it. `games` keeps all results.

    Args:
        start, loaders, steps, seed: as in `play_live`.
    """

    def __init__(self, start: UNet, loaders: Loaders, steps: int = STEPS, seed: int = 0):
        self.start, self.loaders, self.fixed = start, loaders, {"steps": steps, "seed": seed}
        self.L = loaders.valid.first(N_SHOWN)[0]
        self.ab_start = predict(start, self.L)
        self.games: list[LiveGame] = []
        rates = [("slow (2e-4)", 2e-4), ("as the generator (8e-4)", 8e-4), ("fast (4e-3)", 4e-3)]
        controls = {
            "lambda_l1": widgets.SelectionSlider(options=LAMBDAS, value=20, description="λ"),
            "adversarial": widgets.ToggleButtons(options=["bce", "lsgan", "hinge"], description="loss"),
            "patch": widgets.ToggleButtons(options=list(PATCHES), value=34, description="patch (px)"),
            "lr_d": widgets.Dropdown(options=rates, value=8e-4, description="D learns"),
            "conditional": widgets.Checkbox(True, description="the discriminator sees the gray picture"),
        }
        super().__init__(controls, "game")
        self.run = widgets.Button(description="Play a game", button_style="primary")
        self.stop = widgets.Button(description="Stop", disabled=True)
        self.reset = widgets.Button(description="Forget all")
        parts = ("run", "stop", "reset", "progress", "status", "picture")
        self.add_classes(**{name: getattr(self, name) for name in parts})
        self.run.on_click(self.begin)
        self.stop.on_click(self.ask_to_stop)
        self.reset.on_click(self.forget)
        buttons = widgets.HBox([self.run, self.stop, self.reset, self.progress], layout={"flex_flow": "row wrap"})
        self.children = [*controls.values(), buttons, self.status, self.picture]
        self.redraw()

    def work(self, patch: int, **values) -> str:
        """Play a game and keep its result."""
        label = f"λ {values['lambda_l1']}, {values['adversarial']}, {patch} px"
        label += f", D {values['lr_d']:g}" * (values["lr_d"] != 8e-4) + ", no condition" * (not values["conditional"])
        rules = Rules(**values, n_down=PATCHES[patch])
        game = play_live(self.start, self.loaders, rules, label, **self.fixed, on_step=self.show_progress)
        self.games.append(game)
        self.redraw()
        last = f" Chroma ratio {game.chroma[-1]:.2f}, error {game.error[-1]:.1f}." if game.steps else ""
        return f"Game {len(self.games)}: {game.note or 'finished'}.{last}"

    def set_busy(self, busy: bool) -> None:
        """Enable the buttons that make sense."""
        self.run.disabled, self.stop.disabled, self.reset.disabled = busy, not busy, busy

    def forget(self, button=None) -> None:
        """Remove all results."""
        self.games = []
        self.tell("No game yet.")
        self.redraw()

    def redraw(self) -> None:
        """Draw all games so far."""
        self.picture.value = to_png(live_figure(self.games, self.L, self.ab_start))
