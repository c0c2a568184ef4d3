"""What tests of several folders need."""

from collections.abc import Iterator
from pathlib import Path

import jax
import jax.numpy as jnp
import pytest

from lrjax.config import UNetConfig, to_dict
from lrjax.tasks.landmarks import LandmarksConfig, generator_module
from lrjax.training.weights import save_variables


@pytest.fixture(scope="session")
def tiny_weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run folder whose `last/` holds a very small, untrained landmark network of 68 points."""
    config = LandmarksConfig(
        degradation="subsample",
        objective="integral",
        decoder="soft",
        stage1="/somewhere/else/degradation",
        generator=UNetConfig(stem=4, widths=(4, 4)),
    )
    image = jnp.zeros((1, config.size, config.size, 3))
    variables = generator_module(config, None).init(jax.random.key(1), image, train=False)
    run = tmp_path_factory.mktemp("run")
    metadata = {"network": "g2", "task": "landmarks", "step": 7, "config": to_dict(config)}
    save_variables(run / "last" / "g2.safetensors", variables, metadata)
    return run


@pytest.fixture(scope="module")
def quick_compile() -> Iterator[None]:
    """Programs are compiled some five times faster, and run slower: right for steps run once."""
    before = jax.config.read("jax_disable_most_optimizations")
    jax.config.update("jax_disable_most_optimizations", True)
    yield
    jax.config.update("jax_disable_most_optimizations", before)
