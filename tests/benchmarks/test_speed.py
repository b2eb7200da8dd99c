"""Speed relative to other libraries, measured in the same run. `make bench` prints the ratios; no test checks them."""

import subprocess
import sys
import time
from collections.abc import Callable

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from skimage.color import lab2rgb, rgb2lab

import colorlib
from colorlib.brush import TouchUp
from colorlib.colorizer import upsample_ab
from colorlib.data import bundled_photo, make_loaders
from colorlib.losses import RECONSTRUCTION
from colorlib.strokes import Stroke
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
    images = rgb.permute(0, 2, 3, 1).contiguous().numpy()
    peer, ours = seconds(lambda: rgb2lab(images)), seconds(lambda: colorlib.rgb_to_lab(rgb))
    print(
        f"\nrgb_to_lab, 32×3×256×256 uint8: {1000 * ours:.0f} ms, scikit-image {1000 * peer:.0f} ms: {peer / ours:.1f}×"
    )


def test_a_batch_beside_a_training_step():
    """Cropping, flipping and the conversion to Lab should take little of the time of a training step."""
    loaders = make_loaders("scenes", size=64, n_train=80, n_test=2)
    net = colorlib.UNet().to(memory_format=torch.channels_last)
    optimizer = torch.optim.AdamW(net.parameters(), 1e-3)
    L, ab = next(iter(loaders.train))
    batch = seconds(lambda: list(loaders.train.epoch(0))) / len(loaders.train)
    step = seconds(lambda: reconstruction_step(net, optimizer, L, ab, RECONSTRUCTION["l1"]))
    print(f"\na batch of {len(L)} at 64 px: {1000 * batch:.1f} ms, its training step {1000 * step:.1f} ms")


def test_channels_last_beside_the_default():
    L, ab = torch.rand(8, 1, 64, 64), torch.rand(8, 2, 64, 64)
    times = {}
    for name, memory_format in {"default": torch.contiguous_format, "channels_last": torch.channels_last}.items():
        net = colorlib.UNet().to(memory_format=memory_format)
        optimizer = torch.optim.AdamW(net.parameters(), 1e-3)
        times[name] = seconds(lambda net=net, o=optimizer: reconstruction_step(net, o, L, ab, RECONSTRUCTION["l1"]))
    print(f"\na U-Net step, channels_last against the default layout: {times['default'] / times['channels_last']:.2f}×")


def test_coloring_12_megapixels_beside_reading_and_saving_them(tmp_path):
    """Whole processes: start, import, load, read, work, save. The peer does all but the coloring."""
    rgb = Image.effect_noise((1000, 750), 40).resize((4000, 3000), Image.Resampling.BICUBIC).convert("RGB")
    rgb.save(tmp_path / "photo.jpg", quality=92)
    colorlib.save_generator(
        colorlib.UNet(32, 4), tmp_path / "w.safetensors", colorlib.WeightsInfo(render_size=256), bits=16
    )
    report = "; import resource; print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)"
    command = ["colorize", "photo.jpg", "--out", "out", "--weights", "w.safetensors", "--device", "cpu", "--overwrite"]
    ours = f"from colorlib.__main__ import main; assert main({command}) == 0{report}"
    peer = f"import torch, colorlib; colorlib.save_image(colorlib.read_image('photo.jpg'), 'peer.jpg', True){report}"
    times, peaks = {}, {}
    for name, code in {"ours": ours, "peer": peer}.items():

        def process(name=name, code=code):
            done = subprocess.run(
                [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True
            )
            peaks[name] = int(done.stdout.split()[-1]) / (1e6 if sys.platform != "darwin" else 1e9)  # GB

        times[name] = seconds(process, repeats=3)
    print(
        f"\n12 MP, whole process: {times['ours']:.1f} s and {peaks['ours']:.2f} GB at its peak; without the coloring "
        f"{times['peer']:.1f} s and {peaks['peer']:.2f} GB: {times['ours'] / times['peer']:.1f}×"
    )


def test_a_stroke_on_12_megapixels_beside_a_conversion_to_lab_and_back():
    """The peer converts the photo with scikit-image, in float32, as any correction of colors in Lab has to."""
    photo = np.asarray(Image.fromarray(bundled_photo("coffee")).resize((4243, 2829), Image.Resampling.BICUBIC))
    pictures = {"12 MP": photo, "on the page": np.asarray(Image.fromarray(photo).resize((1200, 800)))}
    peer = seconds(lambda: lab2rgb(rgb2lab(photo.astype(np.float32) / 255)), repeats=3)
    for name, picture in pictures.items():
        tool, strokes, times = TouchUp(picture), [], []
        for i in range(8):  # each stroke is added to those before, as on the page
            x, y = 0.1 + 0.1 * i, 0.8 - 0.08 * i
            strokes.append(Stroke([(x, y), (x + 0.08, y + 0.04)], (40 - 10 * i, 10 * i - 35), 0.012))
            start = time.perf_counter()
            tool.apply(strokes)
            times.append(time.perf_counter() - start)
        later = sorted(times[1:])
        print(
            f"\na stroke, {name}: first {times[0]:.2f} s, later {later[3]:.2f} s (worst {later[-1]:.2f} s); "
            f"scikit-image, 12 MP to Lab and back: {peer:.2f} s: {peer / later[3]:.1f}×"
        )


def test_guided_upsampling_beside_bilinear():
    L = torch.rand(1, 1, 1024, 1024) * 2 - 1
    L_small, ab = F.avg_pool2d(L, 8), torch.rand(1, 2, 128, 128) - 0.5
    peer = seconds(lambda: F.interpolate(ab, size=(1024, 1024), mode="bilinear"))
    ours = seconds(lambda: upsample_ab(ab, L_small, L))
    print(f"\nupsample_ab, 128 px to 1024 px: {1000 * ours:.0f} ms, bilinear {1000 * peer:.0f} ms: {ours / peer:.0f}×")
