"""The exercises of the chapter on training on faces."""

from __future__ import annotations

import numpy as np

from ddpm_lib.exercises.checking import COSINE, LINEAR, Exercise


def _linear_loss(schedule, step, variances):
    signals = schedule.alpha_bars[step - 1] * variances
    return np.mean(signals / (signals + 1 - schedule.alpha_bars[step - 1]))


def _image_error(schedule, step, noise_error):
    alpha_bar = schedule.alpha_bars[step - 1]
    return noise_error * (1 - alpha_bar) / alpha_bar


_SPREADS = tuple((schedule, step, np.array([2.0, 0.3, 0.01])) for schedule, step in [(LINEAR, 5), (COSINE, 120)])

EXERCISES: dict[str, Exercise] = {
    "linear-loss": Exercise(
        right=_linear_loss,
        cases=_SPREADS,
        mistakes=(
            (
                lambda schedule, step, variances: _linear_loss(schedule, step, variances) * len(variances),
                "This is the sum over the axes. The loss is the mean",
            ),
            (
                lambda schedule, step, variances: _linear_loss(schedule, step, variances.mean()),
                "Each axis has a fraction of its own: take the mean of the fractions, not of the variances",
            ),
            (
                lambda schedule, step, variances: 1 - _linear_loss(schedule, step, variances),
                "This is the share of the noise that is found. The loss is what is left",
            ),
            (
                lambda schedule, step, variances: (
                    _linear_loss(schedule, step, variances)
                    * (1 - schedule.alpha_bars[step - 1])
                    / schedule.alpha_bars[step - 1]
                ),
                "This is the error of the clean image. The error of the noise is asked for",
            ),
            (
                lambda schedule, step, variances: _linear_loss(schedule, step + 1, variances),
                "One step too many: step t is at index t - 1",
            ),
        ),
    ),
    "image-error": Exercise(
        right=_image_error,
        cases=tuple((schedule, step, 0.02) for schedule, step in [(LINEAR, 40), (COSINE, 120)]),
        mistakes=(
            (
                lambda schedule, step, noise_error: noise_error**2 / _image_error(schedule, step, noise_error),
                "The fraction is upside down: near pure noise a small error of the noise is a large one of the image",
            ),
            (
                lambda schedule, step, noise_error: np.sqrt(noise_error * _image_error(schedule, step, noise_error)),
                "This factor belongs to an error. A squared error has the factor squared, without the root",
            ),
            (
                lambda schedule, step, noise_error: noise_error / schedule.alpha_bars[step - 1],
                "The noise enters x_t with the factor sqrt(1 - alpha_bar), which is missing here",
            ),
            (
                lambda schedule, step, noise_error: noise_error * (1 - schedule.alpha_bars[step - 1]),
                "This is the error in x_t. The clean image has the factor sqrt(alpha_bar) there: divide by its square",
            ),
            (
                lambda schedule, step, noise_error: _image_error(schedule, step + 1, noise_error),
                "One step too many: step t is at index t - 1",
            ),
        ),
    ),
    "steps-to-forget": Exercise(
        right=lambda decay, share: np.log(share) / np.log(decay),
        cases=((0.9995, 0.2), (0.9, 0.3)),
        mistakes=(
            (
                lambda decay, share: 1 / (1 - decay),
                "After so many steps about 1/e is left, whatever the share. Bring in the share",
            ),
            (
                lambda decay, share: (1 - share) / (1 - decay),
                "The old share does not fall on a straight line: every step multiplies it by the decay",
            ),
            (
                lambda decay, share: np.log(decay) / np.log(share),
                "The fraction is upside down: solve decay to the power n = share for n",
            ),
            (
                lambda decay, share: np.log(1 - share) / np.log(decay),
                "After so many steps this share is gone. The share that is left is asked for",
            ),
            (
                lambda decay, share: np.log(share) / np.log(1 - decay),
                "1 - decay is the weight of the newest weights. The old ones are multiplied by the decay",
            ),
        ),
    ),
}
