"""Synthetic faces: drawn people with exact landmarks, as an embedded default."""
