"""Small things to train: a task that compiles in a second, faces of noise, networks of width 4."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax

from lrjax.config import TrainConfig, to_dict
from lrjax.data.examples import Examples, Loaded
from lrjax.data.faces import FRAME, Faces
from lrjax.files import write_json
from lrjax.geometry.points import SCHEMES
from lrjax.losses.adversarial import AdversarialState
from lrjax.models import weights
from lrjax.models.registry import Network, NetworkConfig, build
from lrjax.models.s2ld import CriticConfig, DegraderConfig, LandmarkConfig, UNetConfig
from lrjax.models.upsamplers import (
    DiscriminatorConfig,
    DRRNConfig,
    RPCNRefinerConfig,
    RRDBConfig,
    SRCNNConfig,
    SRResNetConfig,
    VDSRConfig,
    VGGConfig,
)
from lrjax.rng import per_example, stream
from lrjax.tasks import landmarks, runs, super_resolution
from lrjax.tasks.degradation import DegradationConfig
from lrjax.training.nets import Nets
from lrjax.training.parallel import mean
from lrjax.training.state import Metrics, State
from lrjax.training.step import init_state
from lrjax.training.task import Batch, Losses, Player, Task

FEATURES = 5


def toy_data(count: int = 24, seed: int = 0) -> dict[str, dict[str, np.ndarray]]:
    """Noisy values of a linear function: fields x [n, 5] and y [n] of the source "points"."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(count, FEATURES)).astype(np.float32)
    return {"points": {"x": x, "y": (x.sum(1) + 0.1 * rng.normal(size=count)).astype(np.float32)}}


class Line(nn.Module):
    """A linear function, and the mean of what it was trained towards."""

    @nn.compact
    def __call__(self, x: jax.Array, train: bool) -> jax.Array:
        """[B, 5] -> [B]."""
        self.variable("stats", "mean", jnp.zeros, ())
        return x @ self.param("w", jax.random.normal, (FEATURES,))


def toy(
    batch: int = 8,
    optimizer: optax.GradientTransformation | None = None,
    source: str = "points",
) -> Task:
    """Linear regression with a part of everything a state may hold, and noise for each example.

    An example whose y is infinite has an infinite loss; one whose x are all zero has a finite
    loss, with a gradient that is not a number.
    """

    def losses(nets: Nets, state: State, batch: Batch) -> tuple[Losses, Metrics, dict[str, Any]]:
        part = batch[source]
        keys = per_example(stream(state.key, "noise", state.step), part["example_index"])
        noise = jax.vmap(jax.random.normal)(keys)
        fit = jnp.square(nets("line", part["x"]) + 0.1 * noise - part["y"]).mean()
        # The length of w ⊙ x: its gradient at 0 is not a number.
        length = jnp.linalg.norm(part["x"] * nets.params("line")["w"], axis=-1).mean()
        values = mean({"fit": fit, "length": length})
        running = state.losses["running"].update(values["fit"], values["length"], values["fit"])
        return {"line": fit + 1e-3 * length}, values, {"running": running}

    def evaluate(nets: Nets, part: dict[str, Any]) -> Metrics:
        error = jnp.abs(nets("line", part["x"]) - part["y"])
        return {"error": jnp.where(part["valid"], error, 0.0).sum(), "count": part["valid"].sum()}

    line = Network(NetworkConfig("line"), "critic", Line(), ((FEATURES,),))
    # Not Adam, which would hide gradients that are wrong by a factor.
    optimizer = optimizer or optax.sgd(0.02, momentum=0.9)
    return Task(
        players={"line": Player(line, optimizer, average=0.9)},
        batch={source: batch},
        losses=losses,
        evaluate=evaluate,
        pictures=lambda nets, batch: {},
        loss_state={"running": AdversarialState.create()},
        best="error",
    )


def faces(count: int, view: int, scheme: str = "ibug68", seed: int = 0) -> Faces:
    """Frames of noise for a network's view, with random points, some of them invisible."""
    rng = np.random.default_rng(seed)
    side = round(FRAME * view)
    points = rng.uniform(0.25 * side, 0.75 * side, (count, SCHEMES[scheme].count, 2))
    return Faces(
        images=rng.integers(0, 256, (count, side, side, 3), dtype=np.uint8),
        points=points.astype(np.float32),
        visible=rng.random(points.shape[:2]) < 0.9,
        face_side=np.full(count, view / 1.25, np.float32),
        names=tuple(f"{seed}-{i}" for i in range(count)),
        fingerprint=f"noise-{count}-{view}-{scheme}-{seed}",
        scheme=scheme,
        transform=np.tile(np.eye(2, 3, dtype=np.float32), (count, 1, 1)),
    )


UNET = {"stem": 4, "widths": (4,)}
CRITIC = {"widths": (4, 4, 4), "hidden": 4}
# Few and narrow layers; networks that refine have sizes that are neither square nor multiples.
SMALL: dict[type, dict[str, Any]] = {
    LandmarkConfig: UNET | {"size": 16},
    UNetConfig: UNET,
    CriticConfig: CRITIC,
    DegraderConfig: {"image_size": 32, "stem": 4, "encoder": (4,), "decoder": (4,), "noise": 4},
    SRResNetConfig: {"width": 4, "blocks": 1, "image_size": (32, 32), "size": (16, 16)},
    RRDBConfig: {"width": 4, "blocks": 1, "growth": 2, "image_size": (32, 32), "size": (16, 16)},
    SRCNNConfig: {"width": 4, "image_size": (30, 27), "size": (12, 10)},
    VDSRConfig: {"width": 4, "layers": 3, "image_size": (30, 27), "size": (12, 10)},
    DRRNConfig: {"width": 4, "units": 2, "image_size": (30, 27), "size": (12, 10)},
    RPCNRefinerConfig: {"width": 1 / 16, "image_size": (30, 27), "size": (12, 10)},
    DiscriminatorConfig: {"widths": (4, 4), "hidden": 4},
    TrainConfig: {"batch_size": 4, "samples": 2},
}


def shrunk(config: Any, **changes: Any) -> Any:
    """`config` with few and narrow layers, small images and batches of 4; else as it is."""
    small: dict[str, Any] = {}
    for field in dataclasses.fields(config):
        value = getattr(config, field.name)
        if type(value) in SMALL:
            small[field.name] = dataclasses.replace(value, **SMALL[type(value)])
    if isinstance(config, landmarks.LandmarksConfig):
        small["image_size"] = 16 if config.degradation == "none" else 32
    return dataclasses.replace(config, **small | changes)


def filled(shapes: Any, seed: int = 0) -> Any:
    """Plausible variables of the given shapes, without compiling a network's initialisation."""
    rng = np.random.default_rng(seed)

    def one(leaf: Any) -> np.ndarray:
        if len(leaf.shape) > 1:
            values = rng.normal(size=leaf.shape) / np.sqrt(np.prod(leaf.shape[:-1]))
        else:
            values = rng.uniform(0.5, 1.0, leaf.shape)
        return values.astype(leaf.dtype)

    return jax.tree.map(one, shapes)


def start(task: Task, seed: int = 0) -> State:
    """A state of `task` with plausible networks, zero moments and zero losses."""
    shapes = jax.eval_shape(partial(init_state, task), jax.random.key(0))

    def zeros(tree: Any) -> Any:
        return jax.tree.map(lambda leaf: np.zeros(leaf.shape, leaf.dtype), tree)

    nets = {
        name: net.replace(
            params=filled(net.params, seed),
            stats=filled(net.stats, seed),
            opt_state=zeros(net.opt_state),
            average=filled(net.average, seed),
        )
        for name, net in shapes.nets.items()
    }
    return State.create(nets, zeros(shapes.losses), jax.random.key(seed))


def network_file(path: Path, config: NetworkConfig, **provenance: Any) -> Path:
    """A weights file with plausible variables of a network."""
    weights.save(path, config, filled(build(config).shapes()), {"step": 0} | provenance)
    return path


def stage1_run(folder: Path) -> Path:
    """A run folder with a G1 of `shrunk` sizes, which S2 to S4 can use."""
    config = shrunk(DegradationConfig())
    network_file(folder / "last" / "g1.safetensors", config.g1)
    write_json(folder / "config.json", {"task": "degradation", **to_dict(config)})
    return folder


def upsampler_run(folder: Path, **changes: Any) -> Path:
    """A run folder with a super-resolution network of `shrunk` sizes."""
    config = shrunk(super_resolution.SuperResolutionConfig(**changes))
    network_file(folder / "last" / "upsampler.safetensors", config.network)
    return folder


def vgg_file(path: Path) -> Path:
    """A very narrow VGG-19."""
    return network_file(path, VGGConfig(widths=(2, 2, 3, 3, 4)))


def train_config(**changes: Any) -> TrainConfig:
    """A run of a few steps that says everything at every step."""
    defaults = TrainConfig(
        batch_size=8, steps=6, log_every=1, evaluate_every=2, checkpoint_every=2, samples=2
    )
    return dataclasses.replace(defaults, **changes)


def same(a: Any, b: Any) -> bool:
    """Whether two trees of arrays, keys included, are equal bit by bit."""

    def bits(leaf: Any) -> Any:
        if isinstance(leaf, jax.Array) and jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key):
            leaf = jax.random.key_data(leaf)
        return np.asarray(leaf)

    equal = jax.tree.map(lambda x, y: bits(x).tobytes() == bits(y).tobytes(), a, b)
    return all(jax.tree.leaves(equal))


def noise_sources(config: Any, seed: int = 0) -> tuple[dict[str, Faces], Faces]:
    """Twelve faces for each part of a batch of `config`, and six held out."""
    scheme = config.scheme
    view = int(np.max(config.image_size))
    parts = {"labelled": faces(12, view, scheme, seed)}
    if getattr(config, "needs_real", True):
        parts["real"] = faces(12, config.size, scheme, seed + 1)
    return parts, faces(6, view, scheme, seed + 2)


def examples(faces: Faces) -> Examples:
    """The fields of faces that a step or an evaluation reads."""
    arrays = {"images": faces.images, "points": faces.points, "visible": faces.visible}
    return Examples(arrays, faces.fingerprint)


def noise(config: Any, data_dir: Path, cache: Path | None = None) -> Loaded:
    """`noise_sources` for a run."""
    parts, held_out = noise_sources(config)
    return Loaded(
        {name: examples(part) for name, part in parts.items()}, examples(held_out), config
    )


def numbers(faces: Faces) -> Examples:
    """Points of faces as numbers for the toy."""
    scaled = faces.points / faces.images.shape[1] - 0.5
    arrays = {"x": scaled[:, :FEATURES, 0], "y": scaled[:, FEATURES, 1]}
    return Examples(arrays, faces.fingerprint)


def toy_entry(
    load_sources: Callable[[Any], tuple[dict[str, Faces], Faces]] = noise_sources,
) -> runs.TaskType:
    """Landmarks as the toy, on the points of faces."""

    def load(config: Any, data_dir: Path, cache: Path | None = None) -> Loaded:
        parts, held_out = load_sources(config)
        return Loaded(
            {name: numbers(part) for name, part in parts.items()}, numbers(held_out), config
        )

    return runs.TaskType(
        landmarks.LandmarksConfig, lambda config, steps: toy(source="labelled"), load
    )
