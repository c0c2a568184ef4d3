"""What each player is trained for, beside the papers' equations in NumPy.

Networks are formulas of one number each, which NumPy and JAX evaluate alike. So the equations are
written once more, in double precision, and their slopes taken by differences: a step of plain
gradient descent must move every player by the slope of its own loss.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
import people
import pytest
import tiny

from lrjax.config import AugmentConfig
from lrjax.data.degrade import down_up
from lrjax.losses.adversarial import AdversarialState
from lrjax.losses.began import BeganState
from lrjax.models.encoders import EncoderConfig
from lrjax.models.registry import Network, NetworkConfig
from lrjax.models.s2ld import DegraderConfig, LandmarkConfig
from lrjax.models.upsamplers import RPCNRefinerConfig, SRCNNConfig, SRResNetConfig
from lrjax.tasks import csri, degradation, landmarks, recognition, super_resolution
from lrjax.training.nets import Nets
from lrjax.training.parallel import AXIS
from lrjax.training.state import Net, State
from lrjax.training.step import make_step
from lrjax.training.task import Player, Task

pytestmark = pytest.mark.usefixtures("quick_compile")

people.use_small()
RANDOM = np.random.default_rng(11)
OFF = AugmentConfig(rotation=0.0, scale=(1.0, 1.0), translation=0.0)
# Network -> name -> numbers.
Params = dict[str, dict[str, np.ndarray]]
# Players' names, joined by "+" where they share a loss -> its value, and the losses' next state.
Paper = Callable[[Params], tuple[dict[str, float], dict[str, Any]]]


@dataclasses.dataclass(frozen=True)
class Case:
    """A setting of a task.

    Attributes:
      losses: the task's.
      formulas: of the networks that are applied.
      params: of all networks.
      batch: what the step sees.
      paper: the equations.
      state: of the losses, before the step.
      frozen: networks that do not learn.
      average: a network's moving average.
    """

    losses: Callable[..., Any]
    formulas: Mapping[str, Callable[..., Any]]
    params: Params
    batch: dict[str, dict[str, np.ndarray]]
    paper: Paper
    state: dict[str, Any]
    frozen: frozenset[str] = frozenset()
    average: Params = dataclasses.field(default_factory=dict)


def number(value: float) -> dict[str, np.ndarray]:
    """The parameters of a formula."""
    return {"p": np.float64(value)}


def frames(count: int, size: int) -> np.ndarray:
    """Noise uint8 [count, size, size, 3]."""
    return RANDOM.integers(0, 256, (count, size, size, 3), dtype=np.uint8)


def part(images: np.ndarray, **fields: np.ndarray) -> dict[str, np.ndarray]:
    """What a batch has of one source."""
    return {"images": images, "example_index": np.arange(len(images))} | fields


def unit(images: np.ndarray, size: int) -> np.ndarray:
    """The middles of frames in [-1, 1], as they are seen without augmentation."""
    edge = (images.shape[1] - size) // 2
    return images[:, edge : edge + size, edge : edge + size] / 127.5 - 1


def pooled(images: Any) -> Any:
    """Means of 2 × 2 pixels."""
    count, height, width, channels = images.shape
    return images.reshape(count, height // 2, 2, width // 2, 2, channels).mean((2, 4))


def critic(p: Any, images: Any) -> Any:
    """D1, and SRGAN's discriminator."""
    return p * images.mean((1, 2, 3)) + 0.5 * (images**3).mean((1, 2, 3))


# Running values of three steps: the next ones are a quarter of the way to a step's.
RUNNING = AdversarialState(*(jnp.float32(value) for value in (0.1, -0.2, 0.3)), steps=jnp.int32(3))


def moved(real: float, fake: float, generator: float) -> dict[str, float]:
    """RUNNING after a step."""
    return {
        "real": 0.1 + (real - 0.1) / 4,
        "fake": -0.2 + (fake + 0.2) / 4,
        "generator": 0.3 + (generator - 0.3) / 4,
        "steps": 4,
    }


# Stage 1 ------------------------------------------------------------------------------------------


def stage_one() -> Case:
    """Equations 1, 2 and 4 of K&C."""
    g1 = DegraderConfig(image_size=8, stem=4, encoder=(4,), decoder=(4,), noise=4)
    config = degradation.DegradationConfig(g1=g1, alpha=0.7, beta=3.0, augment=OFF)
    sharp, native = frames(3, 12), frames(2, 6)
    formulas = {"g1": lambda p, images, noise: p * pooled(images) + 0.1, "d1": critic}

    def paper(params: Params) -> tuple[dict[str, float], dict[str, Any]]:
        made = formulas["g1"](params["g1"]["p"], unit(sharp, 8), None)
        real = critic(params["d1"]["p"], unit(native, 4))
        fake = critic(params["d1"]["p"], made)
        pixel = ((made - pooled(unit(sharp, 8))) ** 2).sum() / (3 * 4 * 4 * 3)
        # Eq. 2 is what D1 maximises.
        d1 = np.minimum(0, -1 + real).mean() + np.minimum(0, -1 - fake).mean()
        values = {"g1": 0.7 * -fake.mean() + 3.0 * pixel, "d1": -d1}
        return values, {"hinge": moved(real.mean(), fake.mean(), -fake.mean())}

    return Case(
        losses=partial(degradation.losses, config),
        formulas=formulas,
        params={"g1": number(0.6), "d1": number(1.3)},
        batch={"labelled": part(sharp), "real": part(native)},
        paper=paper,
        state={"hinge": RUNNING},
    )


# Stage 2 ------------------------------------------------------------------------------------------

SIZE, SIGMA = 8, 1.2


def targets(points: np.ndarray, visible: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Heatmaps [B, S, S, N + 1] of points, and which of them count [B, N + 1]."""
    y, x = np.mgrid[:SIZE, :SIZE]
    maps = np.zeros((len(points), SIZE, SIZE, points.shape[1] + 1))
    counts = np.ones((len(points), points.shape[1] + 1))
    for face, n in np.ndindex(points.shape[:2]):
        a, b = points[face, n]
        light = np.exp(-((x - a) ** 2 + (y - b) ** 2) / (2 * SIGMA**2))
        maps[face, :, :, n] = np.where(light < 0.01, 0, light)
        counts[face, n] = visible[face, n] and min(a, b) >= -0.5 and max(a, b) <= SIZE - 0.5
    maps[..., -1] = 1 - maps[..., :-1].max(-1)
    maps[..., :-1] *= visible[:, None, None]
    return maps, counts


def g2(p: Any, images: Any) -> Any:
    """Six maps."""
    return (images[..., :1] * p + 0.2) * (np.arange(1, 7, dtype=np.float32) / 6)


def stage_two(*critics: str) -> Case:
    """Equations 5 to 13 of K&C."""
    config = landmarks.LandmarksConfig(
        image_size=SIZE,
        degradation="none",
        critics=critics,
        g2=LandmarkConfig(points="five", size=SIZE, sigma=SIGMA),
        a=1.5,
        b=0.3,
        c=0.2,
        gamma=0.7,
        lambda_k=0.05,
        augment=OFF,
    )
    faces, native = frames(3, 12), frames(2, 12)
    points = RANDOM.uniform(1, 11, (3, 5, 2)).astype(np.float32)
    visible = RANDOM.random((3, 5)) < 0.8
    assert not visible.all()
    target, counts = targets(points - 2.0, visible)

    def d2(p: Any, maps: Any, images: Any) -> Any:
        return p * maps + 0.1 * images[..., :1]

    def d3(p: Any, maps: Any, images: Any) -> Any:
        return p * (maps * (1.5 + images[..., :1])).mean((1, 2, 3))

    def error(maps: np.ndarray, wanted: np.ndarray) -> float:
        return ((maps - wanted) ** 2 * counts[:, None, None]).mean((1, 2)).sum(-1).mean()

    def paper(params: Params) -> tuple[dict[str, float], dict[str, Any]]:
        images, others = unit(faces, SIZE), unit(native, SIZE)
        made = g2(params["g2"]["p"], images)
        values, after = {"g2": 1.5 * error(made, target)}, {}
        # No critic sees what is predicted where the true map of a hidden point is empty.
        holes = counts[:, None, None]
        made, true_maps = made * holes, target * holes
        if "heatmap" in critics:
            p = params["d2"]["p"]
            real, fake = error(d2(p, true_maps, images), target), error(d2(p, made, images), made)
            values["d2"] = real - 0.4 * fake
            values["g2"] += 0.3 * fake
            balance = 0.7 * real - fake
            after["began"] = {"k": 0.4 + 0.05 * balance, "convergence": real + abs(balance)}
        if "confidence" in critics:
            p = params["d3"]["p"]
            true, fake = d3(p, true_maps, images), d3(p, made, images)
            # Heatmaps of native faces are generated ones, too.
            wild = d3(p, g2(params["g2"]["p"], others) * holes[:2], others)
            values["d3"] = ((true - 1) ** 2).mean() + (fake**2).mean() + (wild**2).mean()
            reward = (((fake - 1) ** 2).sum() + ((wild - 1) ** 2).sum()) / 5
            values["g2"] += 0.2 * reward
            after["confidence"] = moved(true.mean(), fake.mean(), reward)
        return values, after

    names = {"g2", *({"heatmap": "d2", "confidence": "d3"}[critic] for critic in critics)}
    params = {"g2": number(0.8), "d2": number(0.6), "d3": number(1.7)}
    state = {"began": BeganState(jnp.float32(0.4), jnp.float32(0)), "confidence": RUNNING}
    kept = {"heatmap": "began", "confidence": "confidence"}
    return Case(
        losses=partial(landmarks.losses, config),
        formulas={n: f for n, f in {"g2": g2, "d2": d2, "d3": d3}.items() if n in names},
        params={name: value for name, value in params.items() if name in names},
        batch={"labelled": part(faces, points=points, visible=visible), "real": part(native)},
        paper=paper,
        state={kept[critic]: state[kept[critic]] for critic in critics},
    )


def softmax(logits: np.ndarray) -> np.ndarray:
    """Over the pixels of maps [B, S, S, C]."""
    powers = np.exp(logits)
    return powers / powers.sum((1, 2), keepdims=True)


def beyond_the_paper() -> Case:
    """Maps as distributions, what a teacher finds, and agreement on native faces with the averaged
    network.
    """
    config = landmarks.LandmarksConfig(
        image_size=SIZE,
        degradation="none",
        g2=LandmarkConfig(points="five", size=SIZE, sigma=SIGMA, decoder="soft"),
        a=1.5,
        objective="integral",
        teacher="theirs",
        taught=0.4,
        consistency=0.6,
        average=0.9,
        augment=OFF,
    )
    faces, native = frames(3, 12), frames(2, 12)
    points = RANDOM.uniform(1, 11, (3, 5, 2)).astype(np.float32)
    visible = RANDOM.random((3, 5)) < 0.8
    inside = visible & ((points > 1.5) & (points < 9.5)).all(-1)
    assert 0 < inside.sum() < visible.sum() < 15
    grid = np.arange(SIZE)

    def peaked(p: Any, images: Any) -> Any:
        return 10 * g2(p, images)

    def expected(chance: np.ndarray) -> np.ndarray:
        """Where on average, [B, N, 2]."""
        by_point = np.moveaxis(chance[..., :5], -1, 1)
        return np.stack([by_point.sum(2) @ grid, by_point.sum(3) @ grid], -1)

    def far(found: np.ndarray, wanted: np.ndarray) -> np.ndarray:
        return np.sqrt(((found - wanted) ** 2).sum(-1) + 1) - 1

    def gaussian(places: np.ndarray) -> np.ndarray:
        """Over the grid, [B, N, S]."""
        powers = np.exp(-((grid - places[..., None]) ** 2) / (2 * SIGMA**2))
        return powers / powers.sum(-1, keepdims=True)

    def paper(params: Params) -> tuple[dict[str, float], dict[str, Any]]:
        p = params["g2"]["p"]
        chance, wanted = softmax(peaked(p, unit(faces, SIZE))), points - 2.0
        truth = np.einsum("bny,bnx->byxn", gaussian(wanted[..., 1]), gaussian(wanted[..., 0]))
        entropy = -(truth * np.log(chance[..., :5])).sum((1, 2))
        # The mean over the points of each face, and then over the faces.
        errors = np.where(inside, entropy + far(expected(chance), wanted), 0).sum(1)
        counted = inside.any(1)
        supervised = (errors[counted] / inside.sum(1)[counted]).mean()
        taught = softmax(peaked(1.4, unit(native, SIZE)))
        sure = taught[..., :5].max((1, 2))
        assert sure.sum() > 1
        away = far(expected(softmax(peaked(p, unit(native, SIZE)))), expected(taught))
        theirs = softmax(peaked(params["teacher"]["p"], unit(faces, SIZE)))[..., :5]
        learnt = -(theirs * np.log(chance[..., :5])).sum((1, 2)).mean()
        steady = (sure * away).sum() / sure.sum()
        return {"g2": 1.5 * supervised + 0.4 * learnt + 0.6 * steady}, {}

    return Case(
        losses=partial(landmarks.losses, config),
        formulas={"g2": peaked, "teacher": peaked},
        params={"g2": number(0.8), "teacher": number(1.1)},
        batch={"labelled": part(faces, points=points, visible=visible), "real": part(native)},
        paper=paper,
        state={},
        frozen=frozenset({"teacher"}),
        average={"g2": number(1.4)},
    )


# Super-resolution ---------------------------------------------------------------------------------


def log_sigmoid(x: np.ndarray) -> np.ndarray:
    return -np.log1p(np.exp(-x))


def super_resolved(adversarial: str, distance: str, refines: bool = False) -> Case:
    """SRGAN's and ESRGAN's losses, and those of networks that refine."""
    sizes = {"size": (4, 4), "image_size": (8, 8)}
    config = super_resolution.SuperResolutionConfig(
        network=RPCNRefinerConfig(**sizes) if refines else SRResNetConfig(**sizes),
        adversarial=adversarial,
        distance=distance,
        pixel=0.9,
        gan=0.3,
        perceptual=0.4,
        coupled=0.5 if refines else 0.0,
        translation=0.0,
        flip=0.0,
    )
    faces = frames(3, 12)
    sharp = unit(faces, 8)
    crops = jnp.asarray((sharp + 1) * 127.5, jnp.float32)
    small = np.asarray(super_resolution.degraded(config, Nets({}, {}), crops, None), np.float64)
    if refines:
        small = np.asarray(jax.image.resize(small, sharp.shape, "bicubic"), np.float64)

    def upsampler(p: Any, images: Any, domain: str = "low") -> Any:
        large = images if refines else images.repeat(2, 1).repeat(2, 2)
        return p * large + (0.2 if domain == "high" else 0.0)

    def vgg(p: Any, images: Any) -> Any:
        return p * images[..., :2] ** 2

    def error(a: np.ndarray, b: np.ndarray) -> float:
        d = abs(a - b)
        huber = np.where(d <= 1, 0.5 * d**2, d - 0.5)
        return {"l1": d, "mse": d**2, "huber": huber}[distance].mean()

    def paper(params: Params) -> tuple[dict[str, float], dict[str, Any]]:
        p = params["upsampler"]["p"]
        made = upsampler(p, small)
        values = {
            "upsampler": 0.9 * error(made, sharp) + 0.4 * error(vgg(1.2, made), vgg(1.2, sharp))
        }
        if refines:
            values["upsampler"] += 0.5 * error(upsampler(p, sharp, "high"), sharp)
        if adversarial == "none":
            return values, {}
        p = params["discriminator"]["p"]
        real, fake = critic(p, sharp), critic(p, made)
        if adversarial == "gan":  # log(1 - σ(x)) = log σ(-x)
            judged = -log_sigmoid(real).mean() - log_sigmoid(-fake).mean()
            reward = -log_sigmoid(fake).mean()
        else:
            above, below = real - fake.mean(), fake - real.mean()
            judged = -log_sigmoid(above).mean() - log_sigmoid(-below).mean()
            reward = -log_sigmoid(-above).mean() - log_sigmoid(below).mean()
        values["discriminator"] = judged
        values["upsampler"] += 0.3 * reward
        return values, {"adversarial": moved(real.mean(), fake.mean(), reward)}

    formulas = {"upsampler": upsampler, "vgg": vgg, "discriminator": critic}
    params = {"upsampler": number(0.7), "vgg": number(1.2), "discriminator": number(1.6)}
    if adversarial == "none":
        del formulas["discriminator"], params["discriminator"]
    return Case(
        losses=partial(super_resolution.losses, config),
        formulas=formulas,
        params=params,
        batch={"labelled": part(faces)},
        paper=paper,
        state={} if adversarial == "none" else {"adversarial": RUNNING},
        frozen=frozenset({"vgg"}),
    )


# People -------------------------------------------------------------------------------------------

PROJECTION = RANDOM.normal(size=(16 * 16 * 3, 5)).astype(np.float32) / 16
LABELS = np.array([0, 2, 1, 1, 2, 0], np.int32)


def encoder(p: Any, images: Any) -> Any:
    """Five features."""
    return p * (images.reshape(len(images), -1) @ PROJECTION) + 0.1


def class_weights(classes: int) -> dict[str, np.ndarray]:
    """Of five features."""
    return {"kernel": RANDOM.normal(size=(5, classes)), "bias": RANDOM.normal(size=classes)}


def cross_entropy(logits: np.ndarray, labels: np.ndarray) -> np.ndarray:
    shares = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    return -np.log(shares[np.arange(len(labels)), labels])


def next_centres(centres: np.ndarray, x: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """CentreFace's, which move by α = 0.5."""
    following = centres.copy()
    for person in range(len(centres)):
        mine = x[labels == person]
        following[person] -= 0.5 * (centres[person] - mine).sum(0) / (1 + len(mine))
    return following


def told_apart(head: str) -> Case:
    """Softmax or ArcFace under the focal loss, with centres and with DeepID2's pairs."""
    config = people.config(
        classes=3,
        network=EncoderConfig("small", dropout=0.0),
        head=head,
        scale=6.0,
        margin=0.4,
        focal=2.0,
        centre=0.15,
        verification=0.25,
        verification_margin=2.0,
        shift=0.0,
        mirror=0.0,
    )
    faces = frames(6, 16)
    centres = RANDOM.normal(size=(3, 5))

    def paper(params: Params) -> tuple[dict[str, float], dict[str, Any]]:
        x = encoder(params["encoder"]["p"], unit(faces, 16))
        kernel = params["classifier"]["kernel"]
        if head == "softmax":
            logits = x @ kernel + params["classifier"]["bias"]
        else:
            units = x / np.linalg.norm(x, axis=1, keepdims=True)
            angles = np.arccos(units @ (kernel / np.linalg.norm(kernel, axis=0)))
            angles[np.arange(6), LABELS] += 0.4
            assert angles.max() < np.pi
            logits = 6.0 * np.cos(angles)
        each = cross_entropy(logits, LABELS)
        focal = ((1 - np.exp(-each)) ** 2 * each).mean()
        centre = 0.5 * ((x - centres[LABELS]) ** 2).sum(1).mean()
        distance = np.linalg.norm(x[::2] - x[1::2], axis=1)
        same = LABELS[::2] == LABELS[1::2]
        assert set(same) == {True, False}
        pairs = np.where(same, distance**2, np.maximum(0, 2.0 - distance) ** 2).mean() / 2
        total = focal + 0.15 * centre + 0.25 * pairs
        return {"encoder+classifier": total}, {"centres": next_centres(centres, x, LABELS)}

    weights = class_weights(3)
    if head != "softmax":
        del weights["bias"]
    return Case(
        losses=partial(recognition.losses, config),
        formulas={"encoder": encoder},
        params={"encoder": number(0.8), "classifier": weights},
        batch={"labelled": part(faces, label=LABELS)},
        paper=paper,
        state={"centres": jnp.asarray(centres, jnp.float32)},
    )


def joint(labelled: bool, native: bool, frozen: bool = False) -> Case:
    """CSRI's equations 1 to 4."""
    config = csri.CSRIConfig(
        labelled=("sharp",) if labelled else (),
        classes=3 if labelled else None,
        native=("native",) if native else (),
        native_classes=2 if native else None,
        refiner=SRCNNConfig(size=(5, 4), image_size=(16, 16)),
        network=EncoderConfig("small", dropout=0.0),
        frozen=frozen,
        sr=0.03,
        centre=0.2,
        shift=0.0,
        mirror=0.0,
    )
    labels = {"labelled": LABELS[:4], "native": np.array([1, 0], np.int32)}
    faces = {"labelled": frames(4, 16), "native": frames(2, 16)}
    centres = {"labelled": RANDOM.normal(size=(3, 5)), "native": RANDOM.normal(size=(2, 5))}
    enlarged = {
        "labelled": np.asarray(down_up(jnp.asarray(faces["labelled"]), 5, 4)) / 127.5 - 1,
        "native": unit(faces["native"], 16),
    }
    parts = ["labelled"] * labelled + ["native"] * native

    def upsampler(p: Any, images: Any) -> Any:
        return p * images + 0.1 * images**3

    def paper(params: Params) -> tuple[dict[str, float], dict[str, Any]]:
        total, after = 0.0, {}
        for name in parts:
            refined = upsampler(params["upsampler"]["p"], enlarged[name])
            x = encoder(params["encoder"]["p"], refined)
            weights = params[csri.CLASSIFIERS[name]]
            total += cross_entropy(x @ weights["kernel"] + weights["bias"], labels[name]).mean()
            total += 0.2 * 0.5 * ((x - centres[name][labels[name]]) ** 2).sum(1).mean()
            after[name] = {"centres": next_centres(centres[name], x, labels[name])}
            if name == "labelled":
                # Caffe's Euclidean loss of pixels (x - 127.5) / 128.
                away = (refined - unit(faces[name], 16)) * 127.5 / 128
                total += 0.03 * (away**2).sum() / (2 * 4)
        players = ["upsampler"] * (not frozen) + ["encoder", *(csri.CLASSIFIERS[n] for n in parts)]
        return {"+".join(players): total}, after

    weights = {"labelled": class_weights(3), "native": class_weights(2)}
    return Case(
        losses=partial(csri.losses, config),
        formulas={"upsampler": upsampler, "encoder": encoder},
        params={"upsampler": number(0.9), "encoder": number(0.7)}
        | {csri.CLASSIFIERS[name]: weights[name] for name in parts},
        batch={name: part(faces[name], label=labels[name]) for name in parts},
        paper=paper,
        state={n: {"centres": jnp.asarray(centres[n], jnp.float32)} for n in parts},
        frozen=frozenset({"upsampler"} if frozen else ()),
    )


# One step of each ---------------------------------------------------------------------------------


class Formula(nn.Module):
    """A network that is a formula of one number; and one that is asked for its parameters only."""

    formula: Callable[..., Any] | None = None
    noise: int = 4  # of G1

    @nn.compact
    def __call__(self, *inputs: jax.Array, train: bool, **options: Any) -> Any:
        return self.formula(self.param("p", nn.initializers.zeros, ()), *inputs, **options)


class Stepped:
    """Steps of plain gradient descent, by a rate of 1, in which losses can be scaled."""

    def __init__(self, case: Case) -> None:
        self.case = case
        self.losses, self.after = case.paper(case.params)
        descent = optax.sgd(1.0)

        def losses(nets: Nets, state: State, batch: Any) -> tuple[Any, Any, Any]:
            values, metrics, following = case.losses(nets, state, batch)
            named = {n if isinstance(n, str) else "+".join(n): v for n, v in values.items()}
            metrics |= {f"loss/{name}": value for name, value in named.items()}
            scaled = zip(values, named, strict=True)
            return {n: values[n] * batch["scales"][name] for n, name in scaled}, metrics, following

        players = {
            name: Player(
                Network(NetworkConfig(name), "critic", Formula(case.formulas.get(name))),
                None if name in case.frozen else descent,
                average=0.9 if name in case.average else None,
            )
            for name in case.params
        }
        task = Task(players, {}, losses, lambda *about: {}, lambda *about: {})
        # One device, as one lane.
        self._step = jax.jit(jax.vmap(make_step(task), (None, 0), axis_name=AXIS))
        params, average = jax.tree.map(jnp.float32, (case.params, case.average))
        nets = {
            name: Net(
                params[name],
                stats={},
                opt_state=() if name in case.frozen else descent.init(params[name]),
                average=average.get(name),
            )
            for name in params
        }
        self.before = State.create(nets, case.state, jax.random.key(0))

    def step(self, **scales: float) -> tuple[State, dict[str, np.ndarray]]:
        """The state after a step, and its metrics; losses are scaled by `scales`."""
        scale = {name: np.float32(scales.get(name, 1.0)) for name in self.losses}
        batch = jax.tree.map(lambda x: np.asarray(x)[None], self.case.batch | {"scales": scale})
        state, metrics = self._step(self.before, batch)
        state, metrics = jax.tree.map(lambda x: x[0], (state, metrics))
        return state.replace(key=None), jax.device_get(metrics)


CASES: dict[str, Callable[[], Case]] = {
    "degradation": stage_one,
    "S3": partial(stage_two, "heatmap"),
    "S4": partial(stage_two, "heatmap", "confidence"),
    "integral": beyond_the_paper,
    "SRGAN": partial(super_resolved, "gan", "mse"),
    "ESRGAN": partial(super_resolved, "relativistic", "l1"),
    "RPCN": partial(super_resolved, "none", "huber", refines=True),
    "softmax": partial(told_apart, "softmax"),
    "ArcFace": partial(told_apart, "arcface"),
    "CSRI": partial(joint, labelled=True, native=True),
    "CSRI, step 1": partial(joint, labelled=True, native=False),
    "CSRI, tuned": partial(joint, labelled=False, native=True, frozen=True),
}


@pytest.fixture(scope="module", params=CASES)
def stepped(request: pytest.FixtureRequest) -> Stepped:
    """A case, to be stepped."""
    return Stepped(CASES[request.param]())


def test_losses_are_those_of_the_papers(stepped: Stepped) -> None:
    _, metrics = stepped.step()
    found = {name: float(v) for name, v in metrics.items() if name.startswith("loss/")}
    wanted = {f"loss/{name}": value for name, value in stepped.losses.items()}
    assert found == pytest.approx(wanted, rel=1e-5)


def slope(loss: Callable[[Params], float], params: Params, net: str) -> dict[str, np.ndarray]:
    """How a loss grows with the parameters of a network, by central differences."""
    slopes = {name: np.zeros_like(values) for name, values in params[net].items()}
    for name, values in params[net].items():
        for place in np.ndindex(values.shape):
            ends = []
            for change in (-1e-5, 1e-5):
                there = np.array(values)
                there[place] += change
                ends.append(loss(params | {net: params[net] | {name: there}}))
            slopes[name][place] = (ends[1] - ends[0]) / 2e-5
    return slopes


def test_every_player_goes_down_its_own_loss(stepped: Stepped) -> None:
    state, _ = stepped.step()
    case, learning = stepped.case, set()
    for players in stepped.losses:
        for net in players.split("+"):
            learning.add(net)
            wanted = slope(lambda params, n=players: case.paper(params)[0][n], case.params, net)
            for name, values in wanted.items():
                found = stepped.before.nets[net].params[name] - state.nets[net].params[name]
                scale = np.abs(values).max()
                assert scale > 1e-3
                np.testing.assert_allclose(
                    found, values, atol=1e-3 * scale, err_msg=f"{net} {name}"
                )
    assert learning == case.params.keys() - case.frozen
    for net in case.frozen:
        assert tiny.same(stepped.before.nets[net], state.nets[net])


def test_no_player_feels_what_others_are_trained_for(stepped: Stepped) -> None:
    plain, _ = stepped.step()
    for players in stepped.losses:
        scaled, _ = stepped.step(**{players: 8.0})
        for net, before in stepped.before.nets.items():
            if net not in players.split("+"):
                assert tiny.same(scaled.nets[net], plain.nets[net]), f"{players} moves {net}"
                continue
            for name, value in before.params.items():
                once, often = (value - s.nets[net].params[name] for s in (plain, scaled))
                np.testing.assert_allclose(often, 8 * once, atol=1e-4 * np.abs(often).max())


def test_what_losses_remember_is_computed_by_hand(stepped: Stepped) -> None:
    state, _ = stepped.step()
    found = {
        jax.tree_util.keystr(path, simple=True, separator="/"): np.asarray(leaf)
        for path, leaf in jax.tree_util.tree_leaves_with_path(state.losses)
    }
    wanted = {
        jax.tree_util.keystr(path, simple=True, separator="/"): np.asarray(leaf)
        for path, leaf in jax.tree_util.tree_leaves_with_path(stepped.after)
    }
    assert found.keys() == wanted.keys()
    for name, value in wanted.items():
        np.testing.assert_allclose(found[name], value, rtol=1e-5, atol=1e-6, err_msg=name)
