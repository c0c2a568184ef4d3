"""SynLR: sharp pictures of people, shrunk and split as TinyFace is."""
