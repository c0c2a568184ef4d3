"""Least-squares transforms between sets of points, and from a face's five points to its template.

Everything here is float64 NumPy on the host; transforms are [..., 2, 3] as in `transforms`.
"""

from __future__ import annotations

from typing import Literal, NamedTuple, get_args

import numpy as np
from numpy.typing import ArrayLike

from lrjax.geometry.templates import Template

Fit = Literal["similarity", "affine"]
FITS: tuple[str, ...] = get_args(Fit)
"""How points are laid onto a template: turned, scaled and moved, or also sheared."""

MIN_SPREAD = 1e-3
"""Points whose `spread` is below this many pixels count as one point (or as one line)."""
SMALLEST, LARGEST = 4.0, 4.0
"""An aligned face shows a part of the picture that measures at least so many pixels, and at most so
many times the longer side of the picture: other points are not a face's."""
SHEAR = 4.0
"""The most by which an affine fit may stretch one direction more than another."""


class _Centred(NamedTuple):
    src: np.ndarray  # [..., N, 2], less its weighted mean
    dst: np.ndarray
    weights: np.ndarray  # [..., N], sum to 1, or to 0
    src_mean: np.ndarray  # [..., 2]
    dst_mean: np.ndarray

    def about_means(self, linear: np.ndarray) -> np.ndarray:
        """Completes linear parts [..., 2, 2]: the mean of `src` goes to that of `dst`."""
        shift = self.dst_mean - np.einsum("...ij,...j->...i", linear, self.src_mean)
        return np.concatenate([linear, shift[..., None]], axis=-1)

    def covariance(self, other: np.ndarray) -> np.ndarray:
        """Weighted second moments [..., 2, 2] of `other` (rows) and `src` (columns)."""
        return np.einsum("...n,...ni,...nj->...ij", self.weights, other, self.src)


def _centred(src: ArrayLike, dst: ArrayLike, weights: ArrayLike) -> _Centred:
    weights = np.asarray(weights, np.float64)
    total = weights.sum(-1, keepdims=True)
    weights = weights / np.where(total > 0, total, 1.0)
    counts = weights[..., None] > 0
    # A point without weight may carry anything, NaN included.
    src, dst = (np.where(counts, np.asarray(p, np.float64), 0.0) for p in (src, dst))
    src_mean, dst_mean = ((weights[..., None] * p).sum(-2) for p in (src, dst))
    src, dst = (
        np.where(counts, p - mean[..., None, :], 0.0)
        for p, mean in ((src, src_mean), (dst, dst_mean))
    )
    return _Centred(src, dst, weights, src_mean, dst_mean)


def spread(points: ArrayLike, weights: ArrayLike) -> np.ndarray:
    """Measures the standard deviations of weighted points along their two principal axes.

    This is the test of a fit's input: `fit_similarity` needs the first and `fit_affine` the second
    above `MIN_SPREAD`, in `src` and, to be invertible, in `dst`.

    Args:
      points: [..., N, 2].
      weights: [..., N], >= 0.

    Returns:
      [..., 2], larger first, in pixels: (0, 0) when all points are one, (s, 0) on one line.
    """
    centred = _centred(points, points, weights)
    variances = np.linalg.eigvalsh(centred.covariance(centred.src))[..., ::-1]
    return np.sqrt(np.maximum(variances, 0.0))


def fit_similarity(src: ArrayLike, dst: ArrayLike, weights: ArrayLike) -> np.ndarray:
    """Finds the similarity that minimises sum_i weights_i |A(src_i) - dst_i|^2.

    In the plane, Umeyama's rotation without reflection has a closed form: with centred points
    taken as complex numbers, scale * rotation = sum(w conj(s) d) / sum(w |s|^2).

    Args:
      src, dst: points [..., N, 2].
      weights: [..., N], >= 0; booleans will do. Points of weight zero may hold anything.

    Returns:
      [..., 2, 3], always finite, never a reflection. Where `spread(src, weights)[..., 0]` is below
      `MIN_SPREAD` it only moves the mean of `src` to that of `dst`, and where all weights are zero
      it is the identity.
    """
    centred = _centred(src, dst, weights)
    s, d = (p[..., 0] + 1j * p[..., 1] for p in (centred.src, centred.dst))
    variance = (centred.weights * np.abs(s) ** 2).sum(-1)
    sound = variance > MIN_SPREAD**2
    factor = (centred.weights * s.conj() * d).sum(-1) / np.where(sound, variance, 1.0)
    factor = np.where(sound, factor, 1.0)
    columns = [np.stack([z.real, z.imag], axis=-1) for z in (factor, 1j * factor)]
    return centred.about_means(np.stack(columns, axis=-1))


def fit_affine(src: ArrayLike, dst: ArrayLike, weights: ArrayLike) -> np.ndarray:
    """Finds the affine transform that minimises sum_i weights_i |A(src_i) - dst_i|^2.

    Arguments as for `fit_similarity`. Returns [..., 2, 3], always finite; where
    `spread(src, weights)[..., 1]` is below `MIN_SPREAD` (points on one line) it is the similarity.
    A reflection is possible if the data say so.
    """
    centred = _centred(src, dst, weights)
    sound = (spread(src, weights)[..., 1] > MIN_SPREAD)[..., None, None]
    moments = np.where(sound, centred.covariance(centred.src), np.eye(2))
    # L moments = covariance(dst, src), and the moments are symmetric.
    linear = np.linalg.solve(moments, centred.covariance(centred.dst).swapaxes(-1, -2))
    affine = centred.about_means(linear.swapaxes(-1, -2))
    return np.where(sound, affine, fit_similarity(src, dst, weights))


def fit_template(
    points: np.ndarray, visible: np.ndarray, template: Template, fit: Fit, sizes: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Finds for each face the transform from pixels of its aligned image to pixels of its picture.

    The fit takes the visible points to the template with the least squared error, measured in the
    template. No transform is a reflection.

    Args:
      points: [n, 5, 2] (x, y) in pixels of the picture; anything where not visible.
      visible: bool [n, 5]; points that are not finite count as not visible.
      template: where the points shall be.
      fit: "similarity" or "affine".
      sizes: [n, 2] (width, height) of the pictures.

    Returns:
      float64 [n, 2, 3], and bool [n]: whether the points determine it. They do not if fewer than
      two visible ones are distinct (for an affine fit, if all are on one line), if an affine fit
      mirrors the face or shears it beyond `SHEAR`, if the part of the picture has a size beyond
      `SMALLEST` and `LARGEST`, or if its middle is outside the picture. The transform then is
      unusable, but finite.
    """
    points = np.asarray(points, np.float64).reshape(-1, 5, 2)
    visible = np.asarray(visible, bool) & np.isfinite(points).all(-1)
    points = np.where(visible[..., None], points, 0.0)
    target = np.broadcast_to(template.points, points.shape)
    fitted = (fit_affine if fit == "affine" else fit_similarity)(points, target, visible)
    sound = spread(points, visible)[:, 1 if fit == "affine" else 0] > MIN_SPREAD
    sound &= np.linalg.det(fitted[:, :, :2]) > 0
    fitted = np.where(sound[:, None, None], fitted, np.eye(2, 3))
    linear = np.linalg.inv(fitted[:, :, :2])
    transforms = np.concatenate([linear, -linear @ fitted[:, :, 2:]], axis=-1)

    stretches = np.linalg.svd(linear, compute_uv=False)
    sides = np.sqrt(template.height * template.width * stretches.prod(-1))
    middle = np.array([(template.width - 1) / 2, (template.height - 1) / 2])
    there = linear @ middle + transforms[:, :, 2]
    sizes = np.asarray(sizes, np.float64)
    sound &= stretches[:, 0] <= SHEAR * stretches[:, 1]
    sound &= (sides >= SMALLEST) & (sides <= LARGEST * sizes.max(-1))
    sound &= ((there >= -0.5) & (there <= sizes - 0.5)).all(-1)
    return transforms, sound
