"""What tests of several folders need."""

import resource
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import jax
import pytest

from lrjax.models import weights
from lrjax.models.registry import build
from lrjax.models.s2ld import LandmarkConfig

PROGRAMS = tempfile.TemporaryDirectory(prefix="programs-")


def pytest_configure() -> None:
    """Compile once what several tests of this process compile alike: each run has steps anew.

    JAX looks for a folder of programs before it compiles its first.
    """
    if jax.config.jax_compilation_cache_dir is None:
        jax.config.update("jax_compilation_cache_dir", PROGRAMS.name)
        jax.config.update("jax_persistent_cache_min_compile_time_secs", 0)


@pytest.fixture(scope="session")
def tiny_weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run folder whose `last/` holds a very small, untrained landmark network of 68 points."""
    config = LandmarkConfig(stem=4, widths=(4, 4), decoder="soft")
    variables = build(config).init(jax.random.key(1))
    run = tmp_path_factory.mktemp("run")
    weights.save(run / "last" / "g2.safetensors", config, variables, {"step": 7})
    return run


@pytest.fixture(scope="module")
def quick_compile() -> Iterator[None]:
    """Programs are compiled some five times faster, and run slower: right for steps run once."""
    before = jax.config.read("jax_disable_most_optimizations")
    jax.config.update("jax_disable_most_optimizations", True)
    yield
    jax.config.update("jax_disable_most_optimizations", before)


@pytest.fixture
def small_files() -> Callable[[int], AbstractContextManager[None]]:
    """Within `small_files(size)`, as on a full disk, no file can have more than so many bytes."""

    @contextmanager
    def limited(size: int) -> Iterator[None]:
        before = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
        try:
            yield
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, before)

    return limited


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A folder on a disk of its own, of 256 kB, which is really full when it is."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", str(folder)]
    if subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("a disk can be mounted by root alone")
    yield folder
    subprocess.run(["umount", "--lazy", str(folder)], check=True)
