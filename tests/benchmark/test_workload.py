import dataclasses
import io
from pathlib import Path
from typing import Any

import chex
import jax
import jax.numpy as jnp
import numpy as np
import people
import pytest
from grain import MapDataset
from PIL import Image

from lrjax.benchmark import workload
from lrjax.config import AlignmentConfig, TrainConfig
from lrjax.data import augment, batches
from lrjax.errors import InputError
from lrjax.models import weights
from lrjax.rng import per_example, stream
from lrjax.tasks.recognition import RecognitionConfig
from lrjax.tasks.runs import find_config
from lrjax.training import parallel
from lrjax.training.state import State


def test_random_faces_are_what_a_run_would_load(s4) -> None:
    data = workload.random_faces(s4, 3)
    assert set(data) == {"labelled", "real"}
    assert data["labelled"]["images"].shape == (3, 48, 48, 3)
    assert data["real"]["images"].shape == (3, 12, 12, 3)
    assert data["labelled"]["images"].dtype == np.uint8
    points = data["labelled"]["points"]
    assert points.shape == (3, 5, 2)
    assert points.min() >= 8
    assert points.max() <= 39


def test_a_random_network_is_a_weights_file(s4, g1) -> None:
    loaded = weights.load(s4.stage1, "g1", ("degrader",))
    assert loaded.network.config == g1
    assert loaded.variables["params"]["stem"]["kernel"].shape == (3, 3, 4, 4)


@pytest.mark.usefixtures("quick_compile")
def test_random_networks_stand_for_runs(tmp_path: Path) -> None:
    config = find_config("landmarks:s4-quick")
    assert config.stage1 == "degradation:quick"
    found = workload.without_runs(config, tmp_path)
    assert found.initial is None
    g1 = weights.load(found.stage1, "g1", ("degrader",)).network.config
    assert g1 == find_config("degradation:quick").g1
    encoder = RecognitionConfig(alignment=AlignmentConfig("landmarks:s4-quick"))
    aligned = workload.without_runs(encoder, tmp_path).alignment
    g2 = weights.load(aligned.landmarks, "g2", ("landmarks",)).network.config
    assert g2 == config.g2
    for kept in (
        dataclasses.replace(encoder, alignment=AlignmentConfig("points")),
        dataclasses.replace(config, stage1="runs/mine", initial="runs/other"),
    ):
        assert workload.without_runs(kept, tmp_path) == kept


@pytest.fixture
def config() -> RecognitionConfig:
    """The small network on the pictures of drawn people, aligned by their points."""
    people.use_small()
    return people.config(
        labelled=("synthetic_identities:hr",),
        alignment=AlignmentConfig("points"),
        train=TrainConfig(batch_size=4, parallel="mesh"),
    )


def test_random_identities_are_pictures_with_points_in_them(config: RecognitionConfig) -> None:
    region = AlignmentConfig("points", region=(0.25, 0.3, 0.5, 0.5))
    found = workload.random_identities(dataclasses.replace(config, alignment=region), 5)
    photos = [Image.open(io.BytesIO(data)) for data in found.images]
    assert [(photo.format, photo.size) for photo in photos] == [("JPEG", (112, 112))] * 5
    # Photographs take 0.1 to 0.4 bytes a pixel; noise would take two.
    assert all(0.1 < len(data) / 112**2 < 0.5 for data in found.images)
    assert len(set(found.images)) == 5
    assert 0 <= found.label.min() <= found.label.max() < 30
    # The template's points, in the middle half of the picture.
    mean = (config.template.points + 0.5) / people.SIDE * 56 + (28, 33.6) - 0.5
    np.testing.assert_allclose(found.points, np.broadcast_to(mean, (5, 5, 2)), atol=5)
    assert np.ptp(found.points, axis=0).min() > 0.1
    resized = dataclasses.replace(config, alignment=AlignmentConfig("resize"))
    assert workload.random_identities(resized, 1).points is None


def test_host_and_device_feed_the_same_crops(config: RecognitionConfig, tmp_path: Path) -> None:
    work = workload.prepare(config, 7, tmp_path)
    complete, data = work.config, work.data
    assert (complete.classes, complete.holdout) == (30, 0.0)
    assert isinstance(data["device"]["labelled"]["images"], np.ndarray)
    assert isinstance(data["host"]["labelled"]["images"], MapDataset)
    key, count, size = jax.random.key(4), {"labelled": 4}, (people.SIDE, people.SIDE)

    def crops(state: State, parts: dict[str, Any]) -> tuple[jax.Array, jax.Array]:
        part = parts["labelled"]
        keys = per_example(stream(state.key, "crop", state.step), part["example_index"])
        return augment.random_crop(part["images"], keys, *size, complete.mirror), part["label"]

    def resident_crops(state: State, arrays: dict[str, Any]) -> tuple[jax.Array, jax.Array]:
        return crops(state, batches.shard_at(state.key, state.step, arrays, count, 0, 1))

    mesh = parallel.make_mesh(jax.devices()[:1])
    resident = parallel.parallelise(resident_crops, mesh, "mesh", sharded=False, donate=False)
    streamed = parallel.parallelise(crops, mesh, "mesh", sharded=True, donate=False)
    seen = []
    for number, batch in enumerate(batches.from_host(key, data["host"], count, start=0, stop=3)):
        state = State.create({}, {}, key).replace(step=jnp.asarray(number))
        here, there = resident(state, data["device"]), streamed(state, batch)
        chex.assert_trees_all_equal(here, there)
        seen.append(np.asarray(here[0]))
    assert seen[0].shape == (4, *size, 3)
    assert np.std(seen[0]) > 10
    assert (seen[0] != seen[1]).any()


def test_pictures_that_nothing_is_known_of_are_refused(config: RecognitionConfig) -> None:
    other = dataclasses.replace(config, labelled=("lfw:test",))
    with pytest.raises(InputError, match="pictures of 'lfw'"):
        workload.random_identities(other, 1)
