"""Draws a sheet of synthetic faces: `python -m tfds_builders.synthetic_faces sheet.png`."""

import argparse
import time

import numpy as np
from PIL import Image, ImageDraw

from . import faces
from .scene import Picture

TILE = 246
_PER_IDENTITY = 4


def _draw(domain: str, seed: int, count: int) -> list[Picture]:
    """Pictures of a domain, several of each person; prints how fast they came."""
    made, began = [], time.process_time()
    for k, first in enumerate(range(0, count, _PER_IDENTITY)):
        numbers = range(min(_PER_IDENTITY, count - first))
        if domain == "HR":
            made += faces.high_resolution(seed, k, numbers, 102.4)
        else:
            made += faces.low_resolution(seed, 2_000_000 + k, numbers, (16.0, 40.0))
    print(f"{domain}: {1000 * (time.process_time() - began) / count:.1f} ms a picture of one core")
    return made


def _tile(face: Picture, with_points: bool) -> Image.Image:
    scale = TILE / len(face.pixels)
    tile = Image.fromarray(face.pixels).resize((TILE, TILE), Image.Resampling.NEAREST)
    if with_points:
        draw = ImageDraw.Draw(tile)
        for (x, y), shown in zip((face.points + 0.5) * scale - 0.5, face.visible, strict=True):
            colour = (60, 255, 60) if shown else (255, 60, 60)
            draw.ellipse((x - 1.2, y - 1.2, x + 1.2, y + 1.2), fill=colour)
    return tile


def main() -> None:
    """Writes the sheet, HR faces above LR ones, every second one with its points."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("path", help="picture to write")
    parser.add_argument("--rows", type=int, default=4, help="rows of each domain")
    parser.add_argument("--columns", type=int, default=8)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    rows, columns = arguments.rows, arguments.columns
    drawn = [
        face for domain in ("HR", "LR") for face in _draw(domain, arguments.seed, rows * columns)
    ]
    tiles = np.stack([_tile(face, with_points=k % 2 == 1) for k, face in enumerate(drawn)])
    sheet = tiles.reshape(2 * rows, columns, TILE, TILE, 3).swapaxes(1, 2)
    Image.fromarray(sheet.reshape(2 * rows * TILE, columns * TILE, 3)).save(arguments.path)


if __name__ == "__main__":
    main()
