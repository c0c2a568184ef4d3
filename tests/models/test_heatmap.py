from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lrjax.models.s2ld import (
    ConfidenceDiscriminator,
    HeatmapDiscriminator,
    HeatmapGenerator,
)


def size(tree: dict) -> int:
    return sum(leaf.size for leaf in jax.tree.leaves(tree))


def block(inputs: int, width: int) -> int:
    """Two norms (scale and bias), two 3×3 convolutions, and a 1×1 one where widths differ."""
    convolutions = 9 * inputs * width + 9 * width * width
    shortcut = inputs * width if inputs != width else 0
    return 2 * inputs + 2 * width + convolutions + shortcut


def u_net(inputs: int, outputs: int) -> int:
    """The paper's U-Net at full width, layer by layer (sizes for a 32×32 input)."""
    layers = [
        9 * inputs * 64,  # stem
        block(64, 64) + block(64, 64),  # 32×32
        block(64, 128) + block(128, 128),  # 16×16
        block(128, 256) + block(256, 256),  # 8×8
        block(256, 512) + block(512, 512),  # 4×4, pooled to 2×2
        block(512 + 512, 512) + block(512, 512),  # 4×4
        block(512 + 256, 256) + block(256, 256),  # 8×8
        block(256 + 128, 128) + block(128, 128),  # 16×16
        block(128 + 64, 64) + block(64, 64),  # 32×32
        2 * 64,  # the last norm
        64 * outputs + outputs,  # maps
    ]
    return sum(layers)


@pytest.mark.parametrize(("points", "total"), [(19, 28_401_620), (68, 28_404_805)])
@pytest.mark.parametrize("side", [32, 128])
def test_generator_parameters_by_hand(points, total, side) -> None:
    network = HeatmapGenerator(num_points=points)
    images = jnp.zeros((2, side, side, 3))
    output, variables = jax.eval_shape(
        lambda: network.init_with_output(jax.random.key(0), images, train=True)
    )
    assert output.shape == (2, side, side, points + 1)
    assert size(variables["params"]) == u_net(3, points + 1) == total


def test_generator_has_sixteen_residual_blocks() -> None:
    variables = jax.eval_shape(
        lambda: HeatmapGenerator(num_points=5).init(
            jax.random.key(0), jnp.zeros((1, 16, 16, 3)), train=True
        )
    )
    blocks = [
        name
        for group in variables["params"].values()
        for name in group
        if name.startswith("ResidualBlock")
    ]
    assert len(blocks) == 16


def test_discriminator_parameters_by_hand() -> None:
    """The same U-Net on 3 + (68 + 1) channels."""
    maps, images = jnp.zeros((2, 32, 32, 69)), jnp.zeros((2, 32, 32, 3))
    output, variables = jax.eval_shape(
        lambda: HeatmapDiscriminator().init_with_output(jax.random.key(0), maps, images, train=True)
    )
    assert output.shape == (2, 32, 32, 69)
    assert size(variables["params"]) == u_net(72, 69) == 28_444_549


def test_confidence_parameters_by_hand() -> None:
    """As the image discriminator (15,130,881), with 69 channels more into two layers of 128."""
    maps, images = jnp.zeros((2, 32, 32, 69)), jnp.zeros((2, 32, 32, 3))
    output, variables = jax.eval_shape(
        lambda: ConfidenceDiscriminator().init_with_output(
            jax.random.key(0), maps, images, train=True
        )
    )
    assert output.shape == (2,)
    assert size(variables["params"]) == 15_130_881 + (9 + 1) * 69 * 128 == 15_219_201


@pytest.mark.parametrize(
    "network",
    [
        HeatmapDiscriminator(widths=(4, 6), stem=4),
        ConfidenceDiscriminator(widths=(4, 4, 6), pooled_blocks=1, hidden=8),
    ],
    ids=["D2", "D3"],
)
def test_discriminators_see_maps_and_image(network) -> None:
    """Each answers to a change of either input, and is built for their N+1+3 channels."""
    maps = jax.random.normal(jax.random.key(0), (1, 16, 16, 4))
    images = jax.random.normal(jax.random.key(1), (1, 16, 16, 3))
    variables = jax.jit(network.init, static_argnums=3)(jax.random.key(2), maps, images, True)
    apply = jax.jit(network.apply, static_argnums=3)
    first = next(
        leaf
        for path, leaf in jax.tree_util.tree_leaves_with_path(variables["params"])
        if leaf.ndim == 4 and ("stem" in str(path) or "block_0_first" in str(path))
    )
    assert first.shape == (3, 3, 4 + 3, 4)
    usual = apply(variables, maps, images, False)
    assert np.abs(apply(variables, -maps, images, False) - usual).max() > 1e-3
    assert np.abs(apply(variables, maps, -images, False) - usual).max() > 1e-3


def test_generator_accepts_any_size_divisible_by_sixteen() -> None:
    network = HeatmapGenerator(num_points=2, widths=(2, 2, 2, 2), stem=2)

    def output(*shape: int) -> tuple[int, ...]:
        init = partial(network.init_with_output, train=False)
        return jax.eval_shape(init, jax.random.key(0), jnp.zeros(shape))[0].shape

    assert output(1, 48, 16, 3) == (1, 48, 16, 3)
    with pytest.raises(ValueError, match="divisible by 16"):
        output(1, 40, 40, 3)


def test_skips_carry_single_pixels() -> None:
    """An output leans most on the input next to it, far finer than the deepest features."""
    network = HeatmapGenerator(num_points=1, widths=(4, 4, 4), stem=4)
    images = jax.random.normal(jax.random.key(0), (1, 32, 32, 3))
    variables = jax.jit(partial(network.init, train=False))(jax.random.key(1), images)

    def at(x: jax.Array) -> jax.Array:
        return network.apply(variables, x, train=False)[0, 13, 18, 0]

    influence = np.abs(jax.jit(jax.grad(at))(images)[0]).sum(axis=-1)
    row, column = np.unravel_index(influence.argmax(), influence.shape)
    assert abs(row - 13) <= 2
    assert abs(column - 18) <= 2
