"""`lrjax identify`: find people again by TinyFace's protocol, closed-set identification."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated

import click
import numpy as np
from matplotlib.figure import Figure

from lrjax.cli.faces import report_problems
from lrjax.cli.options import FILE, FOLDER, Click, DataDir, Flag, Which, command
from lrjax.cli.people import People, known_people, load_people, people_table
from lrjax.cli.results import command_line, save_result
from lrjax.cli.say import put
from lrjax.config import AlignmentConfig
from lrjax.data.arrow import is_arrow, load_arrow
from lrjax.data.cache import default_folder
from lrjax.data.identities import Identities, load_identities
from lrjax.errors import InputError
from lrjax.evaluation.identification import RANKS, Identification, identify, redraw_halves
from lrjax.evaluation.scores import Metric
from lrjax.inference.aligner import Aligner
from lrjax.inference.encoder import FaceEncoder, Features, Flip, cached_embeddings
from lrjax.report.plots import cmc_curves, precision_recall_curves
from lrjax.report.tables import Cell, Table

PROBE, GALLERY, DISTRACTORS = "probe", "gallery_match", "distractors"
NOTE = (
    "All in percent: rank-R is the share of probes with a picture of the same person among the "
    "first R of the gallery; mAP is the official script's trapezoid average precision. Ties go to "
    "the earlier entry, the matched gallery before the distractors."
)

PEOPLE_NOTE: dict[Metric, str] = {
    "euclidean": "Distances are Euclidean, in the encoder's own units.",
    "cosine": "Distances are 1 minus the cosine, from 0 to 2.",
}


@command(
    distractors="Put the pictures of nobody into the gallery.",
    metric="How features are compared; the official script does by the Euclidean distance.",
    mirror="What becomes of the features of a face and of its mirror image: those of the face "
    "alone, as the official script takes them, or both in one of three ways.",
    halves="Share each person's pictures out by chance, one half probes, instead of officially.",
    probes="Instead of DATASET: folder of pictures, PERSON/PICTURE where it is known who it is.",
    gallery="Folder of the people among whom they are looked for: PERSON/PICTURE.",
    crops="Each picture of these folders is one face; without it the largest face found counts.",
    top="How many people are listed for each probe.",
    batch="Faces in one forward pass.  [default: as many as suit the device]",
    cache="Where aligned faces and features are kept, so that they are made once.",
)
def identify_command(
    network: Annotated[str, Click(metavar="ENCODER")],
    dataset: str | None = None,
    *,
    probes: Annotated[Path, FOLDER] | None = None,
    gallery: Annotated[Path, FOLDER] | None = None,
    crops: Flag = False,
    top: Annotated[int, Click(type=click.IntRange(min=1))] = 3,
    which: Which = None,
    alignment: AlignmentConfig,
    distractors: bool = True,
    metric: Metric = "euclidean",
    mirror: Flip = "none",
    halves: Annotated[int, Click(metavar="SEED")] | None = None,
    batch: Annotated[int | None, Click(type=click.IntRange(min=1))] = None,
    data_dir: DataDir,
    cache: Annotated[
        Path,
        FOLDER,
        Click(default=default_folder, show_default="lrjax in $XDG_CACHE_HOME or ~/.cache"),
    ],
    out: Annotated[Path, FILE] | None = None,
) -> None:
    """Rank the gallery of DATASET for each of its probes by the features of ENCODER.

    ENCODER is a run folder of `lrjax train recognition` or `csri`, or a file of `lrjax convert`.
    DATASET is prepared, with splits like TinyFace's: probe, gallery_match and distractors; or it is
    a folder of Arrow files, such as CVLface's tinyface_aligned_pad_0.1, whose pictures are aligned
    already: --landmarks resize leaves them so. All faces are aligned in the same way to what the
    encoder has learned with.

    Of your own photographs: --probes and --gallery name two folders, in which each person's
    pictures are in a folder of that person's name; a probe that is in no folder is of nobody knows
    whom. The faces are found as by `lrjax detect`; of several in a picture the largest is taken.
    For each probe the nearest people are listed, each as far away as the nearest picture of that
    person. A picture without a face is named at the end; the exit status is then 1.
    """
    if dataset is None or probes is not None or gallery is not None:
        if dataset is not None or probes is None or gallery is None:
            raise InputError("Name a DATASET, or folders with --probes and --gallery; not both.")
        if halves is not None or not distractors or alignment.landmarks == "points":
            raise InputError(
                "--halves, --no-distractors and --landmarks points are for a DATASET; leave them "
                "out with --probes."
            )
    elif crops:
        raise InputError("--crops is for the folders of --probes and --gallery; leave it out.")
    encoder = FaceEncoder.load(network, which)
    if dataset is None and probes is not None and gallery is not None:
        aligner = Aligner.load(alignment, encoder.template)
        who, among = (
            load_people(folder, crops, encoder, aligner, mirror, batch)
            for folder in (probes, known_people(gallery))
        )
        _identify_people(who, among, metric, top, aligner, out)
        return
    assert dataset is not None
    identities = _load_splits(dataset, data_dir, distractors)
    aligner = Aligner.load(alignment, encoder.template)
    features = {
        split: cached_embeddings(encoder, aligner, part, flip=mirror, batch=batch, cache=cache)
        for split, part in identities.items()
    }
    found = rank(identities, features, metric, halves)
    aligned = np.concatenate([part.aligned for part in features.values()])
    sizes = ", ".join(f"{len(part):,} {split}" for split, part in identities.items())
    note = f"{NOTE} {sizes}. {aligner.note(aligned)}."
    if halves is not None:
        note += f" Probes and gallery are random halves (seed {halves}), not the official ones."
    row = {
        "encoder": f"{encoder.name} ({Path(network).name})",
        **_alignment(aligner, aligned),
        "mirror": mirror,
        **found.summary(),
    }
    table = identification_table([row], f"Identification on {dataset}", command_line(), note)
    put(table.to_markdown())
    if out is not None:
        save_result(out, [table], f"{dataset}: {sizes}", _curves({encoder.name: found}))


def _identify_people(
    probes: People, gallery: People, metric: Metric, top: int, aligner: Aligner, out: Path | None
) -> None:
    """Write the table of who is nearest, and name the pictures without a face."""
    both = (probes, gallery)
    note = f"{PEOPLE_NOTE[metric]} {aligner.note(np.concatenate([part.aligned for part in both]))}."
    if several := sum(part.several for part in both):
        note += f" {several} pictures show several faces, of which the largest was taken."
    table, text = people_table(probes, gallery, metric, top, command_line(), note)
    put(table.to_markdown())
    put(text)
    if out is not None:
        save_result(out, [table], text, ())
    problems = [problem for part in both for problem in part.problems]
    total = sum(part.total for part in both)
    report_problems((problems, total, "pictures have no face that can be used"))


def rank(
    identities: Mapping[str, Identities],
    features: Mapping[str, Features],
    metric: Metric,
    halves: int | None = None,
) -> Identification:
    """Rank the probes; with a seed for `halves` these are drawn from probes and gallery alike."""
    probes, gallery = (features[split].features for split in (PROBE, GALLERY))
    who, whose = (identities[split].label for split in (PROBE, GALLERY))
    if halves is not None:
        probes, who, gallery, whose = redraw_halves(probes, who, gallery, whose, halves)
    nobody = features[DISTRACTORS].features if DISTRACTORS in features else None
    return identify(probes, who, gallery, whose, nobody, metric=metric)


def identification_table(
    rows: Sequence[Mapping[str, Cell]], title: str, command: str, note: str
) -> Table:
    """Make a table with a row for each encoder and alignment; ranks beyond the gallery are left
    out."""
    ranks = [f"rank-{r}" for r in RANKS if any(f"rank-{r}" in row for row in rows)]
    about = ("encoder", "alignment", "not aligned", "mirror", "metric", "distractors")
    columns = (*about, "probes", "gallery", *ranks, "mAP")
    cells = tuple(tuple(row.get(column) for column in columns) for row in rows)
    return Table(title, columns, cells, note=note, command=command, digits=2)


def _curves(found: Mapping[str, Identification]) -> Iterator[tuple[str, str, Figure]]:
    cmc = cmc_curves({name: part.cmc for name, part in found.items()})
    yield "cmc", "Cumulative match characteristic", cmc
    both = precision_recall_curves({name: part.precision_recall for name, part in found.items()})
    yield "pr", "Mean interpolated precision over recall", both


def _load_splits(dataset: str, data_dir: Path, distractors: bool) -> dict[str, Identities]:
    splits = [PROBE, GALLERY] + [DISTRACTORS] * distractors
    folder = Path(dataset)
    if not is_arrow(folder):
        return {split: _load(f"{dataset}:{split}", data_dir) for split in splits}
    found = load_arrow(folder)
    missing = [split for split in splits if split not in found]
    if missing:
        remedy = "; without distractors: --no-distractors" if missing == [DISTRACTORS] else ""
        raise InputError(f"{folder} holds no pictures of {', '.join(missing)}{remedy}.")
    return {split: found[split] for split in splits}


def _load(spec: str, data_dir: Path) -> Identities:
    try:
        return load_identities(spec, data_dir)
    except InputError as error:
        if spec.endswith(f":{DISTRACTORS}"):
            raise InputError(f"{error} Without distractors: --no-distractors.") from error
        raise


def _alignment(aligner: Aligner, aligned: np.ndarray) -> dict[str, Cell]:
    """What a row says of how faces were aligned, and how many were not."""
    how = aligner.alignment
    if not aligner.description:
        return {"alignment": f"resize ({how.resize_mode})", "not aligned": "all"}
    words = f"{aligner.description.removeprefix('by ')}, {how.fit}"
    return {"alignment": words, "not aligned": int(np.sum(~aligned))}
