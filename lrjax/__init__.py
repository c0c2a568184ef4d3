"""Landmarks on, and recognition of, faces of 15 to 40 pixels.

`detect` finds faces, `predict` their landmarks; `FaceDetector`, `LandmarkPredictor`, `Aligner`,
`FaceEncoder` and `Upsampler` are trained networks at work. `lrjax --help` lists the commands.
"""

from __future__ import annotations

import importlib
from typing import Any

__version__ = "0.2.0"

# Imported when first used, so that `import lrjax` does not wait for JAX.
_HOMES = {
    "detect": "lrjax.inference.detector",
    "FaceDetector": "lrjax.inference.detector",
    "Detection": "lrjax.inference.detector",
    "DetectConfig": "lrjax.inference.detector",
    "predict": "lrjax.inference.landmarks",
    "LandmarkPredictor": "lrjax.inference.landmarks",
    "Prediction": "lrjax.inference.landmarks",
    "PredictConfig": "lrjax.inference.landmarks",
    "Aligner": "lrjax.inference.aligner",
    "AlignmentConfig": "lrjax.config",
    "FaceEncoder": "lrjax.inference.encoder",
    "Upsampler": "lrjax.inference.upsampler",
}
__all__ = ["__version__", *_HOMES]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'lrjax' has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return __all__
