"""`lrjax annotate` as a user calls it."""

from __future__ import annotations

import re
import signal
from collections.abc import Callable
from pathlib import Path

import browser
import drawn
import numpy as np
import pytest
from click.testing import CliRunner, Result
from PIL import Image

from lrjax.annotate.faces import name_of
from lrjax.annotate.store import Store
from lrjax.cli.annotate import annotate
from lrjax.errors import InputError
from lrjax.inference.tables import Row


@pytest.fixture
def images(tmp_path: Path) -> Path:
    """A photograph of drawn faces, and the table of their boxes."""
    folder = tmp_path / "photos"
    folder.mkdir()
    photo, boxes = drawn.crowd()
    photo.save(folder / "crowd.png")
    rows = "".join(f"crowd.png,{','.join(f'{v:g}' for v in box)}\n" for box in boxes)
    (tmp_path / "boxes.csv").write_text(f"file,x,y,w,h\n{rows}")
    return folder


@pytest.fixture
def run(
    images: Path, tmp_path: Path, tiny_weights: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., tuple[Result, list[Store]]]:
    """Calls the command, whose page nobody looks at: its result, and what was to be served."""
    pytest.importorskip("starlette", reason="starlette is not installed (lrjax[serve])")
    pytest.importorskip("uvicorn", reason="uvicorn is not installed (lrjax[serve])")

    def invoke(*words: object) -> tuple[Result, list[Store]]:
        served: list[Store] = []
        monkeypatch.setattr("lrjax.annotate.server.site", served.append)
        monkeypatch.setattr("lrjax.web.server.serve", lambda *given: None)
        fixed = ["--images", images, "--out", tmp_path / "out", "--weights", tiny_weights]
        return CliRunner().invoke(annotate, [*map(str, [*fixed, *words])]), served

    return invoke


def test_faces_are_cut_out_and_looked_at(run, tmp_path: Path) -> None:
    boxes = tmp_path / "boxes.csv"
    text = boxes.read_text()
    boxes.write_text(f"{text}gone.png,1,2,3,4\n{text.splitlines()[1]}\n")
    done, (store,) = run("--boxes", boxes)
    assert done.exit_code == 0
    assert "line 5, gone.png: The image" in done.stderr
    assert re.search(r"3 faces; annotate at http://127\.0\.0\.1:\d+/[\w-]{32}/ and", done.stdout)
    assert done.stdout.endswith("Nothing was annotated.\n")
    assert [face.start.shape for face in store.faces] == [(5, 2)] * 3
    names = sorted(path.name for path in (tmp_path / "out" / "faces").iterdir())
    assert names == sorted(face.file for face in store.faces)
    done, (again,) = run("--boxes", boxes, "--no-start")
    assert [face.start for face in again.faces] == [None] * 3


def test_without_boxes_faces_are_found_once(
    run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    done, (store,) = run("--no-start")
    assert done.exit_code == 0
    assert len(store.faces) == 3

    def absent() -> None:
        raise AssertionError("the faces are known")

    monkeypatch.setattr("lrjax.cli.faces.FaceDetector.load", absent)
    done, (again,) = run("--no-start")
    assert "boxes.csv; remove it to look anew" in done.stderr
    assert [face.file for face in again.faces] == [face.file for face in store.faces]


def test_each_image_is_a_face(run, images: Path) -> None:
    _, (store,) = run("--crops", "--no-start")
    assert [face.file for face in store.faces] == ["crowd.png.png"]
    assert store.faces[0].size == drawn.crowd()[0].size


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--images", "absent"], "no images in absent"),
        (["--boxes", "absent.csv"], "absent.csv cannot be read"),
        (["--boxes", "none.csv"], "There are no faces to annotate"),
        (["--boxes", "bad.csv"], "1 of 1 rows have no face"),
        (["--host", "0.0.0.0"], "stands for every address"),
        (["--port", "99999"], "name another --host or --port"),
    ],
)
def test_what_cannot_be_done_is_one_sentence(
    run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words, message
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("none.csv").write_text("file,x,y,w,h\n")
    Path("bad.csv").write_text("file,x,y,w,h\n../x.png,1,2,3,4\n")
    done, served = run("--no-start", *words)
    assert isinstance(done.exception, InputError)
    assert message in str(done.exception)
    assert not served


def test_a_damaged_table_is_said_before_faces_are_looked_for(
    run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "annotations.csv").write_text("mine\n")
    monkeypatch.setattr("lrjax.cli.faces.FaceDetector.load", lambda: pytest.fail("too late"))
    done, served = run("--no-start")
    assert "does not begin with file,annotator" in str(done.exception)
    assert not served


def test_faces_beyond_the_folder_have_names_of_their_own(tmp_path: Path) -> None:
    names = {name_of(Row((file, "", "", "", ""))) for file in ("a.jpg", "../a.jpg", "/b/a.jpg")}
    assert len(names) == 3
    assert "a.jpg.png" in names
    assert not any(".." in name or name.startswith("/") for name in names)


def test_a_missing_extra_is_named(images: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    done = CliRunner().invoke(annotate, ["--images", str(images), "--out", "out"])
    assert isinstance(done.exception, InputError)
    assert "pip install 'lrjax[serve]'" in str(done.exception)


def test_others_are_warned_of(run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lrjax.web.server.is_loopback", lambda server: False)
    done, _ = run("--boxes", tmp_path / "boxes.csv", "--no-start")
    assert "it is not encrypted" in done.stderr


def test_a_person_in_a_browser(images: Path, tmp_path: Path) -> None:
    """Clicks five points, with one undone and one invisible, reloads, and finds them again."""
    words = ["--images", images, "--boxes", images.parent / "boxes.csv", "--no-start"]
    serving = browser.serving("annotate", *words, "--out", tmp_path / "out")
    with browser.opened() as (playwright, page, wrong), serving as (address, process):
        page.goto(address)
        page.fill("#name", "Ann")
        page.click("text=Start")
        view = page.locator(".view[data-kind=pixels]")
        status = page.locator("#status")
        view.wait_for()
        box = view.bounding_box()

        def click(x: float, y: float) -> None:
            view.click(position={"x": x * box["width"], "y": y * box["height"]})

        def shown() -> list[str]:
            return page.locator("#points .value").all_text_contents()

        click(0.1, 0.1)
        page.keyboard.press("u")
        click(0.35, 0.4)
        click(0.65, 0.4)
        page.keyboard.press("x")
        click(0.4, 0.75)
        # What is not whole is not saved, nor lost.
        values = shown()
        page.reload()
        playwright.expect(page.locator("#points .value")).to_have_text(values)
        assert values[4] == "–"
        assert status.text_content() == ""
        click(0.6, 0.75)
        page.keyboard.press("5")
        page.keyboard.press("Shift+ArrowRight")
        playwright.expect(status).to_have_text("Saved")
        values = shown()
        assert values[2] == "invisible"
        page.reload()
        playwright.expect(status).to_have_text("Saved")
        playwright.expect(page.locator("#points .value")).to_have_text(values)
        assert page.locator("#done").text_content() == "Ann: 1 done"
        # An old draft, which is not whole, does not take the place of what is saved.
        (saved,) = (tmp_path / "out" / "annotations.csv").read_text().splitlines()[1:]
        draft = f"draft Ann {saved.split(',')[0]}"
        page.evaluate("name => sessionStorage.setItem(name, '[[1,1],null,null,null,null]')", draft)
        page.reload()
        playwright.expect(status).to_have_text("Saved")
        playwright.expect(page.locator("#points .value")).to_have_text(values)
        page.keyboard.press("n")
        playwright.expect(page.locator("#number")).to_have_text("2")
        assert shown() == ["–"] * 5
        # What is pointed at stays in its place when it is zoomed.
        click(0.35, 0.4)
        page.keyboard.press("1")
        page.keyboard.press("+")
        before = shown()[0]
        click(0.35, 0.4)
        near = np.array([text.split(", ") for text in (before, shown()[0])], float)
        np.testing.assert_allclose(near[0], near[1], atol=0.3)
        assert wrong == []
        process.send_signal(signal.SIGINT)
        said = process.stdout.read()
        page.keyboard.press("p")
        playwright.expect(status).to_contain_text("The program does not answer")
    assert "Ann: 1 of 3 faces" in said
    lines = (tmp_path / "out" / "annotations.csv").read_text().splitlines()
    assert len(lines) == 2
    file, _, *numbers = lines[1].split(",")
    found = np.array(numbers, float).reshape(5, 2)
    # What is shown is the picture and 35 % of its side about it, in a square, from its centre.
    with Image.open(tmp_path / "out" / "faces" / file) as picture:
        w, h = picture.size
    beyond = np.ceil(0.35 * np.sqrt(w * h))
    left, right = np.array([0.35, 0.4]), np.array([0.65, 0.4])
    side = max(w, h) + 2 * beyond
    middle = np.array([w - 1, h - 1]) / 2
    places = np.array([left, right, [0.4, 0.75], [0.6, 0.75]])
    expected = middle + (places - 0.5) * side + [[0, 0], [0, 0], [0, 0], [1, 0]]
    np.testing.assert_allclose(
        found[[0, 1, 3, 4]], expected, atol=0.3
    )  # a pixel of the screen is 0.2
    assert found[2].tolist() == [-1, -1]
