"""Stage 1: G1 learns to degrade faces, D1 to tell them from native low-resolution ones.

lrjax train degradation            K&C's sizes and schedule
lrjax train degradation:w300       the same without AFLW
lrjax train degradation:small      a sixth of the widths and a short schedule, for a CPU
lrjax train degradation:quick      the quickstart's, on synthetic faces
"""

from __future__ import annotations

import dataclasses

from lrjax.config import CriticConfig, HighToLowConfig, OptimizerConfig, TrainConfig
from lrjax.tasks.degradation import DegradationConfig

VARIANTS = ("paper", "w300", "small", "quick")


def get_config(variant: str = "paper") -> DegradationConfig:
    """The configuration of a variant."""
    paper = DegradationConfig()
    if variant == "paper":
        return paper
    w300 = dataclasses.replace(
        paper, labelled=("w300:train", "w300:full", "w300:private_test", "wider_face_crops:hr")
    )
    if variant == "w300":
        return w300
    small = dataclasses.replace(
        w300,
        generator=HighToLowConfig(stem=16, encoder=(16, 24, 48, 64), decoder=(48, 32, 16)),
        critic=CriticConfig(widths=(16, 16, 32, 32, 64, 64), hidden=64),
        train=TrainConfig(steps=1500, evaluate_every=500, checkpoint_every=500),
    )
    if variant == "small":
        return small
    if variant == "quick":
        return dataclasses.replace(
            small,
            labelled=("synthetic_faces:hr_train",),
            real=("synthetic_faces:lr_train",),
            # Half as many groups, so that less of a newcomer's time is spent compiling them.
            generator=HighToLowConfig(stem=16, encoder=(16, 32), decoder=(16,)),
            critic=CriticConfig(widths=(16, 32, 64), hidden=64),
            optimizer=OptimizerConfig(learning_rate=1e-3),
            train=TrainConfig(batch_size=16, steps=200, samples=0),
        )
    raise ValueError(variant)
