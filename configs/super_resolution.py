"""Super-resolution of faces: SRGAN and ESRGAN, 32 to 128 pixels (K&C's settings A1 and A2), and
what CSRI starts from and is compared with, 20x16 to 112x96: SRCNN, VDSR and DRRN.

lrjax train super_resolution:srresnet         SRGAN's network, by the squared error of pixels
lrjax train super_resolution:srgan --set vgg=FILE
                                              SRGAN, from there; FILE is VGG-19 of `lrjax convert`
lrjax train super_resolution:rrdb             ESRGAN's network, by the absolute error of pixels
lrjax train super_resolution:esrgan --set vgg=FILE
                                              ESRGAN, from there
lrjax train super_resolution:srgan-w300 ...   the same without AFLW (each of these four)
lrjax train super_resolution:vdsr             VDSR on CelebA (also srcnn, drrn_b1u9, drrn_b1u25, and
                                              rpcn, which recognition:rpcn goes on from)
lrjax train super_resolution:srgan-small      narrow and without VGG, a short schedule: for a CPU
                                              (all have this suffix)
lrjax train super_resolution:srgan-quick      the same on drawn faces (all have this suffix)

Schedules and weights are those of the networks' own papers. K&C say nothing about them, and Cheng
et al. that they took "the authors suggested parameter settings".
"""

from __future__ import annotations

from dataclasses import replace

from lrjax.config import AlignmentConfig, GroupConfig, OptimizerConfig, TrainConfig
from lrjax.configs import split, variants, with_sized_runs
from lrjax.models.upsamplers import (
    DiscriminatorConfig,
    DRRNConfig,
    RPCNRefinerConfig,
    RRDBConfig,
    SRCNNConfig,
    SRResNetConfig,
    UpsamplerConfig,
    VDSRConfig,
)
from lrjax.tasks.super_resolution import SuperResolutionConfig

_SRRESNET = SuperResolutionConfig(train=TrainConfig(batch_size=16, steps=1_000_000))
_RRDB = replace(
    _SRRESNET,
    network=RRDBConfig(),
    distance="l1",
    optimizer=OptimizerConfig(2e-4, 0.9, 0.999, drops=(0.2, 0.4, 0.6, 0.8)),
)
GANS = {
    "srresnet": _SRRESNET,
    "srgan": replace(
        _SRRESNET,
        initial="super_resolution:srresnet",
        adversarial="gan",
        pixel=0.0,
        perceptual=0.006,
        gan=1e-3,
        optimizer=OptimizerConfig(1e-4, 0.9, 0.999, drops=(0.5,), drop_factor=0.1),
        train=TrainConfig(batch_size=16, steps=200_000),
    ),
    "rrdb": _RRDB,
    "esrgan": replace(
        _RRDB,
        initial="super_resolution:rrdb",
        adversarial="relativistic",
        pixel=1e-2 / 2,  # η = 1e-2 where pixels are in [0, 1], as in its authors' code
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
_SIZES = {"size": (20, 16), "image_size": (112, 96)}
_CELEBA = SuperResolutionConfig(
    labelled=("celeba:all",),
    alignment=AlignmentConfig("resize", region=(0.25, 0.3, 0.5, 0.5)),
    translation=1 / 16,
    train=TrainConfig(batch_size=64, epochs=80, feed="host", readers=8),
)
_SGD = OptimizerConfig(method="sgd", learning_rate=0.1, momentum=0.9, weight_decay=1e-4)
# VDSR and DRRN. Paper: rate 0.1, each element of a gradient clipped to ±θ / rate, θ = 0.01. Ours: a
# tenth of the rate, and the norm clipped to 0.4: theirs diverges within a step on whole faces.
# `adjustable_clip` is theirs.
_STABLE = {"learning_rate": 0.01, "clip_norm": 0.4}


def _euclidean(side: int) -> float:
    """Weight the mean over pixels in [-1, 1] so that it is the loss of the three papers.

    In Caffe that is half of the sum over the pixels, in [0, 1], of a piece of `side` pixels. So
    gradients are as large as theirs, and the rates and clips mean what they do there, although
    whole faces are larger than their pieces.
    """
    return side**2 / 8


_DRRN = replace(
    _CELEBA,
    network=DRRNConfig(**_SIZES),
    pixel=_euclidean(31),
    # The authors' files: the rate halves every 10 epochs, biases of convolutions learn at a tenth
    # of it, and 2,000,000 steps are a limit only. Ours: 50 epochs. Their Caffe clips the norm.
    # Paper: VDSR's way, element by element.
    optimizer=replace(
        _SGD,
        drops=(0.2, 0.4, 0.6, 0.8),
        drop_factor=0.5,
        **_STABLE,
        groups=(GroupConfig(r"(?<!_norm)\.bias$", rate=0.1),),
    ),
    train=replace(_CELEBA.train, batch_size=128, epochs=50),
)
REFINERS = {
    # Rate 1e-4, a tenth of it in the last layer. 8e8 pieces of 33 pixels, of which 21 are compared,
    # have as many pixels as 170 epochs of these faces.
    "srcnn": replace(
        _CELEBA,
        network=SRCNNConfig(**_SIZES),
        pixel=_euclidean(21),
        optimizer=replace(
            _SGD,
            learning_rate=1e-4,
            weight_decay=0.0,
            drops=(),
            groups=(GroupConfig(r"\bconv_2\.", rate=0.1),),
        ),
        train=replace(_CELEBA.train, batch_size=128, epochs=170),
    ),
    # Rate 0.1, a tenth of it every 20 of 80 epochs; pieces of 41 pixels; θ = 0.01.
    "vdsr": replace(
        _CELEBA,
        network=VDSRConfig(**_SIZES),
        pixel=_euclidean(41),
        optimizer=replace(_SGD, drops=(0.25, 0.5, 0.75), drop_factor=0.1, **_STABLE),
    ),
    "drrn_b1u9": _DRRN,
    "drrn_b1u25": replace(_DRRN, network=replace(_DRRN.network, units=25)),
    # Our reading of the network (see lrjax/models/rpcn.py); its schedule as SRCNN's, with Adam.
    "rpcn": replace(
        _CELEBA,
        network=RPCNRefinerConfig(size=(20, 16), image_size=(56, 48)),
        distance="huber",
        coupled=1.0,
        optimizer=OptimizerConfig(1e-4, 0.9, 0.999, drops=()),
        train=replace(_CELEBA.train, batch_size=128, epochs=50),
    ),
}
SETTINGS = {**GANS, **REFINERS}
VARIANTS = variants(SETTINGS)


def get_config(variant: str = "srresnet") -> SuperResolutionConfig:
    """Make the configuration of a variant: a setting, or a setting and a size."""
    setting, size = split(variant)
    config = SETTINGS[setting]
    if size != "paper":
        config = {"w300": _w300, "small": _small, "quick": _quick}[size](config)
    return with_sized_runs(config, size)


def _w300(config: SuperResolutionConfig) -> SuperResolutionConfig:
    return replace(config, labelled=tuple(s for s in config.labelled if not s.startswith("aflw")))


def _small(config: SuperResolutionConfig) -> SuperResolutionConfig:
    """Narrow and shallow, starting from the bicubic enlargement: to get there takes thousands of
    steps.
    """
    if config.alignment is not None:  # Half as high and wide, too.
        return replace(
            config,
            network=_narrow(config.network),
            pixel=1.0,
            optimizer=OptimizerConfig(1e-3, 0.9, 0.999, schedule="cosine", clip_norm=1.0),
            train=TrainConfig(batch_size=16, steps=200, evaluate_every=200, checkpoint_every=200),
        )
    # A short run needs longer steps than the papers' hundreds of thousands do.
    rate = 1e-3 if config.adversarial == "none" else 2e-4
    return replace(
        config,
        labelled=("w300:train", "wider_face_crops:hr"),
        network=_narrow(config.network),
        discriminator=DiscriminatorConfig(widths=(16, 32, 64), hidden=64),
        # Without VGG, pixels take the place of features, as in SRGAN's variant "SRGAN-MSE".
        pixel=1.0,
        perceptual=0.0,
        optimizer=replace(config.optimizer, learning_rate=rate, schedule="cosine"),
        train=TrainConfig(batch_size=8, steps=150),
    )


def _narrow(network: UpsamplerConfig) -> UpsamplerConfig:
    half = {"size": (20, 16), "image_size": (56, 48), "residual": True}
    match network:
        case DRRNConfig():
            return DRRNConfig(width=16, units=network.units // 3, **half)
        case VDSRConfig():
            return VDSRConfig(width=16, layers=8, **half)
        case SRCNNConfig():
            return SRCNNConfig(width=16, **half)
        case RPCNRefinerConfig():
            return replace(network, width=1 / 4)
        case RRDBConfig():
            return RRDBConfig(width=16, blocks=2, growth=8, residual=True)
        case _:
            return SRResNetConfig(width=24, blocks=4, residual=True)


def _quick(config: SuperResolutionConfig) -> SuperResolutionConfig:
    small = _small(config)
    if config.alignment is None:
        train = TrainConfig(batch_size=8, steps=60, samples=0)
        return replace(small, labelled=("synthetic_faces:hr_train",), train=train)
    return replace(
        small,
        labelled=("synthetic_identities:hr",),
        alignment=AlignmentConfig("resize"),
        holdout=0.1,
        train=TrainConfig(batch_size=16, steps=40, samples=0),
    )
