"""Losses over identities: hand-computed values, NumPy transcriptions, finite gradients, shards."""

from __future__ import annotations

import math

import child
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lrjax.losses import identity

pytestmark = pytest.mark.usefixtures("quick_compile")

RNG = np.random.default_rng(0)
EMBEDDINGS = RNG.normal(size=(6, 4)).astype(np.float32)
WEIGHTS = RNG.normal(size=(4, 5)).astype(np.float32)
LABELS = np.array([0, 4, 2, 2, 1, 3], np.int32)


def numpy_cross_entropy(logits: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """-log of the label's share."""
    logits = logits.astype(np.float64)
    shares = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    return -np.log(shares[np.arange(len(labels)), labels])


def numpy_arcface(x: np.ndarray, w: np.ndarray, y: np.ndarray, s: float, m: float) -> np.ndarray:
    """By angles, one example after the other."""
    out = np.empty((len(x), w.shape[1]))
    for i, feature in enumerate(x.astype(np.float64)):
        for j, weight in enumerate(w.T.astype(np.float64)):
            cosine = feature @ weight / np.linalg.norm(feature) / np.linalg.norm(weight)
            if j == y[i]:
                theta = math.acos(cosine)
                easy = theta + m < math.pi
                cosine = math.cos(theta + m) if easy else cosine - m * math.sin(math.pi - m)
            out[i, j] = s * cosine
    return out


def test_cross_entropy_by_hand() -> None:
    logits = jnp.log(jnp.asarray([[1.0, 2.0, 5.0], [4.0, 4.0, 8.0]]))
    found = identity.softmax_cross_entropy(logits, jnp.asarray([1, 2]))
    np.testing.assert_allclose(found, [math.log(4), math.log(2)], rtol=1e-6)


def test_cross_entropy_of_large_logits_and_of_those_that_do_not_count() -> None:
    logits = jnp.asarray([[1000.0, 0.0, -jnp.inf], [0.0, 1e4, 1e4], [3.0, 3.0, 3.0]])
    labels, valid = jnp.asarray([1, 2, -1]), jnp.asarray([True, True, False])

    def mean(logits: jax.Array) -> jax.Array:
        return identity.softmax_cross_entropy(logits, labels, valid).sum()

    found = identity.softmax_cross_entropy(logits, labels, valid)
    np.testing.assert_allclose(found, [1000.0, math.log(2), 0.0], rtol=1e-6)
    gradient = jax.jit(jax.grad(mean))(logits)
    expected = [[1.0, -1.0, 0.0], [0.0, 0.5, -0.5], [0.0, 0.0, 0.0]]
    np.testing.assert_allclose(gradient, expected, atol=1e-6)


def test_linear_logits() -> None:
    bias = np.arange(5, dtype=np.float32)
    expected = EMBEDDINGS @ WEIGHTS
    np.testing.assert_allclose(identity.linear_logits(EMBEDDINGS, WEIGHTS), expected, rtol=1e-5)
    found = identity.linear_logits(EMBEDDINGS, WEIGHTS, bias)
    np.testing.assert_allclose(found, expected + bias, rtol=1e-5)


@pytest.mark.parametrize(("scale", "margin"), [(64.0, 0.5), (30.0, 0.3), (1.0, 2.5)])
def test_arcface_adds_its_margin_to_the_angle(scale: float, margin: float) -> None:
    found = identity.arcface_logits(EMBEDDINGS, WEIGHTS, LABELS, scale, margin)
    expected = numpy_arcface(EMBEDDINGS, WEIGHTS, LABELS, scale, margin)
    np.testing.assert_allclose(found, expected, atol=1e-5 * scale)


def test_arcface_by_hand_on_both_sides_of_its_fallback() -> None:
    angles = np.array([0.0, 1.0, math.pi - 0.5 - 0.01, math.pi - 0.5 + 0.01, math.pi])
    embeddings = np.stack([np.cos(angles), np.sin(angles)], axis=1)
    found = identity.arcface_logits(
        jnp.asarray(embeddings), jnp.asarray([[2.0], [0.0]]), jnp.zeros(5, jnp.int32), scale=1.0
    )[:, 0]
    lowered = 0.5 * math.sin(math.pi - 0.5)
    expected = [
        math.cos(0.5),
        math.cos(1.5),
        math.cos(math.pi - 0.01),
        math.cos(math.pi - 0.5 + 0.01) - lowered,
        -1.0 - lowered,
    ]
    # At 0, the sine that is taken is sqrt(1e-7).
    np.testing.assert_allclose(found, expected, atol=2e-4)


def test_cosface_lowers_the_labelled_cosine() -> None:
    cosine = numpy_arcface(EMBEDDINGS, WEIGHTS, np.full(6, -1), 1.0, 0.0)
    cosine[np.arange(6), LABELS] -= 0.4
    found = identity.cosface_logits(EMBEDDINGS, WEIGHTS, LABELS)
    np.testing.assert_allclose(found, 64 * cosine, atol=1e-4)


@pytest.mark.parametrize("head", [identity.arcface_logits, identity.cosface_logits])
def test_a_label_of_another_device_gets_no_margin(head: identity.Head) -> None:
    for label in (-3, 5):
        found = head(EMBEDDINGS, WEIGHTS, np.full(6, label, np.int32))
        expected = 64 * numpy_arcface(EMBEDDINGS, WEIGHTS, np.full(6, -1), 1.0, 0.0)
        np.testing.assert_allclose(found, expected, atol=1e-4)


@pytest.mark.parametrize("head", [identity.arcface_logits, identity.cosface_logits])
def test_gradients_are_finite_at_the_ends(head: identity.Head) -> None:
    # cos θ is 1, -1, nothing, and 1 but for rounding.
    embeddings = jnp.asarray([(1.0, 0.0), (-1.0, 0.0), (0.0, 0.0), (1.0, 1e-5)])
    weights = jnp.asarray([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]])  # one class without direction
    labels = jnp.zeros(4, jnp.int32)

    def loss(x: jax.Array, w: jax.Array) -> jax.Array:
        return identity.focal(identity.softmax_cross_entropy(head(x, w, labels), labels)).sum()

    for gradient in jax.jit(jax.grad(loss, (0, 1)))(embeddings, weights):
        assert np.isfinite(gradient).all()
        assert (np.asarray(gradient) != 0).any()


def test_the_gradient_of_arcface_is_that_of_its_formula() -> None:
    def loss(x: np.ndarray, w: np.ndarray) -> float:
        return numpy_cross_entropy(numpy_arcface(x, w, LABELS, 8.0, 0.5), LABELS).mean()

    def ours(x: jax.Array, w: jax.Array) -> jax.Array:
        logits = identity.arcface_logits(x, w, LABELS, 8.0, 0.5)
        return identity.softmax_cross_entropy(logits, LABELS).mean()

    x, w = EMBEDDINGS.astype(np.float64), WEIGHTS.astype(np.float64)
    found = jax.jit(jax.grad(ours, (0, 1)))(EMBEDDINGS, WEIGHTS)
    for which, gradient in enumerate(found):
        for index in np.ndindex(gradient.shape):
            step = np.zeros(gradient.shape)
            step[index] = 1e-5
            ends = [loss(*((x + d, w) if which == 0 else (x, w + d))) for d in (step, -step)]
            assert gradient[index] == pytest.approx((ends[0] - ends[1]) / 2e-5, abs=2e-5)


def test_focal_by_hand() -> None:
    errors = jnp.asarray([0.0, math.log(2), math.log(4), 200.0])
    expected = [0.0, 0.25 * math.log(2), 0.5625 * math.log(4), 200.0]
    np.testing.assert_allclose(identity.focal(errors), expected, rtol=1e-6)
    np.testing.assert_array_equal(identity.focal(errors, 0.0), errors)
    for gamma in (0.0, 0.5, 1.0):
        slopes = jax.jit(jax.grad(lambda e, gamma=gamma: identity.focal(e, gamma).sum()))(errors)
        assert np.isfinite(slopes).all()
    # d/dx (1 - e^-x)² x = 2 (1 - e^-x) e^-x x + (1 - e^-x)²
    slope = jax.grad(identity.focal)(math.log(2))
    assert float(slope) == pytest.approx(0.5 * math.log(2) + 0.25, rel=1e-6)


@pytest.fixture(scope="module")
def sharded(tmp_path_factory: pytest.TempPathFactory) -> dict[str, np.ndarray]:
    """What a process with four devices finds for each head."""
    path = tmp_path_factory.mktemp("sharded") / "found.npz"
    child.finish(child.start("shard_loss.py", path, devices=4))
    with np.load(path) as file:
        return dict(file)


@pytest.mark.parametrize("way", ["mesh", "pmap"])
@pytest.mark.parametrize("head", ["linear", "arcface", "cosface"])
def test_classes_over_devices_change_nothing(
    head: str, way: str, sharded: dict[str, np.ndarray]
) -> None:
    errors, embeddings, *weights = (sharded[f"{way}/{head}/{i}"] for i in range(4))
    inputs = [sharded[name] for name in ("embeddings", "labels", "kernel", "bias")]
    x, labels, kernel, bias = inputs
    heads = {
        "linear": lambda x, w, y: identity.linear_logits(x, *w),
        "arcface": lambda x, w, y: identity.arcface_logits(x, w[0], y),
        "cosface": lambda x, w, y: identity.cosface_logits(x, w[0], y),
    }

    def loss(x: jax.Array, w: list[jax.Array]) -> tuple[jax.Array, jax.Array]:
        # Six classes of eight exist.
        found = identity.softmax_cross_entropy(heads[head](x, w, labels)[:, :6], labels)
        return identity.focal(found).mean(), found

    both = jax.jit(jax.value_and_grad(loss, (0, 1), has_aux=True))
    (_, expected), gradients = both(x, [kernel, bias])
    np.testing.assert_allclose(errors, expected, rtol=1e-5, atol=1e-6)
    scale = np.abs(gradients[0]).max()
    # A device's part of the mean over B is the mean over its own, divided by the devices.
    np.testing.assert_allclose(embeddings / 4, gradients[0], atol=1e-5 * scale)
    for found, gradient in zip(weights, gradients[1], strict=True):
        np.testing.assert_allclose(found / 4, gradient, atol=1e-5 * max(np.abs(gradient).max(), 1))
    if head == "linear":
        reference = numpy_cross_entropy((x @ kernel + bias)[:, :6], labels)
        np.testing.assert_allclose(errors, reference, rtol=1e-5)
