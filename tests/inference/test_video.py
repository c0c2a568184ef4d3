"""Videos: frames, faces followed through them, and pictures written as a video."""

from __future__ import annotations

import struct
import sys
import weakref
from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from lrjax.errors import InputError
from lrjax.inference.detector import Detection
from lrjax.inference.video import Frame, Video, VideoWriter, follow_faces, is_video

SIZE = 120, 160


class Detector:
    """Knows where the faces are in each frame, and which frames it was shown."""

    def __init__(self, boxes: Callable[[int], np.ndarray]) -> None:
        self.boxes, self.seen = boxes, list[int]()

    def find(self, photos: list[Image.Image]) -> Detection:
        (photo,) = photos
        self.seen.append(photo.info["number"])
        boxes = self.boxes(self.seen[-1])
        none = np.zeros((len(boxes), 5, 2)), np.ones(len(boxes)), np.zeros(len(boxes), int)
        return Detection(boxes, *none)


def middles(number: int) -> np.ndarray:
    """Of two faces in frame k: one moves fast to the right, one slowly to the left."""
    return np.array([[30.0 + 2.5 * number, 40], [130.0 - number, 85]])


@pytest.fixture
def frames(draw_dots, face) -> Callable[[int], Iterator[Frame]]:
    def make(count: int) -> Iterator[Frame]:
        for k in range(count):
            photo = draw_dots(middles(k)[:, None] + face * 0.75, np.full(2, 24.0), SIZE)
            photo.info["number"] = k
            yield Frame(k, k / 25, photo)

    return make


def boxes(number: int) -> np.ndarray:
    return np.array([[*(middle - 11.5), 24, 24] for middle in middles(number)])


def test_faces_are_followed_between_detections(frames, find_dots, face) -> None:
    """By their points, which are theirs in every frame, without lag."""
    detector = Detector(boxes)
    found = [*follow_faces(frames(30), detector, find_dots(passes=1, flip=False), every=7)]
    assert detector.seen == [0, 7, 14, 21, 28]
    assert [part.frame.number for part in found] == list(range(30))
    for k, part in enumerate(found):
        assert part.tracks == [1, 2]
        true = middles(k)[:, None] + face * 0.75
        # Of the dots' centroids, the frames of neighbouring dots move some a little.
        np.testing.assert_allclose(part.prediction.points, true, atol=0.75)
        np.testing.assert_allclose(part.prediction.boxes, boxes(k), atol=0.9)
    assert part.prediction.scheme.name == "five"


def test_without_smoothing_the_points_are_the_predictors(frames, find_dots) -> None:
    predictor = find_dots(passes=1, flip=False)
    parts = follow_faces(frames(3), Detector(boxes), predictor, every=1, smooth=False)
    for k, part in enumerate(parts):
        alone = predictor(part.frame.photo, boxes(k))
        np.testing.assert_allclose(part.prediction.points, alone.points, atol=1e-4)
        np.testing.assert_allclose(part.prediction.confidence, alone.confidence, atol=1e-5)


def test_who_leaves_the_picture_is_no_longer_looked_for(frames, find_dots) -> None:
    """The first face is seen once, beyond the border; only the second one goes on."""

    def seen(number: int) -> np.ndarray:
        return np.concatenate([[[-60.0, 40, 24, 24]], boxes(number)[1:]])

    parts = [*follow_faces(frames(4), Detector(seen), find_dots(passes=1, flip=False), every=9)]
    assert [part.tracks for part in parts] == [[2]] * 4


def test_frames_without_faces(frames, find_dots) -> None:
    nobody = Detector(lambda number: np.zeros((0, 4)))
    parts = [*follow_faces(frames(3), nobody, find_dots(), every=2)]
    assert [len(part.prediction) for part in parts] == [0, 0, 0]
    assert parts[0].prediction.points.shape == (0, 5, 2)


def test_memory_does_not_grow_with_the_video(frames, find_dots) -> None:
    """Whoever looks at one frame after the other holds no earlier one."""
    alive: list[weakref.ref[Image.Image]] = []

    def watched() -> Iterator[Frame]:
        for frame in frames(40):
            alive.append(weakref.ref(frame.photo))
            yield frame

    most = 0
    for part in follow_faces(watched(), Detector(boxes), find_dots(passes=1), every=50):
        most = max(most, sum(one() is not None for one in alive))
        del part
    assert len(alive) == 40
    assert most <= 3


def turn_video(path: Path, matrix: tuple[float, ...]) -> None:
    """Write (a, b, c, d) into the header of an MP4 file's track, as ISO 14496-12 has it there."""
    data = bytearray(path.read_bytes())
    header = data.index(b"tkhd") + 4
    assert data[header] == 0  # the version, whose times take four bytes
    a, b, c, d = (round(value * 65536) for value in matrix)
    struct.pack_into(">9i", data, header + 40, a, b, 0, c, d, 0, 0, 0, 1 << 30)
    path.write_bytes(data)


def test_videos_are_known_by_their_names() -> None:
    assert is_video(Path("a/b.MP4"))
    assert is_video(Path("c.webm"))
    assert not is_video(Path("mp4"))
    assert not is_video(Path("a.png"))


def test_a_folder_is_no_video(tmp_path: Path) -> None:
    (tmp_path / "a.mp4").mkdir()
    assert not is_video(tmp_path / "a.mp4")


def test_a_video_needs_pyav(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "av", None)
    with pytest.raises(InputError, match=r"a.mp4 needs PyAV.*pip install 'lrjax\[video\]'"):
        Video(tmp_path / "a.mp4")


class TestWithPyAV:
    """What is encoded and decoded."""

    @pytest.fixture(autouse=True)
    def pyav(self) -> Any:
        return pytest.importorskip("av", reason="PyAV is not installed: pip install '.[video]'")

    def test_a_video_without_frames_is_refused(self, tmp_path: Path, pyav: Any) -> None:
        """As what is left of one that was cut off where its frames begin."""
        path = tmp_path / "a.mkv"
        with pyav.open(str(path), "w") as container:
            stream = container.add_stream("mpeg4", rate=25)
            stream.width = stream.height = 64
            stream.pix_fmt = "yuv420p"
            frame = pyav.VideoFrame.from_ndarray(np.zeros((64, 64, 3), np.uint8), format="rgb24")
            container.mux(stream.encode(frame))
            container.mux(stream.encode())
        assert len([*Video(path)]) == 1
        data = path.read_bytes()
        cluster = data.rindex(b"\x1f\x43\xb6\x75")
        path.write_bytes(data[: cluster + 16])
        with pytest.raises(InputError, match=r"a\.mkv (has no frames|cannot be decoded).*replace"):
            [*Video(path)]

    def test_a_full_disk_is_known_by_the_videos_name(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        writer = VideoWriter(tmp_path / "a.mp4", Fraction(10))
        picture = np.zeros((64, 64, 3), np.uint8)
        writer.add(picture, 0.0)

        class Full:
            def mux(self, packets: object) -> None:
                raise OSError(28, "No space left on device", ".a.mp4.0.partial")

        monkeypatch.setattr(writer, "_container", Full())
        for write in (lambda: writer.add(picture, 0.1), writer.close):
            with pytest.raises(OSError, match="No space left") as caught:
                write()
            assert caught.value.filename == str(tmp_path / "a.mp4")
        writer.discard()
        assert [*tmp_path.iterdir()] == []

    def test_what_is_written_is_read(self, tmp_path: Path) -> None:
        """Odd sides lose a pixel; a gap in time stays one."""
        rng = np.random.default_rng(0)
        coarse = rng.integers(0, 256, (12, 5, 7, 3), dtype=np.uint8)
        pictures = coarse.repeat(13, 1).repeat(15, 2)  # 65 x 105
        times = [k / 10 + (0.5 if k > 6 else 0.0) for k in range(12)]
        writer = VideoWriter(tmp_path / "new" / "a.mp4", Fraction(10))
        for picture, time in zip(pictures, times, strict=True):
            writer.add(picture, time)
        assert not writer.path.exists()
        writer.close()
        assert [path.name for path in writer.path.parent.iterdir()] == ["a.mp4"]
        video = Video(writer.path)
        read = [*video]
        assert video.count == len(read) == 12
        assert [frame.number for frame in read] == list(range(12))
        np.testing.assert_allclose([frame.time for frame in read], times, atol=1e-3)
        for frame, picture in zip(read, pictures, strict=True):
            assert frame.photo.size == (104, 64)
            light = np.asarray(frame.photo).astype(float).mean(-1)
            assert abs(light - picture[:64, :104].mean(-1)).mean() < 12

    @pytest.mark.parametrize(
        ("matrix", "shown"),
        [
            ((1, 0, 0, 1), "RG/BK"),
            ((0, 1, -1, 0), "BR/KG"),  # by a quarter, clockwise: a telephone held upright
            ((-1, 0, 0, -1), "KB/GR"),
            ((0, -1, 1, 0), "GK/RB"),
            ((-1, 0, 0, 1), "GR/KB"),
            ((1, 0, 0, -1), "BK/RG"),
            ((0, 1, 1, 0), "RB/GK"),
            ((0, -1, -1, 0), "KG/BR"),
            ((0, 2, -2, 0), "BR/KG"),  # larger, too, which pixels are not
            ((0.7, 0.7, -0.7, 0.7), "RG/BK"),
            ((0, 0, 0, 0), "RG/BK"),
        ],
    )
    def test_frames_are_upright(
        self, tmp_path: Path, matrix: tuple[float, ...], shown: str
    ) -> None:
        """A picture of four colours, whose file says how it is to be turned.

        Its corner of first column and row is red; the next, to the right, green; below, blue and
        black.
        """
        colours = {"R": (255, 0, 0), "G": (0, 255, 0), "B": (0, 0, 255), "K": (0, 0, 0)}
        corners = np.array([[colours[name] for name in row] for row in ("RG", "BK")], np.uint8)
        writer = VideoWriter(tmp_path / "a.mp4", Fraction(10))
        for k in range(2):
            writer.add(corners.repeat(32, 0).repeat(48, 1), k / 10)
        writer.close()
        turn_video(writer.path, matrix)
        for frame in Video(writer.path):
            sideways = matrix[0] == 0 and any(matrix)
            assert frame.photo.size == ((64, 96) if sideways else (96, 64))
            small = np.asarray(frame.photo.resize((2, 2), Image.Resampling.BOX)).astype(int)
            expected = [[colours[name] for name in row] for row in shown.split("/")]
            assert abs(small - expected).max() < 40

    def test_what_is_stopped_leaves_nothing(self, tmp_path: Path) -> None:
        writer = VideoWriter(tmp_path / "a.mp4", Fraction(10))
        writer.add(np.zeros((32, 32, 3), np.uint8), 0.0)
        writer.discard()
        assert [*tmp_path.iterdir()] == []

    def test_no_videos(self, tmp_path: Path) -> None:
        with pytest.raises(InputError, match=r"absent.mp4 does not exist; check its name"):
            Video(tmp_path / "absent.mp4")
        (tmp_path / "text.mp4").write_text("no video")
        with pytest.raises(InputError, match=r"text.mp4 cannot be decoded .*; replace the file"):
            Video(tmp_path / "text.mp4")
