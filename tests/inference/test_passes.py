"""Forward passes over many images, several at once."""

from __future__ import annotations

import threading

import numpy as np
import pytest

from lrjax.inference import passes


@pytest.fixture(autouse=True)
def two_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(passes, "THREADS", 2)


def test_results_are_in_order_and_the_first_of_each_shape_is_alone() -> None:
    running, most, lock = [0], {}, threading.Lock()
    together = threading.Barrier(2, timeout=20)
    batches = [np.full((size, 1), i) for i, size in enumerate((4, 4, 4, 2, 2, 2, 4))]

    def forward(batch: np.ndarray) -> tuple[int, int]:
        number = int(batch[0, 0])
        with lock:
            running[0] += 1
            most[number] = running[0]
        if number in (1, 2, 4, 5):
            together.wait()  # fails, if nobody else comes in
        with lock:
            running[0] -= 1
        return number, len(batch)

    found = list(passes.run_passes(forward, iter(batches)))
    assert found == [(0, 4), (1, 4), (2, 4), (3, 2), (4, 2), (5, 2), (6, 4)]
    assert [most[number] for number in (0, 3, 6)] == [1, 1, 1]


def test_no_batches() -> None:
    assert list(passes.run_passes(len, [])) == []


@pytest.mark.parametrize("bad", [0, 3])
def test_what_a_pass_raises_comes_through(bad: int) -> None:
    def forward(batch: np.ndarray) -> int:
        if batch[0] == bad:
            raise ValueError("bad")
        return int(batch[0])

    with pytest.raises(ValueError, match="bad"):
        list(passes.run_passes(forward, (np.array([i]) for i in range(9))))


def test_a_cpu_takes_fewer_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(passes.jax, "default_backend", lambda: "cpu")
    assert passes.batch_size(256) == passes.CPU_BATCH
    monkeypatch.setattr(passes.jax, "default_backend", lambda: "gpu")
    assert passes.batch_size(256) == 256
