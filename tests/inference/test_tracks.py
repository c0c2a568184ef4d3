"""Tracks: who is who from frame to frame."""

from __future__ import annotations

import numpy as np
import pytest

from lrjax.inference.tracks import Tracks, overlaps

SHAPE = np.array([[-8, -7], [8, -7], [0, 0], [-6, 7], [6, 7]], np.float64)


def box_of(middle: np.ndarray, side: float) -> np.ndarray:
    return np.array([*(middle - (side - 1) / 2), side, side])


def points_of(middle: np.ndarray, side: float) -> np.ndarray:
    return middle + SHAPE * side / 32


def sure(count: int) -> np.ndarray:
    return np.full(count, 0.9)


def test_overlaps_by_counting_pixels() -> None:
    boxes = np.array([[0, 0, 4, 6], [2, 3, 5, 5], [10, 10, 2, 2]], float)
    grids = np.zeros((3, 20, 20), bool)
    for grid, (x, y, w, h) in zip(grids, boxes.astype(int), strict=True):
        grid[y : y + h, x : x + w] = True
    expected = [[(a & b).sum() / (a | b).sum() for b in grids] for a in grids]
    np.testing.assert_allclose(overlaps(boxes, boxes), expected)
    assert overlaps(np.zeros((0, 4)), boxes).shape == (0, 3)


def test_boxes_move_and_grow_with_the_points() -> None:
    """Far from where the detector saw them, without another detection."""
    tracks = Tracks(smooth=False)
    tracks.detected(box_of(np.array([50.0, 40.0]), 20)[None])
    for k in range(40):
        middle, side = np.array([50.0 + 9 * k, 40.0 - 3 * k]), 20.0 * 1.02**k
        _, boxes, points = tracks.look(points_of(middle, side)[None], sure(1), k / 25)
        np.testing.assert_allclose(boxes, [box_of(middle, side)])
        np.testing.assert_array_equal(points, [points_of(middle, side)])
    assert tracks.numbers == [1]
    np.testing.assert_allclose(tracks.boxes, [box_of(np.add(middle, (9, -3)), side)])


def test_faces_that_pass_each_other_keep_their_numbers() -> None:
    """Detected in any order, every fourth frame; the second one comes later."""
    tracks = Tracks(smooth=False)
    for k in range(60):
        middles = np.array([[20.0 + 4 * k, 50], [250.0 - 4 * k, 80]])[: 1 if k < 8 else 2]
        if k % 4 == 0:
            boxes = np.array([box_of(middle, 24) for middle in middles])
            tracks.detected(boxes[::-1] if k % 8 else boxes)
        # The points are found where the boxes say, nearest first.
        found = [
            points_of(middles[np.linalg.norm(middles - b[:2] - b[2:] / 2, axis=-1).argmin()], 24)
            for b in tracks.boxes
        ]
        _, boxes, _ = tracks.look(np.array(found), sure(len(found)), k / 25)
        assert tracks.numbers == ([1] if k < 8 else [1, 2])
        np.testing.assert_allclose(boxes, [box_of(middle, 24) for middle in middles])


def test_the_largest_overlap_decides() -> None:
    tracks = Tracks(smooth=False)
    tracks.detected(np.array([[0.0, 0, 10, 10], [6, 0, 10, 10]]))
    tracks.detected(np.array([[5.0, 0, 10, 10], [1, 0, 10, 10], [50, 0, 10, 10]]))
    assert tracks.numbers == [1, 2, 3]
    np.testing.assert_array_equal(tracks.boxes[:, 0], [1, 5, 50])


def test_a_face_may_be_missed_once_but_not_when_in_doubt() -> None:
    nobody, box, points = (
        np.zeros((0, 4)),
        np.array([[30.0, 30, 20, 20]]),
        points_of(np.array([39.5, 39.5]), 20)[None],
    )
    tracks = Tracks()
    tracks.detected(box)
    tracks.look(points, sure(1), 0.0)
    tracks.detected(nobody)
    assert tracks.numbers == [1]
    tracks.detected(box)  # which begins to count anew
    tracks.detected(nobody)
    assert tracks.numbers == [1]
    tracks.detected(nobody)
    assert tracks.numbers == []
    tracks.detected(box)
    assert tracks.numbers == [2]
    tracks.look(points, np.array([0.4]), 0.1)
    tracks.detected(nobody)
    assert tracks.numbers == []


def test_two_tracks_on_one_face_become_the_older_one() -> None:
    tracks = Tracks(smooth=False)
    tracks.detected(np.array([[0.0, 0, 20, 20], [60, 0, 20, 20]]))
    here, there = (points_of(np.array([x, 9.5]), 20) for x in (9.5, 69.5))
    going, _, _ = tracks.look(np.array([here, there]), sure(2), 0.0)
    assert going.tolist() == [0, 1]
    going, boxes, _ = tracks.look(np.array([here, here]), sure(2), 0.0)
    assert going.tolist() == [0]
    assert tracks.numbers == [1]
    assert boxes.shape == (1, 4)


def test_smoothing_is_each_tracks_own() -> None:
    """Noise is smoothed also where another track ends before; without smoothing it is not."""
    rng = np.random.default_rng(0)
    boxes = np.array([[0.0, 0, 20, 20], [100, 0, 20, 20]])
    still = np.array([points_of(b[:2] + 9.5, 20) for b in boxes])
    plain, smooth = Tracks(smooth=False), Tracks()
    raw, smoothed = [], []
    for tracks in (plain, smooth):
        tracks.detected(boxes)
    for k in range(80):
        noisy = still + rng.normal(0, 0.4, still.shape)
        if k == 40:
            for tracks in (plain, smooth):
                tracks.keep([1])
        noisy = noisy if k < 40 else noisy[1:]
        raw.append(plain.look(noisy, sure(len(noisy)), k / 25)[2][-1])
        smoothed.append(smooth.look(noisy, sure(len(noisy)), k / 25)[2][-1])
        np.testing.assert_array_equal(raw[-1], noisy[-1])
    assert np.std(smoothed[45:], axis=0).mean() < 0.6 * np.std(raw[45:], axis=0).mean()


def test_nobody_is_nobody() -> None:
    tracks = Tracks()
    tracks.detected(np.zeros((0, 4)))
    going, boxes, points = tracks.look(np.zeros((0, 68, 2)), np.zeros(0), 0.0)
    assert (len(going), boxes.shape, points.shape) == (0, (0, 4), (0, 68, 2))


@pytest.mark.parametrize("trembling", [0.0, 3.0])
def test_a_detectors_trembling_is_not_the_boxs(trembling: float) -> None:
    """Detections differ by pixels from frame to frame; the box changes by a third of that."""
    rng = np.random.default_rng(0)
    tracks, middle = Tracks(smooth=False), np.array([50.0, 50.0])
    found = []
    for k in range(60):
        tracks.detected((box_of(middle, 24) + rng.normal(0, trembling, 4) * [1, 1, 0, 0])[None])
        found.append(tracks.look(points_of(middle, 24)[None], sure(1), k / 25)[1][0])
    assert np.std(found[10:], axis=0).max() <= 0.5 * trembling
