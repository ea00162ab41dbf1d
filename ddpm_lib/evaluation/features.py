"""What pictures are compared by: networks that turn a picture into a row of numbers, interchangeable by their names.

Each has a `name`, a line `about` it, and `features(images (N, H, W, C) uint8, progress) -> (N, D) float32`. Distances
by different ones, or from pictures of different sizes, are not comparable.
"""

from __future__ import annotations

import contextlib

import keras
import numpy as np
from PIL import Image
from sklearn.datasets import load_digits
from threadpoolctl import threadpool_limits
from tqdm import tqdm

from ddpm_lib.config import PRESETS, DataConfig, InputError
from ddpm_lib.data import load_images
from ddpm_lib.evaluation.faces import FaceNetworks

# The features a dataset is judged by when none are named.
DEFAULT_FEATURES = {"digits": "digits", "fashion_mnist": "inception", "celeba": "faces", "folder": "faces"}


class DigitNetwork:
    """Describes digits of 16x16 pixels by the hidden layer of a small classifier, trained here within seconds.

    The training is deterministic: always the same seed, on the handwritten digits and labels that scikit-learn ships.
    """

    name = "digits"
    about = "hidden layer of a classifier of digits"

    def __init__(self):
        from sklearn.neural_network import MLPClassifier  # not at the top: it takes a second to import

        digits = load_images(DataConfig("digits"), PRESETS["digits16"].unet)
        self.classifier = MLPClassifier((64,), learning_rate_init=0.003, random_state=0)
        with threadpool_limits(1):  # products this small only wait for more threads
            for _ in range(30):
                self.classifier.partial_fit(_rows(digits), load_digits().target, classes=range(10))

    def features(self, images: np.ndarray, progress: bool = False) -> np.ndarray:
        """Describe digits by 64 numbers each.

        Args:
            images: (N, 16, 16, 1) uint8.
            progress: nothing to show: it takes no time.

        Returns:
            (N, 64) float32.

        Raises:
            InputError: if the images have another shape.
        """
        if images.shape[1:] != (16, 16, 1):
            raise InputError(f"the features 'digits' are for 16x16 grey pictures, not for {_shape(images)}")
        weights, biases = self.classifier.coefs_[0], self.classifier.intercepts_[0]
        return np.maximum(_rows(images) @ weights + biases, 0.0).astype(np.float32)


class Inception:
    """Describes pictures by the last pooling layer of Inception-v3 (Szegedy et al., 2016), as Keras ships it.

    Keras fetches its ImageNet weights at the first use, 88 MB, and keeps them. They are not the weights that published
    FID values were computed with (Heusel et al., 2017), so do not compare with those.

    Raises:
        InputError: if the weights cannot be had.
    """

    name = "inception"
    about = "last pooling layer of Inception-v3, Keras's ImageNet weights"

    def __init__(self):
        try:
            with _keras_own_settings():
                self.network = keras.applications.InceptionV3(include_top=False, pooling="avg", weights="imagenet")
        except Exception as error:  # whatever the connection, the server or the disk does
            reason = (str(error).splitlines() or [type(error).__name__])[0]
            raise InputError(
                f"the weights of Inception-v3 could not be had ({reason}); the features 'faces' and 'digits' need no "
                "download"
            ) from error

    def features(self, images: np.ndarray, progress: bool = False) -> np.ndarray:
        """Describe pictures, enlarged to 299x299, by 2,048 numbers each.

        Args:
            images: (N, H, W, C) uint8, C = 1 or 3.
            progress: whether to show a progress bar.

        Returns:
            (N, 2048) float32.
        """
        rows = []
        for start in tqdm(range(0, len(images), 32), desc="features", unit="batch", disable=not progress):
            colours = np.broadcast_to(part := images[start : start + 32], (*part.shape[:3], 3))
            large = [Image.fromarray(image).resize((299, 299), Image.Resampling.BICUBIC) for image in colours]
            # Inception-v3 takes -1..1, as keras.applications.inception_v3.preprocess_input makes of 0..255.
            rows.append(self.network.predict_on_batch(np.stack(large).astype(np.float32) / 127.5 - 1.0))
        return np.concatenate(rows)


FEATURES = {network.name: network for network in (FaceNetworks, DigitNetwork, Inception)}


def feature_network(name: str):
    """Make the network of that name: "faces", "digits" or "inception".

    Raises:
        InputError: if the name is unknown, or what the network needs is not installed.
    """
    if name not in FEATURES:
        raise InputError(f"unknown features {name!r}: choose one of {', '.join(FEATURES)}")
    return FEATURES[name]()


@contextlib.contextmanager
def _keras_own_settings():
    """Put Keras's own settings in the place of the user's: its ready-made networks can be told none of them."""
    before = keras.config.image_data_format(), keras.config.floatx(), keras.config.dtype_policy()
    try:
        _set_keras("channels_last", "float32", "float32")
        yield
    finally:
        _set_keras(*before)


def _set_keras(data_format, floatx, policy):
    keras.config.set_image_data_format(data_format)
    keras.config.set_floatx(floatx)
    keras.config.set_dtype_policy(policy)


def _rows(images):
    return images.reshape(len(images), -1).astype(np.float64) / 255


def _shape(images):
    height, width, channels = images.shape[1:]
    return f"{width}x{height} pictures with {channels} channel{'s' if channels > 1 else ''}"
