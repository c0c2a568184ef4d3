"""Stage 1: G1 learns to degrade faces, D1 to tell them from native low-resolution ones.

lrjax train degradation            K&C's sizes and schedule
lrjax train degradation:w300       the same without AFLW
lrjax train degradation:small      narrow, half the groups, a short schedule: for a CPU
lrjax train degradation:quick      the quickstart's, on synthetic faces
lrjax train degradation:tinyface   K&C's setting L4: TinyFace's training faces are the native ones
                                   (also tinyface-small, tinyface-quick)
"""

from __future__ import annotations

import dataclasses
from typing import TypeVar

from lrjax.config import CriticConfig, HighToLowConfig, OptimizerConfig, TrainConfig
from lrjax.tasks.degradation import DegradationConfig
from lrjax.tasks.landmarks import LandmarksConfig

SIZES = ("paper", "w300", "small", "quick")
VARIANTS = (*SIZES, "tinyface", *(f"tinyface-{size}" for size in SIZES))

Native = TypeVar("Native", DegradationConfig, LandmarksConfig)


def get_config(variant: str = "paper") -> DegradationConfig:
    """The configuration of a variant: a size, "tinyface", or "tinyface" and a size."""
    if not variant.startswith("tinyface"):
        return _sized(variant)
    size = variant.removeprefix("tinyface").removeprefix("-") or "paper"
    return on_tinyface(_sized(size), size)


def on_tinyface(config: Native, size: str) -> Native:
    """`config` with TinyFace's training faces as the real low-resolution ones (settings L3, L4).

    They are crops around the face, so no view may show more than that.
    """
    real = "synthetic_identities:train" if size == "quick" else "tinyface:train"
    return dataclasses.replace(
        config, real=(real,), augment=dataclasses.replace(config.augment, tight=1.0)
    )


def _sized(variant: str) -> DegradationConfig:
    paper = DegradationConfig()
    if variant == "paper":
        return paper
    w300 = dataclasses.replace(
        paper, labelled=("w300:train", "w300:full", "w300:private_test", "wider_face_crops:hr")
    )
    if variant == "w300":
        return w300
    # Half as many groups and narrow ones: on a CPU, compiling the others would take as long as this
    # training. A short run needs longer steps than the paper's 200 epochs do.
    small = dataclasses.replace(
        w300,
        labelled=("w300:train", "wider_face_crops:hr"),
        generator=HighToLowConfig(stem=16, encoder=(16, 32), decoder=(16,)),
        critic=CriticConfig(widths=(16, 32, 64), hidden=64),
        optimizer=OptimizerConfig(learning_rate=1e-3),
        train=TrainConfig(batch_size=16, steps=300),
    )
    if variant == "small":
        return small
    if variant == "quick":
        return dataclasses.replace(
            small,
            labelled=("synthetic_faces:hr_train",),
            real=("synthetic_faces:lr_train",),
            train=TrainConfig(batch_size=16, steps=200, samples=0),
        )
    raise ValueError(variant)
