"""Identification against a slow transcription of the official script, and against hand values."""

import os
from collections.abc import Iterator
from pathlib import Path

import jax
import numpy as np
import pytest
import scipy.io

from lrjax.errors import InputError
from lrjax.evaluation import ranking, scores
from lrjax.evaluation.identification import Identification, identify, random_halves

pytestmark = pytest.mark.usefixtures("quick_compile")


def official(
    probes: np.ndarray,
    probe_ids: np.ndarray,
    gallery: np.ndarray,
    gallery_ids: np.ndarray,
    distractors: np.ndarray,
    metric: str = "euclidean",
) -> tuple[list[np.ndarray], np.ndarray, np.ndarray, np.ndarray]:
    """What the MATLAB script does, in float64: all distances, a stable sort, a walk.

    Returns the ranks of each probe's mates, the mean CMC over all ranks, the APs, and, which the
    script does not have, the mean interpolated precision at each hundredth of recall.
    """
    everything = np.concatenate([gallery, distractors]).astype(np.float64)
    ids = np.concatenate([gallery_ids, np.full(len(distractors), -100)])
    ranks, curves, aps, precisions = [], [], [], []
    for probe, identity in zip(probes.astype(np.float64), probe_ids, strict=True):
        if metric == "euclidean":
            distance = np.sqrt(((everything - probe) ** 2).sum(axis=1))
        else:
            distance = -(everything @ probe) / np.sqrt((everything**2).sum(axis=1))
            # Angles that are equal may differ in their last bits.
            distance = np.round(distance / np.sqrt((probe**2).sum()), 13)
        good = ids[np.argsort(distance, kind="stable")] == identity
        ranks.append(np.flatnonzero(good) + 1)
        curves.append(np.maximum.accumulate(good))
        aps.append(walked_precision(good))
        precisions.append(interpolated_precision(good))
    return ranks, np.mean(curves, axis=0), np.array(aps), np.mean(precisions, axis=0)


def interpolated_precision(good: np.ndarray) -> list[float]:
    """The largest precision at any rank of the ranking from which on the recall is reached."""
    hits = np.cumsum(good)
    precision = hits / np.arange(1, len(good) + 1)
    return [precision[100 * hits >= percent * good.sum()].max() for percent in range(101)]


def walked_precision(good: np.ndarray) -> float:
    """The script's average precision, rank by rank until the last mate."""
    area, hits, last_recall, last_precision = 0.0, 0, 0.0, 1.0
    for rank, hit in enumerate(good.tolist(), start=1):
        hits += hit
        recall, precision = hits / good.sum(), hits / rank
        area += (recall - last_recall) * (last_precision + precision) / 2
        last_recall, last_precision = recall, precision
        if hits == good.sum():
            break
    return area


def assert_official(found: Identification, reference: tuple) -> None:
    ranks, cmc, ap, precisions = reference
    for ours, expected in zip(found.ranks, ranks, strict=True):
        np.testing.assert_array_equal(ours[: len(expected)], expected)
        assert not ours[len(expected) :].any()
    np.testing.assert_allclose(found.cmc, cmc, rtol=0, atol=1e-12)
    np.testing.assert_allclose(found.ap, ap, rtol=0, atol=1e-12)
    recall, precision = found.precision_recall
    np.testing.assert_allclose(recall, np.linspace(0, 1, 101), rtol=0, atol=1e-12)
    np.testing.assert_allclose(precision, precisions, rtol=0, atol=1e-12)


def in_blocks(values: np.ndarray, sizes: tuple[int, ...]) -> Iterator[np.ndarray]:
    """Blocks of these sizes in turns, all in one buffer that is written again and again."""
    buffer = np.empty((max(sizes), values.shape[1]), values.dtype)
    start, turn = 0, 0
    while start < len(values):
        block = values[start : start + sizes[turn % len(sizes)]]
        buffer[: len(block)] = block
        yield buffer[: len(block)]
        start, turn = start + len(block), turn + 1


IDENTITIES, PROBES, GALLERY = 7, 24, 60


def closed_set(seed: int, kind: str) -> tuple[np.ndarray, ...]:
    """Probes, their identities, gallery, its identities and 150 distractors of 3 numbers each."""
    random = np.random.default_rng(seed)
    gallery_ids = np.concatenate(
        [np.arange(IDENTITIES), random.integers(0, IDENTITIES, GALLERY - IDENTITIES)]
    )
    probe_ids = random.integers(0, IDENTITIES, PROBES)

    def embeddings(count: int) -> np.ndarray:
        if kind == "whole numbers":  # with many ties, and exact in any arithmetic
            return random.integers(-2, 3, (count, 3)) + np.array([0, 0, 4], np.float32)
        return random.normal(size=(count, 3)).astype(np.float32)

    probes, gallery, distractors = (embeddings(count) for count in (PROBES, GALLERY, 150))
    return probes, probe_ids, gallery, gallery_ids, distractors


@pytest.mark.parametrize("metric", scores.METRICS)
@pytest.mark.parametrize("kind", ["whole numbers", "normal"])
def test_all_is_the_official_scripts(metric: str, kind: str) -> None:
    for seed in range(3):
        *matched, distractors = closed_set(seed, kind)
        # Some of the gallery once more, behind it: ties whatever the numbers are.
        distractors = np.concatenate([distractors, matched[2][::2]])
        reference = official(*matched, distractors, metric)
        assert_official(identify(*matched, distractors, metric=metric, block=64), reference)
        stream = in_blocks(distractors, (50, 1, 90))
        assert_official(identify(*matched, stream, metric=metric, block=64), reference)
        alone = official(*matched, distractors[:0], metric)
        assert_official(identify(*matched, metric=metric, block=64), alone)


def test_probes_with_few_and_with_many_mates_are_ranked_in_turns(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(ranking, "PROBES", 8)
    random = np.random.default_rng(0)
    gallery_ids = np.repeat([3, 1, 5, 0], [1, 2, 20, 9])
    probe_ids = random.choice([0, 1, 3, 5], 21)
    probes, gallery, distractors = (random.normal(size=(n, 2)) for n in (21, 32, 40))
    found = identify(probes, probe_ids, gallery, gallery_ids, distractors, block=32)
    assert found.ranks.shape == (21, 20)
    assert_official(found, official(probes, probe_ids, gallery, gallery_ids, distractors))


def test_what_float32_cannot_order_is_ordered() -> None:
    # Around each mate stand entries whose distances differ by some 1e-9 of their size.
    random = np.random.default_rng(0)
    ids = np.arange(12)
    gallery = random.normal(size=(12, 64)).astype(np.float32)
    probes = gallery + random.normal(size=(12, 64)).astype(np.float32)
    near = np.repeat(gallery, 20, axis=0)
    near[np.arange(240), random.integers(0, 64, 240)] *= np.float32(1 + 2e-7)
    reference = official(probes, ids, gallery, ids, near)
    assert_official(identify(probes, ids, gallery, ids, near), reference)
    # In float32 alone it would have come out otherwise.
    entries = np.concatenate([gallery, near])
    score = (entries**2).sum(axis=1) / 2 - probes @ entries.T
    before = (score < score[ids, ids][:, None]).sum(axis=1) + 1
    assert (before != [ranks[0] for ranks in reference[0]]).mean() > 0.5


@pytest.mark.parametrize("metric", scores.METRICS)
def test_a_network_that_sees_no_difference_leaves_the_order_of_the_gallery(metric: str) -> None:
    same = np.full((1, 300), 1.2345, np.float32)
    ids = np.array([4, 2, 2, 4, 9])
    found = identify(
        same.repeat(3, 0), [2, 9, 4], same.repeat(5, 0), ids, same.repeat(99, 0), metric=metric
    )
    np.testing.assert_array_equal(found.ranks, [[2, 3], [5, 0], [1, 4]])


def test_a_network_that_sees_hardly_a_difference(monkeypatch: pytest.MonkeyPatch) -> None:
    # So near to each other that nearly all pairs must be compared in float64.
    compare, compared = ranking.squared_distances, []

    def watched(a: np.ndarray, b: np.ndarray) -> np.ndarray:
        compared.append(len(a))
        return compare(a, b)

    monkeypatch.setattr(ranking, "squared_distances", watched)
    random = np.random.default_rng(1)
    ids = np.repeat(np.arange(10), 3)
    gallery, probes, distractors = (
        (1 + 1e-6 * random.normal(size=(n, 64))).astype(np.float32) for n in (30, 30, 200)
    )
    reference = official(probes, ids, gallery, ids, distractors)
    assert_official(identify(probes, ids, gallery, ids, distractors, block=64), reference)
    assert sum(compared) > 0.9 * 30 * 230


def test_the_bound_leaves_room_for_numbers_that_become_zero() -> None:
    found = scores.Space("euclidean", 4).score_error(np.zeros(1), 2.0**-60)
    # Four for each of four dimensions, each below float32's least normal number.
    np.testing.assert_allclose(found, [16 * 2.0**-126], rtol=1e-6)


def test_mates_never_share_a_rank() -> None:
    # Of three mates, float64 can tell only the outer ones apart: ties without an order.
    gallery = 1 - np.array([[0.0], [4.5e-16], [9e-16]])
    found = identify([[0.0]], [1], gallery, [1, 1, 1])
    assert (np.diff(found.ranks) > 0).all()


@pytest.mark.parametrize("metric", scores.METRICS)
@pytest.mark.parametrize("factor", [2.0**-130, 2.0**100])
def test_very_short_and_very_long_embeddings_are_ranked_alike(factor: float, metric: str) -> None:
    *matched, distractors = closed_set(0, "whole numbers")
    expected = identify(*matched, distractors, block=64, metric=metric).ranks
    matched[0], matched[2], distractors = (
        (a * factor).astype(np.float32) for a in (matched[0], matched[2], distractors)
    )
    found = identify(*matched, distractors, block=64, metric=metric)
    np.testing.assert_array_equal(found.ranks, expected)


def test_the_bound_on_rounding_holds() -> None:
    random = np.random.default_rng(0)
    size = (64, 512)
    for values in (
        random.normal(size=size),
        np.maximum(random.normal(size=size), 0),
        1 + 1e-3 * random.normal(size=size),
        # The worst case: at each step of the sum the same error.
        np.repeat(1 + random.random((64, 1)), 512, axis=1),
    ):
        values = values.astype(np.float32)
        space = scores.Space.around("cosine", values)
        rows = space.rows(values, "row")
        exact = values.astype(np.float64) @ values.astype(np.float64).T
        lengths = np.linalg.norm(values.astype(np.float64), axis=1)
        exact = 0.5 - exact / (lengths[:, None] * lengths)
        found = ranking._scores(rows.astype(np.float32), *ranking._Block.of(rows, 0, 64).on_device)
        assert np.abs(found - exact).max() <= space.score_error(np.ones(1), 1.0)[0]


def test_average_precision_by_hand() -> None:
    def ap(*ranks: int) -> float:
        return float(Identification(np.array([ranks]), 10, None, "cosine").ap[0])

    assert ap(1) == 1.0
    # Precision is 0 at rank 1 and 1/2 at rank 2, where recall goes from 0 to 1.
    assert ap(2) == pytest.approx(0.25)
    assert ap(3) == pytest.approx((0 + 1 / 3) / 2)
    assert ap(1, 2) == 1.0
    # 1/2 (1 + 1)/2, then 1/2 (1/2 + 2/3)/2.
    assert ap(1, 3) == pytest.approx(0.5 + (1 / 2 + 2 / 3) / 4)
    assert ap(2, 3) == pytest.approx((0 + 1 / 2) / 4 + (1 / 2 + 2 / 3) / 4)
    assert ap(2, 0) == pytest.approx(0.25)  # one mate, where another probe has two


def test_a_gallery_by_hand() -> None:
    gallery = [[1.0], [2.0], [4.0], [8.0]]
    probes = [[1.2], [4.0], [7.0]]
    found = identify(probes, [7, 7, 5], gallery, [7, 5, 7, 5], distractors=[[[4.1], [100.0]]])
    # 1.2: 1 2 4 4.1 8 100; 4: 4 4.1 2 1 8 100; 7: 8 4.1 4 2 1 100.
    np.testing.assert_array_equal(found.ranks, [[1, 3], [1, 4], [1, 4]])
    assert found.summary() == {
        "rank-1": 100.0,
        "rank-5": 100.0,
        "mAP": pytest.approx(100 * (19 / 24 + 2 * (0.5 + (1 / 3 + 1 / 2) / 4)) / 3),
        "probes": 3,
        "gallery": 4,
        "distractors": 2,
        "metric": "euclidean",
    }
    assert identify(probes, [7, 7, 5], gallery, [7, 5, 7, 5]).summary()["distractors"] == "no"
    # By angle all are alike: the gallery's order.
    found = identify(probes, [7, 7, 5], gallery, [7, 5, 7, 5], metric="cosine")
    np.testing.assert_array_equal(found.ranks, [[1, 3], [1, 3], [2, 4]])
    np.testing.assert_allclose(found.cmc, [2 / 3, 1, 1, 1])
    assert found.cmc_at(1) == pytest.approx(2 / 3)


def test_precision_over_recall_by_hand() -> None:
    found = Identification(np.array([[2, 3, 6], [1, 0, 0]]), 9, None, "cosine")
    recall, precision = found.precision_recall
    assert recall[0] == 0
    assert recall[-1] == 1
    # Precisions 1/2, 2/3, 1/2 at recalls 1/3, 2/3, 1, interpolated 2/3, 2/3, 1/2; and always 1.
    np.testing.assert_allclose(precision[:67], (2 / 3 + 1) / 2)
    np.testing.assert_allclose(precision[67:], (1 / 2 + 1) / 2)


def test_the_device_holds_no_more_for_a_longer_stream() -> None:
    *matched, distractors = closed_set(0, "normal")
    held: list[int] = []

    def stream(blocks: int) -> Iterator[np.ndarray]:
        for _ in range(blocks):
            held[-1] = max(held[-1], sum(array.nbytes for array in jax.live_arrays()))
            yield distractors

    for blocks in (10, 40):
        held.append(0)
        assert identify(*matched, stream(blocks), block=64).distractors == 150 * blocks
    assert held[1] <= 1.01 * held[0]


def test_a_gallery_on_disk_is_ranked_alike(tmp_path: Path) -> None:
    probes, probe_ids, gallery, gallery_ids, distractors = closed_set(0, "normal")
    expected = identify(probes, probe_ids, gallery, gallery_ids, distractors, block=64)
    on_disk = {}
    for name, values in (("gallery", gallery), ("distractors", distractors)):
        np.save(tmp_path / f"{name}.npy", values)
        on_disk[name] = np.load(tmp_path / f"{name}.npy", mmap_mode="r")
    found = identify(probes, probe_ids, gallery_ids=gallery_ids, block=64, **on_disk)
    np.testing.assert_array_equal(found.ranks, expected.ranks)


def test_random_halves() -> None:
    labels = np.array([5, 2, 5, -1, 2, 5, 9, 2, 2, 5, 5])
    probes, gallery = random_halves(labels, seed=0)
    assert sorted([*probes, *gallery]) == [0, 1, 2, 4, 5, 6, 7, 8, 9, 10]
    assert np.bincount(labels[probes], minlength=10)[[2, 5, 9]].tolist() == [2, 2, 0]
    assert np.bincount(labels[gallery], minlength=10)[[2, 5, 9]].tolist() == [2, 3, 1]
    assert (np.diff(probes) > 0).all()
    np.testing.assert_array_equal(random_halves(labels, seed=0)[0], probes)
    drawn = {tuple(random_halves(labels, seed)[0]) for seed in range(200)}
    assert len(drawn) == 6 * 10  # 2 of 4 times 2 of 5, all of them


NAN = [[0.0, np.nan], [1.0, 1.0], [np.inf, 1.0]]
ONES = np.ones((3, 2))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((NAN, [1, 1, 1], ONES, [1, 2, 3]), r"2 embeddings \(first: probe 0\) hold NaN"),
        ((ONES, [1, 1, 1], NAN[:2], [1, 2]), "of gallery entry 0 holds NaN"),
        ((ONES, [1, 1, 1], ONES, [1, 2, 3], iter([ONES, NAN])), r"2 .*\(first: distractor 3\)"),
        ((ONES, [1, 5, 4], ONES, [1, 2, 3]), r"2 of 3 probes .* \(first: probe 1, identity 5\)"),
        ((ONES, [1, 1, 1], np.ones((3, 4)), [1, 2, 3]), "entries have 4 numbers .* probes have 2"),
        ((ONES, [1, 1, 1], ONES, [1, 2, 3], [np.ones((2, 3))]), "Distractors have 3 numbers"),
        ((ONES[:0], [], ONES, [1, 2, 3]), "There is no probe"),
        ((ONES, [1, 1, 1], ONES[:0], []), "There is no gallery entry"),
        ((ONES, [1, 1, 1], ONES, [1, 2, 3], iter([])), "hold no embedding"),
        ((ONES, [1, 1], ONES, [1, 2, 3]), r"shape \(2,\); give one for each probe, .* are 3"),
        ((ONES[0], [1], ONES, [1, 2, 3]), r"Probes have shape \(2,\)"),
        (([["a"]], [1], ONES[:, :1], [1, 2, 3]), "Probes are of type"),
    ],
)
def test_bad_embeddings_are_refused(arguments: tuple, message: str) -> None:
    with pytest.raises(InputError, match=message):
        identify(*arguments)


def test_other_bad_input_is_refused() -> None:
    matched = (ONES, [1, 1, 1], ONES, [1, 2, 3])
    with pytest.raises(InputError, match="Metric 'manhattan' is unknown"):
        identify(*matched, metric="manhattan")
    with pytest.raises(InputError, match="Blocks of 0"):
        identify(*matched, block=0)
    with pytest.raises(InputError, match="distractor 1 holds zeros alone"):
        identify(*matched, np.array([[1.0, 0], [0, 0]]), metric="cosine")
    found = identify(*matched)
    for rank in (0, 4):
        with pytest.raises(InputError, match=f"no rank {rank} in a gallery of 3"):
            found.cmc_at(rank)
    with pytest.raises(InputError, match="no rank 5"):
        found.summary(ranks=(1, 5))
    with pytest.raises(InputError, match="None of the 2 identities has two"):
        random_halves([1, 2], seed=0)
    with pytest.raises(InputError, match="one whole number"):
        random_halves([0.5], seed=0)


def genuine_ids() -> tuple[np.ndarray, np.ndarray]:
    """Probe and gallery identities of TinyFace's official pairs."""
    if "LRJAX_DATA" not in os.environ:
        pytest.skip("LRJAX_DATA is not set")
    folder = Path(os.environ["LRJAX_DATA"]) / "tinyface_protocol"
    if not folder.is_dir():
        pytest.skip(f"{folder} is not there")
    pairs = {
        name: scipy.io.loadmat(folder / f"{file}_img_ID_pairs.mat")[f"{name}_ids"].ravel()
        for name, file in (("probe", "probe"), ("gallery", "gallery_match"))
    }
    assert len(pairs["probe"]) == 3728
    assert len(pairs["gallery"]) == 4443
    return pairs["probe"].astype(int), pairs["gallery"].astype(int)


def drawn(
    probe_ids: np.ndarray, gallery_ids: np.ndarray, distractors: int, dimensions: int
) -> tuple[np.ndarray, ...]:
    """Embeddings as of a face encoder: images of one identity differ less than identities."""
    random = np.random.default_rng(0)
    faces = 1.5 * random.normal(size=(2570, dimensions))
    probes, gallery = (
        (faces[ids] + random.normal(size=(len(ids), dimensions))).astype(np.float32)
        for ids in (probe_ids, gallery_ids)
    )
    distractors = np.hypot(1.5, 1) * random.normal(size=(distractors, dimensions))
    return probes, probe_ids, gallery, gallery_ids, distractors.astype(np.float32)


def quick_official(arguments: tuple[np.ndarray, ...]) -> tuple[list[np.ndarray], np.ndarray]:
    """Ranks and mean AP as `official` has them, without its slow walk."""
    probes, probe_ids, gallery, gallery_ids, distractors = arguments
    everything = np.concatenate([gallery, distractors]).astype(np.float64)
    ids = np.concatenate([gallery_ids, np.full(len(distractors), -100)])
    squares = (everything**2).sum(axis=1)
    ranks, aps = [], []
    for probe, identity in zip(probes.astype(np.float64), probe_ids, strict=True):
        distance = np.sqrt(np.maximum(squares - 2 * everything @ probe + probe @ probe, 0))
        good = ids[np.argsort(distance, kind="stable")] == identity
        precision = np.concatenate([[1], np.cumsum(good) / np.arange(1, len(good) + 1)])
        aps.append(((precision[1:] + precision[:-1]) / 2)[good].mean())
        ranks.append(np.flatnonzero(good) + 1)
    return ranks, np.array(aps)


def assert_genuine(found: Identification, arguments: tuple[np.ndarray, ...]) -> None:
    ranks, aps = quick_official(arguments)
    width = found.ranks.shape[1]
    padded = np.array([np.pad(r, (0, width - len(r))) for r in ranks])
    np.testing.assert_array_equal(found.ranks, padded)
    np.testing.assert_allclose(found.ap, aps, rtol=0, atol=1e-12)
    assert 0.05 < found.cmc_at(1) < 0.95


def test_genuine_identities_and_some_distractors() -> None:
    probe_ids, gallery_ids = genuine_ids()
    # The script takes about a millisecond for a probe.
    arguments = drawn(probe_ids[::10], gallery_ids, 2000, 24)
    found = identify(*arguments)
    assert found.summary()["distractors"] == 2000
    assert_genuine(found, arguments)


@pytest.mark.slow
def test_the_genuine_protocol() -> None:
    arguments = drawn(*genuine_ids(), 153_428, 32)
    found = identify(*arguments)
    assert (found.probes, found.gallery, found.distractors) == (3728, 4443, 153_428)
    assert_genuine(found, arguments)
