"""Sample pictures of a run: what its networks see, and find."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from lrjax.report import draw


def save_pictures(folder: Path, step: int, pictures: dict[str, Any]) -> None:
    """Write `samples/STEP-NAME.png` in a run folder.

    Args:
      folder: of the run.
      step: at which the pictures were made.
      pictures: name -> "images", uint8 [n, H, W, 3], and perhaps "points" [n, N, 2] in pixels.
    """
    for name, shown in pictures.items():
        images = shown["images"]
        if "points" in shown:
            sheet = draw.face_sheet(images, shown["points"], columns=8)
        else:
            sheet = draw.sample_grid(images, columns=8, scale=max(1, 128 // images.shape[1]))
        draw.save_png(folder / "samples" / f"{step:07d}-{name}.png", sheet)
