"""The part of a dataset builder that does not depend on the dataset.

Shards are written one after the other, in the order of the annotation: the generator-based writer
of TFDS needs TensorFlow as soon as a split exceeds one gigabyte.
"""

import abc
import collections
import concurrent.futures
import functools
import math
import os
import pathlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, ClassVar, Generic, TypeVar

import tensorflow_datasets as tfds
from tqdm import tqdm

from tfds_builders.common.files import DatasetError, forget_folders
from tfds_builders.common.report import Report

Example = dict[str, Any]
Item = TypeVar("Item")
Result = TypeVar("Result")


def in_parallel(
    function: Callable[[Item], Result], items: Iterable[Item], workers: int
) -> Iterator[Result]:
    """`map` on threads: results in order, and never many more in memory than there are workers."""
    with concurrent.futures.ThreadPoolExecutor(workers) as pool:
        waiting: collections.deque[concurrent.futures.Future[Result]] = collections.deque()
        try:
            for item in items:
                waiting.append(pool.submit(function, item))
                if len(waiting) > 2 * workers:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            pool.shutdown(cancel_futures=True)


class RecordBuilder(tfds.core.ShardBasedBuilder, Generic[Item], skip_registration=True):
    """Writes the records of the items (photographs, pictures) that `scan` finds.

    After preparing, `report.json` beside the records says what was left out and why.

    Attributes:
      UNIT: what the progress bar calls an item.
      RECORDS_PER_SHARD: about so many records share a file; TFDS holds them in memory meanwhile.
      report: of the preparation under way; threads may add to it.
    """

    UNIT: ClassVar[str] = "photo"
    RECORDS_PER_SHARD: ClassVar[int] = 1024
    report: Report

    @abc.abstractmethod
    def scan(self, root: pathlib.Path, report: Report) -> Mapping[str, Sequence[Item]]:
        """Reads the annotations under `root`: the items at hand, by split.

        The items of a split are a sequence that can be sliced; they hold no pictures. Counts what
        is listed and what is at hand, and everything left out, in `report`.

        Raises:
          DatasetError: if an annotation file as a whole is unusable.
        """

    @abc.abstractmethod
    def examples(self, item: Item) -> list[Example]:
        """The records of an item; one that cannot be read is reported. Runs on several threads."""

    def folder(self, dl_manager: tfds.download.DownloadManager) -> pathlib.Path:
        """The folder that is scanned, of the official files."""
        try:
            return pathlib.Path(dl_manager.manual_dir)
        except AssertionError as error:  # what TFDS raises for a folder that does not exist
            raise DatasetError(str(error)) from error

    def weight(self, item: Item) -> int:
        """How many records an item gives at most; for shards of equal size."""
        return 1

    def conclude(self) -> None:
        """Adds to the report what is known only once all records are written."""

    def _shard_iterators_per_split(
        self, dl_manager: tfds.download.DownloadManager
    ) -> dict[str, list[Callable[[], Iterator[tuple[str, Example]]]]]:
        root = self.folder(dl_manager)
        report = Report()
        forget_folders()
        splits = self.scan(root, report)
        items = {split: found for split, found in splits.items() if len(found)}
        for split in splits:
            report.count(split, "written", 0)
            if split not in items:
                report.note(f"Split '{split}' is left out: none of its images is at hand.")
        if not items:
            raise DatasetError(
                f"No annotated image of '{self.name}' was found in {root}{_reasons(report)}; give "
                f"the folder that holds the official files with --manual-dir ({_layout(self)})."
            )
        self.report = report
        self._progress = tqdm(
            total=sum(map(len, items.values())), desc=self.name, unit=self.UNIT, disable=None
        )
        return {
            split: [
                functools.partial(self._shard_examples, split, found[start:stop])
                for start, stop in shard_ranges(map(self.weight, found), self.RECORDS_PER_SHARD)
            ]
            for split, found in items.items()
        }

    def _shard_examples(self, split: str, items: Sequence[Item]) -> Iterator[tuple[str, Example]]:
        """The records of one shard, in order."""
        workers = min(8, os.cpu_count() or 1)
        for examples in in_parallel(self.examples, items, workers):
            self._progress.update()
            for example in examples:
                self.report.count(split, "written")
                yield example["name"], example

    def _download_and_prepare(
        self,
        dl_manager: tfds.download.DownloadManager,
        download_config: tfds.download.DownloadConfig | None = None,
    ) -> None:
        self._progress = None
        try:
            super()._download_and_prepare(dl_manager, download_config)
        finally:
            if self._progress is not None:
                self._progress.close()
        if not any(row.get("written") for row in self.report.counts.values()):
            raise DatasetError(
                f"Not one face of '{self.name}' could be read{_reasons(self.report)}."
            )
        self._drop_empty_splits()
        self.conclude()
        # The folder is still the temporary one: report and records appear together or not at all.
        self.report.save(pathlib.Path(self.data_dir))

    def _drop_empty_splits(self) -> None:
        """Removes the splits none of whose images could be read; TFDS could not open them."""
        for split, info in self.info.splits.items():
            if not info.num_examples:
                self.report.note(f"Split '{split}' is left out: none of its images can be read.")
                for path in info.filepaths:
                    path.unlink()
        full = [info for info in self.info.splits.values() if info.num_examples]
        self.info.set_splits(tfds.core.splits.SplitDict(full))


def shard_ranges(weights: Iterable[int], per_shard: int) -> list[tuple[int, int]]:
    """Ranges (start, stop) of consecutive items that hold about `per_shard` records each."""
    weights = list(weights)
    total = sum(weights)
    shards = math.ceil(total / per_shard)
    starts: dict[int, int] = {}
    before = 0
    for i, weight in enumerate(weights):
        starts.setdefault(before * shards // total, i)
        before += weight
    return list(zip(starts.values(), [*list(starts.values())[1:], len(weights)], strict=True))


def _reasons(report: Report) -> str:
    """Why files were left out, each reason with one of them, after a colon."""
    reasons = [f"{reason} ({next(iter(names))})" for reason, names in report.skipped.items()]
    return f": {'; '.join(reasons)}" if reasons else ""


def _layout(builder: RecordBuilder) -> str:
    return " ".join((builder.MANUAL_DOWNLOAD_INSTRUCTIONS or "").split())


class DrawnBuilder(RecordBuilder[Item], skip_registration=True):
    """A builder whose records are drawn: `scan` is given an empty path, and finds all it wants."""

    UNIT = "person"

    def folder(self, dl_manager: tfds.download.DownloadManager) -> pathlib.Path:
        return pathlib.Path()
