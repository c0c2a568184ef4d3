"""The pretrained network beside its peers: where dlib looks, and what is said of errors."""

from __future__ import annotations

import sys
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from PIL import Image

from lrjax.experiments import peers


def test_dlib_looks_at_the_square_of_the_box(monkeypatch: pytest.MonkeyPatch) -> None:
    """In a picture four times as large; its points come back in the pixels of the first one."""
    asked: list[tuple[tuple[int, ...], tuple[int, int]]] = []

    def predictor(pixels: np.ndarray, box: tuple[int, ...]) -> Any:
        asked.append((box, pixels.shape[:2]))
        points = [SimpleNamespace(x=box[i % 2 * 2], y=box[i % 2 * 2 + 1]) for i in range(68)]
        return SimpleNamespace(parts=lambda: points)

    monkeypatch.setitem(sys.modules, "dlib", SimpleNamespace(rectangle=lambda *box: box))
    photo, box = Image.new("RGB", (60, 50)), np.array([[10.0, 20.0, 9.0, 16.0]])
    points, _ = peers._find(predictor, 1.25, [photo], box)
    # Its centre is (14, 27.5), that is (57.5, 111.5) there, and its square's side 12 * 1.25 * 4.
    assert asked == [((27, 81, 87, 141), (200, 240))]
    np.testing.assert_allclose(points[0, :2], [[6.375, 19.875], [21.375, 34.875]])
    assert points.shape == (1, 68, 2)


def test_rows_tell_of_faces_that_were_not_found_and_of_the_difference() -> None:
    ours = np.array([0.01, 0.02, 0.03, 0.1, np.nan])
    theirs = np.array([0.03, 0.04, np.inf, 0.12, np.nan])
    own, other = peers.compared(("a:b",), {"lrjax": ours, "theirs": theirs})
    assert own == ("a:b", "lrjax", "4", pytest.approx(4), pytest.approx(2.5), 25, None)
    # Each of the three that both find has two percent more; the median is of all four.
    assert other[:3] == ("a:b", "theirs", "3 of 4")
    assert other[3:6] == (pytest.approx(19 / 3), pytest.approx(8), 50)
    assert other[6] == "2.00 to 2.00"
