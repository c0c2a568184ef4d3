"""Who it is: the class weights of a recogniser, and what training asks of its features."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp

from lrjax.losses import identity
from lrjax.training.parallel import AXIS
from lrjax.training.state import Metrics

if TYPE_CHECKING:
    from lrjax.tasks.recognition import RecognitionConfig

SHARDED = 128
"""A classifier that is split has a multiple of so many columns, so that a run may go on on another
number of devices, if that divides it. Columns beyond the classes take no part."""

# (features [B, D], class weights, labels [B], step) -> [B], as a scalar or for each example
Errors = Callable[[jax.Array, Any, jax.Array, jax.Array], jax.Array]


def new_classifier(
    config: RecognitionConfig, dimensions: int, key: jax.Array
) -> dict[str, jax.Array]:
    """Class weights, kernel [D, K] uniform as in PyTorch, and perhaps a bias [K]."""
    classes = config.classes
    bound = dimensions**-0.5
    columns = -(-classes // SHARDED) * SHARDED if config.shard_classes else classes
    kernel = jax.random.uniform(key, (dimensions, classes), minval=-bound, maxval=bound)
    weights = {"kernel": jnp.pad(kernel, ((0, 0), (0, columns - classes)))}
    if config.head == "softmax" and config.bias:
        weights["bias"] = jnp.zeros(columns)
    return weights


def new_centres(config: RecognitionConfig, dimensions: int) -> dict[str, jax.Array]:
    """The centres [K, D] of all classes' features, where the centre loss wants them: the origin."""
    return {"centres": jnp.zeros((config.classes, dimensions))} if config.centre else {}


def head(config: RecognitionConfig, step: jax.Array) -> identity.Head:
    """The logits that training sees at a step, with their margin."""
    if config.head == "softmax":
        return lambda x, weights, labels: identity.linear_logits(
            x, weights["kernel"], weights.get("bias")
        )
    if config.head == "sphereface":
        ease = identity.sphereface_ease(step, *config.easing)
        return lambda x, weights, labels: identity.sphereface_logits(
            x, weights["kernel"], labels, ease
        )
    logits = {"arcface": identity.arcface_logits, "cosface": identity.cosface_logits}[config.head]
    return lambda x, weights, labels: logits(
        x, weights["kernel"], labels, config.scale, config.margin
    )


def cross_entropies(config: RecognitionConfig) -> Errors:
    """`(features, class weights, labels, step) -> cross entropies [B]`."""
    if not config.shard_classes:
        return lambda x, weights, labels, step: identity.softmax_cross_entropy(
            head(config, step)(x, weights, labels), labels
        )
    return lambda x, weights, labels, step: identity.sharded_softmax_cross_entropy(
        x, weights, labels, head(config, step), AXIS, config.classes
    )


def asked(
    config: RecognitionConfig,
    features: jax.Array,
    weights: Any,
    labels: jax.Array,
    losses: dict[str, Any],
    step: jax.Array,
) -> tuple[jax.Array, Metrics]:
    """What the features [B, D] of faces cost, whose labels [B] are known, and the parts of it.

    Args:
      losses: the state of the losses, `new_centres` among them.
      step: which step this is; A-Softmax gets harder with it.
    """
    cross_entropy = cross_entropies(config)(features, weights, labels, step)
    total = identity.focal(cross_entropy, config.focal).mean()
    values = {
        "cross_entropy": cross_entropy.mean(),
        "probability": jnp.exp(-cross_entropy).mean(),  # of the person who it is
    }
    if config.centre:
        values["centre"] = identity.centre_loss(features, losses["centres"], labels).mean()
        total = total + config.centre * values["centre"]
    if config.verification:
        first, second, same = features[::2], features[1::2], labels[::2] == labels[1::2]
        values["verification"] = identity.verification_loss(
            first, second, same, config.verification_margin
        ).mean()
        total = total + config.verification * values["verification"]
    return total, values


def moved_centres(
    config: RecognitionConfig, losses: dict[str, Any], features: jax.Array, labels: jax.Array
) -> dict[str, Any]:
    """`losses` with the centres nearer to the features [B, D] of all devices."""
    if not config.centre:
        return losses
    centres = identity.updated_centres(
        losses["centres"], features, labels, config.centre_rate, AXIS
    )
    return losses | {"centres": centres}


def guesses(config: RecognitionConfig, features: jax.Array, weights: Any) -> jax.Array:
    """Whose the features [B, D] are taken to be, int32 [B]; no margin takes part."""
    if config.head == "softmax":
        logits = identity.linear_logits(features, weights["kernel"], weights.get("bias"))
    else:
        logits = identity.cosines(features, weights["kernel"])
    return logits[:, : config.classes].argmax(axis=1)
