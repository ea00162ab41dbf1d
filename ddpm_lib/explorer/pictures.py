"""The pictures that the schedule explorer adds noise to: 64x64x3 uint8."""

from __future__ import annotations

import numpy as np
import skimage.data
from PIL import Image, ImageOps

from ddpm_lib.config import InputError

SIDE = 64

# Top, left and side of a square in photographs that ship with scikit-image. Both are CC0: the cat by Stefan van der
# Walt, the coffee by Rachel Michetti at Pikolo Espresso Bar.
_CROPS = {"cat": (skimage.data.chelsea, 10, 100, 256), "coffee": (skimage.data.coffee, 10, 120, 384)}

NAMES = (*_CROPS, "checkerboard")


def picture(name: str) -> np.ndarray:
    """Return one of `NAMES` as (64, 64, 3) uint8.

    A photograph is cut to a square and averaged over whole blocks of pixels, so its bytes are the same everywhere.
    """
    if name == "checkerboard":
        rows, columns = np.indices((SIDE, SIDE)) // 8
        return np.repeat(((rows + columns) % 2 * 255).astype(np.uint8)[..., None], 3, axis=2)
    photograph, top, left, side = _CROPS[name]
    square = photograph()[top : top + side, left : left + side]
    block = side // SIDE
    return np.rint(square.reshape(SIDE, block, SIDE, block, 3).mean(axis=(1, 3))).astype(np.uint8)


def shrink(image: np.ndarray) -> np.ndarray:
    """Bring any (H, W), (H, W, 1) or (H, W, 3) uint8 array to (64, 64, 3), cut to its central square.

    Raises:
        InputError: if it is not such an array.
    """
    image = np.asarray(image)
    if image.dtype != np.uint8 or image.ndim not in (2, 3) or (image.ndim == 3 and image.shape[2] not in (1, 3)):
        raise InputError(
            f"a picture is an (H, W) or (H, W, 3) array of uint8, got shape {image.shape} and {image.dtype}"
        )
    image = Image.fromarray(image[..., 0] if image.ndim == 3 and image.shape[2] == 1 else image).convert("RGB")
    return np.asarray(ImageOps.fit(image, (SIDE, SIDE), Image.Resampling.BOX))
