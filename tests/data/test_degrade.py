"""The parametric camera against Pillow and NumPy."""

from __future__ import annotations

import dataclasses
import io
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image
from scipy.fft import dctn, idctn

from lrjax.config import CameraConfig
from lrjax.data import degrade

pytestmark = pytest.mark.usefixtures("quick_compile")

RNG = np.random.default_rng(0)
degraded = jax.jit(degrade.degrade, static_argnums=(2, 3))
jpeg = jax.jit(degrade.jpeg)
CLEAN = CameraConfig(size=(32.0, 32.0), blur=0.0, noise=0.0, jpeg=0.0)


def smooth(side: int, channels: int = 3) -> np.ndarray:
    """A picture of soft colours, float32 [side, side, channels] in 0..255."""
    y, x = np.mgrid[:side, :side] / side
    waves = [
        np.sin(2 * np.pi * (a * x + b * y) + c) for a, b, c in RNG.uniform(0, 2, (channels, 3))
    ]
    return (127.5 + 100 * np.stack(waves, axis=-1)).astype(np.float32)


def pillow_resize(plane: np.ndarray, side: int, method: Image.Resampling) -> np.ndarray:
    """Pillow's resize of one float plane."""
    return np.asarray(Image.fromarray(plane.astype(np.float32)).resize((side, side), method))


@pytest.mark.parametrize(("columns", "size"), [(32, 8), (48, 20), (30, 30), (64, 17)])
def test_area_matrix_is_a_box_resize(columns: int, size: int) -> None:
    plane = RNG.uniform(0, 255, (columns, columns)).astype(np.float32)
    matrix = np.asarray(degrade.area_matrix(32, columns, jnp.float32(size)))
    assert (matrix[size:] == 0).all()
    ours = matrix[:size] @ plane @ matrix[:size].T
    if columns % size == 0:
        theirs = plane.reshape(size, columns // size, size, columns // size).mean((1, 3))
    else:  # Pillow's box counts whole pixels only: integrate a picture of repeated pixels instead.
        fine = np.kron(plane, np.ones((size, size)))
        theirs = fine.reshape(size, columns, size, columns).mean((1, 3))
    np.testing.assert_allclose(ours, theirs, atol=1e-3)
    if columns % size == 0:
        reduced = Image.fromarray(plane).resize((size, size), Image.Resampling.BOX)
        np.testing.assert_allclose(ours, np.asarray(reduced), atol=1e-3)


def test_a_fractional_sensor_has_whole_pixels() -> None:
    matrix = np.asarray(degrade.area_matrix(24, 48, jnp.float32(20.3)))
    used = matrix.sum(1) > 0
    assert used.sum() == 20
    np.testing.assert_allclose(matrix[used].sum(1), 1.0, atol=1e-5)


@pytest.mark.parametrize(("rows", "columns", "size"), [(32, 24, 20), (32, 48, 48), (16, 48, 40)])
def test_resize_matrix_is_an_antialiased_bilinear_resize(
    rows: int, columns: int, size: int
) -> None:
    plane = RNG.uniform(0, 255, (columns, columns)).astype(np.float32)
    matrix = np.asarray(degrade.resize_matrix(rows, columns, jnp.float32(size)))
    ours = matrix @ plane @ matrix.T
    theirs = pillow_resize(plane[:size, :size], rows, Image.Resampling.BILINEAR)
    np.testing.assert_allclose(ours, theirs, atol=0.01)


def test_blur_matrix_is_a_gaussian() -> None:
    matrix = np.asarray(degrade.blur_matrix(21, jnp.float32(1.7)))
    offset = np.arange(21) - 10
    expected = np.exp(-0.5 * (offset / 1.7) ** 2)
    np.testing.assert_allclose(matrix[10], expected / expected.sum(), atol=1e-6)
    np.testing.assert_allclose(matrix.sum(1), 1.0, atol=1e-6)
    np.testing.assert_allclose(degrade.blur_matrix(9, jnp.float32(0.0)), np.eye(9), atol=1e-6)


def encoded(image: np.ndarray, quality: int) -> Image.Image:
    """As libjpeg encodes it, colour at full resolution."""
    file = io.BytesIO()
    Image.fromarray(image).save(file, "JPEG", quality=quality, subsampling=0)
    return Image.open(file)


@pytest.mark.parametrize("quality", [10, 25, 50, 75, 95])
def test_jpeg_is_libjpegs(quality: int) -> None:
    image = np.clip(smooth(48) + RNG.normal(0, 3, (48, 48, 3)), 0, 255).astype(np.uint8)
    file = encoded(image, quality)
    ours = np.asarray(jpeg(jnp.asarray(image, jnp.float32)[None], jnp.asarray([float(quality)]))[0])

    # Without libjpeg's integers, but with its tables, in SciPy.
    colours = (image - 128.0) @ degrade._YCBCR.T.astype(np.float64)
    for channel in range(3):
        table = np.asarray(file.quantization[min(channel, 1)], np.float64).reshape(8, 8)
        for y, x in itertools.product(range(0, 48, 8), repeat=2):
            block = colours[y : y + 8, x : x + 8, channel]
            kept = np.round(dctn(block, norm="ortho") / table) * table
            colours[y : y + 8, x : x + 8, channel] = idctn(kept, norm="ortho")
    exact = colours @ np.linalg.inv(degrade._YCBCR).T + 128.0
    assert np.quantile(np.abs(ours - exact), 0.9) < 0.01

    # libjpeg rounds colours and coefficients, so that some fall the other way; its loss is ours.
    decoded = np.asarray(file, np.float32)
    clipped = np.clip(ours, 0, 255)
    assert np.abs(clipped - decoded).mean() < 1.5
    loss = np.abs(decoded - image).mean()
    np.testing.assert_allclose(np.abs(clipped - image).mean(), loss, rtol=0.04)


def test_jpeg_treats_each_image_by_its_quality() -> None:
    images = jnp.asarray(np.stack([smooth(16) + RNG.normal(0, 20, (16, 16, 3))] * 2), jnp.float32)
    good, bad = np.abs(jpeg(images, jnp.asarray([95.0, 10.0])) - images).mean((1, 2, 3))
    assert good < 0.5 * bad


def test_subsample_is_a_blur_and_a_mean() -> None:
    image = smooth(32)
    ours = degrade.subsample(jnp.asarray(image)[None], 4)[0]
    offset = np.arange(32)
    weights = np.exp(-0.5 * np.subtract.outer(offset, offset) ** 2)
    weights /= weights.sum(1, keepdims=True)
    blurred = np.einsum("yi,ijc,xj->yxc", weights, image, weights)
    expected = blurred.reshape(8, 4, 8, 4, 3).mean((1, 3))
    np.testing.assert_allclose(ours, expected, atol=1e-2)


def keys(count: int) -> jax.Array:
    """Keys of so many examples."""
    return jax.random.split(jax.random.key(3), count)


def test_a_good_camera_only_resizes() -> None:
    images = np.stack([smooth(64)] * 3)
    config = dataclasses.replace(CLEAN, size=(64.0, 64.0))
    ours = degraded(jnp.asarray(images), keys(3), 32, config)
    for image, expected in zip(ours, images, strict=True):
        planes = [pillow_resize(expected[..., c], 32, Image.Resampling.BILINEAR) for c in range(3)]
        np.testing.assert_allclose(image, np.stack(planes, -1), atol=0.5)


def test_every_camera_leaves_things_where_they_are() -> None:
    y, x = np.mgrid[:64, :64]
    centres = RNG.uniform(20, 44, (12, 2))
    dots = [255 * np.exp(-((x - a) ** 2 + (y - b) ** 2) / (2 * 4.0**2)) for a, b in centres]
    images = jnp.asarray(np.stack(dots)[..., None].repeat(3, -1), jnp.float32)
    config = CameraConfig(size=(18.0, 48.0), blur=0.06, noise=0.0, jpeg=0.0)
    shot = np.asarray(degraded(images, keys(12), 32, config))[..., 0]
    total = shot.sum((1, 2))
    places = np.arange(32)
    found = np.stack([(shot.sum(1) @ places) / total, (shot.sum(2) @ places) / total], axis=-1)
    np.testing.assert_allclose(found, (centres + 0.5) / 2 - 0.5, atol=0.1)


def test_faults_are_drawn_for_each_example_and_repeat() -> None:
    images = jnp.asarray(np.stack([smooth(64)] * 6))
    config = CameraConfig(size=(18.0, 40.0), noise=20.0, jpeg=0.5)
    shots = np.asarray(degraded(images, keys(6), 32, config))
    assert shots.shape == (6, 32, 32, 3)
    assert np.isfinite(shots).all()
    assert shots.min() >= -1e-3
    assert shots.max() <= 255.001
    again = degraded(images[2:3], keys(6)[2:3], 32, config)
    np.testing.assert_allclose(again[0], shots[2], atol=1e-2)
    assert len({shot.tobytes() for shot in shots}) == 6


def test_noise_and_blur_are_as_strong_as_said() -> None:
    grey = jnp.full((8, 32, 32, 3), 128.0)
    config = dataclasses.replace(CLEAN, noise=10.0)
    shots = np.asarray(degraded(grey, keys(8), 32, config))
    spread = shots.std((1, 2)).max(-1)
    assert (spread < 11).all()
    assert spread.max() > 2


def test_an_even_grey_stays_even() -> None:
    grey = jnp.full((8, 32, 32, 3), 128.0)
    config = dataclasses.replace(CLEAN, size=(18.0, 32.0))
    np.testing.assert_allclose(degraded(grey, keys(8), 32, config), 128.0, atol=0.1)


def test_coding_does_not_ring_from_beyond_the_sensor() -> None:
    # White, on a sensor that fills no whole number of blocks: a block that went on in black would
    # darken the last rows.
    config = dataclasses.replace(CLEAN, size=(21.0, 21.0), jpeg=1.0, quality=(30.0, 30.0))
    white = jnp.full((1, 64, 64, 3), 255.0)
    found = np.asarray(degraded(white, keys(1), 32, config))
    assert found.min() > 245


def test_down_up_is_pillows_bicubic_there_and_back() -> None:
    image = smooth(24)
    found = np.asarray(degrade.down_up(jnp.asarray(image)[None], 8, 8))[0]
    for channel in range(3):
        small = pillow_resize(image[..., channel], 8, Image.Resampling.BICUBIC).clip(0, 255)
        large = pillow_resize(small, 24, Image.Resampling.BICUBIC).clip(0, 255)
        # JAX's cubic has a = -0.5 as Pillow's; both renormalise at the border.
        np.testing.assert_allclose(found[..., channel], large, atol=0.05)
