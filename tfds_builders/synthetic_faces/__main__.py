"""Draws a sheet of synthetic faces: `python -m tfds_builders.synthetic_faces sheet.png`."""

import argparse
import time

import numpy as np
from PIL import Image, ImageDraw

from tfds_builders.synthetic_faces import faces

TILE = 246


PER_IDENTITY = 4


def _draw(domain: str, seed: int, count: int) -> list[faces.FaceImage]:
    """Pictures of a domain, several of each person; prints how fast they came."""
    make_head, start = {"HR": (faces.hr_head, 0), "LR": (faces.lr_head, 2_000_000)}[domain]
    made, spent = [], {"head": 0.0, "picture": 0.0}
    for identity in range(start, start - (-count // PER_IDENTITY)):
        began = time.process_time()
        head = make_head(seed, identity)
        built = time.process_time()
        for number in range(min(PER_IDENTITY, count - len(made))):
            if domain == "HR":
                made.append(faces.hr_face(head, seed, identity, number, 102.4))
            else:
                made.append(faces.lr_face(head, seed, identity, number, (16.0, 40.0)))
        spent["head"] += built - began
        spent["picture"] += time.process_time() - built
    people = -(-count // PER_IDENTITY)
    print(
        f"{domain}: {1000 * spent['head'] / people:.0f} ms a person, "
        f"{1000 * spent['picture'] / count:.1f} ms a picture of one core"
    )
    return made


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
    for domain in ("HR", "LR"):
        made = _draw(domain, arguments.seed, arguments.rows * arguments.columns)
        tiles = [_tile(face, with_points=k % 2 == 1) for k, face in enumerate(made)]
        for r in range(arguments.rows):
            rows.append(np.concatenate(tiles[r * arguments.columns :][: arguments.columns], axis=1))
    Image.fromarray(np.concatenate(rows)).save(arguments.path)


if __name__ == "__main__":
    main()
