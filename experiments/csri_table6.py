"""CSRI Table 6: super-resolution and recognition learned independently, or jointly."""

from __future__ import annotations

from experiments import cheng, people
from experiments.cheng import percent
from experiments.common import Context
from lrjax.report.results import Result

PAPER = {
    "VDSR + CentreFace": percent(26.0, 34.5, 37.7, 19.1),
    "joint": percent(36.1, 49.8, 54.5, 28.2),
}


def run(context: Context) -> Result:
    """Train what is missing, and tell TinyFace's people apart."""
    return people.conclude(
        context,
        "csri_table6",
        "CSRI Table 6: joint or independent learning",
        3.6,
        PAPER,
        cheng.tell_apart(context, *PAPER),
        [("joint", "VDSR + CentreFace")],
        protocol=people.CHENG,
        note="Joint: both networks on CelebA, then the recogniser alone on TinyFace.",
    )
