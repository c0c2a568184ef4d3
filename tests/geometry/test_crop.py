"""Crops against hand-made pictures, closed forms and Pillow's own antialiased resizing."""

import numpy as np
import pytest
from PIL import Image

from lrjax.geometry import crop as module
from lrjax.geometry.crop import (
    center_crop,
    crop,
    resample,
    scale_box,
    shrink,
    square_box,
    square_transform,
)


def centroid(image: np.ndarray) -> np.ndarray:
    light = image.astype(np.float64).sum(axis=-1)
    light[light < light.max() / 10] = 0
    rows, columns = np.indices(light.shape)
    return np.array([(columns * light).sum(), (rows * light).sum()]) / light.sum()


@pytest.mark.parametrize(
    ("side", "size", "sigma"), [(300.0, 48, 8), (151.3, 96, 3), (40.2, 96, 2), (61.7, 61, 2)]
)
def test_a_dot_lands_where_the_transform_says(side: float, size: int, sigma: float) -> None:
    point, centre = np.array([203.4, 148.9]), np.array([198.7, 151.2])
    columns, rows = np.meshgrid(np.arange(400), np.arange(300))
    dot = 255 * np.exp(-((columns - point[0]) ** 2 + (rows - point[1]) ** 2) / (2 * sigma**2))
    image = Image.fromarray(np.repeat(dot[..., None], 3, axis=2).astype(np.uint8))
    step, offset = square_transform(centre, side, size)
    found = centroid(crop(image, square_box(centre, side), size, size))
    np.testing.assert_allclose(found, (point - offset) / step, atol=0.1)


def test_whole_pixels_are_copied() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (30, 40, 3), dtype=np.uint8)
    found = crop(Image.fromarray(pixels), square_box(np.array([19.5, 15.5]), 8.0), 8, 8)
    np.testing.assert_array_equal(found, pixels[12:20, 16:24])


def test_beyond_the_image_it_is_black() -> None:
    image = Image.new("RGB", (20, 20), (200, 100, 50))
    found = crop(image, square_box(np.array([-0.5, 9.5]), 16.0), 16, 16)
    assert not found[:, :8].any()
    assert (found[:, 8:] == (200, 100, 50)).all()
    assert not crop(image, square_box(np.array([500.0, 9.5]), 16.0), 16, 16).any()


def test_detail_finer_than_the_output_is_averaged_away() -> None:
    checks = np.indices((240, 240)).sum(axis=0) % 2 * 255
    image = Image.fromarray(np.repeat(checks[..., None], 3, axis=2).astype(np.uint8))
    found = crop(image, square_box(np.array([119.5, 119.5]), 200.0), 50, 50).astype(float)
    assert abs(found - 127.5).max() < 3


def test_a_whole_image_is_plainly_resized() -> None:
    pixels = np.random.default_rng(1).integers(0, 256, (20, 14, 3), dtype=np.uint8)
    image = Image.fromarray(pixels)
    found = crop(image, np.array([0, 0, 14, 20]), 32, 28, fade=False)
    np.testing.assert_array_equal(found, image.resize((28, 32), Image.Resampling.BICUBIC))
    white = crop(Image.new("RGB", (14, 20), "white"), np.array([0, 0, 14, 20]), 32, 28, fade=False)
    assert (white == 255).all()


def test_a_square_box_is_the_square() -> None:
    pixels = np.random.default_rng(2).integers(0, 256, (60, 50, 3), dtype=np.uint8)
    image = Image.fromarray(pixels)
    box = np.array([20.25, 14.5, 18, 18])
    square = crop(image, square_box(box[:2] + 8.5, 18), 12, 12)
    np.testing.assert_array_equal(crop(image, box, 12, 12, fade=False), square)


def test_a_box_beyond_the_image_is_black_there() -> None:
    image = Image.new("RGB", (20, 30), (200, 100, 50))
    found = crop(image, np.array([-20, 0, 40, 30]), 15, 20, fade=False)
    assert not found[:, :8].any()
    assert (found[3:-3, 13:17] == (200, 100, 50)).all()


def test_or_the_edge_goes_on_there() -> None:
    pixels = np.random.default_rng(4).integers(0, 256, (20, 30, 3), dtype=np.uint8)
    found = crop(Image.fromarray(pixels), np.array([-4, -3, 37, 27]), 27, 37, repeat=True)
    np.testing.assert_array_equal(found, np.pad(pixels, [(3, 4), (4, 3), (0, 0)], "edge"))
    # Enlarged, it has no rim: one grey stays one grey up to the corners.
    grey = crop(Image.new("RGB", (16, 20), (9, 99, 199)), [-2, -2, 20, 24], 96, 80, repeat=True)
    assert (grey == (9, 99, 199)).all()


def waves(x: np.ndarray, y: np.ndarray, length: float) -> np.ndarray:
    """A smooth picture [..., 3] in 20..235 whose waves are `length` pixels long."""
    phase = 2 * np.pi / length
    bands = [np.sin(phase * x), np.cos(phase * (0.6 * x + 0.8 * y)), np.sin(phase * y + 1)]
    return 127.5 + 107.5 * np.stack(bands, -1)


def picture(height: int, width: int, length: float) -> Image.Image:
    y, x = np.indices((height, width), np.float64)
    return Image.fromarray(waves(x, y, length).round().astype(np.uint8))


def turn(scale: float, degrees: float, shift: tuple[float, float]) -> np.ndarray:
    c, s = scale * np.cos(np.deg2rad(degrees)), scale * np.sin(np.deg2rad(degrees))
    return np.array([[c, -s, shift[0]], [s, c, shift[1]]])


@pytest.mark.parametrize("repeat", [False, True])
def test_a_window_too_large_for_pillow_is_cut_out_of_a_smaller_image(
    repeat: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    photo, box = picture(600, 800, 150), square_box(np.array([390.3, 310.8]), 1100.0)
    whole = crop(photo, box, 48, 48, repeat=repeat).astype(int)
    assert module._LARGEST < Image.MAX_IMAGE_PIXELS
    monkeypatch.setattr(module, "_LARGEST", 500_000)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 550_000)
    found = crop(photo, box, 48, 48, repeat=repeat)
    # The waves change by a hundred in a pixel; where the image ends, its last pixels are averaged.
    assert np.abs(found - whole).max() <= 10
    # It stays as fine as what it is cut for.
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", None)
    fine = picture(600, 800, 8)
    shown = crop(fine, box, 1100, 1100)
    monkeypatch.undo()
    np.testing.assert_array_equal(shown, crop(fine, box, 1100, 1100))


def test_the_identity_changes_nothing() -> None:
    pixels = np.random.default_rng(1).integers(0, 256, (9, 7, 3), dtype=np.uint8)
    same = resample(Image.fromarray(pixels), np.eye(2, 3), 9, 7)
    np.testing.assert_array_equal(same, pixels)


@pytest.mark.parametrize("scale", [0.15, 0.6, 1.0])
def test_enlarging_shows_what_lies_between_the_pixels(scale: float) -> None:
    transform = turn(scale, 33, (30.4, 21.7))
    shown = resample(picture(90, 100, 24), transform, 30, 36)
    y, x = np.indices((30, 36), np.float64)
    there = (
        np.einsum("ij,jyx->iyx", transform[:, :2], np.stack([x, y])) + transform[:, 2, None, None]
    )
    # Both pictures are rounded to whole grey levels: an error of one is theirs.
    assert np.abs(shown - waves(*there, 24)).max() < 1.25


@pytest.mark.parametrize("scale", [1.7, 2.0, 4.3, 9.6])
def test_shrinking_averages_the_pixels_below(scale: float) -> None:
    """A wave, averaged over k samples in a row, is a wave times sin(k u) / (k sin u)."""
    transform = np.array([[scale, 0, 10.2], [0, scale, 5.1]])
    length = 20 * scale
    shown = resample(picture(330, 330, length), transform, 32, 30)
    y, x = np.indices((32, 30), np.float64)
    there = waves(scale * x + 10.2, scale * y + 5.1, length)
    count = np.ceil(scale)
    u = np.pi * scale / length / count * np.array([1.0, 0.6, 0.8])
    flat, along, across = np.sin(count * u) / (count * np.sin(u))
    expected = 127.5 + (there - 127.5) * np.array([flat, along * across, flat])
    # Samples beyond the picture would be black.
    assert scale * 31 + 10.2 < 330
    assert np.abs(shown - expected).max() < 1.25


def test_fine_noise_is_averaged_and_not_picked() -> None:
    noise = np.random.default_rng(2).integers(0, 256, (256, 256, 3), dtype=np.uint8)
    image = Image.fromarray(noise)
    shown = resample(image, np.array([[8, 0, 3.5], [0, 8, 3.5]]), 32, 32)
    expected = np.asarray(image.resize((32, 32), Image.Resampling.BOX)).astype(int)
    assert np.abs(shown - expected).max() <= 1


def test_it_is_black_beyond_the_picture() -> None:
    white = Image.new("RGB", (10, 6), "white")
    shown = resample(white, np.array([[1, 0, -5], [0, 1, -4]]), 20, 20)
    expected = np.zeros((20, 20, 3), np.uint8)
    expected[4:10, 5:15] = 255
    np.testing.assert_array_equal(shown, expected)
    far = resample(white, np.array([[1, 0, 500], [0, 1, -4]]), 5, 4)
    np.testing.assert_array_equal(far, np.zeros((5, 4, 3), np.uint8))


def test_the_middle_has_an_equal_border() -> None:
    frames = np.arange(2 * 8 * 10 * 1).reshape(2, 8, 10, 1)
    np.testing.assert_array_equal(center_crop(frames, 4, 8), frames[:, 2:6, 1:9])
    np.testing.assert_array_equal(center_crop(frames, 8, 10), frames)


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


def test_a_photograph_keeps_at_least_a_pixel() -> None:
    assert shrink(Image.new("RGB", (40, 30)), 0.01).size == (1, 1)
