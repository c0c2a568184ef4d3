"""K&C's Table 4 and Figure 8: HR-LD, which is G2 trained on high-resolution faces."""

from __future__ import annotations

from lrjax.evaluation import landmarks as metrics
from lrjax.experiments.context import Context
from lrjax.report import draw, plots
from lrjax.report.results import Result
from lrjax.report.tables import Table
from lrjax.tasks.measure import measure_degraded

# The paper's, and the normaliser that it names: "the ground truth bounding box size" and "the
# inter-pupil distance". Other rows of its table are normalised by the outer eye corners.
PAPER = {
    ("Common", "inter_pupil"): 3.60,
    ("Challenge", "inter_pupil"): 7.301,
    ("Full", "inter_pupil"): 4.325,
    ("AFLW", "face_size"): 1.753,
}


def table4(context: Context) -> Result:
    """K&C Table 4: HR-LD, G2 trained on high-resolution faces, on 300W and AFLW.

    Measures two networks, one of AFLW's faces and points and one of 300W's, each on the test sets
    of its own dataset, by every normaliser in use.
    """
    rows, curves, counts = [], {}, []
    for name, (setting, spec) in context.tests.sharp.items():
        found = measure_degraded(context.landmarks(setting), spec, context.data_dir, "none")
        counts.append(found.data)
        for normaliser in found.normalisers:
            values = metrics.summary(found.errors(normaliser))
            rows.append(
                (
                    name,
                    normaliser.replace("_", "-"),
                    PAPER.get((name, normaliser)),
                    values["nrmse"],
                    values["auc@0.08"],
                    values["failure@0.08"],
                )
            )
        curves[name] = found.errors("face_size")
    table = Table(
        title="Table 4: NME of HR-LD, in percent",
        columns=("Set", "normaliser", "paper", "ours", "AUC@0.08", "failures at 0.08"),
        rows=tuple(rows),
        note=(
            "Paper: one row for all sets; inter-pupil for 300W and the box for AFLW. Ours: after "
            "the last step; on AFLW with 19 points, on 300W with 68."
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
    figures = []
    for name, (setting, spec) in context.tests.sharp.items():
        found = measure_degraded(context.landmarks(setting), spec, context.data_dir, "none")
        shown = (found.images, found.found, found.truth, found.visible)
        images, points, truth, visible = (part[:18] for part in shown)
        figures.append(
            context.figure(
                f"figure8-{name.lower().replace(' ', '-')}.png",
                f"{name}: found in green, annotated in orange.",
                draw.face_sheet(images, points, 6, truth, visible),
            )
        )
    return Result(
        title="Figure 8: points on high-resolution faces (HR-LD)",
        order=1.5,
        figures=tuple(figures),
        data=", ".join(spec for _, spec in context.tests.sharp.values()),
    )


EXPERIMENTS = {"table4": table4, "figure8": figure8}
