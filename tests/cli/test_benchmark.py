import json
from pathlib import Path

import people
import pytest
from click.testing import CliRunner
from measured import RANKED
from PIL import Image

from lrjax.benchmark import identification, training
from lrjax.cli.benchmark import benchmark
from lrjax.data.identities import Identities
from lrjax.errors import InputError
from lrjax.inference.alignment import decode_identity
from lrjax.report.results import Result

FED = ("constant batch", "device feed", "host feed")
TINY = (
    "g2.stem=4",
    "g2.widths=[4]",
    "d2.stem=4",
    "d2.widths=[4]",
    "d3.widths=[4]",
    "d3.pooled_blocks=1",
    "d3.hidden=4",
    "train.batch_size=4",
)


@pytest.mark.slow
def test_the_command_measures_and_writes(tmp_path: Path) -> None:
    settings = [f"--set={s}" for s in TINY]
    effort = ["--rounds=2", "--seconds=0.01", "--faces=8", "--no-torch"]
    where = [f"--results-dir={tmp_path / 'out'}", f"--profile={tmp_path / 'trace'}"]
    result = CliRunner().invoke(
        benchmark, ["landmarks:s4-quick", *settings, *effort, *where], catch_exceptions=False
    )
    assert result.exit_code == 0
    assert "device feed" in result.output
    saved = Result.load(tmp_path / "out" / "benchmark.json")
    assert [table.title for table in saved.tables] == [
        "Training step of landmarks:s4-quick",
        "Compilation and work",
        "Forward pass of G2",
    ]
    raw = json.loads((tmp_path / "out" / "measurements.json").read_text())
    assert raw["images"] == 8
    assert raw["flops"] > 1e6
    assert set(raw["steps"]) == {
        "constant batch",
        "device feed",
        "host feed",
        "matrix product",
    }
    assert all(len(times["samples"]) == 2 for times in raw["steps"].values())
    assert any((tmp_path / "trace").rglob("*.xplane.pb"))


@pytest.mark.usefixtures("quick_compile")
def test_recognition_is_measured_with_its_pictures(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    people.use_small()
    read = []

    def decoded(identities: Identities, index: int) -> Image.Image:
        read.append(index)
        return decode_identity(identities, index)

    monkeypatch.setattr("lrjax.inference.aligner.decode_identity", decoded)
    product = training.matrix_product
    monkeypatch.setattr(training, "matrix_product", lambda size: product(64))
    settings = ["--set=network=small", "--set=train.batch_size=4"]
    effort = ["--rounds=2", "--seconds=0.001", "--faces=6", "--no-torch"]
    result = CliRunner().invoke(
        benchmark,
        ["recognition", *settings, *effort, f"--results-dir={tmp_path}"],
        catch_exceptions=False,
    )
    assert result.exit_code == 0
    saved = Result.load(tmp_path / "benchmark-recognition.json")
    assert [table.title for table in saved.tables] == [
        "Training step of recognition:casia-quick",
        "Compilation and work",
    ]
    assert [row[0] for row in saved.tables[0].rows] == list(FED)
    assert "A step takes 4 pictures" in saved.tables[0].note
    assert not (tmp_path / "benchmark.json").exists()
    raw = json.loads((tmp_path / "benchmark-recognition-measurements.json").read_text())
    assert raw["images"] == 4
    assert raw["forwards"] == {}
    assert set(raw["steps"]) == {*FED, "matrix product"}
    assert all(len(times["samples"]) == 2 for times in raw["steps"].values())
    # The host feed's: a first step, one to see how long it takes, and two for each sample at least.
    assert len(read) >= 4 * (2 + 2 * 2)


def test_what_cannot_be_measured_is_refused() -> None:
    for arguments, words in (
        (["degradation:small"], "Only configurations of landmarks and recognition"),
        (["recognition", "--size=quick"], "not both"),
        (["recognition", "--torch"], "recognition has no PyTorch twin"),
        (["recognition", '--set=labelled=["lfw:test"]'], "the pictures of 'lfw'"),
        (["landmarks:s4-small", "--size=quick"], "not both"),
    ):
        with pytest.raises(InputError, match=words):
            CliRunner().invoke(benchmark, arguments, catch_exceptions=False)


def test_the_command_writes_what_was_measured(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = []

    def run(*arguments: object) -> identification.Measurements:
        given.append(arguments[:-1])
        return RANKED

    monkeypatch.setattr(identification, "run", run)
    arguments = ["identification", "--distractors=60", "--largest=80", "--rounds=3"]
    result = CliRunner().invoke(
        benchmark, [*arguments, f"--results-dir={tmp_path}"], catch_exceptions=False
    )
    assert result.exit_code == 0
    assert "faiss, flat" in result.output
    assert given == [(identification.Sizes(distractors=60), 80, 3, 2.0)]
    saved = Result.load(tmp_path / "identification.json")
    assert [table.title for table in saved.tables] == [
        "Time of TinyFace's protocol",
        "Memory by size of the gallery",
    ]
    raw = json.loads((tmp_path / "identification-measurements.json").read_text())
    assert raw["times"]["lrjax"]["samples"] == [3.0, 2.8, 6.0]


def test_what_belongs_to_training_is_refused() -> None:
    with pytest.raises(InputError, match="of training"):
        CliRunner().invoke(benchmark, ["identification", "--size=quick"], catch_exceptions=False)


@pytest.mark.usefixtures("quick_compile")
def test_a_step_of_any_task_is_compiled_and_shown(tmp_path: Path) -> None:
    people.use_small()
    tiny = ("network=small", "refiner.width=4", "refiner.layers=3", "train.batch_size=2")
    settings = [f"--set={s}" for s in tiny]
    arguments = ["csri:joint", "--program", *settings, f"--results-dir={tmp_path}"]
    result = CliRunner().invoke(benchmark, arguments, catch_exceptions=False)
    assert result.exit_code == 0
    assert "all-reduce of gradients" in result.output
    saved = Result.load(tmp_path / "program.json")
    assert saved.title == "Compiled step of csri:joint"
    assert (
        saved.command
        == f"lrjax benchmark csri:joint {' '.join(f'--set {s}' for s in tiny)} --program"
    )
    raw = json.loads((tmp_path / "program-measurements.json").read_text())
    assert raw["examples"] == 2
    assert raw["host"] == []


def test_a_program_is_of_training_and_runs_nothing() -> None:
    for arguments, words in (
        (["identification", "--program"], "--program are of training"),
        (["csri:joint", "--program", "--torch"], "--program runs no step"),
    ):
        with pytest.raises(InputError, match=words):
            CliRunner().invoke(benchmark, arguments, catch_exceptions=False)
