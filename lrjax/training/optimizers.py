"""Optimisers from their configuration, and the gradients of several players at once."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import optax

from lrjax.config import GroupConfig, OptimizerConfig


def make_schedule(config: OptimizerConfig, steps: int) -> optax.Schedule:
    """Learning rate by step, over a run of `steps` steps."""
    if config.schedule == "cosine":
        warmup = max(1, steps // 50)
        return optax.warmup_cosine_decay_schedule(
            0.0, config.learning_rate, warmup, max(steps, warmup + 1)
        )
    drops = {max(1, round(fraction * steps)): config.drop_factor for fraction in config.drops}
    return optax.piecewise_constant_schedule(config.learning_rate, drops)


def make_optimizer(
    config: OptimizerConfig, steps: int, net: str = ""
) -> optax.GradientTransformation:
    """Adam or gradient descent with momentum, with optional clips of what they are given.

    Args:
      steps: length of the run, which the schedule follows.
      net: name of the network that is optimised; it begins the paths of its parameters that
        `config.groups` match, as in "classifier.bias".
    """
    rate = make_schedule(config, steps)
    if config.method == "adam" and not config.groups:
        method = optax.adamw(rate, b1=config.b1, b2=config.b2, weight_decay=config.weight_decay)
    else:
        method = _grouped(config, rate, net)
    clips = []
    if config.clip_norm is not None:
        clips.append(optax.clip_by_global_norm(config.clip_norm))
    if config.adjustable_clip is not None:
        clips.append(adjustable_clip(config.adjustable_clip, rate))
    return optax.chain(*clips, method) if clips else method


def adjustable_clip(threshold: float, rate: optax.Schedule) -> optax.GradientTransformation:
    """Clips each element to ±threshold / the step's learning rate (Kim et al. 2016, section 3.2).

    No step of plain gradient descent is then larger than the threshold, whatever the rate is.
    """

    def init(params: Any) -> optax.ScaleByScheduleState:
        del params
        return optax.ScaleByScheduleState(count=jnp.zeros((), jnp.int32))

    def update(
        updates: Any, state: optax.ScaleByScheduleState, params: Any = None
    ) -> tuple[Any, optax.ScaleByScheduleState]:
        del params
        bound = threshold / rate(state.count)  # infinite where the rate is 0
        clipped = jax.tree.map(lambda g: jnp.clip(g, -bound, bound), updates)
        return clipped, optax.ScaleByScheduleState(optax.safe_increment(state.count))

    return optax.GradientTransformation(init, update)


def _grouped(
    config: OptimizerConfig, rate: optax.Schedule, net: str
) -> optax.GradientTransformation:
    """Either method, with the rates and decays of its groups."""
    decay = _by_path(
        lambda update, param, group: update + config.weight_decay * group.decay * param, config, net
    )
    moments = {
        "adam": (optax.scale_by_adam(config.b1, config.b2), decay),
        "sgd": (decay, optax.trace(config.momentum)),
    }[config.method]
    scale = _by_path(lambda update, param, group: update * group.rate, config, net)
    return optax.chain(*moments, scale, optax.scale_by_learning_rate(rate))


def _by_path(
    change: Callable[[jax.Array, jax.Array, GroupConfig], jax.Array],
    config: OptimizerConfig,
    net: str,
) -> optax.GradientTransformation:
    """`change(update, parameter, its group)` of every parameter."""

    def one(path: Any, update: jax.Array, param: jax.Array) -> jax.Array:
        return change(update, param, _group(config, net, path))

    return optax.stateless(
        lambda updates, params: jax.tree_util.tree_map_with_path(one, updates, params)
    )


def _group(config: OptimizerConfig, net: str, path: Any) -> GroupConfig:
    """The first group that matches a parameter, or one that changes nothing."""
    name = f"{net}.{jax.tree_util.keystr(path, simple=True, separator='.')}"
    found = (group for group in config.groups if re.search(group.match, name))
    return next(found, GroupConfig(match=""))


def players_gradients(
    losses: Callable[[dict[str, Any]], tuple[dict[str, jax.Array], Any]], params: dict[str, Any]
) -> tuple[dict[str, jax.Array], dict[str, Any], Any]:
    """The gradient of each player's own loss in its own parameters, from one forward pass.

    Args:
      losses: `params -> ({player: scalar loss}, aux)`; every player is a key of `params`.
      params: player -> parameters.

    Returns:
      The losses, {player: gradient in params[player]}, and aux. Pulling back one player's unit
      cotangent also yields the other players' gradients; nobody reads those, and XLA drops them.
    """
    values, pull_back, aux = jax.vjp(losses, params, has_aux=True)
    gradients = {}
    for player in values:
        one_hot = {name: jnp.full_like(v, name == player) for name, v in values.items()}
        gradients[player] = pull_back(one_hot)[0][player]
    return values, gradients, aux
