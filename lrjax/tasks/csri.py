"""CSRI: super-resolution and identity learned jointly (Cheng, Zhu and Gong 2018, section 3).

One network refines faces that were enlarged, another encodes them, and both learn together in two
branches that share them:

- synthetic: sharp faces of an auxiliary dataset, made small. What is made of them shall look like
  what they were (Eq. 1), and it shall be seen who they are (Eq. 2);
- native: faces that are small by nature. There is no sharp one beside them, but it shall be seen
  who they are.

Each branch has its own people and so its own class weights. Without one of the branches, or with a
refiner that does not learn, it is the paper's first step and what it is compared with:

| | synthetic | native | refiner |
|---|---|---|---|
| joint learning, step 1 | yes | | learns |
| CSRI, step 2 (Eq. 4) | yes | yes | learns |
| joint learning, fine-tuned (Table 6) | | yes | frozen, of step 1 |
| independent learning (Tables 5 and 6) | | yes | frozen, of its own run |
"""

from __future__ import annotations

import dataclasses
from functools import partial
from pathlib import Path
from typing import Any, ClassVar, Literal

import jax
import jax.numpy as jnp

from lrjax.config import AlignmentConfig, OptimizerConfig, TrainConfig
from lrjax.data.augment import random_crop
from lrjax.data.degrade import down_up
from lrjax.data.pixels import to_bytes, to_unit
from lrjax.errors import InputError
from lrjax.evaluation import images as quality
from lrjax.geometry.crop import center_crop
from lrjax.geometry.templates import Template, stretched
from lrjax.models.encoders import EncoderConfig
from lrjax.models.registry import Network, build
from lrjax.models.super_resolution import enlarged
from lrjax.models.upsamplers import RefinerConfig, VDSRConfig
from lrjax.models.weights import load_into
from lrjax.rng import per_example, stream
from lrjax.tasks.classification import (
    classifier,
    identity_loss,
    new_centres,
    predict_label,
    update_centres,
)
from lrjax.tasks.recognition import RecognitionConfig
from lrjax.training.nets import Nets
from lrjax.training.optimizers import make_optimizer
from lrjax.training.parallel import AXIS, mean
from lrjax.training.state import Metrics, State
from lrjax.training.task import Batch, Losses, Pictures, Player, Task

# What a loss is taken to be at least where it is divided by.
_LEAST = 1e-12
# Branch -> the network that holds its class weights.
CLASSIFIERS = {"labelled": "classifier", "native": "native_classifier"}


@dataclasses.dataclass(frozen=True)
class CSRIConfig:
    """Everything that defines a joint network and its training."""

    # Paper: CelebA, 202,599 pictures of 10,177 people. Empty: no synthetic branch.
    labelled: tuple[str, ...] = ("celeba:all",)
    classes: int | None = None  # people in `labelled`; null: as many as there are
    people: tuple[float, float] = (0.0, 1.0)  # the part of them that is learnt from
    # Paper: silent on alignment. Ours: none; of CelebA's pictures, what TinyFace's crops show.
    alignment: AlignmentConfig = AlignmentConfig("resize", region=(0.25, 0.3, 0.5, 0.5))
    # Paper: TinyFace's training split. Empty: no native branch.
    native: tuple[str, ...] = ("tinyface:train",)
    native_classes: int | None = None
    native_alignment: AlignmentConfig = AlignmentConfig("resize")
    holdout: float = 0.05  # as of recognition, of each branch
    # Paper: "the average size (20×16) of TinyFace images"; channels not said. Ours: red, green and
    # blue. An encoder that sees another size than the refiner makes is given its images resized.
    refiner: RefinerConfig = VDSRConfig(size=(20, 16), image_size=(112, 96))
    network: EncoderConfig = EncoderConfig("centreface")
    # What to start from: the run of this task that both networks are taken from, and the class
    # weights of those branches that it has, whose people must be as many; or a run of
    # super_resolution and one of recognition.
    initial: str | None = None
    initial_refiner: str | None = None
    initial_encoder: str | None = None
    frozen: bool = False  # the refiner
    # Paper: λ_sr = 0.003 times ||I_sr - I_hr||², and neither how it is reduced nor what a pixel's
    # range is. Ours: as Caffe's EuclideanLoss has it, half the sum over the batch divided by its
    # size, of pixels (x - 127.5) / 128.
    sr: float = 0.003
    reduction: Literal["caffe", "sum", "mean"] = "caffe"
    pixels: Literal["centred", "unit", "bytes"] = "centred"
    # Paper: softmax alone (Eq. 2), although CentreFace has it.
    centre: float = 0.0
    centre_rate: float = 0.5
    shift: float = 8 / 128  # of the height, largest in either direction
    mirror: float = 0.5  # probability
    optimizer: OptimizerConfig = OptimizerConfig()
    train: TrainConfig = TrainConfig()

    needs: ClassVar[tuple[str, ...]] = (
        "initial",
        "initial_refiner",
        "initial_encoder",
        "alignment.landmarks",
        "alignment.upsample",
        "native_alignment.landmarks",
        "native_alignment.upsample",
    )

    def validate(self) -> None:
        """Raise InputError for combinations that mean nothing."""
        if not self.labelled and not self.native:
            raise InputError("There is nothing to learn from; set labelled, native, or both.")
        if self.initial and (self.initial_refiner or self.initial_encoder):
            raise InputError(
                "The field initial names both networks; set it to null, or initial_refiner and "
                "initial_encoder."
            )
        if self.frozen and not (self.initial or self.initial_refiner):
            raise InputError(
                "A refiner that is frozen must have learned before; set initial or initial_refiner "
                "to its run, or frozen to false."
            )
        if self.labelled and self.native and self.train.batch_size % 2:
            raise InputError(
                f"Each branch has half of the batch; set train.batch_size to an even number, not "
                f"{self.train.batch_size}."
            )
        for branch in branches(self).values():
            branch.validate()


@dataclasses.dataclass(frozen=True)
class BranchConfig(RecognitionConfig):
    """Recognition of what a refiner makes of faces, which are laid out at its size."""

    refiner: RefinerConfig = CSRIConfig.refiner

    @property
    def template(self) -> Template:
        """Size of the refiner's images, whose points are the encoder's when they are resized."""
        return stretched(super().template, *self.refiner.image_size)


def branches(config: CSRIConfig) -> dict[str, BranchConfig]:
    """Say of each branch that there is what recognition must know of it."""
    fields = ("holdout", "network", "refiner", "shift", "mirror", "centre", "centre_rate")
    shared = BranchConfig(
        **{field: getattr(config, field) for field in fields},
        optimizer=config.optimizer,
        train=config.train,
    )
    synthetic = dataclasses.replace(
        shared,
        labelled=config.labelled,
        people=config.people,
        classes=config.classes,
        alignment=config.alignment,
    )
    native = dataclasses.replace(
        shared,
        labelled=config.native,
        classes=config.native_classes,
        alignment=config.native_alignment,
    )
    named = {"labelled": synthetic, "native": native}
    return {name: branch for name, branch in named.items() if branch.labelled}


def with_classes(config: CSRIConfig, classes: dict[str, int]) -> CSRIConfig:
    """Return the configuration with the number of people that the data of its branches have."""
    return dataclasses.replace(
        config, classes=classes.get("labelled"), native_classes=classes.get("native")
    )


def make(config: CSRIConfig, steps: int) -> Task:
    """Make the task; `steps` is the length of the whole run, which the schedule follows.

    Raises:
      InputError: the configuration means nothing, does not say how many classes there are, or names
        initial weights that do not fit.
    """
    config.validate()
    parts = branches(config)
    encoder = build(config.network, AXIS)
    networks: dict[str, Network] = {"upsampler": build(config.refiner, AXIS), "encoder": encoder}
    for name, branch in parts.items():
        if branch.classes is None or branch.classes < 2:
            raise InputError(
                f"The number of people in {name} is {branch.classes}; set classes and "
                "native_classes to at least 2."
            )
        networks[CLASSIFIERS[name]] = classifier(branch, branch.classes, encoder)
    return Task(
        players={
            name: Player(
                network,
                None
                if name == "upsampler" and config.frozen
                else make_optimizer(config.optimizer, steps, name),
                initial_variables(config, name, network),
            )
            for name, network in networks.items()
        },
        batch=dict.fromkeys(parts, config.train.batch_size // len(parts)),
        losses=partial(losses, config),
        evaluate=partial(evaluate, config),
        pictures=partial(pictures, config),
        loss_state={
            name: new_centres(branch, branch.known_classes, encoder)
            for name, branch in parts.items()
        },
        best="error",
    )


def initial_variables(config: CSRIConfig, name: str, network: Network) -> dict[str, Any]:
    """Load what a network starts from; nothing, if it starts from random numbers.

    Raises:
      InputError: the run that is named has none, or none that fit. A classifier that it lacks is no
        error, but one of other people is.
    """
    own = {"upsampler": config.initial_refiner, "encoder": config.initial_encoder}
    if name in own:
        source = config.initial or own[name]
        field = (
            "initial" if config.initial else f"initial_{'refiner' if name == 'upsampler' else name}"
        )
        return {} if source is None else load_into(source, name, network, field)
    # The first step knows of no native people.
    if config.initial is None:
        return {}
    file = Path(config.initial) / "last" / f"{name}.safetensors"
    return load_into(config.initial, name, network, "initial") if file.is_file() else {}


def losses(
    config: CSRIConfig, nets: Nets, state: State, batch: Batch
) -> tuple[Losses, Metrics, dict[str, Any]]:
    """Compute the loss that all networks share (Eq. 3 and 4), on one batch."""
    parts = branches(config)
    crops = {name: random_crops(config, state, name, batch[name]) for name in parts}
    drops = jnp.concatenate(
        [
            per_example(stream(state.key, f"{n}/dropout", state.step), batch[n]["example_index"])
            for n in parts
        ]
    )
    images = jnp.concatenate([preprocess(config, name, crop) for name, crop in crops.items()])
    refined = nets("upsampler", images)
    features = nets("encoder", resized(config, refined), dropout=drops)
    ends = [len(crop) for crop in crops.values()][:-1]
    by_branch = dict(zip(parts, jnp.split(features, ends), strict=True))

    total, centres = jnp.zeros(()), {}
    metrics: Metrics = {}
    for name, branch in parts.items():  # Eq. 2, of either branch
        labels = batch[name]["label"]
        identity, terms = identity_loss(
            branch,
            by_branch[name],
            nets.params(CLASSIFIERS[name]),
            labels,
            branch.known_classes,
            state.losses[name],
            state.step,
        )
        total += identity
        metrics |= {f"{name}/{term}": value for term, value in terms.items()}
        centres[name] = update_centres(branch, state.losses[name], by_branch[name], labels)
    if "labelled" in parts:
        sharp = to_unit(crops["labelled"])
        metrics["sr"] = pixel_error(config, refined[: len(sharp)], sharp)  # Eq. 1
        metrics["weighted/sr"] = config.sr * metrics["sr"]
        total += metrics["weighted/sr"]

    metrics = mean({"loss": total} | metrics)
    if "labelled" in parts:
        # Eq. 3's balance, which the paper's λ_sr alone does not tell.
        weighted = metrics["weighted/sr"]
        # The people of a small batch may all be known for sure.
        identity = jnp.maximum(metrics["loss"] - weighted, _LEAST)
        metrics["weighted/sr_to_identity"] = weighted / identity
    players = ("upsampler", "encoder", *(CLASSIFIERS[name] for name in parts))
    return {players[config.frozen :]: total}, metrics, centres


def random_crops(
    config: CSRIConfig, state: State, name: str, part: dict[str, jax.Array]
) -> jax.Array:
    """Draw shifted and mirrored crops [B, H, W, 3] in 0..255 of a branch's faces."""
    keys = per_example(stream(state.key, f"{name}/crop", state.step), part["example_index"])
    return random_crop(part["images"], keys, *config.refiner.image_size, config.mirror)


def preprocess(config: CSRIConfig, name: str, crops: jax.Array) -> jax.Array:
    """Make a branch's crops [B, H, W, 3] in 0..255 what the refiner sees, in [-1, 1]."""
    return to_unit(down_up(crops, *config.refiner.size) if name == "labelled" else crops)


def resized(config: CSRIConfig, refined: jax.Array) -> jax.Array:
    """Resize refined faces [B, H, W, 3] to the size that the encoder sees, if it is another."""
    return enlarged(refined, *build(config.network).size)


def pixel_error(config: CSRIConfig, made: jax.Array, sharp: jax.Array) -> jax.Array:
    """Compute ||I_sr - I_hr||² (Eq. 1) of images [B, H, W, 3] in [-1, 1], reduced as configured."""
    scale = {"centred": 127.5 / 128, "unit": 0.5, "bytes": 127.5}[config.pixels]
    squares = jnp.square(scale * (made - sharp))
    return {
        "caffe": 0.5 * squares.sum() / len(squares),
        "sum": squares.sum() / len(squares),
        "mean": squares.mean(),
    }[config.reduction]


def _centre_crops(config: CSRIConfig, name: str, part: Any) -> tuple[jax.Array, jax.Array]:
    """Sharp and enlarged middles of a branch's faces, in [-1, 1]."""
    crops = center_crop(part["images"], *config.refiner.image_size)
    return to_unit(crops), preprocess(config, name, crops)


def evaluate(config: CSRIConfig, nets: Nets, part: dict[str, jax.Array]) -> Metrics:
    """Count faces of the last branch, and those whose person is guessed wrongly."""
    name, branch = list(branches(config).items())[-1]
    sharp, enlarged = _centre_crops(config, name, part)
    refined = nets("upsampler", enlarged)
    weights = nets.params(CLASSIFIERS[name])
    features = nets("encoder", resized(config, refined))
    guessed = predict_label(branch, features, weights, branch.known_classes)
    wrong = (guessed != part["label"]) & part["valid"]
    sums = {"error": wrong.sum(), "count": part["valid"].sum()}
    if name == "labelled":
        for what, images in (("psnr", refined), ("psnr_bicubic", enlarged)):
            sums[what] = jnp.where(part["valid"], quality.psnr(images, sharp), 0.0).sum()
    return sums


def pictures(config: CSRIConfig, nets: Nets, batch: Batch) -> Pictures:
    """Show each face enlarged, refined and as it was, one below the other."""
    shown = {}
    for name in branches(config):
        sharp, enlarged = _centre_crops(config, name, batch[name])
        rows = [enlarged, nets("upsampler", enlarged)] + [sharp] * (name == "labelled")
        shown[name] = {"images": to_bytes(jnp.concatenate(rows, axis=1))}
    return shown
