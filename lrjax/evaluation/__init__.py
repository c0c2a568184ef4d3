"""Metrics as the papers' scripts compute them."""
