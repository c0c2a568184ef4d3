"""The MS-Celeb-1M family: millions of aligned faces in one record file."""

import pathlib

import numpy as np
import tensorflow_datasets as tfds

from ..common import (
    DatasetError,
    Example,
    RecordBuilder,
    Report,
    decode,
    identity_features,
    official_bytes,
)
from .recordio import RecordError, RecordFile, read_index

ENTRY = np.dtype(
    [("key", np.int64), ("offset", np.int64), ("owner", np.int64), ("label", np.int32)]
)
"""A picture in the file; `owner` is the number there, `label` the one without gaps."""


class Builder(RecordBuilder[np.void]):
    """All pictures of `train.rec`, in the order of their keys."""

    MANUAL_DOWNLOAD_INSTRUCTIONS = """\
    unpack a training set of https://github.com/deepinsight/insightface/tree/master/recognition/_datasets_
    so that it holds train.rec, train.idx and property
    """
    FEATURES = identity_features()
    HOMEPAGE = "https://github.com/deepinsight/insightface"
    FOLDERS = ("faces_emore", "faces_ms1m_112x112", "ms1m-retinaface-t1", "face_records")
    UNIT = "picture"
    RECORDS_PER_SHARD = 16_384

    def scan(self, root: pathlib.Path, report: Report) -> dict[str, np.ndarray]:
        for name in ("train.rec", "train.idx"):
            if not (root / name).is_file():
                raise DatasetError(f"{root / name} is missing; put the official file there.")
        try:
            self._file = RecordFile(root / "train.rec")
            keys, offsets = read_index(root / "train.idx")
            entries = scan_headers(self._file, keys, offsets, report)
        except (OSError, RecordError, ValueError) as error:
            raise DatasetError(f"{error}; fetch the official files again.") from error
        people = len(np.unique(entries["label"]))
        report.note(f"train: {len(entries):,} pictures of {people:,} people{_stated(root)}.")
        report.count("train", "image at hand", len(entries))
        return {"train": entries}

    def label(self, item: np.void) -> str:
        return f"key {item['key']}"

    def examples(self, item: np.void) -> list[Example]:
        try:
            _, picture = self._file.read(int(item["offset"]))
        except RecordError as error:
            self.report.skip("the record is damaged", str(error))
            return []
        decode(picture)
        return [
            {
                "image": picture,
                "name": str(item["key"]),
                "identity": str(item["owner"]),
                "label": int(item["label"]),
            }
        ]

    def _download_and_prepare(
        self,
        dl_manager: tfds.download.DownloadManager,
        download_config: tfds.download.DownloadConfig | None = None,
    ) -> None:
        self._file = None
        try:
            super()._download_and_prepare(dl_manager, download_config)
        finally:
            if self._file is not None:
                self._file.close()


def scan_headers(
    file: RecordFile, keys: np.ndarray, offsets: np.ndarray, report: Report
) -> np.ndarray:
    """Find the pictures among the records with these keys and offsets, as ENTRY [n].

    Raises:
      RecordError: if record 0, which says what the others are, cannot be read.
    """
    stop = None
    if len(keys) and keys[0] == 0:
        first = file.read_header(int(offsets[0]))
        if first.vector and len(first.labels) == 2:
            if not abs(first.labels[0]) < 2**31:
                raise RecordError(file.path, int(offsets[0]), "does not count the pictures")
            stop = int(first.labels[0])
            if not 1 <= stop <= keys[-1] + 1:
                report.note(
                    f"Record 0 says that pictures end before key {stop:,}, but the last key is "
                    f"{keys[-1]:,}; the files do not belong together, or one is cut off."
                )
    entries = np.empty(len(keys), ENTRY)
    listed = count = 0
    for key, offset in zip(keys.tolist(), offsets.tolist(), strict=True):
        if stop is not None and not 1 <= key < stop:
            continue
        listed += 1
        try:
            header = file.read_header(offset)
        except RecordError as error:
            report.skip("the record is damaged", str(error))
            continue
        if header.picture == 0:
            report.skip("the record holds no picture", f"key {key}")
            continue
        owner = header.labels[0]
        if not 0 <= owner < 2**31 or owner % 1:
            report.skip("the label is not a number from 0", f"key {key}")
            continue
        entries[count] = (key, offset, owner, 0)
        count += 1
    report.count("train", "listed", listed)
    entries = entries[:count]
    entries["label"] = np.unique(entries["owner"], return_inverse=True)[1]
    return entries


def _stated(root: pathlib.Path) -> str:
    """What the file `property` says of the number of people."""
    path = root / "property"
    if not path.is_file():
        return "; the file property is not there to compare"
    stated = official_bytes(path).decode("ascii", "replace").strip()[:40]
    people = stated.partition(",")[0]
    return f" (property: {int(people):,})" if people.isdigit() else f" (property: '{stated}')"
