"""What is measured, made in memory: a task, its state, and random faces that feed it.

A step takes as long on noise as on faces, and with random weights as with trained ones, so that a
measurement needs neither data nor runs. Decoding does not: random pictures of people are as large,
and about as long in bytes, as those of the datasets.
"""

from __future__ import annotations

import dataclasses
import io
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import jax
import numpy as np
from PIL import Image

from lrjax.config import override
from lrjax.data.faces import FRAME
from lrjax.data.identities import Identities
from lrjax.data.records import digest
from lrjax.errors import InputError
from lrjax.geometry.points import SCHEMES
from lrjax.models import weights
from lrjax.models.registry import NetworkConfig, build
from lrjax.tasks import data, runs
from lrjax.tasks.landmarks import LandmarksConfig
from lrjax.tasks.recognition import RecognitionConfig
from lrjax.training.state import State
from lrjax.training.step import init_state
from lrjax.training.task import Task

FOREVER = 10**9  # steps that no measurement reaches

Config = LandmarksConfig | RecognitionConfig
AnyConfig = TypeVar("AnyConfig", bound=runs.Config)
Parts = Mapping[str, Mapping[str, Any]]


class Pictures(NamedTuple):
    """What the pictures of a dataset are like: pixels, and how many identities they show."""

    width: int
    height: int
    identities: int


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

# Fields that name a run -> field of that run's configuration that describes the network needed.
NETWORK_OF = {"stage1": "g1", "alignment.landmarks": "g2", "alignment.upsample": "network"}

# Fields that name the run which networks start from; without it they are drawn at random.
INITIAL = ("initial", "initial_refiner", "initial_encoder")


@dataclasses.dataclass(frozen=True)
class Workload:
    """A task that can be trained at once.

    Attributes:
      config: its configuration, complete.
      task: made of it.
      state: before the first step.
      data: feed ("device", "host") -> what a run with that feed would have loaded.
    """

    config: Config
    task: Task
    state: State
    data: Mapping[str, Parts]


def prepare(config: Config, count: int, folder: Path) -> Workload:
    """Make a configuration's task, and `count` random faces for each part of its batches.

    The host feed of landmarks is of the arrays that the device holds; that of recognition of
    pictures, which are decoded and aligned when they are read, where no network aligns them.

    Args:
      config: landmarks or recognition; runs that it names are replaced by random networks.
      count: of faces.
      folder: for those networks and for aligned faces; it is read as long as the workload is used.

    Raises:
      InputError: the configuration is not valid, or nothing is known of its dataset's pictures.
    """
    config = without_runs(config, folder)
    fed: Mapping[str, Parts]
    if isinstance(config, LandmarksConfig):
        faces = random_faces(config, count)
        fed = {"device": faces, "host": faces}
    else:
        config.validate()
        # Every picture is learnt from, and most people of a large dataset have none in memory.
        classes = config.classes or pictures_of(config).identities
        config = dataclasses.replace(config, holdout=0.0, classes=classes)
        fed = _aligned_by_feed(config, random_identities(config, count), folder)
    task = runs.TASKS[runs.task_name(config)].make(config, FOREVER)
    return Workload(config, task, init_state(task, jax.random.key(config.train.seed)), fed)


def without_runs(config: AnyConfig, folder: Path) -> AnyConfig:
    """Put files of random networks into `folder`, and their names in the place of runs' names."""
    drawn: dict[str, Any] = {
        field: None for field in INITIAL if runs.names_run(getattr(config, field, None) or "")
    }
    config = dataclasses.replace(config, **drawn)
    for field, network in NETWORK_OF.items():
        value: Any = config
        for name in field.split("."):
            value = getattr(value, name, None)
        if value and runs.names_run(value):
            path = random_network(getattr(runs.find_config(value), network), folder)
            config = override(config, [f"{field}={json.dumps(str(path))}"])
    return config


def random_network(config: NetworkConfig, folder: Path) -> Path:
    """Write the weights file of a network as it is before training."""
    path = folder / f"{config.name}.safetensors"
    weights.save(path, config, build(config).init(jax.random.key(0)), {"step": 0})
    return path


def _aligned_by_feed(
    config: RecognitionConfig, identities: Identities, folder: Path
) -> dict[str, Parts]:
    fed: dict[str, Parts] = {}
    for feed in ("device", "host"):
        one = dataclasses.replace(config, train=dataclasses.replace(config.train, feed=feed))
        label = {"label": identities.label}
        parts, _ = data.aligned(one, one.alignment, identities, one.template, label, folder)
        fed[feed] = {name: dict(part.arrays) for name, part in parts.items()}
    return fed


def pictures_of(config: RecognitionConfig) -> Pictures:
    """Look up what the pictures of the first dataset in `labelled` are like.

    Raises:
      InputError: nothing is known of them.
    """
    name = config.labelled[0].partition(":")[0]
    if name not in PICTURES:
        raise InputError(
            f"How large the pictures of {name!r} are is not known here; set labelled to one of "
            f"{', '.join(PICTURES)}."
        )
    return PICTURES[name]


def random_identities(config: RecognitionConfig, count: int) -> Identities:
    """Draw `count` JPEG pictures, with five points where faces are aligned by points.

    Raises:
      InputError: nothing is known of the dataset's pictures.
    """
    width, height, identities = pictures_of(config)
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
    label = random.integers(0, config.classes or identities, count).astype(np.int32)
    points = visible = None
    if config.alignment.landmarks == "points":
        template = config.template
        left, top, *side = np.array(config.alignment.region) * (width, height, width, height)
        share = (template.points + 0.5) / (template.width, template.height)
        where = (left, top) + share * side - 0.5
        points = where + random.normal(scale=0.02, size=(count, 5, 2)) * side
        points, visible = points.astype(np.float32), np.ones((count, 5), bool)
    names = tuple(f"{index}.jpg" for index in range(count))
    return Identities(images, label, names, digest(images), points, visible)


def random_faces(config: LandmarksConfig, count: int) -> dict[str, dict[str, np.ndarray]]:
    """Draw `count` faces for each part of a batch, as a run loads them."""
    random = np.random.default_rng(0)

    def faces(size: int) -> dict[str, np.ndarray]:
        images, points, visible = face_shapes(size, config.scheme).values()
        margin = (images.shape[0] - size) / 2
        where = random.uniform(margin, margin + size - 1, (count, *points.shape))
        return {
            "images": random.integers(0, 256, (count, *images.shape), dtype=np.uint8),
            "points": where.astype(np.float32),
            "visible": np.ones((count, *visible.shape), bool),
        }

    parts = {"labelled": faces(config.image_size)}
    if config.needs_real:
        parts["real"] = faces(config.size)
    return parts


def face_shapes(size: int, scheme: str) -> dict[str, jax.ShapeDtypeStruct]:
    """Give shape and type of each field of a face with landmarks, for views of `size` pixels."""
    frame, points = round(size * FRAME), SCHEMES[scheme].count
    return {
        "images": jax.ShapeDtypeStruct((frame, frame, 3), np.uint8),
        "points": jax.ShapeDtypeStruct((points, 2), np.float32),
        "visible": jax.ShapeDtypeStruct((points,), np.bool_),
    }


def person_shapes(config: RecognitionConfig) -> dict[str, jax.ShapeDtypeStruct]:
    """Give shape and type of each field of an aligned face, from which crops are taken.

    Raises:
      InputError: there is a teacher, and the configuration does not say how long its features are.
    """
    template, edge = config.template, 2 * config.border
    images = (template.height + edge, template.width + edge, 3)
    known = {"label": jax.ShapeDtypeStruct((), np.int32)}
    if config.teacher is not None:
        known = {"teacher": jax.ShapeDtypeStruct((config.known_classes,), np.float32)}
    return {"images": jax.ShapeDtypeStruct(images, np.uint8)} | known
