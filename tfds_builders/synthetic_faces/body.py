"""What surrounds the face: ears, glasses, neck, shoulders and clothes."""

import numpy as np

from tfds_builders.synthetic_faces.anatomy import curve, smoothstep
from tfds_builders.synthetic_faces.identity import Identity
from tfds_builders.synthetic_faces.surfels import Surfels, from_mesh, join
from tfds_builders.synthetic_faces.texture import linear, mix, noise, tint

Array = np.ndarray


def ears(person: Identity, step: float) -> Surfels:
    """Both ears: tilted shells with a rim and a hollow."""
    s = person.shape
    size = 1 + 0.08 * s.ear_size
    flare = np.radians(38 + 6 * s.ear_flare)
    rings, spokes = max(8, round(26 / step)), max(16, round(100 / step))
    rho = np.linspace(0.03, 1, rings)[:, None]
    phi = np.linspace(0, 2 * np.pi, spokes, endpoint=False)[None]
    along, up = rho * np.cos(phi), rho * np.sin(phi)
    reach = 16.5 * size * (1 + 0.22 * up) * along + 13.5 * size
    height = -31 * size * up
    rim = 3.2 * smoothstep(rho, 0.72, 0.94) * smoothstep(along + 0.5 * up, -0.9, 0.2)
    hollow = -6.0 * np.exp(-(((along + 0.25) / 0.42) ** 2) - (((up + 0.1) / 0.42) ** 2))
    relief = rim + hollow - 2.5 * smoothstep(rho, 0.94, 1.0)
    tragus = np.exp(-(((along + 0.8) / 0.22) ** 2) - (((up + 0.1) / 0.2) ** 2))
    shade = np.clip(
        1 + 0.10 * relief - 0.35 * smoothstep(-relief, 1.0, 5.0) - 0.2 * tragus, 0.35, 1.05
    )
    colour = tint(person.skin * np.asarray([1.0, 0.86, 0.82], np.float32), shade) * shade
    parts = []
    for sign in (-1.0, 1.0):
        out = np.sin(flare) * reach + np.cos(flare) * relief
        back = np.cos(flare) * reach - np.sin(flare) * relief
        x = sign * (70.5 * (1 + 0.035 * s.breadth) - 4.5 + out)
        mesh = np.stack([x, height + 14 + 0.12 * reach, 12 - back]).astype(np.float32)
        parts.append(from_mesh(mesh, colour, gloss=0.05, two_sided=True))
    return join(*parts)


def glasses(person: Identity, eyes: Array, step: float) -> list[Surfels]:
    """Frames in front of the eyes, whose centres [3, 2] are in mm."""
    if person.glasses == "none":
        return []
    thickness, half_height, power = {
        "thin": (1.6, 15, 3.2), "round": (2.2, 19, 2.1), "thick": (4.4, 17, 3.4)
    }[person.glasses]  # fmt: skip
    centre_x = float(eyes[0, 1] - eyes[0, 0]) / 2 + 1.5
    middle_y = float(eyes[1].mean()) + 2.5
    front_z = float(eyes[2].mean()) + 13
    half_width = min(24.0, centre_x - 8.5)
    t = np.linspace(0, 2 * np.pi, round(260 / step))[None]
    across = np.linspace(-0.5, 0.5, max(3, round(2.4 * thickness / step)))[:, None] * thickness

    def around(v: Array) -> Array:
        return np.sign(v) * np.abs(v) ** (2 / power)

    parts = []
    for sign in (-1.0, 1.0):
        x = sign * centre_x + (half_width - across) * around(np.cos(t))
        y = middle_y + (half_height - across) * around(np.sin(t))
        parts.append((x, y, front_z - 0.0035 * x**2 * (np.abs(x) > centre_x)))
        along = np.linspace(0, 1, round(130 / step))[None]
        x = sign * (centre_x + half_width + (72 - centre_x - half_width) * np.minimum(5 * along, 1))
        y = middle_y - 5 + 2.2 * across / thickness * np.maximum(thickness, 2.5)
        z = front_z - 0.0035 * (centre_x + half_width) ** 2 - (front_z - 8) * along
        parts.append((x + 0 * y, y + 0 * x, z + 0 * y))
    x = np.linspace(-1, 1, round(40 / step))[None] * (centre_x - half_width)
    parts.append((x, middle_y - 4 - 2.5 * (1 - (x / x.max()) ** 2) + across, front_z + 1 + 0 * x))
    made = []
    for part in parts:
        mesh = np.stack(np.broadcast_arrays(*part)).astype(np.float32)
        made.append(from_mesh(mesh, person.frames, gloss=0.3, two_sided=True))
    return made


_BODY_WIDTH = curve(
    *((24, 48), (100, 51), (120, 53), (134, 62), (150, 100), (162, 142), (176, 175)),
    *((195, 192), (230, 200), (330, 205)),
)
_BODY_DEPTH = curve((24, 58), (110, 58), (130, 62), (150, 78), (180, 100), (230, 118), (330, 125))


def torso(rng: np.random.Generator, person: Identity, step: float) -> Surfels:
    """Neck and shoulders, dressed at random."""
    build = 1 + 0.05 * person.shape.jaw_width + 0.02 * person.shape.cheek_fat
    fine = np.linspace(26, 300, 1000)
    path = np.concatenate([[0], np.cumsum(np.hypot(np.diff(fine), np.diff(_BODY_WIDTH(fine))))])
    r = np.interp(np.arange(0, path[-1], 2.1 * step), path, fine)[:, None]
    half = np.arange(0, 1.7, step / 75)
    a = np.concatenate([-half[:0:-1], half])[None].astype(np.float32)
    r = r.astype(np.float32)
    neck = 1 + (build - 1) * smoothstep(-r, -160, -110)
    x = _BODY_WIDTH(r).astype(np.float32) * neck * np.sin(a)
    depth = _BODY_DEPTH(r).astype(np.float32) * np.cos(a) - 22
    throat = 3.0 * np.exp(-((x / 9) ** 2) - (((r - 122) / 10) ** 2))
    sinew = np.exp(-(((np.abs(x) - 26 + 0.3 * (r - 110)) / 8) ** 2)) * smoothstep(-r, -160, -130)
    mesh = np.stack(np.broadcast_arrays(x, r, depth + throat + 3 * sinew))
    # The chin and the jaw keep the light from the upper neck.
    shadow = 1 - 0.62 * smoothstep(-r, -142, -106) * np.clip(np.cos(a), 0, 1)
    skin = tint(person.skin * np.asarray([0.95, 0.9, 0.88], np.float32), x) * shadow
    return from_mesh(mesh, _dress(rng, skin, x, r + 0 * x), gloss=0.02)


def _dye(rng: np.random.Generator) -> Array:
    """The colour of a fabric, linear RGB [3]: rarely vivid."""
    return linear(*np.clip(rng.uniform(15, 225) + rng.normal(0, 30, 3), 5, 240))


def _dress(rng: np.random.Generator, skin: Array, x: Array, r: Array) -> Array:
    """Clothes over the skin of the torso."""
    side = np.abs(x)
    cloth = _dye(rng)
    kind = rng.choice(
        ["crew", "v", "shirt", "suit", "high", "stripes"], p=[0.30, 0.22, 0.2, 0.06, 0.12, 0.1]
    )
    neckline = {
        "crew": 152 - 0.12 * side, "stripes": 152 - 0.12 * side, "high": 122 + 0 * side,
        "v": 190 - 0.9 * side, "shirt": 168 - 0.75 * side, "suit": 150 - 0.45 * side,
    }[str(kind)]  # fmt: skip
    neckline = np.maximum(neckline, 126 + 0 * side)
    worn = smoothstep(r - neckline, -0.8, 0.8)
    folds = 1 + 0.10 * noise(rng, x.shape, (6, 9))
    colour = tint(cloth, x) * folds
    if kind == "stripes":
        other = _dye(rng)
        colour = mix(colour, tint(other, x) * folds, smoothstep(np.sin(r * 0.42), -0.2, 0.2))
    elif kind in ("shirt", "suit"):
        collar = smoothstep(neckline + 13 - r, -0.8, 0.8)
        colour = mix(colour, np.minimum(cloth * 1.35, 0.95), collar)
        colour = colour * (1 - 0.35 * np.exp(-(((r - neckline - 13) / 1.5) ** 2)))
    if kind == "suit":
        shirt = linear(*rng.uniform(170, 240, 3))
        lapel = smoothstep(0.55 * (r - 128) - side, -1, 1) * smoothstep(-r, -250, -240)
        colour = mix(mix(colour, cloth * 0.25, 1 - lapel), tint(shirt, x) * folds, lapel)
        colour = mix(
            colour,
            linear(*rng.uniform(10, 160, 3)),
            smoothstep(7 - side, -1, 1) * smoothstep(r, 156, 158),
        )
    edge = np.exp(-(((r - neckline - 2.5) / 2.0) ** 2))
    return mix(skin, colour * (1 - 0.25 * edge), worn)
