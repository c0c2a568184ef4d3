"""Finding weights, and refusing those that are not a landmark network's."""

import shutil
from pathlib import Path

import pytest

from lrjax.errors import InputError
from lrjax.inference.networks import load_network, locate
from lrjax.training.weights import load_variables, save_variables


def test_a_run_gives_its_best_weights_unless_told_otherwise(
    tiny_weights: Path, tmp_path: Path
) -> None:
    run = shutil.copytree(tiny_weights, tmp_path / "run")
    assert locate(run) == run / "last" / "g2.safetensors"
    with pytest.raises(InputError, match=r"holds no trained landmark network \(best/g2"):
        locate(run, "best")
    shutil.copytree(run / "last", run / "best")
    assert locate(run) == run / "best" / "g2.safetensors"
    assert locate(run, "last") == run / "last" / "g2.safetensors"


def test_a_file_is_itself(tiny_weights: Path) -> None:
    file = tiny_weights / "last" / "g2.safetensors"
    assert locate(file) == file
    with pytest.raises(InputError, match="is one file and has no 'last'"):
        locate(file, "last")


def test_a_folder_without_a_network(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"best/g2\.safetensors or last/g2\.safetensors"):
        locate(tmp_path)


def test_other_files_are_refused(tiny_weights: Path, tmp_path: Path) -> None:
    variables, metadata = load_variables(tiny_weights / "last" / "g2.safetensors")
    file = tmp_path / "other.safetensors"
    save_variables(file, variables, metadata | {"network": "g1", "task": "degradation"})
    with pytest.raises(InputError, match="holds 'g1' of 'degradation'"):
        load_network(file)
    save_variables(file, variables, {})
    with pytest.raises(InputError, match="holds 'no network'"):
        load_network(file)
    wider = metadata["config"] | {"generator": {"stem": 8, "widths": [8, 8]}}
    save_variables(file, variables, metadata | {"config": wider})
    with pytest.raises(InputError, match="not those of the network"):
        load_network(file)
    save_variables(file, variables, metadata | {"config": {"sizes": 3}})
    with pytest.raises(InputError, match="sizes"):
        load_network(file)
    file.write_bytes(b"pickle")
    with pytest.raises(InputError, match="not a safetensors file"):
        load_network(file)
