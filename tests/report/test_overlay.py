"""Photographs with boxes and points on them."""

import numpy as np

from lrjax.report.draw import GREEN, ORANGE
from lrjax.report.overlay import LARGEST, enlargement, photo_overlay


def test_small_faces_are_enlarged_and_large_ones_left() -> None:
    assert enlargement((100, 200, 3), [[0, 0, 20, 20]]) == 6
    assert enlargement((100, 200, 3), [[0, 0, 20, 45]]) == 4
    assert enlargement((900, 900, 3), [[0, 0, 300, 300]]) == 1
    assert enlargement((900, 900, 3), []) == 1


def test_a_large_photograph_stays_within_bounds() -> None:
    scale = enlargement((1500, 2000, 3), [[0, 0, 10, 10]])
    assert scale == 2
    assert 1500 * 2000 * scale**2 <= LARGEST < 1500 * 2000 * (scale + 1) ** 2
    assert enlargement((9000, 9000, 3), [[0, 0, 10, 10]]) == 1


def test_the_frame_outlines_the_pixels_of_the_box() -> None:
    image = np.zeros((30, 40, 3), np.uint8)
    canvas = photo_overlay(image, [[10, 5, 20, 20]], np.zeros((0, 68, 2)))
    assert canvas.shape == (180, 240, 3)
    orange = (canvas == ORANGE).all(-1)
    rows, columns = np.nonzero(orange)
    assert (columns.min(), columns.max() + 1) == (60, 180)
    assert (rows.min(), rows.max() + 1) == (30, 150)
    assert not orange[40:140, 70:170].any()
    assert not image.any()


def test_points_are_drawn_where_they_are() -> None:
    """Also those of a face that is partly, or wholly, beyond the photograph."""
    image = np.zeros((30, 40, 3), np.uint8)
    points = np.array(
        [[[12.0, 8.0], [25.5, 20.25]], [[-3.0, 4.0], [2.0, 4.0]], [[90, 90], [99, 95]]]
    )
    canvas = photo_overlay(image, [[10, 5, 20, 20]], points).astype(int)
    green = canvas[..., 1] > 200
    for x, y in ((12.0, 8.0), (25.5, 20.25), (2.0, 4.0)):
        column, row = round((x + 0.5) * 6 - 0.5), round((y + 0.5) * 6 - 0.5)
        assert green[row, column]
        assert (canvas[row, column] == GREEN).all()
    assert not green[150:].any()


def test_an_image_without_faces_is_itself() -> None:
    image = np.random.default_rng(0).integers(0, 256, (9, 8, 3), dtype=np.uint8)
    np.testing.assert_array_equal(photo_overlay(image, [], []), image)
