"""`lrjax convert`: read weights that others published."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Annotated

import jax

from lrjax.cli.options import FILE, choice, command
from lrjax.cli.say import put
from lrjax.convert.networks import CONVERSIONS, convert_state
from lrjax.convert.torch_files import read_state, read_wheel
from lrjax.errors import InputError
from lrjax.models import hub, weights
from lrjax.models.iresnet import Colours


@command(
    out="The .safetensors file to write.",
    colours="Of ir and iresnet: the order in which the network sees colours.  [default: BGR for "
    "AdaFace's files, RGB for InsightFace's; CVLface's say it in color_space beside them]",
)
def convert(
    network: Annotated[str, choice(CONVERSIONS)],
    file: Path,
    *,
    out: Annotated[Path, FILE],
    colours: Colours | None = None,
) -> None:
    """Write the published weights in FILE as one .safetensors file of lrjax.

    FILE is a PyTorch state dict (.pt, .pth, .ckpt), a .safetensors file, or the name of one on
    Hugging Face's hub (hub:OWNER/NAME/FILE@SHA256; FILE and SHA256 may be left out): LightCNN-29
    as of AlfredXiangWu/LightCNN, Inception-ResNet v1 as of facenet-pytorch, MobileFaceNet as of
    foamliu/MobileFaceNet, ir18, ir50 and ir101 as of mk-minchul/AdaFace and CVLface, iresnet18,
    iresnet50 and iresnet100 as of deepinsight/insightface, VDSR as of twtygqyy/pytorch-vdsr, VGG-19
    as of torchvision. It is read as data; nothing in it is run. A classifier is left out. The
    weights of lightcnn29 and lightcnn29_32 are the same.

    MTCNN's FILE is the wheel of facenet-pytorch 2.6.0, as `pip download --no-deps
    facenet-pytorch==2.6.0` gets it.
    """
    if out.suffix != ".safetensors":
        raise InputError(f"The output {out} must be named .safetensors.")
    file = hub.resolve(file) if hub.is_name(file) else file
    members = CONVERSIONS[network].members
    state = read_wheel(file, members) if members else read_state(file)
    result = convert_state(network, state, str(file), colours=colours)
    digest = hashlib.sha256(file.read_bytes()).hexdigest()
    provenance = {"source": file.name, "sha256": digest}
    weights.save(out, result.network.config, result.variables, provenance)
    parameters = sum(leaf.size for leaf in jax.tree.leaves(result.variables["params"]))
    left_out = f"; left out {', '.join(result.dropped)}" if result.dropped else ""
    put(f"{out}: {network}, {parameters:,} parameters of {file}{left_out}")
