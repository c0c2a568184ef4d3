"""MTCNN on native low-resolution faces: K&C's Table 1a has a row of it."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import numpy as np
from PIL import Image

from lrjax.experiments.context import Context
from lrjax.geometry.points import FIVE
from lrjax.inference.detector import FaceDetector
from lrjax.report.results import Result
from lrjax.report.tables import Cell, Table
from lrjax.tasks.measure import measure_finder

OVERLAP = 0.4
"""Common area over that of both from which a box that was found is the annotated face's."""
FAILURE = 0.08

PAPER = {"found": 479, "faces": 700, "nrmse": 0.9736, "seconds": 0.388}
"""Table 1a: "able to detect only 479 faces out of 700 test images"; NRMSE of those."""


@dataclasses.dataclass(frozen=True)
class Scores:
    """Hold how a system that may not find a face does on annotated ones.

    Attributes:
      errors: [n] mean distance of the points over the normaliser; infinite for faces that were not
        found.
      seconds: a picture, after compilation; the median. None where it was not measured.
    """

    errors: np.ndarray
    seconds: float | None = None

    @property
    def found(self) -> np.ndarray:
        """The errors of the faces that were found."""
        return self.errors[np.isfinite(self.errors)]

    @property
    def nrmse(self) -> float | None:
        """The mean over the faces found, as in the paper; None if there are none."""
        return float(self.found.mean()) if len(self.found) else None

    @property
    def median(self) -> float | None:
        """The median over all faces; None if half of them were not found."""
        median = float(np.median(self.errors))
        return median if np.isfinite(median) else None

    @property
    def failures(self) -> float:
        """The share of all faces, in percent, that were not found or have an error of 8 %."""
        return 100 * float(np.mean(self.errors >= FAILURE))


def scores(spec: str, data_dir: Path) -> Scores:
    """Look for the faces of "dataset:split" in their photographs, and take O-Net's five points.

    Of the boxes found the one with the largest overlap is the face's, if that is `OVERLAP`.

    Raises:
      InputError: the data are not prepared, or have no points.
    """
    times: list[float] = []
    detector = FaceDetector.load()
    detector(np.zeros((64, 64, 3), np.uint8))  # compiles
    measured = measure_finder(partial(_find, detector, times), FIVE, spec, data_dir)
    errors = np.where(measured.confidence > 0, measured.errors("face_size"), np.inf)
    return Scores(errors, float(np.median(times)))


def row(spec: str, data_dir: Path) -> tuple[Cell, ...]:
    """Make MTCNN's row of Table 1a: method, the paper's NRMSE of all faces and of those detected,
    ours of both, median, seconds a face.
    """
    ours = scores(spec, data_dir)
    count = f"{len(ours.found)} of {len(ours.errors)}"
    name = f"MTCNN (published weights, finds {count} in their photographs)"
    return name, None, None, None, ours.nrmse, ours.median, ours.seconds


def mtcnn(context: Context) -> Result:
    """K&C Table 1a's row of MTCNN: how many native faces it finds, and its five points on them."""
    spec = context.tests.native
    ours = scores(spec, context.data_dir)
    paper, count = PAPER, len(ours.errors)
    table = Table(
        title="MTCNN on native low-resolution faces",
        columns=("", "faces found", "NRMSE of those", "median of all", "failures, %", "seconds"),
        rows=(
            (
                "paper",
                f"{paper['found']} of {paper['faces']}",
                paper["nrmse"],
                None,
                None,
                paper["seconds"],
            ),
            (
                "ours",
                f"{len(ours.found)} of {count}",
                ours.nrmse,
                ours.median,
                ours.failures,
                ours.seconds,
            ),
        ),
        note=(
            "Points are O-Net's, errors fractions of √(w·h) of the annotated box, of whatever is "
            "the face size in the paper. Failures are errors from 8 % on and faces not found, for "
            f"which no box overlaps the annotated one by {OVERLAP:g}. Ours sees the photograph "
            "around the face, enlarged twice; the paper's faces are TinyFace's crops. The paper's "
            "time is on a GTX 1080, without anything known of the picture's size."
        ),
        data=f"{spec}, {count} faces",
        digits=4,
    )
    title = "MTCNN on native low-resolution faces"
    return Result(title, 1.15, tables=(table,), data=table.data)


def _find(
    detector: FaceDetector, times: list[float], photos: Sequence[Image.Image], boxes: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """O-Net's points [n, 5, 2] and its probabilities [n], both 0 where the face was not found."""
    points, sure = np.zeros((len(photos), 5, 2)), np.zeros(len(photos))
    for i, (photo, box) in enumerate(zip(photos, boxes, strict=True)):
        begun = time.perf_counter()
        found = detector.find([photo])
        times.append(time.perf_counter() - begun)
        shares = overlaps(found.boxes, box)
        best = int(shares.argmax()) if len(shares) else 0
        if len(shares) and shares[best] >= OVERLAP:
            points[i], sure[i] = found.points[best], found.confidence[best]
    return points, sure


def overlaps(boxes: np.ndarray, box: np.ndarray) -> np.ndarray:
    """Compute the common area of boxes [n, 4] (x, y, w, h) and one box over that of both."""
    low = np.maximum(boxes[:, :2], box[:2])
    high = np.minimum(boxes[:, :2] + boxes[:, 2:], box[:2] + box[2:])
    common = np.maximum(high - low, 0).prod(-1)
    return np.asarray(common / (boxes[:, 2:].prod(-1) + box[2:].prod() - common))


EXPERIMENTS = {"mtcnn": mtcnn}
