"""Named random streams.

Keys are derived, never threaded: a stream is (root key, name, step), an example's key is that
stream folded with the example's index in the *global* batch. So one device and eight draw the same
numbers, and a resumed run draws what the uninterrupted one would have drawn.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp


def stream(key: jax.Array, name: str, step: jax.Array | int = 0) -> jax.Array:
    """Derives the key of the stream `name` at `step`."""
    return jax.random.fold_in(jax.random.fold_in(key, zlib.crc32(name.encode())), step)


def per_example(key: jax.Array, example_index: jax.Array) -> jax.Array:
    """Derives one key for each index [B] in the global batch."""
    return jax.vmap(lambda index: jax.random.fold_in(key, index))(example_index)


def drop_by_example(
    keys: jax.Array,
    call: Callable[..., Any],
    args: tuple,
    kwargs: dict[str, Any],
    context: nn.module.InterceptorContext,
) -> Any:
    """Applies dropout with one of `keys` [B] for each example, for `flax.linen.intercept_methods`.

    Flax's own draws one mask for a device's whole part of the batch, and so another one on another
    number of devices.
    """
    layer = context.module
    if not isinstance(layer, nn.Dropout) or layer.deterministic or not layer.rate:
        return call(*args, **kwargs)
    (x,) = args
    keys = jax.vmap(lambda key: stream(key, "/".join(layer.path)))(keys)
    kept = jax.vmap(lambda key: jax.random.bernoulli(key, 1 - layer.rate, x.shape[1:]))(keys)
    return jnp.where(kept, x / (1 - layer.rate), 0.0)
