"""A landmark network of one's own, and a configuration that trains it as S1."""

from __future__ import annotations

import dataclasses

from my_networks import TinyNet

from lrjax.configs import landmarks
from lrjax.geometry.points import SCHEMES
from lrjax.models.registry import Network, register
from lrjax.models.s2ld import LandmarkConfig
from lrjax.tasks.landmarks import LandmarksConfig


@dataclasses.dataclass(frozen=True)
class TinyConfig(LandmarkConfig):
    """Say what is not said by every landmark network's configuration."""

    depth: int = 1


def build(config: TinyConfig, axis_name: str | None) -> Network:
    """Make the module, and say what it sees."""
    module = TinyNet(outputs=SCHEMES[config.points].count + 1)  # and the background
    return Network(config, "landmarks", module, ((config.size, config.size, 3),))


register("tiny_net", TinyConfig, build)

VARIANTS = ("mine",)


def get_config(variant: str = "mine") -> LandmarksConfig:
    """Take S1 on drawn faces, with another G2."""
    return dataclasses.replace(
        landmarks.get_config("s1-quick"), g2=TinyConfig("tiny_net", points="five")
    )
