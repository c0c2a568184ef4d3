"""A network's variables as one safetensors file: data that cannot execute code.

Names are paths such as `params.stem.kernel`; the metadata holds, as JSON, what is needed to build
the module again. One format serves the stages of a run, export and the shipped weights.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import traverse_util
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from lrjax.errors import InputError
from lrjax.files import write_atomically

# Flax names spectral-norm vectors "layer/kernel/u", so a slash cannot separate.
SEPARATOR = "."


def write_json(path: Path, value: Any) -> None:
    """Pretty JSON, written atomically."""
    write_atomically(Path(path), (json.dumps(value, indent=2, sort_keys=True) + "\n").encode())


def save_variables(path: Path, variables: dict[str, Any], metadata: dict[str, Any]) -> None:
    """Write a nested dictionary of arrays, and `metadata` (JSON-able), atomically."""
    flat = traverse_util.flatten_dict(jax.device_get(variables), sep=SEPARATOR)
    arrays = {name: np.asarray(value, order="C") for name, value in flat.items()}
    text = {name: json.dumps(value) for name, value in metadata.items()}
    write_atomically(Path(path), save(arrays, metadata=text))


def first_misfit(found: Any, wanted: Any) -> str | None:
    """In words, the first array by which two nested dictionaries differ in name or shape."""
    there, here = (
        {name: np.shape(leaf) for name, leaf in flat.items()}
        for flat in (traverse_util.flatten_dict(tree, sep=SEPARATOR) for tree in (found, wanted))
    )
    return misfit(there, here)


def fitting_variables(
    source: str | Path, network: str, like: dict[str, Any], what: str, field: str
) -> dict[str, Any]:
    """The variables of a network that another run has trained, on the device.

    Args:
      source: a .safetensors file, or a run folder, of which the last weights are taken.
      network: its name in the run.
      like: variables with the names and shapes that are wanted.
      what, field: what they are wanted for and the configuration's field that names them, for the
        message.

    Raises:
      InputError: there are none, or their names or shapes are not those of `like`.
    """
    path = Path(source)
    path = path / "last" / f"{network}.safetensors" if path.is_dir() else path
    variables, _ = load_variables(path)
    unfit = first_misfit(variables, like)
    if unfit is not None:
        raise InputError(
            f"The weights in {path} do not fit {what}: {unfit}; set {field} to weights of that "
            "network, or the configuration's network and width to theirs."
        )
    return jax.tree.map(jnp.asarray, variables)


def misfit(there: Mapping[str, tuple[int, ...]], here: Mapping[str, tuple[int, ...]]) -> str | None:
    """In words, the first name in two dictionaries of shapes that has not the same in both."""
    unfit = sorted(n for n in there.keys() | here.keys() if there.get(n) != here.get(n))
    if not unfit:
        return None
    first, second = (
        f"of shape {list(shapes[unfit[0]])}" if unfit[0] in shapes else "missing"
        for shapes in (there, here)
    )
    return f"{unfit[0]} is {first} there and {second} here, as the first of {len(unfit)}"


def load_variables(path: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """The variables (NumPy, float32 where they are floating) and the metadata of a file.

    Raises:
      InputError: there is no such file, or it is not one of ours.
    """
    path = Path(path)
    if not path.is_file():
        raise InputError(f"There is no weights file {path}; name a .safetensors file.")
    try:
        with safe_open(path, framework="numpy") as file:
            flat = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            metadata = {k: json.loads(v) for k, v in (file.metadata() or {}).items()}
    except (SafetensorError, json.JSONDecodeError) as error:
        raise InputError(
            f"The weights file {path} is not a safetensors file that lrjax wrote ({error}); "
            "write one with `lrjax export`."
        ) from error
    widened = {
        name: value.astype(np.float32) if value.dtype == np.float16 else value
        for name, value in flat.items()
    }
    return traverse_util.unflatten_dict(widened, sep=SEPARATOR), metadata
