"""Pictures: where marks land, what grids contain, what is refused."""

import io

import numpy as np
import pytest
from PIL import Image

from lrjax.errors import InputError
from lrjax.report import draw

BLACK = np.zeros((20, 24, 3), np.uint8)
RED = (255, 0, 0)
BLUE = (0, 0, 255)


def centroid(picture: np.ndarray) -> np.ndarray:
    """Centre (x, y) of the red in a picture, in its own pixels."""
    weight = picture[..., 0].astype(float)
    weight[weight < 20] = 0  # The dark outline.
    y, x = np.mgrid[: picture.shape[0], : picture.shape[1]]
    return np.array([(x * weight).sum(), (y * weight).sum()]) / weight.sum()


@pytest.mark.parametrize("scale", [1, 5, 8])
@pytest.mark.parametrize("point", [(7.0, 11.0), (7.3, 10.6), (12.5, 8.5)])
def test_points_lie_at_pixel_centres(scale: int, point: tuple[float, float]) -> None:
    picture = draw.draw_points(BLACK, [point], scale, colour=RED)
    assert picture.shape == (20 * scale, 24 * scale, 3)
    expected = (np.array(point) + 0.5) * scale - 0.5
    np.testing.assert_allclose(centroid(picture), expected, atol=0.06)


def test_whole_numbered_point_is_symmetric_in_its_enlarged_pixel() -> None:
    picture = draw.draw_points(BLACK, [[7, 11]], 9, colour=RED)[..., 0]
    patch = picture[11 * 9 : 12 * 9, 7 * 9 : 8 * 9]
    assert patch.max() == 255
    # Up to the rounding of one coverage of 255.
    for mirrored in (patch[::-1], patch[:, ::-1], patch.T):
        np.testing.assert_allclose(patch.astype(int), mirrored, atol=1)


def coverage(picture: np.ndarray) -> np.ndarray:
    """How much of each pixel is blue: the dark rim has as much green as blue."""
    return (picture[..., 2].astype(float) - picture[..., 1]) / 255


def test_disc_covers_its_area() -> None:
    # The radius is a fifth of the scale.
    picture = draw.draw_points(BLACK, [[7.3, 11.1]], 25, colour=BLUE)
    assert coverage(picture).sum() == pytest.approx(np.pi * 25, rel=0.01)


def test_line_covers_its_width() -> None:
    points, visible = np.zeros((68, 2)), np.zeros(68, bool)
    points[0], points[1], visible[:2] = [2, 10], [20, 10.5], True
    picture = draw.draw_points(BLACK, points, 4, visible, BLUE)
    # Of two marks, each has a radius of 1/24 of their distance; the line is 0.9 of it wide and
    # opaque by 0.75.
    across = coverage(picture)[:, 20:70].sum(0)
    np.testing.assert_allclose(across, 0.75 * 0.9 * 3, rtol=0.02)


def test_invisible_points_are_not_drawn_and_may_hold_anything() -> None:
    points = [[np.nan, 3.0], [5.0, np.inf]]
    picture = draw.draw_points(BLACK, points, 3, [False, False], RED)
    np.testing.assert_array_equal(picture, draw.enlarge(BLACK, 3))


def test_points_outside_are_cut_off_at_the_border() -> None:
    outside = draw.draw_points(BLACK, [[-500.0, 4.0], [900.0, 4.0]], 2, colour=RED)
    np.testing.assert_array_equal(outside, draw.enlarge(BLACK, 2))
    corner = draw.draw_points(BLACK, [[0.0, 0.0]], 2, colour=RED)
    assert corner[0, 0, 0] > 0
    assert corner[10:, 10:].max() == 0


def test_68_points_are_connected_where_both_ends_are_visible() -> None:
    points = np.full((68, 2), -900.0)
    points[0], points[1] = [4, 10], [20, 10]
    visible = np.zeros(68, bool)
    visible[:2] = True
    joined = draw.draw_points(BLACK, points, 4, visible, RED)
    middle = (int((12 + 0.5) * 4), int((10 + 0.5) * 4))
    assert joined[middle[1], middle[0], 0] > 60
    visible[1] = False
    assert draw.draw_points(BLACK, points, 4, visible, RED)[middle[1], middle[0], 0] == 0


def test_second_set_is_drawn_over_the_first() -> None:
    """Each in pixels of the small image, and with marks of one size."""
    images = np.zeros((1, 20, 20, 3), np.uint8)
    (first,) = draw.face_cells(images, [[[4, 4]]], side=100)
    (both,) = draw.face_cells(images, [[[4, 4]]], [[[16, 12], [9, 9]]], [[True, False]], side=100)
    assert both[22, 22].tolist() == list(draw.GREEN)
    assert both[62, 82].tolist() == list(draw.ORANGE)
    assert first[62, 82].tolist() == both[47, 47].tolist() == [0, 0, 0]
    sheet = draw.face_sheet(np.repeat(images, 3, 0), [[[4, 4]]] * 3, 2)
    assert sheet.shape == (2 * 120 + 4, 2 * 120 + 4, 3)
    assert sheet[27, 124 + 27, 1] > 200


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
    picture = draw.labelled_rows([("HR", high), ("LR", low)], cell=16)
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
    long = draw.labelled_rows([("a heading wider than its faces", low)], cell=16)[:heading]
    assert long.shape[1] > 150
    assert long[:, 150:].min() < 100
    assert long[:, -2:].min() == 255
    with pytest.raises(InputError, match=r"give \[height, width, 3\]"):
        draw.labelled_rows([("stack", [np.zeros((1, 4, 4, 3), np.uint8)])], cell=16)
    with pytest.raises(InputError, match="at least one image"):
        draw.labelled_rows([("HR", [])], cell=16)


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
        draw.draw_points(image, points, scale, visible, RED)


def test_empty_grid_is_refused() -> None:
    with pytest.raises(InputError, match="at least one image"):
        draw.sample_grid(np.zeros((0, 4, 4, 3), np.uint8), 2, 2)
