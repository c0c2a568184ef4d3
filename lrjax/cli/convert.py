"""`lrjax convert`: weights that others published as a file for lrjax."""

from __future__ import annotations

import hashlib
from pathlib import Path

import click
import flax.linen as nn
import jax

from lrjax.convert.networks import CONVERSIONS, convert_state
from lrjax.convert.torch_files import read_state
from lrjax.errors import InputError
from lrjax.models.vdsr import VDSR
from lrjax.training.weights import save_variables


@click.command()
@click.argument("network", type=click.Choice(list(CONVERSIONS)))
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--out", type=click.Path(path_type=Path, dir_okay=False), required=True)
def convert(network: str, file: Path, out: Path) -> None:
    """Write the published weights in FILE as one .safetensors file of lrjax.

    FILE is a PyTorch state dict (.pt, .pth) or a .safetensors file: LightCNN-29 as of
    AlfredXiangWu/LightCNN, Inception-ResNet v1 as of facenet-pytorch, MobileFaceNet as of
    foamliu/MobileFaceNet, VDSR as of twtygqyy/pytorch-vdsr, VGG-19 as of torchvision. It is read as
    data; nothing in it is run. A classifier is left out. The weights of lightcnn29 and
    lightcnn29_32 are the same.
    """
    if out.suffix != ".safetensors":
        raise InputError(f"The output {out} must be named .safetensors.")
    result = convert_state(network, read_state(file), str(file))
    metadata = {
        "network": network,
        "options": _options(result.module),
        "source": file.name,
        "sha256": hashlib.sha256(file.read_bytes()).hexdigest(),
    }
    save_variables(out, result.variables, metadata)
    parameters = sum(leaf.size for leaf in jax.tree.leaves(result.variables["params"]))
    left_out = f"; left out {', '.join(result.dropped)}" if result.dropped else ""
    click.echo(f"{out}: {network}, {parameters:,} parameters of {file}{left_out}")


def _options(module: nn.Module) -> dict[str, int | bool]:
    """What of the network the file decided."""
    if isinstance(module, VDSR):
        return {"channels": module.channels, "use_bias": module.use_bias}
    return {}
