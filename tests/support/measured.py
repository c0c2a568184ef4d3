"""Measurements as they might have been made."""

from lrjax.benchmark import identification
from lrjax.benchmark.timing import Times

RANKED = identification.Measurements(
    sizes=identification.Sizes(probes=10, gallery=40, distractors=60, dimensions=500),
    times={
        identification.LRJAX: Times((3.0, 2.8, 6.0)),
        identification.PRODUCT: Times((2.0, 2.0, 5.0)),
        identification.FAISS: Times((4.0, 4.0, 4.0)),
    },
    memory={50: 300_000_000, 100: 301_000_000},
    memory_probes=10,
    machine={"device": "cpu", "devices": 1, "cores": 2, "jax": "0", "faiss": "1"},
)
