"""States of networks."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import optax

from lrjax.training.state import State, new_net, updated

VARIABLES = {"params": {"w": np.array([1.0, 2.0], np.float32)}, "batch_stats": {"m": np.ones(1)}}


def test_every_leaf_has_memory_of_its_own() -> None:
    zero = jnp.zeros(2)
    net = new_net({"params": {"w": zero}}, optax.adam(0.1), average=True)
    state = State.create({"a": net, "b": net}, {"x": zero, "y": zero}, jax.random.key(0))
    leaves = jax.tree.leaves((state.nets, state.losses))
    assert len({leaf.unsafe_buffer_pointer() for leaf in leaves}) == len(leaves)
    assert zero.unsafe_buffer_pointer() not in {leaf.unsafe_buffer_pointer() for leaf in leaves}


def test_a_frozen_net_has_no_optimiser_and_no_average() -> None:
    net = new_net(VARIABLES, None)
    assert net.opt_state == ()
    assert net.average is None
    assert net.variables == net.evaluation_variables == VARIABLES


def test_an_update_is_a_step_and_a_moving_average() -> None:
    optimizer = optax.sgd(0.5)
    net = new_net(VARIABLES, optimizer, average=True)
    gradients = {"w": np.array([2.0, -2.0], np.float32)}
    for _ in range(2):
        net = updated(net, gradients, {"batch_stats": {"m": np.zeros(1)}}, optimizer, decay=0.9)
    np.testing.assert_allclose(net.params["w"], [-1.0, 4.0])
    # 0.9 (0.9 [1, 2] + 0.1 [0, 3]) + 0.1 [-1, 4]
    np.testing.assert_allclose(net.average["w"], [0.71, 2.29], rtol=1e-6)
    np.testing.assert_array_equal(net.stats["batch_stats"]["m"], 0)
    assert net.variables["params"] is net.params
    assert net.evaluation_variables["params"] is net.average
