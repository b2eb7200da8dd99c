"""The loop behind every training: progress, a measurement after every epoch, interruption, checkpoints and resume."""

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import nn
from tqdm import tqdm

from colorlib.batches import Batches
from colorlib.config import bf16_on_cpu
from colorlib.data import Loaders
from colorlib.metrics import evaluate, predict
from colorlib.tensors import WeightsError, load_checkpoint, save_checkpoint

CHECKPOINT_SECONDS = 60  # a crash loses at most this much training
N_PREVIEW = 8  # held-out images whose prediction is kept after every epoch


@dataclass
class History:
    """The record of a training.

    `rows` has one dict per epoch: "epoch", the mean training losses, and "valid_…" scores on the validation images.
    `previews` has, per epoch, the ab (8, 2, H, W) predicted for the first of those images.
    """

    rows: list[dict[str, float]] = field(default_factory=list)
    previews: list[torch.Tensor] = field(default_factory=list)
    seconds: float = 0.0
    interrupted: bool = False

    def __getitem__(self, key: str) -> list[float]:
        """Return one quantity, a value per epoch."""
        return [row[key] for row in self.rows]

    def __repr__(self) -> str:
        if not self.rows:
            return "no epoch has finished yet"
        keys = list(self.rows[-1])
        lines = ["  ".join(f"{key:>{max(8, len(key))}}" for key in keys)]
        for row in self.rows:
            numbers = (f"{row[key]:g}" if key == "epoch" else f"{row[key]:.3f}" for key in keys)
            lines.append("  ".join(f"{n:>{max(8, len(key))}}" for n, key in zip(numbers, keys, strict=True)))
        return "\n".join(lines)


def run_epochs(
    step: Callable[..., dict[str, torch.Tensor]],
    model: nn.Module,
    loaders: Loaders,
    epochs: int,
    *,
    state: dict,
    settings: dict,
    checkpoint: str | os.PathLike | None,
    resume: bool,
    progress: bool,
    measure: Callable[[], dict[str, float]] | None = None,
) -> History:
    """Call `step` on every training batch for `epochs` epochs; measure, record and save after each.

    Args:
        step: (L, ab), and labels if the loaders have them -> named losses, detached. It updates the parts in `state`.
        model: the network that is trained and measured; it ends in eval mode.
        loaders: `train` for the steps, `valid` for the measurement after each epoch.
        epochs: passes over `loaders.train`.
        state: named objects with `state_dict` and `load_state_dict`, everything that a resumed training needs.
        settings: plain values that must be unchanged when a checkpoint is resumed.
        checkpoint, resume, progress: as in `training.fit_reconstruction`.
        measure: () -> scores of the epoch, for a model that is not a generator; it has no previews.
    """
    settings = settings | {"source": loaders.source, "seed": loaders.train.seed, "batches": len(loaders.train)}
    history, place, sums = History(), {"epoch": 0, "batch": 0}, {}
    if checkpoint and Path(checkpoint).exists():
        if not resume:
            raise FileExistsError(
                f"{checkpoint} holds a training already: pass resume=True to continue it, or delete it."
            )
        history, place, sums = _load(checkpoint, state, settings)
    clock = time.monotonic() - history.seconds

    def save() -> None:
        history.seconds = time.monotonic() - clock
        if checkpoint:
            _save(checkpoint, state, settings, history, place, sums)

    history.interrupted = False
    saved_at = time.monotonic()
    bar = tqdm(
        total=epochs * len(loaders.train),
        initial=place["epoch"] * len(loaders.train) + place["batch"],
        unit="batch",
        leave=False,
        **({} if progress else {"disable": True}),  # otherwise TQDM_DISABLE decides
    )
    with bar, interrupt_between_steps() as interrupt:
        while place["epoch"] < epochs and not interrupt.is_set():
            model.train()
            for batch in loaders.train.epoch(place["epoch"], start=place["batch"]):
                for name, loss in step(*batch).items():
                    sums[name] = sums.get(name, 0) + loss
                place["batch"] += 1
                bar.update()
                if interrupt.is_set():
                    break
                if checkpoint and time.monotonic() - saved_at > CHECKPOINT_SECONDS:
                    save()
                    saved_at = time.monotonic()
            if place["batch"] == len(loaders.train):
                row = {name: float(total) / len(loaders.train) for name, total in sums.items()}
                scores = measure() if measure else held_out_scores(model, loaders.valid)
                history.rows.append({"epoch": place["epoch"] + 1} | row | scores)
                if not measure:
                    history.previews.append(predict(model, loaders.valid.first(N_PREVIEW)[0]))
                place, sums = {"epoch": place["epoch"] + 1, "batch": 0}, {}
                bar.set_postfix({name: f"{value:.3g}" for name, value in list(scores.items())[:1]})
    history.interrupted = place["epoch"] < epochs
    save()
    if history.interrupted:
        print(f"Stopped in epoch {place['epoch'] + 1} of {epochs}; what was learned so far is kept.")
    model.eval()
    return history


def held_out_scores(generator: nn.Module, loader: Batches) -> dict[str, float]:
    """Return the validation scores that are recorded after every epoch, named "valid_…"."""
    scores = evaluate(generator, loader)
    keys = [key for key in scores if key.startswith(("ab_mae", "chroma_ratio"))]
    return {f"valid_{key}": scores[key] for key in keys}


def mixed_precision(device: torch.device) -> torch.autocast:
    """Return bfloat16 autocast, enabled on CUDA, and on the CPU if COLORLIB_BF16=1."""
    fast = device.type == "cuda" or (device.type == "cpu" and bf16_on_cpu())
    return torch.autocast(device.type, torch.bfloat16, enabled=fast)


@contextmanager
def interrupt_between_steps() -> Iterator[threading.Event]:
    """Turn the first Ctrl-C into an event that the loop checks between steps, so that no step is left half done.

    A second Ctrl-C interrupts at once. Outside the main thread, where Python allows no handler, the event stays unset.
    """
    requested = threading.Event()

    def request(signum, frame):
        if requested.is_set():
            raise KeyboardInterrupt
        requested.set()

    if threading.current_thread() is not threading.main_thread():
        yield requested
        return
    before = signal.signal(signal.SIGINT, request)
    try:
        yield requested
    finally:
        signal.signal(signal.SIGINT, before)


def _save(path: str | os.PathLike, state: dict, settings: dict, history: History, place: dict, sums: dict) -> None:
    save_checkpoint(
        {
            "state": {name: part.state_dict() for name, part in state.items()},
            "settings": settings,
            "history": vars(history),
            "place": place,
            "sums": {name: float(total) for name, total in sums.items()},
            "torch_rng": torch.get_rng_state(),
            "cuda_rng": torch.cuda.get_rng_state_all() if torch.cuda.is_available() else [],
        },
        path,
    )


def _load(path: str | os.PathLike, state: dict, settings: dict) -> tuple[History, dict, dict]:
    saved = load_checkpoint(path)
    if not isinstance(saved, dict) or "settings" not in saved:
        raise WeightsError(f"{path}: not a checkpoint of colorlib.")
    changed = [name for name in settings if saved["settings"].get(name) != settings[name]]
    if changed:
        was, now = ({name: values.get(name) for name in changed} for values in (saved["settings"], settings))
        raise ValueError(f"{path} was trained with {was}, not {now}; use those settings or another checkpoint.")
    for name, part in state.items():
        part.load_state_dict(saved["state"][name])
    torch.set_rng_state(saved["torch_rng"])
    if saved["cuda_rng"] and torch.cuda.is_available():
        torch.cuda.set_rng_state_all(saved["cuda_rng"])
    return History(**saved["history"]), saved["place"], saved["sums"]
