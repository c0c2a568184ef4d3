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
from lrjax.models import hub, weights
from lrjax.training.state import State
from lrjax.training.task import Task

_REMEDY = "discard the run with --restart"


def environment(
    parts: Mapping[str, Examples], sources: Mapping[str, Mapping[str, str]]
) -> dict[str, Any]:
    """Say what a result depends on besides the configuration.

    Args:
      parts: the examples.
      sources: the weights that the run goes on from, as `identities` says them.
    """
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
        "weights": {field: dict(files) for field, files in sources.items()},
    }


def identities(sources: Mapping[str, str]) -> dict[str, dict[str, str]]:
    """Tell the weights apart that a run goes on from.

    Args:
      sources: field of the configuration -> run folder, weights file, "pretrained" or "hub:...".

    Returns:
      field -> {file: its SHA-256}: all networks of a run folder, "last/g1.safetensors", or the one
      file, by its name; nothing for what is no file.
    """

    def files(source: str) -> dict[str, Path]:
        path = weights.PRETRAINED if source == "pretrained" else Path(source)
        if hub.is_name(source):
            path = hub.resolve(source)
        if path.is_file():
            return {path.name: path}
        found = (file for which in weights.WHICH for file in path.glob(f"{which}/*.safetensors"))
        return {file.relative_to(path).as_posix(): file for file in sorted(found)}

    return {
        field: {name: weights.identity_of(file) for name, file in files(source).items()}
        for field, source in sources.items()
    }


def begun_with(folder: Path) -> dict[str, dict[str, str]]:
    """Read with which weights the run in `folder` began, as `identities` gives them.

    Raises:
      InputError: its description cannot be read.
    """
    path = folder / "environment.json"
    about = read_json(path, _REMEDY)
    begun = about.get("weights", {}) if isinstance(about, dict) else None
    if not isinstance(begun, dict) or not all(isinstance(one, dict) for one in begun.values()):
        raise InputError(f"{path} is no description of a run; {_REMEDY}.")
    return begun


def check_weights(sources: Mapping[str, str], folder: Path) -> None:
    """Check that `folder` is free for a run, or holds one that began with the weights of today.

    Weights that are gone since are not missed.

    Args:
      sources: as for `identities`.
      folder: of the run.

    Raises:
      InputError: a file that the run began with is another one now.
    """
    if not (folder / "config.json").is_file():
        return
    begun = begun_with(folder)
    for field, files in identities(sources).items():
        for name, identity in files.items():
            if begun.get(field, {}).get(name, identity) != identity:
                raise InputError(
                    f"The run in {folder} learned from other weights than {name} of its {field}, "
                    f"{sources[field]}, holds now; train it again with --restart, or put the old "
                    "weights back."
                )


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
                **task.players[role].about,
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
    path = folder / "environment.json"
    try:
        begun = read_json(path, _REMEDY)["data"]
        before = {name: (begun[name]["fingerprint"], begun[name]["faces"]) for name in begun}
    except (TypeError, KeyError) as error:
        raise InputError(
            f"The file {path} does not say what a run began with; {_REMEDY}."
        ) from error
    for name, part in parts.items():
        fingerprint, faces = before.get(name, (part.fingerprint, 0))
        if fingerprint != part.fingerprint:
            raise InputError(
                f"The {name} faces of the run in {folder} have changed since it began (it had "
                f"{faces}, there are {len(part)}); prepare the same data again, "
                "name another run folder, or discard the run with --restart."
            )


def check_discardable(folder: Path) -> None:
    """Check that a folder is empty or holds a run.

    Raises:
      InputError: it holds something else than a run.
    """
    if not (folder / "config.json").is_file() and any(folder.iterdir()):
        raise InputError(f"The folder {folder} holds no run but other files; name another one.")


def discard(folder: Path) -> None:
    """Empty a run folder; the folder itself, which is locked, stays.

    Raises:
      InputError: it holds something else than a run.
    """
    check_discardable(folder)
    # Last what tells that it is a run, so that what is broken off can be gone on with.
    for entry in sorted(folder.iterdir(), key=lambda entry: entry.name == "config.json"):
        shutil.rmtree(entry) if entry.is_dir() and not entry.is_symlink() else entry.unlink()
