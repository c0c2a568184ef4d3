"""Resampling against closed forms and against Pillow's own antialiased resizing."""

import numpy as np
import pytest
from PIL import Image

from lrjax.data.resample import resample, stretches


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


def test_stretches_are_singular_values() -> None:
    transforms = np.random.default_rng(0).normal(size=(20, 2, 3))
    expected = np.linalg.svd(transforms[..., :2], compute_uv=False)
    np.testing.assert_allclose(stretches(transforms), expected, atol=1e-12)


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
