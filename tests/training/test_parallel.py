"""One step function behind two kinds of parallelism."""

from __future__ import annotations

import threading
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax.sharding import PartitionSpec

from lrjax.errors import InputError
from lrjax.training import parallel
from lrjax.training.state import Net, State

MODES = ("pmap", "mesh")


def step(state: Any, batch: Any) -> Any:
    """The sum and the largest, over all devices."""
    total = jax.lax.psum(batch["x"].sum(0), parallel.AXIS)
    return state + total, {"largest": jax.lax.pmax(batch["x"].max(), parallel.AXIS)}


@pytest.mark.parametrize("sharded", [False, True])
@pytest.mark.parametrize("mode", MODES)
def test_a_step_sees_the_axis_and_the_batch(mode: str, sharded: bool) -> None:
    mesh = parallel.make_mesh()
    run = parallel.parallelise(step, mesh, mode, sharded=sharded)
    x = np.arange(6, dtype=np.float32).reshape(3, 2)
    place = parallel.shard if sharded else parallel.replicate
    state, metrics = run(parallel.replicate(jnp.ones(2), mesh), place({"x": x}, mesh))
    np.testing.assert_array_equal(state, [7.0, 10.0])
    assert metrics["largest"] == 5


@pytest.mark.parametrize("mode", MODES)
def test_the_state_is_given_up(mode: str) -> None:
    mesh = parallel.make_mesh()
    x = {"x": np.ones((1, 2), np.float32)}
    for donate in (True, False):
        run = parallel.parallelise(step, mesh, mode, sharded=False, donate=donate)
        state = parallel.replicate(jnp.zeros(2), mesh)
        run(state, x)
        assert state.is_deleted() == donate


@pytest.mark.parametrize("mode", MODES)
def test_a_second_trace_is_an_error(mode: str) -> None:
    mesh = parallel.make_mesh()
    run = parallel.parallelise(step, mesh, mode, sharded=False)
    state = parallel.replicate(jnp.zeros(2), mesh)
    for _ in range(2):
        state, _ = run(state, {"x": np.ones((1, 2), np.float32)})
    with pytest.raises(AssertionError, match="traced > 1 times"):
        run(state, {"x": np.ones((5, 2), np.float32)})
    # Another run in the same process is not a second trace.
    again = parallel.parallelise(step, mesh, mode, sharded=False)
    again(parallel.replicate(jnp.zeros(2), mesh), {"x": np.ones((5, 2), np.float32)})


def test_a_batch_that_does_not_split_is_refused() -> None:
    assert parallel.share_of(32, 4) == 8
    with pytest.raises(InputError, match="batch size 30 is not a multiple of the 4 devices"):
        parallel.share_of(30, 4)


def shapes(classes: int) -> State:
    """A state with a network that may be split, and moments of it."""
    params = {"kernel": jnp.zeros((3, classes)), "bias": jnp.zeros(classes)}
    body = jnp.zeros((2, 7))
    nets = {
        "body": Net(body, {}, optax.adam(1.0).init(body)),
        "classifier": Net(params, {}, optax.adam(1.0).init(params)),
    }
    return jax.eval_shape(lambda: State.create(nets, {}, jax.random.key(0)))


def test_the_last_axis_of_a_split_network_and_of_its_moments_is_split() -> None:
    specs = parallel.partition(shapes(8), {"classifier"}, 4)
    whole, columns, rows = PartitionSpec(), PartitionSpec(None, "data"), PartitionSpec("data")
    classifier = specs.nets["classifier"]
    assert classifier.params == {"kernel": columns, "bias": rows}
    moments = classifier.opt_state[0]
    assert moments.mu == moments.nu == {"kernel": columns, "bias": rows}
    assert moments.count == whole
    others = (specs.step, specs.key, specs.nets["body"])
    assert {*jax.tree.leaves(others, is_leaf=lambda s: s == whole)} == {whole}
    assert parallel.partition(None, (), 4) == whole


def test_what_cannot_be_split_is_refused() -> None:
    with pytest.raises(InputError, match="An axis of 6 cannot be split over 4 devices"):
        parallel.partition(shapes(6), {"classifier"}, 4)
    specs = parallel.partition(shapes(8), {"classifier"}, 1)
    with pytest.raises(InputError, match=r"set train\.parallel to 'mesh' to split a network"):
        parallel.parallelise(step, parallel.make_mesh(), "pmap", sharded=False, state_specs=specs)


@pytest.mark.parametrize("processes", [1, 2])
@pytest.mark.parametrize(
    ("reason", "lost"),
    [
        ("UNKNOWN: Gloo AllGather failed: Connection reset by peer\nmore", True),
        ("UNAVAILABLE: Task 1 heartbeat timeout", True),
        ("RESOURCE_EXHAUSTED: out of memory", False),
    ],
)
def test_what_fails_since_another_process_has_ended_says_so(
    reason: str, lost: bool, processes: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(jax, "process_count", lambda: processes)
    told: list[str] = []
    monkeypatch.setattr(threading, "excepthook", lambda args: told.append(str(args.exc_value)))
    before = threading.excepthook

    def fail() -> None:
        raise RuntimeError(reason)

    expected = parallel.Lost if lost and processes == 2 else RuntimeError

    def both_fail() -> None:
        thread = threading.Thread(target=fail)
        thread.start()
        thread.join()
        fail()

    with pytest.raises(expected) as caught, parallel.together():
        both_fail()
    assert threading.excepthook is before
    if expected is parallel.Lost:
        assert told == []
        assert f"({reason.partition(chr(10))[0]}); end the others, too" in str(caught.value)
    else:
        assert told == [reason]
