"""Faces in many image files: each file is decoded once, ahead of its turn, in bounded memory."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import NoReturn, TypeVar

import numpy as np
from PIL import Image
from PIL.ImageFile import ImageFile

from lrjax.errors import InputError
from lrjax.geometry.points import box_problem
from lrjax.inference.aligner import Aligner
from lrjax.inference.crops import is_most
from lrjax.inference.detector import Detection, FaceDetector
from lrjax.inference.images import Opener, decode_in_parts, open_image
from lrjax.inference.landmarks import LandmarkPredictor, Prediction
from lrjax.inference.tables import Row

Box = tuple[float, float, float, float]
Source = TypeVar("Source", bound=Hashable)


@dataclasses.dataclass(frozen=True, eq=False)
class FilePrediction:
    """Hold one image file after a network has looked at its faces.

    Attributes:
      file: as the rows name it.
      photo: the image; None if it could not be read, or no row needs it.
      rows: the places, among all rows, of the faces found.
      prediction: of those faces, in that order; None if there are none.
      problems: place among all rows -> why that row has no prediction.
    """

    file: str
    photo: Image.Image | None
    rows: list[int]
    prediction: Prediction | None
    problems: dict[int, str]


@dataclasses.dataclass(frozen=True, eq=False)
class FaceRequest:
    """Ask for a face to be aligned.

    Attributes:
      file: the image, as people know it.
      source: tells images apart; faces of one source are in one image, which is read once.
      open: opens the image, as `images.open_image` does.
      box: [4] (x, y, w, h) of the face; None: the aligner's region of the image.
      points, visible: [5, 2] and bool [5], if they are known.
      problem: why the face cannot be aligned, if that is known.
    """

    file: str
    source: Hashable
    open: Opener
    box: np.ndarray | None = None
    points: np.ndarray | None = None
    visible: np.ndarray | None = None
    problem: str | None = None


@dataclasses.dataclass(frozen=True, eq=False)
class AlignedFace:
    """Hold an aligned face.

    Attributes:
      image: uint8 [H, W, 3].
      aligned: False: it could not be aligned, and its box was resized.
      points: [5, 2] in pixels of its image; NaN where not visible.
      most: whether its box is most of a large picture, see `crops.is_most`.
    """

    image: np.ndarray
    aligned: bool
    points: np.ndarray
    most: bool = False


@dataclasses.dataclass(frozen=True, eq=False)
class FileDetection:
    """Hold one image file after a detector has looked at it.

    Attributes:
      file: its name.
      photo: the image; None if it could not be read.
      detection: its faces, of which there may be none.
      problem: why it could not be read, if so.
    """

    file: str
    photo: Image.Image | None
    detection: Detection | None
    problem: str | None = None


@dataclasses.dataclass(frozen=True, eq=False)
class _Opened:
    """One image, the places of its faces that can be looked at, and what is wrong with others."""

    photo: Image.Image | None
    faces: dict[int, Box]
    problems: dict[int, str]

    @property
    def photos(self) -> list[Image.Image]:
        """The image, once for each of its faces."""
        return [] if self.photo is None else [self.photo] * len(self.faces)


def detect_files(
    detector: FaceDetector,
    names: Sequence[str],
    root: Path,
    read: Callable[[Path], ImageFile] = open_image,
) -> Iterator[FileDetection]:
    """Find the faces in images under `root`, which `read` opens, in the order of their names."""
    files = iter(names)
    for part in decode_in_parts(partial(read, root / name) for name in names):
        for photo in part:
            if isinstance(photo, InputError):
                yield FileDetection(next(files), None, None, str(photo))
            else:
                yield FileDetection(next(files), photo, detector.find([photo]))


def predict_files(
    predictor: LandmarkPredictor | None, rows: Sequence[Row], root: Path, points: str = "native"
) -> Iterator[FilePrediction]:
    """Find the landmarks of the faces in the images under `root`.

    Args:
      predictor: looks at them. None: nobody does, and there are no predictions.
      rows: names of images, relative to `root`, and boxes.
      root: folder.
      points: scheme of the prediction, as for `LandmarkPredictor`.

    Yields:
      file by file, in order of first mention.
    """
    problems = {i: row.problem for i, row in enumerate(rows) if row.problem}
    groups = _grouped(row.file for row in rows)
    files = iter(groups)

    def opener(file: str) -> Opener:
        return partial(open_image, root / file)

    def box(i: int, photo: Image.Image) -> Box:
        return rows[i].box or (0.0, 0.0, float(photo.width), float(photo.height))

    for part in _opened(groups, opener, box, problems):
        faces = [face for opened in part for face in opened.faces.values()]
        boxes = np.array(faces, np.float64).reshape(-1, 4)
        owner = np.repeat(np.arange(len(part)), [len(opened.faces) for opened in part])
        found = None
        if len(owner) and predictor is not None:
            photos = [photo for opened in part for photo in opened.photos]
            found = predictor.predict(photos, boxes, np.arange(len(photos))).converted(points)
        for number, opened in enumerate(part):
            own = found.take(owner == number) if found is not None and opened.faces else None
            where = list(opened.faces)
            yield FilePrediction(next(files), opened.photo, where, own, opened.problems)


def align_files(
    aligner: Aligner, requests: Sequence[FaceRequest]
) -> Iterator[tuple[int, AlignedFace | str]]:
    """Align faces in many images, file by file: (place, aligned face or why there is none)."""
    problems = {i: request.problem for i, request in enumerate(requests) if request.problem}
    groups = _grouped(request.source for request in requests)
    openers = {request.source: request.open for request in requests}

    def box(i: int, photo: Image.Image) -> Box:
        own = requests[i].box
        x, y, w, h = map(float, aligner.box(photo.size) if own is None else own)
        return x, y, w, h

    for part in _opened(groups, openers.__getitem__, box, problems):
        for opened in part:
            yield from opened.problems.items()
        places = [i for opened in part for i in opened.faces]
        if not places:
            continue
        photos = [photo for opened in part for photo in opened.photos]
        boxes = np.array([face for opened in part for face in opened.faces.values()])
        nothing = np.zeros((5, 2)), np.zeros(5, bool)
        faces = [requests[i] for i in places]
        own = [nothing if f.points is None else (f.points, f.visible) for f in faces]
        points, visible = (np.stack(values) for values in zip(*own, strict=True))
        found = aligner.align(photos, boxes, (points, visible))
        for n, i in enumerate(places):
            most = is_most(boxes[n], photos[n].size)
            yield i, AlignedFace(found.images[n], bool(found.aligned[n]), found.points[n], most)


def _grouped(sources: Iterable[Source]) -> dict[Source, list[int]]:
    """Source -> the places where it is named, in order of first mention."""
    groups: dict[Source, list[int]] = {}
    for place, source in enumerate(sources):
        groups.setdefault(source, []).append(place)
    return groups


def _opened(
    groups: dict[Source, list[int]],
    opener: Callable[[Source], Opener],
    box: Callable[[int, Image.Image], Box],
    problems: dict[int, str],
) -> Iterator[list[_Opened]]:
    """Decode the images in parts; one none of whose faces can be used is not opened."""

    def unneeded() -> NoReturn:
        raise InputError("no face of it can be used")

    rest = iter(groups.values())
    openers = (
        unneeded if all(i in problems for i in places) else opener(source)
        for source, places in groups.items()
    )
    for part in decode_in_parts(openers):
        yield [_sorted(photo, next(rest), box, problems) for photo in part]


def _sorted(
    photo: Image.Image | InputError,
    places: list[int],
    box: Callable[[int, Image.Image], Box],
    problems: dict[int, str],
) -> _Opened:
    known = {i: problems[i] for i in places if i in problems}
    usable = [i for i in places if i not in known]
    if isinstance(photo, InputError):
        return _Opened(None, {}, known | dict.fromkeys(usable, str(photo)))
    boxes = {i: box(i, photo) for i in usable}
    known |= {i: text for i, face in boxes.items() if (text := box_problem(face, photo.size))}
    return _Opened(photo, {i: face for i, face in boxes.items() if i not in known}, known)
