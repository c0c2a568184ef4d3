"""Faces in many image files, each decoded once, onto a template."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Sequence

import numpy as np
from PIL import Image

from lrjax.data.examples import read_ahead
from lrjax.errors import InputError
from lrjax.inference.align import CHUNK, Aligner
from lrjax.inference.views import box_problem


@dataclasses.dataclass(frozen=True, eq=False)
class Wanted:
    """A face to be aligned.

    Attributes:
      file: the image, as people know it.
      source: tells images apart; faces of one source are in one image, which is read once.
      read: the image as RGB; raises an InputError if there is none.
      box: [4] (x, y, w, h) of the face; None: the aligner's region of the image.
      points, visible: [5, 2] and bool [5], if they are known.
      problem: why the face cannot be aligned, if that is known.
    """

    file: str
    source: str
    read: Callable[[], Image.Image]
    box: np.ndarray | None = None
    points: np.ndarray | None = None
    visible: np.ndarray | None = None
    problem: str | None = None


@dataclasses.dataclass(frozen=True, eq=False)
class Crop:
    """An aligned face.

    Attributes:
      image: uint8 [H, W, 3].
      aligned: False: it could not be aligned, and its box was resized.
      points: [5, 2] in pixels of its image; NaN where not visible.
    """

    image: np.ndarray
    aligned: bool
    points: np.ndarray


def align_wanted(aligner: Aligner, wanted: Sequence[Wanted]) -> Iterator[tuple[int, Crop | str]]:
    """(place, aligned face or why there is none) for each face, file by file."""
    sources: dict[str, list[int]] = {}
    for place, face in enumerate(wanted):
        sources.setdefault(face.source, []).append(place)

    def open_file(places: list[int]) -> tuple[list[int], Image.Image | str]:
        if all(wanted[i].problem for i in places):
            return places, ""
        try:
            return places, wanted[places[0]].read()
        except InputError as error:
            return places, str(error)

    waiting: list[tuple[int, Image.Image]] = []
    for places, photo in read_ahead(open_file, sources.values()):
        for i in places:
            problem = wanted[i].problem or (photo if isinstance(photo, str) else None)
            if problem is None and wanted[i].box is not None:
                problem = box_problem(wanted[i].box, photo.size)
            if problem is not None:
                yield i, problem
                continue
            waiting.append((i, photo))
            if len(waiting) == CHUNK:
                yield from _crops(aligner, wanted, waiting)
                waiting = []
    if waiting:
        yield from _crops(aligner, wanted, waiting)


def _crops(
    aligner: Aligner, wanted: Sequence[Wanted], waiting: Sequence[tuple[int, Image.Image]]
) -> Iterator[tuple[int, Crop]]:
    faces = [wanted[i] for i, _ in waiting]
    photos = [photo for _, photo in waiting]
    boxes = [
        aligner.box(photo.size) if face.box is None else face.box
        for face, photo in zip(faces, photos, strict=True)
    ]
    nothing = np.zeros((5, 2)), np.zeros(5, bool)
    own = [nothing if f.points is None else (f.points, f.visible) for f in faces]
    points, visible = (np.stack(part) for part in zip(*own, strict=True))
    found = aligner.align(photos, np.stack(boxes), (points, visible))
    for n, (i, _) in enumerate(waiting):
        yield i, Crop(found.images[n], bool(found.aligned[n]), found.points[n])
