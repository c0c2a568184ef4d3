"""Which examples a step sees: a pure function of (key, step), on the device or on the host.

No iterator has a state, so resuming needs none: step 7 draws the same examples after a restart, on
one device or eight, from arrays on the device or streamed from the host.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any, NamedTuple

import grain.python as grain
import jax
import jax.numpy as jnp
import numpy as np

from lrjax.errors import InputError
from lrjax.training.parallel import AXIS
from lrjax.training.rng import stream

# name -> array with examples along the first axis, or (streamed from the host alone) anything that
# has a length and gives an array for an array, or a slice, of indices
Arrays = Mapping[str, Any]
Step = Callable[[Any, dict[str, dict[str, jax.Array]]], Any]


@partial(jax.jit, static_argnums=(2, 3))
def draw(key: jax.Array, step: jax.Array, size: int, batch: int) -> jax.Array:
    """Examples int32 [batch] of `step`, from a fresh permutation of `size` examples every epoch.

    Position p = step·batch + i of the endless sequence belongs to epoch p // size; a batch may
    straddle epochs, and may be larger than the data.
    """
    first = step * batch // size
    epochs = batch // size + 2
    orders = jax.vmap(lambda e: jax.random.permutation(jax.random.fold_in(key, e), size))(
        first + jnp.arange(epochs)
    )
    position = step * batch - first * size + jnp.arange(batch)
    return orders.reshape(-1)[position].astype(jnp.int32)


def size_of(arrays: Arrays) -> int:
    """The number of examples."""
    return len(next(iter(arrays.values())))


def order_key(key: jax.Array, name: str) -> jax.Array:
    """The key of the order in which the source `name` is visited."""
    return stream(key, f"order/{name}")


class People(NamedTuple):
    """Where the pictures of each example's person are: int32 [size] each.

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


PEOPLE = "people"
"""The name under which arrays that are drawn in pairs hold their People."""


def paired(arrays: Arrays, name: str) -> Arrays:
    """`arrays` of the source `name`, to be drawn in pairs; their `label` int [n] says who it is.

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
    people = People(order, rank, (np.cumsum(counts) - counts)[label], counts[label])
    return {**arrays, PEOPLE: People(*(table.astype(np.int32) for table in people))}


@jax.jit
def partners(key: jax.Array, first: jax.Array, people: People) -> jax.Array:
    """Another example for each of `first` int32 [n].

    Even odds decide whether it is another picture of the same person, if there is one, or one of
    somebody else; all pictures of either kind are equally likely.
    """
    coin, same, other = jax.random.split(key, 3)
    rank, start, count = people.rank[first], people.start[first], people.count[first]
    step = jax.random.randint(same, first.shape, 1, jnp.maximum(count, 2))
    mate = start + (rank - start + step) % count
    # Everybody's pictures but the person's, which lie together.
    stranger = jax.random.randint(other, first.shape, 0, people.order.size - count)
    stranger = jnp.where(stranger < start, stranger, stranger + count)
    together = jax.random.bernoulli(coin, 0.5, first.shape) & (count > 1)
    return people.order[jnp.where(together, mate, stranger)]


def examples_at(
    key: jax.Array, step: jax.Array | int, name: str, arrays: Arrays, batch: int
) -> jax.Array:
    """Examples int32 [batch] of the source `name` at `step`.

    If its arrays are `paired`, rows 2i and 2i + 1 are a pair: the next example and its partner.
    """
    order = order_key(key, name)
    if PEOPLE not in arrays:
        return draw(order, step, size_of(arrays), batch)
    first = draw(order, step, size_of(arrays), batch // 2)
    second = partners(stream(key, f"partner/{name}", step), first, arrays[PEOPLE])
    return jnp.stack([first, second], axis=1).reshape(batch)


def from_device(step: Step, batch: Mapping[str, int], devices: int) -> Step:
    """`step(state, batch)` as `step(state, data)`, with whole arrays on every device.

    Each device takes its part of the global batch inside the compiled step; the host does nothing.
    """

    def device_step(state: Any, data: dict[str, Arrays]) -> Any:
        lane = jax.lax.axis_index(AXIS)
        parts = {}
        for name, count in batch.items():
            share = count // devices
            chosen = examples_at(state.key, state.step, name, data[name], count)
            place = lane * share + jnp.arange(share)
            mine = jax.lax.dynamic_slice_in_dim(chosen, lane * share, share)
            parts[name] = {field: value[mine] for field, value in _fields(data[name])}
            parts[name]["place"] = place
        return step(state, parts)

    return device_step


def _fields(arrays: Arrays) -> list[tuple[str, Any]]:
    return [(field, value) for field, value in arrays.items() if field != PEOPLE]


class _Steps:
    """Random access to the batches of a run, for grain: item k is the global batch of step k."""

    def __init__(
        self, key: Any, data: Mapping[str, Arrays], batch: Mapping[str, int], steps: int
    ) -> None:
        # A copy: the state that the key may be part of is given up by the first step.
        bits = np.array(jax.random.key_data(key))
        cpu = jax.local_devices(backend="cpu")[0]
        self.key = jax.random.wrap_key_data(
            jax.device_put(bits, cpu), impl=jax.random.key_impl(key)
        )
        self.data = {
            name: {**arrays, PEOPLE: jax.device_put(arrays[PEOPLE], cpu)}
            if PEOPLE in arrays
            else arrays
            for name, arrays in data.items()
        }
        self.batch, self.steps = batch, steps

    def __len__(self) -> int:
        return self.steps

    def __getitem__(self, step: int) -> dict[str, dict[str, np.ndarray]]:
        first, share = jax.process_index(), jax.process_count()
        parts = {}
        for name, count in self.batch.items():
            chosen = np.asarray(examples_at(self.key, step, name, self.data[name], count))
            mine = slice(first * count // share, (first + 1) * count // share)
            parts[name] = {
                field: np.asarray(value[chosen[mine]]) for field, value in _fields(self.data[name])
            }
            parts[name]["place"] = np.arange(count, dtype=np.int32)[mine]
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
    """Batches `start` to `stop` of this process, read ahead by `threads`.

    They hold what `from_device` would have gathered: same examples, same places.
    """
    steps = grain.MapDataset.source(_Steps(key, data, batch, stop))[start:stop]
    options = grain.ReadOptions(num_threads=threads, prefetch_buffer_size=prefetch)
    return iter(steps.to_iter_dataset(options))


def padded(arrays: Arrays, batch: int) -> Iterator[dict[str, np.ndarray]]:
    """All examples once, in order, in batches of one size, with a `valid` mask [batch]."""
    total = size_of(arrays)
    for start in range(0, total, batch):
        index = np.arange(start, start + batch)
        taken = np.minimum(index, total - 1)
        part = {name: np.asarray(value[taken]) for name, value in arrays.items()}
        yield part | {"place": index.astype(np.int32), "valid": index < total}
