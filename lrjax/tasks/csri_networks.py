"""CSRI's configuration, and its two networks as one that others can use."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any, Literal

import flax.linen as nn
import jax

from lrjax.config import OptimizerConfig, TrainConfig
from lrjax.errors import InputError
from lrjax.tasks import recognition, super_resolution
from lrjax.tasks.recognition import RecognitionConfig
from lrjax.tasks.resolvers import ResolverConfig
from lrjax.tasks.super_resolution import SuperResolutionConfig
from lrjax.training.parallel import AXIS

# Branch -> the network that holds its class weights.
CLASSIFIERS = {"labelled": "classifier", "native": "native_classifier"}


@dataclasses.dataclass(frozen=True)
class CSRIConfig:
    """Everything that defines a joint network and its training."""

    # Paper: CelebA, 202,599 pictures of 10,177 people. Empty: no synthetic branch.
    labelled: tuple[str, ...] = ("celeba:all",)
    classes: int | None = None  # people in `labelled`; null: as many as there are
    people: tuple[float, float] = (0.0, 1.0)  # the part of them that is learnt from
    # The part of each of these pictures that is the face. Ours: what TinyFace's crops show.
    region: tuple[float, float, float, float] = (0.25, 0.3, 0.5, 0.5)
    # Paper: TinyFace's training split. Empty: no native branch.
    native: tuple[str, ...] = ("tinyface:train",)
    native_classes: int | None = None
    holdout: float = 0.05
    alignment: str = "resize"  # of both; paper: silent. Ours: none
    plain: Literal["stretch", "pad"] = "stretch"
    # Paper: "the average size (20×16) of TinyFace images": height and width.
    size: tuple[int, int] = (20, 16)
    sharpener: Literal["srcnn", "vdsr", "drrn"] = "vdsr"
    # Paper: channels not said. Ours: red, green and blue.
    generator: ResolverConfig = ResolverConfig()
    network: str = "centreface"
    width: float = 1.0
    dropout: float | None = None  # null: the network's own
    # Weights to start from: the run of this task that both networks, and where they fit the class
    # weights, are taken from; or a run of super_resolution and one of recognition.
    initial: str | None = None
    resolver: str | None = None
    recogniser: str | None = None
    frozen: bool = False  # the sharpening network
    # Paper: λ_sr = 0.003 times ||I_sr - I_hr||², and neither how it is reduced nor what a pixel's
    # range is. Ours: as Caffe's EuclideanLoss has it, half the sum over the batch divided by its
    # size, of pixels (x - 127.5) / 128.
    sr: float = 0.003
    reduction: Literal["caffe", "sum", "mean"] = "caffe"
    pixels: Literal["centred", "unit", "bytes"] = "centred"
    # Paper: softmax alone (Eq. 2), although CentreFace has it.
    centre: float = 0.0
    centre_rate: float = 0.5
    shift: float = 8 / 128  # of the height, largest in either direction
    mirror: float = 0.5  # probability
    optimizer: OptimizerConfig = OptimizerConfig()
    train: TrainConfig = TrainConfig()

    def validate(self) -> None:
        """Raise InputError for combinations that mean nothing."""
        if not self.labelled and not self.native:
            raise InputError("There is nothing to learn from; set labelled, native, or both.")
        if self.initial is not None and (self.resolver is not None or self.recogniser is not None):
            raise InputError(
                "The field initial names both networks; set it to null, or resolver and recogniser."
            )
        if self.frozen and self.initial is None and self.resolver is None:
            raise InputError(
                "A sharpening network that is frozen must have learned before; set initial or "
                "resolver to its run, or frozen to false."
            )
        if self.labelled and self.native and self.train.batch_size % 2:
            raise InputError(
                f"Each branch has half of the batch; set train.batch_size to an even number, not "
                f"{self.train.batch_size}."
            )
        for branch in branches(self).values():
            branch.validate()
        resolution(self).validate()


def branches(config: CSRIConfig) -> dict[str, RecognitionConfig]:
    """Of each branch that there is, what recognition must know of it."""
    both = RecognitionConfig(
        holdout=config.holdout,
        network=config.network,
        width=config.width,
        dropout=config.dropout,
        alignment=config.alignment,
        plain=config.plain,
        shift=config.shift,
        mirror=config.mirror,
        centre=config.centre,
        centre_rate=config.centre_rate,
        optimizer=config.optimizer,
        train=config.train,
    )
    found = {}
    if config.labelled:
        found["labelled"] = dataclasses.replace(
            both,
            labelled=config.labelled,
            people=config.people,
            classes=config.classes,
            region=config.region,
        )
    if config.native:
        found["native"] = dataclasses.replace(
            both, labelled=config.native, classes=config.native_classes
        )
    return found


def face_size(config: CSRIConfig) -> tuple[int, int]:
    """Height and width of the faces that both networks see."""
    template = recognition.face_template(next(iter(branches(config).values())))
    return template.height, template.width


def resolution(config: CSRIConfig) -> SuperResolutionConfig:
    """What super-resolution must know of the sharpening network."""
    return SuperResolutionConfig(
        image_size=face_size(config),
        size=config.size,
        network=config.sharpener,
        generator=config.generator,
    )


class ResolvingRecogniser(nn.Module):
    """Faces sharpened and then looked at, as CSRI's networks do together.

    Attributes:
      resolver, recogniser: the networks.
    """

    resolver: nn.Module
    recogniser: nn.Module

    def __call__(self, images: jax.Array, train: bool) -> jax.Array:
        """Enlarged images [B, H, W, 3] in [-1, 1] to features [B, D]."""
        return self.recogniser(self.resolver.sharpen(images, train), train)

    def sharpen(self, images: jax.Array) -> jax.Array:
        """The first half of it: images sharpened, in about [-1, 1]."""
        return self.resolver.sharpen(images, train=False)


def build(config: CSRIConfig, axis_name: str | None = AXIS) -> ResolvingRecogniser:
    """Both networks as configured."""
    return ResolvingRecogniser(
        super_resolution.resolver_module(resolution(config), axis_name),
        recognition.build(next(iter(branches(config).values())), axis_name),
    )


def joined(variables: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """The variables of "resolver" and "recogniser" as those of a ResolvingRecogniser."""
    together: dict[str, dict[str, Any]] = {}
    for name in ("resolver", "recogniser"):
        for kind, values in variables[name].items():
            together.setdefault(kind, {})[name] = values
    return together
