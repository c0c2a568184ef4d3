"""Which examples a step sees: a pure function of (key, step, shard), on the device or on the host.

No iterator has a state, so resuming needs none: step 7 draws the same examples after a restart, on
one device or eight, from arrays on the device or streamed from the host.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from lrjax.data.examples import Arrays, gather, read_ahead, size_of
from lrjax.errors import InputError
from lrjax.rng import stream


@partial(jax.jit, static_argnums=(2, 3))
def draw(key: jax.Array, step: jax.Array, size: int, batch: int) -> jax.Array:
    """Draws the examples int32 [batch] of `step`: every epoch is a fresh permutation of `size`.

    Position p = step·batch + i of the endless sequence belongs to epoch p // size; a batch may
    straddle epochs, and may be larger than the data.
    """
    # Not step * batch: after 2^31 examples that would be no int32 any more.
    rounds, rest = jnp.divmod(step, size)
    first = rounds * batch + rest * batch // size
    epochs = batch // size + 2
    orders = jax.vmap(lambda e: jax.random.permutation(jax.random.fold_in(key, e), size))(
        first + jnp.arange(epochs)
    )
    position = rest * batch % size + jnp.arange(batch)
    return orders.reshape(-1)[position].astype(jnp.int32)


def order_key(key: jax.Array, name: str) -> jax.Array:
    """Derives the key of the order in which the source `name` is visited."""
    return stream(key, f"order/{name}")


class Pairs(NamedTuple):
    """Says where the pictures of each example's person are: int32 [size] each.

    Attributes:
      order: the examples, sorted by person.
      rank: where in `order` each example is.
      start: where in `order` the pictures of each example's person begin.
      count: how many they are.
    """

    order: Any
    rank: Any
    start: Any
    count: Any


PAIRS = "pairs"
"""The name under which arrays that are drawn in pairs hold their `Pairs`."""


def with_pairs(arrays: Arrays, name: str) -> Arrays:
    """Prepares `arrays` of the source `name` to be drawn in pairs, by their `label` int [n].

    Raises:
      InputError: they show fewer than two people, or some of them nobody known (a label below 0).
    """
    if "label" not in arrays:
        raise InputError(f"The source {name!r} has no labels, and so cannot be drawn in pairs.")
    label = np.asarray(arrays["label"])
    if label.min() < 0 or label.min() == label.max():
        raise InputError(
            f"The source {name!r} is drawn in pairs of one person and of two; name a dataset of at "
            "least two people, without pictures of nobody known (distractors)."
        )
    order, counts = np.argsort(label, kind="stable"), np.bincount(label)
    rank = np.empty_like(order)
    rank[order] = np.arange(len(order))
    pairs = Pairs(order, rank, (np.cumsum(counts) - counts)[label], counts[label])
    return {**arrays, PAIRS: Pairs(*(table.astype(np.int32) for table in pairs))}


@jax.jit
def draw_partners(key: jax.Array, first: jax.Array, pairs: Pairs) -> jax.Array:
    """Draws another example for each of `first` int32 [n].

    Even odds decide whether it is another picture of the same person, if there is one, or one of
    somebody else; all pictures of either kind are equally likely.
    """
    coin, same, other = jax.random.split(key, 3)
    rank, start, count = pairs.rank[first], pairs.start[first], pairs.count[first]
    step = jax.random.randint(same, first.shape, 1, jnp.maximum(count, 2))
    mate = start + (rank - start + step) % count
    # Everybody's pictures but the person's, which lie together.
    stranger = jax.random.randint(other, first.shape, 0, pairs.order.size - count)
    stranger = jnp.where(stranger < start, stranger, stranger + count)
    together = jax.random.bernoulli(coin, 0.5, first.shape) & (count > 1)
    return pairs.order[jnp.where(together, mate, stranger)]


def examples_at(
    key: jax.Array, step: jax.Array | int, name: str, arrays: Arrays, batch: int
) -> jax.Array:
    """Gives the examples int32 [batch] of the source `name` at `step`.

    If its arrays are `with_pairs`, rows 2i and 2i + 1 are a pair: the next example and its partner.
    """
    order = order_key(key, name)
    if PAIRS not in arrays:
        return draw(order, step, size_of(arrays), batch)
    first = draw(order, step, size_of(arrays), batch // 2)
    second = draw_partners(stream(key, f"partner/{name}", step), first, arrays[PAIRS])
    return jnp.stack([first, second], axis=1).reshape(batch)


def shard_at(
    key: jax.Array,
    step: jax.Array | int,
    data: Mapping[str, Arrays],
    batch: Mapping[str, int],
    shard: jax.Array | int,
    shards: int,
    take: Callable[[Any, Any], Any] = lambda values, rows: values[rows],
) -> dict[str, dict[str, Any]]:
    """Gathers one of `shards` equal parts of the global batch of `step`.

    Args:
      key: of the run.
      step: its number.
      data: source -> arrays of all its examples.
      batch: source -> examples in the global batch, a multiple of `shards`.
      shard: which part; inside a compiled step, the device's index.
      shards: their number.
      take: takes the rows int32 [b] of an array.

    Returns:
      source -> {field: [b, ...]}, with the field `example_index` int32 [b]: where in the global
      batch each example is.
    """
    parts = {}
    for name, count in batch.items():
        share = count // shards
        chosen = examples_at(key, step, name, data[name], count)
        rows = jax.lax.dynamic_slice_in_dim(chosen, shard * share, share)
        parts[name] = {
            field: take(values, rows) for field, values in data[name].items() if field != PAIRS
        }
        parts[name]["example_index"] = shard * share + np.arange(share, dtype=np.int32)
    return parts


def from_host(
    key: jax.Array,
    data: Mapping[str, Arrays],
    batch: Mapping[str, int],
    *,
    start: int,
    stop: int,
    threads: int = 2,
    prefetch: int = 4,
) -> Iterator[dict[str, dict[str, np.ndarray]]]:
    """Streams this process's parts of the batches `start` to `stop`, made ahead by `threads`.

    They hold what `shard_at` gathers on the device: the same examples with the same indices.
    """
    cpu = jax.local_devices(backend="cpu")[0]
    # A copy: the state that the key may be part of is given up by the first step.
    bits = jax.device_put(np.array(jax.random.key_data(key)), cpu)
    own_key = jax.random.wrap_key_data(bits, impl=jax.random.key_impl(key))
    data = {
        name: {**arrays, PAIRS: jax.device_put(arrays[PAIRS], cpu)} if PAIRS in arrays else arrays
        for name, arrays in data.items()
    }
    shard, shards = jax.process_index(), jax.process_count()

    def make(step: int) -> dict[str, dict[str, np.ndarray]]:
        part = shard_at(own_key, step, data, batch, shard, shards, gather)
        return jax.tree.map(np.asarray, part)

    return read_ahead(make, range(start, stop), threads, prefetch)


def padded(arrays: Arrays, batch: int) -> Iterator[dict[str, np.ndarray]]:
    """Gives all examples once, in order, in batches of one size, with a `valid` mask [batch]."""
    total = size_of(arrays)
    for start in range(0, total, batch):
        index = np.arange(start, start + batch, dtype=np.int32)
        taken = np.minimum(index, total - 1)
        part = {name: gather(values, taken) for name, values in arrays.items()}
        yield part | {"example_index": index, "valid": index < total}


def first(arrays: Arrays, count: int) -> dict[str, np.ndarray]:
    """Gives the first examples, at most `count`, with their `example_index`."""
    rows = np.arange(min(count, size_of(arrays)))
    part = {name: gather(values, rows) for name, values in arrays.items()}
    return part | {"example_index": rows}
