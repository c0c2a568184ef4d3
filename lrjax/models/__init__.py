"""Networks, one file a family, as Flax linen modules, known by name to `registry`."""

# Each registers its networks.
from lrjax.models import encoders, s2ld, upsamplers

__all__ = ["encoders", "s2ld", "upsamplers"]
