"""People place five points on small faces, as for K&C's ALRF (their Figure 7)."""
