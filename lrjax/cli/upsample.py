"""`lrjax upsample`: enlarge faces by a super-resolution network."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import click
import numpy as np
from tqdm import tqdm

from lrjax.cli.faces import report_problems, save_picture
from lrjax.cli.options import FOLDER, Click, Which, command
from lrjax.errors import InputError
from lrjax.inference.images import list_images
from lrjax.inference.upsampler import LARGEST, Upsampler, upsample_files


@command(
    weights="Run folder of `lrjax train super_resolution`, or its upsampler.safetensors, or VDSR "
    "as `lrjax convert` writes it.",
    side="Resize images first, so that their longer side has so many pixels; the network has "
    "learned with faces of about 26 on 32.  [default: as they are]",
    factor="Enlarge so many times; SRCNN, VDSR and DRRN can by any factor.  [default: as trained]",
    out="Folder of the results: NAME.jpg becomes NAME.jpg.png.",
)
def upsample(
    *,
    images: Path,
    weights: Path,
    which: Which = None,
    side: Annotated[int, Click(type=click.IntRange(1, LARGEST))] | None = None,
    factor: Annotated[float, Click(type=click.FloatRange(1, 16))] | None = None,
    out: Annotated[Path, FOLDER],
) -> None:
    """Enlarge the faces in --images with a super-resolution network.

    A file that cannot be used is named at the end; the exit status is then 1.
    """
    if not images.exists():
        raise InputError(f"There are no images in {images}, which does not exist; check --images.")
    files = [images] if images.is_file() else [images / name for name in list_images(images)]
    upsampler = Upsampler.load(weights, which, factor)
    problems = []
    found = upsample_files(upsampler, files, side)
    for path, result in tqdm(found, total=len(files), desc="upsample", unit="image"):
        problem: object = result
        if isinstance(result, np.ndarray):
            problem = save_picture(out / f"{path.name}.png", result)
        if problem is not None:
            problems.append(f"{path.name}: {problem}")
    report_problems((problems, len(files), "images were not enlarged"))
