"""What an experiment leaves behind: one JSON file with its tables, and pictures beside it."""

import dataclasses
import json
import math
import subprocess
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path, PurePosixPath
from typing import Any, Literal

from lrjax.config import from_dict, to_dict
from lrjax.errors import InputError
from lrjax.evaluation.intervals import Sample, difference_interval
from lrjax.files import read_json, write_atomically
from lrjax.report.tables import Table

REMEDY = "run the experiment that wrote it again"

Verdict = Literal["held", "not held", "not shown"]


@dataclass(frozen=True)
class Figure:
    """Name a picture of a result.

    Attributes:
      file: name relative to the result's JSON file, e.g. "figure4.png" (PNG, JPEG or SVG).
      caption: what is to be seen.
    """

    file: str
    caption: str

    def __post_init__(self) -> None:
        name = PurePosixPath(self.file)
        if not self.file or name.is_absolute() or ".." in name.parts:
            raise InputError(
                f"figure file {self.file!r} is not a name inside the result's own folder"
            )


@dataclass(frozen=True)
class Claim:
    """Compare an order that a paper reports with what was measured.

    Attributes:
      statement: the paper's order, largest first, e.g. "CSRI > joint".
      ours: our figures in that order, in `unit`; empty if they were not measured.
      paper: the paper's figures in that order, where it has them.
      interval: 95 % interval (low, high) of the first figure less the second; None if it is not
        known, or there are more than two figures.
      where: what the figures are, e.g. "rank-1" or "error on native faces".
      unit: behind each figure.
    """

    statement: str
    ours: tuple[float, ...] = ()
    paper: tuple[float, ...] = ()
    interval: tuple[float, float] | None = None
    where: str = ""
    unit: str = "%"

    @property
    def verdict(self) -> Verdict:
        """Judge the order by the interval: held if it lies above zero, not held if below.

        It is not shown if the interval holds zero, or is not known.
        """
        if self.interval is None or not all(map(math.isfinite, self.interval)):
            return "not shown"
        low, high = self.interval
        return "held" if low > 0 else "not held" if high < 0 else "not shown"

    def figures(self, values: Iterable[float]) -> str:
        """Print figures: "7.13, 5.31 %"."""
        shown = ", ".join(f"{value:.2f}" for value in values)
        return f"{shown} {self.unit}".strip() if shown else ""

    def text(self) -> str:
        """Say it in one line: "rank-1: CSRI > joint: held (4.96, 3.49 %)"."""
        parts = [self.figures(self.ours)]
        if self.interval is not None:
            parts.append(f"difference {self.figures(self.interval)}")
        evidence = "; ".join(filter(None, parts))
        said = f"{self.statement}: {self.verdict}" + (f" ({evidence})" if evidence else "")
        return f"{self.where}: {said}" if self.where else said


@dataclass(frozen=True)
class Result:
    """Hold one experiment's outcome, saved as `<folder>/<name>.json`.

    Attributes:
      title: one line.
      order: place in a report, ascending.
      tables, figures: in the order in which they are shown.
      notes: paragraphs: what else was seen, and what differs from the paper.
      command: the command that made it.
      data: which images, and how many.
      hardware: on what it ran.
      summary: what was done, in a sentence or two.
      claims: orders that the paper reports.
      date: day of the measurement, e.g. "2025-03-01".
      seconds: how long it took.
      commit: of the source that was run.
    """

    title: str
    order: float = 0.0
    tables: tuple[Table, ...] = ()
    figures: tuple[Figure, ...] = ()
    notes: tuple[str, ...] = ()
    command: str = ""
    data: str = ""
    hardware: str = ""
    summary: str = ""
    claims: tuple[Claim, ...] = ()
    date: str = ""
    seconds: float | None = None
    commit: str = ""

    def save(self, path: str | Path) -> None:
        """Write the JSON file, atomically."""
        text = json.dumps(to_dict(self), indent=1, ensure_ascii=False, allow_nan=False)
        write_atomically(path, (text + "\n").encode())

    @classmethod
    def load(cls, path: str | Path) -> "Result":
        """Read a result; an InputError names the file and the field that cannot be used."""
        return _from_values(Path(path), read_json(path, REMEDY))

    def to_markdown(self) -> str:
        """Write tables, claims and notes for a terminal or a text file."""
        claims = "\n".join(f"- {claim.text()}" for claim in self.claims)
        parts = [self.summary, *(table.to_markdown().rstrip() for table in self.tables), claims]
        return "\n\n".join(filter(None, [*parts, *self.notes])) + "\n"


def claims(
    orders: Iterable[tuple[str, str]],
    ours: Mapping[str, Sample],
    paper: Mapping[str, float],
    where: str,
) -> tuple[Claim, ...]:
    """Compare a paper's orders of two settings with what was measured.

    Args:
      orders: pairs of settings, that of the larger figure first.
      ours: setting -> what its figure averages, in percent.
      paper: setting -> figure in percent; a pair that the paper lacks goes without.
      where: what the figures are.
    """
    return tuple(
        Claim(
            " > ".join(order),
            tuple(ours[name].mean for name in order),
            tuple(paper[name] for name in order) if paper.keys() >= set(order) else (),
            difference_interval(*(ours[name] for name in order)),
            where,
        )
        for order in orders
    )


def stamp(result: Result, begun: float | None = None) -> Result:
    """Add when, for how long, and from which commit a result was made.

    Args:
      begun: `time.monotonic()` at the start; None leaves out for how long.
    """
    seconds = None if begun is None else round(time.monotonic() - begun, 1)
    today = datetime.now(UTC).date().isoformat()
    return dataclasses.replace(result, date=today, seconds=seconds, commit=_commit())


def gather(folders: Iterable[str | Path]) -> list[tuple[Path, Result]]:
    """Find all results below the folders, with their files, sorted by order, then title.

    A result is a `.json` file whose object has the field `tables`; other JSON files of a run (its
    config, its versions) are passed over. A file found twice counts once. Hidden files and folders
    are not read.

    Raises:
      InputError: a folder does not exist, or a `.json` file cannot be read as JSON or as a result.
    """
    found: dict[Path, tuple[Path, Result]] = {}
    for folder in map(Path, folders):
        if not folder.is_dir():
            raise InputError(f"{folder} is not a folder; name a folder with results.")
        for path in sorted(folder.rglob("*.json")):
            hidden = any(part.startswith(".") for part in path.relative_to(folder).parts)
            if hidden or not path.is_file():
                continue
            values = read_json(path, REMEDY)
            if isinstance(values, dict) and "tables" in values:
                found[path.resolve()] = (path, _from_values(path, values))
    return sorted(found.values(), key=lambda item: (item[1].order, item[1].title))


def _from_values(path: Path, values: Any) -> Result:
    return from_dict(Result, values, about=f"{path} is not a result ({REMEDY})")


def _commit() -> str:
    """The short name of the checked-out commit; empty outside a checkout of the source."""
    command = ["git", "-C", str(Path(__file__).parent), "rev-parse", "--short", "HEAD"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=10, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.strip()
