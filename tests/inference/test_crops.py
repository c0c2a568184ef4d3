"""Crops: where they are cut, how they are turned, and how far points may move them."""

import numpy as np
import pytest
from PIL import Image

from lrjax.geometry.crop import crop, square_box
from lrjax.geometry.points import FIVE, IBUG68
from lrjax.inference.crops import (
    REACH,
    ZOOM,
    Crops,
    box_crops,
    box_problem,
    cut_crop,
    face_angles,
    refined_crops,
)

FACE = np.array([[-8, -6], [8, -6], [0, 1], [-6, 8], [6, 8]], np.float64)


def turned(points: np.ndarray, degrees: float) -> np.ndarray:
    a = np.deg2rad(degrees)
    return points @ np.array([[np.cos(a), -np.sin(a)], [np.sin(a), np.cos(a)]]).T


def noise(width: int, height: int, coarse: int) -> Image.Image:
    pixels = np.random.default_rng(3).integers(0, 256, (coarse, coarse, 3), dtype=np.uint8)
    return Image.fromarray(pixels).resize((width, height), Image.Resampling.BICUBIC)


def test_a_view_is_the_context_around_the_square_of_the_box() -> None:
    views = box_crops(np.array([[10, 20, 32, 50], [0, 0, 1, 1]]), 1.25)
    np.testing.assert_allclose(views.centre, [[25.5, 44.5], [0, 0]])
    np.testing.assert_allclose(views.side, [1.25 * 40, 1.25])


@pytest.mark.parametrize("side", [21.7, 48.0, 133.3])
def test_training_and_prediction_see_the_same_pixels(side: float) -> None:
    """The middle of a training frame, 1.5 times as wide, is the view, to a grey level."""
    photo, centre = noise(300, 260, 40), np.array([140.3, 121.8])
    frame = crop(photo, square_box(centre, 1.5 * side), 48, 48).astype(int)
    view = cut_crop(photo, centre, side, 0.0, 32).astype(int)
    assert np.abs(frame[8:40, 8:40] - view).max() <= 1


@pytest.mark.parametrize("angle", [0.0, 0.5, -2.0])
@pytest.mark.parametrize("side", [20.0, 47.3, 260.0])
def test_what_is_cut_lies_where_to_photo_says(side: float, angle: float) -> None:
    """A dot at a known place of the photograph, found in the view by its centroid."""
    dot, centre = np.array([203.4, 148.9]), np.array([200.7, 151.2])
    columns, rows = np.meshgrid(np.arange(420), np.arange(320))
    sigma = max(1.2, side / 16)
    light = 255 * np.exp(-((columns - dot[0]) ** 2 + (rows - dot[1]) ** 2) / (2 * sigma**2))
    photo = Image.fromarray(np.repeat(light[..., None], 3, axis=2).astype(np.uint8))
    view = cut_crop(photo, centre, side, angle, 32)[..., 0].astype(float)
    view[view < view.max() / 10] = 0
    y, x = np.indices(view.shape)
    found = np.array([(x * view).sum(), (y * view).sum()]) / view.sum()
    there = Crops(centre[None], np.array([side]), np.array([angle])).to_photo(found[None, None], 32)
    np.testing.assert_allclose(there[0, 0], dot, atol=0.004 * side)


@pytest.mark.parametrize("side", [18.0, 60.0, 400.0])
def test_turning_back_and_forth_is_nearly_not_turning(side: float) -> None:
    """A photograph turned by Pillow at full size and a view turned against it."""
    photo, centre, degrees = noise(700, 700, 90), np.array([349.5, 349.5]), 33.0
    # Pillow turns counter-clockwise as seen, which is towards smaller angles here.
    other = photo.rotate(-degrees, Image.Resampling.BICUBIC)
    straight = cut_crop(photo, centre, side, 0.0, 32).astype(float)
    against = cut_crop(other, centre, side, np.deg2rad(degrees), 32).astype(float)
    assert np.abs(straight - against).mean() < 0.06 * np.ptp(straight)
    unturned = cut_crop(other, centre, side, 0.0, 32).astype(float)
    assert np.abs(straight - against).mean() < 0.35 * np.abs(straight - unturned).mean()


def test_beyond_the_photograph_a_turned_view_is_black() -> None:
    photo = Image.new("RGB", (40, 40), (200, 200, 200))
    # The photograph fills a quarter of what is around its corner: here the part to the right.
    view = cut_crop(photo, np.array([-0.5, -0.5]), 40.0, np.deg2rad(45), 32)
    assert view[:, :14].max() == view[:6, 16:20].max() == view[26:, 16:20].max() == 0
    assert view[14:18, 20:].min() == 200


@pytest.mark.parametrize("degrees", [-170.0, -50.0, 0.0, 20.0, 90.0])
def test_the_angle_of_a_face(degrees: float) -> None:
    found = np.rad2deg(face_angles(5 + 3 * turned(FACE, degrees)[None], FIVE))
    np.testing.assert_allclose(found, [degrees], atol=1e-6)


def test_in_a_profile_the_mouth_decides_on_the_angle() -> None:
    """Both eyes nearly in one place, one a little higher: the face is still upright."""
    profile = FACE.copy()
    profile[:2] = [[-1, -6], [0, -7]]
    profile[3:, 0] = [-1, 0]
    assert abs(np.rad2deg(face_angles(profile[None], FIVE)[0])) < 6


@pytest.mark.parametrize("degrees", [0.0, 25.0])
def test_points_in_the_box_they_imply_leave_the_view_where_it_is(degrees: float) -> None:
    points = turned(np.random.default_rng(0).uniform(-10, 10, (68, 2)), degrees)[None] + 50
    given = box_crops(np.array([[35.0, 33, 30, 31]]), 1.25)
    once = refined_crops(given, points, IBUG68, 1.25, upright=False)
    twice = refined_crops(once, points, IBUG68, 1.25, upright=False)
    np.testing.assert_allclose(twice.centre, once.centre)
    np.testing.assert_allclose(twice.side, once.side)


def test_an_upright_view_turns_with_the_face() -> None:
    """Turning a face about a point turns its view about that point, and changes nothing else."""
    given = box_crops(np.array([[30.5, 30.5, 40, 40]]), 1.25)
    level = refined_crops(given, 50 + FACE[None], FIVE, 1.25, upright=True)
    other = refined_crops(given, 50 + turned(FACE, 40)[None], FIVE, 1.25, upright=True)
    np.testing.assert_allclose(level.angle, 0, atol=1e-9)
    np.testing.assert_allclose(other.angle, np.deg2rad(40))
    np.testing.assert_allclose(other.side, level.side)
    np.testing.assert_allclose(other.centre - 50, turned(level.centre - 50, 40), atol=1e-9)


def test_a_lost_face_does_not_take_the_view_along() -> None:
    given = box_crops(np.array([[0.0, 0, 20, 20]] * 3), 1.25)
    points = np.stack([FACE * 50 + 900, FACE * 1e-6, FACE * 1e-6 - 400])
    found = refined_crops(given, points, FIVE, 1.25, upright=False)
    moved = np.linalg.norm(found.centre - given.centre, axis=1)
    assert (moved <= REACH * given.side + 1e-9).all()
    np.testing.assert_allclose(found.side, given.side * [ZOOM, 1 / ZOOM, 1 / ZOOM])


@pytest.mark.parametrize(
    ("box", "problem"),
    [
        ((-5, -5, 10, 10), None),
        ((99, 79, 4, 4), None),
        ((-60, -60, 190, 190), None),
        ((np.inf, 0, 1, 1), "not finite"),
        ((5, 5, -3, 3), "no area"),
        ((100, 5, 3, 3), "outside"),
        ((-4, 5, 4, 3), "outside"),
        ((1e308, 5, 1e308, 3), "far larger than any image, or far away"),
        ((-1e308, 5, 1.5e308, 1e308), "far larger"),
        ((5, 5, 1e-300, 1e-300), "smaller than a pixel"),
        ((-5e14, 5, 1e15, 1e-14), "far larger"),
        ((5, 5, 1e5, 0.001), "smaller than a pixel"),
        ((-5e4, 5, 1e5, 0.2), "far larger"),
    ],
)
def test_boxes_on_a_photograph_of_100_by_80(box, problem) -> None:
    found = box_problem(box, (100, 80))
    assert found is None if problem is None else problem in found


def test_crops_agree_within_the_slack_and_no_further() -> None:
    still = Crops(np.zeros((6, 2)), np.full(6, 10.0), np.zeros(6))
    centre = np.array([[0, 0], [0.9, 0], [1.1, 0], [0, 0], [0, 0], [0, 0]])
    side = np.array([10, 10, 10, 8.4, 12.1, 10])
    moved = Crops(centre, side, np.array([0, 0.09, 0, 0, 0, -0.11]))
    assert moved.agree(still).tolist() == [True, True, False, True, False, False]
    assert moved.take(np.array([2])).centre.tolist() == [[1.1, 0]]
