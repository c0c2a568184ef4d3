"""AFLW: 19 points with visibility, in the release that the landmark papers use."""
