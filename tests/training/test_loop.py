"""The loop, with a task that compiles in a second: resuming, divergence, Ctrl-C, best weights."""

from __future__ import annotations

import dataclasses
import signal
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import tiny
from grain import MapDataset

from lrjax.config import TrainConfig
from lrjax.data import batches
from lrjax.data.batches import draw, order_key
from lrjax.errors import InputError
from lrjax.training import log, loop, parallel
from lrjax.training.checkpoint import Checkpoints
from lrjax.training.state import State
from lrjax.training.step import guarded, init_state
from lrjax.training.task import Task

pytestmark = pytest.mark.usefixtures("quick_compile")

CONFIG = tiny.train_config()


def fit(folder: Path, steps: int = 6, config: TrainConfig = CONFIG, **changes: Any) -> State:
    """Train the toy."""
    arguments = {"data": tiny.toy_data(), "held_out": tiny.toy_data(10, seed=1)["points"]} | changes
    return loop.fit(arguments.pop("task", tiny.toy()), config, steps, folder=folder, **arguments)


def saved(folder: Path) -> State:
    """The state in a run folder."""
    return Checkpoints(folder, 1).restore(init_state(tiny.toy(), jax.random.key(9)))


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> tuple[State, Path]:
    """A run of six steps that nothing disturbs."""
    folder = tmp_path_factory.mktemp("whole")
    return fit(folder), folder


def test_two_runs_are_equal_bit_by_bit(whole: tuple[State, Path], tmp_path: Path) -> None:
    state, folder = whole
    assert tiny.same(fit(tmp_path), state)
    assert (tmp_path / "metrics.jsonl").read_bytes() == (folder / "metrics.jsonl").read_bytes()
    other = fit(tmp_path / "other", config=dataclasses.replace(CONFIG, seed=1))
    assert not tiny.same(other, state)


def test_what_is_trained_is_saved(whole: tuple[State, Path]) -> None:
    state, folder = whole
    assert int(state.step) == 6
    assert tiny.same(saved(folder), state)
    start = init_state(tiny.toy(), jax.random.key(CONFIG.seed))
    assert not tiny.same(start.nets["line"].params, state.nets["line"].params)


@pytest.mark.parametrize("step", [2, 4])
def test_ctrl_c_saves_and_the_rest_follows_bit_by_bit(
    step: int, whole: tuple[State, Path], tmp_path: Path
) -> None:
    def interrupt(at: int, pictures: dict[str, Any]) -> None:
        if at == step:
            signal.raise_signal(signal.SIGINT)

    written: list[tuple[str, int]] = []
    hooks = loop.Hooks(
        pictures=interrupt, weights=lambda state, which: written.append((which, int(state.step)))
    )
    # Nothing is saved on schedule, so that what is resumed from is what Ctrl-C saved: the signal
    # arrives after the assessment, and is honoured after the next step.
    config = dataclasses.replace(CONFIG, checkpoint_every=100)
    handler = signal.getsignal(signal.SIGINT)
    with pytest.raises(loop.Interrupted):
        fit(tmp_path, config=config, hooks=hooks)
    assert int(saved(tmp_path).step) == step + 1
    assert "last" not in dict(written)
    state, folder = whole
    assert tiny.same(fit(tmp_path), state)
    assert (tmp_path / "metrics.jsonl").read_bytes() == (folder / "metrics.jsonl").read_bytes()
    assert signal.getsignal(signal.SIGINT) is handler


def test_the_second_ctrl_c_does_not_wait(tmp_path: Path) -> None:
    def insist(at: int, pictures: dict[str, Any]) -> None:
        signal.raise_signal(signal.SIGINT)
        signal.raise_signal(signal.SIGINT)

    with pytest.raises(KeyboardInterrupt) as caught:
        fit(tmp_path, hooks=loop.Hooks(pictures=insist))
    assert caught.type is KeyboardInterrupt


@pytest.mark.parametrize("mode", ["pmap", "mesh"])
def test_the_step_is_traced_once(mode: str, tmp_path: Path) -> None:
    task, traces = tiny.toy(), []

    def losses(*args: Any) -> Any:
        traces.append(1)
        return task.losses(*args)

    config = dataclasses.replace(CONFIG, parallel=mode)
    counted = dataclasses.replace(task, losses=losses)
    fit(tmp_path, 4, config, task=counted)
    assert len(traces) == 1
    fit(tmp_path, 6, config, task=counted)  # resumed: a new program, traced once again
    assert len(traces) == 2


@pytest.mark.parametrize("feed", ["device", "host"])
@pytest.mark.parametrize("mode", ["pmap", "mesh"])
def test_between_logs_steps_follow_each_other_without_the_host(
    mode: str, feed: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After its first step nothing is compiled, sent unasked, or read but metrics to be logged."""
    fed, get, read, compiled = loop.feed, jax.device_get, [], []
    guard = ExitStack()  # of this thread: those that read ahead compute on the host

    def watched(*arguments: Any) -> Any:
        for number, batch in enumerate(fed(*arguments), 1):
            if number == 2:
                guard.enter_context(jax.transfer_guard_host_to_device("disallow"))
                jax.monitoring.register_event_duration_secs_listener(heard)
            yield batch

    def heard(event: str, duration: float, **about: Any) -> None:
        if "compile" in event:
            compiled.append(event)

    def noted(tree: Any) -> Any:
        read.append(set(tree))
        return get(tree)

    monkeypatch.setattr(loop, "feed", watched)
    monkeypatch.setattr(jax, "device_get", noted)
    rare = {"log_every": 4, "evaluate_every": 50, "checkpoint_every": 50, "samples": 0}
    config = dataclasses.replace(CONFIG, parallel=mode, feed=feed, **rare)
    with guard:
        try:
            fit(tmp_path, 10, config, held_out=None)
        finally:
            jax.monitoring.unregister_event_duration_listener(heard)
        with pytest.raises(jax.errors.JaxRuntimeError, match="Disallowed host-to-device"):
            jnp.zeros(3) + np.ones(3, np.float32)
    assert compiled == []
    # The metrics of the first step, of the fourth and the eighth, and, twice, those of the last.
    assert read == 5 * [{"fit", "length", "update/line"}]


def test_best_weights_are_those_of_the_least_error_also_after_resuming(tmp_path: Path) -> None:
    best: list[int] = []
    hooks = loop.Hooks(
        weights=lambda state, which: best.append(int(state.step)) if which == "best" else None
    )
    for steps in (3, 20, 40):  # stopped twice
        config = dataclasses.replace(CONFIG, evaluate_every=1)
        fit(tmp_path, steps, config, hooks=hooks, task=tiny.toy(optimizer=optax.sgd(0.15, 0.9)))
    records = log.read(tmp_path / "metrics.jsonl")
    errors = [r["held_out/error"] for r in records if "held_out/error" in r]
    assert len(errors) == 40
    expected = [i + 1 for i, e in enumerate(errors) if e < min(errors[:i], default=np.inf)]
    assert best == expected
    assert 1 < len(expected) < 40


def test_the_error_is_the_mean_over_the_held_out_examples(whole: tuple[State, Path]) -> None:
    state, folder = whole
    part = tiny.toy_data(10, seed=1)["points"]
    found = np.abs(part["x"] @ np.asarray(state.nets["line"].average["w"]) - part["y"]).mean()
    last = [r for r in log.read(folder / "metrics.jsonl") if "held_out/error" in r][-1]
    assert last["step"] == 6
    np.testing.assert_allclose(last["held_out/error"], found, rtol=1e-5)


def first_step_with(example: int) -> int:
    """The number, from 1, of the step that first sees an example."""
    key = order_key(jax.random.key(CONFIG.seed), "points")
    return 1 + next(s for s in range(9) if example in np.asarray(draw(key, s, 24, 8)))


def poisoned(kind: str, example: int) -> dict[str, Any]:
    """Toy data with an example whose loss, or only whose gradient, is not finite."""
    data = tiny.toy_data()
    field, value = ("y", np.inf) if kind == "loss" else ("x", 0.0)
    data["points"][field][example] = value
    return data


@pytest.mark.parametrize("feed", ["device", "host"])
@pytest.mark.parametrize("log_every", [1, 4])
@pytest.mark.parametrize(
    ("kind", "named"), [("loss", "fit, update/line"), ("gradient", "update/line")]
)
def test_what_is_not_finite_is_named_and_the_last_good_state_kept(
    kind: str, named: str, log_every: int, feed: Any, tmp_path: Path
) -> None:
    example = next(i for i in range(24) if first_step_with(i) == 3)
    config = dataclasses.replace(
        CONFIG, log_every=log_every, evaluate_every=50, checkpoint_every=50, feed=feed
    )
    data = poisoned(kind, example)
    with pytest.raises(loop.Diverged, match=f"At step 3 these are not finite: {named}. The last"):
        fit(tmp_path / "bad", 20, config, data=data)
    good = fit(tmp_path / "good", 2, config, data=data)
    kept = saved(tmp_path / "bad")
    assert tiny.same(kept, good)
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(kept.nets))
    with pytest.raises(loop.Diverged, match="At step 3"):
        fit(tmp_path / "bad", 20, config, data=data)
    assert tiny.same(saved(tmp_path / "bad"), good)


def test_divergence_is_seen_before_anything_is_saved_or_assessed(tmp_path: Path) -> None:
    example = next(i for i in range(24) if first_step_with(i) == 3)
    assessed: list[int] = []
    hooks = loop.Hooks(pictures=lambda step, pictures: assessed.append(step))
    config = dataclasses.replace(CONFIG, log_every=50, evaluate_every=1, checkpoint_every=1)
    with pytest.raises(loop.Diverged):
        fit(tmp_path, 20, config, data=poisoned("loss", example), hooks=hooks)
    assert assessed == [1, 2]
    assert int(saved(tmp_path).step) == 2


def test_streamed_batches_train_as_resident_arrays_do(
    whole: tuple[State, Path], tmp_path: Path
) -> None:
    state, _ = whole
    streamed = fit(tmp_path, config=dataclasses.replace(CONFIG, feed="host"))
    chex.assert_trees_all_close(streamed.nets, state.nets, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("samples", [0, 2])
def test_examples_that_are_read_one_by_one_train_with_pictures_and_without(
    samples: int, tmp_path: Path
) -> None:
    values = tiny.toy_data()["points"]
    read = {
        name: MapDataset.source(range(len(array))).map(array.__getitem__)
        for name, array in values.items()
    }
    config = dataclasses.replace(CONFIG, feed="host", samples=samples)
    shown = []
    hooks = loop.Hooks(pictures=lambda step, pictures: shown.append(step))
    state = fit(tmp_path, config=config, data={"points": read}, hooks=hooks)
    assert int(state.step) == 6
    assert bool(shown) == bool(samples)


def pairing() -> tuple[Task, dict[str, Any]]:
    """The toy with the share of its pairs that show one person, and data of six people."""
    task, data = tiny.toy(), tiny.toy_data()
    label = np.repeat(np.arange(6, dtype=np.int32), 4)

    def losses(nets: Any, state: State, batch: Any) -> Any:
        total, metrics, loss_state = task.losses(nets, state, batch)
        label = batch["points"]["label"]
        same = parallel.mean((label[::2] == label[1::2]).mean())
        return total, metrics | {"same": same}, loss_state

    paired = dataclasses.replace(task, losses=losses, pairs=frozenset({"points"}))
    return paired, {"points": data["points"] | {"label": label}}


def test_a_task_may_ask_for_pairs(tmp_path: Path) -> None:
    task, data = pairing()
    shares = {}
    for feed in ("device", "host"):
        config = dataclasses.replace(CONFIG, feed=feed)
        for steps in (20,) if feed == "device" else (5, 20):  # stopped once
            fit(tmp_path / feed, steps, config, task=task, data=data, held_out=None)
        records = log.read(tmp_path / feed / "metrics.jsonl")
        shares[feed] = [r["same"] for r in records if "same" in r]
    assert len(shares["device"]) == 20
    assert shares["device"] == shares["host"]
    # By chance 3 of 23 would show one person: 0.13 of the 80 pairs.
    assert 0.3 < np.mean(shares["device"]) < 0.7
    key = jax.random.key(CONFIG.seed)
    arrays = batches.with_pairs(data["points"], "points")
    chosen = data["points"]["label"][batches.examples_at(key, 7, "points", arrays, 8)]
    assert shares["device"][7] == (chosen[::2] == chosen[1::2]).mean()


def test_pairs_are_not_split_over_devices(tmp_path: Path) -> None:
    task, data = pairing()
    odd = dataclasses.replace(task, batch={"points": 7})
    with pytest.raises(InputError, match=r"7 examples of 'points' .* pairs.* a multiple of 2"):
        fit(tmp_path, task=odd, data=data)


def test_a_run_can_be_made_longer_but_not_shorter(tmp_path: Path) -> None:
    fit(tmp_path, 2)
    assert int(fit(tmp_path, 3).step) == 3
    with pytest.raises(InputError, match="has done 3 steps already, more than the 2 asked for"):
        fit(tmp_path, 2)


def test_a_finished_run_writes_its_last_weights_again(tmp_path: Path) -> None:
    # A crash may fall between the last checkpoint and the weights.
    state = fit(tmp_path, 2)
    written: list[Any] = []
    hooks = loop.Hooks(weights=lambda state, which: written.append((which, jax.device_get(state))))
    fit(tmp_path, 2, hooks=hooks)
    assert [which for which, _ in written] == ["last"]
    assert tiny.same(written[0][1], state)


def test_people_who_make_no_pairs_are_refused_before_anything_is_written(tmp_path: Path) -> None:
    task, data = pairing()
    data["points"]["label"][:] = 3
    begun: list[int] = []
    hooks = loop.Hooks(begin=lambda: begun.append(1))
    with pytest.raises(InputError, match="'points' is drawn in pairs of one person and of two"):
        fit(tmp_path, task=task, data=data, hooks=hooks)
    assert not begun
    assert not list(tmp_path.iterdir())


def test_an_empty_source_is_refused(tmp_path: Path) -> None:
    empty = {"points": {name: value[:0] for name, value in tiny.toy_data()["points"].items()}}
    with pytest.raises(InputError, match="'points' holds no examples"):
        fit(tmp_path, data=empty)


def test_a_second_trace_is_an_error() -> None:
    task, config = tiny.toy(), CONFIG
    mesh = loop.parallel.make_mesh()
    step = loop.compile_step(task, config, mesh)
    data = tiny.toy_data()
    state, _ = step(loop.parallel.replicate(init_state(task, jax.random.key(0)), mesh), data)
    wider = {"points": tiny.toy_data(25)["points"]}
    with pytest.raises(AssertionError, match="traced > 1 times"):
        step(state, wider)


def test_length_of_a_run() -> None:
    assert loop.total_steps(TrainConfig(epochs=200, batch_size=32), 20_000) == 125_000
    assert loop.total_steps(TrainConfig(epochs=200, batch_size=32, steps=7), 20_000) == 7
    assert loop.total_steps(TrainConfig(epochs=0.1, batch_size=32), 5) == 1


def test_guard_keeps_the_key_and_counts_an_infinite_moment() -> None:
    task = tiny.toy()
    state = init_state(task, jax.random.key(0))

    def breaks(state: State, batch: Any) -> Any:
        net = state.nets["line"]
        broken = net.replace(opt_state=jax.tree.map(lambda m: m + jnp.inf, net.opt_state))
        return state.replace(nets={"line": broken}, step=state.step + 1), {"fit": jnp.ones(())}

    kept, metrics = jax.jit(guarded(breaks))(state, None)
    assert tiny.same(kept, state)
    assert np.isnan(metrics["update/line"])
    assert np.isfinite(metrics["fit"])
