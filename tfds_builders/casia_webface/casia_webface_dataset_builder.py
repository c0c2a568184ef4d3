"""CASIA-WebFace: a folder per person."""

import pathlib
from typing import ClassVar

import tensorflow_datasets as tfds

from tfds_builders.common import (
    IdentityBuilder,
    Portrait,
    Report,
    identity_features,
    note_counts,
)
from tfds_builders.common.files import list_files

# People who are in the test of LFW too.
LFW_OVERLAP = frozenset({"0166921", "1056413", "1193098"})
# Pictures and people of both splits together.
OFFICIAL_COUNTS = (494_414, 10_575)


class Builder(IdentityBuilder):
    """Everybody but those in LFW's test, who have a split of their own."""

    VERSION = tfds.core.Version("1.0.0")
    RELEASE_NOTES: ClassVar[dict[str, str]] = {"1.0.0": "First version."}
    MANUAL_DOWNLOAD_INSTRUCTIONS = """\
    unpack CASIA-WebFace so that it holds a folder per person, such as 0000045
    """

    def _info(self) -> tfds.core.DatasetInfo:
        return self.dataset_info_from_configs(
            features=tfds.features.FeaturesDict(identity_features()),
        )

    def scan(self, root: pathlib.Path, report: Report) -> dict[str, list[Portrait]]:
        inner = root / "CASIA-WebFace"
        root = inner if inner.is_dir() else root
        splits: dict[str, list[Portrait]] = {"train": [], "lfw_overlap": []}
        people = sorted(folder for folder in root.iterdir() if folder.is_dir())
        label = 0
        for folder in sorted(people, key=lambda folder: folder.name in LFW_OVERLAP):
            pictures = list_files(folder)
            if not pictures:
                report.skip("the folder holds no picture", folder.name)
                continue
            split = "lfw_overlap" if folder.name in LFW_OVERLAP else "train"
            splits[split] += [
                Portrait(str(path), f"{folder.name}/{path.name}", folder.name, label)
                for path in pictures
            ]
            label += 1
        everything = [portrait for found in splits.values() for portrait in found]
        note_counts(report, "both", everything, complete=OFFICIAL_COUNTS, of="CASIA-WebFace")
        overlap = {portrait.identity for portrait in splits["lfw_overlap"]}
        report.note(
            f"{len(overlap)} of the {len(LFW_OVERLAP)} people who are in LFW's test too are kept "
            f"apart in 'lfw_overlap', with {len(splits['lfw_overlap']):,} pictures."
        )
        for split, found in splits.items():
            report.count(split, "image at hand", len(found))
        return splits
