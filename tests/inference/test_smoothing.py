"""The One-Euro filter, against the paper's own algorithm, and what it is for."""

from __future__ import annotations

import math

import numpy as np
import pytest

from lrjax.inference.smoothing import POINTS, OneEuro, OneEuroConfig, SmoothFace

RATE = 25.0


class LowPass:
    """Algorithm 1's lowpassfilt: firsttime, hatxprev."""

    def __init__(self) -> None:
        self.first, self.hatxprev = True, 0.0

    def filter(self, x: float, alpha: float) -> float:
        if self.first:
            self.first, self.hatxprev = False, x
        self.hatxprev = alpha * x + (1 - alpha) * self.hatxprev
        return self.hatxprev


def alpha(rate: float, cutoff: float) -> float:
    tau, te = 1 / (2 * math.pi * cutoff), 1 / rate
    return 1 / (1 + tau / te)


def published(
    values: list[float], rate: float, mincutoff: float, beta: float, dcutoff: float
) -> list[float]:
    """Casiez, Roussel, Vogel 2012, Algorithm 1 of the appendix, for numbers at one rate."""
    first, xfilt, dxfilt, out = True, LowPass(), LowPass(), []
    for x in values:
        dx = 0.0 if first else (x - xfilt.hatxprev) * rate
        first = False
        edx = dxfilt.filter(dx, alpha(rate, dcutoff))
        cutoff = mincutoff + beta * abs(edx)
        out.append(xfilt.filter(x, alpha(rate, cutoff)))
    return out


@pytest.mark.parametrize("side", [1.0, 30.0])
@pytest.mark.parametrize("along", [(1, 0), (0, 1), (0.6, -0.8)])
def test_it_is_the_published_filter(side: float, along: tuple[float, float]) -> None:
    """Along a line, in units of the face's side; points at once are points alone."""
    values = np.random.default_rng(0).normal(0, 0.3, 40).cumsum()
    options = OneEuroConfig(slowest=0.7, rise=2.5, speed_cutoff=1.3)
    smooth = OneEuro(options)
    direction = np.array(along)
    rows = [
        smooth(np.stack([side * x * direction, [7.0, 8.0]]) + 100, k / RATE, side)
        for k, x in enumerate(values)
    ]
    found = (np.array(rows) - 100) / side
    expected = published(values.tolist(), RATE, 0.7, 2.5, 1.3)
    np.testing.assert_allclose(found[:, 0], np.outer(expected, direction), atol=1e-9)
    np.testing.assert_allclose(found[:, 1] * side, np.tile([7.0, 8.0], (40, 1)))


def test_times_need_not_be_even() -> None:
    """Twice the time and half the speed are as the rate is halved."""
    values = np.random.default_rng(1).normal(0, 5, 20)
    smooth = OneEuro(POINTS)
    for k, x in enumerate(values):
        found = smooth(np.array([[x, 0.0]]), 2 * k / RATE, 20.0)
    expected = published((values / 20).tolist(), RATE / 2, 1.0, 5.0, 1.0)[-1]
    np.testing.assert_allclose(found, [[20 * expected, 0.0]], atol=1e-9)


def test_a_time_that_stands_still_is_not_divided_by() -> None:
    smooth = SmoothFace()
    for point in ([1.0, 2.0], [9.0, 9.0]):
        np.testing.assert_array_equal(smooth(np.array([point]), 3.0, 10.0), [point])


def test_a_resting_face_trembles_less() -> None:
    """Points of a small face differ by a hundredth of it from frame to frame, or two."""
    rng, smooth = np.random.default_rng(0), SmoothFace()
    noise = rng.normal(0, 0.02 * 24, (200, 68, 2))
    found = np.array([smooth(50 + noise[k], k / RATE, 24.0) for k in range(200)])
    assert found[20:].std(0).mean() < 0.5 * noise[20:].std(0).mean()
    assert abs(np.diff(found[20:], axis=0)).mean() < 0.3 * abs(np.diff(noise[20:], axis=0)).mean()


FACE = np.random.default_rng(3).uniform(-12, 12, (68, 2))


def test_a_fast_step_is_followed_without_lag() -> None:
    """Of a face that jumps by its own side, all but a fiftieth is seen at once."""
    smooth, jump = SmoothFace(), np.array([24.0, 0.0])
    for k in range(50):
        smooth(100 + FACE, k / RATE, 24.0)
    found = [smooth(100 + FACE + jump, (50 + k) / RATE, 24.0) for k in range(2)]
    late = [
        float(np.linalg.norm(100 + FACE + jump - points, axis=-1).max()) / 24 for points in found
    ]
    assert late[0] < 0.02
    assert late[1] < 0.001


@pytest.mark.parametrize("speed", [0.5, 2.0, 5.0])
def test_motion_is_hardly_late(speed: float) -> None:
    """As it begins by a sixtieth of the face at most, and then by less than half of that."""
    smooth = SmoothFace()
    late = []
    for k in range(90):
        true = 100 + FACE + [speed * 24 * max(0, k - 30) / RATE, 10.0]
        late.append(np.linalg.norm(true - smooth(true, k / RATE, 24.0), axis=-1).max() / 24)
    assert max(late) < 1 / 60
    assert late[-1] < 1 / 150


def test_a_mouth_that_opens_is_open_soon() -> None:
    """By a fifth of the face within a frame: by three quarters at once, and all but after three."""
    smooth, opened = SmoothFace(), 100 + FACE
    for k in range(50):
        smooth(100 + FACE, k / RATE, 24.0)
    opened[57] += [0, 0.2 * 24]
    late = [abs(opened - smooth(opened, (50 + k) / RATE, 24.0)).max() / 4.8 for k in range(4)]
    assert late[0] < 0.5
    assert late[3] < 0.06
