"""Right and wrong answers to the exercises of the chapter on the closed form."""

import numpy as np

from tests.exercises.steps import tables


def bits(bar, x_0):
    """The divergence per number, by integrating log density ratios."""
    z = np.linspace(-12, 12, 20_001)
    weight = np.exp(-(z**2) / 2) / np.exp(-(z**2) / 2).sum()
    x = np.sqrt(bar) * x_0[:, None] + np.sqrt(1 - bar) * z
    return np.mean(((x**2 - z**2 - np.log(1 - bar)) / 2 * weight).sum(1)) / np.log(2)


def rescaled(curve):
    return curve[0] * (curve - curve[-1]) / (curve[0] - curve[-1])


def betas_of(bars):
    return 1 - bars / np.concatenate([[1], bars[:-1]])


RIGHT = {
    "jump": lambda schedule, x, step, e: (
        tables(schedule, step)[2] ** 0.5 * x + (1 - tables(schedule, step)[2]) ** 0.5 * e
    ),
    "alpha-bar-from-log-snr": lambda log_snr: np.exp(log_snr) / (1 + np.exp(log_snr)),
    "kl-to-prior": bits,
    "zero-terminal-snr": lambda schedule: betas_of(rescaled(np.cumprod(1 - schedule.betas) ** 0.5) ** 2),
}

WRONG = {
    "jump": {
        "alpha_bar_{t+1}": lambda schedule, x, step, e: RIGHT["jump"](schedule, x, step + 1, e),
        "alpha_t where alpha_bar_t belongs": lambda schedule, x, step, e: (
            tables(schedule, step)[1] ** 0.5 * x + tables(schedule, step)[0] ** 0.5 * e
        ),
        "Both roots are missing": lambda schedule, x, step, e: (
            tables(schedule, step)[2] * x + (1 - tables(schedule, step)[2]) * e
        ),
        "not a standard deviation": lambda schedule, x, step, e: (
            tables(schedule, step)[2] ** 0.5 * x + (1 - tables(schedule, step)[2]) * e
        ),
        "squares of the two factors": lambda schedule, x, step, e: (
            tables(schedule, step)[2] ** 0.5 * x + (1 - tables(schedule, step)[2] ** 0.5) * e
        ),
    },
    "alpha-bar-from-log-snr": {
        "signal-to-noise ratio. Solve": np.exp,
        "noise's share": lambda log_snr: 1 / (1 + np.exp(log_snr)),
        "root of alpha_bar": lambda log_snr: (1 + np.exp(-log_snr)) ** -0.5,
        "factor 2": lambda log_snr: 1 / (1 + np.exp(-2 * log_snr)),
    },
    "kl-to-prior": {
        "nats": lambda bar, x_0: bits(bar, x_0) * np.log(2),
        "sum over the dimensions": lambda bar, x_0: bits(bar, x_0) * len(x_0),
        "compares the variances is missing": lambda bar, x_0: np.mean(bar * x_0**2) / 2 / np.log(2),
        "prior comes second": lambda bar, x_0: (
            np.mean((1 + bar * x_0**2) / (1 - bar) - 1 + np.log(1 - bar)) / 2 / np.log(2)
        ),
        "factor 1/2": lambda bar, x_0: 2 * bits(bar, x_0),
    },
    "zero-terminal-snr": {
        "betas are asked for": lambda schedule: rescaled(np.sqrt(schedule.alpha_bars)) ** 2,
        "rule shifts its root": lambda schedule: betas_of(rescaled(schedule.alpha_bars)),
        "scale the root back": lambda schedule: betas_of(
            (schedule.alpha_bars**0.5 - schedule.alpha_bars[-1] ** 0.5) ** 2
        ),
        "one step jump": lambda schedule: np.where(
            np.arange(schedule.num_steps) < schedule.num_steps - 1, schedule.betas, 1
        ),
    },
}
