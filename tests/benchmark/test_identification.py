import numpy as np
import pytest

from lrjax.benchmark import identification
from lrjax.benchmark.identification import Embeddings, Sizes

TINY = Sizes(probes=20, gallery=30, distractors=300, dimensions=8, identities=10)


@pytest.fixture(scope="module")
def drawn() -> Embeddings:
    return Embeddings.draw(TINY)


def test_embeddings_are_a_closed_set(drawn: Embeddings) -> None:
    assert drawn.probes.shape == (20, 8)
    assert drawn.gallery.shape == (30, 8)
    assert drawn.distractors.shape == (300, 8)
    assert set(drawn.gallery_ids) == set(range(10))
    assert set(drawn.probe_ids) <= set(range(10))
    assert all(part.dtype == np.float32 for part in (drawn.probes, drawn.gallery))


def test_operations_by_hand() -> None:
    # Each of 20 x 330 inner products takes 8 multiplications and 8 additions.
    assert TINY.operations == 20 * 330 * 16


@pytest.mark.usefixtures("quick_compile")
def test_contenders_run_in_turns_and_memory_is_that_of_the_process() -> None:
    announced: list[str] = []
    found = identification.run(TINY, 4000, rounds=2, seconds=0.0, announce=announced.append)
    assert {identification.LRJAX, identification.PRODUCT} <= set(found.times)
    assert all(len(times.samples) == 2 for times in found.times.values())
    assert list(found.memory) == [1030, 2030, 4030]
    peaks = list(found.memory.values())
    assert peaks == sorted(peaks)
    # No Python with JAX is that small, and none of these arrays is that large.
    assert 50e6 < peaks[0] <= peaks[-1] < 50e9
    turns = [name for name in announced if name in found.times]
    assert turns == list(found.times) * 3
