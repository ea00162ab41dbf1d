"""The datasets by their names: where each one comes from, and what its images look like."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path
from typing import Any

import keras
import numpy as np
from PIL import Image
from sklearn.datasets import load_digits

from ddpm_lib.config import DataConfig, InputError, UNetConfig
from ddpm_lib.data.pictures import reason
from ddpm_lib.data.preparing import open_prepared, prepare
from ddpm_lib.files import unpacked_size, user_path

WHERE_CELEBA_IS = (
    "name the archive img_align_celeba.zip, or the folder it was unpacked to, with --data_dir. It is had from "
    "http://mmlab.ie.cuhk.edu.hk/projects/CelebA.html (Google Drive or Baidu; when Drive's daily quota is used up, a "
    "small web page is saved in place of the archive: try again a day later) or from Kaggle as "
    "jessicali9530/celeba-dataset"
)


def load_images(
    data: DataConfig,
    unet: UNetConfig,
    cache_dir: str | os.PathLike | None = None,
    *,
    max_bad_fraction: float = 0.01,
    progress: bool = True,
) -> np.ndarray:
    """Return all training images of a dataset at the size the network expects.

    * "digits": scikit-learn's 1,797 handwritten digits of 8x8 pixels, enlarged to 16x16 with a bicubic filter.
    * "fashion_mnist": the 60,000 training images of 28x28 pixels with two black pixels around them, from `data_dir`
      (`fashion_mnist.npz` or its folder) or else downloaded by Keras.
    * "celeba", "folder": what `prepare` makes of `data_dir`, mapped into memory.

    Args:
        data: which dataset, and where it is.
        unet: its `image_size` and `channels` must fit the dataset.
        cache_dir: see `prepare`.
        max_bad_fraction: see `prepare`.
        progress: see `prepare`.

    Returns:
        (N, H, W, C) uint8; C is 1 for digits and Fashion-MNIST, and 3 for the others.

    Raises:
        InputError: if the dataset is not at hand, or does not fit the network.
    """
    if data.dataset == "digits":
        _check_fit(data, unet, image_size=16, channels=1)
        return _digits()
    if data.dataset == "fashion_mnist":
        _check_fit(data, unet, image_size=32, channels=1)
        return np.pad(_fashion_mnist(data.data_dir), ((0, 0), (2, 2), (2, 2)))[..., None]
    _check_fit(data, unet, image_size=unet.image_size, channels=3)
    if data.data_dir is None and data.dataset == "celeba":
        raise InputError(f"CelebA is not included: {WHERE_CELEBA_IS}")
    if data.data_dir is None:
        raise InputError("the dataset 'folder' needs --data_dir: a folder or a zip archive of images")
    return open_prepared(
        prepare(
            data.data_dir,
            unet.image_size,
            cache_dir=cache_dir,
            max_bad_fraction=max_bad_fraction,
            progress=progress,
        )
    )


def describe(images: np.ndarray) -> dict[str, Any]:
    """Return the crop and the checksum of what `load_images` returned, to be kept with what is trained on it.

    Args:
        images: (N, H, W, C) uint8.

    Returns:
        A dictionary of "crop", what `prepare` cut from the pictures (None for the other datasets), and "sha256", of the
        array's bytes (for prepared images as noted by `prepare`).
    """
    if isinstance(images, np.memmap):
        facts = json.loads(Path(images.filename).with_suffix(".json").read_text("utf8"))
        return {"crop": facts["crop"], "sha256": facts["sha256"]}
    return {"crop": None, "sha256": hashlib.sha256(images.tobytes()).hexdigest()}


def _check_fit(data, unet, *, image_size, channels):
    if unet.image_size != image_size:
        raise InputError(
            f"{data.dataset} images are {image_size}x{image_size}, but the network expects "
            f"{unet.image_size}x{unet.image_size}: choose the preset that belongs to the dataset"
        )
    if unet.channels != channels:
        raise InputError(
            f"{data.dataset} images have {channels} channels, but the network expects {unet.channels}: "
            f"choose the preset that belongs to the dataset"
        )


def _digits():
    pictures = [Image.fromarray(digit) for digit in load_digits().images.astype(np.float32)]
    enlarged = np.stack([np.asarray(picture.resize((16, 16), Image.Resampling.BICUBIC)) for picture in pictures])
    # 0..16 becomes 0..255; the filter overshoots at edges.
    return np.clip(np.rint(enlarged * (255 / 16)), 0, 255).astype(np.uint8)[..., None]


def _fashion_mnist(data_dir):
    if data_dir is None:
        try:
            (images, _), _ = keras.datasets.fashion_mnist.load_data()
        except Exception as error:  # whatever the network or the server does
            raise InputError(
                f"Fashion-MNIST could not be downloaded ({reason(error)}): "
                "name a copy of fashion_mnist.npz, or its folder, with --data_dir"
            ) from error
        return images
    path = user_path(data_dir)
    path = path / "fashion_mnist.npz" if path.is_dir() else path
    if not path.is_file():
        raise InputError(f"there is no file {path}: name a copy of fashion_mnist.npz, or its folder, with --data_dir")
    try:
        if unpacked_size(path) > 2**28:  # it has 55 MB
            raise ValueError("too large")
        with np.load(path) as arrays:
            images = arrays["x_train"]
    except Exception as error:  # whatever a damaged archive leads to
        raise InputError(f"{path} is not Fashion-MNIST as an .npz file with x_train: {reason(error)}") from error
    if images.shape[1:] != (28, 28) or images.dtype != np.uint8 or not len(images):
        raise InputError(f"x_train in {path} must be uint8 (N, 28, 28), found {images.dtype} {images.shape}")
    return images
