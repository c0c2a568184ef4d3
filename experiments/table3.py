"""K&C Table 3: super-resolution before the faces are aligned."""

from __future__ import annotations

from experiments import people
from experiments.common import Context, figure
from lrjax.inference.embed import Recogniser
from lrjax.inference.resolve import Resolver
from lrjax.report.results import Result

PAPER = {
    "A1": {"top-1": 11.75, "top-5": 14.58, "top-10": 24.57, "top-20": 30.47, "mAP": 10.0},
    "A2": {"top-1": 26.21, "top-5": 34.76, "top-10": 39.03, "top-20": 43.99, "mAP": 24.0},
    "Baseline": {"top-1": 34.71, "top-5": 44.82, "top-10": 49.01, "top-20": 53.70, "mAP": 32.0},
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
    result = Result(
        title="Table 3: super-resolution before alignment",
        order=2.3,
        tables=(
            people.table(
                "Table 3: identification",
                PAPER,
                told,
                f"The recogniser is {recogniser.name}. Paper: A1's faces are aligned by a network "
                "of Bulat et al. Ours: all of them by HR-LD.",
            ),
        ),
        figures=(
            figure("table3-cmc.png", "Cumulative match characteristics."),
            figure("table3-faces.png", "The first probes, resolved and aligned."),
        ),
        notes=(
            *people.orders(told, [("A2", "A1"), ("Baseline", "A2")]),
            people.STAND_IN.format(data=people.sizes(told)),
        ),
        data=people.sizes(told),
    )
    context.save("table3", result, people.pictures("table3", told))
    return result
