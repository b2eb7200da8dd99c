"""What a run is made of: the preset (quick or full), the device, the seed."""

import os
import random
from dataclasses import dataclass, replace

import numpy as np
import torch


@dataclass(frozen=True)
class RunConfig:
    """The settings a chapter reads, so that one notebook serves a laptop and a GPU.

    `quick` is a real training, made small enough for two CPU cores. `full` is the same code on more
    pictures, for longer.
    """

    preset: str  # "quick" or "full"
    device: str  # "cpu", "cuda", "mps", as torch names them
    seed: int = 0
    size: int = 64  # side of a training picture, pixels
    n_train: int = 1500  # painted scenes to train on
    n_test: int = 200  # painted scenes to report on, and as many to choose by
    epochs: int = 5  # of the reconstruction stage
    gan_epochs: int = 5  # of the adversarial stage
    photo_epochs: int = 12  # of the trainings on photos
    base_channels: int = 16  # width of the U-Net's first level

    def summary(self) -> str:
        """Return one line that says what this run will do and where."""
        return (
            f"{self.preset} run on {self.device} · seed {self.seed} · {self.n_train:,} painted scenes "
            f"of {self.size}×{self.size} px, {self.n_test} held out"
        )


PRESETS = {
    "quick": RunConfig(preset="quick", device="cpu"),
    "full": RunConfig(
        preset="full", device="cpu", size=128, n_train=10_000, n_test=1_000, epochs=20, gan_epochs=20,
        photo_epochs=40, base_channels=32,
    ),
}  # fmt: skip


def from_env() -> RunConfig:
    """Return the preset named by `COLORLIB_RUN` ("quick" when unset), on the device `COLORLIB_DEVICE` or the best one.

    Raises:
        ValueError: `COLORLIB_RUN` is neither "quick" nor "full", or the device is not there.
    """
    preset = os.environ.get("COLORLIB_RUN", "quick")
    if preset not in PRESETS:
        raise ValueError(f"COLORLIB_RUN is {preset!r}; set it to one of: {', '.join(PRESETS)}.")
    return replace(PRESETS[preset], device=pick_device(os.environ.get("COLORLIB_DEVICE")))


def pick_device(name: str | None = None) -> str:
    """Return `name` if that device works here; without a name, "cuda", else "mps", else "cpu".

    Raises:
        ValueError: the named device is unknown or not available on this machine.
    """
    available = {
        "cuda": torch.cuda.is_available(),
        "mps": torch.backends.mps.is_available(),
        "cpu": True,
    }
    if not name:
        return next(device for device, there in available.items() if there)
    if not available.get(name.split(":")[0], False):
        there = ", ".join(device for device, is_there in available.items() if is_there)
        raise ValueError(f"The device {name!r} is not available here; use one of: {there}.")
    return name


def bf16_on_cpu() -> bool:
    """Tell whether `COLORLIB_BF16=1` asks for training in bfloat16 on the CPU.

    On CPUs that have it in hardware (AVX512-BF16 or AMX) that is nearly twice as fast, on others several times slower.
    """
    return os.environ.get("COLORLIB_BF16") == "1"


def seed_everything(seed: int) -> None:
    """Seed Python's, NumPy's and torch's random numbers, so that the next training repeats itself."""
    random.seed(seed)
    np.random.seed(seed)
    torch.manual_seed(seed)
