"""What the pretrained network's confidence tells of errors, and of boxes without a face."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise

import numpy as np

from lrjax.data.records import open_split
from lrjax.experiments.context import Context
from lrjax.experiments.mtcnn import FAILURE
from lrjax.inference.images import decode_rgb
from lrjax.inference.landmarks import DOUBTFUL, LandmarkPredictor
from lrjax.report import plots
from lrjax.report.results import Result
from lrjax.report.tables import Cell, Table
from lrjax.tasks.measure import Measured, measure_photographs

BOUNDS = (0.0, DOUBTFUL, 0.6, 0.7, 0.8, 0.9, np.inf)
"""Between which confidences faces are counted together."""
BAD_BOXES = (0.15, 0.2)
"""How a poor detector's boxes are moved and scaled; see `tasks.measure.disturbed`."""
AROUND = 500
"""Records whose corners are looked at."""
SMALLEST = 10
"""Pixels of the smallest box in a corner."""
NOISE = 1000
"""Images without anything."""


def confidence(context: Context) -> Result:
    """How far the pretrained network's confidence can be trusted, on faces and beside them."""
    predictor, tests = LandmarkPredictor.load(), context.tests
    specs = [tests.native, *(spec for spec, side in tests.others if side is None)]
    measured = [
        measure_photographs(predictor, spec, context.data_dir, box_noise=noise)
        for spec in specs
        for noise in ((0.0, 0.0), BAD_BOXES)
    ]
    nothing = {
        f"beside the faces of {tests.wild}": beside_faces(predictor, tests.wild, context),
        "uniform noise": on_noise(predictor, NOISE),
    }
    confidences = {part.label: part.confidence for part in measured} | nothing
    figure = context.figure(
        "confidence.svg",
        "How sure the pretrained network is of faces, and where no face is.",
        plots.to_svg(plots.share_curves(confidences, "confidence")),
    )
    return Result(
        title="The pretrained network's confidence",
        order=0.2,
        tables=(error_table(measured), doubt_table(confidences, set(nothing))),
        figures=(figure,),
        data="; ".join([part.data for part in measured] + list(nothing)),
    )


def error_table(measured: list[Measured]) -> Table:
    """Make a row of each set and range of confidences."""
    rows: list[tuple[Cell, ...]] = []
    for part in measured:
        errors = part.errors("face_size")
        for low, high in pairwise(BOUNDS):
            some = errors[(part.confidence >= low) & (part.confidence < high)]
            some = some[~np.isnan(some)]
            if len(some):
                between = f"from {low:g}" if np.isinf(high) else f"{low:g} to {high:g}"
                failed = 100 * float(np.mean(some >= FAILURE))
                figures = (100 * float(some.mean()), 100 * float(np.median(some)), failed)
                rows.append((part.label, between, len(some), *figures))
    return Table(
        title="Errors by confidence",
        columns=("Set", "confidence", "faces", "NRMSE", "median", "failures at 0.08"),
        rows=tuple(rows),
        note=(
            "In percent of √(w·h) of the annotated box. Bad boxes: their middles are moved by a "
            "normal of {:.0%} of the side, their size scaled by a log-normal of {:.0%}."
        ).format(*BAD_BOXES),
        digits=2,
    )


def doubt_table(confidences: Mapping[str, np.ndarray], nothing: set[str]) -> Table:
    """Count what is doubtful, of faces and of boxes in which there is none."""
    rows = tuple(
        (
            name,
            "no face" if name in nothing else "a face",
            len(sure),
            float(np.median(sure)),
            100 * float(np.mean(sure < DOUBTFUL)),
        )
        for name, sure in confidences.items()
    )
    return Table(
        title=f"What is doubtful: a confidence below {DOUBTFUL:g}, of which `lrjax predict` warns",
        columns=("Set", "there is", "boxes", "median confidence", f"below {DOUBTFUL:g}, %"),
        rows=rows,
        note=(
            "Beside faces: a square box in each corner of what is cut out around an annotated face "
            "(clothes, hands, walls, and now and then the face of somebody else), as large as "
            f"fits beside the face, from {SMALLEST} pixels on. As in `lrjax predict`, a second "
            "look may move by half of its side, and so see something of the face."
        ),
        digits=2,
    )


def beside_faces(predictor: LandmarkPredictor, spec: str, context: Context) -> np.ndarray:
    """Look at the corners of what the records of "dataset:split" show: confidences [n]."""
    records = open_split(spec, context.data_dir)
    found = [np.zeros(0, np.float32)]
    for index in range(min(AROUND, len(records))):
        record = records[index]
        photo = decode_rgb(record["image"], record["name"].decode())
        boxes = corner_boxes(photo.size, np.asarray(record["face_box"], np.float64))
        boxes = boxes[boxes[:, 2] >= SMALLEST]
        found.append(predictor.predict([photo], boxes, np.zeros(len(boxes), np.int64)).confidence)
    return np.concatenate(found)


def corner_boxes(size: tuple[int, int], face: np.ndarray) -> np.ndarray:
    """Put a square box into each corner of a picture, beside the face.

    Args:
      size: (width, height) in pixels.
      face: its box [4] (x, y, w, h).

    Returns:
      boxes [4, 4], in the middle of squares a third larger that end where the face begins, from
      the left or the right: with that margin a network's first look sees nothing of it.
    """
    width, height = size
    left, right = max(face[0], 0.0), max(width - face[0] - face[2], 0.0)
    boxes = []
    for start, gap in ((0.0, left), (width - right, right)):
        square = min(gap, height / 2)
        side, margin = 0.75 * square, square / 8
        x = start + margin if start == 0 else width - square + margin
        boxes += [(x, y, side, side) for y in (margin, height - square + margin)]
    return np.array(boxes)


def on_noise(predictor: LandmarkPredictor, count: int) -> np.ndarray:
    """Look at images of uniform noise: confidences [count]."""
    size = predictor.config.size
    pixels = np.random.default_rng(0).integers(0, 256, (count, size, size, 3), np.uint8)
    return np.asarray(predictor.predict_crops(pixels)[1].mean(-1))


EXPERIMENTS = {"confidence": confidence}
