"""Weights that others published, renamed and laid out for our networks.

Per network a table says which of their layers is which of ours; `convert_state` does the rest.
Their kernels are [outputs, inputs, height, width], ours [height, width, inputs, outputs].
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from itertools import islice
from types import MappingProxyType
from typing import Any

import numpy as np
from flax import traverse_util

from lrjax.convert.torch_pickles import shortened
from lrjax.errors import InputError
from lrjax.models import inception_resnet, iresnet, lightcnn, mobilefacenet, vgg
from lrjax.models.encoders import IResNetConfig
from lrjax.models.iresnet import Colours
from lrjax.models.mtcnn import NAMES, MTCNNConfig
from lrjax.models.registry import Network, NetworkConfig, build
from lrjax.models.upsamplers import VDSRConfig

State = Mapping[str, np.ndarray]

# Of a layer's values, ours → theirs.
VALUES = {
    "kernel": "weight",
    "slope": "weight",
    "scale": "weight",
    "bias": "bias",
    "mean": "running_mean",
    "var": "running_var",
}

# BatchNorm's count of batches, which no computation of ours uses.
COUNTER = ".num_batches_tracked"


def _lightcnn_layers(version: int) -> Iterator[tuple[str, str]]:
    yield "conv1", "conv1.filter"
    for stage, (blocks, _, _) in enumerate(lightcnn.STAGES, 1):
        for block in range(blocks):
            yield f"block{stage}_{block}_first", f"block{stage}.{block}.conv1.filter"
            yield f"block{stage}_{block}_second", f"block{stage}.{block}.conv2.filter"
        yield f"group{stage}_reduce", f"group{stage}.conv_a.filter"
        yield f"group{stage}_expand", f"group{stage}.conv.filter"
    yield "fc", "fc.filter" if version == 1 else "fc"


def _inception_units(
    ours: str, theirs: str, branches: tuple[tuple[inception_resnet.Layer, ...], ...]
) -> Iterator[tuple[str, str]]:
    for b, branch in enumerate(branches):
        for place in range(len(branch)):
            # Theirs is a sequence only where there is more than one unit.
            index = f".{place}" if len(branch) > 1 else ""
            yield f"{ours}/branch{b}_{place}", f"{theirs}.branch{b}{index}"


def _inception_layers() -> Iterator[tuple[str, str]]:
    units = [
        (name, name) for name in (f"conv2d_{part}" for part in ("1a", "2a", "2b", "3b", "4a", "4b"))
    ]
    units += _inception_units("mixed_6a", "mixed_6a", inception_resnet.MIXED_6A)
    units += _inception_units("mixed_7a", "mixed_7a", inception_resnet.MIXED_7A)
    blocks = [
        (f"{name}_{place}", f"{name}.{place}", branches)
        for name, branches, count, _ in inception_resnet.REPEATS
        for place in range(count)
    ]
    for ours, theirs, branches in [*blocks, ("block8", "block8", inception_resnet.BLOCK8)]:
        units += _inception_units(ours, theirs, branches)
        yield f"{ours}/project", f"{theirs}.conv2d"
    for ours, theirs in units:
        yield f"{ours}/conv", f"{theirs}.conv"
        yield f"{ours}/norm", f"{theirs}.bn"
    yield "last_linear", "last_linear"
    yield "last_bn", "last_bn"


def _mobilefacenet_layers() -> Iterator[tuple[str, str]]:
    yield "conv1", "conv1.0"
    yield "conv1_norm", "conv1.1"
    for ours, norm in (("depthwise", "bn1"), ("pointwise", "bn2")):
        yield ours, f"dw_conv.{ours}"
        yield f"{ours}_norm", f"dw_conv.{norm}"
    for place in range(sum(count for _, _, count, _ in mobilefacenet.BLOCKS)):
        ours, theirs = f"features_{place}", f"features.{place}.conv"
        for part, layer, norm in (
            ("expand", "0.0", "0.1"),
            ("depthwise", "1.0", "1.1"),
            ("project", "2", "3"),
        ):
            yield f"{ours}_{part}", f"{theirs}.{layer}"
            yield f"{ours}_{part}_norm", f"{theirs}.{norm}"
    yield "conv2", "conv2.0"
    yield "conv2_norm", "conv2.1"
    yield "global", "gdconv.depthwise"
    yield "global_norm", "gdconv.bn"
    yield "conv3", "conv3"
    yield "norm", "bn"


# Of a unit, ours → AdaFace's and InsightFace's; and of what its input passes.
_UNIT = {
    "norm": ("res_layer.0", "bn1"),
    "first": ("res_layer.1", "conv1"),
    "first_norm": ("res_layer.2", "bn2"),
    "prelu": ("res_layer.3", "prelu"),
    "second": ("res_layer.4", "conv2"),
    "second_norm": ("res_layer.5", "bn3"),
}
_PROJECTION = {
    "project": ("shortcut_layer.0", "downsample.0"),
    "project_norm": ("shortcut_layer.1", "downsample.1"),
}


def _ir_layers(name: str) -> Iterator[tuple[str, str]]:
    """As AdaFace and CVLface name them."""
    for place, part in enumerate(("stem", "stem_norm", "stem_prelu")):
        yield part, f"input_layer.{place}"
    for place, unit in enumerate(iresnet.units(name)):
        for part, (theirs, _) in (_UNIT | (_PROJECTION if unit.projects else {})).items():
            yield f"unit{place}_{part}", f"body.{place}.{theirs}"
    for part, index in (("last_norm", 0), ("feature", 3), ("feature_norm", 4)):
        yield part, f"output_layer.{index}"


def _iresnet_layers(name: str) -> Iterator[tuple[str, str]]:
    """As InsightFace names them."""
    yield from (("stem", "conv1"), ("stem_norm", "bn1"), ("stem_prelu", "prelu"))
    stage, index = 0, 0
    for place, unit in enumerate(iresnet.units(name)):
        stage, index = (stage + 1, 0) if unit.halves else (stage, index + 1)
        for part, (_, theirs) in (_UNIT | (_PROJECTION if unit.projects else {})).items():
            yield f"unit{place}_{part}", f"layer{stage}.{index}.{theirs}"
    yield from (("last_norm", "bn2"), ("feature", "fc"), ("feature_norm", "features"))


def _vdsr_layers() -> Iterator[tuple[str, str]]:
    yield "conv_0", "input"
    for layer in range(1, VDSRConfig.layers - 1):
        yield f"conv_{layer}", f"residual_layer.{layer - 1}.conv"
    yield f"conv_{VDSRConfig.layers - 1}", "output"


def _vgg_layers() -> Iterator[tuple[str, str]]:
    place = 0
    for group, count in enumerate(vgg.CONVOLUTIONS, 1):
        for index in range(1, count + 1):
            yield f"conv{group}_{index}", f"features.{place}"
            place += 2  # each is followed by a ReLU,
        place += 1  # and each group by a pooling


def _mtcnn_layers() -> Iterator[tuple[str, str]]:
    # Ours have their names.
    paths = traverse_util.flatten_dict(build(MTCNNConfig()).shapes()["params"])
    yield from {("/".join(path[:-1]), ".".join(path[:-1])) for path in paths}


@dataclasses.dataclass(frozen=True)
class Conversion:
    """How a published network becomes one of ours.

    Attributes:
      layers: pairs of our layer's path and the start of their names.
      classifier: the start of the names that belong to its classifier, which is left out.
      members: of networks that a wheel carries: our name of each -> its file in the wheel.
      roots: what may stand before all names -> the order in which a network from there sees
        colours; None: what lies beside the file says it. Empty: nothing stands there.
      flattened: their name of a matrix that follows a flattening, and the sides of what was
        flattened: [channels, height, width] there, [height, width, channels] here.
    """

    layers: Callable[[], Iterator[tuple[str, str]]]
    classifier: tuple[str, ...] = ()
    flattened: tuple[str, int, int] | None = None
    roots: Mapping[str, Colours | None] = dataclasses.field(default_factory=dict)
    members: Mapping[str, str] | None = None


_LIGHTCNN29 = Conversion(partial(_lightcnn_layers, 1), ("fc2",), ("fc.filter.weight", 8, 8))
_LIGHTCNN29V2 = Conversion(partial(_lightcnn_layers, 2), ("fc2",), ("fc.weight", 8, 8))


# CVLface wraps both, and trains with colours in either order.
_CVLFACE: dict[str, Colours | None] = {"net.": None, "model.net.": None}
_ADAFACE: dict[str, Colours | None] = {"": "BGR", "model.": "BGR", **_CVLFACE}
_ARCFACE: dict[str, Colours | None] = {"": "RGB", **_CVLFACE}
_IRESNETS = {
    name: Conversion(partial(_iresnet_layers, name), flattened=("fc.weight", 7, 7), roots=_ARCFACE)
    if name.startswith("iresnet")
    else Conversion(
        partial(_ir_layers, name),
        ("head.",),
        ("output_layer.3.weight", 7, 7),
        _ADAFACE,
    )
    for name in iresnet.LAYOUTS
}

CONVERSIONS: Mapping[str, Conversion] = MappingProxyType(
    {
        "lightcnn29": _LIGHTCNN29,
        "lightcnn29_32": _LIGHTCNN29,
        "lightcnn29v2": _LIGHTCNN29V2,
        "lightcnn29v2_32": _LIGHTCNN29V2,
        "inception_resnet_v1": Conversion(_inception_layers, ("logits.",)),
        "mobilefacenet": Conversion(_mobilefacenet_layers),
        **_IRESNETS,
        "mtcnn": Conversion(
            _mtcnn_layers,
            members={name: f"facenet_pytorch/data/{name}.pt" for name in NAMES},
        ),
        "vdsr": Conversion(_vdsr_layers),
        "vgg19": Conversion(_vgg_layers, ("classifier.",)),
    }
)


@dataclasses.dataclass(frozen=True)
class Converted:
    """Variables (NumPy, float32) of a network, and the names that were left out."""

    network: Network
    variables: dict[str, Any]
    dropped: tuple[str, ...]


def convert_state(
    name: str,
    state: State,
    source: str,
    config: NetworkConfig | None = None,
    colours: Colours | None = None,
) -> Converted:
    """Give our network `name` the values of a state dict.

    Args:
      name: a key of `CONVERSIONS`.
      state: arrays by name; see `lrjax.convert.torch_files.read_state`.
      source: what the state dict is called in errors, such as its file.
      config: of the network, if it is not the published one but a narrower one, say.
      colours: the order in which the network sees them, where that is not known of its kind.

    Raises:
      InputError: the order of colours is wanted and not known, or not wanted; or tensors are
        missing, left over, of other shapes, or not finite.
    """
    conversion = CONVERSIONS[name]
    state, usual = _rooted(conversion, state)
    if conversion.roots and config is None:
        config = _coloured(name, colours or usual, source)
    elif colours is not None:
        raise InputError(f"Colours are for {', '.join(_IRESNETS)}; leave --colours out.")
    network = build(config or _published(name, state))
    wanted = traverse_util.flatten_dict(network.shapes(), sep="/")
    layers = dict(conversion.layers())
    origin = {path: _origin(path, layers) for path in wanted}
    dropped = tuple(
        key for key in state if conversion.classifier and key.startswith(conversion.classifier)
    )
    known = {*origin.values(), *dropped}
    missing = [key for key in origin.values() if key not in state]
    extra = [key for key in state if key not in known and not key.endswith(COUNTER)]
    for verb, names in (("lacks", missing), ("also holds", extra)):
        if names:
            more = f" and {len(names) - 3} more" if len(names) > 3 else ""
            raise InputError(
                f"The weights {source} are not those of {name}: the file {verb} "
                f"{', '.join(map(shortened, sorted(names)[:3]))}{more}; name the network that it "
                "holds."
            )
    flat = {}
    for path, key in origin.items():
        shape, values = wanted[path].shape, state[key]
        _check(values, shape, f"The tensor {key} of {source}", name)
        if conversion.flattened and key == conversion.flattened[0]:
            values = values.reshape(len(values), -1, *conversion.flattened[1:])
        ours = values.transpose(2, 3, 1, 0) if values.ndim == 4 else values.T
        flat[path] = ours.reshape(shape).astype(np.float32)
    return Converted(network, traverse_util.unflatten_dict(flat, sep="/"), dropped)


def _rooted(conversion: Conversion, state: State) -> tuple[State, Colours | None]:
    """The state dict without what stands before all names, and the colours that this tells."""
    for root, colours in conversion.roots.items():
        if all(f"{root}{theirs}.weight" in state for _, theirs in islice(conversion.layers(), 2)):
            return {key.removeprefix(root): value for key, value in state.items()}, colours
    return state, "RGB"  # of another network, which will be said


def _coloured(name: str, colours: Colours | None, source: str) -> NetworkConfig:
    if colours is None:
        raise InputError(
            f"The weights {source} do not say in which order their network sees colours; say it "
            "with --colours, as color_space in the config.json or .yaml beside them says it."
        )
    return IResNetConfig(name, colours=colours)


def _published(name: str, state: State) -> NetworkConfig:
    """The network as published; VDSR with the channels and biases of the state dict."""
    if name != "vdsr":
        return NetworkConfig.named(name)(name=name)
    first = state.get("input.weight")
    channels = first.shape[1] if first is not None and first.ndim == 4 else 1
    return VDSRConfig(channels=channels, use_bias="input.bias" in state)


def _origin(path: str, layers: Mapping[str, str]) -> str:
    """Their name of our variable."""
    _, _, name = path.partition("/")  # without "params" or "batch_stats"
    if name in layers:  # a kernel that is no layer of Flax's
        return f"{layers[name]}.weight"
    layer, _, value = name.rpartition("/")
    return f"{layers[layer]}.{VALUES[value]}"


def _check(values: np.ndarray, ours: tuple[int, ...], label: str, name: str) -> None:
    """That values have the shape, in their layout, that ours has, and are finite."""
    if len(ours) == 3:  # depthwise: each channel has one input
        ours = (*ours[:2], 1, ours[2])
    elif len(ours) == 2 and values.ndim == 4:  # theirs is a convolution of one pixel
        ours = (1, 1, *ours)
    expected = (*ours[:1:-1], *ours[:2]) if len(ours) == 4 else ours[::-1]
    if values.shape != expected:
        raise InputError(
            f"{label} has the shape {list(values.shape)}, where {name} has {list(expected)}; "
            "name the network that the file holds."
        )
    if not np.issubdtype(values.dtype, np.floating) or not np.isfinite(values).all():
        raise InputError(f"{label} holds values that are not finite numbers; get the file again.")
