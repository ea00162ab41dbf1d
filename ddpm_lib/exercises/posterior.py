"""The exercises of the chapter on the posterior."""

from __future__ import annotations

import numpy as np

from ddpm_lib.exercises.checking import CLEAN, COSINE, LINEAR, NOISE, NOISY, Exercise


def _mean_weights(schedule, step, alpha_bar, alpha_bar_prev):
    weight_x_0 = np.sqrt(alpha_bar_prev) * schedule.betas[step - 1] / (1 - alpha_bar)
    weight_x_t = np.sqrt(schedule.alphas[step - 1]) * (1 - alpha_bar_prev) / (1 - alpha_bar)
    return weight_x_0, weight_x_t


def _posterior_mean(schedule, x_0, x_t, step):
    weights = _mean_weights(schedule, step, schedule.alpha_bars[step - 1], schedule.alpha_bars_prev[step - 1])
    return weights[0] * x_0 + weights[1] * x_t


def _posterior_mean_bar_t(schedule, x_0, x_t, step):
    weights = _mean_weights(schedule, step, schedule.alpha_bars[step - 1], schedule.alpha_bars[step - 1])
    return weights[0] * x_0 + weights[1] * x_t


def _posterior_mean_swapped(schedule, x_0, x_t, step):
    return _posterior_mean(schedule, x_t, x_0, step)


def _posterior_mean_no_roots(schedule, x_0, x_t, step):
    alpha_bar, alpha_bar_prev = schedule.alpha_bars[step - 1], schedule.alpha_bars_prev[step - 1]
    weight_x_0 = alpha_bar_prev * schedule.betas[step - 1] / (1 - alpha_bar)
    return weight_x_0 * x_0 + schedule.alphas[step - 1] * (1 - alpha_bar_prev) / (1 - alpha_bar) * x_t


def _posterior_mean_next(schedule, x_0, x_t, step):
    return _posterior_mean(schedule, x_0, x_t, step + 1)


def _mean_from_noise(schedule, x_t, step, noise):
    alpha, alpha_bar = schedule.alphas[step - 1], schedule.alpha_bars[step - 1]
    return (x_t - (1 - alpha) / np.sqrt(1 - alpha_bar) * noise) / np.sqrt(alpha)


def _x_0_from_noise(schedule, x_t, step, noise):
    alpha_bar = schedule.alpha_bars[step - 1]
    return (x_t - np.sqrt(1 - alpha_bar) * noise) / np.sqrt(alpha_bar)


_POSTERIORS = tuple((schedule, CLEAN, NOISY, step) for schedule, step in [(LINEAR, 1), (LINEAR, 300), (COSINE, 150)])
_STEPS = ((LINEAR, 2), (LINEAR, 300), (COSINE, 150))
_MEANS_FROM_NOISE = tuple((schedule, NOISY, step, NOISE) for schedule, step in _STEPS)

EXERCISES: dict[str, Exercise] = {
    "product-of-gaussians": Exercise(
        right=lambda m_1, v_1, m_2, v_2: ((m_1 * v_2 + m_2 * v_1) / (v_1 + v_2), v_1 * v_2 / (v_1 + v_2)),
        cases=((0.5, 0.2, -1.0, 1.0), (2.0, 3.0, 1.0, 0.5)),
        mistakes=(
            (
                lambda m_1, v_1, m_2, v_2: ((m_1 * v_1 + m_2 * v_2) / (v_1 + v_2), v_1 * v_2 / (v_1 + v_2)),
                "The weights of the means are swapped: the narrow Gaussian counts more",
            ),
            (
                lambda m_1, v_1, m_2, v_2: ((m_1 + m_2) / 2, v_1 * v_2 / (v_1 + v_2)),
                "The variance is right. The mean is a weighted average, with weights 1 / v",
            ),
            (
                lambda m_1, v_1, m_2, v_2: ((m_1 * v_2 + m_2 * v_1) / (v_1 + v_2), v_1 + v_2),
                "The mean is right. The variances add for a sum; for a product, add their inverses",
            ),
            (
                lambda m_1, v_1, m_2, v_2: (m_1 + m_2, v_1 + v_2),
                "This is the sum of two independent numbers. A product of densities is asked for",
            ),
            (
                lambda m_1, v_1, m_2, v_2: ((m_1 * v_2 + m_2 * v_1) / (v_1 + v_2), 1 / v_1 + 1 / v_2),
                "The mean is right. 1 / v_1 + 1 / v_2 is the inverse of the variance",
            ),
        ),
    ),
    "posterior-mean": Exercise(
        right=_posterior_mean,
        cases=_POSTERIORS,
        mistakes=(
            (_posterior_mean_bar_t, "This is alpha_bar_t where alpha_bar_{t-1} belongs"),
            (_posterior_mean_swapped, "The two weights are swapped"),
            (_posterior_mean_no_roots, "The roots are missing: sqrt(alpha_bar_{t-1}) and sqrt(alpha_t)"),
            (_posterior_mean_next, "One step too far: step t is at index t - 1"),
        ),
    ),
    "posterior-deviation": Exercise(
        right=lambda schedule, step: np.sqrt(schedule.posterior_variances[step - 1]),
        cases=_STEPS,
        mistakes=(
            (
                lambda schedule, step: schedule.posterior_variances[step - 1],
                "This is a variance, not a standard deviation",
            ),
            (
                lambda schedule, step: np.sqrt(schedule.betas[step - 1]),
                "This is the root of beta_t, the deviation of a step forwards. Knowing x_0 makes it smaller",
            ),
            (
                lambda schedule, step: np.sqrt(
                    schedule.betas[step - 1]
                    * (1 - schedule.alpha_bars[step - 1])
                    / (1 - schedule.alpha_bars_prev[step - 1])
                ),
                "The fraction is upside down: it must be below 1",
            ),
            (
                lambda schedule, step: np.sqrt(schedule.posterior_variances[step]),
                "One step too far: step t is at index t - 1",
            ),
        ),
    ),
    "mean-from-noise": Exercise(
        right=_mean_from_noise,
        cases=_MEANS_FROM_NOISE,
        mistakes=(
            (_x_0_from_noise, "This is the estimate of x_0, all the way back. One step back is asked for"),
            (
                lambda schedule, x_t, step, noise: (
                    (x_t - schedule.betas[step - 1] / np.sqrt(1 - schedule.alpha_bars[step - 1]) * noise)
                    / schedule.alphas[step - 1]
                ),
                "Divide by the root of alpha_t, not by alpha_t",
            ),
            (
                lambda schedule, x_t, step, noise: (
                    (x_t - np.sqrt(schedule.betas[step - 1]) * noise) / np.sqrt(schedule.alphas[step - 1])
                ),
                "This solves one step for x_{t-1}. The noise here is the noise of all t steps together",
            ),
            (
                lambda schedule, x_t, step, noise: (
                    (x_t - schedule.betas[step - 1] / (1 - schedule.alpha_bars[step - 1]) * noise)
                    / np.sqrt(schedule.alphas[step - 1])
                ),
                "1 - alpha_bar_t is a variance: the noise is divided by a standard deviation",
            ),
            (
                lambda schedule, x_t, step, noise: (
                    2 * x_t / np.sqrt(schedule.alphas[step - 1]) - _mean_from_noise(schedule, x_t, step, noise)
                ),
                "The sign: noise is taken away",
            ),
        ),
    ),
}
