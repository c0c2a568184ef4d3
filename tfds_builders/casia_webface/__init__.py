"""CASIA-WebFace: people for training recognisers."""
