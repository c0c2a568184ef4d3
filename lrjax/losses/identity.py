"""Telling people apart: softmax and its margins, centres, pairs, and classes over devices.

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


def cosine_distance(first: jax.Array, second: jax.Array) -> jax.Array:
    """Compute 1 - cos θ [B] between vectors [B, D]: 0 where they point the same way, at most 2."""
    return 1.0 - (normalised(first, 1) * normalised(second, 1)).sum(1)


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
    """CosFace: s·(cos θ - m) for the labelled class, s·cos θ for all others, [B, K].

    Paper: a margin of 0.35. Ours: 0.4, as InsightFace trains it.
    """
    cosine = cosines(embeddings, weights)
    place, inside = _places(labels, cosine.shape[1])
    target = jnp.take_along_axis(cosine, place, axis=1)
    return scale * _replaced(cosine, place, inside, target - margin)


def sphereface_logits(
    embeddings: jax.Array, weights: jax.Array, labels: jax.Array, ease: jax.Array | float
) -> jax.Array:
    """A-Softmax of margin 4 (SphereFace): ‖x‖·cos θ, lowered for the labelled class, [B, K].

    The labelled class gets ‖x‖·(λ·cos θ + ψ(θ)) / (1 + λ), where ψ(θ) = (-1)^k cos 4θ - 2k for θ in
    [kπ/4, (k+1)π/4] falls all the way from 1 to -7. Features keep their length, class weights have
    length 1, and there is no bias.

    Gradients are those of this formula; the released code rescales them to a length of its own.

    Args:
      ease: λ, a scalar from 0 on: the larger, the nearer to no margin; see `sphereface_ease`.
    """
    logits = embeddings @ normalised(weights, 0)
    place, inside = _places(labels, logits.shape[1])
    target = jnp.take_along_axis(logits, place, axis=1)
    length = _length(embeddings)[:, None]
    cosine = target / length
    bends = (math.sqrt(0.5), 0.0, -math.sqrt(0.5))
    k = sum((cosine < bend).astype(jnp.int32) for bend in bends)
    square = jnp.square(cosine)
    fourfold = 8 * jnp.square(square) - 8 * square + 1  # cos 4θ
    lowered = jnp.where(k % 2 == 0, fourfold, -fourfold) - 2 * k
    return _replaced(logits, place, inside, (ease * target + length * lowered) / (1 + ease))


def sphereface_ease(
    step: jax.Array | int, least: float = 5.0, first: float = 1000.0, growth: float = 0.12
) -> jax.Array:
    """SphereFace's λ at a step counted from 0: max(least, first / (1 + growth·step)), float32."""
    return jnp.maximum(least, first / (1 + growth * jnp.asarray(step, jnp.float32)))


def centre_loss(embeddings: jax.Array, centres: jax.Array, labels: jax.Array) -> jax.Array:
    """½‖x - c‖² of each embedding [B, D] from its class's centre, float32 [B] (Wen et al. 2016).

    Centres [K, D] are constants for the gradient: `updated_centres` moves them. A label outside of
    0..K-1 has no centre, and 0.
    """
    place, inside = _places(labels, len(centres))
    centre = jax.lax.stop_gradient(centres)[place[:, 0]]
    away = embeddings.astype(jnp.float32) - centre
    return jnp.where(inside[:, 0], 0.5 * jnp.square(away).sum(axis=1), 0.0)


def updated_centres(
    centres: jax.Array,
    embeddings: jax.Array,
    labels: jax.Array,
    rate: float,
    axis_name: str | None = None,
) -> jax.Array:
    """Centres [K, D] after a batch: c - α·Σ(c - x) / (1 + n) over the n examples of each class.

    Args:
      embeddings: [B, D]; no gradient passes.
      labels: [B]; those outside of 0..K-1 move nothing.
      rate: α, 0.5 in the paper (Wen et al. 2016, equation 4).
      axis_name: the device axis over whose examples the sums are taken.
    """
    classes = len(centres)
    # Of labels that are no class; a negative one would count from the end.
    rows = jnp.where((labels >= 0) & (labels < classes), labels, classes)
    embeddings = jax.lax.stop_gradient(embeddings).astype(jnp.float32)
    total = jnp.zeros((classes, embeddings.shape[1])).at[rows].add(embeddings, mode="drop")
    count = jnp.zeros((classes, 1)).at[rows].add(1.0, mode="drop")
    if axis_name is not None:
        total, count = jax.lax.psum((total, count), axis_name)
    return centres - rate * (count * centres - total) / (1 + count)


def verification_loss(
    first: jax.Array, second: jax.Array, same: jax.Array, margin: float | jax.Array
) -> jax.Array:
    """DeepID2's loss of pairs of embeddings [B, D], float32 [B] (Sun et al. 2014, equation 3).

    ½ d² for two images of one person, ½ max(0, m - d)² for those of two, with d their distance.
    Two people's embeddings that are equal have no direction in which to part, and a gradient of 0.

    Args:
      same: [B], whether a pair shows one person.
      margin: m.
    """
    away = first.astype(jnp.float32) - second.astype(jnp.float32)
    together = jnp.square(away).sum(axis=1)
    apart = jnp.square(jax.nn.relu(margin - _length(away)))
    return 0.5 * jnp.where(same, together, apart)


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


def _length(vectors: jax.Array) -> jax.Array:
    """‖x‖ [B] of vectors [B, D]; a zero vector has 1e-6, with a gradient of 0."""
    return jnp.sqrt(jnp.maximum(jnp.square(vectors).sum(axis=1), _LEAST_SQUARE))


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
