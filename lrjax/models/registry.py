"""Every network by name: `build(config)` makes its module and says how to feed it.

A small frozen configuration describes a network; a weights file carries it beside the arrays
(`lrjax.models.weights`). `register` adds one: a configuration type, and what builds it.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from functools import partial
from typing import Any, Generic, Literal, TypeVar, cast

import flax.linen as nn
import jax
import jax.numpy as jnp

from lrjax.config import Named
from lrjax.errors import InputError

Kind = Literal[
    "degrader", "landmarks", "detector", "encoder", "upsampler", "refiner", "critic", "features"
]
Shapes = tuple[tuple[int, ...], ...]

LARGEST_SIDE = 4096
"""Pixels of the images of any network: a damaged size would take all memory."""


@dataclasses.dataclass(frozen=True)
class NetworkConfig(Named):
    """A network by its name; every kind adds its own fields."""

    name: str

    @classmethod
    def named(cls, name: str) -> type[NetworkConfig]:
        """Look up the configuration type of a registered name.

        Raises:
          InputError: no network, or none of this kind, has that name.
        """
        known = {n: entry.config for n, entry in NETWORKS.items() if issubclass(entry.config, cls)}
        if name not in known:
            raise InputError(f"There is no network {name!r}; choose one of {', '.join(known)}.")
        return known[name]


Config = TypeVar("Config", bound=NetworkConfig)


@dataclasses.dataclass(frozen=True)
class Network(Generic[Config]):
    """A network that was built.

    Attributes:
      config: what it was built from.
      kind: what it does.
      module: the Flax module; its last argument is `train`.
      inputs: shapes of the module's inputs for one example. A critic, which judges whatever it is
        given, has none of its own.
      template: of an encoder, the name of the template that its faces are aligned to; else "".
      embedding: of an encoder, the length of its feature; else 0.
    """

    config: Config
    kind: Kind
    module: nn.Module
    inputs: Shapes = ()
    template: str = ""
    embedding: int = 0

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of its images."""
        height, width, *_ = self.inputs[0]
        return height, width

    def init(self, key: jax.Array) -> dict[str, Any]:
        """Draw variables from a key."""
        examples = [jnp.zeros((1, *shape)) for shape in self.inputs]
        begin = partial(self.module.init, train=False)
        # Encoders and upsamplers have many equal layers: operation by operation each is compiled
        # once, where the whole would take several times as long.
        many = self.kind in ("detector", "encoder", "upsampler", "refiner")
        variables = (begin if many else jax.jit(begin))(key, *examples)
        return cast(dict[str, Any], variables)

    def shapes(self) -> dict[str, Any]:
        """Describe the variables: a tree of shapes and types, without computing anything."""
        return jax.eval_shape(self.init, jax.random.key(0))


@dataclasses.dataclass(frozen=True)
class _Entry:
    config: type[NetworkConfig]
    build: Callable[[Any, str | None], Network]


NETWORKS: dict[str, _Entry] = {}


def register(
    name: str, config: type[NetworkConfig], build: Callable[[Any, str | None], Network]
) -> None:
    """Make a network known under a name.

    Args:
      name: what its configuration's `name` says.
      config: a frozen dataclass derived from `NetworkConfig`.
      build: `(config, axis_name) -> Network`; BatchNorm shares its statistics over `axis_name`.
    """
    NETWORKS[name] = _Entry(config, build)


def build(
    config: Config, axis_name: str | None = None, *, inputs: Shapes | None = None
) -> Network[Config]:
    """Build the network of a configuration.

    Args:
      config: which network, and its sizes.
      axis_name: device axis over which BatchNorm, if there is any, shares its statistics.
      inputs: shapes of one example's inputs, where they differ from the network's own; a critic
        needs them.

    Raises:
      InputError: the configuration's name is not registered, or its images are larger than
        `LARGEST_SIDE`.
    """
    NetworkConfig.named(config.name)
    network = NETWORKS[config.name].build(config, axis_name)
    if max((side for shape in network.inputs for side in shape[:2]), default=0) > LARGEST_SIDE:
        raise InputError(
            f"The {config.name} would see images with a side of more than {LARGEST_SIDE} pixels; "
            "set its size to a smaller one."
        )
    return network if inputs is None else dataclasses.replace(network, inputs=inputs)


def make_module(
    kind: type[nn.Module], config: Any, axis_name: str | None, **more: Any
) -> nn.Module:
    """Make a module of the configuration's fields that it has."""
    fields = {field.name for field in dataclasses.fields(kind)} - {"name", "parent"}
    values = {f.name: getattr(config, f.name) for f in dataclasses.fields(config)} | more
    if "axis_name" in fields:
        values["axis_name"] = axis_name
    return kind(**{name: value for name, value in values.items() if name in fields})


def critic(module: type[nn.Module]) -> Callable[[Any, str | None], Network]:
    """Return what builds a network that judges whatever it is given."""

    def make(config: NetworkConfig, axis_name: str | None) -> Network:
        return Network(config, "critic", make_module(module, config, axis_name))

    return make
