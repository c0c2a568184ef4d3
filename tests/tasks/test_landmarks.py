"""Settings of stage 2 at tiny widths: what a step sees, computes, changes and logs."""

from __future__ import annotations

import dataclasses
from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tiny

from lrjax.config import AugmentConfig, CameraConfig
from lrjax.configs.landmarks import get_config
from lrjax.data import degrade
from lrjax.errors import InputError
from lrjax.geometry.points import FIVE
from lrjax.models import weights
from lrjax.models.registry import build
from lrjax.models.s2ld import LandmarkConfig
from lrjax.tasks import landmark_crops, landmarks
from lrjax.tasks.landmarks import LandmarksConfig
from lrjax.training import loop, parallel
from lrjax.training.nets import Nets
from lrjax.training.state import State
from lrjax.training.step import init_state
from lrjax.training.task import Task

pytestmark = pytest.mark.usefixtures("quick_compile")

NOBODY = Nets({}, {})  # where nothing is asked of any network


@dataclasses.dataclass(frozen=True)
class Stepped:
    """One step of a setting."""

    config: LandmarksConfig
    task: Task
    data: dict[str, Any]
    before: State
    after: State
    metrics: dict[str, float]


# S4, the pretrained network and stage 1 step in test_devices.
@pytest.fixture(
    scope="module", params=["s1", "s2", "hr", pytest.param("s3", marks=pytest.mark.slow)]
)
def stepped(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Stepped:
    """A step of each setting, with the paper's optimiser."""
    config = tiny.shrunk(get_config(request.param))
    if config.degradation == "generator":
        run = tiny.stage1_run(tmp_path_factory.mktemp("stage1"))
        config = dataclasses.replace(config, stage1=str(run))
    task = landmarks.make(config, 10)
    faces, _ = tiny.noise_sources(config)
    data = {name: tiny.examples(faces[name]).arrays for name in task.batch}
    # The true initialisation takes long to compile: once is enough.
    state = init_state(task, jax.random.key(0)) if request.param == "s1" else tiny.start(task)
    before = jax.device_get(state)
    step = loop.compile_step(task, config.train, parallel.make_mesh())
    after, metrics = step(parallel.replicate(state, parallel.make_mesh()), data)
    values = {name: float(value) for name, value in metrics.items()}
    return Stepped(config, task, data, before, jax.device_get(after), values)


def test_a_step_moves_what_is_trained_and_nothing_else(stepped: Stepped) -> None:
    trained = {"g2"} | ({"d2"} if "heatmap" in stepped.config.critics else set())
    frozen = {"g1"} if stepped.config.degradation == "generator" else set()
    assert set(stepped.after.nets) == trained | frozen
    for name in trained:
        old, new = stepped.before.nets[name], stepped.after.nets[name]
        moved = jax.tree.map(lambda a, b: np.abs(a - b).max(), old.params, new.params)
        # Adam's first step is the learning rate, in the direction of the gradient.
        rate = stepped.config.optimizer.learning_rate
        assert max(jax.tree.leaves(moved)) == pytest.approx(rate, rel=1e-2)
        assert np.mean([m > 0 for m in jax.tree.leaves(moved)]) > 0.8
        assert not tiny.same(old.stats, new.stats)
        assert int(jax.tree.leaves(new.opt_state)[0]) == 1
    for name in frozen:
        assert tiny.same(stepped.before.nets[name], stepped.after.nets[name])
    assert int(stepped.after.step) == 1
    assert tiny.same(stepped.before.key, stepped.after.key)


def test_a_step_logs_its_losses_and_their_order(stepped: Stepped) -> None:
    values, config = stepped.metrics, stepped.config
    assert all(np.isfinite(value) for value in values.values())
    names = {"mse", "update/g2"}
    if "heatmap" in config.critics:
        names |= {"kp_real", "kp_fake", "k", "convergence", "update/d2"}
        names |= {"weighted/a_mse", "weighted/b_kp", "weighted/ordered"}
        weighted = [config.a * values["mse"], config.b * values["kp_fake"]]
        assert weighted == pytest.approx([values["weighted/a_mse"], values["weighted/b_kp"]])
        assert values["weighted/ordered"] == float(weighted[0] > weighted[1])
    assert set(values) == names


# Of the other settings, only G1 could make the images again.
@pytest.mark.parametrize("stepped", ["s1"], indirect=True)
def test_the_loss_is_equation_10(stepped: Stepped) -> None:
    config, state = stepped.config, stepped.before
    chosen = loop.batches.draw(loop.batches.order_key(state.key, "labelled"), 0, 12, 4)
    part = {name: value[chosen] for name, value in stepped.data["labelled"].items()}
    sharp = dataclasses.replace(config, degradation="none")
    crops, points, visible = jax.jit(partial(landmark_crops.labelled, sharp, NOBODY))(
        state, part | {"example_index": jnp.arange(4)}
    )
    images = degrade.subsample((crops + 1) * 127.5, config.factor) / 127.5 - 1
    module = build(config.g2).module
    forward = jax.jit(partial(module.apply, train=True, mutable=["batch_stats"]))
    maps, _ = forward(state.nets["g2"].variables, images)
    size, count = config.size, points.shape[1]
    y, x = np.mgrid[:size, :size]
    target = np.zeros((4, size, size, count + 1), np.float32)
    mask = np.zeros((4, count + 1), bool)
    for face in range(4):
        for n, (a, b) in enumerate(np.asarray(points[face])):
            inside = min(a, b) > -0.5 and max(a, b) < size - 0.5
            light = np.exp(-((x - a) ** 2 + (y - b) ** 2) / (2 * config.g2.sigma**2))
            target[face, :, :, n] = np.where(light < 0.01, 0, light)
            mask[face, n] = visible[face, n] and inside
        target[face, :, :, -1] = np.maximum(1 - target[face, :, :, :-1].max(-1), 0)
        mask[face, -1] = True
    error = ((np.asarray(maps) - target) ** 2).mean((1, 2))
    expected = np.where(mask, error, 0).sum(-1).mean()
    assert stepped.metrics["mse"] == pytest.approx(float(expected), rel=1e-4)


def test_pictures_are_what_the_network_sees(stepped: Stepped) -> None:
    samples = {
        name: {field: value[:2] for field, value in part.items()} | {"example_index": np.arange(2)}
        for name, part in stepped.data.items()
    }
    task = stepped.task
    shown = jax.eval_shape(
        lambda nets: task.pictures(Nets(task.modules, nets), samples), stepped.before.nets
    )
    size = stepped.config.size
    assert set(shown) == set(stepped.data)
    for sheet in shown.values():
        assert sheet["images"].shape == (2, size, size, 3)
        assert sheet["images"].dtype == np.uint8
        assert sheet["points"].shape == (2, 19, 2)


def dots(points: np.ndarray, side: int) -> np.ndarray:
    """Frames uint8 [B, side, side, 3] of one soft dot each, at points [B, 2]."""
    y, x = np.mgrid[:side, :side]
    squares = np.stack([(x - a) ** 2 + (y - b) ** 2 for a, b in points])
    light = np.round(255 * np.exp(-squares / (2 * 2.5**2)))
    return light[..., None].repeat(3, -1).astype(np.uint8)


def centroids(images: np.ndarray) -> np.ndarray:
    """Where the light of images [B, H, W, 3] is, [B, 2] as (x, y)."""
    light = np.asarray(images)[..., 0]
    total, place = light.sum((1, 2)), np.arange(light.shape[1])
    return np.stack([light.sum(1) @ place, light.sum(2) @ place], axis=-1) / total[:, None]


@pytest.mark.parametrize("flip", [0.0, 1.0])
def test_points_stay_on_the_pixels_from_frame_to_network(flip: float) -> None:
    config = LandmarksConfig(
        image_size=64,
        g2=LandmarkConfig(points="five", size=16),
        degradation="subsample",
        augment=AugmentConfig(rotation=30, scale=(0.8, 1.25), translation=0.05, flip=flip),
    )
    each = np.arange(5)
    points = np.random.default_rng(0).uniform(36, 60, (5, 5, 2)).astype(np.float32)
    part = {
        "images": dots(points[each, each], 96),  # face i shows its point i
        "points": points,
        "visible": np.eye(5, dtype=bool),
        "example_index": np.arange(5),
    }
    crops = jax.jit(partial(landmark_crops.labelled, config, NOBODY))
    shown, moved, visible = crops(State.create({}, {}, jax.random.key(0)), part)
    assert shown.shape == (5, 16, 16, 3)
    point = np.asarray(FIVE.flip) if flip else each
    np.testing.assert_array_equal(visible, np.eye(5, dtype=bool)[:, point])
    np.testing.assert_allclose(centroids(shown + 1), moved[each, point], atol=0.1)
    turned = crops(State.create({}, {}, jax.random.key(1)), part)
    assert np.abs(turned[1] - moved).max() > 1


def test_evaluation_sees_the_middle_of_the_frame() -> None:
    config = LandmarksConfig(image_size=64, g2=LandmarkConfig(size=16), degradation="subsample")
    points = np.random.default_rng(0).uniform(30, 66, (3, 1, 2)).astype(np.float32)
    part = {"images": dots(points[:, 0], 96), "points": points, "example_index": np.arange(3)}
    shown, target = landmark_crops.unaugmented(config, NOBODY, part)
    np.testing.assert_allclose(target, (points - 16 + 0.5) / 4 - 0.5, atol=1e-4)
    np.testing.assert_allclose(centroids(shown + 1), target[:, 0], atol=0.05)


def test_the_error_is_over_visible_points_and_valid_faces(monkeypatch: pytest.MonkeyPatch) -> None:
    g2 = LandmarkConfig(size=16, context=1.25)
    config = LandmarksConfig(image_size=32, g2=g2, degradation="subsample")
    points = np.random.default_rng(0).uniform(10, 30, (4, 68, 2)).astype(np.float32)
    truth = (points - 8 + 0.5) / 2 - 0.5
    off = np.zeros((4, 68, 2))
    off[0] = [3, 4]  # five pixels everywhere
    off[1, :34] = [0, 2]  # two pixels, in half of the points
    off[1, 34:] = 100  # which are invisible
    off[2:] = 50
    visible = np.ones((4, 68), bool)
    visible[1, 34:] = False
    visible[2] = False  # nothing to measure
    found = jnp.asarray(truth + off)
    monkeypatch.setattr(landmarks, "predict", lambda *args: (found, None))
    part = {
        "images": np.zeros((4, 48, 48, 3), np.uint8),
        "points": points,
        "visible": visible,
        "example_index": np.arange(4),
        "valid": np.array([True, True, True, False]),
    }
    sums = landmarks.evaluate(config, NOBODY, part)
    side = 16 / 1.25
    assert sums["count"] == 2
    assert float(sums["nme"]) == pytest.approx((5 + 2) / side, rel=1e-5)


@pytest.mark.parametrize("way", ["none", "subsample", "camera"])
def test_degradations_give_the_networks_range(way: str) -> None:
    config = LandmarksConfig(
        degradation=way,
        image_size=32,
        g2=LandmarkConfig(size=32 if way == "none" else 16),
        camera=CameraConfig(noise=0.0, jpeg=0.0),  # either would leave white a little less than it
    )
    crops = np.random.default_rng(0).uniform(0, 255, (2, 32, 32, 3)).astype(np.float32)
    crops[0] = 255.0
    keys = jax.random.split(jax.random.key(0), 2)
    degraded = jax.jit(partial(landmark_crops.degraded, config, NOBODY))
    images = np.asarray(degraded(crops, keys))
    assert images.shape == (2, config.size, config.size, 3)
    assert images.min() >= -1.0001
    assert images.max() == pytest.approx(1.0, abs=1e-3)


def test_consistency_is_the_distance_to_the_teachers_points() -> None:
    g2 = LandmarkConfig(points="five", size=16, decoder="soft")
    config = LandmarksConfig(g2=g2, objective="integral", degradation="camera")
    middle = np.array([11.5, 11.5])  # of the frame of 24 pixels
    y, x = np.mgrid[:16, :16]

    def peaks(points: np.ndarray) -> jax.Array:
        squares = (x[..., None] - points[:, 0]) ** 2 + (y[..., None] - points[:, 1]) ** 2
        return jnp.asarray(-np.concatenate([squares, squares[..., :1]], -1)[None], jnp.float32)

    plain = np.random.default_rng(0).uniform(5, 10, (5, 2))
    # The crop that the network sees is twice as large around the middle.
    crop_to_frame = jnp.asarray([[[0.5, 0, 0], [0, 0.5, 0]]]) + jnp.asarray(
        [[[0, 0, middle[0] - 3.75], [0, 0, middle[1] - 3.75]]]
    )
    seen = (plain + 4 - (middle - 3.75)) / 0.5
    frames = np.zeros((1, 24, 24, 3), np.uint8)

    class Teacher(Nets):
        """Sees the points where they are in the plain crop."""

        def fixed(self, name: str, *inputs: jax.Array, **options: Any) -> jax.Array:
            assert (name, inputs[0].shape) == ("g2", (1, 16, 16, 3))
            return peaks(plain)

    def loss(maps: jax.Array) -> jax.Array:
        return landmarks.consistency_loss(config, Teacher({}, {}), maps, crop_to_frame, frames)

    run = jax.jit(
        jax.shard_map(
            loss,
            mesh=parallel.make_mesh(),
            in_specs=jax.P(),
            out_specs=jax.P(),
            check_vma=False,
        )
    )
    losses = [float(run(peaks(seen + shift))) for shift in (0.0, 0.5, 1.0)]
    assert losses[0] < 0.05
    assert losses == sorted(losses)
    assert losses[2] > 2 * losses[1]


def test_a_warm_start_takes_weights_and_not_moments(tmp_path: Path) -> None:
    config = tiny.shrunk(LandmarksConfig(degradation="subsample", average=0.9))
    variables = tiny.filled(build(config.g2).shapes(), seed=5)
    weights.save(tmp_path / "last" / "g2.safetensors", config.g2, variables, {})
    warm = dataclasses.replace(config, initial=str(tmp_path))
    state = init_state(landmarks.make(warm, 1), jax.random.key(0))
    net = state.nets["g2"]
    assert tiny.same(net.variables, variables)
    assert tiny.same(net.average, variables["params"])
    assert not any(leaf.any() for leaf in jax.tree.leaves(net.opt_state))
    cold = jax.eval_shape(partial(init_state, landmarks.make(config, 1)), jax.random.key(0))
    assert jax.tree.map(jnp.shape, state.nets) == jax.tree.map(jnp.shape, cold.nets)
    wider = dataclasses.replace(warm, g2=dataclasses.replace(warm.g2, stem=5))
    with pytest.raises(InputError, match=r"do not fit the heatmap_generator .* set initial to"):
        landmarks.make(wider, 1)


def test_people_s_five_points_start_where_they_are_read_off_68(tmp_path: Path) -> None:
    config = tiny.shrunk(LandmarksConfig(degradation="subsample"))
    old = dataclasses.replace(config.g2, points="ibug68")
    variables = tiny.filled(build(old).shapes(), seed=5)
    weights.save(tmp_path / "last" / "g2.safetensors", old, variables, {})
    both = dataclasses.replace(config.g2, points="ibug68_five")
    config = dataclasses.replace(config, g2=both, initial=str(tmp_path), objective="integral")
    task = landmarks.make(config, 1)
    images = np.random.default_rng(0).uniform(-1, 1, (2, both.size, both.size, 3))
    before = np.asarray(build(old).module.apply(variables, images.astype(np.float32), train=False))
    grown = task.players["g2"].variables
    after = np.asarray(build(both).module.apply(grown, images.astype(np.float32), train=False))
    assert after.shape[-1] == 74
    np.testing.assert_allclose(after[..., :68], before[..., :68], atol=1e-5)
    np.testing.assert_allclose(after[..., 73], before[..., 68], atol=1e-5)
    of = [[36, 37, 38, 39, 40, 41], [42, 43, 44, 45, 46, 47], [30], [48], [54]]
    means = np.stack([before[..., group].mean(-1) for group in of], axis=-1)
    np.testing.assert_allclose(after[..., 68:73], means, atol=1e-5)


def test_a_teacher_is_frozen_and_finds_what_is_to_be_found(tmp_path: Path) -> None:
    config = tiny.shrunk(LandmarksConfig(degradation="subsample", objective="integral"))
    wider = dataclasses.replace(config.g2, stem=config.g2.stem + 1)
    variables = tiny.filled(build(wider).shapes(), seed=5)
    weights.save(tmp_path / "last" / "g2.safetensors", wider, variables, {})
    config = dataclasses.replace(config, teacher=str(tmp_path))
    teacher = landmarks.make(config, 1).players["teacher"]
    assert teacher.optimizer is None
    assert tiny.same(teacher.variables, variables)
    other = dataclasses.replace(config.g2, points="five")
    with pytest.raises(InputError, match=r"finds ibug68 on 16 .* find five on 16 .* set teacher"):
        landmarks.make(dataclasses.replace(config, g2=other), 1)


def test_every_face_counts_alike_however_many_points_are_labelled() -> None:
    """The loss of a face with five labels and one with 68 is the mean of what each has alone."""
    config = LandmarksConfig(objective="integral", g2=LandmarkConfig(points="ibug68_five"))
    rng = np.random.default_rng(1)
    maps = jnp.asarray(rng.normal(size=(2, 32, 32, 74)), jnp.float32)
    points = jnp.asarray(rng.uniform(4, 28, (2, 73, 2)), jnp.float32)
    visible = jnp.stack([jnp.arange(73) < 68, jnp.arange(73) >= 68])

    def supervised(maps: jax.Array, points: jax.Array, visible: jax.Array) -> jax.Array:
        return landmarks.supervised_loss(config, maps, maps, maps, points, visible)

    one_device = jax.vmap(supervised, axis_name=parallel.AXIS)

    def loss(rows: slice) -> float:
        return float(one_device(maps[None, rows], points[None, rows], visible[None, rows])[0])

    both = loss(slice(0, 2))
    assert both == pytest.approx((loss(slice(0, 1)) + loss(slice(1, 2))) / 2, rel=1e-5)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"degradation": "subsample", "g2": LandmarkConfig(points="ibug68_five")},
            "need labels of both for each face",
        ),
        ({"degradation": "generator"}, "stage1 is empty but degradation is 'generator'"),
        ({"degradation": "none"}, r"image_size and g2\.size must be equal"),
        (
            {"degradation": "camera", "critics": ("heatmap",), "objective": "integral"},
            "set objective to 'heatmap'",
        ),
        ({"degradation": "camera", "teacher": "pretrained"}, "set objective to 'integral'"),
        ({"degradation": "camera", "consistency": 1.0}, "needs an averaged teacher; set average"),
        (
            {"degradation": "generator", "stage1": "/nowhere"},
            r"no weights file /nowhere; name a run folder or a \.safetensors file",
        ),
    ],
)
def test_what_means_nothing_is_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        landmarks.make(LandmarksConfig(**changes), 10)


def test_native_faces_are_shown_in_their_own_pixels() -> None:
    config = LandmarksConfig(degradation="camera", image_size=32, g2=LandmarkConfig(size=16))
    frames = np.random.default_rng(0).integers(0, 256, (6, 24, 24, 3), dtype=np.uint8)
    part = {"images": frames, "example_index": np.arange(6)}
    state = State.create({}, {}, jax.random.key(0))
    shown, crop_to_frame = landmark_crops.real(config, state, part)
    for frame, crop, transform in zip(frames, shown, np.asarray(crop_to_frame), strict=True):
        x, y = transform[:, 2].astype(int)
        np.testing.assert_array_equal(transform, [[1, 0, x], [0, 1, y]])
        own = frame[y : y + 16, x : x + 16] / 127.5 - 1
        np.testing.assert_allclose(crop, own, atol=1e-6)


def test_critics_see_nothing_where_a_point_is_hidden(monkeypatch: pytest.MonkeyPatch) -> None:
    """True, predicted and native maps are empty in the same channels."""
    config = tiny.shrunk(
        LandmarksConfig(
            degradation="subsample",
            critics=("heatmap", "confidence"),
            g2=LandmarkConfig(points="five"),
        )
    )
    rng = np.random.default_rng(0)
    images = jnp.asarray(rng.uniform(-1, 1, (4, 16, 16, 3)), jnp.float32)
    points = jnp.asarray(rng.uniform(4, 12, (4, 5, 2)), jnp.float32).at[1, 2].set(40.0)
    visible = jnp.ones((4, 5), bool).at[0, 3].set(False)
    monkeypatch.setattr(landmark_crops, "labelled", lambda *args: (images, points, visible))
    monkeypatch.setattr(landmark_crops, "real", lambda *args: (images, None))
    monkeypatch.setattr(landmarks, "mean", lambda metrics: metrics)
    seen = {}

    class Watched(Nets):
        """Predicts something everywhere, and remembers what critics were given."""

        def __call__(self, name: str, *inputs: jax.Array, **options: Any) -> jax.Array:
            if name == "g2":
                return jnp.full((8, 16, 16, 6), 0.5)
            seen[name] = np.asarray(inputs[0])
            return inputs[0] if name == "d2" else inputs[0].mean((1, 2, 3))

    state = State.create({}, landmarks.make(config, 10).loss_state, jax.random.key(0))
    nets = Watched(dict.fromkeys(("g2", "d2", "d3")), {})
    landmarks.losses(config, nets, state, {"labelled": {}, "real": {}})
    hidden = np.zeros((4, 6), bool)
    hidden[0, 3] = hidden[1, 2] = True
    for maps in (*np.split(seen["d2"], 2), *np.split(seen["d3"], 3)):
        np.testing.assert_array_equal(~maps.any((1, 2)), hidden)
