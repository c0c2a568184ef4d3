"""Run folders: what is in them, and which runs may go on in them. What is trained is a toy."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import re
import shutil
import subprocess
import sys
import textwrap
import types
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest
import tiny

import lrjax
from lrjax.config import AlignmentConfig, TrainConfig
from lrjax.configs import degradation
from lrjax.data.examples import Loaded
from lrjax.data.faces import Faces
from lrjax.errors import InputError
from lrjax.files import exclusively
from lrjax.models import weights
from lrjax.models.s2ld import LandmarkConfig
from lrjax.tasks import data, run_folder, runs
from lrjax.tasks.degradation import DegradationConfig
from lrjax.tasks.landmarks import LandmarksConfig
from lrjax.tasks.recognition import RecognitionConfig
from lrjax.training import parallel
from lrjax.training.log import read

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
    return start(config, folder)


def start(config: LandmarksConfig, folder: Path, *, restart: bool = False) -> Any:
    """Train in a folder."""
    return runs.Runs(folder.parent, Path("nowhere")).train(config, folder, restart=restart)


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
    variables, about = weights.read(tmp_path / "last" / "line.safetensors")
    assert tiny.same(variables, state.nets["line"].evaluation_variables)
    assert about == {
        "network": {"name": "line"},
        "provenance": {
            "task": "landmarks",
            "role": "line",
            "step": 4,
            "lrjax": lrjax.__version__,
        },
    }
    assert next((tmp_path / "tensorboard").glob("events*")).stat().st_size


def test_the_best_weights_are_those_of_the_best_record(tmp_path: Path) -> None:
    train(tmp_path, steps=12)
    records = [r for r in read(tmp_path / "metrics.jsonl") if "held_out/error" in r]
    best = min(records, key=lambda r: r["held_out/error"])
    _, about = weights.read(tmp_path / "best" / "line.safetensors")
    assert about["provenance"]["step"] == best["step"]
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
    [{"g2": LandmarkConfig(sigma=1.5)}, {"train": {"seed": 1}}, {"train": {"batch_size": 4}}],
    ids=lambda change: str(change),
)
def test_other_settings_are_refused(change: dict[str, Any], tmp_path: Path) -> None:
    train(tmp_path, steps=2)
    if "train" in change:
        change = {"train": dataclasses.replace(CONFIG.train, **change["train"])}
    with pytest.raises(InputError, match=r"holds a run of another configuration.*--restart"):
        start(dataclasses.replace(CONFIG, **change), tmp_path)
    assert runs.load_config(tmp_path) == dataclasses.replace(
        CONFIG, train=dataclasses.replace(CONFIG.train, steps=2)
    )


def test_length_and_talk_may_change(tmp_path: Path) -> None:
    whole = train(tmp_path / "whole", steps=5)
    train(tmp_path / "run", steps=2)
    found = train(
        tmp_path / "run", steps=5, parallel="mesh", log_every=3, evaluate_every=9, keep=1, samples=0
    )
    assert tiny.same(found, whole)
    assert runs.load_config(tmp_path / "run").train.steps == 5


@pytest.mark.parametrize("change", [{"steps": 2}, {"seed": 1}])
def test_what_is_refused_leaves_a_run_as_it_was(change: dict[str, Any], tmp_path: Path) -> None:
    train(tmp_path)
    before = contents(tmp_path)
    with pytest.raises(InputError, match=r"has done 4 steps already|of another configuration"):
        train(tmp_path, **change)
    assert contents(tmp_path) == before


def test_a_run_that_was_refused_may_be_begun_otherwise(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        mesh = types.SimpleNamespace(size=3)
        patch.setattr(parallel, "make_mesh", lambda: mesh)
        with pytest.raises(InputError, match="batch size 8 is not a multiple of the 3 devices"):
            train(tmp_path)
    assert int(train(tmp_path, batch_size=6).step) == 4


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, "There is no run in .* name a run folder"),
        ("{", "config.json is not JSON that can be used .*; name another run folder, or discard"),
        ("[3]", "config.json is not a run's configuration"),
        ('{"task": "cats"}', "config.json is not a run's configuration"),
        ('{"task": "landmarks", "sigmas": 2}', "config.json is not valid: .*sigmas"),
    ],
)
def test_what_is_no_run_is_refused(text: str | None, message: str, tmp_path: Path) -> None:
    if text is not None:
        (tmp_path / "config.json").write_text(text)
    with pytest.raises(InputError, match=message):
        runs.load_config(tmp_path)


def loaded(monkeypatch: pytest.MonkeyPatch, count: int, **changes: Any) -> Loaded:
    """The data of a configuration, with so many faces of noise in every dataset."""

    def load(spec: tuple[str, ...], crop_size: int, scheme: str, **_: Any) -> Faces:
        names = tuple(f"{spec[0]}-{i}" for i in range(count))
        return dataclasses.replace(tiny.faces(count, crop_size, scheme), names=names)

    monkeypatch.setattr("lrjax.data.faces.load_faces", load)
    g2 = LandmarkConfig(points="five", size=8)
    return data.load_faces(
        dataclasses.replace(CONFIG, g2=g2, image_size=16, **changes), Path("nowhere")
    )


def test_a_part_of_the_labelled_faces_is_held_out(monkeypatch: pytest.MonkeyPatch) -> None:
    parts, held_out, _ = loaded(monkeypatch, 50, holdout=0.2, critics=("confidence",))
    assert set(parts) == {"labelled", "real"}
    assert 2 < len(held_out) < 25
    assert len(parts["labelled"]) + len(held_out) == 50
    # Every face has points of its own.
    found = np.concatenate([parts["labelled"].arrays["points"], held_out.arrays["points"]])
    assert len({points.tobytes() for points in found}) == 50
    assert parts["labelled"].arrays["images"].shape[1:3] == (24, 24)
    assert parts["real"].arrays["images"].shape == (50, 12, 12, 3)
    again = loaded(monkeypatch, 50, holdout=0.2, critics=("confidence",)).held_out
    assert again.fingerprint == held_out.fingerprint
    assert tiny.same(dict(again.arrays), dict(held_out.arrays))


def test_real_faces_are_read_where_a_step_sees_them(monkeypatch: pytest.MonkeyPatch) -> None:
    parts, held_out, _ = loaded(monkeypatch, 5, holdout=0.0)
    assert set(parts) == {"labelled"}
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
    run_folder.discard(run)
    assert list(run.iterdir()) == []  # what is locked stays
    run_folder.discard(run)
    run_folder.discard(empty)
    with pytest.raises(InputError, match="holds no run but other files"):
        run_folder.discard(other)
    assert (other / "file").exists()


def test_a_discard_that_is_broken_off_can_be_gone_on_with(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, scratch = tmp_path / "run", tmp_path / "scratch"
    train(run, steps=1)
    scratch.mkdir()
    (scratch / "kept").touch()
    (run / "linked").symlink_to(scratch)
    removed: list[str] = []
    unlink = Path.unlink

    def unlinked(path: Path) -> None:
        removed.append(path.name)
        unlink(path)

    monkeypatch.setattr(Path, "unlink", unlinked)
    run_folder.discard(run)
    assert removed[-1] == "config.json"
    assert "linked" in removed
    assert (scratch / "kept").exists()


def test_configurations_know_their_task() -> None:
    assert runs.task_name(LandmarksConfig()) == "landmarks"
    assert runs.task_name(DegradationConfig(train=TrainConfig(steps=1))) == "degradation"


# One run after another ----------------------------------------------------------------------------


@pytest.fixture
def named(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """Configurations by name, `landmarks:NAME`; the toy notes what it is made of."""
    files = types.ModuleType("named")
    configs: dict[str, Any] = {
        "first": CONFIG,
        "second": dataclasses.replace(CONFIG, initial="landmarks:first"),
        "third": dataclasses.replace(CONFIG, initial="landmarks:second", stage1="landmarks:first"),
        "made": [],
    }
    files.get_config = lambda variant="first": configs[variant]
    monkeypatch.setitem(sys.modules, "lrjax.configs.landmarks", files)
    toy = tiny.toy_entry()

    def make(config: LandmarksConfig, steps: int) -> Any:
        configs["made"].append(config)
        return toy.make(config, steps)

    monkeypatch.setitem(runs.TASKS, "landmarks", toy._replace(make=make))
    return configs


def contents(folder: Path) -> dict[str, tuple[bytes, int]]:
    """Bytes and time of every file in a folder."""
    return {
        str(path.relative_to(folder)): (path.read_bytes(), path.stat().st_mtime_ns)
        for path in folder.rglob("*")
        if path.is_file()
    }


def test_runs_that_a_configuration_names_are_trained_once(
    named: dict[str, Any], tmp_path: Path
) -> None:
    there = runs.Runs(tmp_path, Path("nowhere"))
    assert there.ensure("landmarks:third") == tmp_path / "landmarks-third"
    first, second, third = (tmp_path / f"landmarks-{n}" for n in ("first", "second", "third"))
    assert set(tmp_path.iterdir()) == {first, second, third}
    # In the order in which they need each other; each task is told folders.
    assert named["made"] == [
        CONFIG,
        dataclasses.replace(CONFIG, initial=str(first)),
        dataclasses.replace(CONFIG, initial=str(second), stage1=str(first)),
    ]
    # Their names are what the run folder keeps.
    assert runs.load_config(third) == named["third"]
    before = contents(tmp_path)
    assert there.ensure("landmarks:third") == third
    assert there.ensure("landmarks:first") == first
    assert contents(tmp_path) == before
    assert len(named["made"]) == 3


def test_a_run_that_was_not_finished_is_finished_before_others_need_it(
    named: dict[str, Any], tmp_path: Path
) -> None:
    first = tmp_path / "landmarks-first"
    train(first, steps=2)
    there = runs.Runs(tmp_path, Path("nowhere"))
    there.ensure("landmarks:second")
    assert runs.load_config(first) == CONFIG
    assert read(first / "metrics.jsonl")[-1]["step"] == 4


def test_a_longer_run_that_was_broken_off_is_finished_before_others_need_it(
    named: dict[str, Any], tmp_path: Path
) -> None:
    first = tmp_path / "landmarks-first"
    train(first, steps=2)
    assert weights.read(first / "last" / "line.safetensors")[1]["provenance"]["step"] == 2

    def break_off(folder: Path, step: int, shown: dict[str, Any]) -> None:
        raise RuntimeError(f"at {step}")

    there = runs.Runs(tmp_path, Path("nowhere"), pictures=break_off)
    with pytest.raises(RuntimeError, match="at 3"):
        there.train(CONFIG, first)
    runs.Runs(tmp_path, Path("nowhere")).ensure("landmarks:second")
    assert weights.read(first / "last" / "line.safetensors")[1]["provenance"]["step"] == 4


def test_runs_that_learned_from_weights_of_the_past_are_refused(
    named: dict[str, Any], tmp_path: Path
) -> None:
    there = runs.Runs(tmp_path, Path("nowhere"))
    third = there.ensure("landmarks:third")
    first, second = (tmp_path / f"landmarks-{n}" for n in ("first", "second"))
    file = first / "last" / "line.safetensors"
    begun = json.loads((third / "environment.json").read_text())["weights"]
    assert begun["stage1"]["last/line.safetensors"] == hashlib.sha256(file.read_bytes()).hexdigest()
    assert set(begun) == {"stage1", "initial"}
    file.write_bytes(file.read_bytes() + b"other")
    before = contents(tmp_path)
    message = f"run in {second} learned from other weights than last/line.*--restart"
    # The third, which needs the first as well, is refused by what it says of its own.
    for name, folder, text in (
        ("second", second, message),
        ("third", third, f"run in {third} learned from other weights than last/line.*its stage1"),
    ):
        with pytest.raises(InputError, match=text):
            there.ensure(f"landmarks:{name}")
        with pytest.raises(InputError, match=text):
            there.train(named[name], folder)
    # One that needs the first by way of the second alone is refused, too.
    named["fourth"] = dataclasses.replace(CONFIG, initial="landmarks:second")
    with pytest.raises(InputError, match=message):
        there.ensure("landmarks:fourth")
    assert contents(tmp_path) == before
    there.train(named["second"], second, restart=True)
    assert there.ensure("landmarks:second") == second
    # Weights that are gone are nothing else than they were.
    shutil.rmtree(first)
    assert there.ensure("landmarks:second") == second
    assert not first.exists()


def test_weights_files_are_told_apart_as_well(named: dict[str, Any], tmp_path: Path) -> None:
    train(tmp_path / "mine")
    file = tmp_path / "other.safetensors"
    shutil.copy(tmp_path / "mine" / "last" / "line.safetensors", file)
    config = dataclasses.replace(CONFIG, initial=str(file))
    start(config, tmp_path / "run")
    start(config, tmp_path / "run")
    file.write_bytes(b"other")
    with pytest.raises(InputError, match=r"than other\.safetensors of its initial"):
        start(config, tmp_path / "run")
    assert int(start(config, tmp_path / "run", restart=True).step) == 4


def test_weights_that_are_gone_are_not_replaced_by_others(
    named: dict[str, Any], tmp_path: Path
) -> None:
    train(tmp_path / "mine")
    last, best = (tmp_path / "mine" / which / "line.safetensors" for which in ("last", "best"))
    best.parent.mkdir(exist_ok=True)
    shutil.copy(last, best)
    config = dataclasses.replace(CONFIG, initial=str(tmp_path / "mine"))
    run = tmp_path / "run"
    start(config, run)
    best.unlink()
    start(config, run)  # what is gone is not missed, nor forgotten
    best.write_bytes(b"other")
    with pytest.raises(InputError, match=r"than best/line\.safetensors of its initial"):
        start(config, run)
    for damaged in ("[]", '{"weights": []}', '{"weights": {"initial": 1}}'):
        (run / "environment.json").write_text(damaged)
        with pytest.raises(InputError, match=r"environment\.json is no description of a run"):
            run_folder.begun_with(run)


def test_a_run_that_needs_itself_is_refused(named: dict[str, Any], tmp_path: Path) -> None:
    named["a"] = dataclasses.replace(CONFIG, initial="landmarks:b")
    named["b"] = dataclasses.replace(CONFIG, stage1="landmarks:a")
    there = runs.Runs(tmp_path, Path("nowhere"))
    a, b = tmp_path / "landmarks-a", tmp_path / "landmarks-b"
    with pytest.raises(InputError, match=f"itself, but {a} needs {b} needs {a}; change"):
        there.ensure("landmarks:a")
    with pytest.raises(InputError, match=f"itself, but {b} needs {a} needs {b}; change"):
        there.train(named["a"], tmp_path / "elsewhere")
    assert named["made"] == []


def test_what_runs_that_are_named_would_be_refused_for_is_said_first(
    named: dict[str, Any], tmp_path: Path
) -> None:
    second = tmp_path / "landmarks-second"
    start(dataclasses.replace(CONFIG, g2=LandmarkConfig(sigma=1.5)), second)
    with pytest.raises(InputError, match=f"{second} holds a run of another configuration"):
        runs.Runs(tmp_path, Path("nowhere")).ensure("landmarks:third")
    assert not (tmp_path / "landmarks-first").exists()


def test_settings_are_those_of_every_run_that_is_named(
    named: dict[str, Any], tmp_path: Path
) -> None:
    there = runs.Runs(tmp_path, Path("nowhere"), ("train.steps=3",))
    there.ensure("landmarks:second")
    for name in ("first", "second"):
        assert runs.load_config(tmp_path / f"landmarks-{name}").train.steps == 3


def test_distilled_encoders_are_those_of_the_first_seed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trained: list[tuple[str, int]] = []

    def train(self: runs.Runs, config: Any, folder: Path) -> None:
        trained.append((str(folder.relative_to(tmp_path)), config.train.seed))

    monkeypatch.setattr(runs.Runs, "train", train)
    first = runs.Runs(tmp_path, Path("nowhere"))
    second = runs.Runs(tmp_path / "seed-1", Path("nowhere"), ("train.seed=1",), first=first)
    for name in ("recognition:centreface-small", "super_resolution:vdsr-small", "csri:joint-small"):
        second.ensure(name)
    assert trained == [
        ("recognition-centreface-small", 0),
        ("seed-1/super_resolution-vdsr-small", 1),
        ("seed-1/csri-joint-small", 1),
    ]
    # What no teacher looks at is nothing that a run goes on from.
    alone = runs.needed(runs.find_config("recognition:centreface_tuned-small"))
    assert {key for key in alone if key.startswith("teacher")} <= {"teacher_alignment.landmarks"}
    assert alone["teacher_alignment.landmarks"] == "resize"
    sources = second._sources(runs.find_config("csri:joint-small"))
    assert sources["initial_refiner"] == str(tmp_path / "seed-1" / "super_resolution-vdsr-small")
    assert sources["initial_encoder"] == str(tmp_path / "recognition-centreface-small")


def test_folders_and_files_are_no_names(named: dict[str, Any], tmp_path: Path) -> None:
    train(tmp_path / "mine")
    config = dataclasses.replace(CONFIG, initial=str(tmp_path / "mine"), stage1="not/there")
    start(config, tmp_path / "run")
    assert named["made"][-1] == config
    assert {path.name for path in tmp_path.iterdir()} == {"mine", "run"}


def test_names_are_names_whatever_lies_in_the_working_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "degradation").mkdir()
    (tmp_path / "mine.py").touch()
    for name in ("degradation", "degradation:small", "mine.py", "mine.py:strong", "absent.py"):
        assert runs.names_run(name), name
    for path in ("./degradation", "runs/degradation", "mine", "g1.safetensors", "pretrained"):
        assert not runs.names_run(path), path


def test_a_file_of_ones_own_is_named_without_a_variant(
    named: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    text = """
        from lrjax.config import TrainConfig
        from lrjax.tasks.landmarks import LandmarksConfig

        def get_config(variant="mine"):
            train = TrainConfig(batch_size=8, steps=4, samples=0)
            return LandmarksConfig(degradation="subsample", train=train)
    """
    (tmp_path / "first.py").write_text(textwrap.dedent(text))
    start(dataclasses.replace(CONFIG, initial="first.py"), tmp_path / "run")
    assert named["made"][-1].initial == str(tmp_path / "first")
    assert (tmp_path / "first" / "last" / "line.safetensors").is_file()


def test_fields_of_fields_may_name_runs(
    named: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    toy = tiny.toy_entry()
    made: list[RecognitionConfig] = []

    def load(config: RecognitionConfig, *about: Any) -> Loaded:
        made.append(config)
        return toy.load(LandmarksConfig(), *about)._replace(config=config)

    entry = toy._replace(config=RecognitionConfig, load=load)
    monkeypatch.setitem(runs.TASKS, "recognition", entry)
    alignment = AlignmentConfig("landmarks:first", fit="affine")
    config = RecognitionConfig(alignment=alignment, train=CONFIG.train)
    runs.Runs(tmp_path, Path("nowhere")).train(config, tmp_path / "run")
    folder = str(tmp_path / "landmarks-first")
    assert made == [
        dataclasses.replace(config, alignment=dataclasses.replace(alignment, landmarks=folder))
    ]
    assert (tmp_path / "landmarks-first" / "last" / "line.safetensors").is_file()
    assert runs.load_config(tmp_path / "run") == config


def test_configurations_are_found_by_name_and_in_files(tmp_path: Path) -> None:
    assert runs.find_config("degradation:small") == degradation.get_config("small")
    assert runs.find_config("degradation") == degradation.get_config()
    assert {"degradation", "landmarks", "recognition", "super_resolution", "csri"} <= set(
        runs.config_names()
    )
    file = tmp_path / "mine.py"
    file.write_text(
        textwrap.dedent(
            """
            from lrjax.config import TrainConfig
            from lrjax.tasks.degradation import DegradationConfig

            VARIANTS = ("strong", "mad")

            def get_config(variant="strong"):
                if variant == "mad":
                    return DegradationConfig(train=TrainConfig(keep=0))
                return {"strong": DegradationConfig(beta=3.0)}[variant]
            """
        )
    )
    assert runs.find_config(f"{file}:strong") == DegradationConfig(beta=3.0)
    assert runs.find_config(str(file)) == DegradationConfig(beta=3.0)
    assert runs.folder_of(f"{file}:strong", Path("runs")) == Path("runs/mine-strong")
    assert runs.folder_of("landmarks", Path("runs")) == Path("runs/landmarks")
    for name, message in (
        (f"{file}:weak", "has no variant 'weak'; there are strong, mad"),
        (f"{file}:mad", "mine.py:mad' means nothing: keep is 0; set it to 1 or more"),
        ("landmarks:s44", r"has no variant 's44' \(did you mean 's4'\?\); there are s1-paper, "),
        ("landmarks:cats", "has no variant 'cats'; there are s1-paper, "),
        ("cats", "no configuration 'cats'; there are .*degradation, .*or name a file"),
        (str(tmp_path / "absent.py"), "There is no file .*absent.py"),
    ):
        with pytest.raises(InputError, match=message):
            runs.find_config(name)


def test_mistakes_in_a_file_of_ones_own_are_told_as_they_are(tmp_path: Path) -> None:
    file = tmp_path / "wrong.py"
    text = """
        from lrjax.errors import InputError

        VARIANTS = ("attribute", "key", "input", "none")

        def get_config(variant="key"):
            if variant == "attribute":
                return variant.absent
            if variant == "input":
                raise InputError("The field beta is wrong.")
            return None if variant == "none" else {"strong": 1}["week"]
    """
    file.write_text(textwrap.dedent(text))
    with pytest.raises(AttributeError, match="absent"):
        runs.find_config(f"{file}:attribute")
    for name in (file, f"{file}:key"):
        with pytest.raises(KeyError, match="week"):
            runs.find_config(str(name))
    with pytest.raises(InputError, match=r"^The field beta is wrong"):
        runs.find_config(f"{file}:input")
    with pytest.raises(InputError, match=r"get_config of .*wrong\.py returns is of type NoneType"):
        runs.find_config(f"{file}:none")
    empty = tmp_path / "empty.py"
    empty.touch()
    with pytest.raises(InputError, match=r"empty\.py makes no configuration; define get_config"):
        runs.find_config(f"{empty}:mine")


# Two at once --------------------------------------------------------------------------------------


@pytest.mark.parametrize("restart", [False, True])
def test_a_second_trainer_changes_no_file_of_the_first(restart: bool, tmp_path: Path) -> None:
    train(tmp_path, steps=2)
    before = contents(tmp_path)
    others = (CONFIG, dataclasses.replace(CONFIG, g2=LandmarkConfig(sigma=1.5)))
    with exclusively(tmp_path, "training"):
        for config in others:
            with pytest.raises(InputError, match=r"Another process is training in .*wait for it"):
                start(config, tmp_path, restart=restart)
    assert contents(tmp_path) == before
    assert int(start(CONFIG, tmp_path, restart=restart).step) == 4


def test_a_second_process_is_refused_while_the_first_trains(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    train(tmp_path, steps=2)
    toy, refused = tiny.toy_entry(), []
    script = """
        import sys
        from pathlib import Path
        from lrjax.errors import InputError
        from lrjax.tasks import runs
        folder = Path(sys.argv[1])
        config = runs.load_config(folder)
        try:
            runs.Runs(folder.parent, Path("nowhere")).train(config, folder, restart=True)
        except InputError as error:
            print(error)
    """

    def make(config: LandmarksConfig, steps: int) -> Any:
        before = contents(tmp_path)
        command = [sys.executable, "-c", textwrap.dedent(script), str(tmp_path)]
        found = subprocess.run(command, capture_output=True, text=True, check=True)
        assert contents(tmp_path) == before
        refused.append(found.stdout)
        return toy.make(config, steps)

    monkeypatch.setitem(runs.TASKS, "landmarks", toy._replace(make=make))
    assert int(train(tmp_path).step) == 4
    assert len(refused) == 1
    assert re.match("Another process is training in", refused[0])


def test_restart_discards_the_run_of_another_configuration(tmp_path: Path) -> None:
    train(tmp_path, steps=2)
    other = dataclasses.replace(CONFIG, g2=LandmarkConfig(sigma=1.5))
    assert int(start(other, tmp_path, restart=True).step) == 4
    assert runs.load_config(tmp_path) == other
    assert [r["step"] for r in read(tmp_path / "metrics.jsonl") if "fit" in r] == [1, 2, 3, 4]


def test_restart_removes_nothing_if_anything_is_refused(
    named: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = tmp_path / "run"
    train(run, steps=2)
    before = contents(run)
    toy = runs.TASKS["landmarks"]

    def unprepared(*about: Any) -> Loaded:
        raise InputError("It is not prepared.")

    def unfit(config: LandmarksConfig, steps: int) -> Any:
        raise InputError("It does not fit.")

    def refused(message: str, config: LandmarksConfig = CONFIG) -> None:
        with pytest.raises(InputError, match=message):
            start(config, run, restart=True)
        assert contents(run) == before

    refused(r"no file landmark\.py", dataclasses.replace(CONFIG, initial="landmark.py"))
    for entry in (toy._replace(load=unprepared), toy._replace(make=unfit)):
        with monkeypatch.context() as patch:
            patch.setitem(runs.TASKS, "landmarks", entry)
            refused("It is not prepared|It does not fit")
    with monkeypatch.context() as patch:
        patch.setattr(parallel, "make_mesh", lambda: types.SimpleNamespace(size=3))
        refused("batch size 8 is not a multiple of the 3 devices")
    assert int(start(CONFIG, run, restart=True).step) == 4


def test_restart_removes_nothing_that_is_no_run(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("mine")
    with pytest.raises(InputError, match="holds no run but other files"):
        start(CONFIG, tmp_path, restart=True)
    assert contents(tmp_path).keys() == {"thesis.tex"}
