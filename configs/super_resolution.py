"""Super-resolution of faces, 32 to 128 pixels: SRGAN and ESRGAN (K&C's settings A1 and A2).

lrjax train super_resolution:srresnet         SRGAN's network, by the squared error of pixels
lrjax train super_resolution:srgan --set vgg=FILE --set initial=runs/super_resolution-srresnet
                                              SRGAN, from there; FILE is VGG-19 of `lrjax convert`
lrjax train super_resolution:rrdb             ESRGAN's network, by the absolute error of pixels
lrjax train super_resolution:esrgan --set vgg=FILE --set initial=runs/super_resolution-rrdb
                                              ESRGAN, from there
lrjax train super_resolution:srgan-w300 ...   the same without AFLW (each has these suffixes)
lrjax train super_resolution:srgan-small ...  narrow and without VGG, a short schedule: for a CPU
lrjax train super_resolution:srgan-quick ...  the same on synthetic faces

Schedules and weights are those of the two papers; K&C say nothing about them.
"""

from __future__ import annotations

import dataclasses

from lrjax.config import OptimizerConfig, TrainConfig
from lrjax.tasks.super_resolution import (
    DiscriminatorConfig,
    ResolverConfig,
    SuperResolutionConfig,
)

_SRRESNET = SuperResolutionConfig(train=TrainConfig(batch_size=16, steps=1_000_000))
_RRDB = dataclasses.replace(
    _SRRESNET,
    network="rrdb",
    distance="l1",
    optimizer=OptimizerConfig(2e-4, 0.9, 0.999, drops=(0.2, 0.4, 0.6, 0.8)),
)
SETTINGS = {
    "srresnet": _SRRESNET,
    "srgan": dataclasses.replace(
        _SRRESNET,
        adversarial="gan",
        pixel=0.0,
        perceptual=0.006,
        gan=1e-3,
        optimizer=OptimizerConfig(1e-4, 0.9, 0.999, drops=(0.5,), drop_factor=0.1),
        train=TrainConfig(batch_size=16, steps=200_000),
    ),
    "rrdb": _RRDB,
    "esrgan": dataclasses.replace(
        _RRDB,
        adversarial="relativistic",
        pixel=1e-2,
        perceptual=1.0,
        gan=5e-3,
        activated=False,
        optimizer=OptimizerConfig(1e-4, 0.9, 0.999, drops=(0.125, 0.25, 0.5, 0.75)),
        train=TrainConfig(batch_size=16, steps=400_000),
    ),
}
SIZES = ("paper", "w300", "small", "quick")
VARIANTS = tuple(f"{setting}-{size}" for setting in SETTINGS for size in SIZES)


def get_config(variant: str = "srresnet") -> SuperResolutionConfig:
    """The configuration of a variant: a setting, or a setting and a size."""
    setting, _, size = variant.partition("-")
    return _sized(SETTINGS[setting], size or "paper")


def _sized(config: SuperResolutionConfig, size: str) -> SuperResolutionConfig:
    if size == "paper":
        return config
    w300 = dataclasses.replace(
        config, labelled=tuple(spec for spec in config.labelled if not spec.startswith("aflw"))
    )
    if size == "w300":
        return w300
    # Narrow, and starting from the bicubic enlargement: to get there takes thousands of steps.
    narrow = {
        "srresnet": ResolverConfig(24, 4, residual=True),
        "rrdb": ResolverConfig(16, 2, growth=8, residual=True),
    }
    small = dataclasses.replace(
        w300,
        labelled=("w300:train", "wider_face_crops:hr"),
        generator=narrow[config.network],
        discriminator=DiscriminatorConfig(widths=(16, 32, 64), hidden=64),
        # Without VGG, pixels take the place of features, as in SRGAN's variant "SRGAN-MSE".
        pixel=1.0,
        perceptual=0.0,
        # A short run needs longer steps than the papers' hundreds of thousands do.
        optimizer=dataclasses.replace(
            config.optimizer,
            learning_rate=1e-3 if config.adversarial == "none" else 2e-4,
            schedule="cosine",
        ),
        train=TrainConfig(batch_size=8, steps=400),
    )
    if size == "small":
        return small
    if size == "quick":
        return dataclasses.replace(
            small,
            labelled=("synthetic_faces:hr_train",),
            train=TrainConfig(batch_size=8, steps=60, samples=0),
        )
    raise KeyError(size)
