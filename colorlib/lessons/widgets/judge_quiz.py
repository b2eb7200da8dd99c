"""Chapter 04: be the judge. A real-or-fake quiz on patches, against the discriminator."""

import html
import io
from collections.abc import Sequence
from dataclasses import dataclass

import ipywidgets as widgets
import matplotlib.pyplot as plt
import numpy as np
import torch
from matplotlib.figure import Figure
from PIL import Image
from torch import nn

from colorlib import show
from colorlib.color import join_lab, lab_to_rgb
from colorlib.lessons.widgets import StillPicture, to_png
from colorlib.patchgan import PatchDiscriminator
from colorlib.scenes import Scenes


@dataclass(frozen=True)
class Question:
    """A patch to judge.

    Attributes:
        rgb: (3, S, S) in [0, 1].
        real: whether its colors are the true ones.
        p_real: the discriminator's probability of "real".
    """

    rgb: torch.Tensor
    real: bool
    p_real: float


def patch_start(discriminator: PatchDiscriminator) -> tuple[int, int]:
    """Return where the patches of the logits lie: the first pixel of logit 0, and the step from logit to logit."""
    start, step = 0, 1
    for layer in reversed(discriminator.layers):
        if isinstance(layer, nn.Conv2d):
            start, step = start * layer.stride[0] - layer.padding[0], step * layer.stride[0]
    return start, step


@torch.no_grad()
def quiz_questions(
    discriminator: PatchDiscriminator,
    L: torch.Tensor,
    ab_true: torch.Tensor,
    ab_fake: torch.Tensor,
    scenes: Scenes,
    n: int = 20,
    seed: int = 0,
) -> list[Question]:
    """Return patches around objects of ambiguous color, about half of them with true colors, in random order.

    Args:
        discriminator: used in eval mode; its patches must be smaller than the images.
        L, ab_true, ab_fake: (N, 1, H, W), (N, 2, H, W) and (N, 2, H, W), network-scaled.
        scenes: the N scenes, for their masks.
        n: number of patches, at most one for each image.
        seed: of the choice.
    Raises:
        ValueError: there are fewer than `n` images with such a patch inside them.
    """
    was_training = discriminator.training
    discriminator.eval()
    side, (start, step), rng = discriminator.patch_size, patch_start(discriminator), np.random.default_rng(seed)
    questions = []
    for i in rng.permutation(len(L)):
        real = bool(rng.random() < 0.5)
        ab = (ab_true if real else ab_fake)[i : i + 1].to(L.device)
        p_real = discriminator(L[i : i + 1], ab)[0, 0].sigmoid().cpu()
        corners = [start + step * np.arange(length) for length in p_real.shape]
        inside = [[k for k, at in enumerate(c) if 0 <= at <= size - side] for c, size in zip(corners, L.shape[-2:])]
        middle = scenes.ambiguous[i].cpu()  # a patch counts if such an object fills a quarter of its middle
        places = [
            (row, column)
            for row in inside[0]
            for column in inside[1]
            if _middle(middle, corners[0][row], corners[1][column], side).float().mean() > 0.25
        ]
        if places:
            row, column = places[rng.integers(len(places))]
            top, left = corners[0][row], corners[1][column]
            rgb = lab_to_rgb(join_lab(L[i : i + 1], ab))[0].cpu()
            questions.append(Question(rgb[:, top : top + side, left : left + side], real, p_real[row, column].item()))
        if len(questions) == n:
            break
    discriminator.train(was_training)
    if len(questions) < n:
        raise ValueError(f"Only {len(questions)} of {len(L)} images have a patch for the quiz; {n} are asked for.")
    return questions


def _middle(mask: torch.Tensor, top: int, left: int, side: int) -> torch.Tensor:
    quarter = side // 4
    return mask[top + quarter : top + side - quarter, left + quarter : left + side - quarter]


def share_right(questions: Sequence[Question]) -> float:
    """Return the share of the questions that the discriminator answers correctly."""
    return sum((question.p_real > 0.5) == question.real for question in questions) / len(questions)


@show.in_style
def quiz_sheet(questions: Sequence[Question], columns: int = 6, answers: bool = True) -> Figure:
    """Draw patches with what they are and the discriminator's probability of "real", or with numbers only."""
    rows = -(-len(questions) // columns)
    figure, axes = plt.subplots(rows, columns, figsize=(1.45 * columns, 1.75 * rows), squeeze=False)
    for ax in axes.flat:
        ax.axis("off")
    for number, (ax, question) in enumerate(zip(axes.flat, questions), 1):
        ax.imshow(question.rgb.permute(1, 2, 0).numpy(), interpolation="nearest")
        answer = f"{'real' if question.real else 'fake'}, D: {question.p_real:.2f}"
        ax.set_title(answer if answers else f"{number}: real or fake?")
    return figure


class JudgeQuiz(StillPicture, widgets.VBox):
    """Say for each patch whether its colors are real; the discriminator answers, too.

    The buttons work with the keyboard: Tab goes from one to the other, Enter or Space presses.

    Args:
        questions: from `quiz_questions`.
    Attributes:
        answers: what the reader said so far, True for real.
    """

    def __init__(self, questions: Sequence[Question]):
        self.questions, self.answers = list(questions), []
        self.picture = widgets.Image(format="png", layout=widgets.Layout(width="240px"))
        self.real = widgets.Button(description="Real", button_style="primary")
        self.fake = widgets.Button(description="Fake", button_style="primary")
        self.again = widgets.Button(description="Start again")
        self.status = widgets.HTML()
        for name in ("picture", "real", "fake", "again", "status"):
            getattr(self, name).add_class(f"t-{name}")
        self.real.on_click(lambda button: self.answer(True))
        self.fake.on_click(lambda button: self.answer(False))
        self.again.on_click(self.restart)
        super().__init__([self.picture, widgets.HBox([self.real, self.fake, self.again]), self.status])
        self.restart()

    def still(self) -> Image.Image:
        """Return all patches on one sheet, without the answers."""
        return Image.open(io.BytesIO(to_png(quiz_sheet(self.questions, columns=5, answers=False)))).convert("RGB")

    def restart(self, button=None) -> None:
        """Forget all answers and show the first patch."""
        self.answers = []
        self.show_question("Are the colors of this patch real?")

    def answer(self, real: bool) -> None:
        """Take an answer, say what is right, and show the next patch."""
        question = self.questions[len(self.answers)]
        self.answers.append(real)
        verdict = "Right" if real == question.real else "Wrong"
        sentence = f"{verdict}: it was {'real' if question.real else 'fake'}. The discriminator gave it "
        self.show_question(f"{sentence}{question.p_real:.2f} for “real”. {self.score()}")

    def score(self) -> str:
        """Return both scores in a sentence."""
        asked = self.questions[: len(self.answers)]
        yours = sum(answer == question.real for answer, question in zip(self.answers, asked))
        return f"You: {yours} of {len(asked)}. Discriminator: {round(share_right(asked) * len(asked))} of {len(asked)}."

    def show_question(self, sentence: str) -> None:
        """Show the next patch below a sentence, or the end of the quiz."""
        number = len(self.answers)
        over = number == len(self.questions)
        self.real.disabled = self.fake.disabled = over
        progress = "That was the last patch." if over else f"Patch {number + 1} of {len(self.questions)}."
        self.status.value = html.escape(f"{sentence} {progress}")
        if not over:
            figure, ax = plt.subplots(figsize=(2.4, 2.4))
            plt.close(figure)
            ax.imshow(self.questions[number].rgb.permute(1, 2, 0).numpy(), interpolation="nearest")
            ax.axis("off")
            self.picture.value = to_png(figure)
