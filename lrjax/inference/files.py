"""Landmarks of many faces in many image files: each file is decoded once, ahead of its turn."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import TypeVar

import numpy as np
from PIL import Image

from lrjax.data.examples import read_ahead
from lrjax.errors import InputError
from lrjax.inference.images import read_rgb
from lrjax.inference.landmarks import BATCH, Detector, Prediction
from lrjax.inference.rows import Row
from lrjax.inference.views import box_problem

# Faces that are looked at together, and images that may wait for them.
_FACES, _IMAGES = 8 * BATCH, 32
Item = TypeVar("Item")
Result = TypeVar("Result")


@dataclasses.dataclass(frozen=True, eq=False)
class Looked:
    """One image file after its faces were looked at.

    Attributes:
      file: as the rows name it.
      photo: the image; None if it could not be read.
      rows: the places, among all rows, of the faces found.
      prediction: of those faces, in that order.
      problems: place among all rows -> why that row has no prediction.
    """

    file: str
    photo: Image.Image | None
    rows: list[int]
    prediction: Prediction | None
    problems: dict[int, str]


def look_at_files(
    detector: Detector, rows: Sequence[Row], root: Path, points: str
) -> Iterator[Looked]:
    """The faces of `rows` in the images under `root`, file by file in order of first mention.

    Args:
      detector: looks at them.
      rows: names of images, relative to `root`, and boxes.
      root: folder.
      points: scheme of the prediction, as for `Detector`.
    """
    groups: dict[str, list[int]] = {}
    for place, row in enumerate(rows):
        groups.setdefault(row.file, []).append(place)
    waiting: list[tuple[Looked, np.ndarray]] = []
    for looked, boxes in read_ahead(partial(_open, rows, root), groups.items()):
        waiting.append((looked, boxes))
        if len(waiting) >= _IMAGES or sum(len(b) for _, b in waiting) >= _FACES:
            yield from _look(detector, waiting, points)
            waiting = []
    yield from _look(detector, waiting, points)


def _open(
    rows: Sequence[Row], root: Path, group: tuple[str, list[int]]
) -> tuple[Looked, np.ndarray]:
    """An image without its prediction yet, and the boxes [n, 4] that can be used."""
    file, places = group
    problems = {i: text for i in places if (text := rows[i].problem)}
    usable = [i for i in places if i not in problems]
    if not usable:
        return Looked(file, None, [], None, problems), np.zeros((0, 4))
    try:
        photo = read_rgb(root / file)
    except InputError as error:
        problems |= dict.fromkeys(usable, str(error))
        return Looked(file, None, [], None, problems), np.zeros((0, 4))
    boxes = {i: rows[i].box or (0.0, 0.0, *map(float, photo.size)) for i in usable}
    problems |= {i: text for i, box in boxes.items() if (text := box_problem(box, photo.size))}
    good = [i for i in usable if i not in problems]
    return Looked(file, photo, good, None, problems), np.array([boxes[i] for i in good])


def _look(
    detector: Detector, waiting: Sequence[tuple[Looked, np.ndarray]], points: str
) -> Iterator[Looked]:
    counts = [len(boxes) for _, boxes in waiting]
    owner = np.repeat(np.arange(len(waiting)), counts)
    if not len(owner):
        yield from (looked for looked, _ in waiting)
        return
    boxes = np.concatenate([boxes.reshape(-1, 4) for _, boxes in waiting])
    photos = [looked.photo for looked, _ in waiting]
    found = detector.detect(photos, boxes, owner).converted(points)
    for number, (looked, _) in enumerate(waiting):
        yield dataclasses.replace(looked, prediction=found.take(owner == number))
