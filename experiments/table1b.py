"""K&C Table 1b: settings S1 to S4 on generated low-resolution faces, and what they do natively."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from experiments.common import Context, Predictions, figure, held, in_percent, predict
from lrjax.evaluation import landmarks as metrics
from lrjax.report import plots
from lrjax.report.results import Result
from lrjax.report.tables import Table, beside_paper
from lrjax.tasks import runs
from lrjax.training.progress import read

PAPER = {
    "S1": {"NRMSE ± std": "11.33 ± 9.81", "AUC@0.07": 11.897, "AUC@0.08": 21.894},
    "S2": {"NRMSE ± std": "4.23 ± 4.52", "AUC@0.07": 50.843, "AUC@0.08": 55.751},
    "S3": {"NRMSE ± std": "4.120 ± 4.43", "AUC@0.07": 51.889, "AUC@0.08": 56.791},
    "S4": {"NRMSE ± std": "4.123 ± 4.394", "AUC@0.07": 51.775, "AUC@0.08": 56.697},
}


def run(context: Context) -> Result:
    """Train what is missing, measure all four settings, draw them."""
    folders = {name: context.landmark_run(name.lower()) for name in PAPER}
    some = runs.load_config(folders["S1"])
    faces = context.faces(context.test.generated, some)
    generated = {
        name: predict(folder, faces, degraded_by="generator", stage1=context.stage1)
        for name, folder in folders.items()
    }
    tables = [_generated_table(context, generated, len(faces.images))]
    notes = [_ordering("generated faces", generated)]
    pictures = {
        "table1b-ced.png": plots.to_png(
            plots.ced_curves({n: p.errors() for n, p in generated.items()}, "face size", 0.2)
        )
    }
    figures = [figure("table1b-ced.png", "Cumulative errors on generated low-resolution faces.")]
    if context.test.native is not None:
        native_faces = context.native_faces(context.test.native, some)
        native = {
            name: predict(folder, native_faces, degraded_by="none")
            for name, folder in folders.items()
        }
        tables.append(_native_table(context, native))
        notes.append(_ordering("native faces", native))
        pictures["table1b-native.png"] = np.concatenate([p.pictures(8, 8) for p in native.values()])
        figures.append(figure("table1b-native.png", "Native faces; a row each for S1, S2, S3, S4."))
    subsampled = predict(folders["S1"], faces, degraded_by="subsample")
    notes.append(
        "S1 on subsampled test faces, its own domain: NRMSE "
        f"{metrics.summary(subsampled.errors())['nrmse']:.2f} %."
    )
    for name, terms in (("S3", ("a_mse", "b_kp")), ("S4", ("a_mse", "b_kp", "c_conf"))):
        pictures[f"table1b-{name}-losses.png"] = _balance(folders[name], name, terms)
        figures.append(
            figure(f"table1b-{name}-losses.png", f"{name}: the weighted terms of Eq. 13, and k.")
        )
        notes.append(_ordered_share(folders[name], name))
    result = Result(
        title="Table 1b: what the degradation, and each critic, is worth",
        order=1.2,
        tables=tuple(tables),
        figures=tuple(figures),
        notes=tuple(notes),
        data=f"{context.test.generated} ({len(faces.images)} faces), degraded by G1",
    )
    context.save("table1b", result, pictures)
    return result


def _generated_table(context: Context, found: dict[str, Predictions], count: int) -> Table:
    return beside_paper(
        "Table 1b: NRMSE on generated low-resolution faces, in percent of the face size",
        "Setting",
        ("NRMSE ± std", "AUC@0.07", "AUC@0.08"),
        PAPER,
        {name: in_percent(p.errors()) for name, p in found.items()},
        note="Normaliser: √(w·h) of the face box. Paper: 4,386 AFLW faces, 19 points.",
        data=f"{context.test.generated}, {count} faces",
    )


def _native_table(context: Context, found: dict[str, Predictions]) -> Table:
    rows = []
    for name, predictions in found.items():
        values = metrics.summary(predictions.errors())
        rows.append((name, values["nrmse"], values["median"], values["failure@0.08"]))
    return Table(
        title="The same networks on native low-resolution faces",
        columns=("Setting", "NRMSE", "median", "failures at 0.08"),
        rows=tuple(rows),
        note="In percent of √(w·h) of the face box; no such table is in the paper.",
        data=f"{context.test.native}, {len(next(iter(found.values())).points)} faces",
    )


def _ordering(where: str, found: dict[str, Predictions]) -> str:
    nrmse = {name: float(np.nanmean(p.errors())) for name, p in found.items()}
    pairs = (("S1", "S2"), ("S2", "S3"), ("S2", "S4"), ("S4", "S3"))
    said = [held(f"error of {a} > {b}", [nrmse[a], nrmse[b]]) for a, b in pairs]
    return f"On {where}, the order of Table 1b: {'; '.join(said)}."


def _balance(folder: Path, name: str, terms: tuple[str, ...]) -> bytes:
    records = read(folder / "metrics.jsonl")
    series = plots.series_from(records, [f"weighted/{term}" for term in terms])
    k = plots.series_from(records, ["k"])
    return plots.to_png(plots.loss_balance(series, k.get("k"), name))


def _ordered_share(folder: Path, name: str) -> str:
    records = read(folder / "metrics.jsonl")
    _, values = plots.series_from(records, ["weighted/ordered"])["weighted/ordered"]
    return (
        f"{name}: the weighted terms were in the order of Eq. 13 in {np.mean(values):.0%} of the "
        f"{len(values)} logged steps."
    )
