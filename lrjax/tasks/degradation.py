"""Stage 1 of K&C: G1 learns, from unpaired faces, to degrade as real cameras do (critic D1)."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from functools import partial
from typing import Any, ClassVar

import jax
import jax.numpy as jnp

from lrjax.config import AugmentConfig, OptimizerConfig, TrainConfig
from lrjax.data import augment
from lrjax.data.degrade import subsample
from lrjax.data.pixels import to_bytes, to_unit
from lrjax.errors import InputError
from lrjax.geometry.transforms import average_pool, warp
from lrjax.losses import adversarial, regression
from lrjax.models import weights
from lrjax.models.registry import build
from lrjax.models.s2ld import CriticConfig, DegraderConfig
from lrjax.rng import per_example, stream
from lrjax.training.nets import Nets
from lrjax.training.optimizers import make_optimizer
from lrjax.training.parallel import AXIS, mean
from lrjax.training.state import Metrics, Net, State
from lrjax.training.task import Batch, Losses, Pictures, Player, Task


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
    context: float = 1.25
    g1: DegraderConfig = DegraderConfig()
    d1: CriticConfig = CriticConfig()
    # Eq. 1. Paper: only α·l_GAN > β·l_pixel. The hinge's value may be of either sign, so Ours: the
    # gradient of the GAN term at G1's output is the longer one, which is logged. That of an
    # untrained D1 has a length of 0.035, and that of the pixel term 0.036 β times the root mean
    # squared difference. (The ancestor of G1 weights the other way round: 0.05 and 1.)
    alpha: float = 1.0
    beta: float = 1.0
    augment: AugmentConfig = AugmentConfig()
    # Paper: silent on whose turn it is. Ours: G1 and D1 step at once, each by the gradient of
    # its own loss, all of one forward pass; turns, a critic first, would need a second one.
    optimizer: OptimizerConfig = OptimizerConfig()
    train: TrainConfig = TrainConfig()

    needs: ClassVar[tuple[str, ...]] = ()
    needs_real: ClassVar[bool] = True
    scheme: ClassVar[str] = "five"  # points are not used, and every dataset has these

    @property
    def image_size(self) -> int:
        """Pixels of sharp faces."""
        return self.g1.image_size

    @property
    def size(self) -> int:
        """Pixels of degraded and of real faces."""
        return self.g1.size


def player(run: str) -> Player:
    """Load the G1 of a run folder or weights file, frozen.

    Raises:
      InputError: there is none.
    """
    loaded = weights.load(run, "g1", ("degrader",))
    return Player(loaded.network, None, loaded.variables)


def alone(g1: Player) -> Nets:
    """Put a G1 where `degrade` finds it, with no other network."""
    variables = dict(g1.variables)
    return Nets({"g1": g1.network.module}, {"g1": Net(variables.pop("params"), variables)})


def check_fits(g1: Player, image_size: int, size: int, field: str) -> None:
    """Raise an InputError unless a G1 makes `size` pixels of `image_size`."""
    config = g1.network.config
    if (config.image_size, config.size) != (image_size, size):
        raise InputError(
            f"The generator in {field} makes {config.size} pixels of {config.image_size}, and not "
            f"{size} of {image_size}; name another one, or change the sizes."
        )


def degrade(nets: Nets, crops: jax.Array, keys: jax.Array) -> jax.Array:
    """Apply G1 to sharp crops [B, V, V, 3] in [-1, 1], with noise of its own for each key [B]."""
    length = nets.module("g1").noise
    noise = jax.vmap(lambda key: jax.random.normal(key, (length,)))(keys)
    return nets("g1", crops, noise)


def make(config: DegradationConfig, steps: int) -> Task:
    """Make the task; `steps` is the length of the whole run, which the schedule follows."""
    optimizer = make_optimizer(config.optimizer, steps)
    g1, d1 = build(config.g1, AXIS), build(config.d1, inputs=((config.size, config.size, 3),))
    return Task(
        players={"g1": Player(g1, optimizer), "d1": Player(d1, optimizer)},
        batch={"labelled": config.train.batch_size, "real": config.train.batch_size},
        losses=partial(losses, config),
        evaluate=partial(evaluate, config),
        pictures=partial(pictures, config),
        loss_state={"hinge": adversarial.AdversarialState.create()},
    )


def random_crops(
    config: DegradationConfig,
    state: State,
    name: str,
    part: dict[str, jax.Array],
    size: int,
    draw: Callable[..., jax.Array],
) -> jax.Array:
    """Draw augmented crops [B, size, size, 3] in [-1, 1] of the frames of a source.

    Args:
      config, state: of the run.
      name: of the source, from which its random numbers follow.
      part: its examples.
      size: of the crops in pixels.
      draw: what transforms are drawn, as `augment.random_transforms`.
    """
    frame = part["images"].shape[1]
    keys = per_example(stream(state.key, f"view/{name}", state.step), part["example_index"])
    transforms = draw(keys, frame, size, config.augment)
    crops = warp(part["images"], transforms, size)
    keys = per_example(stream(state.key, f"tight/{name}", state.step), part["example_index"])
    return to_unit(
        augment.tight_crop(crops, keys, transforms, frame, config.context, config.augment)
    )


def real_crops(config: DegradationConfig, state: State, part: dict[str, jax.Array]) -> jax.Array:
    """Draw crops [B, s, s, 3] in [-1, 1] of native faces, which keep their own pixels."""
    draw = augment.whole_pixel_transforms
    return random_crops(config, state, "real", part, config.size, draw)


def losses(
    config: DegradationConfig, nets: Nets, state: State, batch: Batch
) -> tuple[Losses, Metrics, dict[str, Any]]:
    """Compute the losses of G1 (Eq. 1) and D1 (Eq. 2) on one batch."""
    labelled = batch["labelled"]
    draw = augment.random_transforms
    sharp = random_crops(config, state, "labelled", labelled, config.image_size, draw)
    real = real_crops(config, state, batch["real"])
    keys = per_example(stream(state.key, "noise", state.step), labelled["example_index"])
    fake = degrade(nets, sharp, keys)
    # One pass over both: the spectral-norm vectors move once per step.
    on_real, on_fake = jnp.split(nets("d1", jnp.concatenate([real, fake])), [len(real)])

    gan = adversarial.hinge_generator(on_fake)
    critic = adversarial.hinge_discriminator(on_real, on_fake)
    subsampled = pooled(config, sharp)
    pixel = regression.pixel_error(fake, subsampled)
    total: Losses = {"g1": config.alpha * gan + config.beta * pixel, "d1": critic}

    metrics = {"gan": gan, "critic": critic, "pixel": pixel}
    metrics |= {"score_real": on_real.mean(), "score_fake": on_fake.mean()}
    metrics = mean(metrics | pulls(config, nets, fake, subsampled))
    hinge = state.losses["hinge"].update(
        metrics["score_real"], metrics["score_fake"], metrics["gan"]
    )
    ordered = metrics["pull/alpha_gan"] > metrics["pull/beta_pixel"]
    metrics |= {
        "weighted/alpha_gan": config.alpha * metrics["gan"],
        "weighted/beta_pixel": config.beta * metrics["pixel"],
        "weighted/ordered": ordered.astype(jnp.float32),
    }
    return total, metrics, {"hinge": hinge}


def pulls(config: DegradationConfig, nets: Nets, fake: jax.Array, subsampled: jax.Array) -> Metrics:
    """Measure how much each term of Eq. 1 pulls at what G1 makes, [B, s, s, 3] in [-1, 1].

    A term's pull is the length of its gradient by one face, in the mean over faces.
    """
    fake = jax.lax.stop_gradient(fake)

    def gan(images: jax.Array) -> jax.Array:
        return adversarial.hinge_generator(nets.fixed("d1", images)) * len(images)

    def pixel(images: jax.Array) -> jax.Array:
        return regression.pixel_error(images, subsampled) * len(images)

    def length(gradient: jax.Array) -> jax.Array:
        return jnp.sqrt(jnp.square(gradient).sum((1, 2, 3))).mean()

    return {
        "pull/alpha_gan": config.alpha * length(jax.grad(gan)(fake)),
        "pull/beta_pixel": config.beta * length(jax.grad(pixel)(fake)),
    }


def pooled(config: DegradationConfig, sharp: jax.Array) -> jax.Array:
    """Subsample faces as Eq. 4 does, by averaging: F(I_HR)."""
    return average_pool(sharp, config.image_size // config.size)


def rows(
    config: DegradationConfig, nets: Nets, frames: jax.Array, example_index: jax.Array
) -> dict[str, jax.Array]:
    """Make the rows of K&C Fig. 4: the face, its subsampled and its generated form, in [-1, 1].

    "Downsampled images obtained after applying Gaussian smoothing", as S1 learns from.
    """
    sharp = center_crops(frames, config.image_size)
    keys = per_example(stream(jax.random.key(0), "evaluate"), example_index)
    return {
        "sharp": sharp,
        "subsampled": subsample(sharp, config.image_size // config.size),
        "generated": degrade(nets, sharp, keys),
    }


def center_crops(frames: jax.Array, size: int) -> jax.Array:
    """Show frames [B, F, F, 3] without augmentation: [B, size, size, 3] in [-1, 1]."""
    transforms = augment.center_transforms(frames.shape[1], size, len(frames))
    return to_unit(warp(frames, transforms, size))


def evaluate(config: DegradationConfig, nets: Nets, part: dict[str, jax.Array]) -> Metrics:
    """Sum Eq. 4 over faces, and count them."""
    shown = rows(config, nets, part["images"], part["example_index"])
    error = jnp.square(shown["generated"] - pooled(config, shown["sharp"])).mean(axis=(1, 2, 3))
    return {"pixel": jnp.where(part["valid"], error, 0.0).sum(), "count": part["valid"].sum()}


def pictures(config: DegradationConfig, nets: Nets, batch: Batch) -> Pictures:
    """Show faces of the labelled source as in Fig. 4, and real ones beside."""
    part = batch["labelled"]
    shown = rows(config, nets, part["images"], part["example_index"])
    shown["real"] = center_crops(batch["real"]["images"], config.size)
    return {name: {"images": to_bytes(images)} for name, images in shown.items()}
