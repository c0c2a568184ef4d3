"""The metrics file reads as if the run had never stopped."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

from lrjax.training.log import Log, Progress, read


def write(folder: Path, start: int, steps: range, errors: dict[int, float]) -> list[int]:
    """Records of `steps`; the steps whose held-out error was the least so far."""
    log, best = Log(folder, start), []
    for step in steps:
        log.record(step, {"loss": 1.0 / step})
        if step in errors and log.record(step, {"held_out/nme": errors[step]}, best="nme"):
            best.append(step)
    log.close()
    return best


def test_records_are_lines_of_json(tmp_path: Path) -> None:
    write(tmp_path, 0, range(1, 4), {2: 0.5})
    assert read(tmp_path / "metrics.jsonl") == [
        {"step": 1, "loss": 1.0},
        {"step": 2, "loss": 0.5},
        {"step": 2, "held_out/nme": 0.5, "best": 0.5},
        {"step": 3, "loss": 1 / 3},
    ]
    assert read(tmp_path / "none.jsonl") == []


def test_records_after_the_restored_step_are_dropped(tmp_path: Path) -> None:
    write(tmp_path, 0, range(1, 9), {})
    write(tmp_path, 5, range(6, 8), {})
    assert [r["step"] for r in read(tmp_path / "metrics.jsonl")] == [1, 2, 3, 4, 5, 6, 7]


def test_the_best_so_far_is_remembered_and_what_was_dropped_is_not(tmp_path: Path) -> None:
    assert write(tmp_path, 0, range(1, 7), {2: 0.5, 4: 0.6, 6: 0.1}) == [2, 6]
    assert write(tmp_path, 4, range(5, 8), {5: 0.5, 6: 0.4, 7: 0.45}) == [6]
    assert write(tmp_path, 7, range(8, 10), {8: 0.4, 9: math.nextafter(0.4, 0)}) == [9]


def test_without_a_criterion_nothing_is_best(tmp_path: Path) -> None:
    log = Log(tmp_path, 0)
    assert not log.record(1, {"held_out/pixel": 0.1}, best=None)
    log.close()
    assert "best" not in read(tmp_path / "metrics.jsonl")[0]


@pytest.mark.parametrize("cut", [2, 12, 25])
def test_a_line_cut_off_by_a_crash_is_left_out(cut: int, tmp_path: Path) -> None:
    write(tmp_path, 0, range(1, 4), {})
    path = tmp_path / "metrics.jsonl"
    path.write_bytes(path.read_bytes()[:-cut])
    assert [r["step"] for r in read(path)] == [1, 2]
    write(tmp_path, 3, range(4, 5), {})
    assert [json.loads(line)["step"] for line in path.read_text().splitlines()] == [1, 2, 4]


def test_records_are_on_disk_after_a_flush(tmp_path: Path) -> None:
    log = Log(tmp_path, 0)
    log.record(1, {"loss": 2.0})
    log.flush()
    assert read(log.path) == [{"step": 1, "loss": 2.0}]
    assert next((tmp_path / "tensorboard").iterdir()).stat().st_size > 0
    log.close()


def test_the_bar_shows_the_newest_values(capsys: pytest.CaptureFixture[str]) -> None:
    with Progress(10, 4) as bar:
        bar.note({"loss": 0.123456, "weighted/a": 1.0})
        bar.advance()
        bar.note({"nme": 0.05})
    shown = capsys.readouterr().err
    assert "5/10" in shown
    assert "loss=0.1235" in shown
    assert "weighted" not in shown


def test_the_bar_of_other_processes_is_not_shown(capsys: pytest.CaptureFixture[str]) -> None:
    with Progress(10, shown=False) as bar:
        bar.note({"loss": 1.0})
        bar.advance()
    assert capsys.readouterr().err == ""


def test_a_damaged_line_costs_itself_alone(tmp_path: Path) -> None:
    write(tmp_path, 0, range(1, 6), {})
    path = tmp_path / "metrics.jsonl"
    lines = path.read_bytes().splitlines()
    lines[2] = b"\xff" + lines[2][1:]
    lines[3] = b"[" * 100_000
    path.write_bytes(b"\n".join(lines))
    assert [r["step"] for r in read(path)] == [1, 2, 5]
    Log(tmp_path, 9).close()
    assert [r["step"] for r in read(path)] == [1, 2, 5]


@pytest.mark.parametrize("best", ['"0.1"', "[0.1]", "true", "null", '{"a": 1}'])
def test_a_damaged_best_is_not_believed(best: str, tmp_path: Path) -> None:
    write(tmp_path, 0, range(1, 4), {2: 0.5, 3: 0.4})
    path = tmp_path / "metrics.jsonl"
    path.write_text(path.read_text().replace('"best": 0.4', f'"best": {best}'))
    assert write(tmp_path, 3, range(4, 6), {4: 0.6, 5: 0.45}) == [5]


def test_a_full_disk_is_told_by_the_metrics(
    tmp_path: Path, small_files: Callable[[int], AbstractContextManager[None]]
) -> None:
    """In the thread that trains, which would wait for one that died."""
    log = Log(tmp_path, 0)
    with small_files(60):
        log.record(1, {"loss": 1.0, "a": 2.0, "b": 3.0, "c": 4.0, "d": 5.0})
        with pytest.raises(OSError, match="File too large") as caught:
            log.flush()
    assert caught.value.filename == str(tmp_path / "metrics.jsonl")
    log.close()


@pytest.mark.parametrize("best", ["-Infinity", "NaN", "-" + "9" * 400])
def test_an_infinite_best_is_not_believed(best: str, tmp_path: Path) -> None:
    write(tmp_path, 0, range(1, 4), {2: 0.5, 3: 0.4})
    path = tmp_path / "metrics.jsonl"
    path.write_text(path.read_text().replace('"best": 0.4', f'"best": {best}'))
    assert write(tmp_path, 3, range(4, 6), {4: 0.6, 5: 0.45}) == [5]
