"""What an experiment leaves behind: one JSON file with its tables, and pictures beside it."""

import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from lrjax.errors import InputError
from lrjax.files import write_atomically
from lrjax.report.tables import Table

REMEDY = "run the experiment that wrote it again"


@dataclass(frozen=True)
class Figure:
    """A picture of a result.

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
class Result:
    """One experiment's outcome, saved as `<folder>/<name>.json`.

    Attributes:
      title: one line.
      order: place in a report, ascending.
      tables, figures: in the order in which they are shown.
      notes: paragraphs: what was measured, and what contradicts the paper.
      command: the command that made it.
      data: which images, and how many.
      hardware: on what, and how long it took.
    """

    title: str
    order: float = 0.0
    tables: tuple[Table, ...] = ()
    figures: tuple[Figure, ...] = ()
    notes: tuple[str, ...] = ()
    command: str = ""
    data: str = ""
    hardware: str = ""

    def save(self, path: str | Path) -> None:
        """Write the JSON file, atomically."""
        text = json.dumps(self.to_json(), indent=1, ensure_ascii=False, allow_nan=False)
        write_atomically(path, (text + "\n").encode())

    @classmethod
    def load(cls, path: str | Path) -> "Result":
        """Read a result; an InputError names the file and the field that cannot be used."""
        return cls._from_file(Path(path), _read_json(Path(path)))

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values, the fields of this class in their order."""
        return {
            "title": self.title,
            "order": self.order,
            "tables": [table.to_json() for table in self.tables],
            "figures": [{"file": f.file, "caption": f.caption} for f in self.figures],
            "notes": list(self.notes),
            "command": self.command,
            "data": self.data,
            "hardware": self.hardware,
        }

    @classmethod
    def from_json(cls, value: Any) -> "Result":
        """Inverse of `to_json`."""
        if not isinstance(value, dict) or not isinstance(value.get("title"), str):
            raise InputError("it has no `title` text")
        unknown = sorted(value.keys() - cls.__dataclass_fields__.keys())
        if unknown:
            raise InputError(f"the field `{unknown[0]}` is unknown")
        for name in ("tables", "figures", "notes"):
            if not isinstance(value.get(name, []), list):
                raise InputError(f"`{name}` is not a list")
        for name in ("command", "data", "hardware"):
            if not isinstance(value.get(name, ""), str):
                raise InputError(f"`{name}` is not a text")
        if not isinstance(value.get("order", 0), int | float):
            raise InputError("`order` is not a number")
        if not all(isinstance(note, str) for note in value.get("notes", [])):
            raise InputError("`notes` are not all texts")
        return cls(
            **value
            | {
                "tables": tuple(Table.from_json(table) for table in value.get("tables", [])),
                "figures": tuple(_figure(figure) for figure in value.get("figures", [])),
                "notes": tuple(value.get("notes", [])),
            }
        )

    @classmethod
    def _from_file(cls, path: Path, value: Any) -> "Result":
        try:
            return cls.from_json(value)
        except InputError as error:
            raise InputError(
                f"{path} is not a result: {str(error).rstrip('.')}; {REMEDY}."
            ) from error


def gather(folders: Iterable[str | Path]) -> list[tuple[Path, Result]]:
    """All results below the folders with their files, sorted by order, then title.

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
            if any(part.startswith(".") for part in path.relative_to(folder).parts):
                continue
            value = _read_json(path)
            if isinstance(value, dict) and "tables" in value:
                found[path.resolve()] = (path, Result._from_file(path, value))
    return sorted(found.values(), key=lambda item: (item[1].order, item[1].title))


def _figure(value: Any) -> Figure:
    fields = ("file", "caption")
    if not isinstance(value, dict) or not all(isinstance(value.get(f), str) for f in fields):
        raise InputError("a figure needs the texts `file` and `caption`")
    return Figure(value["file"], value["caption"])


def _read_json(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}; check its name.") from error
    except json.JSONDecodeError as error:
        raise InputError(
            f"{path} is not JSON (line {error.lineno}: {error.msg}); {REMEDY}."
        ) from error
    except UnicodeDecodeError as error:
        raise InputError(f"{path} is not UTF-8 text; {REMEDY}.") from error
