"""P-, R- and O-Net give what they give in PyTorch, and P-Net in parts what it gives at once."""

from __future__ import annotations

from functools import cache
from typing import Any

import jax
import numpy as np
import pytest
import tiny

from lrjax.convert.networks import convert_state
from lrjax.models.mtcnn import MTCNNConfig
from lrjax.models.registry import build

pytestmark = pytest.mark.usefixtures("quick_compile")

SIDES = {"propose": (21, 34), "refine": (24, 24), "output": (48, 48)}


def images(height: int, width: int, count: int = 2) -> np.ndarray:
    rng = np.random.default_rng(height)
    return rng.uniform(-1, 1, (count, height, width, 3)).astype(np.float32)


@cache
def variables() -> Any:
    return tiny.filled(build(MTCNNConfig()).shapes())


def looked(method: str, pixels: np.ndarray, *rest: Any, of: Any = None) -> Any:
    apply = jax.jit(build(MTCNNConfig()).module.apply, static_argnames="method")
    return jax.device_get(apply(of or variables(), pixels, *rest, method=method))


def test_the_size_is_the_published_one() -> None:
    network = build(MTCNNConfig())
    assert sum(leaf.size for leaf in jax.tree.leaves(network.shapes()["params"])) == 495_850
    examples = [np.zeros((1, *shape), np.float32) for shape in network.inputs]
    shapes = jax.tree.map(
        np.shape, jax.eval_shape(network.module.apply, variables(), *examples, train=False)
    )
    assert shapes == (((1, 1, 1), (1, 1, 1, 4)), ((1,), (1, 4)), ((1,), (1, 4), (1, 5, 2)))


@pytest.mark.parametrize("method", SIDES)
def test_against_torch(method: str) -> None:
    """All three with random weights, P-Net on sides of which one is odd."""
    torch = pytest.importorskip("torch")
    import published
    import published_mtcnn

    nets = {name: published.settled(net(), 5) for name, net in published_mtcnn.NETS.items()}
    result = convert_state("mtcnn", published_mtcnn.state_of(nets), "f")
    pixels = images(*SIDES[method])
    net = dict(zip(SIDES, nets.values(), strict=True))[method]
    with torch.no_grad():
        expected = net(torch.tensor(pixels.transpose(0, 3, 1, 2)))
    found = looked(method, pixels, of=result.variables)
    assert len(found) == len(expected)
    for ours, theirs in zip(found, expected, strict=True):
        assert np.ptp(theirs.numpy()) > 1e-3
        np.testing.assert_allclose(ours, theirs.numpy(), atol=1e-5)


def test_p_net_against_numpy() -> None:
    """One place at a time, from its twelve pixels, which show nothing of the borders."""
    pixels = images(14, 16, 1)
    found, moves = looked("propose", pixels)
    assert found.shape == (1, 2, 3)
    layers = variables()["params"]["pnet"]

    def convolved(x: np.ndarray, place: int) -> np.ndarray:
        kernel, bias = layers[f"conv{place}"]["kernel"], layers[f"conv{place}"]["bias"]
        windows = np.lib.stride_tricks.sliding_window_view(x, kernel.shape[:2], (0, 1))
        y = np.einsum("hwcij,ijco->hwo", windows, kernel) + bias
        return np.where(y > 0, y, layers[f"prelu{place}"]["slope"] * y)

    for i, j in np.ndindex(2, 3):
        x = convolved(pixels[0, 2 * i : 2 * i + 12, 2 * j : 2 * j + 12], 1)
        x = x.reshape(5, 2, 5, 2, -1).max((1, 3))
        x = convolved(convolved(x, 2), 3)[0, 0]
        scores, move = (
            x @ layers[f"conv4_{n}"]["kernel"][0, 0] + layers[f"conv4_{n}"]["bias"] for n in (1, 2)
        )
        np.testing.assert_allclose(found[0, i, j], 1 / (1 + np.exp(scores[0] - scores[1])), 1e-4)
        np.testing.assert_allclose(moves[0, i, j], move, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("size", [(21, 30), (20, 27), (12, 13)])
def test_p_net_of_a_part_is_p_net_of_it_alone(size: tuple[int, int]) -> None:
    """Whatever is beyond, also where the pooling's last window reaches out."""
    whole = images(30, 30)
    h, w = size
    alone = looked("propose", whole[:, :h, :w])
    part = looked("propose", whole, np.array([size] * 2))
    rows, columns = (-(-(n - 2) // 2) - 4 for n in size)
    assert alone[0].shape == (2, rows, columns)
    for ours, expected in zip(part, alone, strict=True):
        np.testing.assert_allclose(ours[:, :rows, :columns], expected, atol=1e-5)
