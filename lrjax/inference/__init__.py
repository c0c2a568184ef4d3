"""Trained networks at work on pictures."""
