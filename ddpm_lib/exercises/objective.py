"""The exercises of the chapter on the objective."""

from __future__ import annotations

import math

import numpy as np

from ddpm_lib.exercises.checking import COSINE, LINEAR, NOISE, NOISY, Exercise


def _divergence(m, v, n, w):
    return (m - n) ** 2 / (2 * w) + (v / w - 1 - np.log(v / w)) / 2


def _weight(schedule, step, sigma_squared):
    rest = 1 - schedule.alpha_bars[step - 1]
    return schedule.betas[step - 1] ** 2 / (2 * sigma_squared * schedule.alphas[step - 1] * rest)


def _cdf(z):
    return (1 + math.erf(z / math.sqrt(2))) / 2


def _chance(cdf, x_0, mean, sigma):
    return cdf((x_0 + 1 / 255 - mean) / sigma) - cdf((x_0 - 1 / 255 - mean) / sigma)


def _image(schedule, x_t, step, score):
    alpha_bar = schedule.alpha_bars[step - 1]
    return (x_t + (1 - alpha_bar) * score) / np.sqrt(alpha_bar)


def _losses(schedule, step, v_loss):
    alpha_bar = schedule.alpha_bars[step - 1]
    return (1 - alpha_bar) * v_loss, alpha_bar * v_loss


_PAIRS = ((0.4, 0.3, -0.2, 0.5), (-1.0, 2.0, 0.5, 0.7))
_STEPS = ((LINEAR, 2, 2e-4), (LINEAR, 300, 6e-3), (COSINE, 150, 0.05))
_LEVELS = ((_cdf, 1 / 255, 0.004, 0.01), (_cdf, -51 / 255, -0.21, 0.02))
_SCORES = tuple((schedule, NOISY, step, NOISE) for schedule, step in [(LINEAR, 2), (LINEAR, 300), (COSINE, 150)])
_LOSSES = ((LINEAR, 2, 0.8), (LINEAR, 300, 0.3), (COSINE, 150, 0.1))

EXERCISES: dict[str, Exercise] = {
    "gaussian-divergence": Exercise(
        right=_divergence,
        cases=_PAIRS,
        mistakes=(
            (
                lambda m, v, n, w: _divergence(n, w, m, v),
                "This is the divergence the other way round: the mean is taken over the first Gaussian",
            ),
            (
                lambda m, v, n, w: (m - n) ** 2 / (2 * w),
                "This is the part of the means. The variances differ too, and that costs something",
            ),
            (
                lambda m, v, n, w: (m - n) ** 2 / (2 * v) + (v / w - 1 - np.log(v / w)) / 2,
                "The distance of the means is measured by the width of the second Gaussian, w",
            ),
            (
                lambda m, v, n, w: (m - n) ** 2 / (2 * w) + (v / w - 1 + np.log(v / w)) / 2,
                "The sign of the logarithm: with equal means and any v and w the result must not be below 0",
            ),
            (
                lambda m, v, n, w: (m - n) ** 2 / (2 * w) + (v / w - np.log(v / w)) / 2,
                "The - 1 is missing: of a Gaussian from itself the divergence is 0",
            ),
            (
                lambda m, v, n, w: _divergence(m, v**2, n, w**2),
                "v and w are variances already: do not square them",
            ),
        ),
    ),
    "bound-weight": Exercise(
        right=_weight,
        cases=_STEPS,
        mistakes=(
            (
                lambda schedule, step, sigma_squared: _weight(schedule, step + 1, sigma_squared),
                "One step too far: step t is at index t - 1",
            ),
            (
                lambda schedule, step, sigma_squared: _weight(schedule, step, sigma_squared**2),
                "sigma_squared is a variance already: do not square it",
            ),
            (
                lambda schedule, step, sigma_squared: 2 * _weight(schedule, step, sigma_squared),
                "The 2 below is missing: it comes from the exponent of the Gaussian",
            ),
            (
                lambda schedule, step, sigma_squared: (
                    _weight(schedule, step, sigma_squared)
                    * np.sqrt(schedule.alphas[step - 1] * (1 - schedule.alpha_bars[step - 1]))
                ),
                "The roots are squared, too: alpha_t and 1 - alpha_bar_t stand there without a root",
            ),
            (
                lambda schedule, step, sigma_squared: (
                    _weight(schedule, step, sigma_squared)
                    * (1 - schedule.alpha_bars[step - 1])
                    / (1 - schedule.alphas[step - 1])
                ),
                "This has 1 - alpha_t, where 1 - alpha_bar_t belongs",
            ),
            (
                lambda schedule, step, sigma_squared: _weight(schedule, step, sigma_squared) / schedule.betas[step - 1],
                "beta_t is squared: the whole factor of the noise in the mean is",
            ),
        ),
    ),
    "chance-of-level": Exercise(
        right=_chance,
        cases=_LEVELS,
        mistakes=(
            (
                lambda cdf, x_0, mean, sigma: (
                    math.exp(-(((x_0 - mean) / sigma) ** 2) / 2) / (sigma * math.sqrt(2 * math.pi))
                ),
                "This is the density at the level. A probability is the area over its bin",
            ),
            (
                lambda cdf, x_0, mean, sigma: cdf((x_0 + 2 / 255 - mean) / sigma) - cdf((x_0 - 2 / 255 - mean) / sigma),
                "The bin is too wide: 2 / 255 is the distance to the next level, and the bin ends halfway",
            ),
            (
                lambda cdf, x_0, mean, sigma: cdf((x_0 + 1 / 510 - mean) / sigma) - cdf((x_0 - 1 / 510 - mean) / sigma),
                "The bin is too narrow: the levels are 2 / 255 apart, so that half of the way is 1 / 255",
            ),
            (
                lambda cdf, x_0, mean, sigma: cdf((x_0 + 1 / 255 - mean) / sigma),
                "This is all that lies below the upper edge. Take away what lies below the lower one",
            ),
            (
                lambda cdf, x_0, mean, sigma: _chance(cdf, x_0, mean, sigma**2),
                "sigma is a deviation: distances are divided by it, not by its square",
            ),
            (
                lambda cdf, x_0, mean, sigma: cdf(x_0 + 1 / 255 - mean) - cdf(x_0 - 1 / 255 - mean),
                "cdf is that of a standard normal number: divide the distances by sigma",
            ),
        ),
    ),
    "image-from-score": Exercise(
        right=_image,
        cases=_SCORES,
        mistakes=(
            (
                lambda schedule, x_t, step, score: _image(schedule, x_t, step, -score),
                "The sign: the score points uphill, to where images are, so it is added",
            ),
            (
                lambda schedule, x_t, step, score: (
                    (x_t + np.sqrt(1 - schedule.alpha_bars[step - 1]) * score) / np.sqrt(schedule.alpha_bars[step - 1])
                ),
                "The score is multiplied by the variance of the noise, not by its deviation",
            ),
            (
                lambda schedule, x_t, step, score: (
                    (x_t - np.sqrt(1 - schedule.alpha_bars[step - 1]) * score) / np.sqrt(schedule.alpha_bars[step - 1])
                ),
                "This takes the score for the noise. The score is minus the noise, over its deviation",
            ),
            (
                lambda schedule, x_t, step, score: x_t + (1 - schedule.alpha_bars[step - 1]) * score,
                "The image in x_t is shrunk by the root of alpha_bar_t: divide by it",
            ),
            (
                lambda schedule, x_t, step, score: (
                    _image(schedule, x_t, step, score) / np.sqrt(schedule.alpha_bars[step - 1])
                ),
                "Divide by the root of alpha_bar_t, not by alpha_bar_t",
            ),
            (
                lambda schedule, x_t, step, score: _image(schedule, x_t, step + 1, score),
                "One step too far: step t is at index t - 1",
            ),
        ),
    ),
    "losses-from-v": Exercise(
        right=_losses,
        cases=_LOSSES,
        mistakes=(
            (
                lambda schedule, step, v_loss: _losses(schedule, step, v_loss)[::-1],
                "The two are swapped: where there is hardly noise, v is nearly the noise, and its error is the noise's",
            ),
            (
                lambda schedule, step, v_loss: (
                    np.sqrt(1 - schedule.alpha_bars[step - 1]) * v_loss,
                    np.sqrt(schedule.alpha_bars[step - 1]) * v_loss,
                ),
                "These are the factors of the errors. The losses are squares, and so are their factors",
            ),
            (
                lambda schedule, step, v_loss: (
                    v_loss / (1 - schedule.alpha_bars[step - 1]),
                    v_loss / schedule.alpha_bars[step - 1],
                ),
                "The factors are upside down: v has the largest of the three losses",
            ),
            (
                lambda schedule, step, v_loss: (v_loss, v_loss),
                "The same error is of another size in another unit",
            ),
            (
                lambda schedule, step, v_loss: (
                    (1 - schedule.alpha_bars[step - 1]) * v_loss,
                    v_loss * (schedule.alpha_bars[step - 1] / (1 - schedule.alpha_bars[step - 1])),
                ),
                "The image is right. The ratio leads from the loss of the image to that of the noise, not from v's",
            ),
        ),
    ),
}
