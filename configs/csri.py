"""CSRI: super-resolution and identity together, and what the paper compares that with.

lrjax train csri:joint                     step 1: the synthetic branch, on CelebA
lrjax train csri:csri                      step 2: with the native branch, on TinyFace as well
lrjax train csri:native_only               a control: step 2 without the synthetic branch
lrjax train csri:joint_tuned               Table 6: step 1, then the encoder alone on TinyFace
lrjax train csri:vdsr_centreface           Tables 5 and 6: independent networks; the encoder is
                                           fine-tuned on TinyFace as the other one refines it (also
                                           srcnn_ and drrn_, and _vggface)
lrjax train csri:csri-small                narrow, on half as many pixels, a short schedule: for a
                                           CPU (all have these suffixes)
lrjax train csri:csri-quick                the same on drawn people

Each goes on from the run before it, which is trained if need be: csri, native_only and joint_tuned
from csri:joint, the independent ones from super_resolution:vdsr and recognition:centreface.
"""

from __future__ import annotations

import math
from dataclasses import replace

from lrjax.config import AlignmentConfig, GroupConfig, OptimizerConfig, TrainConfig
from lrjax.configs import SHORT, recognition, split, super_resolution, variants, with_sized_runs
from lrjax.configs.recognition import (
    AFTER,
    GOING_ON,
    NATIVE_BATCH,
    NATIVE_EXAMPLES,
    SHIFT,
    SOLVER,
)
from lrjax.models.encoders import EncoderConfig
from lrjax.tasks.csri import CSRIConfig

# Paper: no schedule. Ours: CentreFace's in step 1, and a tenth of its rate after that, as VDSR's
# part of the network has learned by then.
_FINE = replace(SOLVER, learning_rate=SOLVER.learning_rate / 10)
# Paper: silent on the rate of the super-resolution part. Ours: a tenth of the encoder's, at which
# VDSR learns alone, too: at CentreFace's, its pixels diverge within ten steps.
_UPSAMPLER = GroupConfig(r"^upsampler\.", rate=0.1)


def _jointly(config: OptimizerConfig) -> OptimizerConfig:
    return replace(config, groups=(_UPSAMPLER, *config.groups))


_STEP1 = CSRIConfig(
    native=(),
    classes=10_177,
    shift=SHIFT,
    optimizer=_jointly(SOLVER),
    train=TrainConfig(batch_size=256, steps=28_000, feed="host", readers=8),
)
# Half of each batch is native.
_STEP2 = replace(
    _STEP1,
    native=CSRIConfig.native,
    native_classes=2570,
    holdout=0.0,
    initial="csri:joint",
    optimizer=_jointly(_FINE),
    train=replace(_STEP1.train, batch_size=2 * NATIVE_BATCH, steps=NATIVE_EXAMPLES // NATIVE_BATCH),
)
# Not in the paper: what the synthetic branch is worth in step 2.
_NATIVE_ONLY = replace(
    _STEP2,
    labelled=(),
    classes=None,
    train=TrainConfig(batch_size=NATIVE_BATCH, steps=_STEP2.train.steps),
)
# The names that Tables 5 and 6 use, and the variants of super_resolution that they stand for.
REFINERS = {"srcnn": "srcnn", "vdsr": "vdsr", "drrn": "drrn_b1u9"}
ENCODERS = ("centreface", "vggface")


def _frozen(encoder: str) -> CSRIConfig:
    """Fine-tune an encoder behind a refiner that does not learn, as it is fine-tuned alone."""
    alone = recognition.SETTINGS[f"{encoder}_tuned"]
    return replace(
        _NATIVE_ONLY,
        frozen=True,
        network=alone.network,
        optimizer=alone.optimizer,
        train=alone.train,
    )


SETTINGS = {
    "joint": _STEP1,
    "csri": _STEP2,
    "native_only": _NATIVE_ONLY,
    "joint_tuned": _frozen("centreface"),
    **{
        f"{refiner}_{encoder}": replace(
            _frozen(encoder),
            initial=None,
            initial_refiner=f"super_resolution:{REFINERS[refiner]}",
            initial_encoder=f"recognition:{encoder}",
        )
        for encoder in ENCODERS
        for refiner in REFINERS
    },
}
VARIANTS = variants(SETTINGS)


def get_config(variant: str = "csri") -> CSRIConfig:
    """Make the configuration of a variant: a setting, or a setting and a size."""
    setting, size = split(variant)
    config = SETTINGS[setting]
    if size in ("small", "quick"):
        config = _small(config)
    if size == "small" and setting == "joint":
        # Beyond the paper, from networks that have learned alone, as the rows beside it.
        alone = {"refiner": "super_resolution:vdsr", "encoder": "recognition:centreface"}
        config = replace(config, **{f"initial_{network}": run for network, run in alone.items()})
    if size == "quick":
        config = _quick(setting, config)
    # The refiner that it goes on from, at the size that it has learned on.
    name = REFINERS.get(setting.partition("_")[0], "vdsr")
    refiner = super_resolution.get_config(f"{name}-{size}").network
    # The sum of its squares shall weigh as much where pixels are fewer.
    pixels = [math.prod(sizes) for sizes in (config.refiner.image_size, refiner.image_size)]
    config = replace(config, refiner=refiner, sr=config.sr * pixels[0] / pixels[1])
    return with_sized_runs(config, size)


def _small(config: CSRIConfig) -> CSRIConfig:
    return replace(
        config,
        classes=None,
        people=(0.0, 2 / 3),  # as in recognition's small variants
        native_classes=None,
        network=EncoderConfig(f"{config.network.name}_56", width=1 / 4, dropout=0.0),
        optimizer=GOING_ON,
        # Steps, and native faces in a batch, as of the encoders that are trained and tuned alone.
        train=replace(AFTER, batch_size=64 if config.labelled and config.native else 32),
    )


def _quick(setting: str, small: CSRIConfig) -> CSRIConfig:
    steps, batch = 150 if setting == "joint" else 120, 16 if small.labelled else 8
    return replace(
        small,
        optimizer=SHORT,
        labelled=small.labelled and ("synthetic_identities:hr",),
        people=(0.0, 1.0),
        alignment=AlignmentConfig("resize"),
        native=small.native and ("synthetic_identities:train",),
        holdout=0.1,
        network=replace(small.network, width=1 / 8),
        train=TrainConfig(batch_size=batch, steps=steps, samples=0),
    )
