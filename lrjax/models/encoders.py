"""Face encoders by name: images of one size to features by which people are told apart."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from functools import partial
from typing import Any

import flax.linen as nn

from lrjax.models.centreface import CentreFace, SphereFace
from lrjax.models.classifier import Classifier
from lrjax.models.deepid2 import DeepID2
from lrjax.models.inception_resnet import InceptionResNetV1
from lrjax.models.iresnet import LAYOUTS, Colours, IResNet
from lrjax.models.lightcnn import LightCNN
from lrjax.models.mobilefacenet import MobileFaceNet
from lrjax.models.registry import Network, NetworkConfig, critic, make_module, register
from lrjax.models.rpcn import RPCN
from lrjax.models.vgg import VGGFace


@dataclasses.dataclass(frozen=True)
class EncoderConfig(NetworkConfig):
    """A face encoder; its name says its architecture and, after "_", its size in pixels."""

    name: str = "lightcnn29_32"
    width: float = 1.0  # times its channels, but the feature's
    dropout: float | None = None  # rate before the classifier; null: as published


def _encoder(
    module: Callable[..., nn.Module], height: int, width: int, template: str, embedding: int
) -> Callable[[EncoderConfig, str | None], Network]:
    def make(config: EncoderConfig, axis_name: str | None) -> Network:
        options: dict[str, Any] = {"width": config.width}
        if config.dropout is not None:
            options["dropout"] = config.dropout
        if "axis_name" in getattr(module, "__dataclass_fields__", ()):
            options["axis_name"] = axis_name
        inputs = ((height, width, 3),)
        return Network(config, "encoder", module(**options), inputs, template, embedding)

    return make


def _lightcnn(version: int, side: int) -> Callable[[EncoderConfig, str | None], Network]:
    module = partial(LightCNN, version=version, first_pools=side == 128)
    return _encoder(module, side, side, f"lightcnn{side}", 256)


ENCODERS = {
    "lightcnn29": _lightcnn(1, 128),
    # The same parameters at 32 pixels.
    "lightcnn29_32": _lightcnn(1, 32),
    "lightcnn29v2": _lightcnn(2, 128),
    "lightcnn29v2_32": _lightcnn(2, 32),
    "inception_resnet_v1": _encoder(InceptionResNetV1, 112, 112, "arcface112", 512),
    "mobilefacenet": _encoder(MobileFaceNet, 112, 112, "arcface112", 128),
    # Where a name ends in pixels: the same convolutions on fewer of them, for small budgets.
    "centreface": _encoder(CentreFace, 112, 96, "centerface", 512),
    "centreface_56": _encoder(CentreFace, 56, 48, "centerface56", 512),
    "sphereface20": _encoder(SphereFace, 112, 96, "centerface", 512),
    "sphereface20_56": _encoder(SphereFace, 56, 48, "centerface56", 512),
    "vggface": _encoder(VGGFace, 224, 224, "arcface224", 4096),
    "vggface_112": _encoder(VGGFace, 112, 112, "arcface112", 4096),
    "vggface_56": _encoder(VGGFace, 56, 56, "arcface56", 4096),
    "deepid2": _encoder(DeepID2, 55, 47, "deepid2", 160),
    "rpcn": _encoder(RPCN, 56, 48, "centerface56", 512),
}
for _name, _build in ENCODERS.items():
    register(_name, EncoderConfig, _build)


@dataclasses.dataclass(frozen=True)
class IResNetConfig(EncoderConfig):
    """The encoder of ArcFace, AdaFace and CVLface, and how it wants its pixels."""

    name: str = "ir50"
    colours: Colours = "RGB"
    mean: float = 0.5  # taken off pixels in [0, 1], ...
    deviation: float = 0.5  # ... which are then divided by this


def _iresnet(config: IResNetConfig, axis_name: str | None) -> Network:
    more = {} if config.dropout is not None else {"dropout": IResNet.dropout}
    module = make_module(IResNet, config, axis_name, layout=config.name, **more)
    return Network(config, "encoder", module, ((112, 112, 3),), "arcface112", IResNet.embedding)


for _name in LAYOUTS:
    register(_name, IResNetConfig, _iresnet)


@dataclasses.dataclass(frozen=True)
class ClassifierConfig(NetworkConfig):
    """The class weights of an encoder that is being trained."""

    name: str = "classifier"
    features: int = 256
    classes: int = 2
    columns: int | None = None  # of the kernel, if there are more than classes
    use_bias: bool = False


register("classifier", ClassifierConfig, critic(Classifier))
