"""Named random streams.

Keys are derived, never threaded: a stream is (root key, name, step), an example's key is that
stream folded with the example's place in the *global* batch. So one device and eight draw the same
numbers, and a resumed run draws what the uninterrupted one would have drawn.
"""

from __future__ import annotations

import zlib

import jax


def stream(key: jax.Array, name: str, step: jax.Array | int = 0) -> jax.Array:
    """The key of the stream `name` at `step`."""
    return jax.random.fold_in(jax.random.fold_in(key, zlib.crc32(name.encode())), step)


def per_example(key: jax.Array, index: jax.Array) -> jax.Array:
    """One key for each place [B] in the global batch."""
    return jax.vmap(lambda place: jax.random.fold_in(key, place))(index)
