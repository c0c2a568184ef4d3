"""Optimisers from their configuration."""

from __future__ import annotations

import re
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import optax

from lrjax.config import GroupConfig, OptimizerConfig


def make_schedule(config: OptimizerConfig, steps: int) -> optax.Schedule:
    """Make the learning rate by step, over a run of `steps` steps."""
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
    """Make Adam or gradient descent with momentum, with optional clips of what they are given.

    Args:
      steps: length of the run, which the schedule follows.
      net: name of the network that is optimised; it begins the paths of its parameters that
        `config.groups` match, as in "classifier.bias".
    """
    rate = make_schedule(config, steps)
    method = _method(config, rate)
    if config.groups:
        groups = {i: _method(config, rate, group) for i, group in enumerate(config.groups)}
        method = optax.partition(
            groups | {len(config.groups): method}, partial(_labels, config, net)
        )
    clips = []
    if config.clip_norm is not None:
        clips.append(optax.clip_by_global_norm(config.clip_norm))
    if config.adjustable_clip is not None:
        clips.append(adjustable_clip(config.adjustable_clip, rate))
    return optax.chain(*clips, method) if clips else method


def adjustable_clip(threshold: float, rate: optax.Schedule) -> optax.GradientTransformation:
    """Clip each element to ±threshold / the step's learning rate (Kim et al. 2016, section 3.2).

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


def _method(
    config: OptimizerConfig, rate: optax.Schedule, group: GroupConfig = GroupConfig(match="")
) -> optax.GradientTransformation:
    """Make the method itself, at a group's share of the rate and of the decay."""
    decay = config.weight_decay * group.decay
    if config.method == "adam" and group.rate == 1:
        return optax.adamw(rate, b1=config.b1, b2=config.b2, weight_decay=decay)
    steps = {
        "adam": (optax.scale_by_adam(config.b1, config.b2), optax.add_decayed_weights(decay)),
        "sgd": (optax.add_decayed_weights(decay), optax.trace(config.momentum)),
    }[config.method]
    return optax.chain(*steps, optax.scale(group.rate), optax.scale_by_learning_rate(rate))


def _labels(config: OptimizerConfig, net: str, params: Any) -> Any:
    """Label each parameter with the place of the first group that matches, or one past them."""

    def label(path: Any, _: Any) -> int:
        name = f"{net}.{jax.tree_util.keystr(path, simple=True, separator='.')}"
        found = (i for i, group in enumerate(config.groups) if re.search(group.match, name))
        return next(found, len(config.groups))

    return jax.tree_util.tree_map_with_path(label, params)
