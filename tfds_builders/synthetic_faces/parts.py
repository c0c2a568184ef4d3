"""What surrounds the face: hair and hats, ears, glasses, neck, shoulders and clothes."""

import numpy as np

from .anatomy import Chart, dome
from .fields import Array, curve, linear, mix, noise, ridge, smoothstep, spaced, tint
from .people import Identity
from .surfels import area_vectors, from_mesh

# Row of the hairline at azimuths in degrees: forehead, temple, sideburn, around the ear, nape.
_ANGLES = (0, 25, 38, 50, 60, 68, 76, 84, 88, 104, 112, 125, 165)
_HAIRLINES = {
    "short": (-66, -66, -62, -50, -34, -8, 14, 18, -10, -12, 30, 62, 70),
    "long": (-68, -68, -64, -52, -36, -12, 2, 6, 6, 20, 40, 62, 70),
    "fringe": (-34, -34, -35, -36, -34, -10, 8, 14, 6, 12, 40, 62, 70),
    "beanie": (-50, -50, -50, -49, -46, -42, -38, -34, -32, -28, -22, -14, -8),
}
# Hairline, its softness and raggedness in mm; thickness at the side and more on top in mm.
HAIR = {
    "buzz": ("short", 5, 1.5, 2, 0), "short": ("short", 5, 1.5, 7, 10),
    "swept": ("short", 5, 1.5, 7, 18), "fringe": ("fringe", 3, 2.5, 10, 9),
    "curly": ("short", 3, 1.5, 22, 14), "bob": ("long", 3, 1.5, 11, 8),
    "long": ("long", 3, 1.5, 10, 8), "beanie": ("beanie", 0.8, 0, 8, 8),
}  # fmt: skip
# Depth of the parting; depth and number (rows, columns) of the locks; number of strands.
_COMBED = (0.35, 0.12, (5, 40), (7, 150))
_TEXTURE = {"curly": (0, 0.13, (26, 40), (36, 60)), "beanie": (0, 0, (1, 1), (1, 1))}
# Half the height, thickness (mm) and squareness of the frames.
_GLASSES = {"thin": (15, 1.6, 3.2), "round": (19, 2.2, 2.1), "thick": (17, 4.4, 3.4)}
# Row of the neckline in the middle, its slope to the sides, and how common the clothes are.
_CLOTHES = {
    "crew": (152, -0.12, 0.30), "v": (190, -0.9, 0.22), "shirt": (168, -0.75, 0.2),
    "suit": (150, -0.45, 0.06), "high": (122, 0, 0.12), "stripes": (152, -0.12, 0.1),
}  # fmt: skip
_body_width = curve(
    (24, 100, 120, 134, 150, 162, 176, 195, 230, 330),
    (48, 51, 53, 62, 100, 142, 175, 192, 200, 205),
)
_body_depth = curve((24, 110, 130, 150, 180, 230, 330), (58, 58, 62, 78, 100, 118, 125))


def hair(mesh: Chart, head: Array, person: Identity) -> tuple[Array, list[Array]]:
    """Draws the hair or hat over a head [3, R, C].

    Returns how much of each vertex lies under it, float32 [R, C], and its clouds.
    """
    if person.hair_style == "bald":
        return np.zeros(mesh.x.shape, np.float32), []
    shape, hat = mesh.x.shape, person.hair_style == "beanie"
    line, soft, ragged, thickness, top = HAIR[person.hair_style]
    parting, depth, locks, strands = _TEXTURE.get(person.hair_style, _COMBED)
    rng = np.random.default_rng([person.texture_seed, 1])
    degrees = np.degrees(np.abs(mesh.azimuth))
    edge = np.interp(degrees, _ANGLES, _HAIRLINES[line]).astype(np.float32) - mesh.row
    inwards = smoothstep(edge, -4, 22)
    receding = (0 if hat else person.hairline) * smoothstep(-degrees, -75, -25)
    edge += ragged * noise(rng, (1, shape[1]), (1, shape[1] // 3)) - receding
    covered = smoothstep(edge, -soft, soft).astype(np.float32)

    rng = np.random.default_rng([person.texture_seed, 2])
    relief = 1 - parting * ridge(mesh.azimuth, rng.uniform(-0.5, 0.5), 0.1)
    relief = relief + depth * noise(rng, shape, locks)
    volume = 1.0 if hat or person.hair_style == "buzz" else person.hair_volume
    height = inwards * volume * (thickness + top * smoothstep(-mesh.row, 45, 105)) * relief
    normals = area_vectors(head)
    normals /= np.maximum(np.sqrt((normals**2).sum(0)), np.float32(1e-6))
    # The rows at the very top are points: their normals are up.
    normals[:, :2] = np.float32([0, -1, 0]).reshape(3, 1, 1)
    if hat:
        ribs = 0.85 + 0.15 * np.cos(np.arange(shape[1]) * 1.3)
        colour, gloss = tint(linear(rng.uniform(15, 210, 3)), height) * ribs, 0.0
    else:
        fine, colour = _strands(rng, shape, strands, person.hair)
        gloss = 0.12 * np.clip(1 + fine, 0, 2)
    if person.hair_style == "buzz":
        colour = 0.75 * colour + 0.25 * tint(person.skin, height)
    colour = colour * (0.55 + 0.45 * inwards)
    outside = head + normals * np.maximum(height, 0)
    clouds = [from_mesh(outside, colour, opacity=covered, gloss=gloss)]
    if person.hair_style in ("long", "bob"):
        clouds.append(_curtain(rng, mesh, person))
    return covered, clouds


def _strands(
    rng: np.random.Generator, shape: tuple[int, int], cells: tuple[int, int], colour: Array
) -> tuple[Array, Array]:
    """Noise [R, C] of two sizes, and a colour [3, R, C] that follows it."""
    strands = noise(rng, shape, cells) * 0.6 + noise(rng, shape, (12, 60)) * 0.4
    return strands, tint(colour, strands) * np.clip(1 + 0.39 * strands, 0.25, 2)


def _curtain(rng: np.random.Generator, mesh: Chart, person: Identity) -> Array:
    """Hair that hangs from the sides of the head, seen from both sides."""
    step = float(np.diff(mesh.azimuth[0]).min()) * 78 * 1.25
    length = rng.uniform(85, 125) if person.hair_style == "bob" else rng.uniform(150, 220)
    front = np.radians(rng.uniform(56, 76))
    count = round((2 * np.pi - 2 * front) * 88 / step)
    # From the right to the left, so that columns run to the right as seen from behind.
    a = np.linspace(2 * np.pi - front, front, count, dtype=np.float32)[None]
    r = np.linspace(-60, length, round((length + 60) / step), dtype=np.float32)[:, None]
    locks = noise(rng, (len(r), count), (5, count // 5))
    out = (5 + 12 * person.hair_volume * smoothstep(r, -60, 10)) * (1 + 0.15 * locks)
    flow = rng.uniform(-0.12, 0.14) * np.clip(r - 40, 0, None)
    x = -(71 * (1 + 0.025 * person.shape["breadth"]) * dome(r) + out + flow) * np.sin(a)
    # The front edge comes forward over the temple and leans back towards the shoulders.
    z = (94 * dome(r) + out) * np.cos(a) - 4 - 0.10 * np.clip(r, 0, None)
    _, colour = _strands(rng, x.shape, (5, count // 2), person.hair)
    ends = smoothstep(8 * locks - r, 2 - length, 18 - length) * smoothstep(r, -60, -45)
    return from_mesh((x, r + 2.5 * locks, z), colour, opacity=ends, gloss=0.1, two_sided=True)


def ears(person: Identity, step: float) -> Array:
    """Makes both ears: tilted shells with a rim and a hollow."""
    size = 1 + 0.08 * person.shape["ear_size"]
    flare = np.radians(38 + 6 * person.shape["ear_flare"])
    rho = np.linspace(0.03, 1, max(8, round(26 / step)))[:, None]
    phi = np.linspace(0, 2 * np.pi, max(16, round(100 / step)), endpoint=False)
    along, up = rho * np.cos(phi), rho * np.sin(phi)
    reach = 16.5 * size * (1 + 0.22 * up) * along + 13.5 * size
    hollow = ridge(along, -0.25, 0.42) * ridge(up, -0.1, 0.42)
    relief = 3.2 * smoothstep(rho, 0.72, 0.94) * smoothstep(along + 0.5 * up, -0.9, 0.2)
    relief = relief - 6.0 * hollow - 2.5 * smoothstep(rho, 0.94, 1.0)
    tragus = ridge(along, -0.8, 0.22) * ridge(up, -0.1, 0.2)
    shade = 1 + 0.10 * relief - 0.35 * smoothstep(-relief, 1.0, 5.0) - 0.2 * tragus
    colour = tint(person.skin * np.float32([1.0, 0.86, 0.82]), shade) * np.clip(shade, 0.35, 1.05)
    out = np.sin(flare) * reach + np.cos(flare) * relief
    back = np.cos(flare) * reach - np.sin(flare) * relief
    x = 70.5 * (1 + 0.035 * person.shape["breadth"]) - 4.5 + out
    shells = ((side * x, 14 - 31 * size * up + 0.12 * reach, 12 - back) for side in (-1, 1))
    return np.hstack([from_mesh(shell, colour, gloss=0.05, two_sided=True) for shell in shells])


def glasses(person: Identity, eyes: Array, step: float) -> list[Array]:
    """Makes the frames in front of the eyes, whose centres [3, 2] are in mm."""
    if person.glasses == "none":
        return []
    half_height, thickness, squareness = _GLASSES[person.glasses]
    middle_x = float(eyes[0, 1] - eyes[0, 0]) / 2 + 1.5
    middle_y, front_z = float(eyes[1].mean()) + 2.5, float(eyes[2].mean()) + 13
    half_width = min(24.0, middle_x - 8.5)
    outer = middle_x + half_width
    t = np.linspace(0, 2 * np.pi, round(260 / step))
    cos, sin = (np.sign(v) * np.abs(v) ** (2 / squareness) for v in (np.cos(t), np.sin(t)))
    across = np.linspace(-0.5, 0.5, max(3, round(2.4 * thickness / step)))[:, None] * thickness
    back = np.linspace(0, 1, round(130 / step))
    x = np.linspace(-1, 1, round(40 / step)) * (middle_x - half_width)
    bridge = middle_y - 4 - 2.5 * (1 - (x / x.max()) ** 2)
    parts = [(x, bridge + across, front_z + 1)]
    for side in (-1.0, 1.0):
        x = middle_x + (half_width - across) * cos
        y = middle_y + (half_height - across) * sin
        parts.append((side * x, y, front_z - 0.0035 * x**2 * (x > middle_x)))
        x = outer + (72 - outer) * np.minimum(5 * back, 1)
        y = middle_y - 5 + 2.2 * across / thickness * max(thickness, 2.5)
        parts.append((side * x, y, front_z - 0.0035 * outer**2 - (front_z - 8) * back))
    return [from_mesh(part, person.frames, gloss=0.3, two_sided=True) for part in parts]


def torso(person: Identity, outfit: int, step: float) -> Array:
    """Makes neck and shoulders in one of the outfits, half as dense as the head."""
    rng = np.random.default_rng([person.texture_seed, 3, outfit])
    fine = np.linspace(26, 300, 1000)
    slope = np.gradient(_body_width(fine), fine)
    r = np.float32(spaced(fine, np.hypot(1, slope) / (2.1 * step)))[:, None]
    half = np.arange(0, 1.7, step / 75)
    a = np.concatenate([-half[:0:-1], half]).astype(np.float32)
    build = 0.05 * person.shape["jaw_width"] + 0.02 * person.shape["cheek_fat"]
    x = _body_width(r) * (1 + build * smoothstep(-r, -160, -110)) * np.sin(a)
    z = _body_depth(r) * np.cos(a) - 22 + 3 * ridge(x, 0, 9) * ridge(r, 122, 10)
    z += 3 * ridge(np.abs(x), 26 - 0.3 * (r - 110), 8) * smoothstep(-r, -160, -130)
    # The chin and the jaw keep the light from the upper neck.
    shadow = 1 - 0.62 * smoothstep(-r, -142, -106) * np.clip(np.cos(a), 0, 1)
    skin = tint(person.skin * np.float32([0.95, 0.9, 0.88]), x) * shadow
    return from_mesh((x, r, z), _dress(rng, skin, x, r), gloss=0.02)


def _dress(rng: np.random.Generator, skin: Array, x: Array, r: Array) -> Array:
    """Clothes over the skin [3, R, C] of the torso."""

    def dye() -> Array:
        """The colour of a fabric: rarely vivid."""
        return linear(np.clip(rng.uniform(15, 225) + rng.normal(0, 30, 3), 5, 240))

    cloth, side = dye(), np.abs(x)
    kind = str(rng.choice(list(_CLOTHES), p=[share for *_, share in _CLOTHES.values()]))
    row, slope, _ = _CLOTHES[kind]
    neckline = np.maximum(row + slope * side, 126)
    folds = 1 + 0.10 * noise(rng, x.shape, (6, 9))
    colour = tint(cloth, x) * folds
    if kind == "stripes":
        colour = mix(colour, tint(dye(), x) * folds, smoothstep(np.sin(r * 0.42), -0.2, 0.2))
    elif kind in ("shirt", "suit"):
        collar = smoothstep(neckline + 13 - r, -0.8, 0.8)
        colour = mix(colour, np.minimum(cloth * 1.35, 0.95), collar)
        colour = colour * (1 - 0.35 * ridge(r, neckline + 13, 1.5))
    if kind == "suit":
        shirt = tint(linear(rng.uniform(170, 240, 3)), x) * folds
        lapel = smoothstep(0.55 * (r - 128) - side, -1, 1) * smoothstep(-r, -250, -240)
        colour = mix(mix(colour, cloth * 0.25, 1 - lapel), shirt, lapel)
        tie = smoothstep(7 - side, -1, 1) * smoothstep(r, 156, 158)
        colour = mix(colour, linear(rng.uniform(10, 160, 3)), tie)
    edge = 1 - 0.25 * ridge(r, neckline + 2.5, 2.0)
    return mix(skin, colour * edge, smoothstep(r - neckline, -0.8, 0.8))
