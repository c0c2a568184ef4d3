"""What a landmark network starts from, and what it learns from."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp

from lrjax.errors import InputError
from lrjax.geometry.points import FIVE, IBUG68, convert
from lrjax.models.registry import Network, build
from lrjax.models.weights import load, load_into, locate, read
from lrjax.training.parallel import AXIS
from lrjax.training.task import Player


def initial(source: str, g2: Network) -> dict[str, Any]:
    """Load what G2 starts from, of a run folder or weights file.

    Where that gives iBUG's 68 points and G2 people's five besides, the maps of the five start as
    the means of those that they are read off otherwise.

    Raises:
      InputError: there are no such weights, or they do not fit.
    """
    _, about = read(locate(source, "g2", "last" if Path(source).is_dir() else None))
    if g2.config.points != "ibug68_five" or about["network"].get("points") != "ibug68":
        return load_into(source, "g2", g2, "initial")
    smaller = build(dataclasses.replace(g2.config, points="ibug68"), AXIS)
    start = load_into(source, "g2", smaller, "initial")

    def grown(outputs: jax.Array) -> jax.Array:
        maps, background = outputs[..., :-1], outputs[..., -1:]
        columns = maps.reshape(-1, IBUG68.count).T
        five, _ = convert(columns, jnp.ones(IBUG68.count, bool), IBUG68, FIVE)
        five = five.T.reshape(*maps.shape[:-1], FIVE.count)
        return jnp.concatenate([maps, five, background], axis=-1)

    start["params"]["maps"] = jax.tree.map(grown, start["params"]["maps"])
    return start


def teacher(source: str, g2: Network) -> Player:
    """Load a teacher, frozen, that finds G2's points on G2's images.

    Args:
      source: run folder or weights file, or "pretrained".
      g2: whose points and pixels they are.

    Raises:
      InputError: there are no such weights, or they find other points, or look at other pixels.
    """
    found = load(source, "g2", ("landmarks",))
    theirs, ours = (
        (one.config.points, one.config.size, one.config.context) for one in (found.network, g2)
    )
    if theirs != ours:
        raise InputError(
            "The teacher {} finds {} on {} pixels of {} face sides, and g2 is to find {} on "
            "{} of {}; set teacher to another one.".format(source, *theirs, *ours)
        )
    return Player(found.network, None, found.variables)
