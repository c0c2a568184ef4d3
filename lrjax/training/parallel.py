"""All parallelism: one step function, run on every device by `pmap` or by `jit` over a mesh.

The step sees the axis name `AXIS`; what it returns is equal on all devices, and the state it takes
is donated. Both ways are traced once: a second trace would be a hidden recompilation, so it raises.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Literal

import chex
import jax
import numpy as np
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

from lrjax.errors import InputError

AXIS = "data"


def make_mesh(devices: Sequence[jax.Device] | None = None) -> Mesh:
    """A one-axis mesh over `devices` (default: all devices of all processes)."""
    devices = jax.devices() if devices is None else devices
    return Mesh(np.asarray(devices), (AXIS,), axis_types=(AxisType.Auto,))


def share_of(batch_size: int, devices: int) -> int:
    """Examples per device.

    Raises:
      InputError: `batch_size` cannot be split evenly.
    """
    if batch_size % devices:
        raise InputError(
            f"The batch size {batch_size} is not a multiple of the {devices} devices; "
            "set train.batch_size to a multiple."
        )
    return batch_size // devices


def replicate(tree: Any, mesh: Mesh) -> Any:
    """`tree` on every device of `mesh`. Done before the first step, or it is traced twice."""
    return jax.device_put(tree, NamedSharding(mesh, PartitionSpec()))


def shard(batch: Any, mesh: Mesh) -> Any:
    """This process's part of a batch as one global array split over the leading axis."""
    sharding = NamedSharding(mesh, PartitionSpec(AXIS))
    return jax.tree.map(
        lambda leaf: jax.make_array_from_process_local_data(sharding, np.asarray(leaf)), batch
    )


def parallelise(
    step: Callable[..., Any],
    mesh: Mesh,
    mode: Literal["pmap", "mesh"],
    *,
    sharded: bool,
    donate: bool = True,
) -> Callable[..., Any]:
    """`step(state, batch)` on all devices of `mesh`.

    Args:
      step: per-device function of (state, batch); its results are equal on all devices.
      mode: "pmap", or "mesh" for `jit` of a `shard_map`; the results are the same.
      sharded: whether `batch` is split over its leading axis (`shard`) or whole on every device.
      donate: whether the state's buffers are given up.

    Returns:
      A compiled function of (replicated state, batch).
    """
    donated = (0,) if donate else ()
    spec = PartitionSpec(AXIS) if sharded else PartitionSpec()
    step = chex.assert_max_traces(step, n=1)
    if mode == "mesh":
        mapped = jax.shard_map(
            step,
            mesh=mesh,
            in_specs=(PartitionSpec(), spec),
            out_specs=PartitionSpec(),
            # With the check on, a pmean of gradients gives them N times too large.
            check_vma=False,
        )
        return jax.jit(mapped, donate_argnums=donated)

    count = mesh.size
    # pmap wants at least one mapped argument, so each device is also told its own number.
    lanes = jax.device_put(np.arange(count), NamedSharding(mesh, PartitionSpec(AXIS)))
    compiled = jax.pmap(
        lambda state, batch, lane: step(state, batch),
        axis_name=AXIS,
        in_axes=(None, 0 if sharded else None, 0),
        out_axes=None,
        devices=list(mesh.devices.flat),
        donate_argnums=donated,
    )
    if not sharded:
        return lambda state, batch: compiled(state, batch, lanes)

    @jax.jit
    def by_device(batch: Any) -> Any:
        return jax.tree.map(
            lambda leaf: leaf.reshape(count, leaf.shape[0] // count, *leaf.shape[1:]), batch
        )

    return lambda state, batch: compiled(state, by_device(batch), lanes)
