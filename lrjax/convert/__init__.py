"""Weights that others published, read as data and laid out for the networks here."""
