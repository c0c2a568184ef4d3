"""`lrjax align` as a user calls it."""

import csv
import io
import sys
from pathlib import Path

import drawn
import numpy as np
import pytest
from click.testing import CliRunner, Result
from PIL import Image

import lrjax
from lrjax.cli import align as command
from lrjax.data.identities import Identities
from lrjax.errors import InputError
from lrjax.geometry.templates import TEMPLATES
from lrjax.inference.aligner import align_faces

FACE32 = TEMPLATES["face32"]


def run(*arguments: object) -> Result:
    return CliRunner().invoke(command.align, [*map(str, arguments)])


def pixels(path: Path) -> np.ndarray:
    with Image.open(path) as image:
        return np.asarray(image.convert("RGB"))


def table(folder: Path) -> list[dict[str, str]]:
    with (folder / "aligned.csv").open(newline="") as file:
        return list(csv.DictReader(file))


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Two folders of small pictures, one of them with a broken file."""
    rng = np.random.default_rng(0)
    for name, shape in (("a/1.png", (20, 16)), ("a/b/2.bmp", (31, 24)), ("a/b/1.jpg", (15, 15))):
        path = tmp_path / "photos" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(rng.integers(0, 256, (*shape, 3), dtype=np.uint8)).save(path)
    (tmp_path / "photos/a/.hidden.png").write_bytes(b"")
    (tmp_path / "photos/a/notes.txt").write_text("no picture")
    return tmp_path / "photos"


def test_folders_keep_their_structure(photos: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    result = run(photos, "--crops", "--landmarks", "resize", "--template", "face32", "--out", out)
    assert result.exit_code == 0, result.output
    assert "3 faces resized to 32x32, none aligned" in result.output
    files = sorted(p.relative_to(out).as_posix() for p in out.rglob("*") if p.is_file())
    assert files == ["a/1.png", "a/b/1.png", "a/b/2.png", "aligned.csv"]
    expected = Image.open(photos / "a/1.png").resize((32, 32), Image.Resampling.BICUBIC)
    np.testing.assert_array_equal(pixels(out / "a/1.png"), np.asarray(expected))
    rows = table(out)
    assert [(row["file"], row["image"]) for row in rows] == [
        ("a/1.png", "a/1.png"),
        ("a/b/1.jpg", "a/b/1.png"),
        ("a/b/2.bmp", "a/b/2.png"),
    ]
    assert {row["aligned"] for row in rows} == {"0"}
    assert {row["x0"] for row in rows} == {""}


def test_faces_of_photographs_are_found(tmp_path: Path) -> None:
    """One file for each, and a row for an image without any."""
    folder, out = tmp_path / "photos", tmp_path / "out"
    folder.mkdir()
    drawn.crowd()[0].save(folder / "crowd.png")
    Image.new("RGB", (300, 60)).save(folder / "empty.png")
    words = ("--landmarks", "resize", "--resize-mode", "stretch", "--out", out)
    result = run(folder, *words)
    assert str(result.exception).startswith("1 of 4 faces have no aligned image")
    assert "lrjax: empty.png: no face was found" in result.output
    assert "most of a large picture" not in result.output
    assert [(row["file"], row["image"]) for row in table(out)] == [
        ("crowd.png", "crowd.png"),
        ("crowd.png", "crowd.2.png"),
        ("crowd.png", "crowd.3.png"),
        ("empty.png", ""),
    ]
    boxes = [[round(value, 1) for value in box] for box in lrjax.detect(folder / "crowd.png").boxes]
    photo = pixels(folder / "crowd.png")
    nothing = np.zeros((3, 5, 2)), np.zeros((3, 5), bool)
    template = TEMPLATES["arcface112"]
    expected = align_faces([photo] * 3, *nothing, template, boxes=np.array(boxes)).images
    for name, image in zip(("crowd", "crowd.2", "crowd.3"), expected, strict=True):
        np.testing.assert_array_equal(pixels(out / f"{name}.png"), image)
    result = run(folder / "empty.png", *words, "--crops")
    assert result.exit_code == 0
    assert "1 of 1 face boxes are most of a large picture" in result.output


def test_the_faces_of_a_list(photos: Path, tmp_path: Path) -> None:
    """Of images in any folder below it, in its order; beyond it when that is allowed."""
    words = ("--crops", "--landmarks", "resize", "--template", "face32")
    (photos / "some.txt").write_text("a/b/2.bmp\n\na/1.png\n")
    assert run(photos / "some.txt", *words, "--out", tmp_path / "one").exit_code == 0
    assert [row["file"] for row in table(tmp_path / "one")] == ["a/b/2.bmp", "a/1.png"]
    run(photos, *words, "--out", tmp_path / "all")
    for name in ("a/b/2.png", "a/1.png"):
        np.testing.assert_array_equal(
            pixels(tmp_path / "one" / name), pixels(tmp_path / "all" / name)
        )
    (photos / "a" / "up.txt").write_text("../a/1.png\n")
    refused = run(photos / "a/up.txt", *words, "--out", tmp_path / "up").exception
    assert "which is not in its folder; --allow-outside allows that" in str(refused)
    done = run(photos / "a/up.txt", *words, "--out", tmp_path / "up", "--allow-outside")
    assert done.exit_code == 0, done.output
    assert [row["image"] for row in table(tmp_path / "up")] == ["a/1.png"]


def test_what_is_no_image_is_said_first(photos: Path, tmp_path: Path) -> None:
    file = points_table(tmp_path / "points.csv", [("a/1.png", [0, 0, 9, 9], FACE32.points)])
    (photos / "some.txt").write_text("a/1.png\n")
    for words, message in (
        ((photos / "some.txt", "--points", file), "give their folder, not the list"),
        ((photos, "--points", file, "--out", photos / "out"), "is in the folder .* of images"),
        ((photos / "film.mp4",), "film.mp4 is a video; save the frames"),
    ):
        with pytest.raises(InputError, match=message):
            raise run("--out", tmp_path / "out", *words).exception


def test_equal_names_are_told_apart(photos: Path, tmp_path: Path) -> None:
    """Of two sources, and of two formats."""
    other = tmp_path / "other"
    other.mkdir()
    Image.new("RGB", (9, 9), "red").save(other / "1.png")
    out = tmp_path / "out"
    result = run(
        photos / "a/b", other, other / "1.png", "--crops", "--landmarks", "resize", "--out", out
    )
    assert result.exit_code == 0, result.output
    assert [row["image"] for row in table(out)] == ["1.png", "2.png", "1.2.png", "1.3.png"]
    assert (pixels(out / "1.3.png") == (255, 0, 0)).all()
    assert not (pixels(out / "1.png") == (255, 0, 0)).all()


def points_table(path: Path, faces: list[tuple[str, list[float], np.ndarray | None]]) -> Path:
    names = [f"{axis}{i}" for i in range(5) for axis in "xy"]
    lines = [["file", "x", "y", "w", "h", *names, "confidence"]]
    for file, box, points in faces:
        numbers = [""] * 11 if points is None else [*points.ravel().tolist(), 0.5]
        lines.append([file, *box, *numbers])
    path.write_text("\n".join(",".join(map(str, line)) for line in lines) + "\n")
    return path


def test_the_points_of_a_table(photos: Path, tmp_path: Path) -> None:
    """Two faces of one image, one without points, one in an image that is not there."""
    points = FACE32.points / 2 + (1, 3)
    faces = [
        ("a/b/2.bmp", [0, 0, 24, 31], points),
        ("gone.png", [0, 0, 9, 9], points),
        ("a/b/2.bmp", [2, 3, 8, 8], None),
        ("a/1.png", [100, 3, 8, 8], points),
    ]
    out = tmp_path / "out"
    file = points_table(tmp_path / "points.csv", faces)
    result = run(photos, "--points", file, "--template", "face32", "--out", out)
    assert isinstance(result.exception, InputError)
    assert str(result.exception).startswith("2 of 4 faces have no aligned image")
    assert "gone.png: The image" in result.output
    assert "a/1.png: the box lies outside the image" in result.output
    assert f"1 of 2 faces aligned to face32 by {file} (similarity)" in result.output
    photo = pixels(photos / "a/b/2.bmp")
    box = np.array([[0, 0, 24, 31], [2, 3, 8, 8]])
    visible = np.array([[True] * 5, [False] * 5])
    expected = align_faces([photo] * 2, np.stack([points] * 2), visible, FACE32, boxes=box)
    np.testing.assert_array_equal(pixels(out / "a/b/2.png"), expected.images[0])
    np.testing.assert_array_equal(pixels(out / "a/b/2.2.png"), expected.images[1])
    rows = table(out)
    assert [row["aligned"] for row in rows] == ["1", "", "0", ""]
    assert float(rows[0]["x1"]) == pytest.approx(points[1, 0], abs=0.01)


def test_bad_images_are_named_after_the_others_are_done(photos: Path, tmp_path: Path) -> None:
    data = (photos / "a/b/2.bmp").read_bytes()
    (photos / "a/b/2.bmp").write_bytes(data[: len(data) // 2])
    out = tmp_path / "out"
    result = run(photos, photos / "none.png", "--crops", "--landmarks", "resize", "--out", out)
    assert isinstance(result.exception, InputError)
    assert "2 of 4 faces" in str(result.exception)
    assert "lrjax: a/b/2.bmp: The image" in result.output
    assert "lrjax: none.png: The image" in result.output
    assert (out / "a/1.png").is_file()
    assert (out / "a/b/1.png").is_file()
    assert not (out / "a/b/2.png").exists()
    assert not list(out.rglob(".*"))


def test_an_image_that_cannot_be_written_is_named(photos: Path, tmp_path: Path) -> None:
    """A file is in the way of a folder; the table lists what is there."""
    out = tmp_path / "out"
    (out / "a").mkdir(parents=True)
    (out / "a" / "b").touch()
    result = run(photos, "--crops", "--landmarks", "resize", "--out", out)
    assert str(result.exception).startswith("2 of 3 faces have no aligned image")
    assert f"{out / 'a/b/2.png'} cannot be written (" in result.output
    assert [row["image"] for row in table(out)] == ["a/1.png", "", ""]


def test_names_that_lead_outside_are_refused(photos: Path, tmp_path: Path) -> None:
    faces = [("../a/1.png", [0, 0, 9, 9], None), ("1.jpg", [0, 0, 9, 9], None)]
    file, out = points_table(tmp_path / "points.csv", faces), tmp_path / "out"
    words = (photos / "a" / "b", "--points", file, "--out", out)
    result = run(*words)
    assert str(result.exception).startswith("1 of 2 faces have no aligned image")
    assert "line 2: the name leads out of the folder of images" in result.output
    assert "1 of 2 faces" in str(run(*words, "--allow-outside").exception)  # and is not there
    faces[0] = ("../1.png", *faces[0][1:])
    points_table(file, faces)
    assert run(*words, "--allow-outside").exit_code == 0


def test_prepared_data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By the dataset's own points, into files named as the dataset's."""
    rng = np.random.default_rng(1)
    pictures = rng.integers(0, 256, (3, 40, 36, 3), dtype=np.uint8)
    encoded = []
    for picture in pictures:
        stream = io.BytesIO()
        Image.fromarray(picture).save(stream, "PNG")
        encoded.append(stream.getvalue())
    points = np.stack([FACE32.points + np.array([2, 3])] * 3).astype(np.float32)
    visible = np.ones((3, 5), bool)
    visible[1, 1:] = False
    names = ("p/1.jpg", "p/2.jpg", "q/1.jpg")
    label = np.zeros(3, np.int32)
    portraits = Identities(encoded, label, names, "prints", points, visible)
    asked = []
    monkeypatch.setattr(command, "load_identities", lambda *a: asked.append(a) or portraits)
    out, data = tmp_path / "out", tmp_path / "data"
    words = ["people:test", "--landmarks", "points", "--template", "face32"]
    result = run(*words, "--out", out, "--data-dir", data)
    assert result.exit_code == 0, result.output
    assert asked == [("people:test", data)]
    assert "2 of 3 faces aligned to face32 by the dataset's points" in result.output
    np.testing.assert_array_equal(pixels(out / "q/1.png"), pictures[2, 3:35, 2:34])
    assert [row["image"] for row in table(out)] == ["p/1.png", "p/2.png", "q/1.png"]


def test_what_cannot_be_meant_is_refused(photos: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    file = points_table(tmp_path / "points.csv", [("a/1.png", [0, 0, 9, 9], None)])
    for words, message in (
        ([photos, "--out", photos / "a/out"], "is in the folder"),
        ([photos, "--points", file, "--landmarks", "resize", "--out", out], "leave it out"),
        ([photos, "--points", file, "--crops", "--out", out], "leave it out, or --crops"),
        ([photos, photos, "--points", file, "--out", out], "one folder"),
        ([tmp_path / "gone", "--points", file, "--out", out], "does not exist"),
        ([photos, "--crops", "--landmarks", "points", "--out", out], "--points"),
        ([photos, "--crops", "--landmarks", tmp_path / "gone", "--out", out], "no weights file"),
        ([tmp_path / "out", "--landmarks", "resize", "--out", out], "no aligned image"),
    ):
        result = run(*words)
        assert isinstance(result.exception, InputError), result.output
        assert message in str(result.exception)
    assert run(photos, "--region", "0,1", "--out", out).exit_code == 2
    assert not (out / "a").exists()


def test_what_cannot_be_used_is_refused_before_faces_are_found(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lrjax.cli.faces.FaceDetector.load", lambda: pytest.fail("too late"))
    for landmarks, message in (("points", "--points"), (tmp_path / "gone", "no weights file")):
        result = run(photos, "--landmarks", landmarks, "--out", tmp_path / "out")
        assert message in str(result.exception)


def test_images_of_one_folder_are_looked_at_together(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[tuple[Path, list[str]]] = []
    monkeypatch.setattr(
        command, "detected_rows", lambda names, root: asked.append((root, names)) or []
    )
    files = [photos / "a/1.png", photos / "a/b/1.jpg", photos / "a/b/2.bmp"]
    run(*files, "--landmarks", "resize", "--out", tmp_path / "out")
    assert asked == [(photos / "a", ["1.png"]), (photos / "a/b", ["1.jpg", "2.bmp"])]


def test_it_is_a_command(monkeypatch: pytest.MonkeyPatch) -> None:
    from lrjax.cli import main

    assert {"align", "identify"} <= set(main.one_liners())
    monkeypatch.setattr(sys, "argv", ["lrjax"])
    for name in ("align", "identify"):
        result = CliRunner().invoke(main.cli, [name, "--help"])
        assert result.exit_code == 0
        assert "--landmarks" in result.output
