"""From a configuration to a run folder: data, task, loop, weights.

A run folder holds `config.json`, `environment.json`, `metrics.jsonl`, `tensorboard/`,
`checkpoints/`, and the networks as safetensors in `last/` and, where faces were held out, `best/`.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import platform
from collections.abc import Callable
from importlib import metadata
from pathlib import Path
from typing import Any

import jax

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
    faces = {"labelled": labelled}
    if getattr(config, "needs_real", True):
        faces["real"] = sources.load(
            config.real, data_dir=data_dir, view=config.size, context=config.context, scheme=scheme
        )
    return faces, held_out


def arrays(faces: sources.Faces) -> dict[str, Any]:
    """The fields that a step or an evaluation reads."""
    return {"images": faces.images, "points": faces.points, "visible": faces.visible}


def environment(faces: dict[str, sources.Faces]) -> dict[str, Any]:
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
        if jax.process_index():
            return
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


def fingerprint(config: Config) -> str:
    """Eight hexadecimal digits that differ when the configuration does."""
    text = json.dumps({"task": task_name(config), **to_dict(config)}, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:8]


def train(
    config: Config,
    folder: Path,
    *,
    data_dir: Path,
    pictures: Callable[[int, dict[str, Any]], None] | None = None,
) -> State:
    """Train `config` in `folder`, or finish what was begun there.

    Raises:
      InputError: the folder holds a run of another configuration, or the data are not prepared.
    """
    folder = Path(folder)
    name = task_name(config)
    if (folder / "config.json").is_file():
        begun = load_config(folder)
        longer = dataclasses.replace(begun, train=config.train)
        if longer != config:
            raise InputError(
                f"The folder {folder} holds a run of another configuration; name another folder, "
                "or continue it with the settings in its config.json."
            )
    faces, held_out = load_sources(config, data_dir)
    steps = loop.total_steps(config.train, len(faces["labelled"].images))
    _, make = TASKS[name]
    task = make(config, steps)
    if jax.process_index() == 0:
        write_json(folder / "config.json", {"task": name, **to_dict(config)})
        write_json(folder / "environment.json", environment(faces))
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
