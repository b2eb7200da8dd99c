"""U-Nets with a ResNet encoder, pretrained or not, and one of two decoders: fastai's `DynamicUnet` or a slim one.

Source: He et al. 2016 for the encoder; Howard and Gugger's fastai for its decoder (PixelShuffle with ICNR).
"""

import os
import warnings

import torch
import torch.nn.functional as F
from torch import nn

from colorlib.color import join_lab, lab_to_rgb
from colorlib.downloads import fetch_encoder_weights
from colorlib.extras import MissingExtra
from colorlib.tensors import WeightsError, WeightsInfo, find_weights, load_tensors, save_tensors, to_bits, to_float32

ENCODER_FORMAT = "colorlib encoder 1"
ARCHS = ("resnet18", "resnet34")
IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
# The encoder's first layer is ImageNet's, summed over red, green and blue, so it expects gray in [0, 1], normalized
# with ImageNet's mean and standard deviation, averaged over the three channels.
GRAY_MEAN, GRAY_STD = 0.449, 0.226
N_FEATURES = 512  # channels of the output of either encoder, at 1/32 of the resolution
SKIPS = (2, 4, 5, 6)  # layers of the encoder with skip connections: their outputs have 1/2, 1/4, 1/8, 1/16 of the size
SLIM_WIDTHS = (128, 64, 48, 32)  # channels of the slim decoder at 1/16, 1/8, 1/4, 1/2 of the size
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
        self.recipe = {"arch": arch}
        encoder = create_body(_torchvision_resnet(arch), n_in=1, pretrained=False, cut=-2)
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


class SlimResNetUNet(nn.Module):
    """Predict ab from L: L (B, 1, H, W) -> ab (B, 2, H, W), both in [-1, 1], for any H and W.

    The decoder is small, because ab is smooth and most of what predicts it is learned by the encoder. Each level
    upsamples the features, concatenates those of the encoder at that size, and applies one 3×3 convolution. ab is
    predicted at half of the image's resolution. Use `resnet_unet(decoder="slim")` to build one; it needs no fastai.

    Args:
        arch: "resnet18" (12.3 million weights, encoder included) or "resnet34".
        widths: channels of the decoder at 1/16, 1/8, 1/4 and 1/2 of the image's size.
    Raises:
        ValueError: unknown `arch`.
    """

    def __init__(self, arch: str = "resnet18", widths: tuple[int, ...] = SLIM_WIDTHS):
        super().__init__()
        self.recipe = {"arch": arch, "widths": list(widths)}
        resnet = _torchvision_resnet(arch)
        resnet.conv1 = nn.Conv2d(1, 64, kernel_size=7, stride=2, padding=3, bias=False)
        # Numbered as by fastai's `create_body`, so that networks with either decoder read the same encoder files.
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
        x = F.pad(normalize_gray(L), (0, -width % 32, 0, -height % 32), mode="replicate")  # to (B, 1, h, w)
        padded_size, skips = x.shape[-2:], []
        for number, layer in enumerate(self.encoder):
            x = layer(x)
            if number in SKIPS:
                skips.append(x)
        for level in self.decoder:  # x is (B, 512, h/32, w/32) at first
            skip = skips.pop()
            x = level(torch.cat([F.interpolate(x, skip.shape[-2:], mode="nearest"), skip], dim=1))
        ab = torch.tanh(self.head(x))  # (B, 2, h/2, w/2)
        ab = F.interpolate(ab, padded_size, mode="bilinear", align_corners=False)
        return ab[..., :height, :width]


DECODERS = {"fastai": ResNetUNet, "slim": SlimResNetUNet}


def normalize_gray(L: torch.Tensor) -> torch.Tensor:
    """Normalize L (any shape, in [-1, 1]) the way a pretrained encoder expects; returns the same shape."""
    return ((L + 1) / 2 - GRAY_MEAN) / GRAY_STD


def normalized_rgb(L: torch.Tensor, ab: torch.Tensor) -> torch.Tensor:
    """Convert network-scaled L (B, 1, H, W) and ab (B, 2, H, W) to the input of a ResNet for RGB images.

    Returns:
        RGB (B, 3, H, W), normalized with ImageNet's mean and standard deviation. Colors outside the sRGB gamut are not
        clipped: clipping would stop the gradient.
    """
    with torch.autocast(L.device.type, enabled=False):  # bfloat16 is too coarse for colors
        rgb = lab_to_rgb(join_lab(L.float(), ab.float()), clip=False)
        mean, std = (rgb.new_tensor(values).view(3, 1, 1) for values in (IMAGENET_MEAN, IMAGENET_STD))
        return (rgb - mean) / std


class NormalizeGray(nn.Module):
    """`normalize_gray` as the first layer of a network."""

    def forward(self, L: torch.Tensor) -> torch.Tensor:
        return normalize_gray(L)


def _torchvision_resnet(arch: str) -> nn.Module:
    """Build a torchvision ResNet with random weights; raise ValueError if `arch` is unknown."""
    from torchvision import models  # torchvision takes a second to import

    if arch not in ARCHS:
        raise ValueError(f"There is no encoder {arch!r}; choose one of: {', '.join(ARCHS)}.")
    return getattr(models, arch)(weights=None)


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


def resnet_unet(
    arch: str = "resnet18", weights: str | os.PathLike | None = "imagenet", decoder: str = "fastai"
) -> ResNetUNet | SlimResNetUNet:
    """Build a U-Net on a ResNet encoder.

    Args:
        arch: "resnet18" or "resnet34".
        weights: weights of the encoder: "imagenet" for torchvision's (downloaded once, then cached), None for random
            numbers, the name of a bundled encoder ("photos-encoder"), or the path of a safetensors file: one written by
            `save_encoder`, or any ResNet with torchvision's names. The first layer of a ResNet for RGB images is
            summed over RGB.
        decoder: "fastai" for fastai's `DynamicUnet` (31 million weights with a ResNet-18), or "slim" (12 million).
    Returns:
        The network, with a random decoder, in training mode.
    Raises:
        ValueError: unknown `arch` or `decoder`.
        DownloadError: the ImageNet weights are not cached and can't be downloaded; the message says what to do.
        MissingExtra: the decoder is fastai's, and fastai is not installed.
        WeightsError: the file is missing, or is not an encoder of this `arch`.
    """
    if decoder not in DECODERS:
        raise ValueError(f"There is no decoder {decoder!r}; choose one of: {', '.join(DECODERS)}.")
    generator = DECODERS[decoder](arch)
    if weights is None:
        return generator
    state = _resnet_state(arch, weights)
    if "conv1.weight" in state:
        state = encoder_state(state)
    try:
        generator.encoder.load_state_dict(_without_third_block(arch, state, "7.2."))
    except RuntimeError as error:
        raise WeightsError(f"{weights}: these are not the weights of a {arch} encoder.") from error
    return generator


def frozen_resnet(arch: str = "resnet18", weights: str | os.PathLike = "imagenet") -> nn.ModuleList:
    """Load the first stages of a pretrained ResNet for RGB images, in eval mode and with frozen weights.

    Args:
        arch: "resnet18" or "resnet34".
        weights: "imagenet" for torchvision's (downloaded once, then cached), the bundled "photos-encoder", or the path
            of a safetensors file with torchvision's names.
    Returns:
        Three modules to apply one after the other. The first takes RGB (B, 3, H, W), normalized with ImageNet's mean
        and standard deviation; they return features of 64, 128 and 256 channels at 1/4, 1/8 and 1/16 of the size.
    Raises:
        ValueError, DownloadError, WeightsError: as in `resnet_unet`; also WeightsError if the file is an encoder of
            gray images.
    """
    net = rgb_resnet(arch, weights)
    first = nn.Sequential(net.conv1, net.bn1, net.relu, net.maxpool, net.layer1)
    return nn.ModuleList([first, net.layer2, net.layer3]).eval().requires_grad_(False)


def rgb_resnet(arch: str = "resnet18", weights: str | os.PathLike | None = "imagenet") -> nn.Module:
    """Build torchvision's ResNet without its classifier: RGB (B, 3, H, W), normalized -> features (B, 512).

    Arguments and errors are those of `resnet_unet`; also WeightsError if the file is an encoder of gray images.
    """
    net = _torchvision_resnet(arch)
    net.fc = nn.Identity()
    if weights is None:
        return net
    state = {name: value for name, value in _resnet_state(arch, weights).items() if not name.startswith("fc.")}
    try:
        net.load_state_dict(_without_third_block(arch, state, "layer4.2."))
    except RuntimeError as error:
        raise WeightsError(f"{weights}: these are not the weights of a {arch} for RGB images.") from error
    return net


def _resnet_state(arch: str, weights: str | os.PathLike) -> dict[str, torch.Tensor]:
    """Return the float32 weights of a ResNet: ImageNet's, bundled ones, or those in a file."""
    return fetch_encoder_weights(arch) if weights == "imagenet" else to_float32(load_tensors(find_weights(weights))[0])


def _without_third_block(arch: str, state: dict[str, torch.Tensor], prefix: str) -> dict[str, torch.Tensor]:
    """Leave out the third block that some files have in the last stage; a ResNet-18 works without it."""
    return {name: value for name, value in state.items() if arch != "resnet18" or not name.startswith(prefix)}


def save_encoder(encoder: nn.Module, path: str | os.PathLike, info: WeightsInfo | None = None, bits: int = 16) -> None:
    """Write the weights of an encoder.

    Args:
        encoder: the `encoder` of a network from `resnet_unet`, or a network from `rgb_resnet`, whose file serves
            `frozen_resnet`, too.
        path: of the file; `resnet_unet(arch, weights=path)` reads it.
        info: data, commands, seconds, accuracy.
        bits: per weight; see `tensors.to_bits`.
    Raises:
        ValueError: another number of bits than 8, 16 or 32.
        OSError: the file can't be written.
    """
    metadata = {"format": ENCODER_FORMAT} | (info or WeightsInfo()).to_metadata()
    save_tensors(to_bits(encoder.state_dict(), bits), path, metadata)


def encoder_state(resnet_state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Convert the weights of a torchvision ResNet for RGB images to those of a one-channel encoder.

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
