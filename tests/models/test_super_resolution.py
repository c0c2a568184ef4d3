"""The networks that enlarge: sizes, counts by hand, and values of PyTorch references."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from itertools import pairwise
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tiny
from PIL import Image

from lrjax.convert.networks import convert_state
from lrjax.models.refiners import DRRN, SRCNN, VDSR
from lrjax.models.super_resolution import (
    LuminanceOnly,
    RRDBNet,
    SRGANDiscriminator,
    SRResNet,
    doublings,
    enlarged,
    pixel_shuffle,
)
from lrjax.models.upsamplers import VGGConfig
from lrjax.models.vgg import VGG19Features

pytestmark = pytest.mark.usefixtures("quick_compile")


def shapes(module: Any, *size: int, **mode: Any) -> dict[str, Any]:
    """The variables' shapes, without computing any."""
    return jax.eval_shape(partial(module.init, **mode), jax.random.key(0), jnp.zeros(size))


def count(variables: dict[str, Any]) -> int:
    return sum(leaf.size for leaf in jax.tree.leaves(variables["params"]))


def images(*shape: int) -> np.ndarray:
    return np.random.default_rng(1).uniform(-1, 1, shape).astype(np.float32)


def conv(inputs: int, outputs: int, side: int = 3, bias: bool = True) -> int:
    return side * side * inputs * outputs + bias * outputs


def test_srresnet_has_the_papers_parameters() -> None:
    block = 2 * (conv(64, 64, bias=False) + 2 * 64) + 1
    around = conv(3, 64, 9) + 1 + conv(64, 64, bias=False) + 2 * 64 + conv(64, 3, 9)
    double = conv(64, 256) + 1
    assert count(shapes(SRResNet(), 1, 8, 8, 3, train=False)) == 16 * block + around + 2 * double
    assert 16 * block + around + 2 * double == 1_547_350  # "1.5M"


def test_rrdbnet_has_the_papers_parameters() -> None:
    dense = sum(conv(64 + 32 * i, 32) for i in range(4)) + conv(64 + 32 * 4, 64)
    around = conv(3, 64) + 4 * conv(64, 64) + conv(64, 3)
    found = shapes(RRDBNet(), 1, 8, 8, 3, train=False)
    assert count(found) == 23 * 3 * dense + around == 16_697_987
    assert set(found) == {"params"}


def test_the_discriminator_has_the_papers_parameters() -> None:
    widths = [64, 64, 128, 128, 256, 256, 512, 512]
    layers = conv(3, 64) + sum(conv(a, b, bias=False) + 2 * b for a, b in pairwise(widths))
    head = (6 * 6 * 512 + 1) * 1024 + 1024 + 1
    # The paper's pieces have 96 pixels.
    assert count(shapes(SRGANDiscriminator(), 1, 96, 96, 3, train=False)) == layers + head


def test_vgg_has_vggs_parameters() -> None:
    widths = [3, 64, 64, 128, 128, *4 * [256], *8 * [512]]
    expected = sum(conv(a, b) for a, b in pairwise(widths))
    found = shapes(VGG19Features(), 1, 32, 32, 3)
    assert count(found) == expected == 20_024_384
    layers = [f"conv{g}_{i}" for g, n in enumerate((2, 2, 4, 4, 4), 1) for i in range(1, n + 1)]
    assert sorted(found["params"]) == layers


@pytest.mark.parametrize(("middle", "weights"), [(1, 8_032), (5, 57_184)])
def test_srcnn_has_the_papers_parameters(middle: int, weights: int) -> None:
    found = shapes(SRCNN(channels=1, middle=middle), 1, 8, 8, 1, train=False)
    assert count(found) == weights + 64 + 32 + 1  # the paper counts no biases
    colour = conv(3, 64, 9) + conv(64, 32, middle) + conv(32, 3, 5)
    assert count(shapes(SRCNN(middle=middle), 1, 8, 8, 3, train=False)) == colour


@pytest.mark.parametrize(("units", "depth"), [(9, 20), (25, 52)])
def test_drrn_has_the_papers_parameters_and_depth(units: int, depth: int) -> None:
    module = DRRN(channels=1, units=units)
    found = shapes(module, 1, 8, 8, 1, train=False)
    kernels = [leaf.size for leaf in jax.tree.leaves(found["params"]) if len(leaf.shape) == 4]
    assert sorted(kernels) == [9 * 128, 9 * 128, 9 * 128 * 128, 9 * 128 * 128]
    assert sum(kernels) == 297_216  # "297K" for both, as recursions cost nothing
    biases, norms = 3 * 128 + 1, 2 * (1 + 2 * units * 128 + 128)
    assert count(found) == 297_216 + biases + norms
    image = jnp.zeros((1, 8, 8, 1))
    made = jax.make_jaxpr(partial(module.apply, train=False))(found, image)
    assert str(made).count("conv_general_dilated[") == depth


def test_drrn_in_three_blocks_has_three_pairs_to_share() -> None:
    found = shapes(DRRN(channels=3, width=5, blocks=3, units=2), 1, 8, 8, 3, train=False)
    shared = [name for name in found["params"] if name.endswith(("_first", "_second"))]
    assert sorted(shared) == [f"block_{b}_{name}" for b in range(3) for name in ("first", "second")]
    norms = 2 * (3 + 2 * 5 + 3 * 4 * 5 + 5)
    assert count(found) == conv(3, 5) + 2 * conv(5, 5) + 6 * conv(5, 5) + conv(5, 3) + norms


@pytest.mark.parametrize("build", [SRResNet, RRDBNet])
@pytest.mark.parametrize("factor", [2, 4])
def test_any_size_is_enlarged_by_the_factor(build: Callable, factor: int) -> None:
    module = build(width=4, blocks=1, factor=factor)
    variables = shapes(module, 1, 8, 8, 3, train=False)
    image = jnp.zeros((2, 6, 9, 3))
    out = jax.eval_shape(partial(module.apply, train=False), variables, image)
    assert out.shape == (2, 6 * factor, 9 * factor, 3)
    assert out.dtype == jnp.float32


@pytest.mark.parametrize("factor", [0, 1, 3, 6])
def test_other_factors_are_refused(factor: int) -> None:
    with pytest.raises(ValueError, match=f"factor {factor} is not a power of two"):
        doublings(factor)
    assert [doublings(2**n) for n in (1, 2, 3)] == [1, 2, 3]


@pytest.mark.parametrize("build", [SRResNet, RRDBNet])
def test_a_residual_network_starts_from_the_bicubic_enlargement(build: Callable) -> None:
    module = build(width=4, blocks=1, residual=True)
    x = images(1, 8, 6, 3)
    variables = tiny.filled(shapes(module, 1, 8, 6, 3, train=False))
    apply = jax.jit(partial(module.apply, train=False))
    plain = [
        np.asarray(Image.fromarray(x[0, ..., c]).resize((24, 32), Image.Resampling.BICUBIC))
        for c in range(3)
    ]
    changed = apply(variables, x)[0] - np.stack(plain, -1)
    assert np.abs(changed).max() > 0.1
    variables["params"]["image"] = jax.tree.map(np.zeros_like, variables["params"]["image"])
    np.testing.assert_allclose(apply(variables, x)[0], np.stack(plain, -1), atol=1e-4)
    start = jax.jit(partial(module.init, train=False))(jax.random.key(0), x)
    assert not any(map(np.any, start["params"]["image"].values()))


def resized(image: np.ndarray, height: int, width: int) -> np.ndarray:
    """[h, w, C] enlarged bicubically by Pillow."""
    bands = [Image.fromarray(np.ascontiguousarray(band)) for band in np.moveaxis(image, -1, 0)]
    return np.stack([b.resize((width, height), Image.Resampling.BICUBIC) for b in bands], -1)


def refiners(**changes: Any) -> list[Any]:
    """Small ones of each kind, for three channels."""
    return [
        SRCNN(width=4, residual=changes.get("residual", False)),
        VDSR(channels=3, width=4, layers=3, use_bias=True, **changes),
        DRRN(width=4, units=2, **changes),
    ]


@pytest.mark.parametrize("network", refiners(), ids=["srcnn", "vdsr", "drrn"])
def test_images_of_any_size_are_refined_and_keep_it(network: Any) -> None:
    large = resized(images(1, 5, 4, 3)[0], 28, 24)[None]
    variables = tiny.filled(shapes(network, 1, 28, 24, 3, train=False))
    made = jax.jit(partial(network.apply, train=False))(variables, large)
    assert made.shape == large.shape
    assert made.dtype == jnp.float32
    assert np.abs(made - large).max() > 0.1


def test_an_enlargement_is_pillows_bicubic_one_to_any_size() -> None:
    x = images(1, 5, 4, 3)
    np.testing.assert_allclose(enlarged(x, 28, 23)[0], resized(x[0], 28, 23), atol=1e-4)


@pytest.mark.parametrize("network", refiners(residual=True), ids=["srcnn", "vdsr", "drrn"])
def test_a_refiner_may_start_by_changing_nothing(network: Any) -> None:
    x = images(1, 6, 5, 3)
    variables = jax.jit(partial(network.init, train=False))(jax.random.key(0), x)
    np.testing.assert_array_equal(network.apply(variables, x, train=False), x)


def test_luminance_changes_alone() -> None:
    network = VDSR(width=4, layers=3)
    module, x = LuminanceOnly(network), images(2, 6, 5, 3)
    variables = tiny.filled(shapes(module, 2, 6, 5, 3, train=False))
    made = np.asarray(jax.jit(partial(module.apply, train=False))(variables, x))
    grey = x @ np.array([0.299, 0.587, 0.114], np.float32)
    wanted = network.apply(variables, grey[..., None])[..., 0]
    np.testing.assert_allclose(made @ np.array([0.299, 0.587, 0.114]), wanted, atol=1e-5)
    for one, other in ((0, 1), (1, 2)):
        before, after = (y[..., one] - y[..., other] for y in (x, made))
        np.testing.assert_allclose(after, before, atol=1e-5)
    assert np.abs(wanted - grey).max() > 0.1


def test_pixel_shuffle_by_hand() -> None:
    x = np.arange(2 * 3 * 8).reshape(1, 2, 3, 8).astype(np.float32)
    found = pixel_shuffle(x, 2)
    assert found.shape == (1, 4, 6, 2)
    for row, column, channel in np.ndindex(4, 6, 2):
        wanted = x[0, row // 2, column // 2, 4 * channel + 2 * (row % 2) + column % 2]
        assert found[0, row, column, channel] == wanted


def test_vgg_reads_odd_sizes_and_ends_where_asked() -> None:
    before, after = (VGG19Features((2, 2, 3, 3, 4), activated=a) for a in (False, True))
    variables = tiny.filled(shapes(before, 1, 32, 32, 3))
    variables["params"]["conv5_4"]["bias"] -= 1.5
    pair = jax.jit(lambda v, x: (before.apply(v, x), after.apply(v, x)))
    linear, found = pair(variables, images(1, 50, 35, 3))
    assert found.shape == (1, 3, 2, 4)
    assert (linear < 0).any()
    assert (linear > 0).any()
    np.testing.assert_array_equal(found, np.maximum(linear, 0))


# Against PyTorch, where it is installed.


def torch_array(kernel: jax.Array) -> Any:
    torch = pytest.importorskip("torch")
    return torch.from_numpy(np.array(np.transpose(kernel, (3, 2, 0, 1))))


class Reference:
    """The layers of a module's variables as PyTorch's functions, by name."""

    def __init__(self, variables: dict[str, Any]) -> None:
        self.torch = pytest.importorskip("torch")
        self.params, self.stats = variables["params"], variables.get("batch_stats", {})
        self.functional = self.torch.nn.functional

    def vector(self, values: jax.Array) -> Any:
        return self.torch.from_numpy(np.array(values))

    def conv(self, x: Any, name: str, stride: int = 1) -> Any:
        layer = self.params[name]
        bias = self.vector(layer["bias"]) if "bias" in layer else None
        weight = torch_array(layer["kernel"])
        return self.functional.conv2d(x, weight, bias, stride, weight.shape[-1] // 2)

    def norm(self, x: Any, name: str, train: bool = False) -> Any:
        layer, stats = self.params[name], self.stats[name]
        return self.functional.batch_norm(
            x,
            *(self.vector(stats[key]) for key in ("mean", "var")),
            *(self.vector(layer[key]) for key in ("scale", "bias")),
            training=train,
        )

    def prelu(self, x: Any, name: str) -> Any:
        slope = self.vector(self.params[name]["negative_slope"]).reshape(1)
        return self.functional.prelu(x, slope)

    def leaky(self, x: Any) -> Any:
        return self.functional.leaky_relu(x, 0.2)

    def dense(self, x: Any, name: str) -> Any:
        layer = self.params[name]
        return x @ self.vector(layer["kernel"]) + self.vector(layer["bias"])


def compare(module: Any, reference: Callable, shape: tuple[int, ...], **mode: Any) -> None:
    """`reference(Reference, images [B, C, H, W])` gives what the module does."""
    torch = pytest.importorskip("torch")
    variables = tiny.filled(shapes(module, *shape, train=False))
    x = images(*shape)
    found = jax.jit(partial(module.apply, **mode))(variables, x)
    if "mutable" in mode:
        found, _ = found
    wanted = reference(Reference(variables), torch.from_numpy(x.transpose(0, 3, 1, 2))).numpy()
    if wanted.ndim == 4:
        wanted = wanted.transpose(0, 2, 3, 1)
    np.testing.assert_allclose(found, wanted, rtol=1e-3, atol=1e-4 * np.abs(wanted).max())


def test_srresnet_is_the_references() -> None:
    def reference(r: Reference, x: Any) -> Any:
        x = start = r.prelu(r.conv(x, "stem"), "stem_prelu")
        for block in ("block_0", "block_1"):
            y = r.norm(r.conv(x, f"{block}_first"), f"{block}_first_norm")
            y = r.conv(r.prelu(y, f"{block}_prelu"), f"{block}_second")
            x = x + r.norm(y, f"{block}_second_norm")
        x = start + r.norm(r.conv(x, "trunk"), "trunk_norm")
        for name in ("double_0", "double_1"):
            x = r.prelu(r.functional.pixel_shuffle(r.conv(x, name), 2), f"{name}_prelu")
        return r.conv(x, "image")

    compare(SRResNet(width=4, blocks=2), reference, (2, 7, 6, 3), train=False)


def test_rrdbnet_is_the_references() -> None:
    def reference(r: Reference, x: Any) -> Any:
        def dense(x: Any, name: str) -> Any:
            seen = [x]
            for i in range(4):
                seen.append(r.leaky(r.conv(r.torch.cat(seen, 1), f"{name}_{i}")))
            return x + 0.2 * r.conv(r.torch.cat(seen, 1), f"{name}_4")

        x = start = r.conv((x + 1) / 2, "stem")
        for block in ("block_0", "block_1"):
            y = x
            for part in range(3):
                y = dense(y, f"{block}_{part}")
            x = x + 0.2 * y
        x = start + r.conv(x, "trunk")
        for name in ("double_0", "double_1"):
            enlarged = r.functional.interpolate(x, scale_factor=2, mode="nearest")
            x = r.leaky(r.conv(enlarged, name))
        return 2 * r.conv(r.leaky(r.conv(x, "last")), "image") - 1

    compare(RRDBNet(width=4, blocks=2, growth=3), reference, (2, 5, 6, 3), train=False)


@pytest.mark.parametrize("middle", [1, 5])
def test_srcnn_is_the_references(middle: int) -> None:
    def reference(r: Reference, x: Any) -> Any:
        y = r.functional.relu(r.conv((x + 1) / 2, "conv_0"))
        return 2 * r.conv(r.functional.relu(r.conv(y, "conv_1")), "conv_2") - 1

    compare(SRCNN(width=6, middle=middle), reference, (2, 7, 6, 3), train=False)


@pytest.mark.parametrize("train", [False, True])
def test_drrn_is_the_references(train: bool) -> None:
    """Weights shared by all units, statistics by none; in training those of the batch."""

    def reference(r: Reference, x: Any) -> Any:
        def unit(y: Any, name: str, norm: str) -> Any:
            return r.conv(r.functional.relu(r.norm(y, f"{norm}_norm", train)), name)

        y = (x + 1) / 2
        for block in ("block_0", "block_1"):
            y = start = unit(y, f"{block}_start", f"{block}_start")
            for index in range(3):
                for part in ("first", "second"):
                    y = unit(y, f"{block}_{part}", f"{block}_unit_{index}_{part}")
                y = y + start
        return x + 2 * unit(y, "image", "image")

    module = DRRN(width=4, blocks=2, units=3)
    mode = {"train": True, "mutable": "batch_stats"} if train else {"train": False}
    compare(module, reference, (2, 5, 6, 3), **mode)


def test_vdsr_of_another_depth_is_the_references() -> None:
    def reference(r: Reference, x: Any) -> Any:
        y = (x + 1) / 2
        for layer in range(3):
            y = r.functional.relu(r.conv(y, f"conv_{layer}"))
        return x + 2 * r.conv(y, "conv_3")

    module = VDSR(channels=3, width=4, layers=4, use_bias=True)
    compare(module, reference, (2, 5, 6, 3), train=False)


def test_the_discriminator_is_the_references() -> None:
    def reference(r: Reference, x: Any) -> Any:
        for index in range(2):
            for stride in (1, 2):
                name = f"conv_{index}_{stride}"
                x = r.conv(x, name, stride)
                x = r.leaky(x if name == "conv_0_1" else r.norm(x, f"{name}_norm"))
        x = x.permute(0, 2, 3, 1).flatten(1)
        return r.dense(r.leaky(r.dense(x, "hidden")), "score")[:, 0]

    module = SRGANDiscriminator(widths=(4, 5), hidden=6)
    compare(module, reference, (3, 16, 16, 3), train=False)


@pytest.mark.parametrize("activated", [True, False])
def test_vgg_is_torchvisions(activated: bool) -> None:
    torch = pytest.importorskip("torch")
    widths, layers, before = (2, 3, 4, 5, 6), [], 3
    for width, repeats in zip(widths, (2, 2, 4, 4, 4), strict=True):
        for _ in range(repeats):
            layers += [torch.nn.Conv2d(before, width, 3, padding=1), torch.nn.ReLU()]
            before = width
        layers.append(torch.nn.MaxPool2d(2))
    layers = layers[:-1] if activated else layers[:-2]
    model = torch.nn.Sequential()
    model.features = torch.nn.Sequential(*layers)
    state = {name: value.numpy() for name, value in model.state_dict().items()}
    x = images(2, 32, 32, 3)
    mean, deviation = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])
    normalised = (((x + 1) / 2 - mean) / deviation).astype(np.float32).transpose(0, 3, 1, 2)
    with torch.no_grad():
        wanted = model.features(torch.from_numpy(normalised)).numpy().transpose(0, 2, 3, 1)
    module = VGG19Features(widths=widths, activated=activated)
    theirs = convert_state(
        "vgg19", state | {"classifier.0.weight": widths}, "theirs", VGGConfig(widths=widths)
    )
    assert theirs.dropped == ("classifier.0.weight",)
    found = jax.jit(module.apply)(theirs.variables, x)
    np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=1e-5 * np.abs(wanted).max())
