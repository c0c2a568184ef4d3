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
from functools import partial
from itertools import pairwise
from typing import Any, ClassVar, Literal

import jax
import jax.numpy as jnp

from lrjax.config import AugmentConfig, CameraConfig, OptimizerConfig, TrainConfig
from lrjax.data import augment
from lrjax.data.pixels import to_bytes
from lrjax.errors import InputError
from lrjax.geometry import heatmaps
from lrjax.geometry.points import SCHEMES
from lrjax.losses import adversarial, began, regression
from lrjax.models.registry import build
from lrjax.models.s2ld import CriticConfig, LandmarkConfig, UNetConfig
from lrjax.tasks import degradation, landmark_crops, landmark_weights
from lrjax.training.nets import Nets
from lrjax.training.optimizers import make_optimizer
from lrjax.training.parallel import AXIS, mean
from lrjax.training.state import Metrics, State
from lrjax.training.task import Batch, Losses, Pictures, Player, Task

Degradation = Literal["none", "subsample", "generator", "camera"]


@dataclasses.dataclass(frozen=True)
class LandmarksConfig:
    """Everything that defines a landmark network and its training."""

    # Paper: AFLW's training faces and "the entire 300W".
    labelled: tuple[str, ...] = ("aflw:train", "w300:train", "w300:full", "w300:private_test")
    real: tuple[str, ...] = ("wider_face_crops:lr",)
    # Paper: the 4,386 test faces also serve for validation. Ours: a part of the training faces.
    holdout: float = 0.05
    image_size: int = 128  # pixels of the high-resolution crop
    degradation: Degradation = "generator"
    stage1: str | None = None  # run of G1; needed by "generator"
    initial: str | None = None  # run whose G2 training starts from
    critics: tuple[Literal["heatmap", "confidence"], ...] = ()
    g2: LandmarkConfig = LandmarkConfig()
    d2: UNetConfig = UNetConfig()
    d3: CriticConfig = CriticConfig("confidence_discriminator")
    # "heatmap" is Eq. 10. "integral", beyond the paper, reads a map as a distribution: spatial
    # cross entropy, and the error of its expectation.
    objective: Literal["heatmap", "integral"] = "heatmap"
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
    # Beyond the paper: a larger network, of which G2 learns what it finds on the same faces.
    teacher: str | None = None
    taught: float = 1.0
    average: float | None = None  # decay of the moving average of G2's parameters
    augment: AugmentConfig = AugmentConfig()
    camera: CameraConfig = CameraConfig()
    # Paper: silent on whose turn it is. Ours: G2, D2 and D3 step at once, each by the gradient of
    # its own loss, all of one forward pass; turns, a critic first, would need a second one.
    optimizer: OptimizerConfig = OptimizerConfig()
    train: TrainConfig = TrainConfig()

    needs: ClassVar[tuple[str, ...]] = ("stage1", "initial", "teacher")

    @property
    def needs_real(self) -> bool:
        """Whether a step sees real low-resolution faces."""
        return "confidence" in self.critics or self.consistency > 0

    @property
    def size(self) -> int:
        """Pixels that G2 sees."""
        return self.g2.size

    @property
    def context(self) -> float:
        """Side of a crop over the side of the face's square."""
        return self.g2.context

    @property
    def scheme(self) -> str:
        """What the points are."""
        return self.g2.points

    @property
    def factor(self) -> int:
        """How much smaller than the crop the network's image is."""
        return self.image_size // self.size

    def validate(self) -> None:
        """Raise InputError for combinations that mean nothing."""
        if self.degradation == "generator" and self.stage1 is None:
            raise InputError(
                "The field stage1 is empty but degradation is 'generator'; set stage1 to the run "
                "of a trained degradation."
            )
        if self.degradation == "none" and self.factor != 1:
            raise InputError("Without a degradation, image_size and g2.size must be equal.")
        if self.critics and self.objective != "heatmap":
            raise InputError("The critics judge heatmaps; set objective to 'heatmap'.")
        if self.g2.points == "ibug68_five" and self.objective == "heatmap":
            # The background of a face would be taught to be there where its unlabelled points are.
            raise InputError(
                "Heatmaps of ibug68_five need labels of both for each face; set objective to "
                "'integral'."
            )
        if self.teacher is not None and self.objective != "integral":
            raise InputError("A teacher's maps are distributions; set objective to 'integral'.")
        if self.consistency > 0 and self.average is None:
            raise InputError("The field consistency needs an averaged teacher; set average.")


def make(config: LandmarksConfig, steps: int) -> Task:
    """Make the task; `steps` is the length of the whole run, which the schedule follows.

    Raises:
      InputError: the configuration means nothing, or names weights that do not fit.
    """
    config.validate()
    optimizer = make_optimizer(config.optimizer, steps)
    g2 = build(config.g2, AXIS)
    image = g2.inputs[0]
    maps = (*image[:2], SCHEMES[config.scheme].count + 1)
    start = {} if config.initial is None else landmark_weights.initial(config.initial, g2)
    players = {"g2": Player(g2, optimizer, start, config.average)}
    loss_state: dict[str, Any] = {}
    if "heatmap" in config.critics:
        players["d2"] = Player(build(config.d2, AXIS, inputs=(maps, image)), optimizer)
        loss_state["began"] = began.BeganState.create()
    if "confidence" in config.critics:
        players["d3"] = Player(build(config.d3, inputs=(maps, image)), optimizer)
        loss_state["confidence"] = adversarial.AdversarialState.create()
    if config.degradation == "generator" and config.stage1 is not None:
        players["g1"] = degradation.player(config.stage1)
        degradation.check_fits(players["g1"], config.image_size, config.size, "stage1")
    if config.teacher is not None:
        players["teacher"] = landmark_weights.teacher(config.teacher, g2)
    sources = ("labelled", "real") if config.needs_real else ("labelled",)
    return Task(
        players=players,
        batch=dict.fromkeys(sources, config.train.batch_size),
        losses=partial(losses, config),
        evaluate=partial(evaluate, config),
        pictures=partial(pictures, config),
        loss_state=loss_state,
        best="nme",
    )


def losses(
    config: LandmarksConfig, nets: Nets, state: State, batch: Batch
) -> tuple[Losses, Metrics, dict[str, Any]]:
    """Compute the losses of G2 (Eq. 13), D2 (Eq. 7) and D3 (Eq. 9) on one batch."""
    images, points, visible = landmark_crops.labelled(config, nets, state, batch["labelled"])
    target = heatmaps.encode(points, visible, config.size, config.g2.sigma)
    mask = heatmaps.channel_mask(points, visible, config.size)
    real = images[:0]
    if config.needs_real:
        real, real_transforms = landmark_crops.real(config, state, batch["real"])
    seen = jnp.concatenate([images, real])
    maps = nets("g2", seen)
    made, native = maps[: len(images)], maps[len(images) :]
    # The true map of a hidden point is empty. A critic that saw what is predicted there would tell
    # true from predicted maps by that alone; native ones are given the holes of labelled ones.
    holes = mask[:, None, None]
    target, shown = target * holes, made * holes

    metrics = {"mse": supervised_loss(config, made, target, mask, points, visible)}
    total: Losses = {"g2": config.a * metrics["mse"]}
    if "d2" in nets:
        # One pass over true and predicted maps, which share D2's batch statistics.
        judged = nets("d2", jnp.concatenate([target, shown]), jnp.concatenate([images, images]))
        on_true, on_made = jnp.split(judged, 2)
        kp_real = regression.heatmap_error(on_true, target, mask)  # Eq. 5
        kp_fake = regression.heatmap_error(on_made, shown, mask)  # Eq. 6
        total["d2"] = began.discriminator_loss(kp_real, kp_fake, state.losses["began"])  # Eq. 7
        total["g2"] += config.b * kp_fake  # Eq. 11
        metrics |= {"kp_real": kp_real, "kp_fake": kp_fake}
    if "d3" in nets:
        # Paper: "generated low resolution" and "real low resolution" predictions both count as
        # generated (Eq. 9); G2 is rewarded on both (Eq. 12, third term implied).
        judged = jnp.concatenate([target, shown, native * holes[: len(native)]])
        scores = nets("d3", judged, jnp.concatenate([images, seen]))
        on_true, on_made, on_native = jnp.split(scores, [len(images), 2 * len(images)])
        total["d3"] = adversarial.least_squares_discriminator(on_true, on_made, on_native)
        conf = adversarial.least_squares_generator(on_made, on_native)
        total["g2"] += config.c * conf
        metrics |= {"conf": conf, "conf_d": total["d3"]}
        metrics |= {"score_real": on_true.mean(), "score_fake": on_made.mean()}
    if "teacher" in nets:
        count = SCHEMES[config.scheme].count
        taught = nets.fixed("teacher", images)[..., :count]
        metrics["taught"] = regression.map_cross_entropy(made[..., :count], taught)
        total["g2"] += config.taught * metrics["taught"]
    if config.consistency > 0:
        metrics["consistency"] = consistency_loss(
            config, nets, native, real_transforms, batch["real"]["images"]
        )
        total["g2"] += config.consistency * metrics["consistency"]

    metrics = mean(metrics)
    loss_state = _next_loss_state(config, state.losses, metrics)
    return total, metrics | _balance(config, metrics, loss_state), loss_state


def supervised_loss(
    config: LandmarksConfig,
    maps: jax.Array,
    target: jax.Array,
    mask: jax.Array,
    points: jax.Array,
    visible: jax.Array,
) -> jax.Array:
    """Compute the loss of labelled faces: Eq. 10, or the integral objective.

    Args:
      config: which of them.
      maps: [B, s, s, N + 1] that G2 makes.
      target, mask: the true maps, and which of them count, [B, N + 1].
      points, visible: [B, N, 2] and [B, N], from which the integral objective learns.
    """
    if config.objective == "heatmap":
        return regression.heatmap_error(maps, target, mask)
    inside = visible & jnp.all((points > -0.5) & (points < config.size - 0.5), axis=-1)
    expected, _ = heatmaps.decode(maps, points.shape[-2], "soft")
    # Every face counts alike, whether five of its points are labelled or 68.
    weight = inside / jnp.maximum(inside.sum(-1, keepdims=True), 1)
    return regression.spatial_cross_entropy(
        maps, points, weight, config.g2.sigma, AXIS
    ) + regression.coordinate_error(expected, points, weight, axis_name=AXIS)


def consistency_loss(
    config: LandmarksConfig,
    nets: Nets,
    maps: jax.Array,
    crop_to_frame: jax.Array,
    frames: jax.Array,
) -> jax.Array:
    """Measure, on real faces, the distance to what the averaged G2 sees in the plain crop.

    Each point counts as much as the teacher is sure of it.
    """
    count = SCHEMES[config.scheme].count
    plain = degradation.center_crops(frames, config.size)
    transforms = augment.center_transforms(frames.shape[1], config.size, len(frames))
    points, confidence = heatmaps.decode(nets.fixed("g2", plain), count, config.g2.decoder)
    points = landmark_crops.carried(points, transforms, crop_to_frame)
    inside = jnp.all((points > -0.5) & (points < config.size - 0.5), axis=-1)
    weight = jax.lax.stop_gradient(confidence * inside)
    expected, _ = heatmaps.decode(maps, count, "soft")
    return regression.coordinate_error(
        expected, jax.lax.stop_gradient(points), weight, axis_name=AXIS
    )


def _next_loss_state(
    config: LandmarksConfig, losses: dict[str, Any], metrics: Metrics
) -> dict[str, Any]:
    losses = dict(losses)
    if "began" in losses:  # Eq. 8
        losses["began"] = began.update(
            losses["began"], metrics["kp_real"], metrics["kp_fake"], config.gamma, config.lambda_k
        )
    if "confidence" in losses:
        losses["confidence"] = losses["confidence"].update(
            metrics["score_real"], metrics["score_fake"], metrics["conf"]
        )
    return losses


def _balance(config: LandmarksConfig, metrics: Metrics, losses: dict[str, Any]) -> Metrics:
    """Log the weighted terms of Eq. 13, whether they are in its order, and BEGAN's balance."""
    terms = {"a_mse": config.a * metrics["mse"]}
    balance: Metrics = {}
    if "kp_fake" in metrics:
        terms["b_kp"] = config.b * metrics["kp_fake"]
        balance |= {"k": losses["began"].k, "convergence": losses["began"].convergence}
    if "conf" in metrics:
        terms["c_conf"] = config.c * metrics["conf"]
    if len(terms) > 1:
        ordered = jnp.stack([x > y for x, y in pairwise(terms.values())]).all()
        balance["weighted/ordered"] = ordered.astype(jnp.float32)
        balance |= {f"weighted/{name}": term for name, term in terms.items()}
    return balance


def predict(config: LandmarksConfig, nets: Nets, images: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Find points [B, N, 2] in pixels of images [B, s, s, 3] in [-1, 1], and confidences [B, N]."""
    return heatmaps.decode(
        nets.fixed("g2", images), SCHEMES[config.scheme].count, config.g2.decoder
    )


def evaluate(config: LandmarksConfig, nets: Nets, part: dict[str, jax.Array]) -> Metrics:
    """Sum errors over visible points / the side of the face's square, and count faces."""
    images, target = landmark_crops.unaugmented(config, nets, part)
    predicted, _ = predict(config, nets, images)
    distance = jnp.linalg.norm(predicted - target, axis=-1)
    visible = part["visible"].astype(jnp.float32)
    error = (distance * visible).sum(-1) / jnp.maximum(visible.sum(-1), 1.0)
    valid = part["valid"] & part["visible"].any(-1)
    side = config.size / config.context
    return {"nme": jnp.where(valid, error / side, 0.0).sum(), "count": valid.sum()}


def pictures(config: LandmarksConfig, nets: Nets, batch: Batch) -> Pictures:
    """Show labelled and real faces as G2 sees them, with what it finds there."""
    shown = {"labelled": landmark_crops.unaugmented(config, nets, batch["labelled"])[0]}
    if "real" in batch:
        shown["real"] = degradation.center_crops(batch["real"]["images"], config.size)
    return {
        name: {"images": to_bytes(images), "points": predict(config, nets, images)[0]}
        for name, images in shown.items()
    }
