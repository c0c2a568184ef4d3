"""A loss of one's own: that of the landmark task, with a term more."""

from __future__ import annotations

import dataclasses
from typing import Any, ClassVar

import jax
import jax.numpy as jnp

from lrjax.configs import landmarks
from lrjax.tasks import runs
from lrjax.tasks.landmarks import LandmarksConfig, make
from lrjax.training.nets import Nets
from lrjax.training.parallel import mean
from lrjax.training.state import Metrics, State
from lrjax.training.task import Batch, Losses, Task


@dataclasses.dataclass(frozen=True)
class ShrinkingConfig(LandmarksConfig):
    """Weigh the new term."""

    shrink: float = 0.5

    needs: ClassVar[tuple[str, ...]] = ()  # no other run


def make_shrinking(config: ShrinkingConfig, steps: int) -> Task:
    """Make the landmark task whose G2 also goes down the size of its parameters."""
    task = make(config, steps)

    def losses(nets: Nets, state: State, batch: Batch) -> tuple[Losses, Metrics, dict[str, Any]]:
        total, metrics, next_state = task.losses(nets, state, batch)
        size = sum(jnp.square(leaf).sum() for leaf in jax.tree.leaves(nets.params("g2")))
        total = total | {"g2": total["g2"] + config.shrink * size}
        return total, metrics | mean({"size": size}), next_state

    return dataclasses.replace(task, losses=losses)


# Faces are loaded as for every landmark network.
load = runs.TASKS["landmarks"].load
runs.TASKS["shrinking"] = runs.TaskType(ShrinkingConfig, make_shrinking, load)

VARIANTS = ("shrinking",)


def get_config(variant: str = "shrinking") -> ShrinkingConfig:
    """Take S1 on drawn faces."""
    s1 = landmarks.get_config("s1-quick")
    return ShrinkingConfig(**{f.name: getattr(s1, f.name) for f in dataclasses.fields(s1)})
