"""`lrjax align`: lay faces onto a template, as face encoders want them."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path, PurePath
from typing import Annotated

import numpy as np
from tqdm import tqdm

from lrjax.cli.faces import (
    detected_rows,
    face_request,
    image_names,
    is_list,
    note_large,
    output_file,
    refuse_outside,
    report_problems,
    save_picture,
)
from lrjax.cli.options import FILE, FOLDER, Click, DataDir, Flag, Which, choice, command
from lrjax.cli.pictures import refuse_within
from lrjax.cli.say import put
from lrjax.config import AlignmentConfig
from lrjax.data.examples import read_ahead
from lrjax.data.identities import load_identities
from lrjax.errors import InputError
from lrjax.files import write_atomically
from lrjax.geometry.templates import TEMPLATES
from lrjax.inference.aligner import Aligner
from lrjax.inference.alignment import open_identity
from lrjax.inference.files import AlignedFace, FaceRequest, align_files
from lrjax.inference.images import list_images
from lrjax.inference.landmarks import PredictConfig
from lrjax.inference.tables import csv_text, image_rows, read_points
from lrjax.inference.video import is_video

TABLE = "aligned.csv"
"""Written beside the crops: which face is where, its points, and whether it was aligned."""

_NO_POINTS = (
    "These images come without points; name their table with --points, or let --landmarks find "
    "them."
)


@command(
    out="Folder for the aligned faces.",
    template="Size of the aligned faces, and where their points are.",
    points="CSV file as `lrjax predict` writes it: align its faces by its points.",
    crops="Each image is one face crop.",
)
def align(
    sources: Annotated[tuple[str, ...], Click(metavar="IMAGE|FOLDER|LIST|DATASET:SPLIT...")],
    *,
    out: Annotated[Path, FOLDER],
    template: Annotated[str, choice(TEMPLATES)] = "arcface112",
    points: Annotated[Path, FILE] | None = None,
    crops: Flag = False,
    allow_outside: Flag = False,
    alignment: AlignmentConfig,
    which: Which = None,
    options: PredictConfig,
    data_dir: DataDir,
) -> None:
    """Lay faces onto a template, one PNG file each, and list them in aligned.csv.

    The faces of images, folders (with all that is in them) and lists (text files .txt with the name
    of an image a line) are found as by `lrjax detect`, unless --points names them, or --crops says
    that each image is one. Prepared data, one face per image, are named as DATASET:SPLIT. Folders
    keep their structure. Where the points cannot be used the face is resized, and counted.

    An image that cannot be used, or has no face, is named at the end; the exit status is then 1.
    """
    if points is not None:
        if crops:
            raise InputError("--points says where the faces are; leave it out, or --crops.")
        if alignment.landmarks != AlignmentConfig.landmarks:
            raise InputError("--points says where the points are; leave it out, or --landmarks.")
        alignment = dataclasses.replace(alignment, landmarks="points")
        requests = _from_table(points, sources, allow_outside, out)
    else:
        places = _places(sources, allow_outside, out)
    # What cannot be used is refused before faces are found.
    aligner = Aligner.load(alignment, template, which=which, options=options)
    if points is None:
        own = alignment.landmarks == "points"
        if own and not all(isinstance(place, str) for place in places):
            raise InputError(_NO_POINTS)
        requests = [face for place in places for face in _requests(place, crops, data_dir)]
        if own and any(face.points is None for face in requests):
            raise InputError(_NO_POINTS)
    else:
        aligner = dataclasses.replace(aligner, description=f"by {points}")
    names = _names(requests, out)
    faces, problems = _align(aligner, requests, names)
    write_atomically(out / TABLE, _table_text(requests, names, faces, out))
    aligned = np.array([face.aligned for face in faces.values()], bool)
    put(f"{aligner.note(aligned)}: {out}")
    given = crops or points is not None
    large = [requests[i].file for i, face in faces.items() if given and face.most]
    note_large(sorted(large), len(requests))
    named = [f"{requests[i].file}: {problem}" for i, problem in sorted(problems.items())]
    report_problems((named, len(requests), "faces have no aligned image"))


def _places(
    sources: Sequence[str], allow_outside: bool, out: Path
) -> list[tuple[Path, list[str]] | str]:
    """Where the faces are: folders with the names of images in them, and splits of prepared data.

    Images of one folder that follow each other are together.
    """
    places: list[tuple[Path, list[str]] | str] = []
    for source in sources:
        path = Path(source)
        if ":" in source and not path.exists():
            places.append(source)
            continue
        root, names = path.parent, [path.name]
        if path.is_dir():
            refuse_within(out, path, "--out")
            root, names = path, list_images(path)
        elif is_list(path):
            root, names = image_names(path, allow_outside)
        elif is_video(path):
            raise InputError(f"{path} is a video; save the frames that you want as images first.")
        if places and not isinstance(places[-1], str) and places[-1][0] == root:
            places[-1][1].extend(names)
        else:
            places.append((root, names))
    return places


def _requests(
    place: tuple[Path, list[str]] | str, crops: bool, data_dir: Path
) -> list[FaceRequest]:
    if isinstance(place, str):
        return _from_split(place, data_dir)
    root, names = place
    rows = image_rows(names) if crops else detected_rows(names, root)
    return [face_request(root, row) for row in rows]


def _from_split(spec: str, data_dir: Path) -> list[FaceRequest]:
    identities = load_identities(spec, data_dir)
    faces = [
        FaceRequest(name, f"{spec}:{i}", partial(open_identity, identities, i))
        for i, name in enumerate(identities.names)
    ]
    if identities.points is None or identities.visible is None:
        return faces
    own = zip(faces, identities.points, identities.visible, strict=True)
    return [dataclasses.replace(face, points=p, visible=v) for face, p, v in own]


def _from_table(
    table: Path, sources: Sequence[str], allow_outside: bool, out: Path
) -> list[FaceRequest]:
    if len(sources) != 1:
        raise InputError("With --points name one folder, or one image, that its files are in.")
    path = Path(sources[0])
    if not path.exists():
        raise InputError(f"There are no images in {path}, which does not exist; check its name.")
    if is_list(path):
        raise InputError(f"--points names the images; give their folder, not the list {path}.")
    refuse_within(out, path, "--out")
    root = path.parent if path.is_file() else path
    rows, points, visible = read_points(table)
    requests = []
    for row, own, seen in zip(refuse_outside(rows, allow_outside), points, visible, strict=True):
        problem = row.problem
        if path.is_file() and row.file != path.name:
            problem = problem or f"the image given is {path.name}"
        if problem is not None:
            problem = f"{table} line {row.line}: {problem}"
        requests.append(face_request(root, row, points=own, visible=seen, problem=problem))
    return requests


def _names(requests: Sequence[FaceRequest], out: Path) -> dict[int, Path]:
    """The file that each aligned face goes to, by its place."""
    taken: set[Path] = set()
    files = {i: PurePath(face.file) for i, face in enumerate(requests) if not face.problem}
    return {
        i: output_file(out, str(file.parent / f"{file.stem}.png"), taken)
        for i, file in files.items()
    }


def _align(
    aligner: Aligner, requests: Sequence[FaceRequest], names: dict[int, Path]
) -> tuple[dict[int, AlignedFace], dict[int, str]]:
    """Align and write the faces: what is written, without its pixels, and what is wrong, by place.

    They are written on threads, while the next ones are aligned.
    """
    problems: dict[int, str] = {}
    faces: dict[int, AlignedFace] = {}

    def aligned() -> Iterator[tuple[int, AlignedFace]]:
        for i, found in align_files(aligner, requests):
            bar.update()
            if isinstance(found, str):
                problems[i] = found
            else:
                yield i, found

    def save(item: tuple[int, AlignedFace]) -> tuple[int, AlignedFace, str | None]:
        i, face = item
        problem = save_picture(names[i], face.image)
        return i, dataclasses.replace(face, image=face.image[:0]), problem

    with tqdm(total=len(requests), desc="align", unit="face", dynamic_ncols=True) as bar:
        for i, face, problem in read_ahead(save, aligned()):
            if problem is None:
                faces[i] = face
            else:
                problems[i] = problem
    return faces, problems


def _table_text(
    requests: Sequence[FaceRequest],
    names: dict[int, Path],
    faces: dict[int, AlignedFace],
    out: Path,
) -> bytes:
    """One line per face: its file, its aligned image, whether it is aligned (1, 0), its points."""
    columns = ["file", "image", "aligned", *(f"{a}{i}" for i in range(5) for a in "xy")]
    lines: list[Sequence[object]] = [columns]
    for i, request in enumerate(requests):
        if i not in faces:
            lines.append([request.file, *[""] * 12])
            continue
        numbers = ["" if np.isnan(v) else f"{v:.2f}" for v in faces[i].points.ravel()]
        image = names[i].relative_to(out).as_posix()
        lines.append([request.file, image, int(faces[i].aligned), *numbers])
    return csv_text(lines).encode("utf-8", "surrogateescape")
