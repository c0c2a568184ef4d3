"""Points smoothed over time: slow ones much, fast ones not at all.

The One-Euro filter of Casiez, Roussel and Vogel (CHI 2012): a low-pass filter of the first order,
whose cutoff rises with the speed. Beyond the paper a face's points are filtered about their middle,
and the middle by itself: as a mean it trembles little, and may follow the face at once.
"""

from __future__ import annotations

import dataclasses

import numpy as np


@dataclasses.dataclass(frozen=True)
class OneEuroConfig:
    """How much is smoothed.

    Attributes:
      slowest: f_cmin, the cutoff in Hz for a point that rests.
      rise: beta, by how many Hz the cutoff rises with a speed of one face per second.
      speed_cutoff: f_c of the speed's own filter, in Hz.
    """

    slowest: float
    rise: float
    speed_cutoff: float = 1.0


POINTS, MIDDLE = OneEuroConfig(1.0, 5.0), OneEuroConfig(2.0, 60.0)
"""Of points about their middle, and of the middle."""


class OneEuro:
    """Filter points, each by its own speed.

    >>> smooth = OneEuro(POINTS)
    >>> smooth(points, time, side)  # frame by frame

    Attributes:
      options: how much is smoothed.
    """

    def __init__(self, options: OneEuroConfig) -> None:
        self.options = options
        self._time: float | None = None
        self._points = self._speed = np.zeros(0)

    def __call__(self, points: np.ndarray, time: float, side: float) -> np.ndarray:
        """Filter the next points, as the paper's Algorithm 1 does.

        Args:
          points: [N, 2] in pixels.
          time: in seconds; if it is not later than before, the points are not filtered.
          side: of the face in pixels: speeds are in faces per second.

        Returns:
          [N, 2] in pixels.
        """
        points = np.asarray(points, np.float64)
        passed = 0.0 if self._time is None else time - self._time
        self._time = time
        if passed <= 0:
            self._points, self._speed = points, np.zeros_like(points)
            return points
        options = self.options
        speed = (points - self._points) / (passed * side)
        share = _share(np.array(options.speed_cutoff), passed)
        self._speed = self._speed + share * (speed - self._speed)
        cutoff = options.slowest + options.rise * np.linalg.norm(self._speed, axis=-1)
        self._points = self._points + _share(cutoff, passed)[:, None] * (points - self._points)
        return self._points


class SmoothFace:
    """Filter the points of one face, frame by frame; for the arguments see `OneEuro`."""

    def __init__(self) -> None:
        self._about, self._middle = OneEuro(POINTS), OneEuro(MIDDLE)

    def __call__(self, points: np.ndarray, time: float, side: float) -> np.ndarray:
        """Filter the next points."""
        middle = np.asarray(points, np.float64).mean(0, keepdims=True)
        about = self._about(points - middle, time, side)
        return about + self._middle(middle, time, side)


def _share(cutoff: np.ndarray, passed: float) -> np.ndarray:
    """The share of what is new: alpha = 1 / (1 + tau / T), tau = 1 / (2 pi f_c)."""
    return 1 / (1 + 1 / (2 * np.pi * cutoff * passed))
