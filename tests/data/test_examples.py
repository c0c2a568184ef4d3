"""Rows of arrays and of what is read when it is needed."""

from pathlib import Path

import numpy as np
import pytest
from grain import MapDataset

from lrjax.data.examples import Examples, gather, read_ahead, select, size_of

SQUARES = MapDataset.source(range(10)).map(lambda i: np.full((2,), i * i))


def test_rows_of_arrays_and_of_datasets_are_the_same(tmp_path: Path) -> None:
    array = np.square(np.arange(10))[:, None].repeat(2, axis=1)
    np.save(tmp_path / "squares.npy", array)
    file = np.load(tmp_path / "squares.npy", mmap_mode="r")
    rows = np.array([7, 7, 0, 3])
    for values in (array, SQUARES, MapDataset.source(file)):
        np.testing.assert_array_equal(gather(values, rows), array[rows])
        some = select(values, rows)
        assert isinstance(some, np.ndarray) == (values is array)
        np.testing.assert_array_equal(gather(some, np.array([3, 0])), array[[3, 7]])
    assert [select([b"a", b"b"], np.array([1, 0]))[i] for i in range(2)] == [b"b", b"a"]


def test_examples_are_counted() -> None:
    assert len(Examples({"x": SQUARES, "y": np.zeros((10, 3))}, "print")) == 10
    assert size_of({"x": np.zeros((4, 2))}) == 4


def test_read_ahead_keeps_the_order_and_is_lazy() -> None:
    asked: list[int] = []

    def items() -> object:
        for i in range(200):
            asked.append(i)
            yield i

    results = read_ahead(lambda i: i * i, items())
    assert [next(results) for _ in range(3)] == [0, 1, 4]
    assert len(asked) < 30
    assert list(results) == [i * i for i in range(3, 200)]


def test_read_ahead_raises_what_its_function_raises() -> None:
    with pytest.raises(ZeroDivisionError):
        list(read_ahead(lambda i: 1 // i, [2, 1, 0]))
