import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lrjax.models import layers


@pytest.fixture
def x() -> jax.Array:
    return jax.random.normal(jax.random.key(0), (2, 4, 6, 3))


@pytest.mark.parametrize(("kind", "reduce"), [("max", np.max), ("average", np.mean)])
def test_pool_against_numpy(x, kind, reduce) -> None:
    expected = np.empty((2, 2, 3, 3))
    for row in range(2):
        for column in range(3):
            window = np.asarray(x)[:, 2 * row : 2 * row + 2, 2 * column : 2 * column + 2]
            expected[:, row, column] = reduce(window, axis=(1, 2))
    np.testing.assert_allclose(layers.pool(x, kind), expected, rtol=1e-6, atol=1e-7)


def test_max_pool_sends_the_gradient_to_the_maximum() -> None:
    x = jnp.array([[1.0, 3.0], [2.0, 0.0]]).reshape(1, 2, 2, 1)
    gradient = jax.grad(lambda x: layers.pool(x, "max").sum())(x)
    np.testing.assert_array_equal(gradient.reshape(2, 2), [[0, 1], [0, 0]])


def test_pool_refuses_what_it_cannot_halve(x) -> None:
    with pytest.raises(ValueError, match="even"):
        layers.pool(x[:, :3], "max")
    with pytest.raises(ValueError, match="'median'"):
        layers.pool(x, "median")


def test_upsample_repeats_pixels(x) -> None:
    expected = np.asarray(x).repeat(2, axis=1).repeat(2, axis=2)
    np.testing.assert_array_equal(layers.upsample_nearest(x), expected)


def norm_relu(x: np.ndarray, params: dict) -> np.ndarray:
    """Batch statistics, in float64."""
    mean, variance = x.mean(axis=(0, 1, 2)), x.var(axis=(0, 1, 2))
    normal = (x - mean) / np.sqrt(variance + 1e-5)
    return np.maximum(normal * params["scale"] + params["bias"], 0)


def convolve(x: np.ndarray, kernel: np.ndarray) -> np.ndarray:
    """3×3 convolution with zeros outside, written as a sum over offsets."""
    padded = np.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)))
    _, height, width, _ = x.shape
    return sum(
        padded[:, dy : dy + height, dx : dx + width] @ kernel[dy, dx]
        for dy in range(3)
        for dx in range(3)
    )


@pytest.mark.parametrize("width", [3, 5])
def test_residual_block_against_numpy(x, width) -> None:
    block = layers.ResidualBlock(width)
    variables = block.init(jax.random.key(1), x, train=True)
    # Scales and biases other than one and zero, so that they are seen to act.
    params = jax.tree.map(lambda p: p + 0.1 * jnp.arange(p.shape[-1]), variables["params"])
    actual, _ = block.apply({**variables, "params": params}, x, True, mutable=["batch_stats"])

    params = jax.tree.map(lambda p: np.asarray(p, np.float64), params)
    inputs = np.asarray(x, np.float64)
    y = inputs
    for index in range(2):
        y = norm_relu(y, params[f"NormRelu_{index}"]["BatchNorm_0"])
        y = convolve(y, params[f"Conv_{index}"]["kernel"])
    shortcut = inputs if width == 3 else inputs @ params["shortcut"]["kernel"]
    np.testing.assert_allclose(actual, shortcut + y, rtol=1e-4, atol=1e-4)


def test_running_statistics_move_a_tenth_towards_the_batch(x) -> None:
    norm = layers.NormRelu()
    variables = norm.init(jax.random.key(0), x, train=True)
    _, updated = norm.apply(variables, x, True, mutable=["batch_stats"])
    statistics = updated["batch_stats"]["BatchNorm_0"]
    batch = np.asarray(x, np.float64)
    np.testing.assert_allclose(statistics["mean"], 0.1 * batch.mean(axis=(0, 1, 2)), rtol=1e-4)
    np.testing.assert_allclose(statistics["var"], 0.9 + 0.1 * batch.var(axis=(0, 1, 2)), rtol=1e-4)


def test_statistics_are_shared_over_devices() -> None:
    """Four devices (here: a vmap) with one image each normalise as one device with four."""
    x = (
        jax.random.normal(jax.random.key(0), (4, 4, 4, 3))
        * jnp.arange(1.0, 5.0)[:, None, None, None]
    )
    variables = layers.NormRelu().init(jax.random.key(0), x, train=True)
    whole, whole_statistics = layers.NormRelu().apply(variables, x, True, mutable=["batch_stats"])

    shared = layers.NormRelu(axis_name="data")
    assert jax.tree.all(
        jax.tree.map(jnp.array_equal, shared.init(jax.random.key(0), x, train=True), variables)
    )

    def device(x: jax.Array) -> tuple[jax.Array, dict]:
        return shared.apply(variables, x, True, mutable=["batch_stats"])

    parts, statistics = jax.vmap(device, axis_name="data")(x[:, None])
    np.testing.assert_allclose(parts[:, 0], whole, rtol=1e-4, atol=1e-5)
    for part, single in zip(
        jax.tree.leaves(statistics), jax.tree.leaves(whole_statistics), strict=True
    ):
        np.testing.assert_allclose(part, np.broadcast_to(single, part.shape), rtol=1e-4)


def test_kernels_keep_the_variance_of_their_inputs() -> None:
    """Standard deviation 1 / sqrt(inputs of one output), and other numbers for another key."""
    kernel = layers.kernel_init(jax.random.key(0), (3, 3, 16, 64))
    assert kernel.shape == (3, 3, 16, 64)
    np.testing.assert_allclose(np.std(kernel), 1 / np.sqrt(9 * 16), rtol=0.02)
    np.testing.assert_allclose(np.mean(kernel), 0, atol=1e-3)
    assert np.all(kernel != layers.kernel_init(jax.random.key(1), (3, 3, 16, 64)))
