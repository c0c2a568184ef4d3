"""Networks, one file a family, as Flax linen modules."""
