"""Errors on prepared faces, against truth that is known by construction."""

import numpy as np
import pytest
from PIL import Image

from lrjax.geometry.points import FIVE, IBUG68
from lrjax.tasks.measure import Measured, scale_box, shrink


@pytest.mark.parametrize("factor", [1.0, 0.5, 0.337, 0.061])
def test_points_of_a_shrunk_photograph(factor: float) -> None:
    """A dot's centroid moves to (x + 0.5) factor - 0.5, whatever the factor."""
    dot, sigma = np.array([233.0, 120.0]), 3.0 / factor
    columns, rows = np.meshgrid(np.arange(480), np.arange(400))
    light = np.exp(-((columns - dot[0]) ** 2 + (rows - dot[1]) ** 2) / (2 * sigma**2))
    small = shrink(Image.fromarray((255 * np.dstack([light] * 3)).astype(np.uint8)), factor)
    assert small.size == (int(480 * factor), int(400 * factor))
    pixels = np.asarray(small)[..., 0].astype(float)
    pixels[pixels < pixels.max() / 10] = 0
    y, x = np.indices(pixels.shape)
    found = np.array([(x * pixels).sum(), (y * pixels).sum()]) / pixels.sum()
    np.testing.assert_allclose(found, (dot + 0.5) * factor - 0.5, atol=0.03)


def test_a_box_shrinks_about_its_centre() -> None:
    """Corners of the covered area, half a pixel around the pixel centres, scale like points."""
    box, factor = np.array([10.0, 20.0, 32.0, 50.0]), 0.3
    x, y, w, h = scale_box(box, factor)
    np.testing.assert_allclose([x, y], np.array([10, 20]) * factor)
    np.testing.assert_allclose([x + w, y + h], np.array([42, 70]) * factor)


def measured(scheme, predicted, truth) -> Measured:
    return Measured(
        label="a:b",
        data="a:b: 1 face",
        names=("0",),
        predicted=predicted,
        truth=truth,
        visible=np.ones(truth.shape[:2], bool),
        boxes=np.array([[0.0, 0, 16, 25]]),
        confidence=np.ones(1),
        scheme=scheme,
    )


def test_each_normaliser() -> None:
    truth = np.zeros((1, 68, 2))
    truth[0, 36], truth[0, 45] = (0, 0), (10, 0)
    truth[0, 37:42], truth[0, 42:45], truth[0, 46:] = (3, 0), (8, 0), (8, 0)
    truth[0, 48:] = (5, 9)
    found = measured(IBUG68, truth + np.array([0.3, 0.4]), truth)
    assert found.normalisers == ("inter_ocular", "inter_pupil", "face_size")
    np.testing.assert_allclose(found.errors("inter_ocular"), 0.5 / 10)
    left, right = 2.5, (3 * 8 + 10 + 2 * 8) / 6
    np.testing.assert_allclose(found.errors("inter_pupil"), 0.5 / (right - left))
    np.testing.assert_allclose(found.errors("face_size"), 0.5 / 20)


def test_five_points_are_measured_by_the_box() -> None:
    found = measured(FIVE, np.ones((1, 5, 2)), np.zeros((1, 5, 2)))
    assert found.normalisers == ("face_size",)
    np.testing.assert_allclose(found.errors("face_size"), np.sqrt(2) / 20)
