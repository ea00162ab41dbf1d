"""Serving batches: order, flips and resumption are functions of the seed and the step."""

import importlib.util
import os
import subprocess
import sys

import numpy as np
import pytest

from ddpm_lib.config import InputError
from ddpm_lib.data import Batches


def numbered_images(count, size=4):
    """Images that tell their own number, dark on the left, so that a mirrored one shows."""
    images = np.zeros((count, size, size, 1), np.uint8)
    images += np.arange(count, dtype=np.uint8)[:, None, None, None]
    images[:, :, -1] += 100
    return images


def numbers(batch):
    return np.rint((batch.min(axis=(1, 2, 3)) + 1) * 127.5).astype(int)


def test_batches_are_float32_from_minus_one_to_one():
    images = np.zeros((2, 4, 4, 3), np.uint8)
    images[1] = 255
    batch = Batches(images, 2, seed=0)[0]
    assert batch.dtype == np.float32
    assert batch.shape == (2, 4, 4, 3)
    assert {batch[0].min(), batch[0].max(), batch[1].min(), batch[1].max()} == {-1.0, 1.0}
    every_value = np.arange(256, dtype=np.uint8).reshape(1, 16, 16, 1)
    back = (Batches(every_value, 1, seed=0)[0] + 1) * 127.5
    np.testing.assert_array_equal(np.rint(back), every_value)


def test_an_epoch_visits_each_image_once_and_drops_what_fills_no_batch():
    batches = Batches(numbered_images(31), 5, seed=3)
    assert batches.steps_per_epoch == 6
    assert batches.num_batches is None
    epochs = [np.concatenate([numbers(batches[6 * epoch + i]) for i in range(6)]) for epoch in range(40)]
    for epoch in epochs:
        assert len(set(epoch)) == 30
    assert len({tuple(epoch) for epoch in epochs}) == 40  # never the same order twice
    assert set.intersection(*map(set, epochs)) != set.union(*map(set, epochs))  # not always the same one is left out
    assert set.union(*map(set, epochs)) == set(range(31))


def test_batches_are_put_together_anew_in_every_epoch():
    batches = Batches(numbered_images(30), 5, seed=3)
    seen = {frozenset(numbers(batches[step])) for step in range(6 * 20)}
    assert len(seen) > 110, "of 120; batches that are put together once and then shuffled are 6"


def test_batches_depend_on_seed_and_step_alone():
    images = numbered_images(20)
    options = {"seed": 5, "horizontal_flip": True}
    whole = Batches(images, 4, **options)
    expected = [whole[step] for step in range(17)]
    for step in (16, 3, 11, 0):  # in any order
        np.testing.assert_array_equal(whole[step], expected[step])
    resumed = Batches(images, 4, start_step=7, **options)  # in the middle of an epoch
    for index in range(10):
        np.testing.assert_array_equal(resumed[index], expected[7 + index])
    other_seed = Batches(images, 4, seed=6, horizontal_flip=True)
    assert any((other_seed[step] != expected[step]).any() for step in range(5))
    np.testing.assert_array_equal(images, numbered_images(20))  # the source is left alone


def test_flips_mirror_half_of_the_images_left_to_right_anew_each_epoch():
    images = numbered_images(100)
    batches = Batches(images, 10, seed=0, horizontal_flip=True)
    flipped = np.zeros((20, 100), bool)
    for step in range(200):
        batch = batches[step]
        which = batches.image_indices(step)
        is_flipped = batch[:, 0, 0, 0] > batch[:, 0, -1, 0]
        originals = images[which]
        originals[is_flipped] = originals[is_flipped, :, ::-1]
        np.testing.assert_array_equal(np.rint((batch + 1) * 127.5), originals)
        flipped[step // 10, which] = is_flipped
    assert 0.45 < flipped.mean() < 0.55  # 2,000 tosses: 0.5 with standard deviation 0.011
    assert not np.array_equal(flipped[0], flipped[1])
    assert flipped.any(axis=0).all()  # every image was seen both ways
    assert not flipped.all(axis=0).any()
    plain = Batches(images, 10, seed=0)
    np.testing.assert_array_equal(plain.image_indices(3), batches.image_indices(3))  # flips do not change the order


@pytest.mark.parametrize("batch_size", [0, -1, 9])
def test_impossible_batch_size_names_both_numbers(batch_size):
    with pytest.raises(InputError, match=rf"batch_size must be in 1\.\.8, .* got {batch_size}$"):
        Batches(numbered_images(8), batch_size, seed=0)


def test_negative_seed_or_step_is_refused():
    with pytest.raises(InputError, match="got -1 and 0"):
        Batches(numbered_images(8), 2, seed=-1)
    with pytest.raises(InputError, match="got 0 and -1"):
        Batches(numbered_images(8), 2, seed=0, start_step=-1)


FIT = """
import keras, numpy as np
from keras import ops
from ddpm_lib.data import Batches

# Eight images of one pixel with the values 1, 2, 4, ..., 128: the sum of a batch tells which images it holds.
images = (2 ** np.arange(8)).astype(np.uint8).reshape(8, 1, 1, 1)

class Recorder(keras.Model):
    '''Writes the sum of the batch of its k-th step to place k.'''
    def __init__(self):
        super().__init__()
        self.scale = self.add_weight(shape=(), initializer="ones")
        self.step = self.add_weight(shape=(), dtype="int32", initializer="zeros", trainable=False)
        self.sums = self.add_weight(shape=(30,), initializer="zeros", trainable=False)
        self.built = True
    def call(self, x, training=False):
        if training:
            here = ops.cast(ops.arange(30) == self.step, "float32")
            self.sums.assign(self.sums + here * ops.sum((x + 1) * 127.5))
            self.step.assign(self.step + 1)
        return self.scale * x
    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
        return ops.mean(y_pred) * 0.0

batches = Batches(images, 3, seed=1, start_step=5)
model = Recorder()
model.compile(optimizer="sgd")
# Every call of fit starts at item 0 again; within a call the items go on from epoch to epoch.
model.fit(batches, steps_per_epoch=batches.steps_per_epoch, epochs=6, shuffle=False, verbose=0)
model.fit(batches, steps_per_epoch=4, initial_epoch=1, epochs=3, shuffle=False, verbose=0)
reference = Batches(images, 3, seed=1)
sum_of_step = [images[reference.image_indices(step)].sum() for step in range(30)]
sums = np.rint(ops.convert_to_numpy(model.sums))
np.testing.assert_array_equal(sums, sum_of_step[5:17] + sum_of_step[5:13] + [0] * 10)
"""


@pytest.mark.slow
@pytest.mark.parametrize("backend", ["tensorflow", "jax", "torch"])
def test_keras_asks_for_every_step_once_and_in_order(backend):
    if importlib.util.find_spec(backend) is None:
        pytest.skip(f"{backend} is not installed")
    environment = {**os.environ, "KERAS_BACKEND": backend}
    result = subprocess.run([sys.executable, "-c", FIT], env=environment, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
