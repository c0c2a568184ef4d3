"""Frozen dataclasses that every configuration is made of, and their JSON form.

A configuration is data: `to_dict` and `from_dict` are inverse, unknown or ill-typed fields are
refused by name, and the run folder's `config.json` alone says what was trained.
"""

from __future__ import annotations

import dataclasses
import json
import math
import re
import reprlib
from collections.abc import Callable, Sequence
from functools import cache, partial
from types import GenericAlias
from typing import Any, Literal, NamedTuple, TypeVar, get_args, get_origin

import cattrs
from cattrs.gen import make_dict_structure_fn

from lrjax.errors import InputError, did_you_mean
from lrjax.geometry.fits import Fit

T = TypeVar("T")

# A damaged file can be wrong in very many places, and its fields can have very long names: so many
# errors are named, in so many letters, and lists are read in parts of so many items.
_NAMED, _LONGEST, _PART = 8, 1000, 64


class Named:
    """Configurations of several types, which are told apart by their field `name`.

    In JSON, the name alone stands for the defaults of its type.
    """

    @classmethod
    def named(cls, name: str) -> type[Any]:
        """Look up the type of a name.

        Raises:
          InputError: there is none.
        """
        raise InputError(f"There is no {cls.__name__} called {name!r}.")


class _Range(NamedTuple):
    """Numbers that a field may hold, and how a message calls them. NaN is in none."""

    words: str
    holds: Callable[[float], bool]


_AT_LEAST_1 = _Range("1 or more", lambda value: 1 <= value < math.inf)
_AT_LEAST_0 = _Range("0 or more", lambda value: 0 <= value < math.inf)
_ABOVE_0 = _Range("more than 0", lambda value: 0 < value < math.inf)
_BELOW_1 = _Range("0 or more, below 1", lambda value: 0 <= value < 1)
_SHARE = _Range("a number from 0 to 1", lambda value: 0 <= value <= 1)
_QUALITY = _Range("numbers from 1 to 100", lambda value: 1 <= value <= 100)
# Of an int32 and of a uint32: JAX would take larger numbers for others without a word.
_STEPS = _Range("0 or more, below 2^31", lambda value: 0 <= value < 1 << 31)
_SEED = _Range("0 or more, below 2^32", lambda value: 0 <= value < 1 << 32)


def _check(config: Any, allowed: _Range, *fields: str) -> None:
    """Raise ValueError where a field, or one of its several numbers, is not in a range or None."""
    for field in fields:
        value = getattr(config, field)
        for one in value if isinstance(value, tuple) else (value,):
            if one is not None and not allowed.holds(one):
                raise ValueError(f"{field} is {value}; set it to {allowed.words}")


def _check_order(config: Any, *fields: str) -> None:
    """Raise ValueError where a field's first number is larger than its second."""
    for field in fields:
        low, high = getattr(config, field)
        if low > high:
            raise ValueError(f"{field} is {(low, high)}; set it to the smaller number first")


@dataclasses.dataclass(frozen=True)
class GroupConfig:
    """Parameters that learn at a rate of their own.

    Attributes:
      match: regular expression, sought in the parameter's path, such as "classifier.bias".
      rate: times the learning rate.
      decay: times the weight decay.
    """

    match: str
    rate: float = 1.0
    decay: float = 1.0

    def __post_init__(self) -> None:
        try:
            re.compile(self.match)
        except re.error as error:
            raise ValueError(f"{self.match!r} is not a regular expression ({error})") from error
        _check(self, _AT_LEAST_0, "rate", "decay")


@dataclasses.dataclass(frozen=True)
class OptimizerConfig:
    """An optimiser and its schedule. The defaults are K&C §4.1 "Training Details"."""

    learning_rate: float = 2e-4
    b1: float = 0.5
    b2: float = 0.9
    # "halving": multiplied by `drop_factor` after each of `drops`, as the paper does.
    # "cosine": linear warm-up over the first 2 % of the steps, then a cosine to zero.
    schedule: Literal["halving", "cosine"] = "halving"
    # Paper: after 80 and 160 of 200 epochs. Ours: the same fractions of whatever length is run.
    drops: tuple[float, ...] = (0.4, 0.8)
    drop_factor: float = 0.5
    # "adam": decoupled from the moments (AdamW). "sgd": added to the gradient, as PyTorch does.
    weight_decay: float = 0.0
    clip_norm: float | None = None
    # VDSR's "adjustable gradient clipping", its θ: each element of a gradient is clipped to ±θ
    # divided by the learning rate of the step.
    adjustable_clip: float | None = None
    method: Literal["adam", "sgd"] = "adam"
    momentum: float = 0.9  # of "sgd"
    groups: tuple[GroupConfig, ...] = ()  # the first that matches counts

    def __post_init__(self) -> None:
        _check(self, _AT_LEAST_0, "learning_rate", "drop_factor", "weight_decay")
        _check(self, _BELOW_1, "b1", "b2", "momentum")
        _check(self, _SHARE, "drops")
        _check(self, _ABOVE_0, "clip_norm", "adjustable_clip")


@dataclasses.dataclass(frozen=True)
class TrainConfig:
    """How long, on what, and how often the run says something."""

    batch_size: int = 32
    epochs: float = 200
    steps: int | None = None  # overrides `epochs`
    seed: int = 0
    parallel: Literal["pmap", "mesh"] = "pmap"
    # "device": all arrays live on the device; "host": batches are streamed with prefetch.
    feed: Literal["device", "host"] = "device"
    readers: int = 2  # threads that read ahead, where the feed is "host"
    log_every: int = 50
    evaluate_every: int = 1000
    checkpoint_every: int = 1000
    keep: int = 2
    samples: int = 16  # faces on each sheet of sample pictures; 0 draws none

    def __post_init__(self) -> None:
        often = ("log_every", "evaluate_every", "checkpoint_every")
        _check(self, _AT_LEAST_1, "batch_size", "readers", "keep", *often)
        _check(self, _AT_LEAST_0, "samples")
        _check(self, _ABOVE_0, "epochs")
        _check(self, _STEPS, "steps")
        _check(self, _SEED, "seed")


@dataclasses.dataclass(frozen=True)
class AugmentConfig:
    """Geometry: K&C §4.1. Photometry and occlusion: off in the paper, named options here."""

    rotation: float = 30.0  # degrees, uniform in ±
    scale: tuple[float, float] = (0.9, 1.1)
    # Paper: "random translation upto 20 pixels", of a 128-pixel crop. Ours: the same fraction.
    translation: float = 20 / 128
    flip: float = 0.0  # probability; the paper names no mirroring
    brightness: float = 0.0  # ± in units of the full range
    contrast: float = 0.0  # ± around 1
    gamma: float = 0.0  # ± in log
    colour: float = 0.0  # ± gain per channel
    grey: float = 0.0  # probability of a grey picture
    occlusion: float = 0.0  # probability of a rectangle in one colour
    tight: float = 0.0  # probability that nothing outside the face box is seen

    def __post_init__(self) -> None:
        _check(self, _SHARE, "flip", "grey", "occlusion", "tight")
        _check(self, _AT_LEAST_0, "rotation", "translation")
        _check(self, _AT_LEAST_0, "brightness", "contrast", "gamma", "colour")
        _check(self, _ABOVE_0, "scale")
        _check_order(self, "scale")


@dataclasses.dataclass(frozen=True)
class AlignmentConfig:
    """How faces are laid onto a template: one value for training, tests and the command line."""

    # What finds the five points: "pretrained", the run or weights of a landmark network, "points"
    # for the dataset's own, "adaface" for MTCNN on squares of 38 pixels (see `inference.squares`),
    # "resize" for nothing: faces are then resized.
    landmarks: str = "pretrained"
    # K&C: "affine transformation". Ours: a similarity, which is one and keeps the face's shape.
    fit: Fit = "similarity"
    # How faces are shown that cannot be aligned: in the template's shape, or with black beside.
    resize_mode: Literal["stretch", "pad"] = "stretch"
    # The part of each picture that is the face: left, top, width, height, as shares of its size.
    region: tuple[float, float, float, float] = (0.0, 0.0, 1.0, 1.0)
    # Run or weights of a network that enlarges the faces first (K&C's A1 and A2), cut with the
    # context and at the size that it has learned with.
    upsample: str | None = None
    # Longer side in pixels that pictures are resized to first, whatever their own is, bilinearly;
    # null: as they are. K&C's Baseline: "resized to 128 × 128". Ours: in their own shape.
    resize_to: int | None = None
    # Height in pixels at which faces are laid onto the template, to be resized to its own height
    # then, bilinearly; null: they are laid there at once. K&C's I1 to I3: "the images are resized
    # after alignment in low resolution".
    align_at: int | None = None
    # How the landmark network looks: also at the mirror image; how often the crop is centred.
    flip: bool = True
    passes: int = 2


@dataclasses.dataclass(frozen=True)
class CameraConfig:
    """A parametric camera for the `camera` degradation, which the paper does not have."""

    size: tuple[float, float] = (18.0, 48.0)  # sensor pixels across the crop, log-uniform
    blur: float = 0.06  # largest standard deviation, as a fraction of the crop
    noise: float = 12.0  # largest standard deviation, of 255
    jpeg: float = 0.7  # probability
    quality: tuple[float, float] = (25.0, 95.0)

    def __post_init__(self) -> None:
        _check(self, _ABOVE_0, "size")
        _check(self, _AT_LEAST_0, "blur", "noise")
        _check(self, _SHARE, "jpeg")
        _check(self, _QUALITY, "quality")
        _check_order(self, "size", "quality")


def to_dict(config: Any) -> dict[str, Any]:
    """Plain JSON-able form of a configuration."""
    return dataclasses.asdict(config)


@cache
def _converter() -> cattrs.Converter:
    converter = cattrs.Converter(forbid_extra_keys=True)
    converter.register_structure_hook_factory(
        dataclasses.is_dataclass,
        lambda cls: partial(
            _object, make_dict_structure_fn(cls, converter, _cattrs_forbid_extra_keys=True)
        ),
    )
    converter.register_structure_hook_func(
        lambda cls: isinstance(cls, type) and issubclass(cls, Named), partial(_named, converter)
    )
    converter.register_structure_hook(int, _strict(int))
    converter.register_structure_hook(float, _strict(float, int))
    converter.register_structure_hook(str, _strict(str))
    converter.register_structure_hook(bool, _strict(bool))
    converter.register_structure_hook(int | None, lambda v, _: v if v is None else _int(v))
    converter.register_structure_hook(float | None, lambda v, _: v if v is None else _float(v))
    converter.register_structure_hook(str | None, lambda v, _: v if v is None else _str(v))
    converter.register_structure_hook(str | int | float | None, _scalar)
    converter.register_structure_hook_factory(
        lambda kind: get_origin(kind) is tuple and get_args(kind)[-1] is Ellipsis,
        lambda kind: partial(_tuple, converter, GenericAlias(list, get_args(kind)[:1])),
    )
    return converter


def _named(converter: cattrs.Converter, value: Any, kind: type[Named]) -> Any:
    fields = {"name": value} if isinstance(value, str) else value
    if not isinstance(fields, dict):
        raise TypeError(f"{value!r} is neither a name nor fields of {kind.__name__}")
    # A type whose name has a default may leave it out.
    name = fields.get("name", getattr(kind, "name", None))
    if not isinstance(name, str):
        raise TypeError("the field name is missing")
    actual = kind.named(name)
    make = make_dict_structure_fn(actual, converter, _cattrs_forbid_extra_keys=True)
    return make(fields | {"name": name}, actual)


def _object(structure: Callable[[Any, Any], T], value: Any, kind: Any) -> T:
    if not isinstance(value, dict):
        raise TypeError(f"{reprlib.repr(value)} is not an object with named fields")
    return structure(value, kind)


def _tuple(converter: cattrs.Converter, kind: Any, value: Any, _: Any) -> tuple[Any, ...]:
    """cattrs would take "ab" for ("a", "b") and an object for its field names."""
    if not isinstance(value, list | tuple):
        raise TypeError(f"{reprlib.repr(value)} is not a list")
    items: list[Any] = []
    for end in range(_PART, len(value) + _PART, _PART):
        try:
            items += converter.structure(value[end - _PART : end], kind)
        except cattrs.BaseValidationError:
            converter.structure(value[:end], kind)  # Fails too, and counts from the first item.
            raise
    return tuple(items)


def _scalar(value: Any, _: Any) -> str | int | float | None:
    if isinstance(value, bool) or not isinstance(value, str | int | float | None):
        raise TypeError(f"{reprlib.repr(value)} is not a text, a number or null")
    return value


def _strict(kind: type, *also: type) -> Any:
    """cattrs would turn "3" into 3 and 1 into True; a configuration should say what it means."""

    def hook(value: Any, _: type | None = None) -> Any:
        bad_bool = isinstance(value, bool) and kind is not bool
        if bad_bool or not isinstance(value, (kind, *also)):
            raise TypeError(f"{reprlib.repr(value)} is not of type {kind.__name__}")
        made = kind(value)
        if isinstance(made, float) and not math.isfinite(made):
            raise ValueError(f"{made} is not a finite number")
        return made

    return hook


_int, _float, _str = _strict(int), _strict(float, int), _strict(str)


def _reason(error: BaseException, kind: type | None) -> str:
    """What is wrong with one field: cattrs knows of missing and unknown ones, we of values."""
    if isinstance(error, KeyError | cattrs.ForbiddenExtraKeysError):
        return cattrs.v.format_exception(error, kind)
    return str(error).replace("literal typing.Literal", "")


def from_dict(cls: type[T], values: Any, about: str = "") -> T:
    """Build a dataclass from plain values, the inverse of `to_dict`.

    Args:
      about: how the message begins, "The configuration of TrainConfig is not valid" by default.

    Raises:
      InputError: a field is unknown, missing or of the wrong type; the first ones are named.
    """
    try:
        return _converter().structure(values, cls)
    except (cattrs.BaseValidationError, TypeError, ValueError) as error:
        found = cattrs.transform_error(error, format_exception=_reason)
        reasons = "; ".join(found[:_NAMED]).replace("$.", "").replace(". @", " @")
        reasons = reasons.replace(" @ $", "").removesuffix(".")
        shown = "".join(c if c.isprintable() else " " for c in reasons)[:_LONGEST]
        about = about or f"The configuration of {cls.__name__} is not valid"
        raise InputError(f"{about}: {shown}.") from error


def field_paths(fields: dict[str, Any]) -> list[str]:
    """List the innermost fields of a configuration's plain form, as "train.steps"."""
    return [
        path
        for name, value in fields.items()
        for path in (
            [f"{name}.{inner}" for inner in field_paths(value)]
            if isinstance(value, dict)
            else [name]
        )
    ]


def override(config: T, settings: Sequence[str]) -> T:
    """`config` with `path.to.field=value` applied; values are JSON, or else plain text.

    >>> override(TrainConfig(), ["steps=10"]).steps
    10
    """
    values = to_dict(config)
    for setting in settings:
        path, equals, text = setting.partition("=")
        *parents, field = path.split(".")
        node: Any = values
        for parent in parents:
            node = node.get(parent) if isinstance(node, dict) else None
        if not equals or not isinstance(node, dict) or field not in node:
            raise InputError(
                f"The setting {reprlib.repr(setting)} names no field of {type(config).__name__}"
                f"{did_you_mean(path, field_paths(values))}; "
                "write path.to.field=value, with the fields that `lrjax config` prints."
            )
        try:
            node[field] = json.loads(text)
        except (ValueError, RecursionError):  # no JSON, or more digits or brackets than are read
            node[field] = text
    return from_dict(type(config), values)
