"""Right and wrong answers to the exercises of the chapter on the posterior."""

import numpy as np

from tests.exercises.steps import tables


def deviation(schedule, step, upside_down=False):
    beta, _, bar, before = tables(schedule, step)
    ratio = (1 - before) / (1 - bar)
    return np.sqrt(beta / ratio if upside_down else beta * ratio)


def posterior_mean(schedule, x_0, x_t, step, swapped=False, late=False, roots=True):
    beta, alpha, bar, before = tables(schedule, step)
    before = bar if late else before
    root = np.sqrt if roots else float
    weight_x_0, weight_x_t = root(before) * beta / (1 - bar), root(alpha) * (1 - before) / (1 - bar)
    return weight_x_0 * (x_t if swapped else x_0) + weight_x_t * (x_0 if swapped else x_t)


def mean_from_noise(schedule, x_t, step, noise, power=0.5, sign=1, bottom=0.5):
    beta, alpha, bar, _ = tables(schedule, step)
    return (x_t - sign * beta / (1 - bar) ** bottom * noise) / alpha**power


RIGHT = {
    "product-of-gaussians": lambda m, v, n, w: ((m / v + n / w) / (1 / v + 1 / w), 1 / (1 / v + 1 / w)),
    "posterior-mean": posterior_mean,
    "posterior-deviation": deviation,
    "mean-from-noise": mean_from_noise,
}

WRONG = {
    "product-of-gaussians": {
        "swapped": lambda m, v, n, w: ((m * v + n * w) / (v + w), v * w / (v + w)),
        "weighted average": lambda m, v, n, w: ((m + n) / 2, v * w / (v + w)),
        "add their inverses": lambda m, v, n, w: ((m * w + n * v) / (v + w), v + w),
        "sum of two independent": lambda m, v, n, w: (m + n, v + w),
        "inverse of the variance": lambda m, v, n, w: ((m * w + n * v) / (v + w), 1 / v + 1 / w),
    },
    "posterior-mean": {
        "alpha_bar_t where alpha_bar_{t-1} belongs": lambda *case: posterior_mean(*case, late=True),
        "weights are swapped": lambda *case: posterior_mean(*case, swapped=True),
        "roots are missing": lambda *case: posterior_mean(*case, roots=False),
        "One step too far": lambda schedule, x_0, x_t, step: posterior_mean(schedule, x_0, x_t, step + 1),
    },
    "posterior-deviation": {
        "a variance, not a standard deviation": lambda schedule, step: deviation(schedule, step) ** 2,
        "root of beta_t": lambda schedule, step: schedule.betas[step - 1] ** 0.5,
        "upside down": lambda schedule, step: deviation(schedule, step, upside_down=True),
        "One step too far": lambda schedule, step: deviation(schedule, step + 1),
    },
    "mean-from-noise": {
        "estimate of x_0": lambda schedule, x, step, e: (
            (x - (1 - tables(schedule, step)[2]) ** 0.5 * e) / tables(schedule, step)[2] ** 0.5
        ),
        "Divide by the root": lambda *case: mean_from_noise(*case, power=1),
        "solves one step": lambda schedule, x, step, e: (
            (x - tables(schedule, step)[0] ** 0.5 * e) / tables(schedule, step)[1] ** 0.5
        ),
        "divided by a standard deviation": lambda *case: mean_from_noise(*case, bottom=1),
        "noise is taken away": lambda *case: mean_from_noise(*case, sign=-1),
    },
}
