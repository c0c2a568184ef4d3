"""Faces as the annotation files describe them, before any image is opened."""

import dataclasses
import pathlib
from collections.abc import Mapping
from typing import Any

import numpy as np


@dataclasses.dataclass(frozen=True, eq=False)
class Face:
    """One annotated face of a photograph.

    Attributes:
      name: unique within the dataset; two faces of one photograph share the part before `#`.
      box: [4] (x, y, w, h), the dataset's own box in photograph pixels.
      face_box: [4], the box in the convention of the networks (as tall as a WIDER FACE box).
      points: [N, 2] 0-based photograph pixels, or None where the dataset has no points. A point
        that nobody marked lies at the centre of the face box, so that arithmetic stays finite.
      visible: [N] bool beside `points`.
      extra: further features of the record, by name.
    """

    name: str
    box: np.ndarray
    face_box: np.ndarray
    points: np.ndarray | None = None
    visible: np.ndarray | None = None
    extra: Mapping[str, Any] = dataclasses.field(default_factory=dict)

    @property
    def photo(self) -> str:
        """Return the part of the name before `#`."""
        return self.name.partition("#")[0]


@dataclasses.dataclass(frozen=True, eq=False)
class Photo:
    """A photograph that exists, with at least one face; `name` is its path in the dataset."""

    path: pathlib.Path
    name: str
    faces: tuple[Face, ...]


def box_centre(box: np.ndarray) -> np.ndarray:
    """Return the centres [..., 2] of boxes [..., 4], as points (pixel centres at integers)."""
    box = np.asarray(box, np.float64)
    return box[..., :2] + (box[..., 2:] - 1) / 2


def box_side(box: np.ndarray) -> np.ndarray:
    """Return the sides [...] of the squares with the boxes' areas, sqrt(w h)."""
    box = np.asarray(box, np.float64)
    return np.sqrt(box[..., 2] * box[..., 3])


def tight_box(points: np.ndarray) -> np.ndarray:
    """Return the smallest box [4] around points [N, 2], centred on their extent."""
    low, high = points.min(0), points.max(0)
    size = high - low
    return np.concatenate([(low + high) / 2 - (size - 1) / 2, size])
