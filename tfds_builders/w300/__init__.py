"""300W: 68 points on faces in the wild."""
