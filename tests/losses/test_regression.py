from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lrjax.losses import regression


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(0)


def test_heatmap_error_by_hand() -> None:
    """Means over 4 pixels, sum over 2 channels, mean over 2 images."""
    target = np.zeros((2, 2, 2, 2), np.float32)
    prediction = np.zeros_like(target)
    prediction[0, 0, 0] = [2.0, 4.0]  # 4/4 + 16/4 = 5
    prediction[1, 1, 0] = [6.0, 0.0]  # 36/4 = 9
    mask = np.ones((2, 2), np.float32)
    assert regression.heatmap_error(prediction, target, mask) == 7.0
    mask[0, 1] = 0  # leaves 1 of image 0
    assert regression.heatmap_error(prediction, target, mask) == 5.0


def test_heatmap_error_against_numpy(rng) -> None:
    prediction, target = rng.normal(size=(2, 3, 8, 6, 5)).astype(np.float32)
    mask = rng.integers(0, 2, (3, 5)).astype(np.float32)
    expected = 0.0
    for image in range(3):
        for channel in range(5):
            difference = prediction[image, :, :, channel] - target[image, :, :, channel]
            expected += mask[image, channel] * (difference**2).mean() / 3
    actual = regression.heatmap_error(prediction, target, mask)
    np.testing.assert_allclose(actual, expected, rtol=1e-5)


def test_absolute_error_against_numpy(rng) -> None:
    made, wanted = rng.normal(size=(2, 3, 4, 5, 2)).astype(np.float32)
    found = regression.absolute_error(made, wanted)
    np.testing.assert_allclose(found, np.abs(made - wanted).mean(), rtol=1e-6)
    half = regression.absolute_error(jnp.bfloat16(made), wanted)
    assert half.dtype == jnp.float32


def test_huber_error_is_numpys_and_bounds_its_gradient(rng) -> None:
    made, wanted = rng.normal(size=(2, 3, 4, 5, 2)).astype(np.float32)
    made[0, 0, 0, 0] += 1e4  # an outlier
    away = np.abs(made.astype(np.float64) - wanted)
    for delta in (0.5, 2.0):
        expected = np.where(away <= delta, away**2 / 2, delta * (away - delta / 2)).mean()
        found = regression.huber_error(made, wanted, delta)
        np.testing.assert_allclose(found, expected, rtol=1e-5)
        gradient = jax.grad(regression.huber_error)(made, wanted, delta)
        slopes = np.clip(made - wanted, -delta, delta) / made.size
        np.testing.assert_allclose(gradient, slopes, rtol=1e-4, atol=1e-8)
    assert regression.huber_error(jnp.bfloat16(made), wanted).dtype == jnp.float32


def test_masked_channels_give_no_gradient(rng) -> None:
    prediction, target = rng.normal(size=(2, 2, 4, 4, 3)).astype(np.float32)
    mask = np.array([[1, 0, 1], [0, 1, 1]], np.float32)
    gradient = jax.grad(regression.heatmap_error)(prediction, target, mask)
    moved = np.abs(np.asarray(gradient)).max(axis=(1, 2)) > 0
    np.testing.assert_array_equal(moved, mask > 0)


def test_pixel_error_against_numpy(rng) -> None:
    generated, subsampled = rng.uniform(-1, 1, (2, 2, 4, 4, 3)).astype(np.float32)
    expected = np.mean((generated.astype(np.float64) - subsampled) ** 2)
    np.testing.assert_allclose(regression.pixel_error(generated, subsampled), expected, rtol=1e-5)


def test_errors_are_float32_for_bfloat16_inputs() -> None:
    """Sums of many small squares would be lost in bfloat16."""
    ones = jnp.full((1, 32, 32, 3), 1.0, jnp.bfloat16)
    zeros = jnp.zeros_like(ones)
    error = regression.heatmap_error(ones, zeros, jnp.ones((1, 3)))
    assert error.dtype == jnp.float32
    assert error == 3.0
    assert regression.pixel_error(ones, zeros).dtype == jnp.float32


def gaussian(point: tuple[float, float], height: int, width: int, sigma: float) -> np.ndarray:
    y, x = np.mgrid[:height, :width]
    weights = np.exp(-((x - point[0]) ** 2 + (y - point[1]) ** 2) / (2 * sigma**2))
    return weights / weights.sum()


def test_spatial_cross_entropy_against_numpy(rng) -> None:
    logits = rng.normal(size=(2, 7, 9, 4)).astype(np.float32)
    points = rng.uniform(0, 6, (2, 3, 2)).astype(np.float32)
    visible = np.array([[1, 0, 1], [1, 1, 0]], bool)
    expected = []
    for image, point in zip(*np.nonzero(visible), strict=True):
        target = gaussian(points[image, point], 7, 9, 1.5)
        values = np.exp(logits[image, :, :, point].astype(np.float64))
        expected.append(-(target * np.log(values / values.sum())).sum())
    actual = regression.spatial_cross_entropy(logits, points, visible, 1.5)
    np.testing.assert_allclose(actual, np.mean(expected), rtol=1e-5)


def test_spatial_cross_entropy_is_least_at_the_target() -> None:
    """There it is the target's entropy, and the gradient vanishes."""
    target = gaussian((4.3, 2.6), 8, 8, 1.0)
    logits = jnp.asarray(np.log(target), jnp.float32)[None, :, :, None]
    points, visible = jnp.array([[[4.3, 2.6]]]), jnp.ones((1, 1), bool)
    value, gradient = jax.value_and_grad(regression.spatial_cross_entropy)(
        logits, points, visible, 1.0
    )
    np.testing.assert_allclose(value, -(target * np.log(target)).sum(), rtol=1e-5)
    np.testing.assert_allclose(gradient, 0, atol=1e-6)


def test_coordinate_error_by_hand() -> None:
    """A (3, 4) error is 5 pixels long; the invisible point's error does not count."""
    target = np.zeros((1, 3, 2), np.float32)
    points = np.array([[[3, 4], [0, 0], [100, 100]]], np.float32)
    visible = np.array([[True, True, False]])
    actual = regression.coordinate_error(points, target, visible, delta=2.0)
    np.testing.assert_allclose(actual, (np.sqrt(25 + 4) - 2) / 2, rtol=1e-6)
    gradient = jax.grad(regression.coordinate_error)(points, target, visible, 2.0)
    expected = [[[3 / np.sqrt(29) / 2, 4 / np.sqrt(29) / 2], [0, 0], [0, 0]]]
    np.testing.assert_allclose(gradient, expected, rtol=1e-5)


def cross_entropy(
    logits: jax.Array, points: jax.Array, visible: jax.Array, axis_name: str | None = None
) -> jax.Array:
    return regression.spatial_cross_entropy(logits, points, visible, 1.0, axis_name)


def coordinates(
    logits: jax.Array, points: jax.Array, visible: jax.Array, axis_name: str | None = None
) -> jax.Array:
    """Reads two rows of the first line of pixels as x and y."""
    predicted = logits[:, 0, :2, :].mT
    return regression.coordinate_error(predicted, points, visible, axis_name=axis_name)


both = pytest.mark.parametrize("loss", [cross_entropy, coordinates])


@both
def test_invisible_points_may_be_nan(loss, rng) -> None:
    logits = rng.normal(size=(1, 4, 4, 2)).astype(np.float32)
    points = rng.uniform(0, 3, (1, 2, 2)).astype(np.float32)
    visible = np.array([[True, False]])
    expected = jax.value_and_grad(loss)(logits, points, visible)
    points[0, 1] = np.nan
    actual = jax.value_and_grad(loss)(logits, points, visible)
    np.testing.assert_array_equal(actual[0], expected[0])
    np.testing.assert_array_equal(actual[1], expected[1])


@both
def test_nothing_visible_costs_nothing(loss, rng) -> None:
    logits = rng.normal(size=(1, 4, 4, 2)).astype(np.float32)
    value, gradient = jax.value_and_grad(loss)(
        logits, jnp.zeros((1, 2, 2)), jnp.zeros((1, 2), bool)
    )
    assert value == 0
    np.testing.assert_array_equal(gradient, 0)


@both
@pytest.mark.parametrize("seen", [0, 1])
def test_devices_may_see_one_point_or_none_among_them(loss, seen, rng) -> None:
    logits = rng.normal(size=(2, 4, 4, 2)).astype(np.float32)
    points = rng.uniform(0, 3, (2, 2, 2)).astype(np.float32)
    visible = np.zeros((2, 2), bool)
    visible[1, 1] = seen
    parts = jax.vmap(partial(loss, axis_name="data"), axis_name="data")(
        logits[:, None], points[:, None], visible[:, None]
    )
    expected = loss(logits[1:], points[1:], visible[1:]) if seen else 0.0
    np.testing.assert_allclose(parts.mean(), expected, rtol=1e-5)


@both
def test_devices_with_unequal_counts_average_to_the_whole(loss, rng) -> None:
    """The devices' axis is a vmap here; one of the four devices sees no point at all."""
    logits = rng.normal(size=(8, 4, 4, 3)).astype(np.float32)
    points = rng.uniform(0, 3, (8, 3, 2)).astype(np.float32)
    visible = rng.random((8, 3)) < 0.5
    visible[2:4] = False
    parts = jax.vmap(partial(loss, axis_name="data"), axis_name="data")(
        logits.reshape(4, 2, 4, 4, 3), points.reshape(4, 2, 3, 2), visible.reshape(4, 2, 3)
    )
    np.testing.assert_allclose(parts.mean(), loss(logits, points, visible), rtol=1e-5)
