"""Stage 2: landmarks on low-resolution faces.

lrjax train landmarks:s4 --set stage1=runs/degradation
                                   K&C's setting S4 (also s1, s2, s3), sizes and schedule
lrjax train landmarks:tinyface ... S4 with TinyFace's training faces as the native ones (L3, L4)
lrjax train landmarks:hr           HR-LD: G2 on 128-pixel faces
lrjax train landmarks:s4-w300 ...  the same without AFLW (each setting has these suffixes)
lrjax train landmarks:s4-small ... a quarter of the widths and a short schedule, for a CPU
lrjax train landmarks:s4-quick ... the quickstart's, on synthetic faces
lrjax train landmarks:shipped      the network in lrjax/pretrained, beyond the paper
"""

from __future__ import annotations

import dataclasses

from configs.degradation import on_tinyface
from lrjax.config import (
    AugmentConfig,
    CameraConfig,
    CriticConfig,
    OptimizerConfig,
    TrainConfig,
    UNetConfig,
)
from lrjax.tasks.landmarks import LandmarksConfig

# Paper: N is "19 or 68"; where AFLW and 300W train together, 19 are what both have.
_PAPER = LandmarksConfig(scheme="aflw19")
SETTINGS = {
    # Table 1b: what G2 is trained on, and against whom.
    "s1": dataclasses.replace(_PAPER, degradation="subsample"),
    "s2": dataclasses.replace(_PAPER, degradation="generator"),
    "s3": dataclasses.replace(_PAPER, degradation="generator", critics=("heatmap",)),
    "s4": dataclasses.replace(_PAPER, degradation="generator", critics=("heatmap", "confidence")),
    # Table 2, L3: S4 "with Tinyface training images as real low resolution images"; L4's stage1 is
    # a degradation that was trained on them, too.
    "tinyface": dataclasses.replace(
        _PAPER, degradation="generator", critics=("heatmap", "confidence")
    ),
    # Table 4: "we train G2 on high resolution images of size 128 × 128".
    "hr": dataclasses.replace(_PAPER, degradation="none", size=128),
}
SIZES = ("paper", "w300", "small", "quick")
# Where minutes are few, S3 and S4 go on from S2: size -> for how long.
CONTINUED = {
    "small": TrainConfig(batch_size=16, steps=200),
    "quick": TrainConfig(batch_size=16, steps=60, samples=0),
}
VARIANTS = (*(f"{s}-{size}" for s in SETTINGS for size in SIZES), "shipped")


def get_config(variant: str = "s4") -> LandmarksConfig:
    """The configuration of a variant: a setting, or a setting and a size."""
    if variant == "shipped":
        return _shipped()
    setting, _, size = variant.partition("-")
    config = _sized(SETTINGS[setting], size or "paper")
    return on_tinyface(config, size) if setting == "tinyface" else config


def _sized(config: LandmarksConfig, size: str) -> LandmarksConfig:
    if size == "paper":
        return config
    w300 = dataclasses.replace(config, labelled=("w300:train",), scheme="ibug68")
    if size == "w300":
        return w300
    # Half as many groups: on a CPU a short run would spend half of its time compiling the others.
    # Fewer points, wider peaks and less turning: what a few hundred steps can learn.
    small = dataclasses.replace(
        w300,
        scheme="aflw19",
        sigma=3.0,
        # Some views show the face box alone, as TinyFace's pictures do.
        augment=AugmentConfig(rotation=15.0, tight=0.25),
        generator=UNetConfig(stem=16, widths=(16, 32)),
        heatmap_critic=UNetConfig(stem=16, widths=(16, 32)),
        confidence_critic=CriticConfig(widths=(16, 32, 64), hidden=64),
        # A short run needs longer steps than the paper's 200 epochs do.
        optimizer=OptimizerConfig(learning_rate=1e-3),
        train=TrainConfig(batch_size=16, steps=600),
    )
    if config.size > 32:
        # A point of a 128-pixel face is known from afar: all four groups, and a longer run.
        small = dataclasses.replace(
            small,
            generator=UNetConfig(stem=16, widths=(16, 32, 64, 96)),
            train=TrainConfig(batch_size=8, steps=800),
        )
    if size == "small":
        return small
    if size == "quick":
        return dataclasses.replace(
            small,
            labelled=("synthetic_faces:hr_train",),
            real=("synthetic_faces:lr_train",),
            scheme="five",
            augment=AugmentConfig(rotation=15.0),
            train=TrainConfig(batch_size=16, steps=400, samples=0),
        )
    raise KeyError(size)


def _shipped() -> LandmarksConfig:
    """The network in lrjax/pretrained: everything here that is not a default is beyond the paper.

    Faces are degraded by a parametric camera, maps are read as distributions, and the averaged
    parameters are kept.
    """
    return LandmarksConfig(
        labelled=("w300:train",),
        image_size=64,
        degradation="camera",
        objective="integral",
        decoder="soft",
        sigma=1.2,
        average=0.998,
        generator=UNetConfig(stem=32, widths=(32, 64, 128, 192)),
        augment=AugmentConfig(
            scale=(0.8, 1.25),
            translation=0.08,
            flip=0.5,
            brightness=0.2,
            contrast=0.4,
            gamma=0.4,
            colour=0.1,
            grey=0.15,
            occlusion=0.4,
            tight=0.25,
        ),
        camera=CameraConfig(size=(20.0, 52.0), blur=0.045),
        optimizer=OptimizerConfig(
            learning_rate=1.5e-3,
            b1=0.9,
            b2=0.99,
            schedule="cosine",
            weight_decay=1e-4,
            clip_norm=5.0,
        ),
        train=TrainConfig(batch_size=32, steps=4000, evaluate_every=250, checkpoint_every=250),
    )
