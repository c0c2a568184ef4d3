"""K&C Table 2a: LightCNN on TinyFace, aligned by landmark networks of five settings."""

from __future__ import annotations

from experiments import people
from experiments.common import Context
from lrjax.inference.embed import Recogniser
from lrjax.report.results import Result

PAPER = {
    "L1": {"rank-1": 31.17},
    "L2": {"rank-1": 35.11},
    "L3": {"rank-1": 39.03},
    "L4": {"rank-1": 39.87},
    "L5": {"rank-1": 43.82},
}


def run(context: Context) -> Result:
    """Train the landmark networks and a recogniser on the faces that each of them aligns."""
    aligned_by = {
        "L1": context.landmark_run("s2"),
        "L2": context.landmark_run("s3"),
        "L3": context.landmark_run("tinyface"),
        "L4": context.end_to_end,
        "L5": context.end_to_end,
    }
    told = {}
    for name, landmarks in aligned_by.items():
        recogniser = Recogniser.load(context.lightcnn_run(name.lower(), landmarks), "last")
        told[name] = people.tell_apart(context, recogniser, landmarks)
    return people.conclude(
        context,
        "table2a",
        "Table 2a: LightCNN trained on TinyFace, by whose landmarks its faces are aligned",
        2.1,
        PAPER,
        told,
        [("L2", "L1"), ("L3", "L2"), ("L4", "L3"), ("L5", "L4")],
    )
