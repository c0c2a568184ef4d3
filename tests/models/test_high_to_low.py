from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lrjax.models.s2ld import HighToLowGenerator, ImageDiscriminator

IMAGES = jax.random.uniform(jax.random.key(0), (2, 32, 32, 3), minval=-1, maxval=1)
SMALL = {"widths": (4, 4, 6, 6, 8, 8), "hidden": 8}
GENERATOR = HighToLowGenerator(stem=4, encoder=(4, 4, 6, 6), decoder=(6, 4, 4))


def size(tree: dict) -> int:
    return sum(leaf.size for leaf in jax.tree.leaves(tree))


def block(inputs: int, width: int) -> int:
    """Two norms (scale and bias), two 3×3 convolutions, and a 1×1 one where widths differ."""
    convolutions = 9 * inputs * width + 9 * width * width
    shortcut = inputs * width if inputs != width else 0
    return 2 * inputs + 2 * width + convolutions + shortcut


def test_generator_parameters_by_hand() -> None:
    """The paper's network at full width, layer by layer, and its output's size."""
    network = HighToLowGenerator()
    images, noise = jnp.zeros((2, 128, 128, 3)), jnp.zeros((2, 64))
    output, variables = jax.eval_shape(
        lambda: network.init_with_output(jax.random.key(0), images, noise, train=True)
    )
    assert output.shape == (2, 32, 32, 3)
    layers = [
        64 * 128 * 128 + 128 * 128,  # the noise's plane
        9 * 4 * 96,  # stem, on red, green, blue and noise
        block(96, 96) + block(96, 96),  # 64×64
        block(96, 128) + block(128, 128),  # 32×32
        block(128, 256) + block(256, 256),  # 16×16
        block(256, 512) + block(512, 512),  # 8×8, pooled to 4×4
        block(512, 256) + block(256, 256),  # 8×8
        block(256, 128) + block(128, 128),  # 16×16
        block(128, 64) + block(64, 64),  # 32×32
        2 * 64,  # the last norm
        9 * 64 * 3 + 3,  # image
    ]
    assert size(variables["params"]) == sum(layers) == 16_507_395


def test_discriminator_parameters_by_hand() -> None:
    network = ImageDiscriminator()
    output, variables = jax.eval_shape(
        lambda: network.init_with_output(jax.random.key(0), jnp.zeros((2, 32, 32, 3)), train=True)
    )
    assert output.shape == (2,)
    layers = [
        (9 * 3 * 128 + 128) + (9 * 128 * 128 + 128) + 3 * 128,
        2 * (9 * 128 * 128 + 128),
        (9 * 128 * 256 + 256) + (9 * 256 * 256 + 256) + 128 * 256,
        2 * (9 * 256 * 256 + 256),
        (9 * 256 * 512 + 512) + (9 * 512 * 512 + 512) + 256 * 512,
        2 * (9 * 512 * 512 + 512),
        4 * 4 * 512 * 512 + 512,  # hidden layer on 4×4 pixels
        512 + 1,  # score
    ]
    assert size(variables["params"]) == sum(layers) == 15_130_881


@pytest.mark.parametrize(("side", "output"), [(32, 8), (64, 16)])
def test_generator_output_is_a_quarter_of_the_side(side, output) -> None:
    images, noise = jnp.zeros((2, side, side, 3)), jnp.zeros((2, 64))
    init = partial(GENERATOR.init_with_output, train=True)
    made, _ = jax.eval_shape(init, jax.random.key(0), images, noise)
    assert made.shape == (2, output, output, 3)


def test_generator_refuses_wrong_sizes() -> None:
    with pytest.raises(ValueError, match="divisible by 32"):
        GENERATOR.init(jax.random.key(0), jnp.zeros((1, 48, 48, 3)), jnp.zeros((1, 64)), True)
    with pytest.raises(ValueError, match="noise must have shape"):
        GENERATOR.init(jax.random.key(0), jnp.zeros((1, 32, 32, 3)), jnp.zeros((1, 8)), True)


def test_noise_changes_the_image() -> None:
    """Also: the image stays within [-1, 1], however bright the input."""
    noise = jax.random.normal(jax.random.key(1), (2, 64))
    variables = jax.jit(partial(GENERATOR.init, train=False))(jax.random.key(0), IMAGES, noise)
    generate = jax.jit(partial(GENERATOR.apply, train=False))
    one, other = (generate(variables, 99 * IMAGES, z) for z in (noise, -noise))
    assert np.abs(one - other).max() > 1e-3
    assert 0.9 < np.abs(one).max() <= 1


def kernels_and_sigmas(variables: dict) -> list[tuple[str, np.ndarray, float]]:
    """The kernels as matrices [inputs, outputs], with the estimates of their largest value."""
    found = []
    for statistics in variables["batch_stats"].values():
        for name, value in statistics.items():
            layer, parameter, kind = name.split("/")
            if kind == "sigma":
                kernel = np.asarray(variables["params"][layer][parameter])
                found.append((layer, kernel.reshape(-1, kernel.shape[-1]), float(value)))
    return found


@pytest.fixture(scope="module")
def settled() -> dict:
    """A small discriminator after enough power iterations for its vectors to settle."""
    network = ImageDiscriminator(**SMALL)
    variables = jax.jit(partial(network.init, train=True))(jax.random.key(0), IMAGES)

    @jax.jit
    def update(variables: dict) -> dict:
        _, updated = network.apply(variables, IMAGES, train=True, mutable=["batch_stats"])
        return {**variables, **updated}

    for _ in range(200):
        variables = update(variables)
    return variables


def test_spectral_norms_approach_the_singular_values(settled) -> None:
    estimates = kernels_and_sigmas(settled)
    # Six blocks of two, three shortcuts, hidden, score.
    assert len(estimates) == 12 + 3 + 2
    for layer, kernel, sigma in estimates:
        largest = np.linalg.svd(kernel, compute_uv=False)[0]
        np.testing.assert_allclose(sigma, largest, rtol=1e-2, err_msg=layer)


def test_every_weight_is_divided_by_its_norm(settled) -> None:
    """Equals a plain network whose kernels were divided by NumPy's singular values."""
    params = jax.tree.map(np.asarray, settled["params"])
    for layer, kernel, _ in kernels_and_sigmas(settled):
        largest = np.linalg.svd(kernel, compute_uv=False)[0]
        params[layer] = {**params[layer], "kernel": params[layer]["kernel"] / largest}
    plain = ImageDiscriminator(**SMALL, spectral_norm=False)
    expected = plain.apply({"params": params}, IMAGES, train=False)
    actual = ImageDiscriminator(**SMALL).apply(settled, IMAGES, train=False)
    np.testing.assert_allclose(actual, expected, rtol=2e-2)


def test_spectral_gradient_flows_through_the_norm(settled) -> None:
    """Scaling a weight changes nothing, so that its gradient is orthogonal to it."""

    def total(params: dict) -> jax.Array:
        scores = ImageDiscriminator(**SMALL).apply(
            {**settled, "params": params}, IMAGES, train=False
        )
        return scores.sum()

    gradients = jax.jit(jax.grad(total))(settled["params"])
    for layer, parameters in settled["params"].items():
        weight, gradient = np.ravel(parameters["kernel"]), np.ravel(gradients[layer]["kernel"])
        cosine = weight @ gradient / np.linalg.norm(weight) / np.linalg.norm(gradient)
        assert abs(cosine) < 1e-3, layer


def test_without_spectral_norm_there_is_no_state() -> None:
    network = ImageDiscriminator(**SMALL, spectral_norm=False)
    variables = jax.eval_shape(partial(network.init, train=True), jax.random.key(0), IMAGES)
    assert set(variables) == {"params"}


def test_pooling_is_what_its_name_says(settled) -> None:
    scores = [
        jax.jit(partial(ImageDiscriminator(**SMALL, pooling=kind).apply, train=False))(
            settled, IMAGES
        )
        for kind in ("max", "average")
    ]
    assert np.abs(scores[0] - scores[1]).min() > 1e-4
