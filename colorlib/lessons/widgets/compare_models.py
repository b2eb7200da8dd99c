"""Chapter 06: real or colored? A two-alternative test of people, as a widget, and its results."""

import csv
import io
from collections.abc import Mapping
from dataclasses import dataclass, field

import anywidget
import ipywidgets as widgets
import numpy as np
import torch
import traitlets
from PIL import Image
from scipy.stats import beta

from colorlib.color import join_lab, lab_to_rgb, to_uint8
from colorlib.lessons.widgets import StillPicture, side_by_side
from colorlib.lessons.widgets.file_buttons import DownloadButton
from colorlib.lessons.widgets.stroke_canvas import png

SIDES = ("left", "right")


def binomial_interval(hits: int, rounds: int, share: float = 0.95) -> tuple[float, float]:
    """Return the interval for a probability after `hits` in `rounds` independent tries.

    Returns:
        Lower and upper end; (0, 1) without rounds.
    Source: Clopper and Pearson 1934, the exact interval.
    """
    tail = (1 - share) / 2
    low = beta.ppf(tail, hits, rounds - hits + 1) if hits else 0.0
    high = beta.ppf(1 - tail, hits + 1, rounds - hits) if hits < rounds else 1.0
    return float(low), float(high)


@dataclass
class AnswerSheet:
    """The answers of a test. It is made apart from the panel, so that it outlives a panel that is made again.

    Attributes:
        answers: one per round: {"model", "image", "colored", "chosen", "fooled"}; the sides are "left" or "right".
    """

    answers: list[dict] = field(default_factory=list)

    def add(self, model: str, image: str, colored: str, chosen: str) -> bool:
        """Record a round; return whether the reader was fooled, that is, took the real picture for the colored one."""
        fooled = chosen != colored
        self.answers.append({"model": model, "image": image, "colored": colored, "chosen": chosen, "fooled": fooled})
        return fooled

    def fool_rates(self) -> dict[str, tuple[int, int, float, float]]:
        """Return model -> (times it fooled the reader, rounds, lower end, upper end of the 95% interval)."""
        rates = {}
        for model in dict.fromkeys(answer["model"] for answer in self.answers):
            outcomes = [answer["fooled"] for answer in self.answers if answer["model"] == model]
            rates[model] = sum(outcomes), len(outcomes), *binomial_interval(sum(outcomes), len(outcomes))
        return rates

    def to_csv(self) -> bytes:
        """Return all answers as a CSV file."""
        text = io.StringIO()
        writer = csv.DictWriter(text, ["round", "model", "image", "colored", "chosen", "fooled"])
        writer.writeheader()
        writer.writerows({"round": i} | answer for i, answer in enumerate(self.answers, 1))
        return text.getvalue().encode()

    def __repr__(self) -> str:
        return f"AnswerSheet({len(self.answers)} {'round' if len(self.answers) == 1 else 'rounds'})"


class PicturePair(anywidget.AnyWidget):
    """Two pictures side by side, of which one is to be chosen: by click, by ← and →, or with Tab and Enter.

    Each choice is sent to the kernel as {"round": number, "side": "left" or "right"}.
    """

    _esm = """
    const SIDES = ["left", "right"];
    export default {
      render({ model, el }) {
        const box = document.createElement("div"), buttons = {};
        box.className = "t-pair";
        box.tabIndex = 0;
        box.setAttribute("role", "group");
        box.setAttribute("aria-label", "Which picture was colored by a model? Press the left or the right arrow key.");
        Object.assign(box.style, { display: "flex", gap: "12px", flexWrap: "wrap" });
        const choose = (side) => model.send({ round: model.get("round"), side });
        for (const side of SIDES) {
          const button = document.createElement("button"), image = document.createElement("img");
          button.className = `t-${side}`;
          button.setAttribute("aria-label", `the ${side} picture was colored by a model`);
          Object.assign(button.style, { padding: "4px", border: "1px solid #888", background: "none" });
          button.style.cursor = "pointer";
          Object.assign(image.style, { display: "block", width: "300px", maxWidth: "100%" });
          image.alt = `the ${side} picture`;
          button.onclick = () => choose(side);
          button.append(image);
          box.append(button);
          buttons[side] = { button, image };
        }
        box.onkeydown = (event) => {
          const side = { ArrowLeft: "left", ArrowRight: "right" }[event.key];
          if (!side || event.repeat) return;
          event.preventDefault();
          event.stopPropagation();  // in the notebook the arrow keys would do something else, too
          choose(side);
        };
        const urls = [];
        const update = () => {
          urls.splice(0).forEach(URL.revokeObjectURL);
          for (const side of SIDES) {
            urls.push(URL.createObjectURL(new Blob([model.get(side)], { type: "image/png" })));
            buttons[side].image.src = urls.at(-1);
          }
          box.dataset.round = model.get("round");
        };
        model.on("change:round", update);
        update();
        el.append(box);
        return () => { model.off("change:round", update); urls.forEach(URL.revokeObjectURL); };
      },
    };
    """
    left = traitlets.Bytes().tag(sync=True)  # PNG files
    right = traitlets.Bytes().tag(sync=True)
    round = traitlets.Int().tag(sync=True)  # is changed last: the page then shows the new pictures

    def __repr__(self) -> str:
        return "PicturePair()"


class RealOrColored(StillPicture, widgets.VBox):
    """The test: each round shows a true picture and the same picture colored by a model, in random order.

    Args:
        pictures: name -> the true picture, (H, W, 3) uint8.
        colored: model -> name of the picture -> the picture in the model's colors.
        sheet: takes the answers.
        seed: of the order of rounds and sides. Every model gets every picture once before any gets one twice.
    Raises:
        ValueError: there is no picture or no model.
    """

    def __init__(
        self,
        pictures: Mapping[str, np.ndarray],
        colored: Mapping[str, Mapping[str, np.ndarray]],
        sheet: AnswerSheet,
        seed: int = 0,
    ):
        if not pictures or not colored:
            raise ValueError("the test needs at least one picture and one model.")
        self.pictures, self.colored, self.sheet = pictures, colored, sheet
        self.random, self.waiting = np.random.default_rng(seed), []
        self.pair, self.status, self.table = PicturePair(), widgets.HTML(), widgets.HTML()
        self.download = DownloadButton(self.make_file, label="answers as CSV", ready=bool(sheet.answers))
        super().__init__([self.status, self.pair, self.table, self.download])
        self.status.add_class("t-status")
        self.table.add_class("t-rates")
        self.pair.on_msg(self.answer)
        self.next_round("Which picture was colored by a model? Click it, or press ← or →.")

    def next_round(self, said: str) -> None:
        """Show the next pair, below a sentence."""
        if not self.waiting:
            every = [(model, name) for model in self.colored for name in self.pictures]
            self.waiting = [every[i] for i in self.random.permutation(len(every))]
        self.model, self.name = self.waiting.pop()
        self.side = SIDES[self.random.integers(2)]
        shown = dict.fromkeys(SIDES, self.pictures[self.name]) | {self.side: self.colored[self.model][self.name]}
        with self.pair.hold_sync():
            for side, picture in shown.items():
                setattr(self.pair, side, png(picture))
            self.pair.round = self.pair.round + 1
        self.status.value = f"<b>Round {self.pair.round}.</b> {said}"
        self.table.value = rates_table(self.sheet)
        self.download.ready = bool(self.sheet.answers)

    def answer(self, widget, content: dict, buffers: list) -> None:
        """Take a choice of the page, if it is for the round that is shown, and go on."""
        if content.get("round") != self.pair.round or content.get("side") not in SIDES:
            return
        fooled = self.sheet.add(self.model, self.name, self.side, content["side"])
        verdict = "Fooled: it was the" if fooled else "Right: it was the"
        self.next_round(f"{verdict} {self.side} one, colored by {self.model}. And here?")

    def make_file(self) -> tuple[str, bytes]:
        """Return name and bytes of the file with the answers."""
        return "real_or_colored.csv", self.sheet.to_csv()

    def still(self) -> Image.Image:
        """Return the two pictures of the present round."""
        files = (self.pair.left, self.pair.right)
        return side_by_side(Image.open(io.BytesIO(file)).convert("RGB") for file in files)


def rates_table(sheet: AnswerSheet) -> str:
    """Return the fool rates as an HTML table; an empty text without answers."""
    rows = [
        f"<tr><td>{model}</td><td>{fooled} of {rounds}</td><td>{fooled / rounds:.0%}</td>"
        f"<td>{low:.0%} to {high:.0%}</td></tr>"
        for model, (fooled, rounds, low, high) in sheet.fool_rates().items()
    ]
    head = "<tr><th>model</th><th>fooled you</th><th>fool rate</th><th>95% interval</th></tr>"
    return f"<table class='t-table'>{head}{''.join(rows)}</table>" if rows else ""


def as_pictures(L: torch.Tensor, ab: torch.Tensor, names: list[str]) -> dict[str, np.ndarray]:
    """Return L (B, 1, H, W) with colors ab (B, 2, H, W), network-scaled, as name -> (H, W, 3) uint8."""
    rgb = to_uint8(lab_to_rgb(join_lab(L, ab))).permute(0, 2, 3, 1).numpy()
    return dict(zip(names, rgb, strict=True))
