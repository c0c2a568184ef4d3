"""Features of aligned faces: by hand, from files, and kept."""

import dataclasses
from pathlib import Path
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from tiny import network_file

from lrjax.data.identities import Identities
from lrjax.errors import InputError
from lrjax.geometry.templates import TEMPLATES, Template
from lrjax.inference import encoder
from lrjax.inference.aligner import Aligned, Aligner
from lrjax.inference.encoder import FLIPS, FaceEncoder, cached_embeddings
from lrjax.models.encoders import EncoderConfig
from lrjax.models.registry import Network
from lrjax.models.upsamplers import VDSRConfig
from lrjax.models.weights import Weights

SMALL = Template("small", 3, 4, np.zeros((5, 2)))


class Columns(nn.Module):
    """The mean of red in each of the four columns, times a weight: the mirror image reverses it."""

    @nn.compact
    def __call__(self, images: jax.Array, train: bool) -> jax.Array:
        weight = self.param("weight", nn.initializers.ones, ())
        return weight * images[..., 0].mean(1)


@pytest.fixture
def columns(monkeypatch: pytest.MonkeyPatch) -> FaceEncoder:
    monkeypatch.setitem(TEMPLATES, "small", SMALL)
    network = Network(EncoderConfig("columns"), "encoder", Columns(), ((3, 4, 3),), "small", 4)
    variables = {"params": {"weight": jnp.float32(2.0)}}
    return FaceEncoder(Weights(network, variables, {}, Path("columns"), "columns-1"))


def changed(found: FaceEncoder, **changes: Any) -> FaceEncoder:
    return FaceEncoder(dataclasses.replace(found.weights, **changes))


@pytest.fixture
def faces() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (11, 3, 4, 3), dtype=np.uint8)


def by_hand(faces: np.ndarray) -> np.ndarray:
    return 2 * (faces[..., 0].astype(np.float64).mean(1) / 127.5 - 1)


def fused(faces: np.ndarray, flip: str) -> np.ndarray:
    there, back = by_hand(faces), by_hand(faces)[:, ::-1]
    if flip == "norm_weighted":
        units = [f / np.linalg.norm(f, axis=1, keepdims=True) for f in (there, back)]
        norms = [np.linalg.norm(f, axis=1, keepdims=True) for f in (there, back)]
        total = units[0] * norms[0] + units[1] * norms[1]
        return total / np.linalg.norm(total, axis=1, keepdims=True)
    return {"none": there, "sum": there + back, "concatenate": np.hstack([there, back])}[flip]


@pytest.mark.parametrize("flip", FLIPS)
@pytest.mark.parametrize("batch", [4, 11, 64])
def test_faces_and_their_mirror_images(
    columns: FaceEncoder, faces: np.ndarray, flip: str, batch: int
) -> None:
    found = columns.embed(faces, flip, batch)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, fused(faces, flip), atol=1e-5)


def test_one_program_for_all_batches(columns: FaceEncoder, faces: np.ndarray) -> None:
    encoder.encode_pixels.clear_cache()
    for count in (1, 4, 7, 11):
        columns.embed(faces[:count], "sum", 4)
    assert encoder.encode_pixels._cache_size() == 1


def test_parts_come_back_in_order(columns: FaceEncoder, faces: np.ndarray) -> None:
    sizes = (2, 0, 5, 1, 3)
    parts = np.split(faces, np.cumsum(sizes)[:-1])
    found = list(columns.stream(iter(parts), "sum", 4))
    assert [len(f) for f in found] == list(sizes)
    np.testing.assert_array_equal(np.concatenate(found), columns.embed(faces, "sum", 4))


def test_no_faces(columns: FaceEncoder, faces: np.ndarray) -> None:
    assert columns.embed(faces[:0], "concatenate").shape == (0, 8)


def test_what_cannot_be_embedded_is_said(columns: FaceEncoder, faces: np.ndarray) -> None:
    with pytest.raises(InputError, match="align them to small"):
        columns.embed(faces[:, :2])
    with pytest.raises(InputError, match="uint8"):
        columns.embed(faces.astype(np.float32))
    with pytest.raises(InputError, match="flip is 'both'"):
        columns.embed(faces, "both")
    broken = changed(columns, variables={"params": {"weight": jnp.float32(np.nan)}})
    with pytest.raises(InputError, match="11 of 11 faces by columns are not finite"):
        broken.embed(faces)


class Counted:
    """Stands for an aligner: faces of the right size, of which every third is not aligned."""

    identity, height, width = "counted", 3, 4

    def __init__(self, faces: np.ndarray) -> None:
        self.faces, self.asked = faces, 0

    def parts(self, identities: Identities, count: int) -> Any:
        self.asked += 1
        for start in range(0, len(self.faces), count):
            rows = np.arange(len(self.faces))[start : start + count]
            yield Aligned(self.faces[rows], rows % 3 > 0, np.zeros((len(rows), 5, 2)), "")

    def __call__(self, identities: Identities, cache: Path | None = None) -> Aligned:
        (whole,) = self.parts(identities, len(self.faces))
        return whole

    def note(self, aligned: np.ndarray) -> str:
        return f"{aligned.sum()} of {len(aligned)}"


@pytest.fixture
def identities(faces: np.ndarray) -> Identities:
    names = tuple(map(str, range(len(faces))))
    return Identities([b""] * len(faces), np.zeros(len(faces), np.int32), names, "prints")


def test_a_split_is_aligned_and_embedded_in_one_pass(
    columns: FaceEncoder, faces: np.ndarray, identities: Identities
) -> None:
    found = cached_embeddings(columns, Counted(faces), identities, batch=4)
    np.testing.assert_array_equal(found.features, columns.embed(faces, "sum", 4))
    np.testing.assert_array_equal(found.aligned, np.arange(11) % 3 > 0)
    assert found.note == "7 of 11"


def test_faces_beyond_a_size_are_never_all_there(
    columns: FaceEncoder,
    faces: np.ndarray,
    identities: Identities,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class Streaming(Counted):
        def __call__(self, identities: Identities, cache: Path | None = None) -> Aligned:
            raise AssertionError("all faces at once")

    streaming, options = Streaming(faces), {"batch": 4, "cache": tmp_path}
    bytes_of_all = faces.nbytes
    monkeypatch.setattr(encoder, "LARGEST_KEPT", bytes_of_all - 1)
    found = cached_embeddings(columns, streaming, identities, **options)
    np.testing.assert_array_equal(found.features, columns.embed(faces, "sum", 4))
    again = cached_embeddings(columns, streaming, identities, **options)
    np.testing.assert_array_equal(again.features, found.features)
    assert streaming.asked == 1  # the features are kept
    monkeypatch.setattr(encoder, "LARGEST_KEPT", bytes_of_all)
    with pytest.raises(AssertionError, match="all faces at once"):
        cached_embeddings(columns, streaming, identities, flip="none", **options)


def test_features_are_kept_while_nothing_changes(
    columns: FaceEncoder, faces: np.ndarray, identities: Identities, tmp_path: Path
) -> None:
    aligner = Counted(faces)
    whole = cached_embeddings(columns, aligner, identities, batch=4)

    def again(network: FaceEncoder = columns, **changes: Any) -> int:
        asked = aligner.asked
        found = cached_embeddings(network, aligner, identities, batch=4, cache=tmp_path, **changes)
        if not changes:
            np.testing.assert_array_equal(found.features, whole.features)
            np.testing.assert_array_equal(found.aligned, whole.aligned)
        return aligner.asked - asked

    assert [again(), again()] == [1, 0]
    assert [again(flip="none"), again(flip="none")] == [1, 0]
    assert again(changed(columns, identity="columns-2")) == 1
    file = next(tmp_path.rglob("features.npy"))
    for path in tmp_path.rglob("features.npy"):
        path.write_bytes(path.read_bytes()[:-1])
    assert file.is_file()
    assert [again(), again()] == [1, 0]


NARROW = EncoderConfig("lightcnn29_32", width=0.05)


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A run folder with both kinds of weights."""
    for kind, step in (("last", 2), ("best", 1)):
        network_file(tmp_path / "run" / kind / "encoder.safetensors", NARROW, step=step)
    return tmp_path / "run"


def test_a_run_gives_its_network(run: Path) -> None:
    best, last = FaceEncoder.load(run), FaceEncoder.load(run, "last")
    assert (best.name, best.template.name) == ("lightcnn29_32", "lightcnn32")
    assert best.identity != last.identity
    assert best.identity == FaceEncoder.load(run / "best" / "encoder.safetensors").identity
    assert best.length("concatenate") == 512
    with pytest.raises(InputError, match="lightcnn29_32 has no refiner"):
        best.refined(np.zeros((1, 32, 32, 3), np.uint8))


def test_a_refiner_that_was_trained_with_the_encodercomes_first(run: Path) -> None:
    alone, file = FaceEncoder.load(run), run / "best" / "encoder.safetensors"
    network_file(file, NARROW, behind="upsampler")
    with pytest.raises(InputError, match=r"no weights file .*best/upsampler\.safetensors"):
        FaceEncoder.load(run)
    refiner = VDSRConfig(width=4, layers=3, size=(10, 10), image_size=(32, 32))
    network_file(file.with_name("upsampler.safetensors"), refiner)
    both = FaceEncoder.load(run)
    assert both.identity != alone.identity
    faces = np.random.default_rng(1).integers(0, 256, (3, 32, 32, 3), dtype=np.uint8)
    images = faces / np.float32(127.5) - 1
    sharp = both.refiner.network.module.apply(both.refiner.variables, images, train=False)
    expected = np.clip((np.asarray(sharp) + 1) * 127.5, 0, 255)
    assert np.abs(expected - faces).max() > 10
    assert np.abs(both.refined(faces) - expected).max() < 0.51
    encoder = both.weights
    features = encoder.network.module.apply(encoder.variables, sharp, train=False)
    scale = np.abs(features).max()
    np.testing.assert_allclose(both.embed(faces, "none", 4), features, atol=1e-4 * scale)


def test_a_converted_file_gives_its_network(tmp_path: Path) -> None:
    found = FaceEncoder.load(
        network_file(tmp_path / "m.safetensors", EncoderConfig("mobilefacenet"))
    )
    names = (found.name, found.template.name, found.length("sum"))
    assert names == ("mobilefacenet", "arcface112", 128)


def test_other_weights_are_refused(tiny_weights: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"no trained encoder"):
        FaceEncoder.load(tmp_path)
    with pytest.raises(InputError, match=r"a landmark network .* name one with a face encoder"):
        FaceEncoder.load(tiny_weights / "last" / "g2.safetensors")


def test_sizes_of_aligner_and_encodermust_agree(
    columns: FaceEncoder, identities: Identities
) -> None:
    with pytest.raises(InputError, match=r"32x32 .* sees 4x3; align them to small"):
        cached_embeddings(columns, Aligner.load("resize", "face32"), identities)
