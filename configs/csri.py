"""CSRI: super-resolution and identity together, and what the paper compares that with.

lrjax train csri:joint                     step 1: the synthetic branch, on CelebA
lrjax train csri:csri                      step 2: with the native branch, on TinyFace as well
lrjax train csri:joint_tuned               Table 6: step 1, then the recogniser alone on TinyFace
lrjax train csri:vdsr_centreface           Tables 5 and 6: independent networks; the recogniser is
                                           fine-tuned on TinyFace as the other one resolves it (also
                                           srcnn_ and drrn_, and _vggface)
lrjax train csri:csri-small                narrow, on half as many pixels, a short schedule: for a
                                           CPU (all have these suffixes)
lrjax train csri:csri-quick                the same on drawn people

Each goes on from the run before it: csri and joint_tuned from runs/csri-joint, the independent ones
from runs/super_resolution-vdsr and runs/recognition-centreface.
"""

from __future__ import annotations

import dataclasses

from configs import super_resolution
from configs.recognition import SOLVER
from lrjax.config import OptimizerConfig, TrainConfig
from lrjax.tasks.csri_networks import CSRIConfig

# Paper: no schedule. Ours: CentreFace's in step 1, and a tenth of its rate after that, as VDSR's
# part of the network has learned by then.
_FINE = dataclasses.replace(SOLVER, learning_rate=SOLVER.learning_rate / 10)
_STEP1 = CSRIConfig(
    native=(),
    classes=10_177,
    optimizer=dataclasses.replace(SOLVER, clip_norm=10.0),
    train=TrainConfig(batch_size=256, steps=28_000, feed="host", readers=8),
)
_STEP2 = dataclasses.replace(
    _STEP1,
    native=CSRIConfig.native,
    native_classes=2570,
    initial="runs/csri-joint",
    optimizer=dataclasses.replace(_FINE, clip_norm=10.0),
    train=dataclasses.replace(_STEP1.train, steps=14_000),
)
_TUNED = dataclasses.replace(
    _STEP2,
    labelled=(),
    classes=None,
    frozen=True,
    optimizer=_FINE,
    train=TrainConfig(batch_size=256, steps=2_800),
)
# The names that Tables 5 and 6 use, and the variants of super_resolution that they stand for.
RESOLVERS = {"srcnn": "srcnn", "vdsr": "vdsr", "drrn": "drrn_b1u9"}
RECOGNISERS = ("centreface", "vggface")


def _independent(resolver: str, recogniser: str) -> CSRIConfig:
    return dataclasses.replace(
        _TUNED,
        initial=None,
        sharpener=resolver,
        resolver=f"runs/super_resolution-{RESOLVERS[resolver]}",
        network=recogniser,
        recogniser=f"runs/recognition-{recogniser}",
    )


SETTINGS = {
    "joint": _STEP1,
    "csri": _STEP2,
    "joint_tuned": _TUNED,
    **{f"{sr}_{fr}": _independent(sr, fr) for fr in RECOGNISERS for sr in RESOLVERS},
}
SIZES = ("paper", "small", "quick")
VARIANTS = tuple(f"{setting}-{size}" for setting in SETTINGS for size in SIZES)
_SHORT = OptimizerConfig(
    learning_rate=5e-4, b1=0.9, b2=0.999, schedule="cosine", weight_decay=1e-4, clip_norm=1.0
)


def get_config(variant: str = "csri") -> CSRIConfig:
    """The configuration of a variant: a setting, or a setting and a size."""
    setting, _, size = variant.partition("-")
    config = SETTINGS[setting]
    resolver = super_resolution.get_config(f"{RESOLVERS[config.sharpener]}-{size or 'paper'}")
    config = dataclasses.replace(config, generator=resolver.generator)
    if size in ("", "paper"):
        return config
    small = _small(setting, config)
    return {"small": small, "quick": _quick(small)}[size]


def _small(setting: str, config: CSRIConfig) -> CSRIConfig:
    # As many native faces as the recognisers are fine-tuned on: half of each of its batches.
    steps = {"joint": 400, "csri": 600}.get(setting, 250)
    return dataclasses.replace(
        config,
        **{
            field: value and f"{value}-small"
            for field, value in (
                ("initial", config.initial),
                ("resolver", config.resolver),
                ("recogniser", config.recogniser),
            )
        },
        classes=None,
        people=(0.0, 0.25),  # as in recognition's small variants
        native_classes=None,
        network=f"{config.network}_56",
        width=1 / 6,
        dropout=0.0,
        optimizer=_SHORT,
        train=TrainConfig(batch_size=32, steps=steps, evaluate_every=steps, checkpoint_every=100),
    )


def _quick(small: CSRIConfig) -> CSRIConfig:
    def there(source: str | None) -> str | None:
        return source and source.replace("-small", "-quick")

    return dataclasses.replace(
        small,
        labelled=small.labelled and ("synthetic_identities:hr",),
        people=(0.0, 1.0),
        region=(0.0, 0.0, 1.0, 1.0),
        native=small.native and ("synthetic_identities:train",),
        holdout=0.1,
        initial=there(small.initial),
        resolver=there(small.resolver),
        recogniser=there(small.recogniser),
        width=1 / 8,
        train=TrainConfig(batch_size=16, steps=60, samples=0),
    )
