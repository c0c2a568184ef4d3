"""From five points to the part of a picture that an aligned face shows."""

from __future__ import annotations

from functools import partial
from typing import Literal, get_args

import jax
import jax.numpy as jnp
import numpy as np

from lrjax.geometry import warp
from lrjax.geometry.templates import Template

Fit = Literal["similarity", "affine"]
FITS: tuple[str, ...] = get_args(Fit)
"""How points are laid onto a template: turned, scaled and moved, or also sheared."""

SMALLEST, LARGEST = 4.0, 4.0
"""An aligned face shows a part of the picture that measures at least so many pixels, and at most so
many times the longer side of the picture: other points are not a face's."""
SHEAR = 4.0
"""The most by which an affine fit may stretch one direction more than another."""

# Faces are fitted in portions of so many, for which alone the fit is compiled.
_PORTION = 256


def crop_transforms(
    points: np.ndarray, visible: np.ndarray, template: Template, fit: Fit, sizes: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """For each face the transform from pixels of its aligned image to pixels of its picture.

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
      `SMALLEST` and `LARGEST`, or if its middle is outside the picture.
    """
    points = np.asarray(points, np.float32).reshape(-1, 5, 2)
    visible = np.asarray(visible, bool) & np.isfinite(points).all(-1)
    count = len(points)
    transforms = np.zeros((count, 2, 3))
    spreads = np.zeros((count, 2))
    for start in range(0, count, _PORTION):
        rows = slice(start, min(start + _PORTION, count))
        padding = ((0, _PORTION - (rows.stop - start)), (0, 0))
        part = np.pad(points[rows], (*padding, (0, 0)))
        weights = np.pad(visible[rows], padding)
        fitted = _fitted(fit, part, weights, template.points.astype(np.float32))
        transforms[rows], spreads[rows] = (np.asarray(a)[: rows.stop - start] for a in fitted)
    distinct = spreads[:, 1 if fit == "affine" else 0] > warp.MIN_SPREAD
    determinant = np.linalg.det(transforms[:, :, :2])
    sound = distinct & np.isfinite(transforms).all((1, 2)) & (determinant > 0)
    transforms = np.where(sound[:, None, None], transforms, np.eye(2, 3))
    stretches = np.linalg.svd(transforms[:, :, :2], compute_uv=False)
    sides = np.sqrt(template.height * template.width * stretches.prod(-1))
    middle = np.array([(template.width - 1) / 2, (template.height - 1) / 2])
    there = transforms[:, :, :2] @ middle + transforms[:, :, 2]
    sizes = np.asarray(sizes, np.float64)
    sound &= stretches[:, 0] <= SHEAR * stretches[:, 1]
    sound &= (sides >= SMALLEST) & (sides <= LARGEST * sizes.max(-1))
    sound &= ((there >= -0.5) & (there <= sizes - 0.5)).all(-1)
    return transforms, sound


@partial(jax.jit, static_argnums=0)
def _fitted(
    fit: str, points: jax.Array, visible: jax.Array, target: jax.Array
) -> tuple[jax.Array, jax.Array]:
    """(template -> picture [n, 2, 3], spread of the points [n, 2])."""
    target = jnp.broadcast_to(target, points.shape)
    find = warp.affine_fit if fit == "affine" else warp.similarity_fit
    return warp.invert(find(points, target, visible)), warp.spread(points, visible)
