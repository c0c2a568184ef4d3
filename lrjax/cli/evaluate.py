"""`lrjax evaluate`: measure a landmark network on a dataset."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import click
import numpy as np
from matplotlib.figure import Figure

from lrjax.cli.options import FILE, Click, DataDir, Which, command
from lrjax.cli.results import command_line, save_result
from lrjax.cli.say import put
from lrjax.errors import InputError
from lrjax.evaluation.groups import by_side, by_yaw
from lrjax.evaluation.landmarks import risk_coverage, summary
from lrjax.inference.landmarks import LandmarkPredictor, PredictConfig
from lrjax.report.plots import ced_curves, risk_curves
from lrjax.report.tables import Cell, Table
from lrjax.tasks.measure import Measured, measure_photographs
from lrjax.tasks.measure_small import measure_degraded

SHOWN = ("nrmse", "std", "median", "auc@0.07", "auc@0.08", "failure@0.07", "failure@0.08")
HEADINGS = ("NRMSE", "std", "median", "AUC@0.07", "AUC@0.08", "failures@0.07", "failures@0.08")
NOTE = (
    "All in percent. NRMSE is the mean over faces of the mean distance over visible points, "
    "divided by the normaliser: inter_ocular, the distance of the outer eye corners; inter_pupil, "
    "that of the eyes' centres; face_size, the square root of the area of the annotated face box. "
    "std is the population's. A failure is an error of at least 0.07 or 0.08. Surer half: NRMSE of "
    "the half of the faces with the higher confidence; AURC: the mean of such NRMSE over all "
    "shares, which is NRMSE if confidence says nothing."
)

KINDS = (
    "By the first of the normalisers above. Sizes are sides √(w·h) of the annotated box. Turned: "
    "how far the tip of the nose is from the middle of the eyes, along the line through both, over "
    "their distance: 0 from the front, 0.5 where it is below an eye."
)


@command(
    degradation="none: the photographs as they are. Else the network sees sharp faces made small "
    "in that way.",
    stage1="Run or weights of the generator for --degradation generator.  "
    "[default: what the network learned from]",
    sizes="Shrink the photographs until each face box has this side, in pixels. May be repeated.",
    box_noise="Give boxes as a poor detector draws them: the deviation of their middles, as a "
    "share of their side, and that of the logarithm of their size.",
)
def evaluate(
    network: Annotated[str, Click(metavar="RUN_OR_WEIGHTS")],
    specs: Annotated[tuple[str, ...], Click(metavar="DATASET:SPLIT...")],
    *,
    which: Which = None,
    degradation: Literal["none", "subsample", "generator", "camera"] = "none",
    stage1: Path | None = None,
    sizes: Annotated[
        tuple[float, ...],
        Click(flag="--size", type=click.FloatRange(min=4), multiple=True),
    ] = (),
    box_noise: tuple[float, float] = (0.0, 0.0),
    data_dir: DataDir,
    out: Annotated[Path, FILE] | None = None,
    options: PredictConfig,
) -> None:
    """Measure the landmark network RUN_OR_WEIGHTS ("pretrained" for the one that comes along).

    Each face is looked at in its photograph, given its annotated box, exactly as `lrjax predict`
    would. With --degradation, the network is given the small images themselves, as in the tables
    of the paper; of the options for looking only --flip then applies.
    """
    if (sizes or any(box_noise)) and degradation != "none":
        raise InputError(
            "--size shrinks photographs, and --box-noise is of boxes in them; leave "
            "them out, or --degradation."
        )
    if not all(0 <= deviation <= 1 for deviation in box_noise):
        raise InputError(f"--box-noise is {box_noise}; give two deviations from 0 to 1.")
    predictor = LandmarkPredictor.load(network, options, which)
    if degradation == "none":
        found = [
            measure_photographs(predictor, spec, data_dir, size, box_noise)
            for spec in specs
            for size in sizes or (None,)
        ]
    else:
        found = [measure_degraded(predictor, spec, data_dir, degradation, stage1) for spec in specs]
    about = {"command": command_line(), "note": NOTE}
    table = error_table(found, f"Errors of {predictor.weights.path}", **about)
    kinds = kinds_table(found)
    put(table.to_markdown())
    put(kinds.to_markdown())
    if out is not None:
        save_result(out, [table, kinds], "; ".join(part.data for part in found), _curves(found))


def error_table(found: Sequence[Measured], title: str, **about: Any) -> Table:
    """Make a table with one row for each data set and normaliser."""
    rows: list[tuple[Cell, ...]] = []
    for part in found:
        for normaliser in part.normalisers:
            errors = part.errors(normaliser)
            values, risks = summary(errors), 100 * risk_coverage(errors, part.confidence)
            chosen = (float(risks[(len(risks) - 1) // 2]), float(risks.mean()))
            counts = (int(values["count"]), int(values["excluded"]))
            shown = (values[name] for name in SHOWN)
            rows.append((part.data, normaliser, *shown, *chosen, *counts))
    columns = ("data", "normaliser", *HEADINGS, "surer half", "AURC", "faces", "left out")
    return Table(title, columns, tuple(rows), digits=2, **about)


def kinds_table(found: Sequence[Measured]) -> Table:
    """Make a table of errors by size and pose, of those kinds of which there are faces."""
    rows: list[tuple[Cell, ...]] = []
    for part in found:
        errors = part.errors(part.normalisers[0])
        kinds = by_side(part.boxes) | by_yaw(part.truth, part.visible, part.scheme)
        for kind, chosen in kinds.items():
            if not np.isnan(errors[chosen]).all():
                values = summary(errors[chosen])
                figures = (values[name] for name in ("nrmse", "median", "failure@0.08"))
                rows.append((part.data, kind, *figures, int(values["count"])))
    columns = ("data", "faces that are", "NRMSE", "median", "failures@0.08", "faces")
    return Table("The same by size and pose", columns, tuple(rows), digits=2, note=KINDS)


def _curves(found: Sequence[Measured]) -> Iterator[tuple[str, str, Figure]]:
    """Cumulative error distributions and risks, two drawings for each usual normaliser."""
    for normaliser in dict.fromkeys(part.normalisers[0] for part in found):
        parts = [part for part in found if part.normalisers[0] == normaliser]
        errors = {part.label: part.errors(normaliser) for part in parts}
        caption = f"Cumulative error distribution, normaliser {normaliser}"
        yield normaliser, caption, ced_curves(errors, normaliser)
        risks = {
            part.label: risk_coverage(values, part.confidence)
            for part, values in zip(parts, errors.values(), strict=True)
        }
        caption = f"Error of the faces that the network is surest of, normaliser {normaliser}"
        yield f"{normaliser}-risk", caption, risk_curves(risks, normaliser)
