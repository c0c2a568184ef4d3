"""Small things to train: a task that compiles in a second, faces of noise, networks of width 4."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from lrjax.config import CriticConfig, HighToLowConfig, TrainConfig, UNetConfig, to_dict
from lrjax.data.examples import Examples, Loaded
from lrjax.data.faces import FRAME, Faces
from lrjax.geometry.points import SCHEMES
from lrjax.losses.adversarial import AdversarialState
from lrjax.models.vgg import VGG19Features
from lrjax.rng import per_example, stream
from lrjax.tasks import degradation, landmarks, runs, super_resolution
from lrjax.tasks.degradation import DegradationConfig
from lrjax.tasks.faces import examples
from lrjax.tasks.resolvers import SHARPENERS
from lrjax.training.parallel import AXIS
from lrjax.training.state import Metrics, State, new_net, updated
from lrjax.training.task import Batch, Task
from lrjax.training.weights import save_variables, write_json

FEATURES = 5


def toy_data(count: int = 24, seed: int = 0) -> dict[str, dict[str, np.ndarray]]:
    """Noisy values of a linear function: fields x [n, 5] and y [n] of the source "points"."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(count, FEATURES)).astype(np.float32)
    return {"points": {"x": x, "y": (x.sum(1) + 0.1 * rng.normal(size=count)).astype(np.float32)}}


def toy(
    batch: int = 8,
    optimizer: optax.GradientTransformation | None = None,
    source: str = "points",
) -> Task:
    """Linear regression with a part of everything a state may hold, and noise for each example.

    An example whose y is infinite has an infinite loss; one whose x are all zero has a finite
    loss, with a gradient that is not a number.
    """
    # Not Adam, which would hide gradients that are wrong by a factor.
    optimizer = optimizer or optax.sgd(0.02, momentum=0.9)

    def init(key: jax.Array) -> State:
        params = {"w": jax.random.normal(stream(key, "init"), (FEATURES,))}
        net = new_net({"params": params, "stats": {"mean": jnp.zeros(())}}, optimizer, average=True)
        return State.create({"line": net}, {"running": AdversarialState.create()}, key)

    def step(state: State, batch: Batch) -> tuple[State, Metrics]:
        net, part = state.nets["line"], batch[source]
        keys = per_example(stream(state.key, "noise", state.step), part["example_index"])
        noise = jax.vmap(jax.random.normal)(keys)

        def losses(params: dict[str, jax.Array]) -> tuple[jax.Array, dict[str, jax.Array]]:
            fit = jnp.square(part["x"] @ params["w"] + 0.1 * noise - part["y"]).mean()
            length = jnp.linalg.norm(part["x"] * params["w"], axis=-1).mean()
            return fit + 1e-3 * length, {"fit": fit, "length": length}

        gradients, values = jax.grad(losses, has_aux=True)(net.params)
        stats = {"stats": {"mean": part["y"].mean()}}
        gradients, values, stats = jax.lax.pmean((gradients, values, stats), AXIS)
        net = updated(net, gradients, stats, optimizer, decay=0.9)
        running = state.losses["running"].update(values["fit"], values["length"], values["fit"])
        new = state.replace(step=state.step + 1, nets={"line": net}, losses={"running": running})
        return new, values

    def evaluate(state: State, part: dict[str, Any]) -> Metrics:
        error = jnp.abs(part["x"] @ state.nets["line"].average["w"] - part["y"])
        return {"error": jnp.where(part["valid"], error, 0.0).sum(), "count": part["valid"].sum()}

    return Task(
        batch={source: batch},
        init=init,
        step=step,
        evaluate=evaluate,
        best="error",
        pictures=lambda state, batch: {},
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


def shrunk(config: Any, **changes: Any) -> Any:
    """`config` with few and narrow layers, small images and batches of 4; else as it is."""
    small: dict[str, Any] = {"image_size": 32, "size": 16}
    if config.size == config.image_size:
        small["image_size"] = 16
    if isinstance(config, super_resolution.SuperResolutionConfig):
        # Neither square nor enlarged by whole numbers, where it need not be.
        shape = ((30, 27), (12, 10)) if config.network in SHARPENERS else ((32, 32), (16, 16))
        small["image_size"], small["size"] = shape
    for field in dataclasses.fields(config):
        value = getattr(config, field.name)
        if isinstance(value, UNetConfig):
            small[field.name] = UNetConfig(stem=4, widths=(4,))
        elif isinstance(value, CriticConfig):
            small[field.name] = dataclasses.replace(value, widths=(4, 4, 4), hidden=4)
        elif isinstance(value, HighToLowConfig):
            small[field.name] = HighToLowConfig(stem=4, encoder=(4,), decoder=(4,), noise=4)
        elif isinstance(value, super_resolution.ResolverConfig):
            small[field.name] = super_resolution.ResolverConfig(
                width=4, blocks=1, growth=2, layers=3, units=2
            )
        elif isinstance(value, super_resolution.DiscriminatorConfig):
            small[field.name] = super_resolution.DiscriminatorConfig(widths=(4, 4), hidden=4)
        elif isinstance(value, TrainConfig):
            small[field.name] = dataclasses.replace(value, batch_size=4, samples=2)
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
    shapes = jax.eval_shape(task.init, jax.random.key(0))

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


def stage1_run(folder: Path) -> Path:
    """A run folder with a G1 of `shrunk` sizes, which S2 to S4 can use."""
    config = shrunk(DegradationConfig())
    net = jax.eval_shape(degradation.make(config, 1).init, jax.random.key(0)).nets["g1"]
    save_variables(folder / "last" / "g1.safetensors", filled(net.variables), {"network": "g1"})
    write_json(folder / "config.json", {"task": "degradation", **to_dict(config)})
    return folder


def resolver_run(folder: Path, **changes: Any) -> Path:
    """A run folder with a super-resolution network of `shrunk` sizes."""
    config = shrunk(super_resolution.SuperResolutionConfig(), **changes)
    net = jax.eval_shape(super_resolution.make(config, 1).init, jax.random.key(0)).nets["resolver"]
    metadata = {"network": "resolver", "task": "super_resolution", "config": to_dict(config)}
    save_variables(folder / "last" / "resolver.safetensors", filled(net.variables), metadata)
    return folder


def vgg_file(path: Path) -> Path:
    """A very narrow VGG-19."""
    module = VGG19Features((2, 2, 3, 3, 4))
    image = jnp.zeros((1, 16, 16, 3))
    shapes = jax.eval_shape(module.init, jax.random.key(0), image)
    save_variables(path, filled(shapes), {"network": "vgg19"})
    return path


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


def noise(config: Any, data_dir: Path, align: Any = None) -> Loaded:
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
) -> runs.Entry:
    """Landmarks as the toy, on the points of faces."""

    def load(config: Any, data_dir: Path, align: Any = None) -> Loaded:
        parts, held_out = load_sources(config)
        return Loaded(
            {name: numbers(part) for name, part in parts.items()}, numbers(held_out), config
        )

    return runs.Entry(landmarks.LandmarksConfig, lambda config, steps: toy(source="labelled"), load)
