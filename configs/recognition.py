"""Recognition: K&C's settings L1 to L5, and the encoders that CSRI is compared with.

lrjax train recognition:l1         K&C's LightCNN-29 of 32 pixels, by its authors' schedule, as K&C
                                   give none; faces aligned by landmarks:s2
lrjax train recognition:l2         ... by landmarks:s3
lrjax train recognition:l3         ... by landmarks:tinyface
lrjax train recognition:l4         ... by landmarks:end_to_end
lrjax train recognition:l5         as L4, but from recognition:casia, or, with --set initial=FILE,
                                   from weights that `lrjax convert` wrote
lrjax train recognition:casia      LightCNN on CASIA-WebFace at 128 pixels
lrjax train recognition:arcface    Inception-ResNet v1 with ArcFace and the focal loss, on records
                                   of the MS-Celeb-1M family that are streamed from the host
lrjax train recognition:centreface CSRI's Table 3: trained on CelebA (also sphereface, vggface,
                                   deepid2, and rpcn after super_resolution:rpcn)
lrjax train recognition:centreface_tuned
                                   ... and fine-tuned on TinyFace, from recognition:centreface
lrjax train recognition:centreface_aux
                                   a control: CentreFace on CelebA made small, by the softmax alone
                                   (and centreface_aux_tuned)
lrjax train recognition:centreface_synlr
                                   ... or on SynLR (Table 4; also vggface_synlr)
lrjax train recognition:l1-small   narrow, and a short schedule, for a CPU (all have these suffixes;
                                   CelebA takes the place of the larger datasets; CSRI's encoders
                                   begin with the features of `mobilefacenet.safetensors`)
lrjax train recognition:l1-quick   on drawn people (`lrjax prepare synthetic_identities`)

The runs that these name are trained if need be. "w300" means that their landmark networks are.
"""

from __future__ import annotations

from dataclasses import replace

from lrjax.config import AlignmentConfig, GroupConfig, OptimizerConfig, TrainConfig
from lrjax.configs import SHORT, split, variants, with_sized_runs
from lrjax.models.encoders import EncoderConfig
from lrjax.tasks.recognition import RecognitionConfig

# How training and test faces of Tables 2 and 3 are aligned. Paper: silent but for the landmarks.
# Ours: by one look at one crop.
ALIGNMENT = AlignmentConfig(flip=False, passes=1)
# LightCNN's training script: SGD 0.01, momentum 0.9, decay 1e-4, batches of 128, 80 epochs, the
# rate times 0.4573 every 10; biases learn twice as fast, the classifier ten times (its bias
# twenty), and no bias decays. Paper: optimiser and epochs are not said. Theirs: no clip. Ours: the
# norm of each network's gradient, as in SOLVER: without it batches of 32 faces diverge within ten
# steps, and of 2 within four (within 15, where kernels begin as small as theirs do), and
# with a clip of 2.0 two faces are known and unknown by turns.
EPOCHS = 80
LIGHTCNN = OptimizerConfig(
    method="sgd",
    learning_rate=0.01,
    momentum=0.9,
    weight_decay=1e-4,
    drops=tuple(epoch / EPOCHS for epoch in range(10, EPOCHS, 10)),
    drop_factor=0.457305051927326,
    clip_norm=0.4,
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
# 24,000; biases learn twice as fast and do not decay, as VGGFace's do in MatConvNet. CSRI: "the
# parameter settings suggested by the original authors". Theirs: no clip. Ours: the norm of each
# network's gradient, in all rows of CSRI's tables; without it CentreFace diverges where its batch
# is small, alone and behind a refiner.
SOLVER = OptimizerConfig(
    method="sgd",
    learning_rate=0.1,
    momentum=0.9,
    weight_decay=5e-4,
    drops=(16 / 28, 24 / 28),
    drop_factor=0.1,
    clip_norm=0.4,
    groups=(GroupConfig(r"\.bias$", rate=2, decay=0),),
)
SHIFT = 8 / 128
# CSRI says nothing of alignment: the faces are resized as they are.
_RESIZED = AlignmentConfig("resize")
_CELEBA = RecognitionConfig(
    labelled=("celeba:all",),
    classes=10_177,
    network=EncoderConfig("centreface"),
    alignment=replace(_RESIZED, region=_MIDDLE),
    # Theirs: CentreFace's and SphereFace's faces are only mirrored, VGGFace's shifted by 16 of 224
    # pixels. Ours: one shift for all rows of CSRI's tables, CSRI's own among them.
    shift=SHIFT,
    optimizer=SOLVER,
    train=TrainConfig(batch_size=256, steps=28_000, feed="host", readers=8),
)
# VGGFace: rate 0.01, a tenth of it twice, batches of 64.
_VGG_SOLVER = replace(SOLVER, learning_rate=0.01, drops=(1 / 3, 2 / 3))
# CSRI's Table 3, first step; `_tuned` and `_synlr` follow from them.
GENERIC = {
    "centreface": replace(_CELEBA, centre=0.008),
    "sphereface": replace(
        _CELEBA, network=EncoderConfig("sphereface20"), head="sphereface", bias=False
    ),
    "vggface": replace(
        _CELEBA,
        network=EncoderConfig("vggface"),
        optimizer=_VGG_SOLVER,
        train=replace(_CELEBA.train, batch_size=64, steps=100_000),
    ),
    # DeepID2 says its λ, not its schedule. Ours: VGGFace's rate, for as many steps as CentreFace.
    "deepid2": replace(
        _CELEBA, network=EncoderConfig("deepid2"), verification=0.05, optimizer=_VGG_SOLVER
    ),
    # "SR as pre-training": its convolutions come from the run of super_resolution:rpcn, and it sees
    # CelebA as small as TinyFace is.
    "rpcn": replace(
        _CELEBA,
        network=EncoderConfig("rpcn"),
        down_up=(20, 16),
        initial="super_resolution:rpcn",
        optimizer=_VGG_SOLVER,
    ),
    # Not in the paper: what csri:joint's encoder is without the refiner before it. As many steps on
    # CelebA made small, by the softmax alone.
    "centreface_aux": replace(_CELEBA, down_up=(20, 16)),
}
# Paper: of fine-tuning, no more than the data. Ours: a tenth of the rate; CentreFace's without its
# own loss, as CSRI's (Eq. 4); and in every row of its tables as many examples of native faces,
# 28,000 x 256 / 10, none of them held out, in batches of half of CSRI's, or of VGGFace's.
NATIVE_EXAMPLES, NATIVE_BATCH = 716_800, 128


def _tuned(name: str, dataset: str = "tinyface") -> RecognitionConfig:
    """Fine-tune the encoder of a name."""
    config = GENERIC[name]
    batch = min(config.train.batch_size, NATIVE_BATCH)
    return replace(
        config,
        labelled=(f"{dataset}:train",),
        holdout=0.0,
        classes=2570,
        alignment=_RESIZED,
        down_up=None,
        initial=f"recognition:{name}",
        centre=0.0,
        # A-Softmax goes on where it was.
        easing=(5.0, 5.0, 0.0),
        optimizer=replace(config.optimizer, learning_rate=config.optimizer.learning_rate / 10),
        train=TrainConfig(batch_size=batch, steps=NATIVE_EXAMPLES // batch),
    )


_L4 = replace(_PAPER, alignment=replace(ALIGNMENT, landmarks="landmarks:end_to_end"))
SETTINGS = {
    # Table 2: by whose landmarks training and test faces are aligned.
    "l1": replace(_PAPER, alignment=replace(ALIGNMENT, landmarks="landmarks:s2")),
    "l2": replace(_PAPER, alignment=replace(ALIGNMENT, landmarks="landmarks:s3")),
    "l3": replace(_PAPER, alignment=replace(ALIGNMENT, landmarks="landmarks:tinyface")),
    "l4": _L4,
    # "instead of training a LightCNN model from scratch we initialize the weights from a
    # pre-trained model, trained with CASIA-Webface dataset"; which is not public.
    "l5": replace(_L4, initial="recognition:casia"),
    # At 128 pixels, as LightCNN is published; L5 at 32 has the same parameters.
    "casia": replace(
        _PAPER,
        labelled=("casia_webface:train",),
        holdout=0.01,
        classes=None,
        network=EncoderConfig("lightcnn29"),
        alignment=AlignmentConfig(region=_MIDDLE),
        train=TrainConfig(batch_size=128, epochs=EPOCHS, feed="host", readers=8),
    ),
    # Table 2b. Paper: "a pre-trained Inception-ResNet model, trained on MsCeleb-1M using ArcFace
    # and Focal Loss", "an input of size 112 × 112 pixels"; all else is not said. Ours: version 1,
    # and InsightFace's schedule.
    "arcface": RecognitionConfig(
        labelled=("face_records:train",),
        holdout=0.001,
        network=EncoderConfig("inception_resnet_v1"),
        # The records are aligned to this network's template already.
        alignment=_RESIZED,
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
VARIANTS = variants(SETTINGS)


def get_config(variant: str = "l1") -> RecognitionConfig:
    """Make the configuration of a variant: a setting, or a setting and a size."""
    setting, size = split(variant)
    config = SETTINGS[setting]
    if size in ("small", "quick"):
        config = _small(setting, config)
    generic = setting.removesuffix("_tuned").removesuffix("_synlr")
    if size == "small" and generic in GENERIC:
        config = _distilled(setting, config)
    if size == "quick":
        config = _quick(setting, config)
    return with_sized_runs(config, size)


def _small(setting: str, config: RecognitionConfig) -> RecognitionConfig:
    if setting == "l1":
        # S3, by which L2's faces are aligned, goes on from S2: so does what L1's are aligned by.
        longer = replace(config.alignment, landmarks="landmarks:s2_longer")
        config = replace(config, alignment=longer)
    small = replace(
        config,
        classes=None,
        network=replace(config.network, width=1 / 6, dropout=0.2),
        optimizer=SHORT,
        train=TrainConfig(batch_size=32, steps=500, evaluate_every=250, checkpoint_every=250),
    )
    if setting in ("casia", "arcface"):
        small = replace(small, labelled=("celeba:train",), holdout=0.05)
    if setting == "casia":
        return replace(small, network=replace(small.network, name="lightcnn29_32"))
    if setting == "arcface":
        return replace(
            small,
            network=EncoderConfig("mobilefacenet", width=1 / 2, dropout=0.2),
            alignment=AlignmentConfig(region=_MIDDLE),
            # The published scale and margin ask too much of so few pictures.
            scale=32.0,
            margin=0.2,
        )
    name = setting.removesuffix("_tuned").removesuffix("_synlr")
    if name not in GENERIC:
        return small
    tuned = name != setting
    # Half as high and wide, which is still more than the pictures have.
    halved = "" if name in ("deepid2", "rpcn") else "_56"
    # A few minutes, of training and of fine-tuning.
    steps = 600 if tuned else {"deepid2": 4000}.get(name, 500)
    return replace(
        small,
        network=EncoderConfig(f"{small.network.name}{halved}", width=1 / 4, dropout=0.0),
        # The last third of CelebA's people makes SynLR.
        people=(0.0, 1.0) if tuned else (0.0, 2 / 3),
        # A-Softmax with a λ of 5 does not begin to learn within so few steps.
        easing=(50.0, 50.0, 0.0) if tuned else (50.0, 1000.0, 0.12),
        train=TrainConfig(
            batch_size=16 if tuned else 32,
            steps=steps,
            evaluate_every=500,
            checkpoint_every=100,
        ),
    )


# What follows distillation at the size `small`, in all of CSRI's rows: steps of joint learning, and
# of fine-tuning, with as many native faces in each.
AFTER = TrainConfig(batch_size=32, steps=300, evaluate_every=300, checkpoint_every=100)
# Class weights begin at random and the encoder does not: at one rate for both it forgets before
# they know anybody. Of people of a stand-in's training set who took no part, it then finds fewer
# than before (10.0 to 13.2 % at rank 1 instead of 13.4 %), and so 14.2 %.
GOING_ON = replace(SHORT, learning_rate=3e-5, groups=(GroupConfig(r"classifier\.", rate=30.0),))
# Where the face that MobileFaceNet shall see is in CelebA's aligned pictures.
_ARCFACE = (0.155, 0.2527, 0.688, 0.561)


def _distilled(setting: str, small: RecognitionConfig) -> RecognitionConfig:
    """Start from the features of a published encoder.

    Beyond the papers: within a CPU's hour their own losses end below raw pixels. So each encoder
    learns first what `mobilefacenet.safetensors` sees in CelebA's sharp faces, from these and from
    as many that were made small; and goes on as in the paper.
    """
    name = setting.removesuffix("_tuned").removesuffix("_synlr")
    if name != setting:
        return replace(small, optimizer=GOING_ON, train=AFTER)
    if name == "centreface_aux":
        return replace(small, initial="recognition:centreface", optimizer=GOING_ON, train=AFTER)
    return replace(
        small,
        teacher="mobilefacenet.safetensors",
        teacher_alignment=AlignmentConfig("resize", region=_ARCFACE),
        head="softmax",
        bias=False,
        centre=0.0,
        verification=0.0,
        down_up=(20, 16),
        coarse=0.5,
        train=TrainConfig(batch_size=32, steps=2000, evaluate_every=500, checkpoint_every=250),
    )


def _quick(setting: str, small: RecognitionConfig) -> RecognitionConfig:
    width = small.network.width if setting.startswith("rpcn") else 1 / 8
    quick = replace(
        small,
        labelled=("synthetic_identities:train",),
        people=(0.0, 1.0),
        alignment=replace(small.alignment, region=AlignmentConfig.region),
        network=replace(small.network, width=width),
        holdout=0.1,
        train=TrainConfig(batch_size=32, steps=200, samples=0),
    )
    generic = setting.removesuffix("_tuned").removesuffix("_synlr")
    if setting in ("casia", "arcface", *GENERIC):
        train = TrainConfig(batch_size=16, steps=150, samples=0, feed="host")
        quick = replace(quick, labelled=("synthetic_identities:hr",), train=train)
    elif generic in GENERIC:
        quick = replace(quick, train=TrainConfig(batch_size=8, steps=120, samples=0))
    if setting in ("casia", "arcface"):
        quick = replace(quick, alignment=AlignmentConfig("points"))
    return quick
