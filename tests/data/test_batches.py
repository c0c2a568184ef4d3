"""Which examples a step sees."""

from __future__ import annotations

import dataclasses
from typing import Any

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from grain import MapDataset

from lrjax.data import batches
from lrjax.errors import InputError
from lrjax.rng import stream
from lrjax.training import loop, parallel
from lrjax.training.state import State


def drawn(size: int, batch: int, steps: int, seed: int = 0) -> np.ndarray:
    """Examples of the first steps, [steps * batch]."""
    key = jax.random.key(seed)
    return np.concatenate([batches.draw(key, step, size, batch) for step in range(steps)])


@pytest.mark.parametrize(("size", "batch"), [(12, 4), (10, 4), (7, 7), (3, 8), (1, 4), (5, 13)])
def test_every_epoch_is_a_new_permutation(size: int, batch: int) -> None:
    epochs = 4
    steps = -(-epochs * size // batch)
    order = drawn(size, batch, steps)[: epochs * size].reshape(epochs, size)
    assert order.dtype == np.int32
    for epoch in order:
        assert sorted(epoch) == list(range(size))
    if size > 4:
        assert len({tuple(epoch) for epoch in order}) == epochs


def test_the_order_does_not_depend_on_the_batch_size_and_does_on_the_key() -> None:
    np.testing.assert_array_equal(drawn(11, 4, 11), drawn(11, 11, 4))
    assert (drawn(11, 4, 11) != drawn(11, 4, 11, seed=1)).any()


@pytest.mark.parametrize(("size", "batch"), [(24, 16), (300, 256)])
def test_the_order_goes_on_beyond_the_examples_that_an_int32_counts(size: int, batch: int) -> None:
    key, step = jax.random.key(0), 2**29 + 5
    epoch, place = divmod(step * batch, size)
    orders = [
        jax.random.permutation(jax.random.fold_in(key, epoch + i), size)
        for i in range(batch // size + 2)
    ]
    expected = np.concatenate(orders)[place : place + batch]
    np.testing.assert_array_equal(batches.draw(key, step, size, batch), expected)


def test_sources_are_visited_in_orders_of_their_own() -> None:
    key = jax.random.key(0)
    keys = [jax.random.key_data(batches.order_key(key, name)) for name in ("labelled", "real")]
    assert (keys[0] != keys[1]).any()
    np.testing.assert_array_equal(keys[0], jax.random.key_data(stream(key, "order/labelled")))


def arrays(size: int, seed: int) -> dict[str, np.ndarray]:
    """Fields that tell examples apart."""
    rng = np.random.default_rng(seed)
    return {
        "images": rng.integers(0, 256, (size, 2, 2, 3), dtype=np.uint8),
        "points": rng.normal(size=(size, 5, 2)).astype(np.float32),
    }


DATA = {"labelled": arrays(10, 0), "real": arrays(7, 1)}
BATCH = {"labelled": 4, "real": 8}


def resident(key: jax.Array, steps: int) -> list[dict[str, Any]]:
    """What the step is given where arrays live on the device."""
    mesh = parallel.make_mesh()
    step = loop.from_device(lambda state, parts: parts, BATCH, mesh.size)
    read = parallel.parallelise(step, mesh, "mesh", sharded=False, donate=False)
    state = State.create({}, {}, key)
    return [
        jax.device_get(read(dataclasses.replace(state, step=jnp.asarray(n)), DATA))
        for n in range(steps)
    ]


def test_streamed_batches_are_those_that_are_gathered_on_the_device() -> None:
    key = jax.random.key(5)
    here = resident(key, 9)
    streamed = list(batches.from_host(key, DATA, BATCH, start=0, stop=9))
    assert len(streamed) == 9
    for ours, theirs in zip(streamed, here, strict=True):
        chex.assert_trees_all_equal(ours, theirs)
    for name, count in BATCH.items():
        np.testing.assert_array_equal(here[3][name]["example_index"], np.arange(count))
        chosen = batches.draw(batches.order_key(key, name), 3, len(DATA[name]["points"]), count)
        np.testing.assert_array_equal(here[3][name]["points"], DATA[name]["points"][chosen])


def test_a_stream_that_starts_later_continues() -> None:
    key = jax.random.key(5)
    whole = list(batches.from_host(key, DATA, BATCH, start=0, stop=6))
    rest = list(batches.from_host(key, DATA, BATCH, start=4, stop=6))
    assert len(rest) == 2
    chex.assert_trees_all_equal(whole[4:], rest)


def test_a_stream_survives_the_donation_of_its_key() -> None:
    key = jnp.copy(jax.random.key(5))
    expected = list(batches.from_host(jax.random.key(5), DATA, BATCH, start=0, stop=8))
    stream = batches.from_host(key, DATA, BATCH, start=0, stop=8)
    key.delete()
    chex.assert_trees_all_equal(list(stream), expected)


def test_processes_take_their_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    key = jax.random.key(5)
    (whole,) = batches.from_host(key, DATA, BATCH, start=2, stop=3)
    monkeypatch.setattr(jax, "process_count", lambda: 2)
    parts = []
    for index in range(2):
        monkeypatch.setattr(jax, "process_index", lambda index=index: index)
        parts += batches.from_host(key, DATA, BATCH, start=2, stop=3)
    joined = jax.tree.map(lambda a, b: np.concatenate([a, b]), *parts)
    chex.assert_trees_all_equal(joined, whole)


def test_padded_batches_hold_everything_once() -> None:
    data = arrays(10, 2)
    parts = list(batches.padded(data, 4))
    assert [len(part["valid"]) for part in parts] == [4, 4, 4]
    valid = np.concatenate([part["valid"] for part in parts])
    assert valid.tolist() == [True] * 10 + [False] * 2
    for name, value in data.items():
        joined = np.concatenate([part[name] for part in parts])
        np.testing.assert_array_equal(joined[valid], value)
    index = np.concatenate([part["example_index"] for part in parts])
    np.testing.assert_array_equal(index, np.arange(12))
    assert not list(batches.padded(arrays(0, 0), 4))


def test_examples_may_be_read_when_they_are_needed() -> None:
    whole = {"people": {"x": np.square(np.arange(10)), "y": np.arange(10)}}
    lazy = {
        "people": whole["people"] | {"x": MapDataset.source(range(10)).map(lambda i: np.square(i))}
    }
    key = jax.random.key(5)
    ways = [batches.from_host(key, d, {"people": 4}, start=1, stop=5) for d in (whole, lazy)]
    for a, b in zip(*map(list, ways), strict=True):
        chex.assert_trees_all_equal(a, b)
    for a, b in zip(*(batches.padded(d["people"], 4) for d in (whole, lazy)), strict=True):
        chex.assert_trees_all_equal(a, b)


def test_the_first_examples_are_known_by_their_index() -> None:
    data = arrays(10, 2)
    shown = batches.first(data, 3)
    np.testing.assert_array_equal(shown["images"], data["images"][:3])
    assert shown["example_index"].tolist() == [0, 1, 2]
    assert len(batches.first(data, 99)["points"]) == 10


LABEL = np.array([4, 2, 9, 4, 2, 4, 7, 4, 9, 0], np.int32)  # of persons 7 and 0 is one picture only


def in_pairs(steps: int = 400, batch: int = 6, seed: int = 0) -> np.ndarray:
    """Pairs of the examples of LABEL, [steps, batch / 2, 2]."""
    arrays = batches.with_pairs({"label": LABEL}, "people")
    key = jax.random.key(seed)
    chosen = [batches.examples_at(key, s, "people", arrays, batch) for s in range(steps)]
    return np.stack(chosen).reshape(steps, batch // 2, 2)


def test_the_first_of_each_pair_is_the_next_example() -> None:
    pairs = in_pairs(10)
    assert pairs.dtype == np.int32
    key = batches.order_key(jax.random.key(0), "people")
    for step, first in enumerate(pairs[..., 0]):
        np.testing.assert_array_equal(first, batches.draw(key, step, len(LABEL), 3))


def test_partners_are_other_pictures_of_the_same_person_or_anybody_elses() -> None:
    first, second = in_pairs().reshape(-1, 2).T
    assert (first != second).all()
    for example, person in enumerate(LABEL):
        met = second[first == example]
        counts = np.bincount(met, minlength=len(LABEL))
        mates = person == LABEL
        strangers = ~mates
        mates[example] = False
        together = counts[mates].sum()
        assert len(met) == 120  # every example is visited as often
        assert (together == 0) == (not mates.any())
        if mates.any():  # a half, give or take four standard deviations
            assert abs(together - 60) < 4 * np.sqrt(120 / 4)
        for kind in (mates, strangers):
            if kind.any():  # nobody is left out, nor favoured
                expected = counts[kind].sum() / kind.sum()
                assert np.abs(counts[kind] - expected).max() < 4 * np.sqrt(expected)


def test_partners_follow_the_key_the_step_and_the_source() -> None:
    first = np.zeros(64, np.int32)
    people = batches.with_pairs({"label": LABEL}, "people")[batches.PAIRS]
    keys = [
        stream(jax.random.key(seed), f"partner/{name}", step)
        for seed, name, step in ((0, "a", 0), (1, "a", 0), (0, "b", 0), (0, "a", 1))
    ]
    assert len({batches.draw_partners(key, first, people).tobytes() for key in keys}) == 4
    np.testing.assert_array_equal(in_pairs(3), in_pairs(3))
    assert (in_pairs(3, seed=1) != in_pairs(3)).any()


@pytest.mark.parametrize("devices", [1, 4])
def test_pairs_are_the_same_on_the_device_from_the_host_and_on_several(devices: int) -> None:
    key, count = jax.random.key(5), {"people": 16}
    data = {"people": batches.with_pairs(arrays(10, 0) | {"label": LABEL}, "people")}
    step = loop.from_device(lambda state, parts: parts, count, devices)

    def whole(number: jax.Array, data: dict[str, Any]) -> Any:
        state = dataclasses.replace(State.create({}, {}, key), step=number)
        lanes = jnp.arange(devices)
        return jax.vmap(lambda _: step(state, data), axis_name=parallel.AXIS)(lanes)

    run = jax.jit(whole)
    streamed = list(batches.from_host(key, data, count, start=0, stop=4))
    resumed = list(batches.from_host(key, data, count, start=3, stop=4))
    chex.assert_trees_all_equal(streamed[3:], resumed)
    for number, theirs in enumerate(streamed):
        ours = jax.device_get(run(jnp.asarray(number), data))
        for part in ours["people"]["label"].reshape(devices, -1, 2):
            assert part.shape == (8 // devices, 2)  # each device has whole pairs
        joined = jax.tree.map(lambda leaf: leaf.reshape(-1, *leaf.shape[2:]), ours)
        chex.assert_trees_all_equal(joined, theirs)
        assert set(theirs["people"]) == {"images", "points", "label", "example_index"}


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"label": np.zeros(4, np.int32)}, "'people' is drawn in pairs .* at least two people"),
        ({"label": np.array([0, 1, -1])}, r"without pictures of nobody known"),
        ({"points": np.zeros((3, 5, 2))}, "'people' has no labels"),
    ],
)
def test_people_that_make_no_pairs_are_refused(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        batches.with_pairs(fields, "people")
