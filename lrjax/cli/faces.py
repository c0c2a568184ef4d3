"""What the commands that look at faces in image files have in common."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from pathlib import Path, PurePath
from typing import Any

import numpy as np
from PIL.ImageFile import ImageFile
from tqdm import tqdm

from lrjax.cli.say import put, say
from lrjax.errors import InputError
from lrjax.files import read_bytes, write_atomically
from lrjax.inference.detector import FaceDetector
from lrjax.inference.files import FaceRequest, FileDetection, FilePrediction, detect_files
from lrjax.inference.images import list_images, open_image
from lrjax.inference.landmarks import DOUBTFUL
from lrjax.inference.tables import Row, face_rows, image_rows, read_rows
from lrjax.report.draw import save_png


def refuse_outside(rows: Iterable[Row], allowed: bool) -> list[Row]:
    """Give rows a problem whose files may lie outside of the folder of images."""

    def checked(row: Row) -> Row:
        if allowed or row.problem or not _leads_out(row.file):
            return row
        problem = "the name leads out of the folder of images; --allow-outside allows that"
        return dataclasses.replace(row, problem=problem)

    return [checked(row) for row in rows]


def images_root(images: Path) -> Path:
    """Return the folder that the names of images are relative to: `images`, or that of one image.

    Raises:
      InputError: it does not exist; the message asks for --images.
    """
    if not images.exists():
        raise InputError(f"There are no images in {images}, which does not exist; check --images.")
    return images.parent if images.is_file() else images


def image_names(images: Path, allow_outside: bool) -> tuple[Path, list[str]]:
    """List a folder's images, or those of a list, or one image: their folder, and names in it.

    Raises:
      InputError: there is none; the message asks for --images. A list names one outside of its
        folder, which is not allowed.
    """
    root = images_root(images)
    if not is_list(images):
        return root, [images.name] if images.is_file() else list_images(root)
    data = read_bytes(images, "list", "name a text file of images")
    text = data.decode("utf-8-sig", "surrogateescape")
    names = [line.strip() for line in text.splitlines() if line.strip()]
    if not names:
        raise InputError(f"The list {images} names no image; give it one a line.")
    if outside := [name for name in names if not allow_outside and _leads_out(name)]:
        raise InputError(
            f"The list {images} names {outside[0]}, which is not in its folder; --allow-outside "
            "allows that."
        )
    return root, names


def is_list(images: Path) -> bool:
    """Tell whether a path is a text file with the names of images."""
    return images.suffix.lower() == ".txt" and images.is_file()


def _leads_out(name: str) -> bool:
    path = PurePath(name)
    return path.is_absolute() or ".." in path.parts


def asked_rows(images: Path, table: Path | None, crops: bool, allow_outside: bool) -> list[Row]:
    """List the faces asked for, a row each.

    Args:
      images: a folder of images, a list of them, or one image.
      table: with their boxes; None: those that are found as by `lrjax detect`.
      crops: each image is one face; there is no table then.
      allow_outside: whether the table, or the list, may name files outside of the folder.
    """
    if table is None:
        root, names = image_names(images, allow_outside)
        return image_rows(names) if crops else detected_rows(names, root)
    if crops:
        raise InputError("--crops says that there are no boxes; leave it out, or --boxes.")
    if is_list(images):
        raise InputError(f"--boxes names the images; give their folder, not the list {images}.")
    rows = refuse_outside(read_rows(table), allow_outside)
    return [_only(row, images.name) for row in rows] if images.is_file() else rows


def _only(row: Row, name: str) -> Row:
    if row.file == name or row.problem:
        return row
    return dataclasses.replace(row, problem=f"the image given with --images is {name}")


def with_bar(parts: Iterator[FilePrediction], total: int) -> Iterator[FilePrediction]:
    """Yield the same, with a bar over the faces."""
    with tqdm(total=total, desc="faces", unit="face", dynamic_ncols=True) as bar:
        for part in parts:
            yield part
            bar.update(len(part.rows) + len(part.problems))


def named_problems(
    rows: Sequence[Row], problems: dict[int, str], table: Path | None = None
) -> list[str]:
    """Say where each problem is, in words: the line of the table, and the file."""
    return [
        f"{f'{table} line {rows[i].line}, ' if table else ''}{rows[i].file or 'no file'}: {problem}"
        for i, problem in sorted(problems.items())
    ]


def detected_rows(
    names: Sequence[str], root: Path, read: Callable[[Path], ImageFile] = open_image
) -> list[Row]:
    """Find the faces in images under `root`: a row for each, and one for an image without any."""
    detector = FaceDetector.load()
    rows = []
    found = detect_files(detector, names, root, read)
    for part in tqdm(found, total=len(names), desc="detect", unit="image", dynamic_ncols=True):
        rows += rows_of(part)
    return rows


def rows_of(part: FileDetection) -> list[Row]:
    """Make the rows of an image that a detector has looked at."""
    if part.detection is None or part.photo is None:
        return [Row((part.file, "", "", "", ""), problem=part.problem)]
    rows = face_rows(part.file, part.detection.boxes)
    return [dataclasses.replace(row, size=part.photo.size) for row in rows]


def face_request(
    root: Path, row: Row, read: Callable[[Path], ImageFile] = open_image, **more: Any
) -> FaceRequest:
    """Ask for the face of a row to be aligned; `more` are further fields."""
    path, box = root / row.file, None if row.box is None else np.array(row.box)
    fields = {"box": box, "problem": row.problem} | more
    return FaceRequest(row.file, str(path), partial(read, path), **fields)


def table_target(out: str) -> Path | None:
    """Name the file to write, None for the terminal; refused now rather than after the work."""
    if out == "-":
        return None
    path = Path(out)
    if path.exists() and not path.is_file():
        raise InputError(f"The output {path} is not a file; name a file, or - for the terminal.")
    return path


def write_table(lines: Iterable[str], target: Path | None) -> None:
    """Write the lines of a table, as they come, to a file, or to the terminal."""
    if target is None:
        for line in lines:
            put(line, end="")
    else:
        write_atomically(target, (line.encode("utf-8", "surrogateescape") for line in lines))


def note_large(files: Sequence[str], total: int) -> None:
    """Say which pictures are large and mostly one box: they may be photographs of several faces."""
    if files:
        say(
            f"{len(files)} of {total} face boxes are most of a large picture, the first one in "
            f"{files[0]}; if these are photographs with faces in them, give the boxes of the "
            "faces, or let them be found (without --boxes and --crops)."
        )


def summary(faces: int, files: int, began: float, doubtful: Sequence[str] = ()) -> str:
    """Say how many faces there were, and which pictures have faces that may be none.

    Args:
      faces, files: how many.
      began: `time.monotonic()` at the start.
      doubtful: the file of each face whose confidence is low.
    """
    seconds = time.monotonic() - began
    text = f"{faces:,} {_plural(faces, 'face')} in {files:,} {_plural(files, 'file')}, "
    text += f"{seconds:.1f} s"
    if doubtful:
        text += (
            f"; {len(doubtful)} of {faces} faces have a confidence below {DOUBTFUL:g} and may be "
            f"none, the first one in {doubtful[0]}"
        )
    return f"{text}."


def _plural(count: int, noun: str) -> str:
    return noun if count == 1 else f"{noun}s"


def output_file(folder: Path, name: str, taken: set[Path]) -> Path:
    """Return `folder/name`, never outside and never twice; a number tells equal names apart.

    Args:
      folder: where the file will be.
      name: relative, with a suffix.
      taken: the files so far, to which this one is added.
    """
    pure = PurePath(name)
    parts = [part for part in pure.parts if part not in ("..", pure.anchor)]
    path = wanted = folder.joinpath(*parts)
    number = 1
    while path in taken:
        number += 1
        path = wanted.with_suffix(f".{number}{wanted.suffix}")
    taken.add(path)
    return path


def save_picture(path: Path, image: np.ndarray) -> str | None:
    """Write a picture uint8 [H, W, 3] as PNG, or say why it cannot be: others may go well."""
    try:
        save_png(path, image)
    except OSError as error:
        return f"{error.filename} cannot be written ({error.strerror})"
    return None


def report_problems(*groups: tuple[Sequence[str], int, str]) -> None:
    """Name what could not be done, and end with status 1 if there is anything.

    Args:
      groups: file and reason of each problem; how many there might have been; and the end of
        "2 of 5 ...", such as "rows have no points".

    Raises:
      InputError: there are problems.
    """
    for problems, _, _ in groups:
        for problem in problems:
            say(problem)
    counts = [f"{len(problems)} of {total} {what}" for problems, total, what in groups if problems]
    if counts:
        raise InputError(f"{' and '.join(counts)}; each is named above with the reason.")
