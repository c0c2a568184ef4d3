"""`lrjax identify`: closed-set identification of low-resolution faces, as TinyFace measures it."""

from __future__ import annotations

from pathlib import Path

import click
import jax
import numpy as np

from lrjax.cli.given import command_line
from lrjax.cli.inference import Alignment, alignment_options, which_option
from lrjax.cli.options import data_dir_option
from lrjax.data.cache import default_folder
from lrjax.data.identities import Identities, load_identities
from lrjax.errors import InputError
from lrjax.evaluation.identification import RANKS, Identification, identify, random_halves
from lrjax.evaluation.scores import METRICS, Metric
from lrjax.files import write_atomically
from lrjax.inference.align import Aligner
from lrjax.inference.embed import BATCH, FLIPS, Features, Flip, Recogniser, cached_embeddings
from lrjax.report.plots import cmc_curves, precision_recall_curves, to_svg
from lrjax.report.results import Figure, Result
from lrjax.report.tables import Table

PROBE, GALLERY, DISTRACTORS = "probe", "gallery_match", "distractors"
NOTE = (
    "All in percent: rank-R is the share of probes with a picture of the same person among the "
    "first R of the gallery; mAP is the official script's trapezoid average precision. Ties go to "
    "the earlier entry, the matched gallery before the distractors."
)


@click.command("identify")
@click.argument("network", metavar="RECOGNISER")
@click.argument("dataset")
@which_option
@alignment_options
@click.option(
    "--distractors/--no-distractors",
    default=True,
    show_default=True,
    help="Put the pictures of nobody into the gallery.",
)
@click.option(
    "--metric",
    type=click.Choice(METRICS),
    default="cosine",
    show_default=True,
    help="How features are compared; the official script does by the Euclidean distance.",
)
@click.option(
    "--flip",
    type=click.Choice(FLIPS),
    default="sum",
    show_default=True,
    help="What becomes of the features of a face and of its mirror image.",
)
@click.option(
    "--halves",
    type=int,
    metavar="SEED",
    help="Share each person's pictures out by chance, one half probes, instead of officially.",
)
@click.option(
    "--batch",
    type=click.IntRange(min=1),
    default=BATCH,
    show_default=True,
    help="Faces in one forward pass.",
)
@data_dir_option
@click.option(
    "--cache",
    type=click.Path(path_type=Path, file_okay=False),
    default=default_folder,
    show_default="lrjax in $XDG_CACHE_HOME or ~/.cache",
    help="Where aligned faces and features are kept, so that they are made once.",
)
@click.option(
    "--out",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Also write the table as JSON, which `lrjax report` reads, and the curves beside it.",
)
def identify_command(
    network: str,
    dataset: str,
    which: str | None,
    alignment: Alignment,
    distractors: bool,
    metric: Metric,
    flip: Flip,
    halves: int | None,
    batch: int,
    data_dir: Path,
    cache: Path,
    out: Path | None,
) -> None:
    """Rank the gallery of DATASET for each of its probes by the features of RECOGNISER.

    RECOGNISER is a run folder of `lrjax train recognition` or a file of `lrjax convert`. DATASET is
    prepared, with splits like TinyFace's: probe, gallery_match and distractors. All faces are
    aligned in the same way to what the recogniser has learned with.
    """
    recogniser = Recogniser.load(network, which)
    splits = [PROBE, GALLERY] + [DISTRACTORS] * distractors
    portraits = {split: _portraits(f"{dataset}:{split}", data_dir) for split in splits}
    aligner = alignment.load(recogniser.template)
    features = {
        split: cached_embeddings(recogniser, aligner, part, flip=flip, batch=batch, cache=cache)
        for split, part in portraits.items()
    }
    found = rank(portraits, features, metric, halves)
    aligned = np.concatenate([part.aligned for part in features.values()])
    note = f"{NOTE} {_parts(portraits)}. {aligner.note(aligned)}."
    if halves is not None:
        note += f" Probes and gallery are random halves (seed {halves}), not the official ones."
    command = command_line(click.get_current_context())
    row = {
        "recogniser": f"{recogniser.name} ({Path(network).name})",
        "alignment": _how(aligner, alignment),
        "not aligned": _missing(aligner, aligned),
        "flip": flip,
        **found.summary(),
    }
    table = identification_table([row], f"Identification on {dataset}", command, note)
    click.echo(table.to_markdown())
    if out is not None:
        figures = save_curves({recogniser.name: found}, out)
        Result(
            title=table.title,
            tables=(table,),
            figures=figures,
            command=command,
            data=f"{dataset}: {_parts(portraits)}",
            hardware=jax.devices()[0].device_kind,
        ).save(out)


def rank(
    portraits: dict[str, Identities],
    features: dict[str, Features],
    metric: Metric,
    halves: int | None = None,
) -> Identification:
    """The probes' ranks; with a seed for `halves` these are drawn from probes and gallery alike."""
    probes, gallery = (features[split].features for split in (PROBE, GALLERY))
    who, whose = (portraits[split].label for split in (PROBE, GALLERY))
    if halves is not None:
        everything, labels = np.concatenate([probes, gallery]), np.concatenate([who, whose])
        chosen, others = random_halves(labels, halves)
        probes, who = everything[chosen], labels[chosen]
        gallery, whose = everything[others], labels[others]
    nobody = features[DISTRACTORS].features if DISTRACTORS in features else None
    return identify(probes, who, gallery, whose, nobody, metric=metric)


def identification_table(
    rows: list[dict[str, str | float | int | None]], title: str, command: str, note: str
) -> Table:
    """One row for each recogniser and alignment; ranks beyond the gallery are missing."""
    ranks = [f"rank-{r}" for r in RANKS if any(f"rank-{r}" in row for row in rows)]
    about = ("recogniser", "alignment", "not aligned", "flip", "metric", "distractors")
    columns = (*about, "probes", "gallery", *ranks, "mAP")
    cells = tuple(tuple(row.get(column) for column in columns) for row in rows)
    return Table(title, columns, cells, note=note, command=command, digits=2)


def save_curves(found: dict[str, Identification], out: Path) -> tuple[Figure, ...]:
    """CMC and precision-recall curves as SVG files beside `out`."""
    cmc = cmc_curves({name: part.cmc for name, part in found.items()})
    both = precision_recall_curves({name: part.precision_recall for name, part in found.items()})
    figures = []
    for suffix, figure, caption in (
        ("cmc", cmc, "Cumulative match characteristic"),
        ("pr", both, "Mean interpolated precision over recall"),
    ):
        file = out.with_name(f"{out.stem}-{suffix}.svg")
        write_atomically(file, to_svg(figure))
        figures.append(Figure(file.name, caption))
    return tuple(figures)


def _portraits(spec: str, data_dir: Path) -> Identities:
    try:
        return load_identities(spec, data_dir)
    except InputError as error:
        if spec.endswith(f":{DISTRACTORS}"):
            raise InputError(f"{error} Without distractors: --no-distractors.") from error
        raise


def _parts(portraits: dict[str, Identities]) -> str:
    return ", ".join(f"{len(part):,} {split}" for split, part in portraits.items())


def _how(aligner: Aligner, alignment: Alignment) -> str:
    if not aligner.words:
        return f"resize ({alignment.plain})"
    return f"{aligner.words.removeprefix('by ')}, {alignment.fit}"


def _missing(aligner: Aligner, aligned: np.ndarray) -> int | str:
    return int(np.sum(~aligned)) if aligner.words else "all"
