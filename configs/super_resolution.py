"""Super-resolution of faces: SRGAN and ESRGAN, 32 to 128 pixels (K&C's settings A1 and A2), and
what CSRI starts from and is compared with, 20x16 to 112x96: SRCNN, VDSR and DRRN.

lrjax train super_resolution:srresnet         SRGAN's network, by the squared error of pixels
lrjax train super_resolution:srgan --set vgg=FILE --set initial=runs/super_resolution-srresnet
                                              SRGAN, from there; FILE is VGG-19 of `lrjax convert`
lrjax train super_resolution:rrdb             ESRGAN's network, by the absolute error of pixels
lrjax train super_resolution:esrgan --set vgg=FILE --set initial=runs/super_resolution-rrdb
                                              ESRGAN, from there
lrjax train super_resolution:srgan-w300 ...   the same without AFLW (each of these four)
lrjax train super_resolution:vdsr             VDSR on CelebA (also srcnn, drrn_b1u9, drrn_b1u25, and
                                              rpcn, which recognition:rpcn goes on from)
lrjax train super_resolution:srgan-small ...  narrow and without VGG, a short schedule: for a CPU
                                              (all have this suffix)
lrjax train super_resolution:srgan-quick ...  the same on drawn faces (all have this suffix)

Schedules and weights are those of the networks' own papers. K&C say nothing about them, and Cheng
et al. that they took "the authors suggested parameter settings".
"""

from __future__ import annotations

import dataclasses

from lrjax.config import GroupConfig, OptimizerConfig, TrainConfig
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
GANS = {
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
# CSRI: "We trained these SR models on the CelebA images (202,599 LR/HR face pairs from 10,177
# identities)", and faces are made small to TinyFace's average size. What of a picture is its face,
# and how large a sharp one is, it does not say. Ours: what CentreFace sees of the aligned pictures'
# middles, in red, green and blue (the three networks are published for luminance).
_CELEBA = SuperResolutionConfig(
    labelled=("celeba:all",),
    image_size=(112, 96),
    size=(20, 16),
    alignment="resize",
    region=(0.25, 0.3, 0.5, 0.5),
    translation=1 / 16,
    train=TrainConfig(batch_size=64, epochs=80, feed="host", readers=8),
)
_SGD = OptimizerConfig(method="sgd", learning_rate=0.1, momentum=0.9, weight_decay=1e-4)


def _euclidean(side: int) -> float:
    """The weight of the mean over pixels in [-1, 1] that makes it the loss of the three papers.

    In Caffe that is half of the sum over the pixels, in [0, 1], of a piece of `side` pixels. So
    gradients are as large as theirs, and the rates and clips mean what they do there, although
    whole faces are larger than their pieces.
    """
    return side**2 / 8


_DRRN = dataclasses.replace(
    _CELEBA,
    network="drrn",
    generator=ResolverConfig(units=9),
    pixel=_euclidean(31),
    # The authors' files: the rate halves every 10 epochs, biases of convolutions learn at a tenth
    # of it, and 2,000,000 steps are a limit only. Ours: 50 epochs. Their Caffe clips the norm.
    # Paper: VDSR's way, element by element.
    optimizer=dataclasses.replace(
        _SGD,
        drops=(0.2, 0.4, 0.6, 0.8),
        drop_factor=0.5,
        adjustable_clip=0.01,
        groups=(GroupConfig(r"(?<!_norm)\.bias$", rate=0.1),),
    ),
    train=dataclasses.replace(_CELEBA.train, batch_size=128, epochs=50),
)
PRE_UPSAMPLED = {
    # Rate 1e-4, a tenth of it in the last layer. 8e8 pieces of 33 pixels, of which 21 are compared,
    # have as many pixels as 170 epochs of these faces.
    "srcnn": dataclasses.replace(
        _CELEBA,
        network="srcnn",
        pixel=_euclidean(21),
        optimizer=dataclasses.replace(
            _SGD,
            learning_rate=1e-4,
            weight_decay=0.0,
            drops=(),
            groups=(GroupConfig(r"\bconv_2\.", rate=0.1),),
        ),
        train=dataclasses.replace(_CELEBA.train, batch_size=128, epochs=170),
    ),
    # Rate 0.1, a tenth of it every 20 of 80 epochs; pieces of 41 pixels; θ = 0.01.
    "vdsr": dataclasses.replace(
        _CELEBA,
        network="vdsr",
        pixel=_euclidean(41),
        optimizer=dataclasses.replace(
            _SGD, drops=(0.25, 0.5, 0.75), drop_factor=0.1, adjustable_clip=0.01
        ),
    ),
    "drrn_b1u9": _DRRN,
    "drrn_b1u25": dataclasses.replace(_DRRN, generator=ResolverConfig(units=25)),
    # Our reading of the network (see lrjax/models/rpcn.py); its schedule as SRCNN's, with Adam.
    "rpcn": dataclasses.replace(
        _CELEBA,
        image_size=(56, 48),
        network="rpcn",
        distance="huber",
        coupled=1.0,
        optimizer=OptimizerConfig(1e-4, 0.9, 0.999, drops=()),
        train=dataclasses.replace(_CELEBA.train, batch_size=128, epochs=50),
    ),
}
SETTINGS = {**GANS, **PRE_UPSAMPLED}
SIZES = ("paper", "w300", "small", "quick")
VARIANTS = tuple(
    f"{setting}-{size}"
    for setting in SETTINGS
    for size in SIZES
    if setting in GANS or size != "w300"
)


def get_config(variant: str = "srresnet") -> SuperResolutionConfig:
    """The configuration of a variant: a setting, or a setting and a size."""
    setting, _, size = variant.partition("-")
    if setting in PRE_UPSAMPLED:
        sized = {"": _paper, "paper": _paper, "small": _small, "quick": _quick}[size]
        return sized(SETTINGS[setting])
    return _sized(SETTINGS[setting], size or "paper")


def _paper(config: SuperResolutionConfig) -> SuperResolutionConfig:
    return config


def _small(config: SuperResolutionConfig) -> SuperResolutionConfig:
    """Narrow and shallow, half as high and wide, and starting from the bicubic enlargement."""
    return dataclasses.replace(
        config,
        image_size=(56, 48),
        generator=dataclasses.replace(
            config.generator,
            width=16,
            layers=8,
            units=config.generator.units // 3,
            residual=config.network != "rpcn",
        ),
        pixel=1.0,
        optimizer=OptimizerConfig(1e-3, 0.9, 0.999, schedule="cosine", clip_norm=1.0),
        train=TrainConfig(batch_size=16, steps=200, evaluate_every=200, checkpoint_every=200),
    )


def _quick(config: SuperResolutionConfig) -> SuperResolutionConfig:
    """The same on drawn people."""
    return dataclasses.replace(
        _small(config),
        labelled=("synthetic_identities:hr",),
        region=SuperResolutionConfig.region,
        holdout=0.1,
        train=TrainConfig(batch_size=16, steps=40, samples=0),
    )


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
        train=TrainConfig(batch_size=8, steps=150),
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
