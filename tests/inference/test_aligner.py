"""Faces on a template: pictures recovered, fallbacks counted, aligned faces kept."""

import io
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import jax
import numpy as np
import pytest
from PIL import Image

from lrjax.config import AlignmentConfig
from lrjax.data.faces import FRAME, _frame
from lrjax.data.identities import Identities
from lrjax.errors import InputError
from lrjax.geometry.crop import center_crop
from lrjax.geometry.templates import TEMPLATES, scaled
from lrjax.inference import aligner as module
from lrjax.inference.aligner import Aligner, align_faces
from lrjax.inference.images import ImageLike
from lrjax.inference.landmarks import LandmarkPredictor, PredictConfig
from lrjax.inference.upsampler import Upsampler
from lrjax.models.weights import PRETRAINED
from lrjax.tasks.super_resolution import SuperResolutionConfig, degraded
from lrjax.training.nets import Nets

FACE32, ARCFACE = TEMPLATES["face32"], TEMPLATES["arcface112"]
SEEN = np.ones((1, 5), bool)


def smooth(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Long waves in 40..215, [..., 3]."""
    bands = [np.sin(x / 11), np.cos(x / 13 + y / 17), np.sin(y / 12 + 1)]
    return 127.5 + 87.5 * np.stack(bands, -1)


def moved(points: np.ndarray, linear: np.ndarray, shift: np.ndarray) -> np.ndarray:
    return points @ linear.T + shift


def scene(linear: np.ndarray, shift: np.ndarray, size: int) -> Image.Image:
    """The smooth picture of the template's pixels, moved into a photograph."""
    y, x = np.indices((size, size), np.float64)
    back = np.linalg.inv(linear)
    at = (np.stack([x, y], -1) - shift) @ back.T
    return Image.fromarray(smooth(at[..., 0], at[..., 1]).round().astype(np.uint8))


@pytest.mark.parametrize("scale", [0.7, 1.0, 2.6, 7.5])
@pytest.mark.parametrize("fit", ["similarity", "affine"])
def test_a_moved_picture_comes_back(scale: float, fit: str) -> None:
    """Aligning undoes a known transform: the smooth picture is back to a grey level."""
    angle = np.deg2rad(20)
    linear = scale * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    if fit == "affine":
        linear = linear @ np.array([[1.2, 0.15], [0.0, 0.9]])
    size = int(50 * scale) + 8
    shift = np.full(2, size / 2) - linear @ (15.5, 15.5)
    photo = scene(linear, shift, size)
    points = moved(FACE32.points, linear, shift)
    result = align_faces([photo], points[None], SEEN, FACE32, fit)
    y, x = np.indices((32, 32), np.float64)
    error = result.images[0] - smooth(x, y)
    assert result.aligned.all()
    # Two roundings to whole grey levels alone may cost one at single pixels.
    assert np.abs(error).max() < 1.25
    assert np.sqrt((error**2).mean()) < 0.5


def test_a_face_of_the_templates_size_is_untouched() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (112, 96, 3), dtype=np.uint8)
    template = TEMPLATES["centerface"]
    result = align_faces([pixels], template.points[None], SEEN, template)
    assert np.abs(result.images[0].astype(int) - pixels).max() <= 1
    assert result.note == "1 of 1 faces aligned to centerface by their points (similarity)"


def test_fallbacks_are_counted_and_show_the_box() -> None:
    pixels = np.zeros((20, 30, 3), np.uint8)
    pixels[4:12, 6:22] = (200, 100, 50)
    points = np.stack([FACE32.points / 2 + 5, np.full((5, 2), 9.0), FACE32.points / 2])
    visible = np.array([[1] * 5, [1] * 5, [0, 0, 0, 0, 1]], bool)
    box = np.tile([6, 4, 16, 8], (3, 1))
    result = align_faces([pixels] * 3, points, visible, scaled(FACE32, 8), boxes=box)
    assert result.aligned.tolist() == [True, False, False]
    assert result.note.startswith("1 of 3 faces aligned to")
    assert result.note.endswith("2 could not be and were resized")
    inside = np.full((4, 4, 3), (200, 100, 50))
    assert np.abs(result.images[2][2:6, 2:6] - inside).max() <= 1
    assert np.isnan(result.points[2, :4]).all()
    np.testing.assert_allclose(result.points[2, 4], points[2, 4])
    # Twice as wide as high: a quarter above and below it is not the box.
    padded = align_faces(
        [pixels] * 3, points, visible, scaled(FACE32, 16), boxes=box, resize_mode="pad"
    ).images[1]
    assert not padded[:2].any()
    assert not padded[-2:].any()
    assert np.abs(padded[6:10, 2:14] - np.array([200, 100, 50])).max() <= 1


def test_no_faces() -> None:
    result = align_faces([], np.zeros((0, 5, 2)), np.zeros((0, 5), bool), FACE32)
    assert result.images.shape == (0, 32, 32, 3)


def encoded(pixels: np.ndarray | Image.Image) -> bytes:
    stream = io.BytesIO()
    image = pixels if isinstance(pixels, Image.Image) else Image.fromarray(pixels)
    image.save(stream, "PNG")
    return stream.getvalue()


def portraits(images: list, points: np.ndarray | None = None) -> Identities:
    data = [item if isinstance(item, bytes) else encoded(item) for item in images]
    return Identities(
        images=data,
        label=np.zeros(len(data), np.int32),
        names=tuple(f"a/{i}.png" for i in range(len(data))),
        fingerprint=str(hash(tuple(data))),
        points=points,
        visible=None if points is None else np.ones(points.shape[:2], bool),
    )


@pytest.fixture
def marked() -> Identities:
    """Five pictures of different sizes, the third one with useless points."""
    rng = np.random.default_rng(2)
    shapes = [(20, 16), (31, 24), (15, 15), (44, 60), (7, 6)]
    pictures = [rng.integers(0, 256, (*shape, 3), dtype=np.uint8) for shape in shapes]
    points = np.stack([(ARCFACE.points + 0.5) / 112 * (w, h) - 0.5 for h, w in shapes]).astype(
        np.float32
    )
    points[2] = 7
    return portraits(pictures, points)


def test_the_points_of_a_dataset(marked: Identities) -> None:
    result = Aligner.load("points", "face32")(marked)
    assert result.images.shape == (5, 32, 32, 3)
    assert result.aligned.tolist() == [True, True, False, True, True]
    assert result.note == (
        "4 of 5 faces aligned to face32 by the dataset's points (similarity); 1 could not be and "
        "were resized"
    )
    alone = align_faces(
        [Image.open(io.BytesIO(marked.images[3]))], marked.points[3:4], SEEN, FACE32
    )
    np.testing.assert_array_equal(result.images[3], alone.images[0])


@pytest.mark.parametrize("mode", ["stretch", "pad"])
def test_a_border_changes_nothing_inside_it(marked: Identities, mode: str) -> None:
    """It shows what lies around an aligned face, and around a box that is resized."""
    alignment = AlignmentConfig("points", resize_mode=mode)
    inner = Aligner.load(alignment, "centerface")(marked)
    outer = Aligner.load(alignment, "centerface", border=7)(marked)
    assert outer.images.shape == (5, 126, 110, 3)
    middle = outer.images[:, 7:-7, 7:-7]
    aligned = inner.aligned
    assert aligned.sum() == 4
    np.testing.assert_array_equal(middle[aligned], inner.images[aligned])
    assert middle[aligned].any()
    # Resized pictures fade into what is around them, within a pixel of theirs.
    edge = 9
    difference = middle[~aligned].astype(int) - inner.images[~aligned]
    assert np.abs(difference[:, 3 * edge : -3 * edge, edge * 3 : -3 * edge]).max() <= 1


def test_shifted_crops_of_a_stretched_picture_show_no_black() -> None:
    """Native faces are as large as their pictures, which end where the border begins."""
    white = portraits([np.full((20, 16, 3), 255, np.uint8)])
    frames = Aligner.load("resize", "centerface", border=7).frames(white, streamed=True).images
    assert frames[0].shape == (126, 110, 3)
    assert (frames[0] == 255).all()
    # With black beside it, it is black there in tests, too.
    padded = Aligner.load(AlignmentConfig("resize", resize_mode="pad"), "centerface", border=7)
    assert not padded(white).images[0, 0].any()


def test_resizing_is_not_called_aligning(marked: Identities) -> None:
    result = Aligner.load("resize", "face32")(marked)
    assert not result.aligned.any()
    assert result.note == "5 faces resized to 32x32, none aligned"
    assert np.isnan(result.points).all()


def test_portions_and_the_cache_change_nothing(
    marked: Identities, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    aligner = Aligner.load("points", "face32")
    whole = aligner(marked)
    portions = [part.images for part in aligner.parts(marked, 2)]
    assert [len(images) for images in portions] == [2, 2, 1]
    np.testing.assert_array_equal(np.concatenate(portions), whole.images)
    kept = aligner(marked, tmp_path)
    monkeypatch.setattr(module, "decode_identity", None)  # nothing is decoded a second time
    again = aligner(marked, tmp_path)
    for other in (kept, again):
        np.testing.assert_array_equal(other.images, whole.images)
        np.testing.assert_array_equal(other.points, whole.points)
        np.testing.assert_array_equal(other.aligned, whole.aligned)
        assert other.note == whole.note
    assert len(list((tmp_path / "aligned").iterdir())) == 1


def test_whatever_changes_the_faces_changes_the_identity(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    found = SimpleNamespace(weights=SimpleNamespace(identity="network"))
    monkeypatch.setattr(LandmarkPredictor, "load", lambda *_: found)
    monkeypatch.setattr(Upsampler, "load", lambda *_: Enlarger())
    points = partial(AlignmentConfig, "points")
    loaded = [
        Aligner.load("resize", "face32"),
        Aligner.load("points", "face32"),
        Aligner.load("points", "lightcnn32"),
        Aligner.load("points", scaled(FACE32, 16)),
        Aligner.load(points(fit="affine"), "face32"),
        Aligner.load(points(resize_mode="pad"), "face32"),
        Aligner.load("points", "face32", border=2),
        Aligner.load(points(upsample="run"), "face32"),
        Aligner.load(points(region=(0.25, 0.25, 0.5, 0.5)), "face32"),
        Aligner.load("pretrained", "face32"),
        Aligner.load(points(resize_to=40), "face32"),
        Aligner.load(points(align_at=16), "face32"),
        Aligner.load(AlignmentConfig(flip=False), "face32"),
        Aligner.load(AlignmentConfig(passes=1), "face32"),
        Aligner.load("pretrained", "face32", options=PredictConfig(upright=True)),
    ]
    assert len({aligner.identity for aligner in loaded}) == len(loaded)
    same = [
        Aligner.load(str(PRETRAINED), "face32"),
        Aligner.load("pretrained", "face32", options=PredictConfig()),
    ]
    assert {aligner.identity for aligner in same} == {loaded[9].identity}
    # Nothing looks at faces whose points come along.
    assert Aligner.load(points(passes=1), "face32").identity == loaded[1].identity


def test_faces_of_many_sizes_go_through_a_network(
    find_dots: Callable[..., LandmarkPredictor],
    draw_dots: Callable[..., Image.Image],
    face: np.ndarray,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Dots in tight pictures, some of them not square, are found and laid onto the template."""
    monkeypatch.setattr(LandmarkPredictor, "load", lambda *_: find_dots())
    aligner = Aligner.load("pretrained", "face32")
    sizes = [24, 32, 60, 90]
    shapes = [(24, 24), (34, 30), (60, 60), (80, 100)]
    truth = np.stack(
        [
            face * s / 32 + ((w - 1) / 2, (h - 1) / 2)
            for s, (h, w) in zip(sizes, shapes, strict=True)
        ]
    )
    pictures = [
        draw_dots(points[None], np.array([s]), shape)
        for points, s, shape in zip(truth, sizes, shapes, strict=True)
    ]
    result = aligner(portraits(pictures))
    assert result.aligned.all()
    for found, points, size in zip(result.points, truth, sizes, strict=True):
        assert np.abs(found - points).max() < 0.03 * size
    expected = align_faces(pictures, result.points, np.ones((4, 5), bool), FACE32)
    np.testing.assert_array_equal(result.images, expected.images)


class Enlarger(Upsampler):
    """Stands for a super-resolution network: enlarges faces four times, and keeps what it saw."""

    def __init__(self, size: tuple[int, int] = (32, 32), context: float | None = 1.25) -> None:
        self.size, self.context, self.factors = size, context, (4.0, 4.0)
        self.identity = "four times"
        self.seen: list[np.ndarray] = []

    def __call__(self, images: Sequence[ImageLike], side: int | None = None) -> list[np.ndarray]:
        self.seen += [np.asarray(image) for image in images]
        photos = [Image.fromarray(np.asarray(image)) for image in images]
        return [np.asarray(i.resize((4 * i.width, 4 * i.height))) for i in photos]


@pytest.mark.parametrize("context", [1.25, None])
def test_faces_are_enlarged_before_they_are_aligned(
    context: float | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The points and the box stay where they are, in the picture that was given."""
    photo = scene(np.eye(2) * 0.4, np.array([3.0, 2.0]), 20)
    points = (FACE32.points * 0.4 + (3, 2)).astype(np.float32)
    data = portraits([photo, photo], np.stack([points, points * 0]))
    monkeypatch.setattr(Upsampler, "load", lambda *_: Enlarger(context=context))
    plain = Aligner.load("points", "face32")
    aligner = Aligner.load(AlignmentConfig("points", upsample="run"), "face32")
    found, direct = aligner(data), plain(data)
    assert aligner.identity != plain.identity
    assert "by the dataset's points on enlarged faces" in found.note
    np.testing.assert_allclose(found.points[0], points, atol=1e-5)
    assert found.aligned.tolist() == [True, False]
    difference = found.images.astype(int) - direct.images
    assert np.abs(difference[:, 3:-3, 3:-3]).mean() < 2


def spots(image: np.ndarray) -> np.ndarray:
    """Centres [2, 2] (x, y) of what is red, and of what is green, in an RGB image."""
    y, x = np.indices(image.shape[:2])
    weights = np.clip(image[..., :2].astype(float) - 100, 0, None)
    return np.stack([(weights * axis[..., None]).sum((0, 1)) for axis in (x, y)], -1) / weights.sum(
        (0, 1)
    ).reshape(2, 1)


@pytest.mark.parametrize("context", [1.25, 1.5])
@pytest.mark.parametrize("shape", [(200, 160), (90, 120)])
def test_enlarged_faces_are_those_of_the_training(
    context: float, shape: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Eyes are where they are in the small training examples, and at last on the template."""
    height, width = shape
    photo = np.full((height, width, 3), 40, np.uint8)
    y, x = np.indices(shape)
    eyes = np.array([(0.34 * width, 0.42 * height), (0.66 * width, 0.4 * height)])
    for channel, eye in enumerate(eyes):
        away = np.hypot(x - eye[0], y - eye[1])
        photo[..., channel] += (200 * np.exp(-((away / 10) ** 2))).astype(np.uint8)

    # As `super_resolution` learns: the middle of the frame, made small.
    config = SuperResolutionConfig(context=context)
    frame, *_ = _frame({"image": encoded(photo)}, 192, FRAME * context)
    sharp = center_crop(frame, *config.image_size)[None].astype(np.float32)
    keys = jax.random.split(jax.random.key(0), 1)
    (small,) = np.asarray(degraded(config, Nets({}, {}), sharp, keys))
    learned = (small + 1) * 127.5

    network = Enlarger(config.size, context)
    monkeypatch.setattr(Upsampler, "load", lambda *_: network)
    aligner = Aligner.load(AlignmentConfig("points", upsample="run"), ARCFACE)
    middle, mouth = eyes.mean(0, keepdims=True), eyes + np.array([0, 0.35 * height])
    points = np.concatenate([eyes, middle + np.array([0, 0.2 * height]), mouth])
    found = aligner(portraits([photo], points[None].astype(np.float32)))
    (seen,) = network.seen
    assert seen.shape == learned.shape == (32, 32, 3)
    np.testing.assert_allclose(spots(seen), spots(learned), atol=0.05)
    assert np.abs(seen - learned).mean() < 1.5
    expected = align_faces([photo], points[None], SEEN, ARCFACE).images[0]
    np.testing.assert_allclose(spots(found.images[0]), spots(expected), atol=0.5)


def test_faces_of_a_network_that_learned_with_resized_boxes_are_resized(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    photo = scene(np.eye(2), np.array([3.0, 2.0]), 40)
    network = Enlarger((20, 16), None)
    monkeypatch.setattr(Upsampler, "load", lambda *_: network)
    region = (0.25, 0.3, 0.5, 0.5)
    how = AlignmentConfig("resize", region=region, upsample="run")
    found = Aligner.load(how, "centerface")(portraits([photo]))
    box = (10, 12, 30, 32)
    wanted = photo.resize((16, 20), Image.Resampling.BICUBIC, box=box)
    np.testing.assert_array_equal(network.seen[0], wanted)
    large = wanted.resize((64, 80))
    expected = large.resize((96, 112), Image.Resampling.BICUBIC)
    np.testing.assert_array_equal(found.images[0], expected)


@pytest.mark.parametrize("border", [0, 7])
def test_faces_are_aligned_in_low_resolution_and_resized_then(border: int) -> None:
    photo = scene(np.eye(2) * 0.4, np.array([3.0, 2.0]), 20)
    points = (FACE32.points * 0.4 + (3, 2)).astype(np.float32)
    data = portraits([photo], points[None])
    low = Aligner.load("points", "face32", border=border * 32 // 112)(data)
    late = Aligner.load(AlignmentConfig("points", align_at=32), ARCFACE, border=border)
    found, side = late(data), 112 + 2 * border
    wanted = Image.fromarray(low.images[0]).resize((side, side), Image.Resampling.BILINEAR)
    np.testing.assert_array_equal(found.images[0], wanted)
    np.testing.assert_allclose(found.points[0], points, atol=1e-5)
    # Faces that are laid there at once are sharper.
    assert (found.images != Aligner.load("points", ARCFACE, border=border)(data).images).any()
    with pytest.raises(InputError, match="align_at is 33"):
        Aligner.load(AlignmentConfig("points", align_at=33), ARCFACE, border=2)


def test_pictures_are_resized_before_they_are_aligned() -> None:
    photo = scene(np.eye(2) * 0.4, np.array([3.0, 2.0]), 20).crop((0, 0, 16, 20))
    points = (FACE32.points * 0.4 + (3, 2)).astype(np.float32)
    aligner = Aligner.load(AlignmentConfig("points", resize_to=50), "face32")
    found = aligner(portraits([photo], points[None]))
    np.testing.assert_allclose(found.points[0], points, atol=1e-5)
    large = photo.resize((40, 50), Image.Resampling.BILINEAR)
    there = ((points.astype(float) + 0.5) * 2.5 - 0.5)[None]
    wanted = align_faces([large], there, SEEN, FACE32).images
    np.testing.assert_array_equal(found.images, wanted)
    with pytest.raises(InputError, match="resize_to is 0"):
        Aligner.load(AlignmentConfig("points", resize_to=0), "face32")


def test_what_cannot_be_used_is_said(marked: Identities, tmp_path: Path) -> None:
    resize = Aligner.load("resize", "face32")
    with pytest.raises(InputError, match=r"image a/1\.png cannot be decoded .*prepare"):
        resize(portraits([marked.images[0], b"no picture"]))
    with pytest.raises(InputError, match="without points"):
        Aligner.load("points", "face32")(portraits([marked.images[0]]))
    with pytest.raises(InputError, match="no template 'face31'"):
        Aligner.load("resize", "face31")
    with pytest.raises(InputError, match="unknown"):
        Aligner.load(AlignmentConfig("resize", fit="projective"), "face32")
    with pytest.raises(InputError, match="region"):
        Aligner.load(AlignmentConfig("resize", region=(0.5, 0, 0.6, 1)), "face32")
    with pytest.raises(InputError, match=r"no weights file|no trained"):
        Aligner.load(str(tmp_path / "nothing"), "face32")


def test_the_region_is_where_the_face_is(marked: Identities) -> None:
    """Half the picture, resized: its middle shows what the middle of the picture shows."""
    pixels = np.zeros((40, 40, 3), np.uint8)
    pixels[10:30, 10:30] = (10, 200, 90)
    region = (0.25, 0.25, 0.5, 0.5)
    middle = Aligner.load(AlignmentConfig("resize", region=region), "face32")
    shown = middle(portraits([pixels])).images[0]
    np.testing.assert_array_equal(shown[5:-5, 5:-5], np.full((22, 22, 3), (10, 200, 90)))
    assert not Aligner.load("resize", "face32")(portraits([pixels])).images[0][0].any()
