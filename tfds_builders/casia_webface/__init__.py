"""CASIA-WebFace: people for training face encoders."""
