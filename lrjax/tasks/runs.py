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
from typing import Any

import jax
from jax.experimental import multihost_utils

import lrjax
from lrjax.config import from_dict, to_dict
from lrjax.data import sources
from lrjax.errors import InputError
from lrjax.tasks import degradation, landmarks
from lrjax.training import loop
from lrjax.training.state import State
from lrjax.training.task import Task
from lrjax.training.weights import save_variables, write_json

Config = degradation.DegradationConfig | landmarks.LandmarksConfig
# What is trained: name -> (its configuration, `make(config, steps) -> Task`).
TASKS: dict[str, tuple[type, Callable[[Any, int], Task]]] = {
    "degradation": (degradation.DegradationConfig, degradation.make),
    "landmarks": (landmarks.LandmarksConfig, landmarks.make),
}


def task_name(config: Config) -> str:
    """The name under which TASKS knows a configuration's task."""
    return next(name for name, (kind, _) in TASKS.items() if isinstance(config, kind))


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
        kind, _ = TASKS[values.pop("task")]
    except (json.JSONDecodeError, KeyError) as error:
        raise InputError(f"The file {path} is not a run's configuration ({error}).") from error
    return from_dict(kind, values)


def load_sources(
    config: Config, data_dir: Path
) -> tuple[dict[str, sources.Faces], sources.Faces | None]:
    """The faces that each part of a batch is drawn from, and those held out."""
    scheme = getattr(config, "scheme", "ibug68")
    labelled = sources.load(
        config.labelled,
        data_dir=data_dir,
        view=config.image_size,
        context=config.context,
        scheme=scheme,
    )
    held_out = None
    if config.holdout > 0:
        labelled, held_out = sources.split_holdout(labelled, config.holdout, config.train.seed)
        if not len(held_out):
            raise InputError(
                f"The share {config.holdout} holds out none of the {len(labelled)} labelled faces; "
                "set holdout to more, or to 0."
            )
    faces = {"labelled": labelled}
    if getattr(config, "needs_real", True):
        faces["real"] = sources.load(
            config.real, data_dir=data_dir, view=config.size, context=config.context, scheme=scheme
        )
    return faces, held_out


def arrays(faces: sources.Faces) -> dict[str, Any]:
    """The fields that a step or an evaluation reads."""
    return {"images": faces.images, "points": faces.points, "visible": faces.visible}


def environment(faces: Mapping[str, sources.Faces]) -> dict[str, Any]:
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
            name: {"faces": len(part.images), "fingerprint": part.fingerprint}
            for name, part in faces.items()
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


def check_data(faces: Mapping[str, sources.Faces], folder: Path) -> None:
    """`folder` is free for a run, or holds one that began with these faces.

    Raises:
      InputError: they have changed since.
    """
    if not (folder / "config.json").is_file():
        return
    begun = json.loads((folder / "environment.json").read_text())["data"]
    for name, part in faces.items():
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
    pictures: Callable[[int, dict[str, Any]], None] | None = None,
) -> State:
    """Train `config` in `folder`, or finish what was begun there.

    Raises:
      InputError: the folder holds a run of another configuration or on other data, or the data are
        not prepared.
    """
    folder = Path(folder)
    check_config(config, folder)
    faces, held_out = load_sources(config, data_dir)
    everything = faces if held_out is None else faces | {"held_out": held_out}
    check_data(everything, folder)
    name = task_name(config)
    steps = loop.total_steps(config.train, len(faces["labelled"]))
    _, make = TASKS[name]
    task = make(config, steps)
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
        {part: arrays(value) for part, value in faces.items()},
        folder,
        held_out=None if held_out is None else arrays(held_out),
        hooks=hooks,
    )
