"""FOLDER: two steps on one device and on four, with classes whole and split; a split run resumed.

What the state is after the steps is in FOLDER/DEVICES-PARALLEL-whole or -split.npz, by its path.
The run is in FOLDER/run.
"""

import dataclasses
import sys
from pathlib import Path
from typing import Any

import jax
import numpy as np
import people

from lrjax.tasks import recognition
from lrjax.training import loop, parallel
from lrjax.training.state import State
from lrjax.training.step import init_state

WAYS = ((1, "mesh", False), (4, "pmap", False), (4, "mesh", True))


def arrays(state: State, metrics: Any) -> dict[str, np.ndarray]:
    """By path; of a classifier that was filled up, its six people."""
    nets, metrics = jax.device_get((state.nets, metrics))
    nets = {name: (net.params, net.stats, net.opt_state) for name, net in nets.items()}
    nets["classifier"] = jax.tree.map(
        lambda leaf: leaf[..., :6] if leaf.ndim else leaf, nets["classifier"]
    )
    values = jax.tree_util.tree_leaves_with_path({"nets": nets, "metrics": metrics})
    return {jax.tree_util.keystr(path): np.asarray(leaf) for path, leaf in values}


def stepped(config: recognition.RecognitionConfig, devices: int) -> dict[str, np.ndarray]:
    """After two steps."""
    task = recognition.make(config, 10)
    mesh = parallel.make_mesh(jax.devices()[:devices])
    data = {"labelled": dict(people.examples(config).arrays)}
    step = loop.compile_step(task, config.train, mesh)
    state = init_state(task, jax.random.key(0))
    state = parallel.place(state, mesh, loop.partition(task, mesh))
    data = parallel.replicate(data, mesh)
    for _ in range(2):
        state, metrics = step(state, data)
    if config.shard_classes:
        kernel = state.nets["classifier"].params["kernel"]
        assert {part.data.shape for part in kernel.addressable_shards} == {(5, 128 // devices)}
    return arrays(state, metrics)


def main(folder: Path) -> None:
    """Train."""
    people.use_small()
    for devices, mode, split in WAYS:
        config = people.config(classes=6, shard_classes=split)
        config = dataclasses.replace(config, train=dataclasses.replace(config.train, parallel=mode))
        name = f"{devices}-{mode}-{'split' if split else 'whole'}.npz"
        np.savez(folder / name, **stepped(config, devices))

    config = people.config(classes=6, shard_classes=True)
    part = people.examples(config)
    shapes: list[tuple[int, ...]] = []
    hooks = loop.Hooks(
        weights=lambda state, which: shapes.append(
            jax.device_get(state.nets["classifier"].params["kernel"]).shape
        )
    )
    for steps in (2, 4):
        loop.fit(
            recognition.make(config, 4),
            config.train,
            steps,
            {"labelled": part.arrays},
            folder / "run",
            held_out=part.arrays,
            hooks=hooks,
        )
    assert set(shapes) == {(5, 128)}


main(Path(sys.argv[1]))
