"""Aligned faces to features by which people are told apart."""

from __future__ import annotations

import dataclasses
from collections import deque
from collections.abc import Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, Literal, cast, get_args

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from tqdm import tqdm

from lrjax.data.cache import key_of
from lrjax.data.examples import read_ahead
from lrjax.data.identities import Identities
from lrjax.data.pixels import to_unit
from lrjax.errors import InputError
from lrjax.geometry.templates import TEMPLATES, Template, stretched
from lrjax.inference.aligner import Aligner, kept
from lrjax.inference.passes import batch_size, run_passes
from lrjax.inference.upsampler import Upsampler
from lrjax.models import weights as weights_files
from lrjax.models.super_resolution import enlarged
from lrjax.models.weights import Weights

Flip = Literal["none", "sum", "concatenate", "norm_weighted"]
FLIPS: tuple[str, ...] = get_args(Flip)
"""What becomes of the features of a face and of its mirror image: the first alone; their sum; both
in a row; or, as AdaFace's evaluation does it, unit features times their norms, summed, and of
length 1 again, which by the cosine ranks as the sum does."""

BATCH = 256
"""Faces in one forward pass on an accelerator, and those that are aligned together."""

LARGEST_KEPT = 8 * 2**30
"""Bytes of a split's aligned faces above which only their features are kept: TinyFace's 153,428
distractors have 0.5 GB at 32 pixels, 6 GB at 112 and 23 GB at 224."""

# To be raised when features change: what was kept is then made again.
_VERSION = 1


@dataclasses.dataclass(frozen=True, eq=False)
class Features:
    """Hold the features of a split.

    Attributes:
      features: float32 [n, D].
      aligned: bool [n], whether each face was aligned; see `Aligned`.
      note: how, in words.
    """

    features: np.ndarray
    aligned: np.ndarray
    note: str


@dataclasses.dataclass(frozen=True, eq=False)
class FaceEncoder:
    """Encode faces with a trained network.

    Attributes:
      weights: the network.
      refiner: of a joint network (CSRI), what sharpens faces before they are encoded; or None.
    """

    weights: Weights
    refiner: Weights | None = None

    @classmethod
    def load(cls, source: str | Path, which: str | None = None) -> FaceEncoder:
        """Load the encoder of a run folder or of a converted .safetensors file.

        Args:
          source: run folder of `lrjax train recognition` or of `lrjax train csri`, whose refiner
            then comes first; or file of `lrjax convert`.
          which: of a run folder, "best" (the default, where there is one) or "last".

        Raises:
          InputError: there are no such weights, or they are not those of a face encoder.
        """
        encoder = weights_files.load(source, "encoder", ("encoder",), which)
        behind = encoder.provenance.get("behind")
        if behind is None:
            return cls(encoder)
        file = encoder.path.with_name(f"{behind}.safetensors")
        return cls(encoder, weights_files.load(file, "upsampler", ("refiner",)))

    @property
    def name(self) -> str:
        """Name of the network."""
        return self.weights.network.config.name

    @property
    def template(self) -> Template:
        """How its faces are aligned: at the size of the refiner, if there is one."""
        template = TEMPLATES[self.weights.network.template]
        return stretched(template, *self.files[0].network.size)

    @property
    def identity(self) -> str:
        """What tells weights, and how they are used, from others."""
        return key_of("encoder", _VERSION, *(file.identity for file in self.files))

    def embed(self, images: np.ndarray, flip: Flip = "sum", batch: int | None = None) -> np.ndarray:
        """Encode aligned faces uint8 [n, H, W, 3] as features float32 [n, D].

        All devices of this process share each batch of `batch` faces, the last of which is filled
        up: there is one program. None: as many as suit the device.

        Raises:
          InputError: the faces have another size than the network's, or a feature is not finite.
        """
        return next(self.stream([images], flip, batch))

    def stream(
        self, parts: Iterable[np.ndarray], flip: Flip = "sum", batch: int | None = None
    ) -> Iterator[np.ndarray]:
        """Do as `embed` for each of `parts`, while the next ones are being made."""
        if flip not in FLIPS:
            raise InputError(f"flip is {flip!r}; choose one of {', '.join(FLIPS)}.")
        mesh = Mesh(np.array(jax.local_devices()), ("data",))
        size = -(-(batch or batch_size(BATCH)) // mesh.size) * mesh.size
        split, everywhere = (NamedSharding(mesh, PartitionSpec(*axis)) for axis in (["data"], []))
        variables = jax.device_put(tuple(file.variables for file in self.files), everywhere)

        def encode_batch(faces: np.ndarray) -> np.ndarray:
            placed = jax.device_put(faces, split)
            return np.asarray(encode_pixels(self.layers, flip, variables, placed))

        def encode(images: np.ndarray) -> np.ndarray:
            if images.dtype != np.uint8 or images.shape[3:] != (3,):
                raise InputError(
                    f"Faces are {images.dtype} {images.shape}; give uint8 RGB [n, H, W, 3]."
                )
            self.check_size(*images.shape[1:3])
            filled = np.zeros((-(-len(images) // size), size, *images.shape[1:]), np.uint8)
            filled.reshape(-1, *images.shape[1:])[: len(images)] = images
            nothing = np.zeros((0, self.length(flip)), np.float32)
            features = np.concatenate([nothing, *run_passes(encode_batch, filled)])[: len(images)]
            if not np.isfinite(features).all():
                bad = int(np.sum(~np.isfinite(features).all(-1)))
                raise InputError(
                    f"The features of {bad} of {len(features)} faces by {self.name} are not "
                    "finite; its weights are damaged, or its training diverged."
                )
            return features

        return read_ahead(encode, parts, threads=1, ahead=2)

    def refined(self, images: np.ndarray) -> np.ndarray:
        """Sharpen faces uint8 [n, H, W, 3] as the encoder of a joint network sees them: uint8.

        Raises:
          InputError: there is no refiner.
        """
        if self.refiner is None:
            raise InputError(f"{self.name} has no refiner; name a run of `lrjax train csri`.")
        return Upsampler(self.refiner, (1.0, 1.0)).upsample_crops(images)

    def length(self, flip: Flip) -> int:
        """Count the numbers in a feature."""
        return self.weights.network.embedding * (2 if flip == "concatenate" else 1)

    def check_size(self, height: int, width: int) -> None:
        """Raise an InputError if faces are not of the network's size."""
        template = self.template
        if (height, width) != (template.height, template.width):
            raise InputError(
                f"The faces have {width}x{height} pixels and {self.name} sees "
                f"{template.width}x{template.height}; align them to {template.name}."
            )

    @property
    def files(self) -> list[Weights]:
        """The networks that a face goes through, one after the other."""
        return [self.weights] if self.refiner is None else [self.refiner, self.weights]

    @property
    def layers(self) -> tuple[tuple[nn.Module, tuple[int, int]], ...]:
        """Those networks, and the height and width of the images that each sees."""
        return tuple((file.network.module, file.network.size) for file in self.files)


def cached_embeddings(
    encoder: FaceEncoder,
    aligner: Aligner,
    identities: Identities,
    *,
    flip: Flip = "sum",
    batch: int | None = None,
    cache: Path | None = None,
) -> Features:
    """Encode a split, whose faces are aligned on the way, in one pass.

    Args:
      encoder, aligner: of one size.
      identities: the split.
      flip, batch: as for `FaceEncoder.embed`.
      cache: folder of features and aligned faces that were made before, and believed while their
        pictures, weights and settings are the same (see `data.cache`). Of more than `LARGEST_KEPT`
        bytes of faces, the features alone are kept. None: nothing is. Then only a portion of the
        aligned faces exists at a time.

    Raises:
      InputError: they are not of one size, or as for `Aligner` and `FaceEncoder.embed`.
    """
    encoder.check_size(aligner.height, aligner.width)

    def parts() -> Iterator[dict[str, np.ndarray]]:
        flags: deque[np.ndarray] = deque()

        def images() -> Iterator[np.ndarray]:
            for faces, aligned in _portions(aligner, identities, max(batch or 0, BATCH), cache):
                flags.append(aligned)
                yield faces

        with tqdm(total=len(identities), desc="embed", unit="face", dynamic_ncols=True) as bar:
            for features in encoder.stream(images(), flip, batch):
                yield {"features": features, "aligned": flags.popleft()}
                bar.update(len(features))

    key = key_of(identities.fingerprint, aligner.identity, encoder.identity, flip)
    arrays = kept(cache, "features", key, len(identities), parts)
    return Features(**arrays, note=aligner.note(arrays["aligned"]))


def _portions(
    aligner: Aligner, identities: Identities, count: int, cache: Path | None
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """(faces, whether they are aligned) of a split, `count` at a time."""
    size = len(identities) * aligner.height * aligner.width * 3
    if cache is None or size > LARGEST_KEPT:
        yield from ((part.images, part.aligned) for part in aligner.parts(identities, count))
        return
    whole = aligner(identities, cache)
    for start in range(0, len(whole), count):
        rows = slice(start, start + count)
        yield whole.images[rows], whole.aligned[rows]


# Compiled once for all networks of one architecture: only the variables differ.
@partial(jax.jit, static_argnums=(0, 1))
def encode_pixels(
    layers: tuple[tuple[nn.Module, tuple[int, int]], ...],
    flip: str,
    variables: tuple[dict[str, Any], ...],
    pixels: jax.Array,
) -> jax.Array:
    """Features [B, D] or, of face and mirror image in a row, [B, 2 D]; faces in 0..255.

    Each layer is a network and the height and width of the images that it sees.
    """

    def encode(images: jax.Array) -> jax.Array:
        for (module, size), values in zip(layers, variables, strict=True):
            shown = enlarged(images, *size)
            images = cast(jax.Array, module.apply(values, shown, train=False))
        return images

    images = to_unit(pixels.astype(jnp.float32))
    face = encode(images)
    if flip == "none":
        return face
    mirror = encode(images[:, :, ::-1])
    if flip == "concatenate":
        return jnp.concatenate([face, mirror], axis=-1)
    fused = face + mirror
    if flip == "norm_weighted":
        fused = fused / jnp.maximum(jnp.linalg.norm(fused, axis=-1, keepdims=True), 1e-12)
    return fused
