"""Changed files end in a sentence, whoever reads them; see `tests/support/fuzz.py`."""

from __future__ import annotations

import fuzz
import numpy as np
import pytest


@pytest.mark.parametrize("cases", [2000, pytest.param(100_000, marks=pytest.mark.slow)])
def test_changed_files_are_read_or_refused(cases: int) -> None:
    """Without a traceback, a hang, anything silently infinite, or more memory than is promised."""
    found = fuzz.run(seed=0, cases=cases)
    assert not found.failures, "\n\n".join(found.failures)
    assert found.memory < fuzz.MOST_MEMORY
    assert sum(sum(outcomes.values()) for outcomes in found.counts.values()) == cases
    often = {name: many for name, many in found.counts.items() if sum(many.values()) > 100}
    assert len(often) > 10
    for reader, outcomes in often.items():
        # Else no more was tried than the first lines of a reader, or nothing was changed.
        assert outcomes["read"], reader
        assert outcomes["refused"], reader


def test_a_case_is_known_by_its_seed_and_number() -> None:
    def files(seed: int) -> list[bytes]:
        rng = np.random.default_rng((seed, 7))
        return [fuzz.changed(b"a file" * 9, rng), fuzz.changed_words(b"x = 1.5, y", rng)]

    assert files(0) == files(0) != files(1)


@pytest.mark.parametrize(
    "value", [np.float32([1, np.nan]), {"a": [np.inf]}, (1.0, [-np.inf]), [{"b": np.array(np.nan)}]]
)
def test_what_is_silently_infinite_is_noticed(value: object) -> None:
    fuzz.require_finite([np.zeros(3), {"a": 1, "b": "nan", "c": None}])
    with pytest.raises(AssertionError, match="not finite"):
        fuzz.require_finite(value)
