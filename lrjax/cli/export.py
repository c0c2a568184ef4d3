"""`lrjax export`: a run's landmark network as one file to give away."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click
import jax
import numpy as np

from lrjax.cli.inference import which_option
from lrjax.errors import InputError
from lrjax.inference.networks import load_network, locate
from lrjax.training.weights import load_variables, save_variables


@click.command()
@click.argument("run", type=click.Path(path_type=Path))
@click.option("--out", type=click.Path(path_type=Path, dir_okay=False), required=True)
@which_option
@click.option("--half", is_flag=True, help="Store parameters in 16 bits: half the size.")
def export(run: Path, out: Path, which: str | None, half: bool) -> None:
    """Write the landmark network of RUN as one .safetensors file, with its configuration.

    Such a file is what `lrjax predict --weights` and `lrjax evaluate` take. Of the run folders that
    the configuration names, only the last part is kept.
    """
    if out.suffix != ".safetensors":
        raise InputError(f"The output {out} must be named .safetensors.")
    source = locate(run, which)
    load_network(source)  # refuses what could not be loaded again
    variables, metadata = load_variables(source)
    for field in ("stage1", "initial"):
        if metadata["config"].get(field):
            metadata["config"][field] = Path(metadata["config"][field]).name
    if half:
        variables["params"] = jax.tree.map(_halved, variables["params"])
    save_variables(out, variables, metadata)
    parameters = sum(leaf.size for leaf in jax.tree.leaves(variables["params"]))
    megabytes = out.stat().st_size / 1e6
    click.echo(
        f"{out}: {parameters:,} parameters, {megabytes:.1f} MB, step {metadata['step']:,} of "
        f"{source}"
    )


def _halved(values: Any) -> np.ndarray:
    """float16; the batch statistics are left alone, whose variances could underflow."""
    if np.abs(values).max(initial=0.0) > np.finfo(np.float16).max:
        raise InputError("The parameters exceed the range of 16 bits; export without --half.")
    return np.asarray(values, np.float16)
