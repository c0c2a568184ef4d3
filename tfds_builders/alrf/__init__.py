"""ALRF: annotated low-resolution faces, five points each."""
