"""Landmarks on, and recognition of, faces of 15 to 40 pixels."""

__version__ = "0.1.0"
