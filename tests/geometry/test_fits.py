"""Crops from points: by hand, against Umeyama's SVD, and where there is no fit."""

import numpy as np
import pytest

from lrjax.geometry.fits import (
    FITS,
    LARGEST,
    MIN_SPREAD,
    fit_affine,
    fit_similarity,
    fit_template,
    spread,
)
from lrjax.geometry.templates import TEMPLATES, Template
from lrjax.geometry.transforms import apply

FACE32, ARCFACE = TEMPLATES["face32"], TEMPLATES["arcface112"]
SEEN = np.ones(5, bool)
PICTURE = np.array([100.0, 80.0])


def random_points(*shape: int) -> np.ndarray:
    return np.random.default_rng(1).uniform(0, 100, (*shape, 2)).astype(np.float32)


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


def test_fit_similarity_is_umeyamas() -> None:
    src, dst = random_points(2, 6)
    weights = np.array([1, 2, 0.5, 0, 3, 1], np.float32)
    found = fit_similarity(src, dst, weights)
    np.testing.assert_allclose(found, umeyama(src, dst, weights), rtol=1e-3, atol=1e-3)


def test_fit_similarity_recovers_a_similarity_from_two_visible_points() -> None:
    angle, scale = 0.7, 1.3
    c, s = scale * np.cos(angle), scale * np.sin(angle)
    truth = np.array([[c, -s, 5], [s, c, -3]], np.float32)
    src = random_points(5)
    dst = np.asarray(apply(truth, src)).copy()
    dst[2:] = np.nan
    found = fit_similarity(src, dst, np.arange(5) < 2)
    np.testing.assert_allclose(found, truth, rtol=1e-4, atol=1e-3)


def test_fit_similarity_never_reflects() -> None:
    src = random_points(3, 8)
    dst = src * [-1, 1] + [90, 0]
    found = np.asarray(fit_similarity(src, dst, np.ones((3, 8))))
    np.testing.assert_allclose(found[:, 0, 0], found[:, 1, 1], rtol=1e-6)
    np.testing.assert_allclose(found[:, 0, 1], -found[:, 1, 0], rtol=1e-6)
    assert (np.linalg.det(found[:, :, :2]) > 0).all()
    expected = [umeyama(s, d, np.ones(8)) for s, d in zip(src, dst, strict=True)]
    np.testing.assert_allclose(found, expected, rtol=1e-3, atol=2e-3)


@pytest.mark.parametrize("fit", [fit_similarity, fit_affine])
def test_degenerate_fits_are_finite_and_can_be_told(fit) -> None:
    src = np.array([[[10.0, 20.0]] * 4, [[np.nan, 1.0]] * 4, [[10.0, 20.0]] * 4], np.float32)
    dst = random_points(3, 4)
    weights = np.array([[1, 1, 1, 1], [0, 0, 0, 0], [0, 0, 1, 0]], np.float32)
    found = np.asarray(fit(src, dst, weights))
    np.testing.assert_array_equal(found[:, :, :2], np.broadcast_to(np.eye(2), (3, 2, 2)))
    np.testing.assert_allclose(found[0, :, 2], dst[0].mean(0) - [10, 20], rtol=1e-5)
    np.testing.assert_array_equal(found[1, :, 2], [0, 0])
    np.testing.assert_allclose(found[2, :, 2], dst[2, 2] - [10, 20], rtol=1e-5)
    assert (np.asarray(spread(src, weights)) < MIN_SPREAD).all()


def test_spread_is_the_square_root_of_the_covariances_eigenvalues() -> None:
    points = random_points(6) * [1.0, 0.1]
    weights = np.array([1, 2, 1, 0, 1, 3], np.float32)
    covariance = np.cov(points.T, aweights=weights, ddof=0)
    expected = np.sqrt(np.linalg.eigvalsh(covariance)[::-1])
    np.testing.assert_allclose(spread(points, weights), expected, rtol=1e-4)


def test_fit_affine_is_the_least_squares_solution() -> None:
    src, dst = random_points(2, 6)
    weights = np.array([1, 2, 0.5, 0, 3, 1], np.float32)
    root = np.sqrt(weights)[:, None]
    solution, *_ = np.linalg.lstsq(root * np.c_[src, np.ones(6)], root * dst, rcond=None)
    np.testing.assert_allclose(fit_affine(src, dst, weights), solution.T, rtol=1e-3, atol=1e-2)


def test_fit_affine_of_points_on_a_line_is_the_similarity() -> None:
    src = np.stack([np.arange(5.0), 2 * np.arange(5.0)], -1)
    dst = random_points(5)
    np.testing.assert_array_equal(
        fit_affine(src, dst, np.ones(5)), fit_similarity(src, dst, np.ones(5))
    )


def turned(
    points: np.ndarray, scale: float, degrees: float, shift: tuple[float, float]
) -> np.ndarray:
    a = np.deg2rad(degrees)
    return scale * points @ np.array([[np.cos(a), np.sin(a)], [-np.sin(a), np.cos(a)]]) + shift


def one(
    points: np.ndarray,
    visible: np.ndarray = SEEN,
    template: Template = FACE32,
    fit: str = "similarity",
    size: np.ndarray = PICTURE,
) -> tuple[np.ndarray, bool]:
    """Transform and verdict for one face."""
    transforms, sound = fit_template(
        np.asarray(points)[None], np.asarray(visible)[None], template, fit, size[None]
    )
    return transforms[0], bool(sound[0])


@pytest.mark.parametrize("fit", FITS)
def test_a_face_drawn_by_hand(fit: str) -> None:
    """Twice the template, turned by 90 degrees: (x, y) lies at (70 - 2 y, 10 + 2 x)."""
    x, y = FACE32.points.T
    transform, sound = one(np.stack([70 - 2 * y, 10 + 2 * x], -1), fit=fit)
    assert sound
    np.testing.assert_allclose(transform, [[0, -2, 70], [2, 0, 10]], atol=2e-4)


@pytest.mark.parametrize("seed", range(3))
def test_noisy_points_are_fitted_as_umeyama_does(seed: int) -> None:
    noise = np.random.default_rng(seed).normal(0, 2, (5, 2))
    points = turned(FACE32.points, 1.5, 25, (30, 10)) + noise
    transform, sound = one(points)
    there = umeyama(points, FACE32.points, np.ones(5))
    inverse = np.linalg.inv(np.vstack([there, [0, 0, 1]]))[:2]
    assert sound
    np.testing.assert_allclose(transform, inverse, atol=1e-3)


def test_an_affine_fit_is_the_least_squares_solution() -> None:
    points = turned(FACE32.points, 1.5, 25, (30, 10)) * (1.3, 0.9)
    points += np.random.default_rng(4).normal(0, 1, (5, 2))
    transform, sound = one(points, fit="affine")
    homogeneous = np.column_stack([points, np.ones(5)])
    there = np.linalg.lstsq(homogeneous, FACE32.points)[0].T
    assert sound
    np.testing.assert_allclose(
        transform, np.linalg.inv(np.vstack([there, [0, 0, 1]]))[:2], atol=1e-3
    )


@pytest.mark.parametrize("fit", FITS)
def test_points_that_are_not_visible_do_not_count(fit: str) -> None:
    points = turned(FACE32.points, 2, -10, (20, 5))
    hidden = points.copy()
    hidden[[1, 3]] = (np.nan, 1e30)
    expected, _ = one(points, fit=fit)
    for visible in (SEEN & [1, 0, 1, 0, 1], SEEN & [1, 0, 1, 1, 1]):
        hidden[3] = np.nan if visible[3] else 1e9
        transform, sound = one(hidden, visible, fit=fit)
        assert sound
        np.testing.assert_allclose(transform, expected, atol=1e-3)


def test_two_points_are_enough_for_a_similarity() -> None:
    transform, sound = one(FACE32.points, SEEN & [1, 1, 0, 0, 0])
    assert sound
    np.testing.assert_allclose(transform, np.eye(2, 3), atol=1e-4)


@pytest.mark.parametrize("fit", FITS)
def test_a_mirrored_face_is_never_mirrored_back(fit: str) -> None:
    mirrored = FACE32.points * (-1, 1) + (60, 10)
    transform, sound = one(mirrored, fit=fit)
    assert np.linalg.det(transform[:, :2]) > 0
    assert sound == (fit == "similarity")


def face(scale: float = 2.0, shift: tuple[float, float] = (20, 5)) -> np.ndarray:
    return FACE32.points * scale + shift


LINE = np.linspace((30, 30), (60, 45), 5)
USELESS = {
    "nothing visible": (face(), ~SEEN, "similarity"),
    "one point": (face(), SEEN & [0, 0, 1, 0, 0], "similarity"),
    "all in one place": (np.full((5, 2), 40.0), SEEN, "similarity"),
    "no numbers": (np.full((5, 2), np.nan), SEEN, "similarity"),
    "infinite": (np.full((5, 2), np.inf), SEEN, "similarity"),
    "smaller than an eye": (face(0.1, (40, 30)), SEEN, "similarity"),
    "far larger than the picture": (face(30, (-400, -400)), SEEN, "similarity"),
    "beside the picture": (face(2, (200, 5)), SEEN, "similarity"),
    "two points": (face(), SEEN & [1, 1, 0, 0, 0], "affine"),
    "a line": (LINE, SEEN, "affine"),
    "nearly a line": (face() * (1, 0.05) + (0, 40), SEEN, "affine"),
}


@pytest.mark.parametrize("case", USELESS)
def test_points_that_do_not_determine_a_face(case: str) -> None:
    points, visible, fit = USELESS[case]
    transform, sound = one(points, visible, fit=fit)
    assert not sound
    assert np.isfinite(transform).all()


def test_a_line_is_enough_for_a_similarity() -> None:
    assert one(LINE)[1]


@pytest.mark.parametrize(("factor", "sound"), [(0.99, True), (1.01, False)])
def test_how_large_a_crop_may_be(factor: float, sound: bool) -> None:
    """Of a picture 100 pixels wide."""
    points = (FACE32.points - (15.5, 15.5)) * (LARGEST * 100 / 32) * factor + (50, 40)
    assert one(points)[1] is sound


def test_many_faces_are_as_each_alone() -> None:
    rng = np.random.default_rng(5)
    points = face() + rng.normal(0, 1, (300, 5, 2))
    visible = rng.random((300, 5)) < 0.6
    together, sound = fit_template(points, visible, ARCFACE, "affine", np.tile(PICTURE, (300, 1)))
    assert 0 < sound.sum() < 300
    for i in (0, 255, 256, 299):
        transform, ok = one(points[i], visible[i], ARCFACE, "affine")
        assert ok == sound[i]
        np.testing.assert_allclose(together[i], transform, rtol=1e-6)


def test_no_faces() -> None:
    nothing = np.zeros((0, 5, 2))
    transforms, sound = fit_template(
        nothing, np.zeros((0, 5), bool), FACE32, "similarity", np.zeros((0, 2))
    )
    assert transforms.shape == (0, 2, 3)
    assert sound.shape == (0,)
