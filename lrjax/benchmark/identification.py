"""How fast and in how much memory a gallery is ranked, beside a product of matrices and faiss."""

from __future__ import annotations

import dataclasses
import importlib.util
import resource
import sys
from collections.abc import Iterator

import jax
import jax.numpy as jnp
import numpy as np

from lrjax.benchmark.timing import Announce, Run, Times, interleave, machine
from lrjax.evaluation.identification import BLOCK, identify

LRJAX, PRODUCT, FAISS = "lrjax", "matrix product", "faiss, flat"

PRODUCT_BLOCK = 1024
"""Entries in one block of the bare product: faster on a CPU than twice or four times as many."""

NEAREST = 50
"""Entries that faiss finds for each probe: the papers' last rank. lrjax ranks all mates."""


@dataclasses.dataclass(frozen=True)
class Sizes:
    """Sizes of a protocol: TinyFace's, with embeddings as long as most face encoders'."""

    probes: int = 3728
    gallery: int = 4443
    distractors: int = 153_428
    dimensions: int = 512
    identities: int = 2569

    @property
    def operations(self) -> float:
        """Count the floating-point operations of the product of all probes with all entries."""
        return 2.0 * self.probes * (self.gallery + self.distractors) * self.dimensions


@dataclasses.dataclass(frozen=True)
class Measurements:
    """Hold what was measured.

    Attributes:
      sizes: of what was timed.
      times: contender -> seconds.
      memory: entries of a gallery -> the most bytes that the process had held when it was ranked.
      memory_probes: how many probes ranked those.
      machine: what it ran on.
    """

    sizes: Sizes
    times: dict[str, Times]
    memory: dict[int, int]
    memory_probes: int
    machine: dict[str, object]


@dataclasses.dataclass(frozen=True)
class Embeddings:
    """Random embeddings, float32, of which an identity's differ less than the identities do."""

    probes: np.ndarray
    probe_ids: np.ndarray
    gallery: np.ndarray
    gallery_ids: np.ndarray
    distractors: np.ndarray

    @classmethod
    def draw(cls, sizes: Sizes) -> Embeddings:
        """Draw all of them; each identity is in the gallery at least once."""
        random = np.random.default_rng(0)
        centres = normal(random, sizes.identities, sizes.dimensions)
        more = random.integers(0, sizes.identities, sizes.gallery - sizes.identities)
        probe_ids = random.integers(0, sizes.identities, sizes.probes)
        gallery_ids = np.sort(np.concatenate([np.arange(sizes.identities), more]))
        probes, gallery = (
            0.3 * centres[ids] + normal(random, len(ids), sizes.dimensions)
            for ids in (probe_ids, gallery_ids)
        )
        distractors = normal(random, sizes.distractors, sizes.dimensions)
        return cls(probes, probe_ids, gallery, gallery_ids, distractors)


def run(
    sizes: Sizes,
    largest: int,
    rounds: int,
    seconds: float,
    announce: Announce = lambda name: None,
) -> Measurements:
    """Measure time and memory.

    Args:
      sizes: of what is timed.
      largest: entries of the largest gallery that is streamed, to see what memory it takes; a
        quarter and a half of it come before.
      rounds, seconds: as `timing.interleave` takes them.
      announce: called with what is done next.
    """
    announce("streaming galleries")
    small = dataclasses.replace(sizes, probes=min(sizes.probes, 512), distractors=0)
    memory = peak_memory(small, (largest // 4, largest // 2, largest), announce)
    announce("drawing embeddings")
    drawn = Embeddings.draw(sizes)
    contenders: dict[str, Run] = {LRJAX: protocol(drawn), PRODUCT: product(drawn)}
    if importlib.util.find_spec("faiss") is not None:
        contenders[FAISS] = faiss_search(drawn)
    times = interleave(contenders, rounds, seconds, announce=announce)
    return Measurements(sizes, times, memory, small.probes, machine("faiss"))


def protocol(drawn: Embeddings) -> Run:
    """Return what runs the whole protocol: ranks of all mates, CMC and AP."""

    def call(calls: int) -> None:
        for _ in range(calls):
            identify(
                drawn.probes, drawn.probe_ids, drawn.gallery, drawn.gallery_ids, drawn.distractors
            ).summary()

    return call


def product(drawn: Embeddings) -> Run:
    """Return what multiplies all probes with blocks of the gallery, on the device, and no more."""
    probes = jnp.asarray(drawn.probes)
    everything = np.concatenate([drawn.gallery, drawn.distractors])
    multiply = jax.jit(lambda a, b: jnp.matmul(a, b.T, precision=jax.lax.Precision.HIGHEST))

    def call(calls: int) -> None:
        product = None
        for _ in range(calls):
            for start in range(0, len(everything), PRODUCT_BLOCK):
                block = jnp.asarray(everything[start : start + PRODUCT_BLOCK])
                # The device works on one while the next is sent.
                before, product = product, multiply(probes, block)
                jax.block_until_ready(before)
        jax.block_until_ready(product)

    return call


def faiss_search(drawn: Embeddings) -> Run:
    """Return what finds the nearest entries with faiss, whose index is built beforehand."""
    import faiss

    index = faiss.IndexFlatL2(drawn.probes.shape[1])
    index.add(drawn.gallery)
    index.add(drawn.distractors)

    def call(calls: int) -> None:
        for _ in range(calls):
            index.search(drawn.probes, NEAREST)

    return call


def peak_memory(sizes: Sizes, distractors: tuple[int, ...], announce: Announce) -> dict[int, int]:
    """Measure the most bytes that this process has held after ranking ever longer streams.

    Args:
      sizes: of the matched part.
      distractors: how many are streamed behind it, ascending; they are drawn block by block.
      announce: called with what is done next.

    Returns:
      entries of the gallery -> bytes.
    """
    drawn = Embeddings.draw(sizes)
    matched = (drawn.probes, drawn.probe_ids, drawn.gallery, drawn.gallery_ids)

    def stream(count: int) -> Iterator[np.ndarray]:
        random = np.random.default_rng(1)
        for start in range(0, count, BLOCK):
            yield normal(random, min(BLOCK, count - start), sizes.dimensions)

    # Once unmeasured: compiling takes memory that does not come back.
    identify(*matched, stream(distractors[0]))
    held = {}
    for count in distractors:
        announce(f"{count} distractors")
        entries = identify(*matched, stream(count)).entries
        held[entries] = most_held()
    return held


def most_held() -> int:
    """Return the most bytes of memory that this process and its device have held at any time.

    The two are added: a CPU's device memory is the process's, and such a device tells nothing.
    """
    unit = 1 if sys.platform == "darwin" else 1024
    most = unit * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most + (jax.devices()[0].memory_stats() or {}).get("peak_bytes_in_use", 0)


def normal(random: np.random.Generator, count: int, dimensions: int) -> np.ndarray:
    """Draw normal numbers, float32 [count, dimensions]."""
    return random.standard_normal((count, dimensions), dtype=np.float32)
