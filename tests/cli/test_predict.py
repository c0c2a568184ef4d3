"""`lrjax predict` as a user calls it."""

import base64
import csv
import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import drawn
import numpy as np
import pytest
from click.testing import CliRunner, Result
from PIL import Image

import lrjax
from lrjax.cli.detect import detect
from lrjax.cli.predict import predict
from lrjax.errors import InputError


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Two photographs of noise, one truncated, one text."""
    folder = tmp_path / "photos"
    (folder / "sub").mkdir(parents=True)
    rng = np.random.default_rng(0)
    for name, shape in (("a.png", (90, 120, 3)), ("sub/b c.png", (64, 64, 3))):
        coarse = Image.fromarray(rng.integers(0, 256, (9, 12, 3), dtype=np.uint8))
        coarse.resize(shape[1::-1]).save(folder / name)
    Image.effect_noise((80, 80), 90).save(folder / "cut.jpg")
    (folder / "cut.jpg").write_bytes((folder / "cut.jpg").read_bytes()[:1500])
    (folder / "text.txt").write_text("no image")
    return folder


@pytest.fixture
def run(tiny_weights: Path) -> Callable[..., Result]:
    def invoke(*arguments: object) -> Result:
        words = [*map(str, arguments), "--weights", str(tiny_weights)]
        return CliRunner().invoke(predict, words)

    return invoke


def pixels(path: Path) -> np.ndarray:
    with Image.open(path) as image:
        return np.asarray(image)


TABLE = """\
file,x,y,w,h,note
a.png,10,12,30,36,first
sub/b c.png,-8.5,-3,40,40,reaches out
gone.png,1,2,3,4,
a.png,80,40,22,24,
a.png,1,two,3,4,
cut.jpg,1,1,30,30,
a.png,500,1,30,30,
sub/b c.png,20,20,24,24,
a.png,5,5,0,9,
text.txt,5,5,9,9,
"""


def test_every_row_keeps_its_place(photos: Path, run, tmp_path: Path, tiny_weights: Path) -> None:
    boxes, out = tmp_path / "boxes.csv", tmp_path / "new" / "out.csv"
    boxes.write_text(TABLE)
    done = run("--images", photos, "--boxes", boxes, "--points", "five", "--out", out)
    assert isinstance(done.exception, InputError)
    assert "6 of 10 rows have no points" in str(done.exception)
    given = list(csv.reader(TABLE.splitlines()))
    lines = list(csv.reader(out.read_text().splitlines()))
    assert ",".join(lines[0]) == "file,x,y,w,h,x0,y0,x1,y1,x2,y2,x3,y3,x4,y4,confidence"
    assert [line[:5] for line in lines] == [line[:5] for line in given]
    good = [1, 2, 4, 8]
    for i, line in enumerate(lines[1:], start=1):
        assert len(line) == 16
        assert all(line[5:]) if i in good else not any(line[5:])
    for i in good:
        image = pixels(photos / lines[i][0])
        box = [float(v) for v in lines[i][1:5]]
        alone = lrjax.predict(image, box, points="five", weights=tiny_weights)
        np.testing.assert_allclose(
            np.array(lines[i][5:15], float), alone.points.ravel(), atol=0.0051
        )
        assert abs(float(lines[i][15]) - alone.confidence[0]) < 1e-3
    for text in (
        "line 4, gone.png: The image",
        "line 6, a.png: y is 'two', which is no number",
        "line 7, cut.jpg: The image",
        "line 8, a.png: the box lies outside the image",
        "line 10, a.png: the box has no area",
        "line 11, text.txt: The image",
    ):
        assert text in done.stderr
    assert done.stdout == ""


def test_the_exit_status(photos: Path, tmp_path: Path, tiny_weights: Path) -> None:
    """In a process of its own: 1 with a bad row, 0 without; the table goes to standard output."""
    boxes = tmp_path / "boxes.csv"
    command = [sys.executable, "-m", "lrjax.cli.main", "predict", "--images", photos]
    command += ["--boxes", boxes, "--out", "-", "--weights", tiny_weights, "--passes", "1"]
    for text, status in (("a.png,1,1,30,30\n", 0), ("a.png,1,1,30,30\nb.png,1,1,2,2\n", 1)):
        boxes.write_text("file,x,y,w,h\n" + text)
        done = subprocess.run(
            [*map(str, command)], capture_output=True, text=True, timeout=300, env=os.environ
        )
        assert done.returncode == status
        lines = list(csv.reader(done.stdout.splitlines()))
        assert len(lines) == 1 + text.count("\n")
        assert {len(line) for line in lines} == {5 + 136 + 1}
        assert "Traceback" not in done.stderr
    assert "line 3, b.png" in done.stderr


def test_faces_are_found_where_there_are_no_boxes(run, tmp_path: Path) -> None:
    """As by `lrjax detect`, to the last digit; an image without faces has a row without points."""
    folder = tmp_path / "photos"
    folder.mkdir()
    drawn.crowd()[0].save(folder / "crowd.png")
    Image.new("RGB", (80, 60)).save(folder / "empty.png")
    out, boxes = tmp_path / "out.csv", tmp_path / "boxes.csv"
    done = run("--images", folder, "--points", "five", "--out", out)
    assert "1 of 4 rows have no points" in str(done.exception)
    assert "lrjax: empty.png: no face was found" in done.stderr
    lines = out.read_text().splitlines()
    assert [line.split(",")[0] for line in lines[1:]] == ["crowd.png"] * 3 + ["empty.png"]
    assert lines[4] == "empty.png" + "," * 15
    CliRunner().invoke(detect, ["--images", str(folder), "--out", str(boxes)])
    boxes.write_text("".join(boxes.read_text().splitlines(True)[:-1]))
    done = run("--images", folder, "--boxes", boxes, "--points", "five", "--out", "-")
    assert done.exit_code == 0
    assert done.stdout.splitlines() == lines[:4]
    assert "most of a large picture" not in done.stderr


def test_json_and_coco_keypoints(photos: Path, run, tmp_path: Path) -> None:
    """The rows of the table, by name; an image that cannot be read is no image of COCO's."""
    boxes = tmp_path / "boxes.csv"
    boxes.write_text(
        "file,x,y,w,h\na.png,10,12,30,36\na.png,1,two,3,4\ncut.jpg,1,1,30,30\n"
        "sub/b c.png,-8.5,-3,40,40\n"
    )
    words = ("--images", photos, "--boxes", boxes, "--points", "five", "--passes", 1)
    for name in ("out.csv", "out.json", "out.coco.json"):
        done = run(*words, "--out", tmp_path / name)
        assert "2 of 4 rows have no points" in str(done.exception)
        assert "lrjax: 2 faces in 3 files, " in done.stderr
    lines = list(csv.reader((tmp_path / "out.csv").read_text().splitlines()))[1:]
    faces = json.loads((tmp_path / "out.json").read_text())
    assert [face["file"] for face in faces] == [line[0] for line in lines]
    for face, line in zip(faces, lines, strict=True):
        numbers = [f"{v:.2f}" for point in (face["landmarks"] or {}).values() for v in point]
        assert numbers == [cell for cell in line[5:15] if cell]
    assert "'two', which is no number" in faces[1]["problem"]
    assert "cannot be decoded" in faces[2]["problem"]
    coco = json.loads((tmp_path / "out.coco.json").read_text())
    sizes = [(one["file_name"], one["width"], one["height"]) for one in coco["images"]]
    assert sizes == [("a.png", 120, 90), ("sub/b c.png", 64, 64)]
    assert [one["bbox"] for one in coco["annotations"]] == [[10, 12, 30, 36], [-8.5, -3, 40, 40]]
    assert [one["image_id"] for one in coco["annotations"]] == [1, 2]


def test_what_may_be_no_face_is_said(tmp_path: Path) -> None:
    """The pretrained network is sure of drawn faces, and not of noise."""
    photo, boxes = drawn.crowd()
    photo.save(tmp_path / "crowd.png")
    noise = np.random.default_rng(0).integers(0, 256, (40, 90, 3), dtype=np.uint8)
    Image.fromarray(noise).save(tmp_path / "noise.png")
    rows = [("crowd.png", *box) for box in boxes] + [("noise.png", 4, 3, 30, 32)] * 2
    table = "".join(",".join(map(str, row)) + "\n" for row in rows)
    (tmp_path / "boxes.csv").write_text("file,x,y,w,h\n" + table)
    words = ["--images", str(tmp_path), "--boxes", str(tmp_path / "boxes.csv"), "--out", "-"]
    done = CliRunner().invoke(predict, words)
    assert done.exit_code == 0
    assert "lrjax: 5 faces in 2 files, " in done.stderr
    said = "2 of 5 faces have a confidence below 0.5 and may be none, the first one in noise.png"
    assert said in done.stderr


def test_a_box_that_is_most_of_a_large_picture_is_said(run, tmp_path: Path) -> None:
    folder = tmp_path / "photos"
    folder.mkdir()
    for name, side in (("a.png", 256), ("b.png", 257), ("c.png", 300)):
        Image.new("RGB", (side, 90)).save(folder / name)
    done = run("--images", folder, "--crops", "--out", "-", "--passes", 1)
    assert done.exit_code == 0
    assert "2 of 3 face boxes are most of a large picture, the first one in b.png" in done.stderr
    boxes = tmp_path / "boxes.csv"
    boxes.write_text("file,x,y,w,h\nb.png,-115,-9,230,99\nc.png,9,9,30,30\nc.png,9,-9,200,99\n")
    done = run("--images", folder, "--boxes", boxes, "--out", "-", "--passes", 1)
    assert "1 of 3 face boxes are most of a large picture, the first one in c.png" in done.stderr


def test_each_image_is_a_face_crop(photos: Path, run, tmp_path: Path) -> None:
    """Also those in the folder's folders."""
    done = run("--images", photos, "--crops", "--out", tmp_path / "out.csv")
    assert "1 of 3 rows" in str(done.exception)
    assert "cut.jpg: The image" in done.stderr
    lines = list(csv.reader((tmp_path / "out.csv").read_text().splitlines()))
    assert lines[1][:5] == ["a.png", "0", "0", "120", "90"]
    assert lines[2][:5] == ["cut.jpg", "", "", "", ""]
    assert lines[3][:5] == ["sub/b c.png", "0", "0", "64", "64"]


def test_a_list_names_the_images(photos: Path, run, tmp_path: Path) -> None:
    """One a line, relative to its folder; leading outside is for those who allow it."""
    names = photos / "some.txt"
    names.write_text("\ufeffsub/b c.png\n\n  a.png \n")
    done = run("--images", names, "--crops", "--out", "-", "--passes", 1)
    assert done.exit_code == 0
    files = [line.split(",")[0] for line in done.stdout.splitlines()[1:]]
    assert files == ["sub/b c.png", "a.png"]
    for other in ("../photos/a.png", photos / "a.png"):
        names.write_text(f"a.png\n{other}\n")
        words = ("--images", names, "--crops", "--out", "-", "--passes", 1)
        refused = str(run(*words).exception)
        assert f"names {other}, which is not in its folder; --allow-outside allows" in refused
        assert run(*words, "--allow-outside").exit_code == 0
    names.write_text("\n")
    assert "names no image; give it one a line" in str(run(*words).exception)
    done = run("--images", names, "--boxes", names, "--out", "-")
    assert "give their folder, not the list" in str(done.exception)


def test_one_image(photos: Path, run, tmp_path: Path) -> None:
    done = run("--images", photos / "a.png", "--crops", "--out", "-")
    assert done.exit_code == 0
    assert done.stdout.splitlines()[1].startswith("a.png,0,0,120,90,")
    boxes = tmp_path / "boxes.csv"
    boxes.write_text("file,x,y,w,h\na.png,1,1,20,20\ncut.jpg,1,1,20,20\n")
    done = run("--images", photos / "a.png", "--boxes", boxes, "--out", "-")
    assert "1 of 2 rows" in str(done.exception)
    assert "cut.jpg: the image given with --images is a.png" in done.stderr


def test_pictures_of_what_was_found(photos: Path, run, tmp_path: Path) -> None:
    boxes, folder = tmp_path / "boxes.csv", tmp_path / "drawn"
    words = ("--out", "-", "--draw", folder)
    boxes.write_text(
        "file,x,y,w,h\na.png,10,12,30,30\na.png,60,40,30,30\n../photos/a.png,9,9,30,30\n"
        "sub/b c.png,0,0,0,0\n"
    )
    run(*words, "--allow-outside", "--images", photos, "--boxes", boxes)
    drawn = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*.*"))
    assert drawn == ["a-faces.jpg", "all-faces.jpg", "photos/a-faces.jpg", "sub/b c-faces.jpg"]
    # Enlarged to 640 pixels or less by a whole number; 30 pixels are 150 then, and need no more.
    assert pixels(folder / "a-faces.jpg").shape == (5 * 90, 5 * 120, 3)
    untouched = pixels(folder / "sub" / "b c-faces.jpg").astype(float)
    assert abs(untouched - pixels(photos / "sub" / "b c.png")).mean() < 5
    assert pixels(folder / "all-faces.jpg").shape == (6 + 112 + 39, 6 + 3 * 118, 3)


def test_pictures_do_not_become_images(photos: Path, run) -> None:
    done = run("--images", photos, "--out", "-", "--draw", photos / "drawn")
    assert "is in the folder" in str(done.exception)
    assert "name another --draw" in str(done.exception)
    assert not (photos / "drawn").exists()


def test_a_page_of_what_was_found(photos: Path, run, tmp_path: Path) -> None:
    """It says what standard error says, shows the sheet, and names each row with its number."""
    boxes, page, folder = tmp_path / "boxes.csv", tmp_path / "page.html", tmp_path / "drawn"
    boxes.write_text("file,x,y,w,h\na.png,10,12,30,30\na.png,60,40,30,31.5\nsub/b c.png,0,0,0,0\n")
    words = ("--images", photos, "--boxes", boxes, "--out", "-")
    done = run(*words, "--draw", folder, "--report", page)
    text = page.read_text()
    said = next(line for line in done.stderr.splitlines() if "2 faces in 2 files, " in line)
    assert said.removeprefix("lrjax: ") in text
    (picture,) = re.findall(r'src="data:image/jpeg;base64,([^"]+)"', text)
    assert base64.b64decode(picture) == (folder / "all-faces.jpg").read_bytes()
    assert not re.search(r'(?:src|href)="(?!data:)', text)
    lines = [re.findall(r"<td[^>]*>(.*?)</td>", line) for line in text.split("<tr>")]
    lines = [line for line in lines if line]
    assert [line[:2] for line in lines] == [["a.png", "1"], ["a.png", "2"], ["sub/b c.png", "—"]]
    assert lines[1][2:6] == ["60.00", "40.00", "30.00", "31.50"]
    assert lines[2][7] == "the box has no area"


def test_names_that_lead_outside_are_refused(photos: Path, run, tmp_path: Path) -> None:
    boxes = tmp_path / "boxes.csv"
    (tmp_path / "secret.png").write_bytes((photos / "a.png").read_bytes())
    names = ("../secret.png", str(tmp_path / "secret.png"), "sub/../a.png", "a.png")
    boxes.write_text("file,x,y,w,h\n" + "".join(f"{name},9,9,30,30\n" for name in names))
    words = ("--images", photos, "--boxes", boxes, "--out", "-", "--passes", 1)
    done = run(*words)
    assert "3 of 4 rows have no points" in str(done.exception)
    assert done.stderr.count("the name leads out of the folder of images; --allow-outside") == 3
    assert [line.endswith(",") for line in done.stdout.splitlines()[1:]] == [True] * 3 + [False]
    assert run(*words, "--allow-outside").exit_code == 0


def test_a_picture_that_cannot_be_written_loses_no_table(photos: Path, run, tmp_path: Path) -> None:
    """Its name is too long with the suffix of the picture; the next one is drawn."""
    long, out = "b" * 250 + ".png", tmp_path / "out.csv"
    (photos / "a.png").rename(photos / long)
    (photos / "sub" / "b c.png").rename(photos / "c.png")
    (photos / "cut.jpg").unlink()
    words = ("--images", photos, "--crops", "--passes", 1)
    done = run(*words, "--out", out, "--draw", tmp_path / "drawn")
    assert isinstance(done.exception, InputError)
    assert "1 of 3 pictures could not be drawn" in str(done.exception)
    assert f"{long[:-4]}-faces.jpg cannot be written (File name too long)" in done.stderr
    assert [len(line.split(",")) for line in out.read_text().splitlines()] == [5 + 136 + 1] * 3
    names = sorted(path.name for path in (tmp_path / "drawn").iterdir())
    assert names == ["all-faces.jpg", "c-faces.jpg"]


def test_an_interrupted_run_leaves_the_old_table(
    photos: Path, run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*args: object) -> None:
        raise KeyboardInterrupt

    out = tmp_path / "out.csv"
    out.write_text("old")
    monkeypatch.setattr("lrjax.inference.landmarks.LandmarkPredictor._look", interrupted)
    done = run("--images", photos / "a.png", "--crops", "--out", out)
    assert done.exit_code != 0
    assert out.read_text() == "old"
    assert list(tmp_path.glob(".*")) == []


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--images", "absent", "--out", "-"], "no images in absent"),
        (["--images", ".", "--boxes", "absent.csv", "--out", "-"], "absent.csv cannot be read"),
        (["--images", ".", "--out", "."], "is not a file"),
        (["--images", ".", "--boxes", "b.csv", "--crops", "--out", "-"], "--crops says that there"),
        (["--images", "photos", "--out", "-", "--passes", "0"], "passes is 0"),
        (["--images", "photos", "--out", "-", "--scales", "9"], "scales is"),
    ],
)
def test_what_cannot_be_done_is_one_sentence(
    photos: Path, run, monkeypatch: pytest.MonkeyPatch, arguments, message
) -> None:
    monkeypatch.chdir(photos.parent)
    done = run(*arguments)
    assert isinstance(done.exception, InputError)
    assert message in str(done.exception)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("count", "size", "name", "most"),
    [
        pytest.param(33, (13_000, 13_000), "a.png", 6.0, id="33 that unpack to a thousand times"),
        pytest.param(40, (6_000, 4_000), "a.jpg", 2.5, id="40 photographs of 24 megapixels"),
    ],
)
def test_large_pictures_take_no_more_memory_than_a_few(
    count: int, size: tuple[int, int], name: str, most: float, tiny_weights: Path, tmp_path: Path
) -> None:
    """A gigabyte or so is what the program takes for itself."""
    folder = tmp_path / "photos"
    folder.mkdir()
    Image.new("L", size, 90).save(folder / name)
    for i in range(count - 1):
        os.link(folder / name, folder / f"{i}{name}")
    if name.endswith(".png"):
        assert (folder / name).stat().st_size < 200_000
    out = tmp_path / "out.csv"
    words = ["predict", "--crops", "--images", folder, "--weights", tiny_weights, "--out", out]
    command = [sys.executable, "-m", "lrjax", *map(str, words), "--passes", "1"]
    with (tmp_path / "said").open("wb") as said:
        process = subprocess.Popen(command, stderr=said)
        # Not `wait`, which does not tell how much the process took.
        _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    assert process.returncode == 0, (tmp_path / "said").read_text()[-4000:]
    assert len(out.read_text().splitlines()) == 1 + count
    taken = usage.ru_maxrss / 2**20
    print(f"{taken:.2f} GB at most")
    assert taken < most
