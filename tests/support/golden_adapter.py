"""All that recorded cases must know of how tasks are configured, made and run.

Records and the settings of cases keep the names that were in use when they were made; the two
tables say what is called otherwise since.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import jax
import people

from lrjax.config import from_dict, to_dict
from lrjax.tasks import recognition, runs
from lrjax.training import loop, parallel
from lrjax.training.weights import write_json

# Field of a configuration, at any depth: recorded name -> today's.
FIELDS: dict[str, str] = {}
# Network, loss state, or part of a metric's name between slashes: today's -> recorded name.
NAMES: dict[str, str] = {}

STEPS = 5
RUN_LENGTH = 10  # the learning rate is halved after four steps
SEED = 3


def configured(task: str, settings: Any) -> Any:
    """The configuration of a task, from the fields that are not its defaults."""

    def renamed(values: Any) -> Any:
        if isinstance(values, dict):
            return {FIELDS.get(key, key): renamed(value) for key, value in values.items()}
        return [renamed(value) for value in values] if isinstance(values, list) else values

    return from_dict(runs.TASKS[task].config, renamed(settings))


def begun(config: Any, folder: Path, seed: int) -> str:
    """A run folder with the untrained networks of a configuration."""
    name = runs.task_name(config)
    state = runs.TASKS[name].make(config, RUN_LENGTH).init(jax.random.key(seed))
    runs.weights_writer(folder, config)(state, "last")
    write_json(folder / "config.json", {"task": name, **to_dict(config)})
    return str(folder)


def stepped(config: Any, data: Any) -> tuple[dict[str, Any], dict[str, Any], list[dict[str, Any]]]:
    """({network: {kind: arrays}}, {loss: state}, metrics of each of five steps) on one device."""
    task = runs.TASKS[runs.task_name(config)].make(config, RUN_LENGTH)
    mesh = parallel.make_mesh(jax.devices()[:1])
    step = loop.compile_step(task, config.train, mesh)
    state = parallel.replicate(task.init(jax.random.key(SEED)), mesh)
    metrics = []
    for batch in loop.feed(task, config.train, mesh, data, jax.random.key(SEED), 0, STEPS):
        state, values = step(state, batch)
        metrics.append({_recorded(name): v for name, v in jax.device_get(values).items()})
    state = jax.device_get(state)
    nets = {
        _recorded(name): {"params": net.params, "stats": net.stats, "average": net.average}
        for name, net in state.nets.items()
    }
    return nets, {_recorded(name): value for name, value in state.losses.items()}, metrics


def _recorded(name: str) -> str:
    return "/".join(NAMES.get(part, part) for part in name.split("/"))


@contextmanager
def small_network() -> Iterator[None]:
    """Within, configurations can name the network "small" of `people`."""
    before = recognition.RECOGNISERS, recognition.TEMPLATES
    people.use_small()
    try:
        yield
    finally:
        recognition.RECOGNISERS, recognition.TEMPLATES = before
