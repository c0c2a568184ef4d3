"""`lrjax train` and `lrjax config`, as they are called; what is trained is a toy."""

from __future__ import annotations

import dataclasses
import json
import signal
import subprocess
import time
from pathlib import Path

import child
import pytest
import tiny
from click.testing import CliRunner, Result

from lrjax.cli.config import config
from lrjax.cli.main import cli
from lrjax.config import from_dict, to_dict
from lrjax.configs.landmarks import get_config
from lrjax.errors import InputError
from lrjax.models import weights
from lrjax.tasks import runs
from lrjax.tasks.landmarks import LandmarksConfig
from lrjax.tasks.runs import find_config
from lrjax.training.checkpoint import Checkpoints

pytestmark = pytest.mark.usefixtures("quick_compile")


SETTINGS = ("--set", "train.steps=3", "--set", "train.batch_size=8", "--set", "train.samples=0")


@pytest.fixture(autouse=True)
def toy(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Landmarks are the toy task, and the working folder is empty."""
    monkeypatch.setitem(runs.TASKS, "landmarks", tiny.toy_entry())
    monkeypatch.chdir(tmp_path)


def train(*args: str) -> Result:
    """`lrjax train landmarks:s1` with short settings."""
    return CliRunner().invoke(cli, ["train", "landmarks:s1", *SETTINGS, *args])


def test_the_run_folder_is_named_after_the_configuration(tmp_path: Path) -> None:
    assert train().exit_code == 0
    folder = tmp_path / "runs" / "landmarks-s1"
    assert json.loads((folder / "config.json").read_text())["degradation"] == "subsample"
    assert train("--run-dir", "elsewhere/mine").exit_code == 0
    ours, default = (weights.read(f) for f in tmp_path.glob("**/last/line.safetensors"))
    assert tiny.same(ours[0], default[0])
    assert ours[1] == default[1]


def test_a_run_is_resumed_unless_it_is_to_be_restarted(tmp_path: Path) -> None:
    folder = tmp_path / "runs" / "landmarks-s1"
    assert train().exit_code == 0
    (folder / "mark").touch()
    assert train("--set", "train.steps=5").exit_code == 0
    assert Checkpoints(folder, 1).latest() == 5
    assert (folder / "mark").exists()
    again = train("--restart")
    assert again.exit_code == 0
    assert f"--restart removes what is in {Path('runs/landmarks-s1')}" in again.stderr
    assert Checkpoints(folder, 1).latest() == 3
    assert not (folder / "mark").exists()


def test_what_is_done_and_what_comes_next_is_said(tmp_path: Path) -> None:
    lines = train("--runs-dir", "mine").stdout.splitlines()
    assert lines == [
        "mine/landmarks-s1: finished after 3 steps.",
        "Next: lrjax evaluate mine/landmarks-s1 alrf:test",
    ]
    again = train("--runs-dir", "mine").stdout.splitlines()
    assert again[0].startswith("mine/landmarks-s1: finished after 3 steps, as before")
    assert again[1:] == lines[1:]


def test_restart_removes_nothing_but_runs(tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "me.jpg").touch()
    failed = train("--restart", "--run-dir", "photos")
    assert isinstance(failed.exception, InputError)
    assert "holds no run but other files" in str(failed.exception)
    assert (tmp_path / "photos" / "me.jpg").exists()


def wait_for_checkpoints(process: subprocess.Popen[str], folder: Path) -> None:
    """Until the run of a process has saved, or the process has ended."""
    while process.poll() is None and not list(folder.glob("checkpoints/*/_CHECKPOINT_METADATA")):
        time.sleep(0.05)


def test_ctrl_c_says_how_to_go_on(tmp_path: Path) -> None:
    arguments = ("train", "landmarks:s1", *SETTINGS, "--run-dir", tmp_path / "run")
    long = ("--set", "train.steps=1000000", "--set", "train.checkpoint_every=1")
    process = child.start("train_faces.py", *arguments, *long, STAND_IN="0")
    wait_for_checkpoints(process, tmp_path / "run")
    process.send_signal(signal.SIGINT)
    error = child.finish(process, status=130)
    assert f"lrjax: saved in {tmp_path / 'run'}; the same command goes on from there." in error
    assert "Traceback" not in error
    done = Checkpoints(tmp_path / "run", 1).latest()
    assert 0 < done < 1_000_000
    more = ("--set", f"train.steps={done + 2}", "--run-dir", str(tmp_path / "run"))
    assert train(*more).exit_code == 0
    assert Checkpoints(tmp_path / "run", 1).latest() == done + 2


def two_processes(folder: Path) -> list[subprocess.Popen[str]]:
    """Two processes of one endless run, which has saved."""
    # Ctrl-C is honoured where the processes ask each other: when they log.
    settings = ("train.steps=1000000", "train.checkpoint_every=1", "train.log_every=2")
    arguments = [word for setting in settings for word in ("--set", setting)]
    arguments += ["--run-dir", folder, "--coordinator", f"localhost:{child.free_port()}"]
    pair = [
        child.start(
            "train_faces.py",
            *("train", "landmarks:s1", *SETTINGS, *arguments, "--processes", 2, "--process", i),
            STAND_IN="0",
        )
        for i in range(2)
    ]
    wait_for_checkpoints(pair[0], folder)
    return pair


def test_ctrl_c_at_one_of_two_processes_stops_both(tmp_path: Path) -> None:
    pair = two_processes(tmp_path)
    pair[1].send_signal(signal.SIGINT)
    for process in pair:
        assert "the same command goes on from there" in child.finish(process, status=130)
    assert Checkpoints(tmp_path, 1).latest() > 0
    environment = json.loads((tmp_path / "environment.json").read_text())
    assert (environment["devices"], environment["processes"]) == (2, 2)


@pytest.mark.slow
@pytest.mark.parametrize("victim", [0, 1])
def test_a_process_that_dies_ends_the_other_with_a_sentence(victim: int, tmp_path: Path) -> None:
    pair = two_processes(tmp_path)
    pair[victim].kill()
    pair[victim].communicate()
    begun = time.monotonic()
    try:
        _, error = pair[1 - victim].communicate(timeout=300)
    finally:
        pair[1 - victim].kill()
    assert time.monotonic() - begun < 60
    last = error.strip().splitlines()[-1]
    if victim == 1:  # Who has lost the one that joins them all is ended by JAX, in its own words.
        assert pair[0].returncode == 1
        assert last.startswith("lrjax: Another process of this run has ended, or cannot be reached")
        assert "Traceback" not in error
    assert pair[1 - victim].returncode != 0


def test_processes_without_a_cluster_are_told_what_to_give(tmp_path: Path) -> None:
    process = child.start("train_faces.py", "train", "landmarks:s1", "--distributed", STAND_IN="0")
    error = child.finish(process, status=1)
    assert error.startswith("lrjax: The processes cannot be joined (coordinator_address should")
    assert "give each --coordinator HOST:PORT, --processes and its own --process" in error


def test_config_prints_what_is_trained() -> None:
    printed = CliRunner().invoke(config, ["landmarks:s3", "--set", "stage1=runs/g1"])
    values = json.loads(printed.stdout)
    expected = dataclasses.replace(get_config("s3"), stage1="runs/g1")
    assert from_dict(LandmarksConfig, values) == expected


def test_all_configurations_are_listed() -> None:
    names = CliRunner().invoke(config, ["--list"]).stdout.split()
    assert {"landmarks:s4-small", "degradation:paper", "csri:joint_tuned-quick"} <= set(names)
    assert dataclasses.is_dataclass(find_config(names[0]))
    assert "Name a configuration" in CliRunner().invoke(config, []).stderr


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("landmark:s1", r"no configuration 'landmark' \(did you mean 'landmarks'\?\); there are"),
        ("landmarks:s1-smal", r"\(did you mean 's1-small'\?\); there are"),
        ("faces", "no configuration 'faces'; there are csri, degradation, landmarks"),
        ("landmarks:s9", "'landmarks' has no variant 's9'; there are s1-paper"),
        ("landmarks:s1-tiny", "no variant 's1-tiny'"),
        ("degradation:s1", "'degradation' has no variant 's1'; there are paper"),
    ],
)
def test_unknown_configurations_are_named(name: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        find_config(name)


@pytest.mark.slow
def test_both_stages_train_one_after_the_other(tmp_path: Path) -> None:
    def run(name: str, *settings: str) -> None:
        fields = to_dict(tiny.shrunk(find_config(name)))
        settings = (
            *(f"{field}={json.dumps(value)}" for field, value in fields.items()),
            *("train.steps=4", "train.evaluate_every=2", *settings),
        )
        flags = [flag for setting in settings for flag in ("--set", setting)]
        child.finish(child.start("train_faces.py", "train", name, *flags, STAND_IN="real"))

    run("degradation")
    run("landmarks:s4", "stage1=runs/degradation")
    run("landmarks:s4", "stage1=runs/degradation", "train.steps=6")
    run("landmarks:pretrained68")
    run("landmarks:pretrained", "initial=runs/landmarks-pretrained68")
    folder = tmp_path / "runs" / "landmarks-s4"
    assert Checkpoints(folder, 1).latest() == 6
    assert {path.name for path in folder.glob("*/*.safetensors")} >= {"g2.safetensors"}
    assert list(folder.glob("samples/*.png"))
