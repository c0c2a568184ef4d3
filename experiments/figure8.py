"""K&C Figure 8: points found by HR-LD on high-resolution faces."""

from __future__ import annotations

from experiments.common import Context, figure, predict
from lrjax.report.results import Result
from lrjax.tasks import runs

SHOWN = 18


def run(context: Context) -> Result:
    """Draw the first faces of each of HR-LD's test sets."""
    folder = context.landmark_run("hr")
    config = runs.load_config(folder)
    pictures, figures = {}, []
    for name, spec in context.test.high.items():
        found = predict(folder, context.faces(spec, config), degraded_by="none")
        file = f"figure8-{name.lower()}.png"
        pictures[file] = found.pictures(SHOWN, 6, truth=True)
        figures.append(figure(file, f"{name}: found in green, annotated in orange."))
    result = Result(
        title="Figure 8: points on high-resolution faces (HR-LD)",
        order=1.5,
        figures=tuple(figures),
        data=", ".join(context.test.high.values()),
    )
    context.save("figure8", result, pictures)
    return result
