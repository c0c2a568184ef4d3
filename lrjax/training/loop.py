"""The training loop: it knows tasks by their three functions, and no face.

The host only asks for the next step. It reads metrics one step late, so that the device already
works on the next one while they are read.
"""

from __future__ import annotations

import dataclasses
import math
import signal
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import jax
import numpy as np
from jax.experimental import multihost_utils
from jax.sharding import Mesh

from lrjax.config import TrainConfig
from lrjax.data import batches
from lrjax.data.examples import size_of
from lrjax.errors import InputError
from lrjax.training import parallel
from lrjax.training.checkpoint import Checkpoints
from lrjax.training.log import Log, Progress, Silence
from lrjax.training.nets import Nets
from lrjax.training.state import Metrics, Net, State
from lrjax.training.step import DUE, Step, init_state, make_step
from lrjax.training.task import Task


class Diverged(RuntimeError):
    """A loss or an update stopped being finite; the run folder holds the last good state."""


class Interrupted(KeyboardInterrupt):
    """Ctrl-C, after the state was saved."""


@dataclasses.dataclass(frozen=True)
class Hooks:
    """What the run wants done outside the engine.

    Attributes:
      accepted: called before a checkpoint is looked for, when the data and their batches are not
        refused any more.
      begin: called before the first step, when nothing is refused any more.
      pictures: called with (step, the task's pictures) at every evaluation.
      weights: called with (state, "last" or "best") when weights should be written.
    """

    accepted: Callable[[], None] = lambda: None
    begin: Callable[[], None] = lambda: None
    pictures: Callable[[int, dict[str, Any]], None] = lambda step, pictures: None
    weights: Callable[[State, str], None] = lambda state, which: None


def total_steps(config: TrainConfig, examples: int) -> int:
    """Compute the length of a run over `examples` training examples."""
    if config.steps is not None:
        return config.steps
    return max(1, round(config.epochs * examples / config.batch_size))


def compile_step(
    task: Task, config: TrainConfig, mesh: Mesh
) -> Callable[..., tuple[State, Metrics]]:
    """Compile the task's step for all devices: `(state, what feed yields) -> (state, metrics)`.

    Raises:
      InputError: the batch does not split over the devices, or would split pairs.
    """
    step = make_step(task, streamed=config.feed == "host")
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


def from_device(step: Step, sizes: Mapping[str, int], devices: int) -> Step:
    """Make a step of (state, all arrays) that takes its device's examples by itself."""

    def step_on_arrays(state: State, data: Any) -> tuple[State, Metrics]:
        shard = jax.lax.axis_index(parallel.AXIS)
        batch = batches.shard_at(state.key, state.step, data, sizes, shard, devices)
        return step(state, batch)

    return step_on_arrays


def partition(task: Task, mesh: Mesh) -> Any:
    """How the task's state lies on the devices (see `parallel.partition`)."""
    shapes = jax.eval_shape(partial(init_state, task), jax.random.key(0)) if task.split else None
    return parallel.partition(shapes, task.split, mesh.size)


def drawable(task: Task, data: Mapping[str, batches.Arrays]) -> dict[str, batches.Arrays]:
    """The sources of the task's batches, ready to be drawn from.

    Raises:
      InputError: one is empty, or is to be drawn in pairs and its people do not allow it.
    """
    for name in task.batch:
        if size_of(data[name]) == 0:
            raise InputError(f"The source {name!r} holds no examples; prepare its dataset first.")
    return {n: batches.with_pairs(data[n], n) if n in task.pairs else data[n] for n in task.batch}


def feed(
    task: Task,
    config: TrainConfig,
    mesh: Mesh,
    data: Mapping[str, batches.Arrays],
    key: jax.Array,
    start: int,
    stop: int,
) -> Iterator[Any]:
    """What each step takes: always the same whole arrays, or the next streamed batch.

    Args:
      data: the task's sources, `drawable`.
      key: of the run.
      start, stop: `state.step` before the first step, and after the last one.
    """
    if config.feed == "device":
        resident = parallel.replicate({n: dict(data[n]) for n in task.batch}, mesh)
        for _ in range(start, stop):
            yield resident
    else:
        stream = batches.from_host(
            key, data, task.batch, start=start, stop=stop, threads=config.readers
        )
        for step, batch in enumerate(stream, start):
            yield for_step(parallel.shard(batch, mesh), step, mesh)


def for_step(batch: Mapping[str, Any], step: int, mesh: Mesh) -> dict[str, Any]:
    """`batch`, which is on the devices, with what tells each of them that it is for `step`."""
    return {**batch, DUE: parallel.shard(np.full(mesh.local_mesh.size, step, np.int32), mesh)}


def evaluate(
    evaluate_sums: Callable[..., Metrics], nets: dict[str, Net], arrays: batches.Arrays, batch: int
) -> dict[str, float]:
    """Average over all examples of `arrays` what the jitted `evaluate_sums` sums up of them."""
    totals: dict[str, float] = {}
    for part in batches.padded(arrays, batch):
        for name, value in jax.device_get(evaluate_sums(nets, part)).items():
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
    data: Mapping[str, batches.Arrays],
    folder: Path,
    *,
    held_out: batches.Arrays | None = None,
    hooks: Hooks = Hooks(),
    mesh: Mesh | None = None,
) -> State:
    """Train to `steps`, or go on from the newest checkpoint in `folder`.

    Args:
      task: what is trained.
      data: source name -> arrays of all its training examples, for each of `task.batch`.
      folder: the run folder, which nobody else may write to (see `files.exclusively`).
      held_out: examples for `task.evaluate`; without them nothing is selected.
      hooks: called on the first process alone.

    Returns:
      The final state.

    Raises:
      Interrupted: after Ctrl-C; the state is saved.
      Diverged: a metric or the state is not finite; the last good state is saved.
      InputError: a source is empty or cannot be drawn in pairs, the batch does not split over the
        devices, or the run is longer than `steps` already.
    """
    sources = drawable(task, data)
    mesh = parallel.make_mesh() if mesh is None else mesh
    step_function = compile_step(task, config, mesh)
    first = jax.process_index() == 0
    hooks = hooks if first else Hooks()
    hooks.accepted()
    multihost_utils.sync_global_devices("accepted a run")
    state = parallel.place(
        init_state(task, jax.random.key(config.seed)), mesh, partition(task, mesh)
    )
    checkpoints = Checkpoints(folder, config.keep)
    state = checkpoints.restore_latest(state) or state
    start = int(state.step)
    if start > steps:
        raise InputError(
            f"The run in {folder} has done {start} steps already, more than the {steps} asked for; "
            "set train.steps to more, or name another run folder."
        )
    hooks.begin()
    log = Log(folder, start) if first else Silence()
    progress = Progress(steps, start, shown=first)
    assess = _assessment(task, config, data, held_out, hooks, log, progress)
    whole = partial(_whole, task, mesh)

    def save() -> None:
        log.flush()  # first the log: after a crash it may be ahead of the state, never behind
        checkpoints.save(state)

    def check(metrics: Metrics) -> dict[str, float]:
        nonlocal state
        values = _on_host(metrics)
        if not _infinite(values):
            return values
        number, seen = int(state.step), values
        if config.feed == "host":
            # Batches after the first that was refused were refused for that; what was wrong with
            # the first, it says when it is tried again.
            batch = next(feed(task, config, mesh, sources, state.key, number, number + 1))
            state, metrics = step_function(state, batch)
            seen = _on_host(metrics)
        named = ", ".join(_infinite(seen) or _infinite(values))
        raise Diverged(
            f"At step {number + 1} these are not finite: {named}. The last good state is saved; "
            "lower optimizer.learning_rate or set optimizer.clip_norm, and train again in another "
            "run folder or with --restart."
        )

    def report(number: int, metrics: Metrics) -> None:
        values = check(metrics)
        log.record(number, values)
        progress.note(values)

    pending: tuple[int, Metrics] | None = None
    try:
        with _interruptible() as asked, progress:
            stream = feed(task, config, mesh, sources, state.key, start, steps)
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
                check(metrics)
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
    nets = {name: dataclasses.replace(state.nets[name], opt_state=()) for name in task.split}
    return dataclasses.replace(state, nets=state.nets | parallel.replicate(nets, mesh))


def _agreed(asked: Callable[[], bool], now: bool) -> bool:
    """Whether to stop. Processes must stop together; they ask each other at `now`, as it costs."""
    if jax.process_count() == 1:
        return asked()
    return now and bool(multihost_utils.process_allgather(np.asarray(asked())).any())


def _on_host(metrics: Metrics) -> dict[str, float]:
    return {name: float(value) for name, value in jax.device_get(metrics).items()}


def _infinite(values: Mapping[str, float]) -> list[str]:
    """The names, sorted, of what is infinite or not a number."""
    return sorted(name for name, value in values.items() if not math.isfinite(value))


def _assessment(
    task: Task,
    config: TrainConfig,
    data: Mapping[str, batches.Arrays],
    held_out: batches.Arrays | None,
    hooks: Hooks,
    log: Log | Silence,
    progress: Progress,
) -> Callable[[State], None]:
    """What is done with a state now and then: held-out examples, the best weights, pictures."""
    evaluate_sums = jax.jit(lambda nets, part: task.evaluate(Nets(task.modules, nets), part))
    draw_pictures = jax.jit(lambda nets, batch: task.pictures(Nets(task.modules, nets), batch))
    # None may be wanted, and of examples that are read one by one there is no empty array.
    shown = task.batch if config.samples else ()
    samples = {name: batches.first(data[name], config.samples) for name in shown}

    def assess(state: State) -> None:
        step = int(state.step)
        if held_out is not None:
            means = evaluate(evaluate_sums, state.nets, held_out, config.batch_size)
            if log.record(step, {f"held_out/{n}": v for n, v in means.items()}, best=task.best):
                hooks.weights(state, "best")
            progress.note(means)
        if samples:
            hooks.pictures(step, jax.device_get(draw_pictures(state.nets, samples)))

    return assess
