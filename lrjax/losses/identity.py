"""Telling people apart: softmax, ArcFace, CosFace, the focal weight, and classes over devices.

A head makes logits of embeddings, class weights and labels. A label outside of 0..K-1 names none
of these K classes: no margin is then applied, which is how a device treats the examples whose class
another device holds.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

Head = Callable[[jax.Array, Any, jax.Array], jax.Array]
"""`(embeddings [B, D], weights, labels int32 [B]) -> logits [B, K]`; the last axis of every array
in `weights` counts the classes."""

_LEAST_SQUARE = 1e-12  # below it a vector has no direction
_LEAST_SINE_SQUARE = 1e-7  # below it, float32 knows no angle: sin θ is taken as a constant


def softmax_cross_entropy(
    logits: jax.Array, labels: jax.Array, valid: jax.Array | None = None
) -> jax.Array:
    """-log softmax(logits)[label] of each example, float32 [B]; 0 where `valid` [B] is false.

    Logits [B, K] may be -inf where a class takes no part.
    """
    logits = logits.astype(jnp.float32)
    safe = labels if valid is None else jnp.where(valid, labels, 0)
    logits = logits - jax.lax.stop_gradient(logits.max(axis=1, keepdims=True))
    target = jnp.take_along_axis(logits, safe[:, None], axis=1)[:, 0]
    error = jnp.log(jnp.exp(logits).sum(axis=1)) - target
    return error if valid is None else jnp.where(valid, error, 0.0)


def normalised(vectors: jax.Array, axis: int) -> jax.Array:
    """Vectors of length 1 along `axis`; a zero vector stays zero, with finite gradients."""
    square = jnp.sum(jnp.square(vectors), axis=axis, keepdims=True)
    return vectors * jax.lax.rsqrt(jnp.maximum(square, _LEAST_SQUARE))


def cosines(embeddings: jax.Array, weights: jax.Array) -> jax.Array:
    """cos θ [B, K] between embeddings [B, D] and the classes' weights [D, K]."""
    return normalised(embeddings, 1) @ normalised(weights, 0)


def linear_logits(
    embeddings: jax.Array, weights: jax.Array, bias: jax.Array | None = None
) -> jax.Array:
    """embeddings [B, D] · weights [D, K], plus `bias` [K]."""
    logits = embeddings @ weights
    return logits if bias is None else logits + bias


def arcface_logits(
    embeddings: jax.Array,
    weights: jax.Array,
    labels: jax.Array,
    scale: float = 64.0,
    margin: float = 0.5,
) -> jax.Array:
    """ArcFace: s·cos(θ + m) for the labelled class, s·cos θ for all others, [B, K].

    Where cos θ <= cos(π - m), θ + m passes π and its cosine would rise again; there the labelled
    class gets s·(cos θ - m·sin(π - m)). sin θ is sqrt(max(1 - cos² θ, ε)), so that gradients are
    finite at cos θ = ±1.
    """
    cosine = cosines(embeddings, weights)
    place, inside = _places(labels, cosine.shape[1])
    target = jnp.take_along_axis(cosine, place, axis=1)
    sine = jnp.sqrt(jnp.maximum(1.0 - jnp.square(target), _LEAST_SINE_SQUARE))
    turned = target * math.cos(margin) - sine * math.sin(margin)
    lowered = target - margin * math.sin(math.pi - margin)
    harder = jnp.where(target > math.cos(math.pi - margin), turned, lowered)
    return scale * _replaced(cosine, place, inside, harder)


def cosface_logits(
    embeddings: jax.Array,
    weights: jax.Array,
    labels: jax.Array,
    scale: float = 64.0,
    margin: float = 0.4,
) -> jax.Array:
    """CosFace: s·(cos θ - m) for the labelled class, s·cos θ for all others, [B, K]."""
    cosine = cosines(embeddings, weights)
    place, inside = _places(labels, cosine.shape[1])
    target = jnp.take_along_axis(cosine, place, axis=1)
    return scale * _replaced(cosine, place, inside, target - margin)


def focal(cross_entropy: jax.Array, gamma: float = 2.0) -> jax.Array:
    """(1 - p)^γ · CE with p = exp(-CE), the labelled class's probability; shapes stay."""
    if gamma == 0:
        return cross_entropy
    # Not below the least normal number: the slope of a power below 1 would be infinite at 0.
    doubt = jnp.maximum(-jnp.expm1(-cross_entropy), jnp.finfo(jnp.float32).tiny)
    return doubt**gamma * cross_entropy


def sharded_softmax_cross_entropy(
    embeddings: jax.Array,
    weights: Any,
    labels: jax.Array,
    head: Head,
    axis_name: str,
    classes: int | None = None,
) -> jax.Array:
    """`softmax_cross_entropy` of this device's examples, each device holding K/n classes' weights.

    Embeddings [B/n, D] and labels [B/n] (numbers of classes among all K) are this device's; those
    of all devices are gathered, and a device makes logits [B, K/n] only.

    Args:
      weights: array or tree of this device's K/n classes, in the order of the devices.
      head: see `Head`.
      axis_name: the devices' axis.
      classes: how many of the K classes exist; the rest fills up the last device and is left out.

    Returns:
      float32 [B/n], equal to the unsharded ones. In the gradient of a mean over them, that of the
      embeddings is the unsharded one, and that of `weights`, to which the examples of all n devices
      contribute, is the sum of the n devices' means: divided by n it is that of the mean over B.
    """
    lane, count = jax.lax.axis_index(axis_name), embeddings.shape[0]
    everybody = jax.lax.all_gather(embeddings, axis_name, tiled=True)
    wanted = jax.lax.all_gather(labels, axis_name, tiled=True)
    width = jax.tree.leaves(weights)[0].shape[-1]
    here = wanted - lane * width
    logits = head(everybody, weights, here).astype(jnp.float32)
    if classes is not None:
        exists = lane * width + jnp.arange(width) < classes
        logits = jnp.where(exists, logits, -jnp.inf)
    logits = logits - jax.lax.pmax(
        jax.lax.stop_gradient(logits.max(axis=1, keepdims=True)), axis_name
    )
    total = jax.lax.psum(jnp.exp(logits).sum(axis=1), axis_name)
    place, inside = _places(here, width)
    found = jnp.take_along_axis(logits, place, axis=1)
    target = jax.lax.psum(jnp.where(inside, found, 0.0)[:, 0], axis_name)
    error = jnp.log(total) - target
    return jax.lax.dynamic_slice_in_dim(error, lane * count, count)


def _places(labels: jax.Array, classes: int) -> tuple[jax.Array, jax.Array]:
    """Labels as columns [B, 1] that exist, and whether they did [B, 1]."""
    column = labels[:, None]
    return jnp.clip(column, 0, classes - 1), (column >= 0) & (column < classes)


def _replaced(
    cosine: jax.Array, place: jax.Array, inside: jax.Array, value: jax.Array
) -> jax.Array:
    """`cosine` [B, K] with `value` [B, 1] in column `place`, where that is `inside`."""
    labelled = (jnp.arange(cosine.shape[1]) == place) & inside
    return jnp.where(labelled, value, cosine)
