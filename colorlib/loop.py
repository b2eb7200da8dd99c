"""The training loop that all `fit_*` functions share: progress, validation, interruption, checkpoints and resuming."""

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from torch import nn
from tqdm import tqdm

from colorlib.batches import Batches
from colorlib.checkpoints import History, Training
from colorlib.config import bf16_on_cpu
from colorlib.data import Loaders
from colorlib.metrics import NonFiniteError, evaluate, predict

CHECKPOINT_SECONDS = 60  # a crash loses at most this much training
N_PREVIEW = 8  # held-out images whose prediction is kept after every epoch


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
        step: takes L, ab, and labels if the loaders have them; updates the objects in `state`, and returns the named
            losses, detached.
        model: the network to train and validate; it is left in eval mode.
        loaders: `train` for the steps, `valid` for the measurement after each epoch.
        epochs: passes over `loaders.train`.
        state: everything needed to resume training: named objects with `state_dict` and `load_state_dict`.
        settings: plain values, "stage" first, that must be unchanged when a checkpoint is resumed. Those of the
            networks and the loaders are added.
        checkpoint, resume, progress: as in `training.fit_reconstruction`.
        measure: () -> scores of the epoch, for a model that is not a generator. The history then has no previews.
    Raises:
        ValueError: a negative number of epochs, batches too small for the network, or a checkpoint that can't be
            continued.
        FileExistsError: the checkpoint exists and `resume` is False.
        OSError: the checkpoint can't be written before the first step. Later, that is a warning.
    """
    if epochs < 0:
        raise ValueError(f"epochs must be at least 0, got {epochs}.")
    train, is_new = loaders.train, not (checkpoint and Path(checkpoint).exists())
    training = Training(state, {"fit": settings, "data": loaders.settings()}, checkpoint)
    if not is_new:
        if not resume:
            raise FileExistsError(
                f"{checkpoint} already contains a training run: pass resume=True to continue it, or delete the file."
            )
        training.load()
        if training.epoch >= epochs:
            model.eval()
            return training.history

    def explained_step(batch: tuple[torch.Tensor, ...]) -> dict[str, torch.Tensor]:
        try:
            return step(*batch)
        except (ValueError, RuntimeError) as error:
            if checkpoint and is_new and training.epoch == training.batch == 0:
                Path(checkpoint).unlink()  # nothing is trained yet: the next attempt may have other settings
            if explained := _too_small(error, batch[0], train):
                raise explained from error
            raise

    bar = tqdm(
        total=epochs * len(train),
        initial=training.epoch * len(train) + training.batch,
        unit="batch",
        leave=False,
        **({} if progress else {"disable": True}),  # otherwise TQDM_DISABLE decides
    )
    with bar, interrupt_between_steps() as interrupt:
        try:
            training.save()
            while training.epoch < epochs and not interrupt.is_set():
                model.train()
                for batch in train.epoch(training.epoch, start=training.batch):
                    training.add(explained_step(batch))
                    bar.update()
                    if interrupt.is_set():
                        break
                    if time.monotonic() - training.written_at > CHECKPOINT_SECONDS:
                        training.save()
                if training.batch == len(train):
                    training.check(weights=True)
                    try:
                        scores = measure() if measure else held_out_scores(model, loaders.valid)
                        previews = [] if measure else [predict(model, loaders.valid.first(N_PREVIEW)[0])]
                    except KeyboardInterrupt:  # the second Ctrl-C: a resumed training measures again
                        break
                    except NonFiniteError as error:
                        raise NonFiniteError("the predictions are not finite") from error
                    training.end_epoch(len(train), scores, previews)
                    bar.set_postfix({name: f"{value:.3g}" for name, value in list(scores.items())[:1]})
            training.history.interrupted = training.epoch < epochs
            training.save()
        except NonFiniteError as error:
            training.go_back(error, len(train))
    history = training.history
    if history.interrupted:
        print(f"Stopped in epoch {training.epoch + 1} of {epochs}; what was learned so far is kept.")
    model.eval()
    return history


def held_out_scores(generator: nn.Module, loader: Batches) -> dict[str, float]:
    """Return the validation scores that are recorded after every epoch, named "valid_…"."""
    scores = evaluate(generator, loader, perceptual=False)
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


def _too_small(error: Exception, L: torch.Tensor, train: Batches) -> ValueError | None:
    """Return what to do about an error of torch that comes from too few or too small images; None for other errors."""
    size = L.shape[-1]
    if "more than 1 value per channel" in str(error):  # one image, one pixel
        more = ["a larger batch_size"] if train.batch_size == 1 else []
        more += ["more than one training image"] if len(train.rgb) * train.repeats == 1 else []
        return ValueError(
            f"A batch of one image of {size}×{size} px is too small for BatchNorm, because the network reduces it to "
            f"a single pixel: use {' and '.join(more)}, or a larger size."
        )
    if any(words in str(error) for words in ("Kernel size can't be greater than", "Padding size should be less than")):
        return ValueError(f"Images of {size}×{size} px are too small for the network: use a larger size.")
    return None
