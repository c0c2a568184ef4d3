"""The builder of datasets of people's pictures: one record per picture, with whose it is."""

import dataclasses
import io
import pathlib
from collections.abc import Iterable

import numpy as np
import tensorflow_datasets as tfds

from tfds_builders.common.builder import Example, RecordBuilder
from tfds_builders.common.files import AnnotationError, open_photo
from tfds_builders.common.report import Report

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
    """The features of a picture of a person."""
    return {
        "image": tfds.features.Image(shape=(None, None, 3)),
        "name": tfds.features.Text(),
        "identity": tfds.features.Text(),
        "label": tfds.features.Scalar(dtype=np.int64),
        **extra,
    }


def points_features() -> Example:
    """Five points in pixels of the picture, where a dataset has them."""
    return {
        "points": tfds.features.Tensor(shape=(5, 2), dtype=np.float32),
        "visible": tfds.features.Tensor(shape=(5,), dtype=np.bool_),
    }


def picture_size(content: bytes) -> tuple[int, int]:
    """(width, height) of an encoded picture, which is decoded completely to be sure of it.

    Raises:
      AnnotationError: if it cannot be decoded.
    """
    return open_photo(io.BytesIO(content)).size


class IdentityBuilder(RecordBuilder[Portrait], skip_registration=True):
    """Writes the pictures that `scan` finds, each with the bytes of its file."""

    UNIT = "picture"
    RECORDS_PER_SHARD = 8192

    def examples(self, item: Portrait) -> list[Example]:
        try:
            content = pathlib.Path(item.path).read_bytes()
            size = picture_size(content)
        except OSError:
            self.report.skip("the file cannot be read", item.name)
            return []
        except AnnotationError as error:
            self.report.skip(str(error), item.name)
            return []
        return [
            {
                "image": content,
                "name": item.name,
                "identity": item.identity,
                "label": item.label,
                **self.extra(item, size),
            }
        ]

    def extra(self, item: Portrait, size: tuple[int, int]) -> Example:
        """Further features of a picture of (width, height) pixels."""
        return {}


def note_counts(
    report: Report,
    split: str,
    portraits: Iterable[Portrait],
    *,
    complete: tuple[int, int],
    of: str,
) -> None:
    """Says how many pictures and people of `split` are at hand beside the complete numbers of `of`.

    Args:
      complete: pictures and people; 0 people where nobody is named.
    """
    people = [portrait.label for portrait in portraits]
    found = (len(people), len(set(people) - {NOBODY}))
    verdict = "complete" if found == complete else f"complete would be {_counted(*complete)}"
    report.note(f"{split}: {_counted(*found)} at hand ({of}: {verdict}).")


def _counted(pictures: int, people: int) -> str:
    return f"{pictures:,} pictures" + (f" of {people:,} people" if people else "")
