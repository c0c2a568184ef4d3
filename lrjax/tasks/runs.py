"""From a configuration to a run folder: data, task, loop, weights.

A run folder holds `config.json`, `environment.json`, `metrics.jsonl`, `tensorboard/`,
`checkpoints/`, and the networks as safetensors in `last/` and, where faces were held out, `best/`.
"""

from __future__ import annotations

import dataclasses
import json
import platform
import shutil
from collections.abc import Callable, Mapping
from importlib import metadata
from pathlib import Path
from typing import Any, NamedTuple

import jax
from jax.experimental import multihost_utils

import lrjax
from lrjax.config import from_dict, to_dict
from lrjax.data.examples import Examples, Loaded
from lrjax.errors import InputError
from lrjax.tasks import (
    csri,
    csri_networks,
    degradation,
    faces,
    landmarks,
    recognition,
    recognition_data,
    super_resolution,
    super_resolution_data,
)
from lrjax.training import loop
from lrjax.training.state import State
from lrjax.training.task import Task
from lrjax.training.weights import save_variables, write_json

Config = (
    degradation.DegradationConfig
    | landmarks.LandmarksConfig
    | recognition.RecognitionConfig
    | super_resolution.SuperResolutionConfig
    | csri_networks.CSRIConfig
)


class Entry(NamedTuple):
    """What a run must know of a task.

    Attributes:
      config: type of its configurations.
      make: `(config, steps) -> Task`.
      load: `(config, data_dir, align) -> Loaded`, with what `train` was given for `align`.
    """

    config: type
    make: Callable[[Any, int], Task]
    load: Callable[[Any, Path, Any], Loaded] = faces.load


# What is trained, by name.
TASKS: dict[str, Entry] = {
    "degradation": Entry(degradation.DegradationConfig, degradation.make),
    "landmarks": Entry(landmarks.LandmarksConfig, landmarks.make),
    "recognition": Entry(recognition.RecognitionConfig, recognition.make, recognition_data.load),
    "super_resolution": Entry(
        super_resolution.SuperResolutionConfig, super_resolution.make, super_resolution_data.load
    ),
    "csri": Entry(csri_networks.CSRIConfig, csri.make, csri.load),
}


def task_name(config: Config) -> str:
    """The name under which TASKS knows a configuration's task."""
    return next(name for name, entry in TASKS.items() if isinstance(config, entry.config))


def load_config(folder: Path) -> Config:
    """The configuration of a run folder.

    Raises:
      InputError: the folder holds no run, or one of another version.
    """
    path = Path(folder) / "config.json"
    if not path.is_file():
        raise InputError(f"There is no run in {folder} (no config.json); name a run folder.")
    try:
        values = json.loads(path.read_text())
        kind = TASKS[values.pop("task")].config
    except (json.JSONDecodeError, KeyError) as error:
        raise InputError(f"The file {path} is not a run's configuration ({error}).") from error
    return from_dict(kind, values)


def environment(data: Mapping[str, Examples]) -> dict[str, Any]:
    """What a result depends on besides the configuration."""
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
            for name, part in data.items()
        },
    }


def weights_writer(folder: Path, config: Config) -> Callable[[State, str], None]:
    """`(state, "last" or "best")` to one safetensors file per network of the run's own."""

    def write(state: State, which: str) -> None:
        for name, net in state.nets.items():
            save_variables(
                folder / which / f"{name}.safetensors",
                net.evaluation_variables,
                {
                    "network": name,
                    "task": task_name(config),
                    "step": int(state.step),
                    "config": to_dict(config),
                },
            )

    return write


def check_config(config: Config, folder: Path) -> None:
    """`folder` is free for a run, or holds one of `config`.

    How long a run is, how it is parallelised and how often it says something may change.

    Raises:
      InputError: it holds a run of another configuration.
    """
    if not (folder / "config.json").is_file():
        return
    begun = load_config(folder)
    changed = dataclasses.replace(
        config.train, batch_size=begun.train.batch_size, seed=begun.train.seed
    )
    if dataclasses.replace(begun, train=changed) != config:
        raise InputError(
            f"The folder {folder} holds a run of another configuration; name another run folder, "
            "continue with the settings in its config.json, or discard it with --restart."
        )


def check_data(data: Mapping[str, Examples], folder: Path) -> None:
    """`folder` is free for a run, or holds one that began with these examples.

    Raises:
      InputError: they have changed since.
    """
    if not (folder / "config.json").is_file():
        return
    begun = json.loads((folder / "environment.json").read_text())["data"]
    for name, part in data.items():
        if name in begun and begun[name]["fingerprint"] != part.fingerprint:
            raise InputError(
                f"The {name} faces of the run in {folder} have changed since it began (it had "
                f"{begun[name]['faces']}, there are {len(part)}); prepare the same data again, "
                "name another run folder, or discard the run with --restart."
            )


def discard(folder: Path) -> None:
    """Remove the run in `folder`, if there is one.

    Raises:
      InputError: the folder holds something else.
    """
    found = (folder / "config.json").is_file()
    if not found and folder.exists() and any(folder.iterdir()):
        raise InputError(f"The folder {folder} holds no run but other files; name another one.")
    # All processes look before the first one removes, and none goes on before it has.
    multihost_utils.sync_global_devices("looked for a run")
    if found and jax.process_index() == 0:
        shutil.rmtree(folder)
    multihost_utils.sync_global_devices("discarded the run")


def train(
    config: Config,
    folder: Path,
    *,
    data_dir: Path,
    align: recognition_data.Align | None = None,
    pictures: Callable[[int, dict[str, Any]], None] | None = None,
) -> State:
    """Train `config` in `folder`, or finish what was begun there.

    Args:
      align: aligns the pictures of people, which all tasks need that learn from people.
      pictures: see `loop.Hooks`.

    Raises:
      InputError: the folder holds a run of another configuration or on other data, or the data are
        not prepared.
    """
    folder = Path(folder)
    check_config(config, folder)
    name = task_name(config)
    parts, held_out, complete = TASKS[name].load(config, data_dir, align)
    everything = parts if held_out is None else parts | {"held_out": held_out}
    check_data(everything, folder)
    steps = loop.total_steps(config.train, len(next(iter(parts.values()))))
    task = TASKS[name].make(complete, steps)
    if jax.process_index() == 0:
        write_json(folder / "environment.json", environment(everything))
        write_json(folder / "config.json", {"task": name, **to_dict(config)})
    hooks = loop.Hooks(weights=weights_writer(folder, config))
    if pictures is not None:
        hooks = dataclasses.replace(hooks, pictures=pictures)
    return loop.fit(
        task,
        config.train,
        steps,
        {name: part.arrays for name, part in parts.items()},
        folder,
        held_out=None if held_out is None else held_out.arrays,
        hooks=hooks,
    )
