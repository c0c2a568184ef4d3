"""Whether what a degradation makes of sharp faces can be told from native low-resolution ones."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from lrjax.config import OptimizerConfig, TrainConfig
from lrjax.data import augment
from lrjax.data.faces import Faces, load_faces
from lrjax.data.pixels import to_bytes, to_unit
from lrjax.losses import adversarial
from lrjax.models.registry import build
from lrjax.models.s2ld import CriticConfig, LandmarkConfig
from lrjax.rng import per_example, stream
from lrjax.tasks import degradation, landmark_crops
from lrjax.tasks.degradation import DegradationConfig
from lrjax.tasks.landmarks import Degradation, LandmarksConfig
from lrjax.training.loop import fit
from lrjax.training.nets import Nets
from lrjax.training.optimizers import make_optimizer
from lrjax.training.parallel import AXIS
from lrjax.training.state import Metrics, State
from lrjax.training.task import Batch, Losses, Player, Task

OPTIMIZER = OptimizerConfig(learning_rate=1e-3, b1=0.9, b2=0.999, schedule="cosine")
STEPS = 500
TRAIN = TrainConfig(batch_size=32, samples=0)
BATCH = 64


def views(
    config: DegradationConfig, run: str | None, kind: Degradation, data_dir: Path
) -> np.ndarray:
    """Show one view of every face, as D1 sees it in its first step.

    Args:
      config: of D1's training, which says which faces, and how they are moved.
      run: folder or weights of G1, for the kind "generator".
      kind: how sharp faces are degraded; "none": those are shown that are native.
      data_dir: of prepared records.

    Returns:
      uint8 [n, s, s, 3].

    Raises:
      InputError: data or weights are not there.
    """
    native = kind == "none"
    size = config.size if native else config.image_size
    faces = load_faces(
        config.real if native else config.labelled,
        data_dir=data_dir,
        crop_size=size,
        context=config.context,
        scheme=config.scheme,
    )
    state = State.create({}, {}, jax.random.key(0))
    if native:
        return _shown(partial(degradation.real_crops, config, state), faces)
    g2 = LandmarkConfig(size=config.size, context=config.context)
    how = LandmarksConfig(g2=g2, degradation=kind, stage1=run, image_size=size)
    nets = Nets({}, {}) if run is None else degradation.alone(degradation.player(run))

    def made(part: dict[str, jax.Array]) -> jax.Array:
        draw = augment.random_transforms
        sharp = degradation.random_crops(config, state, "labelled", part, size, draw)
        keys = per_example(stream(state.key, "noise", state.step), part["example_index"])
        return landmark_crops.degraded(how, nets, (sharp + 1.0) * 127.5, keys)

    return _shown(made, faces)


def _shown(view: Callable[[dict[str, jax.Array]], jax.Array], faces: Faces) -> np.ndarray:
    show, found = jax.jit(lambda part: to_bytes(view(part))), []
    for start in range(0, len(faces), BATCH):
        rows = np.arange(start, start + BATCH)
        chosen = np.minimum(rows, len(faces) - 1)
        found.append(np.asarray(show({"images": faces.images[chosen], "example_index": rows})))
    return np.concatenate(found)[: len(faces)]


def told_apart(
    native: np.ndarray,
    made: np.ndarray,
    critic: CriticConfig,
    *,
    steps: int = STEPS,
    train: TrainConfig = TRAIN,
    optimizer: OptimizerConfig = OPTIMIZER,
) -> np.ndarray:
    """Train a fresh critic on one half of two sets of images, and try it on the other half.

    This is the classifier two-sample test (Lopez-Paz and Oquab, ICLR 2017): the share of hits is
    0.5 where the two sets are of one distribution, or the critic cannot tell.

    Args:
      native, made: uint8 [n, s, s, 3] and [m, s, s, 3]; of each, as many are used as of the other.
      critic: its architecture.
      steps, train, optimizer: how it learns.

    Returns:
      bool, of each image held out, native ones first: whether the critic told it rightly.
    """
    rng = np.random.default_rng(train.seed)
    count = min(len(native), len(made))
    parts = {
        name: np.split(images[rng.permutation(len(images))[:count]], [count // 2])
        for name, images in (("native", native), ("made", made))
    }
    task = _task(critic, native.shape[1:], train.batch_size, make_optimizer(optimizer, steps))
    data = {name: {"images": halves[0]} for name, halves in parts.items()}
    with tempfile.TemporaryDirectory() as folder:
        state = fit(task, train, steps, data, Path(folder))
    score = jax.jit(lambda images: Nets(task.modules, state.nets).fixed("critic", to_unit(images)))
    scores = {
        name: np.concatenate(
            [np.asarray(score(tested[i : i + BATCH])) for i in range(0, len(tested), BATCH)]
        )
        for name, (_, tested) in parts.items()
    }
    return np.concatenate([scores["native"] > 0, scores["made"] <= 0])


def _task(
    critic: CriticConfig,
    shape: tuple[int, ...],
    batch_size: int,
    optimizer: optax.GradientTransformation,
) -> Task:
    """A critic by itself, which sees images and their mirror images."""
    network = build(critic, AXIS, inputs=(shape,))

    def losses(nets: Nets, state: State, batch: Batch) -> tuple[Losses, Metrics, dict[str, Any]]:
        shown = {}
        for name, part in batch.items():
            keys = per_example(stream(state.key, f"flip/{name}", state.step), part["example_index"])
            flips = jax.vmap(jax.random.bernoulli)(keys)[:, None, None, None]
            images = to_unit(part["images"])
            shown[name] = jnp.where(flips, images[:, :, ::-1], images)
        scores = nets("critic", jnp.concatenate([shown["native"], shown["made"]]))
        on_native, on_made = jnp.split(scores, [len(shown["native"])])
        loss = adversarial.binary_discriminator(on_native, on_made)
        return {"critic": loss}, {"critic": loss}, {}

    return Task(
        players={"critic": Player(network, optimizer)},
        batch=dict.fromkeys(("native", "made"), batch_size),
        losses=losses,
        evaluate=lambda nets, part: {},
        pictures=lambda nets, batch: {},
    )
