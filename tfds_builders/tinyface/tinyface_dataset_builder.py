"""TinyFace: training people, probes, their gallery and distractors."""

import pathlib

from ..common import (
    NOBODY,
    AnnotationError,
    DatasetError,
    IdentityBuilder,
    Portrait,
    Report,
    find_first,
    find_image,
    list_files,
    list_people,
    note_counts,
)
from .pairs import GALLERY, PROBE, Pairs, PairsFile, read_pairs

# Pictures and people of the official set.
OFFICIAL_COUNTS = {
    "train": (7_804, 2_570),
    "probe": (3_728, 2_563),
    "gallery_match": (4_443, 2_569),
    "distractors": (153_428, 0),
}
TRAINING, TESTING = "Training_Set", "Testing_Set"
# Where a copy keeps the pair files: with the pictures, or with the official evaluation's scripts.
PAIRS_FOLDERS = (TESTING, "Face_Identification_Evaluation", ".")
PAIRED = {"probe": (PROBE, "Probe"), "gallery_match": (GALLERY, "Gallery_Match")}


class Builder(IdentityBuilder):
    """The official layout; who is who in the test by the official id-pair files."""

    MANUAL_DOWNLOAD_INSTRUCTIONS = """\
    unpack tinyface.zip from https://qmul-tinyface.github.io so that it holds Training_Set and
    Testing_Set, with the two *_img_ID_pairs.mat in Testing_Set
    """
    HOMEPAGE = "https://qmul-tinyface.github.io/"
    FOLDERS = ("TinyFace", "tinyface", "tinyface_standin")

    def scan(self, root: pathlib.Path, report: Report) -> dict[str, list[Portrait]]:
        # The official archive unpacks to a folder of its own.
        inner = root / "tinyface"
        root = inner if inner.is_dir() and not (root / TESTING).is_dir() else root
        splits, listed = {"train": _training(root, report)}, {}
        pairs = {split: _pairs(root, file, report) for split, (file, _) in PAIRED.items()}
        for split, (_, folder) in PAIRED.items():
            splits[split] = _paired(root, f"{TESTING}/{folder}", pairs[split], report)
            listed[split] = len(pairs[split])
        splits["distractors"] = [
            Portrait(str(path), path.relative_to(root).as_posix(), "", NOBODY)
            for path in list_files(root / TESTING / "Gallery_Distractor")
        ]
        for split, found in splits.items():
            report.count(split, "listed", listed.get(split, len(found)))
            report.count(split, "image at hand", len(found))
            complete = OFFICIAL_COUNTS[split]
            note_counts(report, split, found, complete=complete, of="TinyFace")
        _note_mates(splits["probe"], splits["gallery_match"], report)
        return splits


def _training(root: pathlib.Path, report: Report) -> list[Portrait]:
    people = list_people(root / TRAINING, report, prefix=f"{TRAINING}/")
    return [
        Portrait(str(root / TRAINING / person / file), f"{identity}/{file}", identity, label)
        for label, (person, files) in enumerate(people.items())
        for identity in [f"{TRAINING}/{person}"]
        for file in files
    ]


def _pairs(root: pathlib.Path, file: PairsFile, report: Report) -> Pairs:
    """The pairs of a file; none if there is none that can be read."""
    path = find_first(root, *(f"{folder}/{file.name}" for folder in PAIRS_FOLDERS))
    if path is None:
        report.skip("the file of id pairs is missing", f"{TESTING}/{file.name}")
        return []
    try:
        return read_pairs(path, file, report)
    except DatasetError as error:
        report.skip("the file of id pairs cannot be used", path.relative_to(root).as_posix())
        report.note(str(error))
        return []


def _paired(root: pathlib.Path, folder: str, pairs: Pairs, report: Report) -> list[Portrait]:
    """The pictures of a folder that a file of id pairs lists, in its order."""
    portraits: list[Portrait] = []
    for name, number in pairs:
        try:
            path = find_image(root / folder, name)
        except AnnotationError as error:
            report.skip(str(error), f"{folder}/{name}")
            continue
        portraits.append(Portrait(str(path), f"{folder}/{name}", str(number), number - 1))
    used = {portrait.path for portrait in portraits}
    for path in list_files(root / folder) if pairs else []:
        if str(path) not in used:
            report.skip("no usable row of the id pairs lists it", f"{folder}/{path.name}")
    return portraits


def _note_mates(probes: list[Portrait], gallery: list[Portrait], report: Report) -> None:
    """Say which probes the gallery holds no other picture of."""
    known = {portrait.label for portrait in gallery}
    lonely = [portrait for portrait in probes if portrait.label not in known]
    if gallery and lonely:
        report.note(
            f"{len(lonely):,} probes have no mate in the gallery, for instance {lonely[0].name}; "
            "identification cannot count them."
        )
