"""Aligned faces to features by which people are told apart."""

from __future__ import annotations

import dataclasses
import hashlib
from collections import deque
from collections.abc import Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, Literal, get_args

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from tqdm import tqdm

from lrjax.config import from_dict
from lrjax.convert.networks import CONVERSIONS
from lrjax.data.cache import cached, key_of
from lrjax.data.identities import Identities
from lrjax.errors import InputError
from lrjax.geometry.templates import Template
from lrjax.inference.align import Aligner
from lrjax.inference.networks import locate_network
from lrjax.models.recognisers import RECOGNISERS
from lrjax.tasks import csri_networks, recognition
from lrjax.tasks.csri_networks import CSRIConfig
from lrjax.tasks.recognition import RecognitionConfig, face_template
from lrjax.tasks.super_resolution_views import to_bytes
from lrjax.training.weights import first_misfit, load_variables

Flip = Literal["none", "sum", "concatenate", "norm_weighted"]
FLIPS: tuple[str, ...] = get_args(Flip)
"""What becomes of the features of a face and of its mirror image: the first alone; their sum; both
in a row; or, as AdaFace's evaluation does it, unit features times their norms, summed, and of
length 1 again, which by the cosine ranks as the sum does."""

BATCH = 256
"""Faces in one forward pass. There is one program: the last batch is filled up."""

# To be raised when features change: what was kept is then made again.
_VERSION = 1
# Parts that the device may work on before the host waits for one.
_AHEAD = 2


@dataclasses.dataclass(frozen=True, eq=False)
class Features:
    """The features of a split.

    Attributes:
      features: float32 [n, D].
      aligned: bool [n], whether each face was aligned; see `Aligned`.
      note: how, in words.
    """

    features: np.ndarray
    aligned: np.ndarray
    note: str


@dataclasses.dataclass(frozen=True, eq=False)
class Recogniser:
    """A recognition network with its weights.

    Attributes:
      name: of the network, one of `RECOGNISERS`.
      template: how its faces are aligned.
      identity: of the weights and of how they are used.
      module, variables: the network, `(images in [-1, 1], train) -> features`.
    """

    name: str
    template: Template
    identity: str
    module: nn.Module
    variables: dict[str, Any]

    @classmethod
    def load(cls, spec: str | Path, which: str | None = None) -> Recogniser:
        """The recogniser of a run folder or of a converted .safetensors file.

        Args:
          spec: run folder of `lrjax train recognition` or of `lrjax train csri`, whose sharpening
            network then comes first; or file of `lrjax convert`.
          which: of a run folder, "best" (the default, where there is one) or "last".

        Raises:
          InputError: there are no such weights, or they are not those of a recogniser.
        """
        path = locate_network(Path(spec), "recogniser", "recognition", which)
        variables, metadata = load_variables(path)
        config = _config(path, metadata)
        files = [path]
        if isinstance(config, CSRIConfig):
            joint, module = config, csri_networks.build(config, axis_name=None)
            config = next(iter(csri_networks.branches(joint).values()))
            files.append(path.with_name("resolver.safetensors"))
            resolver, _ = load_variables(files[-1])
            variables = csri_networks.joined({"resolver": resolver, "recogniser": variables})
        else:
            module = recognition.build(config, axis_name=None)
        template = face_template(config)
        image = jnp.zeros((1, template.height, template.width, 3))
        wanted = jax.eval_shape(lambda: module.init(jax.random.key(0), image, train=False))
        misfit = first_misfit(variables, wanted)
        if misfit is not None:
            raise InputError(
                f"The arrays in {path} are not those of {config.network} of width "
                f"{config.width:g}: {misfit}; convert or train it again."
            )
        digests = [hashlib.sha256(file.read_bytes()).hexdigest() for file in files]
        return cls(
            name=config.network,
            template=template,
            identity=key_of("recogniser", _VERSION, *digests),
            module=module,
            variables=jax.tree.map(jnp.asarray, variables),
        )

    def embed(self, images: np.ndarray, flip: Flip = "sum", batch: int = BATCH) -> np.ndarray:
        """The features float32 [n, D] of aligned faces uint8 [n, H, W, 3].

        All devices of this process share each batch.

        Raises:
          InputError: the faces have another size than the network's, or a feature is not finite.
        """
        return next(self.stream([images], flip, batch))

    def stream(
        self, parts: Iterable[np.ndarray], flip: Flip = "sum", batch: int = BATCH
    ) -> Iterator[np.ndarray]:
        """As `embed`, one result for each of `parts`, while the next ones are being made."""
        if flip not in FLIPS:
            raise InputError(f"flip is {flip!r}; choose one of {', '.join(FLIPS)}.")
        mesh = Mesh(np.array(jax.local_devices()), ("data",))
        size = -(-batch // mesh.size) * mesh.size
        split, everywhere = (NamedSharding(mesh, PartitionSpec(*axis)) for axis in (["data"], []))
        variables = jax.device_put(self.variables, everywhere)

        def start(images: np.ndarray) -> tuple[list[jax.Array], int]:
            if images.dtype != np.uint8 or images.shape[3:] != (3,):
                raise InputError(
                    f"Faces are {images.dtype} {images.shape}; give uint8 RGB [n, H, W, 3]."
                )
            self.check_size(*images.shape[1:3])
            running = []
            for first in range(0, len(images), size):
                rows = images[first : first + size]
                filled = np.zeros((size, *rows.shape[1:]), np.uint8)
                filled[: len(rows)] = rows
                placed = jax.device_put(filled, split)
                running.append(_features(self.module, flip, variables, placed))
            return running, len(images)

        waiting: deque[tuple[list[jax.Array], int]] = deque()
        for images in parts:
            waiting.append(start(images))
            if len(waiting) > _AHEAD:
                yield self._finish(*waiting.popleft(), flip)
        while waiting:
            yield self._finish(*waiting.popleft(), flip)

    def sharpened(self, images: np.ndarray) -> np.ndarray:
        """What the network of a CSRI run sees after sharpening faces uint8 [n, H, W, 3]: uint8.

        Raises:
          InputError: the network sharpens nothing.
        """
        if not isinstance(self.module, csri_networks.ResolvingRecogniser):
            raise InputError(
                f"{self.name} does not sharpen faces; name a run of `lrjax train csri`."
            )
        return np.asarray(_sharpened(self.module, self.variables, images))

    def _finish(self, running: list[jax.Array], count: int, flip: Flip) -> np.ndarray:
        """The first `count` features, when they are there."""
        nothing = np.zeros((0, self.length(flip)), np.float32)
        features = np.concatenate([nothing, *jax.device_get(running)])[:count]
        if not np.isfinite(features).all():
            bad = int(np.sum(~np.isfinite(features).all(-1)))
            raise InputError(
                f"The features of {bad} of {count} faces by {self.name} are not finite; its "
                "weights are damaged, or its training diverged."
            )
        return features

    def length(self, flip: Flip) -> int:
        """Numbers in a feature."""
        return RECOGNISERS[self.name].embedding * (2 if flip == "concatenate" else 1)

    def check_size(self, height: int, width: int) -> None:
        """Raise an InputError if faces are not of the network's size."""
        template = self.template
        if (height, width) != (template.height, template.width):
            raise InputError(
                f"The faces have {width}x{height} pixels and {self.name} sees "
                f"{template.width}x{template.height}; align them to {template.name}."
            )


def cached_embeddings(
    recogniser: Recogniser,
    aligner: Aligner,
    portraits: Identities,
    *,
    flip: Flip = "sum",
    batch: int = BATCH,
    cache: Path | None = None,
) -> Features:
    """The features of a split, whose faces are aligned on the way, in one pass.

    Args:
      recogniser, aligner: of one size.
      portraits: the split.
      flip, batch: as for `Recogniser.embed`.
      cache: folder of features and aligned faces that were made before, and believed while their
        pictures, weights and settings are the same (see `data.cache`). None: nothing is kept, and
        only a portion of the aligned faces is in memory at a time.

    Raises:
      InputError: they are not of one size, or as for `Aligner` and `Recogniser.embed`.
    """
    recogniser.check_size(aligner.height, aligner.width)

    def parts() -> Iterator[dict[str, np.ndarray]]:
        flags: deque[np.ndarray] = deque()

        def images() -> Iterator[np.ndarray]:
            for faces, aligned in _portions(aligner, portraits, batch, cache):
                flags.append(aligned)
                yield faces

        with tqdm(total=len(portraits), desc="embed", unit="face", dynamic_ncols=True) as bar:
            for features in recogniser.stream(images(), flip, batch):
                yield {"features": features, "aligned": flags.popleft()}
                bar.update(len(features))

    if cache is None:
        pieces = list(parts())
        arrays = {name: np.concatenate([p[name] for p in pieces]) for name in pieces[0]}
    else:
        key = key_of(portraits.fingerprint, aligner.identity, recogniser.identity, flip)
        arrays, _ = cached(cache / "features", key, len(portraits), parts)
    return Features(**arrays, note=aligner.note(arrays["aligned"]))


def _portions(
    aligner: Aligner, portraits: Identities, count: int, cache: Path | None
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """(faces, whether they are aligned) of a split, `count` at a time."""
    if cache is None:
        yield from ((part.images, part.aligned) for part in aligner.parts(portraits, count))
        return
    whole = aligner(portraits, cache)
    for start in range(0, len(whole), count):
        rows = slice(start, start + count)
        yield whole.images[rows], whole.aligned[rows]


@partial(jax.jit, static_argnums=(0, 1))
def _features(
    module: nn.Module, flip: str, variables: dict[str, Any], pixels: jax.Array
) -> jax.Array:
    """Features [B, D] or, of face and mirror image in a row, [B, 2 D]; faces in 0..255."""
    images = pixels.astype(jnp.float32) / 127.5 - 1.0
    face = module.apply(variables, images, train=False)
    if flip == "none":
        return face
    mirror = module.apply(variables, images[:, :, ::-1], train=False)
    if flip == "concatenate":
        return jnp.concatenate([face, mirror], axis=-1)
    fused = face + mirror
    if flip == "norm_weighted":
        fused = fused / jnp.maximum(jnp.linalg.norm(fused, axis=-1, keepdims=True), 1e-12)
    return fused


@partial(jax.jit, static_argnums=0)
def _sharpened(module: nn.Module, variables: dict[str, Any], pixels: jax.Array) -> jax.Array:
    images = pixels.astype(jnp.float32) / 127.5 - 1.0
    return to_bytes(module.apply(variables, images, method="sharpen"))


def _config(path: Path, metadata: dict[str, Any]) -> RecognitionConfig | CSRIConfig:
    """What the metadata of a weights file say of its recogniser."""
    name = metadata.get("network")
    if name == "recogniser" and metadata.get("task") == "csri":
        return from_dict(CSRIConfig, metadata.get("config", {}))
    if name == "recogniser" and metadata.get("task") == "recognition":
        return from_dict(RecognitionConfig, metadata.get("config", {}))
    if name not in RECOGNISERS:
        raise InputError(
            f"The weights file {path} holds {name or 'no network'!r}, which is no recogniser; name "
            "a run of `lrjax train recognition` or `lrjax train csri`, or one of "
            f"{', '.join(name for name in CONVERSIONS if name in RECOGNISERS)} converted by "
            "`lrjax convert`."
        )
    return RecognitionConfig(network=name)
