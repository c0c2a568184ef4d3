"""CASIA-WebFace: a folder per person."""

import pathlib

from ..common import IdentityBuilder, Portrait, Report, list_people, note_counts

# People who are in the test of LFW too.
LFW_OVERLAP = frozenset({"0166921", "1056413", "1193098"})
# Pictures and people of both splits together.
OFFICIAL_COUNTS = (494_414, 10_575)


class Builder(IdentityBuilder):
    """Everybody but those in LFW's test, who have a split of their own."""

    MANUAL_DOWNLOAD_INSTRUCTIONS = """\
    unpack CASIA-WebFace so that it holds a folder per person, such as 0000045
    """
    FOLDERS = ("CASIA-WebFace", "CASIA-maxpy-clean", "casia_webface")

    def scan(self, root: pathlib.Path, report: Report) -> dict[str, list[Portrait]]:
        inner = root / "CASIA-WebFace"
        root = inner if inner.is_dir() else root
        people = list_people(root, report)
        splits: dict[str, list[Portrait]] = {"train": [], "lfw_overlap": []}
        for label, person in enumerate(sorted(people, key=LFW_OVERLAP.__contains__)):
            splits["lfw_overlap" if person in LFW_OVERLAP else "train"] += [
                Portrait(str(root / person / file), f"{person}/{file}", person, label)
                for file in people[person]
            ]
        everything = [portrait for found in splits.values() for portrait in found]
        note_counts(report, "both", everything, complete=OFFICIAL_COUNTS, of="CASIA-WebFace")
        report.note(
            f"{len(LFW_OVERLAP & people.keys())} of the {len(LFW_OVERLAP)} people who are in LFW's "
            f"test too are kept apart in 'lfw_overlap', with {len(splits['lfw_overlap']):,} "
            "pictures."
        )
        for split, found in splits.items():
            report.count(split, "image at hand", len(found))
        return splits
