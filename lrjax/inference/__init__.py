"""Trained weights at work on new pictures."""
