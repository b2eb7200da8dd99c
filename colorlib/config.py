"""Settings of a run (preset, device, seed), and validation of the render size and the saturation."""

import numbers
import os
import random
from dataclasses import dataclass, replace

import numpy as np

MIN_RENDER_SIZE, MAX_RENDER_SIZE = 32, 2048  # a ResNet encoder needs 31 px
MAX_SATURATION = 10.0


@dataclass(frozen=True)
class RunConfig:
    """The settings of a chapter, so that the same notebook works on a laptop and on a GPU.

    `quick` is real training on few enough images for two CPU cores. `full` runs the same code with more images and
    epochs.
    """

    preset: str  # "quick" or "full"
    device: str  # "cpu", "cuda", "mps", as torch names them
    seed: int = 0
    size: int = 64  # side of a training image, pixels
    n_train: int = 1500  # painted scenes to train on
    n_test: int = 200  # painted scenes for testing, and the same number for validation
    epochs: int = 5  # of the reconstruction stage
    gan_epochs: int = 5  # of the adversarial stage
    photo_epochs: int = 12  # of a training on photos
    base_channels: int = 16  # width of the U-Net's first level

    def summary(self) -> str:
        """Return one line that describes the run."""
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
        ValueError: `COLORLIB_RUN` is neither "quick" nor "full", or the device is not available.
    """
    preset = os.environ.get("COLORLIB_RUN", "quick")
    if preset not in PRESETS:
        raise ValueError(f"COLORLIB_RUN is {preset!r}; set it to one of: {', '.join(PRESETS)}.")
    return replace(PRESETS[preset], device=pick_device(os.environ.get("COLORLIB_DEVICE")))


def pick_device(name: str | None = None) -> str:
    """Return `name` if that device is available; without a name, the first available of "cuda", "mps", "cpu".

    Raises:
        ValueError: the named device is unknown or not available on this machine.
    """
    import torch

    available = {
        "cuda": torch.cuda.is_available(),
        "mps": torch.backends.mps.is_available(),
        "cpu": True,
    }
    if not name:
        return next(device for device, works in available.items() if works)
    if not available.get(name.split(":")[0], False):
        there = ", ".join(device for device, works in available.items() if works)
        raise ValueError(f"The device {name!r} is not available here; use one of: {there}.")
    return name


def bf16_on_cpu() -> bool:
    """Return whether `COLORLIB_BF16=1` requests training in bfloat16 on the CPU.

    Training in bfloat16 is nearly twice as fast on CPUs that support it in hardware (AVX512-BF16 or AMX), and several
    times slower on others.
    """
    return os.environ.get("COLORLIB_BF16") == "1"


def seed_everything(seed: int) -> None:
    """Seed the random number generators of Python, NumPy and torch, to make a training run repeatable."""
    import torch

    random.seed(seed)
    np.random.seed(seed)
    torch.manual_seed(seed)


def check_render_size(render_size: int) -> int:
    """Return `render_size`; raise ValueError unless it is a whole number from 32 to 2048, pixels."""
    whole = isinstance(render_size, numbers.Integral) and not isinstance(render_size, bool)
    if not whole or not MIN_RENDER_SIZE <= render_size <= MAX_RENDER_SIZE:
        raise ValueError(
            f"render_size must be a whole number of pixels from {MIN_RENDER_SIZE} to {MAX_RENDER_SIZE}, "
            f"got {render_size!r}."
        )
    return int(render_size)


def check_saturation(saturation: float) -> float:
    """Return `saturation`; raise ValueError unless it is a number from 0 (gray) to 10."""
    number = isinstance(saturation, numbers.Real) and not isinstance(saturation, bool)
    if not number or not 0 <= saturation <= MAX_SATURATION:  # also refuses nan
        raise ValueError(f"saturation must be a number from 0 (gray) to {MAX_SATURATION:g}, got {saturation!r}.")
    return float(saturation)
