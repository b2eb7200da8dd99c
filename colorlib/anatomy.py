"""Take a U-Net apart: its stages, their shapes and its skip connections, found by running the network once."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import groupby

import torch
from torch import nn

from colorlib.resnet import ResNetUNet, SlimResNetUNet
from colorlib.unet import UNet

RESIDUAL = ("BasicBlock", "Residual", "ResBlock")  # blocks of torchvision, of colorlib and of fastai


@dataclass(frozen=True)
class Stage:
    """The layers of a U-Net between two changes of the resolution.

    Attributes:
        part: "input", "encoder", "bottleneck" (more layers at the lowest resolution), "decoder" or "output".
        shape: of its output for one image: (channels, height, width).
        layers: what it consists of, such as "max pool, 2 residual blocks"; "" for the input.
        n_weights: number of its weights and biases.
        skip: shape of the features that it gets from an encoder stage, or from the input; None without a skip.
    """

    part: str
    shape: tuple[int, int, int]
    layers: str = ""
    n_weights: int = 0
    skip: tuple[int, int, int] | None = None


def unet_stages(net: UNet | SlimResNetUNet | ResNetUNet, size: int = 128) -> list[Stage]:
    """Return the stages of a network, from its input to its output.

    Nothing is assumed about the skips: a stage has one if the output still depends on its features when the way through
    the deeper stages is cut. The network is run in eval mode; its mode is restored.

    Args:
        net: a `UNet`, or a network from `resnet_unet`.
        size: side of the image for which to give the shapes, pixels; at least 32.
    Raises:
        TypeError: another kind of network.
        ValueError: the size is too small.
    """
    if size < 32:
        raise ValueError(f"size must be at least 32, got {size}.")
    encoder, decoder, head = _parts(net)
    was_training = net.training
    net.eval()
    try:
        shapes = _shapes(net, [*encoder, *decoder, *head], size)
        groups = [_by_height(part, shapes) for part in (encoder, decoder)]
        sources = _skip_sources(net, encoder, [group[-1] for group in groups[0]], size)
    finally:
        net.train(was_training)
    stages = [Stage("input", (1, size, size))]
    for modules in groups[0]:
        stages.append(Stage("encoder", shapes[modules[-1]], _describe(modules), _count(modules)))
    outputs = [stage.shape for stage in stages]
    skips = {shape[1]: shape for shape, is_source in zip(outputs, sources, strict=True) if is_source}
    deepest = before = outputs[-1][1]
    for modules in groups[1]:
        shape = shapes[modules[-1]]
        part, layers = "bottleneck" if shape[1] == deepest else "decoder", _describe(modules)
        if shape[1] > before and "pixel shuffle" not in layers:
            layers = f"upsample, {layers}"
        stages.append(Stage(part, shape, layers, _count(modules), skips.get(shape[1])))
        before = shape[1]
    layers = _describe(head) + ", upsample" * (before < size)
    return [*stages, Stage("output", (2, size, size), layers, _count(head))]


def influence(net: nn.Module, L: torch.Tensor, y: int, x: int) -> torch.Tensor:
    """Return how strongly the predicted color of one pixel depends on each gray value around it.

    The network is run in eval mode; its mode is restored.

    Args:
        net: L -> ab.
        L: (B, 1, H, W), network-scaled.
        y, x: row and column of the pixel.
    Returns:
        (H, W) on the CPU: |∂a/∂L| + |∂b/∂L|, averaged over the images.
    """
    was_training = net.training
    L = L.detach().clone().requires_grad_()
    try:
        with torch.enable_grad():
            ab = net.eval()(L)[:, :, y, x].sum(0)
            gradients = [torch.autograd.grad(value, L, retain_graph=True)[0].abs() for value in ab]
    finally:
        net.train(was_training)
    return sum(gradients).mean((0, 1)).cpu()


def receptive_field(net: nn.Module) -> int:
    """Return the side of the square of gray values, in pixels, that the color of one pixel can depend on.

    It is measured with `influence` on random images, large enough that the square does not reach the border.

    Args:
        net: L -> ab, for images of any size.
    Raises:
        ValueError: a pixel depends on the border of an image of 1,024 × 1,024 px, or on nothing.
    """
    parameter = next(net.parameters())
    for size in (64, 128, 256, 512, 1024):
        random = torch.rand(2, 1, size, size, generator=torch.Generator().manual_seed(0)) * 2 - 1
        reached = influence(net, random.to(parameter), size // 2, size // 2).nonzero()  # (n, 2): rows and columns
        if not len(reached):
            raise ValueError("The predicted color does not depend on the image.")
        low, high = reached.min().item(), reached.max().item()
        if low > 0 and high < size - 1:
            return high - low + 1
    raise ValueError("The receptive field is larger than 1,024 px.")


def _parts(net: nn.Module) -> tuple[list[nn.Module], list[nn.Module], list[nn.Module]]:
    """Return the layers of the encoder, those that follow, and those that give ab, in the order in which they run."""
    if isinstance(net, UNet):
        return [net.stem, *net.encoder], [*([net.bottleneck] if len(net.bottleneck) else []), *net.decoder], [net.head]
    if isinstance(net, SlimResNetUNet):
        return list(net.encoder), list(net.decoder), [net.head]
    if isinstance(net, ResNetUNet):
        return list(net.encoder), list(net.net.layers[1:-2]), list(net.net.layers[-2:])
    raise TypeError(f"unet_stages() takes a UNet or a network from resnet_unet, not a {type(net).__name__}.")


def _run(net: nn.Module, size: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Run the network on a gray image; return the image and the sum of the output, connected by autograd."""
    parameter = next(net.parameters())
    L = torch.zeros(1, 1, size, size, device=parameter.device, dtype=parameter.dtype, requires_grad=True)
    with torch.enable_grad():
        return L, net(L).sum()


def _shapes(net: nn.Module, layers: list[nn.Module], size: int) -> dict[nn.Module, tuple[int, int, int]]:
    """Return the shape of each layer's output, without the batch axis."""
    shapes = {}
    hooks = [
        layer.register_forward_hook(lambda layer, inputs, output: shapes.update({layer: tuple(output.shape[1:])}))
        for layer in layers
    ]
    try:
        _run(net, size)
    finally:
        for hook in hooks:
            hook.remove()
    return shapes


def _skip_sources(net: nn.Module, layers: list[nn.Module], ends: list[nn.Module], size: int) -> list[bool]:
    """Return whether a skip starts at the input and at each stage of the encoder; `ends` are the stages' last layers.

    Each stage's output becomes a new leaf of the graph, and the next stage gets a copy without a gradient. So a
    gradient reaches the leaf only through a skip.
    """
    leaves = []

    def cut(layer: nn.Module, inputs: tuple, output: torch.Tensor) -> torch.Tensor:
        leaves.append(output.detach().requires_grad_())
        return leaves[-1] * 1  # the next layer may work in place, which a leaf doesn't allow

    def detach(layer: nn.Module, inputs: tuple[torch.Tensor]) -> tuple[torch.Tensor]:
        return (inputs[0].detach(),)

    following = dict(zip(layers, layers[1:], strict=False))
    hooks = [layers[0].register_forward_pre_hook(detach)]
    for end in ends:
        # fastai's decoder reads the features in hooks of its own, which must see the leaf.
        hooks.append(end.register_forward_hook(cut, prepend=True))
        if end in following:
            hooks.append(following[end].register_forward_pre_hook(detach))
    try:
        L, total = _run(net, size)
        gradients = torch.autograd.grad(total, [L, *leaves], allow_unused=True)
    finally:
        for hook in hooks:
            hook.remove()
    return [gradient is not None for gradient in gradients[:-1]] + [False]  # the last stage is the main way


def _by_height(layers: list[nn.Module], shapes: dict[nn.Module, tuple[int, int, int]]) -> list[list[nn.Module]]:
    """Split a sequence of layers where the height of the output changes."""
    return [list(group) for _, group in groupby(layers, key=lambda layer: shapes[layer][1])]


def _describe(modules: Iterable[nn.Module]) -> str:
    """Return the convolutions, poolings and residual blocks of some modules in words."""
    runs = [(name, len(list(run))) for name, run in groupby(name for module in modules for name in _names(module))]
    return ", ".join(name if n == 1 else f"{n} {name}{'s' * name.endswith('block')}" for name, n in runs)


def _names(module: nn.Module) -> Iterator[str]:
    if type(module).__name__ in RESIDUAL:
        yield "residual block"
    elif isinstance(module, nn.Conv2d):
        stride = f" stride {module.stride[0]}" if module.stride[0] > 1 else ""
        yield f"conv {module.kernel_size[0]}×{module.kernel_size[1]}{stride}"
    elif isinstance(module, nn.MaxPool2d):
        yield "max pool"
    elif isinstance(module, nn.PixelShuffle):
        yield "pixel shuffle"
    else:
        for child in module.children():
            yield from _names(child)


def _count(modules: Iterable[nn.Module]) -> int:
    return sum(p.numel() for module in modules for p in module.parameters())
