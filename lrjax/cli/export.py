"""`lrjax export`: write a run's landmark network as one file to give away."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import jax
import numpy as np

from lrjax.cli.options import FILE, Flag, Which, command
from lrjax.cli.say import put
from lrjax.errors import InputError
from lrjax.models import weights


@command(out="The .safetensors file to write.", half="Store parameters in 16 bits: half the size.")
def export(
    run: Path, *, out: Annotated[Path, FILE], which: Which = None, half: Flag = False
) -> None:
    """Write the landmark network of RUN as one .safetensors file, with its configuration.

    Such a file is what `lrjax predict --weights` and `lrjax evaluate` take.
    """
    if out.suffix != ".safetensors":
        raise InputError(f"The output {out} must be named .safetensors.")
    found = weights.load(run, "g2", ("landmarks",), which)
    variables = dict(found.variables)
    if half:
        variables["params"] = jax.tree.map(_halved, variables["params"])
    weights.save(out, found.network.config, variables, found.provenance)
    parameters = sum(leaf.size for leaf in jax.tree.leaves(variables["params"]))
    megabytes = out.stat().st_size / 1e6
    step = f", step {found.provenance['step']:,}" if "step" in found.provenance else ""
    put(f"{out}: {parameters:,} parameters, {megabytes:.1f} MB{step} of {found.path}")


def _halved(values: Any) -> np.ndarray:
    """float16; the batch statistics are left alone, whose variances could underflow."""
    if np.abs(values).max(initial=0.0) > np.finfo(np.float16).max:
        raise InputError("The parameters exceed the range of 16 bits; export without --half.")
    return np.asarray(values, np.float16)
