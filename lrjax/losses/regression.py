"""Errors between what a network regressed and what is true.

All take any floating dtype and answer with float32 scalars. Averages over a batch that is spread
over devices are exact when every device holds equally many images; the two losses that average
over *visible points* also take the name of that axis, since devices see different numbers of them.
"""

import jax
import jax.numpy as jnp
from jax import lax


def heatmap_error(prediction: jax.Array, target: jax.Array, mask: jax.Array) -> jax.Array:
    """Squared error of heatmaps: mean over pixels, sum over channels, mean over the batch.

    Equations 5, 6, 10 and 11 of Kumar & Chellappa all sum over the N+1 channels and say nothing of
    pixels. The balance `k`, the ratio `gamma` and the order of the weighted terms depend on that
    scale, so all four use this one function.

    Args:
        prediction: [B, H, W, N+1].
        target: [B, H, W, N+1].
        mask: [B, N+1], 0 for the channels that do not count (invisible points).
    """
    error = prediction.astype(jnp.float32) - target.astype(jnp.float32)
    channels = jnp.mean(jnp.square(error), axis=(1, 2))
    return jnp.mean(jnp.sum(channels * mask, axis=-1))


def pixel_error(generated: jax.Array, subsampled: jax.Array) -> jax.Array:
    """Equation 4: mean squared difference of two batches of images [B, H, W, C].

    The paper divides by width times height and leaves the channels open; here they are averaged.
    """
    error = generated.astype(jnp.float32) - subsampled.astype(jnp.float32)
    return jnp.mean(jnp.square(error))


def absolute_error(generated: jax.Array, wanted: jax.Array) -> jax.Array:
    """Mean absolute difference of two batches of images or features, all axes averaged."""
    return jnp.mean(jnp.abs(generated.astype(jnp.float32) - wanted.astype(jnp.float32)))


def huber_error(generated: jax.Array, wanted: jax.Array, delta: float = 1.0) -> jax.Array:
    """Huber's distance of two batches of images, all axes averaged: robust against few outliers.

    ½ d² where |d| <= delta, delta (|d| - ½ delta) beyond (Huber 1964), for each value by itself.

    Args:
        generated, wanted: of one shape.
        delta: difference, above 0, from which the distance grows linearly.
    """
    error = jnp.abs(generated.astype(jnp.float32) - wanted.astype(jnp.float32))
    near = jnp.minimum(error, delta)
    return jnp.mean(near * (error - 0.5 * near))


def spatial_cross_entropy(
    logits: jax.Array,
    points: jax.Array,
    visible: jax.Array,
    sigma: float,
    axis_name: str | None = None,
) -> jax.Array:
    """Cross entropy between each map's softmax over its pixels and a Gaussian at the true point.

    Beyond the paper: a map is read as a distribution over positions, which sharpens the peak
    instead of fitting the empty rest of the map. The smallest value is the target's entropy,
    not zero.

    Args:
        logits: [B, H, W, C] with C >= N; channels after the first N (background) are ignored.
        points: [B, N, 2] as (x, y) in pixels of the map. A point outside the map pulls towards
            the nearest border: leave it out through `visible` if that is unwanted.
        visible: [B, N], 0 for the points that do not count.
        sigma: the Gaussian's standard deviation in pixels of the map.
        axis_name: the device axis over which visible points are counted.
    """
    count = points.shape[-2]
    logits = logits[..., :count].astype(jnp.float32)
    points = jnp.where(visible[..., None] > 0, points, 0.0)  # an invisible point may be NaN
    # The target is a product of a row and a column, so it is never formed: as it sums to one,
    # the cross entropy is logsumexp(logits) minus the expectation of the logits under it.
    columns = _axis_distribution(points[..., 0], logits.shape[2], sigma)
    rows = _axis_distribution(points[..., 1], logits.shape[1], sigma)
    expected = jnp.sum(jnp.sum(logits * columns[:, None], axis=2) * rows, axis=1)
    entropy = jax.nn.logsumexp(logits, axis=(1, 2)) - expected
    return _visible_mean(entropy, visible, axis_name)


def map_cross_entropy(logits: jax.Array, taught: jax.Array) -> jax.Array:
    """Cross entropy between the softmax of each map over its pixels and that of a teacher's map.

    Beyond the paper: a smaller network learns what a larger one finds (Hinton et al. 2015). The
    smallest value is the teacher's entropy, not zero.

    Args:
        logits, taught: [B, H, W, N]; no gradient reaches the second.
    """
    axes = (1, 2)
    chance = jax.nn.softmax(jax.lax.stop_gradient(taught.astype(jnp.float32)), axis=axes)
    found = jax.nn.log_softmax(logits.astype(jnp.float32), axis=axes)
    return -jnp.mean(jnp.sum(chance * found, axis=axes))


def coordinate_error(
    points: jax.Array,
    target: jax.Array,
    visible: jax.Array,
    delta: float = 1.0,
    axis_name: str | None = None,
) -> jax.Array:
    """Pseudo-Huber distance of points: d²/(2 delta) when near, d - delta when far.

    Beyond the paper. Applied to the length of the error, not to its x and y, so that it does not
    depend on the face's rotation and follows the reported metric (mean distance).

    Args:
        points: [B, N, 2] predicted, in pixels.
        target: [B, N, 2] true, in the same pixels.
        visible: [B, N], 0 for the points that do not count.
        delta: distance in pixels, above 0, at which the error turns from quadratic to linear.
        axis_name: the device axis over which visible points are counted.
    """
    error = points.astype(jnp.float32) - target.astype(jnp.float32)
    error = jnp.where(visible[..., None] > 0, error, 0.0)  # an invisible point may be NaN
    squared = jnp.sum(jnp.square(error), axis=-1)
    return _visible_mean(jnp.sqrt(squared + delta**2) - delta, visible, axis_name)


def _axis_distribution(centres: jax.Array, size: int, sigma: float) -> jax.Array:
    """Normalised 1-D Gaussians [B, size, N] at `centres` [B, N]; finite even far off the axis."""
    positions = jnp.arange(size, dtype=jnp.float32)[:, None]
    offsets = (positions - centres.astype(jnp.float32)[:, None, :]) / sigma
    return jax.nn.softmax(-0.5 * jnp.square(offsets), axis=1)


def _visible_mean(values: jax.Array, visible: jax.Array, axis_name: str | None) -> jax.Array:
    """Mean of `values` [B, N] over visible points, 0 if there are none.

    With `axis_name` each device divides by the mean count per device, so that the mean of the
    devices' results (and of their gradients) is the mean over all points on all devices.
    """
    weights = visible.astype(jnp.float32)
    count = jnp.sum(weights)
    total = jnp.sum(values * weights)
    if axis_name is None:
        return total / jnp.maximum(count, 1.0)
    devices = lax.axis_size(axis_name)
    return total * devices / jnp.maximum(lax.psum(count, axis_name), 1.0)
