"""`lrjax prepare`: whole or not at all, and a report at the end."""

import fcntl
import io
import os
import pathlib
import re
from collections.abc import Callable

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from lrjax.cli.prepare import builder_class, datasets, describe, prepare, prepare_dataset
from lrjax.data.faces import Faces, load_faces
from lrjax.data.identities import load_identities
from lrjax.errors import InputError
from lrjax.tfds_builders.common import face_builder


@pytest.fixture
def official(tmp_path: pathlib.Path) -> pathlib.Path:
    """Five usable faces of 300W's training set and one truncated image."""
    root = tmp_path / "official" / "300W"
    (root / "afw").mkdir(parents=True)
    angles = np.arange(68) * np.pi / 34
    points = np.stack([60 + 20 * np.cos(angles), 50 + 20 * np.sin(angles)], axis=1)
    lines = "\n".join(f"{x} {y}" for x, y in points)
    for i in range(6):
        Image.new("RGB", (120, 100), (40 * i, 90, 120)).save(root / "afw" / f"{i}.jpg")
        (root / "afw" / f"{i}.pts").write_text(f"version: 1\nn_points: 68\n{{\n{lines}\n}}\n")
    (root / "afw" / "5.jpg").write_bytes((root / "afw" / "5.jpg").read_bytes()[:300])
    return root


@pytest.fixture
def run(tmp_path: pathlib.Path) -> Callable[..., str]:
    """Runs the command; its output."""

    def invoke(*arguments: str, env: dict[str, str | None] | None = None) -> str:
        result = CliRunner().invoke(
            prepare,
            [*arguments, "--data-dir", str(tmp_path / "records")],
            env={"LRJAX_DATA": None} | (env or {}),
            catch_exceptions=False,
        )
        assert result.exit_code == 0
        return result.output

    return invoke


def load(tmp_path: pathlib.Path) -> Faces:
    return load_faces(
        "w300:train", data_dir=tmp_path / "records", crop_size=32, context=1.25, scheme="ibug68"
    )


def test_the_command_ends_with_counts_and_reasons(
    official: pathlib.Path, run: Callable[..., str], tmp_path: pathlib.Path
) -> None:
    output = run("w300", "--manual-dir", str(official))
    assert re.search(r"^split +annotated +image at hand +written$", output, re.M)
    assert re.search(r"^train +6 +6 +5$", output, re.M)
    assert re.search(r"^challenging +0 +0 +0$", output, re.M)
    assert re.search(r"^ +1  the image cannot be decoded .*: afw/5\.jpg$", output, re.M)
    assert re.search(r"^ +7  the official folder is missing: helen/trainset, .*, …$", output, re.M)
    assert "Split 'challenging' is left out" in output
    assert "Already prepared" not in output
    assert len(load(tmp_path)) == 5


def test_a_second_run_says_so_and_reports_the_same(
    official: pathlib.Path, run: Callable[..., str], tmp_path: pathlib.Path
) -> None:
    first = run("w300", "--manual-dir", str(official))
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "records").rglob("*")}
    # The official files are not needed any more.
    second = run("w300")
    assert second == "Already prepared; --force prepares it again.\n" + first
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "records").rglob("*")} == before


def test_force_prepares_again(
    official: pathlib.Path, run: Callable[..., str], tmp_path: pathlib.Path
) -> None:
    run("w300", "--manual-dir", str(official))
    (official / "afw" / "0.jpg").unlink()
    assert "Already" not in run("w300", "--manual-dir", str(official), "--force")
    assert load(tmp_path).names == tuple(f"afw/{i}" for i in range(1, 5))


def test_the_folder_is_found_below_the_data_variable(
    official: pathlib.Path, run: Callable[..., str], tmp_path: pathlib.Path
) -> None:
    run("w300", env={"LRJAX_DATA": str(official.parent)})
    assert len(load(tmp_path)) == 5


class Interruption:
    """Opens photographs, and is interrupted at the third."""

    def __init__(self) -> None:
        self.opened = 0
        self.open = face_builder.open_photo

    def __call__(self, path: pathlib.Path) -> Image.Image:
        self.opened += 1
        if self.opened == 3:
            raise KeyboardInterrupt
        return self.open(path)


def test_an_interruption_leaves_nothing_half_made(
    official: pathlib.Path, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    records = tmp_path / "records"
    with monkeypatch.context() as patch:
        patch.setattr(face_builder, "open_photo", Interruption())
        with pytest.raises(KeyboardInterrupt):
            prepare_dataset("w300", records, official)
    assert list(records.iterdir()) == []

    assert prepare_dataset("w300", records, official)
    before = load(tmp_path).fingerprint
    with monkeypatch.context() as patch:
        patch.setattr(face_builder, "open_photo", Interruption())
        with pytest.raises(KeyboardInterrupt):
            prepare_dataset("w300", records, official, force=True)
    assert load(tmp_path).fingerprint == before
    assert [path.name for path in records.iterdir()] == ["w300"]


def test_a_full_disk_is_one_sentence_and_costs_nothing_prepared(
    official: pathlib.Path, small_disk: pathlib.Path
) -> None:
    records = small_disk / "records"
    assert prepare_dataset("w300", records, official)
    before = describe("w300", records)
    for path in (official / "afw").glob("*.jpg"):
        Image.effect_noise((400, 400), 90).save(path)
    words = ["w300", "--manual-dir", official, "--data-dir", records, "--force"]
    done = CliRunner().invoke(prepare, [str(word) for word in words])
    assert isinstance(done.exception, InputError)
    assert str(done.exception) == (
        f"'w300' cannot be prepared in {records} (No space left on device); free it, or name "
        "another --data-dir."
    )
    assert [path.name for path in records.iterdir()] == ["w300"]
    assert describe("w300", records) == before


def test_what_a_crash_left_is_removed(official: pathlib.Path, tmp_path: pathlib.Path) -> None:
    left = tmp_path / "records" / ".preparing-w300" / "w300" / "incomplete.ABCDEF_1.0.0"
    left.mkdir(parents=True)
    (left / "w300-train.array_record-00000-of-00001").write_bytes(b"half")
    assert prepare_dataset("w300", tmp_path / "records", official)
    assert [path.name for path in (tmp_path / "records").iterdir()] == ["w300"]


def test_two_at_a_time_are_kept_apart(official: pathlib.Path, tmp_path: pathlib.Path) -> None:
    work = tmp_path / "records" / ".preparing-w300"
    work.mkdir(parents=True)
    (work / "of the other").touch()
    lock = os.open(work, os.O_RDONLY)
    fcntl.flock(lock, fcntl.LOCK_EX)
    with pytest.raises(InputError, match="Another process is preparing 'w300' in"):
        prepare_dataset("w300", tmp_path / "records", official)
    assert (work / "of the other").exists()
    os.close(lock)


@pytest.mark.parametrize("name", [name for name in datasets() if builder_class(name).FOLDERS])
def test_missing_files_are_an_input_error(
    name: str, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    records = tmp_path / "records"
    monkeypatch.delenv("LRJAX_DATA", raising=False)
    with pytest.raises(InputError, match=rf"folder of '{name}' with --manual-dir"):
        prepare_dataset(name, records)
    monkeypatch.setenv("LRJAX_DATA", str(tmp_path))
    with pytest.raises(InputError, match=re.escape(str(tmp_path / builder_class(name).FOLDERS[0]))):
        prepare_dataset(name, records)
    with pytest.raises(InputError, match="nowhere"):
        prepare_dataset(name, records, tmp_path / "nowhere")
    (tmp_path / "holidays").mkdir()
    (tmp_path / "holidays" / "list.txt").touch()
    with pytest.raises(InputError, match="holidays"):
        prepare_dataset(name, records, tmp_path / "holidays")
    assert not list(records.glob("**/*.json"))


SMALL = [
    f"counts.{name}={count}"
    for name, count in (
        *(("train_people", 2), ("train", 4), ("test_people", 1), ("probe", 1)),
        *(("gallery_match", 1), ("distractors", 2)),
    )
]


@pytest.fixture
def people(tmp_path: pathlib.Path) -> pathlib.Path:
    """Five people with two pictures each."""
    for i in range(10):
        folder = tmp_path / "people" / f"{i // 2:07d}"
        folder.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (40, 40), (20 * i, 90, 120)).save(folder / f"{i % 2}.jpg")
    return tmp_path / "people"


def test_settings_and_a_prepared_source_are_given_on_the_command_line(
    people: pathlib.Path, run: Callable[..., str], tmp_path: pathlib.Path
) -> None:
    run("casia_webface", "--manual-dir", str(people))
    settings = [*SMALL, "source=casia_webface:train", "people=[0.2, 1]", "width=24"]
    output = run("synlr", *(word for setting in settings for word in ("--set", setting)))
    assert "Made of 4 of the 5 people of casia_webface:train, who have 8 pictures." in output
    assert re.search(r"^split +asked for +drawn +written$", output, re.M)
    assert re.search(r"^train +4 +4 +4$", output, re.M)
    splits = ("train", "probe", "gallery_match", "distractors")
    found = {split: load_identities(f"synlr:{split}", tmp_path / "records") for split in splits}
    labels = {split: portraits.label.tolist() for split, portraits in found.items()}
    assert labels == {
        "train": [0, 0, 1, 1], "probe": [0], "gallery_match": [0], "distractors": [-1, -1],
    }  # fmt: skip
    names = {name.partition("/")[0] for portraits in found.values() for name in portraits.names}
    assert names == {f"{person:07d}" for person in (1, 2, 3, 4)}
    with Image.open(io.BytesIO(found["probe"].images[0])) as image:
        assert image.size == (24, 20)
    # The same of the files themselves.
    settings = [s for s in settings if not s.startswith("source")]
    prepare_dataset("synlr", tmp_path / "again", people, settings=settings)
    again = load_identities("synlr:train", tmp_path / "again")
    assert again.names == found["train"].names


def test_settings_that_do_not_fit_are_input_errors(
    people: pathlib.Path, tmp_path: pathlib.Path
) -> None:
    for name, settings, manual, message in (
        ("w300", ["width=3"], None, "'w300' has no setting 'width=3'; it has none"),
        ("synlr", ["size=3"], None, r"no setting 'size=3'; it has source, people, counts\.train_"),
        ("synlr", ["width=wide"], people, "'wide' is not of type int"),
        (
            "synlr",
            ["source=celeba:train"],
            None,
            r"'celeba' is not prepared .*lrjax prepare celeba",
        ),
        ("synlr", ["source=celeba:train"], people, "leave out the setting source or --manual-dir"),
        ("synlr", ["width=0"], people, "at least 1 pixel"),
    ):
        with pytest.raises(InputError, match=message):
            prepare_dataset(name, tmp_path / "records", manual, settings=settings)


def test_a_folder_that_cannot_be_written_is_an_input_error(
    official: pathlib.Path, tmp_path: pathlib.Path
) -> None:
    (tmp_path / "records").write_text("a file in the way")
    with pytest.raises(InputError, match=r"cannot be prepared in .*records"):
        prepare_dataset("w300", tmp_path / "records", official)


@pytest.mark.parametrize("name", datasets())
def test_every_dataset_describes_itself(name: str, tmp_path: pathlib.Path) -> None:
    builder = builder_class(name)(data_dir=tmp_path)
    assert builder.name == name
    assert len(builder.info.description) > 100
    assert "@" in builder.info.citation or name.startswith("synthetic")
    faces = {"image", "box", "face_box", "origin", "scale", "name"}
    people = {"image", "name", "identity", "label"}
    assert any(features <= set(builder.info.features) for features in (faces, people))
