"""CSRI Table 7: joint learning without and with the native branch."""

from __future__ import annotations

from experiments import cheng, people
from experiments.cheng import percent
from experiments.common import Context
from lrjax.report.results import Result

PAPER = {
    "joint": percent(36.1, 49.8, 54.5, 28.2),
    "CSRI": percent(44.8, 60.4, 65.1, 36.2),
}


def run(context: Context) -> Result:
    """Train what is missing, and tell TinyFace's people apart."""
    return people.conclude(
        context,
        "csri_table7",
        "CSRI Table 7: complement super-resolution",
        3.7,
        PAPER,
        cheng.tell_apart(context, *PAPER),
        [("CSRI", "joint")],
        protocol=people.CHENG,
    )
