"""The part of a dataset builder that does not depend on the dataset.

Shards are written one after the other, in the order of the annotation: the generator-based writer
of TFDS needs TensorFlow as soon as a split exceeds one gigabyte.
"""

import abc
import concurrent.futures
import functools
import inspect
import itertools
import math
import os
import pathlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, ClassVar, Generic, TypeVar

import numpy as np
import tensorflow_datasets as tfds
from etils import epath
from tqdm import tqdm

from .files import AnnotationError, DatasetError, forget_folders
from .report import Report

Example = dict[str, Any]
Item = TypeVar("Item", bound=Any)


# TFDS declares no types: a checker does not know what its classes take.
class RecordBuilder(  # type: ignore[call-arg]
    tfds.core.ShardBasedBuilder, Generic[Item], skip_registration=True
):
    """Writes the records of the items (photographs, pictures) that `scan` finds.

    After preparing, `report.json` beside the records says what was left out and why.

    Attributes:
      FEATURES: of a record.
      HOMEPAGE: of the dataset.
      FOLDERS: where in the folder of all data its official files may lie; none if it needs none.
      UNIT: what the progress bar calls an item.
      RECORDS_PER_SHARD: about so many records share a file; TFDS holds them in memory meanwhile.
      report: of the preparation under way; threads may add to it.
    """

    VERSION = tfds.core.Version("1.0.0")
    RELEASE_NOTES: ClassVar[dict[str, str]] = {"1.0.0": "First version."}
    FEATURES: ClassVar[Example] = {}
    HOMEPAGE: ClassVar[str | None] = None
    FOLDERS: ClassVar[tuple[str, ...]] = ()
    UNIT: ClassVar[str] = "photo"
    RECORDS_PER_SHARD: ClassVar[int] = 1024
    report: Report

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        # TFDS would look for the README in a folder named as the module, which is not where the
        # module lies in a checkout.
        cls.pkg_dir_path = epath.Path(inspect.getfile(cls)).parent

    def _info(self) -> tfds.core.DatasetInfo:
        return self.dataset_info_from_configs(
            features=tfds.features.FeaturesDict(self.FEATURES), homepage=self.HOMEPAGE
        )

    @abc.abstractmethod
    def scan(self, root: pathlib.Path, report: Report) -> Mapping[str, Sequence[Item]]:
        """Read the annotations under `root`: the items at hand, by split.

        The items of a split are a sequence that can be sliced; they hold no pictures. What is
        listed, what is at hand and everything left out are counted in `report`.

        Raises:
          DatasetError: if an annotation file as a whole is unusable.
        """

    @abc.abstractmethod
    def examples(self, item: Item) -> list[Example]:
        """Make the records of an item, on several threads.

        Raises:
          AnnotationError: the item cannot be read, and is reported.
        """

    def label(self, item: Item) -> str:
        """Return what an item is called in the report."""
        return item.name

    def folder(self, dl_manager: tfds.download.DownloadManager) -> pathlib.Path:
        """Return the folder that is scanned, of the official files."""
        try:
            return pathlib.Path(dl_manager.manual_dir)
        except AssertionError as error:  # what TFDS raises for a folder that does not exist
            raise DatasetError(str(error)) from error

    def weight(self, item: Item) -> int:
        """Return how many records an item gives at most, for shards of equal size."""
        return 1

    def conclude(self) -> None:
        """Add to the report what is known only once all records are written."""

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
                for start, stop in shard_ranges(
                    [self.weight(item) for item in found], self.RECORDS_PER_SHARD
                )
            ]
            for split, found in items.items()
        }

    def _shard_examples(self, split: str, items: Sequence[Item]) -> Iterator[tuple[str, Example]]:
        """The records of one shard, in order."""
        with concurrent.futures.ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool:
            for examples in pool.map(self._attempt, items):
                self._progress.update()
                for example in examples:
                    self.report.count(split, "written")
                    yield example["name"], example

    def _attempt(self, item: Item) -> list[Example]:
        try:
            return self.examples(item)
        except AnnotationError as error:
            self.report.skip(str(error), self.label(item))
            return []

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


def shard_ranges(weights: Sequence[int], per_shard: int) -> list[tuple[int, int]]:
    """Divide consecutive items into ranges (start, stop) of about `per_shard` records each."""
    before = np.cumsum([0, *weights])
    shards = math.ceil(before[-1] / per_shard)
    starts = np.flatnonzero(np.diff(before[:-1] * shards // before[-1], prepend=-1)).tolist()
    return list(itertools.pairwise([*starts, len(weights)]))


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
