"""CSRI: super-resolution and identity learned jointly (Cheng, Zhu and Gong 2018, section 3).

One network sharpens faces that were enlarged, another tells them apart, and both learn together in
two branches that share them:

- synthetic: sharp faces of an auxiliary dataset, made small. What is made of them shall look like
  what they were (Eq. 1), and it shall be seen who they are (Eq. 2);
- native: faces that are small by nature. There is no sharp one beside them, but it shall be seen
  who they are.

Each branch has its own people and so its own class weights. Without one of the branches, or with a
sharpening network that does not learn, it is the paper's first step and what it is compared with:

| | synthetic | native | sharpening network |
|---|---|---|---|
| joint learning, step 1 | yes | | learns |
| CSRI, step 2 (Eq. 4) | yes | yes | learns |
| joint learning, fine-tuned (Table 6) | | yes | frozen, of step 1 |
| independent learning (Tables 5 and 6) | | yes | frozen, of its own run |
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from lrjax.data import augment, degrade
from lrjax.data.examples import Loaded
from lrjax.errors import InputError
from lrjax.evaluation import images as quality
from lrjax.geometry.crop import center_crop
from lrjax.rng import drop_by_example, per_example, stream
from lrjax.tasks import classification, recognition, recognition_data
from lrjax.tasks.csri_networks import (
    CLASSIFIERS,
    CSRIConfig,
    ResolvingRecogniser,
    branches,
    build,
    face_size,
    joined,
)
from lrjax.tasks.super_resolution_views import to_bytes
from lrjax.training.optimizers import make_optimizer
from lrjax.training.parallel import AXIS
from lrjax.training.state import Metrics, State, new_net, updated
from lrjax.training.task import Batch, Task
from lrjax.training.weights import fitting_variables


def load(config: CSRIConfig, data_dir: Path, align: recognition_data.Align) -> Loaded:
    """The data of a run; native faces are held out where there are any, else sharp ones."""
    config.validate()
    loaded = {
        name: recognition_data.load(branch, data_dir, align)
        for name, branch in branches(config).items()
    }
    classes = {name: one.config.classes for name, one in loaded.items()}
    return Loaded(
        parts={name: one.parts["labelled"] for name, one in loaded.items()},
        held_out=list(loaded.values())[-1].held_out,
        config=dataclasses.replace(
            config, classes=classes.get("labelled"), native_classes=classes.get("native")
        ),
    )


def seen(config: CSRIConfig, name: str, crops: jax.Array) -> jax.Array:
    """What the sharpening network is shown of a branch's crops [B, H, W, 3] in 0..255."""
    if name == "labelled":
        crops = degrade.down_up(crops, *config.size)
    return crops / 127.5 - 1.0


def pixel_error(config: CSRIConfig, made: jax.Array, sharp: jax.Array) -> jax.Array:
    """||I_sr - I_hr||² (Eq. 1) of images [B, H, W, 3] in [-1, 1], reduced as configured."""
    scale = {"centred": 127.5 / 128, "unit": 0.5, "bytes": 127.5}[config.pixels]
    squares = jnp.square(scale * (made - sharp))
    return {
        "caffe": 0.5 * squares.sum() / len(squares),
        "sum": squares.sum() / len(squares),
        "mean": squares.mean(),
    }[config.reduction]


def start(config: CSRIConfig, name: str, fresh: dict[str, Any]) -> dict[str, Any]:
    """The variables of a network before the first step: those of another run, or `fresh` ones.

    Raises:
      InputError: the other run has none that fit.
    """
    sources = {"resolver": config.resolver, "recogniser": config.recogniser}
    source = config.initial or sources.get(name)
    if source is None:
        return fresh
    if name in sources:
        field = "initial" if config.initial else name
        return fitting_variables(source, name, fresh, f"this configuration's {name}", field)
    # The first step knows of no native people.
    if not (Path(source) / "last" / f"{name}.safetensors").is_file():
        return fresh
    return fitting_variables(source, name, fresh, f"these people's {name}", "initial")


def make(config: CSRIConfig, steps: int) -> Task:
    """The task; `steps` is the length of the whole run, which the schedule follows.

    Raises:
      InputError: the configuration means nothing, does not say how many classes there are, or names
        initial weights that do not fit.
    """
    config.validate()
    parts = branches(config)
    size = face_size(config)
    dimensions = recognition.recogniser(next(iter(parts.values()))).embedding
    both = build(config)
    modules = {"resolver": both.resolver, "recogniser": both.recogniser}
    learning = [name for name in modules if name != "resolver" or not config.frozen]
    learning += [CLASSIFIERS[name] for name in parts]
    optimizers = {name: make_optimizer(config.optimizer, steps, name) for name in learning}

    def init(key: jax.Array) -> State:
        image = jnp.zeros((1, *size, 3))
        fresh = {
            "resolver": modules["resolver"].init(
                stream(key, "init/resolver"), image, train=False, method="sharpen"
            ),
            "recogniser": modules["recogniser"].init(
                stream(key, "init/recogniser"), image, train=False
            ),
        }
        for name, branch in parts.items():
            if branch.classes is None or branch.classes < 2:
                raise InputError(
                    f"The number of people in {name} is {branch.classes}; set classes and "
                    "native_classes to at least 2."
                )
            made = classification.new_classifier(
                branch, dimensions, stream(key, f"init/{CLASSIFIERS[name]}")
            )
            fresh[CLASSIFIERS[name]] = {"params": made}
        nets = {
            name: new_net(start(config, name, variables), optimizers.get(name))
            for name, variables in fresh.items()
        }
        losses = {
            name: classification.new_centres(branch, dimensions) for name, branch in parts.items()
        }
        return State.create(nets, losses, key)

    def views(name: str, state: State, part: Mapping[str, jax.Array]) -> jax.Array:
        keys = per_example(stream(state.key, f"{name}/crop", state.step), part["example_index"])
        return augment.random_crop(part["images"], keys, *size, config.mirror)

    def step(state: State, batch: Batch) -> tuple[State, Metrics]:
        crops = {name: views(name, state, batch[name]) for name in parts}
        images = jnp.concatenate([seen(config, name, crop) for name, crop in crops.items()])
        drops = jnp.concatenate(
            [
                per_example(
                    stream(state.key, f"{name}/dropout", state.step), batch[name]["example_index"]
                )
                for name in parts
            ]
        )
        ends = [len(crop) for crop in crops.values()][:-1]

        def run(params: dict[str, Any], name: str, x: jax.Array, **how: Any) -> tuple[Any, Any]:
            net = state.nets[name]
            if name not in learning:
                return modules[name].apply(net.evaluation_variables, x, train=False, **how), {}
            variables = {"params": params[name], **net.stats}
            return modules[name].apply(variables, x, train=True, mutable=list(net.stats), **how)

        def loss(params: dict[str, Any]) -> tuple[jax.Array, Any]:
            stats: dict[str, Any] = {}
            resolved, stats["resolver"] = run(params, "resolver", images, method="sharpen")
            with nn.intercept_methods(partial(drop_by_example, drops)):
                features, stats["recogniser"] = run(params, "recogniser", resolved)
            split = dict(zip(parts, jnp.split(features, ends), strict=True))
            total, values = jnp.zeros(()), {}
            for name, branch in parts.items():
                asked, terms = classification.asked(
                    branch,
                    split[name],
                    params[CLASSIFIERS[name]],
                    batch[name]["label"],
                    state.losses[name],
                    state.step,
                )
                total += asked
                values |= {f"{name}/{term}": value for term, value in terms.items()}
            if "labelled" in parts:
                sharp = crops["labelled"] / 127.5 - 1.0
                values["sr"] = pixel_error(config, resolved[: len(sharp)], sharp)
                values["weighted/sr"] = config.sr * values["sr"]
                total += values["weighted/sr"]
            return total, (stats, split, {"loss": total} | values)

        params = {name: state.nets[name].params for name in learning}
        gradients, (stats, split, values) = jax.grad(loss, has_aux=True)(params)
        gradients, values = jax.lax.pmean((gradients, values), AXIS)
        if "labelled" in parts:
            # Eq. 3's balance, which the paper's λ_sr alone does not tell.
            weighted = values["weighted/sr"]
            values["weighted/sr_to_identity"] = weighted / (values["loss"] - weighted)
        nets = dict(state.nets)
        for name in learning:
            nets[name] = updated(nets[name], gradients[name], stats.get(name, {}), optimizers[name])
        losses = {
            name: classification.moved_centres(
                branch, state.losses[name], split[name], batch[name]["label"]
            )
            for name, branch in parts.items()
        }
        return state.replace(step=state.step + 1, nets=nets, losses=losses), values

    share = config.train.batch_size // len(parts)
    return Task(
        batch=dict.fromkeys(parts, share),
        init=init,
        step=step,
        evaluate=partial(_evaluate, config, both),
        best="error",
        pictures=partial(_pictures, config, both),
    )


def _middles(config: CSRIConfig, name: str, part: Any) -> tuple[jax.Array, jax.Array]:
    """Sharp and coarse middles of a branch's faces."""
    crops = center_crop(part["images"], *face_size(config))
    return crops / 127.5 - 1.0, seen(config, name, crops)


def _evaluate(
    config: CSRIConfig, both: ResolvingRecogniser, state: State, part: dict[str, jax.Array]
) -> Metrics:
    """Sums over faces of the last branch: wrong guesses whose face it is; and their count."""
    name, branch = list(branches(config).items())[-1]
    sharp, coarse = _middles(config, name, part)
    nets = {name: net.evaluation_variables for name, net in state.nets.items()}
    features = both.apply(joined(nets), coarse, train=False)
    weights = state.nets[CLASSIFIERS[name]].params
    wrong = classification.guesses(branch, features, weights) != part["label"]
    sums = {"error": jnp.sum(wrong & part["valid"]), "count": part["valid"].sum()}
    if name == "labelled":
        resolver = state.nets["resolver"].evaluation_variables
        made = both.resolver.apply(resolver, coarse, train=False, method="sharpen")
        for what, images in (("psnr", made), ("psnr_bicubic", coarse)):
            sums[what] = jnp.where(part["valid"], quality.psnr(images, sharp), 0.0).sum()
    return sums


def _pictures(
    config: CSRIConfig, both: ResolvingRecogniser, state: State, batch: Batch
) -> dict[str, dict[str, jax.Array]]:
    """Each face as it was, enlarged and sharpened, one below the other."""
    resolver = state.nets["resolver"].evaluation_variables
    shown = {}
    for name in branches(config):
        sharp, coarse = _middles(config, name, batch[name])
        made = both.resolver.apply(resolver, coarse, train=False, method="sharpen")
        rows = [coarse, made, sharp] if name == "labelled" else [coarse, made]
        shown[name] = {"images": to_bytes(jnp.concatenate(rows, axis=1))}
    return shown
