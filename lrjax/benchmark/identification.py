"""How fast and in how much memory a gallery is ranked, beside a product of matrices and faiss."""

from __future__ import annotations

import dataclasses
import importlib.util
import resource
import sys
from collections import deque
from collections.abc import Callable, Iterator

import jax
import jax.numpy as jnp
import numpy as np

from lrjax.benchmark.suite import machine
from lrjax.benchmark.timing import Run, Times, interleave
from lrjax.evaluation.identification import BLOCK, identify

OURS, PRODUCT, FAISS = "lrjax", "matrix product", "faiss, flat"

PRODUCT_BLOCK = 1024
"""Entries in one block of the bare product: faster on a CPU than twice or four times as many."""

IN_FLIGHT = 2
"""Products that the device may work on before the host waits for the first of them."""

NEAREST = 50
"""Entries that faiss finds for each probe; the CMC's last rank in the papers. We rank all mates."""


@dataclasses.dataclass(frozen=True)
class Sizes:
    """Of the protocol: TinyFace's, with embeddings as long as most recognisers'."""

    probes: int = 3728
    gallery: int = 4443
    distractors: int = 153_428
    dimensions: int = 512
    identities: int = 2569

    @property
    def operations(self) -> float:
        """Floating-point operations of the product of all probes with all entries."""
        return 2.0 * self.probes * (self.gallery + self.distractors) * self.dimensions


@dataclasses.dataclass(frozen=True)
class Measurements:
    """What was found.

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
class Faces:
    """Random embeddings whose people differ less than their images do."""

    probes: np.ndarray
    probe_ids: np.ndarray
    gallery: np.ndarray
    gallery_ids: np.ndarray
    distractors: np.ndarray

    @classmethod
    def draw(cls, sizes: Sizes) -> Faces:
        """All of them, float32; each identity is in the gallery at least once."""
        random = np.random.default_rng(0)
        people = normal(random, sizes.identities, sizes.dimensions)
        more = random.integers(0, sizes.identities, sizes.gallery - sizes.identities)
        ids = {
            "probe_ids": random.integers(0, sizes.identities, sizes.probes),
            "gallery_ids": np.sort(np.concatenate([np.arange(sizes.identities), more])),
        }
        images = {
            name.removesuffix("_ids"): 0.3 * people[who]
            + normal(random, len(who), sizes.dimensions)
            for name, who in ids.items()
        }
        images["probes"] = images.pop("probe")
        return cls(**ids, **images, distractors=normal(random, sizes.distractors, sizes.dimensions))


def run(
    sizes: Sizes,
    largest: int,
    rounds: int,
    seconds: float,
    tell: Callable[[str], None] = lambda name: None,
) -> Measurements:
    """Measure everything.

    Args:
      sizes: of what is timed.
      largest: entries of the largest gallery that is streamed, to see what memory it takes; a
        quarter and a half of it come before.
      rounds, seconds: as `timing.interleave` takes them.
      tell: called with what is done next.
    """
    tell("streaming galleries")
    small = dataclasses.replace(sizes, probes=min(sizes.probes, 512), distractors=0)
    streamed = (largest // 4, largest // 2, largest)
    memory = peak_memory(small, streamed, tell)
    tell("drawing faces")
    faces = Faces.draw(sizes)
    contenders: dict[str, Run] = {OURS: ours(faces), PRODUCT: product(faces)}
    if importlib.util.find_spec("faiss") is not None:
        contenders[FAISS] = theirs(faces)
    times = interleave(contenders, rounds, seconds, tell=tell)
    return Measurements(sizes, times, memory, small.probes, found_on())


def ours(faces: Faces) -> Run:
    """The whole protocol: ranks of all mates, CMC and AP."""

    def call(calls: int) -> None:
        for _ in range(calls):
            found = identify(
                faces.probes, faces.probe_ids, faces.gallery, faces.gallery_ids, faces.distractors
            )
            found.summary()

    return call


def product(faces: Faces) -> Run:
    """The products of all probes with blocks of the gallery, on the device, and nothing else."""
    probes = jnp.asarray(faces.probes)
    everything = np.concatenate([faces.gallery, faces.distractors])
    multiply = jax.jit(lambda a, b: jnp.matmul(a, b.T, precision=jax.lax.Precision.HIGHEST))

    def call(calls: int) -> None:
        waiting: deque[jax.Array] = deque()
        for _ in range(calls):
            for start in range(0, len(everything), PRODUCT_BLOCK):
                block = jnp.asarray(everything[start : start + PRODUCT_BLOCK])
                waiting.append(multiply(probes, block))
                if len(waiting) > IN_FLIGHT:
                    waiting.popleft().block_until_ready()
        jax.block_until_ready(waiting)

    return call


def theirs(faces: Faces) -> Run:
    """The nearest entries by faiss, whose index is built beforehand."""
    import faiss

    index = faiss.IndexFlatL2(faces.probes.shape[1])
    index.add(faces.gallery)
    index.add(faces.distractors)

    def call(calls: int) -> None:
        for _ in range(calls):
            index.search(faces.probes, NEAREST)

    return call


def peak_memory(
    sizes: Sizes, distractors: tuple[int, ...], tell: Callable[[str], None] = lambda name: None
) -> dict[int, int]:
    """The most bytes that this process has held after ranking ever longer streams.

    Args:
      sizes: of the matched part.
      distractors: how many are streamed behind it, ascending; they are drawn block by block.
      tell: called with what is done next.
    """
    faces = Faces.draw(sizes)

    def stream(count: int) -> Iterator[np.ndarray]:
        random = np.random.default_rng(1)
        for start in range(0, count, BLOCK):
            yield normal(random, min(BLOCK, count - start), sizes.dimensions)

    held = {}
    # Once unmeasured: compiling takes memory that does not come back.
    for number, count in enumerate((distractors[0], *distractors)):
        tell(f"{count} distractors")
        matched = (faces.probes, faces.probe_ids, faces.gallery, faces.gallery_ids)
        entries = identify(*matched, stream(count)).entries
        if number:
            held[entries] = most_held()
    return held


def most_held() -> int:
    """The most bytes of memory that this process has had at any time, and its device, if it tells.

    The two are added: a CPU's device memory is the process's, and such a device tells nothing.
    """
    unit = 1 if sys.platform == "darwin" else 1024
    most = unit * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most + (jax.devices()[0].memory_stats() or {}).get("peak_bytes_in_use", 0)


def found_on() -> dict[str, object]:
    """The device and the versions that a measurement depends on."""
    found = machine(with_torch=False)
    if importlib.util.find_spec("faiss") is not None:
        import faiss

        found["faiss"] = faiss.__version__
    return found


def normal(random: np.random.Generator, count: int, dimensions: int) -> np.ndarray:
    """Normal numbers, float32 [count, dimensions]."""
    return random.standard_normal((count, dimensions), dtype=np.float32)
