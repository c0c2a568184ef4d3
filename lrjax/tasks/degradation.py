"""Stage 1 of K&C: G1 learns, from unpaired faces, to degrade as real cameras do (critic D1)."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

import jax
import jax.numpy as jnp

from lrjax.config import (
    AugmentConfig,
    CriticConfig,
    HighToLowConfig,
    OptimizerConfig,
    TrainConfig,
    from_dict,
)
from lrjax.data import augment
from lrjax.errors import InputError
from lrjax.geometry.transforms import average_pool, warp
from lrjax.losses import adversarial, regression
from lrjax.models.high_to_low import HighToLowGenerator, ImageDiscriminator
from lrjax.rng import per_example, stream
from lrjax.training.optimizers import make_optimizer, players_gradients
from lrjax.training.parallel import AXIS
from lrjax.training.state import Metrics, Net, State, new_net, updated
from lrjax.training.task import Batch, Task
from lrjax.training.weights import load_variables

Degrade = Callable[[State, jax.Array, jax.Array], jax.Array]


@dataclasses.dataclass(frozen=True)
class DegradationConfig:
    """Everything that defines G1 and D1 and their training."""

    # Paper: AFLW's training faces, "the entire 300W", and WIDER faces above 100×100 pixels.
    labelled: tuple[str, ...] = (
        "aflw:train",
        "w300:train",
        "w300:full",
        "w300:private_test",
        "wider_face_crops:hr",
    )
    real: tuple[str, ...] = ("wider_face_crops:lr",)
    holdout: float = 0.0
    image_size: int = 128
    size: int = 32
    context: float = 1.25
    generator: HighToLowConfig = HighToLowConfig()
    critic: CriticConfig = CriticConfig()
    # Eq. 1. Paper: only α·l_GAN > β·l_pixel. Ours: β is such that the pixel term is the smaller
    # one once the critic has learnt something; the ordering is logged. (The ancestor of G1
    # weights the other way round: 0.05 and 1.)
    alpha: float = 1.0
    beta: float = 10.0
    augment: AugmentConfig = AugmentConfig()
    optimizer: OptimizerConfig = OptimizerConfig()
    train: TrainConfig = TrainConfig()

    needs_real: ClassVar[bool] = True
    scheme: ClassVar[str] = "five"  # points are not used, and every dataset has these

    def validate(self) -> None:
        """Raise InputError for combinations that mean nothing."""
        halvings = 1 + len(self.generator.encoder) - len(self.generator.decoder)
        if self.image_size != self.size * 2**halvings:
            raise InputError(
                f"G1 divides image_size {self.image_size} by {2**halvings}, which is not the size "
                f"{self.size}; change image_size, size, or the groups of the generator."
            )


def generator_module(config: DegradationConfig) -> HighToLowGenerator:
    """G1 as configured."""
    return HighToLowGenerator(**dataclasses.asdict(config.generator), axis_name=AXIS)


def degrader(run: Path | str) -> Degrade:
    """The G1 of a run folder as `(state, views [B, V, V, 3], keys [B]) -> images`.

    Its weights are the state's `nets["g1"]`; views and images are in [-1, 1].

    Raises:
      InputError: the folder holds no trained degradation.
    """
    config = run_config(run)
    module = generator_module(config)

    def degrade(state: State, views: jax.Array, keys: jax.Array) -> jax.Array:
        noise = jax.vmap(lambda key: jax.random.normal(key, (config.generator.noise,)))(keys)
        return module.apply(state.nets["g1"].evaluation_variables, views, noise, train=False)

    return degrade


def run_config(run: Path | str) -> DegradationConfig:
    """The configuration of a degradation's run folder."""
    path = Path(run) / "config.json"
    if not path.is_file():
        raise InputError(
            f"There is no trained degradation in {run} (no config.json); train one with "
            "`lrjax train degradation` and set stage1 to its run folder."
        )
    values = json.loads(path.read_text())
    if values.pop("task", None) != "degradation":
        raise InputError(f"The run in {run} is not a degradation; set stage1 to one that is.")
    return from_dict(DegradationConfig, values)


def load_net(run: Path | str, name: str, which: str = "last") -> Net:
    """A frozen network of a finished run."""
    variables, _ = load_variables(Path(run) / which / f"{name}.safetensors")
    return new_net(jax.tree.map(jnp.asarray, variables), optimizer=None)


def make(config: DegradationConfig, steps: int) -> Task:
    """The task; `steps` is the length of the whole run, which the schedule follows."""
    config.validate()
    g1 = generator_module(config)
    d1 = ImageDiscriminator(**dataclasses.asdict(config.critic))
    optimizer = make_optimizer(config.optimizer, steps)
    factor = config.image_size // config.size

    def init(key: jax.Array) -> State:
        view = jnp.zeros((1, config.image_size, config.image_size, 3))
        noise = jnp.zeros((1, config.generator.noise))
        image = jnp.zeros((1, config.size, config.size, 3))
        start_g1 = jax.jit(partial(g1.init, train=False))(stream(key, "init/g1"), view, noise)
        start_d1 = jax.jit(partial(d1.init, update_stats=False))(stream(key, "init/d1"), image)
        nets = {"g1": new_net(start_g1, optimizer), "d1": new_net(start_d1, optimizer)}
        return State.create(nets, {"hinge": adversarial.AdversarialState.create()}, key)

    def inputs(state: State, batch: Batch) -> tuple[jax.Array, jax.Array, jax.Array]:
        def views(name: str, size: int) -> jax.Array:
            part = batch[name]
            keys = per_example(stream(state.key, f"view/{name}", state.step), part["example_index"])
            frame = part["images"].shape[1]
            chosen = augment.random_transforms(keys, frame, size, config.augment)
            seen = warp(part["images"], chosen, size)
            tight = stream(state.key, f"tight/{name}", state.step)
            keys = per_example(tight, part["example_index"])
            seen = augment.tight_crop(seen, keys, config.context, config.augment)
            return seen / 127.5 - 1.0

        index = batch["labelled"]["example_index"]
        keys = per_example(stream(state.key, "noise", state.step), index)
        noise = jax.vmap(lambda key: jax.random.normal(key, (config.generator.noise,)))(keys)
        return views("labelled", config.image_size), views("real", config.size), noise

    def step(state: State, batch: Batch) -> tuple[State, Metrics]:
        sharp, real, noise = inputs(state, batch)

        def losses(params: dict[str, Any]) -> tuple[dict[str, jax.Array], Any]:
            stats: dict[str, Any] = {}
            fake, stats["g1"] = g1.apply(
                {"params": params["g1"], **state.nets["g1"].stats},
                sharp,
                noise,
                train=True,
                mutable=list(state.nets["g1"].stats),
            )
            # One pass over both: the spectral-norm vectors move once per step.
            scores, stats["d1"] = d1.apply(
                {"params": params["d1"], **state.nets["d1"].stats},
                jnp.concatenate([real, fake]),
                update_stats=True,
                mutable=list(state.nets["d1"].stats),
            )
            on_real, on_fake = scores[: len(real)], scores[len(real) :]
            values = {
                "gan": adversarial.hinge_generator(on_fake),
                "critic": adversarial.hinge_discriminator(on_real, on_fake),
                "pixel": regression.pixel_error(fake, average_pool(sharp, factor)),
                "score_real": on_real.mean(),
                "score_fake": on_fake.mean(),
            }
            total = {
                "g1": config.alpha * values["gan"] + config.beta * values["pixel"],
                "d1": values["critic"],
            }
            return total, (stats, values)

        params = {name: state.nets[name].params for name in ("g1", "d1")}
        _, gradients, (stats, values) = players_gradients(losses, params)
        gradients, values = jax.lax.pmean((gradients, values), AXIS)
        nets = {
            name: updated(state.nets[name], gradients[name], stats[name], optimizer)
            for name in params
        }
        hinge = state.losses["hinge"].update(
            values["score_real"], values["score_fake"], values["gan"]
        )
        weighted = {
            "weighted/alpha_gan": config.alpha * values["gan"],
            "weighted/beta_pixel": config.beta * values["pixel"],
        }
        # The generator's hinge loss may be negative: what is compared is how much each term pulls.
        ordered = jnp.abs(weighted["weighted/alpha_gan"]) > weighted["weighted/beta_pixel"]
        metrics = values | weighted | {"weighted/ordered": ordered.astype(jnp.float32)}
        new = state.replace(step=state.step + 1, nets=nets, losses={"hinge": hinge})
        return new, metrics

    return Task(
        batch={"labelled": config.train.batch_size, "real": config.train.batch_size},
        init=init,
        step=step,
        evaluate=partial(_evaluate, config, g1),
        best=None,
        pictures=partial(_pictures, config, g1),
    )


def rows(
    config: DegradationConfig, g1: HighToLowGenerator, net: Net, frames: jax.Array, place: jax.Array
) -> dict[str, jax.Array]:
    """The rows of K&C Fig. 4: the face, its subsampled and its generated version, in [-1, 1]."""
    plain = augment.center_transforms(frames.shape[1], config.image_size, len(frames))
    sharp = warp(frames, plain, config.image_size) / 127.5 - 1.0
    keys = per_example(stream(jax.random.key(0), "evaluate"), place)
    noise = jax.vmap(lambda key: jax.random.normal(key, (config.generator.noise,)))(keys)
    return {
        "sharp": sharp,
        "subsampled": average_pool(sharp, config.image_size // config.size),
        "generated": g1.apply(net.evaluation_variables, sharp, noise, train=False),
    }


def _evaluate(
    config: DegradationConfig, g1: HighToLowGenerator, state: State, part: dict[str, jax.Array]
) -> Metrics:
    """Sum over faces of Eq. 4, and their count."""
    shown = rows(config, g1, state.nets["g1"], part["images"], part["example_index"])
    error = jnp.square(shown["generated"] - shown["subsampled"]).mean(axis=(1, 2, 3))
    return {"pixel": jnp.where(part["valid"], error, 0.0).sum(), "count": part["valid"].sum()}


def _pictures(
    config: DegradationConfig, g1: HighToLowGenerator, state: State, batch: Batch
) -> dict[str, dict[str, jax.Array]]:
    part = batch["labelled"]
    shown = rows(config, g1, state.nets["g1"], part["images"], part["example_index"])
    frames = batch["real"]["images"]
    plain = augment.center_transforms(frames.shape[1], config.size, len(frames))
    shown["real"] = warp(frames, plain, config.size) / 127.5 - 1.0
    return {
        name: {"images": jnp.clip((images + 1.0) * 127.5, 0, 255).astype(jnp.uint8)}
        for name, images in shown.items()
    }
