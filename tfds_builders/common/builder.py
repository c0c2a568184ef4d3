"""The part of a face dataset builder that does not depend on the dataset.

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
from typing import Any, TypeVar

import numpy as np
import tensorflow_datasets as tfds
from PIL import Image
from tqdm import tqdm

from tfds_builders.common.crops import crop_face
from tfds_builders.common.faces import Face, Photo
from tfds_builders.common.files import AnnotationError, DatasetError, forget_folders, open_photo
from tfds_builders.common.report import Report

FACES_PER_SHARD = 1024
Example = dict[str, Any]
Item = TypeVar("Item")
Result = TypeVar("Result")


def face_features(num_points: int | None, **extra: tfds.features.FeatureConnector) -> Example:
    """The features of a face record; all coordinates are in crop pixels.

    `box` is the dataset's own box, `face_box` the box in the networks' convention; a crop pixel p
    lies at `origin + (p + 0.5) / scale - 0.5` in the photograph.
    """
    points = {}
    if num_points is not None:
        points = {
            "points": tfds.features.Tensor(shape=(num_points, 2), dtype=np.float32),
            "visible": tfds.features.Tensor(shape=(num_points,), dtype=np.bool_),
        }
    return {
        "image": tfds.features.Image(shape=(None, None, 3)),
        **points,
        "box": tfds.features.Tensor(shape=(4,), dtype=np.float32),
        "face_box": tfds.features.Tensor(shape=(4,), dtype=np.float32),
        "origin": tfds.features.Tensor(shape=(2,), dtype=np.float32),
        "scale": tfds.features.Scalar(dtype=np.float32),
        "name": tfds.features.Text(),
        **extra,
    }


def face_example(photo: Image.Image, face: Face) -> Example:
    """The record of one face.

    Raises:
      AnnotationError: if the face is not on the photograph.
    """
    crop = crop_face(photo, face.face_box)
    example = {
        "image": crop.image,
        "box": crop.box_from_photo(face.box).astype(np.float32),
        "face_box": crop.box_from_photo(face.face_box).astype(np.float32),
        "origin": crop.origin.astype(np.float32),
        "scale": np.float32(crop.scale),
        "name": face.name,
        **face.extra,
    }
    if face.points is not None:
        example["points"] = crop.from_photo(face.points).astype(np.float32)
        example["visible"] = np.asarray(face.visible, np.bool_)
    return example


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


class FaceBuilder(tfds.core.ShardBasedBuilder, skip_registration=True):
    """Writes the faces that `scan` finds, a photograph being decoded once per split.

    After preparing, `report.json` beside the records says what was left out and why.
    """

    @abc.abstractmethod
    def scan(self, root: pathlib.Path, report: Report) -> Mapping[str, Sequence[Photo]]:
        """Reads the annotations under `root`: the photographs at hand, by split.

        Counts "annotated" and "image at hand" and everything left out in `report`.

        Raises:
          DatasetError: if an annotation file as a whole is unusable.
        """

    def _shard_iterators_per_split(
        self, dl_manager: tfds.download.DownloadManager
    ) -> dict[str, list[Callable[[], Iterator[tuple[str, Example]]]]]:
        root = _manual_folder(dl_manager)
        report = Report()
        forget_folders()
        splits = self.scan(root, report)
        photos = {split: list(found) for split, found in splits.items() if found}
        for split in splits:
            report.count(split, "written", 0)
            if split not in photos:
                report.note(f"Split '{split}' is left out: none of its images is at hand.")
        if not photos:
            raise DatasetError(
                f"No annotated image of '{self.name}' was found in {root}; give the folder that "
                f"holds the official files with --manual-dir ({_layout(self)})."
            )
        self._report = report
        self._progress = tqdm(
            total=sum(map(len, photos.values())), desc=self.name, unit="photo", disable=None
        )
        return {
            split: [functools.partial(self._examples, split, shard) for shard in _shards(found)]
            for split, found in photos.items()
        }

    def _examples(self, split: str, photos: Sequence[Photo]) -> Iterator[tuple[str, Example]]:
        """The records of one shard, in order; faces that cannot be cut are reported."""
        workers = min(8, os.cpu_count() or 1)
        for examples in in_parallel(self._photo_examples, photos, workers):
            self._progress.update()
            for example in examples:
                self._report.count(split, "written")
                yield example["name"], example

    def _photo_examples(self, photo: Photo) -> list[Example]:
        try:
            image = open_photo(photo.path)
        except AnnotationError as error:
            self._report.skip(str(error), photo.name)
            return []
        examples = []
        for face in photo.faces:
            try:
                examples.append(face_example(image, face))
            except AnnotationError as error:
                self._report.skip(str(error), face.name)
        return examples

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
        if not any(row.get("written") for row in self._report.counts.values()):
            reasons = [
                f"{reason} ({next(iter(names))})" for reason, names in self._report.skipped.items()
            ]
            raise DatasetError(
                f"Not one face of '{self.name}' could be read: {'; '.join(reasons)}."
            )
        self._drop_empty_splits()
        # The folder is still the temporary one: report and records appear together or not at all.
        self._report.save(pathlib.Path(self.data_dir))

    def _drop_empty_splits(self) -> None:
        """Removes the splits none of whose images could be read; TFDS could not open them."""
        for split, info in self.info.splits.items():
            if not info.num_examples:
                self._report.note(f"Split '{split}' is left out: none of its images can be read.")
                for path in info.filepaths:
                    path.unlink()
        full = [info for info in self.info.splits.values() if info.num_examples]
        self.info.set_splits(tfds.core.splits.SplitDict(full))


def _shards(photos: Sequence[Photo]) -> list[list[Photo]]:
    """Photographs in order, cut into runs of about `FACES_PER_SHARD` faces."""
    faces = sum(len(photo.faces) for photo in photos)
    shards: list[list[Photo]] = [[] for _ in range(math.ceil(faces / FACES_PER_SHARD))]
    before = 0
    for photo in photos:
        shards[before * len(shards) // faces].append(photo)
        before += len(photo.faces)
    return [shard for shard in shards if shard]


def _manual_folder(dl_manager: tfds.download.DownloadManager) -> pathlib.Path:
    try:
        return pathlib.Path(dl_manager.manual_dir)
    except AssertionError as error:  # what TFDS raises for a folder that does not exist
        raise DatasetError(str(error)) from error


def _layout(builder: FaceBuilder) -> str:
    return " ".join((builder.MANUAL_DOWNLOAD_INSTRUCTIONS or "").split())
