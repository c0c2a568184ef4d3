"""The neutral head as a smooth surface over two parameters, and where its landmarks lie on it.

Millimetres; x to the viewer's right, y down, z towards the viewer; the origin lies between the
ears at the height of the eyes. A point of the surface is named by its *azimuth* a (radians,
0 in front) and its *row* r (the height that it has in front: 0 at the eyes, 66 between the lips,
112 at the chin; above -40 the skull, beyond 112 the underside of the jaw). The *chart* of the face
is (X, r) with X = W(r) sin a on the mean head: eyes, brows and lips are drawn in the chart, so
that whatever shape or expression moves the surface moves them and their landmarks alike.

Proportions follow the usual anthropometric tables (interpupillary distance 63 mm, breadth of the
face 140 mm, chin to brows 140 mm, mouth 50 mm, nose 34 mm).
"""

from dataclasses import astuple, dataclass
from functools import lru_cache

import numpy as np
from scipy.interpolate import PchipInterpolator

CHIN, SKULL, TOP, THROAT = 112.0, -40.0, -118.0, 150.0
LIP_LINE, SLOT_HALF_WIDTH, MOUTH_HALF_WIDTH = 66.0, 22.5, 25.0
EYE_X, EYE_HALF_WIDTH = 32.0, 15.0


@dataclass(frozen=True)
class Shape:
    """What makes a head this person's: standardised coefficients, 0 for the mean head."""

    breadth: float = 0.0
    jaw_width: float = 0.0
    jaw_length: float = 0.0
    jaw_square: float = 0.0
    chin_size: float = 0.0
    cheekbones: float = 0.0
    cheek_fat: float = 0.0
    forehead: float = 0.0
    brow_ridge: float = 0.0
    brow_height: float = 0.0
    brow_tilt: float = 0.0
    eye_spacing: float = 0.0
    eye_size: float = 0.0
    eye_opening: float = 0.0
    eye_tilt: float = 0.0
    eye_depth: float = 0.0
    nose_length: float = 0.0
    nose_width: float = 0.0
    nose_bridge: float = 0.0
    nose_tip: float = 0.0
    nose_turn: float = 0.0
    mouth_width: float = 0.0
    mouth_height: float = 0.0
    upper_lip: float = 0.0
    lower_lip: float = 0.0
    ear_size: float = 0.0
    ear_flare: float = 0.0

    def vector(self) -> np.ndarray:
        """The coefficients, float32 [27]."""
        return np.asarray(astuple(self), np.float32)


def curve(*knots: tuple[float, float]) -> PchipInterpolator:
    """A monotone smooth curve through the (position, value) knots."""
    return PchipInterpolator(*np.asarray(knots, float).T)


def smoothstep(x: np.ndarray, low: float, high: float) -> np.ndarray:
    """0 below `low`, 1 above `high`, a smooth step between."""
    t = np.clip((x - low) / (high - low), 0, 1)
    return t * t * (3 - 2 * t)


def bump(x: np.ndarray, r: np.ndarray, cx: float, cr: float, sx: float, sr: float) -> np.ndarray:
    """exp(-((x - cx) / sx)² - ((r - cr) / sr)²), one factor at a time so that rows stay cheap."""
    return np.exp(-(((x - cx) / sx) ** 2)) * np.exp(-(((r - cr) / sr) ** 2))


_HALF_WIDTH = curve(
    *((-120, 73), (-40, 73), (-20, 72), (0, 70.5), (15, 69.5), (30, 67.5)),
    *((45, 65), (60, 62.5), (75, 60), (90, 58), (112, 56), (150, 56)),
)
_FRONT = curve(
    *((-120, 96), (-40, 96), (-28, 96.5), (-14, 94), (0, 93), (20, 93), (46, 93)),
    *((66, 92), (86, 90.5), (100, 89), (108, 86.5), (112, 83.5), (150, 83.5)),
)
_NOSE_HEIGHT = curve(
    *((-200, 0), (-16, 0), (-8, 2.2), (0, 4), (6, 7), (14, 11.5), (22, 16.5), (29, 20.8)),
    *((34, 23), (38, 21.5), (42, 15), (45, 6.5), (48, 1), (51, 0), (200, 0)),
)
_NOSE_WIDTH = curve(
    *((-200, 8), (-16, 8), (-4, 6.2), (8, 6.6), (20, 7.6), (32, 9.8), (38, 11), (200, 11))
)
UPPER_OUTLINE = curve((0, 59.6), (6, 58.2), (10, 59), (15, 61), (20, 63.3), (25, LIP_LINE))
LOWER_OUTLINE = curve((0, 78.0), (7, 77.4), (15, 74.3), (20, 70.8), (25, LIP_LINE))


def slot(x: np.ndarray) -> np.ndarray:
    """Half the height, in the chart, of the opening between the lips at X."""
    return 3 * np.clip(1 - (x / SLOT_HALF_WIDTH) ** 2, 0, 1) ** 0.8


def lids(x: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(u, upper, lower): u in [-1, 1] from inner to outer corner; the rows of the open lids."""
    u = (np.abs(x) - EYE_X) / EYE_HALF_WIDTH
    arch = np.clip(1 - u * u, 0, 1)
    middle = 0.6 - 0.6 * u
    return u, middle - (6.0 - 0.5 * u) * arch**0.75, middle + (4.4 + 0.7 * u) * arch**0.9


def brow(x: np.ndarray) -> np.ndarray:
    """The row of the middle of the brow at X."""
    return _BROW(np.clip(np.abs(x), 10, 64))


_BROW = curve((10, -22), (16, -23.5), (28, -27), (40, -29.5), (50, -27), (58, -21), (64, -15))


def azimuth(x: np.ndarray, r: np.ndarray) -> np.ndarray:
    """The azimuth at which the chart has the coordinate X in row r (front half)."""
    return np.arcsin(np.clip(x / _HALF_WIDTH(np.clip(r, TOP, THROAT)), -1, 1))


def chart(a: np.ndarray, r: np.ndarray) -> np.ndarray:
    """The chart coordinate X of azimuths and rows that broadcast."""
    return _HALF_WIDTH(r) * np.sin(a)


def surface(a: np.ndarray, r: np.ndarray, shape: Shape) -> np.ndarray:
    """Positions [3, ...] in mm, mouth closed, of azimuths `a` and rows `r` that broadcast.

    Rows are cheap when `r` is a column: every curve over r is then evaluated once a row.
    """
    s = shape
    mean_width = _HALF_WIDTH(r).astype(r.dtype)
    lower = smoothstep(r, 10, 95)
    width = mean_width * (1 + 0.035 * s.breadth + 0.045 * s.jaw_width * lower)
    front = _FRONT(r).astype(r.dtype) + 2 * s.forehead * smoothstep(r, -25, -70)
    skull = np.clip((SKULL - r) / (SKULL - TOP), 0, 1)
    round_ = np.sqrt(1 - skull**2)
    width, front, back = width * round_, front * (1 - skull**2.6) ** 0.46, 98 * round_
    power = 2.25 + 0.12 * s.jaw_square * lower
    sin, cos = np.sin(a), np.cos(a)
    bent = (1 - np.abs(sin) ** power) ** (1 / power)
    x = width * sin
    z = np.where(cos >= 0, front * bent, back * cos)

    under = np.clip((r - CHIN) / (THROAT - CHIN), 0, 1)
    x, z = x * (1 - 0.3 * under), z * (1 - 0.5 * under)
    lift = 40 * np.clip((np.minimum(r, CHIN) - 36) / (CHIN - 36), 0, 1) ** 1.3
    y = np.minimum(r, CHIN) + 3 * under - lift * (1 - cos) * (1 - 0.12 * s.jaw_square)
    y = y + 4.5 * s.jaw_length * smoothstep(r, 40, 112) - 3 * s.forehead * smoothstep(r, -25, -118)

    chart = mean_width * sin
    side = np.abs(chart)
    front_only = (cos > 0) * (1 - skull)
    relief = _relief(chart, side, r, s) * front_only
    z = z + relief
    dx, dy = _warp(chart, side, r, s)
    return np.stack([x + dx * front_only, y + dy * front_only, z]).astype(np.float32)


def _relief(x: np.ndarray, side: np.ndarray, r: np.ndarray, s: Shape) -> np.ndarray:
    """Forward displacement of sockets, brow ridge, cheekbones, nose, lips and chin."""
    nose_width = _NOSE_WIDTH(r).astype(r.dtype) * (1 + 0.1 * s.nose_width * smoothstep(r, 10, 35))
    nose = _NOSE_HEIGHT(r).astype(r.dtype) * (1 + 0.06 * s.nose_tip) + 2.0 * s.nose_bridge * np.exp(
        -(((r - 6) / 12) ** 2)
    )
    profile = np.exp(-(np.abs(side / nose_width) ** 2.3))
    z = nose * (0.84 * profile + 0.16 * np.exp(-((side / (2.1 * nose_width)) ** 2)))
    z += bump(side, r, 13 + 1.2 * s.nose_width, 39, 4.6, 4.8) * (6.5 + 0.7 * s.nose_width)
    z += bump(side, r, 0, 33, 6.5, 5) * (2.2 + 1.0 * s.nose_tip)
    z -= bump(side, r, 7, 44.5, 3.2, 2.2) * 3
    z -= bump(side, r, 30, -7, 18, 9) * (6.0 + 1.5 * s.eye_depth)
    z -= bump(side, r, 15.5, -1, 6, 8) * 4.0
    # The eyeball looks straight ahead although the face around it slopes to the side.
    z += bump(side, r, EYE_X, 0, 13, 8.5) * (4.6 + 0.34 * (side - EYE_X))
    z += bump(side, r, 28, -24, 24, 7) * (3.0 + 1.6 * s.brow_ridge)
    z += bump(side, r, 46, 22, 15, 13) * (4.0 + 1.8 * s.cheekbones)
    z += bump(side, r, 44, 62, 15, 18) * (-2.0 + 3.0 * s.cheek_fat)
    z += bump(side, r, 60, -26, 12, 18) * -2.5
    z += bump(x, r, 0, 66, 27, 17) * 4.0
    z += bump(x, r, 0, 60.8, 15, 4.2) * (3.0 + 0.8 * s.upper_lip)
    z += bump(x, r, 0, 73.2, 15, 4.6) * (3.6 + 0.8 * s.lower_lip)
    z -= bump(x, r, 0, LIP_LINE, 24, 2.6) * 3.2
    z -= bump(side, r, 27, 67, 5, 6) * 2.2
    z -= bump(x, r, 0, 53, 2.8, 5) * 1.2
    z -= bump(x, r, 0, 85, 18, 4.5) * 2.4
    z += bump(x, r, 0, 101, 15, 9) * (4.0 + 2.0 * s.chin_size)
    return z


def _warp(
    x: np.ndarray, side: np.ndarray, r: np.ndarray, s: Shape
) -> tuple[np.ndarray, np.ndarray]:
    """Sideways and downward displacement of the features, the closing of the lips included."""
    sign = np.sign(x)
    eye = bump(side, r, EYE_X, 0, 20, 13)
    dx = sign * eye * (1.6 * s.eye_spacing)
    dx += sign * eye * 0.055 * s.eye_size * (side - EYE_X)
    dy = eye * r * (0.055 * s.eye_size + 0.10 * s.eye_opening)
    dy -= eye * 1.5 * s.eye_tilt * (side - EYE_X) / EYE_HALF_WIDTH
    brows = bump(side, r, 36, -27, 26, 10)
    dy -= brows * (2.2 * s.brow_height + 2.0 * s.brow_tilt * (side - 36) / 22)
    dx += x * 0.08 * s.nose_width * np.exp(-((side / 19) ** 4)) * np.exp(-(((r - 38) / 11) ** 2))
    dy += 2.4 * s.nose_length * bump(x, r, 0, 40, 30, 14)
    dy -= 1.6 * s.nose_turn * bump(x, r, 0, 34, 11, 8)
    lips = np.exp(-(((r - LIP_LINE) / 12) ** 2))
    dx += x * 0.075 * s.mouth_width * np.exp(-((side / 36) ** 4)) * lips
    dy += 1.8 * s.mouth_height * bump(x, r, 0, LIP_LINE, 40, 14)
    dy -= 1.1 * (s.upper_lip + 0.3) * bump(x, r, 0, 58.6, 17, 3.4)
    dy += 1.2 * (s.lower_lip + 0.3) * bump(x, r, 0, 78, 16, 4.0)
    gap = slot(x)
    above, below = LIP_LINE - gap - r, r - LIP_LINE - gap
    inside = np.clip(LIP_LINE - r, -gap, gap)
    closing = inside * (1 - smoothstep(np.maximum(above, below), 0, 9))
    return dx, dy + closing


@lru_cache
def landmark_chart() -> tuple[np.ndarray, np.ndarray]:
    """(azimuths, rows) [70] of the iBUG landmarks, numbered from the viewer's left.

    The last two are the middles of the eyes.
    """
    jaw_angles = np.radians([82, 82, 82, 81, 73, 61, 44, 23, 0])
    jaw_rows = np.array([4, 22, 44, 72, 96, 107, 111, 112, 112.0])
    angles = np.concatenate([-jaw_angles, jaw_angles[-2::-1]])
    rows = np.concatenate([jaw_rows, jaw_rows[-2::-1]])
    x: list[float] = []
    r: list[float] = []

    def add(px: float, pr: float) -> None:
        x.append(px)
        r.append(float(pr))

    brow_x = [-58, -50, -40, -28, -16]
    for px in [*brow_x, *(-v for v in reversed(brow_x))]:
        add(px, brow(np.asarray(px)))
    for pr in (-5, 9, 21.5, 33.5):
        add(0, pr)
    for px, pr in ((-14, 42.5), (-7, 45), (0, 46.5), (7, 45), (14, 42.5)):
        add(px, pr)
    inner, outer, part = EYE_X - EYE_HALF_WIDTH, EYE_X + EYE_HALF_WIDTH, 0.36 * EYE_HALF_WIDTH
    left = (-outer, -EYE_X - part, -EYE_X + part, -inner, -EYE_X + part, -EYE_X - part)
    right = (inner, EYE_X - part, EYE_X + part, outer, EYE_X + part, EYE_X - part)
    for eye in (left, right):
        for i, px in enumerate(eye):
            _, upper, lower = lids(np.asarray(px, float))
            add(px, upper if i < 3 else lower)
    for px in (-MOUTH_HALF_WIDTH, -14.5, -6, 0, 6, 14.5, MOUTH_HALF_WIDTH):
        add(px, UPPER_OUTLINE(abs(px)))
    for px in (14.5, 7, 0, -7, -14.5):
        add(px, LOWER_OUTLINE(abs(px)))
    for px in (-SLOT_HALF_WIDTH, -8, 0, 8, SLOT_HALF_WIDTH):
        add(px, LIP_LINE - slot(np.asarray(px, float)))
    for px in (8, 0, -8):
        add(px, LIP_LINE + slot(np.asarray(px, float)))
    for px in (-EYE_X, EYE_X):
        add(px, 0)
    inner_x, inner_r = np.asarray(x, float), np.asarray(r)
    return (
        np.concatenate([angles, azimuth(inner_x, inner_r)]),
        np.concatenate([rows, inner_r]),
    )


def skull_round(r: np.ndarray) -> np.ndarray:
    """The breadth of the skull in row r over its greatest breadth."""
    return np.sqrt(1 - np.clip((SKULL - r) / (SKULL - TOP), 0, 1) ** 2)
