import jax.numpy as jnp
import numpy as np
import pytest

from lrjax.geometry.heatmaps import DECODERS, channel_mask, decode, encode


def inner_points(size: int, count: int = 400) -> np.ndarray:
    """Points whose 3x3 neighbourhood is inside the map: [1, count, 2]."""
    rng = np.random.default_rng(size)
    return rng.uniform(1, size - 2, (1, count, 2)).astype(np.float32)


def gaussians(points: np.ndarray, size: int, sigma: float) -> np.ndarray:
    """The maps of points [N, 2] by definition, pixel by pixel: [size, size, N]."""
    maps = np.zeros((size, size, len(points)))
    for y in range(size):
        for x in range(size):
            for n, (px, py) in enumerate(points):
                maps[y, x, n] = np.exp(-((x - px) ** 2 + (y - py) ** 2) / (2 * sigma**2))
    return maps


def test_encode_is_sans_definition() -> None:
    points = np.random.default_rng(0).uniform(-3, 14, (5, 2)).astype(np.float32)
    points[0] = [4, 7]
    maps = np.asarray(encode(points, np.ones(5, bool), 12, 1.7))
    expected = gaussians(points, 12, 1.7)
    expected[expected < 0.01] = 0
    assert maps.dtype == np.float32
    np.testing.assert_allclose(maps[..., :5], expected, atol=1e-6)
    np.testing.assert_allclose(maps[..., 5], np.maximum(1 - expected.max(-1), 0), atol=1e-6)
    assert maps[7, 4, 0] == 1
    assert maps[7, 4, 5] == 0


def test_encode_by_hand() -> None:
    maps = np.asarray(encode([[2.0, 1.0]], [True], 8, 2.0))
    np.testing.assert_allclose(maps[1, 3, 0], np.exp(-1 / 8), rtol=1e-6)
    np.testing.assert_allclose(maps[3, 4, 0], np.exp(-1), rtol=1e-6)
    np.testing.assert_allclose(maps[3, 4, 1], 1 - np.exp(-1), rtol=1e-6)
    # exp(-d^2 / 8) < 0.01 from d^2 = 36.8 on.
    assert maps[1, 7, 0] > 0
    assert maps[7, 3, 0] == 0
    assert maps[7, 3, 1] == 1


def test_encode_leaves_what_falls_inside_of_a_point_outside() -> None:
    maps = np.asarray(encode([[-2.0, 3.0], [50.0, 3.0]], [True, True], 8, 2.0))
    np.testing.assert_allclose(maps[3, 0, 0], np.exp(-0.5), rtol=1e-6)
    assert not maps[..., 1].any()


def test_invisible_point_has_an_empty_map_but_carves_the_background() -> None:
    points = [[2.0, 2.0], [6.0, 6.0]]
    both = np.asarray(encode(points, [True, True], 9, 1.0))
    one = np.asarray(encode(points, [True, False], 9, 1.0))
    assert not one[..., 1].any()
    np.testing.assert_array_equal(one[..., [0, 2]], both[..., [0, 2]])
    assert one[6, 6, 2] == 0


def test_point_without_coordinates_leaves_nothing() -> None:
    maps = np.asarray(encode([[np.nan, 2.0], [3.0, np.inf]], [False, True], 8, 2.0))
    assert not maps[..., :2].any()
    assert (maps[..., 2] == 1).all()


def test_encode_takes_any_batch() -> None:
    points = np.random.default_rng(1).uniform(0, 8, (2, 3, 4, 2)).astype(np.float32)
    visible = np.random.default_rng(2).random((2, 3, 4)) < 0.5
    maps = encode(points, visible, 8, 1.5)
    assert maps.shape == (2, 3, 8, 8, 5)
    np.testing.assert_allclose(maps[1, 2], encode(points[1, 2], visible[1, 2], 8, 1.5), atol=1e-6)


def test_channel_mask_by_hand() -> None:
    points = [[0.0, 0.0], [-0.5, 7.5], [-0.6, 3.0], [3.0, 7.6], [4.0, 4.0], [np.nan, 4.0]]
    visible = [True, True, True, True, False, True]
    np.testing.assert_array_equal(channel_mask(points, visible, 8), [1, 1, 0, 0, 0, 0, 1])


# The documented errors, with a little room: mean and largest, in pixels.
BOUNDS = {
    "gaussian": {2.0: (1e-3, 1e-2), 1.5: (1e-3, 1e-2)},
    "fit": {2.0: (1e-3, 1e-2), 1.5: (1e-3, 1e-2)},
    "window": {2.0: (0.19, 0.75), 1.5: (0.09, 0.5)},
    "quarter": {2.0: (0.21, 0.36), 1.5: (0.21, 0.36)},
    "argmax": {2.0: (0.41, 0.71), 1.5: (0.41, 0.71)},
}


@pytest.mark.parametrize("size", [32, 128])
@pytest.mark.parametrize("sigma", [2.0, 1.5])
@pytest.mark.parametrize("method", BOUNDS)
def test_error_of_encode_then_decode(method, sigma, size) -> None:
    points = inner_points(size, 400 if size == 32 else 100)
    count = points.shape[1]
    maps = encode(points, np.ones((1, count), bool), size, sigma)
    found, confidence = decode(maps, count, method)
    error = np.linalg.norm(np.asarray(found) - points, axis=-1)
    mean, largest = BOUNDS[method][sigma]
    assert error.mean() < mean
    assert error.max() < largest
    np.testing.assert_array_equal(confidence, np.asarray(maps)[..., :-1].max((1, 2)))


def test_every_decoder_is_bounded_and_the_default_is_the_first() -> None:
    assert {*BOUNDS, "soft"} == set(DECODERS)
    assert DECODERS[0] == "gaussian"
    maps = encode([[3.3, 4.4]], [True], 8, 1.5)
    for a, b in zip(decode(maps, 1), decode(maps, 1, "gaussian"), strict=True):
        np.testing.assert_array_equal(a, b)


def test_soft_reads_logits() -> None:
    points = np.array([[10.3, 20.7], [16.0, 15.5]])
    logits = np.log(gaussians(points, 32, 1.5) + 1e-30) + 7.0
    found, confidence = decode(jnp.asarray(logits, jnp.float32), 2, "soft")
    np.testing.assert_allclose(found, points, atol=1e-3)
    chance = np.exp(logits) / np.exp(logits).sum((0, 1))
    np.testing.assert_allclose(confidence, chance.max((0, 1)), rtol=1e-4)


def test_soft_by_hand() -> None:
    logits = np.full((2, 4, 1), -1e9, np.float32)
    logits[0, 1], logits[1, 3] = np.log(3.0), 0.0
    found, confidence = decode(jnp.asarray(logits), 1, "soft")
    np.testing.assert_allclose(found, [[0.75 * 1 + 0.25 * 3, 0.25]], rtol=1e-6)
    np.testing.assert_allclose(confidence, [0.75], rtol=1e-6)


@pytest.mark.parametrize("method", ["gaussian", "fit"])
def test_fits_are_exact_on_the_border_pixels_and_for_any_width(method) -> None:
    points = np.array([[0.3, 0.4], [-0.4, 5.0], [15.4, 15.3], [8.2, -0.5], [0.0, 15.0]])
    for sigma in (1.5, 3.0):
        maps = 0.4 * encode(points, np.ones(5, bool), 16, sigma)
        found, confidence = decode(maps, 5, method)
        np.testing.assert_allclose(found, points, atol=2e-3)
        assert (np.asarray(confidence) <= 0.4).all()


def test_gaussian_moves_at_most_half_a_pixel() -> None:
    maps = np.asarray(encode([[-3.0, 4.0]], [True], 16, 2.0))
    np.testing.assert_allclose(decode(jnp.asarray(maps), 1)[0], [[-0.5, 4.0]], atol=1e-4)


@pytest.mark.parametrize("method", ["gaussian", "fit", "window", "quarter", "argmax"])
def test_flat_empty_and_lonely_maps_give_finite_points(method) -> None:
    maps = np.zeros((8, 8, 4), np.float32)
    maps[..., 1] = 0.5
    maps[..., 2] = -3.0
    maps[5, 2, 3] = 1.0
    found, confidence = decode(jnp.asarray(maps), 4, method)
    assert np.isfinite(found).all()
    np.testing.assert_allclose(found[3], [2, 5], atol=1e-5)
    np.testing.assert_array_equal(confidence, [0, 0.5, -3, 1])


@pytest.mark.parametrize("method", ["gaussian", "fit", "window", "quarter", "argmax"])
def test_noise_keeps_decoders_near_the_maximum(method) -> None:
    maps = np.random.default_rng(4).normal(size=(12, 12, 30)).astype(np.float32)
    found, _ = decode(jnp.asarray(maps), 30, method)
    index = maps.reshape(144, 30).argmax(0)
    away = np.abs(np.asarray(found) - np.stack([index % 12, index // 12], -1)).max()
    reach = {"gaussian": 0.5, "fit": 1.5, "window": 3, "quarter": 0.25, "argmax": 0}[method]
    assert away <= reach + 1e-6


def test_fit_is_steadier_than_gaussian_under_noise() -> None:
    points = inner_points(32, 200)
    maps = 0.6 * np.asarray(encode(points, np.ones((1, 200), bool), 32, 2.0))
    maps += np.random.default_rng(5).normal(0, 0.05, maps.shape).astype(np.float32)
    error = {}
    for method in ("gaussian", "fit"):
        found, _ = decode(jnp.asarray(maps), 200, method)
        error[method] = np.linalg.norm(np.asarray(found) - points, axis=-1).mean()
    assert error["fit"] < 0.13
    assert error["fit"] < error["gaussian"] / 2


def test_window_is_sans_definition() -> None:
    maps = np.random.default_rng(3).normal(size=(10, 9, 6)).astype(np.float32)
    found, _ = decode(jnp.asarray(maps), 6, "window")
    for n in range(6):
        row, column = np.unravel_index(maps[..., n].argmax(), (10, 9))
        total = sum_x = sum_y = 0.0
        for dy in range(-3, 4):
            for dx in range(-3, 4):
                y, x = row + dy, column + dx
                inside = 0 <= y < 10 and 0 <= x < 9
                value = maps[y, x, n] if inside and maps[y, x, n] > 1e-6 else 2.2e-16
                total, sum_x, sum_y = total + value, sum_x + value * dx, sum_y + value * dy
        expected = [column + sum_x / total, row + sum_y / total]
        np.testing.assert_allclose(found[n], expected, rtol=1e-5)


def test_quarter_by_hand() -> None:
    maps = np.zeros((6, 6, 2), np.float32)
    maps[2, 3, 0], maps[2, 2, 0], maps[3, 3, 0], maps[1, 3, 0] = 1.0, 0.5, 0.7, 0.6
    # In the corner the missing neighbour counts as the corner itself.
    maps[0, 0, 1], maps[0, 1, 1] = 1.0, 0.5
    found, _ = decode(jnp.asarray(maps), 2, "quarter")
    np.testing.assert_allclose(found, [[2.75, 2.25], [-0.25, -0.25]])


@pytest.mark.parametrize("method", DECODERS)
def test_decode_takes_any_batch_half_precision_and_no_background(method) -> None:
    points = np.random.default_rng(6).uniform(2, 9, (2, 3, 4, 2)).astype(np.float32)
    maps = encode(points, np.ones((2, 3, 4), bool), 12, 1.5)
    found, confidence = decode(maps, 4, method)
    assert found.shape == (2, 3, 4, 2)
    assert confidence.shape == (2, 3, 4)
    alone, _ = decode(maps[1, 2, ..., :4], 4, method)
    np.testing.assert_allclose(found[1, 2], alone, atol=1e-5)
    half, _ = decode(maps.astype(jnp.bfloat16), 4, method)
    assert half.dtype == jnp.float32


def test_decode_refuses_what_it_cannot_do() -> None:
    maps = jnp.zeros((8, 8, 6))
    with pytest.raises(ValueError, match="unknown decoder 'best'"):
        decode(maps, 5, "best")
    with pytest.raises(ValueError, match="68 points asked of maps with 6 channels"):
        decode(maps, 68)
