"""WIDER FACE: native low-resolution and high-resolution faces, without points."""
