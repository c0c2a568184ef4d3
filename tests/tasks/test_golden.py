"""Every task, in every setting of its losses, computes what it did when that was recorded."""

from __future__ import annotations

import copy
import json
from pathlib import Path

import golden
import pytest

pytestmark = pytest.mark.usefixtures("quick_compile")

TOLERANCE = 1e-6


@pytest.mark.parametrize("name", golden.CASES)
def test_five_steps_are_as_recorded(name: str, tmp_path: Path) -> None:
    found, _ = golden.outcome(name, tmp_path)
    recorded = json.loads((golden.RECORDS / f"{name}.json").read_text())
    said = golden.differences(found, recorded, TOLERANCE)
    assert not said, "\n".join(said)


def test_every_record_is_of_a_case() -> None:
    assert {path.stem for path in golden.RECORDS.glob("*.json")} == set(golden.CASES)


def test_what_moves_or_is_missing_is_said() -> None:
    recorded = json.loads((golden.RECORDS / "landmarks-s4.json").read_text())
    assert not golden.differences(recorded, recorded, TOLERANCE)
    moved = copy.deepcopy(recorded)
    moved["networks"]["d2/params"][2] += 1e-4
    del moved["losses"]["began/k"]
    moved["metrics"]["conf"][4] *= 1 + 1e-5
    said = "\n".join(golden.differences(moved, recorded, TOLERANCE))
    for name in ("d2/params is [", "began/k is in one record only", "conf is ["):
        assert name in said
    assert said.count("\n") == 2
