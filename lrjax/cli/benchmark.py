"""`lrjax benchmark`: how fast a training step or identification is here, and others would be."""

from __future__ import annotations

import dataclasses
import json
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import click
import jax
from tqdm import tqdm

from lrjax.benchmark import identification, suite, timing, workload
from lrjax.cli.benchmark_identification import identification_result
from lrjax.cli.train import find_config
from lrjax.config import override
from lrjax.errors import InputError
from lrjax.files import write_atomically
from lrjax.report.results import Result
from lrjax.report.tables import Cell, Table
from lrjax.tasks.landmarks import LandmarksConfig

SIZES = ("paper", "w300", "small", "quick")


class Kind(NamedTuple):
    """Of the measurements of one task: the result's file, its place in a report, and words."""

    file: str
    order: int
    data: str
    note: str


KINDS = {
    "landmarks": Kind(
        "benchmark",
        90,
        "random faces in memory",
        "A step takes {} images, labelled and real.",
    ),
    "recognition": Kind(
        "benchmark-recognition",
        92,
        "random pictures of people in memory",
        "A step takes {} pictures, which the host feed decodes, and aligns unless a network does, "
        "when they are read; the device feed has them aligned in memory.",
    ),
}


@click.command()
@click.argument("name", metavar="[CONFIG:VARIANT | recognition | identification]", required=False)
@click.option(
    "--size",
    type=click.Choice(SIZES),
    show_default="w300 on an accelerator, small on a CPU",
    help="Of K&C's setting S4, where no CONFIG is named.",
)
@click.option("--set", "settings", multiple=True, metavar="FIELD=VALUE", help="Change a field.")
@click.option(
    "--torch/--no-torch",
    "with_torch",
    default=None,
    show_default="where it is installed and the setting is S4",
    help="Run a twin in PyTorch beside ours.",
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

    `lrjax benchmark recognition`, or one of its configurations, measures a recogniser's step alone
    (recognition:casia-quick unless another is named): streamed from the host, JPEG pictures as
    large as the dataset's are decoded, aligned and cropped as in training.

    `lrjax benchmark identification` measures how long TinyFace's protocol takes on random
    embeddings, beside the bare product of matrices and, where it is installed, faiss's flat
    search; and what memory galleries of growing size take.
    """
    if name == "identification":
        if size or settings or with_torch is not None or profile:
            raise InputError(
                "--size, --set, --torch and --profile are of training; leave them out."
            )
        sizes = identification.Sizes(distractors=distractors)
        with tqdm(unit="turn", leave=False) as bar:
            measured = identification.run(sizes, largest, rounds, seconds, _teller(bar))
        command = f"lrjax benchmark identification --distractors {distractors}"
        _save(identification_result(measured, command), measured, "identification", results_dir)
        return
    if name and size:
        raise InputError("Name a configuration or give --size, not both.")
    on_cpu = jax.default_backend() == "cpu"
    if name is None:
        name = f"landmarks:s4-{size or ('small' if on_cpu else 'w300')}"
        # The paper's views, at every size: the PyTorch twin knows no others.
        settings = ("augment.tight=0", *settings)
    if name == "recognition":
        name = "recognition:casia-quick"
    kind = KINDS.get(name.partition(":")[0])
    if kind is None:
        raise InputError(
            f"Only configurations of {' and '.join(KINDS)} can be measured, not {name!r}."
        )
    config = override(find_config(name), settings)
    effort = suite.Effort(rounds, seconds, faces, product=2048 if on_cpu else 8192)
    with tempfile.TemporaryDirectory() as temporary, tqdm(unit="turn", leave=False) as bar:
        folder = Path(temporary)
        if (
            isinstance(config, LandmarksConfig)
            and config.degradation == "generator"
            and config.stage1 is None
        ):
            of_size = name.partition("-")[2] or "paper"
            workload.untrained_degradation(find_config(f"degradation:{of_size}"), folder)
            config = dataclasses.replace(config, stage1=temporary)
        if with_torch is None:
            obstacle = suite.torch_or_explain(config)
            with_torch = obstacle is None
            if obstacle:
                click.echo(f"Without PyTorch: {obstacle}.", err=True)
        tell = _teller(bar)
        found = suite.run(config, effort, folder, with_torch=with_torch, profile=profile, tell=tell)

    _save(as_result(found, name, _command(name, settings)), found, kind.file, results_dir)


def _teller(bar: tqdm) -> Callable[[str], None]:
    def tell(what: str) -> None:
        bar.set_description(what)
        bar.update()

    return tell


def _save(
    result: Result,
    found: suite.Measurements | identification.Measurements,
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


def _command(name: str, settings: tuple[str, ...]) -> str:
    return " ".join([f"lrjax benchmark {name}", *(f"--set {setting}" for setting in settings)])


def as_result(found: suite.Measurements, name: str, command: str) -> Result:
    """The measurements as tables."""
    kind = KINDS[name.partition(":")[0]]
    tables = [training_table(found, name), work_table(found)]
    if found.forwards:
        tables.append(forward_table(found))
    if suite.EAGER in found.steps:
        tables.append(torch_table(found))
    machine = found.machine
    device = "CPU" if machine["device"] == "cpu" else f"{machine['devices']} x {machine['device']}"
    versions = ", ".join(f"{k} {machine[k]}" for k in ("jax", "torch") if k in machine)
    return Result(
        title=f"Speed of {name}",
        order=kind.order,
        tables=tuple(tables),
        command=command,
        data=kind.data,
        hardware=f"{device}, {machine['cores']} CPU cores; {versions}",
    )


def training_table(found: suite.Measurements, name: str) -> Table:
    """Steps and images per second by how the step is fed."""
    constant = found.steps[suite.CONSTANT]
    rows = []
    for fed in (suite.CONSTANT, suite.DEVICE_FEED, suite.HOST_FEED):
        times = found.steps[fed]
        share = timing.speedup(times, constant)
        rows.append((fed, 1 / times.median, found.images / times.median, *_ms(times), share.median))
    columns = ("Fed by", "steps/s", "images/s", "ms", "min", "max", "of constant")
    note = (
        f"{KINDS[name.partition(':')[0]].note.format(found.images)} Medians of "
        f"{len(constant.samples)} rounds; the last column is throughput over that with a constant "
        "batch, the median of the rounds' own ratios."
    )
    return Table(f"Training step of {name}", columns, tuple(rows), note)


def work_table(found: suite.Measurements) -> Table:
    """Compilation, operations, and their share of what the device can do."""
    rows: list[tuple[Cell, ...]] = [
        (f"first step, {fed} (s)", found.first[fed]) for fed in (suite.CONSTANT, suite.DEVICE_FEED)
    ]
    giga = 1e9
    rows += [
        ("operations of a step (GFLOP)", found.flops and found.flops / giga),
        ("achieved (GFLOP/s)", found.achieved and found.achieved / giga),
        ("peak (GFLOP/s)", found.peak / giga),
        ("share of peak (%)", found.achieved and 100 * found.achieved / found.peak),
    ]
    size = round((found.product_flops / 2) ** (1 / 3))
    note = (
        "The first step includes compilation. Operations as XLA counts them; the peak is a product "
        f"of two {size} x {size} float32 matrices at JAX's default precision, measured in turns "
        "with the steps."
    )
    return Table("Compilation and work", ("Quantity", "Value"), tuple(rows), note, digits=1)


def forward_table(found: suite.Measurements) -> Table:
    """Latency and throughput of G2."""
    rows = [
        (f"batch {batch}", *_ms(contenders[suite.OURS]), batch / contenders[suite.OURS].median)
        for batch, contenders in found.forwards.items()
    ]
    columns = ("G2 forward", "ms", "min", "max", "faces/s")
    return Table("Forward pass of G2", columns, tuple(rows), "On one device.", digits=2)


def torch_table(found: suite.Measurements) -> Table:
    """Ours beside PyTorch's."""
    compared = {"training step": (found.steps[suite.CONSTANT], found.steps)} | {
        f"G2 forward, batch {batch}": (contenders[suite.OURS], contenders)
        for batch, contenders in found.forwards.items()
    }
    rows = []
    for what, (ours, contenders) in compared.items():
        row: list[Cell] = [what, 1e3 * ours.median]
        for other in (suite.EAGER, suite.COMPILE):
            ratio = timing.speedup(ours, contenders[other])
            row += [
                1e3 * contenders[other].median,
                ratio.median,
                f"{ratio.minimum:.2f}-{ratio.maximum:.2f}",
            ]
        rows.append(tuple(row))
    columns = ["", "JAX, ms"]
    for other in (suite.EAGER, suite.COMPILE):
        columns += [f"{other}, ms", "JAX faster by", "from-to"]
    note = (
        "A PyTorch twin of the step (same layers, weights, losses and optimiser, one forward pass "
        "for all players) on a constant batch, in turns with ours. Above 1, ours is faster."
    )
    return Table("Beside PyTorch", tuple(columns), tuple(rows), note, digits=2)


def _ms(times: timing.Times) -> tuple[float, float, float]:
    return tuple(1e3 * t for t in (times.median, times.minimum, times.maximum))
