"""All parallelism: one step function, run on every device by `pmap` or by `jit` over a mesh.

The step sees the axis name `AXIS`; what it returns is equal on all devices but for the networks
that are split over them, and the state it takes is donated. Both ways are traced once: a second
trace would be a hidden recompilation, so it raises.
"""

from __future__ import annotations

import contextlib
import dataclasses
import re
import threading
from collections.abc import Callable, Collection, Iterator, Sequence
from typing import Any, Literal

import chex
import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

from lrjax.errors import InputError
from lrjax.training.state import State

AXIS = "data"
HEARTBEAT = 30
"""Seconds after which a process of which nothing is heard counts as ended."""
# What the exchange between processes (Gloo, NCCL) and JAX's coordination service say of it.
_NOBODY_THERE = re.compile(
    r"Gloo|NCCL|heartbeat|coordination service|Connection (reset|closed|refused)", re.IGNORECASE
)
GRADIENTS = "mean_gradients"
"""The scope, in profiles and compiled programs, in which devices exchange gradients."""


class Lost(InputError):
    """Another process of this run has ended."""


@contextlib.contextmanager
def together() -> Iterator[None]:
    """Tell in a sentence when what fails in here does so because another process has ended.

    Raises:
      Lost: it has. There is nobody to say goodbye to: leave by `os._exit`, as at an ordinary end
        this process would wait for the other one, and then be aborted.
    """
    told = threading.excepthook

    def others_told(thread: threading.ExceptHookArgs) -> None:
        # Threads that write checkpoints find out, too; the main one says so for all.
        if not _NOBODY_THERE.search(str(thread.exc_value)):
            told(thread)

    try:
        if jax.process_count() > 1:
            threading.excepthook = others_told
        yield
    except Exception as error:
        if jax.process_count() > 1 and _NOBODY_THERE.search(str(error)):
            reason = str(error).partition("\n")[0][:200]
            raise Lost(
                "Another process of this run has ended, or cannot be reached any more "
                f"({reason}); end the others, too, and start all of them again: the run goes on "
                "from its newest checkpoint."
            ) from error
        raise
    finally:
        threading.excepthook = told


def join(coordinator: str | None, processes: int | None, process: int | None) -> None:
    """Make this process one of several, before anything is computed.

    What is None is taken from the cluster (SLURM, Open MPI, Kubernetes, TPU pods).

    Args:
      coordinator: "host:port" where the first process listens.
      processes: how many there are.
      process: which one this is, from 0.

    Raises:
      InputError: there is no such cluster, or the numbers do not fit.
    """
    try:
        jax.distributed.initialize(
            coordinator, processes, process, heartbeat_timeout_seconds=HEARTBEAT
        )
    except (ValueError, RuntimeError) as error:
        raise InputError(
            f"The processes cannot be joined ({error}); give each --coordinator HOST:PORT, "
            "--processes and its own --process, or start them in a cluster that JAX knows."
        ) from error


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
    return place(tree, mesh, PartitionSpec())


def partition(state: State | None, split: Collection[str], devices: int) -> Any:
    """How `state` lies on the devices: `PartitionSpec`s of its leaves, or one for all of them.

    The last axis of every array of the networks in `split` is split evenly; the rest is whole
    everywhere. `state` may hold shapes only, and be None where nothing is split.

    Raises:
      InputError: an axis cannot be split evenly.
    """
    if state is None or not split:
        return PartitionSpec()

    def last(leaf: Any) -> PartitionSpec:
        if leaf.ndim == 0:  # an optimiser's count of steps
            return PartitionSpec()
        if leaf.shape[-1] % devices:
            raise InputError(
                f"An axis of {leaf.shape[-1]} cannot be split over {devices} devices; train on a "
                "number of devices that divides it, or without splitting it."
            )
        return PartitionSpec(*[None] * (leaf.ndim - 1), AXIS)

    specs = jax.tree.map(lambda leaf: PartitionSpec(), state)
    nets = {name: jax.tree.map(last, state.nets[name]) for name in split}
    return dataclasses.replace(specs, nets=specs.nets | nets)


def place(tree: Any, mesh: Mesh, specs: Any) -> Any:
    """`tree` on the devices of `mesh` as its `partition` says."""
    shardings = jax.tree.map(
        lambda spec: NamedSharding(mesh, spec),
        specs,
        is_leaf=lambda node: isinstance(node, PartitionSpec),
    )
    return jax.jit(lambda x: x, out_shardings=shardings)(tree)


def mean(values: Any) -> Any:
    """Average values over all devices, as constants: what a loss state is made of."""
    return jax.lax.pmean(jax.lax.stop_gradient(values), AXIS)


@jax.named_scope(GRADIENTS)
def mean_gradients(gradients: Any, split: Collection[str]) -> Any:
    """Gradients {network: tree} of this device's mean as those of the mean over all devices.

    What another device's examples say of a network that is split has reached its gradients
    already, through the step's own communication.
    """
    count = jax.lax.axis_size(AXIS)
    return {
        name: jax.tree.map(lambda leaf: leaf / count, tree)
        if name in split
        else jax.lax.pmean(tree, AXIS)
        for name, tree in gradients.items()
    }


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
    state_specs: Any = PartitionSpec(),
) -> Callable[..., Any]:
    """`step(state, batch)` on all devices of `mesh`.

    Args:
      step: per-device function of (state, batch) to (state, metrics), or to one tree if the state
        is replicated; its results are equal on all devices but where the state is split.
      mode: "pmap", or "mesh" for `jit` of a `shard_map`; the results are the same.
      sharded: whether `batch` is split over its leading axis (`shard`) or whole on every device.
      donate: whether the state's buffers are given up.
      state_specs: the state's `partition`; by default it is replicated.

    Returns:
      A compiled function of (state, batch).

    Raises:
      InputError: the mode is "pmap" and the state is split.
    """
    whole = isinstance(state_specs, PartitionSpec)
    if mode == "pmap" and not whole:
        raise InputError(
            "With parallel='pmap' every device holds the whole state; set train.parallel to 'mesh' "
            "to split a network over the devices."
        )
    donated = (0,) if donate else ()
    spec = PartitionSpec(AXIS) if sharded else PartitionSpec()
    # chex counts traces by place in the source; a process may train several runs, one by one.
    chex.clear_trace_counter()
    step = chex.assert_max_traces(step, n=1)
    if mode == "mesh":
        mapped = jax.shard_map(
            step,
            mesh=mesh,
            in_specs=(state_specs, spec),
            out_specs=state_specs if whole else (state_specs, PartitionSpec()),
            # With the check on, a pmean of gradients gives them N times too large.
            check_vma=False,
        )
        return jax.jit(mapped, donate_argnums=donated)

    count = mesh.size
    # pmap wants at least one mapped argument, so each device is also told its own number.
    lanes = jax.device_put(np.arange(count), NamedSharding(mesh, PartitionSpec(AXIS)))
    mapped = jax.pmap(
        lambda state, batch, lane: step(state, batch),
        axis_name=AXIS,
        in_axes=(None, 0 if sharded else None, 0),
        out_axes=None,
        devices=list(mesh.devices.flat),
        donate_argnums=donated,
    )

    def compiled(*args: Any) -> Any:
        results = mapped(*args)
        return _globally(results, mesh) if jax.process_count() > 1 else results

    if not sharded:
        return lambda state, batch: compiled(state, batch, lanes)

    @jax.jit
    def by_device(batch: Any) -> Any:
        return jax.tree.map(
            lambda leaf: leaf.reshape(count, leaf.shape[0] // count, *leaf.shape[1:]), batch
        )

    return lambda state, batch: compiled(state, by_device(batch), lanes)


def _globally(tree: Any, mesh: Mesh) -> Any:
    """Results of a pmap over several processes as arrays on all of `mesh`, without copying.

    pmap gives each process arrays on its own devices only, which a checkpoint cannot take.
    """
    sharding = NamedSharding(mesh, PartitionSpec())

    def one(leaf: jax.Array) -> jax.Array:
        if jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key):
            return jax.random.wrap_key_data(
                one(jax.random.key_data(leaf)), impl=jax.random.key_impl(leaf)
            )
        parts = [part.data for part in leaf.addressable_shards]
        return jax.make_array_from_single_device_arrays(leaf.shape, sharding, parts)

    return jax.tree.map(one, tree)
