"""Datasets: prepare pictures once into a uint8 array on disk, then serve float batches of it without end.

Nothing here computes on a deep-learning backend: batches are NumPy arrays, and which images a batch holds is a function
of the seed and the global step alone.
"""

from ddpm_lib.data.batches import Batches
from ddpm_lib.data.datasets import WHERE_CELEBA_IS, describe, load_images
from ddpm_lib.data.pictures import CELEBA_CROP, CELEBA_SIZE, FORMATS, MIN_SIDE, Box
from ddpm_lib.data.preparing import default_cache_dir, open_prepared, prepare

__all__ = [
    "CELEBA_CROP",
    "CELEBA_SIZE",
    "FORMATS",
    "MIN_SIDE",
    "WHERE_CELEBA_IS",
    "Batches",
    "Box",
    "default_cache_dir",
    "describe",
    "load_images",
    "open_prepared",
    "prepare",
]
