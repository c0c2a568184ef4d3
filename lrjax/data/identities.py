"""Prepared pictures of people, still encoded, with whose they are."""

from __future__ import annotations

import dataclasses
import zlib
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import numpy as np
from grain import MapDataset

from lrjax.data.examples import select
from lrjax.data.records import Records, damaged_records, digest, hash_share, listed, open_rows
from lrjax.errors import InputError

UNKNOWN = -1
"""Label of a picture of nobody whom the dataset names, such as a distractor."""

_AT_ONCE = 1024
"""Records read in one call, which takes half the time of as many calls."""


@dataclasses.dataclass(frozen=True, eq=False)
class Identities:
    """Holds pictures of people.

    Attributes:
      images: n encoded pictures, each read when it is asked for. Slices of a dataset are datasets,
        and its indices wrap around.
      label: int32 [n], from 0; UNKNOWN for nobody whom the dataset names. Splits in which the same
        people occur (TinyFace's probe and gallery_match) share their labels.
      names: n names, unique within a dataset.
      fingerprint: of names, labels, points and the pictures' lengths and checksums.
      points: float32 [n, 5, 2] in pixels of the picture; None if no picture has any.
      visible: bool [n, 5] beside `points`; None with them.
    """

    images: Sequence[bytes] | MapDataset[bytes]
    label: np.ndarray
    names: Sequence[str]
    fingerprint: str
    points: np.ndarray | None = None
    visible: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.names)

    @property
    def classes(self) -> int:
        """Gives one more than the largest label."""
        return int(self.label.max()) + 1


def load_identities(
    spec: str | Sequence[str], data_dir: Path, limit: int | None = None
) -> Identities:
    """Reads whose pictures a prepared split holds; the pictures themselves stay on the disk.

    Args:
      spec: "dataset:split" such as "tinyface:train", or several, whose people are taken for
        different ones: the labels of each follow those of the one before. A split may be sliced and
        added as TFDS allows: "celeba:train+valid"; people keep their labels then.
      data_dir: where `lrjax prepare` wrote.
      limit: at most so many pictures per spec, evenly spread over the split.

    Raises:
      InputError: a dataset is not prepared, has no such split, or says of no picture whose it is,
        or added splits number different people alike.
    """
    return _join([_load(one, Path(data_dir), limit) for one in listed(spec)])


def select_identities(identities: Identities, share: tuple[float, float]) -> Identities:
    """Selects the pictures of a part of all people, and numbers these from 0 again.

    Args:
      identities: pictures of K people.
      share: of the people, those from number ⌊K·first⌋ on to before ⌊K·second⌋; of (0, 1) all
        pictures, as they are.

    Raises:
      InputError: the share is none, or holds nobody.
    """
    first, second = share
    if not 0 <= first < second <= 1:
        raise InputError(
            f"The share of people {list(share)} is none; give its ends, between 0 and 1."
        )
    if (first, second) == (0, 1):
        return identities
    start, stop = (int(identities.classes * end) for end in share)
    rows = np.flatnonzero((identities.label >= start) & (identities.label < stop))
    if not len(rows):
        raise InputError(
            f"The share {list(share)} of {identities.classes} people holds no picture; give a "
            "larger one."
        )
    return Identities(
        images=select(identities.images, rows),
        label=identities.label[rows] - np.int32(start),
        names=tuple(identities.names[row] for row in rows.tolist()),
        fingerprint=digest([identities.fingerprint.encode(), rows.tobytes()]),
        points=None if identities.points is None else identities.points[rows],
        visible=None if identities.visible is None else identities.visible[rows],
    )


def split_holdout(
    identities: Identities, fraction: float, seed: int
) -> tuple[np.ndarray, np.ndarray]:
    """Splits the rows of pictures into (rest, held out), about `fraction` being held out.

    A hash of the picture's name and the seed decides, but one picture of each person at least is
    not held out.
    """
    shares = np.array([hash_share(name, seed) for name in identities.names])
    largest = np.zeros(identities.classes + 1)
    np.maximum.at(largest, identities.label, shares)
    largest[UNKNOWN] = np.inf  # the last entry: nobody in particular, of whom none need remain
    held = (shares < fraction) & (shares < largest[identities.label])
    return np.flatnonzero(~held), np.flatnonzero(held)


def _join(parts: Sequence[Identities]) -> Identities:
    """All pictures of `parts`, whose people are different ones."""
    if len(parts) == 1:
        return parts[0]
    starts = np.cumsum([0, *(part.classes for part in parts[:-1])])
    labels = [
        np.where(part.label == UNKNOWN, UNKNOWN, part.label + start)
        for part, start in zip(parts, starts, strict=True)
    ]
    points = visible = None
    if any(part.points is not None for part in parts):
        points = np.concatenate([_or_zeros(p.points, (len(p), 5, 2), np.float32) for p in parts])
        visible = np.concatenate([_or_zeros(p.visible, (len(p), 5), np.bool_) for p in parts])
    return Identities(
        images=MapDataset.concatenate([part.images for part in parts]),
        label=np.concatenate(labels).astype(np.int32),
        names=tuple(name for part in parts for name in part.names),
        fingerprint=digest(part.fingerprint.encode() for part in parts),
        points=points,
        visible=visible,
    )


def _or_zeros(array: np.ndarray | None, shape: tuple[int, ...], dtype: type) -> np.ndarray:
    return np.zeros(shape, dtype) if array is None else array


def _load(spec: str, data_dir: Path, limit: int | None) -> Identities:
    records, chosen = open_rows(spec, data_dir, limit)
    try:
        if "label" not in records[0]:
            raise InputError(
                f"'{spec}' does not say whose its pictures are; name a dataset of people, such as "
                "'tinyface:train'."
            )
        rows = [
            _row(record)
            for first in range(0, len(chosen), _AT_ONCE)
            for record in records.__getitems__(chosen[first : first + _AT_ONCE].tolist())
        ]
    except (RuntimeError, OSError) as error:  # of the record file
        raise damaged_records(spec, data_dir) from error
    names, owners, labels, checks, all_points, all_visible = zip(*rows, strict=True)
    _check_labels(spec, labels, owners)
    label = np.array(labels, np.int32)
    parts = ["\n".join(names).encode(), label.tobytes(), np.array(checks, np.int64).tobytes()]
    marked = any(seen is not None and seen.any() for seen in all_visible)
    points = visible = None
    if marked:
        points, visible = np.stack(all_points), np.stack(all_visible)
        parts += [points.tobytes(), visible.tobytes()]
    return Identities(
        images=MapDataset.source(chosen).map(partial(_picture, records, spec, data_dir)),
        label=label,
        names=names,
        fingerprint=digest(parts),
        points=points,
        visible=visible,
    )


def _picture(records: Records, spec: str, data_dir: Path, row: np.integer) -> bytes:
    try:
        return records[int(row)]["image"]
    except (RuntimeError, OSError) as error:
        raise damaged_records(spec, data_dir) from error


def _row(record: dict) -> tuple:
    """(name, identity, label, (length, checksum), points or None, visible or None)."""
    image = record["image"]
    return (
        record["name"].decode(),
        record["identity"],
        int(record["label"]),
        (len(image), zlib.crc32(image)),
        record.get("points"),
        record.get("visible"),
    )


def _check_labels(spec: str, labels: Sequence[int], owners: Sequence[bytes]) -> None:
    """Raises InputError if one label stands for two people."""
    owner: dict[int, bytes] = {}
    for label, identity in zip(labels, owners, strict=True):
        if label != UNKNOWN and owner.setdefault(label, identity) != identity:
            raise InputError(
                f"'{spec}' adds splits that number their people each from 0; name them one by one, "
                "as separate datasets."
            )
