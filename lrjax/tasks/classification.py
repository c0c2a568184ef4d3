"""Who it is: what training asks of the features of an encoder, given its class weights."""

from __future__ import annotations

import dataclasses
from typing import Any, Literal

import jax
import jax.numpy as jnp

from lrjax.losses import identity
from lrjax.models.encoders import ClassifierConfig
from lrjax.models.registry import Network, build
from lrjax.training.parallel import AXIS
from lrjax.training.state import Metrics

SHARDED = 128
"""A classifier that is split has a multiple of so many columns, so that a run may go on on another
number of devices, if that divides it. Columns beyond the classes take no part."""


@dataclasses.dataclass(frozen=True)
class IdentityConfig:
    """What the features of faces are trained for."""

    head: Literal["softmax", "arcface", "cosface", "sphereface"] = "softmax"
    bias: bool = True  # of "softmax"; LightCNN's version 2 has none
    scale: float = 64.0  # of "arcface" and "cosface"
    # In radians of "arcface", of the cosine of "cosface"; null: InsightFace's, 0.5 and 0.4.
    margin: float | None = None
    # λ of "sphereface": its least value, its first one, and its growth per step (SphereFace's).
    easing: tuple[float, float, float] = (5.0, 1000.0, 0.12)
    focal: float = 0.0  # γ of the focal loss; 0 is plain cross entropy
    centre: float = 0.0  # λ of CentreFace's loss, whose released one is 0.008; 0 for none
    centre_rate: float = 0.5  # α of its centres
    # λ of DeepID2's loss of pairs, 0.05 there; batches then consist of pairs. 0 for none.
    verification: float = 0.0
    verification_margin: float = 1.0
    shard_classes: bool = False  # each device holds a part of the classifier


def classifier(config: IdentityConfig, classes: int, encoder: Network) -> Network:
    """Make the class weights for an encoder."""
    columns = -(-classes // SHARDED) * SHARDED if config.shard_classes else None
    bias = config.head == "softmax" and config.bias
    sizes = ClassifierConfig(
        features=encoder.embedding, classes=classes, columns=columns, use_bias=bias
    )
    return build(sizes)


def new_centres(config: IdentityConfig, classes: int, encoder: Network) -> dict[str, jax.Array]:
    """Make the centres [K, D] of all classes' features, if the centre loss wants them: zeros."""
    return {"centres": jnp.zeros((classes, encoder.embedding))} if config.centre else {}


def head(config: IdentityConfig, step: jax.Array) -> identity.Head:
    """Make the logits that training sees at a step, with their margin."""
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
    chosen = {"scale": config.scale}
    if config.margin is not None:
        chosen["margin"] = config.margin
    return lambda x, weights, labels: logits(x, weights["kernel"], labels, **chosen)


def identity_loss(
    config: IdentityConfig,
    features: jax.Array,
    weights: Any,
    labels: jax.Array,
    classes: int,
    centres: dict[str, jax.Array],
    step: jax.Array,
) -> tuple[jax.Array, Metrics]:
    """Compute what features [B, D] cost whose labels [B] are known, and the parts of it.

    Args:
      weights: of the classifier, or this device's part of it.
      classes: how many there are, on all devices together.
      centres: see `new_centres`.
      step: which step this is; A-Softmax gets harder with it.
    """
    logits = head(config, step)
    if config.shard_classes:
        cross_entropy = identity.sharded_softmax_cross_entropy(
            features, weights, labels, logits, AXIS, classes
        )
    else:
        cross_entropy = identity.softmax_cross_entropy(logits(features, weights, labels), labels)
    total = identity.focal(cross_entropy, config.focal).mean()
    metrics = {
        "cross_entropy": cross_entropy.mean(),
        "probability": jnp.exp(-cross_entropy).mean(),  # of the person who it is
    }
    if config.centre:
        metrics["centre"] = identity.centre_loss(features, centres["centres"], labels).mean()
        total = total + config.centre * metrics["centre"]
    if config.verification:
        first, second, same = features[::2], features[1::2], labels[::2] == labels[1::2]
        metrics["verification"] = identity.verification_loss(
            first, second, same, config.verification_margin
        ).mean()
        total = total + config.verification * metrics["verification"]
    return total, metrics


def update_centres(
    config: IdentityConfig, centres: dict[str, jax.Array], features: jax.Array, labels: jax.Array
) -> dict[str, jax.Array]:
    """Move the centres towards the features [B, D] of all devices."""
    if not config.centre:
        return centres
    moved = identity.updated_centres(centres["centres"], features, labels, config.centre_rate, AXIS)
    return {"centres": moved}


def predict_label(
    config: IdentityConfig, features: jax.Array, weights: Any, classes: int
) -> jax.Array:
    """Say whose the features [B, D] are taken to be, int32 [B]; no margin takes part."""
    if config.head == "softmax":
        logits = identity.linear_logits(features, weights["kernel"], weights.get("bias"))
    else:
        logits = identity.cosines(features, weights["kernel"])
    return logits[:, :classes].argmax(axis=1)
