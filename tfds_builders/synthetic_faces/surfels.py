"""Surfaces as clouds of small oriented patches, kept component-first ([3, n]) for speed."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

TRANSPARENT = 0.02
"""Patches of less opacity are not drawn."""


@dataclass(frozen=True)
class Surfels:
    """Patches of a surface, in the frame of the body that they belong to.

    Attributes:
      points: float32 [3, n], mm.
      areas: float32 [3, n], outward normals as long as the patches are large, mm².
      colour: float32 [3, n], linear albedo.
      opacity: float32 [n], 0 to 1.
      gloss: float32 [n], strength of the highlight.
      two_sided: bool [n]; the others are seen from outside only.
    """

    points: np.ndarray
    areas: np.ndarray
    colour: np.ndarray
    opacity: np.ndarray
    gloss: np.ndarray
    two_sided: np.ndarray

    @property
    def count(self) -> int:
        return self.points.shape[1]


def area_vectors(mesh: np.ndarray) -> np.ndarray:
    """Outward area vectors [3, R, C] of the vertices of a mesh [3, R, C].

    Outward when columns run to the right and rows down as seen from outside.
    """
    a, d = np.empty_like(mesh), np.empty_like(mesh)
    np.subtract(mesh[:, :, 2:], mesh[:, :, :-2], out=a[:, :, 1:-1])
    np.subtract(mesh[:, 2:], mesh[:, :-2], out=d[:, 1:-1])
    a[:, :, 0], a[:, :, -1] = mesh[:, :, 1] - mesh[:, :, 0], mesh[:, :, -1] - mesh[:, :, -2]
    d[:, 0], d[:, -1] = mesh[:, 1] - mesh[:, 0], mesh[:, -1] - mesh[:, -2]
    # Central differences span two steps in each direction.
    a[:, :, 1:-1] *= np.float32(0.5)
    d[:, 1:-1] *= np.float32(0.5)
    out = np.empty_like(mesh)
    for i, j, k in ((0, 1, 2), (1, 2, 0), (2, 0, 1)):
        np.multiply(a[j], d[k], out=out[i])
        out[i] -= a[k] * d[j]
    return out


def from_mesh(
    mesh: np.ndarray,
    colour: np.ndarray,
    *,
    opacity: np.ndarray | float = 1.0,
    gloss: np.ndarray | float = 0.0,
    two_sided: bool = False,
) -> Surfels:
    """The surfels of a mesh [3, R, C] coloured [3, R, C] or [3]."""
    shape = mesh.shape[1:]

    def scalars(value: np.ndarray | float) -> np.ndarray:
        return np.broadcast_to(np.asarray(value, np.float32), shape).ravel()

    def vectors(values: np.ndarray) -> np.ndarray:
        values = np.asarray(values, np.float32)
        values = values if values.ndim > 1 else values[:, None, None]
        return np.broadcast_to(values, (3, *shape)).reshape(3, -1)

    return Surfels(
        vectors(mesh), vectors(area_vectors(mesh)), vectors(colour),
        scalars(opacity), scalars(gloss), np.full(mesh[0].size, two_sided),
    )  # fmt: skip


def opaque(surfels: Surfels) -> Surfels:
    """The patches that can be seen at all."""
    return take(surfels, np.flatnonzero(surfels.opacity > TRANSPARENT))


def join(*parts: Surfels) -> Surfels:
    """All patches in one cloud."""
    return Surfels(
        *(
            np.concatenate([getattr(part, name) for part in parts], axis=-1)
            for name in Surfels.__dataclass_fields__
        )
    )


def take(surfels: Surfels, index: np.ndarray) -> Surfels:
    """The patches of the given indices."""
    return Surfels(
        *(np.take(getattr(surfels, name), index, axis=-1) for name in Surfels.__dataclass_fields__)
    )
