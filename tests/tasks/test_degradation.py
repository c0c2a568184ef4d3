"""Stage 1: what it shows, measures and refuses. Its step is in test_devices."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tiny
from scipy.ndimage import gaussian_filter

from lrjax.errors import InputError
from lrjax.models import weights
from lrjax.models.registry import NetworkConfig, build
from lrjax.models.s2ld import CriticConfig, DegraderConfig
from lrjax.tasks import degradation, landmarks, runs
from lrjax.tasks.degradation import DegradationConfig
from lrjax.tasks.landmarks import LandmarksConfig
from lrjax.tasks.runs import find_config
from lrjax.training.nets import Nets
from lrjax.training.state import Net, State

pytestmark = pytest.mark.usefixtures("quick_compile")


def test_the_error_is_equation_4_on_valid_faces(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    made = rng.uniform(-1, 1, (3, 32, 32, 3)).astype(np.float32)
    sharp = rng.uniform(-1, 1, (3, 128, 128, 3)).astype(np.float32)
    wanted = sharp.reshape(3, 32, 4, 32, 4, 3).mean((2, 4))
    shown = {"generated": made, "sharp": sharp}
    monkeypatch.setattr(degradation, "rows", lambda *args: shown)
    part = {"images": None, "example_index": None, "valid": np.array([True, False, True])}
    sums = degradation.evaluate(DegradationConfig(), Nets({}, {}), part)
    expected = ((made - wanted) ** 2).mean((1, 2, 3))
    assert sums["count"] == 2
    assert float(sums["pixel"]) == pytest.approx(expected[0] + expected[2], rel=1e-5)


def nets_of(run: Path) -> Nets:
    """The frozen G1 of a run."""
    g1 = degradation.player(str(run))
    variables = dict(g1.variables)
    return Nets({"g1": g1.network.module}, {"g1": Net(variables.pop("params"), variables)})


def test_rows_are_the_face_its_smoothed_mean_and_what_g1_makes_of_it(tmp_path: Path) -> None:
    config = tiny.shrunk(DegradationConfig())
    frames = np.random.default_rng(0).integers(0, 256, (2, 48, 48, 3), dtype=np.uint8)
    rows = jax.jit(partial(degradation.rows, config, nets_of(tiny.stage1_run(tmp_path))))
    shown = rows(frames, np.arange(2))
    sharp = frames[:, 8:40, 8:40] / 127.5 - 1
    np.testing.assert_allclose(shown["sharp"], sharp, atol=1e-5)
    smooth = gaussian_filter(sharp, (0, 1, 1, 0), truncate=8)
    mean = smooth.reshape(2, 16, 2, 16, 2, 3).mean((2, 4))
    inner = np.asarray(shown["subsampled"])[:, 4:-4, 4:-4]  # where no border plays a part
    np.testing.assert_allclose(inner, mean[:, 4:-4, 4:-4], atol=1e-3)
    assert shown["generated"].shape == (2, 16, 16, 3)
    assert np.abs(shown["generated"]).max() <= 1
    # The same face looks the same in every evaluation, and otherwise at another place.
    np.testing.assert_array_equal(rows(frames, np.arange(2))["generated"], shown["generated"])
    assert (rows(frames, np.arange(2) + 5)["generated"] != shown["generated"]).any()


def test_a_run_degrades_with_its_weights_and_the_keys_noise(tmp_path: Path) -> None:
    nets = nets_of(tiny.stage1_run(tmp_path))
    degrade = jax.jit(partial(degradation.degrade, nets))
    crops = np.random.default_rng(0).uniform(-1, 1, (2, 32, 32, 3)).astype(np.float32)
    keys = jax.random.split(jax.random.key(0), 3)
    images = degrade(crops, keys[:2])
    assert images.shape == (2, 16, 16, 3)
    np.testing.assert_array_equal(degrade(crops, keys[:2]), images)
    assert (np.asarray(degrade(crops, keys[1:])) != images).any()
    noise = np.stack([jax.random.normal(key, (4,)) for key in keys[:2]])
    config = tiny.shrunk(DegradationConfig()).g1
    variables = tiny.filled(build(config).shapes())
    by_hand = jax.jit(partial(build(config).module.apply, train=False))(variables, crops, noise)
    np.testing.assert_allclose(images, by_hand, atol=1e-5)


def test_sizes_must_fit_the_generator(tmp_path: Path) -> None:
    assert DegraderConfig().size == 32
    deeper = DegradationConfig(g1=DegraderConfig(decoder=(256, 128)))
    assert (deeper.image_size, deeper.size) == (128, 16)
    task = degradation.make(deeper, 10)
    assert task.players["d1"].network.inputs == ((16, 16, 3),)
    made = jax.eval_shape(
        partial(task.modules["g1"].apply, train=False),
        task.players["g1"].network.shapes(),
        *(np.zeros((1, *shape), np.float32) for shape in task.players["g1"].network.inputs),
    )
    assert made.shape == (1, 16, 16, 3)

    config = LandmarksConfig(image_size=64, stage1=str(tiny.stage1_run(tmp_path)))
    with pytest.raises(
        InputError, match="generator in stage1 makes 16 pixels of 32, and not 32 of 64"
    ):
        landmarks.make(config, 10)


@pytest.mark.parametrize(
    ("network", "message"),
    [
        (None, r"holds no trained g1 \(best/g1.safetensors or last/g1.safetensors\); name the"),
        (
            tiny.shrunk(LandmarksConfig()).g2,
            r"holds a landmark network .*; name one with a network that degrades faces",
        ),
        (CriticConfig(), r"holds a critic \(image_discriminator\); name one with"),
    ],
)
def test_what_is_no_stage_one_is_refused(
    network: NetworkConfig | None, message: str, tmp_path: Path
) -> None:
    if network is not None:
        weights.save(tmp_path / "last" / "g1.safetensors", network, {"params": {}}, {})
    with pytest.raises(InputError, match=message):
        degradation.player(str(tmp_path))


def test_its_configuration_is_read_back(tmp_path: Path) -> None:
    config = tiny.shrunk(DegradationConfig())
    assert runs.load_config(tiny.stage1_run(tmp_path)) == config
    assert json.loads((tmp_path / "config.json").read_text())["task"] == "degradation"
    assert degradation.player(str(tmp_path)).network.config == config.g1
    (tmp_path / "config.json").write_text('{"task": "degradation", "alpa": 1}')
    with pytest.raises(InputError, match=r"is not valid: .*alpa"):
        runs.load_config(tmp_path)


def test_the_critic_sees_real_faces_in_their_own_pixels() -> None:
    config = tiny.shrunk(DegradationConfig())
    frames = np.random.default_rng(0).integers(0, 256, (6, 24, 24, 3), dtype=np.uint8)
    part = {"images": frames, "example_index": np.arange(6)}
    state = State.create({}, {}, jax.random.key(0))
    real = np.asarray(degradation.real_crops(config, state, part))
    assert real.shape == (6, 16, 16, 3)
    bytes_ = np.asarray((real + 1) * 127.5)
    np.testing.assert_allclose(bytes_, bytes_.round(), atol=1e-4)
    # Of white noise, whatever is interpolated loses variance.
    assert bytes_.var() > 0.95 * frames.var()


def test_the_pull_of_a_term_is_the_length_of_its_gradient_at_a_face() -> None:
    config = DegradationConfig(alpha=0.5, beta=3.0)
    rng = np.random.default_rng(0)
    fake, wanted = rng.uniform(-1, 1, (2, 4, 8, 8, 3)).astype(np.float32)
    slope = rng.normal(size=(8, 8, 3)).astype(np.float32)

    class Plane(Nets):
        """D1 is linear, so that its gradient is known."""

        def fixed(self, name: str, *inputs: jax.Array, **options: object) -> jax.Array:
            return (inputs[0] * slope).sum((1, 2, 3))

    found = degradation.pulls(config, Plane({}, {}), fake, wanted)
    assert float(found["pull/alpha_gan"]) == pytest.approx(
        0.5 * np.sqrt((slope**2).sum()), rel=1e-5
    )
    lengths = np.sqrt(((2 * (fake - wanted) / slope.size) ** 2).sum((1, 2, 3)))
    assert float(found["pull/beta_pixel"]) == pytest.approx(3.0 * lengths.mean(), rel=1e-5)


def test_the_gan_term_pulls_more_than_the_pixel_term_from_the_first_step_on() -> None:
    """By an untrained D1, of what G1 might make of a face at first."""
    config = find_config("degradation:small")
    d1 = build(config.d1, inputs=((32, 32, 3),))
    variables = d1.init(jax.random.key(0))
    nets = Nets({"d1": d1.module}, {"d1": Net(variables.pop("params"), variables)})
    rng = np.random.default_rng(0)
    wanted = rng.uniform(-1, 1, (1, 8, 8, 3)).repeat(4, 1).repeat(4, 2).astype(np.float32)
    fake = (wanted + 0.5 * rng.choice([-1, 1], wanted.shape)).astype(np.float32)
    found = degradation.pulls(config, nets, jnp.asarray(fake), jnp.asarray(wanted))
    assert found["pull/alpha_gan"] > found["pull/beta_pixel"]
