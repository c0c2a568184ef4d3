"""A page to try everything on a picture, and a server that others' programs ask."""
