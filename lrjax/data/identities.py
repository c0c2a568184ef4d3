"""Prepared pictures of people, still encoded, with whose they are."""

import abc
import dataclasses
import pathlib
import zlib
from collections.abc import Sequence
from typing import overload

import numpy as np

from lrjax.data.sources import damaged_records, digest, open_split
from lrjax.errors import InputError

NOBODY = -1
"""Label of a picture of nobody whom the dataset names, such as a distractor."""

_AT_ONCE = 1024
"""Records read in one call, which takes half the time of as many calls."""


class _Lazy(Sequence[bytes]):
    """A sequence of which one item is read at a time; its slices are lists."""

    @abc.abstractmethod
    def _read(self, index: int) -> bytes:
        """The item at `index`, which is in range."""

    @overload
    def __getitem__(self, index: int) -> bytes: ...
    @overload
    def __getitem__(self, index: slice) -> list[bytes]: ...
    def __getitem__(self, index: int | slice) -> bytes | list[bytes]:
        if isinstance(index, slice):
            return [self._read(i) for i in range(*index.indices(len(self)))]
        return self._read(range(len(self))[index])  # counts negative indices from the end


class _Pictures(_Lazy):
    """The pictures in the chosen rows of prepared records."""

    def __init__(
        self, records: Sequence[dict], rows: np.ndarray, spec: str, data_dir: pathlib.Path
    ) -> None:
        self._records, self._rows, self._origin = records, rows, (spec, data_dir)

    def __len__(self) -> int:
        return len(self._rows)

    def _read(self, index: int) -> bytes:
        try:
            return self._records[int(self._rows[index])]["image"]
        except (RuntimeError, OSError) as error:
            raise damaged_records(*self._origin) from error


class _Chosen(_Lazy):
    """Some items of a sequence, in the order of `rows`."""

    def __init__(self, items: Sequence[bytes], rows: np.ndarray) -> None:
        self._items, self._rows = items, rows

    def __len__(self) -> int:
        return len(self._rows)

    def _read(self, index: int) -> bytes:
        return self._items[int(self._rows[index])]


class _Joined(_Lazy):
    """Sequences one after another."""

    def __init__(self, parts: Sequence[Sequence[bytes]]) -> None:
        self._parts, self._ends = tuple(parts), np.cumsum([len(part) for part in parts])

    def __len__(self) -> int:
        return int(self._ends[-1])

    def _read(self, index: int) -> bytes:
        part = int(np.searchsorted(self._ends, index, side="right"))
        return self._parts[part][index - int(self._ends[part])]


@dataclasses.dataclass(frozen=True, eq=False)
class Portraits:
    """Pictures of people.

    Attributes:
      images: n encoded pictures, read when they are asked for; slices are lists.
      label: int32 [n], from 0; NOBODY for nobody whom the dataset names. Splits in which the same
        people occur (TinyFace's probe and gallery_match) share their labels.
      names: n names, unique within a dataset.
      fingerprint: of names, labels, points and the pictures' lengths and checksums.
      points: float32 [n, 5, 2] in pixels of the picture; None if no picture has any.
      visible: bool [n, 5] beside `points`; None with them.
    """

    images: Sequence[bytes]
    label: np.ndarray
    names: Sequence[str]
    fingerprint: str
    points: np.ndarray | None = None
    visible: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.names)

    @property
    def classes(self) -> int:
        """One more than the largest label."""
        return int(self.label.max()) + 1


def load_portraits(
    spec: str | Sequence[str], data_dir: pathlib.Path, limit: int | None = None
) -> Portraits:
    """Reads whose pictures a prepared split holds; the pictures themselves stay on the disk.

    Args:
      spec: "dataset:split" such as "tinyface:train", or several, whose people are taken for
        different ones: the labels of each follow those of the one before. A split may be sliced and
        added as TFDS allows: "celeba:train+valid"; people keep their labels then.
      data_dir: where `lrjax prepare` wrote.
      limit: at most so many pictures per spec, evenly spread over the split.

    Raises:
      InputError: if a dataset is not prepared, has no such split, or says of no picture whose it
        is, or if added splits number different people alike.
    """
    specs = [spec] if isinstance(spec, str) else list(spec)
    if not specs:
        raise InputError("No dataset is named; give one such as 'tinyface:train'.")
    if limit is not None and limit < 1:
        raise InputError(f"The limit of {limit} pictures must be at least 1.")
    return _join([_load(one, pathlib.Path(data_dir), limit) for one in specs])


def some_people(portraits: Portraits, share: tuple[float, float]) -> Portraits:
    """The pictures of a part of all people, who are numbered from 0 again; of all, all pictures.

    Args:
      portraits: pictures of K people.
      share: of the people, those from number ⌊K·first⌋ on to before ⌊K·second⌋.

    Raises:
      InputError: the share is none, or holds nobody.
    """
    first, second = share
    if not 0 <= first < second <= 1:
        raise InputError(
            f"The share of people {list(share)} is none; give its ends, between 0 and 1."
        )
    if (first, second) == (0, 1):
        return portraits
    start, stop = (int(portraits.classes * end) for end in share)
    rows = np.flatnonzero((portraits.label >= start) & (portraits.label < stop))
    if not len(rows):
        raise InputError(
            f"The share {list(share)} of {portraits.classes} people holds no picture; give a "
            "larger one."
        )
    return Portraits(
        images=_Chosen(portraits.images, rows),
        label=portraits.label[rows] - np.int32(start),
        names=tuple(portraits.names[row] for row in rows),
        fingerprint=digest([portraits.fingerprint.encode(), rows.tobytes()]),
        points=None if portraits.points is None else portraits.points[rows],
        visible=None if portraits.visible is None else portraits.visible[rows],
    )


def _join(parts: Sequence[Portraits]) -> Portraits:
    """All pictures of `parts`, whose people are different ones."""
    if len(parts) == 1:
        return parts[0]
    starts = np.cumsum([0, *(part.classes for part in parts[:-1])])
    labels = [
        np.where(part.label == NOBODY, NOBODY, part.label + start)
        for part, start in zip(parts, starts, strict=True)
    ]
    points = visible = None
    if any(part.points is not None for part in parts):
        points = np.concatenate([_or_zeros(p.points, (len(p), 5, 2), np.float32) for p in parts])
        visible = np.concatenate([_or_zeros(p.visible, (len(p), 5), np.bool_) for p in parts])
    return Portraits(
        images=_Joined([part.images for part in parts]),
        label=np.concatenate(labels).astype(np.int32),
        names=tuple(name for part in parts for name in part.names),
        fingerprint=digest(part.fingerprint.encode() for part in parts),
        points=points,
        visible=visible,
    )


def _or_zeros(array: np.ndarray | None, shape: tuple[int, ...], dtype: type) -> np.ndarray:
    return np.zeros(shape, dtype) if array is None else array


def _load(spec: str, data_dir: pathlib.Path, limit: int | None) -> Portraits:
    records = open_split(spec, data_dir)
    total = len(records)
    if total == 0:
        raise InputError(f"'{spec}' in {data_dir} holds no pictures.")
    count = min(total, limit or total)
    chosen = np.arange(count) * total // count
    try:
        if "label" not in records[0]:
            raise InputError(
                f"'{spec}' does not say whose its pictures are; name a dataset of people, such as "
                "'tinyface:train'."
            )
        rows = [
            _row(record)
            for first in range(0, count, _AT_ONCE)
            for record in records.__getitems__(chosen[first : first + _AT_ONCE].tolist())
        ]
    except (RuntimeError, OSError) as error:  # of the record file
        raise damaged_records(spec, data_dir) from error
    names, identities, labels, checks, points, visible = zip(*rows, strict=True)
    _check_labels(spec, labels, identities)
    label = np.array(labels, np.int32)
    parts = ["\n".join(names).encode(), label.tobytes(), np.array(checks, np.int64).tobytes()]
    marked = any(seen is not None and seen.any() for seen in visible)
    if marked:
        points, visible = np.stack(points), np.stack(visible)
        parts += [points.tobytes(), visible.tobytes()]
    return Portraits(
        images=_Pictures(records, chosen, spec, data_dir),
        label=label,
        names=names,
        fingerprint=digest(parts),
        points=points if marked else None,
        visible=visible if marked else None,
    )


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


def _check_labels(spec: str, labels: Sequence[int], identities: Sequence[bytes]) -> None:
    """Raises InputError if one label stands for two people."""
    owner: dict[int, bytes] = {}
    for label, identity in zip(labels, identities, strict=True):
        if label != NOBODY and owner.setdefault(label, identity) != identity:
            raise InputError(
                f"'{spec}' adds splits that number their people each from 0; name them one by one, "
                "as separate datasets."
            )
