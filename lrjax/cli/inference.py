"""What the commands that look at faces have in common."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import click

from lrjax.inference.landmarks import Inference
from lrjax.inference.networks import KINDS

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
