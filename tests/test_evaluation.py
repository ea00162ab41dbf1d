"""Neighbours against scipy's distances, scales against scikit-image's blocks, great circles against scipy's."""

import json
import pathlib

import numpy as np
import pytest
from scipy.spatial import geometric_slerp
from scipy.spatial.distance import cdist
from skimage.measure import block_reduce

from ddpm_lib.checkpoints import shipped_models
from ddpm_lib.evaluation import looking, nearest_images, slerp, split_scales

GENERATOR = np.random.default_rng(0)
TRAINING = GENERATOR.integers(0, 256, (40, 8, 8, 3), np.uint8)


def by_brute_force(images, training):
    """Distances of all to all, in units of the [-1, 1] range, the smaller one of the two sides."""

    def flat(pictures):
        return pictures.reshape(len(pictures), -1) / 127.5

    both = [cdist(flat(side), flat(training)) for side in (images, images[:, :, ::-1])]
    return np.min(both, axis=0) / np.sqrt(images[0].size)


@pytest.mark.parametrize("batch_size", [1, 7, 256])
def test_neighbours_are_those_of_comparing_all(batch_size):
    images = np.clip(TRAINING[:10, :, ::-1].astype(int) + GENERATOR.integers(-90, 90, (10, 8, 8, 3)), 0, 255)
    images = images.astype(np.uint8)
    expected = by_brute_force(images, TRAINING)
    distances, indices = nearest_images(images, TRAINING, count=3, batch_size=batch_size)
    np.testing.assert_allclose(distances, np.sort(expected, axis=1)[:, :3], rtol=1e-6)
    np.testing.assert_array_equal(indices, np.argsort(expected, axis=1)[:, :3])


@pytest.mark.parametrize("block", [1, 7, 16, 40])
def test_neighbours_are_found_in_every_block_of_the_training_images(monkeypatch, block):
    monkeypatch.setattr(looking, "BLOCK", block)
    expected = by_brute_force(TRAINING, TRAINING)
    np.fill_diagonal(expected, np.inf)
    distances, indices = nearest_images(TRAINING, TRAINING, count=9, own=np.arange(40))
    np.testing.assert_allclose(distances, np.sort(expected, axis=1)[:, :9], rtol=1e-6)
    np.testing.assert_array_equal(indices, np.argsort(expected, axis=1)[:, :9])


def test_a_mirrored_copy_is_at_distance_zero_exactly():
    distances, indices = nearest_images(TRAINING[3:5, :, ::-1], TRAINING)
    assert distances[:, 0].tolist() == [0.0, 0.0]
    assert indices[:, 0].tolist() == [3, 4]
    upside_down, _ = nearest_images(TRAINING[3:5, ::-1], TRAINING)
    assert upside_down.min() > 0.1


def test_training_images_are_compared_with_the_others():
    twins = np.concatenate([TRAINING, TRAINING[7:8]])
    distances, indices = nearest_images(twins, twins, own=np.arange(41))
    expected = by_brute_force(twins, twins)
    np.fill_diagonal(expected, np.inf)
    np.testing.assert_allclose(distances[:, 0], expected.min(axis=1), rtol=1e-6, atol=1e-12)
    assert indices[7, 0] == 40 and indices[40, 0] == 7
    assert np.flatnonzero(distances[:, 0] == 0).tolist() == [7, 40]


def test_white_and_black_are_two_apart():
    white, black = np.full((1, 4, 4, 1), 255, np.uint8), np.zeros((2, 4, 4, 1), np.uint8)
    distances, _ = nearest_images(white, black, count=1)
    assert distances[0, 0] == pytest.approx(2.0, abs=1e-7)


@pytest.mark.parametrize("size", [2, 8])
def test_coarse_part_is_the_mean_of_blocks(size):
    images = GENERATOR.uniform(-1, 1, (5, 16, 16, 3)).astype(np.float32)
    coarse, fine = split_scales(images.astype(np.float64), size)
    assert coarse.dtype == fine.dtype == np.float32
    block = 16 // size
    np.testing.assert_allclose(coarse, block_reduce(images, (1, block, block, 1), np.mean), atol=1e-6)
    np.testing.assert_allclose(fine + np.kron(coarse, np.ones((1, block, block, 1))), images, atol=1e-6)
    # Orthogonal parts: their squares add up.
    assert np.square(images).mean() == pytest.approx(np.square(coarse).mean() + np.square(fine).mean(), rel=1e-6)


@pytest.mark.parametrize("share", [0.0, 0.1, 0.5, 0.9, 1.0])
def test_slerp_is_scipys(share):
    start, end = GENERATOR.standard_normal((2, 4, 5))
    start, end = start / np.linalg.norm(start), end / np.linalg.norm(end)
    expected = geometric_slerp(start.ravel(), end.ravel(), share)
    np.testing.assert_allclose(slerp(3 * start, 3 * end, share).ravel(), 3 * expected, atol=1e-12)


def test_slerp_keeps_single_precision():
    start, end = GENERATOR.standard_normal((2, 8, 8, 3)).astype(np.float32)
    assert slerp(start, end, 0.3).dtype == np.float32


def test_stored_distances_are_of_the_shipped_model_and_its_images():
    """After a new training run: python benchmarks/neighbours.py --data_dir ..."""
    found = json.loads((pathlib.Path(__file__).parents[1] / "data/runs/faces64/neighbours.json").read_text("utf8"))
    shipped = shipped_models()["faces"]
    assert found["model_step"] == shipped["steps"]
    assert found["photographs_sha256"] == shipped["data"]["sha256"]
    assert found["num_photographs"] == found["photographs"]["count"] == shipped["data"]["count"]
    for facts in (found["generated"], found["photographs"], *found["coarse"].values()):
        assert sum(facts["histogram"]) == facts["count"]
