"""What `lrjax identify` does with folders of photographs: who is on them?"""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from lrjax.cli.faces import detected_rows, face_request
from lrjax.errors import InputError
from lrjax.evaluation.scores import Metric, Space, as_matrix
from lrjax.inference.aligner import Aligner
from lrjax.inference.encoder import FaceEncoder, Flip
from lrjax.inference.files import align_files
from lrjax.inference.images import list_images, open_upright
from lrjax.inference.tables import Row, image_rows
from lrjax.report.tables import Cell, Table


@dataclasses.dataclass(frozen=True, eq=False)
class People:
    """Hold the pictures of a folder whose face was encoded.

    Attributes:
      names: of the n pictures, relative to the folder.
      person: whose each is, by its folder; None for one in no folder.
      features: float32 [n, D].
      aligned: bool [n], False where a face was resized, as its points could not be used.
      several: how many pictures had more than one face.
      problems: file and reason of each picture without a face that could be encoded.
    """

    names: list[str]
    person: list[str | None]
    features: np.ndarray
    aligned: np.ndarray
    several: int
    problems: list[str]

    @property
    def total(self) -> int:
        """Count the pictures, those with a problem included."""
        return len(self.names) + len(self.problems)


def load_people(
    folder: Path,
    crops: bool,
    encoder: FaceEncoder,
    aligner: Aligner,
    flip: Flip,
    batch: int | None,
) -> People:
    """Encode the largest face of each picture of a folder; a person's pictures are in one folder.

    Pictures are turned as their EXIF data ask.

    Args:
      folder: PERSON/PICTURE, to any depth; whose a picture is the first folder of its name says.
      crops: each picture is one face; nothing is looked for then.
      encoder, aligner: of one size.
      flip, batch: as for `FaceEncoder.embed`.

    Raises:
      InputError: there is no such folder, or no face in all of it that could be encoded.
    """
    names = list_images(folder)
    rows = image_rows(names) if crops else detected_rows(names, folder, open_upright)
    faces = largest_faces(rows)
    found = dict(align_files(aligner, [face_request(folder, row, open_upright) for row in faces]))
    whole = {i: face for i, face in found.items() if not isinstance(face, str)}
    problems = [f"{folder / faces[i].file}: {found[i]}" for i in sorted(found) if i not in whole]
    if not whole:
        raise InputError(
            f"None of the {len(faces)} pictures in {folder} has a face that can be used (the first "
            f"one is {problems[0]}); name another folder, or say --crops if each is one face."
        )
    places = sorted(whole)
    images = np.stack([whole[i].image for i in places])
    kept = [faces[i].file for i in places]
    faces_of = Counter(row.file for row in rows)
    return People(
        kept,
        [person_of(name) for name in kept],
        encoder.embed(images, flip, batch),
        np.array([whole[i].aligned for i in places]),
        sum(count > 1 for count in faces_of.values()),
        problems,
    )


def person_of(name: str) -> str | None:
    """Tell whose a picture is: its name's first folder; None where it is in none."""
    folder, between, _ = name.partition("/")
    return folder if between else None


def known_people(folder: Path) -> Path:
    """Return a gallery's folder, all of whose pictures are somebody's.

    Raises:
      InputError: one is in no person's folder, or there is no picture.
    """
    if lost := [name for name in list_images(folder) if person_of(name) is None]:
        raise InputError(
            f"The gallery's picture {folder / lost[0]} is in no person's folder; move it to "
            "PERSON/PICTURE."
        )
    return folder


def largest_faces(rows: Sequence[Row]) -> list[Row]:
    """Choose the row of the largest box of each file, the first one of equals; files keep order."""
    best: dict[str, Row] = {}
    for row in rows:
        if row.file not in best or _area(row) > _area(best[row.file]):
            best[row.file] = row
    return list(best.values())


def _area(row: Row) -> float:
    return 0.0 if row.box is None else row.box[2] * row.box[3]


def distances(probes: np.ndarray, gallery: np.ndarray, metric: Metric) -> np.ndarray:
    """Compare features [p, D] with [g, D]: distances [p, g], 1 minus the cosine or Euclidean ones.

    Raises:
      InputError: features are not finite, or zero where the cosine is asked for.
    """
    queries, entries = as_matrix(probes, "Probes"), as_matrix(gallery, "Gallery entries")
    space = Space.around(metric, queries, entries)
    ones, others = space.rows(queries, "probe"), space.rows(entries, "gallery entry")
    if metric == "cosine":
        return 1.0 - ones @ others.T
    apart = [np.linalg.norm(others - one, axis=-1) / space.scale for one in ones]
    return np.stack(apart)


def people_table(
    probes: People, gallery: People, metric: Metric, top: int, command: str, note: str
) -> tuple[Table, str]:
    """List for each probe the people of the gallery who are nearest to it.

    A person is as far away as the nearest of that person's pictures.

    Args:
      probes: of people, or of nobody knows whom.
      gallery: of `known_people`.
      metric: how features are compared.
      top: how many people are listed.
      command, note: of the table.

    Returns:
      the table; and in words, how many of the known probes have their person first.

    Raises:
      InputError: as for `distances`.
    """
    people = sorted({who for who in gallery.person if who})
    owner = np.array([people.index(who) for who in gallery.person if who])
    apart = distances(probes.features, gallery.features, metric)
    nearest = np.stack([apart[:, owner == k].min(1) for k in range(len(people))], 1)
    order = np.argsort(nearest, axis=1, kind="stable")
    count = min(top, len(people))
    columns = ["probe", "person"]
    for rank in range(1, count + 1):
        columns += [f"nearest {rank}", f"distance {rank}"]
    lines: list[tuple[Cell, ...]] = []
    for i, (name, who) in enumerate(zip(probes.names, probes.person, strict=True)):
        cells: list[Cell] = [_printable(name), None if who is None else _printable(who)]
        for k in order[i, :count]:
            cells += [_printable(people[k]), float(nearest[i, k])]
        lines.append(tuple(cells))
    known = [i for i, who in enumerate(probes.person) if who in people]
    right = sum(people[order[i, 0]] == probes.person[i] for i in known)
    text = f"{len(probes.names)} probes, {len(gallery.names)} pictures of {len(people)} people"
    if known:
        share = 100 * right / len(known)
        text += (
            f"; of {len(known)} probes whose person is in the gallery, {right} have that person "
            f"first (rank-1 {share:.2f} %)"
        )
    table = Table("Who is it?", tuple(columns), tuple(lines), note=note, command=command)
    return table, text


def _printable(name: str) -> str:
    return name.encode("utf-8", "replace").decode()  # file names need not be UTF-8
