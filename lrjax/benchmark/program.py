"""What XLA makes of a task's step: the memory that it takes, and what devices tell each other.

The step is compiled for shapes alone. Nothing as large as it is allocated, so that steps for more
devices than there are can be looked at: a CPU emulates as many as XLA_FLAGS says.
"""

from __future__ import annotations

import dataclasses
import math
import re
from functools import partial
from pathlib import Path
from typing import Any, cast

import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from lrjax.benchmark.timing import machine
from lrjax.benchmark.workload import FOREVER, face_shapes, person_shapes, without_runs
from lrjax.errors import InputError
from lrjax.tasks import csri, runs
from lrjax.tasks.csri import CSRIConfig
from lrjax.tasks.recognition import RecognitionConfig
from lrjax.tasks.super_resolution import SuperResolutionConfig
from lrjax.training import loop, parallel
from lrjax.training.nets import LEARNING
from lrjax.training.step import DUE, init_state
from lrjax.training.task import Task

GRADIENTS, STATISTICS = "gradients", "batch statistics"
METRICS, LOSSES = "scalars of losses and metrics", "within losses"
PURPOSES = (GRADIENTS, STATISTICS, METRICS, LOSSES)

_INSTRUCTION = re.compile(r"^\s*(?:ROOT )?%?[\w.\-]+ = (?P<type>\(.*?\)|\S+) (?P<kind>[\w-]+)\(")
_ARRAY = re.compile(r"\b([a-z]+\d*)\[([\d,]*)\]")
_COLLECTIVE = re.compile(
    r"(all-reduce|all-gather|reduce-scatter|all-to-all|ragged-all-to-all|collective-permute|"
    r"collective-broadcast)(-start)?"
)
_TO_HOST = re.compile(r"infeed|outfeed|(send|recv)(-done)?")
_WIDTH = re.compile(r"\d+$")


@dataclasses.dataclass(frozen=True)
class Memory:
    """Bytes that a step takes on each device, as XLA counts them.

    Attributes:
      arguments: the state and the device's share of a batch.
      outputs: the next state and the metrics.
      aliased: how much of the outputs lies where arguments did.
      temporaries: at most, at any moment of the step.
    """

    arguments: int
    outputs: int
    aliased: int
    temporaries: int

    @property
    def peak(self) -> int:
        """All of them; what is aliased once."""
        return self.arguments + self.outputs - self.aliased + self.temporaries


@dataclasses.dataclass(frozen=True)
class Collective:
    """One operation by which devices tell each other something.

    Attributes:
      kind: as XLA calls it, such as "all-reduce".
      arrays: (type, shape) of each of its results on a device.
      purpose: one of PURPOSES.
    """

    kind: str
    arrays: tuple[tuple[str, tuple[int, ...]], ...]
    purpose: str

    @property
    def elements(self) -> int:
        """How many numbers it results in, on each device."""
        return sum(math.prod(shape) for _, shape in self.arrays)

    @property
    def bytes(self) -> int:
        """How many bytes they are."""
        return sum(_bytes_of(dtype) * math.prod(shape) for dtype, shape in self.arrays)


@dataclasses.dataclass(frozen=True)
class Program:
    """What was compiled.

    Attributes:
      devices: it is for so many.
      examples: of a batch, on all of them.
      memory: of each.
      collectives: in the order of the program.
      host: instructions by which the step would wait for the host; there should be none.
      machine: what compiled it.
    """

    devices: int
    examples: int
    memory: Memory
    collectives: tuple[Collective, ...]
    host: tuple[str, ...]
    machine: dict[str, Any]


def of_config(config: runs.Config, mesh: Mesh, folder: Path) -> Program:
    """Compile a configuration's step for the devices of `mesh`, and look at it.

    Args:
      config: of any task; runs that it names are replaced by random networks.
      mesh: the batch is split over it.
      folder: for those networks.

    Raises:
      InputError: the configuration is not valid, or its batch does not split.
    """
    config = without_runs(config, folder)
    task = runs.TASKS[runs.task_name(config)].make(config, FOREVER)
    return of_task(task, sources(config), mesh)


def of_task(task: Task, fields: dict[str, dict[str, Any]], mesh: Mesh) -> Program:
    """Compile a task's step for batches from the host, and look at it.

    Args:
      task: whose step.
      fields: source -> {field: shape and type of one example}.
      mesh: the batch is split over it.

    Raises:
      InputError: the batch does not split.
    """
    return read(compiled_step(task, fields, mesh), mesh.size, sum(task.batch.values()))


def read(compiled: jax.stages.Compiled, devices: int, examples: int) -> Program:
    """Look at a compiled step for so many devices, and examples on all of them.

    Raises:
      InputError: the compiler does not count memory.
    """
    found = compiled.memory_analysis()
    if found is None:
        raise InputError(
            "This kind of device does not say how much memory a program takes; set JAX_PLATFORMS "
            "to cpu."
        )
    text = compiled.as_text() or ""
    memory = Memory(
        arguments=found.argument_size_in_bytes,
        outputs=found.output_size_in_bytes,
        aliased=found.alias_size_in_bytes,
        temporaries=found.temp_size_in_bytes,
    )
    return Program(devices, examples, memory, collectives(text), host(text), machine())


def compiled_step(task: Task, fields: dict[str, dict[str, Any]], mesh: Mesh) -> jax.stages.Compiled:
    """Compile a task's step over `mesh` (see `of_task`)."""
    config = loop.TrainConfig(parallel="mesh", feed="host")
    step = cast(jax.stages.Wrapped, loop.compile_step(task, config, mesh))
    specs, rows = loop.partition(task, mesh), NamedSharding(mesh, PartitionSpec(parallel.AXIS))
    state = jax.eval_shape(partial(init_state, task), jax.random.key(0))
    if isinstance(specs, PartitionSpec):
        specs = jax.tree.map(lambda leaf: PartitionSpec(), state)

    def on_mesh(leaf: Any, spec: PartitionSpec) -> jax.ShapeDtypeStruct:
        return jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=NamedSharding(mesh, spec))

    def some(count: int, one: Any) -> jax.ShapeDtypeStruct:
        return jax.ShapeDtypeStruct((count, *one.shape), one.dtype, sharding=rows)

    index = jax.ShapeDtypeStruct((), np.int32)
    batch: dict[str, Any] = {
        name: {field: some(count, one) for field, one in fields[name].items()}
        | {"example_index": some(count, index)}
        for name, count in task.batch.items()
    }
    batch[DUE] = some(mesh.size, index)
    return step.lower(jax.tree.map(on_mesh, state, specs), batch).compile()


def sources(config: runs.Config) -> dict[str, dict[str, Any]]:
    """Give the shapes and types of one example of each source of a configuration's batches."""
    if isinstance(config, CSRIConfig):
        return {name: person_shapes(one) for name, one in csri.branches(config).items()}
    if isinstance(config, RecognitionConfig):
        return {"labelled": person_shapes(config)}
    if isinstance(config, SuperResolutionConfig) and config.alignment is not None:
        height, width = (side + 2 * config.border for side in config.image_size)
        return {"labelled": {"images": jax.ShapeDtypeStruct((height, width, 3), np.uint8)}}
    sizes = {"labelled": config.image_size} | ({"real": config.size} if config.needs_real else {})
    return {name: face_shapes(int(np.max(size)), config.scheme) for name, size in sizes.items()}


def collectives(text: str) -> tuple[Collective, ...]:
    """Read out of a compiled program's text what devices tell each other."""
    found = []
    for line in text.splitlines():
        match = _INSTRUCTION.match(line)
        kind = match and _COLLECTIVE.fullmatch(match["kind"])
        if not match or not kind:
            continue
        arrays = tuple(
            (dtype, tuple(int(side) for side in sides.split(",") if side))
            for dtype, sides in _ARRAY.findall(match["type"])
        )
        if kind[2] and kind[1] != "all-reduce":
            # What has only begun names its operands before its results.
            arrays = arrays[len(arrays) // 2 :]
        name = re.search(r'op_name="([^"]*)"', line)
        found.append(Collective(kind[1], arrays, _purpose(name[1] if name else "", arrays)))
    return tuple(found)


def _purpose(name: str, arrays: tuple[tuple[str, tuple[int, ...]], ...]) -> str:
    if parallel.GRADIENTS in name:
        return GRADIENTS
    if LEARNING in name:
        return STATISTICS
    return LOSSES if any(shape for _, shape in arrays) else METRICS


def host(text: str) -> tuple[str, ...]:
    """List the instructions of a compiled program that exchange something with the host."""
    found = []
    for line in text.splitlines():
        match = _INSTRUCTION.match(line)
        if match and (
            _TO_HOST.fullmatch(match["kind"])
            or (match["kind"] == "custom-call" and "callback" in line)
        ):
            found.append(line.strip())
    return tuple(found)


def _bytes_of(dtype: str) -> int:
    """Bytes of a number of a type as XLA names it: "f32", "pred", "bf16"."""
    bits = _WIDTH.search(dtype)
    return int(bits[0]) // 8 if bits else 1
