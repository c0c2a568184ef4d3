"""The networks that enlarge faces, from their configuration."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Literal

import flax.linen as nn

from lrjax.models.drrn import DRRN
from lrjax.models.rpcn import RPCNResolver
from lrjax.models.srcnn import SRCNN
from lrjax.models.super_resolution import PreUpsampled, RRDBNet, SRResNet
from lrjax.models.vdsr import VDSR


@dataclasses.dataclass(frozen=True)
class ResolverConfig:
    """The network that enlarges. What is null is as published."""

    width: int | None = None  # channels: 64, of "drrn" 128
    blocks: int | None = None  # of "srresnet" 16, of "rrdb" 23, recursive ones of "drrn" 1
    growth: int = 32  # of dense blocks, which only "rrdb" has
    middle: Literal[1, 5] = 1  # side of the second kernels of "srcnn": "9-1-5" or "9-5-5"
    layers: int = 20  # convolutions of "vdsr"
    units: int = 9  # of each recursive block of "drrn"; 25 in the deeper one
    # Beyond the papers: start from the bicubic enlargement, and so (but for "vdsr" and "drrn",
    # which do so anyway) add to it. A short run then has less to learn.
    residual: bool = False


# Those that enlarge as they go, by a power of two: (sizes, factor, axis of BatchNorm).
DOUBLERS: dict[str, Callable[[ResolverConfig, int, str | None], nn.Module]] = {
    "srresnet": lambda sizes, factor, axis_name: SRResNet(
        sizes.width or 64, sizes.blocks or 16, factor, sizes.residual, axis_name=axis_name
    ),
    "rrdb": lambda sizes, factor, _: RRDBNet(
        sizes.width or 64, sizes.blocks or 23, sizes.growth, factor, sizes.residual
    ),
}
# Those that sharpen what has been enlarged: (sizes, axis of BatchNorm) to a module
# `(images [B, H, W, 3] in [-1, 1], train) -> images`.
SHARPENERS: dict[str, Callable[[ResolverConfig, str | None], nn.Module]] = {
    "srcnn": lambda sizes, _: SRCNN(
        features=sizes.width or 64, middle=sizes.middle, residual=sizes.residual
    ),
    # With biases, as in the paper.
    "vdsr": lambda sizes, _: VDSR(
        channels=3,
        features=sizes.width or 64,
        layers=sizes.layers,
        use_bias=True,
        identity=sizes.residual,
    ),
    "drrn": lambda sizes, axis_name: DRRN(
        features=sizes.width or 128,
        blocks=sizes.blocks or 1,
        units=sizes.units,
        identity=sizes.residual,
        axis_name=axis_name,
    ),
    # The recogniser of that name has its convolutions.
    "rpcn": lambda sizes, _: RPCNResolver(width=(sizes.width or 64) / 64),
}


def build_resolver(
    network: str, sizes: ResolverConfig, factors: tuple[float, float], axis_name: str | None
) -> nn.Module:
    """A module `(images [B, h, w, 3] in [-1, 1], train) -> [B, fy h, fx w, 3]`.

    Args:
      network: a key of `DOUBLERS`, or of `SHARPENERS`; the latter also have a method
        `sharpen(images, train)` for images that have their final size already.
      sizes: of the network.
      factors: of height and width; of a doubler one power of two.
      axis_name: device axis over which BatchNorm shares its statistics.
    """
    if network in SHARPENERS:
        return PreUpsampled(SHARPENERS[network](sizes, axis_name), factors)
    return DOUBLERS[network](sizes, round(factors[0]), axis_name)
