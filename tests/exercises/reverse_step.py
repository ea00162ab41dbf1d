"""Right and wrong answers to the exercises of the chapter on the reverse step."""

import numpy as np
from scipy.special import softmax
from scipy.stats import multivariate_normal

from tests.exercises.steps import tables


def from_noise(schedule, x, step, e, z=0.0, share=1.0):
    """One step with the noise's share of the last step, in units of the right one."""
    beta, alpha, bar, _ = tables(schedule, step)
    return (x - share * beta * e / (1 - bar) ** 0.5) / alpha**0.5 + z


def root_beta(schedule, step):
    return tables(schedule, step)[0] ** 0.5


def unless_last(step, noise):
    return noise if step > 1 else 0 * noise


def kept(schedule, step, reached):
    """What steps reached + 1 .. step keep of the variance."""
    return np.prod(1 - schedule.betas[reached:step])


def gain(schedule, step, s2):
    """The factor of x_t in the mean of x_{t-1}: covariance over variance."""
    _, alpha, bar, before = tables(schedule, step)
    return alpha**0.5 * (before * s2 + 1 - before) / (bar * s2 + 1 - bar)


def walk(schedule, step, s2, u):
    return gain(schedule, step, s2) ** 2 * u + schedule.betas[step - 1]


def squares(x, pictures):
    return np.linalg.norm(x - pictures, axis=1) ** 2


def weights(schedule, x, pictures, step):
    """Bayes' rule with SciPy's densities."""
    bar = tables(schedule, step)[2]
    densities = [multivariate_normal.pdf(x, bar**0.5 * picture, (1 - bar) * np.eye(len(x))) for picture in pictures]
    return np.array(densities) / sum(densities)


def clipped(schedule, x, step, e, low=-1.0, swapped=False, only_guess=False):
    beta, alpha, bar, before = tables(schedule, step)
    guess = np.maximum(low, np.minimum(1, (x - (1 - bar) ** 0.5 * e) / bar**0.5))
    if only_guess:
        return guess
    first, second = (guess, x) if swapped else (x, guess)
    return alpha**0.5 * (1 - before) / (1 - bar) * first + before**0.5 * beta / (1 - bar) * second


RIGHT = {
    "last-noise": lambda schedule, step: root_beta(schedule, step) / (1 - tables(schedule, step)[2]) ** 0.5,
    "step-back": lambda schedule, x, step, e, z: from_noise(
        schedule, x, step, e, unless_last(step, root_beta(schedule, step) * z)
    ),
    "skipped-beta": lambda schedule, step, reached: 1 - kept(schedule, step, reached),
    "walk-variance": walk,
    "picture-weights": weights,
    "clipped-mean": clipped,
}

WRONG = {
    "last-noise": {
        "squared correlation": lambda *case: RIGHT["last-noise"](*case) ** 2,
        "factor of the network's answer": lambda *case: RIGHT["last-noise"](*case) * root_beta(*case),
        "covariance with the noise in x_t": root_beta,
        "alpha_bar_t is the image's share": lambda *case: root_beta(*case) / tables(*case)[2] ** 0.5,
        "deviation of what is lost": lambda *case: (1 - RIGHT["last-noise"](*case) ** 2) ** 0.5,
    },
    "step-back": {
        "last step adds no noise": lambda schedule, x, step, e, z: from_noise(
            schedule, x, step, e, root_beta(schedule, step) * z
        ),
        "This is the mean": lambda schedule, x, step, e, z: from_noise(schedule, x, step, e),
        "beta_t is a variance": lambda schedule, x, step, e, z: from_noise(
            schedule, x, step, e, unless_last(step, root_beta(schedule, step) ** 2 * z)
        ),
        "takes away a whole step's noise": lambda schedule, x, step, e, z: from_noise(
            schedule,
            x,
            step,
            e,
            unless_last(step, root_beta(schedule, step) * z),
            share=1 / RIGHT["last-noise"](schedule, step),
        ),
        "stands under a root": lambda schedule, x, step, e, z: from_noise(
            schedule,
            x,
            step,
            e,
            unless_last(step, root_beta(schedule, step) * z),
            share=(1 - tables(schedule, step)[2]) ** -0.5,
        ),
        "without bar": lambda schedule, x, step, e, z: (
            (from_noise(schedule, x, step, e) * tables(schedule, step)[1] ** 0.5) / tables(schedule, step)[2] ** 0.5
            + unless_last(step, root_beta(schedule, step) * z)
        ),
        "outside the bracket": lambda schedule, x, step, e, z: from_noise(
            schedule, x, step, e, unless_last(step, (1 / tables(schedule, step)[1] - 1) ** 0.5 * z)
        ),
        "posterior's variance": lambda schedule, x, step, e, z: from_noise(
            schedule,
            x,
            step,
            e,
            root_beta(schedule, step) * ((1 - tables(schedule, step)[3]) / (1 - tables(schedule, step)[2])) ** 0.5 * z,
        ),
    },
    "skipped-beta": {
        "noise of one step": lambda schedule, step, reached: schedule.betas[step - 1],
        "betas do not add up": lambda schedule, step, reached: sum(schedule.betas[reached:step]),
        "index is -1": lambda schedule, step, reached: (
            1 - kept(schedule, step, 0) / kept(schedule, reached or schedule.num_steps, 0)
        ),
        "index i is step i + 1": lambda schedule, step, reached: (
            1 - kept(schedule, step, 0) / kept(schedule, reached + 1, 0)
        ),
        "since the clean image": lambda schedule, step, reached: 1 - kept(schedule, step, 0),
        "Divide, do not subtract": lambda schedule, step, reached: kept(schedule, reached, 0) - kept(schedule, step, 0),
    },
    "walk-variance": {
        "squared in their variance": lambda schedule, step, s2, u: (
            gain(schedule, step, s2) * u + schedule.betas[step - 1]
        ),
        "upside down": lambda schedule, step, s2, u: (
            (tables(schedule, step)[1] / gain(schedule, step, s2)) ** 2 * u + schedule.betas[step - 1]
        ),
        "fresh noise is missing": lambda schedule, step, s2, u: gain(schedule, step, s2) ** 2 * u,
        "no root": lambda schedule, step, s2, u: gain(schedule, step, s2) ** 2 * u + root_beta(schedule, step),
        "network's answer depends on x_t": lambda schedule, step, s2, u: (
            u / tables(schedule, step)[1] + schedule.betas[step - 1]
        ),
        "alpha_t is missing": lambda schedule, step, s2, u: (
            gain(schedule, step, s2) ** 2 / tables(schedule, step)[1] * u + schedule.betas[step - 1]
        ),
    },
    "picture-weights": {
        "multiplied by the root of alpha_bar_t": lambda schedule, x, pictures, step: softmax(
            -squares(x, pictures) / (2 - 2 * tables(schedule, step)[2])
        ),
        "add up to 1": lambda schedule, x, pictures, step: np.exp(
            -squares(x, tables(schedule, step)[2] ** 0.5 * pictures) / (2 - 2 * tables(schedule, step)[2])
        ),
        "squared distance": lambda schedule, x, pictures, step: softmax(
            -(squares(x, tables(schedule, step)[2] ** 0.5 * pictures) ** 0.5) / (2 - 2 * tables(schedule, step)[2])
        ),
        "2 is missing": lambda *case: weights(*case) ** 2 / sum(weights(*case) ** 2),
        "variance of the noise: no root": lambda schedule, x, pictures, step: softmax(
            -squares(x, tables(schedule, step)[2] ** 0.5 * pictures) / (2 * (1 - tables(schedule, step)[2]) ** 0.5)
        ),
        "nearest picture has the largest": lambda *case: 1 / weights(*case) / sum(1 / weights(*case)),
    },
    "clipped-mean": {
        "Nothing is clipped": from_noise,
        "noisy and may be larger": lambda *case: np.maximum(-1, np.minimum(1, from_noise(*case))),
        "between 0 and 1": lambda *case: clipped(*case, low=0.0),
        "One step back is asked for": lambda *case: clipped(*case, only_guess=True),
        "as large as it likes": lambda schedule, x, step, e: from_noise(
            schedule, x, step, np.maximum(-1, np.minimum(1, e))
        ),
        "weights are swapped": lambda *case: clipped(*case, swapped=True),
    },
}
