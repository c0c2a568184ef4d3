"""`lrjax predict`: find the landmarks of faces in image files."""

from __future__ import annotations

import dataclasses
import time
from pathlib import Path
from typing import Annotated

import click

from lrjax.cli.faces import (
    asked_rows,
    images_root,
    named_problems,
    note_large,
    report_problems,
    summary,
    table_target,
    with_bar,
    write_table,
)
from lrjax.cli.options import FILE, FOLDER, Click, Flag, Which, choice, command
from lrjax.cli.pictures import Pictures, refuse_within
from lrjax.cli.say import say
from lrjax.cli.videos import predict_video
from lrjax.errors import InputError
from lrjax.geometry.points import SCHEMES
from lrjax.inference.crops import is_most
from lrjax.inference.files import predict_files
from lrjax.inference.formats import faces_lines
from lrjax.inference.landmarks import (
    DOUBTFUL,
    FIVE_OF_68,
    LandmarkPredictor,
    PredictConfig,
    Prediction,
)
from lrjax.inference.video import is_video


@command(
    boxes="CSV file with the columns file,x,y,w,h. Without it, the faces are found as by `lrjax "
    "detect`.",
    crops="Each image is one face crop.",
    points="All points of the network, or five: eyes, nose tip, mouth corners, as people place "
    "them if the network has learned that; five_of_ibug68 are read off its 68.",
    out="File to write: .csv, .json or .coco.json; - for CSV on the terminal.",
    weights="Weights file or run folder, or the network that comes along, of iBUG's 68 points and "
    "of five as people place them.",
    every="Of a video: find faces anew every so many frames; in between their points carry them.",
    smooth="Of a video: smooth the points of slow faces over time.",
)
def predict(
    *,
    images: Path,
    boxes: Path | None = None,
    crops: Flag = False,
    allow_outside: Flag = False,
    points: Annotated[str, choice(["native", *SCHEMES, FIVE_OF_68])] = "native",
    out: Annotated[str, Click(metavar="FILE")],
    weights: Path = Path("pretrained"),
    which: Which = None,
    draw: Annotated[Path, FOLDER] | None = None,
    report: Annotated[Path, FILE] | None = None,
    every: Annotated[int, Click(type=click.IntRange(1))] = 5,
    smooth: bool = True,
    options: PredictConfig,
) -> None:
    """Find the landmarks of faces and write them as CSV, JSON or COCO keypoints.

    The result has the rows of --boxes in their order: file,x,y,w,h as they were, then
    x0,y0,x1,y1,... in pixels of the image (the centre of the first pixel is 0,0) and a confidence
    in 0..1. Boxes are in pixels of the image as it is stored, whatever orientation its EXIF data
    ask for, x and y being the first column and row; they may reach beyond the image.

    Without --boxes the rows are the faces found in each image, to a tenth of a pixel.

    A file .json has the same rows with the points by their names, and what is wrong with a row; a
    file .coco.json has the faces as COCO's keypoint annotations.

    A video (--images a.mp4; needs PyAV: pip install 'lrjax[video]') has a row for each face of each
    frame, with the columns frame, time and track after the file: faces are followed, and their
    points smoothed, without lag where they move fast. --draw writes it with the faces drawn in;
    --report has one line and one picture for each track.

    A row that cannot be used, or an image without a face, keeps its place, with empty cells,
    and is named at the end, as is a picture that cannot be written; the exit status is then 1.
    How many faces have a confidence so low that they may be none is said on standard error.
    """
    began = time.monotonic()
    target = table_target(out)
    root = images_root(images)
    if draw is not None:
        refuse_within(draw, images, "--draw")
    of_video = is_video(images)
    if of_video and (boxes is not None or crops):
        raise InputError(f"{images} is a video; leave out --boxes and --crops.")
    predictor = LandmarkPredictor.load(weights, options, which)
    if of_video:
        predict_video(images, predictor, points, target, draw, report, every=every, smooth=smooth)
        return
    scheme = predictor.scheme_of(points)
    rows = asked_rows(images, boxes, crops, allow_outside)
    found: dict[int, tuple[Prediction, int]] = {}
    problems: dict[int, str] = {}
    sizes: dict[str, tuple[int, int]] = {}
    pictures = Pictures(draw, report)
    large: list[str] = []
    doubtful: list[str] = []
    for part in with_bar(predict_files(predictor, rows, root, points), len(rows)):
        if part.prediction is not None:
            found |= {row: (part.prediction, i) for i, row in enumerate(part.rows)}
            doubtful += [part.file] * int((part.prediction.confidence < DOUBTFUL).sum())
            if part.photo is not None and (boxes is not None or crops):
                seen = [is_most(box, part.photo.size) for box in part.prediction.boxes]
                large += [part.file] * sum(seen)
        problems |= part.problems
        if part.photo is not None:
            sizes[part.file] = part.photo.size
            pictures.add(part.file, part.photo, part.prediction)
    rows = [
        dataclasses.replace(row, problem=problems.get(i), size=sizes.get(row.file, row.size))
        for i, row in enumerate(rows)
    ]
    places = [found.get(i) for i in range(len(rows))]
    write_table(faces_lines(target, zip(rows, places, strict=True), scheme), target)
    note_large(large, len(rows))
    text = summary(len(found), len({row.file for row in rows}), began, doubtful)
    drawn = pictures.finish(f"Faces in {images}", text, rows, places)
    say(text)
    report_problems(
        (named_problems(rows, problems, boxes), len(rows), "rows have no points"), drawn
    )
