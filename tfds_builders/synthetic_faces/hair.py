"""Hair and hats: a shell over the skull, and a curtain for hair that falls to the shoulders."""

import numpy as np

from tfds_builders.synthetic_faces.anatomy import skull_round, smoothstep
from tfds_builders.synthetic_faces.grid import Grid
from tfds_builders.synthetic_faces.identity import Identity
from tfds_builders.synthetic_faces.surfels import Surfels, area_vectors, from_mesh
from tfds_builders.synthetic_faces.texture import linear, noise, tint

Array = np.ndarray

# Row of the hairline at azimuths in degrees: forehead, temple, sideburn, around the ear, nape.
_ANGLES = (0, 25, 38, 50, 60, 68, 76, 84, 88, 104, 112, 125, 165)
_HAIRLINES = {
    "short": (-66, -66, -62, -50, -34, -8, 14, 18, -10, -12, 30, 62, 70),
    "long": (-68, -68, -64, -52, -36, -12, 2, 6, 6, 20, 40, 62, 70),
    "fringe": (-34, -34, -35, -36, -34, -10, 8, 14, 6, 12, 40, 62, 70),
    "beanie": (-50, -50, -50, -49, -46, -42, -38, -34, -32, -28, -22, -14, -8),
}
_LINE = {"fringe": "fringe", "beanie": "beanie", "bob": "long", "long": "long"}
# Thickness in mm at the hairline's side, and added on top of the head.
_THICKNESS = {
    "buzz": (2, 0),
    "short": (7, 10),
    "swept": (7, 18),
    "fringe": (10, 9),
    "curly": (22, 14),
    "bob": (11, 8),
    "long": (10, 8),
    "beanie": (8, 8),
}


def cover(grid: Grid, person: Identity) -> Array:
    """How much of each vertex of the head is under hair, float32 [R, C]."""
    if person.hair_style == "bald":
        return np.zeros(grid.chart.shape, np.float32)
    rng = np.random.default_rng([person.texture_seed, 1])
    degrees = np.degrees(np.abs(grid.azimuth))
    line = np.interp(degrees, _ANGLES, _HAIRLINES[_LINE.get(person.hair_style, "short")])
    line = line.astype(np.float32)
    if person.hair_style == "beanie":
        return smoothstep(line - grid.row, -0.8, 0.8).astype(np.float32)
    recede = person.hairline * smoothstep(-degrees, -75, -25)
    ragged = noise(rng, (1, grid.chart.shape[1]), (1, grid.chart.shape[1] // 3))
    soft = 5 if person.hair_style in ("buzz", "short", "swept") else 3
    spread = 2.5 if person.hair_style == "fringe" else 1.5
    return smoothstep(line - recede + spread * ragged - grid.row, -soft, soft).astype(np.float32)


def shell(grid: Grid, head: Array, covered: Array, person: Identity) -> list[Surfels]:
    """The hair on a head [3, R, C], as far as it covers it."""
    if person.hair_style == "bald":
        return []
    rng = np.random.default_rng([person.texture_seed, 2])
    side, top = _THICKNESS[person.hair_style]
    parting = rng.uniform(-0.5, 0.5)
    edge = np.interp(
        np.degrees(np.abs(grid.azimuth)), _ANGLES, _HAIRLINES[_LINE.get(person.hair_style, "short")]
    )
    inwards = smoothstep(edge.astype(np.float32) - grid.row, -4, 22)
    volume = person.hair_volume if person.hair_style not in ("buzz", "beanie") else 1.0
    height = inwards * volume * (side + top * smoothstep(-grid.row, 45, 105))
    shape = grid.chart.shape
    if person.hair_style == "curly":
        height = height * (1 + 0.13 * noise(rng, shape, (26, 40)))
    elif person.hair_style != "beanie":
        locks = noise(rng, shape, (5, 40))
        height = height * (
            1 + 0.12 * locks - 0.35 * np.exp(-(((grid.azimuth - parting) / 0.1) ** 2))
        )
    areas = area_vectors(head)
    normals = areas / np.maximum(np.sqrt((areas**2).sum(0)), np.float32(1e-6))
    # The rows at the very top are points: their normals are up.
    normals[:, :2] = np.asarray([0, -1, 0], np.float32)[:, None, None]
    mesh = head + normals * np.maximum(height, 0).astype(np.float32)
    colour, gloss = _strands(rng, shape, person)
    colour = colour * (0.55 + 0.45 * inwards)
    parts = [from_mesh(mesh, colour, opacity=covered, gloss=gloss)]
    if person.hair_style in ("long", "bob"):
        parts.append(_curtain(rng, grid, person))
    return parts


def _strands(
    rng: np.random.Generator, shape: tuple[int, int], person: Identity
) -> tuple[Array, Array | float]:
    """Albedo [3, R, C] and gloss of the shell."""
    if person.hair_style == "beanie":
        wool = linear(*rng.uniform(15, 210, 3))
        ribs = 0.85 + 0.15 * np.cos(np.arange(shape[1], dtype=np.float32) * 1.3)
        return tint(wool, np.empty(shape)) * ribs, 0.0
    cells = (36, 60) if person.hair_style == "curly" else (7, shape[1] // 2)
    fine = noise(rng, shape, cells) * 0.6 + noise(rng, shape, (12, 60)) * 0.4
    colour = tint(person.hair, fine) * np.clip(1 + 0.38 * fine, 0.25, 2)
    if person.hair_style == "buzz":
        colour = 0.75 * colour + 0.25 * tint(person.skin, fine)
    return colour, 0.12 * np.clip(1 + fine, 0, 2)


def _curtain(rng: np.random.Generator, grid: Grid, person: Identity) -> Surfels:
    """Hair that hangs from the sides of the head, seen from both sides."""
    step = float(np.diff(grid.azimuth[0]).min()) * 78 * 1.25
    length = rng.uniform(85, 125) if person.hair_style == "bob" else rng.uniform(150, 220)
    front = np.radians(rng.uniform(56, 76))
    count = round((2 * np.pi - 2 * front) * 88 / step)
    a = np.linspace(front, 2 * np.pi - front, count, dtype=np.float32)[None]
    r = np.linspace(-60, length, round((length + 60) / step), dtype=np.float32)[:, None]
    locks = noise(rng, (len(r), count), (5, count // 5))
    fall = smoothstep(r, -60, 10)
    out = (5 + 12 * person.hair_volume * fall) * (1 + 0.15 * locks)
    breadth = 71 * (1 + 0.025 * person.shape.breadth)
    flow = rng.uniform(-0.12, 0.14) * np.clip(r - 40, 0, None)
    skull = skull_round(r)
    x = -(breadth * skull + out + flow) * np.sin(a)
    # The front edge comes forward over the temple and leans back towards the shoulders.
    z = (94 * skull + out) * np.cos(a) - 4 - 0.10 * np.clip(r, 0, None)
    mesh = np.stack([x, r + 2.5 * locks, z]).astype(np.float32)
    fine = noise(rng, x.shape, (5, count // 2)) * 0.6 + noise(rng, x.shape, (8, 50)) * 0.4
    colour = tint(person.hair, fine) * np.clip(1 + 0.4 * fine, 0.25, 2)
    ends = smoothstep(-r + 8 * locks, -length + 2, -length + 18) * smoothstep(r, -60, -45)
    return from_mesh(
        mesh[..., ::-1], colour[..., ::-1], opacity=np.broadcast_to(ends, x.shape)[:, ::-1],
        gloss=0.10, two_sided=True,
    )  # fmt: skip
