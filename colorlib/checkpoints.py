"""The state of a training: a copy in memory while all is finite, and a checkpoint from which it continues exactly."""

import math
import os
import reprlib
import time
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
from torch import nn
from torch.optim.swa_utils import AveragedModel

from colorlib.metrics import NonFiniteError
from colorlib.tensors import WeightsError, load_checkpoint, pack_checkpoint, save_checkpoint, unpack_checkpoint

CHECK_BATCHES = 50  # batches between two checks that the losses are finite; each makes a GPU wait
VAGUE = ("checksum of the images", "number of weights")  # settings that are named only if nothing else has changed


@dataclass
class History:
    """The record of a training.

    `rows` has one dict per epoch: "epoch", the mean training losses, and "valid_…" scores on the validation images.
    `previews` has, per epoch, the ab (8, 2, H, W) predicted for the first of those images.
    `interrupted`: Ctrl-C ended the training early. `diverged`: where a loss became nan or infinite, in a sentence.
    """

    rows: list[dict[str, float]] = field(default_factory=list)
    previews: list[torch.Tensor] = field(default_factory=list)
    seconds: float = 0.0
    interrupted: bool = False
    diverged: str = ""

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


class Training:
    """The state of a training: networks, optimizers, schedules, history, and the next batch.

    `epoch` and `batch` count from 0; `sums` has the losses of the epoch so far.

    Args:
        parts: named objects with `state_dict` and `load_state_dict`, everything that a resumed training needs.
        settings: groups of plain values that must be unchanged when a checkpoint is resumed, see `setting_changes`.
            Those of the networks are added.
        path: of the checkpoint, None for a training without one.
    """

    def __init__(self, parts: dict, settings: dict[str, dict], path: str | os.PathLike | None):
        self.parts, self.path = parts, path
        self.networks = {name: part for name, part in parts.items() if isinstance(part, nn.Module)}
        self.settings = settings | {
            name: network_settings(part) for name, part in self.networks.items() if not isinstance(part, AveragedModel)
        }
        self.history, self.epoch, self.batch, self.sums = History(), 0, 0, {}
        self.started, self.written_at, self.has_warned = time.monotonic(), None, False
        self.unchecked = []  # the losses of each batch since the last check
        self.never_finite = self._not_finite()  # a mask of -inf, for instance

    def add(self, losses: Mapping[str, torch.Tensor]) -> None:
        """Count a batch and add its losses to those of the epoch."""
        for name, loss in losses.items():
            self.sums[name] = self.sums.get(name, 0) + loss
        self.batch += 1
        self.unchecked.append(losses)
        if len(self.unchecked) == CHECK_BATCHES:
            self.check()

    def check(self, weights: bool = False) -> None:
        """Raise NonFiniteError if a loss (or weight, if `weights`) is not finite; `batch` is then the first bad one."""
        if not all(math.isfinite(total) for total in self.sums.values()):
            for batch, losses in enumerate(self.unchecked, start=self.batch - len(self.unchecked) + 1):
                for name, loss in losses.items():
                    if not math.isfinite(loss):
                        self.batch = batch
                        raise NonFiniteError(f"{name} is {float(loss)}")
        self.unchecked.clear()
        if weights and self._not_finite() - self.never_finite:
            raise NonFiniteError("a weight is not finite")

    def end_epoch(self, n_batches: int, scores: dict[str, float], previews: list[torch.Tensor]) -> None:
        """Record the mean losses and the scores of an epoch."""
        losses = {name: float(total) / n_batches for name, total in self.sums.items()}
        self.history.rows.append({"epoch": self.epoch + 1} | losses | scores)
        self.history.previews += previews
        self.epoch, self.batch, self.sums = self.epoch + 1, 0, {}
        self.keep()

    def keep(self) -> None:
        """Copy everything to memory. Raise NonFiniteError instead if a loss or a weight is not finite."""
        self.check(weights=True)
        self.history.seconds = time.monotonic() - self.started
        self.kept = pack_checkpoint(
            {
                "settings": self.settings,
                "state": {name: part.state_dict() for name, part in self.parts.items()},
                "history": vars(self.history),
                "place": (self.epoch, self.batch),
                "sums": {name: float(total) for name, total in self.sums.items()},
                "torch_rng": torch.get_rng_state(),
                "cuda_rng": torch.cuda.get_rng_state_all() if torch.cuda.is_available() else [],
            }
        )

    def save(self) -> None:
        """`keep`, and write the checkpoint. If that fails, raise OSError the first time, and warn once later."""
        self.keep()
        try:
            if self.path:
                save_checkpoint(self.kept, self.path)
        except OSError as error:
            if self.written_at is None:
                raise
            if not self.has_warned:
                warnings.warn(f"{str(error).rstrip('.')}; the training goes on without it.", stacklevel=2)
            self.has_warned = True
        self.written_at = time.monotonic()

    def load(self) -> None:
        """Continue the training that the checkpoint belongs to.

        Raises:
            WeightsError: the file can't be read, or is not of this training. The networks are as before.
        """
        saved = load_checkpoint(self.path)
        self.keep()
        try:
            if changes := setting_changes(saved["settings"], self.settings):
                changes = "; ".join(changes)
                raise ValueError(f"its settings differ ({changes}); use the old ones again, or another checkpoint")
            for name, network in self.networks.items():
                if _shapes(saved["state"][name]) != _shapes(network.state_dict()):
                    raise ValueError(f"the weights in it do not fit the {name}")
            self._restore(saved)
        except (LookupError, TypeError, AttributeError, ValueError, RuntimeError) as error:
            self._restore(unpack_checkpoint(self.kept))
            raise WeightsError(f"{self.path} can't be continued: {str(error).rstrip('.')}.") from error
        self.history.interrupted = False
        self.started = time.monotonic() - self.history.seconds

    def go_back(self, reason: Exception, n_batches: int) -> None:
        """Return to the copy in memory, and warn with the reason and the place of the failure."""
        where = f"epoch {self.epoch + 1}, batch {self.batch} of {n_batches}"
        self._restore(unpack_checkpoint(self.kept))
        self.save()
        kept = f"batch {self.batch} of epoch {self.epoch + 1}" if self.batch else f"epoch {self.epoch}"
        kept = f"the weights after {kept}" if self.epoch or self.batch else "the weights that it began with"
        self.history.diverged = (
            f"The training diverged in {where} ({reason}) and stopped with {kept}: "
            "start again with a lower learning rate."
        )
        warnings.warn(self.history.diverged, stacklevel=2)

    def _restore(self, saved: dict) -> None:
        history, (epoch, batch), sums = History(**saved["history"]), saved["place"], saved["sums"]
        for name, part in self.parts.items():
            part.load_state_dict(saved["state"][name])
        torch.set_rng_state(saved["torch_rng"])
        for device, rng in enumerate(saved["cuda_rng"][: torch.cuda.device_count()]):
            torch.cuda.set_rng_state(rng, device)
        self.history, self.epoch, self.batch, self.sums, self.unchecked = history, epoch, batch, sums, []

    def _not_finite(self) -> set[tuple[str, str]]:
        values = {(name, key): value for name, net in self.networks.items() for key, value in net.state_dict().items()}
        return {name for name, value in values.items() if torch.is_tensor(value) and not value.isfinite().all()}


def network_settings(network: nn.Module) -> dict:
    """Return what a checkpoint compares of a network: its class, its recipe if it has one, and its size."""
    numbers = sum(math.prod(shape) for shape in _shapes(network.state_dict()).values())
    return {"class": type(network).__name__} | getattr(network, "recipe", {}) | {"number of weights": numbers}


def setting_changes(before: dict[str, dict], now: dict[str, dict]) -> list[str]:
    """Compare groups of settings; return each difference as "size was 64, now 128".

    Another "stage" or "class" explains all that differs with it, so it is named alone.
    """
    short = reprlib.Repr()  # `before` comes from a file: any size, any depth
    short.maxstring = short.maxother = 200
    changes = []
    for group, values in now.items():
        old = before.get(group, {})
        names = [name for name in values if name not in old or old[name] != values[name]]
        if VAGUE[0] in values and VAGUE[0] not in names:
            names = [name for name in names if name != "source"]  # the same images, moved to another folder
        if names[:1] in (["stage"], ["class"]):
            names = names[:1]
        names = [name for name in names if name not in VAGUE] or names
        label = f"{group} " if "class" in values else ""
        for name in names:
            was = short.repr(old[name]) if name in old else "not recorded"
            changes.append(f"{label}{name} was {was}, now {values[name]!r}")
        if names == ["stage"]:
            break
    return changes


def _shapes(state: Mapping) -> dict[str, torch.Size]:
    return {name: value.shape for name, value in state.items() if torch.is_tensor(value)}
