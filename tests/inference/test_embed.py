"""Features of aligned faces: by hand, from files, and kept."""

import dataclasses
from pathlib import Path
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from tiny import filled

from lrjax.config import to_dict
from lrjax.data.identities import Identities
from lrjax.errors import InputError
from lrjax.geometry.templates import Template
from lrjax.inference import embed
from lrjax.inference.align import Aligned, Aligner
from lrjax.inference.embed import FLIPS, Recogniser, cached_embeddings
from lrjax.tasks import recognition
from lrjax.tasks.recognition import RecognitionConfig
from lrjax.training.weights import save_variables

SMALL = Template("small", 3, 4, np.zeros((5, 2)))


class Columns(nn.Module):
    """The mean of red in each of the four columns, times a weight: the mirror image reverses it."""

    @nn.compact
    def __call__(self, images: jax.Array, train: bool) -> jax.Array:
        weight = self.param("weight", nn.initializers.ones, ())
        return weight * images[..., 0].mean(1)


@pytest.fixture
def columns(monkeypatch: pytest.MonkeyPatch) -> Recogniser:
    known = dataclasses.replace(embed.RECOGNISERS["lightcnn29"], embedding=4)
    monkeypatch.setattr(embed, "RECOGNISERS", {"columns": known})
    variables = {"params": {"weight": jnp.float32(2.0)}}
    return Recogniser("columns", SMALL, "columns-1", Columns(), variables)


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
    columns: Recogniser, faces: np.ndarray, flip: str, batch: int
) -> None:
    found = columns.embed(faces, flip, batch)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, fused(faces, flip), atol=1e-5)


def test_one_program_for_all_batches(columns: Recogniser, faces: np.ndarray) -> None:
    embed._features.clear_cache()
    for count in (1, 4, 7, 11):
        columns.embed(faces[:count], "sum", 4)
    assert embed._features._cache_size() == 1


def test_parts_come_back_in_order(columns: Recogniser, faces: np.ndarray) -> None:
    sizes = (2, 0, 5, 1, 3)
    parts = np.split(faces, np.cumsum(sizes)[:-1])
    found = list(columns.stream(iter(parts), "sum", 4))
    assert [len(f) for f in found] == list(sizes)
    np.testing.assert_array_equal(np.concatenate(found), columns.embed(faces, "sum", 4))


def test_no_faces(columns: Recogniser, faces: np.ndarray) -> None:
    assert columns.embed(faces[:0], "concatenate").shape == (0, 8)


def test_what_cannot_be_embedded_is_said(columns: Recogniser, faces: np.ndarray) -> None:
    with pytest.raises(InputError, match="align them to small"):
        columns.embed(faces[:, :2])
    with pytest.raises(InputError, match="uint8"):
        columns.embed(faces.astype(np.float32))
    with pytest.raises(InputError, match="flip is 'both'"):
        columns.embed(faces, "both")
    broken = dataclasses.replace(columns, variables={"params": {"weight": jnp.float32(np.nan)}})
    with pytest.raises(InputError, match="11 of 11 faces by columns are not finite"):
        broken.embed(faces)


class Counted:
    """Stands for an aligner: faces of the right size, of which every third is not aligned."""

    identity, height, width = "counted", 3, 4

    def __init__(self, faces: np.ndarray) -> None:
        self.faces, self.asked = faces, 0

    def parts(self, portraits: Identities, count: int) -> Any:
        self.asked += 1
        for start in range(0, len(self.faces), count):
            rows = np.arange(len(self.faces))[start : start + count]
            yield Aligned(self.faces[rows], rows % 3 > 0, np.zeros((len(rows), 5, 2)), "")

    def __call__(self, portraits: Identities, cache: Path | None = None) -> Aligned:
        (whole,) = self.parts(portraits, len(self.faces))
        return whole

    def note(self, aligned: np.ndarray) -> str:
        return f"{aligned.sum()} of {len(aligned)}"


@pytest.fixture
def portraits(faces: np.ndarray) -> Identities:
    names = tuple(map(str, range(len(faces))))
    return Identities([b""] * len(faces), np.zeros(len(faces), np.int32), names, "prints")


def test_a_split_is_aligned_and_embedded_in_one_pass(
    columns: Recogniser, faces: np.ndarray, portraits: Identities
) -> None:
    found = cached_embeddings(columns, Counted(faces), portraits, batch=4)
    np.testing.assert_array_equal(found.features, columns.embed(faces, "sum", 4))
    np.testing.assert_array_equal(found.aligned, np.arange(11) % 3 > 0)
    assert found.note == "7 of 11"


def test_features_are_kept_while_nothing_changes(
    columns: Recogniser, faces: np.ndarray, portraits: Identities, tmp_path: Path
) -> None:
    aligner = Counted(faces)
    whole = cached_embeddings(columns, aligner, portraits, batch=4)

    def again(recogniser: Recogniser = columns, **changes: Any) -> int:
        asked = aligner.asked
        found = cached_embeddings(
            recogniser, aligner, portraits, batch=4, cache=tmp_path, **changes
        )
        if not changes:
            np.testing.assert_array_equal(found.features, whole.features)
            np.testing.assert_array_equal(found.aligned, whole.aligned)
        return aligner.asked - asked

    assert [again(), again()] == [1, 0]
    assert [again(flip="none"), again(flip="none")] == [1, 0]
    assert again(dataclasses.replace(columns, identity="columns-2")) == 1
    file = next(tmp_path.rglob("features.npy"))
    for path in tmp_path.rglob("features.npy"):
        path.write_bytes(path.read_bytes()[:-1])
    assert file.is_file()
    assert [again(), again()] == [1, 0]


NARROW = RecognitionConfig(network="lightcnn29_32", width=0.05)


def weights(config: RecognitionConfig) -> dict[str, Any]:
    module, template = recognition.build(config, None), recognition.face_template(config)
    image = jnp.zeros((1, template.height, template.width, 3))
    shapes = jax.eval_shape(lambda: module.init(jax.random.key(0), image, train=False))
    return filled(shapes)


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A run folder with both kinds of weights."""
    variables = weights(NARROW)
    for kind, step in (("last", 2), ("best", 1)):
        metadata = {"network": "recogniser", "task": "recognition", "step": step}
        metadata["config"] = to_dict(NARROW)
        save_variables(tmp_path / "run" / kind / "recogniser.safetensors", variables, metadata)
    return tmp_path / "run"


def test_a_run_gives_its_network(run: Path) -> None:
    best, last = Recogniser.load(run), Recogniser.load(run, "last")
    assert (best.name, best.template.name) == ("lightcnn29_32", "lightcnn32")
    assert best.identity != last.identity
    assert best.identity == Recogniser.load(run / "best" / "recogniser.safetensors").identity
    assert best.length("concatenate") == 512


def test_a_converted_file_gives_its_network(tmp_path: Path) -> None:
    config = RecognitionConfig(network="mobilefacenet")
    file = tmp_path / "m.safetensors"
    save_variables(file, weights(config), {"network": "mobilefacenet", "options": {}})
    found = Recogniser.load(file)
    assert (found.name, found.template.name, found.length("sum")) == (
        "mobilefacenet",
        "arcface112",
        128,
    )


def test_other_weights_are_refused(run: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"no trained recogniser .*lrjax train recognition"):
        Recogniser.load(tmp_path)
    with pytest.raises(InputError, match=r"no weights file"):
        Recogniser.load(tmp_path / "gone.safetensors")
    file = tmp_path / "g2.safetensors"
    save_variables(file, {"params": {"a": np.zeros(2)}}, {"network": "g2", "task": "landmarks"})
    with pytest.raises(InputError, match="holds 'g2', which is no recogniser"):
        Recogniser.load(file)
    save_variables(file, {"params": {"a": np.zeros(2)}}, {"network": "mobilefacenet"})
    with pytest.raises(InputError, match="not those of mobilefacenet of width 1"):
        Recogniser.load(file)
    with pytest.raises(InputError, match="name its run folder"):
        Recogniser.load(file, "best")


def test_sizes_of_aligner_and_recogniser_must_agree(
    columns: Recogniser, portraits: Identities
) -> None:
    with pytest.raises(InputError, match=r"32x32 .* sees 4x3; align them to small"):
        cached_embeddings(columns, Aligner.load("resize", "face32"), portraits)
