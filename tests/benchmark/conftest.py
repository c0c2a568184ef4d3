from pathlib import Path

import pytest

from lrjax.benchmark import workload
from lrjax.config import CriticConfig, HighToLowConfig, TrainConfig, UNetConfig
from lrjax.tasks.degradation import DegradationConfig
from lrjax.tasks.landmarks import LandmarksConfig

STAGE1 = DegradationConfig(
    image_size=32,
    size=8,
    generator=HighToLowConfig(stem=4, encoder=(4, 6), decoder=(6,), noise=5),
    critic=CriticConfig(widths=(4, 4, 6), hidden=8),
)


@pytest.fixture(scope="session")
def stage1() -> DegradationConfig:
    """The configuration of a tiny degradation."""
    return STAGE1


@pytest.fixture(scope="session")
def s4(tmp_path_factory: pytest.TempPathFactory) -> LandmarksConfig:
    """A tiny S4 whose first stage is an untrained run folder."""
    folder: Path = tmp_path_factory.mktemp("stage1")
    workload.untrained_degradation(STAGE1, folder)
    return LandmarksConfig(
        scheme="five",
        image_size=32,
        size=8,
        stage1=str(folder),
        critics=("heatmap", "confidence"),
        generator=UNetConfig(stem=4, widths=(4, 6)),
        heatmap_critic=UNetConfig(stem=4, widths=(4, 6)),
        confidence_critic=CriticConfig(widths=(4, 4, 6), hidden=8),
        train=TrainConfig(batch_size=4, parallel="mesh"),
    )
