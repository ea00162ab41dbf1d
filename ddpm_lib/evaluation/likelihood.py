"""The variational bound on the likelihood: its terms for any network that predicts noise, and bits per dimension."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import keras
import numpy as np
from scipy.special import log_ndtr

from ddpm_lib.diffusion import add_noise, x_0_from_noise
from ddpm_lib.sampling import VARIANCES
from ddpm_lib.schedules import NoiseSchedule

BIN = 1.0 / 255.0  # half the distance between two of the 256 levels in [-1, 1]


class BoundTerms(NamedTuple):
    """The three parts of the bound, one number an image, in bits per dimension (Eq. 5)."""

    prior: np.ndarray  # (N,) L_T: how far x_T is from pure noise
    steps: np.ndarray  # (N,) the sum of L_1 .. L_{T-1}: how far each step back is from the posterior
    decoder: np.ndarray  # (N,) L_0: what is still unknown of x_0 at x_1

    @property
    def total(self) -> np.ndarray:
        """The bound of each image; (N,)."""
        return self.prior + self.steps + self.decoder


def reverse_variances(schedule: NoiseSchedule, variance: str | np.ndarray = "beta") -> np.ndarray:
    """sigma_t^2 of the reverse steps: one of the two choices of section 3.2, or the caller's own; (T,) float64.

    The posterior variance of step 1 is 0, and no density has that. That of step 2 stands there, as in the authors'
    code.

    Args:
        schedule: the forward process.
        variance: "beta", "posterior", or (T,) positive numbers.

    Raises:
        ValueError: if `variance` is none of these, or the posterior's of a single step, which is 0.
    """
    if isinstance(variance, str):
        if variance not in VARIANCES:
            raise ValueError(f"unknown variance {variance!r}: choose one of {', '.join(VARIANCES)}, or give numbers")
        if variance == "beta":
            return np.array(schedule.betas)
        if schedule.num_steps < 2:
            raise ValueError("the posterior variance of a single step is 0: schedule must have at least 2 steps")
        return np.append(schedule.posterior_variances[1:2], schedule.posterior_variances[1:])
    variances = np.asarray(variance, np.float64)
    if variances.shape != (schedule.num_steps,) or not (variances > 0).all():
        raise ValueError(f"variance must be {schedule.num_steps} positive numbers, one a step: {variances.shape}")
    return variances


def bound_weights(schedule: NoiseSchedule, variance: str | np.ndarray = "beta") -> np.ndarray:
    """Weights of the squared error of the noise in the bound: beta_t^2 / (2 sigma_t^2 alpha_t (1 - alpha_bar_t)).

    Ho et al. (2020), Eq. 12. L_simple (Eq. 14) has 1 in their place.

    Args:
        schedule: the forward process, with no alpha of 0.
        variance: see `reverse_variances`.

    Returns:
        (T,) float64, in nats.

    Raises:
        ValueError: if `variance` is unknown, or the schedule ends at a signal-to-noise ratio of 0.
    """
    if schedule.alpha_bars[-1] == 0.0:
        raise ValueError("schedule: alpha_bar is 0 at the last step, and predicted noise says nothing about x_0 there")
    below = 2.0 * reverse_variances(schedule, variance) * schedule.alphas * (1.0 - schedule.alpha_bars)
    return schedule.betas**2 / below


def bound_terms(
    predict_noise: Callable,
    schedule: NoiseSchedule,
    x_0,
    *,
    variance: str | np.ndarray = "beta",
    discrete: bool = True,
    draws: int = 32,
    batch_size: int = 256,
    seed: int = 0,
) -> BoundTerms:
    """Estimate the terms of the variational bound on -log p(x_0) for each image.

    Ho et al. (2020), Eq. 5, with the decoder of Eq. 13. L_T is computed, and so is what does not depend on the network
    in the sum of L_1 .. L_{T-1}. The squared errors of the noise are estimated at `draws` random steps an image, drawn
    in proportion to `bound_weights`, so that all of them count the same.

    Args:
        predict_noise: (x_t (B, ...) float32, t (B,) int32) -> (B, ...), see `ddpm_lib.sampling`.
        schedule: the forward process, of at least 2 steps.
        x_0: (N, ...) in [-1, 1], on the 256 levels of 8-bit images; anything if not `discrete`.
        variance: sigma_t^2 of the reverse steps, see `reverse_variances`.
        discrete: whether L_0 is the probability of the level (Eq. 13); otherwise it is the density at x_0.
        draws: steps an image.
        batch_size: noisy images at a time; it does not change the result.
        seed: of steps and noise.

    Returns:
        Three numbers an image; a mean over images needs `bits_per_dimension`.

    Raises:
        ValueError: if an argument is out of range; for `discrete`, if x_0 is not on the 256 levels.
    """
    x_0 = np.asarray(x_0, np.float64)
    if x_0.ndim < 2 or not len(x_0):
        raise ValueError(f"x_0 must be (N, ...) with at least one image, got shape {x_0.shape}")
    if schedule.num_steps < 2 or draws < 1 or batch_size < 1:
        raise ValueError("schedule must have at least 2 steps, draws and batch_size must be at least 1")
    weights, sigma_squared = bound_weights(schedule, variance), reverse_variances(schedule, variance)
    generator, num_images = np.random.default_rng(seed), len(x_0)
    bits = 1.0 / np.log(2.0)

    def ask(which, t):
        """Add noise to some images: give, batch by batch, the part, the noise, x_t and the prediction."""
        for first in range(0, len(t), batch_size):
            part = slice(first, first + batch_size)
            images = x_0[which[part]].astype(np.float32)
            noise = generator.standard_normal(images.shape).astype(np.float32)
            x_t = keras.ops.convert_to_numpy(add_noise(schedule, images, t[part], noise))
            yield part, noise, x_t, keras.ops.convert_to_numpy(predict_noise(x_t, t[part]))

    alpha_bar = schedule.alpha_bars[-1]
    prior = 0.5 * (alpha_bar * (_mean(x_0**2) - 1.0) - np.log1p(-alpha_bar))

    # From step 2 on. Of the divergence of two Gaussians, first what their variances alone make.
    ratio = schedule.posterior_variances[1:] / sigma_squared[1:]
    shares = np.cumsum(weights[1:]) / weights[1:].sum()
    places = (np.arange(draws) + generator.random((num_images, draws))) / draws
    t = (1 + np.minimum(np.searchsorted(shares, places), len(shares) - 1)).astype(np.int32).ravel()
    errors = np.empty(len(t))
    for part, noise, _, noise_pred in ask(np.repeat(np.arange(num_images), draws), t):
        errors[part] = _mean((noise.astype(np.float64) - noise_pred) ** 2)
    errors = errors.reshape(num_images, draws).mean(axis=1)
    steps = weights[1:].sum() * errors + 0.5 * (ratio - 1.0 - np.log(ratio)).sum()

    t, decoder = np.zeros(num_images, np.int32), np.empty(num_images)
    for part, _, x_1, noise_pred in ask(np.arange(num_images), t):
        mean = keras.ops.convert_to_numpy(x_0_from_noise(schedule, x_1, t[part], noise_pred)).astype(np.float64)
        if discrete:
            logs = discretized_log_likelihood(x_0[part], mean, sigma_squared[0])
        else:
            logs = -0.5 * np.log(2.0 * np.pi * sigma_squared[0]) - (x_0[part] - mean) ** 2 / (2.0 * sigma_squared[0])
        decoder[part] = -_mean(logs)
    return BoundTerms(prior * bits, steps * bits, decoder * bits)


def discretized_log_likelihood(x_0, mean, variance: float) -> np.ndarray:
    """Logarithm of the probability that a Gaussian gives to the level of each number, in nats.

    Ho et al. (2020), Eq. 13: the density is integrated over the level's bin, half of the way to both neighbours; the
    bins of -1 and 1 reach to infinity. So the probabilities of the 256 levels sum to 1.

    Args:
        x_0: numbers on the 256 levels -1, -1 + 2/255, ..., 1.
        mean: of the Gaussian, in the shape of x_0.
        variance: of the Gaussian, positive.

    Returns:
        float64 in the shape of x_0, 0 or less.

    Raises:
        ValueError: if a number of x_0 is not on a level.
    """
    x_0, mean = np.asarray(x_0, np.float64), np.asarray(mean, np.float64)
    level = np.round((x_0 + 1.0) / (2.0 * BIN))
    if not ((level >= 0) & (level <= 255) & (np.abs(level * 2.0 * BIN - 1.0 - x_0) < 1e-5)).all():
        raise ValueError("x_0 must lie on the 256 levels of 8-bit images in [-1, 1]")
    deviation = np.sqrt(variance)
    low = np.where(level == 0, -np.inf, (x_0 - BIN - mean) / deviation)
    high = np.where(level == 255, np.inf, (x_0 + BIN - mean) / deviation)
    # In the upper tail both cumulative probabilities round to 1, so look at it from the other side.
    low, high = np.where(low > 0, -high, low), np.where(low > 0, -low, high)
    return log_ndtr(high) + np.log1p(-np.exp(log_ndtr(low) - log_ndtr(high)))


def bits_per_dimension(terms: BoundTerms) -> tuple[float, float]:
    """Return the mean of the bound over images, and its standard error: images and draws are independent.

    Args:
        terms: of two images or more.

    Raises:
        ValueError: if `terms` has one image.
    """
    if len(terms.prior) < 2:
        raise ValueError("terms must have at least two images: one has no spread")
    return float(terms.total.mean()), float(terms.total.std(ddof=1) / np.sqrt(len(terms.prior)))


def _mean(numbers):
    """Mean over the dimensions of each image; (N,)."""
    return numbers.reshape(len(numbers), -1).mean(axis=1)
