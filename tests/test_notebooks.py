"""The notebooks of the documentation run from their first cell to their last one."""

from __future__ import annotations

import json
import re
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lrjax.models import registry

pytestmark = pytest.mark.usefixtures("quick_compile")

NOTEBOOKS = Path(__file__).resolve().parent.parent / "docs" / "notebooks"


def cells(name: str) -> list[dict[str, Any]]:
    return json.loads((NOTEBOOKS / f"{name}.ipynb").read_text())["cells"]


def run(name: str) -> dict[str, Any]:
    """Run the cells of code in one namespace, as a kernel does: what it holds then."""
    space: dict[str, Any] = {"__name__": "__main__"}
    for number, cell in enumerate(cells(name)):
        if cell["cell_type"] == "code":
            exec(compile("".join(cell["source"]), f"{name}, cell {number}", "exec"), space)
    return space


@pytest.fixture(autouse=True)
def apart(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Nothing is left behind."""
    monkeypatch.setattr(registry, "NETWORKS", dict(registry.NETWORKS))
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))


def test_notebooks_hold_no_outputs_and_no_paths() -> None:
    names = sorted(path.stem for path in NOTEBOOKS.glob("*.ipynb"))
    assert names == ["photograph", "training"]
    for name in names:
        for cell in cells(name):
            assert not cell.get("outputs")
            assert cell.get("execution_count") is None
            assert not re.search(r"/(home|work|tmp|Users|root)\b", "".join(cell["source"]))


def test_from_a_photograph_to_aligned_faces(capsys: pytest.CaptureFixture[str]) -> None:
    space = run("photograph")
    assert len(space["found"]) == 30  # as many as hang on the wall
    assert space["aligned"].images.shape == (30, 112, 112, 3)
    assert space["sound"].all()
    said = capsys.readouterr().out
    assert "30 faces, the least sure" in said
    assert re.search(r"left_eye +\d+\.\d +\d+\.\d +confidence 0\.\d\d", said)


def test_training_and_the_state(capsys: pytest.CaptureFixture[str]) -> None:
    began = time.process_time()
    space = run("training")
    assert time.process_time() - began < 120
    state, log, config = space["state"], space["log"], space["config"]
    assert int(state.step) == space["steps"]
    assert set(state.nets) == {"g2", "d2"}
    assert log[-1]["mse"] < log[0]["mse"]
    # The state's k_t is what was logged last; by Eq. 8 the next one follows.
    k = float(state.losses["began"].k)
    assert k == pytest.approx(log[-1]["k"])
    assert 0 < k < 1
    expected = k + config.lambda_k * (config.gamma * log[-1]["kp_real"] - log[-1]["kp_fake"])
    np.testing.assert_allclose(float(space["again"].k), np.clip(expected, 0, 1), rtol=1e-5)
    assert "k_t is" in capsys.readouterr().out
    assert space["error"] < space["crop"] / 4  # of a picture half as large
