"""The exercises of the chapter on the reverse step."""

from __future__ import annotations

import numpy as np

from ddpm_lib.exercises.checking import COSINE, LINEAR, NOISE, NOISY, Exercise


def _tables(schedule, step):
    """beta, alpha, alpha_bar and alpha_bar before it, at the paper's step."""
    i = step - 1
    return schedule.betas[i], schedule.alphas[i], schedule.alpha_bars[i], schedule.alpha_bars_prev[i]


def _mean(schedule, x_t, step, noise_pred):
    beta, alpha, bar, _ = _tables(schedule, step)
    return (x_t - beta / np.sqrt(1 - bar) * noise_pred) / np.sqrt(alpha)


def _step_back(schedule, x_t, step, noise_pred, z):
    mean = _mean(schedule, x_t, step, noise_pred)
    return mean + (np.sqrt(schedule.betas[step - 1]) * z if step > 1 else 0)


def _step_back_noise_taken_away(schedule, x_t, step, noise_pred, z):
    beta, alpha, *_ = _tables(schedule, step)
    return (x_t - np.sqrt(beta) * noise_pred) / np.sqrt(alpha) + (np.sqrt(beta) * z if step > 1 else 0)


def _step_back_no_root(schedule, x_t, step, noise_pred, z):
    beta, alpha, bar, _ = _tables(schedule, step)
    return (x_t - beta / (1 - bar) * noise_pred) / np.sqrt(alpha) + (np.sqrt(beta) * z if step > 1 else 0)


def _step_back_over_the_bar(schedule, x_t, step, noise_pred, z):
    beta, _, bar, _ = _tables(schedule, step)
    return (x_t - beta / np.sqrt(1 - bar) * noise_pred) / np.sqrt(bar) + (np.sqrt(beta) * z if step > 1 else 0)


def _step_back_noise_inside(schedule, x_t, step, noise_pred, z):
    beta, alpha, *_ = _tables(schedule, step)
    return _mean(schedule, x_t, step, noise_pred) + (np.sqrt(beta / alpha) * z if step > 1 else 0)


def _skipped_beta(schedule, step, reached):
    return 1 - schedule.alpha_bars[step - 1] / np.append(1, schedule.alpha_bars)[reached]


def _walk_variance(schedule, step, s2, u):
    beta, alpha, bar, bar_prev = _tables(schedule, step)
    v, v_prev = bar * s2 + 1 - bar, bar_prev * s2 + 1 - bar_prev
    return alpha * (v_prev / v) ** 2 * u + beta


def _walk_variance_no_square(schedule, step, s2, u):
    beta, alpha, bar, bar_prev = _tables(schedule, step)
    v, v_prev = bar * s2 + 1 - bar, bar_prev * s2 + 1 - bar_prev
    return np.sqrt(alpha) * v_prev / v * u + beta


def _walk_variance_upside_down(schedule, step, s2, u):
    beta, alpha, bar, bar_prev = _tables(schedule, step)
    v, v_prev = bar * s2 + 1 - bar, bar_prev * s2 + 1 - bar_prev
    return alpha * (v / v_prev) ** 2 * u + beta


def _picture_weights(schedule, x_t, pictures, step, power=2, scale=2.0):
    bar = schedule.alpha_bars[step - 1]
    return _shares(-((_distances(x_t, np.sqrt(bar) * pictures)) ** power) / (scale * (1 - bar)))


def _distances(x_t, pictures):
    return np.sqrt(((x_t - pictures) ** 2).sum(axis=1))


def _shares(logs):
    weights = np.exp(logs - logs.max())
    return weights / weights.sum()


def _picture_weights_unscaled(schedule, x_t, pictures, step):
    return _shares(-(_distances(x_t, pictures) ** 2) / (2 * (1 - schedule.alpha_bars[step - 1])))


def _picture_weights_unnormalized(schedule, x_t, pictures, step):
    bar = schedule.alpha_bars[step - 1]
    return np.exp(-(_distances(x_t, np.sqrt(bar) * pictures) ** 2) / (2 * (1 - bar)))


def _picture_weights_deviation(schedule, x_t, pictures, step):
    bar = schedule.alpha_bars[step - 1]
    return _shares(-(_distances(x_t, np.sqrt(bar) * pictures) ** 2) / (2 * np.sqrt(1 - bar)))


def _posterior_mean(schedule, x_0, x_t, step):
    beta, alpha, bar, bar_prev = _tables(schedule, step)
    return (np.sqrt(alpha) * (1 - bar_prev) * x_t + np.sqrt(bar_prev) * beta * x_0) / (1 - bar)


def _guess(schedule, x_t, step, noise_pred):
    bar = schedule.alpha_bars[step - 1]
    return (x_t - np.sqrt(1 - bar) * noise_pred) / np.sqrt(bar)


def _clipped_mean(schedule, x_t, step, noise_pred, low=-1):
    return _posterior_mean(schedule, np.clip(_guess(schedule, x_t, step, noise_pred), low, 1), x_t, step)


_STEPS = ((LINEAR, 2), (LINEAR, 300), (COSINE, 150))
_Z = np.random.default_rng(1).standard_normal(6)
_PICTURES = np.random.default_rng(2).uniform(-1, 1, (4, 6))
_STEPS_BACK = tuple(
    (schedule, NOISY, step, NOISE, _Z) for schedule, step in [(LINEAR, 1), (LINEAR, 300), (COSINE, 150)]
)
_MEANS = tuple((schedule, NOISY, step, NOISE) for schedule, step in [(LINEAR, 1), (LINEAR, 300), (COSINE, 150)])

EXERCISES: dict[str, Exercise] = {
    "last-noise": Exercise(
        right=lambda schedule, step: np.sqrt(schedule.betas[step - 1] / (1 - schedule.alpha_bars[step - 1])),
        cases=_STEPS,
        mistakes=(
            (
                lambda schedule, step: schedule.betas[step - 1] / (1 - schedule.alpha_bars[step - 1]),
                "This is the squared correlation: a share of variance",
            ),
            (
                lambda schedule, step: schedule.betas[step - 1] / np.sqrt(1 - schedule.alpha_bars[step - 1]),
                "This is the factor of the network's answer, the correlation times the root of beta_t",
            ),
            (
                lambda schedule, step: np.sqrt(schedule.betas[step - 1]),
                "This is the covariance with the noise in x_t. Divide by the deviation of that noise",
            ),
            (
                lambda schedule, step: np.sqrt(schedule.betas[step - 1] / schedule.alpha_bars[step - 1]),
                "alpha_bar_t is the image's share of the variance. The noise has the rest",
            ),
            (
                lambda schedule, step: np.sqrt(1 - schedule.betas[step - 1] / (1 - schedule.alpha_bars[step - 1])),
                "This is the deviation of what is lost, not what can be guessed",
            ),
        ),
    ),
    "step-back": Exercise(
        right=_step_back,
        cases=_STEPS_BACK,
        mistakes=(
            (
                lambda schedule, x_t, step, noise_pred, z: (
                    _mean(schedule, x_t, step, noise_pred) + np.sqrt(schedule.betas[step - 1]) * z
                ),
                "The last step adds no noise: for step 1 return the mean",
            ),
            (
                lambda schedule, x_t, step, noise_pred, z: _mean(schedule, x_t, step, noise_pred),
                "This is the mean. Except in the last step, sigma_t z belongs to it",
            ),
            (
                lambda schedule, x_t, step, noise_pred, z: (
                    _mean(schedule, x_t, step, noise_pred) + (schedule.betas[step - 1] * z if step > 1 else 0)
                ),
                "beta_t is a variance: z is multiplied by its root",
            ),
            (
                _step_back_noise_taken_away,
                "This takes away a whole step's noise. The network answers with the noise of all t steps, "
                "of which this step's share is smaller",
            ),
            (_step_back_no_root, "The noise is divided by its deviation: 1 - alpha_bar_t stands under a root"),
            (
                _step_back_over_the_bar,
                "Undo the shrinking of this one step: divide by the root of alpha_t, without bar",
            ),
            (_step_back_noise_inside, "sigma_t z stands outside the bracket: do not divide it by the root of alpha_t"),
            (
                lambda schedule, x_t, step, noise_pred, z: (
                    _mean(schedule, x_t, step, noise_pred)
                    + (np.sqrt(schedule.posterior_variances[step - 1]) * z if step > 1 else 0)
                ),
                "This is the posterior's variance. Here sigma_t^2 is beta_t",
            ),
        ),
    ),
    "skipped-beta": Exercise(
        right=_skipped_beta,
        cases=((LINEAR, 1000, 950), (LINEAR, 50, 0), (COSINE, 150, 149)),
        mistakes=(
            (
                lambda schedule, step, reached: schedule.betas[step - 1],
                "This is the noise of one step of the schedule. The skipped steps have added theirs, too",
            ),
            (
                lambda schedule, step, reached: schedule.betas[reached:step].sum(),
                "The betas do not add up: each step also shrinks the noise of those before",
            ),
            (
                lambda schedule, step, reached: 1 - schedule.alpha_bars[step - 1] / schedule.alpha_bars[reached - 1],
                "For reached = 0 the index is -1, which is the last entry of the table. alpha_bar_0 is 1",
            ),
            (
                lambda schedule, step, reached: 1 - schedule.alpha_bars[step - 1] / schedule.alpha_bars[reached],
                "Array index i is step i + 1: alpha_bars[reached] belongs to the step after the one reached",
            ),
            (
                lambda schedule, step, reached: 1 - schedule.alpha_bars[step - 1],
                "This is the noise since the clean image, not since the step that is reached",
            ),
            (
                lambda schedule, step, reached: (
                    np.append(1, schedule.alpha_bars)[reached] - schedule.alpha_bars[step - 1]
                ),
                "Divide, do not subtract: alpha_bar is a product, and its quotient is what the skipped steps keep",
            ),
        ),
    ),
    "walk-variance": Exercise(
        right=_walk_variance,
        cases=((LINEAR, 20, 0.04, 0.7), (LINEAR, 700, 0.25, 1.3), (COSINE, 150, 4.0, 0.5)),
        mistakes=(
            (_walk_variance_no_square, "A factor of the numbers is squared in their variance"),
            (_walk_variance_upside_down, "The fraction is upside down: v_{t-1} stands above v_t"),
            (
                lambda schedule, step, s2, u: _walk_variance(schedule, step, s2, u) - schedule.betas[step - 1],
                "The fresh noise is missing: independent variances add up",
            ),
            (
                lambda schedule, step, s2, u: (
                    _walk_variance(schedule, step, s2, u) - schedule.betas[step - 1] + np.sqrt(schedule.betas[step - 1])
                ),
                "beta_t is the variance of the fresh noise already: no root",
            ),
            (
                lambda schedule, step, s2, u: u / schedule.alphas[step - 1] + schedule.betas[step - 1],
                "The network's answer depends on x_t, too. Use the whole factor of x_t in the mean",
            ),
            (
                lambda schedule, step, s2, u: (
                    (_walk_variance(schedule, step, s2, u) - schedule.betas[step - 1]) / schedule.alphas[step - 1]
                    + schedule.betas[step - 1]
                ),
                "The factor alpha_t is missing before the fraction",
            ),
        ),
    ),
    "picture-weights": Exercise(
        right=_picture_weights,
        cases=tuple(
            (schedule, NOISY, _PICTURES, step) for schedule, step in [(LINEAR, 150), (LINEAR, 300), (COSINE, 150)]
        ),
        mistakes=(
            (
                _picture_weights_unscaled,
                "At step t a picture is multiplied by the root of alpha_bar_t: compare x_t with that",
            ),
            (_picture_weights_unnormalized, "Weights add up to 1: divide by their sum"),
            (
                lambda schedule, x_t, pictures, step: _picture_weights(schedule, x_t, pictures, step, power=1),
                "The exponent has the squared distance",
            ),
            (
                lambda schedule, x_t, pictures, step: _picture_weights(schedule, x_t, pictures, step, scale=1.0),
                "The 2 is missing in the exponent: a Gaussian has x^2 / (2 variance)",
            ),
            (_picture_weights_deviation, "1 - alpha_bar_t is the variance of the noise: no root"),
            (
                lambda schedule, x_t, pictures, step: _picture_weights(schedule, x_t, pictures, step, scale=-2.0),
                "The sign: the nearest picture has the largest weight",
            ),
        ),
    ),
    "clipped-mean": Exercise(
        right=_clipped_mean,
        cases=_MEANS,
        mistakes=(
            (_mean, "Nothing is clipped: this is the line of Algorithm 2"),
            (
                lambda schedule, x_t, step, noise_pred: np.clip(_mean(schedule, x_t, step, noise_pred), -1, 1),
                "Clip the guess of x_0. The mean belongs to x_{t-1}, which is noisy and may be larger than 1",
            ),
            (
                lambda schedule, x_t, step, noise_pred: _clipped_mean(schedule, x_t, step, noise_pred, low=0),
                "Images lie between -1 and 1 here, not between 0 and 1",
            ),
            (
                lambda schedule, x_t, step, noise_pred: np.clip(_guess(schedule, x_t, step, noise_pred), -1, 1),
                "This is the clipped guess of x_0. One step back is asked for: put it into the posterior's mean",
            ),
            (
                lambda schedule, x_t, step, noise_pred: _mean(schedule, x_t, step, np.clip(noise_pred, -1, 1)),
                "Noise may be as large as it likes. Clip the guess of x_0",
            ),
            (
                lambda schedule, x_t, step, noise_pred: _posterior_mean(
                    schedule, x_t, np.clip(_guess(schedule, x_t, step, noise_pred), -1, 1), step
                ),
                "The two weights are swapped",
            ),
        ),
    ),
}
