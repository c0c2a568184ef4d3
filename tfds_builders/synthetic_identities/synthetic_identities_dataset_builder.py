"""People that are drawn instead of photographed, to be recognised in small pictures."""

from __future__ import annotations

import dataclasses
import io
import math
import pathlib
from typing import Any, ClassVar

import numpy as np
import tensorflow_datasets as tfds
from PIL import Image

from lrjax.geometry.points import FIVE, IBUG68, convert

from ..common import NOBODY, DrawnBuilder, Report, identity_features, points_features
from ..synthetic_faces import faces
from ..synthetic_faces.scene import Picture

# People are numbered from here; those of `synthetic_faces` come before.
_TRAIN, _TEST, _DISTRACTORS, _HR = 10_000_000, 11_000_000, 12_000_000, 13_000_000
_CROP = 2
"""Stream of random numbers beside those of the renderer."""


@dataclasses.dataclass(eq=False)
class SyntheticIdentitiesConfig(tfds.core.BuilderConfig):
    """How many people, and how many pictures of each.

    Attributes:
      train, test, distractors, hr: (people, pictures of each); of a test person half of the
        pictures are probes and the others are in the gallery.
      seed: another seed gives other people.
      sides: smallest and largest side of a small face (sqrt of the area of its box), pixels.
      hr_side: side of a face of the split `hr`, pixels.
      loosest: a picture shows at most so many sides of the face's box.
      off_centre: how far at most the box lies beside the face, in its sides.
    """

    train: tuple[int, int] = (64, 8)
    test: tuple[int, int] = (32, 6)
    distractors: tuple[int, int] = (75, 2)
    hr: tuple[int, int] = (30, 5)
    seed: int = 0
    sides: tuple[float, float] = (12.0, 32.0)
    hr_side: float = 102.4
    loosest: float = 1.2
    off_centre: float = 0.04


@dataclasses.dataclass(frozen=True)
class Album:
    """Pictures `first` up to `stop` of a drawn person."""

    split: str
    person: int
    label: int
    first: int
    stop: int


class Builder(DrawnBuilder[Album]):
    """TinyFace's splits in miniature, and sharp pictures of yet others."""

    VERSION = tfds.core.Version("1.0.0")
    RELEASE_NOTES: ClassVar[dict[str, str]] = {"1.0.0": "First version."}

    def _info(self) -> tfds.core.DatasetInfo:
        return self.dataset_info_from_configs(
            features=tfds.features.FeaturesDict(identity_features(**points_features())),
        )

    @property
    def _config(self) -> SyntheticIdentitiesConfig:
        return self.builder_config or SyntheticIdentitiesConfig(name="default")

    def scan(self, root: pathlib.Path, report: Report) -> dict[str, list[Album]]:
        config = self._config
        probes = config.test[1] // 2
        plan = {
            "train": (_TRAIN, config.train[0], 0, config.train[1]),
            "probe": (_TEST, config.test[0], 0, probes),
            "gallery_match": (_TEST, config.test[0], probes, config.test[1]),
            "distractors": (_DISTRACTORS, config.distractors[0], 0, config.distractors[1]),
            "hr": (_HR, config.hr[0], 0, config.hr[1]),
        }
        return {
            split: [
                Album(split, person + k, NOBODY if split == "distractors" else k, first, stop)
                for k in range(people)
            ]
            for split, (person, people, first, stop) in plan.items()
            if people and first < stop
        }

    def weight(self, item: Album) -> int:
        return item.stop - item.first

    def examples(self, item: Album) -> list[dict[str, Any]]:
        config, numbers = self._config, range(item.first, item.stop)
        person = (config.seed, item.person)
        if item.split == "hr":
            pictures = faces.high_resolution(*person, numbers, config.hr_side)
        else:
            pictures = faces.low_resolution(*person, numbers, config.sides)
        return [
            {
                "name": f"{item.split}/{item.person}_{number:02d}.jpg",
                "identity": "" if item.label == NOBODY else str(item.person),
                "label": item.label,
                **cut(picture, config, np.random.default_rng([*person, _CROP, number])),
            }
            for number, picture in zip(numbers, pictures, strict=True)
        ]


def cut(
    face: Picture, config: SyntheticIdentitiesConfig, rng: np.random.Generator
) -> dict[str, Any]:
    """The picture inside the box of an imperfect detector, and the five points in its pixels."""
    size = face.face_box[2:] * rng.uniform(1.0, config.loosest)
    centre = face.face_box[:2] + (face.face_box[2:] - 1) / 2
    centre = centre + face.face_box[2:] * rng.uniform(-config.off_centre, config.off_centre, 2)
    low = np.maximum(np.rint(centre - (size - 1) / 2), 0).astype(int)
    width, height = (max(1, math.floor(v + 0.5)) for v in size)
    pixels = face.pixels[low[1] : low[1] + height, low[0] : low[0] + width]
    points, visible = convert(face.points, face.visible, IBUG68, FIVE)
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "JPEG", quality=int(rng.integers(80, 96)), subsampling=0)
    return {
        "image": buffer.getvalue(),
        "points": (points - low).astype(np.float32),
        "visible": np.asarray(visible, np.bool_),
    }
