"""What was found, what was written, and everything that was left out with the reason."""

import collections
import json
import pathlib
import threading

from lrjax.errors import InputError
from lrjax.files import read_json

REPORT_FILE = "report.json"


class Report:
    """Counts per split and left-out files per reason; filled from several threads.

    Attributes:
      counts: split -> column ("annotated", "image at hand", "written") -> number of faces.
      skipped: reason -> the names of the files it applies to, each once, in order.
      notes: sentences for the reader.
    """

    def __init__(self) -> None:
        self.counts: dict[str, dict[str, int]] = {}
        self.skipped: dict[str, dict[str, None]] = collections.defaultdict(dict)
        self.notes: list[str] = []
        self._lock = threading.Lock()

    def count(self, split: str, column: str, number: int = 1) -> None:
        """Add to a count; a split counted with 0 appears in the table."""
        with self._lock:
            row = self.counts.setdefault(split, {})
            row[column] = row.get(column, 0) + number

    def skip(self, reason: str, name: str) -> None:
        """Record that `name` (a file, or a face of it) was left out."""
        with self._lock:
            self.skipped[reason].setdefault(name)

    def note(self, sentence: str) -> None:
        """Add a sentence for the reader."""
        self.notes.append(sentence)

    def save(self, folder: pathlib.Path) -> None:
        """Write `report.json` into a folder."""
        content = {
            "counts": self.counts,
            "skipped": {reason: list(names) for reason, names in sorted(self.skipped.items())},
            "notes": self.notes,
        }
        (folder / REPORT_FILE).write_text(json.dumps(content, indent=1), encoding="utf-8")

    @classmethod
    def load(cls, folder: pathlib.Path) -> "Report":
        """Read what `save` wrote.

        Raises:
          InputError: it cannot be read, or is something else.
        """
        path = folder / REPORT_FILE
        remedy = "prepare the dataset again with --force"
        content = read_json(path, remedy)
        report = cls()
        try:
            for split, row in content["counts"].items():
                for column, number in row.items():
                    report.count(split, column, int(number))
            for reason, names in content["skipped"].items():
                report.skipped[reason] = dict.fromkeys(map(str, names))
            report.notes = [str(note) for note in content["notes"]]
        except (LookupError, TypeError, AttributeError, ValueError) as error:
            raise InputError(f"{path} is no report; {remedy}.") from error
        return report
