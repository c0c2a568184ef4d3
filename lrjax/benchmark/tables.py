"""Measurements as tables of a result."""

from __future__ import annotations

from collections.abc import Mapping

from lrjax.benchmark import identification, program, training
from lrjax.benchmark.timing import Times, speedup
from lrjax.report.results import Result
from lrjax.report.tables import Cell, Table

ORDER = {"landmarks": 90, "identification": 91, "recognition": 92}
"""Places in a report."""

STEP = {
    "landmarks": "A step takes {} images, labelled and real.",
    "recognition": "A step takes {} pictures, which the host feed decodes, and aligns unless a "
    "network does, when they are read; the device feed has them aligned in memory.",
}
FACES = {
    "landmarks": "random faces in memory",
    "recognition": "random pictures of people in memory",
}


def training_result(found: training.Measurements, name: str, command: str) -> Result:
    """Show how fast the configuration called `name` trains."""
    task = name.partition(":")[0]
    tables = [training_table(found, name, STEP[task].format(found.images)), work_table(found)]
    if found.forwards:
        tables.append(forward_table(found))
    if training.EAGER in found.steps:
        tables.append(torch_table(found))
    return Result(
        title=f"Speed of {name}",
        order=ORDER[task],
        tables=tuple(tables),
        command=command,
        data=FACES[task],
        hardware=hardware(found.machine),
    )


def identification_result(found: identification.Measurements, command: str) -> Result:
    """Show how fast, and in how much memory, identification is."""
    return Result(
        title="Speed of identification",
        order=ORDER["identification"],
        tables=(protocol_table(found), memory_table(found)),
        command=command,
        data="random embeddings in memory",
        hardware=hardware(found.machine),
    )


def program_result(found: program.Program, name: str, command: str) -> Result:
    """Show what the compiled step of the configuration called `name` takes."""
    return Result(
        title=f"Compiled step of {name}",
        order=93,
        tables=(step_memory_table(found), collectives_table(found)),
        command=command,
        data="none: it was compiled for shapes",
        hardware=hardware(found.machine),
    )


def hardware(machine: Mapping[str, object]) -> str:
    """Describe a machine in words."""
    device = "CPU" if machine["device"] == "cpu" else f"{machine['devices']} x {machine['device']}"
    packages = machine.keys() - {"device", "devices", "cores"}
    versions = ", ".join(f"{name} {machine[name]}" for name in sorted(packages))
    return f"{device}, {machine['cores']} CPU cores; {versions}"


def training_table(found: training.Measurements, name: str, note: str) -> Table:
    """Give steps and images per second by how the step is fed."""
    constant = found.steps[training.CONSTANT]
    rows = []
    for fed in (training.CONSTANT, training.DEVICE_FEED, training.HOST_FEED):
        times = found.steps[fed]
        share = speedup(times, constant).median
        rows.append((fed, 1 / times.median, found.images / times.median, *_spread(times), share))
    columns = ("Fed by", "steps/s", "images/s", "ms", "min", "max", "of constant")
    note += (
        f" Medians of {len(constant.samples)} rounds; the last column is throughput over that with "
        "a constant batch, the median of the rounds' own ratios."
    )
    return Table(f"Training step of {name}", columns, tuple(rows), note)


def work_table(found: training.Measurements) -> Table:
    """Give compilation, operations, and their share of what the device can do."""
    giga = 1e9
    peak = found.product_flops / found.steps[training.PRODUCT].median * found.machine["devices"]
    achieved = found.flops and found.flops / found.steps[training.CONSTANT].median
    rows: list[tuple[Cell, ...]] = [
        (f"first step, {fed} (s)", found.first[fed])
        for fed in (training.CONSTANT, training.DEVICE_FEED)
    ]
    rows += [
        ("operations of a step (GFLOP)", found.flops and found.flops / giga),
        ("achieved (GFLOP/s)", achieved and achieved / giga),
        ("peak (GFLOP/s)", peak / giga),
        ("share of peak (%)", achieved and 100 * achieved / peak),
    ]
    size = round((found.product_flops / 2) ** (1 / 3))
    note = (
        "The first step includes compilation. Operations as XLA counts them; the peak is a product "
        f"of two {size} x {size} float32 matrices at JAX's default precision, measured in turns "
        "with the steps."
    )
    return Table("Compilation and work", ("Quantity", "Value"), tuple(rows), note, digits=1)


def forward_table(found: training.Measurements) -> Table:
    """Give latency and throughput of G2."""
    rows = [
        (
            _faces(batch),
            *_spread(contenders[training.JAX]),
            batch / contenders[training.JAX].median,
        )
        for batch, contenders in found.forwards.items()
    ]
    columns = ("G2 forward", "ms", "min", "max", "faces/s")
    note = (
        "On one device. A CPU takes many faces in small batches, as many of them at once as it has "
        "cores, as `lrjax predict` does."
    )
    return Table("Forward pass of G2", columns, tuple(rows), note, digits=2)


def torch_table(found: training.Measurements) -> Table:
    """Compare JAX with PyTorch."""
    compared = {"training step": (found.steps[training.CONSTANT], found.steps)} | {
        f"G2 forward, {_faces(batch)}": (contenders[training.JAX], contenders)
        for batch, contenders in found.forwards.items()
    }
    twins = (training.EAGER, training.COMPILE)
    rows = []
    for what, (own, contenders) in compared.items():
        row: list[Cell] = [what, 1e3 * own.median]
        for twin in twins:
            row += [1e3 * contenders[twin].median, *_ratio(own, contenders[twin])]
        rows.append(tuple(row))
    columns = ["", "JAX, ms"]
    for twin in twins:
        columns += [f"{twin}, ms", "JAX faster by", "from-to"]
    note = (
        "A PyTorch twin of the step (same layers, weights, losses and optimiser, one forward pass "
        "for all players) on a constant batch, in turns with JAX. Above 1, JAX is faster."
    )
    return Table("Beside PyTorch", tuple(columns), tuple(rows), note, digits=2)


def protocol_table(found: identification.Measurements) -> Table:
    """Compare each contender with the bare product of matrices."""
    sizes, product = found.sizes, found.times[identification.PRODUCT]
    rows = tuple(
        (
            *(name, times.median, times.minimum, times.maximum),
            sizes.operations / times.median / 1e9,
            *_ratio(product, times),
        )
        for name, times in found.times.items()
    )
    note = (
        f"{sizes.probes} probes in a gallery of {sizes.gallery} and {sizes.distractors} "
        f"distractors, {sizes.dimensions} numbers each. lrjax ranks all mates of each probe and "
        "computes CMC and mAP; the product is of all probes and all entries in float32, in blocks, "
        f"and nothing else; faiss finds the {identification.NEAREST} nearest in an index built "
        f"before. Medians of {len(product.samples)} rounds in turns; ratios are the rounds' own."
    )
    columns = ("", "s", "min", "max", "GFLOP/s of the product", "times the product", "from-to")
    return Table("Time of TinyFace's protocol", columns, rows, note, digits=2)


def memory_table(found: identification.Measurements) -> Table:
    """Give memory by the size of the gallery."""
    base, mega = min(found.memory.values()), 1e6
    rows = tuple(
        (entries, 4 * found.sizes.dimensions * entries / mega, held / mega, (held - base) / mega)
        for entries, held in found.memory.items()
    )
    note = (
        f"{found.memory_probes} probes; distractors are drawn block by block. The process's peak, "
        "after all that was streamed before."
    )
    columns = ("Entries", "their size, MB", "peak, MB", "more than the first, MB")
    return Table("Memory by size of the gallery", columns, rows, note, digits=1)


def step_memory_table(found: program.Program) -> Table:
    """Give what a step takes on each device."""
    memory = found.memory
    quantities = {
        "arguments: state and examples": memory.arguments,
        "outputs: next state and metrics": memory.outputs,
        "outputs in place of arguments": memory.aliased,
        "temporaries": memory.temporaries,
        "together": memory.peak,
    }
    rows = tuple((name, count / 1e6) for name, count in quantities.items())
    note = (
        f"A step takes {found.examples} images on {found.devices} devices, streamed from the host; "
        "as counted by the compiler for this kind of device."
    )
    return Table("Memory of a step, on each device", ("", "MB"), rows, note, digits=1)


def collectives_table(found: program.Program) -> Table:
    """Give what devices tell each other in a step."""
    by_kind: dict[tuple[str, str], list[program.Collective]] = {}
    for purpose in program.PURPOSES:
        for one in found.collectives:
            if one.purpose == purpose:
                by_kind.setdefault((one.kind, purpose), []).append(one)
    rows = tuple(
        (
            f"{kind} of {purpose}",
            len(group),
            sum(len(one.arrays) for one in group),
            sum(one.bytes for one in group) / 1e6,
        )
        for (kind, purpose), group in by_kind.items()
    )
    note = (
        "Bytes are those of the results on each device. Instructions that exchange something with "
        f"the host: {len(found.host)}."
    )
    columns = ("Exchanged in a step", "operations", "arrays", "MB")
    return Table("What devices exchange", columns, rows, note)


def _faces(count: int) -> str:
    return f"{count} faces" if count > 1 else "one face"


def _spread(times: Times) -> tuple[float, float, float]:
    """Median, least and most milliseconds."""
    return 1e3 * times.median, 1e3 * times.minimum, 1e3 * times.maximum


def _ratio(own: Times, other: Times) -> tuple[float, str]:
    """How many times faster `own` is: the median of the rounds, and their range."""
    ratio = speedup(own, other)
    return ratio.median, f"{ratio.minimum:.2f}-{ratio.maximum:.2f}"
