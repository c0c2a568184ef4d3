"""FOLDER CASE ...: compiles the steps of recorded cases for all devices, and says what they are.

FOLDER/CASE.json gets what the program is read as, and what a test knows without it.
"""

from __future__ import annotations

import dataclasses
import json
import math
import sys
import tempfile
from functools import partial
from pathlib import Path
from typing import Any

import jax
import people
from golden_adapter import RUN_LENGTH
from golden_cases import CASES

from lrjax.benchmark import program
from lrjax.benchmark.program import GRADIENTS, LOSSES, STATISTICS
from lrjax.config import override
from lrjax.tasks import runs
from lrjax.training.parallel import make_mesh
from lrjax.training.state import Net
from lrjax.training.step import init_state
from lrjax.training.task import Task

SPLIT = "recognition-split"
# As recognition-bias, but with class weights that are split over devices.
ALONE = ["shard_classes=true", "classes=8", "optimizer.clip_norm=null", "train.parallel=mesh"]


def main(folder: Path, names: list[str]) -> None:
    """Compile."""
    people.use_small()
    for name in names:
        with tempfile.TemporaryDirectory() as scratch:
            config, data = CASES["recognition-bias" if name == SPLIT else name](Path(scratch))
            if name == SPLIT:
                config = override(config, ALONE)
            task = runs.TASKS[runs.task_name(config)].make(config, RUN_LENGTH)
        fields = program.sources(config)
        found = jax.tree.map(lambda x: (x.shape, x.dtype), fields)
        expected = jax.tree.map(lambda x: (x.shape[1:], x.dtype), data)
        assert found == expected
        text = json.dumps(about(task, program.of_task(task, fields, make_mesh())))
        (folder / f"{name}.json").write_text(text)


def about(task: Task, found: program.Program) -> dict[str, Any]:
    """A program, and the sizes of the learning networks and of the state that it is made of."""
    state = jax.eval_shape(partial(init_state, task), jax.random.key(0))
    nets = {name: state.nets[name] for name in task.optimizers}

    def channels(net: Net) -> int:
        leaves = jax.tree_util.tree_leaves_with_path(net.stats)
        return sum(leaf.size for path, leaf in leaves if "mean" in str(path[-1]))

    return {
        "program": dataclasses.asdict(found),
        # But for single numbers, which travel with metrics.
        "parameters": {
            n: sum(x.size for x in jax.tree.leaves(nets[n].params) if x.ndim) for n in nets
        },
        "channels": {n: channels(nets[n]) for n in nets},
        "state": sum(_bytes_of(leaf) for leaf in jax.tree.leaves(state)),
    }


def check(about: dict[str, Any], passes: dict[str, int]) -> None:
    """Four devices tell each other gradients, batch statistics and scalars, and nothing else.

    Args:
      about: what this module wrote of a program.
      passes: learning network -> how often its batch statistics are shared in a step: in each
        forward pass, and on each loss's way back through it.
    """
    found = about["program"]
    assert found["devices"] == 4
    assert found["host"] == []
    assert found["memory"]["aliased"] == about["state"]
    assert {one["kind"] for one in found["collectives"]} == {"all-reduce"}
    assert LOSSES not in {one["purpose"] for one in found["collectives"]}
    # XLA may send different things together, but none twice and none besides.
    vectors = [shape for one in found["collectives"] for _, shape in one["arrays"] if shape]
    shared = sum(2 * about["channels"][name] * count for name, count in passes.items())
    assert sum(map(math.prod, vectors)) == sum(about["parameters"].values()) + shared
    for one in found["collectives"]:
        if one["purpose"] == STATISTICS:  # means of values and of their squares
            assert {shape[0] for _, shape in one["arrays"] if shape} == {2}
    # Gradients are sent together, not array by array.
    assert sum(one["purpose"] == GRADIENTS for one in found["collectives"]) <= 5


def _bytes_of(leaf: jax.ShapeDtypeStruct) -> int:
    """Bytes of an array of the state, whose numbers have four; its key has two words."""
    return 8 if jax.dtypes.issubdtype(leaf.dtype, jax.dtypes.prng_key) else 4 * leaf.size


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:])
