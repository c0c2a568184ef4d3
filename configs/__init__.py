"""One file per problem; each has `get_config(variant)` and lists its `VARIANTS`.

A variant is a setting, and perhaps a size: "s4" is the paper's, "s4-small" the same for a CPU. The
runs that a configuration names are of its own size.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal, TypeVar, get_args

from lrjax.config import OptimizerConfig, override
from lrjax.tasks.runs import Config, names_run, needed

T = TypeVar("T", bound=Config)

Size = Literal["paper", "w300", "small", "quick"]
SIZES: tuple[str, ...] = get_args(Size)
"""The papers' schedules and data, with the widths that they give, or ours where K&C give none; the
same without AFLW; narrow networks and short schedules for a CPU; and those on drawn faces."""

SHORT = OptimizerConfig(
    learning_rate=5e-4, b1=0.9, b2=0.999, schedule="cosine", weight_decay=1e-4, clip_norm=1.0
)
"""Encoders in a few minutes on a CPU: at LightCNN's rate they would be over before they have begun
to learn, and at four times this one, or without the clip, they diverge."""


def variants(settings: Iterable[str]) -> tuple[str, ...]:
    """List every setting in every size."""
    return tuple(f"{setting}-{size}" for setting in settings for size in SIZES)


def split(variant: str) -> tuple[str, str]:
    """Split a variant into setting and size, which is the paper's if nothing is said.

    Raises:
      KeyError: there is no such size.
    """
    setting, _, size = variant.partition("-")
    if size not in ("", *SIZES):
        raise KeyError(size)
    return setting, size or "paper"


def sized(name: str, size: str) -> str:
    """Name a run of a size: "landmarks:s4" is "landmarks:s4-small", and "paper" adds nothing."""
    if size == "paper":
        return name
    return f"{name}{'-' if ':' in name else ':'}{size}"


def with_sized_runs(config: T, size: str) -> T:
    """Name the runs of a size wherever `config` names the paper's."""
    named = {field: name for field, name in needed(config).items() if names_run(name)}
    return override(config, [f"{field}={sized(name, size)}" for field, name in named.items()])
