"""The colours of the head in its chart: skin, lips, brows, lids, beard."""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from tfds_builders.synthetic_faces.anatomy import (
    EYE_X,
    LIP_LINE,
    LOWER_OUTLINE,
    MOUTH_HALF_WIDTH,
    UPPER_OUTLINE,
    brow,
    bump,
    lids,
    slot,
    smoothstep,
)
from tfds_builders.synthetic_faces.grid import Grid
from tfds_builders.synthetic_faces.identity import Identity
from tfds_builders.synthetic_faces.texture import linear, mix, noise, tint

Array = np.ndarray


@dataclass(frozen=True)
class Masks:
    """Where things lie on the mesh, float32 [R, C] from 0 to 1; the same for everybody."""

    lips: Array
    slot: Array
    eye: Array
    lash: Array
    lower_lash: Array
    crease: Array
    bag: Array
    brow: Array
    nostril: Array
    occlusion: Array
    blush: Array
    nasolabial: Array
    forehead_lines: Array
    moustache: Array
    goatee: Array
    beard: Array
    oily: Array


@lru_cache
def masks(grid: Grid) -> Masks:
    """The masks of a mesh."""
    x, r = grid.chart, np.broadcast_to(grid.row, grid.chart.shape)
    side = np.abs(x)
    front = (np.cos(grid.azimuth) > 0) & (r > -60)
    u, upper, lower = lids(x)
    lens = smoothstep(np.minimum(r - upper, lower - r), -0.35, 0.35) * (np.abs(u) < 1)
    near = np.clip(1.25 - np.abs(u) ** 4, 0, 1) * (np.abs(u) < 1.06)
    outline = np.clip(side, 0, MOUTH_HALF_WIDTH)
    inside = np.minimum(r - UPPER_OUTLINE(outline), LOWER_OUTLINE(outline) - r)
    lips = smoothstep(inside, -0.7, 0.7) * (side < MOUTH_HALF_WIDTH + 0.5)
    gap = slot(x)
    opening = smoothstep(gap - np.abs(r - LIP_LINE), -0.3, 0.3) * (gap > 0.15)
    half = np.interp(side, [9, 14, 30, 46, 60, 63], [0.2, 3.0, 3.3, 2.5, 0.8, 0.2])
    brows = smoothstep(half - np.abs(r - brow(x)), -1.0, 1.0) * smoothstep(side, 10, 14)
    fold = np.interp(r, [36, 48, 60, 72], [17, 24, 30, 33])
    fields = Masks(
        lips=lips,
        slot=opening,
        eye=lens,
        lash=np.exp(-(((r - upper + 0.2) / 0.85) ** 2)) * near * (np.abs(u) < 1.04),
        lower_lash=np.exp(-(((r - lower - 0.2) / 0.7) ** 2)) * near,
        crease=np.exp(-(((r - upper + 4.4) / 1.2) ** 2)) * np.clip(1.1 - u**2, 0, 1),
        bag=np.exp(-(((r - lower - 5) / 3.0) ** 2)) * np.clip(1.1 - u**2, 0, 1),
        brow=brows * (side < 63),
        nostril=bump(side, r, 7.0, 44.6, 3.3, 1.9),
        occlusion=_occlusion(x, side, r),
        blush=np.clip(bump(side, r, 42, 30, 17, 14) + 0.7 * bump(x, r, 0, 34, 13, 9), 0, 1),
        nasolabial=np.exp(-(((side - fold) / 2.4) ** 2)) * smoothstep(r, 36, 44)
        * smoothstep(-r, -74, -62),
        forehead_lines=sum(bump(x, r, 0, at, 36, 1.3) for at in (-39, -46, -53)),
        moustache=smoothstep(r, 47.5, 51) * smoothstep(58.5 + side * 0.28 - r, -1.5, 1.5)
        * smoothstep(29 - side, -2, 4),
        goatee=smoothstep(r, 79, 84) * smoothstep(24 - side, -4, 5),
        beard=_beard_area(side, r),
        oily=np.clip(bump(x, r, 0, 25, 7, 20) + 0.8 * bump(x, r, 0, -45, 32, 16)
        + 0.5 * bump(side, r, 40, 22, 13, 9), 0, 1),
    )  # fmt: skip
    return Masks(**{name: (v * front).astype(np.float32) for name, v in vars(fields).items()})


def _occlusion(x: Array, side: Array, r: Array) -> Array:
    """How much less sky the hollows of the face see."""
    socket = 0.45 * bump(side, r, 17, -4, 7, 9) + 0.30 * bump(side, r, 31, -13, 16, 6)
    nose = 0.38 * bump(side, r, 6, 47.5, 11, 3) + 0.25 * bump(side, r, 20, 40, 4, 8)
    mouth = 0.30 * bump(x, r, 0, 83.5, 17, 4) + 0.35 * bump(side, r, 26, LIP_LINE, 4, 4)
    brow_edge = 0.15 * bump(side, r, EYE_X, -8, 14, 4)
    return np.clip(socket + nose + mouth + brow_edge, 0, 0.75)


def _beard_area(side: Array, r: Array) -> Array:
    edge = np.interp(side, [0, 22, 30, 45, 56, 64, 70], [84, 80, 66, 58, 46, 18, 5])
    return smoothstep(r - edge, -3, 5)


def albedo(grid: Grid, person: Identity) -> Array:
    """The person's colours over the mesh, float32 [3, R, C]; eyes and mouth are drawn later."""
    rng = np.random.default_rng(person.texture_seed)
    m, shape = masks(grid), grid.chart.shape
    own = tint(person.skin, grid.chart)
    blotches = noise(rng, shape, (28, 36)) * 0.6 + noise(rng, shape, (90, 110)) * 0.4
    skin = own * (1 + 0.045 * blotches)
    red = person.blush * 0.22 * (1 - 0.6 * person.skin_tone) * m.blush
    skin[0] -= skin[0] * red * 0.1
    skin[1:] -= skin[1:] * red
    if person.freckles:
        spots = smoothstep(noise(rng, shape, (140, 170)), 1.1, 1.7) * m.blush
        skin *= 1 - 0.4 * np.clip(person.freckles * spots, 0, 0.8)
    lines = person.age * (0.32 * m.forehead_lines + 0.30 * m.nasolabial + 0.22 * m.bag)
    lines = lines + 0.12 * m.nasolabial + 0.12 * m.bag + 0.35 * m.crease
    skin *= 1 - np.clip(lines, 0, 0.6)
    skin = _beard(rng, skin, m, person)
    fibres = 0.75 + 0.25 * noise(rng, shape, (shape[0] // 4, shape[1] // 2))
    grown = np.clip(np.sqrt(m.brow) * person.brow_thickness * fibres, 0, 1)
    skin = mix(skin, person.brows, grown * min(1.0, 0.55 + 0.35 * person.brow_thickness))
    lips = tint(person.lips, grid.chart) * (1 + 0.05 * noise(rng, shape, (20, shape[1] // 2)))
    skin = mix(skin, lips, 0.9 * m.lips)
    skin = mix(skin, linear(30, 14, 12), np.clip(1.3 * m.nostril, 0, 0.9))
    skin = mix(skin, linear(22, 14, 12), np.clip(m.lash * (0.35 + 0.65 * person.lashes), 0, 1))
    skin = mix(skin, own * np.float32(0.55), 0.6 * m.lower_lash)
    return np.clip(skin, 0, 1)


def _beard(rng: np.random.Generator, skin: Array, m: Masks, person: Identity) -> Array:
    if person.beard == "none":
        return skin
    area = {
        "stubble": 0.45 * np.maximum(m.beard, m.moustache),
        "moustache": 0.9 * m.moustache,
        "goatee": 0.85 * np.maximum(m.moustache, m.goatee),
        "full": 0.92 * np.maximum(m.beard, m.moustache),
    }[person.beard]
    shape = m.beard.shape
    fibres = 0.85 + 0.18 * noise(rng, shape, (shape[0] // 2, shape[1] // 2))
    share = np.clip(area * fibres, 0, 1) * (1 - m.lips)
    colour = person.hair * np.float32(0.8)
    if person.beard == "stubble":
        colour = 0.6 * colour + 0.4 * person.skin * np.asarray([0.45, 0.5, 0.55], np.float32)
    return mix(skin, colour, share)
