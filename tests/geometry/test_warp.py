import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image
from scipy import ndimage

from lrjax.geometry import warp


def random_transforms(*batch: int) -> np.ndarray:
    rng = np.random.default_rng(0)
    linear = np.eye(2) + rng.uniform(-0.5, 0.5, (*batch, 2, 2))
    return np.concatenate([linear, rng.uniform(-4, 4, (*batch, 2, 1))], -1).astype(np.float32)


def random_points(*shape: int) -> np.ndarray:
    return np.random.default_rng(1).uniform(0, 100, (*shape, 2)).astype(np.float32)


def homogeneous(transform: np.ndarray) -> np.ndarray:
    return np.concatenate([transform, [[0, 0, 1]]], 0)


def umeyama(src: np.ndarray, dst: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Umeyama's method by singular values, in float64."""
    src, dst, w = (np.asarray(a, np.float64) for a in (src, dst, weights))
    w = w / w.sum()
    src_mean, dst_mean = w @ src, w @ dst
    s, d = src - src_mean, dst - dst_mean
    u, singular, vt = np.linalg.svd(d.T @ (w[:, None] * s))
    sign = np.diag([1.0, np.sign(np.linalg.det(u) * np.linalg.det(vt))])
    rotation = u @ sign @ vt
    scale = np.trace(np.diag(singular) @ sign) / (w * (s**2).sum(1)).sum()
    return np.c_[scale * rotation, dst_mean - scale * rotation @ src_mean]


def test_apply_compose_and_invert_are_those_of_3x3_matrices() -> None:
    a, b = random_transforms(2)
    points = random_points(7)
    ha, hb = homogeneous(a), homogeneous(b)
    expected = (np.c_[points, np.ones(7)] @ ha.T)[:, :2]
    np.testing.assert_allclose(warp.apply(a, points), expected, rtol=1e-5, atol=1e-4)
    np.testing.assert_allclose(warp.compose(a, b), (ha @ hb)[:2], rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(warp.invert(a), np.linalg.inv(ha)[:2], rtol=1e-4, atol=1e-5)


def test_transforms_broadcast_over_batches() -> None:
    a, points = random_transforms(3), random_points(2, 3, 5)
    moved = warp.apply(a, points)
    assert moved.shape == (2, 3, 5, 2)
    np.testing.assert_allclose(moved[1, 2], warp.apply(a[2], points[1, 2]), rtol=1e-6)
    np.testing.assert_allclose(
        warp.compose(a, warp.invert(a)), np.broadcast_to(np.eye(2, 3), (3, 2, 3)), atol=1e-5
    )


def test_similarity_fit_is_umeyamas() -> None:
    src, dst = random_points(2, 6)
    weights = np.array([1, 2, 0.5, 0, 3, 1], np.float32)
    found = warp.similarity_fit(src, dst, weights)
    np.testing.assert_allclose(found, umeyama(src, dst, weights), rtol=1e-3, atol=1e-3)


def test_similarity_fit_recovers_a_similarity_from_two_visible_points() -> None:
    angle, scale = 0.7, 1.3
    c, s = scale * np.cos(angle), scale * np.sin(angle)
    truth = np.array([[c, -s, 5], [s, c, -3]], np.float32)
    src = random_points(5)
    dst = np.asarray(warp.apply(truth, src)).copy()
    dst[2:] = np.nan
    found = warp.similarity_fit(src, dst, np.arange(5) < 2)
    np.testing.assert_allclose(found, truth, rtol=1e-4, atol=1e-3)


def test_similarity_fit_never_reflects() -> None:
    src = random_points(3, 8)
    dst = src * [-1, 1] + [90, 0]
    found = np.asarray(warp.similarity_fit(src, dst, np.ones((3, 8))))
    np.testing.assert_allclose(found[:, 0, 0], found[:, 1, 1], rtol=1e-6)
    np.testing.assert_allclose(found[:, 0, 1], -found[:, 1, 0], rtol=1e-6)
    assert (np.linalg.det(found[:, :, :2]) > 0).all()
    expected = [umeyama(s, d, np.ones(8)) for s, d in zip(src, dst, strict=True)]
    np.testing.assert_allclose(found, expected, rtol=1e-3, atol=2e-3)


@pytest.mark.parametrize("fit", [warp.similarity_fit, warp.affine_fit])
def test_degenerate_fits_are_finite_and_can_be_told(fit) -> None:
    src = np.array([[[10.0, 20.0]] * 4, [[np.nan, 1.0]] * 4, [[10.0, 20.0]] * 4], np.float32)
    dst = random_points(3, 4)
    weights = np.array([[1, 1, 1, 1], [0, 0, 0, 0], [0, 0, 1, 0]], np.float32)
    found = np.asarray(fit(src, dst, weights))
    np.testing.assert_array_equal(found[:, :, :2], np.broadcast_to(np.eye(2), (3, 2, 2)))
    np.testing.assert_allclose(found[0, :, 2], dst[0].mean(0) - [10, 20], rtol=1e-5)
    np.testing.assert_array_equal(found[1, :, 2], [0, 0])
    np.testing.assert_allclose(found[2, :, 2], dst[2, 2] - [10, 20], rtol=1e-5)
    assert (np.asarray(warp.spread(src, weights)) < warp.MIN_SPREAD).all()


def test_gradients_of_degenerate_fits_are_finite() -> None:
    src = jnp.full((4, 2), 3.0)
    gradient = jax.grad(lambda s: warp.similarity_fit(s, src, jnp.ones(4)).sum())(src)
    assert np.isfinite(gradient).all()


def test_spread_is_the_square_root_of_the_covariances_eigenvalues() -> None:
    points = random_points(6) * [1.0, 0.1]
    weights = np.array([1, 2, 1, 0, 1, 3], np.float32)
    covariance = np.cov(points.T, aweights=weights, ddof=0)
    expected = np.sqrt(np.linalg.eigvalsh(covariance)[::-1])
    np.testing.assert_allclose(warp.spread(points, weights), expected, rtol=1e-4)


def test_affine_fit_is_the_least_squares_solution() -> None:
    src, dst = random_points(2, 6)
    weights = np.array([1, 2, 0.5, 0, 3, 1], np.float32)
    root = np.sqrt(weights)[:, None]
    solution, *_ = np.linalg.lstsq(root * np.c_[src, np.ones(6)], root * dst, rcond=None)
    np.testing.assert_allclose(warp.affine_fit(src, dst, weights), solution.T, rtol=1e-3, atol=1e-2)


def test_affine_fit_of_points_on_a_line_is_the_similarity() -> None:
    src = np.stack([np.arange(5.0), 2 * np.arange(5.0)], -1)
    dst = random_points(5)
    np.testing.assert_array_equal(
        warp.affine_fit(src, dst, np.ones(5)), warp.similarity_fit(src, dst, np.ones(5))
    )


def test_identity_view_is_the_central_crop() -> None:
    frames = np.random.default_rng(2).integers(0, 256, (2, 12, 12, 3), np.uint8)
    a = warp.view_transform(12, 8, np.zeros(2), np.ones(2), np.zeros((2, 2)))
    view = warp.warp(jnp.asarray(frames), a, 8)
    assert view.dtype == jnp.float32
    np.testing.assert_array_equal(view, frames[:, 2:10, 2:10])


@pytest.mark.parametrize(
    ("angle", "scale", "shift", "expected"),
    [
        # A frame point 4 px to the right of the frame's centre; views of 9 px, centre (4, 4).
        (0.0, 1.0, (0, 0), (8, 4)),
        (0.0, 0.5, (0, 0), (6, 4)),
        (0.0, 1.0, (-1, 2), (7, 6)),
        (np.pi / 2, 1.0, (0, 0), (4, 8)),
        (np.pi / 2, 0.5, (1, 1), (5, 7)),
    ],
)
def test_view_moves_the_face_as_it_says(angle, scale, shift, expected) -> None:
    a = warp.view_transform(13, 9, angle, scale, np.array(shift))
    point = np.array([[10.0, 6.0]])
    np.testing.assert_allclose(warp.apply(warp.invert(a), point), [expected], atol=1e-5)
    frame = np.zeros((1, 13, 13, 1), np.uint8)
    frame[0, 5:8, 9:12] = 255
    view = np.asarray(warp.warp(jnp.asarray(frame), a[None], 9))[0, :, :, 0]
    x, y = expected
    assert view[y, x] == pytest.approx(255, abs=0.01)


@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
@pytest.mark.parametrize("channels", [1, 3])
def test_warp_is_scipys_linear_interpolation_with_black_outside(dtype, channels) -> None:
    rng = np.random.default_rng(3)
    images = rng.integers(0, 256, (6, 11, 9, channels)).astype(dtype)
    transforms = random_transforms(6)
    transforms[5, :, 2] = [-9, -12]
    found = np.asarray(warp.warp(images, transforms, 13))
    y, x = np.mgrid[:13, :13]
    for image, a, view in zip(images, transforms.astype(float), found, strict=True):
        source = a[:, :2] @ np.stack([x.ravel(), y.ravel()]) + a[:, 2:]
        for channel in range(channels):
            expected = ndimage.map_coordinates(
                image[..., channel].astype(float), source[::-1], order=1, mode="grid-constant"
            )
            np.testing.assert_allclose(view[..., channel].ravel(), expected, atol=2e-2)


@pytest.mark.parametrize("shift", [(-40, 0), (40, 0), (0, -40), (0, 40), (1e9, -1e9), (9, 9)])
def test_everything_outside_is_black(shift) -> None:
    images = np.full((1, 8, 8, 3), 255, np.uint8)
    a = np.array([[[1, 0, shift[0]], [0, 1, shift[1]]]], np.float32)
    assert not np.asarray(warp.warp(jnp.asarray(images), a, 8)).any()


def test_edges_fade_into_black() -> None:
    images = np.full((1, 4, 4, 1), 200, np.uint8)
    a = np.array([[[1, 0, -0.25], [0, 1, 0.25]]], np.float32)
    view = np.asarray(warp.warp(jnp.asarray(images), a, 4))[0, :, :, 0]
    np.testing.assert_allclose(view[0], [150, 200, 200, 200])
    np.testing.assert_allclose(view[3], [112.5, 150, 150, 150])


def test_warp_takes_points_and_pixels_to_the_same_place() -> None:
    y, x = np.mgrid[:48, :48]
    point = np.array([29.3, 20.6])
    blob = np.exp(-((x - point[0]) ** 2 + (y - point[1]) ** 2) / 8)[None, :, :, None]
    a = warp.view_transform(48, 32, np.array([0.4]), np.array([1.1]), np.array([[2.0, -1.0]]))
    view = np.asarray(warp.warp(jnp.asarray(blob, jnp.float32), a, 32))[0, :, :, 0]
    y, x = np.mgrid[:32, :32]
    centroid = [(view * x).sum() / view.sum(), (view * y).sum() / view.sum()]
    np.testing.assert_allclose(
        warp.apply(warp.invert(a), point[None, None])[0, 0], centroid, atol=0.02
    )


def test_warp_agrees_with_pillow_inside() -> None:
    image = np.random.default_rng(4).integers(0, 256, (20, 20, 3), np.uint8)
    a, b, c, d, e, f = 0.8, 0.2, 1.4, -0.1, 0.7, 3.1
    # Pillow measures from pixel corners: its point is ours plus a half on both sides.
    data = (a, b, c + 0.5 - (a + b) / 2, d, e, f + 0.5 - (d + e) / 2)
    expected = Image.fromarray(image).transform((16, 16), Image.AFFINE, data, Image.BILINEAR)
    transform = np.array([[[a, b, c], [d, e, f]]], np.float32)
    found = warp.warp(jnp.asarray(image[None]), transform, 16)[0]
    np.testing.assert_allclose(found, np.asarray(expected), atol=1.01)


def test_flip_images_by_hand() -> None:
    image = jnp.arange(6).reshape(1, 2, 3, 1)
    np.testing.assert_array_equal(warp.flip_images(image)[0, :, :, 0], [[2, 1, 0], [5, 4, 3]])


def test_average_pool_by_hand_and_by_pillow() -> None:
    image = np.arange(16, dtype=np.uint8).reshape(1, 4, 4, 1)
    pooled = warp.average_pool(jnp.asarray(image), 2)
    np.testing.assert_array_equal(pooled[0, :, :, 0], [[2.5, 4.5], [10.5, 12.5]])
    image = np.random.default_rng(5).integers(0, 256, (16, 8, 3), np.uint8)
    expected = np.asarray(Image.fromarray(image).reduce(4))
    np.testing.assert_allclose(warp.average_pool(jnp.asarray(image), 4), expected, atol=0.51)


def test_average_pool_moves_points_as_the_convention_says() -> None:
    image = np.zeros((1, 8, 8, 1), np.float32)
    image[0, 4:8, 0:4] = 1
    pooled = np.asarray(warp.average_pool(jnp.asarray(image), 4))[0, :, :, 0]
    # The block's centre (1.5, 5.5) becomes (0, 1).
    np.testing.assert_array_equal(pooled, [[0, 0], [1, 0]])


def test_average_pool_refuses_sides_that_do_not_divide() -> None:
    with pytest.raises(ValueError, match="10x8 is not a multiple of 4"):
        warp.average_pool(jnp.zeros((1, 10, 8, 3)), 4)
