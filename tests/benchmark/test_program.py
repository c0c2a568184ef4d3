"""What compiled steps are read as: by hand, and those of small tasks on four emulated devices."""

from __future__ import annotations

import dataclasses
import json
import math
import resource
from pathlib import Path
from typing import Any

import child
import jax
import numpy as np
import pytest
import step_programs
import tiny

from lrjax.benchmark import program
from lrjax.benchmark.program import GRADIENTS, LOSSES, METRICS, STATISTICS
from lrjax.config import override
from lrjax.tasks import runs
from lrjax.training.parallel import make_mesh
from lrjax.training.step import init_state

pytestmark = pytest.mark.usefixtures("quick_compile")

TEXT = """
HloModule jit_step, input_output_alias={ {0}: (0, {}, may-alias) }
  %p.1 = (f32[3,4]{1,0}, /*index=1*/bf16[2]{0}) all-reduce(%a, %b), channel_id=1, \
metadata={op_name="jit(step)/shard_map/mean_gradients/psum"}
  ROOT %p.2 = f32[2,4]{1,0} all-reduce-start(%c), metadata={op_name="jit(s)/jvp(learning_g2)/psum"}
  %p.3 = f32[2,4]{1,0} all-reduce-done(%p.2)
  %p.4 = (s32[2]{0}, s32[8]{0}) all-gather-start(%d), metadata={op_name="jit(s)/jvp()/x"}
  %p.5 = (f32[], pred[]) all-reduce(%e, %f), metadata={op_name="jit(s)/psum"}
  %p.6 = f32[9]{0} get-tuple-element(%p.1), index=0, metadata={op_name="all-reduce(all)"}
  %q.1 = ((f32[3]{0}), token[]) infeed(%t)
  %q.2 = () custom-call(%x), custom_call_target="xla_ffi_python_cpu_callback"
  %q.3 = f32[2]{0} custom-call(%x), custom_call_target="__onednn$matmul"
"""


def test_collectives_are_read_out_of_a_program() -> None:
    found = program.collectives(TEXT)
    assert [(one.kind, one.purpose, one.elements, one.bytes) for one in found] == [
        ("all-reduce", GRADIENTS, 14, 12 * 4 + 2 * 2),
        ("all-reduce", STATISTICS, 8, 32),
        ("all-gather", LOSSES, 8, 32),
        ("all-reduce", METRICS, 2, 5),
    ]
    assert [line.split()[0] for line in program.host(TEXT)] == ["%q.1", "%q.2"]


FIELDS = {
    "points": {
        "x": jax.ShapeDtypeStruct((tiny.FEATURES,), np.float32),
        "y": jax.ShapeDtypeStruct((), np.float32),
    }
}


def test_a_step_gives_up_all_of_its_state_and_leaves_the_host_alone() -> None:
    found = program.of_task(tiny.toy(), FIELDS, make_mesh())
    # step, key; w, its momentum, its average and the mean of the network; three running values.
    state = init_state(tiny.toy(), jax.random.key(0))
    running = len(jax.tree.leaves(state.losses))
    assert found.memory.aliased == 4 * (1 + 2 + 3 * tiny.FEATURES + 1 + running)
    # Of the outputs, metrics alone are new, and XLA's tables of where all of them lie.
    count = len(jax.tree.leaves(state)) + 3
    assert found.memory.outputs == found.memory.aliased + 3 * 4 + 8 * count
    batch = 8 * (4 * tiny.FEATURES + 4 + 4) + 4
    assert found.memory.arguments == found.memory.aliased + batch
    assert found.host == ()
    assert found.examples == 8


def test_a_step_that_calls_the_host_is_found_out() -> None:
    task = tiny.toy()

    def talks(*args: Any) -> Any:
        losses, metrics, state = task.losses(*args)
        jax.debug.callback(lambda value: None, losses["line"])
        return losses, metrics, state

    found = program.of_task(dataclasses.replace(task, losses=talks), FIELDS, make_mesh())
    assert len(found.host) == 1


PASSES = {  # see `step_programs.check`
    "csri-both": {"encoder": 2},
    "csri-joint": {"encoder": 2},
    "degradation": {"g1": 2},
    "landmarks-integral": {"g2": 2},
    "recognition-bias": {"encoder": 2},
    # G2's loss goes back through the critic, whose own loss follows.
    "landmarks-s4-consistency": {"g2": 2, "d2": 3},
    # Real and made faces are judged apart, once for each player.
    "super_resolution-esrgan": {"discriminator": 5},
    "super_resolution-mse": {"upsampler": 2},
}


@pytest.fixture(scope="module")
def programs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder that `step_programs.py` wrote to."""
    folder = tmp_path_factory.mktemp("programs")
    child.finish(
        child.start("step_programs.py", folder, "csri-both", "recognition-split", devices=4)
    )
    return folder


def read(folder: Path, name: str) -> dict[str, Any]:
    """What `step_programs.py` wrote."""
    return json.loads((folder / f"{name}.json").read_text())


def test_devices_exchange_gradients_and_batch_statistics_alone(programs: Path) -> None:
    step_programs.check(read(programs, "csri-both"), PASSES["csri-both"])


def test_split_classes_are_never_exchanged(programs: Path) -> None:
    about = read(programs, "recognition-split")
    found = about["program"]
    within = [one for one in found["collectives"] if one["purpose"] == LOSSES]
    kinds = {one["kind"] for one in within}
    assert kinds == {"all-gather", "all-reduce", "reduce-scatter"}
    # 8 faces of 5 numbers each, gathered and sent back, and what is said of each.
    gathered = [
        shape for one in within if one["kind"] != "all-reduce" for _, shape in one["arrays"]
    ]
    assert sorted(gathered) == [[2, 5], [8], [8, 5]]
    vectors = [shape for one in found["collectives"] for _, shape in one["arrays"] if shape]
    exchanged = sum(map(math.prod, vectors)) - about["parameters"]["encoder"]
    assert 0 < exchanged < about["parameters"]["classifier"] / 4
    # Each device has a quarter of the class weights and of their moments.
    spared = 4 * 2 * about["parameters"]["classifier"] * 3 // 4
    assert found["memory"]["aliased"] == about["state"] - spared


@pytest.mark.slow
def test_devices_exchange_as_little_in_every_task(tmp_path: Path) -> None:
    child.finish(child.start("step_programs.py", tmp_path, *PASSES, devices=4))
    for name, passes in PASSES.items():
        step_programs.check(read(tmp_path, name), passes)


@pytest.mark.slow
def test_a_step_of_full_size_is_looked_at_without_being_allocated(tmp_path: Path) -> None:
    config = override(runs.find_config("csri:joint"), ["train.batch_size=8"])
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    found = program.of_config(config, make_mesh(), tmp_path)
    more = 1024 * (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
    assert found.memory.peak > 1e9 > more
