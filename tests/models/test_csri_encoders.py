"""The face encoders that CSRI is compared with: their layers by hand and against PyTorch."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tiny

from lrjax.models.centreface import PReLU, gaussian, xavier
from lrjax.models.encoders import EncoderConfig
from lrjax.models.layers import pool_ceil
from lrjax.models.registry import build
from lrjax.models.rpcn import RPCN

pytestmark = pytest.mark.usefixtures("quick_compile")

WIDTH = 1 / 16
NAMES = ("centreface", "sphereface20", "vggface", "deepid2", "rpcn")
# The same networks on fewer pixels.
SMALL = ("centreface_56", "sphereface20_56", "vggface_112", "vggface_56")


def shapes(module: nn.Module, *inputs: Any, **mode: Any) -> tuple[Any, Any]:
    """Output and variables, without computing them."""
    return jax.eval_shape(lambda: module.init_with_output(jax.random.key(0), *inputs, **mode))


def small_module(name: str, **options: Any) -> nn.Module:
    return build(EncoderConfig(name, **options)).module


def images(name: str, count: int = 2) -> np.ndarray:
    shape = (count, *build(EncoderConfig(name)).size, 3)
    return np.random.default_rng(1).uniform(-1, 1, shape).astype(np.float32)


def narrow(name: str) -> tuple[nn.Module, Any]:
    """A narrow network with plausible variables, its biases of either sign."""
    # Wide enough for RPCN to have filters of every kind.
    module = small_module(name, width=1 / 4 if name == "rpcn" else WIDTH)
    params = tiny.filled(shapes(module, images(name), False)[1])["params"]

    def moved(path: Any, leaf: np.ndarray) -> np.ndarray:
        return leaf - 0.75 if path[-1].key == "bias" else leaf

    return module, {"params": jax.tree_util.tree_map_with_path(moved, params)}


# Parameters by hand.


def conv(inputs: int, outputs: int, area: int = 9) -> int:
    """A convolution with biases."""
    return area * inputs * outputs + outputs


def unit(channels: int) -> int:
    """Two convolutions without biases, two slopes per channel."""
    return 2 * (9 * channels * channels + channels)


def stages(counts: tuple[int, ...], inputs: int) -> int:
    """A convolution with slopes to 64, 128, ... channels, and units behind it."""
    total = 0
    for stage, count in enumerate(counts):
        channels = 64 * 2**stage
        total += conv(inputs, channels) + channels + count * unit(channels)
        inputs = channels
    return total


def centreface() -> int:
    return conv(3, 32) + 32 + stages((1, 2, 5, 3), 32) + conv(5 * 4 * 512, 512, 1)


def sphereface() -> int:
    return stages((1, 2, 4, 1), 3) + conv(7 * 6 * 512, 512, 1)


def vggface(side: int) -> int:
    total, inputs = 0, 3
    for count, channels in ((2, 64), (2, 128), (3, 256), (3, 512), (3, 512)):
        for _ in range(count):
            total += conv(inputs, channels)
            inputs = channels
    return total + conv(side * side * 512, 4096, 1) + conv(4096, 4096, 1)


def deepid2() -> int:
    convolutions = conv(3, 20, 16) + conv(20, 40) + conv(40, 60) + conv(60, 80, 4)
    return convolutions + conv(5 * 4 * 60 + 4 * 3 * 80, 160, 1)


def rpcn_features() -> int:
    """Half of the filters once, and half of them for either domain."""
    return conv(3, 64 + 32, 81) + conv(64, 32 + 16, 25) + conv(32, 20 + 10, 25)


@pytest.mark.parametrize(
    ("name", "by_hand", "total"),
    [
        ("centreface", centreface(), 27_536_800),
        ("centreface_56", centreface() - 9 * 2 * 512 * 512, 22_818_208),
        ("sphereface20", sphereface(), 22_666_944),
        ("sphereface20_56", sphereface() - 30 * 512 * 512, 14_802_624),
        # VGG-16's 138,357,544, without 4,097,000 of its last layer.
        ("vggface", vggface(7), 134_260_544),
        ("vggface_112", vggface(3), 50_374_464),
        ("vggface_56", vggface(1), 33_597_248),
        ("deepid2", deepid2(), 394_920),
        ("rpcn", rpcn_features() + conv(28 * 24 * 20, 512, 1), 7_006_094),
    ],
)
def test_parameters_by_hand(name: str, by_hand: int, total: int) -> None:
    """At full width, without classifiers."""
    network = build(EncoderConfig(name))
    output, variables = shapes(network.module, images(name), False)
    assert (output.shape, output.dtype) == ((2, network.embedding), jnp.float32)
    assert set(variables) == {"params"}
    assert sum(leaf.size for leaf in jax.tree.leaves(variables)) == by_hand == total


@pytest.mark.parametrize("name", [*NAMES, *SMALL])
def test_the_feature_is_as_long_at_any_width(name: str) -> None:
    found, variables = shapes(small_module(name, width=WIDTH), images(name), False)
    assert found.shape == (2, build(EncoderConfig(name)).embedding)
    least = 2 if name == "rpcn" else 8  # most of RPCN is behind the convolutions
    full = shapes(build(EncoderConfig(name)).module, images(name), False)[1]
    sizes = [sum(leaf.size for leaf in jax.tree.leaves(v)) for v in (variables, full)]
    assert least * sizes[0] < sizes[1]


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        (
            "centreface",
            {
                "conv1a": (110, 94),
                "conv1b": (108, 92),
                "unit1_0": (54, 46),
                "conv2": (52, 44),
                "unit2_1": (26, 22),
                "conv3": (24, 20),
                "unit3_4": (12, 10),
                "conv4": (10, 8),
                "unit4_2": (5, 4),
            },
        ),
        ("centreface_56", {"conv1b": (52, 44), "conv4": (3, 2), "unit4_2": (2, 1)}),
        (
            "sphereface20",
            {"conv1": (56, 48), "conv2": (28, 24), "unit3_3": (14, 12), "unit4_0": (7, 6)},
        ),
        (
            "vggface",
            {
                "conv1_2": (224, 224),
                "conv2_2": (112, 112),
                "conv4_3": (28, 28),
                "conv5_3": (14, 14),
            },
        ),
        ("deepid2", {"conv1": (52, 44), "conv2": (24, 20), "conv3": (10, 8), "conv4": (4, 3)}),
    ],
)
def test_maps_are_those_of_the_table(name: str, expected: dict[str, tuple[int, int]]) -> None:
    module = small_module(name, width=WIDTH)
    _, state = shapes(module, images(name), False, capture_intermediates=True)
    sides = {
        layer: value["__call__"][0].shape[1:3]
        for layer, value in state["intermediates"].items()
        if layer != "__call__"
    }
    assert {layer: sides[layer] for layer in expected} == expected


# Against PyTorch, where it is installed.


class Reference:
    """PyTorch's functions on a module's parameters, by their paths."""

    def __init__(self, params: dict[str, Any]) -> None:
        self.torch = pytest.importorskip("torch")
        self.functional = self.torch.nn.functional
        self.params = params

    def value(self, path: str) -> Any:
        leaf = self.params
        for name in path.split("/"):
            leaf = leaf[name]
        return self.torch.from_numpy(np.array(leaf))

    def conv(self, x: Any, path: str, stride: int = 1, padding: int = 0, bias: bool = True) -> Any:
        kernel = self.value(f"{path}/kernel").permute(3, 2, 0, 1)
        bias = self.value(f"{path}/bias") if bias else None
        return self.functional.conv2d(x, kernel, bias, stride, padding)

    def prelu(self, x: Any, path: str) -> Any:
        return self.functional.prelu(x, self.value(f"{path}/slope"))

    def plain(self, x: Any, path: str, stride: int = 1, padding: int = 0) -> Any:
        return self.prelu(self.conv(x, f"{path}/conv", stride, padding), f"{path}/prelu")

    def unit(self, x: Any, path: str) -> Any:
        y = self.prelu(self.conv(x, f"{path}/first", 1, 1, False), f"{path}/first_prelu")
        return x + self.prelu(self.conv(y, f"{path}/second", 1, 1, False), f"{path}/second_prelu")

    def flat(self, x: Any) -> Any:
        """In the order of our matrices: rows, columns, channels."""
        return x.permute(0, 2, 3, 1).flatten(1)

    def linear(self, x: Any, path: str) -> Any:
        return x @ self.value(f"{path}/kernel") + self.value(f"{path}/bias")


def torch_centreface(r: Reference, x: Any) -> Any:
    # From [-1, 1] to pixels, and (pixel - 127.5) / 128.
    x = ((x + 1) * 127.5 - 127.5) / 128
    x = r.plain(r.plain(x, "conv1a"), "conv1b")
    for stage, units in ((1, 1), (2, 2), (3, 5), (4, 3)):
        x = r.plain(x, f"conv{stage}") if stage > 1 else x
        x = r.functional.max_pool2d(x, 2, 2, ceil_mode=True)
        for place in range(units):
            x = r.unit(x, f"unit{stage}_{place}")
    return r.linear(r.flat(x), "fc5")


def torch_sphereface(r: Reference, x: Any) -> Any:
    x = ((x + 1) * 127.5 - 127.5) / 128
    for stage, units in ((1, 1), (2, 2), (3, 4), (4, 1)):
        x = r.plain(x, f"conv{stage}", 2, 1)
        for place in range(units):
            x = r.unit(x, f"unit{stage}_{place}")
    return r.linear(r.flat(x), "fc5")


def torch_vggface(r: Reference, x: Any) -> Any:
    mean = r.torch.tensor([129.1863, 104.7624, 93.5940])
    x = ((x + 1) * 127.5 - mean[:, None, None]) / 127.5
    for group, count in ((1, 2), (2, 2), (3, 3), (4, 3), (5, 3)):
        for place in range(1, count + 1):
            x = r.conv(x, f"conv{group}_{place}", 1, 1).relu()
        x = r.functional.max_pool2d(x, 2)
    return r.linear(r.linear(r.flat(x), "fc6").relu(), "fc7").relu()


def torch_deepid2(r: Reference, x: Any) -> Any:
    seen = []
    for place in (1, 2, 3):
        x = r.functional.max_pool2d(r.conv(x, f"conv{place}").relu(), 2)
    seen = [r.flat(x), r.flat(r.conv(x, "conv4").relu())]
    # A linear map of each, summed.
    kernels = r.value("deepid2/kernel").split([part.shape[1] for part in seen])
    both = sum(part @ kernel for part, kernel in zip(seen, kernels, strict=True))
    return (both + r.value("deepid2/bias")).relu()


def torch_rpcn_codes(r: Reference, x: Any, domain: str) -> Any:
    for place, padding in ((1, 4), (2, 2), (3, 2)):
        parts = (r.conv(x, f"features/conv{place}_{p}", 1, padding) for p in ("shared", domain))
        x = r.torch.cat(list(parts), 1).relu()
    return x


def torch_rpcn(r: Reference, x: Any, domain: str = "low") -> Any:
    x = r.functional.max_pool2d(torch_rpcn_codes(r, x, domain), 2)
    return r.linear(r.flat(x), "fc")


def compare(
    module: nn.Module, variables: Any, pixels: np.ndarray, reference: Callable, **mode: Any
) -> None:
    """`reference(Reference, images [B, C, H, W])` gives what the module does."""
    torch = pytest.importorskip("torch")
    found = jax.jit(partial(module.apply, train=False, **mode))(variables, pixels)
    with torch.no_grad():
        theirs = torch.from_numpy(pixels.transpose(0, 3, 1, 2))
        wanted = reference(Reference(variables["params"]), theirs)
    wanted = (wanted.permute(0, 2, 3, 1) if wanted.ndim == 4 else wanted).numpy()
    assert wanted.std() > 1e-3
    np.testing.assert_allclose(found, wanted, rtol=1e-3, atol=1e-4 * np.abs(wanted).max())


@pytest.mark.parametrize(
    ("name", "reference"),
    [
        ("centreface", torch_centreface),
        ("centreface_56", torch_centreface),
        ("sphereface20", torch_sphereface),
        ("vggface", torch_vggface),
        ("vggface_112", torch_vggface),
        ("deepid2", torch_deepid2),
        ("rpcn", torch_rpcn),
    ],
)
def test_features_are_those_of_pytorch(name: str, reference: Callable) -> None:
    compare(*narrow(name), images(name), reference)


@pytest.mark.parametrize("domain", ["low", "high"])
def test_rpcn_resolves_as_pytorch(domain: str) -> None:
    module = RPCN(width=1 / 4, shared=0.25)
    pixels = images("rpcn")[:, :15, :10]
    variables = tiny.filled(shapes(module, pixels, False, method="refine")[1])
    compare(
        module,
        variables,
        pixels,
        lambda r, x: r.conv(torch_rpcn_codes(r, x, domain), "decoder", 1, 2),
        method="refine",
        domain=domain,
    )


# Gradients and the first step.


@pytest.mark.parametrize(
    "name", ["deepid2", "rpcn", pytest.param("centreface_56", marks=pytest.mark.slow)]
)
def test_every_parameter_has_a_gradient(name: str) -> None:
    """Of RPCN, the filters of the other domain have none."""
    module, variables = narrow(name)

    def loss(variables: Any) -> jax.Array:
        features = module.apply(variables, images(name), train=True)
        return (features * jnp.arange(features.size).reshape(features.shape)).sum()

    gradients = jax.jit(jax.grad(loss))(variables)
    for path, gradient in jax.tree_util.tree_leaves_with_path(gradients):
        assert np.isfinite(gradient).all(), path
        unused = "_high" in jax.tree_util.keystr(path)
        assert (np.abs(gradient).max() > 1e-4) != unused, path


def test_prelu_has_a_slope_for_each_channel() -> None:
    module, x = PReLU(), jnp.asarray([[-2.0, -2.0, 3.0], [4.0, 0.0, -1.0]])
    variables = module.init(jax.random.key(0), x)
    np.testing.assert_allclose(module.apply(variables, x), [[-0.5, -0.5, 3], [4, 0, -0.25]])
    variables = {"params": {"slope": jnp.asarray([0.0, 2.0, -1.0])}}
    np.testing.assert_allclose(module.apply(variables, x), [[0, -4, 3], [4, 0, 1]])


def test_caffes_initialisers() -> None:
    shape = (3, 3, 40, 30)
    drawn = np.asarray(xavier(jax.random.key(0), shape))
    bound = np.sqrt(3 / 360)
    assert drawn.shape == shape
    assert 0.99 * bound < np.abs(drawn).max() <= bound
    assert drawn.std() == pytest.approx(1 / np.sqrt(360), rel=0.03)
    assert np.asarray(gaussian(jax.random.key(0), shape)).std() == pytest.approx(0.01, rel=0.03)


def test_pooling_keeps_odd_rows_and_columns() -> None:
    x = jnp.asarray([[1.0, 2, 7], [3, 4, 0], [-5, -6, -9]])[None, :, :, None]
    np.testing.assert_array_equal(pool_ceil(x)[0, :, :, 0], [[4, 7], [-5, -9]])


@pytest.mark.parametrize("name", NAMES)
def test_dropout_is_that_of_the_published_network_or_as_asked(name: str) -> None:
    assert build(EncoderConfig(name)).module.dropout == (0.5 if name == "vggface" else 0.0)
    module, dropped = small_module(name, width=WIDTH, dropout=0.3), []

    def seen(call: Callable, args: Any, kwargs: Any, context: Any) -> Any:
        if isinstance(context.module, nn.Dropout):
            dropped.append((context.module.rate, context.module.deterministic, args[0].shape))
        return call(*args, **kwargs)

    _, variables = shapes(module, images(name), False)
    with nn.intercept_methods(seen):
        rngs = {"dropout": jax.random.key(0)}
        jax.eval_shape(partial(module.apply, train=True, rngs=rngs), variables, images(name))
    hidden = [(0.3, False, (2, 256))] if name == "vggface" else []
    assert dropped == [*hidden, (0.3, False, (2, build(EncoderConfig(name)).embedding))]


def test_dropout_thins_the_feature() -> None:
    module, variables = narrow("deepid2")
    module = module.clone(dropout=0.5)

    @jax.jit
    def both(variables: Any, pixels: np.ndarray) -> tuple[jax.Array, jax.Array]:
        rngs = {"dropout": jax.random.key(0)}
        trained = module.apply(variables, pixels, train=True, rngs=rngs)
        return trained, module.apply(variables, pixels, train=False)

    trained, evaluated = (np.asarray(x) for x in both(variables, images("deepid2")))
    alive, kept = evaluated != 0, trained != 0
    assert 0.4 < kept[alive].mean() < 0.6
    np.testing.assert_allclose(trained[kept], 2 * evaluated[kept], rtol=1e-5)


# RPCN's two domains.


def test_what_rpcn_learned_by_enlarging_fits_its_encoder() -> None:
    """The convolutions of both, of one shape; each has a last layer of its own."""
    module, pixels = RPCN(), images("rpcn")
    _, encoder = shapes(module, pixels, False)
    output, refiner = shapes(module, pixels[:, :20, :17], False, method="refine")
    assert (output.shape, output.dtype) == ((2, 20, 17, 3), jnp.float32)
    assert set(encoder["params"]) == {"features", "fc"}
    assert set(refiner["params"]) == {"features", "decoder"}
    assert encoder["params"]["features"] == refiner["params"]["features"]
    _, high = shapes(module, pixels, False, method="refine", domain="high")
    assert high == refiner
    assert sum(leaf.size for leaf in jax.tree.leaves(refiner["params"]["decoder"])) == 1503


@pytest.mark.parametrize(("shared", "parts"), [(1.0, {"shared"}), (0.0, {"low", "high"})])
def test_rpcn_shares_all_or_nothing(shared: float, parts: set[str]) -> None:
    module, pixels = RPCN(shared=shared, width=WIDTH), images("rpcn")[:, :12, :12]
    variables = tiny.filled(shapes(module, pixels, False)[1])
    layers = {f"conv{place}_{part}" for place in (1, 2, 3) for part in parts}
    assert set(variables["params"]["features"]) == layers
    low, high = (module.apply(variables, pixels, False, domain) for domain in ("low", "high"))
    assert (np.abs(low - high).max() > 1e-3) == (shared == 0)


def test_rpcn_names_what_it_does_not_know() -> None:
    with pytest.raises(ValueError, match=r"domain must be one of .*, not 'middle'"):
        shapes(RPCN(), images("rpcn"), False, "middle")
    with pytest.raises(ValueError, match=r"shared must be from 0 to 1, not 1.5"):
        shapes(RPCN(shared=1.5), images("rpcn"), False)
