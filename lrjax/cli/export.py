"""`lrjax export`: write a network as one file to give away, or to run elsewhere."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import jax
import numpy as np
from PIL import Image

from lrjax.cli.faces import image_names
from lrjax.cli.options import FILE, Click, Flag, Which, command
from lrjax.cli.say import put
from lrjax.errors import InputError
from lrjax.files import write_atomically, write_json
from lrjax.geometry.crop import crop
from lrjax.inference import export as programs
from lrjax.inference.crops import box_crops, cut_crop
from lrjax.inference.encoder import FaceEncoder
from lrjax.inference.export import Program
from lrjax.inference.images import as_rgb
from lrjax.models import weights as files
from lrjax.models.registry import Kind
from lrjax.models.weights import Weights
from lrjax.tfds_builders.synthetic_faces.faces import high_resolution

ROLES = ("g2", "encoder", "upsampler")
"""Networks of a run folder that can be exported; the first one there is."""

KINDS: tuple[Kind, ...] = ("landmarks", "encoder", "upsampler", "refiner")

# People, and pictures of each, that an export is checked on, and the side of their faces in pixels.
_PEOPLE, _PICTURES, _SIDE = 4, 2, 60


@command(
    weights="Run folder, weights file, or the landmark network that comes along (pretrained).",
    out="The file to write: .safetensors for lrjax, .stablehlo for JAX anywhere, or .onnx.",
    half="Of .safetensors: store parameters in 16 bits: half the size.",
    flip="Of landmark networks: average with the prediction for the mirror image.",
    images="Folder of pictures, each one face, that the export is checked on.  [default: drawn "
    "ones]",
)
def export(
    weights: Annotated[Path, Click(metavar="WEIGHTS")],
    *,
    out: Annotated[Path, FILE],
    which: Which = None,
    half: Flag = False,
    flip: bool = True,
    images: Path | None = None,
) -> None:
    """Write the network of WEIGHTS as one file: for lrjax, or as a program for other runtimes.

    WEIGHTS is a run folder, a weights file, or "pretrained": a landmark network, a face encoder, or
    a network that enlarges faces. The ending of --out decides. A .safetensors file is what `lrjax
    predict --weights` and others take. A .stablehlo or .onnx file takes pictures in bytes and gives
    points, features or enlarged pictures; what remains to be done outside is in OUT.json. Before it
    is written, it is run on faces beside the original.
    """
    suffixes = (".safetensors", *programs.WRITERS)
    if out.suffix not in suffixes:
        raise InputError(f"The output {out} must be named {', '.join(suffixes)}.")
    found = files.load(weights, _role(weights, which), KINDS, which)
    if out.suffix == ".safetensors":
        _save(found, out, half)
    elif half:
        raise InputError("--half is for a .safetensors file; leave it out.")
    else:
        _write_program(found, out, flip, images)


def _role(source: Path, which: str | None) -> str:
    """The network to be exported of a run folder."""
    places = [which] if which else files.WHICH
    there = (
        role
        for role in ROLES
        if any((source / place / f"{role}.safetensors").is_file() for place in places)
    )
    return next(there, ROLES[0])


def _save(found: Weights, out: Path, half: bool) -> None:
    if "behind" in found.provenance:
        raise InputError(
            f"The encoder in {found.path} sees what another network makes of faces, and one file "
            "holds one network; export it as .onnx or .stablehlo, or give the folder away."
        )
    variables = dict(found.variables)
    if half:
        variables["params"] = jax.tree.map(_halved, variables["params"])
    files.save(out, found.network.config, variables, found.provenance)
    put(_line(out, found))


def _write_program(found: Weights, out: Path, flip: bool, images: Path | None) -> None:
    program = _program(found, flip)
    data, run = programs.WRITERS[out.suffix](program)
    faces = _faces(program, images)
    differences = programs.differences(program, run, faces)
    words = ", ".join(f"{name} {value:.1e}" for name, value in differences.items())
    if max(differences.values()) > programs.TOLERANCE:
        raise InputError(
            f"What was exported differs from the original on {len(faces)} faces ({words} of what "
            f"the values range over; {programs.TOLERANCE:g} is allowed), and was not written; "
            "export it as another format."
        )
    write_atomically(out, data)
    check = {"faces": len(faces), "drawn": images is None, "largest_difference": differences}
    write_json(out.with_name(f"{out.name}.json"), program.describe() | {"check": check})
    put(_line(out, found))
    put(f"checked on {len(faces)} faces; largest difference: {words}")


def _program(found: Weights, flip: bool) -> Program:
    kind = found.network.kind
    if kind == "landmarks":
        return programs.landmark_program(found, flip)
    if kind == "encoder":
        return programs.encoder_program(FaceEncoder.load(found.path))
    return programs.upsampler_program(found)


def _faces(program: Program, images: Path | None) -> np.ndarray:
    """Faces uint8 [n, H, W, 3] of the size that a program sees."""
    height, width = program.size
    if images is not None:
        root, names = image_names(images, allow_outside=False)
        size = (width, height)
        photos = [as_rgb(root / name) for name in names]
        resized = [photo.resize(size, Image.Resampling.BICUBIC) for photo in photos]
        return np.stack([np.asarray(photo) for photo in resized])
    pictures = [
        picture
        for person in range(_PEOPLE)
        for picture in high_resolution(0, person, range(_PICTURES), _SIDE)
    ]
    photos = [Image.fromarray(picture.pixels) for picture in pictures]
    boxes = np.stack([np.asarray(picture.face_box, np.float64) for picture in pictures])
    context = program.before.get("context")
    if context is None or height != width:
        cut = [crop(*face, height, width) for face in zip(photos, boxes, strict=True)]
    else:
        squares = box_crops(boxes, context)
        cut = [
            cut_crop(photo, squares.centre[i], float(squares.side[i]), 0.0, height)
            for i, photo in enumerate(photos)
        ]
    return np.stack(cut)


def _line(out: Path, found: Weights) -> str:
    parameters = sum(leaf.size for leaf in jax.tree.leaves(found.variables["params"]))
    step = f", step {found.provenance['step']:,}" if "step" in found.provenance else ""
    megabytes = out.stat().st_size / 1e6
    return f"{out}: {parameters:,} parameters, {megabytes:.1f} MB{step} of {found.path}"


def _halved(values: Any) -> np.ndarray:
    """float16; the batch statistics are left alone, whose variances could underflow."""
    if np.abs(values).max(initial=0.0) > np.finfo(np.float16).max:
        raise InputError("The parameters exceed the range of 16 bits; export without --half.")
    return np.asarray(values, np.float16)
