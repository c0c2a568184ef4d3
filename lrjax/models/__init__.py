"""Networks, one file a family, as Flax linen modules, known by name to `registry`."""

# Each registers its networks.
from lrjax.models import encoders, mtcnn, s2ld, upsamplers

__all__ = ["encoders", "mtcnn", "s2ld", "upsamplers"]
