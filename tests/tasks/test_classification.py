"""What training asks of features, beside NumPy."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import people
import pytest

from lrjax.errors import InputError
from lrjax.models.registry import Network, build
from lrjax.tasks import classification
from lrjax.tasks.recognition import RecognitionConfig
from lrjax.training.parallel import AXIS

RANDOM = np.random.default_rng(5)
FEATURES = RANDOM.normal(size=(8, 5)).astype(np.float32)
LABELS = np.array([0, 0, 1, 2, 2, 2, 1, 0])


people.use_small()


def encoder(config: RecognitionConfig) -> Network:
    """The network whose five features are told apart."""
    return build(config.network)


def class_weights(config: RecognitionConfig) -> dict[str, jax.Array]:
    """Class weights as they are drawn."""
    drawn = classification.classifier(config, config.classes, encoder(config))
    return drawn.init(jax.random.key(0))["params"]


def softmax_error(logits: np.ndarray) -> np.ndarray:
    """-log of the labels' shares."""
    shares = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    return -np.log(shares[np.arange(8), LABELS])


def test_centres_and_pairs_add_their_weighted_terms() -> None:
    config = people.config(
        classes=3, head="softmax", focal=0.0, centre=0.1, verification=0.2, verification_margin=3.0
    )
    weights = class_weights(config)
    centres = RANDOM.normal(size=(3, 5)).astype(np.float32)
    total, values = classification.identity_loss(
        config, FEATURES, weights, LABELS, 3, {"centres": centres}, jnp.zeros((), jnp.int32)
    )
    logits = FEATURES @ np.asarray(weights["kernel"]) + np.asarray(weights["bias"])
    centre = 0.5 * np.square(FEATURES - centres[LABELS]).sum(1).mean()
    distance = np.linalg.norm(FEATURES[::2] - FEATURES[1::2], axis=1)
    same = LABELS[::2] == LABELS[1::2]
    assert same.tolist() == [True, False, True, False]
    apart = np.maximum(0, 3 - distance)
    pairs = 0.5 * np.where(same, distance**2, apart**2).mean()
    assert float(values["cross_entropy"]) == pytest.approx(softmax_error(logits).mean(), rel=1e-5)
    assert float(values["centre"]) == pytest.approx(centre, rel=1e-5)
    assert float(values["verification"]) == pytest.approx(pairs, rel=1e-5)
    expected = softmax_error(logits).mean() + 0.1 * centre + 0.2 * pairs
    assert float(total) == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize(
    ("head", "given", "margin"),
    [("arcface", None, 0.5), ("arcface", 0.2, 0.2), ("cosface", None, 0.4), ("cosface", 0.2, 0.2)],
)
def test_each_head_has_a_margin_of_its_own(head: str, given: float | None, margin: float) -> None:
    config = people.config(classes=3, head=head, focal=0.0, scale=8.0, margin=given)
    weights = class_weights(config)
    unit = np.asarray(weights["kernel"], np.float64)
    unit = unit / np.linalg.norm(unit, axis=0)
    logits = FEATURES @ unit / np.linalg.norm(FEATURES, axis=1, keepdims=True)
    rows = np.arange(8)
    cosine = logits[rows, LABELS]
    lowered = cosine - margin
    if head == "arcface":
        angle = np.arccos(cosine) + margin
        lowered = np.where(angle < np.pi, np.cos(angle), cosine - margin * np.sin(margin))
    logits[rows, LABELS] = lowered
    total, _ = classification.identity_loss(
        config, FEATURES, weights, LABELS, 3, {}, jnp.asarray(0)
    )
    assert float(total) == pytest.approx(softmax_error(8 * logits).mean(), rel=1e-4)


def test_the_margin_of_sphereface_grows_with_the_steps() -> None:
    config = people.config(
        classes=3, head="sphereface", focal=0.0, easing=(5.0, 1000.0, 1.0), bias=False
    )
    weights = class_weights(config)
    assert set(weights) == {"kernel"}
    unit = np.asarray(weights["kernel"], np.float64)
    unit = unit / np.linalg.norm(unit, axis=0)
    logits = FEATURES @ unit
    length = np.linalg.norm(FEATURES, axis=1)
    rows = np.arange(8)
    cosine = logits[rows, LABELS] / length
    angle = np.arccos(cosine)
    k = np.floor(angle * 4 / np.pi)
    lowered = (-1) ** k * np.cos(4 * angle) - 2 * k
    for step, ease in ((0, 1000.0), (9, 100.0), (10_000, 5.0)):
        moved = logits.copy()
        moved[rows, LABELS] = length * (ease * cosine + lowered) / (1 + ease)
        total, _ = classification.identity_loss(
            config, FEATURES, weights, LABELS, 3, {}, jnp.asarray(step)
        )
        assert float(total) == pytest.approx(softmax_error(moved).mean(), rel=1e-4)
    found = classification.predict_label(config, FEATURES, weights, 3)
    assert found.tolist() == logits.argmax(1).tolist()


def test_centres_move_by_what_all_devices_see() -> None:
    config = people.config(classes=4, centre=0.1, centre_rate=0.5)
    centres = classification.new_centres(config, 4, encoder(config))
    assert centres["centres"].shape == (4, 5)
    assert not centres["centres"].any()
    centres = {"centres": centres["centres"] + 1.0}
    # Two devices with four examples each, here as two lanes.
    moved = jax.vmap(
        lambda x, y: classification.update_centres(config, centres, x, y)["centres"], axis_name=AXIS
    )(FEATURES.reshape(2, 4, 5), LABELS.reshape(2, 4))
    expected = np.ones((4, 5))
    for person in range(4):
        mine = FEATURES[person == LABELS]
        expected[person] -= 0.5 * (1 - mine).sum(0) / (1 + len(mine))
    np.testing.assert_allclose(moved[0], expected, rtol=1e-5)
    np.testing.assert_allclose(moved[1], expected, rtol=1e-5)
    plain = people.config(classes=4)
    assert classification.new_centres(plain, 4, encoder(plain)) == {}
    assert classification.update_centres(plain, {}, FEATURES, LABELS) == {}


def test_centres_of_classes_over_devices_are_refused() -> None:
    config = people.config(classes=4, centre=0.1, shard_classes=True)
    with pytest.raises(InputError, match="set shard_classes to false, or centre to 0"):
        config.validate()
