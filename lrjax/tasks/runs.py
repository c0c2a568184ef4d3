"""Runs: a configuration by name, what it needs, and the folder in which it is trained.

A run folder holds `config.json`, `environment.json`, `metrics.jsonl`, `tensorboard/`,
`checkpoints/`, and the networks as safetensors in `last/` and, where faces were held out, `best/`.
Fields of a configuration that name another run ("degradation:small") are trained or found first.
"""

from __future__ import annotations

import contextlib
import dataclasses
import importlib
import importlib.util
import pkgutil
import shutil
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

import jax
from jax.experimental import multihost_utils

from lrjax.config import from_dict, override, to_dict
from lrjax.data.examples import Loaded
from lrjax.errors import InputError, did_you_mean
from lrjax.files import exclusively, read_json, write_json
from lrjax.tasks import (
    csri,
    data,
    degradation,
    landmarks,
    recognition,
    run_folder,
    super_resolution,
)
from lrjax.training import loop
from lrjax.training.state import State
from lrjax.training.task import Task

Config = (
    degradation.DegradationConfig
    | landmarks.LandmarksConfig
    | recognition.RecognitionConfig
    | super_resolution.SuperResolutionConfig
    | csri.CSRIConfig
)
Pictures = Callable[[Path, int, dict[str, Any]], None]


class TaskType(NamedTuple):
    """What a run must know of a task.

    Attributes:
      config: type of its configurations.
      make: `(config, steps) -> Task`.
      load: `(config, data_dir, cache) -> Loaded`.
    """

    config: type
    make: Callable[[Any, int], Task]
    load: Callable[[Any, Path, Path | None], Loaded]


def _load_faces(config: Any, data_dir: Path, cache: Path | None) -> Loaded:
    return data.load_faces(config, data_dir)


TASKS: dict[str, TaskType] = {
    "degradation": TaskType(degradation.DegradationConfig, degradation.make, _load_faces),
    "landmarks": TaskType(landmarks.LandmarksConfig, landmarks.make, _load_faces),
    "recognition": TaskType(recognition.RecognitionConfig, recognition.make, data.load_recognition),
    "super_resolution": TaskType(
        super_resolution.SuperResolutionConfig, super_resolution.make, data.load_super_resolution
    ),
    "csri": TaskType(csri.CSRIConfig, csri.make, data.load_csri),
}


def task_name(config: Config) -> str:
    """Return the name under which TASKS knows a configuration's task."""
    return next(name for name, task in TASKS.items() if type(config) is task.config)


# --- Configurations by name.

# Found by its name, as configurations are made of tasks and stand above them.
CONFIGS = "lrjax.configs"


def config_names() -> list[str]:
    """List the files of `configs/`."""
    folder = importlib.import_module(CONFIGS).__path__
    return sorted(module.name for module in pkgutil.iter_modules(folder))


def find_config(name: str) -> Config:
    """Find the configuration called "file:variant" in `configs/`, or "path/to/file.py:variant".

    A file has `get_config(variant)`, whose variant has a default, and lists its `VARIANTS`.

    Raises:
      InputError: there is no such file or variant, and those that exist are named; or the file
        makes one with a value that means nothing.
    """
    file, _, variant = name.partition(":")
    if file.endswith(".py"):
        module = import_file(Path(file))
    elif file in config_names():
        module = importlib.import_module(f"{CONFIGS}.{file}")
    else:
        raise InputError(
            f"There is no configuration {file!r}{did_you_mean(file, config_names())}; there are "
            f"{', '.join(config_names())}, or name a file such as my_configs/landmarks.py:mine."
        )
    try:
        return module.get_config(variant) if variant else module.get_config()
    except (KeyError, ValueError, AttributeError) as error:
        known = getattr(module, "VARIANTS", ())
        if isinstance(error, ValueError) and (not variant or variant in known):
            reason = str(error).removesuffix(".")
            raise InputError(f"The configuration {name!r} means nothing: {reason}.") from error
        listed = ", ".join(known) or "none, as it lacks VARIANTS"
        raise InputError(
            f"The configuration {file!r} has no variant {variant!r}"
            f"{did_you_mean(variant, known)}; there are {listed}."
        ) from error


def import_file(path: Path) -> ModuleType:
    """Import a Python file that stands in no package, such as one of a user's configurations.

    It is run once, however often it is named, and may import what lies beside it. Python knows it
    by its whole path, where dataclasses look up their types.

    Raises:
      InputError: there is no such file, or it is no Python file.
    """
    if not path.is_file():
        raise InputError(f"There is no file {path}; check its name.")
    name = str(path.resolve())
    if name not in sys.modules:
        spec = importlib.util.spec_from_file_location(name, path)
        if spec is None or spec.loader is None:
            raise InputError(f"The file {path} is no Python file; name one that ends in .py.")
        module = importlib.util.module_from_spec(spec)
        sys.modules[name] = module
        if str(path.resolve().parent) not in sys.path:
            sys.path.append(str(path.resolve().parent))
        try:
            spec.loader.exec_module(module)
        except BaseException:
            del sys.modules[name]
            raise
    return sys.modules[name]


def folder_of(name: str, runs_dir: Path) -> Path:
    """Return the run folder of a configuration's name: runs/landmarks-s4."""
    file, _, variant = name.partition(":")
    return runs_dir / "-".join(filter(None, (Path(file).stem, variant)))


def load_config(folder: Path) -> Config:
    """Read the configuration of a run folder.

    Raises:
      InputError: the folder holds no run, or one of another version.
    """
    path = Path(folder) / "config.json"
    if not path.is_file():
        raise InputError(f"There is no run in {folder} (no config.json); name a run folder.")
    remedy = "name another run folder, or discard this one with --restart"
    values = read_json(path, remedy)
    task = TASKS.get(values.pop("task", None)) if isinstance(values, dict) else None
    if task is None:
        raise InputError(f"The file {path} is not a run's configuration; {remedy}.")
    return from_dict(task.config, values, about=f"The configuration in {path} is not valid")


# --- The graph of runs.


@dataclasses.dataclass(frozen=True)
class Runs:
    """Where runs are, and how those that are missing are trained.

    Attributes:
      folder: of run folders.
      data_dir: of prepared records.
      settings: overrides for every configuration that is named, as for `lrjax train --set`.
      cache: folder of aligned faces, which are made once; None: the user's own.
      pictures: called with (run folder, step, the task's pictures) at every evaluation.
    """

    folder: Path
    data_dir: Path
    settings: Sequence[str] = ()
    cache: Path | None = None
    pictures: Pictures | None = None

    def ensure(self, name: str) -> Path:
        """Return the finished run of a configuration's name, after training what is missing."""
        config, folder = override(find_config(name), self.settings), folder_of(name, self.folder)
        if not (folder / "last").is_dir() or load_config(folder) != config:
            self.train(config, folder)
        return folder

    def train(self, config: Config, folder: Path, *, restart: bool = False) -> State:
        """Train `config` in `folder`, or finish what was begun there.

        Args:
          config: what; the runs that it names are trained first.
          folder: where; made if need be. Of several processes, the first one writes.
          restart: remove the run in `folder` before.

        Raises:
          InputError: the folder holds a run of another configuration or on other data, or something
            else, or another process trains there, or the data are not prepared.
        """
        first = jax.process_index() == 0
        if first:
            folder.mkdir(parents=True, exist_ok=True)
        # The lock comes before anything that another process could see.
        with exclusively(folder, "training") if first else contextlib.nullcontext():
            if restart and first:
                run_folder.discard(folder)
            multihost_utils.sync_global_devices("looked for a run")
            check_config(config, folder)
            state = self._train(config, self._with_runs(config), folder)
        multihost_utils.sync_global_devices("finished a run")  # what it wrote, all may read now
        return state

    def _with_runs(self, config: Config) -> Config:
        """Put the folders of the runs that a configuration names in the places of their names."""
        for field in config.needs:
            *parents, last = field.split(".")
            owner: Any = config
            for parent in parents:
                owner = owner and getattr(owner, parent)
            value = owner and getattr(owner, last)
            if value and names_run(value):
                folder = str(self.ensure(value))
                changed = dataclasses.replace(owner, **{last: folder})
                config = (
                    dataclasses.replace(config, **{parents[0]: changed}) if parents else changed
                )
        return config

    def _train(self, config: Config, resolved: Config, folder: Path) -> State:
        name = task_name(config)
        parts, held_out, complete = TASKS[name].load(resolved, self.data_dir, self.cache)
        everything = parts if held_out is None else parts | {"held_out": held_out}
        run_folder.check_data(everything, folder)
        steps = loop.total_steps(config.train, len(next(iter(parts.values()))))
        task = TASKS[name].make(complete, steps)

        def begin() -> None:
            # What another run waits for is there when this one is finished, and not before.
            shutil.rmtree(folder / "last", ignore_errors=True)
            write_json(folder / "environment.json", run_folder.environment(everything))
            write_json(folder / "config.json", {"task": name, **to_dict(config)})

        hooks = loop.Hooks(begin=begin, weights=run_folder.weights_writer(folder, task, name))
        if self.pictures is not None:
            draw = self.pictures
            hooks = dataclasses.replace(
                hooks, pictures=lambda step, shown: draw(folder, step, shown)
            )
        return loop.fit(
            task,
            config.train,
            steps,
            {name: part.arrays for name, part in parts.items()},
            folder,
            held_out=None if held_out is None else held_out.arrays,
            hooks=hooks,
        )


def names_run(value: str) -> bool:
    """Whether a field's value is a configuration's name, and not a path."""
    file = value.partition(":")[0]
    return not Path(value).exists() and (file in config_names() or file.endswith(".py"))


def check_config(config: Config, folder: Path) -> None:
    """Check that `folder` is free for a run, or holds one of `config`.

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
