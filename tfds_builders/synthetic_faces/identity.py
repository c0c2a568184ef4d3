"""Who a synthetic person is: sampled once per identity, the same in all their images."""

from dataclasses import dataclass, fields

import numpy as np

from tfds_builders.synthetic_faces.anatomy import Shape
from tfds_builders.synthetic_faces.texture import linear

_SKINS = np.stack(
    [
        linear(*tone)
        for tone in (
            (247, 214, 196),
            (236, 196, 172),
            (224, 178, 148),
            (205, 156, 122),
            (176, 125, 91),
            (136, 91, 64),
            (101, 66, 47),
            (71, 46, 35),
        )
    ]
)
_HAIR_COLOURS = {
    "black": (24, 20, 19),
    "dark": (48, 34, 27),
    "brown": (88, 59, 40),
    "chestnut": (118, 70, 44),
    "blond": (196, 158, 104),
    "light": (222, 196, 150),
    "red": (158, 80, 42),
    "grey": (148, 146, 142),
    "white": (214, 212, 208),
}
_IRISES = (
    (74, 46, 28),
    (96, 64, 36),
    (112, 92, 52),
    (92, 112, 84),
    (96, 124, 150),
    (120, 132, 138),
)
HAIR_STYLES = ("bald", "buzz", "short", "swept", "fringe", "curly", "bob", "long", "beanie")
BEARDS = ("none", "stubble", "moustache", "goatee", "full")
GLASSES = ("none", "thin", "round", "thick")


@dataclass(frozen=True)
class Identity:
    """A person.

    Attributes:
      shape: the head's shape.
      skin: linear RGB [3] of the skin; `lips` and `iris` likewise, `hair` and `brows` too.
      skin_tone: 0 (lightest) to 1 (darkest).
      age: 0 (young) to 1 (old): lines, shadows under the eyes.
      blush, freckles: 0 to 1.
      hair_style, beard, glasses: one of `HAIR_STYLES`, `BEARDS`, `GLASSES`.
      hairline: mm by which the front hairline recedes.
      hair_volume: factor on the thickness of the hair.
      brow_thickness: factor. lashes: 0 to 1.
      texture_seed: seeds the noise of skin and hair.
    """

    shape: Shape
    skin: np.ndarray
    skin_tone: float
    lips: np.ndarray
    iris: np.ndarray
    hair: np.ndarray
    brows: np.ndarray
    frames: np.ndarray
    age: float
    blush: float
    freckles: float
    hair_style: str
    hairline: float
    hair_volume: float
    beard: str
    glasses: str
    brow_thickness: float
    lashes: float
    texture_seed: int


def _choose(rng: np.random.Generator, weights: dict[str, float]) -> str:
    shares = np.asarray(list(weights.values()), float)
    return list(weights)[int(rng.choice(len(shares), p=shares / shares.sum()))]


def sample_identity(rng: np.random.Generator) -> Identity:
    """Draws a person."""
    female = rng.random() < 0.5
    age = float(rng.beta(1.6, 2.2))
    tone = float(rng.beta(1.1, 1.6))
    skin = _skin(rng, tone)
    colour = _hair_colour(rng, tone, age)
    hair = linear(*_HAIR_COLOURS[colour]) * float(rng.uniform(0.8, 1.2))
    style = _hair_style(rng, female, age)
    lips = skin * np.asarray([0.82, 0.50, 0.50], np.float32) + linear(30, 4, 10)
    if female and rng.random() < 0.4:
        lips = 0.45 * lips + 0.55 * linear(*rng.uniform((130, 20, 40), (205, 80, 95)))
    iris = 0 if tone > 0.5 else int(rng.integers(len(_IRISES)))
    dark = np.minimum(hair, linear(120, 92, 66))
    return Identity(
        shape=_shape(rng, female, age),
        skin=skin,
        skin_tone=tone,
        lips=lips.astype(np.float32),
        iris=linear(*_IRISES[iris]) * float(rng.uniform(0.7, 1.3)),
        hair=hair.astype(np.float32),
        brows=(0.55 * dark + 0.1 * skin * (1 - tone)).astype(np.float32),
        frames=linear(*(rng.uniform(10, 60, 3) if rng.random() < 0.7 else rng.uniform(60, 170, 3))),
        age=age,
        blush=float(rng.uniform(0, 1)),
        freckles=float(max(0, rng.normal(-0.5, 0.6))) * (tone < 0.4),
        hair_style=style,
        hairline=float(rng.normal(0, 4) + (0 if female else 10 * age * rng.random())),
        hair_volume=float(rng.uniform(0.7, 1.4)),
        beard="none" if female else _beard(rng, age),
        glasses=_choose(rng, dict(zip(GLASSES, (0.78, 0.08, 0.06, 0.08), strict=True))),
        brow_thickness=float(rng.uniform(0.65, 1.0) if female else rng.uniform(0.9, 1.45)),
        lashes=float(rng.uniform(0.5, 1.0) if female else rng.uniform(0.1, 0.5)),
        texture_seed=int(rng.integers(2**31)),
    )


def _shape(rng: np.random.Generator, female: bool, age: float) -> Shape:
    values = np.clip(rng.standard_normal(len(fields(Shape))), -2.2, 2.2)
    drawn = dict(zip((field.name for field in fields(Shape)), values, strict=True))
    side = -0.7 if female else 0.5
    for name, shift in (
        ("jaw_width", 1.0), ("jaw_square", 1.0), ("jaw_length", 0.6), ("chin_size", 0.6),
        ("brow_ridge", 1.6), ("brow_height", -0.8), ("nose_width", 0.5), ("nose_length", 0.5),
        ("upper_lip", -0.6), ("lower_lip", -0.6), ("eye_size", -0.6), ("ear_size", 0.6),
    ):  # fmt: skip
        drawn[name] += side * shift
    drawn["ear_size"] += age
    drawn["upper_lip"] -= age
    return Shape(**{name: float(value) for name, value in drawn.items()})


def _skin(rng: np.random.Generator, tone: float) -> np.ndarray:
    place = tone * (len(_SKINS) - 1)
    low = min(int(place), len(_SKINS) - 2)
    skin = _SKINS[low] + (_SKINS[low + 1] - _SKINS[low]) * (place - low)
    return (skin * rng.uniform((0.95, 0.92, 0.88), (1.05, 1.06, 1.08))).astype(np.float32)


def _hair_colour(rng: np.random.Generator, tone: float, age: float) -> str:
    if rng.random() < 1.3 * (age - 0.45):
        return _choose(rng, {"grey": 2, "white": 1})
    if tone > 0.45:
        return _choose(rng, {"black": 3, "dark": 1})
    return _choose(
        rng, {"black": 2, "dark": 3, "brown": 3, "chestnut": 2, "blond": 2, "light": 1, "red": 0.7}
    )


def _hair_style(rng: np.random.Generator, female: bool, age: float) -> str:
    if female:
        return _choose(
            rng, {"long": 5, "bob": 3, "fringe": 2, "curly": 1.2, "swept": 1.2, "beanie": 0.5}
        )
    return _choose(
        rng,
        {"short": 4, "swept": 3, "buzz": 1.5, "bald": 0.5 + 1.5 * age, "curly": 1, "fringe": 1,
         "long": 0.4, "beanie": 0.6},
    )  # fmt: skip


def _beard(rng: np.random.Generator, age: float) -> str:
    return _choose(
        rng, {"none": 5, "stubble": 2.5, "moustache": 0.7, "goatee": 0.9, "full": 1 + age}
    )
