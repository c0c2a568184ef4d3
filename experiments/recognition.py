"""K&C's Tables 2 and 3: recognition of TinyFace's people, by how their faces are aligned."""

from __future__ import annotations

from dataclasses import replace

from lrjax.config import AlignmentConfig
from lrjax.configs.recognition import ALIGNMENT
from lrjax.experiments.identification import experiments_of
from lrjax.experiments.protocols import KUMAR, IdentificationTable, Setting

RANKS = ("rank-1", "rank-5", "rank-10", "rank-20", "mAP")
_BASELINE = (34.71, 44.82, 49.01, 53.70, 32.0)
# Pixels of the template's height at which I1 to I3 are aligned, and of the longer side of pictures
# that HR-LD sees.
SMALL, LARGE = 32, 128
# Not in the paper: no alignment at all, and the network that comes along.
RESIZED, PRETRAINED = "resized only", "pretrained weights"


def _lightcnn(setting: str, rank1: float) -> Setting:
    """An encoder of its own, which says how training and test faces are aligned."""
    return Setting({"rank-1": rank1}, f"recognition:{setting}", None)


def _aligned(alignment: AlignmentConfig, *paper: float) -> Setting:
    """One encoder for all, which is taken as it is."""
    return Setting(dict(zip(RANKS, paper, strict=False)), None, alignment)


def _small(landmarks: str, *paper: float) -> Setting:
    """Faces that are aligned at their own resolution, and resized then (I1 to I3)."""
    return _aligned(replace(ALIGNMENT, landmarks=landmarks, align_at=SMALL), *paper)


def _large(upsample: str | None, *paper: float) -> Setting:
    """Faces that are enlarged, and aligned by HR-LD then (the Baseline, A1 and A2)."""
    resize_to = LARGE if upsample is None else None
    how = replace(ALIGNMENT, landmarks="landmarks:hr", upsample=upsample, resize_to=resize_to)
    return _aligned(how, *paper)


TABLES = {
    "table2a": IdentificationTable(
        title="Table 2a: LightCNN trained on TinyFace, by whose landmarks its faces are aligned",
        order=2.1,
        protocol=KUMAR,
        settings={
            "L1": _lightcnn("l1", 31.17),
            "L2": _lightcnn("l2", 35.11),
            "L3": _lightcnn("l3", 39.03),
            "L4": _lightcnn("l4", 39.87),
            "L5": _lightcnn("l5", 43.82),
        },
        # Not L4 before L3: "insignificant difference is seen between settings L3 and L4".
        orders=(("L2", "L1"), ("L3", "L2"), ("L5", "L4")),
        floors=("L4",),
        note="Paper: the difference of L3 and L4 is insignificant, so their order is not judged.",
    ),
    "table2b": IdentificationTable(
        title="Table 2b: a pretrained encoder, by how its faces are aligned",
        order=2.2,
        protocol=KUMAR,
        settings={
            RESIZED: _small("resize"),
            "Baseline": _large(None, *_BASELINE),
            "I1": _small("landmarks:s3", 34.01, 41.98, 45.36, 49.22, 29.0),
            "I2": _small("landmarks:tinyface", 45.04, 56.30, 60.11, 63.71, 43.0),
            "I3": _small("landmarks:end_to_end", 51.10, 61.05, 64.38, 67.89, 47.0),
            PRETRAINED: _small("pretrained"),
        },
        orders=(
            ("Baseline", "I1"),
            # Aligning in low resolution after semi-supervised training "improves the performance".
            ("I2", "Baseline"),
            ("I3", "Baseline"),
            ("I2", "I1"),
            ("I3", "I2"),
            # Not the paper's: what landmarks on small faces are worth.
            (PRETRAINED, RESIZED),
            (PRETRAINED, "Baseline"),
        ),
        floors=("I3",),
        note=f"The encoder is {{encoder}}. The rows `{RESIZED}` and `{PRETRAINED}` are not in the "
        "paper. As there, the Baseline's faces are enlarged to 128 pixels first, and those of the "
        "other rows are enlarged after they are aligned.",
    ),
    "table3": IdentificationTable(
        title="Table 3: super-resolution before alignment",
        order=2.3,
        protocol=KUMAR,
        settings={
            "A1": _large("super_resolution:srgan", 11.75, 14.58, 24.57, 30.47, 10.0),
            "A2": _large("super_resolution:esrgan", 26.21, 34.76, 39.03, 43.99, 24.0),
            "Baseline": _large(None, *_BASELINE),
        },
        # "not at par even with the baseline".
        orders=(("A2", "A1"), ("Baseline", "A1"), ("Baseline", "A2")),
        floors=("Baseline",),
        note="The encoder is {encoder}. Paper: A1's faces are aligned by a network of Bulat et al. "
        "Ours: all of them by HR-LD, faces being enlarged as they were in the network's training.",
    ),
}
EXPERIMENTS = experiments_of(TABLES, "K&C")
