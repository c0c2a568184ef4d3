"""Losses as pure functions, their adversarial state as explicit values."""
