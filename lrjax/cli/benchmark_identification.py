"""Tables of `lrjax benchmark identification`."""

from __future__ import annotations

from lrjax.benchmark import identification, timing
from lrjax.report.results import Result
from lrjax.report.tables import Table


def identification_result(found: identification.Measurements, command: str) -> Result:
    """The measurements as tables."""
    machine = found.machine
    versions = ", ".join(f"{k} {machine[k]}" for k in ("jax", "faiss") if k in machine)
    return Result(
        title="Speed of identification",
        order=91,
        tables=(time_table(found), memory_table(found)),
        command=command,
        data="random embeddings in memory",
        hardware=f"{machine['device']}, {machine['cores']} CPU cores; {versions}",
    )


def time_table(found: identification.Measurements) -> Table:
    """Each contender beside the product."""
    sizes, product = found.sizes, found.times[identification.PRODUCT]
    rows = []
    for name, times in found.times.items():
        ratio = timing.speedup(product, times)
        rows.append(
            (
                name,
                *(times.median, times.minimum, times.maximum),
                sizes.operations / times.median / 1e9,
                ratio.median,
                f"{ratio.minimum:.2f}-{ratio.maximum:.2f}",
            )
        )
    note = (
        f"{sizes.probes} probes in a gallery of {sizes.gallery} and {sizes.distractors} "
        f"distractors, {sizes.dimensions} numbers each. lrjax ranks all mates of each probe and "
        "computes CMC and mAP; the product is of all probes and all entries in float32, in blocks, "
        f"and nothing else; faiss finds the {identification.NEAREST} nearest in an index built "
        f"before. Medians of {len(product.samples)} rounds in turns; ratios are the rounds' own."
    )
    columns = ("", "s", "min", "max", "GFLOP/s of the product", "times the product", "from-to")
    return Table("Time of TinyFace's protocol", columns, tuple(rows), note, digits=2)


def memory_table(found: identification.Measurements) -> Table:
    """Memory by the size of the gallery."""
    base = min(found.memory.values())
    width = 4 * found.sizes.dimensions
    rows = tuple(
        (entries, entries * width / 1e6, held / 1e6, (held - base) / 1e6)
        for entries, held in found.memory.items()
    )
    note = (
        f"{found.memory_probes} probes; distractors are drawn block by block. The process's peak, "
        "after all that was streamed before."
    )
    columns = ("Entries", "their size, MB", "peak, MB", "more than the first, MB")
    return Table("Memory by size of the gallery", columns, rows, note, digits=1)
