"""The networks once more in PyTorch, for comparison only: same layers, names and weights.

Images are [B, C, H, W]. Submodules are named as in the Flax modules, so that `load` finds each
weight by its path.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from flax import traverse_util
from torch import Tensor, nn
from torch.nn import functional

from lrjax.models.s2ld import CriticConfig, DegraderConfig, UNetConfig

POOLS: Mapping[str, Callable[[Tensor, int], Tensor]] = {
    "max": functional.max_pool2d,
    "average": functional.avg_pool2d,
}


class NormRelu(nn.Sequential):
    """BatchNorm, then ReLU."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.BatchNorm_0 = nn.BatchNorm2d(width, eps=1e-5, momentum=0.1)
        self.relu = nn.ReLU()


class ResidualBlock(nn.Module):
    """Twice (BatchNorm, ReLU, 3×3 convolution), plus the input."""

    def __init__(self, inputs: int, width: int) -> None:
        super().__init__()
        self.NormRelu_0 = NormRelu(inputs)
        self.Conv_0 = _conv(inputs, width, bias=False)
        self.NormRelu_1 = NormRelu(width)
        self.Conv_1 = _conv(width, width, bias=False)
        self.shortcut = nn.Conv2d(inputs, width, 1, bias=False) if inputs != width else None

    def forward(self, x: Tensor) -> Tensor:
        y = self.Conv_1(self.NormRelu_1(self.Conv_0(self.NormRelu_0(x))))
        return y + (x if self.shortcut is None else self.shortcut(x))


class ResidualGroup(nn.Sequential):
    """Two residual blocks of one width."""

    def __init__(self, inputs: int, width: int) -> None:
        super().__init__()
        self.ResidualBlock_0 = ResidualBlock(inputs, width)
        self.ResidualBlock_1 = ResidualBlock(width, width)


class UNet(nn.Module):
    """G2 (three input channels), or D2 (maps and image): [B, inputs, S, S] → [B, N+1, S, S]."""

    def __init__(self, inputs: int, num_points: int, config: UNetConfig) -> None:
        super().__init__()
        self.levels, self.pool = range(len(config.widths)), POOLS[config.pooling]
        self.stem = _conv(inputs, config.stem, bias=False)
        channels = _add_groups(self, "encoder", config.stem, config.widths)
        for level in reversed(self.levels):
            width = config.widths[level]
            self.add_module(f"decoder_{level}", ResidualGroup(channels + width, width))
            channels = width
        self.final = NormRelu(channels)
        self.maps = nn.Conv2d(channels, num_points + 1, 1)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        skips = []
        for level in self.levels:
            x = getattr(self, f"encoder_{level}")(x)
            skips.append(x)
            x = self.pool(x, 2)
        for level in reversed(self.levels):
            x = torch.cat([_upsample(x), skips.pop()], 1)
            x = getattr(self, f"decoder_{level}")(x)
        return self.maps(self.final(x))


class HighToLow(nn.Module):
    """G1: [B, 3, S, S] in [-1, 1] and noise [B, noise] → [B, 3, S/4, S/4] in [-1, 1]."""

    def __init__(self, config: DegraderConfig) -> None:
        super().__init__()
        self.size, self.pool = config.image_size, POOLS[config.pooling]
        self.counts = (len(config.encoder), len(config.decoder))
        self.noise_plane = nn.Linear(config.noise, self.size**2)
        self.stem = _conv(4, config.stem, bias=False)
        channels = _add_groups(self, "encoder", config.stem, config.encoder)
        channels = _add_groups(self, "decoder", channels, config.decoder)
        self.final = NormRelu(channels)
        self.image = _conv(channels, 3)

    def forward(self, images: Tensor, noise: Tensor) -> Tensor:
        plane = self.noise_plane(noise).reshape(-1, 1, self.size, self.size)
        x = self.pool(self.stem(torch.cat([images, plane], 1)), 2)
        encoders, decoders = self.counts
        for level in range(encoders):
            x = self.pool(getattr(self, f"encoder_{level}")(x), 2)
        for level in range(decoders):
            x = getattr(self, f"decoder_{level}")(_upsample(x))
        return torch.tanh(self.image(self.final(x)))


class Spectral(nn.Module):
    """A layer whose weight is divided by its spectral norm: one power iteration per call.

    PyTorch's own keeps both vectors of the iteration and Flax's one, so that they differ by half a
    step.
    """

    u: Tensor

    def __init__(self, layer: nn.Conv2d | nn.Linear) -> None:
        super().__init__()
        self.layer = layer
        self.register_buffer("u", functional.normalize(torch.randn(layer.weight.shape[0]), dim=0))

    def forward(self, x: Tensor) -> Tensor:
        weight = self.layer.weight
        matrix = weight.flatten(1)
        with torch.no_grad():
            v = functional.normalize(self.u @ matrix, dim=0, eps=1e-12)
            u = functional.normalize(matrix @ v, dim=0, eps=1e-12)
            if self.training:
                self.u.copy_(u)
        weight = weight / torch.dot(u, matrix @ v)
        if isinstance(self.layer, nn.Linear):
            return functional.linear(x, weight, self.layer.bias)
        return functional.conv2d(x, weight, self.layer.bias, padding=self.layer.padding)


class Critic(nn.Module):
    """D3: [B, inputs, S, S] → [B]."""

    hidden: nn.Module
    score: nn.Module

    def __init__(self, inputs: int, size: int, config: CriticConfig) -> None:
        super().__init__()
        self.config = config
        for index, width in enumerate(config.widths):
            self._add(f"block_{index}_first", _conv(inputs, width))
            self._add(f"block_{index}_second", _conv(width, width))
            if inputs != width:
                self._add(f"block_{index}_shortcut", nn.Conv2d(inputs, width, 1, bias=False))
            inputs = width
        side = size // 2**config.pooled_blocks
        self._add("hidden", nn.Linear(inputs * side * side, config.hidden))
        self._add("score", nn.Linear(config.hidden, 1))

    def _add(self, name: str, layer: nn.Conv2d | nn.Linear) -> None:
        self.add_module(name, Spectral(layer) if self.config.spectral_norm else layer)

    def forward(self, x: Tensor) -> Tensor:
        for index in range(len(self.config.widths)):
            y = getattr(self, f"block_{index}_first")(x if index == 0 else functional.relu(x))
            y = getattr(self, f"block_{index}_second")(functional.relu(y))
            shortcut = getattr(self, f"block_{index}_shortcut", None)
            x = y + (x if shortcut is None else shortcut(x))
            if index >= len(self.config.widths) - self.config.pooled_blocks:
                x = POOLS[self.config.pooling](x, 2)
        x = functional.relu(x).permute(0, 2, 3, 1).flatten(1)
        return self.score(functional.relu(self.hidden(x)))[:, 0]


def _add_groups(module: nn.Module, name: str, channels: int, widths: Sequence[int]) -> int:
    """Add groups in a row, called name_0 and so on; return the last one's width."""
    for level, width in enumerate(widths):
        module.add_module(f"{name}_{level}", ResidualGroup(channels, width))
        channels = width
    return channels


def _conv(inputs: int, width: int, bias: bool = True) -> nn.Conv2d:
    return nn.Conv2d(inputs, width, 3, padding=1, bias=bias)


def _upsample(x: Tensor) -> Tensor:
    return functional.interpolate(x, scale_factor=2, mode="nearest")


def load(module: nn.Module, variables: Mapping[str, Any]) -> None:
    """Give `module` the weights of its Flax counterpart.

    Raises:
      KeyError: the two are not built alike.
    """
    found = dict(traverse_util.flatten_dict(variables["params"], sep="/"))
    for path, value in traverse_util.flatten_dict(
        variables.get("batch_stats", {}), sep="/"
    ).items():
        if path.endswith("/kernel/u"):  # as in SpectralNorm_3/hidden/kernel/u
            path = path.partition("/")[2].replace("/kernel/", "/")
        found[path] = value
    state = {}
    for name, old in module.state_dict().items():
        *path, kind = name.replace(".layer.", ".").split(".")
        if kind == "num_batches_tracked":
            state[name] = old
            continue
        kernel = "kernel" if "/".join([*path, "kernel"]) in found else "scale"
        leaf = {"weight": kernel, "running_mean": "mean", "running_var": "var"}.get(kind, kind)
        value = np.asarray(found.pop("/".join([*path, leaf])))
        state[name] = torch.tensor(_oriented(value, tuple(old.shape)))
    left = [path for path in found if not path.endswith("/sigma")]
    if left:
        raise KeyError(f"nothing in {type(module).__name__} takes {', '.join(left)}")
    module.load_state_dict(state)


def _oriented(value: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """Turn a Flax kernel (HWIO, or inputs × outputs) as PyTorch keeps it."""
    if value.ndim == 4:
        value = value.transpose(3, 2, 0, 1)
    elif value.ndim == 2:
        value = value.T
    return value.reshape(shape)
