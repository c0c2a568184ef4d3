"""Networks that enlarge faces by name, and those that judge the enlarged ones."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any, Literal

import flax.linen as nn

from lrjax.errors import InputError
from lrjax.models import refiners, super_resolution, vgg
from lrjax.models.registry import Network, NetworkConfig, critic, make_module, register
from lrjax.models.rpcn import RPCNRefiner


@dataclasses.dataclass(frozen=True)
class UpsamplerConfig(NetworkConfig):
    """A network that enlarges faces, from one height and width to another."""

    size: tuple[int, int] = (32, 32)  # of small faces
    image_size: tuple[int, int] = (128, 128)  # of enlarged ones
    # Beyond the papers: start from the bicubic enlargement, and (but for VDSR and DRRN, which do so
    # anyway) add to it. A short run then has less to learn.
    residual: bool = False

    @property
    def factors(self) -> tuple[float, float]:
        """How many times larger the result is, in height and width."""
        (height, width), (low, narrow) = self.image_size, self.size
        return height / low, width / narrow


@dataclasses.dataclass(frozen=True)
class SRResNetConfig(UpsamplerConfig):
    """SRGAN's generator."""

    name: str = "srresnet"
    width: int = 64
    blocks: int = 16


@dataclasses.dataclass(frozen=True)
class RRDBConfig(UpsamplerConfig):
    """ESRGAN's generator."""

    name: str = "rrdb"
    width: int = 64
    blocks: int = 23
    growth: int = 32


@dataclasses.dataclass(frozen=True)
class RefinerConfig(UpsamplerConfig):
    """A network that sharpens what was enlarged bicubically, by any factor."""

    channels: int = 3  # 1: luminance alone


@dataclasses.dataclass(frozen=True)
class SRCNNConfig(RefinerConfig):
    """SRCNN; `middle` is the side of its second kernels: "9-1-5" or "9-5-5"."""

    name: str = "srcnn"
    width: int = 64
    middle: Literal[1, 5] = 1


@dataclasses.dataclass(frozen=True)
class VDSRConfig(RefinerConfig):
    """VDSR, with biases as in the paper."""

    name: str = "vdsr"
    width: int = 64
    layers: int = 20
    use_bias: bool = True


@dataclasses.dataclass(frozen=True)
class DRRNConfig(RefinerConfig):
    """DRRN: `blocks` recursive blocks of `units` residual units; 25 in the deeper one."""

    name: str = "drrn"
    width: int = 128
    blocks: int = 1
    units: int = 9


@dataclasses.dataclass(frozen=True)
class RPCNRefinerConfig(RefinerConfig):
    """RPCN before it recognises: the encoder of that name has its convolutions."""

    name: str = "rpcn_refiner"
    width: float = 1.0
    shared: float = 0.5


_FACTORS = tuple(2**n for n in range(1, 8))


def _upsampler(kind: type[nn.Module]) -> Callable[[Any, str | None], Network]:
    def make(config: UpsamplerConfig, axis_name: str | None) -> Network:
        height, width = config.factors
        if height != width or height not in _FACTORS:
            raise InputError(
                f"The network {config.name!r} doubles height and width together, but from size "
                f"{config.size} to image_size {config.image_size} the factors are {height:g} and "
                f"{width:g}; set image_size to 2, 4, 8, ... times size, or name one of srcnn, vdsr "
                "and drrn, which enlarge by any factor."
            )
        module = make_module(kind, config, axis_name, factor=round(height))
        return Network(config, "upsampler", module, ((*config.size, 3),))

    return make


def _refiner(kind: type[nn.Module]) -> Callable[[Any, str | None], Network]:
    def make(config: RefinerConfig, axis_name: str | None) -> Network:
        module = make_module(kind, config, axis_name)
        if config.channels == 1:
            module = super_resolution.LuminanceOnly(module)
        return Network(config, "refiner", module, ((*config.image_size, 3),))

    return make


register("srresnet", SRResNetConfig, _upsampler(super_resolution.SRResNet))
register("rrdb", RRDBConfig, _upsampler(super_resolution.RRDBNet))
register("srcnn", SRCNNConfig, _refiner(refiners.SRCNN))
register("vdsr", VDSRConfig, _refiner(refiners.VDSR))
register("drrn", DRRNConfig, _refiner(refiners.DRRN))
register("rpcn_refiner", RPCNRefinerConfig, _refiner(RPCNRefiner))


@dataclasses.dataclass(frozen=True)
class DiscriminatorConfig(NetworkConfig):
    """SRGAN's discriminator, which serves ESRGAN too."""

    name: str = "srgan_discriminator"
    widths: tuple[int, ...] = (64, 128, 256, 512)
    hidden: int = 1024


@dataclasses.dataclass(frozen=True)
class VGGConfig(NetworkConfig):
    """VGG-19 up to its last convolution, whose output is compared: after its ReLU, or before."""

    name: str = "vgg19"
    widths: tuple[int, ...] = (64, 128, 256, 512, 512)
    activated: bool = True


def _features(config: VGGConfig, axis_name: str | None) -> Network:
    module = make_module(vgg.VGG19Features, config, axis_name)
    return Network(config, "features", module, ((32, 32, 3),))


register("srgan_discriminator", DiscriminatorConfig, critic(super_resolution.SRGANDiscriminator))
register("vgg19", VGGConfig, _features)
