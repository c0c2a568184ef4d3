import dataclasses
import io
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import people
import pytest
from grain import MapDataset
from PIL import Image

from lrjax.benchmark import workload
from lrjax.config import TrainConfig
from lrjax.data import augment, batches
from lrjax.errors import InputError
from lrjax.rng import per_example, stream
from lrjax.tasks import degradation, recognition
from lrjax.tasks.recognition import RecognitionConfig
from lrjax.training import loop, parallel
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


def test_an_untrained_degradation_is_a_run_folder(s4, stage1) -> None:
    assert degradation.run_config(degradation.Path(s4.stage1)) == stage1
    net = degradation.load_net(s4.stage1, "g1")
    assert net.opt_state == ()
    assert net.params["stem"]["kernel"].shape == (3, 3, 4, 4)


@pytest.fixture
def config(monkeypatch: pytest.MonkeyPatch) -> RecognitionConfig:
    """The small network on the pictures of drawn people, aligned by their points."""
    for name in ("RECOGNISERS", "TEMPLATES"):  # to be as they were, afterwards
        monkeypatch.setattr(recognition, name, getattr(recognition, name))
    people.use_small()
    labelled, train = ("synthetic_identities:hr",), TrainConfig(batch_size=4, parallel="mesh")
    return people.config(labelled=labelled, alignment="points", train=train)


def test_random_people_are_pictures_with_points_in_them(config: RecognitionConfig) -> None:
    config = dataclasses.replace(config, region=(0.25, 0.3, 0.5, 0.5))
    found = workload.random_people(config, 5)
    photos = [Image.open(io.BytesIO(data)) for data in found.images]
    assert [(photo.format, photo.size) for photo in photos] == [("JPEG", (112, 112))] * 5
    # Photographs take 0.1 to 0.4 bytes a pixel; noise would take two.
    assert all(0.1 < len(data) / 112**2 < 0.5 for data in found.images)
    assert len(set(found.images)) == 5
    assert 0 <= found.label.min() <= found.label.max() < 30
    # The template's points, in the middle half of the picture.
    template = recognition.face_template(config)
    mean = (template.points + 0.5) / people.SIDE * 56 + (28, 33.6) - 0.5
    np.testing.assert_allclose(found.points, np.broadcast_to(mean, (5, 5, 2)), atol=5)
    assert np.ptp(found.points, axis=0).min() > 0.1
    assert workload.random_people(dataclasses.replace(config, alignment="resize"), 1).points is None


def test_host_and_device_feed_the_same_crops(config: RecognitionConfig, tmp_path: Path) -> None:
    complete, data = workload.faces_to_feed(config, 7, tmp_path)
    assert (complete.classes, complete.holdout) == (30, 0.0)
    assert isinstance(data["device"]["labelled"]["images"], np.ndarray)
    assert isinstance(data["host"]["labelled"]["images"], MapDataset)
    key, count, size = jax.random.key(4), {"labelled": 4}, (people.SIDE, people.SIDE)

    def crops(state: State, parts: dict[str, Any]) -> tuple[jax.Array, jax.Array]:
        part = parts["labelled"]
        keys = per_example(stream(state.key, "crop", state.step), part["example_index"])
        return augment.random_crop(part["images"], keys, *size, complete.mirror), part["label"]

    mesh = parallel.make_mesh(jax.devices()[:1])
    step = loop.from_device(crops, count, 1)
    resident = parallel.parallelise(step, mesh, "mesh", sharded=False, donate=False)
    streamed = parallel.parallelise(crops, mesh, "mesh", sharded=True, donate=False)
    seen = []
    for number, batch in enumerate(batches.from_host(key, data["host"], count, start=0, stop=3)):
        state = State.create({}, {}, key).replace(step=jnp.asarray(number))
        here, there = resident(state, data["device"]), streamed(state, batch)
        jax.tree.map(np.testing.assert_array_equal, here, there)
        seen.append(np.asarray(here[0]))
    assert seen[0].shape == (4, *size, 3)
    assert np.std(seen[0]) > 10
    assert (seen[0] != seen[1]).any()


def test_pictures_that_nothing_is_known_of_are_refused(config: RecognitionConfig) -> None:
    other = dataclasses.replace(config, labelled=("lfw:test",))
    with pytest.raises(InputError, match="pictures of 'lfw'"):
        workload.random_people(other, 1)
