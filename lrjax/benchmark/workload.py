"""What is measured, made in memory: random faces, and a first stage with random weights.

A step takes as long on noise as on faces, so that a measurement needs no data. Decoding does not:
random pictures of people are as large, and about as long in bytes, as those of the datasets.
"""

from __future__ import annotations

import dataclasses
import io
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
from PIL import Image

from lrjax.config import to_dict
from lrjax.data.faces import FRAME
from lrjax.data.identities import Identities
from lrjax.data.records import digest
from lrjax.errors import InputError
from lrjax.geometry.points import SCHEMES
from lrjax.inference.framing import frames
from lrjax.tasks import degradation, recognition_data
from lrjax.tasks.landmarks import LandmarksConfig
from lrjax.tasks.recognition import RecognitionConfig, face_template
from lrjax.training.weights import save_variables, write_json


class Pictures(NamedTuple):
    """What the pictures of a dataset are like: pixels, and how many people they show."""

    width: int
    height: int
    people: int


# Those of TinyFace differ in size, and so do SynLR's: this is the mean that the paper names. Of the
# drawn people these are the sharp ones (`hr`), whose pictures differ too.
PICTURES = {
    "casia_webface": Pictures(250, 250, 10_575),
    "celeba": Pictures(178, 218, 10_177),
    "face_records": Pictures(112, 112, 85_742),
    "synlr": Pictures(16, 20, 2_570),
    "synthetic_identities": Pictures(112, 112, 30),
    "tinyface": Pictures(16, 20, 2_570),
}

Parts = dict[str, dict[str, Any]]


def faces_to_feed(
    config: LandmarksConfig | RecognitionConfig, count: int, folder: Path
) -> tuple[Any, dict[str, Parts]]:
    """The configuration with what it leaves to its data, and feed ("device", "host") -> data.

    The host feed of landmarks is of the arrays that the device holds; that of recognition of
    pictures, which are decoded and aligned when they are read, where no network aligns them.

    Args:
      count: faces for each part of a batch.
      folder: for aligned faces.

    Raises:
      InputError: see `random_people`.
    """
    if isinstance(config, LandmarksConfig):
        faces = random_faces(config, count)
        return config, {"device": faces, "host": faces}
    config.validate()
    portraits = random_people(config, count)
    # Every picture is learnt from, and most people of a large dataset have none in memory.
    classes = config.classes or pictures_of(config).people
    config = dataclasses.replace(config, holdout=0.0, classes=classes)
    data = {}
    for feed in ("device", "host"):
        fed = dataclasses.replace(config, train=dataclasses.replace(config.train, feed=feed))
        parts, _ = recognition_data.framed(
            fed,
            portraits,
            recognition_data.framing_of(fed),
            partial(frames, cache=folder),
            {"label": portraits.label},
        )
        data[feed] = {name: dict(part.arrays) for name, part in parts.items()}
    return config, data


def pictures_of(config: RecognitionConfig) -> Pictures:
    """What the pictures of the first dataset in `labelled` are like.

    Raises:
      InputError: nobody has said.
    """
    name = config.labelled[0].partition(":")[0]
    if name not in PICTURES:
        raise InputError(
            f"How large the pictures of {name!r} are is not known here; set labelled to one of "
            f"{', '.join(PICTURES)}."
        )
    return PICTURES[name]


def random_people(config: RecognitionConfig, count: int) -> Identities:
    """`count` JPEG pictures, with five points where the configuration is aligned by points.

    Raises:
      InputError: nothing is known of the dataset's pictures.
    """
    width, height, people = pictures_of(config)
    random = np.random.default_rng(0)

    def encoded() -> bytes:
        # Colours that flow into each other, as in a face of any size, and the noise of a camera.
        rough = random.integers(0, 256, (14, 14, 3), dtype=np.uint8)
        smooth = Image.fromarray(rough).resize((width, height), Image.Resampling.BICUBIC)
        pixels = np.asarray(smooth) + random.normal(scale=2.0, size=(height, width, 3))
        stream = io.BytesIO()
        Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(stream, "JPEG", quality=90)
        return stream.getvalue()

    images = [encoded() for _ in range(count)]
    label = random.integers(0, config.classes or people, count).astype(np.int32)
    points = visible = None
    if config.alignment == "points":
        template = face_template(config)
        left, top, *side = np.array(config.region) * (width, height, width, height)
        share = (template.points + 0.5) / (template.width, template.height)
        where = (left, top) + share * side - 0.5
        points = where + random.normal(scale=0.02, size=(count, 5, 2)) * side
        points, visible = points.astype(np.float32), np.ones((count, 5), bool)
    names = tuple(f"{index}.jpg" for index in range(count))
    fingerprint = digest(images)
    return Identities(images, label, names, fingerprint, points, visible)


def random_faces(config: LandmarksConfig, count: int) -> dict[str, dict[str, np.ndarray]]:
    """`count` faces for each part of the batch, as `faces.examples` gives them."""
    random = np.random.default_rng(0)
    points = SCHEMES[config.scheme].count

    def faces(view: int) -> dict[str, np.ndarray]:
        frame = round(view * FRAME)
        margin = (frame - view) / 2
        where = random.uniform(margin, margin + view - 1, (count, points, 2))
        return {
            "images": random.integers(0, 256, (count, frame, frame, 3), dtype=np.uint8),
            "points": where.astype(np.float32),
            "visible": np.ones((count, points), bool),
        }

    parts = {"labelled": faces(config.image_size)}
    if config.needs_real:
        parts["real"] = faces(config.size)
    return parts


def untrained_degradation(config: degradation.DegradationConfig, folder: Path) -> None:
    """Make `folder` a run folder of G1 as it is before training, for `stage1`."""
    state: Any = jax.jit(degradation.make(config, 1).init)(jax.random.key(0))
    write_json(folder / "config.json", {"task": "degradation", **to_dict(config)})
    save_variables(folder / "last" / "g1.safetensors", state.nets["g1"].evaluation_variables, {})
