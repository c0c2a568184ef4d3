"""Small things to recognise: a network of a second, people of noise, an aligner without eyes."""

from __future__ import annotations

import dataclasses
import io
from pathlib import Path
from typing import Any

import flax.linen as nn
import jax
import numpy as np
import tiny
from PIL import Image

from lrjax.config import AlignmentConfig, GroupConfig, OptimizerConfig
from lrjax.data.examples import Examples
from lrjax.data.identities import Identities
from lrjax.geometry.templates import TEMPLATES, Template, scaled
from lrjax.inference.aligner import Frames
from lrjax.models.encoders import EncoderConfig
from lrjax.models.registry import Network, register
from lrjax.tasks.recognition import RecognitionConfig

SIDE = 16


class Small(nn.Module):
    """A face encoder with a part of everything: convolution, BatchNorm, dropout, a linear layer."""

    width: float = 1.0
    dropout: float = 0.0
    axis_name: str | None = None

    @nn.compact
    def __call__(self, images: jax.Array, train: bool) -> jax.Array:
        """[B, 16, 16, 3] -> [B, 5]."""
        x = nn.Conv(round(4 * self.width), (4, 4), (4, 4), use_bias=False, name="first")(images)
        x = nn.BatchNorm(
            use_running_average=not train, momentum=0.5, axis_name=self.axis_name, name="norm"
        )(x)
        x = nn.Dropout(self.dropout, deterministic=not train)(nn.relu(x))
        return nn.Dense(5, name="last")(x.reshape(len(x), -1))


def _small(config: EncoderConfig, axis_name: str | None) -> Network:
    module = Small(config.width, config.dropout or 0.0, axis_name)
    return Network(config, "encoder", module, ((SIDE, SIDE, 3),), "small", 5)


def use_small() -> None:
    """Let "small" be a network, and its faces have a template, until this process ends."""
    register("small", EncoderConfig, _small)
    TEMPLATES["small"] = scaled(TEMPLATES["arcface112"], SIDE, "small")


# Not Adam, which would hide gradients that are wrong by a factor.
DESCENT = OptimizerConfig(
    method="sgd",
    learning_rate=0.05,
    weight_decay=0.01,
    drops=(),
    groups=(GroupConfig(r"^classifier\.", rate=3.0), GroupConfig(r"bias$", rate=2.0, decay=0.0)),
)


def config(**changes: Any) -> RecognitionConfig:
    """The small network on small faces, shifted by up to a pixel."""
    defaults = RecognitionConfig(
        labelled=("people:train",),
        holdout=0.2,
        network=EncoderConfig("small", dropout=0.3),
        alignment=AlignmentConfig("resize"),
        shift=1 / SIDE,
        focal=2.0,
        scale=8.0,
        optimizer=DESCENT,
        train=tiny.train_config(batch_size=8, parallel="mesh"),
    )
    return dataclasses.replace(defaults, **changes)


def examples(config: RecognitionConfig, count: int = 24, seed: int = 0) -> Examples:
    """Frames of noise, darker or brighter by whose they are; a teacher knows features instead."""
    template, edge = config.template, 2 * config.border
    rng = np.random.default_rng(seed)
    label = np.arange(count, dtype=np.int32) % (config.classes or 6)
    noise = rng.integers(0, 128, (count, template.height + edge, template.width + edge, 3))
    bright = 127 * label[:, None, None, None] // max(label.max(), 1)
    known: dict[str, np.ndarray] = {"label": label}
    if config.teacher is not None:
        known = {"teacher": rng.normal(size=(count, config.classes)).astype(np.float32)}
    images = (noise + bright).astype(np.uint8)
    return Examples({"images": images} | known, f"noise-{seed}")


def encoded(seed: int, width: int, height: int) -> bytes:
    """A PNG of noise."""
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()


def portraits(label: list[int], points: bool = False) -> Identities:
    """Pictures of noise of whom `label` says, in different sizes."""
    rng = np.random.default_rng(7)
    sizes = [(int(w), int(h)) for w, h in rng.integers(12, 40, (len(label), 2))]
    face = TEMPLATES["arcface112"].points / 112
    where = np.stack([face * size + rng.normal(size=(5, 2)) * 0.3 for size in sizes])
    return Identities(
        images=[encoded(i, *size) for i, size in enumerate(sizes)],
        label=np.array(label, np.int32),
        names=tuple(f"{i:03d}.png" for i in range(len(label))),
        fingerprint="-".join(map(str, label)),
        points=where.astype(np.float32) if points else None,
        visible=np.ones(where.shape[:2], bool) if points else None,
    )


class Darkened:
    """An aligner that looks at nothing: frames of noise, darker or brighter by whose they are."""

    def __init__(self, alignment: AlignmentConfig, template: Template, border: int) -> None:
        self.identity = f"noise of {alignment.landmarks}"
        self._shape = (template.height + 2 * border, template.width + 2 * border)

    @classmethod
    def load(
        cls, alignment: AlignmentConfig, template: Template, *, border: int, which: str | None
    ) -> Darkened:
        return cls(alignment, template, border)

    def frames(self, identities: Identities, *, streamed: bool, cache: Path | None) -> Frames:
        label = identities.label[:, None, None, None]
        rng = np.random.default_rng(1)
        noise = rng.integers(0, 64, (len(identities), *self._shape, 3))
        images = (noise + 191 * label // label.max()).astype(np.uint8)
        return Frames(images, "3 of 4 faces aligned")


def prepared(monkeypatch: Any, found: Identities) -> None:
    """Let these be the pictures of every dataset, and nothing align them."""
    monkeypatch.setattr("lrjax.tasks.data.load_identities", lambda spec, data_dir: found)
    monkeypatch.setattr("lrjax.tasks.data.Aligner", Darkened)
