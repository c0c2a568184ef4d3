"""Recognition: a network whose features tell people apart, learnt by classifying its people.

What distinguishes K&C's settings L1 to L5 is configuration: by which landmark network the faces are
aligned, and, for L5, the weights that training starts from.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, Literal

import flax.linen as nn
import jax
import jax.numpy as jnp

from lrjax.config import OptimizerConfig, TrainConfig
from lrjax.data import augment
from lrjax.errors import InputError
from lrjax.geometry.templates import TEMPLATES, Template
from lrjax.losses import identity
from lrjax.models.recognisers import RECOGNISERS, Recogniser
from lrjax.training.optimizers import make_optimizer
from lrjax.training.parallel import AXIS, mean_gradients
from lrjax.training.rng import drop_by_example, per_example, stream
from lrjax.training.state import Metrics, State, new_net, updated
from lrjax.training.task import Batch, Task
from lrjax.training.weights import first_misfit, load_variables

SHARDED = 128
"""A classifier that is split has a multiple of so many columns, so that a run may go on on another
number of devices, if that divides it. Columns beyond the classes take no part."""


@dataclasses.dataclass(frozen=True)
class RecognitionConfig:
    """Everything that defines a recogniser and its training."""

    # Paper: "the training split of TinyFace dataset".
    labelled: tuple[str, ...] = ("tinyface:train",)
    # Paper: no validation. Ours: some pictures of the same people, never a person's only one.
    holdout: float = 0.05
    classes: int | None = None  # people in `labelled`; null: as many as there are
    # Paper: 29-layer LightCNN for 32×32, "we disable first two max-pooling layers"; version, and
    # grey or colour, are not said. Ours: version 1, which is grey.
    network: str = "lightcnn29_32"
    width: float = 1.0  # times the network's channels; its name says its size in pixels
    dropout: float | None = None  # null: the network's own
    # Weights that the network, not the classifier, starts from: a run folder, or a .safetensors
    # file such as `lrjax convert` writes.
    initial: str | None = None
    # What finds the five points: "shipped", the run folder or weights of a landmark network,
    # "points" for the dataset's own, "resize" for none.
    alignment: str = "shipped"
    # The part of each picture that is the face: left, top, width, height, as shares of its size.
    region: tuple[float, float, float, float] = (0.0, 0.0, 1.0, 1.0)
    # Paper: "affine transformation". Ours: a similarity, which is one and keeps the face's shape.
    fit: Literal["similarity", "affine"] = "similarity"
    plain: Literal["stretch", "pad"] = "stretch"  # how faces are shown that cannot be aligned
    # Paper: silent. Ours: LightCNN's, a random 128-pixel crop of 144 pixels, and mirroring.
    shift: float = 8 / 128  # of the size, largest in either direction
    mirror: float = 0.5  # probability
    head: Literal["softmax", "arcface", "cosface"] = "softmax"
    bias: bool = True  # of "softmax"; LightCNN's version 2 has none
    scale: float = 64.0  # of "arcface" and "cosface"
    margin: float = 0.5  # radians of "arcface"; "cosface" has 0.4 of the cosine
    focal: float = 0.0  # γ of the focal loss; 0 is plain cross entropy
    shard_classes: bool = False  # each device holds a part of the classifier
    optimizer: OptimizerConfig = OptimizerConfig()
    train: TrainConfig = TrainConfig()

    def validate(self) -> None:
        """Raise InputError for combinations that mean nothing."""
        if self.network not in RECOGNISERS:
            raise InputError(
                f"There is no network {self.network!r}; set network to one of "
                f"{', '.join(RECOGNISERS)}."
            )
        if not 0 <= self.holdout < 1:
            raise InputError(f"The field holdout is {self.holdout}; set it to 0 or more, below 1.")
        if not 0 <= self.shift < 0.5:
            raise InputError(f"The field shift is {self.shift}; set it to 0 or more, below 0.5.")
        if self.shard_classes and self.optimizer.clip_norm is not None:
            raise InputError(
                "No device knows the norm of a classifier that is split; set optimizer.clip_norm "
                "to null, or shard_classes to false."
            )
        if self.shard_classes and self.train.parallel != "mesh":
            raise InputError("To split the classes over devices, set train.parallel to 'mesh'.")


def recogniser(config: RecognitionConfig) -> Recogniser:
    """What is known of the configured network."""
    return RECOGNISERS[config.network]


def build(config: RecognitionConfig, axis_name: str | None = AXIS) -> nn.Module:
    """The network as configured."""
    return recogniser(config).build(width=config.width, dropout=config.dropout, axis_name=axis_name)


def face_template(config: RecognitionConfig) -> Template:
    """Size of the network's images, and where the points of aligned faces are in them."""
    return TEMPLATES[recogniser(config).template]


def border(config: RecognitionConfig) -> int:
    """Pixels on each side of an aligned face from which shifted crops take what they show."""
    return round(config.shift * face_template(config).height)


def initial_variables(config: RecognitionConfig, like: dict[str, Any]) -> dict[str, Any]:
    """The variables in `config.initial`.

    Raises:
      InputError: there are none, or their names or shapes are not those of `like`.
    """
    path = Path(config.initial)
    path = path / "last" / "recogniser.safetensors" if path.is_dir() else path
    variables, _ = load_variables(path)
    misfit = first_misfit(variables, like)
    if misfit is not None:
        raise InputError(
            f"The weights in {path} do not fit {config.network} of width {config.width:g}: "
            f"{misfit}; set initial to weights of that network, or network and width to theirs."
        )
    return jax.tree.map(jnp.asarray, variables)


def new_classifier(config: RecognitionConfig, key: jax.Array) -> dict[str, jax.Array]:
    """Class weights, kernel [D, K] uniform as in PyTorch, and perhaps a bias [K]."""
    dimensions, classes = recogniser(config).embedding, config.classes
    bound = dimensions**-0.5
    columns = -(-classes // SHARDED) * SHARDED if config.shard_classes else classes
    kernel = jax.random.uniform(key, (dimensions, classes), minval=-bound, maxval=bound)
    weights = {"kernel": jnp.pad(kernel, ((0, 0), (0, columns - classes)))}
    if config.head == "softmax" and config.bias:
        weights["bias"] = jnp.zeros(columns)
    return weights


def head(config: RecognitionConfig) -> identity.Head:
    """The logits that training sees, with their margin."""
    if config.head == "softmax":
        return lambda x, weights, labels: identity.linear_logits(
            x, weights["kernel"], weights.get("bias")
        )
    logits = {"arcface": identity.arcface_logits, "cosface": identity.cosface_logits}[config.head]
    return lambda x, weights, labels: logits(
        x, weights["kernel"], labels, config.scale, config.margin
    )


def make(config: RecognitionConfig, steps: int) -> Task:
    """The task; `steps` is the length of the whole run, which the schedule follows.

    Raises:
      InputError: the configuration means nothing, does not say how many classes there are, or names
        initial weights that do not fit.
    """
    config.validate()
    if config.classes is None or config.classes < 2:
        raise InputError(
            f"The field classes is {config.classes}; set it to the number of people, at least 2."
        )
    module = build(config)
    template = face_template(config)
    size = template.height, template.width
    split = frozenset({"classifier"} if config.shard_classes else ())
    optimizers = {
        name: make_optimizer(config.optimizer, steps, name) for name in ("recogniser", "classifier")
    }
    errors = _errors(config)

    def init(key: jax.Array) -> State:
        image = jnp.zeros((1, *size, 3))
        # Not compiled as a whole: operation by operation, equal layers are compiled once.
        variables = module.init(stream(key, "init/recogniser"), image, train=False)
        if config.initial is not None:
            variables = initial_variables(config, variables)
        classifier = {"params": new_classifier(config, stream(key, "init/classifier"))}
        nets = {
            "recogniser": new_net(variables, optimizers["recogniser"]),
            "classifier": new_net(classifier, optimizers["classifier"]),
        }
        return State.create(nets, {}, key)

    def step(state: State, batch: Batch) -> tuple[State, Metrics]:
        part = batch["labelled"]
        keys = {
            name: per_example(stream(state.key, name, state.step), part["place"])
            for name in ("crop", "dropout")
        }
        crops = augment.random_crops(part["images"], keys["crop"], *size, config.mirror)
        images = crops / 127.5 - 1.0
        stats = state.nets["recogniser"].stats

        def loss(params: dict[str, Any]) -> tuple[jax.Array, tuple[Any, Metrics]]:
            variables = {"params": params["recogniser"], **stats}
            with nn.intercept_methods(partial(drop_by_example, keys["dropout"])):
                features, new_stats = module.apply(
                    variables, images, train=True, mutable=list(stats)
                )
            cross_entropy = errors(features, params["classifier"], part["label"])
            total = identity.focal(cross_entropy, config.focal).mean()
            values = {
                "loss": total,
                "cross_entropy": cross_entropy.mean(),
                "probability": jnp.exp(-cross_entropy).mean(),  # of the person who it is
            }
            return total, (new_stats, values)

        params = {name: net.params for name, net in state.nets.items()}
        gradients, (new_stats, values) = jax.grad(loss, has_aux=True)(params)
        gradients = mean_gradients(gradients, split)
        nets = {
            name: updated(state.nets[name], gradients[name], changed, optimizers[name])
            for name, changed in (("recogniser", new_stats), ("classifier", {}))
        }
        return state.replace(step=state.step + 1, nets=nets), jax.lax.pmean(values, AXIS)

    return Task(
        batch={"labelled": config.train.batch_size},
        init=init,
        step=step,
        evaluate=partial(_evaluate, config, module, size),
        best="error",
        pictures=partial(_pictures, size),
        split=split,
    )


def _errors(config: RecognitionConfig) -> Callable[[jax.Array, Any, jax.Array], jax.Array]:
    """`(features, class weights, labels) -> cross entropies`."""
    logits = head(config)
    if not config.shard_classes:
        return lambda x, weights, labels: identity.softmax_cross_entropy(
            logits(x, weights, labels), labels
        )
    return lambda x, weights, labels: identity.sharded_softmax_cross_entropy(
        x, weights, labels, logits, AXIS, config.classes
    )


def _evaluate(
    config: RecognitionConfig,
    module: nn.Module,
    size: tuple[int, int],
    state: State,
    part: dict[str, jax.Array],
) -> Metrics:
    """Sum of wrong guesses whose picture it is, and the count of pictures."""
    images = augment.middles(part["images"], *size) / 127.5 - 1.0
    nets = state.nets
    features = module.apply(nets["recogniser"].evaluation_variables, images, train=False)
    weights = nets["classifier"].params
    if config.head == "softmax":
        logits = identity.linear_logits(features, weights["kernel"], weights.get("bias"))
    else:
        logits = identity.cosines(features, weights["kernel"])
    wrong = logits[:, : config.classes].argmax(axis=1) != part["label"]
    return {"error": jnp.sum(wrong & part["valid"]), "count": part["valid"].sum()}


def _pictures(size: tuple[int, int], state: State, batch: Batch) -> dict[str, dict[str, jax.Array]]:
    """Training faces as they are aligned."""
    return {"labelled": {"images": augment.middles(batch["labelled"]["images"], *size)}}
