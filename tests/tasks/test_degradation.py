"""Stage 1: what it shows, measures and refuses. Its step is in test_devices."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest
import tiny

from lrjax.config import HighToLowConfig
from lrjax.errors import InputError
from lrjax.tasks import degradation
from lrjax.tasks.degradation import DegradationConfig
from lrjax.training.state import State
from lrjax.training.weights import write_json

pytestmark = pytest.mark.usefixtures("quick_compile")


def test_the_error_is_equation_4_on_valid_faces(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    made, wanted = rng.uniform(-1, 1, (2, 3, 8, 8, 3)).astype(np.float32)
    shown = {"generated": made, "subsampled": wanted}
    monkeypatch.setattr(degradation, "rows", lambda *args: shown)
    state = State.create({"g1": None}, {}, jax.random.key(0))
    part = {"images": None, "example_index": None, "valid": np.array([True, False, True])}
    sums = degradation._evaluate(DegradationConfig(), None, state, part)
    expected = ((made - wanted) ** 2).mean((1, 2, 3))
    assert sums["count"] == 2
    assert float(sums["pixel"]) == pytest.approx(expected[0] + expected[2], rel=1e-5)


def test_rows_are_the_face_its_mean_and_what_g1_makes_of_it(tmp_path: Path) -> None:
    config = tiny.shrunk(DegradationConfig())
    net = degradation.load_net(tiny.stage1_run(tmp_path), "g1")
    frames = np.random.default_rng(0).integers(0, 256, (2, 48, 48, 3), dtype=np.uint8)
    module = degradation.generator_module(config)

    @jax.jit
    def rows(frames: np.ndarray, place: np.ndarray) -> dict[str, jax.Array]:
        return degradation.rows(config, module, net, frames, place)

    shown = rows(frames, np.arange(2))
    sharp = frames[:, 8:40, 8:40] / 127.5 - 1
    np.testing.assert_allclose(shown["sharp"], sharp, atol=1e-5)
    mean = sharp.reshape(2, 16, 2, 16, 2, 3).mean((2, 4))
    np.testing.assert_allclose(shown["subsampled"], mean, atol=1e-5)
    assert shown["generated"].shape == (2, 16, 16, 3)
    assert np.abs(shown["generated"]).max() <= 1
    # The same face looks the same in every evaluation, and otherwise at another place.
    np.testing.assert_array_equal(rows(frames, np.arange(2))["generated"], shown["generated"])
    assert (rows(frames, np.arange(2) + 5)["generated"] != shown["generated"]).any()


def test_a_run_degrades_with_the_states_weights_and_the_keys_noise(tmp_path: Path) -> None:
    run = tiny.stage1_run(tmp_path)
    degrade = jax.jit(degradation.degrader(run))
    net = degradation.load_net(run, "g1")
    state = State.create({"g1": net}, {}, jax.random.key(0))
    views = np.random.default_rng(0).uniform(-1, 1, (2, 32, 32, 3)).astype(np.float32)
    keys = jax.random.split(jax.random.key(0), 3)
    images = degrade(state, views, keys[:2])
    assert images.shape == (2, 16, 16, 3)
    np.testing.assert_array_equal(degrade(state, views, keys[:2]), images)
    assert (np.asarray(degrade(state, views, keys[1:])) != images).any()
    other = net.replace(params=jax.tree.map(lambda p: 2 * p, net.params))
    state = State.create({"g1": other}, {}, jax.random.key(0))
    assert (np.asarray(degrade(state, views, keys[:2])) != images).any()


def test_sizes_must_fit_the_generator() -> None:
    with pytest.raises(InputError, match="divides image_size 128 by 4, which is not the size 16"):
        degradation.make(DegradationConfig(size=16), 10)
    deeper = HighToLowConfig(decoder=(256, 128))
    degradation.make(DegradationConfig(size=16, generator=deeper), 10)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (None, "no trained degradation in .* set stage1 to its run folder"),
        ({"task": "landmarks"}, "is not a degradation; set stage1 to one that is"),
        ({"task": "degradation", "alpa": 1}, "DegradationConfig is not valid: .*alpa"),
    ],
)
def test_what_is_no_stage_one_is_refused(
    values: dict[str, Any] | None, message: str, tmp_path: Path
) -> None:
    if values is not None:
        write_json(tmp_path / "config.json", values)
    with pytest.raises(InputError, match=message):
        degradation.degrader(tmp_path)


def test_its_configuration_is_read_back(tmp_path: Path) -> None:
    config = tiny.shrunk(DegradationConfig())
    assert degradation.run_config(tiny.stage1_run(tmp_path)) == config
    assert json.loads((tmp_path / "config.json").read_text())["task"] == "degradation"
