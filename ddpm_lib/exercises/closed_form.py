"""The exercises of the chapter on the closed form."""

from __future__ import annotations

import numpy as np

from ddpm_lib.exercises.checking import CLEAN, COSINE, LINEAR, NOISE, Exercise
from ddpm_lib.schedules import linear_schedule


def _jump(schedule, x_0, step, noise):
    alpha_bar = schedule.alpha_bars[step - 1]
    return np.sqrt(alpha_bar) * x_0 + np.sqrt(1 - alpha_bar) * noise


def _kl_bits(alpha_bar, x_0):
    return 0.5 * np.mean(alpha_bar * (x_0**2 - 1) - np.log(1 - alpha_bar)) / np.log(2)


def _betas(alpha_bars):
    return 1 - alpha_bars / np.append(1.0, alpha_bars[:-1])


def _rescaled(curve):
    return (curve - curve[-1]) * curve[0] / (curve[0] - curve[-1])


_JUMPS = tuple((schedule, CLEAN, step, NOISE) for schedule, step in [(LINEAR, 1), (LINEAR, 400), (COSINE, 77)])

EXERCISES: dict[str, Exercise] = {
    "jump": Exercise(
        right=_jump,
        cases=_JUMPS,
        mistakes=(
            (
                lambda schedule, x_0, step, noise: _jump(schedule, x_0, step + 1, noise),
                "This is alpha_bar_{t+1}: step t is at index t - 1",
            ),
            (
                lambda schedule, x_0, step, noise: (
                    np.sqrt(schedule.alphas[step - 1]) * x_0 + np.sqrt(schedule.betas[step - 1]) * noise
                ),
                "This is alpha_t where alpha_bar_t belongs: one step, not t steps",
            ),
            (
                lambda schedule, x_0, step, noise: (
                    schedule.alpha_bars[step - 1] * x_0 + (1 - schedule.alpha_bars[step - 1]) * noise
                ),
                "Both roots are missing: alpha_bar and 1 - alpha_bar are variances",
            ),
            (
                lambda schedule, x_0, step, noise: (
                    np.sqrt(schedule.alpha_bars[step - 1]) * x_0 + (1 - schedule.alpha_bars[step - 1]) * noise
                ),
                "1 - alpha_bar is a variance, not a standard deviation: take its root",
            ),
            (
                lambda schedule, x_0, step, noise: (
                    np.sqrt(schedule.alpha_bars[step - 1]) * x_0 + (1 - np.sqrt(schedule.alpha_bars[step - 1])) * noise
                ),
                "The squares of the two factors must add up to 1, not the factors themselves",
            ),
        ),
    ),
    "alpha-bar-from-log-snr": Exercise(
        right=lambda log_snr: 1 / (1 + np.exp(-log_snr)),
        cases=((-3.0,), (0.5,), (2.0,)),
        mistakes=(
            (lambda log_snr: np.exp(log_snr), "This is the signal-to-noise ratio. Solve it for alpha_bar"),
            (
                lambda log_snr: 1 / (1 + np.exp(log_snr)),
                "This is 1 - alpha_bar, the noise's share: the sign of the exponent",
            ),
            (
                lambda log_snr: 1 / np.sqrt(1 + np.exp(-log_snr)),
                "This is the root of alpha_bar: the signal-to-noise ratio is a ratio of variances",
            ),
            (
                lambda log_snr: 1 / (1 + np.exp(-2 * log_snr)),
                "The factor 2 is too much: the signal-to-noise ratio is already a ratio of variances",
            ),
        ),
    ),
    "kl-to-prior": Exercise(
        right=_kl_bits,
        cases=((0.3, CLEAN), (0.01, CLEAN)),
        mistakes=(
            (
                lambda alpha_bar, x_0: _kl_bits(alpha_bar, x_0) * np.log(2),
                "This is in nats. A nat is 1 / log(2) bits",
            ),
            (
                lambda alpha_bar, x_0: _kl_bits(alpha_bar, x_0) * x_0.size,
                "This is the sum over the dimensions. Bits per dimension is the mean",
            ),
            (
                lambda alpha_bar, x_0: 0.5 * np.mean(alpha_bar * x_0**2) / np.log(2),
                "The mean's part is there. The part that compares the variances is missing",
            ),
            (
                lambda alpha_bar, x_0: (
                    0.5 * np.mean((1 + alpha_bar * x_0**2) / (1 - alpha_bar) - 1 + np.log(1 - alpha_bar)) / np.log(2)
                ),
                "The divergence is not symmetric, and this is the other one: the prior comes second",
            ),
            (
                lambda alpha_bar, x_0: 2 * _kl_bits(alpha_bar, x_0),
                "The factor 1/2 is missing",
            ),
        ),
    ),
    "zero-terminal-snr": Exercise(
        right=lambda schedule: _betas(_rescaled(np.sqrt(schedule.alpha_bars)) ** 2),
        cases=((LINEAR,), (linear_schedule(100),)),
        mistakes=(
            (
                lambda schedule: _rescaled(np.sqrt(schedule.alpha_bars)) ** 2,
                "This is the new alpha_bar. The betas are asked for: 1 minus the ratio of neighbours",
            ),
            (
                lambda schedule: _betas(_rescaled(schedule.alpha_bars)),
                "This shifts alpha_bar. The rule shifts its root",
            ),
            (
                lambda schedule: _betas((np.sqrt(schedule.alpha_bars) - np.sqrt(schedule.alpha_bars[-1])) ** 2),
                "The end is right, but the first value has moved: scale the root back to its old start",
            ),
            (
                lambda schedule: np.append(schedule.betas[:-1], 1.0),
                "Setting the last beta to 1 makes one step jump. The rule spreads the change over all steps",
            ),
        ),
    ),
}
