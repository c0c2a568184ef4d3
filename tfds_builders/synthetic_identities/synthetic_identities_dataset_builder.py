"""People that are drawn instead of photographed, to be recognised in small pictures."""

from __future__ import annotations

import dataclasses
import functools
import io
import math
import pathlib
from typing import Any, ClassVar

import numpy as np
import tensorflow_datasets as tfds
from PIL import Image

from lrjax.geometry.points import FIVE, IBUG68, convert
from tfds_builders.common import (
    NOBODY,
    DrawnBuilder,
    Report,
    identity_features,
    points_features,
)
from tfds_builders.synthetic_faces import faces

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
        people, pictures = config.test
        probes = pictures // 2
        splits = {
            "train": _albums("train", _TRAIN, config.train[0], 0, config.train[1]),
            "probe": _albums("probe", _TEST, people, 0, probes),
            "gallery_match": _albums("gallery_match", _TEST, people, probes, pictures),
            "distractors": [
                dataclasses.replace(album, label=NOBODY)
                for album in _albums(
                    "distractors", _DISTRACTORS, config.distractors[0], 0, config.distractors[1]
                )
            ],
            "hr": _albums("hr", _HR, config.hr[0], 0, config.hr[1]),
        }
        return {split: albums for split, albums in splits.items() if albums}

    def weight(self, item: Album) -> int:
        return item.stop - item.first

    def examples(self, item: Album) -> list[dict[str, Any]]:
        config = self._config
        if item.split == "hr":
            head = faces.hr_head(config.seed, item.person)
            draw = functools.partial(faces.hr_face, side=config.hr_side)
        else:
            head = faces.lr_head(config.seed, item.person)
            draw = functools.partial(faces.lr_face, sides=tuple(config.sides))
        return [
            {
                "name": f"{item.split}/{item.person}_{number:02d}.jpg",
                "identity": "" if item.label == NOBODY else str(item.person),
                "label": item.label,
                **cut(
                    draw(head, config.seed, item.person, number),
                    config,
                    np.random.default_rng([config.seed, item.person, _CROP, number]),
                ),
            }
            for number in range(item.first, item.stop)
        ]


def _albums(split: str, first_person: int, people: int, first: int, stop: int) -> list[Album]:
    if first >= stop:
        return []
    return [Album(split, first_person + k, k, first, stop) for k in range(people)]


def cut(
    face: faces.FaceImage, config: SyntheticIdentitiesConfig, rng: np.random.Generator
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
