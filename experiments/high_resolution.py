"""K&C's Table 4 and Figure 8: HR-LD, which is G2 trained on high-resolution faces."""

from __future__ import annotations

from lrjax.evaluation import landmarks as metrics
from lrjax.experiments.context import Context
from lrjax.report import draw, plots
from lrjax.report.results import Result
from lrjax.report.tables import Table
from lrjax.tasks.measure import measure_degraded, measure_small, small_faces

# The paper's; its 300W columns mix two normalisers between rows.
PAPER = {"Common": 3.60, "Challenge": 7.301, "Full": 4.325, "AFLW": 1.753}


def table4(context: Context) -> Result:
    """K&C Table 4: HR-LD, G2 trained on high-resolution faces, on 300W and AFLW.

    Measures it on every test set at hand, by every normaliser in use.
    """
    last, best = context.landmarks("hr"), context.landmarks("hr", "best")
    rows, curves, counts = [], {}, []
    for name, spec in context.tests.sharp.items():
        faces = small_faces(last.config, spec, context.data_dir, "none")
        found, selected = measure_small(last, faces), measure_small(best, faces)
        counts.append(found.data)
        for normaliser in found.normalisers:
            values = metrics.summary(found.errors(normaliser))
            rows.append(
                (
                    name,
                    normaliser.replace("_", "-"),
                    PAPER.get(name),
                    values["nrmse"],
                    metrics.summary(selected.errors(normaliser))["nrmse"],
                    values["auc@0.08"],
                    values["failure@0.08"],
                )
            )
        curves[name] = found.errors("face_size")
    table = Table(
        title="Table 4: NME of HR-LD, in percent",
        columns=("Set", "normaliser", "paper", "last", "selected", "AUC@0.08", "failures at 0.08"),
        rows=tuple(rows),
        note=(
            "The paper says inter-pupil for 300W and the box for AFLW. "
            "`last` is the last step, `selected` the best on held-out training faces."
        ),
        data="; ".join(counts),
    )
    figure = context.figure(
        "table4-ced.svg",
        "Cumulative errors of HR-LD by the face size.",
        plots.to_svg(plots.ced_curves(curves, "face size", 0.08)),
    )
    return Result("Table 4: HR-LD", 1.4, tables=(table,), figures=(figure,), data=table.data)


def figure8(context: Context) -> Result:
    """K&C Figure 8: points found by HR-LD on high-resolution faces.

    Draws the first faces of each of its test sets.
    """
    predictor, figures = context.landmarks("hr"), []
    for name, spec in context.tests.sharp.items():
        found = measure_degraded(predictor, spec, context.data_dir, "none")
        shown = (found.images, found.found, found.truth, found.visible)
        images, points, truth, visible = (part[:18] for part in shown)
        figures.append(
            context.figure(
                f"figure8-{name.lower()}.png",
                f"{name}: found in green, annotated in orange.",
                draw.face_sheet(images, points, 6, truth, visible),
            )
        )
    return Result(
        title="Figure 8: points on high-resolution faces (HR-LD)",
        order=1.5,
        figures=tuple(figures),
        data=", ".join(context.tests.sharp.values()),
    )


EXPERIMENTS = {"table4": table4, "figure8": figure8}
