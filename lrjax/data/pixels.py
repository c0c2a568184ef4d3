"""Pixels in 0..255 and the networks' [-1, 1]: the one place where they are converted."""

from __future__ import annotations

import jax
import jax.numpy as jnp


def to_unit(images: jax.Array) -> jax.Array:
    """Map 0..255, of any type, to float32 in [-1, 1]."""
    return images / 127.5 - 1.0


def to_bytes(images: jax.Array) -> jax.Array:
    """Map [-1, 1], and what is beyond, to uint8."""
    return jnp.clip(jnp.round((images + 1.0) * 127.5), 0, 255).astype(jnp.uint8)
