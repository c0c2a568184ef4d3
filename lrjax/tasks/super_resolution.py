"""Super-resolution of faces: K&C's settings A1 (SRGAN) and A2 (ESRGAN), and what CSRI starts from.

What distinguishes them is configuration, not code:

| | network | adversarial | pixel distance | features |
|---|---|---|---|---|
| SRResNet | srresnet | none | mse | |
| SRGAN (A1) | srresnet | gan | mse | mse, after activation |
| ESRGAN's pre-training | rrdb | none | l1 | |
| ESRGAN (A2) | rrdb | relativistic | l1 | l1, before activation |
| SRCNN, VDSR, DRRN | srcnn, vdsr, drrn | none | mse | |
| RPCN's pre-training | rpcn_refiner | none | huber | |

The last four refine faces that were enlarged bicubically, by any factor.
"""

from __future__ import annotations

import dataclasses
from functools import partial
from typing import Any, ClassVar, Literal

import jax
import jax.numpy as jnp

from lrjax.config import AlignmentConfig, OptimizerConfig, TrainConfig
from lrjax.data.augment import random_crop
from lrjax.data.degrade import subsample
from lrjax.data.pixels import to_bytes, to_unit
from lrjax.errors import InputError
from lrjax.evaluation import images as quality
from lrjax.geometry.crop import center_crop
from lrjax.losses import adversarial, regression
from lrjax.models import weights
from lrjax.models.registry import build
from lrjax.models.super_resolution import enlarged
from lrjax.models.upsamplers import (
    DiscriminatorConfig,
    RefinerConfig,
    RPCNRefinerConfig,
    SRResNetConfig,
    UpsamplerConfig,
)
from lrjax.rng import per_example, stream
from lrjax.tasks import degradation
from lrjax.training.nets import Nets
from lrjax.training.optimizers import make_optimizer
from lrjax.training.parallel import AXIS, mean
from lrjax.training.state import Metrics, State
from lrjax.training.task import Batch, Losses, Pictures, Player, Task


@dataclasses.dataclass(frozen=True)
class SuperResolutionConfig:
    """Everything that defines a super-resolution network and its training."""

    # K&C: "We use SRGAN [ESRGAN] to super-resolve the images", and no word on its training. Ours:
    # the high-resolution faces on which K&C train G1, made small.
    labelled: tuple[str, ...] = degradation.DegradationConfig().labelled
    # CSRI: all 202,599 pictures of CelebA. Ours: a part is held out, by which to measure.
    holdout: float = 0.05
    # Its sizes are those of faces made small and of sharp ones.
    network: UpsamplerConfig = SRResNetConfig()
    initial: str | None = None  # run of the same network, trained without a discriminator
    context: float = 1.25
    # Of pictures of people, such as CelebA. null: `labelled` are datasets of landmarks, whose faces
    # are shown as wide as `context` says.
    alignment: AlignmentConfig | None = None
    # SRGAN and ESRGAN: bicubic. "generator" is G1 of the run in `stage1`.
    degradation: Literal["bicubic", "subsample", "generator"] = "bicubic"
    stage1: str | None = None
    # Both papers cut pieces out at random; ESRGAN mirrors them. Ours: the same with crops of a
    # face, whole pixels at a time, so that no interpolation dulls what is to be learned.
    translation: float = 20 / 128  # of the crop's longer side, at most 1/4
    flip: float = 0.5  # probability
    adversarial: Literal["none", "gan", "relativistic"] = "none"
    discriminator: DiscriminatorConfig = DiscriminatorConfig()
    # Weights of the terms; pixels are in [-1, 1]. SRGAN's features are scaled by 1/12.75, which
    # makes their weight 0.006.
    pixel: float = 1.0
    perceptual: float = 0.0
    gan: float = 1e-3
    # RPCN: sharp faces shall come out as they are of the filters for high resolution.
    coupled: float = 0.0
    distance: Literal["l1", "mse", "huber"] = "mse"  # of pixels, and of features
    # VGG-19 for the perceptual term: a .safetensors file, as `lrjax convert` writes it.
    vgg: str | None = None
    activated: bool = True  # its features after the last ReLU, or before
    optimizer: OptimizerConfig = OptimizerConfig(1e-4, 0.9, 0.999, drops=())
    train: TrainConfig = TrainConfig(batch_size=16)

    needs: ClassVar[tuple[str, ...]] = (
        "initial",
        "stage1",
        "alignment.landmarks",
        "alignment.upsample",
    )
    needs_real: ClassVar[bool] = False
    real: ClassVar[tuple[str, ...]] = ()
    scheme: ClassVar[str] = "five"  # points are not used, and every dataset has these

    @property
    def image_size(self) -> tuple[int, int]:
        """Height and width of sharp faces."""
        return self.network.image_size

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of the same made small."""
        return self.network.size

    @property
    def border(self) -> int:
        """Pixels on each side of a crop from which shifted crops take what they show."""
        return int(self.translation * max(self.image_size))

    def validate(self) -> None:
        """Raise InputError for combinations that mean nothing."""
        (height, width), (low, narrow) = self.image_size, self.size
        if not (1 <= low <= height and 1 <= narrow <= width):
            raise InputError(
                f"Faces of {height}x{width} pixels cannot be made small to {low}x{narrow}; set "
                "network.size to at least 1 and at most network.image_size, in height and width."
            )
        if self.degradation != "bicubic" and (height != width or low != narrow or height % low):
            raise InputError(
                f"The degradation {self.degradation!r} makes square faces smaller by a whole "
                f"number, but network.image_size is {height}x{width} and network.size "
                f"{low}x{narrow}; set them so, or degradation to 'bicubic'."
            )
        if not 0 <= self.translation <= 0.25:
            raise InputError(f"The translation {self.translation} must be between 0 and 0.25.")
        if self.degradation == "generator" and self.stage1 is None:
            raise InputError(
                "The field stage1 is empty but degradation is 'generator'; set stage1 to the run "
                "of a trained degradation."
            )
        if self.coupled and not isinstance(self.network, RPCNRefinerConfig):
            raise InputError(
                f"The network {self.network.name!r} has no filters for sharp faces; set coupled to "
                "0, or network to 'rpcn_refiner'."
            )
        if (self.perceptual > 0) != (self.vgg is not None):
            raise InputError(
                "The perceptual term needs both a weight and a network; set perceptual and vgg "
                "(a VGG-19 written by `lrjax convert`), or perceptual to 0 and pixel to 1."
            )


DISTANCES = {
    "l1": regression.absolute_error,
    "mse": regression.pixel_error,
    "huber": regression.huber_error,
}


def make(config: SuperResolutionConfig, steps: int) -> Task:
    """Make the task; `steps` is the length of the whole run, which the schedule follows.

    Raises:
      InputError: the configuration means nothing, or names weights that do not fit.
    """
    config.validate()
    optimizer = make_optimizer(config.optimizer, steps, "upsampler")
    network = build(config.network, AXIS)
    start = {}
    if config.initial is not None:
        start = weights.load_into(config.initial, "upsampler", network, "initial")
    # Who uses it cuts faces as they are cut here.
    about = {"context": config.context if config.alignment is None else None}
    players = {"upsampler": Player(network, optimizer, start, about=about)}
    loss_state = {}
    if config.adversarial != "none":
        judge = build(config.discriminator, AXIS, inputs=((*config.image_size, 3),))
        players["discriminator"] = Player(judge, optimizer)
        loss_state["adversarial"] = adversarial.AdversarialState.create()
    if config.degradation == "generator" and config.stage1 is not None:
        players["g1"] = degradation.player(config.stage1)
        degradation.check_fits(players["g1"], config.image_size[0], config.size[0], "stage1")
    if config.vgg is not None:
        vgg = weights.load(config.vgg, "vgg19", ("features",))
        seen = dataclasses.replace(vgg.network.config, activated=config.activated)
        players["vgg"] = Player(build(seen), None, vgg.variables)
    return Task(
        players=players,
        batch={"labelled": config.train.batch_size},
        losses=partial(losses, config),
        evaluate=partial(evaluate, config),
        pictures=partial(pictures, config),
        loss_state=loss_state,
        # Against a discriminator, the smallest error is the beginning's.
        best="mse" if config.adversarial == "none" else None,
    )


def losses(
    config: SuperResolutionConfig, nets: Nets, state: State, batch: Batch
) -> tuple[Losses, Metrics, dict[str, Any]]:
    """Compute the losses of the network, and of the discriminator if there is one, on one batch."""
    crops = random_crops(config, state, batch["labelled"])
    index = batch["labelled"]["example_index"]
    keys = per_example(stream(state.key, "degrade", state.step), index)
    small, sharp = degraded(config, nets, crops, keys), to_unit(crops)
    distance = DISTANCES[config.distance]

    made = upsampled(config, nets, small)
    metrics = {"pixel": distance(made, sharp)}
    weighted = {"pixel": config.pixel * metrics["pixel"]}
    if config.coupled:
        metrics["coupled"] = distance(nets("upsampler", sharp, domain="high"), sharp)
        weighted["coupled"] = config.coupled * metrics["coupled"]
    if "vgg" in nets:
        metrics["perceptual"] = distance(nets("vgg", made), nets("vgg", sharp))
        weighted["perceptual"] = config.perceptual * metrics["perceptual"]
    total: Losses = {}
    if "discriminator" in nets:
        # One after the other, each kind normalised by its own statistics.
        real, fake = nets("discriminator", sharp), nets("discriminator", made)
        metrics["gan"], metrics["critic"] = adversarial_losses(config, real, fake)
        metrics |= {"score_real": real.mean(), "score_fake": fake.mean()}
        weighted["gan"] = config.gan * metrics["gan"]
        total["discriminator"] = metrics["critic"]
    total["upsampler"] = jnp.asarray(sum(weighted.values()))

    metrics = mean(metrics | {f"weighted/{name}": value for name, value in weighted.items()})
    running = {
        name: value.update(metrics["score_real"], metrics["score_fake"], metrics["gan"])
        for name, value in state.losses.items()
    }
    return total, metrics, running


def adversarial_losses(
    config: SuperResolutionConfig, real: jax.Array, fake: jax.Array
) -> tuple[jax.Array, jax.Array]:
    """Compute the generator's and the discriminator's loss of scores [B] of both kinds."""
    if config.adversarial == "gan":
        critic = adversarial.binary_discriminator(real, fake)
        return adversarial.binary_generator(fake), critic
    critic = adversarial.relativistic(real, fake, AXIS)
    return adversarial.relativistic(fake, real, AXIS), critic


def random_crops(
    config: SuperResolutionConfig, state: State, part: dict[str, jax.Array]
) -> jax.Array:
    """Draw shifted and mirrored crops [B, H, W, 3] in 0..255 of the middles of frames."""
    height, width = config.image_size
    room = 2 * config.border
    frames = center_crop(part["images"], height + room, width + room)
    keys = per_example(stream(state.key, "view", state.step), part["example_index"])
    return random_crop(frames, keys, height, width, config.flip).astype(jnp.float32)


def degraded(
    config: SuperResolutionConfig, nets: Nets, crops: jax.Array, keys: jax.Array
) -> jax.Array:
    """Make crops [B, H, W, 3] in 0..255 small: [B, h, w, 3] in [-1, 1]."""
    if config.degradation == "generator":
        return degradation.degrade(nets, to_unit(crops), keys)
    if config.degradation == "subsample":
        return to_unit(subsample(crops, round(config.network.factors[0])))
    return to_unit(jnp.clip(bicubic(crops, config.size), 0.0, 255.0))


def bicubic(images: jax.Array, size: tuple[int, int]) -> jax.Array:
    """Resize images [B, H, W, C] to a height and width, antialiased where they shrink."""
    shape = (len(images), *size, images.shape[3])
    return jax.image.resize(images, shape, "bicubic", antialias=True)


def upsampled(config: SuperResolutionConfig, nets: Nets, small: jax.Array) -> jax.Array:
    """Enlarge small images by the network, which refiners want done bicubically before."""
    refines = isinstance(config.network, RefinerConfig)
    return nets("upsampler", enlarged(small, *config.image_size) if refines else small)


def rows(
    config: SuperResolutionConfig, nets: Nets, part: dict[str, jax.Array]
) -> dict[str, jax.Array]:
    """Show faces made small, enlarged in two ways, and as they were: all in about [-1, 1]."""
    crops = center_crop(part["images"], *config.image_size).astype(jnp.float32)
    keys = per_example(stream(jax.random.key(0), "evaluate"), part["example_index"])
    small = degraded(config, nets, crops, keys)
    return {
        "small": small,
        "bicubic": bicubic(small, config.image_size),
        "upsampled": upsampled(config, nets, small),
        "sharp": to_unit(crops),
    }


def evaluate(config: SuperResolutionConfig, nets: Nets, part: dict[str, jax.Array]) -> Metrics:
    """Sum over faces what the network, and a bicubic enlargement, score; and count them."""
    shown = rows(config, nets, part)
    made, plain, sharp = (shown[name] for name in ("upsampled", "bicubic", "sharp"))
    scores = {
        "mse": quality.mean_squared_errors(made, sharp),
        "psnr": quality.psnr(made, sharp),
        "ssim": quality.ssim(made, sharp),
        "psnr_bicubic": quality.psnr(plain, sharp),
        "ssim_bicubic": quality.ssim(plain, sharp),
    }
    sums = {name: jnp.where(part["valid"], value, 0.0).sum() for name, value in scores.items()}
    return sums | {"count": part["valid"].sum()}


def pictures(config: SuperResolutionConfig, nets: Nets, batch: Batch) -> Pictures:
    """Show each face four times, one below the other: small, bicubic, by the network, sharp."""
    shown = rows(config, nets, batch["labelled"])
    shown["small"] = jax.image.resize(shown["small"], shown["sharp"].shape, "nearest")
    return {"faces": {"images": to_bytes(jnp.concatenate(list(shown.values()), axis=1))}}
