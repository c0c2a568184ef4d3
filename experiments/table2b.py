"""K&C Table 2b: a pretrained recogniser, aligned on enlarged faces or directly on small ones."""

from __future__ import annotations

from experiments import people
from experiments.common import Context
from lrjax.inference.embed import Recogniser
from lrjax.report.results import Result

PAPER = {
    "Baseline": {"rank-1": 34.71, "rank-5": 44.82, "rank-10": 49.01, "rank-20": 53.70, "mAP": 32.0},
    "I1": {"rank-1": 34.01, "rank-5": 41.98, "rank-10": 45.36, "rank-20": 49.22, "mAP": 29.0},
    "I2": {"rank-1": 45.04, "rank-5": 56.30, "rank-10": 60.11, "rank-20": 63.71, "mAP": 43.0},
    "I3": {"rank-1": 51.10, "rank-5": 61.05, "rank-10": 64.38, "rank-20": 67.89, "mAP": 47.0},
}
# Not in the paper: no alignment at all, and the network that comes along.
RESIZED, SHIPPED = "resized only", "shipped weights"


def run(context: Context) -> Result:
    """Measure one recogniser on faces that are aligned in six ways."""
    recogniser = Recogniser.load(context.pretrained)
    ways = {
        RESIZED: "resize",
        "Baseline": context.landmark_run("hr"),
        "I1": context.landmark_run("s3"),
        "I2": context.landmark_run("tinyface"),
        "I3": context.end_to_end,
        SHIPPED: "shipped",
    }
    told = {name: people.tell_apart(context, recogniser, way) for name, way in ways.items()}
    return people.conclude(
        context,
        "table2b",
        "Table 2b: a pretrained recogniser, by how its faces are aligned",
        2.2,
        PAPER,
        told,
        [
            *(("Baseline", "I1"), ("I2", "Baseline"), ("I3", "I2")),
            # Not the paper's: what landmarks on small faces are worth.
            *((SHIPPED, RESIZED), (SHIPPED, "Baseline")),
        ],
        note=f"The recogniser is {recogniser.name}. The rows `{RESIZED}` and `{SHIPPED}` are not "
        "in the paper.",
    )
