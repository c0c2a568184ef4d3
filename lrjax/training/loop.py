"""The training loop: it knows tasks by their three functions, and no face.

The host only asks for the next step. It reads metrics one step late, so that the device already
works on the next one while they are read.
"""

from __future__ import annotations

import dataclasses
import math
import signal
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.experimental import multihost_utils
from jax.sharding import Mesh

from lrjax.config import TrainConfig
from lrjax.data import batches
from lrjax.data.examples import Arrays, size_of
from lrjax.errors import InputError
from lrjax.files import exclusively
from lrjax.training import parallel
from lrjax.training.checkpoint import Checkpoints
from lrjax.training.progress import Log, Progress, Silence
from lrjax.training.state import Metrics, Net, State
from lrjax.training.task import Task


class Diverged(RuntimeError):
    """A loss or an update stopped being finite; the run folder holds the last good state."""


class Interrupted(KeyboardInterrupt):
    """Ctrl-C, after the state was saved."""


@dataclasses.dataclass(frozen=True)
class Hooks:
    """What the run wants done outside the engine.

    Attributes:
      pictures: called with (step, the task's pictures) at every evaluation.
      weights: called with (state, "last" or "best") when weights should be written.
    """

    pictures: Callable[[int, dict[str, Any]], None] = lambda step, pictures: None
    weights: Callable[[State, str], None] = lambda state, which: None


def total_steps(config: TrainConfig, examples: int) -> int:
    """The length of a run over `examples` training examples."""
    if config.steps is not None:
        return config.steps
    return max(1, round(config.epochs * examples / config.batch_size))


def guarded(
    step: Callable[..., tuple[State, Metrics]], split: Collection[str] = ()
) -> Callable[..., tuple[State, Metrics]]:
    """`step` that keeps the old state when a metric, or anything in the new state, is not finite.

    The state therefore never holds a NaN: the host finds out later, and what it saves is good.
    Metrics gain `update/NET`, how far the parameters moved (Euclidean): NaN if the net broke.
    Networks in `split` are split over the devices, which come to the same verdict.
    """

    def guarded_step(state: State, batch: Any) -> tuple[State, Metrics]:
        new, metrics = step(state, batch)
        updates = {
            f"update/{name}": _update(state.nets[name], net, name in split)
            for name, net in new.nets.items()
            if net is not state.nets[name]
        }
        metrics = metrics | updates
        finite = jnp.stack([jnp.isfinite(value).all() for value in metrics.values()]).all()
        # XLA would repeat this conjunction in the update of each of a thousand arrays, and take
        # half as long again to compile; a square root is dear enough to it to be computed once.
        finite = jnp.sqrt(finite.astype(jnp.float32)) > 0
        return jax.tree.map(partial(_select, finite), new, state), metrics

    return guarded_step


def _update(old: Net, new: Net, split: bool) -> jax.Array:
    finite = [jnp.isfinite(leaf).all() for leaf in jax.tree.leaves(new)]
    change = jax.tree.map(jnp.subtract, new.params, old.params)
    length = jnp.where(jnp.stack(finite).all(), optax.tree.norm(change), jnp.nan)
    return jnp.sqrt(jax.lax.psum(jnp.square(length), parallel.AXIS)) if split else length


def _select(finite: jax.Array, new: jax.Array, old: jax.Array) -> jax.Array:
    return old if jnp.issubdtype(new.dtype, jax.dtypes.prng_key) else jnp.where(finite, new, old)


def compile_step(
    task: Task, config: TrainConfig, mesh: Mesh
) -> Callable[..., tuple[State, Metrics]]:
    """The task's step on all devices: `(state, data or batch) -> (state, metrics)`.

    Raises:
      InputError: the batch does not split over the devices, or would split pairs.
    """
    step = guarded(task.step, task.split)
    for name, count in task.batch.items():
        if parallel.share_of(count, mesh.size) % 2 and name in task.pairs:
            raise InputError(
                f"The {count} examples of {name!r} in a batch are pairs, which do not split over "
                f"the {mesh.size} devices; set train.batch_size to a multiple of {2 * mesh.size}."
            )
    specs = partition(task, mesh)
    if config.feed == "device":
        step = from_device(step, task.batch, mesh.size)
    return parallel.parallelise(
        step, mesh, config.parallel, sharded=config.feed == "host", state_specs=specs
    )


def from_device(
    step: Callable[..., Any], batch: Mapping[str, int], devices: int
) -> Callable[..., Any]:
    """`step(state, batch)` as `step(state, data)`, with whole arrays on every device.

    Each device takes its part of the global batch inside the compiled step; the host does nothing.
    """

    def device_step(state: State, data: Mapping[str, Arrays]) -> Any:
        lane = jax.lax.axis_index(parallel.AXIS)
        return step(state, batches.shard_at(state.key, state.step, data, batch, lane, devices))

    return device_step


def partition(task: Task, mesh: Mesh) -> Any:
    """How the task's state lies on the devices (see `parallel.partition`)."""
    shapes = jax.eval_shape(task.init, jax.random.key(0)) if task.split else None
    return parallel.partition(shapes, task.split, mesh.size)


def feed(
    task: Task,
    config: TrainConfig,
    mesh: Mesh,
    data: Mapping[str, Arrays],
    key: jax.Array,
    start: int,
    stop: int,
) -> Iterator[Any]:
    """What each step takes: always the same whole arrays, or the next streamed batch.

    Raises:
      InputError: a source is to be drawn in pairs and its people do not allow it.
    """
    data = {n: batches.with_pairs(data[n], n) if n in task.pairs else data[n] for n in task.batch}
    if config.feed == "device":
        resident = parallel.replicate({n: dict(data[n]) for n in task.batch}, mesh)
        for _ in range(start, stop):
            yield resident
    else:
        stream = batches.from_host(
            key, data, task.batch, start=start, stop=stop, threads=config.readers
        )
        for batch in stream:
            yield parallel.shard(batch, mesh)


def evaluate(
    evaluate_sums: Callable[..., Metrics], state: State, arrays: Arrays, batch: int
) -> dict[str, float]:
    """Means over all examples of `arrays`; `evaluate_sums` is a jitted `Task.evaluate`."""
    totals: dict[str, float] = {}
    for part in batches.padded(arrays, batch):
        for name, value in jax.device_get(evaluate_sums(state, part)).items():
            totals[name] = totals.get(name, 0.0) + float(value)
    count = totals.pop("count")
    return {name: value / max(count, 1.0) for name, value in totals.items()}


@contextmanager
def _interruptible() -> Iterator[Callable[[], bool]]:
    """Turns the first Ctrl-C (or SIGTERM) into a request that the loop can honour after a step."""
    asked: list[int] = []

    def note(number: int, frame: Any) -> None:
        if asked:
            raise KeyboardInterrupt
        asked.append(number)

    try:
        previous = {s: signal.signal(s, note) for s in (signal.SIGINT, signal.SIGTERM)}
    except ValueError:  # not the main thread: signals are somebody else's business
        previous = {}
    try:
        yield lambda: bool(asked)
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)


def fit(
    task: Task,
    config: TrainConfig,
    steps: int,
    data: Mapping[str, Arrays],
    folder: Path,
    *,
    held_out: Arrays | None = None,
    hooks: Hooks = Hooks(),
    mesh: Mesh | None = None,
) -> State:
    """Train to `steps`, or go on from the newest checkpoint in `folder`.

    Args:
      task: what is trained.
      data: source name -> arrays of all its training examples, for each of `task.batch`.
      folder: the run folder.
      held_out: examples for `task.evaluate`; without them nothing is selected.
      hooks: called on the first process alone.

    Returns:
      The final state.

    Raises:
      Interrupted: after Ctrl-C; the state is saved.
      Diverged: a metric or the state is not finite; the last good state is saved.
      InputError: a source is empty, the batch does not split over the devices, or the run is
        longer than `steps` already, or another process trains there.
    """
    for name in task.batch:
        if size_of(data[name]) == 0:
            raise InputError(f"The source {name!r} holds no examples; prepare its dataset first.")
    if jax.process_index() > 0:
        return _fit(task, config, steps, data, folder, held_out, Hooks(), mesh)
    folder.mkdir(parents=True, exist_ok=True)
    with exclusively(folder, "training"):
        return _fit(task, config, steps, data, folder, held_out, hooks, mesh)


def _fit(
    task: Task,
    config: TrainConfig,
    steps: int,
    data: Mapping[str, Arrays],
    folder: Path,
    held_out: Arrays | None,
    hooks: Hooks,
    mesh: Mesh | None,
) -> State:
    mesh = parallel.make_mesh() if mesh is None else mesh
    step_function = compile_step(task, config, mesh)
    state = parallel.place(task.init(jax.random.key(config.seed)), mesh, partition(task, mesh))
    checkpoints = Checkpoints(folder, config.keep)
    if checkpoints.latest() is not None:
        state = checkpoints.restore(state)
    start = int(state.step)
    if start > steps:
        raise InputError(
            f"The run in {folder} has done {start} steps already, more than the {steps} asked for; "
            "set train.steps to more, or name another run folder."
        )
    first = jax.process_index() == 0
    log = Log(folder, start) if first else Silence()
    progress = Progress(steps, start, shown=first)
    assess = _assessment(task, config, data, held_out, hooks, log, progress)
    whole = partial(_whole, task, mesh)

    def save() -> None:
        log.flush()  # first the log: after a crash it may be ahead of the state, never behind
        checkpoints.save(state)

    def report(number: int, metrics: Metrics) -> None:
        values = _finite(state, metrics)
        log.record(number, values)
        progress.note(values)

    pending: tuple[int, Metrics] | None = None
    try:
        with _interruptible() as asked, progress:
            stream = feed(task, config, mesh, data, state.key, start, steps)
            for number, batch in enumerate(stream, start + 1):
                state, metrics = step_function(state, batch)
                progress.advance()
                if pending is not None:
                    report(*pending)
                due = {
                    what: number % every == 0 or number == steps
                    for what, every in (
                        ("log", config.log_every),
                        ("assess", config.evaluate_every),
                        ("save", config.checkpoint_every),
                    )
                }
                pending = (number, metrics) if due["log"] or number == 1 else None
                stop = _agreed(asked, due["log"])
                if not (stop or due["assess"] or due["save"]):
                    continue
                _finite(state, metrics)
                if pending is not None:
                    report(*pending)
                    pending = None
                if due["assess"]:
                    assess(whole(state))
                if due["save"] or stop:
                    save()
                if stop and number < steps:
                    raise Interrupted
        hooks.weights(whole(state), "last")
    except Diverged:
        save()
        raise
    finally:
        checkpoints.close()
        log.close()
    return state


def _whole(task: Task, mesh: Mesh, state: State) -> State:
    """`state` with whole networks on every device; those that were split have no moments then."""
    if not task.split:
        return state
    nets = {name: state.nets[name].replace(opt_state=()) for name in task.split}
    return state.replace(nets=state.nets | parallel.replicate(nets, mesh))


def _agreed(asked: Callable[[], bool], now: bool) -> bool:
    """Whether to stop. Processes must stop together; they ask each other at `now`, as it costs."""
    if jax.process_count() == 1:
        return asked()
    return now and bool(multihost_utils.process_allgather(np.asarray(asked())).any())


def _finite(state: State, metrics: Metrics) -> dict[str, float]:
    """`metrics` on the host, if all are finite.

    Raises:
      Diverged: some are not. `state` then is that before the first such step.
    """
    values = {name: float(value) for name, value in jax.device_get(metrics).items()}
    bad = sorted(name for name, value in values.items() if not math.isfinite(value))
    if bad:
        raise Diverged(
            f"At step {int(state.step) + 1} these are not finite: {', '.join(bad)}. The last good "
            "state is saved; lower optimizer.learning_rate or set optimizer.clip_norm, and train "
            "again in another run folder or with --restart."
        )
    return values


def _assessment(
    task: Task,
    config: TrainConfig,
    data: Mapping[str, Arrays],
    held_out: Arrays | None,
    hooks: Hooks,
    log: Log | Silence,
    progress: Progress,
) -> Callable[[State], None]:
    """What is done with a state now and then: held-out examples, the best weights, pictures."""
    evaluate_sums, draw_pictures = jax.jit(task.evaluate), jax.jit(task.pictures)
    samples = {name: batches.first(data[name], config.samples) for name in task.batch}

    def assess(state: State) -> None:
        step = int(state.step)
        if held_out is not None:
            means = evaluate(evaluate_sums, state, held_out, config.batch_size)
            if log.record(step, {f"held_out/{n}": v for n, v in means.items()}, best=task.best):
                hooks.weights(state, "best")
            progress.note(means)
        if config.samples:
            hooks.pictures(step, jax.device_get(draw_pictures(state, samples)))

    return assess
