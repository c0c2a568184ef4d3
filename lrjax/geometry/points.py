"""Landmark schemes: their names and mirror images, conversions between them, and boxes.

Left and right are the viewer's. The functions take NumPy or JAX arrays and return the same kind;
this module imports no JAX, so that the dataset builders can use it.
"""

import math
from dataclasses import dataclass
from itertools import pairwise
from types import ModuleType
from typing import Any, TypeVar

import numpy as np

LARGEST_COORDINATE = float(2**31)
"""Pixels: what is said to lie farther out is damaged, and would be infinite in half of the code."""

Array = TypeVar("Array", bound=Any)
"""A NumPy or a JAX array."""
Mask = TypeVar("Mask", bound=Any)
"""The same, of bool."""


@dataclass(frozen=True)
class Scheme:
    """Names an ordered set of landmarks.

    Attributes:
      name: of the set.
      names: of the points.
      flip: `flip[i]` is the index of the mirror image of point i.
      lines: pairs of points between which a line makes the face readable.
    """

    name: str
    names: tuple[str, ...]
    flip: tuple[int, ...]
    lines: tuple[tuple[int, int], ...]

    @property
    def count(self) -> int:
        return len(self.names)


def _mirror(count: int, *pairs: tuple[int, int]) -> tuple[int, ...]:
    flip = list(range(count))
    for i, j in pairs:
        flip[i], flip[j] = j, i
    return tuple(flip)


def _chain(first: int, last: int, closed: bool = False) -> tuple[tuple[int, int], ...]:
    ring = ((last, first),) if closed else ()
    return (*pairwise(range(first, last + 1)), *ring)


def _numbered(prefix: str, count: int) -> tuple[str, ...]:
    return tuple(f"{prefix}_{i}" for i in range(count))


IBUG68 = Scheme(
    name="ibug68",
    names=(
        *_numbered("jaw", 17),
        *_numbered("left_brow", 5),
        *_numbered("right_brow", 5),
        *_numbered("nose_bridge", 4),
        *_numbered("nose_base", 5),
        *_numbered("left_eye", 6),
        *_numbered("right_eye", 6),
        *_numbered("outer_lip", 12),
        *_numbered("inner_lip", 8),
    ),
    flip=_mirror(
        68,
        *((i, 16 - i) for i in range(8)),
        *((i, 43 - i) for i in range(17, 22)),
        *((31, 35), (32, 34)),
        *((36, 45), (37, 44), (38, 43), (39, 42), (40, 47), (41, 46)),
        *((48, 54), (49, 53), (50, 52), (55, 59), (56, 58)),
        *((60, 64), (61, 63), (65, 67)),
    ),
    # Jaw, brows, nose ridge and base, eyes, outer and inner lips.
    lines=(
        *(_chain(0, 16) + _chain(17, 21) + _chain(22, 26) + _chain(27, 30) + _chain(31, 35)),
        *(_chain(36, 41, True) + _chain(42, 47, True) + _chain(48, 59, True)),
        *_chain(60, 67, True),
    ),
)

AFLW19 = Scheme(
    name="aflw19",
    names=(
        *("left_brow_outer", "left_brow_centre", "left_brow_inner"),
        *("right_brow_inner", "right_brow_centre", "right_brow_outer"),
        *("left_eye_outer", "left_eye_centre", "left_eye_inner"),
        *("right_eye_inner", "right_eye_centre", "right_eye_outer"),
        *("nose_left", "nose_tip", "nose_right"),
        *("mouth_left", "mouth_centre", "mouth_right"),
        "chin",
    ),
    flip=_mirror(19, (0, 5), (1, 4), (2, 3), (6, 11), (7, 10), (8, 9), (12, 14), (15, 17)),
    # Brows, eyes, nose base, mouth.
    lines=tuple(pair for first in range(0, 18, 3) for pair in _chain(first, first + 2)),
)

FIVE = Scheme(
    name="five",
    names=("left_eye", "right_eye", "nose_tip", "mouth_left", "mouth_right"),
    flip=_mirror(5, (0, 1), (3, 4)),
    lines=((0, 1), (0, 2), (1, 2), (2, 3), (2, 4), (3, 4)),
)

# Where people put five points is not where iBUG's 68 say that they are: the nose tip lies lower and
# the corners of the mouth further in. A network of this scheme learns both from labels of both.
IBUG68_FIVE = Scheme(
    name="ibug68_five",
    names=(*IBUG68.names, *FIVE.names),
    flip=(*IBUG68.flip, *(IBUG68.count + i for i in FIVE.flip)),
    lines=IBUG68.lines,
)

SCHEMES = {scheme.name: scheme for scheme in (IBUG68, AFLW19, FIVE, IBUG68_FIVE)}

# Each target point is the mean of these source points. An AFLW eye centre is the mean of the
# eye's outline, its mouth centre the middle of the inner lips (62, 66): on a closed mouth the
# line between the lips, which the mean of the outer lips misses when they differ in thickness.
_LEFT_EYE, _RIGHT_EYE = tuple(range(36, 42)), tuple(range(42, 48))
_19_OF_68 = (
    *((17,), (19,), (21,), (22,), (24,), (26,)),
    *((36,), _LEFT_EYE, (39,), (42,), _RIGHT_EYE, (45,)),
    *((31,), (30,), (35,)),
    *((48,), (62, 66), (54,)),
    (8,),
)
_EACH_OF_68, _OWN_FIVE = tuple((i,) for i in range(68)), tuple((i,) for i in range(68, 73))
_MEANS: dict[tuple[str, str], tuple[tuple[int, ...], ...]] = {
    ("ibug68", "aflw19"): _19_OF_68,
    ("ibug68", "five"): (_LEFT_EYE, _RIGHT_EYE, (30,), (48,), (54,)),
    ("aflw19", "five"): ((7,), (10,), (13,), (15,), (17,)),
    ("ibug68_five", "ibug68"): _EACH_OF_68,
    ("ibug68_five", "aflw19"): _19_OF_68,
    ("ibug68_five", "five"): _OWN_FIVE,
    # What a face has no label for is made of nothing.
    ("ibug68", "ibug68_five"): _EACH_OF_68 + 5 * ((),),
    ("five", "ibug68_five"): 68 * ((),) + tuple((i,) for i in range(5)),
}

# (sides, top, bottom) by which the tight box grows, in units of its height. For 68 points this
# reproduces human boxes of the WIDER FACE kind. The others reproduce the box of the 68 points on
# the 1,207 training faces of 300W (helen, afw): side within 4.4 % and 7.3 % (standard deviation),
# centre within 6 % and 8 % of the side (mean).
_MARGINS = {
    "ibug68": (0.0, 0.2, 0.0),
    "ibug68_five": (0.0, 0.2, 0.0),
    "aflw19": (0.086, 0.2, 0.0),
    "five": (0.534, 0.752, 0.625),
}


def _namespace(array: Array) -> ModuleType:
    return array.__array_namespace__()


def flip_points(points: Array, visible: Mask, width: int, scheme: Scheme) -> tuple[Array, Mask]:
    """Mirrors points [..., N, 2] and visibility [..., N] with their image of `width` pixels."""
    xp, order = _namespace(points), np.asarray(scheme.flip)
    mirrored = xp.stack([width - 1 - points[..., 0], points[..., 1]], axis=-1)
    return mirrored[..., order, :], visible[..., order]


def convert(points: Array, visible: Mask, source: Scheme, target: Scheme) -> tuple[Array, Mask]:
    """Converts points [..., N, 2] and visibility [..., N] of one scheme to another.

    A point that is a mean is visible when all it is made of are. A point that the source does not
    have is zero and invisible.

    Raises:
      ValueError: there is no such conversion (only 68 -> 19 -> 5, from 68 and five together to any
        of these, and from either of them to both), or N is not the source's.
    """
    if points.shape[-2] != source.count:
        raise ValueError(f"{points.shape[-2]} points given, but {source.name} has {source.count}")
    if source == target:
        return points, visible
    if (source.name, target.name) not in _MEANS:
        raise ValueError(f"{source.name} points cannot be converted to {target.name}")
    xp = _namespace(points)
    groups = [np.asarray(group, int) for group in _MEANS[source.name, target.name]]
    nothing, hidden = xp.zeros_like(points[..., 0, :]), xp.zeros_like(visible[..., 0])
    means = [xp.mean(points[..., g, :], axis=-2) if len(g) else nothing for g in groups]
    seen = [xp.all(visible[..., g], axis=-1) if len(g) else hidden for g in groups]
    return xp.stack(means, axis=-2), xp.stack(seen, axis=-1)


def face_box(points: Array, visible: Mask, scheme: Scheme) -> Array:
    """Computes the box [..., 4] = (x, y, w, h) that an annotator of WIDER FACE would draw.

    The tight box of the visible points, grown by a share of its height that depends on the
    scheme: upwards by 0.2 for 68 points. A box covers pixels x .. x + w - 1 and has its centre
    at x + (w - 1) / 2, so points from a to b give x = a + 0.5, w = b - a: a box found in a
    resized image is the resized box. Without any visible point the box is NaN.
    """
    xp, shown = _namespace(points), visible[..., None]
    low = xp.min(xp.where(shown, points, math.inf), axis=-2)
    high = xp.max(xp.where(shown, points, -math.inf), axis=-2)
    some = xp.any(visible, axis=-1)[..., None]
    low, high = xp.where(some, low, math.nan), xp.where(some, high, math.nan)
    sides, top, bottom = _MARGINS[scheme.name]
    height = high[..., 1] - low[..., 1]
    box = (
        low[..., 0] - sides * height + 0.5,
        low[..., 1] - top * height + 0.5,
        high[..., 0] - low[..., 0] + 2 * sides * height,
        (1 + top + bottom) * height,
    )
    return xp.stack(box, axis=-1)


def box_problem(box: Any, size: tuple[int, int] | None = None) -> str | None:
    """Says why a box (x, y, w, h) cannot be used, or None: of an image of (width, height) if given.

    A box may reach beyond its image. One that is all but a line is none, whatever its area.
    """
    x, y, w, h = (float(v) for v in box)
    if not all(map(math.isfinite, (x, y, w, h))):
        return "the box is not finite"
    if max(abs(x), abs(y), w, h) > LARGEST_COORDINATE:
        return "the box is far larger than any image, or far away from it"
    if w <= 0 or h <= 0:
        return "the box has no area"
    if size is None:
        return None
    if x + w <= 0 or y + h <= 0 or x >= size[0] or y >= size[1]:
        return "the box lies outside the image"
    if math.sqrt(w * h) < 1 or min(w, h) < 0.1:
        return "the box is smaller than a pixel"
    if math.sqrt(w * h) > 2 * max(size) or max(w, h) > 20 * max(size):
        return "the box is far larger than the image"
    return None
