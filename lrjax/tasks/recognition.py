"""Recognition: an encoder whose features tell people apart, learnt by classifying its people.

What distinguishes K&C's settings L1 to L5 is configuration: by which landmark network the faces are
aligned, and, for L5, the weights that training starts from.

Beyond the papers, an encoder may learn the features of a published one instead (distillation), for
which few people and little time suffice.
"""

from __future__ import annotations

import dataclasses
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

import jax
import jax.numpy as jnp

from lrjax.config import AlignmentConfig, OptimizerConfig, TrainConfig
from lrjax.data.augment import random_crop
from lrjax.data.degrade import down_up
from lrjax.data.pixels import to_unit
from lrjax.errors import InputError
from lrjax.geometry.crop import center_crop
from lrjax.geometry.templates import TEMPLATES, Template
from lrjax.losses.identity import cosine_distance, linear_logits
from lrjax.models import weights
from lrjax.models.encoders import EncoderConfig
from lrjax.models.registry import Network, build
from lrjax.rng import per_example, stream
from lrjax.tasks.classification import (
    IdentityConfig,
    classifier,
    identity_loss,
    new_centres,
    predict_label,
    update_centres,
)
from lrjax.training.nets import Nets
from lrjax.training.optimizers import make_optimizer
from lrjax.training.parallel import AXIS
from lrjax.training.state import Metrics, State
from lrjax.training.task import Batch, Losses, Pictures, Player, Task


@dataclasses.dataclass(frozen=True)
class RecognitionConfig(IdentityConfig):
    """Everything that defines a face encoder and its training."""

    # Paper: "the training split of TinyFace dataset".
    labelled: tuple[str, ...] = ("tinyface:train",)
    # Beyond the papers: the part of these people that is learnt from, by their numbers, so that
    # others can be made a test of.
    people: tuple[float, float] = (0.0, 1.0)
    # Paper: no validation. Ours: some pictures of the same people, never a person's only one.
    holdout: float = 0.05
    # People in `labelled`, or numbers in a teacher's features; null: as many as there are.
    classes: int | None = None
    # Paper: 29-layer LightCNN for 32×32, "we disable first two max-pooling layers"; version, and
    # grey or colour, are not said. Ours: version 1, which is grey.
    network: EncoderConfig = EncoderConfig("lightcnn29_32")
    # Weights that the encoder, not the classifier, starts from: a run, or a .safetensors file such
    # as `lrjax convert` writes.
    initial: str | None = None
    # Beyond the papers: weights of an encoder whose features those that are learnt, behind a linear
    # layer, shall resemble; who it is plays no part then. It sees faces in an alignment of its own.
    teacher: str | None = None
    teacher_alignment: AlignmentConfig = AlignmentConfig("resize")
    alignment: AlignmentConfig = AlignmentConfig()
    # Paper: silent. Ours: LightCNN's, a random 128-pixel crop of 144 pixels, and mirroring.
    shift: float = 8 / 128  # of the size, largest in either direction
    mirror: float = 0.5  # probability
    # Beyond the papers of low resolution: faces are shrunk to this height and width and enlarged
    # again, bicubically, so that sharp ones teach what small ones look like; this share of them.
    down_up: tuple[int, int] | None = None
    coarse: float = 1.0
    optimizer: OptimizerConfig = OptimizerConfig()
    train: TrainConfig = TrainConfig()

    needs: ClassVar[tuple[str, ...]] = (
        "initial",
        "alignment.landmarks",
        "alignment.upsample",
        "teacher",
        "teacher_alignment.landmarks",
        "teacher_alignment.upsample",
    )

    @property
    def template(self) -> Template:
        """Size of the encoder's images, and where the points of aligned faces are in them."""
        return TEMPLATES[build(self.network).template]

    @property
    def border(self) -> int:
        """Pixels on each side of an aligned face from which shifted crops take what they show."""
        return round(self.shift * self.template.height)

    @property
    def known_classes(self) -> int:
        """How many classes there are.

        Raises:
          InputError: the configuration does not say it, or there are less than two.
        """
        if self.classes is None or self.classes < 2:
            raise InputError(
                f"The field classes is {self.classes}; set it to the number of people, at least 2."
            )
        return self.classes

    def validate(self) -> None:
        """Raise InputError for combinations that mean nothing."""
        if not 0 <= self.holdout < 1:
            raise InputError(f"The field holdout is {self.holdout}; set it to 0 or more, below 1.")
        if not 0 <= self.shift < 0.5:
            raise InputError(f"The field shift is {self.shift}; set it to 0 or more, below 0.5.")
        if not 0 <= self.coarse <= 1:
            raise InputError(f"The field coarse is {self.coarse}; set it to a share, 0 to 1.")
        if self.teacher and (self.centre or self.verification or self.shard_classes):
            raise InputError(
                "With a teacher nobody is told apart: set centre and verification to 0, and "
                "shard_classes to false."
            )
        if self.shard_classes and self.optimizer.clip_norm is not None:
            raise InputError(
                "No device knows the norm of a classifier that is split; set optimizer.clip_norm "
                "to null, or shard_classes to false."
            )
        if self.shard_classes and self.centre:
            raise InputError(
                "The centres of a classifier that is split are not: set shard_classes to false, or "
                "centre to 0."
            )
        if self.shard_classes and self.train.parallel != "mesh":
            raise InputError("To split the classes over devices, set train.parallel to 'mesh'.")


def initial_variables(source: str, encoder: Network) -> dict[str, Any]:
    """Load the variables of `encoder` from a run or file.

    Of a network that has learned to enlarge faces (RPCN), the convolutions alone are taken.

    Raises:
      InputError: there are none, or their names or shapes are not those of `encoder`.
    """
    last = Path(source) / "last"
    if not (last / "upsampler.safetensors").is_file() or (last / "encoder.safetensors").is_file():
        return weights.load_into(source, "encoder", encoder, "initial")
    found, _ = weights.read(last / "upsampler.safetensors")
    features = {"features": found["params"].get("features", {})}
    wanted = encoder.shapes()["params"]
    unfit = weights.misfit(wanted | features, wanted)
    if unfit is not None:
        raise InputError(
            f"The run in {source} enlarges faces, and {encoder.config.name} does not share its "
            f"convolutions: {unfit}; set initial to a run of an encoder, or of an rpcn_refiner of "
            "the same width."
        )
    return {"params": jax.tree.map(jnp.asarray, features)}


def make(config: RecognitionConfig, steps: int) -> Task:
    """Make the task; `steps` is the length of the whole run, which the schedule follows.

    Raises:
      InputError: the configuration means nothing, does not say how many classes there are, or names
        initial weights that do not fit.
    """
    config.validate()
    classes = config.known_classes
    encoder = build(config.network, AXIS)
    start = {} if config.initial is None else initial_variables(config.initial, encoder)
    optimizers = {n: make_optimizer(config.optimizer, steps, n) for n in ("encoder", "classifier")}
    return Task(
        players={
            "encoder": Player(encoder, optimizers["encoder"], start),
            "classifier": Player(
                classifier(config, classes, encoder),
                optimizers["classifier"],
                split=config.shard_classes,
            ),
        },
        batch={"labelled": config.train.batch_size},
        losses=partial(losses, config),
        evaluate=partial(evaluate, config),
        pictures=partial(pictures, config),
        loss_state=new_centres(config, classes, encoder),
        best="error",
        pairs=frozenset({"labelled"} if config.verification else ()),
    )


def losses(
    config: RecognitionConfig, nets: Nets, state: State, batch: Batch
) -> tuple[Losses, Metrics, dict[str, Any]]:
    """Compute the loss that encoder and classifier share, on one batch."""
    part = batch["labelled"]
    images = random_images(config, state, part, "crop")
    drops = per_example(stream(state.key, "dropout", state.step), part["example_index"])
    features = nets("encoder", images, dropout=drops)
    if config.teacher is not None:
        total = from_teacher(nets, features, part).mean()
        return {("encoder", "classifier"): total}, {"loss": total}, {}
    total, metrics = identity_loss(
        config,
        features,
        nets.params("classifier"),
        part["label"],
        config.known_classes,
        state.losses,
        state.step,
    )
    centres = update_centres(config, state.losses, features, part["label"])
    return {("encoder", "classifier"): total}, {"loss": total} | metrics, centres


def from_teacher(nets: Nets, features: jax.Array, part: dict[str, jax.Array]) -> jax.Array:
    """Compute how far features [B, D], behind a linear layer, are from the teacher's: [B], 0..2."""
    layer = nets.params("classifier")
    turned = linear_logits(features, layer["kernel"], layer.get("bias"))
    return cosine_distance(turned, part["teacher"])


def random_images(
    config: RecognitionConfig, state: State, part: dict[str, jax.Array], name: str
) -> jax.Array:
    """Draw shifted and mirrored crops of aligned faces, as the encoder sees them in training."""
    keys = per_example(stream(state.key, name, state.step), part["example_index"])
    template = config.template
    crops = random_crop(part["images"], keys, template.height, template.width, config.mirror)
    if config.coarse == 1:
        return preprocess(config, crops)
    keys = per_example(stream(state.key, "coarse", state.step), part["example_index"])
    chosen = jax.vmap(partial(jax.random.bernoulli, p=config.coarse))(keys)
    coarse = preprocess(config, crops)
    return jnp.where(chosen[:, None, None, None], coarse, to_unit(crops))


def preprocess(config: RecognitionConfig, crops: jax.Array) -> jax.Array:
    """Make crops [B, H, W, 3] in 0..255 what the encoder sees, in [-1, 1]."""
    if config.down_up is not None:
        crops = down_up(crops, *config.down_up)
    return to_unit(crops)


def evaluate(config: RecognitionConfig, nets: Nets, part: dict[str, jax.Array]) -> Metrics:
    """Count the pictures whose person is guessed wrongly, and all pictures.

    With a teacher, the distances to it are added up instead.
    """
    template = config.template
    crops = center_crop(part["images"], template.height, template.width)
    features = nets("encoder", preprocess(config, crops))
    if config.teacher is not None:
        distance = jnp.where(part["valid"], from_teacher(nets, features, part), 0.0)
        return {"error": distance.sum(), "count": part["valid"].sum()}
    guessed = predict_label(config, features, nets.params("classifier"), config.known_classes)
    wrong = (guessed != part["label"]) & part["valid"]
    return {"error": wrong.sum(), "count": part["valid"].sum()}


def pictures(config: RecognitionConfig, nets: Nets, batch: Batch) -> Pictures:
    """Show training faces as they are aligned."""
    template = config.template
    crops = center_crop(batch["labelled"]["images"], template.height, template.width)
    return {"labelled": {"images": crops}}
