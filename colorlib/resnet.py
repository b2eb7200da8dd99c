"""U-Nets whose encoder is a ResNet, pretrained or not: with fastai's decoder, made safe to use, or with a slim one.

Source: He et al. 2016 for the encoder; Howard and Gugger's fastai for its decoder (PixelShuffle with ICNR).
"""

import json
import os
import warnings

import torch
import torch.nn.functional as F
from torch import nn

from colorlib.downloads import fetch_encoder_weights
from colorlib.files import WeightsError, in_half_precision, in_whole_precision, load_tensors, save_tensors

ENCODER_FORMAT = "colorlib encoder 1"
ARCHS = ("resnet18", "resnet34")
# The encoder's first layer is the sum of ImageNet's over red, green and blue, so it wants gray in [0, 1] with
# ImageNet's mean and spread: the averages of the three channels' values.
GRAY_MEAN, GRAY_STD = 0.449, 0.226
N_FEATURES = 512  # channels that the encoder of either gives, at 1/32 of the picture's side
SKIPS = (2, 4, 5, 6)  # layers of the encoder whose output a decoder sees again, at 1/2, 1/4, 1/8, 1/16
SLIM_WIDTHS = (128, 64, 48, 32)  # channels of the slim decoder at 1/16, 1/8, 1/4, 1/2
BUILD_SIZE = (64, 64)  # DynamicUnet measures its layers on a picture of this size; others work as well


class ResNetUNet(nn.Module):
    """L (B, 1, H, W) -> ab (B, 2, H, W), both in [-1, 1], for any H and W from 31 up. Made by `resnet_unet`."""

    def __init__(self, arch: str = "resnet18"):
        super().__init__()
        create_body, DynamicUnet = _import_fastai()
        self.recipe = {"arch": arch}
        encoder = create_body(_torchvision_resnet(arch), n_in=1, pretrained=False, cut=-2)
        net = DynamicUnet(encoder, n_out=2, img_size=BUILD_SIZE)
        net.layers[-1] = nn.Identity()  # it gave fastai's tensor type, which torch.compile can't follow
        self.net = net.train()  # DynamicUnet leaves its BatchNorms in eval mode

    @property
    def encoder(self) -> nn.Sequential:
        """The ResNet without its classifier: (B, 1, H, W) gray -> features."""
        return self.net.layers[0]

    def forward(self, L: torch.Tensor) -> torch.Tensor:
        ab = torch.tanh(self.net(normalize_gray(L)))
        return ab.as_subclass(torch.Tensor)

    def __deepcopy__(self, memo: dict) -> "ResNetUNet":
        """Copy the network; a plain copy trips over the activations that fastai's hooks keep."""
        copy = ResNetUNet(**self.recipe).to(next(self.parameters()))
        copy.load_state_dict(self.state_dict())
        return copy.train(self.training)


class SlimResNetUNet(nn.Module):
    """L (B, 1, H, W) -> ab (B, 2, H, W), both in [-1, 1], for any H and W. Made by `resnet_unet(decoder="slim")`.

    The decoder is small: most of what a network can know about color is in the encoder, and ab is smooth. At each
    level the features are enlarged, joined with the encoder's of that size, and go through one 3×3 convolution. ab is
    predicted at half the image's resolution.

    Args:
        arch: "resnet18" (12.3 million weights in all) or "resnet34".
        widths: channels of the decoder at 1/16, 1/8, 1/4 and 1/2 of the image's side.
    """

    def __init__(self, arch: str = "resnet18", widths: tuple[int, ...] = SLIM_WIDTHS):
        super().__init__()
        self.recipe = {"arch": arch, "widths": list(widths)}
        resnet = _torchvision_resnet(arch)
        resnet.conv1 = nn.Conv2d(1, 64, kernel_size=7, stride=2, padding=3, bias=False)
        # Numbered as by fastai's `create_body`, so that both decoders read the same encoder files.
        self.encoder = nn.Sequential(*list(resnet.children())[:-2])
        channels, levels = N_FEATURES, []
        for skip_channels, width in zip((256, 128, 64, 64), widths, strict=True):
            convolution = nn.Conv2d(channels + skip_channels, width, kernel_size=3, padding=1, bias=False)
            levels.append(nn.Sequential(convolution, nn.BatchNorm2d(width), nn.ReLU(inplace=True)))
            channels = width
        self.decoder = nn.ModuleList(levels)
        self.head = nn.Conv2d(channels, 2, kernel_size=3, padding=1)

    def forward(self, L: torch.Tensor) -> torch.Tensor:
        height, width = L.shape[-2:]
        x = F.pad(normalize_gray(L), (0, -width % 32, 0, -height % 32), mode="replicate")
        padded_size, skips = x.shape[-2:], []
        for number, layer in enumerate(self.encoder):
            x = layer(x)
            if number in SKIPS:
                skips.append(x)
        for level in self.decoder:  # x: (B, 512, h/32, w/32) to begin with
            skip = skips.pop()
            x = level(torch.cat([F.interpolate(x, skip.shape[-2:], mode="nearest"), skip], dim=1))
        ab = torch.tanh(self.head(x))  # (B, 2, h/2, w/2)
        ab = F.interpolate(ab, padded_size, mode="bilinear", align_corners=False)
        return ab[..., :height, :width]


def _torchvision_resnet(arch: str) -> nn.Module:
    from torchvision import models  # late: it takes a second

    if arch not in ARCHS:
        raise ValueError(f"There is no encoder {arch!r}; choose one of: {', '.join(ARCHS)}.")
    return getattr(models, arch)(weights=None)


def normalize_gray(L: torch.Tensor) -> torch.Tensor:
    """Turn L in [-1, 1] into what a pretrained encoder expects of a gray picture."""
    return ((L + 1) / 2 - GRAY_MEAN) / GRAY_STD


class NormalizeGray(nn.Module):
    """`normalize_gray` as the first layer of a network."""

    def forward(self, L: torch.Tensor) -> torch.Tensor:
        return normalize_gray(L)


def _import_fastai() -> tuple:
    """Import what we use of fastai: late, since it takes seconds, and without its warning about torch.jit."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="`torch.jit.script` is deprecated", category=FutureWarning)
        from fastai.vision.learner import create_body
        from fastai.vision.models.unet import DynamicUnet
    return create_body, DynamicUnet


DECODERS = {"fastai": ResNetUNet, "slim": SlimResNetUNet}


def resnet_unet(
    arch: str = "resnet18", weights: str | os.PathLike | None = "imagenet", decoder: str = "fastai"
) -> ResNetUNet | SlimResNetUNet:
    """Build a U-Net on a ResNet encoder.

    Args:
        arch: "resnet18" or "resnet34".
        weights: of the encoder. "imagenet" takes torchvision's (downloaded once, then cached), None starts from random
            numbers, a path is a safetensors file: one written by `save_encoder`, or a ResNet for RGB images with
            torchvision's names, whose first layer is summed over RGB.
        decoder: "fastai" (its `DynamicUnet`; 31 million weights with a ResNet-18) or "slim" (12 million).
    Returns:
        The network, with a random decoder, in training mode.
    Raises:
        ValueError: unknown `arch` or `decoder`.
        DownloadError: the ImageNet weights are not cached and can't be downloaded; the message says what to do.
        WeightsError: the file is missing, or is not an encoder of this `arch`.
    """
    if decoder not in DECODERS:
        raise ValueError(f"There is no decoder {decoder!r}; choose one of: {', '.join(DECODERS)}.")
    generator = DECODERS[decoder](arch)
    if weights is None:
        return generator
    state = fetch_encoder_weights(arch) if weights == "imagenet" else in_whole_precision(load_tensors(weights)[0])
    if "conv1.weight" in state:
        state = encoder_state(state)
    if arch == "resnet18":  # a ResNet-18 with a third block in its last stage serves, too, without that block
        state = {name: value for name, value in state.items() if not name.startswith("7.2.")}
    try:
        generator.encoder.load_state_dict(state)
    except RuntimeError as error:
        raise WeightsError(f"{weights}: these are not the weights of a {arch} encoder.") from error
    return generator


def frozen_resnet(arch: str = "resnet18", weights: str | os.PathLike = "imagenet") -> nn.ModuleList:
    """Load the first stages of a pretrained ResNet for RGB images, in eval mode and without gradients of its own.

    Args:
        arch: "resnet18" or "resnet34".
        weights: "imagenet" (downloaded once), or a safetensors file with torchvision's names.
    Returns:
        Three modules that follow each other, from RGB (B, 3, H, W), normalized as ImageNet's, to features at 1/4, at
        1/8 and at 1/16 of its side, with 64, 128 and 256 channels.
    Raises:
        ValueError, DownloadError, WeightsError: as `resnet_unet`; also WeightsError for an encoder of gray images.
    """
    net = _torchvision_resnet(arch)
    net.layer4 = net.fc = nn.Identity()
    state = fetch_encoder_weights(arch) if weights == "imagenet" else in_whole_precision(load_tensors(weights)[0])
    state = {name: value for name, value in state.items() if not name.startswith(("layer4.", "fc."))}
    try:
        net.load_state_dict(state)
    except RuntimeError as error:
        raise WeightsError(f"{weights}: these are not the weights of a {arch} for RGB images.") from error
    first = nn.Sequential(net.conv1, net.bn1, net.relu, net.maxpool, net.layer1)
    return nn.ModuleList([first, net.layer2, net.layer3]).eval().requires_grad_(False)


def save_encoder(encoder: nn.Module, path: str | os.PathLike, notes: dict | None = None) -> None:
    """Write the weights of a `ResNetUNet`'s encoder, in half precision but for the normalizations' numbers.

    Args:
        encoder: the `encoder` of a network made by `resnet_unet`, trained within it or by `colorlib.pretraining`.
        path: where to; `resnet_unet(arch, weights=path)` reads it.
        notes: anything JSON can hold: data, seconds, accuracy.
    Raises:
        OSError: the file can't be written.
    """
    metadata = {"format": ENCODER_FORMAT, "notes": json.dumps(notes or {})}
    save_tensors(in_half_precision(encoder.state_dict()), path, metadata)


def encoder_state(resnet_state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Turn the weights of a torchvision ResNet for RGB into those of the one-channel encoders here.

    The layers get numbers instead of names, the classifier goes, and the first layer is summed over RGB: on a gray
    picture, where R = G = B, that gives the same answer.
    """
    numbers = {"conv1": 0, "bn1": 1, "layer1": 4, "layer2": 5, "layer3": 6, "layer4": 7}
    state = {}
    for name, value in resnet_state.items():
        first, _, rest = name.partition(".")
        if first in numbers:
            state[f"{numbers[first]}.{rest}"] = value.sum(dim=1, keepdim=True) if name == "conv1.weight" else value
    return state
