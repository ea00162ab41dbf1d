"""Exact denoisers, against quadrature, finite differences and SciPy."""

import numpy as np
import pytest
import scipy.stats

from ddpm_lib import sampling, schedules
from ddpm_lib.config import InputError
from ddpm_lib.exact import GaussianMixture
from ddpm_lib.explorer import TARGETS


@pytest.mark.parametrize("alpha_bar", [0.999, 0.5, 1e-3])
def test_best_denoiser_is_the_posterior_mean_by_quadrature(alpha_bar):
    mixture, x_t = TARGETS["peaks"], 0.4
    line = np.linspace(-4, 4, 400_001)
    noise = scipy.stats.norm.pdf(x_t, np.sqrt(alpha_bar) * line, np.sqrt(1 - alpha_bar))
    joint = mixture.density(line[:, None]) * noise
    expected = (joint * line).sum() / joint.sum()
    assert mixture.expected_x_0(np.array([[x_t]]), alpha_bar)[0, 0] == pytest.approx(expected, rel=1e-8)


@pytest.mark.parametrize("name", TARGETS)
def test_expected_noise_is_the_score_up_to_its_factor(name):
    """Eq. of Song et al. (2021): noise = -sqrt(1 - ab) grad log q(x_t), here by central differences."""
    mixture, alpha_bar, width = TARGETS[name], 0.7, 1e-5
    points = np.random.default_rng(0).standard_normal((20, mixture.means.shape[1]))
    noise = mixture.expected_noise(points, alpha_bar)
    for axis, unit in enumerate(np.eye(points.shape[1])):
        slope = np.log(mixture.density(points + width * unit, alpha_bar))
        slope = (slope - np.log(mixture.density(points - width * unit, alpha_bar))) / (2 * width)
        np.testing.assert_allclose(noise[:, axis], -np.sqrt(1 - alpha_bar) * slope, rtol=1e-5, atol=1e-6)


def test_density_integrates_to_one():
    line = np.linspace(-6, 6, 1201)
    assert TARGETS["peaks"].density(line[:, None], 0.9).sum() * 0.01 == pytest.approx(1, abs=1e-9)
    grid = np.stack(np.meshgrid(line, line), axis=-1).reshape(-1, 2)
    assert TARGETS["moons"].density(grid, 0.9).sum() * 1e-4 == pytest.approx(1, abs=1e-6)


def test_distance_is_scipys_wasserstein_distance():
    mixture, generator = TARGETS["peaks"], np.random.default_rng(0)
    points = 0.8 * mixture.sample(500, generator)
    line = np.linspace(-3, 3, 60_001)  # the exact density as weighted points
    exact = scipy.stats.wasserstein_distance(points[:, 0], line, None, mixture.density(line[:, None]))
    assert mixture.distance(points) == pytest.approx(exact, abs=2e-4)


@pytest.mark.parametrize("name", TARGETS)
def test_expected_distance_is_what_exact_samples_have(name):
    mixture, generator = TARGETS[name], np.random.default_rng(0)
    found = np.mean([mixture.distance(mixture.sample(1000, generator)) for _ in range(100)])
    assert mixture.expected_distance(1000) == pytest.approx(found, rel=0.1)


@pytest.mark.parametrize("sampler", [sampling.ddpm_sample, sampling.ddim_sample, sampling.dpm_solver_pp_sample])
def test_samplers_copy_one_of_a_finite_set_of_pictures(sampler):
    rng = np.random.default_rng(0)
    pictures = rng.uniform(-1, 1, (5, 16))
    schedule = schedules.linear_schedule()
    predict_noise = GaussianMixture(pictures, np.ones(5), 0.0).predict_noise(schedule)
    x_T = rng.standard_normal((6, 4, 4, 1)).astype("float32")
    samples = np.asarray(sampler(predict_noise, schedule, x_T, num_steps=25)).reshape(6, 1, 16)
    assert np.abs(samples - pictures).max(axis=2).min(axis=1).max() < 1e-5


def test_each_image_is_asked_at_its_own_step():
    mixture, schedule = GaussianMixture([[0.5] * 4, [-1.0] * 4], [1, 3], 0.3), schedules.cosine_schedule()
    x_t, t = np.random.default_rng(0).standard_normal((3, 2, 2, 1)), np.array([700, 20, 700])
    found = mixture.predict_noise(schedule)(x_t, t)
    assert found.dtype == np.float32 and found.shape == x_t.shape
    for image, step, noise in zip(x_t, t, found, strict=True):
        expected = mixture.expected_noise(image.reshape(1, 4), schedule.alpha_bars[step])
        np.testing.assert_allclose(noise.ravel(), expected[0], rtol=1e-6)


@pytest.mark.parametrize(
    ("means", "weights", "deviation"),
    [([[0.0]], [1.0, 2.0], 0.1), ([0.0], [1.0], 0.1), ([[0.0]], [0.0], 0.1), ([[0.0]], [1.0], -0.1)],
)
def test_bad_mixtures_are_one_clear_line(means, weights, deviation):
    with pytest.raises(InputError, match=r"a mixture needs [^\n]+$"):
        GaussianMixture(means, weights, deviation)
