"""Pictures of what was found: where marks land, what is enlarged, what sheets contain."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from lrjax.report import faces
from lrjax.report.draw import LINES, Picture

BLACK = Image.new("RGB", (900, 700))


def centroid(weight: np.ndarray) -> np.ndarray:
    """Centre (x, y) of a picture's light."""
    y, x = np.mgrid[: weight.shape[0], : weight.shape[1]]
    return np.array([(x * weight).sum(), (y * weight).sum()]) / weight.sum()


def green(picture: Picture) -> np.ndarray:
    """What is green and not grey."""
    return (picture[..., 1].astype(float) - picture[..., 0]).clip(0)


def blob(x: float, y: float) -> Image.Image:
    """A photograph with a light at x, y."""
    rows, columns = np.mgrid[:700, :900]
    light = 255 * np.exp(-((columns - x) ** 2 + (rows - y) ** 2) / 18)
    return Image.fromarray(np.repeat(light[..., None], 3, -1).astype(np.uint8))


def drawn(
    photo: Image.Image, boxes: list[list[float]], points: list, sure: list[float]
) -> np.ndarray:
    return faces.photo_picture(photo, np.array(boxes, float), np.array(points, float), sure)


def test_colours_go_from_red_to_green() -> None:
    red, green = (
        np.array([faces.colour_of(s) for s in np.linspace(0, 1, 101)])[:, i] for i in (0, 1)
    )
    assert (np.diff(green.astype(int)) >= 0).all()
    assert (red[:75] > green[:75]).all()
    assert red[100] < 0.5 * green[100]
    assert faces.colour_of(0.75) == (255, 214, 72)


def test_a_photograph_without_faces_is_itself() -> None:
    image = np.random.default_rng(0).integers(0, 256, (90, 80, 3), dtype=np.uint8)
    photo = Image.fromarray(image)
    nobody = np.zeros((0, 4)), np.zeros((0, 5, 2)), np.zeros(0)
    np.testing.assert_array_equal(faces.photo_picture(photo, *nobody), image)
    large = Image.new("RGB", (4000, 3000))
    assert faces.photo_picture(large, *nobody).shape == (1200, 1600, 3)


@pytest.mark.parametrize(
    ("size", "scale"), [((900, 700), 1), ((2400, 1000), 2 / 3), ((150, 90), 4)]
)
def test_large_faces_have_their_points_where_they_are(size: tuple[int, int], scale: float) -> None:
    """As large as they are shown; nothing is added below."""
    side = 100 / scale
    x, y = 0.3 * size[0], 0.4 * size[1]
    picture = drawn(Image.new("RGB", size), [[x - 30, y - 25, side, side]], [[[x, y]]], [1.0])
    assert picture.shape[:2] == tuple(int(side * scale) for side in size[::-1])
    inner = green(picture).copy()
    middle = np.array([x, y]) * scale + (scale - 1) / 2
    near = np.hypot(*np.indices(inner.shape)[::-1] - middle[:, None, None]) < 4
    np.testing.assert_allclose(centroid(inner * near), middle, atol=0.1)
    assert inner[near].sum() > 500


def test_small_faces_are_enlarged_below() -> None:
    """And not marked in the photograph, where a mark would cover them, but framed."""
    boxes = [[100.0, 80, 20, 24], [300, 200, 30, 30], [500, 300, 200, 200]]
    points = [[[110.0, 92]], [[315, 215]], [[600, 400]]]
    picture = drawn(BLACK, boxes, points, [1.0, 1.0, 1.0])
    assert picture.shape[1] == 900
    columns, side = 6, (900 - 6) // 6 - 6
    assert picture.shape[0] == 700 + 6 + side + 6 + 15 + 3
    assert green(picture[85:100, 103:117]).max() == 0
    assert green(picture[395:406, 595:606]).max() > 100
    tiles = picture[706 : 706 + side]
    shown = [green(tiles[:, 6 + i * (side + 6) :][:, :side]).max() > 100 for i in range(columns)]
    assert shown == [True, True, False, False, False, False]


def test_frames_outline_the_pixels_of_boxes() -> None:
    picture = drawn(BLACK, [[300, 200, 100, 80]], [[[350, 240]]], [1.0])
    framed = (picture == faces.colour_of(1.0)).all(-1)
    framed[:200] = False  # the number stands above
    framed[210:270, 310:390] = False  # and the point in the middle
    rows, columns = np.nonzero(framed)
    assert (rows.min(), rows.max() + 1, columns.min(), columns.max() + 1) == (200, 280, 300, 400)
    assert framed.sum() == 2 * 100 + 2 * 78


@pytest.mark.parametrize(("top", "where"), [(200, (184, 199)), (5, (87, 102))])
def test_the_number_stands_above_or_below(top: int, where: tuple[int, int]) -> None:
    picture = drawn(BLACK, [[300, top, 100, 80]], [[[350, top + 40]]], [0.2])
    label = (picture[where[0] : where[1], 299:310] == faces.colour_of(0.2)).all(-1)
    assert label.mean() > 0.6
    elsewhere = picture[where[0] : where[1], 330:380]
    assert elsewhere.max() == 0


def test_the_number_of_a_face_that_is_all_of_a_picture_stands_within() -> None:
    photo = Image.new("RGB", (640, 500))
    picture = drawn(photo, [[0, 0, 640, 500]], [[[320, 250]]], [0.2])
    label = (picture[-15:, :10] == faces.colour_of(0.2)).all(-1)
    assert label.mean() > 0.6


@pytest.mark.parametrize(
    ("box", "point"), [((200, 150, 24, 30), (214.3, 160.2)), ((5, 660, 50, 40), (21, 668))]
)
def test_marks_of_a_tile_lie_where_the_pixels_are(box, point) -> None:
    """A light in the photograph and a mark on it have one centre, also beside the border."""
    lit = faces.face_tile(blob(*point), np.array(box, float), np.zeros((0, 2)), (0, 255, 0), 144)
    marked = faces.face_tile(BLACK, np.array(box, float), np.array([point]), (0, 255, 0), 144)
    np.testing.assert_allclose(
        centroid(lit.astype(float).sum(-1)), centroid(green(marked)), atol=0.35
    )


def test_a_tile_shows_points_beyond_the_box_but_not_lost_ones() -> None:
    box = np.array([300.0, 300, 40, 40])
    near = faces.face_tile(BLACK, box, np.array([[350.0, 320]]), (0, 255, 0), 100)
    assert green(near).max() > 200
    lost = faces.face_tile(BLACK, box, np.array([[9e3, 9e3], [320, 320]]), (0, 255, 0), 100)
    # The square has twice the side of the box at most: 80 pixels about 319.5 become 100 about 49.5.
    np.testing.assert_allclose(centroid(green(lost)), [50.125, 50.125], atol=0.05)


def test_all_68_points_are_joined_on_a_tile() -> None:
    angles = np.linspace(0, 2 * np.pi, 68, endpoint=False)
    points = 320 + 18 * np.stack([np.cos(angles), np.sin(angles)], -1)
    tile = faces.face_tile(BLACK, np.array([300.0, 300, 40, 40]), points, (0, 255, 0), 200)
    sparse = faces.face_tile(BLACK, np.array([300.0, 300, 40, 40]), points[:67], (0, 255, 0), 200)
    assert set(LINES) == {68, 19, 73}
    assert green(tile).sum() > 1.1 * green(sparse).sum()


def test_sheets_hold_every_face_and_no_more_than_fit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(faces, "SHEET_FACES", 5)
    monkeypatch.setattr(faces, "SHEET_COLUMNS", 3)
    sheets = faces.FaceSheets()
    photo = Image.new("RGB", (300, 200), (0, 90, 200))
    boxes = np.array([[20.0 * i, 50, 20, 20] for i in range(7)])
    for name in ("a.png", "a very long name that does not fit below a face.png"):
        sheets.add(name, photo, boxes[:4], boxes[:4, None, :2] + 9.5, np.full(4, 0.9))
    sheets.add("nobody.png", photo, np.zeros((0, 4)), np.zeros((0, 5, 2)), np.zeros(0))
    first, second = (np.asarray(Image.open(io.BytesIO(data))) for data in sheets.finish())
    side, high = 112 + 6, 112 + 6 + 30 + 3
    assert first.shape == (2 * high + 6, 3 * side + 6, 3)
    assert second.shape == (high + 6, 3 * side + 6, 3)
    for sheet, count in ((first, 5), (second, 3)):
        blue = [
            sheet[6 + i // 3 * high :, 6 + i % 3 * side :][20:40, 20:40, 2].mean() > 150
            for i in range(3 * (len(sheet) // high))
        ]
        assert blue == [True] * count + [False] * (len(blue) - count)
    assert sheets.finish() == sheets.done
    assert len(sheets.done) == 2


def test_texts_that_do_not_fit_keep_their_end() -> None:
    font = faces.ImageFont.load_default(12)
    text = faces._fitting("folder/of/photographs/crowd-0017.jpg", font, 100)
    assert text.startswith("…")
    assert text.endswith("-0017.jpg")
    assert font.getlength(text) <= 100 < font.getlength("r" + text)
    assert faces._fitting("crowd.jpg", font, 100) == "crowd.jpg"
    assert faces._fitting("M\udcfc.jpg", font, 100) == "M?.jpg"
