"""What the commands that look at faces have in common."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable
from pathlib import Path, PurePath
from typing import Any

import click

from lrjax.geometry.fits import FITS, Fit
from lrjax.geometry.templates import Template
from lrjax.inference.align import WHOLE, Aligner
from lrjax.inference.crops import PLAIN, Plain
from lrjax.inference.landmarks import Inference
from lrjax.inference.networks import KINDS
from lrjax.inference.resolve import Resolver

KEYWORDS = ("shipped", "points", "resize")
"""What stands for a landmark network that is no run of the user's."""

which_option = click.option(
    "--which",
    type=click.Choice(KINDS),
    help="Which weights of a run folder: with the least held-out error, or the final ones.  "
    "[default: best, or last if nothing was held out]",
)


def _factors(ctx: click.Context, param: click.Parameter, text: str) -> tuple[float, ...]:
    del ctx, param
    try:
        return tuple(float(part) for part in text.split(","))
    except ValueError as error:
        raise click.BadParameter(f"{text!r} is not a list such as 0.9,1,1.1.") from error


def inference_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command the fields of `Inference`, which it receives as `options`."""
    default = Inference()

    @click.option(
        "--flip/--no-flip",
        default=default.flip,
        show_default=True,
        help="Average with the prediction for the mirror image.",
    )
    @click.option(
        "--passes",
        default=default.passes,
        show_default=True,
        help="1: look at the box. 2: look again, centred on the points found. And so on.",
    )
    @click.option(
        "--scales",
        default=",".join(f"{scale:g}" for scale in default.scales),
        show_default=True,
        callback=_factors,
        metavar="S,S,...",
        help="Average over views of these relative sizes.",
    )
    @click.option(
        "--upright/--no-upright",
        default=default.upright,
        show_default=True,
        help="Turn the view with the face from the second pass on.",
    )
    @functools.wraps(command)
    def with_options(
        *args: Any,
        flip: bool,
        passes: int,
        scales: tuple[float, ...],
        upright: bool,
        **kwargs: Any,
    ) -> Any:
        return command(*args, options=Inference(flip, passes, scales, upright), **kwargs)

    return with_options


@dataclasses.dataclass(frozen=True)
class Alignment:
    """How faces are aligned, as the command line says it; see `Aligner.load`."""

    landmarks: str
    fit: Fit
    plain: Plain
    region: tuple[float, float, float, float]
    resolve: str | None

    def load(self, template: Template | str, **how: Any) -> Aligner:
        """The aligner for a template."""
        return Aligner.load(
            self.landmarks,
            template,
            self.fit,
            plain=self.plain,
            region=self.region,
            resolve=None if self.resolve is None else Resolver.load(self.resolve),
            **how,
        )


def _region(ctx: click.Context, param: click.Parameter, text: str) -> tuple[float, ...]:
    numbers = _factors(ctx, param, text)
    if len(numbers) != 4:
        raise click.BadParameter(f"{text!r} is not four numbers such as 0.25,0.3,0.5,0.5.")
    return numbers


def alignment_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command the fields of `Alignment`, which it receives as `alignment`."""

    @click.option(
        "--landmarks",
        default="shipped",
        show_default=True,
        metavar="SHIPPED|RUN|POINTS|RESIZE",
        help="What finds the five points: the shipped network, the run folder or weights of "
        "another one, the dataset's own (points), or nothing (resize).",
    )
    @click.option(
        "--fit",
        type=click.Choice(FITS),
        default="similarity",
        show_default=True,
        help="Turn, scale and move the points onto the template, or shear them too.",
    )
    @click.option(
        "--plain",
        type=click.Choice(PLAIN),
        default="stretch",
        show_default=True,
        help="How a face is resized that cannot be aligned: to any shape, or with black beside it.",
    )
    @click.option(
        "--region",
        default=",".join(f"{share:g}" for share in WHOLE),
        show_default=True,
        callback=_region,
        metavar="X,Y,W,H",
        help="Where the face is in its image, as shares of the image's size.",
    )
    @click.option(
        "--resolve",
        metavar="RUN",
        help="Enlarge the images first by a super-resolution network, as the faces it has learned "
        "with.",
    )
    @functools.wraps(command)
    def with_alignment(
        *args: Any,
        landmarks: str,
        fit: Fit,
        plain: Plain,
        region: tuple[float, float, float, float],
        resolve: str | None,
        **kwargs: Any,
    ) -> Any:
        spec = landmarks.lower() if landmarks.lower() in KEYWORDS else landmarks
        return command(*args, alignment=Alignment(spec, fit, plain, region, resolve), **kwargs)

    return with_alignment


def output_file(folder: Path, name: str, taken: set[Path]) -> Path:
    """`folder/name`, never outside the folder and never twice; a number tells equal names apart.

    Args:
      folder: where the file will be.
      name: relative, with a suffix.
      taken: the files so far, to which this one is added.
    """
    pure = PurePath(name)
    parts = [part for part in pure.parts if part not in ("..", pure.anchor)]
    path = wanted = folder.joinpath(*parts)
    number = 1
    while path in taken:
        number += 1
        path = wanted.with_suffix(f".{number}{wanted.suffix}")
    taken.add(path)
    return path
