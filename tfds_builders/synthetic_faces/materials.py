"""The colours of the head in its chart: skin, lips, brows and beard, eyes and the open mouth."""

from functools import lru_cache

import numpy as np

from . import anatomy
from .anatomy import EYE_HALF_WIDTH, EYE_X, JAW_DROP, LIP_LINE, MOUTH_HALF_WIDTH, Chart
from .fields import Array, bumps, linear, mix, noise, ridge, smoothstep, tint
from .people import Identity

IRIS_RADIUS, PUPIL_RADIUS = 6.2, 2.5
_SCLERA, _CARUNCLE, _PUPIL = linear("#e2dad4"), linear("#be786e"), linear("#060505")
_TEETH, _TONGUE, _THROAT = linear("#e4dcca"), linear("#964848"), linear("#341212")
_NOSTRIL, _LASH = linear("#1e0e0c"), linear("#160e0c")
# How much less sky the hollows of the face see: share; centre and extent (X, r).
_OCCLUSION = (
    (0.45, 17, -4, 7, 9), (0.30, 31, -13, 16, 6), (0.15, EYE_X, -8, 14, 4),  # sockets
    (0.38, 6, 47.5, 11, 3), (0.25, 20, 40, 4, 8),  # below and beside the nose
    (0.30, 0, 83.5, 17, 4), (0.35, 26, LIP_LINE, 4, 4),  # around the mouth
)  # fmt: skip


@lru_cache
def masks(mesh: Chart) -> dict[str, Array]:
    """Computes where things lie on a mesh, float32 [R, C] from 0 to 1; the same for everybody.

    `eye_depth` and `slot_depth` run from 0 at the upper to 1 at the lower edge of the opening.
    """
    x, r = mesh.x, mesh.row
    side = np.abs(x)
    front = (np.cos(mesh.azimuth) > 0) & (r > -60)
    u, upper, lower = anatomy.lids(x)
    near = np.clip(1.25 - np.abs(u) ** 4, 0, 1) * (np.abs(u) < 1.06)
    below_eye = np.clip(1.1 - u**2, 0, 1)
    inside_lips = np.minimum(r - anatomy.upper_lip(side), anatomy.lower_lip(side) - r)
    gap = anatomy.slot(x)
    half_brow = np.interp(side, [9, 14, 30, 46, 60, 63], [0.2, 3.0, 3.3, 2.5, 0.8, 0.2])
    fold = np.interp(r, [36, 48, 60, 72], [17, 24, 30, 33])
    jaw = np.interp(side, [0, 22, 30, 45, 56, 64, 70], [84, 80, 66, 58, 46, 18, 5])
    found = {
        "lips": smoothstep(inside_lips, -0.7, 0.7)
        * (side < MOUTH_HALF_WIDTH + 0.5),
        "slot": smoothstep(gap - np.abs(r - LIP_LINE), -0.3, 0.3) * (gap > 0.15),
        "slot_depth": np.clip((r - LIP_LINE + gap) / np.maximum(2 * gap, 1e-6), 0, 1),
        "eye": smoothstep(np.minimum(r - upper, lower - r), -0.35, 0.35) * (np.abs(u) < 1),
        "eye_depth": np.clip((r - upper) / np.maximum(lower - upper, 1e-6), 0, 1),
        "lash": ridge(r, upper - 0.2, 0.85) * near * (np.abs(u) < 1.04),
        "lower_lash": ridge(r, lower + 0.2, 0.7) * near,
        "crease": ridge(r, upper - 4.4, 1.2) * below_eye,
        "bag": ridge(r, lower + 5, 3.0) * below_eye,
        "brow": smoothstep(half_brow - np.abs(r - anatomy.brow(side)), -1.0, 1.0)
        * smoothstep(side, 10, 14) * (side < 63),
        "nostril": bumps(side, r, (1, 7.0, 44.6, 3.3, 1.9)),
        "occlusion": np.clip(bumps(side, r, *_OCCLUSION), 0, 0.75),
        "blush": np.clip(bumps(side, r, (1, 42, 30, 17, 14), (0.7, 0, 34, 13, 9)), 0, 1),
        "nasolabial": ridge(side, fold, 2.4) * smoothstep(r, 36, 44) * smoothstep(-r, -74, -62),
        "forehead": bumps(side, r, *((1, 0, row, 36, 1.3) for row in (-39, -46, -53))),
        "moustache": smoothstep(r, 47.5, 51) * smoothstep(58.5 + side * 0.28 - r, -1.5, 1.5)
        * smoothstep(29 - side, -2, 4),
        "goatee": smoothstep(r, 79, 84) * smoothstep(24 - side, -4, 5),
        "beard": smoothstep(r - jaw, -3, 5),
        "oily": np.clip(
            bumps(side, r, (1, 0, 25, 7, 20), (0.8, 0, -45, 32, 16), (0.5, 40, 22, 13, 9)), 0, 1
        ),
    }  # fmt: skip
    return {name: (mask * front).astype(np.float32) for name, mask in found.items()}


def albedo(mesh: Chart, person: Identity) -> Array:
    """Draws the person's colours over the mesh, float32 [3, R, C], without eyes and mouth."""
    rng = np.random.default_rng(person.texture_seed)
    m, shape = masks(mesh), mesh.x.shape
    own = tint(person.skin, mesh.x)
    blotches = noise(rng, shape, (28, 36)) * 0.6 + noise(rng, shape, (90, 110)) * 0.4
    red = np.float32(person.blush * 0.22) * m["blush"]
    skin = own * (1 + 0.045 * blotches) * (1 - np.stack([0.1 * red, red, red]))
    if person.freckles:
        spots = smoothstep(noise(rng, shape, (140, 170)), 1.1, 1.7) * m["blush"]
        skin *= 1 - 0.4 * np.clip(person.freckles * spots, 0, 0.8)
    lines = person.age * (0.32 * m["forehead"] + 0.30 * m["nasolabial"] + 0.22 * m["bag"])
    lines += 0.12 * m["nasolabial"] + 0.12 * m["bag"] + 0.35 * m["crease"]
    skin *= 1 - np.clip(lines, 0, 0.6)
    if person.beard != "none":
        skin = _beard(rng, skin, m, person)
    fibres = 0.75 + 0.25 * noise(rng, shape, (shape[0] // 4, shape[1] // 2))
    grown = np.clip(np.sqrt(m["brow"]) * person.brow_thickness * fibres, 0, 1)
    lips = tint(person.lips, mesh.x) * (1 + 0.05 * noise(rng, shape, (20, shape[1] // 2)))
    for colour, share in (
        (person.brows, grown * min(1.0, 0.55 + 0.35 * person.brow_thickness)),
        (lips, 0.9 * m["lips"]),
        (_NOSTRIL, np.clip(1.3 * m["nostril"], 0, 0.9)),
        (_LASH, np.clip(m["lash"] * (0.35 + 0.65 * person.lashes), 0, 1)),
        (own * np.float32(0.55), 0.6 * m["lower_lash"]),
    ):
        skin = mix(skin, colour, share)
    return np.clip(skin, 0, 1).astype(np.float32)


def _beard(rng: np.random.Generator, skin: Array, m: dict[str, Array], person: Identity) -> Array:
    area, density = {
        "stubble": (np.maximum(m["beard"], m["moustache"]), 0.45),
        "moustache": (m["moustache"], 0.9),
        "goatee": (np.maximum(m["moustache"], m["goatee"]), 0.85),
        "full": (np.maximum(m["beard"], m["moustache"]), 0.92),
    }[person.beard]
    rows, columns = area.shape
    fibres = 0.85 + 0.18 * noise(rng, area.shape, (rows // 2, columns // 2))
    colour = person.hair * np.float32(0.8)
    if person.beard == "stubble":
        colour = 0.6 * colour + 0.4 * person.skin * np.float32([0.45, 0.5, 0.55])
    return mix(skin, colour, np.clip(density * area * fibres, 0, 1) * (1 - m["lips"]))


@lru_cache
def _opening(mesh: Chart, name: str) -> tuple[tuple[Array, ...], Array, Array, Array]:
    """(indices of the vertices, opacity, depth, X) of "eye" or "slot"."""
    m = masks(mesh)
    index = np.nonzero(m[name] > 0.01)
    return index, *(v[index] for v in (m[name], m[name + "_depth"], mesh.x))


def draw_mouth(colour: Array, mesh: Chart, jaw: float) -> None:
    """Draws teeth, tongue and darkness into colours [3, R, C]; `jaw` says how far it is open."""
    index, opacity, depth, x = _opening(mesh, "slot")
    side = np.abs(x)
    height = JAW_DROP * jaw * np.clip(1 - (x / anatomy.SLOT_HALF_WIDTH) ** 2, 0, 1) ** 0.6
    below, above = depth * height, (1 - depth) * height
    tooth = 0.86 + 0.14 * np.abs(np.sin(np.pi * x / 8.0)) ** 0.35
    teeth = tint(_TEETH, x) * (tooth * (1 - 0.025 * side))
    tongue = smoothstep(-above, -0.55 * JAW_DROP * max(jaw, 0.05), -2.0) * (side < 17)
    upper = smoothstep(8.0 - 0.012 * x**2 - below, -0.6, 0.6)
    lower = smoothstep(3.0 - above, -0.6, 0.6) * (jaw > 0.45)
    drawn = mix(_THROAT, _TONGUE * np.float32(0.7), tongue)
    drawn = mix(drawn, teeth, np.maximum(upper, 0.8 * lower) * (side < 19))
    # Lips shade what lies behind them; between closed ones there is only a dark line.
    drawn *= 0.45 + 0.5 * smoothstep(np.minimum(below, above), 0, 3.5)
    colour[:, *index] = mix(colour[:, *index], drawn * min(1.0, 0.3 + 7 * jaw), opacity)


def draw_eyes(
    colour: Array, mesh: Chart, points: Array, irises: Array, iris: Array, glint: Array
) -> None:
    """Draws eyeballs into colours [3, R, C], where the mesh now has its points [3, R, C] in mm.

    `irises` [2, 2] are the x and the y of the left and the right one, `iris` [3] their colour;
    `glint` [2] is where the highlight lies beside their centres.
    """
    index, opacity, depth, x = _opening(mesh, "eye")
    away = points[:2, *index] - irises[:, (x > 0).astype(int)]
    distance = np.hypot(*away)
    u = (np.abs(x) - EYE_X) / EYE_HALF_WIDTH
    rays = 0.8 + 0.35 * smoothstep(distance, 1.5, 5.0)
    ring = tint(iris, u) * (rays * (1 - 0.55 * smoothstep(distance, 4.6, 6.0)))
    drawn = mix(_SCLERA, _CARUNCLE, smoothstep(-u, 0.78, 0.95)) * (1 - 0.22 * u * u)
    drawn = mix(drawn, ring, smoothstep(IRIS_RADIUS - distance, -0.45, 0.45))
    drawn = mix(drawn, _PUPIL, smoothstep(PUPIL_RADIUS - distance, -0.45, 0.45))
    # The upper lid and its lashes shade the eyeball.
    drawn *= 0.42 + 0.58 * smoothstep(depth, 0.0, 0.42)
    drawn += 0.9 * np.exp(-((away - glint[:, None]) ** 2).sum(0) / 1.1**2)
    colour[:, *index] = mix(colour[:, *index], np.minimum(drawn, 1), opacity)
