"""Is it a face, and what is it like? Three small networks for finding faces, with the weights of the package mtcnn.

The networks are those of Zhang et al. (2016), *Joint Face Detection and Alignment Using Multitask Cascaded
Convolutional Networks*: one proposes windows, one sorts them out, and one decides. They are built here in Keras, so
that they run on every backend; the package is only looked up for its three files, never imported. Its licence is MIT.
"""

from __future__ import annotations

import importlib.util
import pathlib

import keras
import numpy as np
from keras import layers
from PIL import Image
from tqdm import tqdm

from ddpm_lib.config import InputError

INSTALL = "pip install --no-deps mtcnn==1.0.0 lz4==4.4.5"
WINDOW, STRIDE = 12, 2  # pixels: what the first network sees at once, and how far apart it looks
SMALLEST_FACE, SHRINK = 20, 0.709  # pixels; each size looked for is 1 / SHRINK of the one before, half the area
THRESHOLDS = (0.6, 0.7, 0.8)  # least certainty of the three networks, as in the package
OVERLAP = 0.7  # of two windows, above which only the more certain one is kept
BATCH = 256  # pictures, or windows, at a time
# Keras would take both from the user's keras.json.
DTYPE = {"dtype": "float32"}
FORMAT = {"data_format": "channels_last", **DTYPE}


class FaceNetworks:
    """Finds faces, and describes pictures by the last hidden layer of the network that decides about faces.

    Raises:
        InputError: if the packages that bring the weights are not installed, with the line that installs them.
    """

    name = "faces"
    about = "last hidden layer of MTCNN's O-Net"

    def __init__(self):
        folder = _weights_folder()
        self._propose, self._refine, whole = _propose(), _refine(), _decide()
        for network, file in [(self._propose, "pnet"), (self._refine, "rnet"), (whole, "onet")]:
            network.set_weights(_read(folder / f"{file}.lz4"))
        offsets, _, classes = whole.outputs  # the second says where eyes, nose and mouth are
        self._decide = keras.Model(whole.input, [offsets, classes])
        self._hidden = keras.Model(whole.input, whole.get_layer("hidden").output)

    def features(self, images: np.ndarray, progress: bool = False) -> np.ndarray:
        """Describe whole pictures, resized to 48x48, by 256 numbers each.

        Args:
            images: (N, H, W, 3) uint8.
            progress: whether to show a progress bar.

        Returns:
            (N, 256) float32.

        Raises:
            InputError: if the pictures are grey.
        """
        _refuse_grey(images)
        rows = []
        for part in _parts(len(images), "features", progress):
            small = [Image.fromarray(image).resize((48, 48), Image.Resampling.BILINEAR) for image in images[part]]
            rows.append(self._hidden.predict_on_batch(_normalized(small)))
        return np.concatenate(rows)

    def is_face(self, images: np.ndarray, progress: bool = False) -> np.ndarray:
        """Say of each picture whether the three networks find at least one face in it.

        Args:
            images: (N, H, W, 3) uint8, at least 20 pixels high and wide.
            progress: whether to show a progress bar.

        Returns:
            (N,) bool.

        Raises:
            InputError: if the pictures are grey, or smaller than a face can be.
        """
        _refuse_grey(images)
        if min(images.shape[1:3]) < SMALLEST_FACE:
            found = f"{images.shape[2]}x{images.shape[1]}"
            raise InputError(
                f"a face has at least {SMALLEST_FACE} pixels, and these pictures are {found}: "
                "take larger ones, or the features inception"
            )
        return np.concatenate([self._found(images[part]) for part in _parts(len(images), "finding faces", progress)])

    def _found(self, images):
        pictures = [Image.fromarray(image) for image in images]
        owners, boxes, scores = self._windows(pictures)
        for network, side, threshold in [(self._refine, 24, THRESHOLDS[1]), (self._decide, 48, THRESHOLDS[2])]:
            kept = _most_certain(owners, boxes, scores)
            owners, boxes = owners[kept], _squared(boxes[kept])
            if not len(owners):
                break
            offsets, scores = _predict(network, _cut(pictures, owners, boxes, side))
            boxes = _moved(boxes, offsets)
            sure = scores > threshold
            owners, boxes, scores = owners[sure], boxes[sure], scores[sure]
        return np.isin(np.arange(len(images)), owners)

    def _windows(self, pictures):
        """Windows that may hold a face: their pictures, (M,), boxes (left, top, right, bottom), (M, 4), and scores."""
        side = min(pictures[0].size)
        owners, boxes, scores = [], [], []
        scale = WINDOW / SMALLEST_FACE
        while side * scale >= WINDOW:
            size = tuple(round(length * scale) for length in pictures[0].size)
            small = [picture.resize(size, Image.Resampling.BILINEAR) for picture in pictures]
            offsets, certain = _predict(self._propose, _normalized(small))
            owner, row, column = np.nonzero(certain > THRESHOLDS[0])
            corner = STRIDE * np.stack([column, row], axis=1)
            box = np.concatenate([corner, corner + WINDOW], axis=1) / scale
            owners.append(owner)
            boxes.append(_moved(box, offsets[owner, row, column]))
            scores.append(certain[owner, row, column])
            scale *= SHRINK
        return np.concatenate(owners), np.concatenate(boxes), np.concatenate(scores)


def _refuse_grey(images):
    if images.shape[3] != 3:
        raise InputError("the features 'faces' are for pictures in colour, these are grey: take the features inception")


def _parts(count, what, progress):
    starts = range(0, count, BATCH)
    with tqdm(total=count, desc=what, unit="image", disable=not progress) as bar:
        for start in starts:
            part = slice(start, min(start + BATCH, count))
            yield part
            bar.update(part.stop - part.start)


def _normalized(pictures):
    return (np.stack([np.asarray(picture) for picture in pictures]).astype(np.float32) - 127.5) / 128.0


def _predict(network, inputs):
    """Offsets of the box, (..., 4), and how certain a face is, (...)."""
    parts = [network.predict_on_batch(inputs[start : start + BATCH]) for start in range(0, len(inputs), BATCH)]
    offsets, classes = (np.concatenate(part) for part in zip(*parts, strict=True))
    return offsets, classes[..., 1]


def _moved(boxes, offsets):
    """Move the sides of boxes by shares of their width and height."""
    sizes = boxes[:, 2:] - boxes[:, :2]
    return boxes + offsets * np.tile(sizes, 2)


def _squared(boxes):
    """Enlarge boxes to squares around the same centres."""
    centres, sizes = (boxes[:, :2] + boxes[:, 2:]) / 2, boxes[:, 2:] - boxes[:, :2]
    half = np.maximum(sizes.max(axis=1, keepdims=True), 2.0) / 2  # a box turned inside out becomes a small one
    return np.concatenate([centres - half, centres + half], axis=1)


def _cut(pictures, owners, boxes, side):
    """Cut boxes out of pictures and resize them; what lies outside a picture is grey, 0 to the networks."""
    pad = max(pictures[0].size)
    windows, padded, last = [], None, None
    for owner, box in zip(owners, boxes, strict=True):
        if owner != last:  # boxes come picture by picture
            width, height = pictures[owner].size
            padded = Image.new("RGB", (width + 2 * pad, height + 2 * pad), (128, 128, 128))
            padded.paste(pictures[owner], (pad, pad))
            last = owner
        inside = np.clip(box + pad, 0, np.tile(padded.size, 2))
        if min(inside[2:] - inside[:2]) < 1:  # it has left the picture altogether
            inside = np.array([0, 0, 1, 1])
        windows.append(padded.resize((side, side), Image.Resampling.BILINEAR, box=tuple(inside)))
    return _normalized(windows)


def _most_certain(owners, boxes, scores):
    """Of the boxes of a picture that overlap much, keep the most certain; return indices, picture by picture."""
    areas = np.prod(np.maximum(boxes[:, 2:] - boxes[:, :2], 0), axis=1)
    kept = []
    for owner in np.unique(owners):
        left = np.flatnonzero(owners == owner)
        left = left[np.argsort(-scores[left], kind="stable")]
        while len(left):
            best, left = left[0], left[1:]
            kept.append(best)
            corners = np.maximum(boxes[left, :2], boxes[best, :2]), np.minimum(boxes[left, 2:], boxes[best, 2:])
            common = np.prod(np.maximum(corners[1] - corners[0], 0), axis=1)
            left = left[common <= OVERLAP * (areas[left] + areas[best] - common)]
    return np.array(kept, np.int64)


def _propose():
    image = layers.Input((None, None, 3), **DTYPE)
    x = _pooled(_convolved(image, 10, 3), 2, "same")
    x = _convolved(_convolved(x, 16, 3), 32, 3)
    offsets, classes = layers.Conv2D(4, 1, **FORMAT), layers.Conv2D(2, 1, activation="softmax", **FORMAT)
    return keras.Model(image, [offsets(x), classes(x)])


def _refine():
    image = layers.Input((24, 24, 3), **DTYPE)
    x = _pooled(_convolved(image, 28, 3), 3, "same")
    x = _pooled(_convolved(x, 48, 3), 3)
    x = _described(_convolved(x, 64, 2), 128)
    return keras.Model(image, [_dense(4)(x), _dense(2, "softmax")(x)])


def _decide():
    image = layers.Input((48, 48, 3), **DTYPE)
    x = _pooled(_convolved(image, 32, 3), 3, "same")
    x = _pooled(_convolved(x, 64, 3), 3)
    x = _pooled(_convolved(x, 64, 3), 2, "same")
    x = _described(_convolved(x, 128, 2), 256)
    return keras.Model(image, [_dense(4)(x), _dense(10)(x), _dense(2, "softmax")(x)])


def _convolved(x, width, size):
    return layers.PReLU(shared_axes=[1, 2], **DTYPE)(layers.Conv2D(width, size, **FORMAT)(x))


def _pooled(x, size, padding="valid"):
    return layers.MaxPooling2D(size, 2, padding, **FORMAT)(x)


def _dense(width, activation=None):
    return layers.Dense(width, activation, **DTYPE)


def _described(x, width):
    x = layers.Permute((2, 1, 3), **DTYPE)(x)  # the weights were trained with columns first
    return layers.PReLU(name="hidden", **DTYPE)(_dense(width)(layers.Flatten(**FORMAT)(x)))


def _weights_folder():
    missing = [name for name in ("mtcnn", "lz4") if importlib.util.find_spec(name) is None]
    if missing:
        raise InputError(f"the features 'faces' need the package {missing[0]}, which is not installed: {INSTALL}")
    return pathlib.Path(importlib.util.find_spec("mtcnn").origin).parent / "assets" / "weights"


def _read(path):
    import joblib  # not at the top: it comes with scikit-learn, and only this needs it

    try:
        return joblib.load(path)
    except Exception as error:
        raise InputError(f"{path} cannot be read ({type(error).__name__}): {INSTALL}") from error
