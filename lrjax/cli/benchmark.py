"""`lrjax benchmark`: how fast a training step or identification is, beside PyTorch and faiss."""

from __future__ import annotations

import dataclasses
import json
import tempfile
from pathlib import Path
from typing import Annotated

import click
import jax
from tqdm import tqdm

from lrjax.benchmark import identification, tables, training
from lrjax.benchmark import program as programs
from lrjax.benchmark.timing import Announce
from lrjax.cli.options import FOLDER, Click, Settings, choice, command
from lrjax.config import override
from lrjax.configs import SIZES
from lrjax.errors import InputError
from lrjax.files import write_atomically
from lrjax.report.results import Result, stamp
from lrjax.tasks import runs
from lrjax.tasks.landmarks import LandmarksConfig
from lrjax.tasks.recognition import RecognitionConfig
from lrjax.training.parallel import make_mesh

# Task -> name of its result's file.
MEASURED = {"landmarks": "benchmark", "recognition": "benchmark-recognition"}


@command(
    size="Of K&C's setting S4, where no CONFIG is named.  [default: w300 on an accelerator, small "
    "on a CPU]",
    with_torch="Run a twin in PyTorch in turns with JAX.  [default: where it is installed and the "
    "setting is S4]",
    rounds="Samples of each contender.",
    seconds="About how long a sample takes.",
    faces="Random faces in memory.",
    distractors="Of identification: embeddings behind TinyFace's 4,443 that 3,728 probes are "
    "ranked in.",
    largest="Of identification: distractors streamed for the measurement of memory.",
    profile="Write a trace of five steps here, for TensorBoard or Perfetto.",
    program="Of any task: only compile the step, and show the memory that it takes on each device "
    "and what devices exchange. XLA_FLAGS=--xla_force_host_platform_device_count=8 emulates eight.",
    results_dir="Where results go, such as benchmark.json, for `lrjax report`, and all samples.",
)
def benchmark(
    name: Annotated[
        str | None, Click(metavar="[CONFIG:VARIANT | recognition | identification]")
    ] = None,
    *,
    size: Annotated[str, choice(SIZES)] | None = None,
    settings: Settings = (),
    with_torch: Annotated[bool, Click(flag="--torch")] | None = None,
    rounds: int = 7,
    seconds: float = 2.0,
    faces: int = 1024,
    distractors: Annotated[int, Click(type=click.IntRange(min=1))] = (
        identification.Sizes.distractors
    ),
    largest: Annotated[int, Click(type=click.IntRange(min=4))] = 1_000_000,
    profile: Annotated[Path, FOLDER] | None = None,
    program: bool = False,
    results_dir: Annotated[Path, FOLDER] = Path("results"),
) -> None:
    """Measure the training step and G2's forward pass, on random faces: no data is needed.

    Contenders run in turns in one process: a step on a constant batch, with arrays on the device,
    streamed from the host, and, with PyTorch, its twin, eager and compiled.

    `lrjax benchmark recognition`, or one of its configurations, measures a face encoder's step
    (recognition:casia-quick unless another is named): streamed from the host, JPEG pictures as
    large as the dataset's are decoded, aligned and cropped as in training.

    `lrjax benchmark identification` measures how long TinyFace's protocol takes on random
    embeddings, beside the bare product of matrices and, where it is installed, faiss's flat
    search; and what memory galleries of growing size take.

    With --program, a configuration of any task is compiled and nothing is run: for what it takes on
    devices that are not there, a CPU can stand for as many as wanted.
    """
    with tqdm(unit="turn", leave=False) as bar:
        if name == "identification":
            if size or settings or with_torch is not None or profile or program:
                raise InputError(
                    "--size, --set, --torch, --profile and --program are of training; leave them "
                    "out."
                )
            sizes = identification.Sizes(distractors=distractors)
            ranked = identification.run(sizes, largest, rounds, seconds, _announcer(bar))
            command = f"lrjax benchmark identification --distractors {distractors}"
            result = tables.identification_result(ranked, command)
            _save(result, ranked, "identification", results_dir)
            return
        name, settings = _configuration(name, size, settings)
        effort = training.Effort(rounds, seconds, faces)
        if jax.default_backend() == "cpu":
            effort = dataclasses.replace(effort, product=2048)
        config = override(runs.find_config(name), settings)
        command = " ".join(["lrjax benchmark", name, *(f"--set {one}" for one in settings)])
        if program:
            if with_torch or profile:
                raise InputError("--program runs no step; leave out --torch and --profile.")
            with tempfile.TemporaryDirectory() as folder:
                compiled = programs.of_config(config, make_mesh(), Path(folder))
            result = tables.program_result(compiled, name, f"{command} --program")
            _save(result, compiled, "program", results_dir)
            return
        if not isinstance(config, LandmarksConfig | RecognitionConfig):
            raise InputError(
                "Only configurations of landmarks and recognition can be measured, not "
                f"{name!r}; name one such as landmarks:s4-small."
            )
        if with_torch is None:
            obstacle = training.torch_obstacle(config)
            with_torch = obstacle is None
            if obstacle:
                click.echo(f"Without PyTorch: {obstacle}.", err=True)
        with tempfile.TemporaryDirectory() as folder:
            trained = training.run(
                config,
                effort,
                Path(folder),
                with_torch=with_torch,
                profile=profile,
                announce=_announcer(bar),
            )
    result = tables.training_result(trained, name, command)
    _save(result, trained, MEASURED[name.partition(":")[0]], results_dir)


def _configuration(
    name: str | None, size: str | None, settings: tuple[str, ...]
) -> tuple[str, tuple[str, ...]]:
    """Which configuration is measured, and its settings."""
    if name and size:
        raise InputError("Name a configuration or give --size, not both.")
    if name is None:
        size = size or ("small" if jax.default_backend() == "cpu" else "w300")
        # The paper's crops, at every size: the PyTorch twin knows no others.
        return f"landmarks:s4-{size}", ("augment.tight=0", *settings)
    if name == "recognition":
        name = "recognition:casia-quick"
    return name, settings


def _announcer(bar: tqdm) -> Announce:
    def announce(what: str) -> None:
        bar.set_description(what)
        bar.update()

    return announce


def _save(
    result: Result,
    found: training.Measurements | identification.Measurements | programs.Program,
    name: str,
    results_dir: Path,
) -> None:
    raw = "measurements" if name == "benchmark" else f"{name}-measurements"
    stamp(result).save(results_dir / f"{name}.json")
    text = json.dumps(dataclasses.asdict(found), indent=1)
    write_atomically(results_dir / f"{raw}.json", (text + "\n").encode())
    for table in result.tables:
        click.echo(table.to_markdown())
    click.echo(f"{results_dir / name}.json and {raw}.json")
