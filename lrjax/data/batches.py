"""Which examples a step sees: a pure function of (key, step), on the device or on the host.

No iterator has a state, so resuming needs none: step 7 draws the same examples after a restart, on
one device or eight, from arrays on the device or streamed from the host.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any

import grain.python as grain
import jax
import jax.numpy as jnp
import numpy as np

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


def from_device(step: Step, batch: Mapping[str, int], devices: int) -> Step:
    """`step(state, batch)` as `step(state, data)`, with whole arrays on every device.

    Each device takes its part of the global batch inside the compiled step; the host does nothing.
    """

    def device_step(state: Any, data: dict[str, Arrays]) -> Any:
        lane = jax.lax.axis_index(AXIS)
        parts = {}
        for name, count in batch.items():
            share = count // devices
            chosen = draw(order_key(state.key, name), state.step, size_of(data[name]), count)
            place = lane * share + jnp.arange(share)
            mine = jax.lax.dynamic_slice_in_dim(chosen, lane * share, share)
            parts[name] = {field: value[mine] for field, value in data[name].items()}
            parts[name]["place"] = place
        return step(state, parts)

    return device_step


class _Steps:
    """Random access to the batches of a run, for grain: item k is the global batch of step k."""

    def __init__(
        self, key: Any, data: Mapping[str, Arrays], batch: Mapping[str, int], steps: int
    ) -> None:
        # A copy: the state that the key may be part of is given up by the first step.
        bits = np.array(jax.random.key_data(key))
        bits = jax.device_put(bits, jax.local_devices(backend="cpu")[0])
        self.key = jax.random.wrap_key_data(bits, impl=jax.random.key_impl(key))
        self.data, self.batch, self.steps = data, batch, steps

    def __len__(self) -> int:
        return self.steps

    def __getitem__(self, step: int) -> dict[str, dict[str, np.ndarray]]:
        first, share = jax.process_index(), jax.process_count()
        parts = {}
        for name, count in self.batch.items():
            chosen = np.asarray(
                draw(order_key(self.key, name), step, size_of(self.data[name]), count)
            )
            mine = slice(first * count // share, (first + 1) * count // share)
            parts[name] = {
                field: np.asarray(value[chosen[mine]]) for field, value in self.data[name].items()
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
