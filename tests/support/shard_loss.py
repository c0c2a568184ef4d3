"""FILE: losses and gradients of eight classes over four devices, by both kinds of parallelism."""

import sys
from functools import partial

import jax
import numpy as np
from jax.sharding import PartitionSpec

from lrjax.losses import identity
from lrjax.training.parallel import AXIS, make_mesh

HEADS = {
    "linear": lambda x, w, y: identity.linear_logits(x, *w),
    "arcface": lambda x, w, y: identity.arcface_logits(x, w[0], y),
    "cosface": lambda x, w, y: identity.cosface_logits(x, w[0], y),
}


def step(head: str, embeddings: jax.Array, labels: jax.Array, *weights: jax.Array) -> tuple:
    """This device's errors, and gradients of their focal mean."""

    def loss(x: jax.Array, w: tuple) -> tuple[jax.Array, jax.Array]:
        errors = identity.sharded_softmax_cross_entropy(x, w, labels, HEADS[head], AXIS, classes=6)
        return identity.focal(errors).mean(), errors

    (_, errors), gradients = jax.value_and_grad(loss, (0, 1), has_aux=True)(embeddings, weights)
    return errors, gradients[0], *gradients[1]


def main(path: str) -> None:
    """Compute."""
    rng = np.random.default_rng(1)
    inputs = {
        "embeddings": rng.normal(size=(12, 3)).astype(np.float32),
        "labels": rng.integers(0, 6, 12).astype(np.int32),
        "kernel": rng.normal(size=(3, 8)).astype(np.float32),
        "bias": rng.normal(size=8).astype(np.float32),
    }
    rows, columns = PartitionSpec(AXIS), PartitionSpec(None, AXIS)
    found = {}
    for head in HEADS:
        mapped = jax.shard_map(
            partial(step, head),
            mesh=make_mesh(),
            in_specs=(rows, rows, columns, rows),
            out_specs=(rows, rows, columns, rows),
            check_vma=False,
        )
        for i, value in enumerate(jax.jit(mapped)(*inputs.values())):
            found[f"mesh/{head}/{i}"] = np.asarray(value)
        x, labels, kernel, bias = inputs.values()
        parts = (
            x.reshape(4, 3, 3),
            labels.reshape(4, 3),
            np.moveaxis(kernel.reshape(3, 4, 2), 1, 0),
            bias.reshape(4, 2),
        )
        values = jax.pmap(partial(step, head), axis_name=AXIS)(*parts)
        joined = [
            np.concatenate(list(np.asarray(v)), axis=-1 if i >= 2 else 0)
            for i, v in enumerate(values)
        ]
        found |= {f"pmap/{head}/{i}": value for i, value in enumerate(joined)}
    np.savez(path, **inputs, **found)


main(sys.argv[1])
