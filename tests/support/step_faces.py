"""FOLDER CONFIG: one step of plain gradient descent on noise, on one device and on four.

What it changed, and what it logs, is in FOLDER/DEVICES-PARALLEL.npz, by its path; what the program
for a mesh is read as, in FOLDER/program.json.
"""

import dataclasses
import json
import sys
from pathlib import Path

import jax
import numpy as np
import optax
import tiny
from step_programs import about

from lrjax.benchmark import program
from lrjax.tasks import degradation, landmarks, runs, super_resolution
from lrjax.training import loop, parallel


def main(folder: Path, name: str) -> None:
    """Step."""
    # Adam would hide gradients that are wrong by a factor.
    for module in (degradation, landmarks, super_resolution):
        module.make_optimizer = lambda *about: optax.sgd(1.0)
    config = tiny.shrunk(runs.find_config(name))
    if getattr(config, "initial", None) is not None:
        config = dataclasses.replace(config, initial=None)
    if getattr(config, "degradation", None) == "generator":
        config = dataclasses.replace(config, stage1=str(tiny.stage1_run(folder / "stage1")))
    task = runs.TASKS[runs.task_name(config)].make(config, 10)
    faces, _ = tiny.noise_sources(config)
    data = {part: tiny.examples(faces[part]).arrays for part in task.batch}
    state = tiny.start(task)
    for devices, mode in ((1, "pmap"), (4, "pmap"), (4, "mesh")):
        mesh = parallel.make_mesh(jax.devices()[:devices])
        step = loop.compile_step(task, dataclasses.replace(config.train, parallel=mode), mesh)
        inputs = parallel.replicate(state, mesh), parallel.replicate(data, mesh)
        if mode == "mesh":
            step = step.lower(*inputs).compile()
            found = program.read(step, devices, sum(task.batch.values()))
            (folder / "program.json").write_text(json.dumps(about(task, found)))
        new, metrics = step(*inputs)
        nets, old = (
            {name: (net.params, net.stats) for name, net in jax.device_get(nets).items()}
            for nets in (new.nets, state.nets)
        )
        moved = jax.tree.map(np.subtract, nets, old)
        values = jax.tree_util.tree_leaves_with_path({"nets": moved, "metrics": metrics})
        arrays = {jax.tree_util.keystr(path): np.asarray(leaf) for path, leaf in values}
        np.savez(folder / f"{devices}-{mode}.npz", **arrays)


main(Path(sys.argv[1]), sys.argv[2])
