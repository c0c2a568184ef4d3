"""PyTorch's files: their numbers are read, and nothing of them is run."""

from __future__ import annotations

import os
import pickle
import struct
import time
import zipfile
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import save_file
from torch_layouts import Call, Storage, example, legacy, pickled, tensor, zipped

from lrjax.convert.torch_files import MAGIC, PROTOCOL, read_state
from lrjax.errors import InputError

LAYOUTS = {"zip": zipped, "legacy": legacy}
every_layout = pytest.mark.parametrize("write", LAYOUTS.values(), ids=list(LAYOUTS))
Write = Callable[..., Path]


def same(found: dict[str, np.ndarray], expected: dict[str, np.ndarray]) -> None:
    assert list(found) == list(expected)
    for name, value in expected.items():
        assert found[name].dtype == value.dtype
        np.testing.assert_array_equal(found[name], value, err_msg=name)


@every_layout
def test_tensors_are_read(write: Write, tmp_path: Path) -> None:
    state, storages, expected = example()
    same(read_state(write(tmp_path / "a.pt", state, storages)), expected)


@every_layout
def test_wrappers_and_prefixes_are_taken_off(write: Write, tmp_path: Path) -> None:
    state, storages, expected = example()
    parallel = OrderedDict((f"module.{name}", value) for name, value in state.items())
    wrapped = {"epoch": 3, "best": 0.5, "arch": "x", "state_dict": parallel, "done": [True, None]}
    same(read_state(write(tmp_path / "a.pt", wrapped, storages)), expected)


def test_safetensors_are_read(tmp_path: Path) -> None:
    save_file({"module.a": np.ones((2, 3), np.float32)}, tmp_path / "a.safetensors")
    same(read_state(tmp_path / "a.safetensors"), {"a": np.ones((2, 3), np.float32)})


def test_big_endian(tmp_path: Path) -> None:
    values = np.float32([1, 2, 3])
    storage = Storage("0", values, "FloatStorage")
    path = tmp_path / "a.pt"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("x/data.pkl", pickled({"a": tensor(storage, (3,), (1,))}))
        archive.writestr("x/byteorder", "big")
        archive.writestr("x/data/0", values.astype(">f4").tobytes())
    np.testing.assert_array_equal(read_state(path)["a"], values)


@pytest.mark.parametrize("new", [True, False], ids=["zip", "legacy"])
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_files_of_pytorch(new: bool, tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    torch.manual_seed(0)
    module = torch.nn.Sequential(torch.nn.Conv2d(2, 3, 3), torch.nn.BatchNorm2d(3))
    state = module.state_dict()
    state["view"] = torch.randn(4, 6)[1:3, ::2].t()
    state["half"] = torch.randn(5).half()
    state["brain"] = torch.randn(5).bfloat16()
    state["parameter"] = torch.nn.Parameter(torch.randn(2))
    torch.save(
        {
            "state_dict": state,
            "epoch": 7,
            "optimizer": torch.optim.SGD(module.parameters()).state_dict(),
        },
        tmp_path / "a.pth",
        _use_new_zipfile_serialization=new,
    )
    found = read_state(tmp_path / "a.pth")
    assert list(found) == list(state)
    for name, value in state.items():
        wide = value.float() if value.dtype == torch.bfloat16 else value
        np.testing.assert_array_equal(found[name], wide.detach().numpy(), err_msg=name)


# Malice.


def commands(target: Path) -> dict[str, bytes]:
    """Pickles that would write a file if they were run."""
    shell = f"touch {target}"
    return {
        "system": pickled(Call("posix.system", shell)),
        "eval": pickled(Call("builtins.eval", f"open({str(target)!r}, 'w')")),
        "in a state dict": pickled({"a": Call("posix.system", shell)}),
        "as a class's argument": pickled(Call("collections.OrderedDict", Call("os.system", shell))),
        # The other ways in which a pickle can call: INST, OBJ, NEWOBJ, and the state of an object.
        "inst": b"(S'" + shell.encode() + b"'\nios\nsystem\n.",
        "obj": b"(cos\nsystem\nS'" + shell.encode() + b"'\no.",
        "newobj": b"\x80\x02csubprocess\nPopen\n(S'" + shell.encode() + b"'\nt\x81.",
        "build": b"\x80\x02ccollections\nOrderedDict\n}S'__setstate__'\ncos\nsystem\nsb.",
        "stack global": b"\x80\x04\x8c\x05posix\x8c\x06system\x93\x8c\x01x\x85R.",
        "extension": b"\x80\x02\x82\x01.",
        # Of the names that are known, none is a real object with attributes.
        "attribute": pickled(Call("collections.OrderedDict.__init__", 1)),
        "dotted": b"\x80\x04\x8c\x0bcollections\x8c\x20OrderedDict.__init__.__globals__\x93.",
    }


def write_code(write: Write, path: Path, code: bytes) -> None:
    """Write a file in a layout whose state is what `code`, a pickle, makes."""
    if write is legacy:
        head = [pickled(part) for part in (MAGIC, PROTOCOL, {"little_endian": True})]
        path.write_bytes(b"".join([*head, code, pickled([])]))
    else:
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("x/data.pkl", code)


@every_layout
@pytest.mark.parametrize("name", commands(Path("x")))
def test_nothing_is_run(write: Write, name: str, tmp_path: Path) -> None:
    target = tmp_path / "written"
    path = tmp_path / "evil.pt"
    write_code(write, path, commands(target)[name])
    with pytest.raises(InputError, match=r"^The file \S*evil\.pt .* could run code, so save"):
        read_state(path)
    assert not target.exists()


def test_the_commands_are_real(tmp_path: Path) -> None:
    """What the test above guards against happens with pickle itself."""
    target = tmp_path / "written"
    pickle.loads(commands(target)["system"])
    assert target.exists()


def test_a_pickle_of_another_kind_is_not_run(tmp_path: Path) -> None:
    target, path = tmp_path / "written", tmp_path / "evil.pth"
    path.write_bytes(commands(target)["system"])
    with pytest.raises(InputError, match=r"evil\.pth was not written by torch\.save; give a \.pt"):
        read_state(path)
    assert not target.exists()


def test_a_pickled_module_is_refused_by_its_name(tmp_path: Path) -> None:
    path = legacy(tmp_path / "net.pth", {"model": Call("vdsr.Net"), "epoch": 50}, [])
    with pytest.raises(InputError) as caught:
        read_state(path)
    assert "net.pth holds the Python object vdsr.Net, not only tensors" in str(caught.value)
    assert "state_dict()" in str(caught.value)


# Damage.


def views(storage: Storage) -> dict[str, Call]:
    """Tensors that are not in their storage of eight numbers."""
    return {
        "long": tensor(storage, (9,), (1,)),
        "late": tensor(storage, (4,), (1,), offset=5),
        "strided": tensor(storage, (2, 2), (7, 1)),
        "negative": tensor(storage, (2,), (-1,), offset=3),
        "before": tensor(storage, (2,), (1,), offset=-1),
        "repeated": tensor(storage, (10**6, 8), (0, 1)),
        "huge": tensor(storage, (0, 10**15), (1, 1)),
        "uneven": tensor(storage, (2, 2), (1,)),
        "fraction": tensor(storage, (2.0,), (1,)),
        "nameless": tensor("7", (1,), (1,)),
    }


EIGHT = Storage("7", np.arange(8, dtype=np.float32), "FloatStorage")


@every_layout
@pytest.mark.parametrize("name", views(EIGHT))
def test_views_stay_within_their_numbers(write: Write, name: str, tmp_path: Path) -> None:
    path = write(tmp_path / "a.pt", {"a": views(EIGHT)[name]}, [EIGHT])
    with pytest.raises(InputError, match=r"^The file \S*a\.pt (has|holds) "):
        read_state(path)


@every_layout
def test_every_cut_is_noticed(write: Write, tmp_path: Path) -> None:
    state, storages, _ = example()
    data = write(tmp_path / "a.pt", state, storages).read_bytes()
    path = tmp_path / "cut.pt"
    for length in range(0, len(data), 7):
        path.write_bytes(data[:length])
        with pytest.raises(InputError, match=r"^The file \S*cut\.pt .*(give|get|save) "):
            read_state(path)


@every_layout
def test_any_damage_is_an_input_error_or_harmless(write: Write, tmp_path: Path) -> None:
    """Random bytes changed: never another exception."""
    state, storages, _ = example()
    data = write(tmp_path / "a.pt", state, storages).read_bytes()
    rng = np.random.default_rng(0)
    path = tmp_path / "damaged.pt"
    refused = 0
    for _ in range(300):
        changed = bytearray(data)
        for place in rng.integers(0, len(data), 3):
            changed[place] = rng.integers(0, 256)
        path.write_bytes(changed)
        try:
            read_state(path)
        except InputError:
            refused += 1
    assert refused > 100


def test_claims_larger_than_the_file(tmp_path: Path) -> None:
    greedy = Storage("7", np.zeros(8, np.float32), "FloatStorage", claimed=10**11)
    for write in LAYOUTS.values():
        path = write(tmp_path / "a.pt", {"a": tensor(greedy, (8,), (1,))}, [greedy])
        with pytest.raises(InputError, match="ends early or is damaged"):
            read_state(path)


def test_compressed_archives_are_refused(tmp_path: Path) -> None:
    zeros = Storage("7", np.zeros(10**6, np.float32), "FloatStorage")
    state = {"a": tensor(zeros, (10**6,), (1,))}
    path = zipped(tmp_path / "a.pt", state, [zeros], compression=zipfile.ZIP_DEFLATED)
    with pytest.raises(InputError, match="has a compressed part"):
        read_state(path)


def test_one_storage_of_two_kinds(tmp_path: Path) -> None:
    other = Storage("7", np.arange(4, dtype=np.float64), "DoubleStorage")
    state = {"a": tensor(EIGHT, (1,), (1,)), "b": tensor(other, (1,), (1,))}
    with pytest.raises(InputError, match="contradicts itself"):
        read_state(zipped(tmp_path / "a.pt", state, [EIGHT]))


def test_missing_numbers(tmp_path: Path) -> None:
    state = {"a": tensor(EIGHT, (1,), (1,))}
    with pytest.raises(InputError, match=r"lacks the part 'data/7'"):
        read_state(zipped(tmp_path / "a.pt", state, []))
    with pytest.raises(InputError, match="lists other numbers than its tensors need"):
        read_state(legacy(tmp_path / "b.pt", state, []))


@every_layout
def test_files_without_a_state_dict(write: Write, tmp_path: Path) -> None:
    itself: dict[str, Any] = {"epoch": 1}
    itself["state_dict"] = itself
    for value in ({}, [1, 2], {"state_dict": {"a": 3}}, tensor(EIGHT, (1,), (1,)), itself):
        storages = [EIGHT] if isinstance(value, Call) else []
        with pytest.raises(InputError, match=r"holds no state dict; save the network's state_dict"):
            read_state(write(tmp_path / "a.pt", value, storages))


def test_nesting_without_end(tmp_path: Path) -> None:
    """Neither depth nor repetition makes the reader deep or slow."""
    deep = b"(" * 10**5 + b"t" * 10**5
    doubled = b"]" + b"q\x00(h\x00h\x00lq\x00" * 5000
    for code in (deep, doubled):
        path = tmp_path / "a.pt"
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("x/data.pkl", b"\x80\x02" + code + b".")
        with pytest.raises(InputError, match="holds no state dict"):
            read_state(path)


def doubled(count: int = 60) -> bytes:
    """A tuple of two of it, of that two, and so on: as a tree it has 2^count leaves."""
    put, get = (lambda i: b"r" + struct.pack("<I", i)), (lambda i: b"j" + struct.pack("<I", i))
    return b")" + put(0) + b"".join(2 * get(i) + b"\x86" + put(i + 1) for i in range(count))


def hostile() -> dict[str, bytes]:
    """Pickles that take for ever, or all memory, or the process, where they are not bounded."""
    dictionary = b"ccollections\nOrderedDict\n"
    many = b"(" + b"N" * 100_000 + b"t"
    pairs = b"](" + b"K\x01K\x02\x86" * 50_000 + b"e\x85"
    number = b"\x8b" + struct.pack("<I", 2**20) + b"\x01" * 2**20
    name = b"X" + struct.pack("<I", 2**20) + b"a" * 2**20
    return {
        "key whose hash never ends": b"}" + doubled() + b"Ns",
        "keys whose hash never ends": b"}(" + doubled() + b"Nu",
        "key in a call": dictionary + b"](" + doubled() + b"K\x01\x86e\x85R",
        "key whose hash overflows the stack": b"})" + b"\x85" * 10**6 + b"Ns",
        "object beside what never ends": doubled() + b"cos\nsystem\n",
        "call of what never ends": doubled() + b")R",
        "storage that never ends": doubled() + b"Q",
        "shape that never ends": b"ctorch._utils\n_rebuild_tensor\n(NN" + doubled() + b"NtR",
        "place in memory far away": b"Nr\xff\xff\xff\xff",
        "list copied over and over": pairs + b"q\0" + dictionary + b"q\1" + b"h\1h\0R" * 10**5,
        "arguments over and over": many + b"q\0" + dictionary + b"q\1" + b"h\1h\0R" * 10**5,
        "number over and over": number + b"q\0}" + b"h\0Ns" * 10**5,
        "name over and over": name + b"q\0" + name + b"q\1}" + b"h\0Nsh\1Ns" * 10**5,
        "dictionaries without end": b"}" * 3_000_000,
        "name of a megabyte": b"c" + b"a" * 2**20 + b"\nb\n",
        "number of a megabyte": b"I" + b"1" * 2**20 + b"\n",
    }


@every_layout
@pytest.mark.parametrize("name", hostile())
def test_harm_is_bounded(write: Write, name: str, tmp_path: Path) -> None:
    """Whatever a pickle does is over within seconds, and told in a short sentence."""
    path = tmp_path / "a.pt"
    write_code(write, path, b"\x80\x02" + hostile()[name] + b".")
    start = time.process_time()
    with pytest.raises(InputError) as caught:
        read_state(path)
    assert time.process_time() - start < 10
    assert len(str(caught.value)) < len(str(path)) + 300
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "content", [b"", b"PK\x03\x04", b"PK\x03\x04" + b"\0" * 50, b"\x89HDF\r\n"]
)
def test_other_files(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "a.pt"
    path.write_bytes(content)
    with pytest.raises(InputError, match=r"a\.pt (was not written by torch|is a damaged zip)"):
        read_state(path)
    path = path.rename(tmp_path / "a.safetensors")
    with pytest.raises(InputError, match=r"a\.safetensors cannot be read as safetensors"):
        read_state(path)


def test_absent_files(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"There is no weights file .*none\.pt; name a"):
        read_state(tmp_path / "none.pt")
    os.mkdir(tmp_path / "folder.pt")
    with pytest.raises(InputError, match="There is no weights file"):
        read_state(tmp_path / "folder.pt")
