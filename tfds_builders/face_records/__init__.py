"""Faces for training face encoders, in the record files of the MS-Celeb-1M family."""
