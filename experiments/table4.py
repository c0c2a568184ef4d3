"""K&C Table 4: HR-LD, G2 trained on high-resolution faces, on 300W and AFLW."""

from __future__ import annotations

from experiments.common import Context, figure, network
from lrjax.evaluation import landmarks as metrics
from lrjax.inference.measure import measure_small, small_faces
from lrjax.report import plots
from lrjax.report.results import Result
from lrjax.report.tables import Table

# The paper's best rows and its own; its 300W columns mix two normalisers between rows.
PAPER = {
    "SAN": {"Common": 3.34, "Challenge": 6.60, "Full": 3.98, "AFLW": 1.91},
    "LAB": {"Common": 2.57, "Challenge": 4.72, "Full": 2.99, "AFLW": 1.85},
    "HR-LD": {"Common": 3.60, "Challenge": 7.301, "Full": 4.325, "AFLW": 1.753},
}


def run(context: Context) -> Result:
    """Measure HR-LD on every test set at hand, by every normaliser in use."""
    folder = context.landmark_run("hr")
    last, selected = network(folder), network(folder, "best")
    rows, curves, counts = [], {}, []
    for name, spec in context.test.high.items():
        faces = small_faces(last.config, spec, context.data_dir, "none")
        found, best = measure_small(last, faces), measure_small(selected, faces)
        counts.append(found.data)
        for normaliser in found.normalisers:
            values = metrics.summary(found.errors(normaliser))
            rows.append(
                (
                    name,
                    normaliser.replace("_", "-"),
                    PAPER["HR-LD"].get(name),
                    values["nrmse"],
                    metrics.summary(best.errors(normaliser))["nrmse"],
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
    result = Result(
        title="Table 4: HR-LD",
        order=1.4,
        tables=(table,),
        figures=(figure("table4-ced.svg", "Cumulative errors of HR-LD by the face size."),),
        data="; ".join(counts),
    )
    context.save(
        "table4",
        result,
        {"table4-ced.svg": plots.to_svg(plots.ced_curves(curves, "face size", 0.08))},
    )
    return result
