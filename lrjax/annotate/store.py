"""Annotations on disk: at every moment the folder that `lrjax prepare alrf` reads."""

from __future__ import annotations

import dataclasses
import math
import re
import threading
from collections.abc import Mapping, Sequence
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np

from lrjax.annotate.faces import Face
from lrjax.errors import InputError
from lrjax.files import write_atomically
from lrjax.geometry.points import FIVE
from lrjax.inference.tables import csv_text, read_csv

TABLE = "annotations.csv"
PICTURES = "faces"
INVISIBLE = -1.0
"""Both coordinates of an invisible point."""

COLUMNS = ("file", "annotator", *(f"{axis}{i}" for i in range(FIVE.count) for axis in "xy"))
_NAME = re.compile(r"\w[\w .'-]{0,39}")


@dataclasses.dataclass(frozen=True)
class Agreement:
    """How far two annotators' points are apart.

    Attributes:
      annotators: the two.
      faces: that both have annotated.
      points: of these faces, that both see.
      distance: mean over these points of the distance over √(w·h) of the face; NaN without any.
    """

    annotators: tuple[str, str]
    faces: int
    points: int
    distance: float


class Store:
    """Keep the points that people place, a row for each face and annotator.

    The table is written anew, as a whole, whenever a face is; rows of faces that are not at hand
    stay. It may be used from several threads.

    Attributes:
      folder: where the table is.
      faces: at hand.
    """

    def __init__(self, folder: Path, faces: Sequence[Face]) -> None:
        """Read the table of the folder, if there is one.

        Raises:
          InputError: a line of it cannot be read; the message names it.
        """
        self.folder, self.faces = folder, faces
        self._lock = threading.Lock()
        self._rows: dict[tuple[str, str], np.ndarray] = {}
        path = folder / TABLE
        if path.exists():
            self._rows = _read(path)

    @property
    def annotators(self) -> list[str]:
        """Those who have annotated any face, by name."""
        return sorted({annotator for _, annotator in self._rows})

    def points(self, face: Face, annotator: str) -> np.ndarray | None:
        """Return an annotator's points [5, 2] of a face, `INVISIBLE` twice for an invisible one."""
        return self._rows.get((face.file, annotator))

    def done(self, annotator: str) -> list[int]:
        """List the faces at hand that an annotator has annotated, by place."""
        return [i for i, face in enumerate(self.faces) if (face.file, annotator) in self._rows]

    def save(self, face: Face, annotator: str, points: np.ndarray | None) -> None:
        """Write an annotator's points [5, 2] of a face, as `read_points` gives them.

        Args:
          face: one of those at hand.
          annotator: a name.
          points: None: whatever was there is removed.

        Raises:
          OSError: the table cannot be written; it is then as it was, here as on disk.
        """
        key = (face.file, check_annotator(annotator))
        with self._lock:
            rows = {**self._rows}
            if points is None:
                rows.pop(key, None)
            else:
                rows[key] = points
            write_atomically(self.folder / TABLE, _text(rows))
            self._rows = rows

    def agreement(self) -> list[Agreement]:
        """Compare every two annotators on the faces at hand that both have annotated."""
        rows = self._rows
        found = []
        for pair in combinations(self.annotators, 2):
            shared = [f for f in self.faces if all((f.file, who) in rows for who in pair)]
            distances = [_distances(f, *(rows[f.file, who] for who in pair)) for f in shared]
            every = np.concatenate([*distances, np.zeros(0)])
            mean = float(every.mean()) if len(every) else math.nan
            found.append(Agreement(pair, len(shared), len(every), mean))
        return found


def check_annotator(name: str) -> str:
    """Return an annotator's name without blanks around it.

    Raises:
      InputError: it is empty, too long, or has other characters than a name has.
    """
    name = name.strip()
    if not _NAME.fullmatch(name):
        raise InputError(
            "An annotator's name begins with a letter or digit and has at most 40 letters, digits, "
            "blanks, dots, hyphens and apostrophes; choose another name."
        )
    return name


def read_points(value: Any, face: Face) -> np.ndarray:
    """Read five points of which nothing is trusted: a list of (x, y), `INVISIBLE` twice for none.

    Returns:
      float64 [5, 2], to a hundredth of a pixel, as the table has them.

    Raises:
      InputError: it is something else, or a point lies beyond what is shown of the face.
    """
    if not (isinstance(value, list) and len(value) == FIVE.count):
        raise InputError(f"A face has {FIVE.count} points, each (x, y); send as many.")
    left, top, width, height = face.frame
    points = np.full((FIVE.count, 2), INVISIBLE)
    for i, pair in enumerate(value):
        if not (isinstance(pair, list) and len(pair) == 2 and all(map(_is_number, pair))):
            raise InputError(f"Point {i} is not two numbers; send x and y.")
        if pair == [INVISIBLE, INVISIBLE]:
            continue
        inside = (left - 0.5 <= pair[0] <= left + width - 0.5) and (
            top - 0.5 <= pair[1] <= top + height - 0.5
        )
        if not inside:
            raise InputError(f"Point {i} lies beyond the picture; place it within.")
        points[i] = [_visible(v) for v in pair]
    return points


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _visible(value: float) -> float:
    """A coordinate of a visible point, which may lie beyond the face, but not at -1 itself."""
    rounded = round(float(value), 2)
    return rounded if rounded != INVISIBLE else INVISIBLE + 0.01


def _distances(face: Face, one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Of the points [5, 2] that both see, over the side of the face."""
    seen = (one != INVISIBLE).all(-1) & (other != INVISIBLE).all(-1)
    return np.linalg.norm(one[seen] - other[seen], axis=-1) / math.sqrt(math.prod(face.size))


def _read(path: Path) -> dict[tuple[str, str], np.ndarray]:
    header, lines = read_csv(path)
    if tuple(header) != COLUMNS:
        raise InputError(f"{path} does not begin with {','.join(COLUMNS)}; name another --out.")
    rows: dict[tuple[str, str], np.ndarray] = {}
    for cells, line in lines:
        points = _numbers(cells[2:])
        if len(cells) != len(COLUMNS) or points is None:
            raise InputError(
                f"{path} line {line} is not a file, an annotator and five points, -1 and -1 for an "
                "invisible one; mend or remove it."
            )
        try:
            key = (cells[0], check_annotator(cells[1]))
        except InputError as error:
            raise InputError(f"{path} line {line}: {error}") from error
        if key in rows:
            raise InputError(
                f"{path} line {line} is a second one of {key[1]} for {key[0]}; remove one of them."
            )
        rows[key] = points
    return rows


def _numbers(cells: Sequence[str]) -> np.ndarray | None:
    """Points [5, 2], or None if these are none."""
    try:
        points = np.array([float(cell) for cell in cells]).reshape(FIVE.count, 2)
    except ValueError:
        return None
    invisible = points == INVISIBLE
    half = invisible.any(-1) != invisible.all(-1)
    if not np.isfinite(points).all() or half.any():
        return None
    # As they are written again.
    return np.where(invisible, points, np.vectorize(_visible)(points))


def _text(rows: Mapping[tuple[str, str], np.ndarray]) -> bytes:
    """The table, a face's annotators side by side."""
    lines: list[Sequence[object]] = [COLUMNS]
    for key, points in sorted(rows.items()):
        numbers = ["-1" if v == INVISIBLE else f"{v:.2f}" for v in points.ravel()]
        lines.append([*key, *numbers])
    return csv_text(lines).encode("utf-8", "surrogateescape")
