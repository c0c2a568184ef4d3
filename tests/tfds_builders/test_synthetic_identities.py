"""Drawn people to be recognised: splits without a common person, tight pictures, true points."""

import io
import pathlib

import numpy as np
import pytest
from PIL import Image

from lrjax.tfds_builders.synthetic_faces.scene import Picture
from lrjax.tfds_builders.synthetic_identities import synthetic_identities_dataset_builder as dataset

CONFIG = dataset.SyntheticIdentitiesConfig(
    name="tiny", train=(2, 2), test=(2, 3), distractors=(1, 2), hr=(1, 1), hr_side=48.0
)


@pytest.fixture(scope="module")
def records(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[dict]]:
    folder = tmp_path_factory.mktemp("data")
    builder = dataset.Builder(data_dir=folder, config=CONFIG, file_format="array_record")
    builder.download_and_prepare()
    return {split: list(builder.as_data_source(split)) for split in builder.info.splits}


def column(records: list[dict], name: str) -> list:
    return [record[name] for record in records]


def test_labels_number_the_people_and_pairs_share_them(records: dict[str, list[dict]]) -> None:
    labels = {split: [int(label) for label in column(r, "label")] for split, r in records.items()}
    assert labels == {
        "train": [0, 0, 1, 1],
        "probe": [0, 1],
        "gallery_match": [0, 0, 1, 1],
        "distractors": [-1, -1],
        "hr": [0],
    }
    people = {split: set(column(r, "identity")) for split, r in records.items()}
    assert people["probe"] == people["gallery_match"] == {b"11000000", b"11000001"}
    assert people["distractors"] == {b""}
    assert not people["train"] & people["probe"]
    assert not people["hr"] & (people["train"] | people["probe"])
    names = [name for r in records.values() for name in column(r, "name")]
    assert len(names) == len(set(names)) == 13
    pictures = [r["image"].tobytes() for split in records for r in records[split]]
    assert len(set(pictures)) == 13


def test_pictures_are_as_tight_as_a_detector_and_hold_their_points(
    records: dict[str, list[dict]],
) -> None:
    for split, found in records.items():
        low, high = (48, 48) if split == "hr" else CONFIG.sides
        for record in found:
            height, width, _ = record["image"].shape
            assert low - 1 <= np.sqrt(height * width) <= CONFIG.loosest * high + 1
            assert record["points"].shape == (5, 2)
            inside = record["points"][record["visible"]]
            assert len(inside) >= 2
            assert (inside > -1).all()
            assert (inside < [width, height]).all()


def test_the_points_lie_where_the_face_was_cut(tmp_path: pathlib.Path) -> None:
    points = np.zeros((68, 2), np.float32)
    points[30] = (31.0, 27.0)  # the tip of the nose
    pixels = np.zeros((70, 70, 3), np.uint8)
    pixels[27, 31] = 255
    face = Picture(
        pixels, points, np.ones(68, bool), np.array([20.0, 18, 24, 30]), np.zeros((2, 2))
    )
    for seed in range(5):
        record = dataset.cut(face, CONFIG, np.random.default_rng(seed))
        with Image.open(io.BytesIO(record["image"])) as image:
            light = np.asarray(image).sum(axis=-1, dtype=int)
        y, x = np.unravel_index(light.argmax(), light.shape)
        assert (x, y) == tuple(record["points"][2])
        assert 24 <= light.shape[1] <= 24 * 1.2 + 1
        assert 30 <= light.shape[0] <= 30 * 1.2 + 1
