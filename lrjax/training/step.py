"""One step of training, for every task: losses, gradients, updates, and the guard around them."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Collection
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import optax
from flax.traverse_util import flatten_dict, unflatten_dict

from lrjax.models.weights import misfit
from lrjax.rng import stream
from lrjax.training import parallel
from lrjax.training.nets import Nets
from lrjax.training.state import Metrics, Net, State
from lrjax.training.task import Batch, Losses, Player, Task

Step = Callable[[State, Any], tuple[State, Metrics]]

DUE = "due"
"""The name under which a streamed batch holds, beside its sources, the step that it is for."""


def init_state(task: Task, key: jax.Array) -> State:
    """Make the state before the first step: every player drawn from a stream of its own."""
    nets = {name: _new_net(player, name, key) for name, player in task.players.items()}
    return State.create(nets, dict(task.loss_state), key)


def _new_net(player: Player, name: str, key: jax.Array) -> Net:
    variables = player.variables
    if not variables or misfit(variables, player.network.shapes()):
        drawn = player.network.init(stream(key, f"init/{name}"))
        variables = unflatten_dict(flatten_dict(drawn) | flatten_dict(dict(variables)))
    params = variables["params"]
    return Net(
        params=params,
        stats={kind: value for kind, value in variables.items() if kind != "params"},
        opt_state=() if player.optimizer is None else player.optimizer.init(params),
        average=None if player.average is None else params,
    )


def make_step(task: Task, *, streamed: bool = False) -> Step:
    """Make the task's step `(state, batch) -> (state, metrics)`, for one of the devices.

    With `streamed`, a batch also says which step it is for (see `in_turn`).
    """
    learning = list(task.optimizers)

    def step(state: State, batch: Batch) -> tuple[State, Metrics]:
        def losses(params: dict[str, Any]) -> tuple[Losses, Any]:
            nets = Nets(task.modules, state.nets, params)
            values, metrics, loss_state = task.losses(nets, state, batch)
            return values, ({name: nets.stats(name) for name in learning}, metrics, loss_state)

        params = {name: state.nets[name].params for name in learning}
        gradients, (stats, metrics, loss_state) = players_gradients(losses, params)
        gradients = parallel.mean_gradients(gradients, task.split)
        nets = dict(state.nets)
        for name, optimizer in task.optimizers.items():
            decay = task.players[name].average
            nets[name] = _updated(optimizer, decay, nets[name], gradients[name], stats[name])
        state = dataclasses.replace(state, step=state.step + 1, nets=nets, losses=loss_state)
        return state, jax.lax.pmean(metrics, parallel.AXIS)

    return guarded(in_turn(step) if streamed else step, task.split)


def in_turn(step: Step) -> Step:
    """Make `step` give no finite metric for a batch that is meant for another step than this.

    `guarded` then refuses it. Batches that are streamed go on when one of them was refused; trained
    at the number of that one, they would see its random numbers, and the run would be a step short.

    The batch says in DUE, int32 [1], at which `state.step` it is to be trained.
    """

    def step_in_turn(state: State, batch: Any) -> tuple[State, Metrics]:
        due = batch[DUE][0] == state.step
        sources = {name: part for name, part in batch.items() if name != DUE}
        new, metrics = step(state, sources)
        return new, {name: jnp.where(due, value, jnp.nan) for name, value in metrics.items()}

    return step_in_turn


def players_gradients(
    losses: Callable[[dict[str, Any]], tuple[Losses, Any]], params: dict[str, Any]
) -> tuple[dict[str, Any], Any]:
    """Compute the gradient of each player's own loss in its own parameters, from one forward pass.

    Args:
      losses: `params -> ({player: scalar loss}, aux)`; every player, or every member of a tuple of
        players, is a key of `params`.
      params: player -> parameters.

    Returns:
      {player: gradient in params[player]}, and aux. Pulling back one player's unit cotangent also
      yields the other players' gradients; nobody reads those, and XLA drops them.
    """
    owners: list[tuple[str, ...]] = []

    def in_order(params: dict[str, Any]) -> tuple[list[jax.Array], Any]:
        values, aux = losses(params)
        owners[:] = [(name,) if isinstance(name, str) else name for name in values]
        return list(values.values()), aux

    values, pull_back, aux = jax.vjp(in_order, params, has_aux=True)
    gradients: dict[str, Any] = {}
    for place, names in enumerate(owners):
        cotangents = [jnp.full_like(v, i == place) for i, v in enumerate(values)]
        (own,) = pull_back(cotangents)
        gradients |= {name: own[name] for name in names}
    return gradients, aux


def _updated(
    optimizer: optax.GradientTransformation,
    decay: float | None,
    net: Net,
    gradients: Any,
    stats: Any,
) -> Net:
    changes, opt_state = optimizer.update(gradients, net.opt_state, net.params)
    params = optax.apply_updates(net.params, changes)
    average = None
    if decay is not None:
        average = optax.incremental_update(params, net.average, 1.0 - decay)
    return Net(params=params, stats=stats, opt_state=opt_state, average=average)


def guarded(step: Step, split: Collection[str] = ()) -> Step:
    """Wrap `step` so that it keeps the old state when a metric or the new state is not finite.

    The state therefore never holds a NaN: the host finds out later, and what it saves is good.
    Metrics gain `update/NET`, how far the parameters moved (Euclidean): NaN if the net broke.
    Networks in `split` are split over the devices, which come to the same verdict.
    """

    def guarded_step(state: State, batch: Any) -> tuple[State, Metrics]:
        new, metrics = step(state, batch)
        updates = {
            f"update/{name}": _update(state.nets[name], net, name in split)
            for name, net in new.nets.items()
            if net is not state.nets[name]
        }
        metrics = metrics | updates
        finite = jnp.stack([jnp.isfinite(value).all() for value in metrics.values()]).all()
        # XLA would repeat this conjunction in the update of each of a thousand arrays, and take
        # half as long again to compile; a square root is dear enough to it to be computed once.
        finite = jnp.sqrt(finite.astype(jnp.float32)) > 0
        return jax.tree.map(partial(_select, finite), new, state), metrics

    return guarded_step


def _update(old: Net, new: Net, split: bool) -> jax.Array:
    finite = [jnp.isfinite(leaf).all() for leaf in jax.tree.leaves(new)]
    change = jax.tree.map(jnp.subtract, new.params, old.params)
    length = jnp.where(jnp.stack(finite).all(), optax.tree.norm(change), jnp.nan)
    return jnp.sqrt(jax.lax.psum(jnp.square(length), parallel.AXIS)) if split else length


def _select(finite: jax.Array, new: jax.Array, old: jax.Array) -> jax.Array:
    return old if jnp.issubdtype(new.dtype, jax.dtypes.prng_key) else jnp.where(finite, new, old)
