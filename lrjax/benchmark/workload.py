"""What is measured, made in memory: random faces, and a first stage with random weights.

A step takes as long on noise as on faces, so that a measurement needs no data.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import jax
import numpy as np

from lrjax.config import to_dict
from lrjax.data import sources
from lrjax.geometry.points import SCHEMES
from lrjax.tasks import degradation
from lrjax.tasks.landmarks import LandmarksConfig
from lrjax.training.weights import save_variables, write_json


def random_faces(config: LandmarksConfig, count: int) -> dict[str, dict[str, np.ndarray]]:
    """`count` faces for each part of the batch, as `faces.examples` gives them."""
    random = np.random.default_rng(0)
    points = SCHEMES[config.scheme].count

    def faces(view: int) -> dict[str, np.ndarray]:
        frame = round(view * sources.FRAME)
        margin = (frame - view) / 2
        where = random.uniform(margin, margin + view - 1, (count, points, 2))
        return {
            "images": random.integers(0, 256, (count, frame, frame, 3), dtype=np.uint8),
            "points": where.astype(np.float32),
            "visible": np.ones((count, points), bool),
        }

    parts = {"labelled": faces(config.image_size)}
    if config.needs_real:
        parts["real"] = faces(config.size)
    return parts


def untrained_degradation(config: degradation.DegradationConfig, folder: Path) -> None:
    """Make `folder` a run folder of G1 as it is before training, for `stage1`."""
    state: Any = jax.jit(degradation.make(config, 1).init)(jax.random.key(0))
    write_json(folder / "config.json", {"task": "degradation", **to_dict(config)})
    save_variables(folder / "last" / "g1.safetensors", state.nets["g1"].evaluation_variables, {})
