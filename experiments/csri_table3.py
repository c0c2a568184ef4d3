"""CSRI Table 3: generic recognisers on native low-resolution faces."""

from __future__ import annotations

from experiments import cheng, people
from experiments.cheng import percent
from experiments.common import Context
from lrjax.report.results import Result

PAPER = {
    "DeepID2": percent(17.4, 25.2, 28.3, 12.1),
    "SphereFace": percent(22.3, 35.5, 40.5, 16.2),
    "VggFace": percent(30.4, 40.4, 42.7, 23.1),
    "CentreFace": percent(32.1, 44.5, 48.4, 24.6),
}


def run(context: Context) -> Result:
    """Train what is missing, and tell TinyFace's people apart."""
    return people.conclude(
        context,
        "csri_table3",
        "CSRI Table 3: generic recognisers",
        3.3,
        PAPER,
        cheng.tell_apart(context, *PAPER),
        [("CentreFace", "VggFace", "SphereFace", "DeepID2")],
        protocol=people.CHENG,
        note="SphereFace was not fine-tuned, as in the paper; all others were.",
    )
