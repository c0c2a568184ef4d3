"""The face recognisers by name, with what a caller must know to feed them."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from functools import partial
from types import MappingProxyType
from typing import Any

import flax.linen as nn

from lrjax.models.centreface import CentreFace
from lrjax.models.deepid2 import DeepID2
from lrjax.models.inception_resnet import InceptionResNetV1
from lrjax.models.lightcnn import LightCNN
from lrjax.models.mobilefacenet import MobileFaceNet
from lrjax.models.rpcn import RPCN
from lrjax.models.sphereface import SphereFace
from lrjax.models.vggface import VGGFace


@dataclasses.dataclass(frozen=True)
class Recogniser:
    """A network `(images [B, H, W, 3] in [-1, 1], train) → features [B, embedding]`.

    Attributes:
        module: builds the network.
        size: height and width of its images.
        template: the name of the places where eyes, nose and mouth are in them (see
            `lrjax.geometry.templates`).
        embedding: length of its feature, at any width.
        has_batch_stats: whether it has BatchNorm, and so statistics to share over devices.
    """

    module: Callable[..., nn.Module]
    size: tuple[int, int]
    template: str
    embedding: int
    has_batch_stats: bool = True

    def build(
        self,
        *,
        width: float = 1.0,
        dropout: float | None = None,
        axis_name: str | None = None,
        **settings: Any,
    ) -> nn.Module:
        """The network.

        Args:
            width: factor on its channels; 1 is the published network.
            dropout: rate before its classifier; None is the published one.
            axis_name: device axis over which BatchNorm, if there is any, shares its statistics.
            settings: further arguments of the module, such as `dtype`.
        """
        if dropout is not None:
            settings["dropout"] = dropout
        if self.has_batch_stats:
            settings["axis_name"] = axis_name
        return self.module(width=width, **settings)


def _lightcnn(version: int, *, first_pools: bool) -> Recogniser:
    side = 128 if first_pools else 32
    return Recogniser(
        partial(LightCNN, version=version, first_pools=first_pools),
        (side, side),
        f"lightcnn{side}",
        256,
        has_batch_stats=False,
    )


def _plain(
    module: Callable[..., nn.Module], height: int, width: int, template: str, embedding: int
) -> Recogniser:
    """One without BatchNorm."""
    return Recogniser(module, (height, width), template, embedding, has_batch_stats=False)


RECOGNISERS: Mapping[str, Recogniser] = MappingProxyType(
    {
        "lightcnn29": _lightcnn(1, first_pools=True),
        # The same parameters at 32 pixels.
        "lightcnn29_32": _lightcnn(1, first_pools=False),
        "lightcnn29v2": _lightcnn(2, first_pools=True),
        "lightcnn29v2_32": _lightcnn(2, first_pools=False),
        "inception_resnet_v1": Recogniser(InceptionResNetV1, (112, 112), "arcface112", 512),
        "mobilefacenet": Recogniser(MobileFaceNet, (112, 112), "arcface112", 128),
        # Where a name ends in pixels: the same convolutions on fewer of them, for small budgets.
        "centreface": _plain(CentreFace, 112, 96, "centerface", 512),
        "centreface_56": _plain(CentreFace, 56, 48, "centerface56", 512),
        "sphereface20": _plain(SphereFace, 112, 96, "centerface", 512),
        "sphereface20_56": _plain(SphereFace, 56, 48, "centerface56", 512),
        "vggface": _plain(VGGFace, 224, 224, "arcface224", 4096),
        "vggface_112": _plain(VGGFace, 112, 112, "arcface112", 4096),
        "vggface_56": _plain(VGGFace, 56, 56, "arcface56", 4096),
        "deepid2": _plain(DeepID2, 55, 47, "deepid2", 160),
        "rpcn": _plain(RPCN, 56, 48, "centerface56", 512),
    }
)
