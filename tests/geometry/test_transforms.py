"""Transforms of points and images, against 3x3 matrices, SciPy and Pillow."""

import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image
from scipy import ndimage

from lrjax.geometry.transforms import apply, average_pool, crop_transform, invert, warp


def random_transforms(*batch: int) -> np.ndarray:
    rng = np.random.default_rng(0)
    linear = np.eye(2) + rng.uniform(-0.5, 0.5, (*batch, 2, 2))
    return np.concatenate([linear, rng.uniform(-4, 4, (*batch, 2, 1))], -1).astype(np.float32)


def random_points(*shape: int) -> np.ndarray:
    return np.random.default_rng(1).uniform(0, 100, (*shape, 2)).astype(np.float32)


def test_apply_and_invert_are_those_of_3x3_matrices() -> None:
    a = random_transforms()
    points = random_points(7)
    ha = np.concatenate([a, [[0, 0, 1]]])
    expected = (np.c_[points, np.ones(7)] @ ha.T)[:, :2]
    np.testing.assert_allclose(apply(a, points), expected, rtol=1e-5, atol=1e-4)
    np.testing.assert_allclose(invert(a), np.linalg.inv(ha)[:2], rtol=1e-4, atol=1e-5)


def test_transforms_broadcast_over_batches() -> None:
    a, points = random_transforms(3), random_points(2, 3, 5)
    moved = apply(a, points)
    assert moved.shape == (2, 3, 5, 2)
    np.testing.assert_allclose(moved[1, 2], apply(a[2], points[1, 2]), rtol=1e-6)
    np.testing.assert_allclose(apply(invert(a), apply(a, points)), points, atol=1e-4)


def test_the_crop_that_is_not_moved_is_the_central_crop() -> None:
    frames = np.random.default_rng(2).integers(0, 256, (2, 12, 12, 3), np.uint8)
    a = crop_transform(12, 8, np.zeros(2), np.ones(2), np.zeros((2, 2)))
    crop = warp(jnp.asarray(frames), a, 8)
    assert crop.dtype == jnp.float32
    np.testing.assert_array_equal(crop, frames[:, 2:10, 2:10])


@pytest.mark.parametrize(
    ("angle", "scale", "shift", "expected"),
    [
        # A frame point 4 px to the right of the frame's centre; crops of 9 px, centre (4, 4).
        (0.0, 1.0, (0, 0), (8, 4)),
        (0.0, 0.5, (0, 0), (6, 4)),
        (0.0, 1.0, (-1, 2), (7, 6)),
        (np.pi / 2, 1.0, (0, 0), (4, 8)),
        (np.pi / 2, 0.5, (1, 1), (5, 7)),
    ],
)
def test_a_crop_moves_the_face_as_it_says(angle, scale, shift, expected) -> None:
    a = crop_transform(13, 9, angle, scale, np.array(shift))
    point = np.array([[10.0, 6.0]])
    np.testing.assert_allclose(apply(invert(a), point), [expected], atol=1e-5)
    frame = np.zeros((1, 13, 13, 1), np.uint8)
    frame[0, 5:8, 9:12] = 255
    crop = np.asarray(warp(jnp.asarray(frame), a[None], 9))[0, :, :, 0]
    x, y = expected
    assert crop[y, x] == pytest.approx(255, abs=0.01)


@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
@pytest.mark.parametrize("channels", [1, 3])
def test_warp_is_scipys_linear_interpolation_with_black_outside(dtype, channels) -> None:
    rng = np.random.default_rng(3)
    images = rng.integers(0, 256, (6, 11, 9, channels)).astype(dtype)
    transforms = random_transforms(6)
    transforms[5, :, 2] = [-9, -12]
    found = np.asarray(warp(images, transforms, 13))
    y, x = np.mgrid[:13, :13]
    for image, a, crop in zip(images, transforms.astype(float), found, strict=True):
        source = a[:, :2] @ np.stack([x.ravel(), y.ravel()]) + a[:, 2:]
        for channel in range(channels):
            expected = ndimage.map_coordinates(
                image[..., channel].astype(float), source[::-1], order=1, mode="grid-constant"
            )
            np.testing.assert_allclose(crop[..., channel].ravel(), expected, atol=2e-2)


@pytest.mark.parametrize("shift", [(-40, 0), (40, 0), (0, -40), (0, 40), (1e9, -1e9), (9, 9)])
def test_everything_outside_is_black(shift) -> None:
    images = np.full((1, 8, 8, 3), 255, np.uint8)
    a = np.array([[[1, 0, shift[0]], [0, 1, shift[1]]]], np.float32)
    assert not np.asarray(warp(jnp.asarray(images), a, 8)).any()


def test_edges_fade_into_black() -> None:
    images = np.full((1, 4, 4, 1), 200, np.uint8)
    a = np.array([[[1, 0, -0.25], [0, 1, 0.25]]], np.float32)
    crop = np.asarray(warp(jnp.asarray(images), a, 4))[0, :, :, 0]
    np.testing.assert_allclose(crop[0], [150, 200, 200, 200])
    np.testing.assert_allclose(crop[3], [112.5, 150, 150, 150])


def test_warp_takes_points_and_pixels_to_the_same_place() -> None:
    y, x = np.mgrid[:48, :48]
    point = np.array([29.3, 20.6])
    blob = np.exp(-((x - point[0]) ** 2 + (y - point[1]) ** 2) / 8)[None, :, :, None]
    a = crop_transform(48, 32, np.array([0.4]), np.array([1.1]), np.array([[2.0, -1.0]]))
    crop = np.asarray(warp(jnp.asarray(blob, jnp.float32), a, 32))[0, :, :, 0]
    y, x = np.mgrid[:32, :32]
    centroid = [(crop * x).sum() / crop.sum(), (crop * y).sum() / crop.sum()]
    np.testing.assert_allclose(apply(invert(a), point[None, None])[0, 0], centroid, atol=0.02)


def test_warp_agrees_with_pillow_inside() -> None:
    image = np.random.default_rng(4).integers(0, 256, (20, 20, 3), np.uint8)
    a, b, c, d, e, f = 0.8, 0.2, 1.4, -0.1, 0.7, 3.1
    # Pillow measures from pixel corners: its point is ours plus a half on both sides.
    data = (a, b, c + 0.5 - (a + b) / 2, d, e, f + 0.5 - (d + e) / 2)
    expected = Image.fromarray(image).transform((16, 16), Image.AFFINE, data, Image.BILINEAR)
    transform = np.array([[[a, b, c], [d, e, f]]], np.float32)
    found = warp(jnp.asarray(image[None]), transform, 16)[0]
    np.testing.assert_allclose(found, np.asarray(expected), atol=1.01)


def test_average_pool_by_hand_and_by_pillow() -> None:
    image = np.arange(16, dtype=np.uint8).reshape(1, 4, 4, 1)
    pooled = average_pool(jnp.asarray(image), 2)
    np.testing.assert_array_equal(pooled[0, :, :, 0], [[2.5, 4.5], [10.5, 12.5]])
    image = np.random.default_rng(5).integers(0, 256, (16, 8, 3), np.uint8)
    expected = np.asarray(Image.fromarray(image).reduce(4))
    np.testing.assert_allclose(average_pool(jnp.asarray(image), 4), expected, atol=0.51)


def test_average_pool_moves_points_as_the_convention_says() -> None:
    image = np.zeros((1, 8, 8, 1), np.float32)
    image[0, 4:8, 0:4] = 1
    pooled = np.asarray(average_pool(jnp.asarray(image), 4))[0, :, :, 0]
    # The block's centre (1.5, 5.5) becomes (0, 1).
    np.testing.assert_array_equal(pooled, [[0, 0], [1, 0]])


def test_average_pool_refuses_sides_that_do_not_divide() -> None:
    with pytest.raises(ValueError, match="10x8 is not a multiple of 4"):
        average_pool(jnp.zeros((1, 10, 8, 3)), 4)
