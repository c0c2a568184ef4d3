"""`lrjax benchmark`: how fast a training step or identification is, beside PyTorch and faiss."""

from __future__ import annotations

import dataclasses
import json
import tempfile
from pathlib import Path

import click
import jax
from tqdm import tqdm

from lrjax.benchmark import identification, tables, training
from lrjax.benchmark.timing import Announce
from lrjax.cli.options import settings_option
from lrjax.config import override
from lrjax.errors import InputError
from lrjax.files import write_atomically
from lrjax.report.results import Result
from lrjax.tasks import runs

SIZES = ("paper", "w300", "small", "quick")
# Task -> name of its result's file.
MEASURED = {"landmarks": "benchmark", "recognition": "benchmark-recognition"}


@click.command()
@click.argument("name", metavar="[CONFIG:VARIANT | recognition | identification]", required=False)
@click.option(
    "--size",
    type=click.Choice(SIZES),
    show_default="w300 on an accelerator, small on a CPU",
    help="Of K&C's setting S4, where no CONFIG is named.",
)
@settings_option
@click.option(
    "--torch/--no-torch",
    "with_torch",
    default=None,
    show_default="where it is installed and the setting is S4",
    help="Run a twin in PyTorch in turns with JAX.",
)
@click.option("--rounds", default=7, show_default=True, help="Samples of each contender.")
@click.option("--seconds", default=2.0, show_default=True, help="About how long a sample takes.")
@click.option("--faces", default=1024, show_default=True, help="Random faces in memory.")
@click.option(
    "--distractors",
    type=click.IntRange(min=1),
    default=identification.Sizes.distractors,
    show_default=True,
    help="Of identification: embeddings behind TinyFace's 4,443 that 3,728 probes are ranked in.",
)
@click.option(
    "--largest",
    type=click.IntRange(min=4),
    default=1_000_000,
    show_default=True,
    help="Of identification: distractors streamed for the measurement of memory.",
)
@click.option(
    "--profile",
    type=click.Path(path_type=Path, file_okay=False),
    help="Write a trace of five steps here, for TensorBoard or Perfetto.",
)
@click.option(
    "--results-dir",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path("results"),
    show_default=True,
    help="Where results go, such as benchmark.json, for `lrjax report`, and all samples.",
)
def benchmark(
    name: str | None,
    size: str | None,
    settings: tuple[str, ...],
    with_torch: bool | None,
    rounds: int,
    seconds: float,
    faces: int,
    distractors: int,
    largest: int,
    profile: Path | None,
    results_dir: Path,
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
    """
    with tqdm(unit="turn", leave=False) as bar:
        if name == "identification":
            if size or settings or with_torch is not None or profile:
                raise InputError(
                    "--size, --set, --torch and --profile are of training; leave them out."
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
    command = " ".join(["lrjax benchmark", name, *(f"--set {setting}" for setting in settings)])
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
    if name.partition(":")[0] not in MEASURED:
        raise InputError(
            f"Only configurations of {' and '.join(MEASURED)} can be measured, not {name!r}."
        )
    return name, settings


def _announcer(bar: tqdm) -> Announce:
    def announce(what: str) -> None:
        bar.set_description(what)
        bar.update()

    return announce


def _save(
    result: Result,
    found: training.Measurements | identification.Measurements,
    name: str,
    results_dir: Path,
) -> None:
    raw = "measurements" if name == "benchmark" else f"{name}-measurements"
    result.save(results_dir / f"{name}.json")
    text = json.dumps(dataclasses.asdict(found), indent=1)
    write_atomically(results_dir / f"{raw}.json", (text + "\n").encode())
    for table in result.tables:
        click.echo(table.to_markdown())
    click.echo(f"{results_dir / name}.json and {raw}.json")
