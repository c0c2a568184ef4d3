"""Where weights are, and the landmark network that a file of them describes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp

import lrjax
from lrjax.config import from_dict
from lrjax.errors import InputError
from lrjax.models.heatmap import HeatmapGenerator
from lrjax.tasks.landmarks import LandmarksConfig, generator_module
from lrjax.training.weights import load_variables

SHIPPED = Path(lrjax.__file__).parent / "pretrained" / "g2-ibug68.safetensors"
"""The weights that come with the package: 68 points."""

NAMES = {
    "g2": "landmark network",
    "recogniser": "recogniser",
    "resolver": "super-resolution network",
}
"""What the networks that runs are named for are called."""

KINDS = ("best", "last")
"""What a run folder holds: the weights with the least held-out error, and the final ones."""


def locate(source: str | Path | None, which: str | None = None) -> Path:
    """The weights file of G2.

    Args:
      source: a .safetensors file, a run folder, or None for the shipped weights.
      which: of a run folder, "best" or "last"; by default "best", or "last" where no faces were
        held out.

    Raises:
      InputError: there are no such weights.
    """
    if source is None:
        if not SHIPPED.is_file():
            raise InputError(
                f"This installation lacks the shipped weights {SHIPPED}; install lrjax again or "
                "name others with --weights."
            )
        return SHIPPED
    return locate_network(Path(source), "g2", "landmarks", which)


def locate_network(source: Path, network: str, task: str, which: str | None = None) -> Path:
    """The weights file of a network.

    Args:
      source: the file itself, or a run folder.
      network: its name in a run, one of `NAMES`.
      task: what the run trains, for the message.
      which: of a run folder, as for `locate`.

    Raises:
      InputError: the folder holds no such network, or `which` was said of a file.
    """
    if not source.is_dir():
        if which is not None and source.is_file():
            raise InputError(f"{source} is one file and has no {which!r}; name its run folder.")
        return source
    files = [source / kind / f"{network}.safetensors" for kind in ([which] if which else KINDS)]
    for file in files:
        if file.is_file():
            return file
    raise InputError(
        f"The folder {source} holds no trained {NAMES[network]} "
        f"({' or '.join(str(f.relative_to(source)) for f in files)}); name a run folder of "
        f"`lrjax train {task}` or a .safetensors file."
    )


def load_network(path: Path) -> tuple[LandmarksConfig, HeatmapGenerator, dict[str, Any]]:
    """(configuration, module, variables) of a weights file.

    Raises:
      InputError: the file is absent, or does not hold a landmark network that fits its own
        configuration.
    """
    variables, metadata = load_variables(path)
    if metadata.get("network") != "g2" or metadata.get("task") != "landmarks":
        raise InputError(
            f"The weights file {path} holds {metadata.get('network', 'no network')!r} of "
            f"{metadata.get('task', 'no task')!r}; name the g2.safetensors of a landmark run."
        )
    config = from_dict(LandmarksConfig, metadata.get("config", {}))
    module = generator_module(config, axis_name=None)
    image = jnp.zeros((1, config.size, config.size, 3))
    wanted = jax.eval_shape(lambda: module.init(jax.random.key(0), image, train=False))
    if shapes(wanted) != shapes(variables):
        raise InputError(
            f"The arrays in {path} are not those of the network that its configuration describes; "
            "export it again with `lrjax export`."
        )
    return config, module, jax.tree.map(jnp.asarray, variables)


def shapes(tree: Any) -> dict[str, tuple[int, ...]]:
    """The shape of each array in a tree, by its path."""
    leaves = jax.tree_util.tree_leaves_with_path(tree)
    return {jax.tree_util.keystr(path): tuple(leaf.shape) for path, leaf in leaves}
