"""State dicts out of a wheel, which is a zip archive that anybody may have made."""

from __future__ import annotations

import hashlib
import io
import pickle
import struct
import subprocess
import sys
import zipfile
from collections import OrderedDict
from pathlib import Path

import jax
import numpy as np
import pytest
import tiny
from click.testing import CliRunner, Result
from flax import traverse_util

from lrjax.cli.convert import convert
from lrjax.convert import torch_files
from lrjax.convert.torch_files import MAGIC, PROTOCOL
from lrjax.errors import InputError
from lrjax.models import weights
from lrjax.models.mtcnn import NAMES, MTCNNConfig
from lrjax.models.registry import build

WHEEL = "facenet_pytorch-2.6.0-py3-none-any.whl"


class Tensors(pickle._Pickler):
    """Pickles arrays as `torch.save` did before there were archives; `storages` are theirs."""

    def __init__(self, file: io.BytesIO) -> None:
        super().__init__(file, 2)
        self.storages: list[np.ndarray] = []

    def save(self, value: object, save_persistent_id: bool = True) -> None:
        if not isinstance(value, np.ndarray):
            super().save(value, save_persistent_id)
            return
        strides = tuple(step // value.itemsize for step in value.strides)
        self.write(b"ctorch._utils\n_rebuild_tensor_v2\n((")
        self.save("storage")
        self.write(b"ctorch\nFloatStorage\n")
        for part in (str(len(self.storages)), "cpu", value.size, None):
            self.save(part)
        self.write(b"tQ")
        self.storages.append(value)
        for part in (0, value.shape, strides, False, OrderedDict()):
            self.save(part)
        self.write(b"tR")


def saved(state: dict[str, np.ndarray]) -> bytes:
    """A state dict as the wheel has it."""
    body = io.BytesIO()
    tensors = Tensors(body)
    tensors.dump(OrderedDict(state))
    system = {"protocol_version": PROTOCOL, "little_endian": True, "type_sizes": {"int": 4}}
    keys = [str(i) for i in range(len(tensors.storages))]
    head = b"".join(pickle.dumps(part, 2) for part in (MAGIC, PROTOCOL, system))
    parts = [head, body.getvalue(), pickle.dumps(keys, 2)]
    for values in tensors.storages:
        parts += [struct.pack("<q", values.size), values.tobytes()]
    return b"".join(parts)


def theirs() -> tuple[dict[str, bytes], dict]:
    """The files of a wheel by their names, and our variables that they stand for."""
    ours = tiny.filled(build(MTCNNConfig()).shapes())
    files = {"facenet_pytorch/__init__.py": b"raise SystemExit('was run')"}
    for name in NAMES:
        state = {}
        for (*layer, value), array in traverse_util.flatten_dict(ours["params"][name]).items():
            own = array.transpose(3, 2, 0, 1) if array.ndim == 4 else array.T
            key = f"{'.'.join(layer)}.{'bias' if value == 'bias' else 'weight'}"
            state[key] = np.ascontiguousarray(own)
        files[f"facenet_pytorch/data/{name}.pt"] = saved(state)
    return files, ours


def written(folder: Path, files: dict[str, bytes], packed: int = zipfile.ZIP_DEFLATED) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(folder / WHEEL, "w", packed) as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return folder / WHEEL


def run(wheel: Path, out: Path) -> Result:
    return CliRunner().invoke(convert, ["mtcnn", str(wheel), "--out", str(out)])


def test_a_wheel_becomes_the_network(tmp_path: Path) -> None:
    """Twice, to the byte; the package in it is not run."""
    files, ours = theirs()
    wheel, out = written(tmp_path, files), tmp_path / "mtcnn.safetensors"
    done = run(wheel, out)
    assert done.exit_code == 0, done.output
    assert done.output == f"{out}: mtcnn, 495,850 parameters of {wheel}\n"
    found = weights.load(out, "mtcnn", ("detector",))
    assert found.network.config == MTCNNConfig()
    assert tiny.same(found.variables, ours)
    digest = hashlib.sha256(wheel.read_bytes()).hexdigest()
    assert found.provenance == {"source": WHEEL, "sha256": digest}
    (tmp_path / "elsewhere").mkdir()
    again = tmp_path / "elsewhere" / "again.safetensors"
    run(wheel.rename(tmp_path / "elsewhere" / WHEEL), again)
    assert again.read_bytes() == out.read_bytes()


def test_what_is_no_such_wheel_is_one_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files, _ = theirs()
    member = "facenet_pytorch/data/rnet.pt"
    out = tmp_path / "mtcnn.safetensors"

    def refused(wheel: Path) -> str:
        error = run(wheel, out).exception
        assert isinstance(error, InputError)
        assert "\n" not in str(error)
        assert not out.exists()
        return str(error)

    assert "There is no wheel" in refused(tmp_path / "absent.whl")
    (tmp_path / "text.whl").write_text("not a zip archive")
    assert "pnet.pt in" in refused(tmp_path / "text.whl")
    lacking = {name: data for name, data in files.items() if name != member}
    assert f"{member} in" in refused(written(tmp_path / "lacking", lacking))
    harmful = files | {member: pickle.dumps(print)}
    assert "rnet.pt in" in refused(written(tmp_path / "harmful", harmful))
    other = files | {member: files["facenet_pytorch/data/pnet.pt"]}
    assert "not those of mtcnn" in refused(written(tmp_path / "other", other))
    whole = written(tmp_path / "cut", files)
    data = bytearray(whole.read_bytes())
    middle = data.index(b"rnet.pt") + 5000
    data[middle : middle + 50] = bytes(50)
    whole.write_bytes(data)
    assert "cannot be unpacked" in refused(whole)
    packed = written(tmp_path / "packed", files, zipfile.ZIP_LZMA)
    data = bytearray(packed.read_bytes())
    middle = data.index(b"rnet.pt") + 5000
    data[middle : middle + 50] = bytes(50)
    packed.write_bytes(data)
    assert "cannot be unpacked" in refused(packed)
    monkeypatch.setattr(torch_files, "LARGEST_MEMBER", 1 << 20)
    assert "onet.pt in" in refused(written(tmp_path / "large", files))
    assert "more than 1 MB" in refused(tmp_path / "large" / WHEEL)


def test_the_detector_that_comes_along_says_where_it_is_from() -> None:
    found = weights.load("pretrained", "mtcnn", ("detector",))
    assert sum(leaf.size for leaf in jax.tree.leaves(found.variables)) == 495_850
    assert found.provenance["source"] == WHEEL
    licence = weights.DETECTOR.with_name("mtcnn-LICENSE.txt").read_text()
    assert "Copyright (c) 2019 Timothy Esler" in licence


@pytest.mark.slow
def test_the_detector_that_comes_along_is_that_of_the_wheel(tmp_path: Path) -> None:
    """To the byte, where the package index has the wheel."""
    command = [sys.executable, "-m", "pip", "download", "-q", "--no-deps", "facenet-pytorch==2.6.0"]
    got = subprocess.run([*command, "-d", str(tmp_path)], capture_output=True, timeout=300)
    if got.returncode or not (tmp_path / WHEEL).is_file():
        pytest.skip("pip cannot get facenet-pytorch 2.6.0 here")
    out = tmp_path / "mtcnn.safetensors"
    assert run(tmp_path / WHEEL, out).exit_code == 0
    assert out.read_bytes() == weights.DETECTOR.read_bytes()
