"""Chapter 04: the game of generator and discriminator on one dimension, where the best discriminator is known."""

import html
import math

import ipywidgets as widgets
import matplotlib.pyplot as plt
import torch
from matplotlib.figure import Figure

from colorlib import show
from colorlib.lessons.widgets import StillPicture, to_png
from colorlib.losses import bce

REAL_MEAN, START, SPREAD = 2.0, -2.0, 1.0  # of the real numbers; of the generator's; standard deviation of both
RATES = (0.03, 0.1, 0.3, 1.0)
REACH = 6.0  # the figure shows numbers from −6 to 6


class ShiftGame:
    """A generator that shifts a Gaussian, and a logistic discriminator with the features 1, x and x².

    Both take plain gradient steps. Each sees the same quantiles of its Gaussian in every step, so nothing is random.

    Attributes:
        shift: mean of the generator's numbers.
        weights: (3,), of the discriminator's features.
        rows: the discriminator's loss and the shift before each step.
    """

    def __init__(self, start: float = START, n: int = 400):
        z = torch.distributions.Normal(0.0, SPREAD).icdf((torch.arange(n) + 0.5) / n)
        self.z, self.real = z, z + REAL_MEAN
        self.shift = torch.tensor(start, requires_grad=True)
        self.weights = torch.zeros(3, requires_grad=True)
        self.rows = []

    def logits(self, x):
        x = x / 3  # features of similar size, for plain gradient steps
        return self.weights[0] + self.weights[1] * x + self.weights[2] * x**2

    def step(self, lr_d=0.3, lr_g=0.3):
        """Let the discriminator take one gradient step, then the generator."""
        fake = self.z + self.shift
        loss_d = (bce(self.logits(self.real), True) + bce(self.logits(fake.detach()), False)) / 2
        (slope_d,) = torch.autograd.grad(loss_d, self.weights)
        self.rows.append({"loss_d": loss_d.item(), "shift": self.shift.item()})
        with torch.no_grad():
            self.weights -= lr_d * slope_d
        (slope_g,) = torch.autograd.grad(bce(self.logits(fake), True), self.shift)
        with torch.no_grad():
            self.shift -= lr_g * slope_g


def density(x: torch.Tensor, mean: float) -> torch.Tensor:
    """Return the density of a Gaussian with standard deviation 1 at x (n,)."""
    return torch.exp(-((x - mean) ** 2) / (2 * SPREAD**2)) / (SPREAD * math.sqrt(math.tau))


def best_discriminator(p: torch.Tensor, q: torch.Tensor) -> torch.Tensor:
    """Return p / (p + q), the best probability of "real" where the real numbers have density p and the fake ones q.

    Source: Goodfellow et al. 2014, proposition 1.
    """
    return p / (p + q)


@show.in_style
def shift_figure(game: ShiftGame) -> Figure:
    """Draw both densities with the discriminator and the best one, and below them how loss and shift went."""
    x = torch.linspace(-REACH, REACH, 241)
    p, q = density(x, REAL_MEAN), density(x, game.shift.item())
    with torch.no_grad():
        now = game.logits(x).sigmoid()
    figure, (left, right) = plt.subplots(1, 2, figsize=(show.WIDTH, 2.9), width_ratios=[3, 2])
    for values, name, color, hatch in ((p, "real p", show.COLORS[0], ""), (q, "fake q", show.COLORS[1], "///")):
        left.fill_between(x, values, alpha=0.35, color=color, hatch=hatch, label=name, lw=0)
    left.plot(x, now, color="black", label="D, learned")
    left.plot(x, best_discriminator(p, q), color=show.COLORS[2], ls="--", label="D* = p / (p + q)")
    left.axhline(0.5, color="0.6", lw=0.8, ls=":")
    left.set(xlabel="x", ylabel="density, probability of “real”", ylim=(0, 1.02), xlim=(-REACH, REACH))
    left.set_title(f"after {len(game.rows)} steps: the generator's mean is {game.shift.item():.2f}")
    left.legend(loc="upper left", bbox_to_anchor=(0, 0.98), ncols=2)
    steps = range(len(game.rows))
    right.plot(steps, [row["shift"] for row in game.rows], color=show.COLORS[1], label="the generator's mean")
    right.axhline(REAL_MEAN, color=show.COLORS[1], ls=":", lw=1)
    right.plot(steps, [row["loss_d"] for row in game.rows], color="black", ls="--", label="loss of D")
    right.axhline(math.log(2), color="black", ls=":", lw=1)
    right.set(xlabel="step", title="dotted: the real mean, log 2", xlim=(0, max(10, len(game.rows))))
    right.set_ylim(min(-2.3, *(row["shift"] for row in game.rows), 0), max(3, *(row["shift"] for row in game.rows), 0))
    right.legend(loc="lower right")
    return figure


class ShiftPanel(StillPicture, widgets.VBox):
    """Play the game on one dimension: step by step, with a learning rate for each player.

    Attributes:
        game: the game in progress.
    """

    def __init__(self):
        def rate(name: str) -> widgets.SelectionSlider:
            return widgets.SelectionSlider(options=[(f"{r:g}", r) for r in RATES], value=0.3, description=name)

        self.lr_d, self.lr_g = rate("rate of D"), rate("rate of G")
        self.buttons = {
            name: widgets.Button(description=label)
            for name, label in {"one": "1 step", "ten": "10 steps", "hundred": "100 steps", "reset": "Reset"}.items()
        }
        self.status = widgets.HTML()
        self.picture = widgets.Image(format="png", layout=widgets.Layout(max_width="100%"))
        parts = {"lr_d": self.lr_d, "lr_g": self.lr_g, "status": self.status, "picture": self.picture} | self.buttons
        for name, part in parts.items():
            part.add_class(f"t-{name}")
        for name, steps in (("one", 1), ("ten", 10), ("hundred", 100)):
            self.buttons[name].on_click(lambda button, steps=steps: self.play(steps))
        self.buttons["reset"].on_click(self.reset)
        row = widgets.HBox(list(self.buttons.values()), layout={"flex_flow": "row wrap"})
        super().__init__([self.lr_d, self.lr_g, row, self.status, self.picture])
        self.reset()

    def play(self, steps: int) -> None:
        """Play some steps with the chosen rates, and draw the result."""
        for _ in range(steps):
            self.game.step(self.lr_d.value, self.lr_g.value)
        self.redraw()

    def reset(self, button=None) -> None:
        """Begin a new game."""
        self.game = ShiftGame()
        self.redraw()

    def redraw(self) -> None:
        """Draw the game as it stands."""
        mean, loss = self.game.shift.item(), self.game.rows[-1]["loss_d"] if self.game.rows else math.log(2)
        sentence = f"Step {len(self.game.rows)}: the generator's mean is {mean:.2f}, the loss of D {loss:.2f}."
        self.status.value = html.escape(sentence)
        self.picture.value = to_png(shift_figure(self.game))
