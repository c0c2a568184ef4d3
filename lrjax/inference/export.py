"""Networks as programs for other runtimes: StableHLO and ONNX, from bytes to answers.

What comes before and after a network is part of its program: it takes pictures as they lie in
memory, uint8 RGB, and gives points in pixels, features or enlarged pictures. What remains to be
done outside, such as cutting a face out of a photograph, is said in words and numbers beside it.
"""

from __future__ import annotations

import dataclasses
import json
import logging
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, cast

import jax
import jax.export
import jax.numpy as jnp
import numpy as np

from lrjax.config import to_dict
from lrjax.data.pixels import to_unit
from lrjax.errors import InputError
from lrjax.geometry.points import FIVE, SCHEMES
from lrjax.inference import landmarks
from lrjax.inference.encoder import FaceEncoder, encode_pixels
from lrjax.models.weights import Weights

Run = Callable[[np.ndarray], Sequence[np.ndarray]]
"""Pictures to the outputs of a program."""

PLATFORMS = ("cpu", "cuda", "tpu")
"""What StableHLO is written for."""

TOLERANCE = 1e-4
"""The largest difference between an exported network and the original, as a share of what a value
ranges over: a side of the picture for points, 1 for confidences, 255 for pixels, and the longest
feature's length for features."""

CHECKED = 64
"""Faces on which a program is compared at a time."""

INPUT = "faces"

_OPSET = 23


@dataclasses.dataclass(frozen=True, eq=False)
class Output:
    """Describe an output of a program.

    Attributes:
      name: of the array.
      shape: in words, such as "batch, 73, 2".
      meaning: what it holds, in which unit.
      more: what else is known of it, JSON-able, such as the names of points.
      scale: what its values range over; None: the length of the longest vector in it.
    """

    name: str
    shape: str
    meaning: str
    more: dict[str, Any]
    scale: float | None


@dataclasses.dataclass(frozen=True, eq=False)
class Program:
    """Hold a network as a function of pictures.

    Attributes:
      function: uint8 [B, H, W, 3], RGB, to arrays, as `outputs` describes them.
      size: (H, W).
      outputs: one for each array.
      before: what is to be done with a photograph, JSON-able.
      weights: whose network it is.
    """

    function: Callable[[jax.Array], tuple[jax.Array, ...]]
    size: tuple[int, int]
    outputs: tuple[Output, ...]
    before: dict[str, Any]
    weights: Weights

    def describe(self) -> dict[str, Any]:
        """Say, JSON-able, what goes in, what comes out, and whose network it is."""
        height, width = self.size
        about = {
            "network": to_dict(self.weights.network.config),
            "provenance": self.weights.provenance,
            "sha256_of_weights": self.weights.identity,
            "input": {
                "name": INPUT,
                "shape": f"batch, {height}, {width}, 3",
                "type": "uint8",
                "layout": "rows, columns, colours (NHWC)",
                "colours": "RGB",
                "range": [0, 255],
                "normalisation": "part of the program",
                **self.before,
            },
            "outputs": {
                output.name: {
                    "shape": output.shape,
                    "type": "float32",
                    "meaning": output.meaning,
                    **output.more,
                }
                for output in self.outputs
            },
        }
        return cast(dict[str, Any], json.loads(json.dumps(about)))


def landmark_program(weights: Weights, flip: bool) -> Program:
    """Make a program of a landmark network: crops of faces to points and confidences.

    Args:
      weights: of a landmark network.
      flip: whether to look at the mirror image, too, and average.
    """
    network = weights.network
    config: landmarks.LandmarkConfig = network.config
    scheme = SCHEMES[config.points]
    points = Output(
        "points",
        f"batch, {scheme.count}, 2",
        "x and y in pixels of the crop, from the centre of its first pixel",
        {
            "names": list(scheme.names),
            "to_photograph": "left + (x + 0.5) * side / size - 0.5, where left is that of the "
            "square, x + w / 2 - side / 2 of the box, and size the crop's; and y likewise",
        },
        float(config.size),
    )
    sure = Output(
        "confidence",
        f"batch, {scheme.count}",
        "from 0 to 1, of each point; it orders predictions and is no probability",
        {"doubtful_below": landmarks.DOUBTFUL},
        1.0,
    )
    crop = (
        f"the square of side {config.context:g} * sqrt(w * h) about the middle of the face's box "
        f"(x, y, w, h), black beyond the photograph, resized to {config.size} x {config.size} "
        "pixels by antialiased bicubic interpolation"
    )
    function = partial(landmarks.forward, network.module, config, flip, weights.variables)
    before = {"crop": crop, "context": config.context, "mirror_image_averaged": flip}
    return Program(function, network.size, (points, sure), before, weights)


def encoder_program(found: FaceEncoder) -> Program:
    """Make a program of a face encoder, its refiner included: aligned faces to features."""
    template = found.template
    variables = tuple(file.variables for file in found.files)

    def function(pixels: jax.Array) -> tuple[jax.Array, ...]:
        features = encode_pixels(found.layers, "none", variables, pixels)
        return (cast(jax.Array, features),)

    output = Output(
        "features",
        f"batch, {found.length('none')}",
        "compared by the cosine or the Euclidean distance; not of length 1",
        {},
        None,
    )
    before = {
        "crop": "laid by a similarity so that five points of it fall on those of the template",
        "template": {
            "name": template.name,
            "points": {
                name: [round(float(value), 4) for value in point]
                for name, point in zip(FIVE.names, template.points, strict=True)
            },
        },
    }
    return Program(function, (template.height, template.width), (output,), before, found.weights)


def upsampler_program(weights: Weights) -> Program:
    """Make a program of a network that enlarges faces, or sharpens enlarged ones."""
    network = weights.network
    config = network.config

    def function(pixels: jax.Array) -> tuple[jax.Array, ...]:
        images = to_unit(pixels.astype(jnp.float32))
        large = cast(jax.Array, network.module.apply(weights.variables, images, train=False))
        return (jnp.clip((large + 1.0) * 127.5, 0.0, 255.0),)

    height, width = config.image_size
    output = Output(
        "enlarged",
        f"batch, {height}, {width}, 3",
        "RGB from 0 to 255, not yet rounded",
        {"factors": list(config.factors)},
        255.0,
    )
    refines = network.kind == "refiner"
    crop = "the face, enlarged bicubically" if refines else "the small face"
    return Program(
        function,
        network.size,
        (output,),
        {"crop": crop, "context": weights.provenance.get("context")},
        weights,
    )


def to_stablehlo(program: Program) -> tuple[bytes, Run]:
    """Write a program as `jax.export` does, for any batch and all of `PLATFORMS`.

    Returns:
      the bytes, for `jax.export.deserialize`; and what runs them, read back.
    """
    shape = jax.export.symbolic_shape(f"batch, {program.size[0]}, {program.size[1]}, 3")
    example = jax.ShapeDtypeStruct(shape, jnp.uint8)
    exported = jax.export.export(jax.jit(program.function), platforms=PLATFORMS)(example)
    data = bytes(exported.serialize())
    call = jax.export.deserialize(bytearray(data)).call
    return data, lambda faces: jax.device_get(call(faces))


def to_onnx(program: Program) -> tuple[bytes, Run]:
    """Write a program as an ONNX model with a symbolic batch; its description is in its metadata.

    Returns:
      the bytes; and what runs them, with ONNX Runtime on the CPU.

    Raises:
      InputError: the packages are missing, or an operation of the network has no counterpart.
    """
    try:
        import jax2onnx
        import onnxruntime
    except ImportError as error:
        raise InputError(
            f"ONNX needs jax2onnx and onnxruntime ({error}); pip install 'lrjax[onnx]'."
        ) from error
    # It warns of every shape between layers that it does not know.
    logging.getLogger("onnx_ir").setLevel(logging.ERROR)
    height, width = program.size
    try:
        model = jax2onnx.to_onnx(
            program.function,
            [jax.ShapeDtypeStruct(("batch", height, width, 3), jnp.uint8)],  # type: ignore[arg-type]
            model_name=program.weights.network.config.name,
            opset=_OPSET,
            input_names=[INPUT],
            output_names=[output.name for output in program.outputs],
        )
    except Exception as error:  # of many kinds, which the package does not name
        raise _refused(program, "written as", error) from error
    # Shapes of what lies between, which are optional, and of which some are wrong.
    del model.graph.value_info[:]
    about = model.metadata_props.add()
    about.key, about.value = "lrjax", json.dumps(program.describe(), sort_keys=True)
    data = model.SerializeToString()
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3  # errors: it warns of every constant that it optimises away

    def run(faces: np.ndarray) -> Sequence[np.ndarray]:
        try:
            return session.run(None, {INPUT: faces})
        except Exception as error:  # likewise
            raise _refused(program, "run as", error) from error

    try:
        session = onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"])
    except Exception as error:
        raise _refused(program, "read as", error) from error
    return data, run


def _refused(program: Program, what: str, error: Exception) -> InputError:
    reason = (str(error).splitlines() or [type(error).__name__])[0][:200]
    name = program.weights.network.config.name
    return InputError(
        f"The network {name} cannot be {what} ONNX ({reason}); name --out .stablehlo."
    )


WRITERS: dict[str, Callable[[Program], tuple[bytes, Run]]] = {
    ".stablehlo": to_stablehlo,
    ".onnx": to_onnx,
}
"""Suffix of a file -> what writes it."""


def differences(program: Program, run: Run, faces: np.ndarray) -> dict[str, float]:
    """Compare what an exported program gives with what the network gives.

    Args:
      program: the network.
      run: the exported one.
      faces: uint8 [n, H, W, 3]. They are looked at together, or if there are many, `CHECKED` at a
        time; and the first one alone, too, since a batch may have any size.

    Returns:
      output -> largest difference, as a share of what the values range over; infinite where one is
      not finite.

    Raises:
      InputError: the arrays have other shapes.
    """
    original = jax.jit(program.function)
    found = dict.fromkeys((output.name for output in program.outputs), 0.0)
    parts = [faces[start : start + CHECKED] for start in range(0, len(faces), CHECKED)]
    for some in (*parts, faces[:1]):
        pairs = zip(program.outputs, jax.device_get(original(some)), run(some), strict=True)
        for output, ours, theirs in pairs:
            if ours.shape != theirs.shape:
                raise InputError(
                    f"The exported network's {output.name} are of shape {list(theirs.shape)}, "
                    f"where the original's are of {list(ours.shape)}; export it as another format."
                )
            scale = output.scale or float(np.linalg.norm(ours, axis=-1).max()) or 1.0
            difference = float(np.abs(ours - theirs).max(initial=0.0)) / scale
            worst = max(found[output.name], difference)
            found[output.name] = worst if np.isfinite(difference) else np.inf
    return found
