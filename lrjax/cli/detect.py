"""`lrjax detect`: find faces in image files."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated

import numpy as np
from tqdm import tqdm

from lrjax.cli.faces import (
    image_names,
    note_done,
    output_file,
    report_problems,
    rows_of,
    save_picture,
    table_target,
    write_table,
)
from lrjax.cli.options import FOLDER, Click, command
from lrjax.geometry.points import FIVE
from lrjax.inference.detector import DetectConfig, Detection, FaceDetector
from lrjax.inference.files import detect_files
from lrjax.inference.formats import faces_text
from lrjax.inference.tables import Row
from lrjax.report.draw import photo_overlay


@command(
    out="File to write: .csv, .json or .coco.json; - for CSV on the terminal.",
    weights="Weights file of MTCNN, or the one that comes along.",
    draw="Write one picture per image there, enlarged, with boxes and points.",
)
def detect(
    *,
    images: Path,
    out: Annotated[str, Click(metavar="FILE")],
    weights: Path = Path("pretrained"),
    draw: Annotated[Path, FOLDER] | None = None,
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
    root, names = image_names(images)
    detector = FaceDetector.load(weights, options)
    rows: list[Row] = []
    found: list[tuple[Detection, int] | None] = []
    pictures: list[str | None] = []
    taken: set[Path] = set()
    parts = detect_files(detector, names, root)
    for part in tqdm(parts, total=len(names), desc="detect", unit="image", dynamic_ncols=True):
        rows += rows_of(part)
        seen = part.detection
        found += [None] if seen is None or not len(seen) else [(seen, i) for i in range(len(seen))]
        if draw is not None and part.photo is not None and seen is not None:
            path = output_file(draw, f"{part.file}.png", taken)
            overlay = photo_overlay(np.asarray(part.photo), seen.boxes, seen.points)
            pictures.append(save_picture(path, overlay))
    write_table(faces_text(target, rows, found, FIVE), target)
    note_done(sum(place is not None for place in found), len(names), began)
    problems = [f"{row.file}: {row.problem}" for row in rows if row.problem]
    missing = [picture for picture in pictures if picture is not None]
    report_problems(
        (problems, len(names), "images have no faces"),
        (missing, len(pictures), "pictures could not be drawn"),
    )
