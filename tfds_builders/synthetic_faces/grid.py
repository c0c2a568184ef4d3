"""The mesh of the head: which azimuths and rows have vertices."""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from tfds_builders.synthetic_faces import anatomy
from tfds_builders.synthetic_faces.anatomy import LIP_LINE, SKULL, THROAT, TOP


@dataclass(frozen=True, eq=False)
class Grid:
    """A mesh of the head: azimuths [1, C], rows [R, 1], and the chart X [R, C], all float32."""

    azimuth: np.ndarray
    row: np.ndarray
    chart: np.ndarray


def _spaced(low: float, high: float, density: np.ndarray, at: np.ndarray) -> np.ndarray:
    total = np.concatenate([[0], np.cumsum((density[1:] + density[:-1]) / 2 * np.diff(at))])
    count = round(total[-1])
    return np.interp(np.linspace(0, total[-1], count + 1), total, at).clip(low, high)


@lru_cache
def grid(step: float) -> Grid:
    """The mesh with about `step` mm between vertices, denser at the eyes and between the lips.

    Symmetric about azimuth 0; it ends at 165° on either side.
    """
    r = np.linspace(TOP + 0.5, THROAT, 4000)
    slope = np.where(
        r < SKULL, 1 / np.sqrt(1.02 - (np.minimum(r - SKULL, 0) / (SKULL - TOP)) ** 2), 1.0
    )
    density = slope
    density = density + 0.6 * np.exp(-(((r - 0) / 9) ** 4))
    density = density + 2.4 * np.exp(-(((r - LIP_LINE) / 3.6) ** 6)) + 0.5 * (abs(r - 43) < 5)
    rows = _spaced(TOP, THROAT, density / step, r)
    a = np.linspace(0, np.radians(165), 2000)
    sideways = np.hypot(70.5 * np.cos(a), 92 * np.sin(a))
    density = (
        np.where(70.5 * np.sin(a) < 52, 1.15, np.where(a < 1.9, 1.0, 0.75))
        * np.minimum(sideways, 85)
        / step
    )
    half = _spaced(0, a[-1], density, a)
    columns = np.concatenate([-half[:0:-1], half])
    chart = anatomy.chart(columns[None], rows[:, None])
    return Grid(*(v.astype(np.float32) for v in (columns[None], rows[:, None], chart)))
