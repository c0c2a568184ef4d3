"""Published weights in our networks give what they give in their own."""

from __future__ import annotations

import os
from functools import partial
from pathlib import Path
from typing import Any

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lrjax.convert.networks import CONVERSIONS, convert_state
from lrjax.convert.torch_files import read_state
from lrjax.errors import InputError
from lrjax.models.encoders import ENCODERS, EncoderConfig, IResNetConfig
from lrjax.models.iresnet import LAYOUTS
from lrjax.models.mobilefacenet import DEVIATION, MEAN
from lrjax.models.refiners import VDSR
from lrjax.models.registry import build

pytestmark = pytest.mark.usefixtures("quick_compile")

WIDTH = 1 / 16


def images(side: int, count: int = 2, channels: int = 3) -> np.ndarray:
    rng = np.random.default_rng(side)
    return rng.uniform(-1, 1, (count, side, side, channels)).astype(np.float32)


def ours(result: Any, pixels: np.ndarray) -> np.ndarray:
    config, module = result.network.config, result.network.module
    if config.name == "vdsr":  # on as many channels as it has, rather than on luminance
        module = VDSR(channels=config.channels, use_bias=config.use_bias)
    return np.asarray(jax.jit(partial(module.apply, train=False))(result.variables, pixels))


# Without PyTorch: a transcription of two of the networks in NumPy, on state dicts made by hand.


def convolve(x: np.ndarray, weight: np.ndarray, bias: np.ndarray | float = 0.0) -> np.ndarray:
    """[C, H, W] with [O, C, k, k], padded to the same size, as PyTorch defines it."""
    half = weight.shape[-1] // 2
    padded = np.pad(x, ((0, 0), (half, half), (half, half)))
    windows = np.lib.stride_tricks.sliding_window_view(padded, weight.shape[2:], (1, 2))
    return np.einsum("chwij,ocij->ohw", windows, weight) + np.reshape(bias, (-1, 1, 1))


def lightcnn_state(version: int, width: float, seed: int = 0) -> dict[str, np.ndarray]:
    """Names and shapes as published, with a classifier, and random values."""
    rng = np.random.default_rng(seed)
    state: dict[str, np.ndarray] = {}
    a, b, c, d = (max(1, round(n * width)) for n in (48, 96, 192, 128))

    def layer(name: str, outputs: int, *inputs: int) -> None:
        weight = rng.normal(size=(outputs, *inputs)) / np.sqrt(np.prod(inputs))
        state[f"{name}.weight"] = weight.astype(np.float32)
        state[f"{name}.bias"] = (0.1 * rng.normal(size=outputs)).astype(np.float32)

    layer("conv1.filter", 2 * a, 1, 5, 5)
    stages = ((1, a, b), (2, b, c), (3, c, d), (4, d, d))
    for stage, inputs, outputs in stages:
        for block in range(stage):
            for place in (1, 2):
                layer(f"block{stage}.{block}.conv{place}.filter", 2 * inputs, inputs, 3, 3)
        layer(f"group{stage}.conv_a.filter", 2 * inputs, inputs, 1, 1)
        layer(f"group{stage}.conv.filter", 2 * outputs, inputs, 3, 3)
    if version == 1:
        layer("fc.filter", 512, 64 * d)
    else:
        layer("fc", 256, 64 * d)
    layer("fc2", 5, 256)
    return state


def lightcnn_feature(state: dict[str, np.ndarray], version: int, image: np.ndarray) -> np.ndarray:
    """Of one grey image [32, 32] in [0, 1]; without the first two poolings."""

    def mfm(x: np.ndarray, name: str) -> np.ndarray:
        y = convolve(x, state[f"{name}.filter.weight"], state[f"{name}.filter.bias"])
        return np.maximum(*np.split(y, 2))

    def halved(x: np.ndarray) -> np.ndarray:
        quarters = np.stack([x[:, i::2, j::2] for i in (0, 1) for j in (0, 1)])
        return quarters.max(0) + (quarters.mean(0) if version == 2 else 0)

    x = mfm(image[None], "conv1")
    for stage in range(1, 5):
        for block in range(stage):
            name = f"block{stage}.{block}"
            x = x + mfm(mfm(x, f"{name}.conv1"), f"{name}.conv2")
        x = mfm(mfm(x, f"group{stage}.conv_a"), f"group{stage}.conv")
        x = halved(x) if stage in (2, 4) else x
    if version == 2:
        return state["fc.weight"] @ x.ravel() + state["fc.bias"]
    return np.maximum(*np.split(state["fc.filter.weight"] @ x.ravel() + state["fc.filter.bias"], 2))


@pytest.mark.parametrize("version", [1, 2])
def test_lightcnn_against_numpy(version: int) -> None:
    name = "lightcnn29_32" if version == 1 else "lightcnn29v2_32"
    state = lightcnn_state(version, WIDTH)
    result = convert_state(name, state, "f", EncoderConfig(name, width=WIDTH))
    assert result.dropped == ("fc2.weight", "fc2.bias")
    pixels = images(32)
    grey = (pixels / 2 + 0.5) @ np.array([0.299, 0.587, 0.114])
    expected = np.stack([lightcnn_feature(state, version, image) for image in grey])
    np.testing.assert_allclose(ours(result, pixels), expected, rtol=1e-4, atol=1e-5)


def vdsr_state(channels: int, bias: bool) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(channels)
    state = {}
    names = ["input", *(f"residual_layer.{i}.conv" for i in range(18)), "output"]
    for name in names:
        inputs = channels if name == "input" else 64
        outputs = channels if name == "output" else 64
        weight = rng.normal(size=(outputs, inputs, 3, 3)) * np.sqrt(2 / 9 / inputs)
        state[f"{name}.weight"] = weight.astype(np.float32)
        if bias:
            state[f"{name}.bias"] = rng.normal(size=outputs).astype(np.float32)
    return state


@pytest.mark.parametrize(("channels", "bias"), [(1, False), (3, True)])
def test_vdsr_against_numpy(channels: int, bias: bool) -> None:
    """Its channels and biases are found in the state dict."""
    state = vdsr_state(channels, bias)
    pixels = images(6, 1, channels)
    x = y = (pixels[0].transpose(2, 0, 1) + 1) / 2
    for name in ["input", *(f"residual_layer.{i}.conv" for i in range(18)), "output"]:
        y = convolve(y, state[f"{name}.weight"], state.get(f"{name}.bias", 0.0))
        y = y if name == "output" else np.maximum(y, 0)
    result = convert_state("vdsr", state, "f")
    assert (result.network.config.channels, result.network.config.use_bias) == (channels, bias)
    expected = 2 * (x + y).transpose(1, 2, 0) - 1
    np.testing.assert_allclose(ours(result, pixels)[0], expected, rtol=1e-4, atol=1e-4)


# With PyTorch: all of them.


def against_torch(name: str, reference: Any, config: Any, size: int) -> None:
    import torch

    state = {key: value.numpy() for key, value in reference.state_dict().items()}
    result = convert_state(name, state, "f", config)
    pixels = images(size)
    with torch.no_grad():
        expected = reference(reference.seen(torch.tensor(pixels.transpose(0, 3, 1, 2)))).numpy()
    largest = np.abs(expected).max()
    assert largest > 0.1
    np.testing.assert_allclose(ours(result, pixels) / largest, expected / largest, atol=1e-5)


@pytest.mark.parametrize("name", ["lightcnn29", "lightcnn29v2", "lightcnn29_32"])
def test_lightcnn_against_torch(name: str) -> None:
    pytest.importorskip("torch")
    import published

    network = build(EncoderConfig(name, width=WIDTH))
    reference = published.LightCNN(network.module.version, WIDTH, network.module.first_pools)
    against_torch(name, published.settled(reference, 1), network.config, network.size[0])


@pytest.mark.parametrize("size", [112, pytest.param(160, marks=pytest.mark.slow)])
def test_inception_resnet_against_torch(size: int) -> None:
    pytest.importorskip("torch")
    import published

    config = EncoderConfig("inception_resnet_v1", width=WIDTH)
    reference = published.settled(published.InceptionResnetV1(WIDTH), 2)
    against_torch("inception_resnet_v1", reference, config, size)


def test_mobilefacenet_against_torch() -> None:
    pytest.importorskip("torch")
    import published

    config = EncoderConfig("mobilefacenet", width=WIDTH)
    reference = published.settled(published.MobileFaceNet(WIDTH), 3)
    against_torch("mobilefacenet", reference, config, 112)


COUNTS = {18: (2, 2, 2, 2), 50: (3, 4, 14, 3), 101: (3, 13, 30, 3)}


@pytest.mark.parametrize("name", ["ir18", "iresnet18"])
def test_iresnet_against_torch(name: str) -> None:
    pytest.importorskip("torch")
    import published

    kind, colours = (published.IR, "BGR") if name == "ir18" else (published.IResNet, "RGB")
    config = IResNetConfig(name, width=WIDTH, colours=colours)
    against_torch(name, published.settled(kind(COUNTS[18], WIDTH), 5), config, 112)


def test_colours_are_those_of_the_kind_of_file() -> None:
    """What stands before the names tells AdaFace's files from CVLface's."""
    torch = pytest.importorskip("torch")
    import published

    with torch.device("meta"):
        references = {"ir18": published.IR(COUNTS[18], 1.0)}
        references["iresnet18"] = published.IResNet(COUNTS[18], 1.0)
    states = {
        name: {
            key: np.broadcast_to(np.float32(1), tuple(value.shape))
            for key, value in reference.state_dict().items()
        }
        for name, reference in references.items()
    }

    def colours(name: str, root: str, said: Any = None) -> str:
        state = {f"{root}{key}": value for key, value in states[name].items()}
        if root == "model.":
            state["head.kernel"] = np.ones((512, 3), np.float32)
        return convert_state(name, state, "w.ckpt", colours=said).network.config.colours

    assert colours("ir18", "") == colours("ir18", "model.") == "BGR"
    assert colours("iresnet18", "") == "RGB"
    assert colours("ir18", "model.", "RGB") == colours("ir18", "net.", "RGB") == "RGB"
    assert colours("ir18", "model.net.", "BGR") == "BGR"
    with pytest.raises(InputError, match=r"w.ckpt do not say .* --colours, as color_space"):
        colours("ir18", "net.")
    with pytest.raises(InputError, match=r"not those of ir18: the file lacks"):
        convert_state("ir18", states["iresnet18"], "w.ckpt")
    with pytest.raises(InputError, match="leave --colours out"):
        convert_state("vdsr", vdsr_state(1, False), "w.pt", colours="BGR")


@pytest.mark.parametrize(
    "name",
    [
        *("lightcnn29", "lightcnn29v2", "inception_resnet_v1", "mobilefacenet"),
        *("ir50", "ir101", "iresnet50", "iresnet100"),
    ],
)
def test_published_shapes_are_ours(name: str) -> None:
    """At full width every tensor of the PyTorch module has a place, but the classifier's."""
    torch = pytest.importorskip("torch")
    import published

    with torch.device("meta"):
        reference = {
            "lightcnn29": partial(published.LightCNN, 1, 1.0, True),
            "lightcnn29v2": partial(published.LightCNN, 2, 1.0, True),
            "inception_resnet_v1": partial(published.InceptionResnetV1, 1.0),
            "mobilefacenet": partial(published.MobileFaceNet, 1.0),
            "ir50": partial(published.IR, COUNTS[50], 1.0),
            "ir101": partial(published.IR, COUNTS[101], 1.0),
            "iresnet50": partial(published.IResNet, COUNTS[50], 1.0),
            "iresnet100": partial(published.IResNet, COUNTS[101], 1.0),
        }[name]()
    shapes = {key: tuple(value.shape) for key, value in reference.state_dict().items()}
    state = {key: np.broadcast_to(np.float32(1), shape) for key, shape in shapes.items()}
    result = convert_state(name, state, "f")
    total = sum(leaf.size for leaf in jax.tree.leaves(result.variables["params"]))
    theirs = sum(
        parameter.numel()
        for key, parameter in reference.named_parameters()
        if not key.startswith(("fc2.", "logits."))
    )
    assert total == theirs


def test_vdsr_against_torch() -> None:
    torch = pytest.importorskip("torch")
    import published

    reference = published.settled(published.VDSR(3, bias=True), 4)
    state = {key: value.numpy() for key, value in reference.state_dict().items()}
    pixels = images(8)
    with torch.no_grad():
        enlarged = torch.tensor(pixels.transpose(0, 3, 1, 2))
        expected = 2 * reference((enlarged + 1) / 2).numpy().transpose(0, 2, 3, 1) - 1
    actual = ours(convert_state("vdsr", state, "f"), pixels)
    np.testing.assert_allclose(actual, expected, rtol=1e-4, atol=1e-4)


# What is not the network that was named.


def test_another_network_is_named() -> None:
    with pytest.raises(InputError, match=r"w.pt are not those of lightcnn29: .* lacks fc.filter"):
        convert_state("lightcnn29", lightcnn_state(2, 1 / 48), "w.pt")
    with pytest.raises(InputError, match=r"lacks .* and 17 more; name the network"):
        convert_state("vdsr", {}, "w.pt")


def test_what_is_left_over_is_named() -> None:
    state = vdsr_state(1, False) | {"head.weight": np.ones(3, np.float32)}
    with pytest.raises(InputError, match=r"the file also holds head.weight; name"):
        convert_state("vdsr", state, "w.pt")
    state["head.num_batches_tracked"] = state.pop("head.weight")
    convert_state("vdsr", state, "w.pt")


def test_shapes_and_values_are_checked() -> None:
    state = vdsr_state(1, False)
    state["output.weight"] = np.ones((2, 64, 3, 3), np.float32)
    with pytest.raises(
        InputError,
        match=r"output.weight of w.pt has the shape \[2, 64, 3, 3\].*\[1, 64, 3, 3\]",
    ):
        convert_state("vdsr", state, "w.pt")
    for wrong in (np.full((1, 64, 3, 3), np.nan, np.float32), np.ones((1, 64, 3, 3), np.int64)):
        state["output.weight"] = wrong
        with pytest.raises(InputError, match=r"output.weight .* values that are not finite"):
            convert_state("vdsr", state, "w.pt")
    # A matrix whose rows are as many in another arrangement.
    state = lightcnn_state(2, WIDTH)
    state["fc.weight"] = state["fc.weight"].reshape(512, 256)
    config = EncoderConfig("lightcnn29v2", width=WIDTH)
    with pytest.raises(InputError, match=r"fc.weight .* shape \[512, 256\].*\[256, 512\]"):
        convert_state("lightcnn29v2", state, "f", config)


def test_what_can_be_converted_is_what_has_published_weights_for_pytorch() -> None:
    # Those of CSRI's generic face encoders were published for Caffe and MatConvNet.
    csri = {name for name in ENCODERS if name.startswith(("centre", "sphere", "vgg", "deep"))}
    assert set(CONVERSIONS) == {*ENCODERS, *LAYOUTS, "mtcnn", "vdsr", "vgg19"} - csri - {"rpcn"}


# The files that others published.


@pytest.fixture(scope="module")
def weights() -> Path:
    if not os.environ.get("LRJAX_DATA"):
        pytest.skip("LRJAX_DATA names no folder of data, with published weights beside it")
    folder = Path(os.environ["LRJAX_DATA"]).parent / "weights"
    if not folder.is_dir():
        pytest.skip(f"there is no {folder}")
    return folder


def test_mobilefacenet_of_either_format(weights: Path) -> None:
    one, other = (
        convert_state("mobilefacenet", read_state(weights / "mobilefacenet" / file), file).variables
        for file in ("mobilefacenet.pt", "mobilefacenet.safetensors")
    )
    assert sum(leaf.size for leaf in jax.tree.leaves(one["params"])) == 999_936
    chex.assert_trees_all_equal(one, other)


@pytest.mark.slow
def test_mobilefacenet_gives_its_onnx_outputs(weights: Path) -> None:
    onnxruntime = pytest.importorskip("onnxruntime")
    folder = weights / "mobilefacenet"
    session = onnxruntime.InferenceSession(str(folder / "mobilefacenet.onnx"))
    state = read_state(folder / "mobilefacenet.pt")
    result = convert_state("mobilefacenet", state, "mobilefacenet.pt")
    pixels = faces(112)
    seen = ((pixels.astype(np.float64) / 255 - MEAN) / DEVIATION).transpose(0, 3, 1, 2)
    expected = [session.run(None, {"input0": one[None].astype(np.float32)})[0] for one in seen]
    actual = ours(result, jnp.asarray(pixels, jnp.float32) / 127.5 - 1)
    np.testing.assert_allclose(actual, np.concatenate(expected), atol=1e-4, rtol=0)


@pytest.mark.slow
def test_vdsr_gives_its_own_outputs(weights: Path) -> None:
    torch = pytest.importorskip("torch")
    import published

    state = read_state(weights / "vdsr" / "vdsr.safetensors")
    result = convert_state("vdsr", state, "vdsr.safetensors")
    assert sum(leaf.size for leaf in jax.tree.leaves(result.variables["params"])) == 664_704
    reference = published.VDSR(1, bias=False).eval()
    reference.load_state_dict({key: torch.tensor(value) for key, value in state.items()})
    luminance = (faces(64) @ np.array([0.299, 0.587, 0.114]) / 255).astype(np.float32)
    with torch.no_grad():
        expected = reference(torch.tensor(luminance[:, None]))[:, 0].numpy()
    actual = (ours(result, 2 * luminance[..., None] - 1)[..., 0] + 1) / 2
    np.testing.assert_allclose(actual, expected, atol=1e-5, rtol=0)


def test_vdsr_as_a_pickled_module_is_refused(weights: Path) -> None:
    with pytest.raises(
        InputError, match=r"epoch_50.pth holds the Python object vdsr.Net.*state_dict"
    ):
        read_state(weights / "vdsr" / "vdsr_model_epoch_50.pth")


def faces(side: int) -> np.ndarray:
    """Photographs [8, side, side, 3] uint8, of whatever is there."""
    from PIL import Image

    files = sorted(Path(os.environ["LRJAX_DATA"]).glob("**/*.jpg"))[:8]
    if len(files) < 8:
        pytest.skip("LRJAX_DATA holds no photographs")
    opened = [Image.open(file).convert("RGB").resize((side, side)) for file in files]
    return np.stack([np.asarray(image) for image in opened])
