"""Pictures: uint8 conversion, grids, labelled strips and animated GIFs."""

from __future__ import annotations

import math
import os
from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw

from ddpm_lib.config import InputError
from ddpm_lib.files import whole_or_not_at_all


def from_uint8(images: np.ndarray) -> np.ndarray:
    """Map uint8 0..255 to float32 in [-1, 1], any shape."""
    return images.astype(np.float32) / np.float32(127.5) - np.float32(1.0)


def to_uint8(images) -> np.ndarray:
    """Map [-1, 1] to uint8 0..255, rounding, and clipping what lies outside; any shape.

    Raises:
        InputError: if a value is no number (nan): it has no grey level, and black would hide it.
    """
    images = np.asarray(images, dtype=np.float32)
    if np.isnan(images).any():
        raise InputError("these images hold values that are no numbers (nan): the network that drew them has diverged")
    return np.clip(np.rint((images + 1.0) * 127.5), 0, 255).astype(np.uint8)


def resize(images: np.ndarray, size: int) -> np.ndarray:
    """Resize (N, H, W, C) uint8 images, C = 1 or 3, to `size` pixels in height and width, with a Lanczos filter."""
    pictures = [to_pil(image).resize((size, size), Image.Resampling.LANCZOS) for image in images]
    return np.stack([np.asarray(picture) for picture in pictures]).reshape(len(images), size, size, images.shape[-1])


def make_grid(images: np.ndarray, columns: int | None = None, pad: int = 1) -> np.ndarray:
    """Lay images out row by row on white, as near to a square as their number allows.

    Args:
        images: (N, H, W, C) uint8 with N >= 1 and C = 1 or 3.
        columns: images a row; by default the smallest whole number not below sqrt(N).
        pad: white pixels between images.

    Returns:
        (height, width, C) uint8. Places of the last row that no image fills are white.
    """
    count, height, width, channels = images.shape
    columns = columns or math.isqrt(count - 1) + 1
    rows = -(-count // columns)
    shape = (rows * (height + pad) - pad, columns * (width + pad) - pad, channels)
    grid = np.full(shape, 255, np.uint8)
    for index, image in enumerate(images):
        top, left = (index // columns) * (height + pad), (index % columns) * (width + pad)
        grid[top : top + height, left : left + width] = image
    return grid


def to_pil(image: np.ndarray, scale: int = 1) -> Image.Image:
    """Turn one (H, W, C) uint8 image, C = 1 or 3, into a Pillow image, enlarged `scale` times without smoothing."""
    picture = Image.fromarray(image[..., 0] if image.shape[-1] == 1 else image)
    return picture.resize((picture.width * scale, picture.height * scale), Image.Resampling.NEAREST)


def save_png(path: str | os.PathLike, image: np.ndarray, scale: int = 1) -> None:
    """Write one (H, W, C) uint8 image as PNG, enlarged `scale` times without smoothing."""
    with whole_or_not_at_all(path) as temporary:
        to_pil(image, scale).save(temporary, format="PNG")


def save_strip(path: str | os.PathLike, frames: Sequence[np.ndarray], labels: Sequence[str], scale: int = 1) -> None:
    """Write frames side by side as PNG, each with its label underneath.

    Args:
        path: where to write.
        frames: (H, W, C) uint8 images of one size.
        labels: one short text a frame.
        scale: enlargement of the frames; the text keeps its size.
    """
    pictures = [to_pil(frame, scale).convert("RGB") for frame in frames]
    width, height = pictures[0].size
    gap, caption = 4, 18
    strip = Image.new("RGB", (len(pictures) * (width + gap) - gap, height + caption), "white")
    draw = ImageDraw.Draw(strip)
    for index, (picture, label) in enumerate(zip(pictures, labels, strict=True)):
        left = index * (width + gap)
        strip.paste(picture, (left, 0))
        draw.text((left + width / 2, height + caption / 2), label, fill="black", anchor="mm")
    with whole_or_not_at_all(path) as temporary:
        strip.save(temporary, format="PNG")


def save_gif(path: str | os.PathLike, frames: Sequence[np.ndarray], scale: int = 1, milliseconds: int = 60) -> None:
    """Write (H, W, C) uint8 frames as an endless GIF that rests two seconds on the last one."""
    pictures = [to_pil(frame, scale).convert("RGB").quantize(dither=Image.Dither.NONE) for frame in frames]
    durations = [milliseconds] * (len(pictures) - 1) + [2000]
    options = {"save_all": True, "append_images": pictures[1:], "duration": durations, "loop": 0, "optimize": False}
    with whole_or_not_at_all(path) as temporary:
        pictures[0].save(temporary, format="GIF", **options)
