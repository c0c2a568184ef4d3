"""Draws a sheet of synthetic faces: `python -m tfds_builders.synthetic_faces sheet.png`."""

import argparse
import time

import numpy as np
from PIL import Image, ImageDraw

from tfds_builders.synthetic_faces import faces

TILE = 246


def _hr(seed: int, identity: int, number: int) -> faces.FaceImage:
    return faces.hr_face(faces.hr_head(seed, identity), seed, identity, number, 102.4)


def _lr(seed: int, identity: int, number: int) -> faces.FaceImage:
    return faces.lr_face(faces.lr_head(seed, identity), seed, identity, number, (16.0, 40.0))


def _tile(face: faces.FaceImage, with_points: bool) -> np.ndarray:
    scale = TILE / len(face.pixels)
    tile = Image.fromarray(face.pixels).resize((TILE, TILE), Image.Resampling.NEAREST)
    if with_points:
        draw = ImageDraw.Draw(tile)
        for (x, y), shown in zip((face.points + 0.5) * scale - 0.5, face.visible, strict=True):
            colour = (60, 255, 60) if shown else (255, 60, 60)
            draw.ellipse((x - 1.2, y - 1.2, x + 1.2, y + 1.2), fill=colour)
    return np.asarray(tile)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("path", help="picture to write")
    parser.add_argument("--rows", type=int, default=4, help="rows of each domain")
    parser.add_argument("--columns", type=int, default=8)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    rows = []
    for domain, draw in (("HR", _hr), ("LR", _lr)):
        start, count = time.process_time(), arguments.rows * arguments.columns
        made = [
            draw(arguments.seed, k // 2 + 2_000_000 * (domain == "LR"), k) for k in range(count)
        ]
        spent = time.process_time() - start
        print(f"{domain}: {count / spent:.0f} pictures of new people per second of one core")
        tiles = [_tile(face, with_points=k % 2 == 1) for k, face in enumerate(made)]
        for r in range(arguments.rows):
            rows.append(np.concatenate(tiles[r * arguments.columns :][: arguments.columns], axis=1))
    Image.fromarray(np.concatenate(rows)).save(arguments.path)


if __name__ == "__main__":
    main()
