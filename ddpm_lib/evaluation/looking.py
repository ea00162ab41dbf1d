"""Looking at what a model has learned: nearest training images, coarse and fine parts, ways between two noises."""

from __future__ import annotations

import numpy as np
from tqdm import tqdm

from ddpm_lib.images import from_uint8

BLOCK = 4096  # training images held as floats at a time


def nearest_images(
    images: np.ndarray,
    training: np.ndarray,
    *,
    count: int = 2,
    own: np.ndarray | None = None,
    batch_size: int = 256,
    progress: bool = False,
) -> tuple[np.ndarray, np.ndarray]:
    """Find for each image the training images at the smallest distance, mirrored or not, by comparing with all.

    The distance of two images is the root of the mean squared difference of their numbers in [-1, 1], so 0..2. A
    mirrored photograph counts as the same photograph: its distance is the smaller of the two.

    Args:
        images: (N, H, W, C) uint8.
        training: (M, H, W, C) uint8, M > `count`.
        count: how many neighbours to find.
        own: (N,) int, the index of a training image that is left out for each image, for comparing training images
            with the others; by default none is.
        batch_size: images compared at a time; it changes nothing but the memory needed.
        progress: whether to show a progress bar.

    Returns:
        Distances (N, count) float64 in rising order, and indices (N, count) int of the neighbours in `training`.
    """
    found = np.zeros((len(images), count), np.int64)
    least = np.full((len(images), count), np.inf)
    blocks = range(0, len(training), BLOCK)
    for start in tqdm(blocks, desc="nearest photographs", unit="block", disable=not progress):
        candidates = from_uint8(training[start : start + BLOCK]).reshape(len(training[start : start + BLOCK]), -1)
        squares = np.einsum("ij,ij->i", candidates, candidates)
        for part, queries in _with_mirror_images(images, batch_size):
            size = queries.shape[1]
            # |q - c|^2 = |q|^2 - 2 q c + |c|^2, and the first term is the same for all candidates.
            ranks = (squares - 2 * queries.reshape(2 * size, -1) @ candidates.T).reshape(2, size, -1).min(axis=0)
            if own is not None:
                inside = np.flatnonzero((own[part] >= start) & (own[part] < start + BLOCK))
                ranks[inside, own[part][inside] - start] = np.inf
            # Those of the blocks before stand first.
            ranks = np.concatenate([least[part], ranks], axis=1)
            best = np.argpartition(ranks, count - 1, axis=1)[:, :count]
            least[part] = np.take_along_axis(ranks, best, axis=1)
            before = np.take_along_axis(found[part], np.minimum(best, count - 1), axis=1)
            found[part] = np.where(best < count, before, start + best - count)
    distances = np.empty((len(images), count))
    for part, queries in _with_mirror_images(images, batch_size):
        # Again, without the rounding errors of the difference of large numbers.
        differences = queries[:, :, None] - from_uint8(training[found[part]])
        exact = np.sqrt(np.mean(np.square(differences, dtype=np.float64), axis=(3, 4, 5)).min(axis=0))
        order = np.argsort(exact, axis=1)
        distances[part] = np.take_along_axis(exact, order, axis=1)
        found[part] = np.take_along_axis(found[part], order, axis=1)
    return distances, found


def _with_mirror_images(images, batch_size):
    for first in range(0, len(images), batch_size):
        part = slice(first, first + batch_size)
        yield part, from_uint8(np.stack([images[part], images[part, :, ::-1]]))


def split_scales(images, size: int = 8) -> tuple[np.ndarray, np.ndarray]:
    """Split images into a coarse part, the means of square blocks, and the fine rest; the two are orthogonal.

    Args:
        images: (B, H, W, C), with H = W a multiple of `size`.
        size: pixels of the coarse part in height and width.

    Returns:
        Coarse (B, size, size, C) and fine (B, H, W, C), float32.
    """
    images = np.asarray(images, np.float32)
    batch, height, width, channels = images.shape
    blocks = images.reshape(batch, size, height // size, size, width // size, channels)
    coarse = blocks.mean(axis=(2, 4), keepdims=True)
    return coarse[:, :, 0, :, 0], (blocks - coarse).reshape(images.shape)


def slerp(start: np.ndarray, end: np.ndarray, share: float) -> np.ndarray:
    """Go from one noise to another along a great circle, whose points are as long as the noises themselves.

    Shoemake (1985); for diffusion models Song, Meng and Ermon (2021), section 5.3.

    Args:
        start: noise of any shape, seen as one vector; not parallel to `end`.
        end: noise of the same shape.
        share: 0 at the start, 1 at the end.
    """
    cosine = np.sum(start * end) / (np.linalg.norm(start) * np.linalg.norm(end))
    angle = np.arccos(cosine)
    return (np.sin((1.0 - share) * angle) * start + np.sin(share * angle) * end) / np.sin(angle)
