"""Stage 2: landmarks on low-resolution faces.

lrjax train landmarks:s4           K&C's setting S4 (also s1, s2, s3), image sizes and schedule,
                                   after `degradation`, which is trained if need be; the paper
                                   gives no widths: these are ours, after the usual U-Net
lrjax train landmarks:tinyface     S4 with TinyFace's training faces as the native ones (L3, I2)
lrjax train landmarks:end_to_end   ... after `degradation:tinyface`, which saw them, too (L4, I3)
lrjax train landmarks:hr           HR-LD: G2 on 128-pixel faces, those of AFLW (Table 2's Baseline)
lrjax train landmarks:hr68         ... those of 300W, with their 68 points
lrjax train landmarks:s2_longer    S2 for as long as S3 and S4, where these go on from it
lrjax train landmarks:camera       beyond the paper: S2 with a parametric camera in G1's place (also
                                   camera_longer, and camera_d3, with S4's confidence critic)
lrjax train landmarks:s4-w300      the same without AFLW (each setting has these suffixes)
lrjax train landmarks:s4-small     a quarter of the widths and a short schedule, for a CPU: half of
                                   the widths of the network in lrjax/pretrained
lrjax train landmarks:s4-quick     the quickstart's, on drawn faces
lrjax train landmarks:pretrained   the network in lrjax/pretrained, beyond the paper, after
                                   `landmarks:pretrained68`, which has not seen people's five points
lrjax train landmarks:fast         half of its widths, learned from it
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from lrjax.config import AugmentConfig, CameraConfig, OptimizerConfig, TrainConfig
from lrjax.configs import split, variants, with_sized_runs
from lrjax.configs.degradation import AUGMENT, REDUCED, on_tinyface
from lrjax.models.s2ld import CriticConfig, LandmarkConfig, UNetConfig
from lrjax.tasks.landmarks import LandmarksConfig

# Paper: N is "19 or 68"; where AFLW and 300W train together, 19 are what both have. S1 and the
# Baseline's HR-LD learn from AFLW alone; G2 of S2 to S4 from G1's labelled faces, which are AFLW's
# and "the entire 300W": they are tested on AFLW.
_PAPER = LandmarksConfig(augment=AUGMENT, g2=LandmarkConfig(points="aflw19"))
_S2 = replace(_PAPER, stage1="degradation")
_S4 = replace(_S2, critics=("heatmap", "confidence"))
_CAMERA = replace(_PAPER, degradation="camera")
_HR = replace(_PAPER, labelled=("aflw:train",), degradation="none", g2=replace(_PAPER.g2, size=128))
SETTINGS = {
    # Table 1b: what G2 is trained on, and against whom.
    "s1": replace(_PAPER, labelled=("aflw:train",), degradation="subsample"),
    "s2": _S2,
    # Not in the paper. Where S3 and S4 go on from S2, so does this, for as many steps; elsewhere
    # it is S2.
    "s2_longer": _S2,
    "s3": replace(_S2, critics=("heatmap",)),
    "s4": _S4,
    # Not in the paper: is a learned degradation better than one that somebody wrote down, and is D3
    # worth as much without it?
    "camera": _CAMERA,
    "camera_longer": _CAMERA,
    "camera_d3": replace(_CAMERA, critics=("confidence",)),
    # Table 2, L3: S4 "with Tinyface training images as real low resolution images"; L4: "end-to-end
    # training", for which G1 has learned from them, too.
    "tinyface": _S4,
    "end_to_end": replace(_S4, stage1="degradation:tinyface", augment=REDUCED),
    # Table 4: "we train G2 on high resolution images of size 128 × 128", of AFLW or of 300W.
    "hr": _HR,
    "hr68": replace(_HR, labelled=("w300:train",), g2=replace(_HR.g2, points="ibug68")),
}
# What those of the size `small` that learn from nothing learn for; the others go on for half of it.
SMALL_STEPS = 2000


def get_config(variant: str = "s4") -> LandmarksConfig:
    """Make the configuration of a variant: a setting, or a setting and a size."""
    if variant in _BEYOND:
        return _BEYOND[variant]
    setting, size = split(variant)
    config = SETTINGS[setting]
    if size != "paper":
        goes_on = bool(config.critics) or setting.endswith("_longer")
        config = _w300(config) if size == "w300" else _small(config, goes_on)
    if size == "quick":
        config = _quick(config, goes_on)
    if setting in ("tinyface", "end_to_end"):
        config = on_tinyface(config, size)
    return with_sized_runs(config, size)


def _w300(config: LandmarksConfig) -> LandmarksConfig:
    return replace(config, labelled=("w300:train",), g2=replace(config.g2, points="ibug68"))


def _small(config: LandmarksConfig, goes_on: bool) -> LandmarksConfig:
    """Learn in minutes on a CPU, by longer steps than the paper's 200 epochs take.

    Rows of a table have one network, one schedule and one augmentation, so that what they differ in
    is the paper's difference; the learning rate falls to zero, so that where a run stops says
    nothing.
    """
    # A point of a 128-pixel face is known from afar; a batch of them is smaller.
    train = TrainConfig(batch_size=16 if config.size == 32 else 8, steps=SMALL_STEPS)
    if goes_on:
        # Where minutes are few, what has critics goes on from what has none.
        before = "landmarks:camera" if config.degradation == "camera" else "landmarks:s2"
        config = replace(config, initial=before)
        train = replace(train, steps=SMALL_STEPS // 2)
    # On a grid of 128 pixels wider peaks: a short run learns no narrow ones.
    sigma = config.g2.sigma if config.size == 32 else 3.0
    return replace(
        config,
        labelled=("w300:train",),
        g2=replace(config.g2, sigma=sigma, stem=16, widths=(16, 32, 64, 96)),
        d2=UNetConfig(stem=16, widths=(16, 32)),
        d3=CriticConfig("confidence_discriminator", widths=(16, 32, 64), hidden=64),
        optimizer=OptimizerConfig(learning_rate=1e-3, schedule="cosine"),
        train=train,
    )


def _quick(small: LandmarksConfig, goes_on: bool) -> LandmarksConfig:
    points: Any = "five" if small.g2.points == "aflw19" else small.g2.points
    # Half as many groups where faces are small: compiling the others would take as long as this
    # training, which is too short for narrow peaks and much turning.
    widths = (16, 32) if small.size == 32 else small.g2.widths
    return replace(
        small,
        labelled=("synthetic_faces:hr_train",),
        real=("synthetic_faces:lr_train",),
        augment=replace(small.augment, rotation=min(small.augment.rotation, 15.0)),
        g2=replace(small.g2, points=points, widths=widths, sigma=3.0),
        optimizer=OptimizerConfig(learning_rate=1e-3),
        train=TrainConfig(batch_size=16, steps=60 if goes_on else 400, samples=0),
    )


# The network in lrjax/pretrained: everything here that is not a default is beyond the paper. Faces
# are degraded by a parametric camera, maps are read as distributions, and the averaged parameters
# are kept. It learns iBUG's 68 points first, then people's five beside them.
_PRETRAINED68 = LandmarksConfig(
    labelled=("w300:train",),
    image_size=64,
    degradation="camera",
    objective="integral",
    average=0.998,
    g2=LandmarkConfig(decoder="soft", sigma=1.2, stem=32, widths=(32, 64, 128, 192)),
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
    optimizer=OptimizerConfig(1.5e-3, 0.9, 0.99, "cosine", weight_decay=1e-4, clip_norm=5.0),
    train=TrainConfig(batch_size=32, steps=4000, evaluate_every=250, checkpoint_every=250),
)
_PRETRAINED = replace(
    _PRETRAINED68,
    initial="landmarks:pretrained68",
    # 300W is a third of MTFL: named three times, it is about half of every batch.
    labelled=(*3 * ("w300:train",), "mtfl:train"),
    g2=replace(_PRETRAINED68.g2, points="ibug68_five"),
    # Boxes as detectors and people in a hurry draw them.
    augment=replace(_PRETRAINED68.augment, scale=(0.7, 1.4), translation=0.16),
    optimizer=replace(_PRETRAINED68.optimizer, learning_rate=1e-3),
    train=replace(_PRETRAINED68.train, steps=6000, evaluate_every=1000),
)
# A quarter of its sums a face. On each of them it learns all 73 points, from the larger network.
_FAST = replace(
    _PRETRAINED,
    initial=None,
    teacher="pretrained",
    g2=replace(_PRETRAINED.g2, stem=16, widths=(16, 32, 64, 96)),
    optimizer=replace(_PRETRAINED.optimizer, learning_rate=2e-3),
    train=replace(_PRETRAINED.train, steps=12000),
)
_BEYOND = {"pretrained68": _PRETRAINED68, "pretrained": _PRETRAINED, "fast": _FAST}
VARIANTS = (*variants(SETTINGS), *_BEYOND)
