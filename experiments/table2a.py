"""K&C Table 2a: LightCNN on TinyFace, aligned by landmark networks of five settings."""

from __future__ import annotations

from experiments import people
from experiments.common import Context, figure
from lrjax.inference.embed import Recogniser
from lrjax.report.results import Result

PAPER = {
    "L1": {"top-1": 31.17},
    "L2": {"top-1": 35.11},
    "L3": {"top-1": 39.03},
    "L4": {"top-1": 39.87},
    "L5": {"top-1": 43.82},
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
        folder = context.recognition_run(name.lower(), landmarks)
        recogniser = Recogniser.load(folder, "last")
        told[name] = people.tell_apart(context, recogniser, landmarks)
    result = Result(
        title="Table 2a: LightCNN trained on TinyFace, by whose landmarks its faces are aligned",
        order=2.1,
        tables=(people.table("Table 2a: identification", PAPER, told),),
        figures=(
            figure("table2a-cmc.png", "Cumulative match characteristics."),
            figure("table2a-faces.png", "The first probes, as each setting aligns them."),
        ),
        notes=(
            *people.orders(told, [("L2", "L1"), ("L3", "L2"), ("L4", "L3"), ("L5", "L4")]),
            people.STAND_IN.format(data=people.sizes(told)),
        ),
        data=people.sizes(told),
    )
    context.save("table2a", result, people.pictures("table2a", told))
    return result
