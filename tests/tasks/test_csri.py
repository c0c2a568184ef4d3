"""CSRI with small networks: what its branches see, lose and change."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import chex
import jax
import jax.numpy as jnp
import numpy as np
import people
import pytest
import tiny
from PIL import Image

from lrjax.errors import InputError
from lrjax.geometry.templates import TEMPLATES
from lrjax.inference.encoder import FaceEncoder
from lrjax.models.encoders import EncoderConfig
from lrjax.models.registry import build
from lrjax.models.upsamplers import SRCNNConfig
from lrjax.tasks import csri, data, run_folder, runs
from lrjax.tasks.csri import CSRIConfig, branches
from lrjax.training import parallel
from lrjax.training.nets import Nets
from lrjax.training.parallel import AXIS
from lrjax.training.step import init_state, make_step

pytestmark = pytest.mark.usefixtures("quick_compile")

CONFIG = CSRIConfig(
    labelled=("celeba:all",),
    classes=3,
    native=("tinyface:train",),
    native_classes=2,
    holdout=0.2,
    refiner=SRCNNConfig(width=4, residual=True, size=(5, 4), image_size=(16, 16)),
    network=EncoderConfig("small", dropout=0.3),
    shift=1 / 16,
    optimizer=dataclasses.replace(people.DESCENT, weight_decay=0.0, groups=()),
    train=tiny.train_config(batch_size=8, parallel="mesh"),
)
PLAIN = dataclasses.replace(
    CONFIG, network=EncoderConfig("small", dropout=0.0), shift=0.0, mirror=0.0
)


people.use_small()


def batch(config: CSRIConfig, count: int) -> dict[str, dict[str, np.ndarray]]:
    """`count` faces for each branch."""
    return {
        name: {k: v[:count] for k, v in people.examples(branch, seed=i).arrays.items()}
        | {"example_index": np.arange(count)}
        for i, (name, branch) in enumerate(branches(config).items())
    }


def stepped(config: CSRIConfig, state: Any = None) -> tuple[Any, Any, dict[str, Any]]:
    """(state before, state after, metrics) of one step, and what it saw."""
    task = csri.make(config, 10)
    state = init_state(task, jax.random.key(3)) if state is None else state
    mesh = parallel.make_mesh()
    step = parallel.parallelise(make_step(task), mesh, "mesh", sharded=True, donate=False)
    seen = batch(config, next(iter(task.batch.values())))
    new, metrics = step(parallel.replicate(state, mesh), seen)
    return state, new, jax.device_get(metrics)


def down_up(images: np.ndarray) -> np.ndarray:
    """Shrunk to 5 × 4 pixels and enlarged again by Pillow."""

    def one(channel: np.ndarray) -> np.ndarray:
        image = Image.fromarray(channel.astype(np.float32))
        small = np.clip(np.asarray(image.resize((4, 5), Image.Resampling.BICUBIC)), 0, 255)
        large = Image.fromarray(small).resize((16, 16), Image.Resampling.BICUBIC)
        return np.clip(np.asarray(large), 0, 255)

    return np.stack([np.stack([one(face[..., c]) for c in range(3)], -1) for face in images])


def test_a_step_adds_both_branches_and_the_weighted_pixels() -> None:
    state, new, values = stepped(PLAIN)
    parts = batch(PLAIN, 4)
    shown = np.concatenate([down_up(parts["labelled"]["images"]), parts["native"]["images"]])
    nets = state.nets
    refined = build(PLAIN.refiner).module.apply(
        nets["upsampler"].variables, shown / 127.5 - 1, train=False
    )
    features, _ = build(PLAIN.network).module.apply(
        nets["encoder"].variables, refined, train=True, mutable=["batch_stats"]
    )

    def error(features: Any, name: str, labels: np.ndarray) -> float:
        weights = nets[name].params
        logits = np.asarray(features @ weights["kernel"] + weights["bias"], np.float64)
        shares = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
        return -np.log(shares[np.arange(4), labels]).mean()

    synthetic = error(features[:4], "classifier", parts["labelled"]["label"])
    native = error(features[4:], "native_classifier", parts["native"]["label"])
    sharp = parts["labelled"]["images"] / 127.5 - 1
    # Caffe: half of the sum over the batch, by its size, of pixels (x - 127.5) / 128.
    pixels = 0.5 * np.square((np.asarray(refined[:4]) - sharp) * 127.5 / 128).sum() / 4
    assert values["labelled/cross_entropy"] == pytest.approx(synthetic, rel=1e-3)
    assert values["native/cross_entropy"] == pytest.approx(native, rel=1e-3)
    assert values["sr"] == pytest.approx(pixels, rel=1e-3)
    assert values["loss"] == pytest.approx(synthetic + native + 0.003 * pixels, rel=1e-3)
    assert values["weighted/sr_to_identity"] == pytest.approx(
        0.003 * pixels / (synthetic + native), rel=1e-3
    )
    for name in ("upsampler", "encoder", "classifier", "native_classifier"):
        before, after = jax.device_get((nets[name].params, new.nets[name].params))
        assert any(
            (a != b).any() for a, b in zip(*map(jax.tree.leaves, (before, after)), strict=True)
        ), name


def test_faces_are_refined_at_the_refiners_size_and_then_resized_to_the_encoders(
    tmp_path: Path,
) -> None:
    refiner = dataclasses.replace(PLAIN.refiner, image_size=(12, 8))
    config = dataclasses.replace(PLAIN, refiner=refiner, labelled=(), classes=None)
    faces = batch(config, 8)["native"]
    assert faces["images"].shape == (8, 12, 8, 3)
    template = branches(config)["native"].template
    np.testing.assert_allclose(
        (template.points + 0.5) * (16 / 8, 16 / 12) - 0.5, TEMPLATES["small"].points
    )
    task = csri.make(config, 10)
    state = init_state(task, jax.random.key(3))
    refined = build(refiner).module.apply(
        state.nets["upsampler"].variables, faces["images"] / 127.5 - 1, train=False
    )
    bands = [
        [
            np.asarray(Image.fromarray(band).resize((16, 16), Image.Resampling.BICUBIC))
            for band in np.moveaxis(np.asarray(face), -1, 0)
        ]
        for face in refined
    ]
    large = np.moveaxis(np.array(bands), 1, -1)
    encoder = build(config.network).module
    features, _ = encoder.apply(
        state.nets["encoder"].variables, large, train=True, mutable=["batch_stats"]
    )
    weights = state.nets["native_classifier"].params
    logits = np.asarray(features @ weights["kernel"] + weights["bias"], np.float64)
    shares = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    expected = -np.log(shares[np.arange(8), faces["label"]]).mean()
    _, _, values = stepped(config, state)
    assert values["native/cross_entropy"] == pytest.approx(expected, rel=1e-3)

    run_folder.weights_writer(tmp_path, task, "csri")(state, "last")
    found = FaceEncoder.load(tmp_path, "last")
    assert (found.template.height, found.template.width) == (12, 8)
    features = encoder.apply(state.nets["encoder"].variables, large, train=False)
    embedded = found.embed(faces["images"], "none", 8)
    np.testing.assert_allclose(embedded, features, rtol=1e-3, atol=1e-4)


def test_pixels_are_learned_on_when_everybody_is_known_for_sure() -> None:
    """No metric is infinite then, which would keep the old state."""
    joint = dataclasses.replace(PLAIN, native=(), native_classes=None)
    state = init_state(csri.make(joint, 10), jax.random.key(3))
    sure = state.nets["classifier"]
    biases = jnp.array([1e6, 0.0, 0.0])
    params = {"kernel": 0 * sure.params["kernel"], "bias": biases}
    known = state.replace(nets=state.nets | {"classifier": sure.replace(params=params)})
    seen = batch(joint, 8)
    seen["labelled"]["label"] = np.zeros(8, np.int32)
    task = csri.make(joint, 10)
    lanes = jax.jit(jax.vmap(make_step(task), (None, 0), axis_name=AXIS))
    new, metrics = jax.device_get(lanes(known, jax.tree.map(lambda x: x[None], seen)))
    assert metrics["labelled/cross_entropy"] == 0
    assert metrics["weighted/sr"] > 0
    assert all(np.isfinite(value).all() for value in metrics.values())
    assert new.step == 1


def test_two_devices_learn_as_one() -> None:
    # Two lanes stand for devices.
    task = csri.make(dataclasses.replace(CONFIG, centre=0.1), 10)
    state = init_state(task, jax.random.key(3))
    seen = batch(CONFIG, 4)
    lanes = jax.jit(jax.vmap(make_step(task), (None, 0), axis_name=AXIS))
    found = []
    for count in (1, 2):
        split = jax.tree.map(lambda x, n=count: x.reshape(n, -1, *x.shape[1:]), seen)
        new, metrics = jax.device_get(lanes(state, split))
        found.append(jax.tree.map(lambda x: x[0], (new.nets, new.losses, metrics)))
    leaves = [jax.tree_util.tree_leaves_with_path(one) for one in found]
    for (path, one), (_, two) in zip(*leaves, strict=True):
        scale = max(float(np.abs(one).max()), 1e-2)
        np.testing.assert_allclose(two, one, atol=1e-4 * scale, err_msg=jax.tree_util.keystr(path))


@pytest.mark.parametrize("reduction", ["caffe", "sum", "mean"])
@pytest.mark.parametrize(("pixels", "scale"), [("centred", 127.5 / 128), ("unit", 0.5)])
def test_pixel_errors_in_all_their_readings(reduction: str, pixels: str, scale: float) -> None:
    made, sharp = np.random.default_rng(1).normal(size=(2, 3, 6, 4, 3))
    config = dataclasses.replace(CONFIG, reduction=reduction, pixels=pixels)
    each = np.square(scale * (made - sharp)).reshape(3, -1)
    expected = {
        "caffe": each.sum() / (2 * 3),
        "sum": each.sum(1).mean(),
        "mean": each.mean(),
    }[reduction]
    found = csri.pixel_error(config, jnp.asarray(made), jnp.asarray(sharp))
    assert float(found) == pytest.approx(expected, rel=1e-5)


def test_without_native_faces_it_is_the_first_step_which_others_go_on_from(
    tmp_path: Path,
) -> None:
    joint = dataclasses.replace(PLAIN, native=(), native_classes=None)
    task = csri.make(joint, 10)
    assert task.batch == {"labelled": 8}
    state = init_state(task, jax.random.key(3))
    assert set(state.nets) == {"upsampler", "encoder", "classifier"}
    run_folder.weights_writer(tmp_path, task, "csri")(state, "last")

    both = csri.make(dataclasses.replace(PLAIN, initial=str(tmp_path)), 10)
    assert both.batch == {"labelled": 4, "native": 4}
    second = init_state(both, jax.random.key(4))
    for name in ("upsampler", "encoder", "classifier"):
        chex.assert_trees_all_equal(state.nets[name].params, second.nets[name].params)

    tuned = dataclasses.replace(
        PLAIN, labelled=(), classes=None, frozen=True, initial=str(tmp_path)
    )
    before, after, values = stepped(tuned)
    assert set(before.nets) == {"upsampler", "encoder", "native_classifier"}
    assert before.nets["upsampler"].opt_state == ()
    pairs = [jax.device_get(s.nets["upsampler"].params) for s in (state, after)]
    chex.assert_trees_all_equal(*pairs)
    assert "sr" not in values
    moved = jax.device_get((before.nets["encoder"].params, after.nets["encoder"].params))
    assert any((a != b).any() for a, b in zip(*map(jax.tree.leaves, moved), strict=True))

    other = dataclasses.replace(PLAIN, initial=str(tmp_path), classes=4)
    with pytest.raises(InputError, match=r"do not fit the classifier of .*set initial to"):
        csri.make(other, 10)


def test_held_out_faces_are_those_of_the_last_branch() -> None:
    for config, more in (
        (PLAIN, set()),
        (dataclasses.replace(PLAIN, native=(), native_classes=None), {"psnr", "psnr_bicubic"}),
    ):
        task = csri.make(config, 10)
        nets = Nets(task.modules, init_state(task, jax.random.key(3)).nets)
        name = list(branches(config))[-1]
        part = batch(config, 4)[name] | {"valid": np.array([True, True, True, False])}
        sums = jax.device_get(task.evaluate(nets, part))
        assert set(sums) == {"error", "count"} | more
        assert sums["count"] == 3
        assert 0 <= sums["error"] <= 3
        shown = jax.device_get(task.pictures(nets, batch(config, 4)))
        rows = {"labelled": 3, "native": 2}
        for branch, sheet in shown.items():
            assert sheet["images"].shape == (4, 16 * rows[branch], 16, 3)


def test_data_are_two_datasets_and_the_networks_of_a_run_look_at_faces_together(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    people.prepared(monkeypatch, people.portraits([0, 1, 1, 2, 0, 2, 1, 0] * 3))
    config = dataclasses.replace(CONFIG, classes=None, native_classes=None)
    loaded = data.load_csri(config, tmp_path)
    assert list(loaded.parts) == ["labelled", "native"]
    assert (loaded.config.classes, loaded.config.native_classes) == (3, 3)
    assert loaded.held_out is not None
    state = runs.Runs(tmp_path, tmp_path).train(config, tmp_path / "run")
    found = FaceEncoder.load(tmp_path / "run", "last")
    images = np.random.default_rng(0).integers(0, 256, (3, 16, 16, 3), dtype=np.uint8)
    refined = build(config.refiner).module.apply(
        state.nets["upsampler"].variables, images / 127.5 - 1, train=False
    )
    encoder = build(config.network).module
    expected = encoder.apply(state.nets["encoder"].variables, refined, train=False)
    np.testing.assert_allclose(found.embed(images, "none", 4), expected, rtol=1e-4, atol=1e-5)
    sharp = np.clip(np.round((np.asarray(refined) + 1) * 127.5), 0, 255)
    assert np.abs(found.refined(images).astype(int) - sharp).max() <= 1


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"labelled": (), "native": ()}, "set labelled, native, or both"),
        ({"initial": "a", "initial_refiner": "b"}, "names both networks"),
        ({"frozen": True}, "must have learned before"),
        ({"train": tiny.train_config(batch_size=7)}, "to an even number, not 7"),
        ({"network": EncoderConfig("nobody")}, "no network 'nobody'"),
    ],
)
def test_configurations_that_mean_nothing_are_refused(
    changes: dict[str, Any], message: str
) -> None:
    with pytest.raises(InputError, match=message):
        csri.make(dataclasses.replace(CONFIG, **changes), 1)


def test_recognition_data_are_those_of_each_branch() -> None:
    found = branches(CONFIG)
    assert found["labelled"].labelled == ("celeba:all",)
    assert found["native"].labelled == ("tinyface:train",)
    assert found["native"].alignment.region == (0.0, 0.0, 1.0, 1.0)
