"""Faces followed through a video: by detection every few frames, by their points in between.

A face's box keeps its place and size relative to the points, so that it moves, and grows, with
them. It is looked for where it would be at the same velocity.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np

from lrjax.inference.landmarks import DOUBTFUL
from lrjax.inference.smoothing import SmoothFace

OVERLAP = 0.3
"""A detected box is that of a track if their overlap (intersection over union) is at least this."""
SAME = 0.5
"""Of two tracks whose boxes overlap so much, one has lost its face to the other: it ends."""
PATIENCE = 2
"""A track ends if its face is not detected so many times in a row; or once, if in doubt."""

_TRUST = 0.3
# How far a newly detected box changes that of its track: boxes of one face differ by some pixels
# from frame to frame.


@dataclasses.dataclass(eq=False)
class _Track:
    """One face.

    Attributes:
      number: of the track, from 1.
      box: [4] where the face is expected.
      relative: [4] its middle from that of the points, and its sides, in units of their spread.
      confidence: of its points.
      missed: how often in a row it was not detected.
      middle: [2] of its points.
      fresh: whether `box` was detected in this frame.
    """

    number: int
    box: np.ndarray
    smooth: SmoothFace
    relative: np.ndarray | None = None
    confidence: float = 1.0
    missed: int = 0
    middle: np.ndarray | None = None
    fresh: bool = True


class Tracks:
    """Follow faces: `detected` where there are detections, then `look` with the points found.

    Attributes:
      smooth: whether the points are smoothed over time.
    """

    def __init__(self, smooth: bool = True) -> None:
        self.smooth = smooth
        self._tracks: list[_Track] = []
        self._count = 0

    @property
    def boxes(self) -> np.ndarray:
        """Where the faces are expected, float64 [n, 4] (x, y, w, h)."""
        return np.array([track.box for track in self._tracks], np.float64).reshape(-1, 4)

    @property
    def numbers(self) -> list[int]:
        """The numbers of the tracks, in the order of `boxes`."""
        return [track.number for track in self._tracks]

    def detected(self, boxes: np.ndarray) -> None:
        """Give detected boxes [m, 4] to the tracks that overlap them most, or to new ones."""
        overlap = overlaps(self.boxes, boxes)
        free = set(range(len(boxes)))
        kept = []
        for i, j in _pairs(overlap):
            track = self._tracks[i]
            track.box, track.missed, track.fresh = np.asarray(boxes[j], np.float64), 0, True
            free.remove(j)
            kept.append(track)
        for track in self._tracks:
            if track not in kept:
                track.missed += 1
                if track.missed < PATIENCE and track.confidence >= DOUBTFUL:
                    kept.append(track)
        self._tracks = sorted(kept, key=lambda track: track.number)
        for j in sorted(free):
            self._count += 1
            self._tracks.append(_Track(self._count, np.asarray(boxes[j], np.float64), SmoothFace()))

    def keep(self, places: Sequence[int]) -> None:
        """End all tracks but those at these places of `boxes`."""
        self._tracks = [self._tracks[i] for i in places]

    def look(
        self, points: np.ndarray, confidence: np.ndarray, time: float
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Move the tracks to the points that were found in `boxes`.

        Args:
          points: [n, N, 2].
          confidence: [n].
          time: of the frame in seconds.

        Returns:
          the places, of the n, of the tracks that go on; their boxes [k, 4]; their points
          [k, N, 2], smoothed.
        """
        boxes = np.zeros((len(points), 4))
        for i, (track, found) in enumerate(zip(self._tracks, points, strict=True)):
            boxes[i] = _moved(track, np.asarray(found, np.float64))
            track.confidence = float(confidence[i])
        overlap = overlaps(boxes, boxes)
        # The older one goes on.
        going = [i for i in range(len(boxes)) if not (overlap[i, :i] >= SAME).any()]
        self._tracks = [self._tracks[i] for i in going]
        shown = [np.asarray(points[i], np.float64) for i in going]
        if self.smooth:
            sides = np.sqrt(boxes[:, 2] * boxes[:, 3])
            shown = [
                track.smooth(found, time, sides[i])
                for track, found, i in zip(self._tracks, shown, going, strict=True)
            ]
        return np.array(going, int), boxes[going], np.array(shown).reshape(-1, *points.shape[1:])


def overlaps(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Intersections over unions [n, m] of boxes [n, 4] and [m, 4] (x, y, w, h)."""
    low = np.maximum(one[:, None, :2], other[None, :, :2])
    high = np.minimum((one[:, :2] + one[:, 2:])[:, None], (other[:, :2] + other[:, 2:])[None])
    common = (high - low).clip(0).prod(-1)
    areas = one[:, None, 2:].prod(-1) + other[None, :, 2:].prod(-1)
    return common / (areas - common)


def _pairs(overlap: np.ndarray) -> list[tuple[int, int]]:
    """The largest overlap, then the largest of those left, and so on, as far as `OVERLAP`."""
    pairs = []
    rest = overlap.copy()
    while rest.size and rest.max() >= OVERLAP:
        i, j = (int(k) for k in np.unravel_index(rest.argmax(), rest.shape))
        pairs.append((i, j))
        rest[i], rest[:, j] = 0, 0
    return pairs


def _moved(track: _Track, points: np.ndarray) -> np.ndarray:
    """The box [4] that goes with a track's new points; the track expects the next one."""
    middle = points.mean(0)
    spread = max(float(np.sqrt(((points - middle) ** 2).sum(-1).mean())), 1e-3)
    if track.fresh or track.relative is None:
        corner, sides = track.box[:2], track.box[2:]
        now = np.concatenate([corner + (sides - 1) / 2 - middle, sides]) / spread
        old = now if track.relative is None else track.relative
        track.relative, track.fresh = old + _TRUST * (now - old), False
    offset, sides = track.relative[:2] * spread, track.relative[2:] * spread
    box = np.concatenate([middle + offset - (sides - 1) / 2, sides])
    step = np.zeros(2) if track.middle is None else middle - track.middle
    track.middle = middle
    track.box = box + np.concatenate([step, np.zeros(2)])
    return box
