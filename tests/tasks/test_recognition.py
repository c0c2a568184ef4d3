"""Recognition with a small network: what a step sees and changes, on one device and on four."""

from __future__ import annotations

import dataclasses
import io
import json
import os
from functools import partial
from pathlib import Path
from typing import Any

import chex
import child
import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import people
import pytest
import tiny
from PIL import Image

from lrjax.cli.prepare import prepare_dataset
from lrjax.config import AlignmentConfig, OptimizerConfig, from_dict, to_dict
from lrjax.data.identities import split_holdout
from lrjax.errors import InputError
from lrjax.models import weights as weights_files
from lrjax.models.encoders import EncoderConfig
from lrjax.rng import drop_by_example
from lrjax.tasks import data, recognition, runs
from lrjax.tasks.recognition import RecognitionConfig
from lrjax.training import loop, parallel
from lrjax.training.checkpoint import Checkpoints
from lrjax.training.log import read
from lrjax.training.nets import Nets
from lrjax.training.step import init_state, make_step

pytestmark = pytest.mark.usefixtures("quick_compile")

people.use_small()
STILL = EncoderConfig("small", dropout=0.0)


# What a step does ---------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def devices(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two steps in several ways, in a process with four devices."""
    folder = tmp_path_factory.mktemp("devices")
    child.finish(child.start("train_people.py", folder, devices=4))
    return folder


def found(path: Path) -> dict[str, np.ndarray]:
    """Arrays by their path."""
    with np.load(path) as file:
        return dict(file)


@pytest.mark.parametrize("way", ["4-pmap-whole", "4-mesh-split"])
def test_four_devices_learn_as_one_also_with_a_quarter_of_the_classes(
    way: str, devices: Path
) -> None:
    one, four = (found(devices / f"{w}.npz") for w in ("1-mesh-whole", way))
    assert set(one) == set(four)
    assert sum("classifier" in path for path in one) > 4
    for path, value in one.items():
        scale = max(np.abs(value).max(), 1e-2)
        np.testing.assert_allclose(four[path], value, atol=2e-5 * scale, err_msg=path)


def test_one_device_continues_what_four_began_with_split_classes(
    devices: Path, tmp_path: Path
) -> None:
    config = people.config(classes=6, shard_classes=True)
    part = people.examples(config)

    def run(folder: Path) -> Any:
        task = recognition.make(config, 4)
        return loop.fit(task, config.train, 5, {"labelled": part.arrays}, folder)

    alone = run(tmp_path)
    assert Checkpoints(devices / "run", 2).latest() == 4  # stopped once, after two steps
    continued = run(devices / "run")
    chex.assert_trees_all_close(alone.nets, continued.nets, rtol=1e-4, atol=1e-5)


def test_a_step_of_gradient_descent_by_hand() -> None:
    config = people.config(classes=3, focal=0.0, network=STILL, shift=0.0, mirror=0.0)
    config = dataclasses.replace(
        config, optimizer=dataclasses.replace(people.DESCENT, weight_decay=0.0, groups=())
    )
    task = recognition.make(config, 10)
    state = init_state(task, jax.random.key(3))
    part = {k: v[:8] for k, v in people.examples(config).arrays.items()}
    part["example_index"] = np.arange(8)
    mesh = parallel.make_mesh()
    step = parallel.parallelise(make_step(task), mesh, "mesh", sharded=True, donate=False)
    new, metrics = step(parallel.replicate(state, mesh), {"labelled": part})

    def features(train: bool) -> np.ndarray:
        variables = state.nets["encoder"].variables
        images = part["images"] / np.float32(127.5) - 1
        apply = jax.jit(partial(people.Small().apply, train=train, mutable=["batch_stats"]))
        return np.asarray(apply(variables, images)[0])

    x, weights = features(True).astype(np.float64), state.nets["classifier"].params
    logits = x @ np.asarray(weights["kernel"]) + np.asarray(weights["bias"])
    shares = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    wanted = np.eye(3)[part["label"]]
    loss = -np.log((shares * wanted).sum(1))
    assert float(metrics["loss"]) == pytest.approx(loss.mean(), rel=1e-5)
    assert float(metrics["cross_entropy"]) == pytest.approx(loss.mean(), rel=1e-5)
    assert float(metrics["probability"]) == pytest.approx((shares * wanted).sum(1).mean(), rel=1e-5)
    slope = (shares - wanted) / 8
    moved = new.nets["classifier"].params
    expected = np.asarray(weights["kernel"]) - 0.05 * x.T @ slope
    np.testing.assert_allclose(moved["kernel"], expected, atol=1e-6)
    np.testing.assert_allclose(moved["bias"], weights["bias"] - 0.05 * slope.sum(0), atol=1e-6)
    changed = jax.tree.map(
        lambda a, b: bool((a != b).any()), *jax.device_get((new.nets, state.nets))
    )
    assert all(jax.tree.leaves(changed["encoder"].params["last"]))
    assert all(jax.tree.leaves(changed["encoder"].stats))
    assert int(new.step) == 1

    nets = Nets(task.modules, state.nets)
    sums = task.evaluate(nets, part | {"valid": np.arange(8) < 6})
    logits = features(False) @ np.asarray(weights["kernel"]) + np.asarray(weights["bias"])
    assert int(sums["error"]) == (logits.argmax(1) != part["label"])[:6].sum()
    assert int(sums["count"]) == 6


def test_features_follow_a_teacher_by_hand() -> None:
    config = people.config(
        classes=7, network=STILL, shift=0.0, mirror=0.0, teacher="teacher.safetensors"
    )
    task = recognition.make(config, 10)
    state = init_state(task, jax.random.key(3))
    assert set(state.nets["classifier"].params) == {"kernel", "bias"}
    images = people.examples(config).arrays["images"][:8]
    taught = np.random.default_rng(1).normal(size=(8, 7)).astype(np.float32)
    part = {"images": images, "teacher": taught, "example_index": np.arange(8)}
    nets = Nets(task.modules, state.nets)
    mesh = parallel.make_mesh()
    step = parallel.parallelise(make_step(task), mesh, "mesh", sharded=True, donate=False)

    def distances(train: bool) -> np.ndarray:
        apply = partial(people.Small().apply, train=train, mutable=["batch_stats"])
        x = np.asarray(apply(state.nets["encoder"].variables, images / np.float32(127.5) - 1)[0])
        layer = state.nets["classifier"].params
        turned = x @ np.asarray(layer["kernel"]) + np.asarray(layer["bias"])
        lengths = np.linalg.norm(turned, axis=1) * np.linalg.norm(taught, axis=1)
        return 1 - (turned * taught).sum(1) / lengths

    new, metrics = step(parallel.replicate(state, mesh), {"labelled": part})
    assert float(metrics["loss"]) == pytest.approx(distances(True).mean(), abs=1e-5)
    for name in ("encoder", "classifier"):
        moved = jax.tree.map(
            lambda a, b: (a != b).any(), new.nets[name].params, state.nets[name].params
        )
        assert all(jax.tree.leaves(moved)), name
    sums = task.evaluate(nets, part | {"valid": np.arange(8) < 6})
    assert float(sums["error"]) == pytest.approx(distances(False)[:6].sum(), abs=1e-5)
    assert int(sums["count"]) == 6


def test_a_share_of_the_faces_is_made_small() -> None:
    config = people.config(classes=6, shift=0.0, mirror=0.0, down_up=(4, 4), coarse=0.5)
    images = people.examples(config, 64).arrays["images"]
    part = {"images": jnp.asarray(images), "example_index": jnp.arange(64)}
    key = jax.random.key(5)

    def seen(coarse: float, step: int = 0) -> np.ndarray:
        state = init_state(recognition.make(config, 1), key).replace(step=jnp.asarray(step))
        share = dataclasses.replace(config, coarse=coarse)
        return np.asarray(recognition.random_images(share, state, part, "crop"))

    sharp, small, some = (seen(coarse) for coarse in (0.0, 1.0, 0.5))
    np.testing.assert_allclose(sharp, images / 127.5 - 1, atol=1e-6)
    is_small = [np.allclose(some[i], small[i], atol=1e-6) for i in range(64)]
    is_sharp = [np.allclose(some[i], sharp[i], atol=1e-6) for i in range(64)]
    assert all(a != b for a, b in zip(is_small, is_sharp, strict=True))
    assert 20 < sum(is_small) < 44
    assert (seen(0.5, 1) != some).any()  # others at another step


def test_dropout_depends_on_the_example_and_not_on_its_company() -> None:
    layer = nn.Dropout(0.5, deterministic=False)
    keys = jax.random.split(jax.random.key(1), 12)

    def dropped(keys: jax.Array, x: jax.Array) -> np.ndarray:
        with nn.intercept_methods(partial(drop_by_example, keys)):
            return np.asarray(layer.apply({}, x))

    x = jnp.ones((12, 50))
    whole = dropped(keys, x)
    np.testing.assert_array_equal(
        np.concatenate([dropped(keys[:5], x[:5]), dropped(keys[5:], x[5:])]), whole
    )
    assert set(np.unique(whole)) == {0.0, 2.0}
    assert 0.4 < (whole > 0).mean() < 0.6
    assert len({row.tobytes() for row in whole}) == 12


def test_the_sheet_shows_aligned_training_faces() -> None:
    config = people.config(classes=6)
    task = recognition.make(config, 1)
    part = people.examples(config, 5).arrays
    ((name, shown),) = task.pictures(Nets({}, {}), {"labelled": part}).items()
    assert name == "labelled"
    np.testing.assert_array_equal(shown["images"], part["images"][:, 1:-1, 1:-1])


# Data and runs ------------------------------------------------------------------------------------


def load(config: RecognitionConfig) -> Any:
    """The data of a run, of which every dataset is what `people.prepared` said."""
    return data.load_recognition(config, Path("nowhere"))


def test_a_part_of_the_pictures_is_held_out_but_never_all_of_a_person(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    label = [i % 20 for i in range(100)] + [20, 21, 22, 23]
    people.prepared(monkeypatch, people.portraits(label))
    parts, held_out, config = load(people.config(holdout=0.3))
    assert config.classes == 24
    labels = parts["labelled"].arrays["label"]
    assert set(labels.tolist()) == set(range(24))
    assert 15 < len(held_out) < 45
    assert len(parts["labelled"]) + len(held_out) == 104
    assert set(held_out.arrays["label"].tolist()) <= set(range(20))
    assert parts["labelled"].arrays["images"].shape == (len(labels), 18, 18, 3)
    assert parts["labelled"].note == "3 of 4 faces aligned"
    again = load(people.config(holdout=0.3))
    assert again.held_out.fingerprint == held_out.fingerprint
    np.testing.assert_array_equal(again.held_out.arrays["images"], held_out.arrays["images"])
    # All that examples depend on is in their fingerprint.
    other = load(people.config(holdout=0.3, alignment=AlignmentConfig("points")))
    assert other.held_out.fingerprint != held_out.fingerprint
    assert held_out.fingerprint != parts["labelled"].fingerprint
    assert load(people.config(holdout=0.0)).held_out is None


def test_a_teacher_says_what_features_shall_be(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Of one person, too, and of somebody whom nobody knows; of the teacher's own size.
    portraits = dataclasses.replace(
        people.portraits([0] * 11 + [-1]), images=[people.encoded(i, 16, 16) for i in range(12)]
    )
    monkeypatch.setattr("lrjax.tasks.data.load_identities", lambda spec, data_dir: portraits)
    state = init_state(recognition.make(people.config(classes=4), 1), jax.random.key(9))
    variables = state.nets["encoder"].variables
    path = tmp_path / "teacher.safetensors"
    weights_files.save(path, STILL, variables, {})
    config = people.config(teacher=str(path), holdout=0.3)
    parts, held_out, complete = load(config)
    assert complete.classes == 5  # numbers in its features
    found = {"labelled": parts["labelled"], "held out": held_out}
    rows = dict(zip(found, split_holdout(portraits, 0.3, config.train.seed), strict=True))
    for name, part in found.items():
        assert part.arrays.keys() == {"images", "teacher"}
        pictures = [np.asarray(Image.open(io.BytesIO(portraits.images[i]))) for i in rows[name]]
        x = np.stack(pictures).astype(np.float32) / 127.5 - 1
        both = [people.Small().apply(variables, side, train=False) for side in (x, x[:, :, ::-1])]
        np.testing.assert_allclose(part.arrays["teacher"], sum(both), atol=1e-4, err_msg=name)
    assert len(held_out) > 0
    gone = tmp_path / "gone.safetensors"
    with pytest.raises(InputError, match=f"The teacher {gone} is not there; write published"):
        load(dataclasses.replace(config, teacher=str(gone)))


@pytest.mark.parametrize(
    ("label", "changes", "message"),
    [
        ([0, 0, 0], {}, "All 3 pictures of people:train show one person; name in labelled"),
        ([0, 1, -1, -1], {}, "2 of the 4 pictures of people:train do not say whose they are"),
        ([-1, -1], {}, "2 of the 2 pictures of people:train do not say"),
        (
            [0, 1, 4, 4],
            {},
            "2 of the 5 people of people:train have no picture, the first of them number 2",
        ),
        ([0, 1, 2], {"classes": 9}, "There are 3 people in people:train, but classes is 9"),
        ([0, 1, 2], {"holdout": 0.5}, "The share 0.5 holds out none of the 3 pictures"),
        ([0, 1], {"network": EncoderConfig("large")}, "no network 'large'; choose one of .*rpcn"),
    ],
)
def test_pictures_that_cannot_be_learnt_from_are_refused(
    label: list[int], changes: dict[str, Any], message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    people.prepared(monkeypatch, people.portraits(label))
    with pytest.raises(InputError, match=message):
        load(people.config(**changes))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"classes": None}, "The field classes is None; set it to the number of people"),
        ({"classes": 1}, "The field classes is 1"),
        ({"holdout": 1.0}, "The field holdout is 1.0"),
        ({"shift": 0.5}, "The field shift is 0.5"),
        ({"coarse": 1.5}, "The field coarse is 1.5; set it to a share"),
        ({"teacher": "a.safetensors", "centre": 1.0}, "With a teacher nobody is told apart"),
        (
            {"shard_classes": True, "train": {"parallel": "pmap"}},
            "To split the classes over devices, set train.parallel to 'mesh'",
        ),
        (
            {"shard_classes": True, "optimizer": {"clip_norm": 1.0}},
            "set optimizer.clip_norm to null, or shard_classes to false",
        ),
    ],
)
def test_settings_that_mean_nothing_are_refused(changes: dict[str, Any], message: str) -> None:
    config = people.config(classes=4)
    nested = {
        name: dataclasses.replace(getattr(config, name), **value)
        for name, value in changes.items()
        if isinstance(value, dict)
    }
    with pytest.raises(InputError, match=message):
        recognition.make(dataclasses.replace(config, **changes | nested), 10)


def test_training_starts_from_given_weights(tmp_path: Path) -> None:
    config = people.config(classes=4)
    given = init_state(recognition.make(config, 1), jax.random.key(9)).nets["encoder"].variables
    path = tmp_path / "last" / "encoder.safetensors"
    weights_files.save(path, config.network, given, {})
    for initial in (path, tmp_path):
        task = recognition.make(dataclasses.replace(config, initial=str(initial)), 1)
        nets = init_state(task, jax.random.key(0)).nets
        assert tiny.same(nets["encoder"].variables, given)
    plain = init_state(recognition.make(config, 1), jax.random.key(0)).nets
    assert tiny.same(nets["classifier"].params, plain["classifier"].params)


def test_weights_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    config = people.config(classes=4, network=EncoderConfig("small", 2.0))
    path = tmp_path / "wide.safetensors"
    given = init_state(recognition.make(config, 1), jax.random.key(9)).nets["encoder"].variables
    weights_files.save(path, config.network, given, {})
    narrow = dataclasses.replace(config, network=STILL, initial=str(path))
    with pytest.raises(InputError) as refusal:
        recognition.make(narrow, 1)
    assert (
        f"The weights in {path} do not fit the small of this configuration: "
        "batch_stats.norm.mean is of shape [8] there and of shape [4] here, as the first of 6; "
        "set initial" in str(refusal.value)
    )
    weights_files.save(path, config.network, {"params": given["params"]}, {})
    with pytest.raises(InputError, match=r"norm.mean is missing there and of shape \[8\] here"):
        recognition.make(dataclasses.replace(config, initial=str(path)), 1)
    absent = dataclasses.replace(config, initial=str(tmp_path / "absent.safetensors"))
    with pytest.raises(InputError, match=r"no weights file .*absent\.safetensors"):
        recognition.make(absent, 1)


def test_a_run_learns_to_tell_people_apart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    people.prepared(monkeypatch, people.portraits([i % 4 for i in range(48)]))
    # Softmax on brightness.
    config = people.config(
        focal=0.0,
        network=STILL,
        optimizer=OptimizerConfig(learning_rate=0.03, b1=0.9, b2=0.99),
        train=tiny.train_config(batch_size=16, parallel="mesh", log_every=20),
    )

    def train(folder: Path, steps: int) -> Any:
        length = dataclasses.replace(config.train, steps=steps, evaluate_every=20)
        changed = dataclasses.replace(config, train=length)
        return runs.Runs(tmp_path, Path("nowhere")).train(changed, folder)

    train(tmp_path / "run", 40)
    state = train(tmp_path / "run", 60)
    records = read(tmp_path / "run" / "metrics.jsonl")
    errors = [r["held_out/error"] for r in records if "held_out/error" in r]
    assert errors[-1] < 0.3
    assert runs.load_config(tmp_path / "run").classes is None
    environment = json.loads((tmp_path / "run" / "environment.json").read_text())
    assert environment["data"]["labelled"]["note"] == "3 of 4 faces aligned"
    for which in ("last", "best"):
        folder = tmp_path / "run" / which
        assert {p.stem for p in folder.iterdir()} == {"encoder", "classifier"}
    variables, about = weights_files.read(tmp_path / "run" / "last" / "encoder.safetensors")
    chex.assert_trees_all_equal(variables, state.nets["encoder"].variables)
    assert about["network"] == to_dict(STILL)
    assert about["provenance"] | {"lrjax": "any"} == {
        "task": "recognition",
        "role": "encoder",
        "step": 60,
        "lrjax": "any",
    }
    # Other faces, or the same ones aligned otherwise, are other data.
    people.prepared(monkeypatch, people.portraits([i % 4 for i in range(47)]))
    with pytest.raises(InputError, match=r"The labelled faces of the run in .* have changed"):
        train(tmp_path / "run", 60)


def test_configurations_are_their_json() -> None:
    config = people.config(classes=4)
    assert from_dict(RecognitionConfig, json.loads(json.dumps(to_dict(config)))) == config
    assert runs.task_name(config) == "recognition"
    named = from_dict(RecognitionConfig, {"network": "rpcn"})
    assert named == RecognitionConfig(network=EncoderConfig("rpcn"))
    with pytest.raises(InputError, match=r"no network 'g1'; choose one of lightcnn29, "):
        from_dict(RecognitionConfig, {"network": "g1"})


@pytest.mark.slow
@pytest.mark.skipif("LRJAX_DATA" not in os.environ, reason="needs LRJAX_DATA, a folder of data")
def test_people_of_real_pictures_are_learnt(tmp_path: Path) -> None:
    root = Path(os.environ["LRJAX_DATA"])
    folder = next((root / n for n in ("tinyface", "tinyface_standin") if (root / n).is_dir()), None)
    if folder is None:
        pytest.skip("LRJAX_DATA holds no tinyface")
    prepare_dataset("tinyface", tmp_path / "data", folder)
    config = runs.find_config("recognition:l1-small")
    config = dataclasses.replace(
        config,
        network=dataclasses.replace(config.network, width=1 / 8),
        alignment=AlignmentConfig("resize"),
        train=dataclasses.replace(config.train, steps=3, evaluate_every=3, samples=4),
    )
    there = runs.Runs(tmp_path, tmp_path / "data", cache=tmp_path / "cache")
    state = there.train(config, tmp_path / "run")
    assert int(state.step) == 3
    records = read(tmp_path / "run" / "metrics.jsonl")
    people_in_it = state.nets["classifier"].params["kernel"].shape[1]
    # Before anything is learnt, all people are about as likely.
    last = [r["cross_entropy"] for r in records if "cross_entropy" in r][-1]
    assert last == pytest.approx(np.log(people_in_it), rel=0.3)
    environment = json.loads((tmp_path / "run" / "environment.json").read_text())
    assert "resized to 32x32, none aligned" in environment["data"]["labelled"]["note"]
