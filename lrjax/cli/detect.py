"""`lrjax detect`: find faces in image files."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated

from tqdm import tqdm

from lrjax.cli.faces import (
    image_names,
    report_problems,
    rows_of,
    summary,
    table_target,
    write_table,
)
from lrjax.cli.options import FILE, FOLDER, Click, Flag, command
from lrjax.cli.pictures import Pictures, refuse_within
from lrjax.cli.say import say
from lrjax.geometry.points import FIVE
from lrjax.inference.detector import DetectConfig, Detection, FaceDetector
from lrjax.inference.files import detect_files
from lrjax.inference.formats import faces_lines
from lrjax.inference.tables import Row


@command(
    out="File to write: .csv, .json or .coco.json; - for CSV on the terminal.",
    weights="Weights file of MTCNN, or the one that comes along.",
)
def detect(
    *,
    images: Path,
    allow_outside: Flag = False,
    out: Annotated[str, Click(metavar="FILE")],
    weights: Path = Path("pretrained"),
    draw: Annotated[Path, FOLDER] | None = None,
    report: Annotated[Path, FILE] | None = None,
    options: DetectConfig,
) -> None:
    """Find faces with MTCNN and write them, image by image, the surest of each first.

    A row is file,x,y,w,h, then x0,y0,x1,y1,... of the eyes, the nose tip and the mouth corners, the
    left ones first, and the probability of a face. It is what `lrjax predict --boxes` and `lrjax
    align --points` read. All are in pixels of the image as it is stored, as those of `lrjax
    predict` are. Files .json and .coco.json are as those of `lrjax predict`.

    An image that cannot be used, or has no face, has a row with empty cells and is named at the
    end, as is a picture that cannot be written; the exit status is then 1.
    """
    began = time.monotonic()
    target = table_target(out)
    root, names = image_names(images, allow_outside)
    if draw is not None:
        refuse_within(draw, images, "--draw")
    detector = FaceDetector.load(weights, options)
    rows: list[Row] = []
    found: list[tuple[Detection, int] | None] = []
    pictures = Pictures(draw, report)
    parts = detect_files(detector, names, root)
    for part in tqdm(parts, total=len(names), desc="detect", unit="image", dynamic_ncols=True):
        rows += rows_of(part)
        seen = part.detection
        found += [None] if seen is None or not len(seen) else [(seen, i) for i in range(len(seen))]
        if part.photo is not None:
            pictures.add(part.file, part.photo, seen)
    write_table(faces_lines(target, zip(rows, found, strict=True), FIVE), target)
    text = summary(sum(place is not None for place in found), len(names), began)
    drawn = pictures.finish(f"Faces in {images}", text, rows, found)
    say(text)
    problems = [f"{row.file}: {row.problem}" for row in rows if row.problem]
    report_problems((problems, len(names), "images have no faces"), drawn)
