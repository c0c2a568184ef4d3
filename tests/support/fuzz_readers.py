"""What is read of files, for `fuzz`: small files of every kind, and what is made of them."""

from __future__ import annotations

import io
import json
import struct
import zipfile
from pathlib import Path
from typing import Any

import fuzz_datasets
import numpy as np
import tiny
from fuzz import Files, Reader, changed, changed_words, put
from PIL import Image
from torch_layouts import example, legacy, zipped

from lrjax.annotate.faces import Face
from lrjax.annotate.store import COLUMNS, TABLE, Store, read_points
from lrjax.config import override, to_dict
from lrjax.convert.torch_files import read_state, read_wheel
from lrjax.errors import InputError
from lrjax.files import parse_json, write_json
from lrjax.geometry.fits import FITS, fit_template
from lrjax.geometry.points import box_problem
from lrjax.geometry.templates import TEMPLATES
from lrjax.inference import tables
from lrjax.inference.images import read_rgb
from lrjax.inference.landmarks import LandmarkPredictor
from lrjax.models import weights
from lrjax.models.s2ld import LandmarkConfig
from lrjax.report import page
from lrjax.report.results import Claim, Result, gather
from lrjax.report.tables import Table
from lrjax.tasks import run_folder, runs
from lrjax.tasks.landmarks import LandmarksConfig
from lrjax.tfds_builders.common import AnnotationError, open_photo
from lrjax.training import log


def make(folder: Path) -> list[Reader]:
    """Make every reader, whose files are in `folder`."""
    rng = np.random.default_rng(0)
    return [
        Reader("image", _images(folder, rng), _read_image, changed, weight=8),
        Reader("table", _tables(folder), _read_table),
        Reader("points", _tables(folder), _read_points),
        Reader("annotations", _annotations(folder / "annotated"), _read_annotations),
        Reader(
            "request",
            [(folder / "request", b"[[1, 2], [3.5, 4], [-1, -1], [5, 6], [7, 8]]")],
            _read_request,
        ),
        Reader("result", _results(folder / "results"), _read_result),
        Reader("run", _run(folder / "run"), _read_run),
        Reader("setting", [(folder / "setting", b"augment.rotation=30.5")], _read_setting),
        Reader("weights", _weights(folder), _read_weights, _changed_weights, weight=2),
        Reader("pytorch", _states(folder), _read_state, changed),
        Reader("wheel", _wheel(folder), _read_wheel, changed),
        *fuzz_datasets.make(folder),
    ]


def _images(folder: Path, rng: np.random.Generator) -> Files:
    grey = Image.fromarray(rng.integers(0, 256, (24, 32), dtype=np.uint8))
    kinds = [(k, grey.convert("RGB"), {}) for k in ("JPEG", "PNG", "BMP", "WEBP", "PPM", "TIFF")]
    kinds += [("GIF", grey.convert("P"), {}), ("PNG", grey.convert("P"), {"transparency": 3})]
    kinds += [("PNG", grey.convert("RGBA"), {}), ("JPEG", grey.convert("CMYK"), {})]
    kinds += [("TIFF", grey.convert("RGB"), {"compression": c}) for c in ("tiff_lzw", "jpeg")]
    kinds += [
        ("JPEG", grey, {"progressive": True}),
        ("WEBP", grey.convert("RGBA"), {"lossless": 1}),
    ]
    kinds += [("PNG", Image.fromarray(rng.integers(0, 65536, (8, 9)).astype(np.uint16)), {})]
    files = []
    for i, (kind, image, options) in enumerate(kinds):
        stream = io.BytesIO()
        image.save(stream, kind, **options)
        files.append(put(folder / f"{i}.jpg", stream.getvalue()))
    return files


def _read_image(path: Path) -> None:
    """By both decoders: that of the datasets refuses more, as eight decode at once."""
    try:
        size = read_rgb(path).size
    except InputError:
        size = None
    try:
        assert open_photo(path).size == size
    except AnnotationError as error:
        raise InputError(str(error)) from error


def _tables(folder: Path) -> Files:
    names = ",".join(f"{axis}{i}" for i in range(5) for axis in "xy")
    points = "10,10,20,10,15,15,11,20,19,20"
    rows = [f"a.png,{i},2.5,{20 + i},30,{points},0.9" for i in range(3)]
    text = (
        "\n".join([f"file,x,y,w,h,{names},confidence", *rows, '"b, c.png",,,,,,,,,,,,,,,']) + "\n"
    )
    return [
        put(folder / "table.csv", text),
        put(folder / "bare.csv", "file,x,y,w,h\na,1,2,3,4\n"),
    ]


def _usable(rows: list[tables.Row]) -> list[np.ndarray]:
    size = (64, 48)
    boxes = [row.box for row in rows if not row.problem and row.box is not None]
    return [np.array(box, np.float32) for box in boxes if box_problem(box, size) is None]


def _read_table(path: Path) -> Any:
    rows = tables.read_rows(path)
    tables.table_text(rows, [None] * len(rows), tables.FIVE).encode("utf-8", "surrogateescape")
    return _usable(rows)


def _read_points(path: Path) -> Any:
    rows, points, visible = tables.read_points(path)
    sizes = np.tile([64.0, 48.0], (len(rows), 1))
    fits = [fit_template(points, visible, TEMPLATES["arcface112"], f, sizes)[0] for f in FITS]
    return [points.astype(np.float32), fits, _usable(rows)]


def _annotations(folder: Path) -> Files:
    rows = ["a.png,Ann,1,2,3,4,-1,-1,5,6,7,8", "b.png,Bob,1.5,2,3,4,5,6,5,6,7,8"]
    return [put(folder / TABLE, "\n".join([",".join(COLUMNS), *rows]) + "\n")]


def _read_annotations(path: Path) -> Any:
    store = Store(path.parent, [_FACE])
    store.save(_FACE, "Cay", np.ones((5, 2)))
    return [
        store.points(_FACE, name)
        for name in store.annotators
        if store.points(_FACE, name) is not None
    ]


_FACE = Face("a.png", "a.png", (30, 40), (-10, -10, 60, 70), b"", b"")


def _read_request(path: Path) -> Any:
    try:
        value = parse_json(path.read_bytes())
    except ValueError as error:
        raise InputError("no JSON") from error
    return read_points(value, _FACE)


def _results(folder: Path) -> Files:
    table = Table(
        "A table", ("name", "rank-1, paper", "rank-1, ours"), (("a", 1.5, 2), ("b", None, 3))
    )
    claim = Claim("a > b", (1.0, 2.0), (3.0, 4.0), (-0.5, 0.5), "here")
    result = Result(
        "A result", 1.0, (table,), (), ("Note with `code`.",), claims=(claim,), seconds=2.5
    )
    result.save(folder / "result.json")
    return [put(folder / "result.json", (folder / "result.json").read_bytes())]


def _read_result(path: Path) -> None:
    found = gather([path.parent])
    page.render_page("Title", found).encode()
    for _, result in found:
        result.to_markdown().encode()


def _run(folder: Path) -> Files:
    config = LandmarksConfig()
    write_json(folder / "config.json", {"task": "landmarks", **to_dict(config)})
    data = {"labelled": {"faces": 3, "fingerprint": "a"}}
    write_json(folder / "environment.json", {"data": data, "weights": {"stage1": {"a": "b"}}})
    lines = [json.dumps({"step": i, "loss": 1 / (i + 1), "best": 0.5}) for i in range(4)]
    metrics = put(folder / "metrics.jsonl", "\n".join(lines) + "\n")
    names = ("config.json", "environment.json")
    return [*(put(folder / name, (folder / name).read_bytes()) for name in names), metrics]


def _read_run(path: Path) -> Any:
    if path.name == "metrics.jsonl":
        log.Log(path.parent, 2).close()
        return [record["step"] for record in log.read(path)]
    config = runs.load_config(path.parent)
    run_folder.check_weights({"stage1": "pretrained"}, path.parent)
    run_folder.check_data({"labelled": tiny.numbers(tiny.faces(3, 16))}, path.parent)
    return [config.augment.rotation, config.g2.sigma]


def _read_setting(path: Path) -> Any:
    text = path.read_bytes().decode("utf-8", "surrogateescape")
    return override(LandmarksConfig(), [text]).augment.rotation


def _weights(folder: Path) -> Files:
    config = LandmarkConfig(points="five", stem=4, widths=(4,), size=16, decoder="soft")
    path = tiny.network_file(folder / "net.safetensors", config)
    return [put(path, path.read_bytes())]


def _changed_weights(data: bytes, rng: np.random.Generator) -> bytes:
    """Changes anywhere, or in the header or its metadata, the length being right again."""
    if rng.random() < 0.4:
        return changed(data, rng)
    (length,) = struct.unpack_from("<Q", data)
    header, numbers = data[8 : 8 + length], data[8 + length :]
    if rng.random() < 0.3:
        header = changed_words(header, rng)
    else:
        values = json.loads(header)
        about = values["__metadata__"]["lrjax"].encode()
        values["__metadata__"]["lrjax"] = changed_words(about, rng).decode("utf-8", "replace")
        header = json.dumps(values).encode()
    return struct.pack("<Q", len(header)) + header + numbers


def _read_weights(path: Path) -> Any:
    found = weights.load(path, "g2", ("landmarks",))
    size = found.network.size
    if max(size) > 64:
        return found.variables
    points, sure = LandmarkPredictor(found).predict_crops(np.full((1, *size, 3), 99, np.uint8))
    return [points, sure, found.provenance]


def _states(folder: Path) -> Files:
    state, storages, _ = example()
    made = [
        zipped(folder / "zip.pt", state, storages),
        legacy(folder / "legacy.pt", state, storages),
    ]
    tensors = weights.to_safetensors({"a": np.ones((2, 3), np.float32)})
    return [
        *(put(path, path.read_bytes()) for path in made),
        put(folder / "a.safetensors", tensors),
    ]


def _read_state(path: Path) -> None:
    for value in read_state(path).values():
        value.sum()  # every number of it can be read


def _wheel(folder: Path) -> Files:
    state, storages, _ = example()
    inner = legacy(folder / "inner.pt", state, storages).read_bytes()
    with zipfile.ZipFile(folder / "a.whl", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("package/inner.pt", inner)
    return [put(folder / "a.whl", (folder / "a.whl").read_bytes())]


def _read_wheel(path: Path) -> None:
    read_wheel(path, {"net": "package/inner.pt"})
