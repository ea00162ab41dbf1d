"""Right and wrong answers to the exercises of the chapter on the objective."""

import math

import numpy as np

from tests.exercises.steps import tables


def divergence(m, v, n, w, minus=1.0, sign=-1.0, below=None):
    """From log densities: log of the ratio of deviations, and both mean squares."""
    ratio = 2 * math.log(math.sqrt(v) / math.sqrt(w))
    return 0.5 * (v / w - minus + sign * ratio + (m - n) ** 2 / (below or w))


def weight(schedule, step, sigma_squared, half=0.5, roots=1.0, rest=None, power=2):
    beta, alpha, bar, _ = tables(schedule, step)
    factor = beta**power / (alpha * (1 - (bar if rest is None else alpha))) ** roots
    return half * factor / sigma_squared


def chance(cdf, x_0, mean, sigma, half=1 / 255):
    """Areas of the upper sides, subtracted."""
    return (1 - cdf((x_0 - half - mean) / sigma)) - (1 - cdf((x_0 + half - mean) / sigma))


def image(schedule, x_t, step, score, power=0.5, sign=1, above=1.0):
    _, _, bar, _ = tables(schedule, step)
    return x_t / bar**power + sign * score * (1 - bar) ** above / bar**power


def losses(schedule, step, v_loss, power=1.0):
    _, _, bar, _ = tables(schedule, step)
    ratio = bar / (1 - bar)
    return v_loss / (1 + ratio) ** power, v_loss * bar**power


RIGHT = {
    "gaussian-divergence": divergence,
    "bound-weight": weight,
    "chance-of-level": chance,
    "image-from-score": image,
    "losses-from-v": losses,
}

WRONG = {
    "gaussian-divergence": {
        "the other way round": lambda m, v, n, w: divergence(n, w, m, v),
        "the part of the means": lambda m, v, n, w: 0.5 * (n - m) ** 2 / w,
        "the width of the second": lambda m, v, n, w: divergence(m, v, n, w, below=v),
        "sign of the logarithm": lambda m, v, n, w: divergence(m, v, n, w, sign=1.0),
        "- 1 is missing": lambda m, v, n, w: divergence(m, v, n, w, minus=0.0),
        "variances already": lambda m, v, n, w: divergence(m, v * v, n, w * w),
    },
    "bound-weight": {
        "One step too far": lambda schedule, step, s2: weight(schedule, step + 1, s2),
        "a variance already": lambda schedule, step, s2: weight(schedule, step, s2 * s2),
        "The 2 below is missing": lambda schedule, step, s2: weight(schedule, step, s2, half=1.0),
        "without a root": lambda schedule, step, s2: weight(schedule, step, s2, roots=0.5),
        "This has 1 - alpha_t": lambda schedule, step, s2: weight(schedule, step, s2, rest="alpha"),
        "beta_t is squared": lambda schedule, step, s2: weight(schedule, step, s2, power=1),
    },
    "chance-of-level": {
        "the density at the level": lambda cdf, x, m, s: (
            math.exp(-0.5 * (x - m) ** 2 / s**2) / math.sqrt(2 * math.pi) / s
        ),
        "too wide": lambda cdf, x, m, s: chance(cdf, x, m, s, half=2 / 255),
        "too narrow": lambda cdf, x, m, s: chance(cdf, x, m, s, half=1 / 510),
        "below the upper edge": lambda cdf, x, m, s: cdf((x + 1 / 255 - m) / s),
        "not by its square": lambda cdf, x, m, s: chance(cdf, x, m, s * s),
        "divide the distances by sigma": lambda cdf, x, m, s: chance(cdf, x, m, 1.0),
    },
    "image-from-score": {
        "points uphill": lambda *case: image(*case, sign=-1),
        "not by its deviation": lambda *case: image(*case, above=0.5),
        "takes the score for the noise": lambda *case: image(*case, sign=-1, above=0.5),
        "shrunk by the root": lambda *case: image(*case, power=0.0),
        "not by alpha_bar_t": lambda *case: image(*case, power=1.0),
        "One step too far": lambda schedule, x, step, score: image(schedule, x, step + 1, score),
    },
    "losses-from-v": {
        "The two are swapped": lambda *case: losses(*case)[::-1],
        "The losses are squares": lambda *case: losses(*case, power=0.5),
        "upside down": lambda *case: losses(*case, power=-1.0),
        "in another unit": lambda schedule, step, v: (v, np.copy(v)),
        "not from v's": lambda schedule, step, v: (
            losses(schedule, step, v)[0],
            v * schedule.snr[step - 1],
        ),
    },
}
