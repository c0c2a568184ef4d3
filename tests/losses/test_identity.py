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


def test_cosine_distance_against_numpy() -> None:
    other = RNG.normal(size=EMBEDDINGS.shape).astype(np.float32)
    lengths = np.linalg.norm(EMBEDDINGS, axis=1) * np.linalg.norm(other, axis=1)
    expected = 1 - (EMBEDDINGS * other).sum(1) / lengths
    np.testing.assert_allclose(identity.cosine_distance(EMBEDDINGS, other), expected, atol=1e-6)
    along, against = jnp.asarray([[3.0, 4.0]]), jnp.asarray([[-6.0, -8.0]])
    assert float(identity.cosine_distance(along, 5 * along)[0]) == pytest.approx(0, abs=1e-6)
    assert float(identity.cosine_distance(along, against)[0]) == pytest.approx(2)


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


def numpy_sphereface(x: np.ndarray, w: np.ndarray, y: np.ndarray, ease: float) -> np.ndarray:
    """By angles and their quarters, one example after the other."""
    out = np.empty((len(x), w.shape[1]))
    for i, feature in enumerate(x.astype(np.float64)):
        length = np.linalg.norm(feature)
        for j, weight in enumerate(w.T.astype(np.float64)):
            cosine = feature @ weight / length / np.linalg.norm(weight)
            out[i, j] = length * cosine
            if j == y[i]:
                theta = math.acos(cosine)
                k = int(theta // (math.pi / 4))
                psi = (-1) ** k * math.cos(4 * theta) - 2 * k
                out[i, j] = length * (ease * cosine + psi) / (1 + ease)
    return out


@pytest.mark.parametrize("ease", [0.0, 5.0, 1000.0])
def test_sphereface_is_its_formula(ease: float) -> None:
    rng = np.random.default_rng(2)
    x, w = rng.normal(size=(200, 3)).astype(np.float32), rng.normal(size=(3, 4)).astype(np.float32)
    labels = rng.integers(0, 4, 200).astype(np.int32)
    expected = numpy_sphereface(x, w, labels, ease)
    angles = np.arccos(expected[np.arange(200), labels - 1] / np.linalg.norm(x, axis=1))
    assert {*(angles // (np.pi / 4))} == {0, 1, 2, 3}  # all quarters are seen
    found = identity.sphereface_logits(x, w, labels, ease)
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4)
    scaled = identity.sphereface_logits(2 * x, 3 * w, labels, ease)
    np.testing.assert_allclose(scaled, 2 * found, rtol=1e-4, atol=1e-4)


def test_sphereface_by_hand() -> None:
    """cos 4θ falls from 1 to -1 in the first quarter, and goes on falling from there."""
    angles = np.pi * np.array([0, 1 / 8, 1 / 4, 3 / 8, 1 / 2, 3 / 4, 1])
    embeddings = jnp.asarray(2 * np.stack([np.cos(angles), np.sin(angles)], axis=1))
    labels = jnp.zeros(7, jnp.int32)
    found = identity.sphereface_logits(embeddings, jnp.asarray([[7.0], [0.0]]), labels, 0.0)
    expected = 2 * np.array([1, 0, -1, -2, -3, -5, -7])
    np.testing.assert_allclose(found[:, 0], expected, atol=1e-4)
    halves = identity.sphereface_logits(embeddings, jnp.asarray([[7.0], [0.0]]), labels, 1.0)
    np.testing.assert_allclose(halves[:, 0], expected / 2 + np.cos(angles), atol=1e-4)


def test_sphereface_knows_no_class_of_another_device() -> None:
    expected = numpy_sphereface(EMBEDDINGS, WEIGHTS, np.full(6, -1), 5.0)
    for label in (-3, 5):
        found = identity.sphereface_logits(EMBEDDINGS, WEIGHTS, np.full(6, label, np.int32), 5.0)
        np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)


def test_sphereface_over_devices_changes_nothing() -> None:
    rng = np.random.default_rng(3)
    x, w = rng.normal(size=(6, 3)).astype(np.float32), rng.normal(size=(3, 8)).astype(np.float32)
    labels = np.array([0, 7, 4, 3, 2, 5], np.int32)

    def part(x: jax.Array, w: jax.Array, labels: jax.Array) -> jax.Array:
        def head(x: jax.Array, w: jax.Array, y: jax.Array) -> jax.Array:
            return identity.sphereface_logits(x, w, y, 5.0)

        return identity.sharded_softmax_cross_entropy(x, w, labels, head, "data")

    parts = np.split(x, 2), np.split(w, 2, axis=1), np.split(labels, 2)
    found = jax.jit(jax.vmap(part, axis_name="data"))(*(np.stack(p) for p in parts))
    expected = numpy_cross_entropy(numpy_sphereface(x, w, labels, 5.0), labels)
    np.testing.assert_allclose(found.ravel(), expected, rtol=1e-4)


def test_gradients_of_sphereface() -> None:
    """They are finite everywhere, and those of the formula where there is no bend."""
    embeddings = jnp.asarray([(1.0, 0.0), (-1.0, 0.0), (0.0, 0.0), (0.0, 2.0), (0.6, 0.8)])
    weights = jnp.asarray([[1.0, 0.0, 0.3], [0.0, 0.0, 1.0]])
    labels = jnp.zeros(5, jnp.int32)

    def loss(x: jax.Array, w: jax.Array) -> jax.Array:
        logits = identity.sphereface_logits(x, w, labels, 5.0)
        return identity.softmax_cross_entropy(logits, labels).sum()

    for gradient in jax.jit(jax.grad(loss, (0, 1)))(embeddings, weights):
        assert np.isfinite(gradient).all()
        assert (np.asarray(gradient) != 0).any()

    def theirs(x: np.ndarray) -> float:
        return numpy_cross_entropy(numpy_sphereface(x, WEIGHTS, LABELS, 5.0), LABELS).sum()

    def ours(x: jax.Array) -> jax.Array:
        logits = identity.sphereface_logits(x, WEIGHTS, LABELS, 5.0)
        return identity.softmax_cross_entropy(logits, LABELS).sum()

    found = jax.jit(jax.grad(ours))(EMBEDDINGS)
    for index in np.ndindex(found.shape):
        step = np.zeros(found.shape)
        step[index] = 1e-5
        slope = (theirs(EMBEDDINGS + step) - theirs(EMBEDDINGS - step)) / 2e-5
        assert found[index] == pytest.approx(slope, abs=1e-4)


def test_the_ease_of_sphereface_falls_to_its_least() -> None:
    steps = np.array([0, 1, 100, 1658, 1659, 28_000])
    found = [float(identity.sphereface_ease(jnp.asarray(step))) for step in steps]
    # 1000 / (1 + 0.12 · 1658.33) = 5
    expected = [1000, 1000 / 1.12, 1000 / 13, 1000 / 199.96, 5, 5]
    np.testing.assert_allclose(found, expected, rtol=1e-6)
    assert float(identity.sphereface_ease(10, 1.0, 30.0, 0.2)) == pytest.approx(10)


def test_centre_loss_by_hand() -> None:
    centres = jnp.asarray([[0.0, 0.0], [1.0, 1.0], [9.0, 9.0]])
    embeddings = jnp.asarray([[3.0, 4.0], [1.0, 1.0], [2.0, 3.0], [5.0, 5.0]])
    labels = jnp.asarray([0, 1, 1, -1])  # the last is nobody

    def total(x: jax.Array, c: jax.Array) -> jax.Array:
        return identity.centre_loss(x, c, labels).sum()

    found = identity.centre_loss(embeddings, centres, labels)
    np.testing.assert_allclose(found, [12.5, 0.0, 2.5, 0.0])
    moved, fixed = jax.grad(total, (0, 1))(embeddings, centres)
    np.testing.assert_allclose(moved, [[3, 4], [0, 0], [1, 2], [0, 0]])
    np.testing.assert_array_equal(fixed, 0)


def numpy_centres(c: np.ndarray, x: np.ndarray, y: np.ndarray, rate: float) -> np.ndarray:
    """Class by class."""
    out = c.astype(np.float64)
    for k in range(len(c)):
        mine = x[y == k]
        out[k] -= rate * (c[k] - mine).sum(0) / (1 + len(mine))
    return out


def test_centres_move_to_their_examples() -> None:
    centres = WEIGHTS.T
    found = identity.updated_centres(centres, EMBEDDINGS, LABELS, 0.5)
    np.testing.assert_allclose(found, numpy_centres(centres, EMBEDDINGS, LABELS, 0.5), rtol=1e-5)
    # By hand: two examples of class 1, none of class 0, and two labels of nobody.
    found = identity.updated_centres(
        jnp.asarray([[5.0], [1.0]]),
        jnp.asarray([[4.0], [7.0], [1.0], [2.0]]),
        jnp.asarray([1, 1, -1, 2]),
        0.5,
    )
    np.testing.assert_allclose(found, [[5.0], [1 - 0.5 * (-3 - 6) / 3]])


def test_centres_are_those_of_all_devices() -> None:
    labels = np.array([0, 2, 2, 0, 1, 2], np.int32)
    expected = numpy_centres(WEIGHTS.T, EMBEDDINGS, labels, 0.3)

    def part(x: jax.Array, y: jax.Array) -> jax.Array:
        return identity.updated_centres(WEIGHTS.T, x, y, 0.3, "data")

    parts = EMBEDDINGS.reshape(2, 3, 4), labels.reshape(2, 3)
    found = jax.jit(jax.vmap(part, axis_name="data"))(*parts)
    np.testing.assert_allclose(found[0], expected, rtol=1e-5)
    np.testing.assert_array_equal(found[0], found[1])


def test_verification_by_hand() -> None:
    first = jnp.asarray([[3.0, 4.0], [3.0, 4.0], [0.3, 0.4], [1.0, 1.0], [1.0, 1.0]])
    second = jnp.zeros((5, 2)).at[3:].set(1.0)
    same = jnp.asarray([True, False, False, True, False])
    found = identity.verification_loss(first, second, same, 2.0)
    np.testing.assert_allclose(found, [12.5, 0, 0.5 * 1.5**2, 0, 2], rtol=1e-5)

    def total(x: jax.Array, y: jax.Array) -> jax.Array:
        return identity.verification_loss(x, y, same, 2.0).sum()

    here, there = jax.jit(jax.grad(total, (0, 1)))(first, second)
    # -(2 - 0.5) along the unit vector (0.6, 0.8); nothing where two are equal or far apart
    np.testing.assert_allclose(
        here, [[3, 4], [0, 0], [-0.9, -1.2], [0, 0], [0, 0]], rtol=1e-5, atol=1e-6
    )
    np.testing.assert_allclose(there, -here)


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
