"""`lrjax evaluate`: the error of a landmark network, with the normaliser named."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click
import jax

from lrjax.cli.given import command_line
from lrjax.cli.inference import inference_options, which_option
from lrjax.cli.options import data_dir_option
from lrjax.errors import InputError
from lrjax.evaluation.landmarks import summary
from lrjax.files import write_atomically
from lrjax.inference.landmarks import Detector, Inference
from lrjax.inference.measure import Measured, measure_degraded, measure_photographs
from lrjax.inference.networks import locate
from lrjax.report.plots import ced_curves, to_svg
from lrjax.report.results import Figure, Result
from lrjax.report.tables import Table

SHOWN = ("nrmse", "std", "median", "auc@0.07", "auc@0.08", "failure@0.07", "failure@0.08")
HEADINGS = ("NRMSE", "std", "median", "AUC@0.07", "AUC@0.08", "failures@0.07", "failures@0.08")
NOTE = (
    "All in percent. NRMSE is the mean over faces of the mean distance over visible points, "
    "divided by the normaliser: inter_ocular, the distance of the outer eye corners; inter_pupil, "
    "that of the eyes' centres; face_size, the square root of the area of the annotated face box. "
    "std is the population's. A failure is an error of at least 0.07 or 0.08."
)


@click.command()
@click.argument("network", metavar="RUN_OR_WEIGHTS")
@click.argument("specs", nargs=-1, required=True, metavar="DATASET:SPLIT...")
@which_option
@click.option(
    "--degradation",
    type=click.Choice(["none", "subsample", "generator", "camera"]),
    default="none",
    show_default=True,
    help="none: the photographs as they are. Else the network sees sharp faces made small in that "
    "way.",
)
@click.option(
    "--stage1",
    type=click.Path(path_type=Path, file_okay=False),
    help="Run folder of the generator for --degradation generator.  [default: the network's own]",
)
@click.option(
    "--size",
    "sizes",
    type=click.FloatRange(min=4),
    multiple=True,
    help="Shrink the photographs until each face box has this side, in pixels. May be repeated.",
)
@data_dir_option
@click.option(
    "--out",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Also write the table as JSON, which `lrjax report` reads, and error curves beside it.",
)
@inference_options
def evaluate(
    network: str,
    specs: tuple[str, ...],
    which: str | None,
    degradation: str,
    stage1: Path | None,
    sizes: tuple[float, ...],
    data_dir: Path,
    out: Path | None,
    options: Inference,
) -> None:
    """Measure the landmark network RUN_OR_WEIGHTS ("shipped" for the one that comes along).

    Each face is looked at in its photograph, given its annotated box, exactly as `lrjax predict`
    would. With --degradation, the network is given the small images themselves, as in the tables
    of the paper; of the options for looking only --flip then applies.
    """
    if sizes and degradation != "none":
        raise InputError("--size shrinks photographs; leave it out, or --degradation.")
    weights = locate(None if network == "shipped" else network, which)
    detector = Detector.load(weights, options)
    if degradation == "none":
        found = [
            measure_photographs(detector, spec, data_dir, size)
            for spec in specs
            for size in sizes or (None,)
        ]
    else:
        generator = _generator(detector, degradation, stage1)
        found = [
            measure_degraded(detector, spec, data_dir, degradation, generator) for spec in specs
        ]
    about = {"command": command_line(click.get_current_context()), "note": NOTE}
    table = error_table(found, f"Errors of {weights}", **about)
    click.echo(table.to_markdown())
    if out is not None:
        figures = save_curves(found, out)
        Result(
            title=table.title,
            tables=(table,),
            figures=figures,
            command=table.command,
            data="; ".join(part.data for part in found),
            hardware=jax.devices()[0].device_kind,
        ).save(out)


def error_table(found: list[Measured], title: str, **about: Any) -> Table:
    """One row for each data set and normaliser."""
    rows = []
    for part in found:
        for normaliser in part.normalisers:
            values = summary(part.errors(normaliser))
            counts = (int(values["count"]), int(values["excluded"]))
            rows.append((part.data, normaliser, *(values[name] for name in SHOWN), *counts))
    columns = ("data", "normaliser", *HEADINGS, "faces", "left out")
    return Table(title, columns, tuple(rows), digits=2, **about)


def save_curves(found: list[Measured], out: Path) -> tuple[Figure, ...]:
    """Cumulative error distributions as SVG files beside `out`, one for each usual normaliser."""
    figures = []
    for normaliser in dict.fromkeys(part.normalisers[0] for part in found):
        curves = {
            part.label: part.errors(normaliser)
            for part in found
            if part.normalisers[0] == normaliser
        }
        file = out.with_name(f"{out.stem}-{normaliser}.svg")
        write_atomically(file, to_svg(ced_curves(curves, normaliser)))
        figures.append(Figure(file.name, f"Cumulative error distribution, normaliser {normaliser}"))
    return tuple(figures)


def _generator(detector: Detector, degradation: str, stage1: Path | None) -> str | None:
    if degradation != "generator":
        return None
    return str(stage1) if stage1 is not None else detector.config.stage1
