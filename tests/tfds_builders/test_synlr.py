"""SynLR: who is in which split, how many, and what becomes of the pictures."""

import functools
import io
import pathlib
from collections.abc import Callable

import numpy as np
import pytest
from PIL import Image

from lrjax.tfds_builders.common import DatasetError
from lrjax.tfds_builders.synlr.partition import Counts, _halves, fitting, partition
from lrjax.tfds_builders.synlr.synlr_dataset_builder import Builder, SynlrSettings, region_box

TINY = Counts(train_people=1, train=3, test_people=1, probe=2, gallery_match=2, distractors=3)


def owners(*pictures: int) -> np.ndarray:
    """Whose each picture is, of people with so many pictures each, in mixed order."""
    owner = np.repeat(np.arange(len(pictures)), pictures)
    return np.random.default_rng(9).permutation(owner)


@pytest.fixture(scope="module")
def many() -> np.ndarray:
    """230,000 pictures of 33,000 people, 3 or more each, as in MegaFace2."""
    return owners(*np.random.default_rng(1).geometric(0.2, 33_000) + 2)


def test_the_papers_numbers_come_out(many: np.ndarray) -> None:
    share, splits = fitting(many, Counts(), seed=0)
    assert share == 1
    # Table 2 and section 5.1: 15,975 labelled pictures of 5,139 people, 153,428 distractors.
    assert {split: len(found) for split, found in splits.items()} == {
        "train": 7_804,
        "probe": 3_728,
        "gallery_match": 4_443,
        "distractors": 153_428,
    }
    people = {split: set(many[found].tolist()) for split, found in splits.items()}
    assert (len(people["train"]), len(people["probe"])) == (2_570, 2_569)
    assert people["probe"] == people["gallery_match"]
    assert not people["train"] & people["probe"]
    assert not people["distractors"] & (people["train"] | people["probe"])
    everything = np.concatenate(list(splits.values()))
    assert len(set(everything.tolist())) == 169_403
    for found in splits.values():
        np.testing.assert_array_equal(found, np.sort(found))


def test_half_of_a_persons_pictures_are_probes(many: np.ndarray) -> None:
    splits = partition(many, Counts(), seed=0)
    size = int(many.max()) + 1
    probes, gallery = (
        np.bincount(many[splits[split]], minlength=size) for split in ("probe", "gallery_match")
    )
    tested = probes + gallery > 0
    assert probes[tested].min() == 1
    assert gallery[tested].min() == 1
    # No two people could exchange a probe for a gallery picture and both be nearer to half.
    more = gallery - probes
    assert more[gallery > 1].max() - more[probes > 1].min() <= 2
    assert more[tested].max() <= 2


def test_the_partition_is_drawn_by_the_seed_and_from_everybody(many: np.ndarray) -> None:
    first, again, other = (partition(many, Counts(), seed) for seed in (0, 0, 1))
    for split, found in first.items():
        np.testing.assert_array_equal(found, again[split])
        assert len(np.intersect1d(found, other[split])) < 0.7 * len(found)
    for split in ("train", "probe", "distractors"):
        # Nobody is favoured: the people of a split are on average in the middle of all.
        people = np.unique(many[first[split]])
        assert abs(people.mean() / 33_000 - 0.5) < 4 * np.sqrt(1 / 12 / len(people))


@pytest.mark.parametrize("seed", range(6))
def test_a_partition_by_hand(seed: int) -> None:
    # Two have pictures enough for training and test; the three of the others are distractors.
    owner = owners(1, 4, 2, 4)
    splits = partition(owner, TINY, seed)
    (trained,), (tested,) = (set(owner[splits[split]].tolist()) for split in ("train", "probe"))
    assert {trained, tested} == {1, 3}
    assert [len(splits[split]) for split in ("train", "probe", "gallery_match")] == [3, 2, 2]
    both = sorted([*splits["probe"], *splits["gallery_match"]])
    np.testing.assert_array_equal(both, np.flatnonzero(owner == tested))
    np.testing.assert_array_equal(
        splits["distractors"], np.flatnonzero((owner == 0) | (owner == 2))
    )


def test_uneven_pictures_are_halved_as_the_totals_allow() -> None:
    # Of 3, 3, 3 and 6 pictures: one each, first two more of the six, then one of the threes.
    shares = {4: [1, 1, 1, 1], 5: [1, 1, 1, 2], 6: [1, 1, 1, 3], 7: [1, 1, 2, 3], 8: [1, 2, 2, 3]}
    shares |= {9: [2, 2, 2, 3], 10: [2, 2, 2, 4], 11: [2, 2, 2, 5]}
    owner = np.array([0, 0, 0, 1, 1, 1, 2, 2, 2, 3, 3, 3, 3, 3, 3])
    for probes, expected in shares.items():
        mixed = np.random.default_rng(probes).permutation(owner)
        assert sorted(np.bincount(mixed[_halves(mixed, probes)]).tolist()) == expected


@pytest.mark.parametrize(
    ("pictures", "why"),
    [
        ((4, 4), "no distractors"),
        ((4, 3, 2), "a distractor is missing"),
        ((4, 1, 1, 1, 1), "nobody is left for training"),
        ((3, 3, 3, 3), "the test lacks a picture"),
        ((), "nobody at all"),
    ],
)
def test_too_few_make_no_partition(pictures: tuple[int, ...], why: str) -> None:
    assert partition(owners(*pictures), TINY, 0) is None, why


def test_a_small_source_keeps_the_proportions() -> None:
    owner = owners(*[12] * 300)
    share, splits = fitting(owner, Counts(), seed=3)
    assert 0.01 < share < 1
    assert share == round(share, 4)
    assert partition(owner, Counts().scaled(share + 1e-4), 3) is None
    found = {split: len(pictures) for split, pictures in splits.items()}
    assert found == {
        "train": round(7_804 * share),
        "probe": round(3_728 * share),
        "gallery_match": round(4_443 * share),
        "distractors": round(153_428 * share),
    }
    assert len(set(owner[splits["train"]].tolist())) == round(2_570 * share)
    with pytest.raises(DatasetError, match="5 pictures of 5 people are too few"):
        fitting(owners(1, 1, 1, 1, 1), Counts(), 0)


def test_impossible_counts_are_refused() -> None:
    for counts in (Counts(train=5), Counts(probe=2_000), Counts(gallery_match=2)):
        with pytest.raises(DatasetError, match="Everybody needs a picture"):
            fitting(owners(9, 9), counts, 0)
    with pytest.raises(DatasetError, match="at least 1"):
        fitting(owners(9, 9), Counts(test_people=0), 0)


@pytest.fixture
def album(tmp_path: pathlib.Path, write_photo: Callable[..., pathlib.Path]) -> pathlib.Path:
    """Five people: with 4, 1, 4, 2 and no pictures."""
    root = tmp_path / "MegaFace2"
    for folder, count in (("anna", 4), ("bert", 1), ("carl", 4), ("dora", 2), ("emil", 0)):
        (root / folder).mkdir(parents=True)
        for i in range(count):
            write_photo(root / folder / f"{i}.jpg", 40 + i, 50)
    (root / "readme.txt").touch()
    return root


def tiny(**changes: object) -> Callable[..., Builder]:
    """The builder with TINY's counts."""
    settings = SynlrSettings(**{"counts": TINY} | changes)
    return functools.partial(Builder, settings=settings)


def test_the_splits_are_those_of_tinyface(album: pathlib.Path, prepare: Callable) -> None:
    records, report = prepare(tiny(), album)
    assert {split: len(found) for split, found in records.items()} == {
        "train": 3, "probe": 2, "gallery_match": 2, "distractors": 3,
    }  # fmt: skip
    for split, found in records.items():
        for record in found:
            assert record["image"].shape == (20, 16, 3)
            owner = record["name"].partition("/")[0].encode()
            hidden = split == "distractors"
            assert record["identity"] == (b"" if hidden else owner)
            assert int(record["label"]) == (-1 if hidden else 0)
    people = {split: {r["identity"] for r in found} for split, found in records.items()}
    assert people["probe"] == people["gallery_match"]
    assert {*people["train"], *people["probe"]} == {b"anna", b"carl"}
    assert {r["name"] for r in records["distractors"]} == {"bert/0.jpg", "dora/0.jpg", "dora/1.jpg"}
    assert report.notes == [
        f"Made of 4 of the 4 people of {album}, who have 11 pictures.",
        "train: 3 pictures of 1 people at hand (SynLR-MF2: complete would be 7,804 pictures of "
        "2,570 people).",
        "probe: 2 pictures of 1 people at hand (SynLR-MF2: complete would be 3,728 pictures of "
        "2,569 people).",
        "gallery_match: 2 pictures of 1 people at hand (SynLR-MF2: complete would be 4,443 "
        "pictures of 2,569 people).",
        "distractors: 3 pictures at hand (SynLR-MF2: complete would be 153,428 pictures).",
    ]
    assert report.counts["train"] == {"asked for": 3, "drawn": 3, "written": 3}
    assert dict(report.skipped) == {"the folder holds no picture": {"emil": None}}


def test_labels_follow_the_order_of_the_people(
    tmp_path: pathlib.Path, write_photo: Callable[..., pathlib.Path], prepare: Callable
) -> None:
    for person in "abcdef":
        for i in range(3):
            write_photo(tmp_path / "source" / person / f"{i}.png", 20, 20)
    counts = Counts(train_people=2, train=4, test_people=3, probe=4, gallery_match=5, distractors=1)
    records, _ = prepare(tiny(counts=counts), tmp_path / "source")
    for splits, people in ((("train",), 2), (("probe", "gallery_match"), 3)):
        rows = [r for split in splits for r in records[split]]
        labels = {r["identity"]: int(r["label"]) for r in rows}
        assert labels == {person: i for i, person in enumerate(sorted(labels))}
        assert len(labels) == people
        assert all(labels[r["identity"]] == r["label"] for r in rows)
    for found in records.values():
        assert [r["name"] for r in found] == sorted(r["name"] for r in found)


def weights(size: int, start: float, stop: float, count: int) -> np.ndarray:
    """What each of `size` pixels counts in `count` others, from start to stop: [count, size].

    Keys' cubic kernel, which reaches over two of the others on either side.
    """
    scale = (stop - start) / count
    centres = start + (np.arange(count) + 0.5) * scale - 0.5
    x = np.abs(np.arange(size) - centres[:, None]) / max(scale, 1.0)
    near, far = 1.5 * x**3 - 2.5 * x**2 + 1, -0.5 * x**3 + 2.5 * x**2 - 4 * x + 2
    kernel = np.where(x < 1, near, np.where(x < 2, far, 0.0))
    return kernel / kernel.sum(axis=1, keepdims=True)


def test_the_region_is_shrunk_bicubically(album: pathlib.Path, prepare: Callable) -> None:
    records, _ = prepare(tiny(region=(0.25, 0.1, 0.5, 0.8)), album)
    for record in records["train"]:
        with Image.open(album / record["name"]) as image:
            pixels = np.asarray(image.convert("RGB"), np.float64)
        height, width, _ = pixels.shape
        down = weights(height, 0.1 * height, 0.9 * height, 20)
        across = weights(width, 0.25 * width, 0.75 * width, 16)
        expected = np.einsum("yh,hwc,xw->yxc", down, pixels, across).clip(0, 255)
        np.testing.assert_allclose(record["image"], expected, atol=1.51)  # rounded twice


def test_a_region_ends_with_the_picture() -> None:
    assert region_box((0.25, 0.3, 0.5, 0.5), (178, 218)) == pytest.approx(
        (44.5, 65.4, 133.5, 174.4)
    )
    assert region_box((0.7, 0.9, 0.3, 0.1), (16, 20))[2:] == (16.0, 20.0)


class Prepared:
    """Six prepared pictures, of person 5, nobody, person 2, ..."""

    def __init__(self) -> None:
        self.label = np.array([5, -1, 2, 5, 2, 7, 2, 5, 8, 2, 5])
        self.names = [f"{i}.jpg" for i in range(len(self.label))]
        self.images = []
        for i in range(len(self.label)):
            file = io.BytesIO()
            Image.new("RGB", (10, 10), (20 * i, 0, 0)).save(file, "PNG")
            self.images.append(file.getvalue())


def test_a_prepared_dataset_is_a_source(tmp_path: pathlib.Path, prepare: Callable) -> None:
    counts = Counts(train_people=1, train=4, test_people=1, probe=2, gallery_match=2, distractors=2)
    builder = functools.partial(
        tiny(counts=counts, source="celeba:test"), portraits=Prepared(), file_format="array_record"
    )
    records, report = prepare(builder, tmp_path)
    assert {(r["identity"], r["label"]) for r in records["distractors"]} == {(b"", -1)}
    assert {r["name"] for r in records["distractors"]} == {"5.jpg", "8.jpg"}
    owner = dict(zip(Prepared().names, Prepared().label.tolist(), strict=True))
    for split in ("train", "probe", "gallery_match"):
        for record in records[split]:
            assert record["identity"].decode() == str(owner[record["name"]])
            number = int(record["name"].partition(".")[0])
            np.testing.assert_array_equal(record["image"][..., 0], 20 * number)
    assert report.notes[0] == "Made of 4 of the 4 people of celeba:test, who have 10 pictures."
    assert "10 faces were narrower than 16 pixels or lower than 20" in report.notes[-1]
    assert dict(report.skipped) == {
        "the picture is of nobody whom the source names": {"1.jpg": None}
    }


def test_a_part_of_the_people_leaves_the_others_alone(
    album: pathlib.Path, prepare: Callable
) -> None:
    counts = Counts(train_people=1, train=2, test_people=1, probe=1, gallery_match=1, distractors=0)
    records, report = prepare(tiny(counts=counts, people=(0.5, 1.0)), album)
    names = [r["name"] for found in records.values() for r in found]
    assert {name.partition("/")[0] for name in names} == {"carl", "dora"}
    assert report.notes[0].startswith("Made of 2 of the 4 people of ")
    assert any("'distractors' is left out" in note for note in report.notes)


def test_a_share_and_bad_pictures_are_reported(
    album: pathlib.Path, prepare: Callable, truncate: Callable
) -> None:
    for path in album.glob("*/*.jpg"):
        truncate(path)
    for path in (album / "anna").iterdir():
        Image.new("RGB", (30, 30)).save(path)
    counts = Counts(**{name: 10 * n for name, n in vars(TINY).items()})
    records, report = prepare(tiny(counts=counts), album)
    assert all(r["name"].startswith("anna/") for found in records.values() for r in found)
    (bad,) = (names for reason, names in report.skipped.items() if "cannot be decoded" in reason)
    assert {name.partition("/")[0] for name in bad} == {"bert", "carl", "dora"}
    assert report.notes[1].startswith("These are too few: all counts asked for are multiplied by 0")
    assert report.counts["train"]["asked for"] == 30
    assert report.counts["train"]["drawn"] == 3


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"region": (0.5, 0.0, 0.6, 1.0)}, "is no part of a picture"),
        ({"region": (0.0, 0.0, 0.0, 1.0)}, "is no part of a picture"),
        ({"people": (0.7, 0.2)}, "are nobody; give two shares"),
        ({"width": 0}, "at least 1 pixel"),
        ({"seed": -1}, "The seed of -1"),
        ({"people": (0.0, 0.25)}, r"MegaFace2: 4 pictures of 1 people are too few"),
    ],
)
def test_settings_that_mean_nothing_are_refused(
    changes: dict, message: str, album: pathlib.Path, prepare: Callable
) -> None:
    with pytest.raises(DatasetError, match=message):
        prepare(tiny(**changes), album)
