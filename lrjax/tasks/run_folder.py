"""What a run folder holds besides checkpoints and metrics, and whether a run may go on there."""

from __future__ import annotations

import platform
import shutil
from collections.abc import Callable, Mapping
from importlib import metadata
from pathlib import Path
from typing import Any

import jax

import lrjax
from lrjax.data.examples import Examples
from lrjax.errors import InputError
from lrjax.files import read_json
from lrjax.models import weights
from lrjax.training.state import State
from lrjax.training.task import Task


def environment(parts: Mapping[str, Examples]) -> dict[str, Any]:
    """Say what a result depends on besides the configuration."""
    packages = ("jax", "jaxlib", "flax", "optax", "orbax-checkpoint", "numpy")
    return {
        "lrjax": lrjax.__version__,
        "python": platform.python_version(),
        "packages": {name: metadata.version(name) for name in packages},
        "device": jax.devices()[0].device_kind,
        "devices": jax.device_count(),
        "processes": jax.process_count(),
        "data": {
            name: {"faces": len(part), "fingerprint": part.fingerprint}
            | ({"note": part.note} if part.note else {})
            for name, part in parts.items()
        },
    }


def weights_writer(folder: Path, task: Task, name: str) -> Callable[[State, str], None]:
    """Return `(state, "last" or "best")` to one safetensors file per network of the run."""

    def write(state: State, which: str) -> None:
        for role, net in state.nets.items():
            network = task.players[role].network
            if network.kind == "features":  # of others, and large
                continue
            provenance = {
                "task": name,
                "role": role,
                "step": int(state.step),
                "lrjax": lrjax.__version__,
            }
            if role == "encoder" and "upsampler" in state.nets:
                provenance["behind"] = "upsampler"  # it sees what that network makes of faces
            path = folder / which / f"{role}.safetensors"
            weights.save(path, network.config, net.evaluation_variables, provenance)

    return write


def check_data(parts: Mapping[str, Examples], folder: Path) -> None:
    """Check that `folder` is free for a run, or holds one that began with these examples.

    Raises:
      InputError: they have changed since.
    """
    if not (folder / "config.json").is_file():
        return
    path, remedy = folder / "environment.json", "discard the run with --restart"
    try:
        begun = read_json(path, remedy)["data"]
        before = {name: (begun[name]["fingerprint"], begun[name]["faces"]) for name in begun}
    except (TypeError, KeyError) as error:
        raise InputError(
            f"The file {path} does not say what a run began with; {remedy}."
        ) from error
    for name, part in parts.items():
        fingerprint, faces = before.get(name, (part.fingerprint, 0))
        if fingerprint != part.fingerprint:
            raise InputError(
                f"The {name} faces of the run in {folder} have changed since it began (it had "
                f"{faces}, there are {len(part)}); prepare the same data again, "
                "name another run folder, or discard the run with --restart."
            )


def discard(folder: Path) -> None:
    """Empty a run folder; the folder itself, which is locked, stays.

    Raises:
      InputError: it holds something else than a run.
    """
    if not (folder / "config.json").is_file() and any(folder.iterdir()):
        raise InputError(f"The folder {folder} holds no run but other files; name another one.")
    for entry in folder.iterdir():
        shutil.rmtree(entry) if entry.is_dir() else entry.unlink()
