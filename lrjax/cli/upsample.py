"""`lrjax upsample`: enlarge faces by a super-resolution network."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import click
import numpy as np
from tqdm import tqdm

from lrjax.cli.faces import image_names, output_file, report_problems, save_picture
from lrjax.cli.options import FOLDER, Click, Flag, Which, command
from lrjax.cli.pictures import refuse_within
from lrjax.inference.upsampler import LARGEST, Upsampler, upsample_files


@command(
    weights="Run folder of `lrjax train super_resolution`, or its upsampler.safetensors, or VDSR "
    "as `lrjax convert` writes it.",
    side="Resize images first, so that their longer side has so many pixels; the network has "
    "learned with faces of about 26 on 32.  [default: as they are]",
    factor="Enlarge so many times; SRCNN, VDSR and DRRN can by any factor.  [default: as trained]",
    out="Folder of the results, as --images is: NAME.jpg becomes NAME.jpg.png.",
)
def upsample(
    *,
    images: Path,
    weights: Path,
    which: Which = None,
    side: Annotated[int, Click(type=click.IntRange(1, LARGEST))] | None = None,
    factor: Annotated[float, Click(type=click.FloatRange(1, 16))] | None = None,
    allow_outside: Flag = False,
    out: Annotated[Path, FOLDER],
) -> None:
    """Enlarge the faces in --images with a super-resolution network.

    A file that cannot be used is named at the end; the exit status is then 1.
    """
    root, names = image_names(images, allow_outside)
    refuse_within(out, images, "--out")
    files = [root / name for name in names]
    taken: set[Path] = set()
    upsampler = Upsampler.load(weights, which, factor)
    problems = []
    found = upsample_files(upsampler, files, side)
    bar = tqdm(found, total=len(files), desc="upsample", unit="image")
    for name, (_, result) in zip(names, bar, strict=True):
        problem: object = result
        if isinstance(result, np.ndarray):
            problem = save_picture(output_file(out, f"{name}.png", taken), result)
        if problem is not None:
            problems.append(f"{name}: {problem}")
    report_problems((problems, len(files), "images were not enlarged"))
