"""Stage 2 of K&C: landmarks on low-resolution faces (settings S1-S4, HR-LD), and beyond.

What distinguishes the settings is configuration, not code:

| setting | degradation | critics |
|---|---|---|
| S1 | subsample | |
| S2 | generator | |
| S3 | generator | heatmap (D2) |
| S4 | generator | heatmap (D2), confidence (D3, which also sees real low-resolution faces) |
| HR-LD | none | |
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from functools import partial
from itertools import pairwise
from typing import Any, Literal

import jax
import jax.numpy as jnp

from lrjax.config import (
    AugmentConfig,
    CameraConfig,
    CriticConfig,
    OptimizerConfig,
    TrainConfig,
    UNetConfig,
)
from lrjax.data import augment
from lrjax.errors import InputError
from lrjax.geometry import heatmaps
from lrjax.geometry.points import SCHEMES
from lrjax.geometry.transforms import apply, warp
from lrjax.losses import adversarial, began, regression
from lrjax.models.heatmap import ConfidenceDiscriminator, HeatmapDiscriminator, HeatmapGenerator
from lrjax.rng import stream
from lrjax.tasks import degradation
from lrjax.tasks.landmark_views import (
    degrader,
    keys_of,
    labelled_views,
    plain_views,
    real_views,
    to_unit,
)
from lrjax.training.optimizers import make_optimizer, players_gradients
from lrjax.training.parallel import AXIS
from lrjax.training.state import Metrics, Net, State, new_net, updated
from lrjax.training.task import Batch, Task


@dataclasses.dataclass(frozen=True)
class LandmarksConfig:
    """Everything that defines a landmark network and its training."""

    labelled: tuple[str, ...] = ("aflw:train", "w300:train")
    real: tuple[str, ...] = ("wider_face_crops:lr",)
    # Paper: the 4,386 test faces also serve for validation. Ours: a part of the training faces.
    holdout: float = 0.05
    scheme: Literal["aflw19", "ibug68", "five"] = "ibug68"
    image_size: int = 128  # pixels of the high-resolution view
    size: int = 32  # pixels that G2 sees
    context: float = 1.25  # view side / face-square side
    degradation: Literal["none", "subsample", "generator", "camera"] = "generator"
    stage1: str | None = None  # run folder of G1; needed by "generator"
    initial: str | None = None  # run folder whose G2 training starts from
    critics: tuple[Literal["heatmap", "confidence"], ...] = ()
    generator: UNetConfig = UNetConfig()
    heatmap_critic: UNetConfig = UNetConfig()
    confidence_critic: CriticConfig = CriticConfig()
    # "heatmap" is Eq. 10. "integral", beyond the paper, reads a map as a distribution: spatial
    # cross entropy, and the error of its expectation.
    objective: Literal["heatmap", "integral"] = "heatmap"
    # Paper: σ = 2 pixels "of a given image", on the 32-pixel and the 128-pixel grid alike.
    sigma: float = 2.0
    decoder: Literal["gaussian", "window", "quarter", "argmax", "soft"] = "gaussian"
    # Eq. 13. Paper: only a·l_MSE > b·l_kp > c·l_conf. Ours: these, and the ordering is logged. An
    # untrained D2 errs thirty times as much as G2, so b = 0.1 would break the order at first.
    a: float = 1.0
    b: float = 0.01
    c: float = 0.001
    # Eq. 8. Paper: silent. Ours: BEGAN's.
    gamma: float = 0.5
    lambda_k: float = 0.001
    # Beyond the paper: agreement, on real faces, with the averaged network's own prediction.
    consistency: float = 0.0
    average: float | None = None  # decay of the moving average of G2's parameters
    augment: AugmentConfig = AugmentConfig()
    camera: CameraConfig = CameraConfig()
    optimizer: OptimizerConfig = OptimizerConfig()
    train: TrainConfig = TrainConfig()

    @property
    def needs_real(self) -> bool:
        """Whether a step sees real low-resolution faces."""
        return "confidence" in self.critics or self.consistency > 0

    @property
    def factor(self) -> int:
        """How much smaller than the view the network's image is."""
        return self.image_size // self.size

    def validate(self) -> None:
        """Raise InputError for combinations that mean nothing."""
        if self.degradation == "generator" and self.stage1 is None:
            raise InputError(
                "The field stage1 is empty but degradation is 'generator'; "
                "set stage1 to the run folder of a trained degradation."
            )
        if self.degradation == "none" and self.factor != 1:
            raise InputError("Without a degradation, image_size and size must be equal.")
        if self.critics and self.objective != "heatmap":
            raise InputError("The critics judge heatmaps; set objective to 'heatmap'.")
        if self.consistency > 0 and self.average is None:
            raise InputError("The field consistency needs an averaged teacher; set average.")


def generator_module(config: LandmarksConfig, axis_name: str | None = AXIS) -> HeatmapGenerator:
    """G2 as configured."""
    points = SCHEMES[config.scheme].count
    return HeatmapGenerator(
        points, config.generator.widths, config.generator.stem, axis_name=axis_name
    )


def supervised_loss(
    config: LandmarksConfig, maps: jax.Array, points: jax.Array, visible: jax.Array
) -> jax.Array:
    """The loss of labelled faces: Eq. 10, or the integral objective."""
    if config.objective == "heatmap":
        target = heatmaps.encode(points, visible, config.size, config.sigma)
        mask = heatmaps.channel_mask(points, visible, config.size)
        return regression.heatmap_error(maps, target, mask)
    inside = visible & jnp.all((points > -0.5) & (points < config.size - 0.5), axis=-1)
    count = points.shape[-2]
    expected, _ = heatmaps.decode(maps, count, "soft")
    return regression.spatial_cross_entropy(
        maps, points, inside, config.sigma, AXIS
    ) + regression.coordinate_error(expected, points, inside, axis_name=AXIS)


def consistency_loss(
    config: LandmarksConfig,
    teacher: Callable[[jax.Array], jax.Array],
    maps: jax.Array,
    view_to_frame: jax.Array,
    frames: jax.Array,
) -> jax.Array:
    """Distance, on real faces, to what the averaged network sees in the unaugmented view.

    Each point counts as much as the teacher is sure of it.
    """
    count = SCHEMES[config.scheme].count
    plain = augment.center_transforms(frames.shape[1], config.size, len(frames))
    seen = to_unit(warp(frames, plain, config.size))
    points, confidence = heatmaps.decode(teacher(seen), count, config.decoder)
    points = augment.to_crop(apply(plain, points), view_to_frame)
    inside = jnp.all((points > -0.5) & (points < config.size - 0.5), axis=-1)
    weight = jax.lax.stop_gradient(confidence * inside)
    expected, _ = heatmaps.decode(maps, count, "soft")
    return regression.coordinate_error(
        expected, jax.lax.stop_gradient(points), weight, axis_name=AXIS
    )


def make(config: LandmarksConfig, steps: int) -> Task:
    """The task; `steps` is the length of the whole run, which the schedule follows."""
    config.validate()
    points = SCHEMES[config.scheme].count
    g2 = generator_module(config)
    modules: dict[str, Any] = {"g2": g2}
    if "heatmap" in config.critics:
        critic = config.heatmap_critic
        modules["d2"] = HeatmapDiscriminator(points, critic.widths, critic.stem, axis_name=AXIS)
    if "confidence" in config.critics:
        modules["d3"] = ConfidenceDiscriminator(**dataclasses.asdict(config.confidence_critic))
    optimizer = make_optimizer(config.optimizer, steps)
    degrade = degrader(config)

    def init(key: jax.Array) -> State:
        image = jnp.zeros((1, config.size, config.size, 3))
        maps = jnp.zeros((1, config.size, config.size, points + 1))
        inputs = {"g2": (image,), "d2": (maps, image), "d3": (maps, image)}
        nets = {}
        for name, module in modules.items():
            start = jax.jit(partial(module.init, **_mode(name)))(
                stream(key, f"init/{name}"), *inputs[name]
            )
            averaged = name == "g2" and config.average is not None
            nets[name] = new_net(start, optimizer, averaged)
        if config.initial is not None:
            nets["g2"] = _warm(nets["g2"], degradation.load_net(config.initial, "g2"))
        if config.degradation == "generator":
            nets["g1"] = degradation.load_net(config.stage1, "g1")
        losses = {}
        if "d2" in modules:
            losses["began"] = began.BeganState.create()
        if "d3" in modules:
            losses["confidence"] = adversarial.AdversarialState.create()
        return State.create(nets, losses, key)

    def step(state: State, batch: Batch) -> tuple[State, Metrics]:
        images, target_points, visible = labelled_views(
            config, state.key, state.step, batch["labelled"]
        )
        keys = keys_of(state.key, state.step, batch["labelled"]["example_index"], "degrade")
        images = degrade(state, images, keys)
        count = len(images)
        target = heatmaps.encode(target_points, visible, config.size, config.sigma)
        mask = heatmaps.channel_mask(target_points, visible, config.size)
        seen = images
        if config.needs_real:
            real, real_view = real_views(config, state.key, state.step, batch["real"])
            seen = jnp.concatenate([images, real])
        k = state.losses["began"].k if "d2" in modules else None

        def losses(params: dict[str, Any]) -> tuple[dict[str, jax.Array], Any]:
            def run(name: str, *args: jax.Array) -> jax.Array:
                out, stats[name] = modules[name].apply(
                    {"params": params[name], **state.nets[name].stats},
                    *args,
                    mutable=list(state.nets[name].stats),
                    **_mode(name, True),
                )
                return out

            stats: dict[str, Any] = {}
            maps = run("g2", seen)
            fake = maps[:count]
            values = {"mse": supervised_loss(config, fake, target_points, visible)}
            total = {"g2": config.a * values["mse"]}
            if "d2" in modules:
                # One pass over true and predicted maps, which share D2's batch statistics.
                pairs = jnp.concatenate([target, fake])
                rebuilt = run("d2", pairs, jnp.concatenate([images, images]))
                values["kp_real"] = regression.heatmap_error(rebuilt[:count], target, mask)
                values["kp_fake"] = regression.heatmap_error(rebuilt[count:], fake, mask)
                total["d2"] = values["kp_real"] - k * values["kp_fake"]
                total["g2"] += config.b * values["kp_fake"]
            if "d3" in modules:
                # Paper: "generated low resolution" and "real low resolution" predictions both
                # count as generated (Eq. 9); G2 is rewarded on both (Eq. 12, third term implied).
                scores = run("d3", jnp.concatenate([target, maps]), jnp.concatenate([images, seen]))
                true, made, native = scores[:count], scores[count : 2 * count], scores[2 * count :]
                total["d3"] = adversarial.least_squares_discriminator(true, made, native)
                values["conf"] = adversarial.least_squares_generator(made, native)
                values["conf_d"] = total["d3"]
                values["score_real"], values["score_fake"] = true.mean(), made.mean()
                total["g2"] += config.c * values["conf"]
            if config.consistency > 0:
                teacher = partial(g2.apply, state.nets["g2"].evaluation_variables, train=False)
                values["consistency"] = consistency_loss(
                    config, teacher, maps[count:], real_view, batch["real"]["images"]
                )
                total["g2"] += config.consistency * values["consistency"]
            return total, (stats, values)

        params = {name: state.nets[name].params for name in modules}
        _, gradients, (stats, values) = players_gradients(losses, params)
        gradients, values = jax.lax.pmean((gradients, values), AXIS)
        nets = dict(state.nets)
        for name in modules:
            nets[name] = updated(
                state.nets[name], gradients[name], stats[name], optimizer, config.average
            )
        losses_state = _losses_after(config, state.losses, values)
        metrics = _metrics(config, values, losses_state)
        return state.replace(step=state.step + 1, nets=nets, losses=losses_state), metrics

    return Task(
        batch={"labelled": config.train.batch_size}
        | ({"real": config.train.batch_size} if config.needs_real else {}),
        init=init,
        step=step,
        evaluate=partial(_evaluate, config, g2, degrade),
        best="nme",
        pictures=partial(_pictures, config, g2, degrade),
    )


def _mode(name: str, train: bool = False) -> dict[str, bool]:
    return {"update_stats": train} if name == "d3" else {"train": train}


def _warm(net: Net, start: Net) -> Net:
    """`net` with the weights of `start`, and fresh optimiser moments."""
    average = None if net.average is None else start.params
    return net.replace(params=start.params, stats=start.stats, average=average)


def _losses_after(
    config: LandmarksConfig, losses: dict[str, Any], values: dict[str, jax.Array]
) -> dict[str, Any]:
    losses = dict(losses)
    if "began" in losses:
        losses["began"] = began.update(
            losses["began"], values["kp_real"], values["kp_fake"], config.gamma, config.lambda_k
        )
    if "confidence" in losses:
        losses["confidence"] = losses["confidence"].update(
            values["score_real"], values["score_fake"], values["conf"]
        )
    return losses


def _metrics(
    config: LandmarksConfig, values: dict[str, jax.Array], losses: dict[str, Any]
) -> Metrics:
    """What is logged: losses, the weighted terms of Eq. 13, and whether they are in its order."""
    metrics = dict(values)
    weighted = [config.a * values["mse"]]
    if "kp_fake" in values:
        weighted.append(config.b * values["kp_fake"])
        metrics["weighted/b_kp"] = weighted[-1]
        metrics["k"] = losses["began"].k
        metrics["convergence"] = losses["began"].convergence
    if "conf" in values:
        weighted.append(config.c * values["conf"])
        metrics["weighted/c_conf"] = weighted[-1]
    if len(weighted) > 1:
        metrics["weighted/a_mse"] = weighted[0]
        ordered = [x > y for x, y in pairwise(weighted)]
        metrics["weighted/ordered"] = jnp.all(jnp.stack(ordered)).astype(jnp.float32)
    return metrics


def predict(
    config: LandmarksConfig, module: HeatmapGenerator, net: Net, images: jax.Array
) -> tuple[jax.Array, jax.Array]:
    """Points [B, N, 2] in pixels of `images` [B, s, s, 3] in [-1, 1], and confidences [B, N]."""
    maps = module.apply(net.evaluation_variables, images, train=False)
    return heatmaps.decode(maps, SCHEMES[config.scheme].count, config.decoder)


def _evaluate(
    config: LandmarksConfig,
    g2: HeatmapGenerator,
    degrade: degradation.Degrade,
    state: State,
    part: dict[str, jax.Array],
) -> Metrics:
    """Sum of errors over visible points / face-square side, and the count of faces."""
    images, target = plain_views(config, degrade, state, part)
    predicted, _ = predict(config, g2, state.nets["g2"], images)
    distance = jnp.linalg.norm(predicted - target, axis=-1)
    visible = part["visible"].astype(jnp.float32)
    error = (distance * visible).sum(-1) / jnp.maximum(visible.sum(-1), 1.0)
    valid = part["valid"] & part["visible"].any(-1)
    side = config.size / config.context
    return {"nme": jnp.where(valid, error / side, 0.0).sum(), "count": valid.sum()}


def _pictures(
    config: LandmarksConfig,
    g2: HeatmapGenerator,
    degrade: degradation.Degrade,
    state: State,
    batch: Batch,
) -> dict[str, dict[str, jax.Array]]:
    """Labelled and real faces as G2 sees them, with what it finds there."""
    shown = {"labelled": plain_views(config, degrade, state, batch["labelled"])[0]}
    if "real" in batch:
        frames = batch["real"]["images"]
        plain = augment.center_transforms(frames.shape[1], config.size, len(frames))
        shown["real"] = to_unit(warp(frames, plain, config.size))
    return {
        name: {
            "images": jnp.clip((images + 1.0) * 127.5, 0, 255).astype(jnp.uint8),
            "points": predict(config, g2, state.nets["g2"], images)[0],
        }
        for name, images in shown.items()
    }
