"""A network as one safetensors file: data that cannot execute code.

Arrays are named by their paths, such as `params.stem.kernel`. The metadata hold, as JSON, the
network's configuration and its provenance. One format serves runs, export and what comes along.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import traverse_util
from flax.errors import FlaxError
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save as to_safetensors

from lrjax.config import from_dict, to_dict
from lrjax.errors import InputError
from lrjax.files import parse_json, write_atomically
from lrjax.models import hub
from lrjax.models.registry import Kind, Network, NetworkConfig, build

PRETRAINED = Path(__file__).parent.parent / "pretrained" / "g2-ibug68-five.safetensors"
"""The landmark network that comes with the package: 68 points."""

DETECTOR = PRETRAINED.with_name("mtcnn.safetensors")
"""The face detector that comes with the package."""

# Flax names spectral-norm vectors "layer/kernel/u", so a slash cannot separate.
SEPARATOR = "."
# One entry: safetensors writes several in any order, and equal networks shall give equal files.
_ENTRY = "lrjax"

WHICH = ("best", "last")
"""What a run folder holds: the weights with the least held-out error, and the final ones."""

WORDS: dict[Kind, str] = {
    "degrader": "a network that degrades faces",
    "landmarks": "a landmark network",
    "detector": "a face detector",
    "encoder": "a face encoder",
    "upsampler": "a network that enlarges faces",
    "refiner": "a network that sharpens enlarged faces",
    "critic": "a critic",
    "features": "the convolutions of VGG-19",
}


@dataclasses.dataclass(frozen=True)
class Weights:
    """What a file holds.

    Attributes:
      network: the network that its configuration describes.
      variables: the arrays, on the device; half precision is widened to float32.
      provenance: where they come from: a JSON-able dictionary.
      path: of the file.
      identity: SHA-256 of the file, for what is kept of results.
    """

    network: Network
    variables: dict[str, Any]
    provenance: dict[str, Any]
    path: Path
    identity: str


def save(
    path: Path, config: NetworkConfig, variables: dict[str, Any], provenance: dict[str, Any]
) -> None:
    """Write a network atomically; equal ones give equal bytes."""
    flat = traverse_util.flatten_dict(jax.device_get(variables), sep=SEPARATOR)
    arrays = {name: np.asarray(flat[name], order="C") for name in sorted(flat)}
    about = {"network": to_dict(config), "provenance": provenance}
    text = json.dumps(about, sort_keys=True, allow_nan=False)
    write_atomically(path, to_safetensors(arrays, metadata={_ENTRY: text}))


def locate(source: str | Path, role: str, which: str | None = None) -> Path:
    """Find the weights file of a network.

    Args:
      source: the file itself, "pretrained" for what comes along, a run folder, or a name as in
        `lrjax.models.hub`.
      role: the network's name in a run, such as "g2".
      which: of a run folder, one of `WHICH`; by default "best", or "last" where nothing was held
        out.

    Raises:
      InputError: the folder holds no such network, or `which` was said of a file.
    """
    if str(source) == "pretrained":
        return DETECTOR if role == "mtcnn" else PRETRAINED
    source = hub.resolve(source) if hub.is_name(source) else Path(source)
    if not source.is_dir():
        if which is not None and source.is_file():
            raise InputError(f"{source} is one file and has no {which!r}; name its run folder.")
        return source
    files = [source / kind / f"{role}.safetensors" for kind in ([which] if which else WHICH)]
    found = next((file for file in files if file.is_file()), None)
    if found is None:
        tried = " or ".join(str(file.relative_to(source)) for file in files)
        raise InputError(
            f"The folder {source} holds no trained {role} ({tried}); name the folder of a finished "
            "run that has one, or a .safetensors file."
        )
    return found


def load(
    source: str | Path,
    role: str,
    kinds: tuple[Kind, ...],
    which: str | None = None,
    axis_name: str | None = None,
) -> Weights:
    """Load a network, whole and of a wanted kind.

    Args:
      source, role, which: see `locate`.
      kinds: what it may be.
      axis_name: see `build`.

    Raises:
      InputError: there are no such weights, they are of another kind, damaged, not finite, or do
        not fit their own configuration.
    """
    path = locate(source, role, which)
    variables, about = read(path)
    with _built_from(path):
        config = from_dict(NetworkConfig, about["network"])
        network = build(config, axis_name)
    if network.kind not in kinds:
        raise InputError(
            f"The weights file {path} holds {WORDS[network.kind]} "
            f"({config.name}); name one with {' or '.join(WORDS[kind] for kind in kinds)}."
        )
    with _built_from(path):
        shapes = network.shapes()
    unfit = misfit(variables, shapes)
    if unfit is not None:
        raise InputError(
            f"The arrays in {path} are not those of the {config.name} that it describes: {unfit}; "
            "get or write the file again."
        )
    variables = jax.tree.map(jnp.asarray, variables)
    return Weights(network, variables, about["provenance"], path, identity_of(path))


def identity_of(path: Path) -> str:
    """Tell a file from others by its SHA-256."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


@contextmanager
def _built_from(path: Path) -> Iterator[None]:
    """Say of what fails while a network is built that `path` describes it so."""
    try:
        yield
    except (InputError, ArithmeticError, TypeError, ValueError, FlaxError) as error:
        raise InputError(
            f"The weights file {path} describes a network that cannot be built ({_reason(error)}); "
            "get or write the file again."
        ) from error


def load_into(source: str | Path, role: str, network: Network, field: str) -> dict[str, Any]:
    """Load variables that another network of the same shapes has learned, on the device.

    Args:
      source: a weights file, or a run folder, of which the last weights are taken.
      role: the network's name in a run.
      network: what they are wanted for.
      field: the configuration's field that names them, for the message.

    Raises:
      InputError: there are none, or their names or shapes are not those of `network`.
    """
    path = locate(source, role, "last" if Path(source).is_dir() else None)
    variables, _ = read(path)
    unfit = misfit(variables, network.shapes())
    if unfit is not None:
        raise InputError(
            f"The weights in {path} do not fit the {network.config.name} of this configuration: "
            f"{unfit}; set {field} to weights of that network, or its sizes to theirs."
        )
    return jax.tree.map(jnp.asarray, variables)


def read(path: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """Read the arrays (NumPy) and the metadata, "network" and "provenance", of a file of ours.

    Raises:
      InputError: there is no such file, it is not one of ours, or an array is not finite.
    """
    if not path.is_file():
        raise InputError(
            f"There is no weights file {path}; name a run folder or a .safetensors file."
        )
    try:
        with safe_open(path, framework="numpy") as file:
            about = parse_json((file.metadata() or {})[_ENTRY])
            flat = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            if not all(isinstance(about[part], dict) for part in ("network", "provenance")):
                raise TypeError("its metadata are of another shape")
        tree = traverse_util.unflatten_dict(
            {name: _widened(value) for name, value in flat.items()}, sep=SEPARATOR
        )
    except (SafetensorError, ValueError, LookupError, TypeError, AttributeError, OSError) as error:
        raise InputError(
            f"The weights file {path} is not one that lrjax wrote ({_reason(error)}); write one "
            "with `lrjax train`, `lrjax export` or `lrjax convert`."
        ) from error
    return tree, about


def _reason(error: Exception) -> str:
    if isinstance(error, KeyError):
        return "it says of no network what it is"
    if isinstance(error, AttributeError):
        return "an array is of a kind that NumPy lacks"
    return str(error)[:200] or type(error).__name__


def _widened(value: np.ndarray) -> np.ndarray:
    if value.dtype == np.float16:
        value = value.astype(np.float32)
    if np.issubdtype(value.dtype, np.floating):
        if value.dtype != np.float32:
            raise ValueError(f"an array is of type {value.dtype}")
        if not np.isfinite(value).all():
            raise ValueError("an array is not finite")
    return value


def misfit(found: Any, wanted: Any) -> str | None:
    """Say in words by which array two nested dictionaries first differ in name or shape."""
    there, here = (
        {name: np.shape(leaf) for name, leaf in flat.items()}
        for flat in (traverse_util.flatten_dict(tree, sep=SEPARATOR) for tree in (found, wanted))
    )
    return first_difference(there, here)


def first_difference(
    there: Mapping[str, tuple[int, ...]], here: Mapping[str, tuple[int, ...]]
) -> str | None:
    """Say in words which name is the first in two dictionaries of shapes not to agree, if any."""
    unfit = sorted(n for n in there.keys() | here.keys() if there.get(n) != here.get(n))
    if not unfit:
        return None
    first, second = (
        f"of shape {list(shapes[unfit[0]])}" if unfit[0] in shapes else "missing"
        for shapes in (there, here)
    )
    name = unfit[0] if len(unfit[0]) <= 200 else f"{unfit[0][:200]}..."
    return f"{name} is {first} there and {second} here, as the first of {len(unfit)}"
