"""TinyFace: training people, probes, their gallery and distractors."""

import pathlib
from typing import ClassVar

import tensorflow_datasets as tfds

from tfds_builders.common import (
    NOBODY,
    AnnotationError,
    DatasetError,
    IdentityBuilder,
    Portrait,
    Report,
    find_image,
    identity_features,
    note_counts,
)
from tfds_builders.common.files import list_files
from tfds_builders.tinyface.pairs import GALLERY, PROBE, Pairs, PairsFile, read_pairs

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

    VERSION = tfds.core.Version("1.0.0")
    RELEASE_NOTES: ClassVar[dict[str, str]] = {"1.0.0": "First version."}
    MANUAL_DOWNLOAD_INSTRUCTIONS = """\
    unpack tinyface.zip from https://qmul-tinyface.github.io so that it holds Training_Set and
    Testing_Set, with the two *_img_ID_pairs.mat in Testing_Set
    """

    def _info(self) -> tfds.core.DatasetInfo:
        return self.dataset_info_from_configs(
            features=tfds.features.FeaturesDict(identity_features()),
            homepage="https://qmul-tinyface.github.io/",
        )

    def scan(self, root: pathlib.Path, report: Report) -> dict[str, list[Portrait]]:
        root = _layout_root(root)
        splits = {"train": _training(root, report)}
        pairs = {split: _pairs(root, file, report) for split, (file, _) in PAIRED.items()}
        for split, (_, folder) in PAIRED.items():
            splits[split] = _paired(root, split, folder, pairs[split], report)
        splits["distractors"] = _distractors(root, report)
        for split, found in splits.items():
            complete = OFFICIAL_COUNTS[split]
            note_counts(report, split, found, complete=complete, of="TinyFace")
        _note_mates(splits["probe"], splits["gallery_match"], report)
        return splits


def _layout_root(root: pathlib.Path) -> pathlib.Path:
    """`root`, or the folder in it that the official archive unpacks to."""
    inner = root / "tinyface"
    return inner if inner.is_dir() and not (root / TESTING).is_dir() else root


def _training(root: pathlib.Path, report: Report) -> list[Portrait]:
    portraits, label = [], 0
    people = root / TRAINING
    for folder in sorted(people.iterdir()) if people.is_dir() else []:
        if not folder.is_dir():
            continue
        pictures = list_files(folder)
        if not pictures:
            report.skip("the folder holds no picture", f"{TRAINING}/{folder.name}")
            continue
        identity = f"{TRAINING}/{folder.name}"
        portraits += [
            Portrait(str(path), f"{identity}/{path.name}", identity, label) for path in pictures
        ]
        label += 1
    _count(report, "train", len(portraits), len(portraits))
    return portraits


def _pairs(root: pathlib.Path, file: PairsFile, report: Report) -> Pairs | None:
    """The pairs of a file, or None if there is none that can be read."""
    places = [root / folder / file.name for folder in PAIRS_FOLDERS]
    path = next((place for place in places if place.is_file()), None)
    if path is None:
        report.skip("the file of id pairs is missing", f"{TESTING}/{file.name}")
        return None
    try:
        return read_pairs(path, file, report)
    except DatasetError as error:
        report.skip("the file of id pairs cannot be used", path.relative_to(root).as_posix())
        report.note(str(error))
        return None


def _paired(
    root: pathlib.Path, split: str, folder: str, pairs: Pairs | None, report: Report
) -> list[Portrait]:
    """The pictures that a file of id pairs lists, in its order."""
    prefix = f"{TESTING}/{folder}"
    portraits: list[Portrait] = []
    for name, number in zip(*(pairs or ((), ())), strict=True):
        try:
            path = find_image(root / TESTING / folder, name)
        except AnnotationError as error:
            report.skip(str(error), f"{prefix}/{name}")
            continue
        portraits.append(Portrait(str(path), f"{prefix}/{name}", str(number), number - 1))
    if pairs is not None:
        used = {portrait.path for portrait in portraits}
        for path in list_files(root / TESTING / folder):
            if str(path) not in used:
                report.skip("no usable row of the id pairs lists it", f"{prefix}/{path.name}")
    _count(report, split, len(pairs.names) if pairs else 0, len(portraits))
    return portraits


def _distractors(root: pathlib.Path, report: Report) -> list[Portrait]:
    folder = root / TESTING / "Gallery_Distractor"
    portraits = [
        Portrait(str(path), path.relative_to(root).as_posix(), "", NOBODY)
        for path in list_files(folder)
    ]
    _count(report, "distractors", len(portraits), len(portraits))
    return portraits


def _count(report: Report, split: str, listed: int, at_hand: int) -> None:
    report.count(split, "listed", listed)
    report.count(split, "image at hand", at_hand)


def _note_mates(probes: list[Portrait], gallery: list[Portrait], report: Report) -> None:
    """Says which probes the gallery holds no other picture of."""
    if not probes or not gallery:
        return
    known = {portrait.label for portrait in gallery}
    lonely = [portrait for portrait in probes if portrait.label not in known]
    if lonely:
        report.note(
            f"{len(lonely):,} probes have no mate in the gallery, for instance {lonely[0].name}; "
            "identification cannot count them."
        )
