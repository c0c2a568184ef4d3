"""`lrjax predict`: landmarks of the faces in image files."""

from __future__ import annotations

from pathlib import Path

import click
import numpy as np
from tqdm import tqdm

from lrjax.cli.inference import inference_options, output_file, which_option
from lrjax.errors import InputError
from lrjax.files import write_atomically
from lrjax.geometry.points import SCHEMES
from lrjax.inference.files import Looked, look_at_files
from lrjax.inference.landmarks import Detector, Inference, Prediction
from lrjax.inference.rows import Row, image_rows, read_rows, table_text
from lrjax.report.draw import photo_overlay, save_png


@click.command()
@click.option(
    "--images",
    type=click.Path(path_type=Path),
    required=True,
    help="Folder of images (jpg, jpeg, png, bmp, webp), or one image.",
)
@click.option(
    "--boxes",
    "boxes_file",
    type=click.Path(path_type=Path),
    help="CSV file with the columns file,x,y,w,h. Without it, each image is one face crop.",
)
@click.option(
    "--points",
    type=click.Choice(["native", *SCHEMES]),
    default="native",
    show_default=True,
    help="All points of the network, or five: eyes, nose tip, mouth corners.",
)
@click.option("--out", required=True, metavar="FILE", help="CSV file to write; - for the terminal.")
@click.option(
    "--weights",
    type=click.Path(path_type=Path),
    help="Weights file or run folder.  [default: the shipped network, 68 points]",
)
@which_option
@click.option(
    "--draw",
    type=click.Path(path_type=Path, file_okay=False),
    metavar="DIR",
    help="Write one picture per image there, enlarged, with boxes and points.",
)
@inference_options
def predict(
    images: Path,
    boxes_file: Path | None,
    points: str,
    out: str,
    weights: Path | None,
    which: str | None,
    draw: Path | None,
    options: Inference,
) -> None:
    """Find the landmarks of faces and write them as CSV.

    The result has the rows of --boxes in their order: file,x,y,w,h as they were, then
    x0,y0,x1,y1,... in pixels of the image (the centre of the first pixel is 0,0) and a confidence
    in 0..1. Boxes are in pixels of the image as it is stored, whatever orientation its EXIF data
    ask for, x and y being the first column and row; they may reach beyond the image.

    A row that cannot be used keeps its place, with empty cells, and is named at the end; the exit
    status is then 1.
    """
    target = _output(out)
    if not images.exists():
        raise InputError(f"There are no images in {images}, which does not exist; check --images.")
    rows = image_rows(images) if boxes_file is None else read_rows(boxes_file)
    detector = Detector.load(weights, options, which)
    scheme = detector.scheme_of(points)
    root = images.parent if images.is_file() else images
    if images.is_file():
        rows = [_only(row, images.name) for row in rows]
    found: list[tuple[Prediction, int] | None] = [None] * len(rows)
    problems: dict[int, str] = {}
    taken: set[Path] = set()
    with tqdm(total=len(rows), desc="faces", unit="face", dynamic_ncols=True) as bar:
        for looked in look_at_files(detector, rows, root, points):
            for i, row in enumerate(looked.rows):
                found[row] = (looked.prediction, i)
            problems |= looked.problems
            if draw is not None and looked.photo is not None:
                _draw(output_file(draw, f"{looked.file}.png", taken), looked)
            bar.update(len(looked.rows) + len(looked.problems))
    text = table_text(rows, found, scheme)
    if target is None:
        click.echo(text, nl=False)
    else:
        write_atomically(target, text.encode("utf-8", "surrogateescape"))
    _report(rows, problems, boxes_file)


def _output(out: str) -> Path | None:
    """The file to write, None for the terminal; refused now rather than after the work."""
    if out == "-":
        return None
    path = Path(out)
    if path.exists() and not path.is_file():
        raise InputError(f"The output {path} is not a file; name a file, or - for the terminal.")
    return path


def _only(row: Row, name: str) -> Row:
    if row.file == name or row.problem:
        return row
    return Row(row.cells, row.box, f"the image given with --images is {name}", row.line)


def _draw(path: Path, looked: Looked) -> None:
    image = np.asarray(looked.photo)
    seen = looked.prediction
    boxes, points = ([], []) if seen is None else (seen.boxes, seen.points)
    save_png(path, photo_overlay(image, boxes, points))


def _report(rows: list[Row], problems: dict[int, str], table: Path | None) -> None:
    """Name the rows without a prediction, and end with status 1 if there are any."""
    for i, problem in sorted(problems.items()):
        place = f"{table} line {rows[i].line}, " if table is not None else ""
        click.echo(f"lrjax: {place}{rows[i].file or 'no file'}: {problem}", err=True)
    if problems:
        count = f"{len(problems)} of {len(rows)}"
        raise InputError(f"{count} rows have no points; each is named above with the reason.")
