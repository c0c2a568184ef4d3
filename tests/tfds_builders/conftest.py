"""Official files in small: photographs and `.pts` files written by the tests."""

import pathlib
from collections.abc import Callable

import numpy as np
import pytest
import tensorflow_datasets as tfds
from PIL import Image

from lrjax.tfds_builders.common import FaceBuilder, Report


@pytest.fixture
def write_photo() -> Callable[..., pathlib.Path]:
    """Writes a photograph of smooth noise, the same for the same size."""

    def write(path: pathlib.Path, width: int = 160, height: int = 120) -> pathlib.Path:
        path.parent.mkdir(parents=True, exist_ok=True)
        rng = np.random.default_rng(width)
        coarse = rng.integers(0, 256, (8, 8, 3), dtype=np.uint8)
        Image.fromarray(coarse).resize((width, height)).save(path)
        return path

    return write


@pytest.fixture
def truncate() -> Callable[[pathlib.Path], None]:
    """Cuts a file in half, as an interrupted download does."""

    def cut(path: pathlib.Path) -> None:
        content = path.read_bytes()
        path.write_bytes(content[: len(content) // 2])

    return cut


@pytest.fixture
def prepare(tmp_path: pathlib.Path) -> Callable[..., tuple[dict[str, list[dict]], Report]]:
    """Runs a builder as TFDS does: its records by split, and its report."""

    def run(
        builder_class: type[FaceBuilder], root: pathlib.Path
    ) -> tuple[dict[str, list[dict]], Report]:
        builder = builder_class(data_dir=tmp_path / "prepared")
        builder.download_and_prepare(
            file_format="array_record",
            download_config=tfds.download.DownloadConfig(manual_dir=root, try_download_gcs=False),
        )
        records = {split: list(builder.as_data_source(split)) for split in builder.info.splits}
        for found in records.values():
            for record in found:
                record["name"] = record["name"].decode()
        return records, Report.load(pathlib.Path(builder.data_dir))

    return run
