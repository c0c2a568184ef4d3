"""The builder of datasets of people's pictures: one record per picture, with whose it is."""

import dataclasses
import io
import os
import pathlib
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import tensorflow_datasets as tfds
from PIL import Image

from .builder import Example, RecordBuilder
from .files import AnnotationError, list_files, open_photo
from .report import Report

NOBODY = -1
"""Label of a picture of nobody whom the dataset names."""


@dataclasses.dataclass(frozen=True, slots=True)
class Portrait:
    """A picture that exists.

    Attributes:
      path: of the file, as text (a dataset has up to a million of them).
      name: unique within the dataset, its relative path there.
      identity: who it is, unique within the dataset; "" for nobody whom the dataset names.
      label: 0 … K-1, or NOBODY.
    """

    path: str
    name: str
    identity: str
    label: int


def identity_features(**extra: tfds.features.FeatureConnector) -> Example:
    """Return the features of a picture of a person."""
    return {
        "image": tfds.features.Image(shape=(None, None, 3)),
        "name": tfds.features.Text(),
        "identity": tfds.features.Text(),
        "label": tfds.features.Scalar(dtype=np.int64),
        **extra,
    }


def points_features() -> Example:
    """Return the features of five points in pixels of the picture, where a dataset has them."""
    return {
        "points": tfds.features.Tensor(shape=(5, 2), dtype=np.float32),
        "visible": tfds.features.Tensor(shape=(5,), dtype=np.bool_),
    }


def read_bytes(path: str | pathlib.Path) -> bytes:
    """Read a file.

    Raises:
      AnnotationError: if it cannot be read.
    """
    try:
        return pathlib.Path(path).read_bytes()
    except OSError as error:
        raise AnnotationError("the file cannot be read") from error


def decode(content: bytes) -> Image.Image:
    """Decode a picture completely, as RGB.

    Raises:
      AnnotationError: if it cannot be decoded.
    """
    return open_photo(io.BytesIO(content))


def list_people(root: pathlib.Path, report: Report, prefix: str = "") -> dict[str, list[str]]:
    """List the files in the folders of `root`, one of each person, by the folders' names.

    Args:
      prefix: put before the name of a folder without pictures in the report.
    """
    if not root.is_dir():
        return {}
    with os.scandir(root) as entries:
        folders = sorted(entry.name for entry in entries if entry.is_dir())
    people = {folder: [path.name for path in list_files(root / folder)] for folder in folders}
    for folder, pictures in people.items():
        if not pictures:
            report.skip("the folder holds no picture", f"{prefix}{folder}")
    return {folder: pictures for folder, pictures in people.items() if pictures}


class IdentityBuilder(RecordBuilder[Portrait], skip_registration=True):
    """Writes the pictures that `scan` finds, each with the bytes of its file."""

    FEATURES = identity_features()
    UNIT = "picture"
    RECORDS_PER_SHARD = 8192

    def examples(self, item: Portrait) -> list[Example]:
        content = read_bytes(item.path)
        size = decode(content).size
        example = {
            "image": content,
            "name": item.name,
            "identity": item.identity,
            "label": item.label,
        }
        return [example | self.extra(item, size)]

    def extra(self, item: Portrait, size: tuple[int, int]) -> Example:
        """Return further features of a picture of (width, height) pixels."""
        return {}


def note_counts(
    report: Report,
    split: str,
    portraits: Iterable[Any],
    *,
    complete: Sequence[int],
    of: str,
) -> None:
    """Say how many pictures and people of `split` are at hand beside the complete numbers of `of`.

    Args:
      portraits: pictures with a `label`.
      complete: pictures and people; 0 people where nobody is named.
    """
    people = [portrait.label for portrait in portraits]
    found = (len(people), len(set(people) - {NOBODY}))
    verdict = "complete"
    if found != tuple(complete):
        verdict = f"complete would be {_counted(*complete)}"
    report.note(f"{split}: {_counted(*found)} at hand ({of}: {verdict}).")


def _counted(pictures: int, people: int) -> str:
    return f"{pictures:,} pictures" + (f" of {people:,} people" if people else "")
