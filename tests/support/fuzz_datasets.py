"""What is read of datasets' official files, for `fuzz`."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Any

import numpy as np
import scipy.io
from fuzz import Files, Reader, changed, put

from lrjax.errors import InputError
from lrjax.tfds_builders.alrf.annotations import read_table as read_alrf
from lrjax.tfds_builders.celeba.celeba_dataset_builder import read_table as read_celeba
from lrjax.tfds_builders.celeba.celeba_dataset_builder import scaled_points
from lrjax.tfds_builders.common import AnnotationError, Report, photos_at_hand
from lrjax.tfds_builders.face_records.face_records_dataset_builder import scan_headers
from lrjax.tfds_builders.face_records.recordio import RecordError, RecordFile, read_index
from lrjax.tfds_builders.mtfl.mtfl_dataset_builder import read_faces
from lrjax.tfds_builders.tinyface import pairs
from lrjax.tfds_builders.w300.w300_dataset_builder import read_points as read_pts
from lrjax.tfds_builders.wider_face_crops import annotations as wider


def make(folder: Path) -> list[Reader]:
    """Make the readers, whose files are in `folder`."""
    return [
        Reader("records", _records(folder / "records"), _read_records, changed, (RecordError,)),
        Reader("index", _records(folder / "records")[1:], _read_records, refuses=(RecordError,)),
        Reader("labels", _labels(folder / "labels"), _read_labels, refuses=(AnnotationError,)),
        Reader(
            "report", _report(folder / "prepared"), lambda p: vars(Report.load(p.parent))["notes"]
        ),
        Reader("matlab", _mats(folder), _read_mat, changed, weight=0.02),
    ]


def _records(folder: Path) -> Files:
    content, offsets = b"", []
    heads = [
        (2, 0.0, struct.pack("<2f", 4, 6)),
        (0, 7.0, b"picture"),
        (0, 8.0, b"other"),
        (1, 0.0, struct.pack("<f", 9)),
    ]
    for key, (flag, label, rest) in enumerate(heads):
        record = struct.pack("<IfQQ", flag, label, key, 0) + rest
        offsets.append(len(content))
        content += struct.pack("<II", 0xCED7230A, len(record)) + record + bytes(-len(record) % 4)
    index = "".join(f"{key}\t{offset}\n" for key, offset in enumerate(offsets))
    return [put(folder / "train.rec", content), put(folder / "train.idx", index)]


def _read_records(path: Path) -> Any:
    report = Report()
    try:
        keys, offsets = read_index(path.with_name("train.idx"))
    except ValueError as error:
        raise InputError(str(error)) from error
    with RecordFile(path.with_name("train.rec")) as file:
        entries = scan_headers(file, keys, offsets, report)
        for offset in entries["offset"].tolist():
            try:
                file.read(offset)
            except RecordError:
                continue


def _labels(folder: Path) -> Files:
    points = " ".join(str(10 + 3 * i) for i in range(10))
    pts = "version: 1\nn_points: 68\n{\n" + "\n".join(f"{i}.5 {2 * i}" for i in range(68)) + "\n}\n"
    names = ",".join(f"{axis}{i}" for i in range(5) for axis in "xy")
    return [
        put(folder / "celeba.txt", f"2\nlefteye_x ...\n000001.jpg {points}\n000002.jpg {points}\n"),
        put(folder / "mtfl.txt", f"a\\b.jpg {points} 1 2 1 3\nb.jpg {points} 1 1 1 1\n"),
        put(folder / "a.pts", pts),
        put(
            folder / "wider.txt",
            "0--A/a.jpg\n1\n1 2 30 40 0 0 0 0 0 0\n1--B/b.jpg\n0\n" + "0 " * 10,
        ),
        put(
            folder / "alrf.csv",
            f"file,x,y,w,h,{names}\na.jpg,1,2,30,40,{points.replace(' ', ',')}\n",
        ),
    ]


def _read_labels(path: Path) -> Any:
    report = Report()
    if path.name == "celeba.txt":
        rows = read_celeba(path, 10, report, header=2)
        return [scaled_points(row.reshape(5, 2), (178, 218)) for row in rows.values()]
    if path.name == "a.pts":
        return read_pts(path).astype(np.float32)
    if path.name == "wider.txt":
        return [record.boxes.astype(np.float32) for record in wider.read_text(path, report)]
    if path.name == "alrf.csv":
        rows = read_alrf(path, with_boxes=True, report=report)
        return [np.where(row.visible[:, None], row.points, 0).astype(np.float32) for row in rows]
    faces = list(read_faces(path, report))
    photos_at_hand(path.parent, faces, "train", report)
    return [face.points.astype(np.float32) for _, face in faces]


def _report(folder: Path) -> Files:
    report = Report()
    report.count("train", "written", 3)
    report.skip("the image is missing", "a.jpg")
    report.note("A note.")
    folder.mkdir()
    report.save(folder)
    return [put(folder / "report.json", (folder / "report.json").read_bytes())]


def _mats(folder: Path) -> Files:
    names = np.array([["a.jpg"], ["b.jpg"], ["c.jpg"]], object)
    content = {"probe_set": names, "probe_ids": np.uint16([[1], [2], [3]])}
    scipy.io.savemat(folder / "a.mat", content)
    scipy.io.savemat(folder / "b.mat", content, do_compression=True)
    return [put(folder / name, (folder / name).read_bytes()) for name in ("a.mat", "b.mat")]


def _read_mat(path: Path) -> Any:
    return [float(number) for _, number in pairs.read_pairs(path, pairs.PROBE, Report())]
