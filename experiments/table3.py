"""K&C Table 3: super-resolution before the faces are aligned."""

from __future__ import annotations

from experiments import people
from experiments.common import Context
from lrjax.inference.embed import Recogniser
from lrjax.inference.resolve import Resolver
from lrjax.report.results import Result

PAPER = {
    "A1": {"rank-1": 11.75, "rank-5": 14.58, "rank-10": 24.57, "rank-20": 30.47, "mAP": 10.0},
    "A2": {"rank-1": 26.21, "rank-5": 34.76, "rank-10": 39.03, "rank-20": 43.99, "mAP": 24.0},
    "Baseline": {"rank-1": 34.71, "rank-5": 44.82, "rank-10": 49.01, "rank-20": 53.70, "mAP": 32.0},
}


def run(context: Context) -> Result:
    """Enlarge the faces with SRGAN (A1) and ESRGAN (A2), then align and tell apart as Baseline."""
    recogniser = Recogniser.load(context.pretrained)
    landmarks = context.landmark_run("hr")
    resolvers = {
        "A1": Resolver.load(context.resolution_run("srgan", "srresnet"), "last"),
        "A2": Resolver.load(context.resolution_run("esrgan", "rrdb"), "last"),
        "Baseline": None,
    }
    told = {
        name: people.tell_apart(context, recogniser, landmarks, resolver)
        for name, resolver in resolvers.items()
    }
    return people.conclude(
        context,
        "table3",
        "Table 3: super-resolution before alignment",
        2.3,
        PAPER,
        told,
        [("A2", "A1"), ("Baseline", "A2")],
        note=f"The recogniser is {recogniser.name}. Paper: A1's faces are aligned by a network of "
        "Bulat et al. Ours: all of them by HR-LD.",
    )
