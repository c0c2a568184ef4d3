"""The head as a smooth surface over two parameters, its landmarks, and how expressions move it.

Millimetres; x to the viewer's right, y down, z towards the viewer; the origin lies between the
ears at the height of the eyes. A point of the surface is named by its *azimuth* a (radians,
0 in front) and its *row* r (the height that it has in front: 0 at the eyes, 66 between the lips,
112 at the chin; above -40 the skull, beyond 112 the underside of the jaw). The *chart* of the face
is (X, r) with X = W(r) sin a on the mean head: eyes, brows and lips are drawn in the chart, so
that whatever shape or expression moves the surface moves them and their landmarks alike.

Proportions follow the usual anthropometric tables (interpupillary distance 63 mm, breadth of the
face 140 mm, chin to brows 140 mm, mouth 50 mm, nose 34 mm).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property, lru_cache

import numpy as np

from .fields import Array, bumps, curve, ridge, smoothstep, spaced

CHIN, SKULL, TOP, THROAT = 112.0, -40.0, -118.0, 150.0
LIP_LINE, SLOT_HALF_WIDTH, MOUTH_HALF_WIDTH = 66.0, 22.5, 25.0
EYE_X, EYE_HALF_WIDTH = 32.0, 15.0
JAW_DROP = 24.0
"""How far, in mm, the expression `jaw` = 1 lowers the middle of the lower lip."""

SHAPE = (
    "breadth", "jaw_width", "jaw_length", "jaw_square", "chin_size", "cheekbones", "cheek_fat",
    "forehead", "brow_ridge", "brow_height", "brow_tilt", "eye_spacing", "eye_size", "eye_opening",
    "eye_tilt", "eye_depth", "nose_length", "nose_width", "nose_bridge", "nose_tip", "nose_turn",
    "mouth_width", "mouth_height", "upper_lip", "lower_lip", "ear_size", "ear_flare",
)  # fmt: skip
"""Coefficients of a person's head, by name: standardised, 0 for the mean head."""

_half_width = curve(
    (-120, -40, -20, 0, 15, 30, 45, 60, 75, 90, 112, 150),
    (73, 73, 72, 70.5, 69.5, 67.5, 65, 62.5, 60, 58, 56, 56),
)
_front = curve(
    (-120, -40, -28, -14, 0, 20, 46, 66, 86, 100, 108, 112, 150),
    (96, 96, 96.5, 94, 93, 93, 93, 92, 90.5, 89, 86.5, 83.5, 83.5),
)
_nose_height = curve(
    (-120, -16, -8, 0, 6, 14, 22, 29, 34, 38, 42, 45, 48, 51, 150),
    (0, 0, 2.2, 4, 7, 11.5, 16.5, 20.8, 23, 21.5, 15, 6.5, 1, 0, 0),
)
_nose_width = curve((-120, -16, -4, 8, 20, 32, 38, 150), (8, 8, 6.2, 6.6, 7.6, 9.8, 11, 11))
# Rows, at |X|, of the middle of the brow and of the outer edges of the lips.
brow = curve((10, 16, 28, 40, 50, 58, 64), (-22, -23.5, -27, -29.5, -27, -21, -15))
upper_lip = curve((0, 6, 10, 15, 20, 25), (59.6, 58.2, 59, 61, 63.3, LIP_LINE))
lower_lip = curve((0, 7, 15, 20, 25), (78.0, 77.4, 74.3, 70.8, LIP_LINE))

# Hills and hollows of all heads: mm forward; centre and extent (X, r).
_RELIEF = (
    (2.2, 0, 33, 6.5, 5), (-3.0, 7, 44.5, 3.2, 2.2), (-1.2, 0, 53, 2.8, 5),  # tip and base of nose
    (-6.0, 30, -7, 18, 9), (-4.0, 15.5, -1, 6, 8), (3.0, 28, -24, 24, 7),  # sockets, brow ridge
    (4.0, 46, 22, 15, 13), (-2.0, 44, 62, 15, 18), (-2.5, 60, -26, 12, 18),  # cheeks, temples
    (4.0, 0, 66, 27, 17), (3.0, 0, 60.8, 15, 4.2), (3.6, 0, 73.2, 15, 4.6),  # mouth and lips
    (-3.2, 0, LIP_LINE, 24, 2.6), (-2.2, 27, 67, 5, 6),  # between the lips and beside them
    (-2.4, 0, 85, 18, 4.5), (4.0, 0, 101, 15, 9),  # above the chin, chin
)  # fmt: skip
# What one unit of a coefficient displaces: mm along the axis (x away from the middle of the face),
# centre and extent (X, r).
_X, _Y, _Z = 0, 1, 2
_DISPLACEMENTS = {
    "nose_tip": [(_Z, 1.0, 0, 33, 6.5, 5)],
    "nose_length": [(_Y, 2.4, 0, 40, 30, 14)],
    "nose_turn": [(_Y, -1.6, 0, 34, 11, 8)],
    "eye_depth": [(_Z, -1.5, 30, -7, 18, 9)],
    "eye_spacing": [(_X, 1.6, EYE_X, 0, 20, 13)],
    "brow_ridge": [(_Z, 1.6, 28, -24, 24, 7)],
    "brow_height": [(_Y, -2.2, 36, -27, 26, 10)],
    "cheekbones": [(_Z, 1.8, 46, 22, 15, 13)],
    "cheek_fat": [(_Z, 3.0, 44, 62, 15, 18)],
    "chin_size": [(_Z, 2.0, 0, 101, 15, 9)],
    "mouth_height": [(_Y, 1.8, 0, LIP_LINE, 40, 14)],
    "upper_lip": [(_Z, 0.8, 0, 60.8, 15, 4.2), (_Y, -1.1, 0, 58.6, 17, 3.4)],
    "lower_lip": [(_Z, 0.8, 0, 73.2, 15, 4.6), (_Y, 1.2, 0, 78, 16, 4.0)],
    "smile": [
        (_X, 1.0, 42, 36, 14, 12), (_Y, -3.0, 42, 36, 14, 12), (_Z, 4.0, 42, 36, 14, 12),  # cheeks
        (_Y, -5.5, 26, LIP_LINE, 12, 10), (_Z, -3.5, 26, LIP_LINE, 12, 10),  # corners of the mouth
        (_Y, 1.0, 0, LIP_LINE, 12, 8), (_Y, -1.4, 32, 8, 13, 6),  # lips, lower lids
    ],
    "pucker": [(_Z, 6.0, 0, LIP_LINE, 20, 12)],
    "brow_raise": [(_Y, -7.0, 36, -27, 24, 13), (_Z, 1.0, 36, -27, 24, 13)],
    "frown": [(axis, mm, 16, -23, 11, 9) for axis, mm in ((_X, -3.0), (_Y, 3.5), (_Z, 1.5))],
}  # fmt: skip


@dataclass(frozen=True, eq=False)
class Chart:
    """Names points of the head by azimuth and row, float arrays that broadcast."""

    azimuth: Array
    row: Array

    @cached_property
    def x(self) -> Array:
        """The chart coordinate X."""
        return _half_width(self.row) * np.sin(self.azimuth)

    @cached_property
    def moves(self) -> dict[str, Array]:
        """The displacement in mm, float32 [3, ...], of each coefficient of an expression."""
        x, r = self.x, self.row
        expressions = ("smile", "pucker", "brow_raise", "frown")
        fields = {name: _displaced(x, r, {name: 1.0}) for name in expressions}
        stretch = x / 26 * ridge(np.abs(x), 0, 36, 4) * ridge(r, LIP_LINE, 11)
        fields["smile"][_X] += 6 * stretch
        fields["pucker"][_X] -= 8 * stretch
        zero, jaw = np.zeros_like(x), JAW_DROP * _jaw(self)
        closing = _blink(x, r) * (np.cos(self.azimuth) > 0)
        fields["jaw"] = (zero, jaw, -0.3 * jaw)
        fields["blink"] = (zero, closing, 0.06 * closing)
        fields["wink"] = np.asarray(fields["blink"]) * (x < 0)
        return {name: np.asarray(field, np.float32) for name, field in fields.items()}

    def move(self, points: Array, expression: Mapping[str, float]) -> Array:
        """Displaces `points` [3, ...] of this chart by an expression, coefficients by name."""
        moved = points.copy()
        for name, weight in expression.items():
            if weight:
                moved += np.float32(weight) * self.moves[name]
        return moved


def slot(x: Array) -> Array:
    """Computes half the height, in the chart, of the opening between the lips at X."""
    return 3 * np.clip(1 - (x / SLOT_HALF_WIDTH) ** 2, 0, 1) ** 0.8


def lids(x: Array) -> tuple[Array, Array, Array]:
    """Returns u in [-1, 1] from inner to outer corner, and the rows of the open lids."""
    u = (np.abs(x) - EYE_X) / EYE_HALF_WIDTH
    arch = np.clip(1 - u * u, 0, 1)
    middle = 0.6 - 0.6 * u
    return u, middle - (6.0 - 0.5 * u) * arch**0.75, middle + (4.4 + 0.7 * u) * arch**0.9


def dome(r: Array) -> Array:
    """Computes the breadth of the skull in row r over its greatest breadth."""
    return np.sqrt(1 - np.clip((SKULL - r) / (SKULL - TOP), 0, 1) ** 2)


def surface(chart: Chart, s: Mapping[str, float]) -> Array:
    """Computes the positions, float32 [3, ...] in mm, of a head with the coefficients `SHAPE`."""
    a, r, x = chart.azimuth, chart.row, chart.x
    lower, skull = smoothstep(r, 10, 95), np.clip((SKULL - r) / (SKULL - TOP), 0, 1)
    width = _half_width(r) * dome(r) * (1 + 0.035 * s["breadth"] + 0.045 * s["jaw_width"] * lower)
    front = _front(r) + 2 * s["forehead"] * smoothstep(r, -25, -70)
    front = front * (1 - skull**2.6) ** 0.46
    sin, cos = np.sin(a), np.cos(a)
    power = 2.25 + 0.12 * s["jaw_square"] * lower
    bent = (1 - np.abs(sin) ** power) ** (1 / power)
    under = np.clip((r - CHIN) / (THROAT - CHIN), 0, 1)
    lift = 40 * np.clip((np.minimum(r, CHIN) - 36) / (CHIN - 36), 0, 1) ** 1.3
    y = np.minimum(r, CHIN) + 3 * under - lift * (1 - cos) * (1 - 0.12 * s["jaw_square"])
    y = y + 4.5 * s["jaw_length"] * smoothstep(r, 40, 112)
    y = y - 3 * s["forehead"] * smoothstep(r, -25, -118)
    z = np.where(cos >= 0, front * bent, 98 * dome(r) * cos) * (1 - 0.5 * under)
    front_only = (cos > 0) * (1 - skull)
    features = _warp(x, r, s)
    features[_Z] += _relief(x, r, s)
    plain = np.stack(np.broadcast_arrays(width * sin * (1 - 0.3 * under), y, z))
    return (plain + features * front_only).astype(np.float32)


def _displaced(x: Array, r: Array, coefficients: Mapping[str, float]) -> Array:
    """The displacement [3, ...] that the table gives for coefficients."""
    total, side = np.zeros((3, *np.broadcast_shapes(x.shape, r.shape)), x.dtype), np.abs(x)
    for name, rows in _DISPLACEMENTS.items():
        if name in coefficients:
            for axis, mm, *place in rows:
                total[axis] += bumps(side, r, (coefficients[name] * mm, *place))
    total[_X] *= np.sign(x)
    return total


def _relief(x: Array, r: Array, s: Mapping[str, float]) -> Array:
    """The forward displacement of sockets, brow ridge, cheekbones, nose, lips and chin."""
    side = np.abs(x)
    width = _nose_width(r) * (1 + 0.1 * s["nose_width"] * smoothstep(r, 10, 35))
    nose = _nose_height(r) * (1 + 0.06 * s["nose_tip"]) + 2 * s["nose_bridge"] * ridge(r, 6, 12)
    nose = nose * (0.84 * np.exp(-((side / width) ** 2.3)) + 0.16 * ridge(side, 0, 2.1 * width))
    wings = (6.5 + 0.7 * s["nose_width"], 13 + 1.2 * s["nose_width"], 39, 4.6, 4.8)
    # The eyeball looks straight ahead although the face around it slopes to the side.
    eyeball = bumps(side, r, (1, EYE_X, 0, 13, 8.5)) * (4.6 + 0.34 * (side - EYE_X))
    return nose + bumps(side, r, wings, *_RELIEF) + eyeball


def _warp(x: Array, r: Array, s: Mapping[str, float]) -> Array:
    """The displacement [3, ...] of the features by the shape, the closing of the lips included."""
    side, from_eye, gap = np.abs(x), np.abs(x) - EYE_X, slot(x)
    total = _displaced(x, r, s)
    # The mean head's lips, too, are fuller than the outlines in the chart.
    total[_Y] += bumps(side, r, (-0.33, 0, 58.6, 17, 3.4), (0.36, 0, 78, 16, 4.0))
    nose = 0.08 * s["nose_width"] * ridge(side, 0, 19, 4) * ridge(r, 38, 11)
    mouth = 0.075 * s["mouth_width"] * ridge(side, 0, 36, 4) * ridge(r, LIP_LINE, 12)
    eye = bumps(side, r, (1, EYE_X, 0, 20, 13))
    total[_X] += x * (nose + mouth) + np.sign(x) * eye * 0.055 * s["eye_size"] * from_eye
    total[_Y] += eye * r * (0.055 * s["eye_size"] + 0.10 * s["eye_opening"])
    total[_Y] -= eye * 1.5 * s["eye_tilt"] * from_eye / EYE_HALF_WIDTH
    total[_Y] -= bumps(side, r, (2.0 * s["brow_tilt"], 36, -27, 26, 10)) * (side - 36) / 22
    inside = np.clip(LIP_LINE - r, -gap, gap)
    total[_Y] += inside * (1 - smoothstep(np.abs(r - LIP_LINE) - gap, 0, 9))
    return total


def _jaw(chart: Chart) -> Array:
    """The share of the jaw's drop: 1 at the chin, 0 above the mouth, torn between the lips."""
    x, r, gap = chart.x, chart.row, slot(chart.x)
    opening = np.clip(1 - (x / SLOT_HALF_WIDTH) ** 2, 0, 1) ** 0.6
    above, below = np.maximum(LIP_LINE - gap - r, 0), np.maximum(r - LIP_LINE - gap, 0)
    upper = -smoothstep(np.minimum(r, LIP_LINE - gap), 44, 92) * ridge(above, 0, 12)
    lower = 1 - smoothstep(np.maximum(r, LIP_LINE + gap), 44, 92)
    # Above the opening `part` is 0, below it 1.
    part = np.clip((r - LIP_LINE + gap) / np.maximum(2 * gap, 1e-6), 0, 1)
    torn = opening * (upper + (lower * ridge(below, 0, 20) - upper) * part)
    return (smoothstep(r, 44, 92) + torn) * np.clip(np.cos(chart.azimuth), 0, 1) ** 0.7


def _blink(x: Array, r: Array) -> Array:
    """How far, in mm, each point sinks when the upper lid closes onto the lower."""
    u, upper, lower = lids(x)
    lid = smoothstep(r - upper, -12, 0)
    within = np.clip((lower - r) / np.maximum(lower - upper, 1e-6), 0, 1)
    return np.where(np.abs(u) < 1, 0.96 * (lower - upper) * np.where(r < upper, lid, within), 0)


@lru_cache
def landmarks() -> Chart:
    """Names the 68 iBUG points, from the viewer's left, and the middles of the two eyes: [70]."""
    jaw = np.radians([82, 82, 82, 81, 73, 61, 44, 23, 0])
    jaw_rows = [4, 22, 44, 72, 96, 107, 111, 112, 112]
    eye = EYE_X + EYE_HALF_WIDTH * np.asarray([1, 0.36, -0.36, -1, -0.36, 0.36])
    brows = np.asarray([-58, -50, -40, -28, -16, 16, 28, 40, 50, 58.0])
    eyes = np.concatenate([-eye, eye[[3, 2, 1, 0, 5, 4]]])
    outer = np.asarray([-MOUTH_HALF_WIDTH, -14.5, -6, 0, 6, 14.5, MOUTH_HALF_WIDTH])
    under = np.asarray([14.5, 7, 0, -7, -14.5])
    inner = np.asarray([-SLOT_HALF_WIDTH, -8, 0, 8, SLOT_HALF_WIDTH, 8, 0, -8])
    _, upper, lower = lids(eyes)
    gap = slot(inner) * ([-1] * 5 + [1] * 3)
    nose_x, nose_rows = [0] * 4 + [-14, -7, 0, 7, 14], [-5, 9, 21.5, 33.5, 42.5, 45, 46.5, 45, 42.5]
    x = np.concatenate([brows, nose_x, eyes, outer, under, inner, [-EYE_X, EYE_X]])
    lid_rows = np.where([True, True, True, True, False, False] * 2, upper, lower)
    lip_rows = [upper_lip(abs(outer)), lower_lip(abs(under)), LIP_LINE + gap]
    r = np.concatenate([brow(abs(brows)), nose_rows, lid_rows, *lip_rows, [0, 0]])
    return Chart(
        np.concatenate([-jaw, jaw[-2::-1], np.arcsin(np.clip(x / _half_width(r), -1, 1))]),
        np.concatenate([jaw_rows, jaw_rows[-2::-1], r]),
    )


@lru_cache
def mesh(step: float) -> Chart:
    """Names the vertices of a mesh, azimuths [1, C] and rows [R, 1], about `step` mm apart.

    Denser at the eyes and between the lips; symmetric about azimuth 0, ending at 165° beside it.
    """
    r, a = np.linspace(TOP + 0.5, THROAT, 4000), np.linspace(0, np.radians(165), 2000)
    steep = np.minimum(r - SKULL, 0) / (SKULL - TOP)
    density = np.where(r < SKULL, 1 / np.sqrt(1.02 - steep**2), 1) + 0.5 * (abs(r - 43) < 5)
    density += 0.6 * ridge(r, 0, 9, 4) + 2.4 * ridge(r, LIP_LINE, 3.6, 6)
    around = np.minimum(np.hypot(70.5 * np.cos(a), 92 * np.sin(a)), 85)
    around *= np.where(70.5 * np.sin(a) < 52, 1.15, np.where(a < 1.9, 1.0, 0.75))
    half = spaced(a, around / step)
    columns = np.concatenate([-half[:0:-1], half])
    return Chart(np.float32(columns[None]), np.float32(spaced(r, density / step)[:, None]))


@lru_cache
def face(whole: Chart) -> tuple[Chart, tuple[slice, slice]]:
    """Cuts out of a mesh the rows and columns that expressions move."""
    rows = slice(*np.searchsorted(whole.row[:, 0], [-58, THROAT + 1]))
    columns = slice(*np.searchsorted(whole.azimuth[0], np.radians([-89, 89])))
    return Chart(whole.azimuth[:, columns], whole.row[rows]), (rows, columns)
