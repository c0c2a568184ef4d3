"""`lrjax convert` as a user calls it."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from safetensors.numpy import save_file

from lrjax.cli.convert import convert
from lrjax.errors import InputError
from lrjax.models import weights
from lrjax.models.upsamplers import VDSRConfig


def state(channels: int) -> dict[str, np.ndarray]:
    """VDSR's, with random values."""
    rng = np.random.default_rng(channels)
    sides = {"input": (64, channels), "output": (channels, 64)}
    sides |= {f"residual_layer.{i}.conv": (64, 64) for i in range(18)}
    return {
        f"{name}.weight": rng.normal(size=(*side, 3, 3)).astype(np.float32)
        for name, side in sides.items()
    }


def test_the_file_is_the_network(tmp_path: Path) -> None:
    given = tmp_path / "theirs.safetensors"
    save_file(state(3), given)
    out = tmp_path / "new" / "ours.safetensors"
    done = CliRunner().invoke(
        convert, ["vdsr", str(given), "--out", str(out)], catch_exceptions=False
    )
    assert done.exit_code == 0
    assert done.output == f"{out}: vdsr, 667,008 parameters of {given}\n"
    found = weights.load(out, "refiner", ("refiner",))
    assert found.network.config == VDSRConfig(channels=3, use_bias=False)
    assert found.provenance == {
        "source": "theirs.safetensors",
        "sha256": hashlib.sha256(given.read_bytes()).hexdigest(),
    }
    np.testing.assert_array_equal(
        found.variables["params"]["conv_1"]["kernel"],
        state(3)["residual_layer.0.conv.weight"].transpose(2, 3, 1, 0),
    )
    image = np.zeros((1, 4, 4, 3), np.float32)
    assert found.network.module.apply(found.variables, image, train=False).shape == image.shape


def test_wrong_input_is_one_sentence(tmp_path: Path) -> None:
    given = tmp_path / "theirs.safetensors"
    save_file(state(1), given)
    out = tmp_path / "ours.safetensors"

    def refused(network: str, file: Path, out: Path) -> str:
        with pytest.raises(InputError) as caught:
            CliRunner().invoke(
                convert, [network, str(file), "--out", str(out)], catch_exceptions=False
            )
        assert "\n" not in str(caught.value)
        return str(caught.value)

    assert "not those of mobilefacenet: the file lacks" in refused("mobilefacenet", given, out)
    assert "There is no weights file" in refused("vdsr", tmp_path / "none.pt", out)
    assert "must be named .safetensors" in refused("vdsr", given, tmp_path / "ours.pt")
    assert not out.exists()
    unknown = CliRunner().invoke(convert, ["alexnet", str(given), "--out", str(out)])
    assert unknown.exit_code == 2
    assert "lightcnn29" in unknown.output
