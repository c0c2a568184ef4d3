"""What was found, in the formats that others read."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lrjax.geometry.points import FIVE, IBUG68, Scheme
from lrjax.inference.detector import Detection
from lrjax.inference.formats import coco_text, faces_lines, json_lines
from lrjax.inference.landmarks import Prediction
from lrjax.inference.tables import Found, Row, table_text


def prediction(scheme: Scheme, count: int) -> Prediction:
    rng = np.random.default_rng(scheme.count)
    sure = rng.uniform(0, 1, (count, scheme.count)).astype(np.float32)
    return Prediction(
        points=rng.uniform(1, 45, (count, scheme.count, 2)).astype(np.float32),
        confidence=sure.mean(-1),
        point_confidence=sure,
        boxes=rng.uniform(3, 20, (count, 4)),
        image=np.zeros(count, int),
        scheme=scheme,
    )


def no_constants(name: str) -> None:
    raise AssertionError(f"{name} is no JSON")


def read(text: str) -> Any:
    return json.loads(text, parse_constant=no_constants)


def json_text(rows: list[Row], found: list[Found], scheme: Scheme) -> str:
    return "".join(json_lines(zip(rows, found, strict=True), scheme))


def rows() -> list[Row]:
    """A face with a box, an image that is a face, and three that cannot be used."""
    return [
        Row(("a.png", "1", "2.50", "30", "28"), (1.0, 2.5, 30.0, 28.0), size=(50, 48)),
        Row(("b/M\udcfc.png", "", "", "", ""), size=(20, 46)),
        Row(("a.png", "x", "", "3", "4"), problem="x is 'x', which is no number", size=(50, 48)),
        Row(("c.png", "nan", "1", "3", "4"), (float("nan"), 1, 3, 4), "the box is no box"),
        Row(("d.png", "", "", "", ""), problem="no face was found", size=(9, 8)),
    ]


@pytest.mark.parametrize("scheme", [FIVE, IBUG68])
def test_json_has_the_points_by_their_names(scheme: Scheme) -> None:
    found = prediction(scheme, 2)
    text = json_text(rows(), [(found, 1), (found, 0), None, None, None], scheme)
    faces = read(text)
    assert len(text.splitlines()) == 2 + len(faces)
    assert [face["file"] for face in faces] == [row.file for row in rows()]
    assert [face["box"] for face in faces] == [
        [1, 2.5, 30, 28],
        found.boxes[0].tolist(),
        None,
        None,
        None,
    ]
    for face, i in ((faces[0], 1), (faces[1], 0)):
        assert list(face["landmarks"]) == list(face["landmark_confidence"]) == list(scheme.names)
        for k, name in enumerate(scheme.names):
            np.testing.assert_allclose(face["landmarks"][name], found.points[i, k], atol=0.00501)
            sure = face["landmark_confidence"][name]
            np.testing.assert_allclose(sure, found.point_confidence[i, k], atol=6e-5)
        assert abs(face["confidence"] - found.confidence[i]) < 6e-5
        assert face["doubtful"] is bool(found.confidence[i] < 0.5)
        assert face["problem"] is None
    assert [face["problem"] for face in faces[2:]] == [row.problem for row in rows()[2:]]
    assert [face["landmarks"] for face in faces[2:]] == [None] * 3


def test_a_detector_has_no_confidence_of_points() -> None:
    points = np.arange(10, dtype=np.float32).reshape(1, 5, 2)
    boxes, sure = np.array([[1.0, 2, 3, 4]]), np.array([0.98763], np.float32)
    found = Detection(boxes, points, sure, np.zeros(1, int))
    (face,) = read(json_text(rows()[:1], [(found, 0)], FIVE))
    assert sorted(face) == ["box", "confidence", "file", "landmarks", "problem"]
    assert face["landmarks"]["nose_tip"] == [4, 5]
    assert face["confidence"] == 0.9876


def check_coco(data: dict[str, Any]) -> None:
    """Check what https://cocodataset.org/#format-data asks of keypoint annotations."""

    def whole(value: object) -> bool:
        return type(value) is int

    assert {"info", "images", "annotations", "licenses", "categories"} <= set(data)
    assert isinstance(data["info"], dict)
    assert isinstance(data["licenses"], list)
    for image in data["images"]:
        assert whole(image["id"])
        assert whole(image["width"])
        assert whole(image["height"])
        assert isinstance(image["file_name"], str)
    for section in ("images", "annotations", "categories"):
        numbers = [one["id"] for one in data[section]]
        assert len(set(numbers)) == len(numbers)
    (category,) = data["categories"]
    names = category["keypoints"]
    assert isinstance(category["name"], str)
    assert isinstance(category["supercategory"], str)
    assert len(set(names)) == len(names)
    for edge in category["skeleton"]:
        first, second = edge
        assert 1 <= min(first, second) < max(first, second) <= len(names)
    sizes = {image["id"]: (image["width"], image["height"]) for image in data["images"]}
    for one in data["annotations"]:
        assert whole(one["id"])
        assert one["image_id"] in sizes
        assert one["category_id"] == category["id"]
        assert one["iscrowd"] in (0, 1)
        x, y, w, h = one["bbox"]
        assert w > 0
        assert h > 0
        assert one["area"] == pytest.approx(w * h, abs=0.01)
        assert len(one["keypoints"]) == 3 * len(names)
        triples = [one["keypoints"][i : i + 3] for i in range(0, 3 * len(names), 3)]
        for x, y, v in triples:
            assert v in (0, 1, 2)
            assert v != 0 or x == y == 0
            width, height = sizes[one["image_id"]]
            assert v != 2 or (-0.5 <= x <= width - 0.5 and -0.5 <= y <= height - 0.5)
        assert one["num_keypoints"] == sum(v > 0 for _, _, v in triples)


@pytest.mark.parametrize("scheme", [FIVE, IBUG68])
def test_coco_is_as_coco_says(scheme: Scheme) -> None:
    found = prediction(scheme, 2)
    data = read(coco_text(rows(), [(found, 1), (found, 0), None, None, None], scheme))
    check_coco(data)
    files = [(image["file_name"], image["width"], image["height"]) for image in data["images"]]
    assert files == [("a.png", 50, 48), ("b/M\udcfc.png", 20, 46), ("d.png", 9, 8)]
    first, second = data["annotations"]
    assert (first["image_id"], second["image_id"]) == (1, 2)
    assert (first["bbox"], first["area"]) == ([1, 2.5, 30, 28], 840)
    np.testing.assert_allclose(second["bbox"], found.boxes[0])
    assert first["score"] == pytest.approx(found.confidence[1], abs=6e-5)
    for one, i in ((first, 1), (second, 0)):
        points = np.reshape(one["keypoints"], (-1, 3))
        np.testing.assert_allclose(points[:, :2], found.points[i], atol=0.00501)
    # The second image is 20 pixels wide: its last column ends at 19.5.
    beyond = points[:, 0] >= 19.5
    assert 0 < beyond.sum() < len(beyond)
    np.testing.assert_array_equal(points[:, 2], np.where(beyond, 1, 2))


def test_coco_names_the_points_and_what_joins_them() -> None:
    (face,) = read(coco_text([], [], FIVE))["categories"]
    assert face["keypoints"] == ["left_eye", "right_eye", "nose_tip", "mouth_left", "mouth_right"]
    assert face["skeleton"] == [[1, 2], [1, 3], [2, 3], [3, 4], [3, 5], [4, 5]]
    (face,) = read(coco_text([], [], IBUG68))["categories"]
    assert face["keypoints"][30] == "nose_bridge_3"
    assert [37, 38] in face["skeleton"]
    assert [42, 37] in face["skeleton"]


def test_cocos_own_code_reads_it(tmp_path: Path) -> None:
    """And finds what is compared with itself to be right, as far as 17 points go, which it has."""
    coco = pytest.importorskip("pycocotools.coco", reason="pycocotools is not installed")
    found = prediction(FIVE, 2)
    path = tmp_path / "faces.coco.json"
    path.write_text(coco_text(rows()[:2], [(found, 0), (found, 1)], FIVE))
    truth = coco.COCO(str(path))
    assert truth.getAnnIds(imgIds=[2]) == [2]
    results = [
        {key: one[key] for key in ("image_id", "category_id", "keypoints", "score")}
        for one in truth.dataset["annotations"]
    ]
    there = truth.loadRes(results)
    evaluation = pytest.importorskip("pycocotools.cocoeval").COCOeval(truth, there, "keypoints")
    evaluation.params.kpt_oks_sigmas = np.full(5, 0.05)
    evaluation.evaluate()
    evaluation.accumulate()
    precision = evaluation.eval["precision"]
    assert precision[precision > -1].min() == pytest.approx(1.0)


@pytest.mark.parametrize(
    ("name", "function"),
    [
        ("a.csv", table_text),
        ("a.txt", table_text),
        ("a.json", json_text),
        ("A.JSON", json_text),
        ("a.coco.json", coco_text),
        (None, table_text),
    ],
)
def test_the_name_of_the_file_says_the_format(name: str | None, function: Any) -> None:
    found = [(prediction(FIVE, 1), 0), None]
    path = None if name is None else Path(name)
    faces = zip(rows()[:2], found, strict=True)
    assert "".join(faces_lines(path, faces, FIVE)) == function(rows()[:2], found, FIVE)


def test_what_is_known_of_a_videos_face_stands_beside_its_file() -> None:
    more = {"frame": 7, "time": 0.28, "track": 2}
    row = Row(("a.mp4", "1", "2", "3", "4"), (1, 2, 3, 4), more=more)
    faces = [(row, (prediction(FIVE, 1), 0))]
    lines = [*faces_lines(None, iter(faces), FIVE, ("frame", "time", "track"))]
    assert lines[0].startswith("file,frame,time,track,x,y,w,h,x0,y0,")
    assert lines[1].startswith("a.mp4,7,0.28,2,1,2,3,4,")
    (face,) = read("".join(json_lines(iter(faces), FIVE)))
    assert {name: face[name] for name in more} == more


def test_an_empty_list_is_json() -> None:
    assert read("".join(json_lines([], FIVE))) == []
