"""Changed files for every reader: each is read, or refused in a sentence. Also from a command line:

    python tests/support/fuzz.py --seed 0 --cases 100000

A case is known by the seed and its number: --first 1234 --cases 1 does it again. The cases run in a
process of their own, whose memory is limited; the one that ends it is named, and the rest go on.
"""

from __future__ import annotations

import argparse
import collections
import contextlib
import dataclasses
import json
import os
import re
import resource
import signal
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

SECONDS = 10
"""Longer than this no case may take."""

MOST_MEMORY = 3 << 30
"""Bytes that the process of all cases may ever have held, JAX included."""

LIMIT = 16 << 30
"""Bytes of addresses that it may reserve."""

TOKENS = (
    *("", "0", "-1", "1", "7", "2147483648", "1e39", "-1e39", "1e-300", "1e400", "0.5", "3.7"),
    *("nan", "NaN", "Infinity", "-inf", "9" * 400, "9" * 5000, "null", "true", "[]", "{}", '""'),
    *("[" * 3000, '{"a":' * 3000, '"\\ud83d"', '"a"', "a", ",", "\n", '"', ".", "/", "..", "../x"),
    *("\x1b[2J", "=cmd|' /C calc'!A0", "<script>", "\0", "é", "x" * 300, "1_000", "٣", " ", "\\"),
)
"""What numbers and words of a text are replaced by."""

_WORD = re.compile(rb"[-+]?\d+(?:\.\d*)?(?:[eE][-+]?\d+)?|\w+|[^\w\s]")


@dataclasses.dataclass
class Outcome:
    """What became of cases: reader -> "read" or "refused" -> how many, and what failed."""

    counts: dict[str, dict[str, int]]
    failures: list[str]
    memory: int


def changed(data: bytes, rng: np.random.Generator) -> bytes:
    """Change a file in one to four places."""
    for _ in range(_few(rng)):
        data = _once(data, rng)
    return data


def changed_words(data: bytes, rng: np.random.Generator) -> bytes:
    """Replace one to four numbers, words or signs of a text, or change it anyhow."""
    if rng.random() < 0.25:
        return changed(data, rng)
    for _ in range(_few(rng)):
        words = list(_WORD.finditer(data))
        if words:
            word = words[rng.integers(len(words))]
            token = TOKENS[rng.integers(len(TOKENS))].encode()
            data = data[: word.start()] + token + data[word.end() :]
    return data


def _few(rng: np.random.Generator) -> int:
    """One change, half of the time, that the reader may get beyond; or up to four."""
    return 1 if rng.random() < 0.5 else int(rng.integers(2, 5))


def _once(data: bytes, rng: np.random.Generator) -> bytes:
    size = len(data)
    # Half of the time near the beginning, where what matters is said.
    near = size if rng.random() < 0.5 else min(size, 256)
    at = int(rng.integers(near + 1))
    length = int(rng.integers(1, 9))
    kind = rng.integers(8)
    if kind == 0:
        return data[:at]
    if kind == 1:
        return data[:at] + rng.bytes(length) + data[at:]
    if kind == 2:
        return data[:at] + data[at + length :]
    if kind == 3:
        other = int(rng.integers(size + 1))
        return data[:at] + data[other : other + 64] + data[at:]
    if kind == 4:
        extreme = rng.choice([0, 1, 0x7F, 0x80, 0xFF])
        return data[:at] + bytes([extreme]) * length + data[at + length :]
    if kind == 5 and at < size:
        return data[:at] + bytes([data[at] ^ (1 << rng.integers(8))]) + data[at + 1 :]
    return data[:at] + rng.bytes(length) + data[at + length :]


def require_finite(value: Any) -> None:
    """Raise AssertionError where an array, or one of nested ones, is not finite."""
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, list | tuple):
        for one in value:
            require_finite(one)
    elif isinstance(value, np.ndarray | float) and np.asarray(value).dtype.kind in "fc":
        assert np.isfinite(value).all(), "silently not finite"


Files = list[tuple[Path, bytes]]


@dataclasses.dataclass
class Reader:
    """Something that reads files.

    Attributes:
      name: of what is read.
      files: where each is to be, and what it holds when nothing is wrong.
      read: the path of one that was changed -> arrays and numbers that have to be finite.
      change: (bytes, random numbers) -> other bytes.
      refuses: what it may raise besides InputError.
      weight: how often it is tried, relative to others.
    """

    name: str
    files: Files
    read: Callable[[Path], Any]
    change: Callable[[bytes, np.random.Generator], bytes] = changed_words
    refuses: tuple[type[Exception], ...] = ()
    weight: float = 4.0


def put(path: Path, data: bytes | str) -> tuple[Path, bytes]:
    """Write a file, and say what it holds."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data if isinstance(data, bytes) else data.encode())
    return path, path.read_bytes()


class _Hang(BaseException):
    pass


@contextlib.contextmanager
def _in_time() -> Iterator[None]:
    def late(number: int, frame: Any) -> None:
        raise _Hang(f"it took more than {SECONDS} seconds")

    before = signal.signal(signal.SIGALRM, late)
    signal.alarm(SECONDS)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


def _held() -> int:
    """Return the most bytes that this process has held since its program began.

    What `getrusage` says holds for its parent, too, which it was a copy of.
    """
    status = Path("/proc/self/status").read_text()
    return int(re.search(r"VmHWM:\s*(\d+) kB", status)[1]) << 10


def work(folder: Path, seed: int, first: int, last: int, only: str, progress: Path) -> None:
    """Do the cases from `first` up to `last`, and write each one's outcome as a line of JSON."""
    import fuzz_readers  # imports JAX, which the process that waits can do without

    from lrjax.errors import InputError

    resource.setrlimit(resource.RLIMIT_AS, (LIMIT, LIMIT))
    readers = [r for r in fuzz_readers.make(folder) if only in r.name]
    chances = np.array([reader.weight for reader in readers], float)
    with progress.open("a", buffering=1) as lines:
        for case in range(first, last):
            rng = np.random.default_rng((seed, case))
            reader = readers[rng.choice(len(readers), p=chances / chances.sum())]
            path, data = reader.files[rng.integers(len(reader.files))]
            lines.write(json.dumps([case, reader.name, "begun", ""]) + "\n")
            path.write_bytes(reader.change(data, rng))
            told = ""
            try:
                with _in_time():
                    require_finite(reader.read(path))
                outcome = "read"
            except (InputError, *reader.refuses) as error:
                outcome = "refused"
                if len(str(error)) > 1500 or not str(error).isprintable():
                    outcome, told = "failed", f"its message is long or odd: {str(error)[:300]!r}"
            except (_Hang, Exception):
                outcome, told = "failed", traceback.format_exc()[-1500:]
            path.write_bytes(data)
            held = _held()
            if held > MOST_MEMORY:
                outcome, told = "failed", f"the process has held {held >> 20} MB"
            lines.write(json.dumps([case, reader.name, outcome, told, held]) + "\n")
            if held > MOST_MEMORY:
                return


def run(seed: int, cases: int, first: int = 0, only: str = "") -> Outcome:
    """Do cases in other processes, each taking over where one was ended."""
    counts: dict[str, dict[str, int]] = collections.defaultdict(collections.Counter)
    found = Outcome(counts, [], 0)
    stop = first + cases
    with tempfile.TemporaryDirectory() as name:
        progress = Path(name) / "progress"
        while first < stop:
            progress.write_text("")
            folder = Path(name) / f"from-{first}"
            folder.mkdir()
            words = [sys.executable, __file__, "--worker", str(folder), "--progress", str(progress)]
            words += ["--seed", str(seed), "--first", str(first), "--cases", str(stop - first)]
            process = subprocess.Popen(
                [*words, "--reader", only],
                env=os.environ | {"JAX_PLATFORMS": "cpu", "PYTHONPATH": os.pathsep.join(sys.path)},
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
            )
            _watch(process, progress)
            error = process.communicate()[1].decode(errors="replace")[-1000:]
            records = [json.loads(line) for line in progress.read_text().splitlines()]
            done = [record for record in records if record[2] != "begun"]
            for case, reader, outcome, told, held in done:
                counts[reader][outcome] += 1
                found.memory = max(found.memory, held)
                if outcome == "failed":
                    found.failures.append(f"case {case} of seed {seed}, {reader}: {told}")
            if not records:
                raise RuntimeError(f"No case could be begun: {error}")
            case, reader, outcome, *_ = records[-1]
            if outcome == "begun":  # and the process did not come back from it
                counts[reader]["failed"] += 1
                found.failures.append(
                    f"case {case} of seed {seed}, {reader}: ended by {process.returncode}; {error}"
                )
            first = case + 1
    return found


def _watch(process: subprocess.Popen[bytes], progress: Path) -> None:
    """End a process that does not go on, as code in C does not hear an alarm."""
    while process.poll() is None:
        time.sleep(0.2)
        patience = 3 * SECONDS if progress.stat().st_size else 120
        if time.time() - progress.stat().st_mtime > patience:
            process.kill()


def main() -> None:
    """Read the command line, and say what became of the cases."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--cases", type=int, default=1000)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--reader", default="", help="those whose names hold this")
    parser.add_argument("--worker", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--progress", type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.worker is not None:
        last = given.first + given.cases
        work(given.worker, given.seed, given.first, last, given.reader, given.progress)
        return
    found = run(given.seed, given.cases, given.first, given.reader)
    for failure in found.failures:
        print(failure, end="\n\n")
    for reader, outcomes in sorted(found.counts.items()):
        print(f"{reader:14} " + ", ".join(f"{n:,} {what}" for what, n in sorted(outcomes.items())))
    total = sum(sum(outcomes.values()) for outcomes in found.counts.values())
    failed, megabytes = len(found.failures), found.memory >> 20
    print(f"{total:,} cases of seed {given.seed}: {failed} failed, {megabytes} MB at most")
    sys.exit(bool(found.failures))


if __name__ == "__main__":
    main()
