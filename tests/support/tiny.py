"""Small things to train: a task that compiles in a second, faces of noise, networks of width 4."""

from __future__ import annotations

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from lrjax.config import CriticConfig, HighToLowConfig, TrainConfig, UNetConfig
from lrjax.data import sources
from lrjax.geometry.points import SCHEMES
from lrjax.losses.adversarial import AdversarialState
from lrjax.training.parallel import AXIS
from lrjax.training.rng import per_example, stream
from lrjax.training.state import Metrics, State, new_net, updated
from lrjax.training.task import Batch, Task

FEATURES = 5


def toy_data(count: int = 24, seed: int = 0) -> dict[str, dict[str, np.ndarray]]:
    """Noisy values of a linear function: fields x [n, 5] and y [n] of the source "points"."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(count, FEATURES)).astype(np.float32)
    return {"points": {"x": x, "y": (x.sum(1) + 0.1 * rng.normal(size=count)).astype(np.float32)}}


def toy(batch: int = 8, optimizer: optax.GradientTransformation | None = None) -> Task:
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
        net, part = state.nets["line"], batch["points"]
        keys = per_example(stream(state.key, "noise", state.step), part["place"])
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
        batch={"points": batch},
        init=init,
        step=step,
        evaluate=evaluate,
        best="error",
        pictures=lambda state, batch: {"x": batch["points"]["x"]},
    )


def faces(count: int, view: int, scheme: str = "ibug68", seed: int = 0) -> sources.Faces:
    """Frames of noise for a network's view, with random points, some of them invisible."""
    rng = np.random.default_rng(seed)
    side = round(sources.FRAME * view)
    points = rng.uniform(0.25 * side, 0.75 * side, (count, SCHEMES[scheme].count, 2))
    return sources.Faces(
        images=rng.integers(0, 256, (count, side, side, 3), dtype=np.uint8),
        points=points.astype(np.float32),
        visible=rng.random(points.shape[:2]) < 0.9,
        face_side=np.full(count, view / 1.25, np.float32),
        names=tuple(f"{seed}-{i}" for i in range(count)),
        fingerprint=f"noise-{count}-{view}-{scheme}-{seed}",
        scheme=scheme,
        transform=np.tile(np.eye(2, 3, dtype=np.float32), (count, 1, 1)),
    )


NET = UNetConfig(stem=4, widths=(4,))
CRITIC = CriticConfig(widths=(4, 4, 4), hidden=4)


def shrunk(config: Any, **train: Any) -> Any:
    """`config` with every width 4 and batches of 4; everything else as it is."""
    changes: dict[str, Any] = {
        "train": dataclasses.replace(config.train, batch_size=4, samples=2, **train)
    }
    for field in dataclasses.fields(config):
        value = getattr(config, field.name)
        if isinstance(value, UNetConfig):
            changes[field.name] = NET
        elif isinstance(value, CriticConfig):
            changes[field.name] = dataclasses.replace(value, widths=CRITIC.widths, hidden=4)
        elif isinstance(value, HighToLowConfig):
            changes[field.name] = HighToLowConfig(
                4, (4,) * len(value.encoder), (4,) * len(value.decoder), 4
            )
    return dataclasses.replace(config, **changes)


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


def noise_sources(config: Any, seed: int = 0) -> tuple[dict[str, sources.Faces], sources.Faces]:
    """Twelve faces for each part of a batch of `config`, and six held out."""
    scheme = getattr(config, "scheme", "ibug68")
    parts = {"labelled": faces(12, config.image_size, scheme, seed)}
    if getattr(config, "needs_real", True):
        parts["real"] = faces(12, config.size, scheme, seed + 1)
    return parts, faces(6, config.image_size, scheme, seed + 2)
