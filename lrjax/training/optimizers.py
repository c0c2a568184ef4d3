"""Optimisers from their configuration, and the gradients of several players at once."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import optax

from lrjax.config import OptimizerConfig


def make_schedule(config: OptimizerConfig, steps: int) -> optax.Schedule:
    """Learning rate by step, over a run of `steps` steps."""
    if config.schedule == "cosine":
        warmup = max(1, steps // 50)
        return optax.warmup_cosine_decay_schedule(
            0.0, config.learning_rate, warmup, max(steps, warmup + 1)
        )
    drops = {max(1, round(fraction * steps)): config.drop_factor for fraction in config.drops}
    return optax.piecewise_constant_schedule(config.learning_rate, drops)


def make_optimizer(config: OptimizerConfig, steps: int) -> optax.GradientTransformation:
    """Adam (AdamW with `weight_decay`), with an optional clip of the global norm."""
    adam = optax.adamw(
        make_schedule(config, steps), b1=config.b1, b2=config.b2, weight_decay=config.weight_decay
    )
    if config.clip_norm is None:
        return adam
    return optax.chain(optax.clip_by_global_norm(config.clip_norm), adam)


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
