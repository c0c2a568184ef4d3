"""All that recorded cases must know of how tasks are configured, made and run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import jax

from lrjax.config import from_dict
from lrjax.tasks import run_folder, runs
from lrjax.training import loop, parallel
from lrjax.training.step import init_state

STEPS = 5
RUN_LENGTH = 10  # the learning rate is halved after four steps
SEED = 3


def configured(task: str, settings: Any) -> Any:
    """The configuration of a task, from the fields that are not its defaults."""
    return from_dict(runs.TASKS[task].config, settings)


def begun(config: Any, folder: Path, seed: int) -> str:
    """A run folder with the untrained networks of a configuration."""
    name = runs.task_name(config)
    task = runs.TASKS[name].make(config, RUN_LENGTH)
    run_folder.weights_writer(folder, task, name)(init_state(task, jax.random.key(seed)), "last")
    return str(folder)


def stepped(config: Any, data: Any) -> tuple[dict[str, Any], dict[str, Any], list[dict[str, Any]]]:
    """({network: {kind: arrays}}, {loss: state}, metrics of each of five steps) on one device."""
    task = runs.TASKS[runs.task_name(config)].make(config, RUN_LENGTH)
    mesh = parallel.make_mesh(jax.devices()[:1])
    step = loop.compile_step(task, config.train, mesh)
    state = parallel.replicate(init_state(task, jax.random.key(SEED)), mesh)
    metrics = []
    sources = loop.drawable(task, data)
    for batch in loop.feed(task, config.train, mesh, sources, jax.random.key(SEED), 0, STEPS):
        state, values = step(state, batch)
        metrics.append(jax.device_get(values))
    state = jax.device_get(state)
    nets = {
        name: {"params": net.params, "stats": net.stats, "average": net.average}
        for name, net in state.nets.items()
    }
    return nets, state.losses, metrics
