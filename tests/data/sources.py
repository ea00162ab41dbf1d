"""Pictures to prepare: made here, or of the real archives where they are at hand.

The tests on the real archives read the folder that the environment variable DDPM_DATA_DIR names: it may hold
`img_align_celeba.zip`, `lfw64.zip` (the same faces, prepared elsewhere) and `fashion_mnist.npz`.
"""

import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ddpm_lib.data import open_prepared, prepare

REAL_DATA = Path(os.environ.get("DDPM_DATA_DIR", "nowhere"))


def real(name):
    return pytest.mark.skipif(not (REAL_DATA / name).exists(), reason=f"DDPM_DATA_DIR names no folder with {name}")


def save(folder, name, pixels, **options):
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    picture = pixels if isinstance(pixels, Image.Image) else Image.fromarray(np.asarray(pixels))
    picture.save(path, **options)
    return path


def noise_pictures(folder, count, size=32):
    """Write `count` PNGs of random pixels, which survive preparing at their own size unchanged."""
    pixels = np.random.default_rng(0).integers(0, 256, (count, size, size, 3), dtype=np.uint8)
    for index, picture in enumerate(pixels):
        save(folder, f"{index:06d}.png", picture)
    return pixels


def prepared(source, cache, image_size=32, **options):
    return open_prepared(prepare(source, image_size, cache_dir=cache, progress=False, **options))
