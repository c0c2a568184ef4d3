"""`lrjax evaluate` as a user calls it."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner, Result
from PIL import Image

from lrjax.cli.evaluate import evaluate
from lrjax.cli.prepare import prepare_dataset
from lrjax.errors import InputError
from lrjax.evaluation.landmarks import normaliser, summary
from lrjax.geometry.points import IBUG68
from lrjax.inference.landmarks import LandmarkPredictor, Prediction
from lrjax.report.results import Result as Report
from lrjax.tasks.measure import disturbed, measure_photographs
from lrjax.tasks.measure_small import measure_degraded

COUNT = 5


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Five faces of 300W's training set and one of ALRF, prepared; their truth is in `points`."""
    root = tmp_path_factory.mktemp("official")
    (root / "300W" / "afw").mkdir(parents=True)
    for i in range(COUNT):
        noise = np.random.default_rng(i).integers(0, 256, (12, 15, 3), dtype=np.uint8)
        Image.fromarray(noise).resize((300, 240)).save(root / "300W" / "afw" / f"{i}.png")
        lines = "\n".join(f"{x + 1} {y + 1}" for x, y in points(i))
        (root / "300W" / "afw" / f"{i}.pts").write_text(
            f"version: 1\nn_points: 68\n{{\n{lines}\n}}\n"
        )
    (root / "ALRF" / "faces").mkdir(parents=True)
    Image.new("RGB", (25, 36), (90, 90, 90)).save(root / "ALRF" / "faces" / "0.png")
    header = "file,annotator," + ",".join(f"x{k},y{k}" for k in range(5))
    (root / "ALRF" / "annotations.csv").write_text(f"{header}\n0.png,a,6,8,18,8,-1,-1,8,24,16,24")
    prepare_dataset("w300", root / "prepared", root / "300W")
    prepare_dataset("alrf", root / "prepared", root / "ALRF")
    return root / "prepared"


def points(i: int) -> np.ndarray:
    angles = np.arange(68) * np.pi / 34
    return np.array([150 + 3 * i, 120]) + 40 * np.stack([np.cos(angles), np.sin(angles)], axis=1)


@pytest.fixture
def run(tiny_weights: Path, data_dir: Path) -> Callable[..., Result]:
    def invoke(*arguments: object) -> Result:
        words = [str(tiny_weights), *map(str, arguments), "--data-dir", str(data_dir)]
        return CliRunner().invoke(evaluate, words)

    return invoke


@pytest.fixture(scope="module")
def predictor(tiny_weights: Path) -> LandmarkPredictor:
    return LandmarkPredictor.load(tiny_weights)


def test_a_table_and_curves(run, tmp_path: Path) -> None:
    out = tmp_path / "result.json"
    done = run("w300:train", "alrf:test", "--no-flip", "--passes", "1", "--out", out)
    assert done.exit_code == 0, done.exception
    report = Report.load(out)
    table, kinds = report.tables
    # The points lie on circles of a radius of 40, and those of the eyes on one side of them.
    assert {row[0] for row in kinds.rows} == {row[0] for row in table.rows}
    by_kind = {(row[0][:4], row[1]): row[-1] for row in kinds.rows}
    assert (by_kind["w300", "from 48 px"], by_kind["alrf", "from 24 to 32 px"]) == (COUNT, 1)
    assert by_kind["alrf", "turned, not known"] == 1  # its nose is hidden
    assert sum(count for (data, _), count in by_kind.items() if data == "w300") == 2 * COUNT
    assert [row[:2] for row in table.rows] == [
        (f"w300:train: {COUNT} faces in their photographs", "inter_ocular"),
        (f"w300:train: {COUNT} faces in their photographs", "inter_pupil"),
        (f"w300:train: {COUNT} faces in their photographs", "face_size"),
        ("alrf:test: 1 faces in their photographs", "face_size"),
    ]
    assert "inter_ocular" in done.stdout
    assert table.columns[9:11] == ("surer half", "AURC")
    # Of one face, any half is that face.
    assert table.rows[3][9] == table.rows[3][10] == table.rows[3][2]
    assert "w300:train alrf:test" in report.command
    assert report.command.endswith("--no-flip --passes 1")
    assert [figure.file for figure in report.figures] == [
        "result-inter_ocular.svg",
        "result-inter_ocular-risk.svg",
        "result-face_size.svg",
        "result-face_size-risk.svg",
    ]
    assert all((tmp_path / figure.file).is_file() for figure in report.figures)


def test_a_full_disk_is_told_by_the_result_after_it_is_said(
    run, tmp_path: Path, small_files: Callable[[int], AbstractContextManager[None]]
) -> None:
    words = ("alrf:test", "--no-flip", "--passes", "1")
    with small_files(100):
        done = run(*words, "--out", tmp_path / "result.json")
    assert isinstance(done.exception, OSError)
    assert done.exception.strerror == "File too large"
    assert done.exception.filename.startswith(str(tmp_path / "result"))
    assert done.stdout.splitlines()[-1] == run(*words).stdout.splitlines()[-1]
    assert list(tmp_path.glob("*result*")) == []


def test_several_sizes(run) -> None:
    done = run("w300:train", "--size", "20", "--size", "16.5", "--passes", "1", "--scales", "1,1.1")
    assert done.exit_code == 0, done.exception
    assert done.stdout.count("| inter_pupil") == 2
    assert done.stdout.index("boxes of 20 pixels") < done.stdout.index("boxes of 16.5 pixels")
    assert "`lrjax evaluate " in done.stdout
    assert "w300:train --size 20 --size 16.5 --passes 1 --scales 1,1.1`" in done.stdout


def test_the_error_is_that_of_the_prediction(predictor: LandmarkPredictor, data_dir: Path) -> None:
    """The same faces looked at through the public call, and measured by hand."""
    found = measure_photographs(predictor, "w300:train", data_dir)
    assert found.names == tuple(f"afw/{i}" for i in range(COUNT))
    for i in range(COUNT):
        noise = np.random.default_rng(i).integers(0, 256, (12, 15, 3), dtype=np.uint8)
        photo = np.asarray(Image.fromarray(noise).resize((300, 240)))
        # Tight box 80 x 80, its top raised by a fifth of its height.
        box = [110 + 3 * i + 0.5, 64 + 0.5, 80, 96]
        predicted = predictor(photo, box).points[0].astype(float)
        error = np.linalg.norm(predicted - points(i), axis=1).mean()
        np.testing.assert_allclose(
            found.errors("face_size")[i], error / np.sqrt(80 * 96), rtol=0.02
        )
        eyes = np.linalg.norm(points(i)[36] - points(i)[45])
        np.testing.assert_allclose(found.errors("inter_ocular")[i], error / eyes, rtol=0.02)


def test_shrunk_faces_keep_their_relative_truth(
    predictor: LandmarkPredictor, data_dir: Path
) -> None:
    small = measure_photographs(predictor, "w300:train", data_dir, size=24)
    np.testing.assert_allclose(np.sqrt(small.boxes[:, 2:].prod(1)), 24)
    large = measure_photographs(predictor, "w300:train", data_dir)
    factor = 24 / np.sqrt(80 * 96)
    np.testing.assert_allclose(small.truth, (large.truth + 0.5) * factor - 0.5, rtol=1e-5)
    assert "shrunk to face boxes of 24 pixels" in small.data
    assert small.label == "w300:train at 24 px"


def test_boxes_are_disturbed_as_much_as_asked() -> None:
    box = np.array([100.0, 50.0, 16.0, 25.0])
    moved = np.array([disturbed(box, (0.15, 0.2), seed) for seed in range(4000)])
    centre = (moved[:, :2] + (moved[:, 2:] - 1) / 2 - [107.5, 62.0]) / 20
    np.testing.assert_allclose(centre.std(0), 0.15, rtol=0.05)
    np.testing.assert_allclose(centre.mean(0), 0, atol=0.01)
    growth = np.log(moved[:, 2:] / box[2:])
    np.testing.assert_allclose(growth[:, 0], growth[:, 1])
    np.testing.assert_allclose([growth.mean(), growth.std()], [0, 0.2], atol=0.01)
    np.testing.assert_array_equal(disturbed(box, (0.0, 0.0), 1), box)


def test_bad_boxes_on_the_command_line(run: Callable[..., Result]) -> None:
    done = run("w300:train", "--box-noise", "0.15,0.2", "--passes", "1")
    assert done.exit_code == 0, done.exception
    assert "given boxes moved by 15% and scaled by 20%" in done.stdout
    for wrong in ("0.15,2", "nan,0"):
        done = run("w300:train", "--box-noise", wrong)
        assert "give two deviations from 0 to 1" in str(done.exception)


def test_errors_with_bad_boxes_are_divided_by_the_annotated_ones(
    predictor: LandmarkPredictor, data_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given: list[np.ndarray] = []
    predict = predictor.predict

    def watched(photos: Any, boxes: np.ndarray, owner: np.ndarray) -> Prediction:
        given.append(boxes)
        return predict(photos, boxes, owner)

    monkeypatch.setattr(predictor, "predict", watched)
    good = measure_photographs(predictor, "w300:train", data_dir)
    bad = measure_photographs(predictor, "w300:train", data_dir, box_noise=(0.1, 0.1))
    np.testing.assert_array_equal(good.boxes, bad.boxes)
    np.testing.assert_array_equal(given[0], good.boxes)
    assert (given[1] != good.boxes).all()
    assert "given boxes moved by 10% and scaled by 10%" in bad.data


def test_five_points_of_which_one_is_hidden(predictor: LandmarkPredictor, data_dir: Path) -> None:
    found = measure_photographs(predictor, "alrf:test", data_dir)
    face = np.full((36, 25, 3), 90, np.uint8)
    predicted = predictor(face, "whole", points="five").points[0]
    truth = np.array([[6, 8], [18, 8], [0, 0], [8, 24], [16, 24]])
    distance = np.linalg.norm(predicted - truth, axis=1)[[0, 1, 3, 4]].mean()
    np.testing.assert_allclose(found.errors("face_size"), [distance / 30], rtol=1e-3)


def test_degraded_views(run, predictor: LandmarkPredictor, data_dir: Path, tmp_path: Path) -> None:
    out = tmp_path / "result.json"
    done = run("w300:train", "--degradation", "subsample", "--out", out)
    assert done.exit_code == 0, done.exception
    found = measure_degraded(predictor, "w300:train", data_dir, "subsample")
    # The view is 1.25 face sides wide and 32 pixels: the circle of points has this radius in it.
    side = 32 / 1.25
    radius = 40 * side / np.sqrt(80 * 96)
    centre = found.truth.mean(1, keepdims=True)
    np.testing.assert_allclose(np.linalg.norm(found.truth - centre, axis=-1), radius, rtol=1e-3)
    np.testing.assert_allclose(np.sqrt(found.boxes[:, 2:].prod(1)), side)
    sizes = normaliser("inter_ocular", found.truth, None, found.visible, IBUG68)
    by_hand = np.linalg.norm(found.predicted - found.truth, axis=-1).mean(1) / sizes
    wanted = summary(by_hand)["nrmse"]
    surest = sorted(range(COUNT), key=lambda i: -found.confidence[i])
    risks = [100 * by_hand[surest[:k]].mean() for k in (1, 2, 3, 4, 5)]
    halves = Report.load(out).tables[0].rows[0][9:11]
    np.testing.assert_allclose(halves, (risks[2], np.mean(risks)), rtol=1e-5)
    np.testing.assert_allclose(Report.load(out).tables[0].rows[0][2], wanted, rtol=1e-6)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["w300:common"], "no split 'common'"),
        (["lfw:test"], "'lfw' is not prepared"),
        (["w300:train", "--size", "20", "--degradation", "camera"], "--size shrinks photographs"),
        (["w300:train", "--degradation", "generator"], "--stage1"),
        (["w300:train", "--which", "best"], "holds no trained g2"),
    ],
)
def test_what_cannot_be_measured(run, arguments: list[str], message: str) -> None:
    done = run(*arguments)
    assert isinstance(done.exception, InputError)
    assert message in str(done.exception)
