"""The exercises of the chapter on noising."""

from __future__ import annotations

import numpy as np

from ddpm_lib.exercises.checking import CLEAN, COSINE, LINEAR, NOISE, Exercise


def _half_amplitude(schedule):
    return np.argmax(np.sqrt(schedule.alpha_bars) <= 0.5) + 1


def _variance_after(schedule, step, data_variance):
    return 1 + schedule.alpha_bars[step - 1] * (data_variance - 1)


_VARIANCES = ((LINEAR, 1, 0.25), (LINEAR, 300, 0.25), (COSINE, 60, 2.0))

EXERCISES: dict[str, Exercise] = {
    "noise-step": Exercise(
        right=lambda x_prev, beta, noise: np.sqrt(1 - beta) * x_prev + np.sqrt(beta) * noise,
        cases=((CLEAN, 0.02, NOISE), (CLEAN, 0.3, NOISE)),
        mistakes=(
            (
                lambda x_prev, beta, noise: np.sqrt(1 - beta) * x_prev + beta * noise,
                "beta is a variance: the noise is multiplied by a standard deviation, its root",
            ),
            (
                lambda x_prev, beta, noise: (1 - beta) * x_prev + np.sqrt(beta) * noise,
                "The image is multiplied by the root of 1 - beta, not by 1 - beta",
            ),
            (
                lambda x_prev, beta, noise: x_prev + np.sqrt(beta) * noise,
                "The image is not scaled: without the factor sqrt(1 - beta) the variance grows without end",
            ),
            (
                lambda x_prev, beta, noise: (1 - beta) * x_prev + beta * noise,
                "Both roots are missing: 1 - beta and beta are shares of variance, not of amplitude",
            ),
        ),
    ),
    "half-amplitude": Exercise(
        right=_half_amplitude,
        cases=((LINEAR,), (COSINE,)),
        mistakes=(
            (
                lambda schedule: _half_amplitude(schedule) - 1,
                "This is the array index. The paper's step is one more",
            ),
            (
                lambda schedule: np.argmax(schedule.alpha_bars <= 0.5) + 1,
                "This is where half of the variance is lost. The amplitude is the root of alpha_bar",
            ),
            (
                lambda schedule: np.argmax(schedule.alpha_bars <= 0.5),
                "alpha_bar is a share of variance, and this is an array index: take the root, and add one",
            ),
            (
                lambda schedule: np.argmin(schedule.alpha_bars**2 > 0.5) + 1,
                "The amplitude is the root of alpha_bar, not its square",
            ),
        ),
    ),
    "variance-after": Exercise(
        right=_variance_after,
        cases=_VARIANCES,
        mistakes=(
            (
                lambda schedule, step, data_variance: data_variance + schedule.betas[:step].sum(),
                "This is the random walk. Each step also multiplies the old variance by 1 - beta",
            ),
            (
                lambda schedule, step, data_variance: schedule.alpha_bars[step - 1] * data_variance,
                "This is the variance of what is left of the image. The noise's is missing",
            ),
            (
                lambda schedule, step, data_variance: 1.0,
                "The variance is 1 at every step only if the data's is 1",
            ),
            (
                lambda schedule, step, data_variance: _variance_after(schedule, step + 1, data_variance),
                "One step too many: step t is at index t - 1",
            ),
            (
                lambda schedule, step, data_variance: 1 + schedule.alphas[step - 1] * (data_variance - 1),
                "This is one step. Multiply the alphas of all steps 1..t",
            ),
        ),
    ),
    "limit-variance": Exercise(
        right=lambda beta: 1 / (2 - beta),
        cases=((0.02,), (0.5,)),
        mistakes=(
            (lambda beta: 1.0, "1 is the limit with the factor sqrt(1 - beta). Here it is 1 - beta"),
            (lambda beta: 0.5, "This is the limit for a very small beta. Keep beta in the formula"),
            (
                lambda beta: 1 / (1 - (1 - beta) ** 2),
                "The noise that each step adds has the variance beta, not 1",
            ),
            (
                lambda beta: beta**2 / (1 - (1 - beta) ** 2),
                "The noise that each step adds has the variance beta, not beta squared",
            ),
        ),
    ),
}
