"""Faces that are drawn instead of downloaded, with exact landmarks."""

from __future__ import annotations

import dataclasses
import functools
import io
import pathlib
from collections.abc import Iterator
from typing import Any, ClassVar

import numpy as np
import tensorflow_datasets as tfds
from PIL import Image

from tfds_builders.common import DrawnBuilder, Report, face_features, tight_box
from tfds_builders.common.crops import LOSSLESS_BELOW
from tfds_builders.synthetic_faces import faces

# Identities are numbered from here, so that no two splits share one whatever their sizes.
_FIRST_IDENTITY = {
    "hr_train": 0,
    "hr_test": 1_000_000,
    "lr_train": 2_000_000,
    "lr_test": 3_000_000,
}


@dataclasses.dataclass(eq=False)
class SyntheticFacesConfig(tfds.core.BuilderConfig):
    """How many faces, and how large.

    Attributes:
      hr_train, hr_test, lr_train, lr_test: pictures in each split; 0 leaves it out.
      seed: another seed gives other people.
      per_identity: pictures of each person.
      hr_side: side of an HR face (sqrt of the area of its face box), pixels; 102.4 makes a view of
        1.25 sides 128 pixels large.
      lr_sides: smallest and largest side of a native LR face, pixels.
    """

    hr_train: int = 1200
    hr_test: int = 150
    lr_train: int = 1000
    lr_test: int = 200
    seed: int = 0
    per_identity: int = 8
    hr_side: float = 102.4
    lr_sides: tuple[float, float] = (16.0, 40.0)


@dataclasses.dataclass(frozen=True)
class Album:
    """One person of a split, and how many pictures of them."""

    config: SyntheticFacesConfig
    split: str
    identity: int
    pictures: int


class Builder(DrawnBuilder[Album]):
    """68 points per face in two domains without a common identity: HR, and native LR."""

    VERSION = tfds.core.Version("1.0.0")
    RELEASE_NOTES: ClassVar[dict[str, str]] = {"1.0.0": "First version."}

    def _info(self) -> tfds.core.DatasetInfo:
        return self.dataset_info_from_configs(
            features=tfds.features.FeaturesDict(
                face_features(68, identity=tfds.features.Scalar(dtype=np.int64))
            ),
        )

    def scan(self, root: pathlib.Path, report: Report) -> dict[str, list[Album]]:
        config = self.builder_config or SyntheticFacesConfig(name="default")
        splits = {
            split: [
                Album(config, split, *person)
                for person in _people(split, getattr(config, split), config.per_identity)
            ]
            for split in _FIRST_IDENTITY
        }
        return {split: albums for split, albums in splits.items() if albums}

    def weight(self, item: Album) -> int:
        return item.pictures

    def examples(self, item: Album) -> list[dict[str, Any]]:
        return _draw(item)


def _people(split: str, pictures: int, per_identity: int) -> Iterator[tuple[int, int]]:
    """(identity, number of pictures) of a split's people."""
    for k, first in enumerate(range(0, pictures, per_identity)):
        yield _FIRST_IDENTITY[split] + k, min(per_identity, pictures - first)


def _draw(album: Album) -> list[dict[str, Any]]:
    """All records of one person."""
    config, split, identity = album.config, album.split, album.identity
    if split.startswith("hr"):
        head = faces.hr_head(config.seed, identity)
        draw = functools.partial(faces.hr_face, side=config.hr_side)
    else:
        head = faces.lr_head(config.seed, identity)
        draw = functools.partial(faces.lr_face, sides=tuple(config.lr_sides))
    return [
        _example(draw(head, config.seed, identity, k), f"{split}/{identity:07d}_{k:02d}", identity)
        for k in range(album.pictures)
    ]


def _example(face: faces.FaceImage, name: str, identity: int) -> dict[str, Any]:
    return {
        "image": _encode(face.pixels),
        "points": face.points,
        "visible": face.visible,
        "box": tight_box(face.points[face.visible]).astype(np.float32),
        "face_box": face.face_box.astype(np.float32),
        # The picture is its own photograph.
        "origin": np.zeros(2, np.float32),
        "scale": np.float32(1),
        "name": name,
        "identity": identity,
    }


def _encode(pixels: np.ndarray) -> bytes:
    """PNG for small pictures, whose own JPEG artefacts are in their pixels; JPEG for others."""
    buffer = io.BytesIO()
    if len(pixels) < LOSSLESS_BELOW:
        Image.fromarray(pixels).save(buffer, "PNG")
    else:
        Image.fromarray(pixels).save(buffer, "JPEG", quality=95, subsampling=0)
    return buffer.getvalue()
