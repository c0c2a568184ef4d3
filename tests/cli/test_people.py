"""`lrjax identify` on folders of photographs, with an encoder that sees their mean colour."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import drawn
import jax.numpy as jnp
import numpy as np
import pytest
from click.testing import CliRunner, Result
from PIL import ExifTags, Image

import lrjax
from lrjax.cli import identify as command
from lrjax.cli.people import distances, largest_faces, person_of
from lrjax.errors import InputError
from lrjax.geometry.templates import TEMPLATES, Template
from lrjax.inference.aligner import align_faces
from lrjax.inference.encoder import FaceEncoder
from lrjax.inference.tables import Row
from lrjax.models.encoders import EncoderConfig
from lrjax.models.registry import Network
from lrjax.models.weights import Weights
from lrjax.report.results import Result as Saved

TEMPLATE = Template("tiny", 8, 8, np.array([(2, 3), (5, 3), (3.5, 4), (2, 6), (5, 6)]))


class Colour:
    """Features: the mean red, green and blue of a face, in [-1, 1]."""

    def apply(self, variables: dict, images: jnp.ndarray, train: bool) -> jnp.ndarray:
        assert not train
        return images.mean((1, 2)) * variables["scale"]


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Result]:
    monkeypatch.setitem(TEMPLATES, "tiny", TEMPLATE)
    config = EncoderConfig("colour")
    network = Network(config, "encoder", Colour(), ((8, 8, 3),), template="tiny", embedding=3)
    weights = Weights(network, {"scale": jnp.float32(1.0)}, {}, Path("colours"), "colour-1")
    monkeypatch.setattr(command.FaceEncoder, "load", lambda spec, which: FaceEncoder(weights))

    def invoke(*words: object) -> Result:
        always = ["colours", "--landmarks", "resize"]
        return CliRunner().invoke(command.identify_command, [*always, *map(str, words)])

    return invoke


def lines(output: str) -> list[list[str]]:
    """The cells of the table's rows."""
    rows = [line for line in output.splitlines() if line.startswith("|")][2:]
    return [[cell.strip() for cell in row.strip("|").split("|")] for row in rows]


def save(path: Path, image: Image.Image) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    image.save(path)


def portrait(number: int, small: int | None = None) -> Image.Image:
    """A photograph of one drawn person, with another one, who is smaller, to the left."""
    crowd, _ = drawn.crowd()
    wide, high = crowd.width // 3, crowd.height
    photo = Image.new("RGB", (2 * wide, high), (120, 130, 140))
    if small is not None:
        other = crowd.crop((small * wide, 0, (small + 1) * wide, high))
        photo.paste(other.resize((wide // 2, high // 2)), (0, 0))
    photo.paste(crowd.crop((number * wide, 0, (number + 1) * wide, high)), (wide, 0))
    return photo


def expected(photo: Image.Image) -> np.ndarray:
    """The mean colour of the largest face that the detector finds."""
    boxes = lrjax.detect(photo).boxes
    box = np.round(boxes[boxes[:, 2:].prod(-1).argmax()], 1)[None]
    nothing = np.zeros((1, 5, 2)), np.zeros((1, 5), bool)
    (face,) = align_faces([photo], *nothing, TEMPLATE, boxes=box).images
    return face.astype(float).mean((0, 1)) / 127.5 - 1


def test_whole_photographs_are_compared_by_their_largest_face(
    run: Callable[..., Result], tmp_path: Path
) -> None:
    """Of two people in the gallery; a probe of whom it is not known, and one of a stranger."""
    gallery = {"Ada/1.png": portrait(0), "Ada/deep/2.png": portrait(0, 2), "Bo/1.png": portrait(1)}
    darker = portrait(0, 1).point(lambda value: value * 0.9)
    probes = {"Ada/3.png": darker, "Cy/1.png": portrait(2), "who.png": portrait(1, 0)}
    for folder, photos in (("gallery", gallery), ("probe", probes)):
        for name, photo in photos.items():
            save(tmp_path / folder / name, photo)
    save(tmp_path / "probe" / "Ada" / "nobody.png", Image.new("RGB", portrait(0).size))
    folders = ("--probes", tmp_path / "probe", "--gallery", tmp_path / "gallery")
    done = run(*folders, "--out", tmp_path / "out.json")
    assert str(done.exception).startswith("1 of 7 pictures have no face that can be used")
    assert f"lrjax: {tmp_path}/probe/Ada/nobody.png: no face was found" in done.output
    people = {name.split("/")[0] for name in gallery}
    seen = {name: expected(photo) for name, photo in gallery.items()}
    right = 0
    for (name, photo), cells in zip(probes.items(), lines(done.output), strict=True):
        feature = expected(photo)
        far = {
            who: min(np.linalg.norm(feature - seen[one]) for one in seen if one.startswith(who))
            for who in people
        }
        first, second = sorted(far, key=far.__getitem__)
        assert cells[:2] == [name, name.split("/")[0] if "/" in name else "—"]
        assert cells[2::2] == [first, second]
        np.testing.assert_allclose(
            [float(cells[3]), float(cells[5])], [far[first], far[second]], atol=2e-3
        )
        right += name.startswith(first)
    assert f"of 1 probes whose person is in the gallery, {right} have that person first" in (
        done.output
    )
    assert "3 pictures show several faces, of which the largest was taken" in done.output
    saved = Saved.load(tmp_path / "out.json")
    assert saved.data.startswith("3 probes, 3 pictures of 2 people")


def test_a_telephones_pictures_are_put_upright(run: Callable[..., Result], tmp_path: Path) -> None:
    """Stored on its side, with the orientation in its EXIF data, a face is found as it is."""
    photo = portrait(1)
    side = photo.transpose(Image.Transpose.ROTATE_90)  # left is up: a quarter clockwise mends it
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 6
    save(tmp_path / "gallery" / "Bo" / "1.png", photo)
    (tmp_path / "probe").mkdir()
    side.save(tmp_path / "probe" / "1.png", exif=exif)
    folders = ("--probes", tmp_path / "probe", "--gallery", tmp_path / "gallery")
    done = run(*folders)
    assert done.exit_code == 0, done.output
    assert lines(done.output) == [["1.png", "—", "Bo", "0.000"]]


def test_crops_are_faces(run: Callable[..., Result], tmp_path: Path) -> None:
    """Of red and green in the gallery, by the cosine; the first alone is listed."""
    colours = {"gallery/Red/1.png": (200, 0, 0), "gallery/Green/1.png": (0, 200, 0)}
    colours |= {"probe/Red/2.png": (255, 30, 30), "probe/Green/2.png": (250, 90, 0)}
    for name, colour in colours.items():
        save(tmp_path / name, Image.new("RGB", (9, 9), colour))
    folders = ("--probes", tmp_path / "probe", "--gallery", tmp_path / "gallery")
    done = run(*folders, "--crops", "--metric", "cosine", "--top", 1)
    assert done.exit_code == 0, done.output
    assert [row[:3] for row in lines(done.output)] == [
        ["Green/2.png", "Green", "Red"],
        ["Red/2.png", "Red", "Red"],
    ]
    one, other = (np.array(c) / 127.5 - 1 for c in ((250, 90, 0), (200, 0, 0)))
    cosine = one @ other / np.linalg.norm(one) / np.linalg.norm(other)
    assert float(lines(done.output)[0][3]) == pytest.approx(1 - cosine, abs=6e-4)
    assert "of 2 probes whose person is in the gallery, 1 have that person first" in done.output
    assert "(rank-1 50.00 %)" in done.output


def test_what_cannot_be_done(run: Callable[..., Result], tmp_path: Path) -> None:
    save(tmp_path / "probe" / "1.png", Image.new("RGB", (40, 40)))
    save(tmp_path / "gallery" / "Ada" / "1.png", Image.new("RGB", (40, 40)))
    save(tmp_path / "loose" / "1.png", Image.new("RGB", (40, 40)))
    probes, gallery = ("--probes", tmp_path / "probe"), ("--gallery", tmp_path / "gallery")
    for words, message in (
        ((), "Name a DATASET, or folders with --probes and --gallery"),
        (probes, "Name a DATASET, or folders"),
        (("people", *probes, *gallery), "not both"),
        (("people", "--crops"), "--crops is for the folders of --probes and --gallery"),
        ((*probes, *gallery, "--halves", 1), "--halves, --no-distractors and --landmarks points"),
        ((*probes, *gallery, "--no-distractors"), "are for a DATASET; leave them out"),
        ((*probes, "--gallery", tmp_path / "gone"), "There is no folder"),
        ((*probes, "--gallery", tmp_path / "loose"), "loose/1.png is in no person's folder"),
        ((*probes, *gallery), "None of the 1 pictures in .*probe has a face that can be used"),
    ):
        done = run(*words)
        assert isinstance(done.exception, InputError), words
        with pytest.raises(InputError, match=message):
            raise done.exception


def test_the_largest_face_of_a_file_counts() -> None:
    boxes = {"a": [(0, 0, 5, 5), (9, 9, 6, 5), (1, 1, 5, 6)], "b": [(0, 0, 2, 2)]}
    rows = [Row((file, *map(str, box)), box) for file, some in boxes.items() for box in some]
    nobody = Row(("c", "", "", "", ""), problem="no face was found")
    assert largest_faces([*rows, nobody]) == [rows[1], rows[3], nobody]


def test_the_first_folder_is_the_person() -> None:
    assert [person_of(name) for name in ("a.png", "Ada/a.png", "Ada/x/a.png")] == [
        None,
        "Ada",
        "Ada",
    ]


def test_distances_are_euclidean_or_of_the_angle() -> None:
    """By hand: 3-4-5 triangles."""
    one, other = np.array([[3.0, 4.0]]), np.array([[3.0, 4.0], [0.0, 0.0], [-4.0, 3.0]])
    np.testing.assert_allclose(distances(one, other, "euclidean"), [[0, 5, 50**0.5]], atol=1e-6)
    np.testing.assert_allclose(distances(one, other[[0, 2]], "cosine"), [[0, 1]], atol=1e-6)
