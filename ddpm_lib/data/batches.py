"""Serving batches: which images a batch holds is a function of the seed and the global step alone."""

from __future__ import annotations

import keras
import numpy as np

from ddpm_lib.config import InputError
from ddpm_lib.images import from_uint8


class Batches(keras.utils.PyDataset):
    """Training batches without end; item i is the batch of global step `start_step + i`.

    An epoch visits the images in a fresh random order, each at most once; what does not fill a batch at its end is left
    out, so that all batches have one shape. Order and flips are functions of (seed, global step): a run resumed with
    `start_step` goes on exactly as an uninterrupted one.

    Train with `fit(batches, steps_per_epoch=batches.steps_per_epoch, shuffle=False)`. Keras then asks for item 0, 1, 2,
    ... once each over all epochs of one call of `fit`, and starts at 0 again in the next call.

    Args:
        images: (N, H, W, C) uint8, in memory or mapped.
        batch_size: images a batch, 1..N.
        seed: of order and flips, not negative.
        horizontal_flip: whether each image is mirrored with probability 1/2.
        start_step: training steps done before.
        share: (index, number of shares): each item is this share of its batch, where several processes divide it.

    Raises:
        InputError: if `batch_size` is not in 1..N or no multiple of the number of shares, or `seed` or `start_step` is
            negative.
    """

    def __init__(
        self,
        images: np.ndarray,
        batch_size: int,
        *,
        seed: int,
        horizontal_flip: bool = False,
        start_step: int = 0,
        share: tuple[int, int] = (0, 1),
    ):
        super().__init__()
        if not 1 <= batch_size <= len(images):
            raise InputError(f"batch_size must be in 1..{len(images)}, the number of images, got {batch_size}")
        index, shares = share
        if batch_size % shares:
            raise InputError(f"batch_size {batch_size} cannot be divided into {shares} equal shares")
        if seed < 0 or start_step < 0:
            raise InputError(f"seed and start_step must not be negative, got {seed} and {start_step}")
        self.images = images
        self.batch_size = batch_size
        self.seed = seed
        self.horizontal_flip = horizontal_flip
        self.start_step = start_step
        self.rows = slice(index * (batch_size // shares), (index + 1) * (batch_size // shares))
        self._order_of_epoch = (-1, None)

    @property
    def num_batches(self) -> None:
        """None, which tells Keras that the batches never end."""
        return None

    @property
    def steps_per_epoch(self) -> int:
        """Whole batches in one pass over the images."""
        return len(self.images) // self.batch_size

    def __getitem__(self, index: int) -> np.ndarray:
        """Return the batch of step `start_step + index`, or this share of it: (N, H, W, C) float32 in [-1, 1]."""
        step = self.start_step + index
        batch = from_uint8(self.images[self.image_indices(step)[self.rows]])
        if self.horizontal_flip:
            flipped = np.random.default_rng([self.seed, 1, step]).random(self.batch_size)[self.rows] < 0.5
            batch[flipped] = batch[flipped, :, ::-1]
        return batch

    def image_indices(self, step: int) -> np.ndarray:
        """Return which images the batch of a global step holds: (batch_size,) int64, all different."""
        epoch, place = divmod(step, self.steps_per_epoch)
        known_epoch, order = self._order_of_epoch
        if epoch != known_epoch:
            order = np.random.default_rng([self.seed, 0, epoch]).permutation(len(self.images))
            self._order_of_epoch = (epoch, order)
        return order[place * self.batch_size : (place + 1) * self.batch_size]
