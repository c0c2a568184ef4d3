import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lrjax.geometry.points import (
    AFLW19,
    FIVE,
    IBUG68,
    IBUG68_FIVE,
    SCHEMES,
    Scheme,
    convert,
    face_box,
    flip_points,
)

# The published pairs; every point not named is its own mirror image.
IBUG68_PAIRS = """
0-16 1-15 2-14 3-13 4-12 5-11 6-10 7-9 17-26 18-25 19-24 20-23 21-22 31-35 32-34 36-45 37-44 38-43
39-42 40-47 41-46 48-54 49-53 50-52 55-59 56-58 60-64 61-63 65-67
"""
AFLW19_PAIRS = "0-5 1-4 2-3 6-11 7-10 8-9 12-14 15-17"


def flip_of(pairs: str, count: int) -> list[int]:
    flip = list(range(count))
    for pair in pairs.split():
        i, j = map(int, pair.split("-"))
        flip[i], flip[j] = j, i
    return flip


def random_points(count: int, *batch: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(count)
    points = rng.uniform(-5, 40, (*batch, count, 2)).astype(np.float32)
    return points, rng.random((*batch, count)) < 0.7


def training_faces() -> np.ndarray:
    root = os.environ.get("LRJAX_DATA")
    if not root:
        pytest.skip("LRJAX_DATA does not point at a folder with 300W")
    files = [*Path(root).glob("300W/helen/trainset/*.pts"), *Path(root).glob("300W/afw/*.pts")]
    assert files, "no .pts file under LRJAX_DATA/300W"
    texts = (f.read_text().split("{")[1].split("}")[0] for f in files)
    return np.stack([np.array(text.split(), float).reshape(68, 2) - 1 for text in texts])


@pytest.mark.parametrize("scheme", SCHEMES.values(), ids=list(SCHEMES))
def test_lines_join_neighbours_and_are_their_own_mirror_image(scheme: Scheme) -> None:
    pairs = {frozenset(pair) for pair in scheme.lines}
    assert len(pairs) == len(scheme.lines)
    assert {frozenset(scheme.flip[i] for i in pair) for pair in pairs} == pairs
    # 68: 16 + 4 + 4 + 3 + 4 + 6 + 6 + 12 + 8; the bridge and the base of the nose stay apart.
    assert len(pairs) == {68: 63, 19: 12, 5: 6, 73: 63}[scheme.count]
    if scheme.count == 68:
        assert frozenset((30, 31)) not in pairs
        assert {(41, 36), (47, 42), (59, 48), (67, 60)} <= set(scheme.lines)
    for i, j in scheme.lines if scheme.count > 5 else ():
        assert scheme.names[i].split("_")[0] == scheme.names[j].split("_")[0]


def test_schemes_have_the_published_flips() -> None:
    assert list(IBUG68.flip) == flip_of(IBUG68_PAIRS, 68)
    assert list(AFLW19.flip) == flip_of(AFLW19_PAIRS, 19)
    assert list(FIVE.flip) == [1, 0, 2, 4, 3]
    counts = {"ibug68": 68, "aflw19": 19, "five": 5, "ibug68_five": 73}
    assert {name: s.count for name, s in SCHEMES.items()} == counts


@pytest.mark.parametrize("scheme", [AFLW19, FIVE], ids=lambda s: s.name)
def test_names_say_which_points_mirror_each_other(scheme) -> None:
    other = {"left": "right", "right": "left"}
    mirrored = ["_".join(other.get(word, word) for word in n.split("_")) for n in scheme.names]
    assert [scheme.names[i] for i in scheme.flip] == mirrored


def test_names_of_68_points_are_distinct_and_start_where_published() -> None:
    assert len(set(IBUG68.names)) == 68
    starts = {name: IBUG68.names.index(f"{name}_0") for name in ("jaw", "left_brow", "nose_base")}
    assert starts == {"jaw": 0, "left_brow": 17, "nose_base": 31}
    assert IBUG68.names.index("left_eye_0") == 36
    assert IBUG68.names.index("right_eye_0") == 42
    assert IBUG68.names.index("outer_lip_0") == 48
    assert IBUG68.names.index("inner_lip_0") == 60


def test_mean_real_face_is_its_own_mirror_image() -> None:
    faces = training_faces()
    side = np.ptp(faces, axis=1)[:, None, :1]
    mean = ((faces - faces.mean(1, keepdims=True)) / side).mean(0)
    mirrored, _ = flip_points(mean, np.ones(68, bool), 1, IBUG68)
    assert np.abs(mirrored - mean).max() < 0.03


def test_flip_points_by_hand() -> None:
    points = np.array([[1.0, 2.0], [6.0, 3.0], [4.0, 5.0], [2.0, 7.0], [5.0, 8.0]])
    visible = np.array([True, False, True, True, False])
    flipped, seen = flip_points(points, visible, 10, FIVE)
    np.testing.assert_array_equal(flipped, [[3, 3], [8, 2], [5, 5], [4, 8], [7, 7]])
    np.testing.assert_array_equal(seen, [False, True, True, False, True])


@pytest.mark.parametrize("scheme", SCHEMES.values(), ids=lambda s: s.name)
def test_flip_points_follows_flipped_pixels_and_undoes_itself(scheme) -> None:
    rng = np.random.default_rng(0)
    cells = rng.permutation(12 * 12)[: scheme.count]
    points = np.stack([cells % 12, cells // 12], -1)
    image = np.zeros((12, 12, 1), np.int32)
    image[points[:, 1], points[:, 0], 0] = 1 + np.arange(scheme.count)
    visible = np.arange(scheme.count) % 3 > 0
    flipped, seen = flip_points(points, visible, 12, scheme)
    there = np.asarray(image[..., ::-1, :])[flipped[:, 1], flipped[:, 0], 0] - 1
    np.testing.assert_array_equal(there, scheme.flip)
    twice, seen_twice = flip_points(flipped, seen, 12, scheme)
    np.testing.assert_array_equal(twice, points)
    np.testing.assert_array_equal(seen_twice, visible)


def test_convert_68_to_19_by_hand() -> None:
    points = np.stack([np.arange(68.0), 100.0 - np.arange(68)], -1)
    converted, visible = convert(points, np.ones(68, bool), IBUG68, AFLW19)
    x = [17, 19, 21, 22, 24, 26, 36, 38.5, 39, 42, 44.5, 45, 31, 30, 35, 48, 64, 54, 8]
    np.testing.assert_allclose(converted, np.stack([x, 100 - np.array(x)], -1))
    assert visible.all()


def test_convert_to_five_by_hand() -> None:
    points = np.stack([np.arange(68.0), np.zeros(68)], -1)
    five, _ = convert(points, np.ones(68, bool), IBUG68, FIVE)
    np.testing.assert_allclose(five[:, 0], [38.5, 44.5, 30, 48, 54])
    points = np.stack([np.arange(19.0), np.zeros(19)], -1)
    five, _ = convert(points, np.ones(19, bool), AFLW19, FIVE)
    np.testing.assert_allclose(five[:, 0], [7, 10, 13, 15, 17])


def test_conversions_agree_whichever_way_they_go() -> None:
    points, visible = random_points(68, 3)
    direct = convert(points, visible, IBUG68, FIVE)
    by_way_of_19 = convert(*convert(points, visible, IBUG68, AFLW19), AFLW19, FIVE)
    for a, b in zip(direct, by_way_of_19, strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("target", [AFLW19, FIVE], ids=lambda s: s.name)
def test_conversion_commutes_with_flipping(target) -> None:
    points, visible = random_points(68, 2)
    a = flip_points(*convert(points, visible, IBUG68, target), 33, target)
    b = convert(*flip_points(points, visible, 33, IBUG68), IBUG68, target)
    np.testing.assert_allclose(a[0], b[0], rtol=1e-5)
    np.testing.assert_array_equal(a[1], b[1])


def test_converted_mean_is_visible_only_with_all_its_parts() -> None:
    points, visible = random_points(68)[0], np.ones(68, bool)
    visible[[40, 66]] = False
    seen = convert(points, visible, IBUG68, AFLW19)[1]
    assert np.flatnonzero(~seen).tolist() == [7, 16]


def test_68_points_and_people_s_five_side_by_side() -> None:
    assert IBUG68_FIVE.names == IBUG68.names + FIVE.names
    assert IBUG68_FIVE.flip[68:] == (69, 68, 70, 72, 71)
    both, seen = random_points(73, 3)
    for target, part in ((IBUG68, slice(0, 68)), (FIVE, slice(68, 73))):
        points, visible = convert(both, seen, IBUG68_FIVE, target)
        np.testing.assert_array_equal(points, both[:, part])
        np.testing.assert_array_equal(visible, seen[:, part])
        # What has one sort of labels only has holes where the other one's are.
        back, shown = convert(points, visible, target, IBUG68_FIVE)
        there = np.zeros(73, bool)
        there[part] = True
        np.testing.assert_array_equal(back, np.where(there[:, None], both, 0))
        np.testing.assert_array_equal(shown, seen & there)
        assert back.dtype == both.dtype
    of_68 = convert(both[:, :68], seen[:, :68], IBUG68, AFLW19)
    for a, b in zip(convert(both, seen, IBUG68_FIVE, AFLW19), of_68, strict=True):
        np.testing.assert_array_equal(a, b)


def test_convert_refuses_what_it_cannot_do() -> None:
    points, visible = random_points(5)
    assert convert(points, visible, FIVE, FIVE)[0] is points
    with pytest.raises(ValueError, match="five points cannot be converted to ibug68"):
        convert(points, visible, FIVE, IBUG68)
    with pytest.raises(ValueError, match="5 points given, but ibug68 has 68"):
        convert(points, visible, IBUG68, FIVE)


def test_jax_arrays_stay_jax_arrays_and_give_the_same_under_jit() -> None:
    points, visible = random_points(68, 2)

    def everything(xp_points: Any, xp_visible: Any) -> tuple:
        return (
            *flip_points(xp_points, xp_visible, 40, IBUG68),
            *convert(xp_points, xp_visible, IBUG68, AFLW19),
            face_box(xp_points, xp_visible, IBUG68),
        )

    in_numpy = everything(points, visible)
    in_jax = jax.jit(everything)(jnp.asarray(points), jnp.asarray(visible))
    for a, b in zip(in_numpy, in_jax, strict=True):
        assert isinstance(a, np.ndarray | np.generic)
        assert isinstance(b, jax.Array)
        assert a.dtype == b.dtype
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-5)


def test_face_box_by_hand() -> None:
    points = np.tile([30.0, 40.0], (68, 1))
    points[0], points[16], points[8] = [10, 25], [50, 35], [33, 70]
    points[17] = [1000, 1000]
    visible = np.arange(68) != 17
    # Tight: x from 10 to 50, y from 25 to 70; the top rises by 0.2 * 45 = 9.
    np.testing.assert_allclose(face_box(points, visible, IBUG68), [10.5, 16.5, 40, 54])
    x, _, w, _ = face_box(points, visible, IBUG68)
    assert x + (w - 1) / 2 == (10 + 50) / 2


@pytest.mark.parametrize(
    ("scheme", "expected"),
    [
        # 20 high: sides 1.72 and top 4; sides 10.68, top 15.04 and bottom 12.5.
        (AFLW19, [10 - 1.72 + 0.5, 20 - 4 + 0.5, 20 + 3.44, 24]),
        (FIVE, [10 - 10.68 + 0.5, 20 - 15.04 + 0.5, 20 + 21.36, 47.54]),
    ],
)
def test_face_box_of_fewer_points_by_hand(scheme, expected) -> None:
    points = np.tile([15.0, 25.0], (scheme.count, 1))
    points[0], points[1] = [10, 40], [30, 20]
    np.testing.assert_allclose(face_box(points, np.ones(scheme.count, bool), scheme), expected)


@pytest.mark.parametrize("scheme", SCHEMES.values(), ids=lambda s: s.name)
def test_face_box_of_a_resized_face_is_the_resized_box(scheme) -> None:
    points, visible = random_points(scheme.count, 4)
    box = face_box(points.astype(float), visible, scheme)
    smaller = face_box((points + 0.5) * 0.25 - 0.5, visible, scheme)
    np.testing.assert_allclose(smaller, box * 0.25, rtol=1e-5, atol=1e-5)


def test_face_box_without_a_visible_point_is_nan() -> None:
    points, visible = random_points(5, 2)
    visible[0] = False
    visible[1] = True
    box = face_box(points, visible, FIVE)
    assert np.isnan(box[0]).all()
    assert np.isfinite(box[1]).all()


@pytest.mark.parametrize(
    ("scheme", "side_spread", "distance"), [(AFLW19, 0.045, 0.061), (FIVE, 0.074, 0.078)]
)
def test_boxes_of_fewer_points_match_the_box_of_68(scheme, side_spread, distance) -> None:
    faces = training_faces()
    visible = np.ones(faces.shape[:2], bool)
    box = face_box(faces, visible, IBUG68)
    other = face_box(*convert(faces, visible, IBUG68, scheme), scheme)
    side, other_side = (np.sqrt(b[:, 2] * b[:, 3]) for b in (box, other))
    log_ratio = np.log(other_side / side)
    assert abs(np.median(log_ratio)) < 0.03
    assert log_ratio.std() < side_spread
    centre, other_centre = (b[:, :2] + b[:, 2:] / 2 for b in (box, other))
    error = np.linalg.norm(other_centre - centre, axis=1) / side
    assert error.mean() < distance


def test_module_needs_no_jax() -> None:
    modules = "lrjax.geometry.points, lrjax.geometry.crop, lrjax.geometry.fits"
    code = f"import sys, {modules}; sys.exit('jax' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
