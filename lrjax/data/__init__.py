"""Prepared records to arrays, and arrays to batches."""
