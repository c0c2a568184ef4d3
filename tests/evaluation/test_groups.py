"""Groups of faces, by sides and yaws worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest

from lrjax.evaluation import groups
from lrjax.geometry.points import AFLW19, FIVE


def test_a_face_is_in_the_group_of_its_side() -> None:
    sides = np.array([15.9, 16, 20, 31.9, 32, 48, 500])
    boxes = np.stack([0 * sides, 0 * sides, 2 * sides, sides / 2], axis=-1)
    found = groups.by_side(boxes)
    assert list(found) == [
        *("below 16 px", "from 16 to 24 px", "from 24 to 32 px", "from 32 to 48 px", "from 48 px")
    ]
    assert [mask.sum() for mask in found.values()] == [1, 2, 1, 1, 2]
    assert sum(found.values()).tolist() == [1] * 7


def face(nose: float, angle: float = 0.0) -> np.ndarray:
    """Eyes 4 apart, the nose so far from their middle, all turned in the picture."""
    five = np.array([(-2, 0), (2, 0), (nose, 3), (-1, 5), (1, 5)], float)
    spin = np.array([(np.cos(angle), np.sin(angle)), (-np.sin(angle), np.cos(angle))])
    return 7 + five @ spin


def test_a_nose_below_an_eye_is_a_half_whatever_the_roll() -> None:
    points = np.stack([face(0), face(2), face(-1, 0.7), face(-2, np.pi)])
    seen = np.ones((4, 5), bool)
    np.testing.assert_allclose(groups.turned(points, seen, FIVE), [0, 0.5, 0.25, 0.5], atol=1e-12)
    found = groups.by_yaw(points, seen, FIVE)
    assert {label: mask.tolist() for label, mask in found.items()} == {
        "turned below 0.15": [True, False, False, False],
        "turned from 0.15 to 0.35": [False, False, True, False],
        "turned from 0.35": [False, True, False, True],
        "turned, not known": [False] * 4,
    }


@pytest.mark.parametrize("hidden", [0, 1, 2])
def test_what_is_hidden_leaves_it_unknown(hidden: int) -> None:
    seen = np.ones((1, 5), bool)
    seen[0, hidden] = False
    points = face(1)[None].copy()
    points[0, hidden] = 1e9
    assert np.isnan(groups.turned(points, seen, FIVE)).all()
    assert groups.by_yaw(points, seen, FIVE)["turned, not known"].all()
    assert np.isnan(groups.turned(np.ones((1, 5, 2)), np.ones((1, 5), bool), FIVE)).all()


def test_aflw_s_points_will_do() -> None:
    points = np.zeros((1, 19, 2))
    points[0, 6:12, 0] = (0, 1, 2, 8, 9, 10)  # corners and middles of the eyes
    points[0, 13] = (5, 4)
    assert groups.turned(points, np.ones((1, 19), bool), AFLW19).tolist() == [0.0]
