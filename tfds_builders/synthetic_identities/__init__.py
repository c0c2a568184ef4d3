"""Drawn people to be recognised in small pictures: TinyFace in miniature, without files."""
