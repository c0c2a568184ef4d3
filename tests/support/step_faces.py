"""FOLDER CONFIG...: one step of plain gradient descent on noise, on one device and on four.

What it changed is in FOLDER/CONFIG-DEVICES-PARALLEL.npz, by the path in the state's nets.
"""

import dataclasses
import sys
from pathlib import Path

import jax
import numpy as np
import optax
import tiny

from lrjax.cli.options import find_config
from lrjax.tasks import degradation, landmarks, runs
from lrjax.training import loop, parallel


def main(folder: Path, *names: str) -> None:
    """Step."""
    # Adam would hide gradients that are wrong by a factor.
    landmarks.make_optimizer = degradation.make_optimizer = lambda config, steps: optax.sgd(1.0)
    for name in names:
        config = tiny.shrunk(find_config(name))
        if getattr(config, "degradation", None) == "generator":
            config = dataclasses.replace(config, stage1=str(tiny.stage1_run(folder / "stage1")))
        _, make = runs.TASKS[runs.task_name(config)]
        task = make(config, 10)
        faces, _ = tiny.noise_sources(config)
        data = {part: runs.arrays(faces[part]) for part in task.batch}
        state = tiny.start(task)
        for devices, mode in ((1, "pmap"), (4, "pmap"), (4, "mesh")):
            mesh = parallel.make_mesh(jax.devices()[:devices])
            train = dataclasses.replace(config.train, parallel=mode)
            step = loop.compile_step(task, train, mesh)
            new, metrics = step(parallel.replicate(state, mesh), parallel.replicate(data, mesh))
            nets = {net: (new.nets[net].params, new.nets[net].stats) for net in new.nets}
            old = {net: (state.nets[net].params, state.nets[net].stats) for net in new.nets}
            moved = jax.tree.map(lambda a, b: np.asarray(a) - np.asarray(b), nets, old)
            values = jax.tree_util.tree_flatten_with_path({"nets": moved, "metrics": metrics})[0]
            np.savez(
                folder / f"{name.replace(':', '-')}-{devices}-{mode}.npz",
                **{jax.tree_util.keystr(path): np.asarray(leaf) for path, leaf in values},
            )


main(Path(sys.argv[1]), *sys.argv[2:])
