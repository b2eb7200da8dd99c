"""A U-Net with a ResNet encoder, pretrained or not, built with fastai's `create_body` and `DynamicUnet`.

Source: He et al. 2016 for the encoder; Howard and Gugger's fastai for the decoder (PixelShuffle with ICNR).
"""

import os
import warnings

import torch
from torch import nn

from colorlib.downloads import fetch_encoder_weights
from colorlib.extras import MissingExtra
from colorlib.tensors import WeightsError, WeightsInfo, load_tensors, save_tensors, to_float32, to_half

ENCODER_FORMAT = "colorlib encoder 1"
ARCHS = ("resnet18", "resnet34")
# The encoder's first layer is ImageNet's, summed over red, green and blue, so it expects gray in [0, 1], normalized
# with ImageNet's mean and standard deviation, averaged over the three channels.
GRAY_MEAN, GRAY_STD = 0.449, 0.226
N_FEATURES = 512  # channels of the output of either encoder, at 1/32 of the resolution
BUILD_SIZE = (64, 64)  # DynamicUnet runs an image of this size to get layer shapes; the network takes other sizes, too


class ResNetUNet(nn.Module):
    """Predict ab from L: L (B, 1, H, W) -> ab (B, 2, H, W), both in [-1, 1], for any H and W of at least 31.

    Use `resnet_unet` to build one.

    Args:
        arch: "resnet18" or "resnet34".
    Raises:
        ValueError: unknown `arch`.
        MissingExtra: fastai is not installed.
    """

    def __init__(self, arch: str = "resnet18"):
        super().__init__()
        create_body, DynamicUnet = _import_fastai()
        from torchvision import models

        if arch not in ARCHS:
            raise ValueError(f"There is no encoder {arch!r}; choose one of: {', '.join(ARCHS)}.")
        self.recipe = {"arch": arch}
        encoder = create_body(getattr(models, arch)(weights=None), n_in=1, pretrained=False, cut=-2)
        net = DynamicUnet(encoder, n_out=2, img_size=BUILD_SIZE)
        net.layers[-1] = nn.Identity()  # replaces ToTensorBase: torch.compile can't handle fastai's tensor subclass
        self.net = net.train()  # DynamicUnet leaves its BatchNorms in eval mode

    @property
    def encoder(self) -> nn.Sequential:
        """The ResNet without its classifier: (B, 1, H, W) from `normalize_gray` -> features (B, 512, H/32, W/32)."""
        return self.net.layers[0]

    def forward(self, L: torch.Tensor) -> torch.Tensor:
        ab = torch.tanh(self.net(normalize_gray(L)))
        return ab.as_subclass(torch.Tensor)

    def __deepcopy__(self, memo: dict) -> "ResNetUNet":
        """Copy the network; a plain copy fails on the activations that fastai's hooks keep."""
        copy = ResNetUNet(**self.recipe).to(next(self.parameters()))
        copy.load_state_dict(self.state_dict())
        return copy.train(self.training)


def normalize_gray(L: torch.Tensor) -> torch.Tensor:
    """Normalize L (any shape, in [-1, 1]) the way a pretrained encoder expects; returns the same shape."""
    return ((L + 1) / 2 - GRAY_MEAN) / GRAY_STD


class NormalizeGray(nn.Module):
    """`normalize_gray` as the first layer of a network."""

    def forward(self, L: torch.Tensor) -> torch.Tensor:
        return normalize_gray(L)


def _import_fastai() -> tuple:
    """Import parts of fastai, only when needed because it takes seconds, and suppress its warning about torch.jit."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="`torch.jit.script` is deprecated", category=FutureWarning)
        try:
            from fastai.vision.learner import create_body
            from fastai.vision.models.unet import DynamicUnet
        except ModuleNotFoundError as error:
            raise MissingExtra("fastai", "fastai") from error
    return create_body, DynamicUnet


def resnet_unet(arch: str = "resnet18", weights: str | os.PathLike | None = "imagenet") -> ResNetUNet:
    """Build a U-Net on a ResNet encoder.

    Args:
        arch: "resnet18" or "resnet34".
        weights: weights of the encoder: "imagenet" for torchvision's (downloaded once, then cached), None for random
            numbers, or the path of a file written by `save_encoder`.
    Returns:
        The network, with a random decoder, in training mode.
    Raises:
        ValueError: unknown `arch`.
        DownloadError: the ImageNet weights are not cached and can't be downloaded; the message says what to do.
        MissingExtra: fastai is not installed.
        WeightsError: the file is missing, or is not an encoder of this `arch`.
    """
    generator = ResNetUNet(arch)
    if weights is None:
        return generator
    if weights == "imagenet":
        state = encoder_state(fetch_encoder_weights(arch))
    else:
        tensors, _ = load_tensors(weights)
        state = to_float32(tensors)
    try:
        generator.encoder.load_state_dict(state)
    except RuntimeError as error:
        raise WeightsError(f"{weights}: these are not the weights of a {arch} encoder.") from error
    return generator


def save_encoder(encoder: nn.Module, path: str | os.PathLike, info: WeightsInfo | None = None) -> None:
    """Write the weights of a `ResNetUNet`'s encoder in float16; see `tensors.to_half`.

    Args:
        encoder: `ResNetUNet.encoder`, trained by `colorlib.pretraining` or within a generator.
        path: of the file; `resnet_unet(arch, weights=path)` reads it.
        info: data, commands, seconds, accuracy.
    Raises:
        OSError: the file can't be written.
    """
    metadata = {"format": ENCODER_FORMAT} | (info or WeightsInfo()).to_metadata()
    save_tensors(to_half(encoder.state_dict()), path, metadata)


def encoder_state(resnet_state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Convert the weights of a torchvision ResNet to those of a one-channel encoder made by `create_body`.

    Layers are numbered instead of named, the classifier is dropped, and the first layer is summed over RGB: on a gray
    image, where R = G = B, its output is the same.
    """
    numbers = {"conv1": 0, "bn1": 1, "layer1": 4, "layer2": 5, "layer3": 6, "layer4": 7}
    state = {}
    for name, value in resnet_state.items():
        first, _, rest = name.partition(".")
        if first in numbers:
            state[f"{numbers[first]}.{rest}"] = value.sum(dim=1, keepdim=True) if name == "conv1.weight" else value
    return state
