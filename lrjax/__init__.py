"""Landmarks on, and recognition of, faces of 15 to 40 pixels."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lrjax.inference.api import predict
    from lrjax.inference.landmarks import Detector, Inference, Prediction

__all__ = ["Detector", "Inference", "Prediction", "__version__", "predict"]
__version__ = "0.1.0"

# Imported when first used, so that `import lrjax` does not wait for JAX.
_HOMES = {
    "predict": "lrjax.inference.api",
    "Detector": "lrjax.inference.landmarks",
    "Inference": "lrjax.inference.landmarks",
    "Prediction": "lrjax.inference.landmarks",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'lrjax' has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)
