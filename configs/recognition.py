"""Recognition: K&C's settings L1 to L5, and the recognisers that CSRI is compared with.

lrjax train recognition:l1         K&C's sizes and schedule; faces aligned by runs/landmarks-s2
lrjax train recognition:l2         ... by runs/landmarks-s3
lrjax train recognition:l3         ... by runs/landmarks-tinyface
lrjax train recognition:l4         ... by runs/landmarks-end-to-end, whose stage1 is
                                   runs/degradation-tinyface
lrjax train recognition:l5 --set initial=lightcnn29-casia.safetensors
                                   as L4, from weights that `lrjax convert` wrote, or from a run of
lrjax train recognition:casia      LightCNN on CASIA-WebFace at 128 pixels
lrjax train recognition:arcface    Inception-ResNet v1 with ArcFace and the focal loss, on records
                                   of the MS-Celeb-1M family that are streamed from the host
lrjax train recognition:centreface CSRI's Table 3: trained on CelebA (also sphereface, vggface,
                                   deepid2, and rpcn after super_resolution:rpcn)
lrjax train recognition:centreface_tuned
                                   ... and fine-tuned on TinyFace, from runs/recognition-centreface
lrjax train recognition:centreface_synlr
                                   ... or on SynLR (Table 4; also vggface_synlr)
lrjax train recognition:l1-small   narrow, and a short schedule, for a CPU (all have these suffixes;
                                   CelebA takes the place of the larger datasets)
lrjax train recognition:l1-quick   on drawn people (`lrjax prepare synthetic_identities`)
"""

from __future__ import annotations

import dataclasses

from lrjax.config import GroupConfig, OptimizerConfig, TrainConfig
from lrjax.tasks.recognition import RecognitionConfig

# LightCNN's training script: SGD 0.01, momentum 0.9, decay 1e-4, batches of 128, 80 epochs, the
# rate times 0.4573 every 10; biases learn twice as fast, the classifier ten times (its bias
# twenty), and no bias decays. Paper: optimiser and epochs are not said.
EPOCHS = 80
LIGHTCNN = OptimizerConfig(
    method="sgd",
    learning_rate=0.01,
    momentum=0.9,
    weight_decay=1e-4,
    drops=tuple(epoch / EPOCHS for epoch in range(10, EPOCHS, 10)),
    drop_factor=0.457305051927326,
    groups=(
        GroupConfig(r"^classifier\.bias$", rate=20, decay=0),
        GroupConfig(r"^classifier\.kernel$", rate=10),
        GroupConfig(r"\.bias$", rate=2, decay=0),
    ),
)
_PAPER = RecognitionConfig(
    classes=2570,
    optimizer=LIGHTCNN,
    train=TrainConfig(batch_size=128, epochs=EPOCHS),
)
# In the aligned pictures of CelebA, and roughly in those of CASIA-WebFace, the face is here.
_MIDDLE = (0.25, 0.3, 0.5, 0.5)
# CentreFace's and SphereFace's solver: 28,000 steps of 256, a tenth of the rate after 16,000 and
# 24,000. CSRI: "the parameter settings suggested by the original authors".
SOLVER = OptimizerConfig(
    method="sgd",
    learning_rate=0.1,
    momentum=0.9,
    weight_decay=5e-4,
    drops=(16 / 28, 24 / 28),
    drop_factor=0.1,
)
# CSRI says nothing of alignment: the faces are resized as they are.
_CELEBA = RecognitionConfig(
    labelled=("celeba:all",),
    classes=10_177,
    network="centreface",
    alignment="resize",
    region=_MIDDLE,
    shift=0.0,  # the released solver only mirrors
    optimizer=SOLVER,
    train=TrainConfig(batch_size=256, steps=28_000, feed="host", readers=8),
)
# VGGFace: rate 0.01, a tenth of it twice, batches of 64, a random crop of 224 from 256 pixels.
_VGG_SOLVER = dataclasses.replace(SOLVER, learning_rate=0.01, drops=(1 / 3, 2 / 3))
# CSRI's Table 3, first step; `_tuned` and `_synlr` follow from them.
GENERIC = {
    "centreface": dataclasses.replace(_CELEBA, centre=0.008),
    "sphereface": dataclasses.replace(
        _CELEBA, network="sphereface20", head="sphereface", bias=False
    ),
    "vggface": dataclasses.replace(
        _CELEBA,
        network="vggface",
        shift=16 / 224,
        optimizer=_VGG_SOLVER,
        train=dataclasses.replace(_CELEBA.train, batch_size=64, steps=100_000),
    ),
    # DeepID2 says its λ, not its schedule. Ours: VGGFace's rate, for as many steps as CentreFace.
    "deepid2": dataclasses.replace(
        _CELEBA, network="deepid2", verification=0.05, optimizer=_VGG_SOLVER
    ),
    # "SR as pre-training": its convolutions come from the run of super_resolution:rpcn, and it sees
    # CelebA as small as TinyFace is.
    "rpcn": dataclasses.replace(
        _CELEBA,
        network="rpcn",
        coarse=(20, 16),
        initial="runs/super_resolution-rpcn",
        optimizer=_VGG_SOLVER,
    ),
}


def _tuned(name: str, dataset: str = "tinyface") -> RecognitionConfig:
    """Its second step, of which the paper says no more: a tenth of the rate and of the steps."""
    config = GENERIC[name]
    return dataclasses.replace(
        config,
        labelled=(f"{dataset}:train",),
        classes=2570,
        region=RecognitionConfig.region,
        coarse=None,
        initial=f"runs/recognition-{name}",
        # A-Softmax goes on where it was.
        easing=(5.0, 5.0, 0.0),
        optimizer=dataclasses.replace(
            config.optimizer, learning_rate=config.optimizer.learning_rate / 10
        ),
        train=dataclasses.replace(config.train, steps=config.train.steps // 10, feed="device"),
    )


SETTINGS = {
    # Table 2: by whose landmarks training and test faces are aligned.
    "l1": dataclasses.replace(_PAPER, alignment="runs/landmarks-s2"),
    "l2": dataclasses.replace(_PAPER, alignment="runs/landmarks-s3"),
    "l3": dataclasses.replace(_PAPER, alignment="runs/landmarks-tinyface"),
    "l4": dataclasses.replace(_PAPER, alignment="runs/landmarks-end-to-end"),
    # "instead of training a LightCNN model from scratch we initialize the weights from a
    # pre-trained model, trained with CASIA-Webface dataset"; which is not public.
    "l5": dataclasses.replace(
        _PAPER, alignment="runs/landmarks-end-to-end", initial="lightcnn29-casia.safetensors"
    ),
    # At 128 pixels, as LightCNN is published; L5 at 32 has the same parameters.
    "casia": dataclasses.replace(
        _PAPER,
        labelled=("casia_webface:train",),
        holdout=0.01,
        classes=None,
        network="lightcnn29",
        region=_MIDDLE,
        train=TrainConfig(batch_size=128, epochs=EPOCHS, feed="host", readers=8),
    ),
    # Table 2b. Paper: "a pre-trained Inception-ResNet model, trained on MsCeleb-1M using ArcFace
    # and Focal Loss", "an input of size 112 × 112 pixels"; all else is not said. Ours: version 1,
    # and InsightFace's schedule.
    "arcface": RecognitionConfig(
        labelled=("face_records:train",),
        holdout=0.001,
        network="inception_resnet_v1",
        # The records are aligned to this network's template already.
        alignment="resize",
        shift=0.0,
        head="arcface",
        focal=2.0,
        optimizer=OptimizerConfig(
            method="sgd",
            learning_rate=0.1,
            momentum=0.9,
            weight_decay=5e-4,
            drops=(0.5, 0.75, 0.9),
            drop_factor=0.1,
        ),
        train=TrainConfig(batch_size=512, epochs=16, feed="host", readers=8, parallel="mesh"),
    ),
    **GENERIC,
    **{f"{name}_tuned": _tuned(name) for name in GENERIC},
    **{f"{name}_synlr": _tuned(name, "synlr") for name in ("centreface", "vggface")},
}
SIZES = ("paper", "small", "quick")
VARIANTS = tuple(f"{setting}-{size}" for setting in SETTINGS for size in SIZES)
# For a few minutes on a CPU: at LightCNN's rate they would be over before it has begun to learn,
# and at four times this one, or without the clip, it diverges.
_SHORT = OptimizerConfig(
    learning_rate=5e-4, b1=0.9, b2=0.999, schedule="cosine", weight_decay=1e-4, clip_norm=1.0
)


def get_config(variant: str = "l1") -> RecognitionConfig:
    """The configuration of a variant: a setting, or a setting and a size."""
    setting, _, size = variant.partition("-")
    sized = {"": _paper, "paper": _paper, "small": _small, "quick": _quick}[size]
    return sized(setting, SETTINGS[setting])


def _paper(setting: str, config: RecognitionConfig) -> RecognitionConfig:
    return config


def _small(setting: str, config: RecognitionConfig) -> RecognitionConfig:
    small = dataclasses.replace(
        config,
        classes=None,
        width=1 / 6,
        dropout=0.2,
        optimizer=_SHORT,
        train=TrainConfig(batch_size=32, steps=500, evaluate_every=250, checkpoint_every=250),
    )
    if setting == "casia":
        return dataclasses.replace(
            small, labelled=("celeba:train",), network="lightcnn29_32", holdout=0.05
        )
    if setting == "arcface":
        return dataclasses.replace(
            small,
            labelled=("celeba:train",),
            holdout=0.05,
            network="mobilefacenet",
            width=1 / 2,
            alignment="shipped",
            region=_MIDDLE,
            # The published scale and margin ask too much of so few pictures.
            scale=32.0,
            margin=0.2,
        )
    name, _, tuned = setting.partition("_")
    if name not in GENERIC:
        return small
    initial = config.initial
    return dataclasses.replace(
        small,
        # Half as high and wide, which is still more than the pictures have.
        network=f"{config.network}_56" if name not in ("deepid2", "rpcn") else config.network,
        width=1 / 4 if name == "rpcn" else 1 / 6,  # as super_resolution:rpcn's short variants
        dropout=0.0,
        # The last third of CelebA's people makes SynLR; and to tell more than some hundred of the
        # rest apart takes longer than a few minutes to begin with.
        people=(0.0, 1.0) if tuned else (0.0, 0.25),
        # A-Softmax with a λ of 5 does not begin to learn within so few steps.
        easing=(50.0, 1000.0, 0.12) if not tuned else (50.0, 50.0, 0.0),
        initial=initial if initial is None else f"{initial}-small",
        train=TrainConfig(
            batch_size=32,
            steps=_steps(name, bool(tuned)),
            evaluate_every=500,
            checkpoint_every=100,
        ),
    )


def _steps(name: str, tuned: bool) -> int:
    """A few minutes: DeepID2's are short, and those of RPCN's kernels of 9×9 pixels long."""
    if name == "deepid2":
        return 1000 if tuned else 4000
    if name == "rpcn":
        return 100
    return 300 if tuned else 500


def _quick(setting: str, config: RecognitionConfig) -> RecognitionConfig:
    small = _small(setting, config)
    quick = dataclasses.replace(
        small,
        labelled=("synthetic_identities:train",),
        people=(0.0, 1.0),
        region=RecognitionConfig.region,
        width=small.width if setting.startswith("rpcn") else 1 / 8,
        initial=small.initial and small.initial.replace("-small", "-quick"),
        train=TrainConfig(batch_size=32, steps=200, samples=0),
    )
    if setting in ("casia", "arcface", *GENERIC):
        train = TrainConfig(batch_size=16, steps=150, samples=0, feed="host")
        alignment = "points" if setting in ("casia", "arcface") else small.alignment
        quick = dataclasses.replace(
            quick, labelled=("synthetic_identities:hr",), alignment=alignment, train=train
        )
    elif setting.partition("_")[0] in GENERIC:
        quick = dataclasses.replace(quick, train=TrainConfig(batch_size=16, steps=60, samples=0))
    return dataclasses.replace(quick, holdout=0.1)
