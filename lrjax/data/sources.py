"""Prepared records as arrays: every face in the middle of a square frame, with its points.

A frame shows 1.5 times the square that a network sees (its view), at the view's pixel density, so
that rotations and shifts find real pixels: `frame side = 1.5 * context * face side`, where the face
side is sqrt(w h) of the face box. The middle of the frame is the view without augmentation.
"""

import concurrent.futures
import dataclasses
import hashlib
import io
import os
import pathlib
from collections.abc import Iterable, Sequence

import numpy as np
import tensorflow_datasets as tfds
from PIL import Image

from lrjax.errors import InputError
from lrjax.geometry.crop import crop, square_box, square_transform
from lrjax.geometry.points import SCHEMES, convert

FRAME = 1.5
"""Frame side over view side."""
RECORD_CONTEXT = 2.4
"""Face sides that a prepared record shows."""


@dataclasses.dataclass(frozen=True, eq=False)
class Faces:
    """Faces in memory.

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


def load(
    spec: str | Sequence[str],
    *,
    data_dir: pathlib.Path,
    view: int,
    context: float,
    scheme: str,
    limit: int | None = None,
) -> Faces:
    """Reads prepared faces.

    Args:
      spec: "dataset:split" such as "w300:train", or several to be joined. A split may be sliced and
        added as TFDS allows: "w300:train[:10%]", "w300:common+challenging".
      data_dir: where `lrjax prepare` wrote.
      view: side of the networks' view in pixels, a multiple of 4.
      context: view side over face side, at most 1.6 (records show 2.4 face sides).
      scheme: the points wanted, one of SCHEMES; faces without points get zeros, all invisible.
      limit: at most so many faces per spec, evenly spread over the split.

    Raises:
      InputError: if a dataset is not prepared, has no such split, or has other points.
    """
    if view < 4 or view % 4:
        raise InputError(f"The view of {view} pixels must be a positive multiple of 4.")
    if not 0 < FRAME * context <= RECORD_CONTEXT + 1e-9:
        raise InputError(
            f"The context of {context} must be between 0 and {RECORD_CONTEXT / FRAME:g}."
        )
    if scheme not in SCHEMES:
        raise InputError(f"Unknown point scheme '{scheme}'; choose one of {', '.join(SCHEMES)}.")
    if limit is not None and limit < 1:
        raise InputError(f"The limit of {limit} faces must be at least 1.")
    specs = [spec] if isinstance(spec, str) else list(spec)
    if not specs:
        raise InputError("No dataset is named; give one such as 'w300:train'.")
    return concatenate(
        [_load_one(s, pathlib.Path(data_dir), view, context, scheme, limit) for s in specs]
    )


def concatenate(parts: Sequence[Faces]) -> Faces:
    """All faces of `parts`, which must agree in frame size and scheme (or have no points).

    Raises:
      InputError: if they do not agree.
    """
    if len(parts) == 1:
        return parts[0]
    schemes = {part.scheme for part in parts} - {None}
    shapes = {(part.images.shape[1:], part.points.shape[1:]) for part in parts}
    if len(schemes) > 1 or len(shapes) != 1:
        raise InputError("Faces of different frame sizes or point schemes cannot be joined.")
    return Faces(
        images=np.concatenate([part.images for part in parts]),
        points=np.concatenate([part.points for part in parts]),
        visible=np.concatenate([part.visible for part in parts]),
        face_side=np.concatenate([part.face_side for part in parts]),
        names=tuple(name for part in parts for name in part.names),
        fingerprint=digest(part.fingerprint.encode() for part in parts),
        scheme=next(iter(schemes), None),
        transform=np.concatenate([part.transform for part in parts]),
    )


def take(faces: Faces, indices: np.ndarray) -> Faces:
    """The faces at `indices`, integers [m]."""
    indices = np.asarray(indices, np.int64)
    return Faces(
        images=faces.images[indices],
        points=faces.points[indices],
        visible=faces.visible[indices],
        face_side=faces.face_side[indices],
        names=tuple(faces.names[i] for i in indices),
        fingerprint=digest([faces.fingerprint.encode(), indices.tobytes()]),
        scheme=faces.scheme,
        transform=faces.transform[indices],
    )


def split_holdout(faces: Faces, fraction: float, seed: int) -> tuple[Faces, Faces]:
    """(rest, held out), about `fraction` of the faces being held out.

    A hash of the photograph's name and the seed decides, so a face stays on its side when faces
    are added, and the faces of one photograph stay together.

    Raises:
      InputError: if `fraction` is not between 0 and 1.
    """
    if not 0 < fraction < 1:
        raise InputError(f"The held-out fraction of {fraction} must be between 0 and 1.")
    shares = np.array([share_of(name.partition("#")[0], seed) for name in faces.names])
    return take(faces, np.flatnonzero(shares >= fraction)), take(
        faces, np.flatnonzero(shares < fraction)
    )


def share_of(name: str, seed: int) -> float:
    """A number in [0, 1) that only a name and a seed decide, evenly spread over names."""
    digest = hashlib.sha256(f"{seed}:{name}".encode()).digest()
    return int.from_bytes(digest[:8], "big") / 2**64


def digest(parts: Iterable[bytes]) -> str:
    """One fingerprint of several byte strings."""
    whole = hashlib.sha256()
    for part in parts:
        whole.update(len(part).to_bytes(8, "big"))
        whole.update(part)
    return whole.hexdigest()


def open_split(spec: str, data_dir: pathlib.Path) -> Sequence[dict]:
    """The records of "dataset:split", random access, images still encoded.

    Raises:
      InputError: if the dataset is not prepared or has no such split.
    """
    name, _, split = spec.partition(":")
    if not name or not split:
        raise InputError(f"'{spec}' does not name a dataset and a split, such as 'w300:train'.")
    versions = sorted((data_dir / name).glob("*/dataset_info.json"), key=_version)
    if not versions:
        raise InputError(
            f"'{name}' is not prepared in {data_dir}; "
            f"run `lrjax prepare {name} --data-dir {data_dir}`."
        )
    try:
        builder = tfds.builder_from_directory(versions[-1].parent)
    except Exception as error:  # TFDS raises a dozen kinds for damaged descriptions
        raise damaged_records(name, data_dir) from error
    try:
        builder.info.splits[split]
    except (ValueError, KeyError) as error:
        raise InputError(
            f"'{name}' in {data_dir} has no split '{split}'; it has "
            f"{', '.join(builder.info.splits) or 'none'}."
        ) from error
    return builder.as_data_source(split, decoders={"image": tfds.decode.SkipDecoding()})


def damaged_records(spec: str, data_dir: pathlib.Path) -> InputError:
    """What to raise when the records of "dataset" or "dataset:split" cannot be read."""
    name = spec.partition(":")[0]
    return InputError(
        f"The records of '{name}' in {data_dir} are damaged; "
        f"run `lrjax prepare {name} --data-dir {data_dir} --force`."
    )


def _version(info: pathlib.Path) -> tuple[int, ...]:
    parts = info.parent.name.split(".")
    return tuple(int(part) for part in parts) if all(p.isdigit() for p in parts) else (-1,)


def _load_one(
    spec: str, data_dir: pathlib.Path, view: int, context: float, scheme: str, limit: int | None
) -> Faces:
    records = open_split(spec, data_dir)
    total = len(records)
    if not total:
        raise InputError(f"'{spec}' in {data_dir} holds no faces.")
    count = min(total, limit or total)
    chosen = np.arange(count) * total // count
    size = round(FRAME * view)
    images = np.empty((count, size, size, 3), np.uint8)
    transform = np.empty((count, 2, 3), np.float32)
    side = np.empty(count, np.float32)

    def fill(i: int) -> dict:
        record = records[int(chosen[i])]
        images[i], transform[i], side[i], inner = _frame(record, size, FRAME * context)
        # A person's picture has five points for its alignment; it is unlabelled where others count.
        labelled = "face_box" in record or scheme == "five"
        return {
            "name": record["name"].decode(),
            "points": inner if labelled else None,
            "visible": record.get("visible"),
        }

    with concurrent.futures.ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool:
        try:
            details = list(pool.map(fill, range(count)))
        except (RuntimeError, OSError) as error:  # of the record file, of an image
            raise damaged_records(spec, data_dir) from error
    names = tuple(detail["name"] for detail in details)
    points, visible = _points(spec, details, scheme)
    return Faces(
        images=images,
        points=points,
        visible=visible,
        face_side=side,
        names=names,
        fingerprint=digest(
            ["\n".join(names).encode(), images.data, points.tobytes(), visible.tobytes()]
        ),
        scheme=scheme if details[0]["points"] is not None else None,
        transform=transform,
    )


def _frame(
    record: dict, size: int, sides: float
) -> tuple[np.ndarray, np.ndarray, float, np.ndarray | None]:
    """(frame, frame -> photograph, face side in the photograph, points in frame pixels)."""
    with Image.open(io.BytesIO(record["image"])) as image:
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
    scale = float(record.get("scale", 1.0))
    origin = np.asarray(record.get("origin", (0.0, 0.0)), np.float64)
    shift = origin + (offset + 0.5) / scale - 0.5
    transform = np.concatenate([np.eye(2) * step / scale, shift[:, None]], axis=1)
    return frame, transform, face_side / scale, points


def _points(spec: str, details: Sequence[dict], scheme: str) -> tuple[np.ndarray, np.ndarray]:
    """Points [n, N, 2] and visibility [n, N] in `scheme`; zeros and False for unlabelled faces."""
    target = SCHEMES[scheme]
    if details[0]["points"] is None:
        count = len(details)
        return np.zeros((count, target.count, 2), np.float32), np.zeros((count, target.count), bool)
    points = np.stack([detail["points"] for detail in details])
    visible = np.stack([np.asarray(detail["visible"], bool) for detail in details])
    source = {s.count: s for s in SCHEMES.values()}[points.shape[1]]
    try:
        points, visible = convert(points, visible, source, target)
    except ValueError as error:
        raise InputError(f"'{spec}' has no {scheme} points: {error}.") from error
    return points.astype(np.float32), visible
