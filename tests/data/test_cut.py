"""Squares are cut where they are asked for, without aliasing."""

import numpy as np
import pytest
from PIL import Image

from lrjax.data.cut import cut_box, cut_square, square_transform


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
    found = centroid(cut_square(image, centre, side, size))
    np.testing.assert_allclose(found, (point - offset) / step, atol=0.1)


def test_whole_pixels_are_copied() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (30, 40, 3), dtype=np.uint8)
    found = cut_square(Image.fromarray(pixels), np.array([19.5, 15.5]), 8.0, 8)
    np.testing.assert_array_equal(found, pixels[12:20, 16:24])


def test_beyond_the_image_it_is_black() -> None:
    image = Image.new("RGB", (20, 20), (200, 100, 50))
    found = cut_square(image, np.array([-0.5, 9.5]), 16.0, 16)
    assert not found[:, :8].any()
    assert (found[:, 8:] == (200, 100, 50)).all()
    assert not cut_square(image, np.array([500.0, 9.5]), 16.0, 16).any()


def test_detail_finer_than_the_output_is_averaged_away() -> None:
    checks = np.indices((240, 240)).sum(axis=0) % 2 * 255
    image = Image.fromarray(np.repeat(checks[..., None], 3, axis=2).astype(np.uint8))
    found = cut_square(image, np.array([119.5, 119.5]), 200.0, 50).astype(float)
    assert abs(found - 127.5).max() < 3


def test_a_whole_image_is_plainly_resized() -> None:
    pixels = np.random.default_rng(1).integers(0, 256, (20, 14, 3), dtype=np.uint8)
    image = Image.fromarray(pixels)
    found = cut_box(image, np.array([0, 0, 14, 20]), 32, 28)
    np.testing.assert_array_equal(found, image.resize((28, 32), Image.Resampling.BICUBIC))
    white = cut_box(Image.new("RGB", (14, 20), "white"), np.array([0, 0, 14, 20]), 32, 28)
    assert (white == 255).all()


def test_a_square_box_is_the_square() -> None:
    pixels = np.random.default_rng(2).integers(0, 256, (60, 50, 3), dtype=np.uint8)
    image = Image.fromarray(pixels)
    box = np.array([20.25, 14.5, 18, 18])
    square = cut_square(image, box[:2] + 8.5, 18, 12)
    np.testing.assert_array_equal(cut_box(image, box, 12, 12), square)


def test_a_box_beyond_the_image_is_black_there() -> None:
    image = Image.new("RGB", (20, 30), (200, 100, 50))
    found = cut_box(image, np.array([-20, 0, 40, 30]), 15, 20)
    assert not found[:, :8].any()
    assert (found[3:-3, 13:17] == (200, 100, 50)).all()
