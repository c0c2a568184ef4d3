"""Run folders: what is in them, and which runs may go on in them. What is trained is a toy."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import jax
import pytest
import tiny

import lrjax
from lrjax.config import TrainConfig
from lrjax.data.faces import Faces
from lrjax.errors import InputError
from lrjax.tasks import runs
from lrjax.tasks.degradation import DegradationConfig
from lrjax.tasks.faces import load_sources
from lrjax.tasks.landmarks import LandmarksConfig
from lrjax.training.progress import read
from lrjax.training.weights import load_variables

pytestmark = pytest.mark.usefixtures("quick_compile")

CONFIG = LandmarksConfig(
    degradation="subsample",
    train=tiny.train_config(steps=4, evaluate_every=1),
)


@pytest.fixture(autouse=True)
def toy(monkeypatch: pytest.MonkeyPatch) -> None:
    """Landmarks are the toy task, on faces of noise."""
    monkeypatch.setitem(runs.TASKS, "landmarks", tiny.toy_entry())


def train(folder: Path, **changes: Any) -> Any:
    """Train for as long as CONFIG says, with other fields of its `train`."""
    config = dataclasses.replace(CONFIG, train=dataclasses.replace(CONFIG.train, **changes))
    return runs.train(config, folder, data_dir=Path("nowhere"))


def test_a_run_folder_says_what_was_trained_on_what(tmp_path: Path) -> None:
    state = train(tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {
        "config.json",
        "environment.json",
        "metrics.jsonl",
        "tensorboard",
        "checkpoints",
        "best",
        "last",
    }
    assert runs.load_config(tmp_path) == CONFIG
    environment = json.loads((tmp_path / "environment.json").read_text())
    assert environment["lrjax"] == lrjax.__version__
    assert environment["packages"]["jax"] == jax.__version__
    assert environment["device"] == jax.devices()[0].device_kind
    assert (environment["devices"], environment["processes"]) == (1, 1)
    assert environment["data"] == {
        "labelled": {"faces": 12, "fingerprint": "noise-12-128-ibug68-0"},
        "held_out": {"faces": 6, "fingerprint": "noise-6-128-ibug68-2"},
    }
    variables, metadata = load_variables(tmp_path / "last" / "line.safetensors")
    assert tiny.same(variables, state.nets["line"].evaluation_variables)
    assert metadata["network"] == "line"
    assert metadata["task"] == "landmarks"
    assert metadata["step"] == 4
    assert next((tmp_path / "tensorboard").glob("events*")).stat().st_size


def test_the_best_weights_are_those_of_the_best_record(tmp_path: Path) -> None:
    train(tmp_path, steps=12)
    records = [r for r in read(tmp_path / "metrics.jsonl") if "held_out/error" in r]
    best = min(records, key=lambda r: r["held_out/error"])
    _, metadata = load_variables(tmp_path / "best" / "line.safetensors")
    assert metadata["step"] == best["step"]
    assert best["best"] == best["held_out/error"]


@pytest.mark.parametrize("source", ["labelled", "held_out"])
def test_other_data_are_refused(
    source: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    train(tmp_path, steps=2)

    def changed(config: Any) -> Any:
        faces, held_out = tiny.noise_sources(config)
        if source == "labelled":
            faces["labelled"] = tiny.faces(13, 128)
        else:
            held_out = tiny.faces(13, 128)
        return faces, held_out

    monkeypatch.setitem(runs.TASKS, "landmarks", tiny.toy_entry(changed))
    was = 12 if source == "labelled" else 6
    with pytest.raises(InputError) as refusal:
        train(tmp_path)
    assert f"The {source} faces of the run in {tmp_path} have changed since it began" in str(
        refusal.value
    )
    assert f"(it had {was}, there are 13)" in str(refusal.value)
    assert "--restart" in str(refusal.value)
    monkeypatch.setitem(runs.TASKS, "landmarks", tiny.toy_entry())
    assert int(train(tmp_path).step) == 4


@pytest.mark.parametrize(
    "change",
    [{"sigma": 1.5}, {"train": {"seed": 1}}, {"train": {"batch_size": 4}}],
    ids=lambda change: str(change),
)
def test_other_settings_are_refused(change: dict[str, Any], tmp_path: Path) -> None:
    train(tmp_path, steps=2)
    if "train" in change:
        change = {"train": dataclasses.replace(CONFIG.train, **change["train"])}
    with pytest.raises(InputError, match=r"holds a run of another configuration.*--restart"):
        runs.train(dataclasses.replace(CONFIG, **change), tmp_path, data_dir=Path("nowhere"))
    assert runs.load_config(tmp_path).sigma == CONFIG.sigma


def test_length_and_talk_may_change(tmp_path: Path) -> None:
    whole = train(tmp_path / "whole", steps=5)
    train(tmp_path / "run", steps=2)
    found = train(
        tmp_path / "run", steps=5, parallel="mesh", log_every=3, evaluate_every=9, keep=1, samples=0
    )
    assert tiny.same(found, whole)
    assert runs.load_config(tmp_path / "run").train.steps == 5


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, "There is no run in .* name a run folder"),
        ("{", "config.json is not a run's configuration"),
        ('{"task": "cats"}', "config.json is not a run's configuration"),
        ('{"task": "landmarks", "sigmas": 2}', "LandmarksConfig is not valid: .*sigmas"),
    ],
)
def test_what_is_no_run_is_refused(text: str | None, message: str, tmp_path: Path) -> None:
    if text is not None:
        (tmp_path / "config.json").write_text(text)
    with pytest.raises(InputError, match=message):
        runs.load_config(tmp_path)


def loaded(monkeypatch: pytest.MonkeyPatch, count: int, **changes: Any) -> tuple[Any, Any]:
    """`load_sources` of a configuration, with so many faces of noise in every dataset."""
    monkeypatch.undo()

    def load(spec: tuple[str, ...], crop_size: int, scheme: str, **_: Any) -> Faces:
        names = tuple(f"{spec[0]}-{i}" for i in range(count))
        return dataclasses.replace(tiny.faces(count, crop_size, scheme), names=names)

    monkeypatch.setattr("lrjax.tasks.faces.load_faces", load)
    config = dataclasses.replace(CONFIG, scheme="five", image_size=16, size=8, **changes)
    return load_sources(config, Path("nowhere"))


def test_a_part_of_the_labelled_faces_is_held_out(monkeypatch: pytest.MonkeyPatch) -> None:
    faces, held_out = loaded(monkeypatch, 50, holdout=0.2, critics=("confidence",))
    assert set(faces) == {"labelled", "real"}
    assert 2 < len(held_out) < 25
    names = {*faces["labelled"].names, *held_out.names}
    assert len(names) == len(faces["labelled"]) + len(held_out) == 50
    assert faces["labelled"].images.shape[1:3] == (24, 24)
    assert faces["real"].images.shape[1:3] == (12, 12)
    assert faces["real"].names[0] == "wider_face_crops:lr-0"
    again = loaded(monkeypatch, 50, holdout=0.2, critics=("confidence",))[1]
    assert again.names == held_out.names


def test_real_faces_are_read_where_a_step_sees_them(monkeypatch: pytest.MonkeyPatch) -> None:
    faces, held_out = loaded(monkeypatch, 5, holdout=0.0)
    assert set(faces) == {"labelled"}
    assert held_out is None


def test_holding_out_nobody_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(InputError, match="holds out none of the 3 labelled faces"):
        loaded(monkeypatch, 3, holdout=0.001)


def test_discard_removes_a_run_and_nothing_else(tmp_path: Path) -> None:
    run, other, empty = tmp_path / "run", tmp_path / "other", tmp_path / "empty"
    train(run, steps=1)
    empty.mkdir()
    other.mkdir()
    (other / "file").touch()
    runs.discard(run)
    assert not run.exists()
    runs.discard(run)
    runs.discard(empty)
    with pytest.raises(InputError, match="holds no run but other files"):
        runs.discard(other)
    assert (other / "file").exists()


def test_configurations_know_their_task() -> None:
    assert runs.task_name(LandmarksConfig()) == "landmarks"
    assert runs.task_name(DegradationConfig(train=TrainConfig(steps=1))) == "degradation"
