"""Faces that are drawn instead of downloaded, with exact landmarks."""

from __future__ import annotations

import dataclasses
import io
import pathlib
from typing import Any, ClassVar

import numpy as np
import tensorflow_datasets as tfds
from PIL import Image

from ..common import DrawnBuilder, Report, face_features, tight_box
from ..common.crops import LOSSLESS_BELOW
from . import faces

# Identities are numbered from here, so that no two splits share one whatever their sizes.
_FIRST_IDENTITY = {"hr_train": 0, "hr_test": 10**6, "lr_train": 2 * 10**6, "lr_test": 3 * 10**6}


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

    split: str
    identity: int
    pictures: int


class Builder(DrawnBuilder[Album]):
    """68 points per face in two domains without a common identity: HR, and native LR."""

    VERSION = tfds.core.Version("1.0.0")
    RELEASE_NOTES: ClassVar[dict[str, str]] = {"1.0.0": "First version."}

    def _info(self) -> tfds.core.DatasetInfo:
        identity = tfds.features.Scalar(dtype=np.int64)
        features = tfds.features.FeaturesDict(face_features(68, identity=identity))
        return self.dataset_info_from_configs(features=features)

    @property
    def _config(self) -> SyntheticFacesConfig:
        return self.builder_config or SyntheticFacesConfig(name="default")

    def scan(self, root: pathlib.Path, report: Report) -> dict[str, list[Album]]:
        each = self._config.per_identity
        return {
            split: [
                Album(split, first + k, min(each, pictures - start))
                for k, start in enumerate(range(0, pictures, each))
            ]
            for split, first in _FIRST_IDENTITY.items()
            if (pictures := getattr(self._config, split))
        }

    def weight(self, item: Album) -> int:
        return item.pictures

    def examples(self, item: Album) -> list[dict[str, Any]]:
        config, person = self._config, (self._config.seed, item.identity, range(item.pictures))
        if item.split.startswith("hr"):
            pictures = faces.high_resolution(*person, config.hr_side)
        else:
            pictures = faces.low_resolution(*person, config.lr_sides)
        return [
            {
                "image": _encode(picture.pixels),
                "points": picture.points,
                "visible": picture.visible,
                "box": tight_box(picture.points[picture.visible]).astype(np.float32),
                "face_box": picture.face_box.astype(np.float32),
                # The picture is its own photograph.
                "origin": np.zeros(2, np.float32),
                "scale": np.float32(1),
                "name": f"{item.split}/{item.identity:07d}_{k:02d}",
                "identity": item.identity,
            }
            for k, picture in enumerate(pictures)
        ]


def _encode(pixels: np.ndarray) -> bytes:
    """PNG for small pictures, whose own JPEG artefacts are in their pixels; JPEG for others."""
    buffer, image = io.BytesIO(), Image.fromarray(pixels)
    if len(pixels) < LOSSLESS_BELOW:
        image.save(buffer, "PNG")
    else:
        image.save(buffer, "JPEG", quality=95, subsampling=0)
    return buffer.getvalue()
