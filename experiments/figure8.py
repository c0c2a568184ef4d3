"""K&C Figure 8: points found by HR-LD on high-resolution faces."""

from __future__ import annotations

from experiments.common import Context, figure, network
from lrjax.inference.measure import measure_degraded
from lrjax.report import draw
from lrjax.report.results import Result

SHOWN = 18


def run(context: Context) -> Result:
    """Draw the first faces of each of HR-LD's test sets."""
    detector = network(context.landmark_run("hr"))
    pictures, figures = {}, []
    for name, spec in context.test.high.items():
        found = measure_degraded(detector, spec, context.data_dir, "none")
        file = f"figure8-{name.lower()}.png"
        shown = (found.images, found.found, found.truth, found.visible)
        images, points, truth, visible = (part[:SHOWN] for part in shown)
        pictures[file] = draw.face_sheet(images, points, 6, truth, visible)
        figures.append(figure(file, f"{name}: found in green, annotated in orange."))
    result = Result(
        title="Figure 8: points on high-resolution faces (HR-LD)",
        order=1.5,
        figures=tuple(figures),
        data=", ".join(context.test.high.values()),
    )
    context.save("figure8", result, pictures)
    return result
