"""Bootstrap intervals agree with a transcription in plain loops, and with what can be reckoned."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from lrjax.errors import InputError
from lrjax.evaluation import intervals
from lrjax.evaluation.intervals import Sample, difference_interval, resampled_means


def transcription(
    a: list[float], b: list[float], people: list[str], resamples: int, seed: int
) -> tuple[float, float]:
    """The paired bootstrap over people, face by face, without arrays."""
    by_person: dict[str, list[float]] = {}
    for x, y, person in zip(a, b, people, strict=True):
        by_person.setdefault(person, []).append(x - y)
    names = sorted(by_person)
    draws = np.random.default_rng(seed).integers(len(names), size=(resamples, len(names)))
    means = []
    for draw in draws.tolist():
        faces = [value for i in draw for value in by_person[names[i]]]
        means.append(sum(faces) / len(faces))
    means.sort()

    def quantile(q: float) -> float:
        place = q * (len(means) - 1)
        low = int(place)
        high = min(low + 1, len(means) - 1)
        return means[low] + (place - low) * (means[high] - means[low])

    return quantile(0.025), quantile(0.975)


def test_people_are_drawn_with_all_their_probes() -> None:
    rng = np.random.default_rng(3)
    people = [f"person {i}" for i in rng.integers(12, size=80)]
    a, b = ((rng.random(80) < share) * 100.0 for share in (0.5, 0.3))
    found = difference_interval(
        Sample(a, people, "x"), Sample(b, people, "x"), resamples=999, seed=5
    )
    assert found == pytest.approx(transcription(a.tolist(), b.tolist(), people, 999, 5))


def test_averages_of_all_draws_of_two_people() -> None:
    # Person 0 has faces 1 and 2, person 1 has 9: drawn twice, both, or the other twice.
    means = resampled_means([1, 2, 9], [0, 0, 1], np.random.default_rng(0), 4000)
    assert set(np.round(means, 6)) == {1.5, 4.0, 9.0}
    np.testing.assert_allclose(
        [(means == v).mean() for v in (1.5, 4, 9)], [0.25, 0.5, 0.25], atol=0.03
    )


def test_the_bounds_are_the_percentiles_of_all_draws() -> None:
    # All 4^4 draws of four faces, whose averages can be listed.
    differences = np.array([0.0, 1.0, 3.0, 7.0])
    listed = [np.mean(draw) for draw in itertools.product(differences, repeat=4)]
    exact = np.quantile(listed, [0.025, 0.975])
    faces = np.arange(4)
    found = difference_interval(
        Sample(differences + 5, faces, "x"), Sample(np.full(4, 5.0), faces, "x"), resamples=60_000
    )
    np.testing.assert_allclose(found, exact, atol=0.26)  # one step between averages is 0.25


def test_the_width_is_that_of_the_normal_law() -> None:
    rng = np.random.default_rng(1)
    values, faces = rng.normal(2, 3, 5000), np.arange(5000)
    other = np.zeros(5000)
    low, high = difference_interval(Sample(values, faces, "x"), Sample(other, faces, "x"))
    half = 1.96 * values.std() / np.sqrt(5000)
    assert (low, high) == pytest.approx((values.mean() - half, values.mean() + half), abs=0.01)


def test_pairs_are_known_better_than_rows() -> None:
    rng = np.random.default_rng(2)
    hard, faces = rng.normal(0, 10, 300), np.arange(300)
    a, b = hard + 1, hard + rng.normal(0, 0.1, 300)
    low, high = difference_interval(Sample(a, faces, "x"), Sample(b, faces, "x"))
    assert 0.9 < low < 1 < high < 1.1
    low, high = difference_interval(Sample(a, faces, "x"), Sample(b, faces, "y"))
    # Of different faces, the variances add.
    half = 1.96 * np.sqrt((a.var() + b.var()) / 300)
    assert high - low == pytest.approx(2 * half, rel=0.05)


def test_probes_of_one_person_count_as_one() -> None:
    """Ten copies of each face tell no more than one."""
    rng = np.random.default_rng(4)
    values, people = rng.normal(size=40), np.arange(40)
    one = difference_interval(Sample(values, people, "x"), Sample(np.zeros(40), people, "x"))
    many = np.repeat(values, 10), np.repeat(people, 10)
    ten = difference_interval(Sample(*many, "x"), Sample(np.zeros(400), many[1], "x"))
    assert ten == pytest.approx(one)


def test_seeds_are_averaged_over() -> None:
    """The faces of a second run, behind those of the first, are drawn with them."""
    rng = np.random.default_rng(6)
    first, second, faces = rng.normal(size=50), rng.normal(size=50), np.arange(50)
    both = Sample(np.concatenate([first, second]), np.tile(faces, 2), "x")
    zero = Sample(np.zeros(100), np.tile(faces, 2), "x")
    average = Sample((first + second) / 2, faces, "x"), Sample(np.zeros(50), faces, "x")
    assert difference_interval(both, zero) == pytest.approx(difference_interval(*average))


def test_blocks_do_not_matter_to_what_is_drawn(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = resampled_means(np.arange(7), np.arange(7), np.random.default_rng(0), 100)
    monkeypatch.setattr(intervals, "_AT_ONCE", 20)
    parts = resampled_means(np.arange(7), np.arange(7), np.random.default_rng(0), 100)
    np.testing.assert_array_equal(whole, parts)


def test_what_could_not_be_measured_is_left_out() -> None:
    values = np.array([1.0, np.nan, 3.0, 5.0])
    sample = Sample(values, np.arange(4), "x")
    assert sample.mean == 3
    found = difference_interval(sample, Sample(np.zeros(4), np.arange(4), "x"))
    kept = Sample(values[[0, 2, 3]], np.arange(3), "x")
    assert found == difference_interval(kept, Sample(np.zeros(3), np.arange(3), "x"))


def test_one_person_says_nothing_about_others() -> None:
    alone = Sample([1, 2, 3], [7, 7, 7], "x")
    assert difference_interval(alone, alone) is None
    assert difference_interval(Sample([1, 2], [0, 1], "y"), alone) is None


def test_what_cannot_be_compared_is_refused() -> None:
    a = Sample([1, 2], [0, 1], "x")
    with pytest.raises(InputError, match="one unit for each value"):
        Sample([1, 2], [0], "x")
    with pytest.raises(InputError, match="not the same faces"):
        difference_interval(a, Sample([1, 2], [1, 0], "x"))
    with pytest.raises(InputError, match="No face could be measured"):
        difference_interval(a, Sample([np.nan, np.nan], [0, 1], "x"))
