"""Experiments are found in their folder and in files of a user's, run, and recorded."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from lrjax import experiments
from lrjax.errors import InputError
from lrjax.experiments import runner
from lrjax.experiments.context import TESTS, Context
from lrjax.report.results import Result
from lrjax.tasks.runs import Runs

MINE = '''
import numpy as np
from lrjax.report.results import Result

def first(context):
    """Mine: a first look.

    Measures nothing.
    """
    figure = context.figure("mine.png", "Nothing.", np.zeros((2, 3, 3), np.uint8))
    return Result("Mine", figures=(figure,), data=context.tests.native)

EXPERIMENTS = {"first": first}
'''


def context(folder: Path, **changes: object) -> Context:
    fields = {"size": "quick", "runs_dir": folder / "runs", "results_dir": folder / "results"}
    return Context.create(**(fields | {"data_dir": folder / "data"} | changes))


def test_all_experiments_are_found_and_say_what_they_show() -> None:
    names = runner.names()
    assert set(names) == {
        *(
            "pretrained",
            "confidence",
            "peers",
            "figure1",
            "figure4",
            "table1a",
            "table1b",
            "figure6",
            "table4",
            "figure8",
        ),
        *("table2a", "table2b", "table3", "mtcnn"),
        *(f"csri_table{number}" for number in (3, 4, 5, 6, 7)),
        "csri_figure8",
    }
    for name, line in names.items():
        assert len(line) > 20, name
        assert "Context" not in line, name


def test_a_file_of_a_user_s_is_run_by_its_path(tmp_path: Path) -> None:
    file = tmp_path / "mine.py"
    file.write_text(MINE)
    given = context(tmp_path)
    result = runner.run(f"{file}:first", given)
    assert result == Result.load(given.results / "first.json")
    assert (result.title, result.data) == ("Mine", "synthetic_faces:lr_test")
    assert result.command == f"lrjax experiment {file}:first --size quick"
    assert result.seconds is not None
    assert result.date
    assert result.hardware
    picture = np.asarray(Image.open(given.results / result.figures[0].file))
    assert picture.shape == (2, 3, 3)


def test_a_file_in_the_folder_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "added.py").write_text(MINE)
    monkeypatch.setattr(experiments, "__path__", [*experiments.__path__, str(tmp_path)])
    assert runner.names()["first"] == "Mine: a first look."
    assert runner.run("first", context(tmp_path)).title == "Mine"


def test_what_is_not_there_is_refused_in_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(
        InputError, match=r"no experiment 'table9'.*; there are confidence, csri_figure8"
    ):
        runner.find("table9")
    with pytest.raises(InputError, match=r"no file .*absent\.py"):
        runner.find(f"{tmp_path}/absent.py:first")
    (tmp_path / "mine.py").write_text(MINE)
    with pytest.raises(InputError, match=r"no experiment 'second'.*; there are first"):
        runner.find(f"{tmp_path}/mine.py:second")
    (tmp_path / "none.py").write_text("")
    with pytest.raises(InputError, match="no experiment 'first'"):
        runner.find(f"{tmp_path}/none.py:first")


def test_the_command_repeats_what_was_asked_for(tmp_path: Path) -> None:
    assert context(Path(), results_dir=Path("results")).command("table1b") == (
        "lrjax experiment table1b --size quick --data-dir data"
    )
    there = context(
        tmp_path,
        size="small",
        runs_dir=Path("my runs"),
        settings=("train.steps=2", "augment.scale=[1, 2]"),
        encoder=Path("arc.safetensors"),
    )
    assert there.command("table2b") == (
        "lrjax experiment table2b --size small --runs-dir 'my runs' --set train.steps=2 "
        "--set 'augment.scale=[1, 2]' --encoder arc.safetensors"
    )


def test_each_seed_has_its_own_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []
    monkeypatch.setattr(Runs, "ensure", lambda self, name: asked.append((self.folder, name)))
    given = context(tmp_path, settings=("augment.tight=0",), seeds=3)
    assert given.command("table1b").endswith("--set augment.tight=0 --seeds 3")
    for one in given.seeded():
        one.run("landmarks:s4")
    runs = tmp_path / "runs"
    folders = (runs, runs / "seed-1", runs / "seed-2")
    assert asked == [(folder, "landmarks:s4-quick") for folder in folders]
    assert [(one.seed, one.runs.settings[1:]) for one in given.seeded()] == [
        (0, ()),
        (1, ("train.seed=1",)),
        (2, ("train.seed=2",)),
    ]
    assert "one seed" in context(tmp_path).judged("faces")
    assert "3 seeds" in given.judged("faces")


def test_seeds_that_cannot_be_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="number of seeds is 0; give 1 or more"):
        context(tmp_path, seeds=0)
    with pytest.raises(InputError, match=r"2 seeds, and `train\.seed` is set"):
        context(tmp_path, seeds=2, settings=("train.seed=3",))
    assert context(tmp_path, settings=("train.seed=3",)).seed == 3


def test_runs_are_those_of_the_size(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []
    monkeypatch.setattr(Runs, "ensure", lambda self, name: asked.append(name))
    for size in TESTS:
        given = context(tmp_path, size=size)
        given.run("landmarks:s4")
        given.run("degradation")
    assert asked == [
        *("landmarks:s4", "degradation", "landmarks:s4-w300", "degradation:w300"),
        *("landmarks:s4-small", "degradation:small", "landmarks:s4-quick", "degradation:quick"),
    ]
