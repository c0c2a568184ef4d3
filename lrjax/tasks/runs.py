"""Runs: a configuration by name, what it needs, and the folder in which it is trained.

A run folder holds `config.json`, `environment.json`, `metrics.jsonl`, `tensorboard/`,
`checkpoints/`, and the networks as safetensors in `last/` and, where faces were held out, `best/`.
Fields of a configuration that name another run ("degradation:small") are trained or found first; a
folder that is called as a configuration is written "./degradation" there.
"""

from __future__ import annotations

import contextlib
import dataclasses
import importlib
import json
import pkgutil
import shutil
from collections.abc import Callable, Sequence
from functools import partial, reduce
from pathlib import Path
from typing import Any, NamedTuple

import jax
from jax.experimental import multihost_utils

from lrjax.config import from_dict, override, to_dict
from lrjax.data.examples import Loaded
from lrjax.errors import InputError, did_you_mean
from lrjax.files import exclusively, import_file, read_json, write_json
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
        makes no configuration, or one with a value that means nothing. What fails otherwise in a
        user's own `get_config` is raised as it is.
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
    if not hasattr(module, "get_config"):
        raise InputError(
            f"The file {file} makes no configuration; define get_config(variant) in it."
        )
    known = getattr(module, "VARIANTS", ())
    try:
        config = module.get_config(variant) if variant else module.get_config()
    except (KeyError, ValueError) as error:
        if not variant or variant in known or isinstance(error, InputError):
            if isinstance(error, InputError) or not isinstance(error, ValueError):
                raise
            reason = str(error).removesuffix(".")
            raise InputError(f"The configuration {name!r} means nothing: {reason}.") from error
        # The paper's size need not be said.
        short = [one.removesuffix("-paper") for one in known]
        listed = ", ".join(known) or "none, as it lacks VARIANTS"
        raise InputError(
            f"The configuration {file!r} has no variant {variant!r}"
            f"{did_you_mean(variant, short)}; there are {listed}."
        ) from error
    if type(config) not in [task.config for task in TASKS.values()]:
        raise InputError(
            f"What get_config of {file} returns is of type {type(config).__name__}; return a "
            "configuration of a task, such as LandmarksConfig."
        )
    return config


def folder_of(name: str, runs_dir: Path) -> Path:
    """Return the run folder of a configuration's name: runs/landmarks-s4."""
    file, _, variant = name.partition(":")
    return runs_dir / "-".join(filter(None, (Path(file).stem, variant)))


def names_run(value: str) -> bool:
    """Whether a field's value is a configuration's name, and not a path.

    A name is one whatever lies in the working folder.
    """
    file = value.partition(":")[0]
    return file in config_names() or file.endswith(".py")


def needed(config: Config) -> dict[str, str]:
    """List what a configuration goes on from: field, as "alignment.landmarks", -> name or path."""

    def value(field: str) -> Any:
        return reduce(lambda owner, part: owner and getattr(owner, part), field.split("."), config)

    return {field: found for field in config.needs if (found := value(field))}


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
      first: whose distilled encoders (`recognition.RecognitionConfig.teacher`) these runs begin
        with, too: other seeds differ in what follows. None: their own.
    """

    folder: Path
    data_dir: Path
    settings: Sequence[str] = ()
    cache: Path | None = None
    pictures: Pictures | None = None
    first: Runs | None = None

    def ensure(self, name: str) -> Path:
        """Return the finished run of a configuration's name, after training what is missing.

        Raises:
          InputError: as for `train`.
        """
        owner = self._owner(name)
        if owner is not self:
            return owner.ensure(name)
        config, folder = self._named(name)
        if not (folder / "last").is_dir() or load_config(folder) != config:
            self.train(config, folder)
        else:
            self._check(config, folder)
        return folder

    def train(self, config: Config, folder: Path, *, restart: bool = False) -> State:
        """Train `config` in `folder`, or finish what was begun there.

        Args:
          config: what; the runs that it names are trained first.
          folder: where; made if need be. Of several processes, the first one writes.
          restart: remove the run in `folder` before; it stays if anything is refused.

        Raises:
          InputError: the folder holds a run of another configuration, on other data or from other
            weights, or something else, or another process trains there, or a run needs itself, or
            the data are not prepared.
        """
        first = jax.process_index() == 0
        if first:
            folder.mkdir(parents=True, exist_ok=True)
        # The lock comes before anything that another process could see.
        with exclusively(folder, "training") if first else contextlib.nullcontext():
            if restart:
                run_folder.check_discardable(folder)
            self._check(config, folder, restart=restart)
            multihost_utils.sync_global_devices("looked for a run")
            state = self._train(config, self._with_runs(config), folder, restart)
        multihost_utils.sync_global_devices("finished a run")  # what it wrote, all may read now
        return state

    def _owner(self, name: str) -> Runs:
        """Tell whose run of a configuration's name is meant."""
        config = find_config(name)
        shared = isinstance(config, recognition.RecognitionConfig) and config.teacher
        return self.first if self.first is not None and shared else self

    def _named(self, name: str) -> tuple[Config, Path]:
        return override(find_config(name), self.settings), folder_of(name, self.folder)

    def _check(
        self, config: Config, folder: Path, *, restart: bool = False, above: tuple[Path, ...] = ()
    ) -> None:
        """Refuse what can be told before anything is trained, of a run and of those it names.

        Args:
          restart: whether what is in the folder counts for nothing.
          above: the folders of the runs that need this one.
        """
        if folder in above:
            path = " needs ".join(map(str, (*above[above.index(folder) :], folder)))
            raise InputError(
                f"A run cannot need itself, but {path}; change the fields that name it."
            )
        if not restart:
            check_config(config, folder)
            run_folder.check_weights(self._sources(config), folder)
        for name in filter(names_run, needed(config).values()):
            owner = self._owner(name)
            owner._check(*owner._named(name), above=(*above, folder))

    def _sources(self, config: Config) -> dict[str, str]:
        """What a configuration goes on from, with the folders of runs in place of their names."""
        return {
            field: str(self._owner(value)._named(value)[1]) if names_run(value) else value
            for field, value in needed(config).items()
        }

    def _with_runs(self, config: Config) -> Config:
        """Train the runs that a configuration names, and put their folders in their places."""
        for name in filter(names_run, needed(config).values()):
            self.ensure(name)
        sources = self._sources(config)
        return override(config, [f"{field}={json.dumps(path)}" for field, path in sources.items()])

    def _train(self, config: Config, resolved: Config, folder: Path, restart: bool) -> State:
        name = task_name(config)
        sources = needed(resolved)
        if not restart:  # Once more, as some may have been trained further just now.
            run_folder.check_weights(sources, folder)
        parts, held_out, complete = TASKS[name].load(resolved, self.data_dir, self.cache)
        everything = parts if held_out is None else parts | {"held_out": held_out}
        if not restart:
            run_folder.check_data(everything, folder)
        steps = loop.total_steps(config.train, len(next(iter(parts.values()))))
        task = TASKS[name].make(complete, steps)

        def begin() -> None:
            # What another run waits for is there when this one is finished, and not before.
            shutil.rmtree(folder / "last", ignore_errors=True)
            # Weights that are gone since are still those that it began with.
            there = (folder / "environment.json").is_file()
            known = run_folder.begun_with(folder) if there else {}
            today = run_folder.identities(sources)
            begun = {field: known.get(field, {}) | files for field, files in today.items()}
            environment = run_folder.environment(everything, begun)
            write_json(folder / "environment.json", environment)
            write_json(folder / "config.json", {"task": name, **to_dict(config)})

        hooks = loop.Hooks(begin=begin, weights=run_folder.weights_writer(folder, task, name))
        if restart:
            hooks = dataclasses.replace(hooks, accepted=partial(run_folder.discard, folder))
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
