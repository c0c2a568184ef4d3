"""Drawing shots: how people hold their heads, what they do with their faces, where light is."""

import math

import numpy as np

from tfds_builders.synthetic_faces.expression import Expression
from tfds_builders.synthetic_faces.head import OUTFITS
from tfds_builders.synthetic_faces.scene import Light, Shot


def sample_shot(rng: np.random.Generator) -> Shot:
    """One picture's pose, expression, gaze and light."""
    yaw = rng.normal(0, 16) if rng.random() < 0.75 else rng.uniform(-65, 65)
    return Shot(
        yaw=float(np.clip(yaw, -70, 70)),
        pitch=float(np.clip(rng.normal(2, 8), -22, 26)),
        roll=float(np.clip(rng.normal(0, 7), -25, 25)),
        distance=float(math.exp(rng.uniform(math.log(550), math.log(2500)))),
        expression=_expression(rng),
        gaze=(float(rng.normal(0, 1.2)), float(rng.normal(0, 0.5))),
        light=_light(rng),
        outfit=int(rng.integers(OUTFITS)),
        seed=int(rng.integers(2**31)),
    )


def _expression(rng: np.random.Generator) -> Expression:
    kind = rng.random()
    jaw = 0.0 if kind < 0.55 else rng.uniform(0.08, 0.35) if kind < 0.85 else rng.uniform(0.35, 1)
    blink = rng.normal(0.02, 0.12) if rng.random() < 0.93 else rng.uniform(0.6, 1)
    return Expression(
        jaw=float(jaw),
        smile=float(np.clip(rng.normal(0.2, 0.4), -0.4, 1)),
        pucker=float(rng.uniform(0, 0.7) * (rng.random() < 0.12)),
        brow_raise=float(np.clip(rng.normal(0, 0.35), -0.4, 1)),
        frown=float(max(0.0, rng.normal(-0.1, 0.4))),
        blink=float(np.clip(blink, -0.25, 1)),
        wink=float(rng.uniform(0.5, 1) * (rng.random() < 0.02)),
    )


def _light(rng: np.random.Generator) -> Light:
    around, height = math.radians(rng.normal(0, 42)), math.radians(rng.uniform(-5, 60))
    direction = np.asarray(
        [
            math.sin(around) * math.cos(height),
            -math.sin(height),
            math.cos(around) * math.cos(height),
        ]
    )
    warm = rng.normal(0, 0.07)
    tint = np.asarray([1 + warm, 1.0, 1 - warm])
    key = rng.uniform(0.35, 1.05)
    above = rng.uniform(0.35, 0.75)
    below = above * rng.uniform(0.35, 0.8)
    cool = np.asarray([1 - 0.6 * warm, 1.0, 1 + 0.6 * warm])
    return Light(direction, key * tint, above * cool, below * tint)
