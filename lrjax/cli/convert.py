"""`lrjax convert`: weights that others published as a file for lrjax."""

from __future__ import annotations

import hashlib
from pathlib import Path

import click
import jax

from lrjax.convert.networks import CONVERSIONS, convert_state
from lrjax.convert.torch_files import read_state
from lrjax.errors import InputError
from lrjax.models import weights


@click.command(short_help="Read weights that others published.")
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
    digest = hashlib.sha256(file.read_bytes()).hexdigest()
    provenance = {"source": file.name, "sha256": digest}
    weights.save(out, result.network.config, result.variables, provenance)
    parameters = sum(leaf.size for leaf in jax.tree.leaves(result.variables["params"]))
    left_out = f"; left out {', '.join(result.dropped)}" if result.dropped else ""
    click.echo(f"{out}: {network}, {parameters:,} parameters of {file}{left_out}")
