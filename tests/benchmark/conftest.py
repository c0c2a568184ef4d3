from pathlib import Path

import pytest

from lrjax.benchmark import workload
from lrjax.config import TrainConfig
from lrjax.models.s2ld import CriticConfig, DegraderConfig, LandmarkConfig, UNetConfig
from lrjax.tasks.landmarks import LandmarksConfig

UNET = {"stem": 4, "widths": (4, 6)}


@pytest.fixture(scope="session")
def g1() -> DegraderConfig:
    """A tiny degradation."""
    return DegraderConfig(image_size=32, stem=4, encoder=(4, 6), decoder=(6,), noise=5)


@pytest.fixture(scope="session")
def s4(tmp_path_factory: pytest.TempPathFactory, g1: DegraderConfig) -> LandmarksConfig:
    """A tiny S4 whose first stage is not trained."""
    folder: Path = tmp_path_factory.mktemp("stage1")
    return LandmarksConfig(
        image_size=32,
        stage1=str(workload.random_network(g1, folder)),
        critics=("heatmap", "confidence"),
        g2=LandmarkConfig(points="five", size=8, **UNET),
        d2=UNetConfig(**UNET),
        d3=CriticConfig("confidence_discriminator", widths=(4, 4, 6), hidden=8),
        train=TrainConfig(batch_size=4, parallel="mesh"),
    )
