"""Crops from points: by hand, against Umeyama's SVD, and where there is no fit."""

import numpy as np
import pytest

from lrjax.geometry.align import FITS, LARGEST, crop_transforms
from lrjax.geometry.templates import TEMPLATES, Template

FACE32, ARCFACE = TEMPLATES["face32"], TEMPLATES["arcface112"]
SEEN = np.ones(5, bool)
PICTURE = np.array([100.0, 80.0])


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
    transforms, sound = crop_transforms(
        np.asarray(points)[None], np.asarray(visible)[None], template, fit, size[None]
    )
    return transforms[0], bool(sound[0])


def umeyama(source: np.ndarray, target: np.ndarray) -> np.ndarray:
    """The published algorithm with its singular value decomposition, in float64."""
    mean_s, mean_t = source.mean(0), target.mean(0)
    s, t = source - mean_s, target - mean_t
    u, d, v = np.linalg.svd(t.T @ s / len(s))
    sign = np.diag([1.0, np.sign(np.linalg.det(u) * np.linalg.det(v))])
    rotation = u @ sign @ v
    scale = np.trace(np.diag(d) @ sign) / (s**2).sum(1).mean()
    return np.column_stack([scale * rotation, mean_t - scale * rotation @ mean_s])


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
    there = umeyama(points, FACE32.points)
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
    together, sound = crop_transforms(
        points, visible, ARCFACE, "affine", np.tile(PICTURE, (300, 1))
    )
    assert 0 < sound.sum() < 300
    for i in (0, 255, 256, 299):
        transform, ok = one(points[i], visible[i], ARCFACE, "affine")
        assert ok == sound[i]
        np.testing.assert_allclose(together[i], transform, rtol=1e-6)


def test_no_faces() -> None:
    nothing = np.zeros((0, 5, 2))
    transforms, sound = crop_transforms(
        nothing, np.zeros((0, 5), bool), FACE32, "similarity", np.zeros((0, 2))
    )
    assert transforms.shape == (0, 2, 3)
    assert sound.shape == (0,)
