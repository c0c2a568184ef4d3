"""Recognition: a network whose features tell people apart, learnt by classifying its people.

What distinguishes K&C's settings L1 to L5 is configuration: by which landmark network the faces are
aligned, and, for L5, the weights that training starts from.
"""

from __future__ import annotations

import dataclasses
from functools import partial
from pathlib import Path
from typing import Any, Literal

import flax.linen as nn
import jax
import jax.numpy as jnp

from lrjax.config import OptimizerConfig, TrainConfig
from lrjax.data import augment, degrade
from lrjax.errors import InputError
from lrjax.geometry.crop import center_crop
from lrjax.geometry.templates import TEMPLATES, Template
from lrjax.models.recognisers import RECOGNISERS, Recogniser
from lrjax.rng import drop_by_example, per_example, stream
from lrjax.tasks import classification
from lrjax.training.optimizers import make_optimizer
from lrjax.training.parallel import AXIS, mean_gradients
from lrjax.training.state import Metrics, State, new_net, updated
from lrjax.training.task import Batch, Task
from lrjax.training.weights import first_misfit, fitting_variables, load_variables


@dataclasses.dataclass(frozen=True)
class RecognitionConfig:
    """Everything that defines a recogniser and its training."""

    # Paper: "the training split of TinyFace dataset".
    labelled: tuple[str, ...] = ("tinyface:train",)
    # Beyond the papers: the part of these people that is learnt from, by their numbers, so that
    # others can be made a test of.
    people: tuple[float, float] = (0.0, 1.0)
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
    # Beyond the papers of low resolution: all faces are shrunk to this height and width and
    # enlarged again, bicubically, so that sharp ones teach what small ones look like.
    coarse: tuple[int, int] | None = None
    head: Literal["softmax", "arcface", "cosface", "sphereface"] = "softmax"
    bias: bool = True  # of "softmax"; LightCNN's version 2 has none
    scale: float = 64.0  # of "arcface" and "cosface"
    margin: float = 0.5  # radians of "arcface"; "cosface" has 0.4 of the cosine
    # λ of "sphereface": its least value, its first one, and its growth per step (SphereFace's).
    easing: tuple[float, float, float] = (5.0, 1000.0, 0.12)
    focal: float = 0.0  # γ of the focal loss; 0 is plain cross entropy
    centre: float = 0.0  # λ of CentreFace's loss, whose released one is 0.008; 0 for none
    centre_rate: float = 0.5  # α of its centres
    # λ of DeepID2's loss of pairs, 0.05 there; batches then consist of pairs. 0 for none.
    verification: float = 0.0
    verification_margin: float = 1.0
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
        if self.shard_classes and self.centre:
            raise InputError(
                "The centres of a classifier that is split are not: set shard_classes to false, or "
                "centre to 0."
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


def seen(config: RecognitionConfig, crops: jax.Array) -> jax.Array:
    """Crops [B, H, W, 3] in 0..255 as the network sees them, in [-1, 1]."""
    if config.coarse is not None:
        crops = degrade.down_up(crops, *config.coarse)
    return crops / 127.5 - 1.0


def initial_variables(config: RecognitionConfig, like: dict[str, Any]) -> dict[str, Any]:
    """The variables in `config.initial`.

    Of a network that has learned to enlarge faces (RPCN), the convolutions alone are taken.

    Raises:
      InputError: there are none, or their names or shapes are not those of `like`.
    """
    what = f"{config.network} of width {config.width:g}"
    source = Path(config.initial)
    if (
        not (source / "last" / "resolver.safetensors").is_file()
        or (source / "last" / "recogniser.safetensors").is_file()
    ):
        return fitting_variables(source, "recogniser", like, what, "initial")
    if "features" not in like["params"]:
        raise InputError(
            f"The run in {source} enlarges faces, and {config.network} shares no convolutions with "
            "such networks; set initial to the run of a recogniser."
        )
    found, _ = load_variables(source / "last" / "resolver.safetensors")
    params = like["params"] | {"features": found["params"].get("features", {})}
    unfit = first_misfit({"params": params}, {"params": like["params"]})
    if unfit is not None:
        raise InputError(
            f"The convolutions of the run in {source} do not fit {what}: {unfit}; set initial to a "
            "run of rpcn of the same width."
        )
    return like | {"params": jax.tree.map(jnp.asarray, params)}


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
    dimensions = recogniser(config).embedding

    def init(key: jax.Array) -> State:
        image = jnp.zeros((1, *size, 3))
        # Not compiled as a whole: operation by operation, equal layers are compiled once.
        variables = module.init(stream(key, "init/recogniser"), image, train=False)
        if config.initial is not None:
            variables = initial_variables(config, variables)
        weights = classification.new_classifier(config, dimensions, stream(key, "init/classifier"))
        nets = {
            "recogniser": new_net(variables, optimizers["recogniser"]),
            "classifier": new_net({"params": weights}, optimizers["classifier"]),
        }
        return State.create(nets, classification.new_centres(config, dimensions), key)

    def step(state: State, batch: Batch) -> tuple[State, Metrics]:
        part = batch["labelled"]
        keys = {
            name: per_example(stream(state.key, name, state.step), part["example_index"])
            for name in ("crop", "dropout")
        }
        crops = augment.random_crop(part["images"], keys["crop"], *size, config.mirror)
        images = seen(config, crops)
        stats = state.nets["recogniser"].stats

        def loss(params: dict[str, Any]) -> tuple[jax.Array, tuple[Any, jax.Array, Metrics]]:
            variables = {"params": params["recogniser"], **stats}
            with nn.intercept_methods(partial(drop_by_example, keys["dropout"])):
                features, new_stats = module.apply(
                    variables, images, train=True, mutable=list(stats)
                )
            total, values = classification.asked(
                config, features, params["classifier"], part["label"], state.losses, state.step
            )
            return total, (new_stats, features, {"loss": total} | values)

        params = {name: net.params for name, net in state.nets.items()}
        gradients, (new_stats, features, values) = jax.grad(loss, has_aux=True)(params)
        gradients = mean_gradients(gradients, split)
        nets = {
            name: updated(state.nets[name], gradients[name], changed, optimizers[name])
            for name, changed in (("recogniser", new_stats), ("classifier", {}))
        }
        losses = classification.moved_centres(config, state.losses, features, part["label"])
        state = state.replace(step=state.step + 1, nets=nets, losses=losses)
        return state, jax.lax.pmean(values, AXIS)

    return Task(
        batch={"labelled": config.train.batch_size},
        init=init,
        step=step,
        evaluate=partial(_evaluate, config, module, size),
        best="error",
        pictures=partial(_pictures, size),
        split=split,
        pairs=frozenset({"labelled"} if config.verification else ()),
    )


def _evaluate(
    config: RecognitionConfig,
    module: nn.Module,
    size: tuple[int, int],
    state: State,
    part: dict[str, jax.Array],
) -> Metrics:
    """Sum of wrong guesses whose picture it is, and the count of pictures."""
    images = seen(config, center_crop(part["images"], *size))
    nets = state.nets
    features = module.apply(nets["recogniser"].evaluation_variables, images, train=False)
    wrong = classification.guesses(config, features, nets["classifier"].params) != part["label"]
    return {"error": jnp.sum(wrong & part["valid"]), "count": part["valid"].sum()}


def _pictures(size: tuple[int, int], state: State, batch: Batch) -> dict[str, dict[str, jax.Array]]:
    """Training faces as they are aligned."""
    return {"labelled": {"images": center_crop(batch["labelled"]["images"], *size)}}
