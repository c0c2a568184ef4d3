"""Faces for training recognisers, in the record files of the MS-Celeb-1M family."""
