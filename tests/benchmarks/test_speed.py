"""How fast are we beside a peer, in the same run? `make bench` prints the ratios; nothing here fails for being slow."""

import time
from collections.abc import Callable

import torch
from skimage.color import rgb2lab

import colorlib
from colorlib.data import make_loaders
from colorlib.losses import RECONSTRUCTION
from colorlib.training import reconstruction_step


def seconds(call: Callable[[], object], repeats: int = 9) -> float:
    """Return the median time of a call, after one to warm up."""
    call()
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        call()
        times.append(time.perf_counter() - start)
    return sorted(times)[repeats // 2]


def test_rgb_to_lab_beside_scikit_image():
    rgb = torch.randint(0, 256, (32, 3, 256, 256), dtype=torch.uint8)
    pictures = rgb.permute(0, 2, 3, 1).contiguous().numpy()
    peer, ours = seconds(lambda: rgb2lab(pictures)), seconds(lambda: colorlib.rgb_to_lab(rgb))
    print(
        f"\nrgb_to_lab, 32×3×256×256 uint8: {1000 * ours:.0f} ms, scikit-image {1000 * peer:.0f} ms: {peer / ours:.1f}×"
    )


def test_a_batch_beside_the_step_that_learns_from_it():
    """Cropping, flipping and Lab should cost little of a training step."""
    loaders = make_loaders("scenes", size=64, n_train=80, n_test=2)
    net = colorlib.UNet().to(memory_format=torch.channels_last)
    optimizer = torch.optim.AdamW(net.parameters(), 1e-3)
    L, ab = next(iter(loaders.train))
    batch = seconds(lambda: list(loaders.train.epoch(0))) / len(loaders.train)
    step = seconds(lambda: reconstruction_step(net, optimizer, L, ab, RECONSTRUCTION["l1"]))
    print(f"\na batch of {len(L)} at 64 px: {1000 * batch:.1f} ms to make, {1000 * step:.1f} ms to learn from")


def test_channels_last_beside_the_default():
    L, ab = torch.rand(8, 1, 64, 64), torch.rand(8, 2, 64, 64)
    times = {}
    for name, memory_format in {"default": torch.contiguous_format, "channels_last": torch.channels_last}.items():
        net = colorlib.UNet().to(memory_format=memory_format)
        optimizer = torch.optim.AdamW(net.parameters(), 1e-3)
        times[name] = seconds(lambda net=net, o=optimizer: reconstruction_step(net, o, L, ab, RECONSTRUCTION["l1"]))
    print(f"\na U-Net step, channels_last against the default layout: {times['default'] / times['channels_last']:.2f}×")
