"""Named streams of random numbers."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np

from lrjax.rng import per_example, stream


def bits(keys: jax.Array) -> list[tuple[int, ...]]:
    """Keys as comparable values."""
    return [tuple(row) for row in np.atleast_2d(jax.random.key_data(keys)).tolist()]


def test_streams_differ_by_key_name_and_step() -> None:
    streams = [
        stream(jax.random.key(seed), name, step)
        for seed in (0, 1)
        for name in ("view", "flip")
        for step in (0, 1)
    ]
    assert len({bits(key)[0] for key in streams}) == 8
    assert bits(stream(jax.random.key(0), "view", jnp.int32(1))) == bits(
        stream(jax.random.key(0), "view", 1)
    )


def test_an_example_draws_by_its_index_in_the_global_batch() -> None:
    key = stream(jax.random.key(0), "view", 3)
    whole = bits(per_example(key, jnp.arange(8)))
    assert len(set(whole)) == 8
    parts = [bits(per_example(key, jnp.arange(4) + 4 * lane)) for lane in range(2)]
    assert whole == parts[0] + parts[1]
