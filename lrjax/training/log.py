"""What a run says while it runs: a progress bar, a metrics file and TensorBoard."""

from __future__ import annotations

import json
import math
import sys
import time
from pathlib import Path
from types import TracebackType
from typing import Any

from tensorboardX.event_file_writer import EventsWriter
from tensorboardX.proto import event_pb2
from tensorboardX.summary import scalar
from tqdm import tqdm

from lrjax.files import naming, read_bytes, write_atomically


class Progress:
    """A bar over the steps with the newest values beside it."""

    def __init__(self, steps: int, start: int = 0, *, shown: bool = True) -> None:
        self._bar = tqdm(
            total=steps,
            initial=start,
            desc="training",
            unit="step",
            dynamic_ncols=True,
            file=sys.stderr,
            disable=not shown,
        )
        self._shown: dict[str, str] = {}

    def __enter__(self) -> Progress:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._bar.close()

    def advance(self) -> None:
        """One step more."""
        self._bar.update()

    def note(self, values: dict[str, float]) -> None:
        """Show `values` beside the bar."""
        self._shown |= {n: f"{v:.4g}" for n, v in values.items() if "/" not in n}
        self._bar.set_postfix(self._shown, refresh=False)


class Log:
    """`metrics.jsonl` and TensorBoard events of a run folder; one line per record.

    On resuming, records after the restored step are dropped, so that the file reads as if the run
    had never stopped.
    """

    def __init__(self, folder: Path, start: int) -> None:
        folder = Path(folder)
        (folder / "tensorboard").mkdir(parents=True, exist_ok=True)
        self.path = folder / "metrics.jsonl"
        kept = [r for r in read(self.path) if r["step"] <= start]
        best = [r["best"] for r in kept if type(r.get("best")) in (int, float)]
        # Not by math.isfinite, which ends at integers of hundreds of digits.
        self._best = min((b for b in best if abs(b) <= sys.float_info.max), default=math.inf)
        write_atomically(self.path, "".join(json.dumps(r) + "\n" for r in kept).encode())
        self._file = self.path.open("a")
        # Written in this thread: of a writer's own thread that dies on a full disk nobody is told.
        self._events = EventsWriter(str(folder / "tensorboard" / "events"))
        restart = event_pb2.SessionLog(status=event_pb2.SessionLog.SessionStatus.Value("START"))
        self._write(start + 1, session_log=restart)

    def record(self, step: int, values: dict[str, float], best: str | None = None) -> bool:
        """Write `values` of `step`; true when `values["held_out/" + best]` is the least so far."""
        line: dict[str, float | int] = {"step": step, **values}
        value = values.get(f"held_out/{best}", math.inf)
        improved = value < self._best
        if improved:
            self._best = line["best"] = value
        with naming(self.path):
            self._file.write(json.dumps(line) + "\n")
            for name, number in values.items():
                self._write(step, summary=scalar(name, number))
        return improved

    def _write(self, step: int, **what: Any) -> None:
        self._events.write_event(event_pb2.Event(wall_time=time.time(), step=step, **what))

    def flush(self) -> None:
        """Put everything recorded on the disk.

        Raises:
          OSError: there is no room; its `filename` is that of the metrics.
        """
        with naming(self.path):
            self._file.flush()
            self._events.flush()

    def close(self) -> None:
        """Close both."""
        with naming(self.path):
            self._file.close()
            self._events.close()


class Silence:
    """The log of all processes but the first."""

    def record(self, step: int, values: dict[str, float], best: str | None = None) -> bool:
        """Nothing is written, and nothing need be done."""
        return False

    def flush(self) -> None:
        """Nothing waits."""

    def close(self) -> None:
        """Nothing is open."""


def read(path: Path) -> list[dict[str, Any]]:
    """Read the records of a metrics file; lines that are cut off or damaged are left out."""
    if not path.exists():
        return []
    records = []
    for line in read_bytes(path, "metrics file", "remove it").splitlines():
        try:
            record = json.loads(line)
        except (ValueError, RecursionError):
            continue
        if isinstance(record, dict) and type(record.get("step")) is int:
            records.append(record)
    return records
