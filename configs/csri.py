"""CSRI: super-resolution and identity together, and what the paper compares that with.

lrjax train csri:joint                     step 1: the synthetic branch, on CelebA
lrjax train csri:csri                      step 2: with the native branch, on TinyFace as well
lrjax train csri:joint_tuned               Table 6: step 1, then the encoder alone on TinyFace
lrjax train csri:vdsr_centreface           Tables 5 and 6: independent networks; the encoder is
                                           fine-tuned on TinyFace as the other one refines it (also
                                           srcnn_ and drrn_, and _vggface)
lrjax train csri:csri-small                narrow, on half as many pixels, a short schedule: for a
                                           CPU (all have these suffixes)
lrjax train csri:csri-quick                the same on drawn people

Each goes on from the run before it, which is trained if need be: csri and joint_tuned from
csri:joint, the independent ones from super_resolution:vdsr and recognition:centreface.
"""

from __future__ import annotations

from dataclasses import replace

from lrjax.config import AlignmentConfig, TrainConfig
from lrjax.configs import SHORT, split, super_resolution, variants, with_sized_runs
from lrjax.configs.recognition import SOLVER
from lrjax.models.encoders import EncoderConfig
from lrjax.models.registry import build
from lrjax.tasks.csri import CSRIConfig

# Paper: no schedule. Ours: CentreFace's in step 1, and a tenth of its rate after that, as VDSR's
# part of the network has learned by then.
_FINE = replace(SOLVER, learning_rate=SOLVER.learning_rate / 10)
_STEP1 = CSRIConfig(
    native=(),
    classes=10_177,
    optimizer=replace(SOLVER, clip_norm=10.0),
    train=TrainConfig(batch_size=256, steps=28_000, feed="host", readers=8),
)
_STEP2 = replace(
    _STEP1,
    native=CSRIConfig.native,
    native_classes=2570,
    initial="csri:joint",
    optimizer=replace(_FINE, clip_norm=10.0),
    train=replace(_STEP1.train, steps=14_000),
)
_TUNED = replace(
    _STEP2,
    labelled=(),
    classes=None,
    frozen=True,
    optimizer=_FINE,
    train=TrainConfig(batch_size=256, steps=2_800),
)
# The names that Tables 5 and 6 use, and the variants of super_resolution that they stand for.
REFINERS = {"srcnn": "srcnn", "vdsr": "vdsr", "drrn": "drrn_b1u9"}
ENCODERS = ("centreface", "vggface")
SETTINGS = {
    "joint": _STEP1,
    "csri": _STEP2,
    "joint_tuned": _TUNED,
    **{
        f"{refiner}_{encoder}": replace(
            _TUNED,
            initial=None,
            initial_refiner=f"super_resolution:{REFINERS[refiner]}",
            network=EncoderConfig(encoder),
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
        config = _small(setting, config)
    if size == "quick":
        config = _quick(config)
    # The refiner that it goes on from, at the size that its encoder sees.
    refiner = setting.partition("_")[0]
    trained = super_resolution.get_config(f"{REFINERS.get(refiner, 'vdsr')}-{size}").network
    config = replace(config, refiner=replace(trained, image_size=build(config.network).size))
    return with_sized_runs(config, size)


def _small(setting: str, config: CSRIConfig) -> CSRIConfig:
    # As many native faces as the encoders are fine-tuned on: half of each of its batches.
    steps = {"joint": 400, "csri": 600}.get(setting, 250)
    return replace(
        config,
        classes=None,
        people=(0.0, 0.25),  # as in recognition's small variants
        native_classes=None,
        network=EncoderConfig(f"{config.network.name}_56", width=1 / 6, dropout=0.0),
        optimizer=SHORT,
        train=TrainConfig(batch_size=32, steps=steps, evaluate_every=steps, checkpoint_every=100),
    )


def _quick(small: CSRIConfig) -> CSRIConfig:
    return replace(
        small,
        labelled=small.labelled and ("synthetic_identities:hr",),
        people=(0.0, 1.0),
        alignment=AlignmentConfig("resize"),
        native=small.native and ("synthetic_identities:train",),
        holdout=0.1,
        network=replace(small.network, width=1 / 8),
        train=TrainConfig(batch_size=16, steps=60, samples=0),
    )
