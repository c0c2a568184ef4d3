"""TinyFace: people recognised in native low-resolution pictures."""
