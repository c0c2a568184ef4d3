"""Who a drawn person is, the same in all their pictures, and what differs in each shot."""

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from .anatomy import SHAPE
from .fields import Array, linear

_SKINS = ("#f7d6c4", "#ecc4ac", "#e0b294", "#cd9c7a", "#b07d5b", "#885b40", "#65422f", "#472e23")
_IRISES = ("#4a2e1c", "#604024", "#705c34", "#5c7054", "#607c96", "#78848a")
# How common kinds are: hair of the old, of the dark and of others; styles of her and of him.
_OLD_HAIR, _DARK_HAIR = {"#94928e": 2, "#d6d4d0": 1}, {"#181413": 3, "#30221b": 1}
_OTHER_HAIR = {
    "#181413": 2, "#30221b": 3, "#583b28": 3, "#76462c": 2, "#c49e68": 2, "#dec496": 1,
    "#9e502a": 0.7,
}  # fmt: skip
_HER_STYLES = {"long": 5, "bob": 3, "fringe": 2, "curly": 1.2, "swept": 1.2, "beanie": 0.5}
_HIS_STYLES = {
    "short": 4, "swept": 3, "buzz": 1.5, "bald": 0.5, "curly": 1, "fringe": 1, "long": 0.4,
    "beanie": 0.6,
}  # fmt: skip
_BEARDS = {"none": 5, "stubble": 2.5, "moustache": 0.7, "goatee": 0.9, "full": 1}
_GLASSES = {"none": 0.78, "thin": 0.08, "round": 0.06, "thick": 0.08}
# By how much a man's head differs from the mean; a woman's by -1.4 times as much.
_MALE = {
    "jaw_width": 0.5, "jaw_square": 0.5, "jaw_length": 0.3, "chin_size": 0.3, "brow_ridge": 0.8,
    "brow_height": -0.4, "nose_width": 0.25, "nose_length": 0.25, "upper_lip": -0.3,
    "lower_lip": -0.3, "eye_size": -0.3, "ear_size": 0.3,
}  # fmt: skip
OUTFITS = 2
"""How many sets of clothes a person has."""


@dataclass(frozen=True)
class Identity:
    """A person.

    Attributes:
      shape: the coefficients `SHAPE` of the head, by name.
      skin, lips, iris, hair, brows, frames: linear RGB, float32 [3].
      age: 0 (young) to 1 (old): lines, shadows under the eyes. blush, freckles: 0 to 1.
      hair_style: bald, or one of `parts.HAIR`; beard, glasses: "none" or a kind.
      hairline: mm by which the front hairline recedes.
      hair_volume, brow_thickness: factors. lashes: 0 to 1.
      texture_seed: seeds the noise of skin, hair and clothes.
    """

    shape: Mapping[str, float]
    skin: Array
    lips: Array
    iris: Array
    hair: Array
    brows: Array
    frames: Array
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


@dataclass(frozen=True)
class Shot:
    """One picture of a person: everything but who it is.

    Attributes:
      yaw, pitch, roll: degrees; positive yaw turns the face to the viewer's right, positive pitch
        downwards, positive roll clockwise as seen.
      distance: mm from the camera to the middle of the head.
      expression: coefficients by name, missing ones 0. jaw (opens the mouth), pucker and frown go
        from 0 to 1, smile and brow_raise from -0.5 to 1, blink from -0.3 (wide open) to 1 (closed);
        wink is added to blink in the viewer's left eye.
      gaze: [2] mm by which the irises are off their middle.
      light: [4, 3]: the unit vector towards the key light (y down, z towards the camera); linear
        RGB of the key light, and of the ambient light from the sky and from the ground.
      outfit: which of the person's clothes, below `OUTFITS`.
      seed: seeds the background.
    """

    yaw: float
    pitch: float
    roll: float
    distance: float
    expression: Mapping[str, float]
    gaze: Array
    light: Array
    outfit: int
    seed: int


def sample_identity(rng: np.random.Generator) -> Identity:
    """Draws a person."""
    female = rng.random() < 0.5
    age, tone = rng.beta(1.6, 2.2), rng.beta(1.1, 1.6)
    tones = np.stack([linear(skin) for skin in _SKINS], axis=1)
    skin = [np.interp(tone, np.linspace(0, 1, len(_SKINS)), channel) for channel in tones]
    skin = np.float32(skin * rng.uniform((0.95, 0.92, 0.88), (1.05, 1.06, 1.08)))
    is_grey = rng.random() < 1.3 * (age - 0.45)
    hues = _OLD_HAIR if is_grey else _DARK_HAIR if tone > 0.45 else _OTHER_HAIR
    hair = linear(_choose(rng, hues)) * np.float32(rng.uniform(0.8, 1.2))
    style = _choose(rng, _HER_STYLES if female else _HIS_STYLES | {"bald": 0.5 + 1.5 * age})
    lips = skin * np.float32([0.82, 0.50, 0.50]) + linear("#1e040a")
    if female and rng.random() < 0.4:
        lips = 0.45 * lips + 0.55 * linear(rng.uniform((130, 20, 40), (205, 80, 95)))
    iris = _IRISES[0 if tone > 0.5 else rng.integers(len(_IRISES))]
    return Identity(
        shape=_shape(rng, female, age),
        skin=skin,
        lips=lips,
        iris=linear(iris) * np.float32(rng.uniform(0.7, 1.3)),
        hair=hair,
        brows=np.float32(0.55 * np.minimum(hair, linear("#785c42")) + 0.1 * skin * (1 - tone)),
        frames=linear(rng.uniform(*((10, 60) if rng.random() < 0.7 else (60, 170)), 3)),
        age=age,
        blush=rng.uniform(0, 1) * (1 - 0.6 * tone),
        freckles=max(0.0, rng.normal(-0.5, 0.6)) * (tone < 0.4),
        hair_style=style,
        hairline=rng.normal(0, 4) + (0 if female else 10 * age * rng.random()),
        hair_volume=rng.uniform(0.7, 1.4),
        beard="none" if female else _choose(rng, _BEARDS | {"full": 1 + age}),
        glasses=_choose(rng, _GLASSES),
        brow_thickness=rng.uniform(*((0.65, 1.0) if female else (0.9, 1.45))),
        lashes=rng.uniform(*((0.5, 1.0) if female else (0.1, 0.5))),
        texture_seed=int(rng.integers(2**31)),
    )


def _choose(rng: np.random.Generator, weights: Mapping[str, float]) -> str:
    shares = np.asarray(list(weights.values()), float)
    return list(weights)[rng.choice(len(shares), p=shares / shares.sum())]


def _shape(rng: np.random.Generator, female: bool, age: float) -> dict[str, float]:
    values = np.clip(rng.standard_normal(len(SHAPE)), -2.2, 2.2).tolist()
    shape = dict(zip(SHAPE, values, strict=True))
    for name, shift in _MALE.items():
        shape[name] += -1.4 * shift if female else shift
    shape["ear_size"] += age
    shape["upper_lip"] -= age
    return shape


def sample_shot(rng: np.random.Generator) -> Shot:
    """Draws one picture's pose, expression, gaze, light, clothes and background."""
    yaw = rng.normal(0, 16) if rng.random() < 0.75 else rng.uniform(-65, 65)
    return Shot(
        yaw=np.clip(yaw, -70, 70),
        pitch=np.clip(rng.normal(2, 8), -22, 26),
        roll=np.clip(rng.normal(0, 7), -25, 25),
        distance=math.exp(rng.uniform(math.log(550), math.log(2500))),
        expression=_expression(rng),
        gaze=np.float32([rng.normal(0, 1.2), rng.normal(0, 0.5)]),
        light=_light(rng),
        outfit=int(rng.integers(OUTFITS)),
        seed=int(rng.integers(2**31)),
    )


def _expression(rng: np.random.Generator) -> dict[str, float]:
    kind = rng.random()
    jaw = 0.0 if kind < 0.55 else rng.uniform(*((0.08, 0.35) if kind < 0.85 else (0.35, 1)))
    blink = rng.normal(0.02, 0.12) if rng.random() < 0.93 else rng.uniform(0.6, 1)
    return {
        "jaw": jaw,
        "smile": np.clip(rng.normal(0.2, 0.4), -0.4, 1),
        "pucker": rng.uniform(0, 0.7) * (rng.random() < 0.12),
        "brow_raise": np.clip(rng.normal(0, 0.35), -0.4, 1),
        "frown": max(0.0, rng.normal(-0.1, 0.4)),
        "blink": np.clip(blink, -0.25, 1),
        "wink": rng.uniform(0.5, 1) * (rng.random() < 0.02),
    }


def _light(rng: np.random.Generator) -> Array:
    around, height = math.radians(rng.normal(0, 42)), math.radians(rng.uniform(-5, 60))
    level = math.cos(height)
    toward = [math.sin(around) * level, -math.sin(height), math.cos(around) * level]
    warm = rng.normal(0, 0.07) * np.asarray([1, 0, -1])
    key, sky = rng.uniform(0.35, 1.05), rng.uniform(0.35, 0.75)
    ground = sky * rng.uniform(0.35, 0.8)
    return np.stack([toward, key * (1 + warm), sky * (1 - 0.6 * warm), ground * (1 + warm)])
