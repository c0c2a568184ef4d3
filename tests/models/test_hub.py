"""Weights by name, without a network: from a folder, from the hub's cache, from its client."""

from __future__ import annotations

import hashlib
import shutil
import sys
from pathlib import Path
from types import ModuleType

import pytest

from lrjax.errors import InputError
from lrjax.models import hub, weights
from lrjax.tasks import run_folder

NAME = "hub:someone/g2"
DIGEST = hashlib.sha256(weights.PRETRAINED.read_bytes()).hexdigest()


class Missing(Exception):
    """Stands for `LocalEntryNotFoundError`."""


@pytest.fixture(autouse=True)
def nowhere(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("LRJAX_HUB", raising=False)
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)


@pytest.fixture
def mirror(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("LRJAX_HUB", str(tmp_path))
    file = tmp_path / "someone" / "g2" / "model.safetensors"
    file.parent.mkdir(parents=True)
    shutil.copy(weights.PRETRAINED, file)
    return file


@pytest.fixture
def client(monkeypatch: pytest.MonkeyPatch) -> dict[bool, Path]:
    """A client of the hub: offline or online -> the file that it gives."""
    files: dict[bool, Path] = {}

    def download(repository: str, file: str, local_files_only: bool) -> str:
        assert (repository, file) == ("someone/g2", "model.safetensors")
        if (not local_files_only) not in files:
            raise Missing("no route to the hub\nand more")
        return str(files[not local_files_only])

    module, errors = ModuleType("huggingface_hub"), ModuleType("huggingface_hub.errors")
    module.hf_hub_download = download
    errors.LocalEntryNotFoundError = Missing
    monkeypatch.setitem(sys.modules, "huggingface_hub", module)
    monkeypatch.setitem(sys.modules, "huggingface_hub.errors", errors)
    return files


def test_a_folder_of_this_machine_comes_first(mirror: Path, client: dict[bool, Path]) -> None:
    assert hub.resolve(NAME) == hub.resolve(Path(NAME)) == mirror
    assert hub.resolve(f"{NAME}/model.safetensors@{DIGEST.upper()}") == mirror
    assert weights.locate(NAME, "g2") == mirror
    assert weights.load(NAME, "g2", ("landmarks",)).identity == DIGEST
    assert run_folder.identities({"g2": NAME}) == {"g2": {"model.safetensors": DIGEST}}


def test_the_cache_comes_before_the_hub(client: dict[bool, Path], tmp_path: Path) -> None:
    client[False], client[True] = weights.PRETRAINED, tmp_path
    assert hub.resolve(NAME) == weights.PRETRAINED
    del client[False]
    assert hub.resolve(NAME) == tmp_path


def test_what_has_another_checksum_is_passed_over(
    mirror: Path, client: dict[bool, Path], tmp_path: Path
) -> None:
    mirror.write_bytes(b"tampered with")
    client[True] = weights.PRETRAINED
    assert hub.resolve(f"{NAME}@{DIGEST}") == weights.PRETRAINED
    client[True] = mirror
    with pytest.raises(InputError, match=r"another file here: .* has the SHA-256 [0-9a-f]{64};"):
        hub.resolve(f"{NAME}@{DIGEST}")


def test_what_cannot_be_had_is_one_sentence(client: dict[bool, Path]) -> None:
    with pytest.raises(InputError, match=r"from the hub \(no route to the hub\); check") as caught:
        hub.resolve(NAME)
    assert "\n" not in str(caught.value)


def test_without_the_client_the_folder_is_asked_for() -> None:
    with pytest.raises(InputError, match=r"not in \$LRJAX_HUB, .* pip install 'lrjax\[hub\]'"):
        hub.resolve(NAME)


@pytest.mark.parametrize(
    "name",
    [
        "hub:someone",
        "hub:../g2",
        "hub:someone/g2/../../etc.safetensors",
        "hub:someone/g2/model.bin",
        "hub:someone/g2@abc",
        "hub:someone/g2/a b.safetensors",
    ],
)
def test_only_names_are_names(name: str, mirror: Path) -> None:
    with pytest.raises(InputError, match="names no weights; write hub:OWNER/NAME"):
        hub.resolve(name)


def test_the_clients_own_cache_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    monkeypatch.delenv("LRJAX_HUB", raising=False)
    constants = pytest.importorskip("huggingface_hub.constants", reason="hub is an extra")
    pytest.importorskip("httpx2", reason="huggingface_hub needs it")
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    kept = tmp_path / "models--someone--g2"
    file = kept / "snapshots" / ("0" * 40) / "model.safetensors"
    file.parent.mkdir(parents=True)
    shutil.copy(weights.PRETRAINED, file)
    (kept / "refs").mkdir()
    (kept / "refs" / "main").write_text("0" * 40)
    assert hub.resolve(f"{NAME}@{DIGEST}") == file
