"""Pictures: where marks land, what grids contain, what is refused."""

import io

import numpy as np
import pytest
from PIL import Image

from lrjax.errors import InputError
from lrjax.report import draw

BLACK = np.zeros((20, 24, 3), np.uint8)
RED = (255, 0, 0)


def centroid(picture: np.ndarray) -> np.ndarray:
    """Centre (x, y) of the red in a picture, in its own pixels."""
    weight = picture[..., 0].astype(float)
    weight[weight < 20] = 0  # The dark outline.
    y, x = np.mgrid[: picture.shape[0], : picture.shape[1]]
    return np.array([(x * weight).sum(), (y * weight).sum()]) / weight.sum()


@pytest.mark.parametrize("scale", [1, 5, 8])
@pytest.mark.parametrize("point", [(7.0, 11.0), (7.3, 10.6), (12.5, 8.5)])
def test_points_lie_at_pixel_centres(scale: int, point: tuple[float, float]) -> None:
    picture = draw.draw_points(BLACK, [point], [True], RED, scale)
    assert picture.shape == (20 * scale, 24 * scale, 3)
    expected = (np.array(point) + 0.5) * scale - 0.5
    np.testing.assert_allclose(centroid(picture), expected, atol=0.06)


def test_whole_numbered_point_is_symmetric_in_its_enlarged_pixel() -> None:
    picture = draw.draw_points(BLACK, [[7, 11]], [True], RED, 9)[..., 0]
    patch = picture[11 * 9 : 12 * 9, 7 * 9 : 8 * 9]
    assert patch.max() == 255
    np.testing.assert_array_equal(patch, patch[::-1])
    np.testing.assert_array_equal(patch, patch[:, ::-1])
    np.testing.assert_array_equal(patch, patch.T)


def test_disc_covers_its_area() -> None:
    canvas = np.zeros((40, 40, 3))
    draw._stroke(canvas, np.array([19.3, 20.1]), np.array([19.3, 20.1]), 5.0, (1, 1, 1), 1.0)
    assert canvas[..., 0].sum() == pytest.approx(np.pi * 25, rel=0.01)


def test_line_covers_its_area() -> None:
    canvas = np.zeros((40, 40, 3))
    draw._stroke(canvas, np.array([8.0, 9.0]), np.array([28.0, 24.0]), 1.5, (1, 1, 1), 1.0)
    # 25 long, 3 wide, and two half discs at its ends.
    assert canvas[..., 0].sum() == pytest.approx(25 * 3 + np.pi * 1.5**2, rel=0.01)


def test_invisible_points_are_not_drawn_and_may_hold_anything() -> None:
    points = [[np.nan, 3.0], [5.0, np.inf]]
    picture = draw.draw_points(BLACK, points, [False, False], RED, 3)
    np.testing.assert_array_equal(picture, draw.enlarge(BLACK, 3))


def test_points_outside_are_cut_off_at_the_border() -> None:
    outside = draw.draw_points(BLACK, [[-500.0, 4.0], [900.0, 4.0]], [True, True], RED, 2)
    np.testing.assert_array_equal(outside, draw.enlarge(BLACK, 2))
    corner = draw.draw_points(BLACK, [[0.0, 0.0]], [True], RED, 2)
    assert corner[0, 0, 0] > 0
    assert corner[10:, 10:].max() == 0


def test_68_points_are_connected_where_both_ends_are_visible() -> None:
    points = np.full((68, 2), -900.0)
    points[0], points[1] = [4, 10], [20, 10]
    visible = np.zeros(68, bool)
    visible[:2] = True
    joined = draw.draw_points(BLACK, points, visible, RED, 4)
    middle = (int((12 + 0.5) * 4), int((10 + 0.5) * 4))
    assert joined[middle[1], middle[0], 0] > 60
    visible[1] = False
    assert draw.draw_points(BLACK, points, visible, RED, 4)[middle[1], middle[0], 0] == 0


@pytest.mark.parametrize("count", [68, 19])
def test_lines_join_neighbours_within_a_feature(count: int) -> None:
    pairs = draw.LINES[count]
    assert all(0 <= a < count and 0 <= b < count and a != b for a, b in pairs)
    assert len({frozenset(pair) for pair in pairs}) == len(pairs)
    # 68: 16 + 4 + 4 + 3 + 4 + 6 + 6 + 12 + 8; the bridge and the base of the nose stay apart.
    assert len(pairs) == {68: 63, 19: 12}[count]
    assert (30, 31) not in pairs
    if count == 68:
        assert {(41, 36), (47, 42), (59, 48), (67, 60)} <= set(pairs)


def test_second_set_is_drawn_over_the_first() -> None:
    first = draw.draw_points(BLACK, [[4, 4]], [True], RED, 5)
    both = draw.overlay_points(first, [[16, 12]], [True], (0, 0, 255), 5)
    assert both[22, 22].tolist() == [255, 0, 0]
    assert both[62, 82].tolist() == [0, 0, 255]
    assert first[62, 82].tolist() == [0, 0, 0]


def test_enlarge_repeats_pixels() -> None:
    image = np.arange(2 * 3 * 3, dtype=np.uint8).reshape(2, 3, 3)
    big = draw.enlarge(image, 3)
    for y in range(6):
        for x in range(9):
            assert big[y, x].tolist() == image[y // 3, x // 3].tolist()


def test_sample_grid_places_images_row_by_row() -> None:
    images = np.stack([np.full((4, 5, 3), 10 * (i + 1), np.uint8) for i in range(3)])
    grid = draw.sample_grid(images, columns=2, scale=2)
    gap = 4
    assert grid.shape == (2 * 8 + gap, 2 * 10 + gap, 3)
    assert (grid[:8, :10] == 10).all()
    assert (grid[:8, 14:] == 20).all()
    assert (grid[12:, :10] == 30).all()
    assert (grid[12:, 14:] == 255).all()
    assert (grid[8:12] == 255).all()
    assert draw.sample_grid(images, columns=9, scale=1).shape == (4, 3 * 5 + 2 * gap, 3)


def test_labelled_rows_enlarge_to_one_cell() -> None:
    high = [np.full((16, 16, 3), 50, np.uint8)] * 3
    low = [np.full((4, 4, 3), 90, np.uint8)] * 2
    picture = draw.labelled_rows([("HR", high), ("generated LR", low)], cell=16)
    heading = 22
    assert picture.shape == (2 * (heading + 16) + 4, 3 * 16 + 8, 3)
    assert (picture[heading : heading + 16, :16] == 50).all()
    assert (picture[-16:, 20:36] == 90).all()
    assert (picture[-16:, 40:] == 255).all()
    assert picture[:heading].min() < 100
    tall = [np.full((14, 12, 3), 70, np.uint8)]  # 14 does not divide 32
    picture = draw.labelled_rows([("tall", tall)], cell=32)[heading:]
    assert picture.shape == (32, 32, 3)
    middle = 27  # 32 · 12 / 14
    assert (picture[:, 2 : 2 + middle] == 70).all()
    assert (picture[:, :2] == 255).all()
    assert (picture[:, 2 + middle :] == 255).all()
    with pytest.raises(InputError, match=r"give \[height, width, 3\]"):
        draw.labelled_rows([("stack", [np.zeros((1, 4, 4, 3), np.uint8)])], cell=16)
    with pytest.raises(InputError, match="at least one image"):
        draw.labelled_rows([("HR", [])], cell=16)


def test_heatmap_overlay_glows_at_the_peak_and_keeps_the_rest_grey() -> None:
    image = np.full((8, 8, 3), 100, np.uint8)
    maps = np.zeros((8, 8, 2))
    maps[2, 5, 1] = 1.0
    picture = draw.heatmap_overlay(image, maps, 3)
    assert picture.shape == (24, 24, 3)
    bright = picture.astype(int).sum(axis=-1)
    assert np.unravel_index(bright.argmax(), bright.shape) == (6, 15)
    assert (picture[12:] == 100).all()
    with pytest.raises(InputError, match="do not lie over"):
        draw.heatmap_overlay(image, maps[:4], 3)
    with pytest.raises(InputError, match="not finite"):
        draw.heatmap_overlay(image, np.full((8, 8, 1), np.nan), 3)


def test_png_round_trip(tmp_path) -> None:
    image = np.random.default_rng(0).integers(0, 256, (5, 7, 3), np.uint8)
    with Image.open(io.BytesIO(draw.encode_png(image))) as read:
        np.testing.assert_array_equal(np.asarray(read), image)
    draw.save_png(tmp_path / "new" / "a.png", image)
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["a.png"]


@pytest.mark.parametrize(
    ("image", "points", "visible", "scale", "message"),
    [
        (BLACK.astype(np.float32), [[1, 1]], [True], 2, "give RGB uint8"),
        (BLACK[..., :1], [[1, 1]], [True], 2, "give RGB uint8"),
        (BLACK, [[1, 1]], [True], 0, "Scale 0 is below 1"),
        (BLACK, [[1, 1, 1]], [True], 2, "cannot be drawn"),
        (BLACK, [[1, 1]], [True, True], 2, "cannot be drawn"),
        (BLACK, [[1, np.nan]], [True], 2, "not a finite number"),
    ],
)
def test_bad_input_is_refused(image, points, visible, scale: int, message: str) -> None:
    with pytest.raises(InputError, match=message):
        draw.draw_points(image, points, visible, RED, scale)


def test_empty_grid_is_refused() -> None:
    with pytest.raises(InputError, match="at least one image"):
        draw.sample_grid(np.zeros((0, 4, 4, 3), np.uint8), 2, 2)
