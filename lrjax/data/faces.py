"""Prepared records as arrays: every face in the middle of a square frame, with its points.

A frame shows 1.5 times the square that a network sees (its crop), at the crop's pixel density, so
that rotations and shifts find real pixels: `frame side = 1.5 * context * face side`, where the face
side is sqrt(w h) of the face box. The middle of the frame is the crop without augmentation.
"""

from __future__ import annotations

import dataclasses
import io
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from PIL import Image

from lrjax.data.examples import THREADS
from lrjax.data.records import damaged_records, digest, hash_share, listed, open_rows
from lrjax.errors import InputError
from lrjax.files import IMAGE_FORMATS
from lrjax.geometry.crop import crop, square_box, square_transform
from lrjax.geometry.points import SCHEMES, convert

FRAME = 1.5
"""Frame side over crop side."""
RECORD_CONTEXT = 2.4
"""Face sides that a prepared record shows."""

# The arrays of `Faces` that have a row for each face.
_ROWS = ("images", "points", "visible", "face_side", "transform")


@dataclasses.dataclass(frozen=True, eq=False)
class Faces:
    """Holds faces in memory.

    Attributes:
      images: uint8 [n, F, F, 3] frames; black beyond the photograph.
      points: float32 [n, N, 2] in frame pixels; zeros where a face has no annotation.
      visible: bool [n, N].
      face_side: float32 [n], sqrt(w h) of the face box in photograph pixels.
      names: n names, unique within a dataset.
      fingerprint: of names, images, points and visibility.
      scheme: name of the points' scheme; None if no face has points.
      transform: float32 [n, 2, 3], frame pixels to photograph pixels.
    """

    images: np.ndarray
    points: np.ndarray
    visible: np.ndarray
    face_side: np.ndarray
    names: tuple[str, ...]
    fingerprint: str
    scheme: str | None
    transform: np.ndarray

    def __len__(self) -> int:
        return len(self.names)


def load_faces(
    spec: str | Sequence[str],
    *,
    data_dir: Path,
    crop_size: int,
    context: float,
    scheme: str,
    limit: int | None = None,
) -> Faces:
    """Reads prepared faces.

    Args:
      spec: "dataset:split" such as "w300:train", or several to be joined. A split may be sliced and
        added as TFDS allows: "w300:train[:10%]", "w300:common+challenging".
      data_dir: where `lrjax prepare` wrote.
      crop_size: side of the networks' crop in pixels, a multiple of 4.
      context: crop side over face side, at most 1.6 (records show 2.4 face sides).
      scheme: the points wanted, one of SCHEMES; faces without points get zeros, all invisible.
      limit: at most so many faces per spec, evenly spread over the split.

    Raises:
      InputError: a dataset is not prepared, has no such split, or has other points, or a size is
        impossible.
    """
    if crop_size < 4 or crop_size % 4:
        raise InputError(f"The crop of {crop_size} pixels must be a positive multiple of 4.")
    if not 0 < FRAME * context <= RECORD_CONTEXT + 1e-9:
        raise InputError(
            f"The context of {context} must be between 0 and {RECORD_CONTEXT / FRAME:g}."
        )
    if scheme not in SCHEMES:
        raise InputError(f"Unknown point scheme '{scheme}'; choose one of {', '.join(SCHEMES)}.")
    size, sides = round(FRAME * crop_size), FRAME * context
    return concatenate(
        [_load(one, Path(data_dir), size, sides, scheme, limit) for one in listed(spec)]
    )


def concatenate(parts: Sequence[Faces]) -> Faces:
    """Joins all faces of `parts`, which agree in frame size and scheme (or have no points).

    Raises:
      InputError: they do not agree.
    """
    if len(parts) == 1:
        return parts[0]
    schemes = {part.scheme for part in parts} - {None}
    shapes = {(part.images.shape[1:], part.points.shape[1:]) for part in parts}
    if len(schemes) > 1 or len(shapes) != 1:
        raise InputError("Faces of different frame sizes or point schemes cannot be joined.")
    return Faces(
        **{field: np.concatenate([getattr(part, field) for part in parts]) for field in _ROWS},
        names=tuple(name for part in parts for name in part.names),
        fingerprint=digest(part.fingerprint.encode() for part in parts),
        scheme=next(iter(schemes), None),
    )


def take(faces: Faces, indices: np.ndarray) -> Faces:
    """Takes the faces at `indices`, integers [m]."""
    indices = np.asarray(indices, np.int64)
    return dataclasses.replace(
        faces,
        **{field: getattr(faces, field)[indices] for field in _ROWS},
        names=tuple(faces.names[i] for i in indices),
        fingerprint=digest([faces.fingerprint.encode(), indices.tobytes()]),
    )


def split_holdout(faces: Faces, fraction: float, seed: int) -> tuple[Faces, Faces]:
    """Splits faces into (rest, held out), about `fraction` of them being held out.

    A hash of the photograph's name and the seed decides, so a face stays on its side when faces
    are added, and the faces of one photograph stay together.

    Raises:
      InputError: `fraction` is not between 0 and 1.
    """
    if not 0 < fraction < 1:
        raise InputError(f"The held-out fraction of {fraction} must be between 0 and 1.")
    held = np.array([hash_share(n.partition("#")[0], seed) < fraction for n in faces.names], bool)
    return take(faces, np.flatnonzero(~held)), take(faces, np.flatnonzero(held))


def _load(
    spec: str, data_dir: Path, size: int, sides: float, scheme: str, limit: int | None
) -> Faces:
    records, rows = open_rows(spec, data_dir, limit)
    images = np.empty((len(rows), size, size, 3), np.uint8)
    transform = np.empty((len(rows), 2, 3), np.float32)
    face_side = np.empty(len(rows), np.float32)

    def fill(i: int) -> tuple[str, np.ndarray | None, np.ndarray | None]:
        record = records[int(rows[i])]
        images[i], transform[i], face_side[i], points = _frame(record, size, sides)
        # A person's picture has five points for its alignment; it is unlabelled where others count.
        labelled = "face_box" in record or scheme == "five"
        return record["name"].decode(), points if labelled else None, record.get("visible")

    with ThreadPoolExecutor(THREADS) as pool:
        try:
            filled = list(pool.map(fill, range(len(rows))))
        except (RuntimeError, OSError) as error:  # of the record file, of an image
            raise damaged_records(spec, data_dir) from error
    names, found, seen = zip(*filled, strict=True)
    if found[0] is None:
        points = np.zeros((len(rows), SCHEMES[scheme].count, 2), np.float32)
        visible = np.zeros(points.shape[:2], bool)
    else:
        points, visible = _converted(spec, np.stack(found), np.stack(seen).astype(bool), scheme)
    contents: list[bytes | memoryview] = ["\n".join(names).encode(), images.data]
    contents += [points.tobytes(), visible.tobytes()]
    return Faces(
        images=images,
        points=points,
        visible=visible,
        face_side=face_side,
        names=names,
        fingerprint=digest(contents),
        scheme=None if found[0] is None else scheme,
        transform=transform,
    )


def _frame(
    record: dict, size: int, sides: float
) -> tuple[np.ndarray, np.ndarray, float, np.ndarray | None]:
    """(frame, frame -> photograph, face side in the photograph, points in frame pixels)."""
    with Image.open(io.BytesIO(record["image"]), formats=IMAGE_FORMATS) as image:
        # A picture of a person, such as TinyFace's, is the face and nothing else.
        x, y, w, h = (float(v) for v in record.get("face_box", (0, 0, *image.size)))
        centre = np.array([x + (w - 1) / 2, y + (h - 1) / 2])
        face_side = float(np.sqrt(w * h))
        square = sides * face_side
        frame = crop(image.convert("RGB"), square_box(centre, square), size, size)
    step, offset = square_transform(centre, square, size)
    points = record.get("points")
    if points is not None:
        points = (np.asarray(points, np.float64) - offset) / step
    # A record may be a part of its photograph, resized.
    scale = float(record.get("scale", 1.0))
    origin = np.asarray(record.get("origin", (0.0, 0.0)), np.float64)
    shift = origin + (offset + 0.5) / scale - 0.5
    transform = np.concatenate([np.eye(2) * step / scale, shift[:, None]], axis=1)
    return frame, transform, face_side / scale, points


def _converted(
    spec: str, points: np.ndarray, visible: np.ndarray, scheme: str
) -> tuple[np.ndarray, np.ndarray]:
    source = {s.count: s for s in SCHEMES.values()}[points.shape[1]]
    try:
        points, visible = convert(points, visible, source, SCHEMES[scheme])
    except ValueError as error:
        raise InputError(f"'{spec}' has no {scheme} points: {error}.") from error
    return points.astype(np.float32), visible
