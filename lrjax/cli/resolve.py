"""`lrjax resolve`: images in, enlarged images out."""

from __future__ import annotations

from pathlib import Path

import click
import numpy as np
from tqdm import tqdm

from lrjax.cli.inference import which_option
from lrjax.errors import InputError
from lrjax.inference.images import list_images
from lrjax.inference.resolve import LARGEST, Resolver, resolve_files
from lrjax.report.draw import save_png


@click.command()
@click.option(
    "--images",
    type=click.Path(path_type=Path),
    required=True,
    help="Folder of images (jpg, jpeg, png, bmp, webp), or one image.",
)
@click.option(
    "--weights",
    type=click.Path(path_type=Path),
    required=True,
    help="Run folder of `lrjax train super_resolution`, or its resolver.safetensors, or VDSR as "
    "`lrjax convert` writes it.",
)
@which_option
@click.option(
    "--side",
    type=click.IntRange(1, LARGEST),
    help="Resize images first, so that their longer side has so many pixels; the network has "
    "learned with faces of about 26 on 32.  [default: as they are]",
)
@click.option(
    "--factor",
    type=click.FloatRange(1, 16),
    help="Enlarge so many times; SRCNN, VDSR and DRRN can by any factor.  [default: as trained]",
)
@click.option(
    "--out",
    type=click.Path(path_type=Path, file_okay=False),
    required=True,
    help="Folder of the results: NAME.jpg becomes NAME.jpg.png.",
)
def resolve(
    images: Path,
    weights: Path,
    which: str | None,
    side: int | None,
    factor: float | None,
    out: Path,
) -> None:
    """Enlarge the faces in --images with a super-resolution network.

    A file that cannot be used is named at the end; the exit status is then 1.
    """
    if not images.exists():
        raise InputError(f"There are no images in {images}, which does not exist; check --images.")
    files = [images] if images.is_file() else [images / name for name in list_images(images)]
    resolver = Resolver.load(weights, which, factor)
    problems: dict[Path, InputError] = {}
    found = resolve_files(resolver, files, side)
    for path, result in tqdm(found, total=len(files), desc="resolve", unit="image"):
        if isinstance(result, np.ndarray):
            save_png(out / f"{path.name}.png", result)
        else:
            problems[path] = result
    for path, problem in problems.items():
        click.echo(f"lrjax: {path.name}: {problem}", err=True)
    if problems:
        count = f"{len(problems)} of {len(files)}"
        raise InputError(f"{count} images were not enlarged; each is named above with the reason.")
