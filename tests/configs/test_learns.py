"""Every configuration at its full width learns: 30 steps on a few drawn faces, at its own rates.

One case takes minutes on a CPU; name some of them: `pytest -m slow -k "vdsr or joint"`. Of those
that differ in their data alone, as L1 to L5 do, the first stands for all.
"""

from __future__ import annotations

import dataclasses
import importlib
import json
from functools import partial
from pathlib import Path
from typing import Any

import jax
import numpy as np
import people
import pytest
import tiny
from PIL import Image, ImageDraw

from lrjax.config import to_dict
from lrjax.models.registry import build
from lrjax.tasks import csri, degradation, runs
from lrjax.tasks.csri import CSRIConfig, branches
from lrjax.tasks.recognition import RecognitionConfig
from lrjax.tasks.runs import find_config
from lrjax.training.nets import Nets
from lrjax.training.parallel import AXIS
from lrjax.training.state import State
from lrjax.training.step import init_state, make_step
from lrjax.training.task import Batch, Player, Task

pytestmark = pytest.mark.slow

STEPS, FACES, RUN = 30, 2, 100_000
"""Steps that are done, faces of each kind that they see, and the length of the run that the
schedule follows."""
# What a step of drawn faces, from random numbers, does not depend on.
DATA = ("labelled", "real", "native", "people", "holdout", "alignment", "native_alignment", "train")
RUNS = ("stage1", "initial", "initial_refiner", "initial_encoder")


def distinct() -> list[str]:
    """Name the configurations, those once that differ in their data or the runs before alone.

    Sizes other than the paper's are narrow, and left out.
    """
    found: dict[str, str] = {}
    for file in runs.config_names():
        for variant in importlib.import_module(f"lrjax.configs.{file}").VARIANTS:
            if variant.endswith(("w300", "small", "quick")):
                continue
            config = find_config(f"{file}:{variant}")
            values = {k: v for k, v in to_dict(config).items() if k not in (*DATA, *RUNS)}
            branches = [bool(getattr(config, kind, ())) for kind in ("labelled", "native")]
            found.setdefault(json.dumps([file, branches, values]), f"{file}:{variant}")
    return list(found.values())


VARIANTS = distinct()


def drawn(shape: tuple[int, ...], seed: int) -> np.ndarray:
    """Faces [n, H, W, 3] of ellipses, whose edges are sharp."""
    count, height, width, _ = shape
    rng = np.random.default_rng(seed)
    faces = []
    for _ in range(count):
        face = Image.new("RGB", (width, height), tuple(rng.integers(0, 256, 3).tolist()))
        draw = ImageDraw.Draw(face)
        for x, y, w, h in (
            *((0.5, 0.5, 0.35, 0.45), (0.35, 0.4, 0.08, 0.05), (0.65, 0.4, 0.08, 0.05)),
            *((0.5, 0.55, 0.04, 0.1), (0.5, 0.75, 0.15, 0.05)),
        ):
            x, y = rng.normal((x, y), 0.02)
            corners = ((x - w) * width, (y - h) * height, (x + w) * width, (y + h) * height)
            draw.ellipse(corners, fill=tuple(rng.integers(0, 256, 3).tolist()))
        faces.append(np.asarray(face))
    return np.stack(faces)


def alone(name: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A configuration with a small batch, as if the runs that it names had begun at random."""

    def g1(name: str) -> Player:
        network = build(find_config(name).g1)
        return Player(network, None, network.init(jax.random.key(1)))

    monkeypatch.setattr(degradation, "player", g1)
    monkeypatch.setattr(csri, "initial_variables", lambda config, name, network: {})
    config = find_config(name)
    kinds = len(branches(config)) if isinstance(config, CSRIConfig) else 1
    train = dataclasses.replace(config.train, batch_size=kinds * FACES, steps=RUN)
    config = dataclasses.replace(config, train=train)
    if isinstance(config, CSRIConfig):
        return config
    if hasattr(config, "initial"):
        config = dataclasses.replace(config, initial=None)
    if isinstance(config, RecognitionConfig):
        config = dataclasses.replace(config, classes=config.classes or 10_000)
    if getattr(config, "perceptual", 0) > 0:
        config = dataclasses.replace(config, vgg=str(tiny.vgg_file(folder / "vgg.safetensors")))
    return config


def few_faces(config: Any, task: Task, seed: int) -> Batch:
    """One batch of faces, and of people, of a seed's own."""
    if isinstance(config, CSRIConfig):
        found = {name: people.examples(one, 8).arrays for name, one in branches(config).items()}
    elif isinstance(config, RecognitionConfig):
        found = {"labelled": people.examples(config, 8).arrays}
    else:
        parts, _ = tiny.noise_sources(config)
        found = {name: tiny.examples(one).arrays for name, one in parts.items()}
    batch = {}
    for place, (name, count) in enumerate(task.batch.items()):
        part = {field: values[:count] for field, values in found[name].items()}
        part["images"] = drawn(part["images"].shape, 10 * seed + place)
        if "label" in part:
            # A pair of one person, where pairs are wanted.
            part["label"] = 10 * seed + np.arange(count) // (2 if name in task.pairs else 1)
        batch[name] = part | {"example_index": np.arange(count)}
    return batch


def in_one_lane(function: Any) -> Any:
    """Compile a function of a state and a batch that is written for one of several devices."""
    lane = jax.jit(jax.vmap(function, (None, 0), axis_name=AXIS))

    def call(state: State, batch: Batch) -> Any:
        found = lane(state, jax.tree.map(lambda leaf: leaf[None], batch))
        return jax.tree.map(lambda leaf: leaf[0], found)

    return call


def own_losses(task: Task, state: State, batch: Batch) -> dict[tuple[str, ...], jax.Array]:
    """Players -> the loss that they go down."""
    learning = {
        name: state.nets[name].params
        for name, player in task.players.items()
        if player.optimizer is not None
    }
    values, _, _ = task.losses(Nets(task.modules, state.nets, learning), state, batch)
    return {(key,) if isinstance(key, str) else key: value for key, value in values.items()}


def slopes(
    task: Task, players: tuple[str, ...], state: State, batch: Batch
) -> dict[str, dict[str, jax.Array]]:
    """The gradients of some players' own loss in their parameters."""

    def loss(params: dict[str, Any]) -> jax.Array:
        nets = {name: state.nets[name].replace(params=params[name]) for name in players}
        return own_losses(task, state.replace(nets=state.nets | nets), batch)[players]

    return jax.grad(loss)({name: state.nets[name].params for name in players})


@pytest.mark.parametrize("name", VARIANTS)
def test_every_configuration_learns(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = alone(name, tmp_path, monkeypatch)
    task = runs.TASKS[runs.task_name(config)].make(config, RUN)
    first = state = init_state(task, jax.random.key(0))
    batch, others = few_faces(config, task, 0), few_faces(config, task, 1)
    step, measure = in_one_lane(make_step(task)), in_one_lane(partial(own_losses, task))
    for count in range(STEPS):
        state, metrics = step(state, batch)
        values = {key: float(value) for key, value in metrics.items()}
        print(count, {key: f"{value:.4g}" for key, value in values.items()}, flush=True)
        assert np.isfinite(list(values.values())).all(), values
    after = measure(state, batch)
    for players, loss in after.items():
        # With the others as they have become, and these as they began.
        begun = {player: first.nets[player] for player in players}
        before = measure(state.replace(nets=state.nets | begun), batch)[players]
        print(players, float(before), "->", float(loss))
        assert loss < before, players
        # These faces may be known by heart; others are not.
        gradients = in_one_lane(partial(slopes, task, players))(state, others)
        for path, leaf in jax.tree_util.tree_leaves_with_path(gradients):
            where = jax.tree_util.keystr(path, simple=True, separator=".")
            # RPCN recognises with its filters for low resolution; those for high are at rest.
            resting = name.startswith("recognition:rpcn") and "_high." in where
            if where.endswith("kernel") and not resting:
                assert np.abs(leaf).max() > 0, f"{where} is dead"
