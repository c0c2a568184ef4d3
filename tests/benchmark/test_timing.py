from lrjax.benchmark.timing import Times, interleave, speedup


class Clock:
    """Time that passes only when somebody works; the machine gets slower with every turn."""

    def __init__(self) -> None:
        self.now, self.pace, self.turns = 0.0, 1.0, []

    def worker(self, name: str, seconds: float):  # noqa: ANN201
        def run(calls: int) -> None:
            self.now += calls * seconds * self.pace
            self.pace *= 1.1
            self.turns.append((name, calls))

        return run


def test_contenders_take_turns_and_samples_last_as_long_as_asked() -> None:
    clock = Clock()
    workers = {"a": clock.worker("a", 1.0), "b": clock.worker("b", 0.25)}
    times = interleave(workers, 2, 3.0, clock=lambda: clock.now)
    # One call each to see how long it takes, then an untimed one before each sample.
    calls_b = round(3.0 / (0.25 * 1.1))
    turn = [("a", 1), ("a", 3), ("b", 1), ("b", calls_b)]
    assert clock.turns == [("a", 1), ("b", 1), *turn, *turn]
    assert [round(s, 6) for s in times["a"].samples] == [round(1.1**3, 6), round(1.1**7, 6)]


def test_drift_cancels_in_the_ratio() -> None:
    clock = Clock()
    workers = {"fast": clock.worker("fast", 1.0), "slow": clock.worker("slow", 2.0)}
    times = interleave(workers, 5, 1.0, clock=lambda: clock.now)
    ratio = speedup(times["fast"], times["slow"])
    assert times["fast"].maximum > 3 * times["fast"].minimum
    assert round(ratio.minimum, 6) == round(ratio.maximum, 6) == round(2 * 1.1**2, 6)


def test_times_by_hand() -> None:
    times = Times((4.0, 1.0, 2.0, 3.0))
    assert (times.minimum, times.median, times.maximum) == (1.0, 2.5, 4.0)
