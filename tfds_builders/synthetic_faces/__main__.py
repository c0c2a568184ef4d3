"""Draws a sheet of synthetic faces: `python -m tfds_builders.synthetic_faces sheet.png`."""

import argparse
import time

import numpy as np
from PIL import Image, ImageDraw

from . import faces
from .scene import Picture

TILE = 246
_EACH = 4
"""Pictures of a person."""


def _draw(domain: str, seed: int, count: int) -> list[Picture]:
    """Pictures of a domain, several of each person; prints how fast they came."""
    made, began = [], time.process_time()
    for k in range(-(-count // _EACH)):
        if domain == "HR":
            made += faces.high_resolution(seed, k, range(_EACH), 102.4)
        else:
            made += faces.low_resolution(seed, 2_000_000 + k, range(_EACH), (16.0, 40.0))
    spent = 1000 * (time.process_time() - began) / len(made)
    print(f"{domain}: {spent:.1f} ms a picture of one core")
    return made[:count]


def _tile(face: Picture, with_points: bool) -> Image.Image:
    scale = TILE / len(face.pixels)
    tile = Image.fromarray(face.pixels).resize((TILE, TILE), Image.Resampling.NEAREST)
    if with_points:
        draw = ImageDraw.Draw(tile)
        for point, shown in zip((face.points + 0.5) * scale - 0.5, face.visible, strict=True):
            draw.circle(tuple(point), 1.2, fill=(60, 255, 60) if shown else (255, 60, 60))
    return tile


def main() -> None:
    """Writes the sheet, HR faces above LR ones, every second one with its points."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("path", help="picture to write")
    parser.add_argument("--rows", type=int, default=4, help="rows of each domain")
    parser.add_argument("--columns", type=int, default=8)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    rows, columns = options.rows, options.columns
    drawn = [*_draw("HR", options.seed, rows * columns), *_draw("LR", options.seed, rows * columns)]
    tiles = np.stack([_tile(face, with_points=k % 2 == 1) for k, face in enumerate(drawn)])
    sheet = tiles.reshape(2 * rows, columns, TILE, TILE, 3).swapaxes(1, 2)
    Image.fromarray(sheet.reshape(2 * rows * TILE, columns * TILE, 3)).save(options.path)


if __name__ == "__main__":
    main()
