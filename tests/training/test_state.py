"""States of networks, and what one step makes of them."""

from __future__ import annotations

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import tiny

from lrjax.models.registry import Network, NetworkConfig
from lrjax.training.nets import Nets
from lrjax.training.state import Net, State
from lrjax.training.step import guarded, init_state, make_step, players_gradients
from lrjax.training.task import Player, Task

VARIABLES = {"params": {"w": jnp.ones(5)}, "stats": {"mean": jnp.zeros(())}}
LINE = Network(NetworkConfig("line"), "critic", tiny.Line(), ((5,),))


def test_every_leaf_has_memory_of_its_own() -> None:
    zero = jnp.zeros(2)
    net = Net({"w": zero}, {}, optax.adam(0.1).init({"w": zero}), {"w": zero})
    state = State.create({"a": net, "b": net}, {"x": zero, "y": zero}, jax.random.key(0))
    leaves = jax.tree.leaves((state.nets, state.losses))
    assert len({leaf.unsafe_buffer_pointer() for leaf in leaves}) == len(leaves)
    assert zero.unsafe_buffer_pointer() not in {leaf.unsafe_buffer_pointer() for leaf in leaves}


def task_of(players: dict[str, Player], losses: Any) -> Task:
    return Task(players, {"points": 2}, losses, lambda *args: {}, lambda *args: {})


def stepped(task: Task, state: State, batch: Any) -> tuple[State, Any]:
    """One step on one device."""
    step = jax.vmap(make_step(task), in_axes=(None, 0), out_axes=None, axis_name="data")
    return step(state, jax.tree.map(lambda leaf: leaf[None], batch))


def test_a_frozen_net_has_no_optimiser_and_no_average_and_stays() -> None:
    players = {
        "line": Player(LINE, optax.sgd(0.5)),
        "fixed": Player(LINE, None, VARIABLES),
    }
    x = jnp.arange(10.0).reshape(2, 5)

    def losses(nets: Nets, state: State, batch: Any) -> Any:
        error = jnp.square(nets("line", batch["x"]) - nets("fixed", batch["x"])).mean()
        return {"line": error}, {"error": error}, {}

    task = task_of(players, losses)
    state = init_state(task, jax.random.key(0))
    assert state.nets["fixed"].opt_state == ()
    assert state.nets["fixed"].average is None
    np.testing.assert_array_equal(state.nets["fixed"].params["w"], 1)
    new, _ = stepped(task, state, {"x": x})
    assert tiny.same(new.nets["fixed"], state.nets["fixed"])
    assert not tiny.same(new.nets["line"].params, state.nets["line"].params)
    assert int(new.step) == 1


def test_an_update_is_a_step_and_a_moving_average() -> None:
    players = {"line": Player(LINE, optax.sgd(0.5), VARIABLES, average=0.25)}

    def losses(nets: Nets, state: State, batch: Any) -> Any:
        total = nets("line", batch["x"]).sum()  # whose gradient is the sum of the x
        return {"line": total}, {}, {}

    task = task_of(players, losses)
    state = init_state(task, jax.random.key(0))
    x = jnp.array([[1.0, 0, 0, 0, -2.0], [1.0, 0, 0, 0, 0]])
    for _ in range(2):
        state, _ = stepped(task, state, {"x": x})
    net = state.nets["line"]
    np.testing.assert_allclose(net.params["w"], [-1, 1, 1, 1, 3])
    # 0.25 (0.25 [1, 1] + 0.75 [0, 2]) + 0.75 [-1, 3]
    np.testing.assert_allclose(net.average["w"][jnp.array([0, 4])], [-0.6875, 2.6875], rtol=1e-6)
    assert net.variables["params"] is net.params
    assert net.evaluation_variables["params"] is net.average


def test_each_player_goes_down_its_own_loss_and_several_may_share_one() -> None:
    params = {"a": jnp.array(2.0), "b": jnp.array(3.0), "c": jnp.array(5.0)}

    def losses(p: Any) -> Any:
        product = p["a"] * p["b"] * p["c"]
        return {"a": product, ("b", "c"): -2 * product}, "aux"

    gradients, aux = players_gradients(losses, params)
    assert aux == "aux"
    assert {name: float(value) for name, value in gradients.items()} == {
        "a": 15,
        "b": -20,
        "c": -12,
    }


def test_what_was_loaded_is_kept_and_what_it_lacks_is_drawn() -> None:
    drawn = init_state(task_of({"line": Player(LINE, None)}, None), jax.random.key(3)).nets["line"]
    half = {"params": {"w": jnp.full(5, 7.0)}}
    net = init_state(task_of({"line": Player(LINE, None, half)}, None), jax.random.key(3)).nets[
        "line"
    ]
    np.testing.assert_array_equal(net.params["w"], 7)
    assert tiny.same(net.stats, drawn.stats)


def test_all_that_is_no_parameter_is_kept_as_statistics() -> None:
    variables = {"batch_stats": {"mean": jnp.ones(())}} | VARIABLES  # one on either side in the ABC
    task = task_of({"line": Player(LINE, None, variables)}, None)
    net = init_state(task, jax.random.key(0)).nets["line"]
    assert net.params.keys() == {"w"}
    assert net.stats.keys() == {"batch_stats", "stats"}


def test_parts_of_a_network_move_and_break_together() -> None:
    net = Net({"w": jnp.zeros(2)}, {})
    state = State.create({"whole": net, "parts": net}, {}, jax.random.key(0))

    def step(state: State, batch: Any) -> Any:
        nets = {
            name: dataclasses.replace(net, params={"w": net.params["w"] + batch})
            for name, net in state.nets.items()
        }
        return dataclasses.replace(state, nets=nets), {}

    lanes = jax.vmap(guarded(step, {"parts"}), in_axes=(None, 0), axis_name="data")
    moved, metrics = lanes(state, jnp.array([[3.0, 0.0], [0.0, 4.0]]))
    np.testing.assert_allclose(metrics["update/whole"], [3, 4])
    np.testing.assert_allclose(metrics["update/parts"], [5, 5])
    np.testing.assert_array_equal(moved.nets["parts"].params["w"], [[3, 0], [0, 4]])
    kept, metrics = lanes(state, jnp.array([[3.0, 0.0], [0.0, jnp.nan]]))
    np.testing.assert_array_equal(metrics["update/parts"], [jnp.nan, jnp.nan])
    np.testing.assert_array_equal(kept.nets["parts"].params["w"], 0)


def test_statistics_of_a_network_that_is_applied_twice_are_averaged() -> None:
    class Counter(tiny.Line.__bases__[0]):
        @tiny.nn.compact
        def __call__(self, x: jax.Array, train: bool) -> jax.Array:
            mean = self.variable("stats", "mean", jnp.zeros, ())
            if train:
                mean.value = mean.value + x.mean()
            return x * self.param("w", lambda key: jnp.ones(()))

    nets = {"n": Net({"w": jnp.ones(())}, {"stats": {"mean": jnp.ones(())}})}
    both = Nets({"n": Counter()}, nets, {"n": {"w": jnp.ones(())}})
    both("n", jnp.array([1.0]))
    both("n", jnp.array([3.0]))
    assert float(both.stats("n")["stats"]["mean"]) == 3  # of 1 + 1 and 1 + 3
    alone = Nets({"n": Counter()}, nets)
    alone("n", jnp.array([1.0]))
    assert float(alone.stats("n")["stats"]["mean"]) == 1


@pytest.mark.parametrize("train", [True, False])
def test_the_average_is_what_evaluation_applies(train: bool) -> None:
    net = Net({"w": jnp.ones(5)}, {"stats": {"mean": jnp.zeros(())}}, (), {"w": jnp.zeros(5)})
    learning = {"line": net.params} if train else {}
    nets = Nets({"line": tiny.Line()}, {"line": net}, learning)
    assert float(nets("line", jnp.ones((1, 5)))[0]) == (5 if train else 0)
    assert float(nets.fixed("line", jnp.ones((1, 5)))[0]) == 0
