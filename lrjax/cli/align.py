"""`lrjax align`: faces laid onto a template, as recognisers want them."""

from __future__ import annotations

import csv
import dataclasses
import io
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path, PurePath

import click
import numpy as np
from PIL import Image
from tqdm import tqdm

from lrjax.cli.inference import (
    Alignment,
    alignment_options,
    inference_options,
    output_file,
    which_option,
)
from lrjax.cli.options import data_dir_option
from lrjax.data.examples import read_ahead
from lrjax.data.identities import load_identities
from lrjax.errors import InputError
from lrjax.files import write_atomically
from lrjax.geometry.templates import TEMPLATES
from lrjax.inference.align import decode
from lrjax.inference.align_files import Crop, Wanted, align_wanted
from lrjax.inference.images import read_rgb, walk_images
from lrjax.inference.landmarks import Inference
from lrjax.inference.rows import read_points

TABLE = "aligned.csv"
"""Written beside the crops: which face is where, its points, and whether it was aligned."""


@click.command()
@click.argument("sources", nargs=-1, required=True, metavar="IMAGE|FOLDER|DATASET:SPLIT...")
@click.option(
    "--out",
    type=click.Path(path_type=Path, file_okay=False),
    required=True,
    metavar="DIR",
    help="Folder for the aligned faces.",
)
@click.option(
    "--template",
    type=click.Choice(list(TEMPLATES)),
    default="arcface112",
    show_default=True,
    help="Size of the aligned faces, and where their points are.",
)
@click.option(
    "--points",
    "table",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="CSV file as `lrjax predict` writes it: align its faces by its points.",
)
@alignment_options
@which_option
@inference_options
@data_dir_option
def align(
    sources: tuple[str, ...],
    out: Path,
    template: str,
    table: Path | None,
    alignment: Alignment,
    which: str | None,
    options: Inference,
    data_dir: Path,
) -> None:
    """Lay faces onto a template, one PNG file each, and list them in aligned.csv.

    Images and folders (with all that is in them) hold one face per image, unless --points names
    the faces; prepared data are named as DATASET:SPLIT. Folders keep their structure. Where the
    points cannot be used the face is resized, and counted.

    An image that cannot be used is named at the end; the exit status is then 1.
    """
    if table is not None and alignment.landmarks != "shipped":
        raise InputError("--points says where the points are; leave it out, or --landmarks.")
    wanted = _from_table(table, sources) if table else _from_sources(sources, out, data_dir)
    if table is not None:
        alignment = dataclasses.replace(alignment, landmarks="points")
    aligner = alignment.load(template, which=which, options=options)
    if table is not None:
        aligner = dataclasses.replace(aligner, words=f"by {table}")
    elif alignment.landmarks == "points" and any(face.points is None for face in wanted):
        raise InputError(
            "These images come without points; name their table with --points, or let --landmarks "
            "find them."
        )
    taken: set[Path] = set()
    names = [
        None if f.problem else output_file(out, str(PurePath(f.file).with_suffix(".png")), taken)
        for f in wanted
    ]
    problems: dict[int, str] = {}
    crops: dict[int, Crop] = {}

    def done() -> Iterator[tuple[int, Crop]]:
        for i, found in align_wanted(aligner, wanted):
            bar.update(1)
            if isinstance(found, str):
                problems[i] = found
            else:
                crops[i] = dataclasses.replace(found, image=found.image[:0])
                yield i, found

    with tqdm(total=len(wanted), desc="align", unit="face", dynamic_ncols=True) as bar:
        for _ in read_ahead(lambda item: _save(names[item[0]], item[1]), done()):
            pass
    write_atomically(out / TABLE, _table_text(wanted, names, crops, out))
    click.echo(f"{aligner.note(np.array([crop.aligned for crop in crops.values()], bool))}: {out}")
    for i, problem in sorted(problems.items()):
        click.echo(f"lrjax: {wanted[i].file}: {problem}", err=True)
    if problems:
        raise InputError(
            f"{len(problems)} of {len(wanted)} faces have no image to be cut from; each is named "
            "above with the reason."
        )


def _from_sources(sources: Sequence[str], out: Path, data_dir: Path) -> list[Wanted]:
    wanted = []
    for source in sources:
        path = Path(source)
        if path.is_dir():
            if out.resolve().is_relative_to(path.resolve()):
                raise InputError(
                    f"The output {out} is in the folder {path} of images; name another --out."
                )
            names = walk_images(path)
            wanted += [_of_file(path / name, name) for name in names]
        elif ":" in source and not path.exists():
            wanted += _from_split(source, data_dir)
        else:
            wanted.append(_of_file(path, path.name))
    return wanted


def _of_file(path: Path, name: str) -> Wanted:
    return Wanted(name, str(path), partial(read_rgb, path))


def _from_split(spec: str, data_dir: Path) -> list[Wanted]:
    portraits = load_identities(spec, data_dir)
    faces = [
        Wanted(name, f"{spec}:{i}", partial(decode, portraits, i))
        for i, name in enumerate(portraits.names)
    ]
    if portraits.points is None:
        return faces
    own = zip(faces, portraits.points, portraits.visible, strict=True)
    return [dataclasses.replace(face, points=p, visible=v) for face, p, v in own]


def _from_table(table: Path, sources: Sequence[str]) -> list[Wanted]:
    if len(sources) != 1:
        raise InputError("With --points name one folder, or one image, that its files are in.")
    path = Path(sources[0])
    if not path.exists():
        raise InputError(f"There are no images in {path}, which does not exist; check its name.")
    root = path.parent if path.is_file() else path
    wanted = []
    for row, points, visible in zip(*read_points(table), strict=True):
        problem = row.problem
        if path.is_file() and row.file != path.name:
            problem = problem or f"the image given is {path.name}"
        if problem is not None:
            problem = f"{table} line {row.line}: {problem}"
        box = None if row.box is None else np.array(row.box)
        face = _of_file(root / row.file, row.file)
        own = {"box": box, "points": points, "visible": visible, "problem": problem}
        wanted.append(dataclasses.replace(face, **own))
    return wanted


def _save(path: Path, crop: Crop) -> None:
    stream = io.BytesIO()
    Image.fromarray(crop.image).save(stream, "PNG")
    write_atomically(path, stream.getvalue())


def _table_text(
    wanted: Sequence[Wanted], names: Sequence[Path | None], crops: dict[int, Crop], out: Path
) -> bytes:
    """One line per face: its file, its aligned image, whether it is aligned (1, 0), its points."""
    stream = io.StringIO(newline="")
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(["file", "image", "aligned", *(f"{a}{i}" for i in range(5) for a in "xy")])
    for i, face in enumerate(wanted):
        if i not in crops:
            writer.writerow([face.file, *[""] * 12])
            continue
        crop = crops[i]
        numbers = ["" if np.isnan(v) else f"{v:.2f}" for v in crop.points.ravel()]
        image = names[i].relative_to(out).as_posix()
        writer.writerow([face.file, image, int(crop.aligned), *numbers])
    return stream.getvalue().encode("utf-8", "surrogateescape")
