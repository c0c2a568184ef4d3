"""Super-resolution of faces: K&C's settings A1 (SRGAN) and A2 (ESRGAN), and what CSRI starts from.

What distinguishes them is configuration, not code:

| | network | adversarial | pixel distance | features |
|---|---|---|---|---|
| SRResNet | srresnet | none | mse | |
| SRGAN (A1) | srresnet | gan | mse | mse, after activation |
| ESRGAN's pre-training | rrdb | none | l1 | |
| ESRGAN (A2) | rrdb | relativistic | l1 | l1, before activation |
| SRCNN, VDSR, DRRN | srcnn, vdsr, drrn | none | mse | |
| RPCN's pre-training | rpcn | none | huber | |

The last four sharpen faces that were enlarged bicubically, by any factor.
"""

from __future__ import annotations

import dataclasses
from functools import partial
from typing import Any, ClassVar, Literal

import flax.linen as nn
import jax
import jax.numpy as jnp
from flax.errors import FlaxError

from lrjax.config import OptimizerConfig, TrainConfig
from lrjax.errors import InputError
from lrjax.evaluation import images as quality
from lrjax.losses import adversarial, regression
from lrjax.models import vgg
from lrjax.models.super_resolution import SharpnessDiscriminator, doublings
from lrjax.rng import per_example, stream
from lrjax.tasks import degradation
from lrjax.tasks.landmark_views import to_unit
from lrjax.tasks.resolvers import DOUBLERS, SHARPENERS, ResolverConfig, build_resolver
from lrjax.tasks.super_resolution_views import degrader, random_views, rows, to_bytes
from lrjax.training.optimizers import make_optimizer, players_gradients
from lrjax.training.parallel import AXIS
from lrjax.training.state import Metrics, Net, State, new_net, updated
from lrjax.training.task import Batch, Task
from lrjax.training.weights import load_variables


@dataclasses.dataclass(frozen=True)
class DiscriminatorConfig:
    """SRGAN's discriminator, which serves ESRGAN too."""

    widths: tuple[int, ...] = (64, 128, 256, 512)
    hidden: int = 1024


@dataclasses.dataclass(frozen=True)
class SuperResolutionConfig:
    """Everything that defines a super-resolution network and its training."""

    # K&C: "We use SRGAN [ESRGAN] to super-resolve the images", and no word on its training. Ours:
    # the high-resolution faces on which K&C train G1, made small.
    labelled: tuple[str, ...] = degradation.DegradationConfig().labelled
    holdout: float = 0.05
    image_size: tuple[int, int] = (128, 128)  # height and width of sharp faces
    size: tuple[int, int] = (32, 32)  # and of the same made small
    context: float = 1.25
    # What finds the five points of pictures of people, such as CelebA: "shipped", the run folder or
    # weights of a landmark network, "points" for the dataset's own, "resize" for none. null:
    # `labelled` are datasets of landmarks, whose faces are shown as wide as `context` says.
    alignment: str | None = None
    # The part of each of these pictures that is the face: left, top, width, height, as shares.
    region: tuple[float, float, float, float] = (0.0, 0.0, 1.0, 1.0)
    fit: Literal["similarity", "affine"] = "similarity"
    plain: Literal["stretch", "pad"] = "stretch"  # how faces are shown that cannot be aligned
    # SRGAN and ESRGAN: bicubic. "generator" is G1 of the run in `stage1`.
    degradation: Literal["bicubic", "subsample", "generator"] = "bicubic"
    stage1: str | None = None
    # Both papers cut pieces out at random; ESRGAN mirrors them. Ours: the same with views of a
    # face, whole pixels at a time, so that no interpolation dulls what is to be learned.
    translation: float = 20 / 128  # of the view's longer side, at most 1/4
    flip: float = 0.5  # probability
    network: Literal["srresnet", "rrdb", "srcnn", "vdsr", "drrn", "rpcn"] = "srresnet"
    generator: ResolverConfig = ResolverConfig()
    initial: str | None = None  # run folder of the same network, trained without a discriminator
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

    needs_real: ClassVar[bool] = False
    scheme: ClassVar[str] = "five"  # points are not used, and every dataset has these

    @property
    def factors(self) -> tuple[float, float]:
        """How many times larger the result is, in height and width."""
        (height, width), (low, narrow) = self.image_size, self.size
        return height / low, width / narrow

    def validate(self) -> None:
        """Raise InputError for combinations that mean nothing."""
        (height, width), (low, narrow) = self.image_size, self.size
        if not (1 <= low <= height and 1 <= narrow <= width):
            raise InputError(
                f"Faces of {_sides(self.image_size)} pixels cannot be made small to "
                f"{_sides(self.size)}; set size to at least 1 and at most image_size, in height "
                "and width."
            )
        if self.network in DOUBLERS:
            _check_doublings(self)
        if self.degradation != "bicubic" and (height != width or low != narrow or height % low):
            raise InputError(
                f"The degradation {self.degradation!r} makes square faces smaller by a whole "
                f"number, but image_size is {_sides(self.image_size)} and size "
                f"{_sides(self.size)}; set them so, or degradation to 'bicubic'."
            )
        if not 0 <= self.translation <= 0.25:
            raise InputError(f"The translation {self.translation} must be between 0 and 0.25.")
        if self.degradation == "generator" and self.stage1 is None:
            raise InputError(
                "The field stage1 is empty but degradation is 'generator'; "
                "set stage1 to the run folder of a trained degradation."
            )
        if self.coupled and self.network != "rpcn":
            raise InputError(
                f"The network {self.network!r} has no filters for sharp faces; set coupled to 0, "
                "or network to 'rpcn'."
            )
        if (self.perceptual > 0) != (self.vgg is not None):
            raise InputError(
                "The perceptual term needs both a weight and a network; set perceptual and vgg "
                "(a VGG-19 written by `lrjax convert`), or perceptual to 0 and pixel to 1."
            )


def _sides(size: tuple[int, int]) -> str:
    return "x".join(map(str, size))


def _check_doublings(config: SuperResolutionConfig) -> None:
    """Raise InputError unless the network can enlarge by the factors."""
    height, width = config.factors
    try:
        if height != width or not height.is_integer():
            raise ValueError("they are not one whole number")
        doublings(round(height))
    except ValueError as error:
        raise InputError(
            f"The network {config.network!r} doubles height and width together, but from "
            f"{_sides(config.size)} to {_sides(config.image_size)} pixels the factors are "
            f"{height:g} and {width:g}: {error}. Set image_size to 2, 4, 8, ... times size, or "
            f"network to one of {', '.join(SHARPENERS)}, which enlarge by any factor."
        ) from error


DISTANCES = {
    "l1": regression.absolute_error,
    "mse": regression.pixel_error,
    "huber": regression.huber_error,
}


def resolver_module(config: SuperResolutionConfig, axis_name: str | None = AXIS) -> nn.Module:
    """The network as configured."""
    return build_resolver(config.network, config.generator, config.factors, axis_name)


def load_vgg(path: str, activated: bool) -> tuple[vgg.VGG19Features, Net]:
    """The features that `path` holds, and their frozen weights.

    Raises:
      InputError: the file holds something else.
    """
    variables, _ = load_variables(path)
    try:
        biases = [variables["params"][f"conv{group}_1"]["bias"] for group in range(1, 6)]
        module = vgg.VGG19Features(tuple(len(bias) for bias in biases), activated)
        image = jnp.zeros((1, 32, 32, 3))
        jax.eval_shape(module.apply, variables, image)
    except (KeyError, TypeError, ValueError, FlaxError) as error:
        raise InputError(
            f"The file {path} does not hold the convolutions of VGG-19; "
            "write one with `lrjax convert`."
        ) from error
    return module, new_net(jax.tree.map(jnp.asarray, variables), optimizer=None)


def start_from(net: Net, run: str) -> Net:
    """`net` with the weights of the resolver of `run`.

    Raises:
      InputError: it is another network.
    """
    found = degradation.load_net(run, "resolver")
    shapes = (jax.tree.map(jnp.shape, (n.params, n.stats)) for n in (net, found))
    if next(shapes) != next(shapes):
        raise InputError(
            f"The network of the run in {run} is another one than this configuration's; set "
            "initial to a run with the same network and generator."
        )
    return net.replace(params=found.params, stats=found.stats)


def make(config: SuperResolutionConfig, steps: int) -> Task:
    """The task; `steps` is the length of the whole run, which the schedule follows."""
    config.validate()
    modules: dict[str, nn.Module] = {"resolver": resolver_module(config)}
    if config.adversarial != "none":
        modules["discriminator"] = SharpnessDiscriminator(
            **dataclasses.asdict(config.discriminator), axis_name=AXIS
        )
    if config.vgg is not None:
        features, vgg_net = load_vgg(config.vgg, config.activated)
    optimizer = make_optimizer(config.optimizer, steps)
    degrade = degrader(config)
    distance = DISTANCES[config.distance]

    def init(key: jax.Array) -> State:
        def start(name: str, size: tuple[int, int]) -> Net:
            begin = partial(modules[name].init, train=False)
            if name != "resolver":
                begin = jax.jit(begin)  # else operation by operation: it has many equal layers
            image = jnp.zeros((1, *size, 3))
            return new_net(begin(stream(key, f"init/{name}"), image), optimizer)

        nets = {"resolver": start("resolver", config.size)}
        if "discriminator" in modules:
            nets["discriminator"] = start("discriminator", config.image_size)
        if config.initial is not None:
            nets["resolver"] = start_from(nets["resolver"], config.initial)
        if config.degradation == "generator":
            nets["g1"] = degradation.load_net(config.stage1, "g1")
        if config.vgg is not None:
            nets["vgg"] = vgg_net
        losses = {}
        if "discriminator" in modules:
            losses["adversarial"] = adversarial.AdversarialState.create()
        return State.create(nets, losses, key)

    def step(state: State, batch: Batch) -> tuple[State, Metrics]:
        views = random_views(config, state.key, state.step, batch["labelled"])
        index = batch["labelled"]["example_index"]
        keys = per_example(stream(state.key, "degrade", state.step), index)
        small, sharp = degrade(state, views, keys), to_unit(views)

        def losses(params: dict[str, Any]) -> tuple[dict[str, jax.Array], Any]:
            def run(name: str, images: jax.Array, **how: Any) -> tuple[jax.Array, Any]:
                stats = state.nets[name].stats
                variables = {"params": params[name], **stats}
                return modules[name].apply(
                    variables, images, train=True, mutable=list(stats), **how
                )

            stats: dict[str, Any] = {}
            made, stats["resolver"] = run("resolver", small)
            values = {"pixel": distance(made, sharp)}
            weighted = {"pixel": config.pixel * values["pixel"]}
            if config.coupled:
                again, _ = run("resolver", sharp, method="reconstruct")
                values["coupled"] = distance(again, sharp)
                weighted["coupled"] = config.coupled * values["coupled"]
            if config.vgg is not None:
                seen = partial(features.apply, state.nets["vgg"].variables)
                values["perceptual"] = distance(seen(made), seen(sharp))
                weighted["perceptual"] = config.perceptual * values["perceptual"]
            total = {}
            if "discriminator" in modules:
                # Side by side, each kind normalised by its own statistics.
                judge = jax.vmap(partial(run, "discriminator"))
                (real, fake), both = judge(jnp.stack([sharp, made]))
                stats["discriminator"] = jax.tree.map(lambda leaf: leaf.mean(0), both)
                values |= _judged(config, real, fake)
                weighted["gan"] = config.gan * values["gan"]
                total["discriminator"] = values["critic"]
            total["resolver"] = sum(weighted.values())
            logged = {f"weighted/{name}": value for name, value in weighted.items()}
            return total, (stats, values | logged)

        params = {name: state.nets[name].params for name in modules}
        _, gradients, (stats, values) = players_gradients(losses, params)
        gradients, values = jax.lax.pmean((gradients, values), AXIS)
        nets = dict(state.nets)
        for name in modules:
            nets[name] = updated(nets[name], gradients[name], stats[name], optimizer)
        running = {
            name: value.update(values["score_real"], values["score_fake"], values["gan"])
            for name, value in state.losses.items()
        }
        return state.replace(step=state.step + 1, nets=nets, losses=running), values

    return Task(
        batch={"labelled": config.train.batch_size},
        init=init,
        step=step,
        evaluate=partial(_evaluate, config, modules["resolver"], degrade),
        # Against a discriminator, the smallest error is the beginning's.
        best="mse" if config.adversarial == "none" else None,
        pictures=partial(_pictures, config, modules["resolver"], degrade),
    )


def _judged(
    config: SuperResolutionConfig, real: jax.Array, fake: jax.Array
) -> dict[str, jax.Array]:
    """The adversarial losses of scores [B] of both kinds."""
    if config.adversarial == "gan":
        generator = adversarial.binary_generator(fake)
        critic = adversarial.binary_discriminator(real, fake)
    else:
        generator = adversarial.relativistic(fake, real, AXIS)
        critic = adversarial.relativistic(real, fake, AXIS)
    scores = {"score_real": real.mean(), "score_fake": fake.mean()}
    return {"gan": generator, "critic": critic, **scores}


def _evaluate(
    config: SuperResolutionConfig,
    module: nn.Module,
    degrade: degradation.Degrade,
    state: State,
    part: dict[str, jax.Array],
) -> Metrics:
    """Sums over faces of what the resolver, and a bicubic enlargement, score; and their count."""
    shown = rows(config, module, degrade, state, part)
    resolved, plain, sharp = (shown[name] for name in ("resolved", "bicubic", "sharp"))
    scores = {
        "mse": quality.mean_squared_errors(resolved, sharp),
        "psnr": quality.psnr(resolved, sharp),
        "ssim": quality.ssim(resolved, sharp),
        "psnr_bicubic": quality.psnr(plain, sharp),
        "ssim_bicubic": quality.ssim(plain, sharp),
    }
    sums = {name: jnp.where(part["valid"], value, 0.0).sum() for name, value in scores.items()}
    return sums | {"count": part["valid"].sum()}


def _pictures(
    config: SuperResolutionConfig,
    module: nn.Module,
    degrade: degradation.Degrade,
    state: State,
    batch: Batch,
) -> dict[str, dict[str, jax.Array]]:
    """Each face four times, one below the other: in small pixels, bicubic, resolved, and sharp."""
    shown = rows(config, module, degrade, state, batch["labelled"])
    shape = shown["sharp"].shape
    shown["small"] = jax.image.resize(shown["small"], shape, "nearest")
    strips = jnp.concatenate(list(shown.values()), axis=1)
    return {"faces": {"images": to_bytes(strips)}}
