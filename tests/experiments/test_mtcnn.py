"""MTCNN's row of Table 1a: what is found is measured, and what is not is a failure."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import drawn
import numpy as np
import pytest
from PIL import Image

from lrjax.experiments import mtcnn
from lrjax.experiments.context import Context
from lrjax.experiments.mtcnn import Scores, overlaps
from lrjax.geometry.points import FIVE, Scheme
from lrjax.inference.detector import FaceDetector
from lrjax.tasks.measure import Measured


def test_overlaps_by_hand() -> None:
    boxes = np.array([[0.0, 0, 4, 4], [2, 0, 4, 4], [9, 9, 1, 1]])
    np.testing.assert_allclose(overlaps(boxes, np.array([0.0, 0, 4, 4])), [1, 8 / 24, 0])
    assert overlaps(boxes[:0], boxes[0]).shape == (0,)


def test_the_points_of_the_annotated_face_are_taken() -> None:
    """Each of three by its box; none where there is no face, or elsewhere."""
    photo, boxes = drawn.crowd()
    black = Image.new("RGB", (60, 60))
    detector, times = FaceDetector.load(), []
    elsewhere = boxes[0] + (60, 60, 0, 0)
    given = np.stack([*boxes, np.array([10.0, 10, 30, 30]), elsewhere])
    points, sure = mtcnn._find(detector, times, [photo] * 3 + [black, photo], given)
    assert len(times) == 5
    inside = (points >= given[:, None, :2]) & (points < given[:, None, :2] + given[:, None, 2:])
    assert inside[:3].all()
    assert (sure[:3] > 0.7).all()
    assert not points[3:].any()
    assert not sure[3:].any()


def test_faces_that_were_not_found_are_failures() -> None:
    some = Scores(np.array([0.02, 0.04, 0.09, np.inf]), 1.0)
    assert some.nrmse == pytest.approx(0.05)
    assert some.median == pytest.approx(0.065)
    assert some.failures == 50
    none = Scores(np.array([0.02, np.inf, np.inf]), 1.0)
    assert (none.nrmse, none.median) == (0.02, None)
    assert Scores(np.array([np.inf]), 1.0).nrmse is None


def test_each_face_has_its_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One is two pixels off on a side of ten, one was not found."""
    truth = np.random.default_rng(0).uniform(2, 8, (2, 5, 2))
    found = Measured(
        label="a:b",
        data="",
        names=("0", "1"),
        predicted=np.stack([truth[0] + (2, 0), np.zeros((5, 2))]),
        truth=truth,
        visible=np.ones((2, 5), bool),
        boxes=np.array([[0.0, 0, 10, 10]] * 2),
        confidence=np.array([0.9, 0.0]),
        scheme=FIVE,
    )

    def measure(find: Callable, scheme: Scheme, spec: str, data_dir: Path) -> Measured:
        find([Image.new("RGB", (20, 20))], found.boxes[:1])
        assert (scheme, spec, data_dir) == (FIVE, "a:b", tmp_path)
        return found

    monkeypatch.setattr(mtcnn, "measure_finder", measure)
    some = mtcnn.scores("a:b", tmp_path)
    np.testing.assert_allclose(some.errors, [0.2, np.inf])
    assert 0 < some.seconds < 60


def test_the_row_and_the_table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def scores(spec: str, data_dir: Path) -> Scores:
        asked.append((spec, data_dir))
        return Scores(np.array([0.02, 0.04, 0.09, np.inf]), 0.5)

    monkeypatch.setattr(mtcnn, "scores", scores)
    name, *numbers = mtcnn.row("a:b", tmp_path)
    assert name == "MTCNN (published weights, finds 3 of 4 in their photographs)"
    # The first is the mean over all faces, of which there is none where some have no points.
    assert numbers == [None, None, None, pytest.approx(0.05), pytest.approx(0.065), 0.5]
    (table,) = mtcnn.mtcnn(Context.create("small", tmp_path, tmp_path, tmp_path)).tables
    assert asked == [("a:b", tmp_path), ("alrf:test", tmp_path)]
    assert table.rows[0] == ("paper", "479 of 700", 0.9736, None, None, 0.388)
    assert table.rows[1] == ("ours", "3 of 4", pytest.approx(0.05), pytest.approx(0.065), 50, 0.5)
