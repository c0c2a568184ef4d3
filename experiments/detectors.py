"""Face detectors beside which landmarks are found: a face that they miss has none (K&C's Figure 1
and the second column of its Table 1a).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from lrjax.data.records import Records, has_split, open_split
from lrjax.experiments import peers
from lrjax.inference.aligner import resize_longer
from lrjax.inference.detector import FaceDetector
from lrjax.inference.images import decode_rgb

Detector = Callable[[Image.Image], np.ndarray | None]
"""A picture of one face -> points [N, 2] in its pixels, or None where no face is found."""

# Paper: "an incoming image is rescaled to 224 × 224". Ours: its longer side.
SIDE = 224


def detectors() -> dict[str, Detector]:
    """Gather the detectors at hand: MTCNN, and dlib's where the extra `dlib` is installed."""
    found = {"MTCNN": _mtcnn()}
    if peers.has_dlib():
        found["dlib"] = _dlib()
    return found


def detected_faces(
    spec: str, data_dir: Path, at_hand: dict[str, Detector]
) -> tuple[frozenset[str], str] | None:
    """Tell which faces of "dataset:split" are detected at all.

    Paper: the 479 of 700 faces that MTCNN finds, which it does not name. Ours: those that the
    dataset lists, as its split `detected`; without such a list, those that the first of the
    detectors at hand (MTCNN) finds in the picture of the face box.

    Returns:
      The names of these faces, and by what they were chosen; None without list and detector.

    Raises:
      InputError: the data are not prepared.
    """
    records = open_split(spec, data_dir)
    listed = f"{spec.partition(':')[0]}:detected"
    if has_split(listed, data_dir):
        chosen = open_split(listed, data_dir)
        return frozenset(map(_name, _rows(chosen))), f"listed in {listed}"
    for name, detector in at_hand.items():
        found = (record for record in _rows(records) if detector(_face(record)) is not None)
        return frozenset(map(_name, found)), f"found by {name}"
    return None


def _rows(records: Records) -> Iterator[dict[str, Any]]:
    return (records[i] for i in range(len(records)))


def _name(record: dict[str, Any]) -> str:
    return record["name"].decode()


def _face(record: dict[str, Any]) -> Image.Image:
    """The picture of a face: its box, in whole pixels, and black beyond the photograph."""
    x, y, w, h = np.asarray(record["face_box"], np.float64)
    corners = (round(x), round(y), round(x + w), round(y + h))
    return decode_rgb(record["image"], _name(record)).crop(corners)


def _mtcnn() -> Detector:
    """O-Net's five points, of the face that it is surest of."""
    detector = FaceDetector.load()

    def find(picture: Image.Image) -> np.ndarray | None:
        large = resize_longer(picture, SIDE)
        found = detector.find([large])
        if not len(found.points):
            return None
        points = found.points[int(np.argmax(found.confidence))]
        return (points + 0.5) * np.divide(picture.size, large.size) - 0.5

    return find


def _dlib() -> Detector:
    """dlib's frontal detector and 68 points, of the face that it is surest of."""
    predictor = peers.shape_predictor()
    import dlib

    detector = dlib.get_frontal_face_detector()

    def find(picture: Image.Image) -> np.ndarray | None:
        large = resize_longer(picture, SIDE)
        pixels = np.asarray(large)
        boxes, scores, _ = detector.run(pixels, 0)
        if not boxes:
            return None
        shape = predictor(pixels, boxes[int(np.argmax(scores))])
        points = np.array([(point.x, point.y) for point in shape.parts()], np.float64)
        return (points + 0.5) * np.divide(picture.size, large.size) - 0.5

    return find
