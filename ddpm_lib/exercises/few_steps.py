"""The exercises of the chapter on sampling in fewer steps. Here step 0 is the clean image."""

from __future__ import annotations

import numpy as np

from ddpm_lib.exercises.checking import COSINE, LINEAR, NOISE, NOISY, Exercise


def _bars(schedule, *steps):
    return np.append(1.0, schedule.alpha_bars)[list(steps)]


def _ddim_step(schedule, x_t, noise, step, next_step):
    a, b = _bars(schedule, step, next_step)
    return np.sqrt(b) * (x_t - np.sqrt(1 - a) * noise) / np.sqrt(a) + np.sqrt(1 - b) * noise


def _ddim_step_old_noise(schedule, x_t, noise, step, next_step):
    a, b = _bars(schedule, step, next_step)
    return np.sqrt(b) * (x_t - np.sqrt(1 - a) * noise) / np.sqrt(a) + np.sqrt(1 - a) * noise


def _ddim_step_undivided(schedule, x_t, noise, step, next_step):
    a, b = _bars(schedule, step, next_step)
    return np.sqrt(b) * (x_t - np.sqrt(1 - a) * noise) + np.sqrt(1 - b) * noise


def _ddim_step_full_image(schedule, x_t, noise, step, next_step):
    a, b = _bars(schedule, step, next_step)
    return (x_t - np.sqrt(1 - a) * noise) / np.sqrt(a) + np.sqrt(1 - b) * noise


def _ddim_step_no_roots(schedule, x_t, noise, step, next_step):
    a, b = _bars(schedule, step, next_step)
    return b * (x_t - (1 - a) * noise) / a + (1 - b) * noise


def _ddim_step_index(schedule, x_t, noise, step, next_step):
    a, b = schedule.alpha_bars[step], schedule.alpha_bars[next_step]
    return np.sqrt(b) * (x_t - np.sqrt(1 - a) * noise) / np.sqrt(a) + np.sqrt(1 - b) * noise


def _ddim_step_posterior(schedule, x_t, noise, step, next_step):
    a, b = _bars(schedule, step, next_step)
    x_0 = (x_t - np.sqrt(1 - a) * noise) / np.sqrt(a)
    return (np.sqrt(b) * (1 - a / b) * x_0 + np.sqrt(a / b) * (1 - b) * x_t) / (1 - a)


def _fresh_deviation(schedule, step, next_step, eta):
    a, b = _bars(schedule, step, next_step)
    return eta * np.sqrt((1 - b) / (1 - a) * (1 - a / b))


def _fresh_deviation_upside_down(schedule, step, next_step, eta):
    a, b = _bars(schedule, step, next_step)
    return eta * np.sqrt((1 - a) / (1 - b) * (1 - a / b))


def _fresh_deviation_neighbour(schedule, step, next_step, eta):
    a, b = _bars(schedule, step, next_step)
    return eta * np.sqrt((1 - b) / (1 - a) * schedule.betas[step - 1])


def _fresh_deviation_hat(schedule, step, next_step, eta):
    a, b = _bars(schedule, step, next_step)
    return eta * np.sqrt(1 - a / b)


def _variance_after(schedule, step, next_step):
    a, b = _bars(schedule, step, next_step)
    return 1 - b + b * (1 - a / b) ** 2 / (1 - a)


def _excess(schedule, step, next_step):
    a, b = _bars(schedule, step, next_step)
    return b * (1 - a / b) ** 2 / (1 - a)


def _variance_after_sum(schedule, step, next_step):
    a, b = _bars(schedule, step, next_step)
    return 1 - b + 1 - a / b


def _encode_step(schedule, x, noise, step, later):
    a, b = _bars(schedule, later, step)
    return np.sqrt(a) * (x / np.sqrt(b) + (np.sqrt(1 / a - 1) - np.sqrt(1 / b - 1)) * noise)


def _encode_step_forward(schedule, x, noise, step, later):
    a, b = _bars(schedule, later, step)
    return np.sqrt(a / b) * x + np.sqrt(1 - a / b) * noise


def _encode_step_sign(schedule, x, noise, step, later):
    a, b = _bars(schedule, later, step)
    return np.sqrt(a) * (x / np.sqrt(b) - (np.sqrt(1 / a - 1) - np.sqrt(1 / b - 1)) * noise)


def _encode_step_rescaled(schedule, x, noise, step, later):
    return _encode_step(schedule, x, noise, step, later) / np.sqrt(_bars(schedule, later))


def _encode_step_undivided(schedule, x, noise, step, later):
    a, b = _bars(schedule, later, step)
    return np.sqrt(a) * (x + (np.sqrt(1 / a - 1) - np.sqrt(1 / b - 1)) * noise)


def _encode_step_down(schedule, x, noise, step, later):
    return _encode_step(schedule, x, noise, later, step)


def _halfway(clock, factor=0.5):
    def image(schedule, f_before, f, before, step, next_step):
        u = clock(schedule)
        share = (u[next_step - 1] - u[step - 1]) / (u[step - 1] - u[before - 1])
        return f + factor * share * (f - f_before)

    return image


def _log_snr(schedule):
    return np.log(schedule.snr)


def _halfway_inverse(schedule, f_before, f, before, step, next_step):
    u = _log_snr(schedule)
    return f + (u[step - 1] - u[before - 1]) / (u[next_step - 1] - u[step - 1]) / 2 * (f - f_before)


def _trailing(num_train_steps, num_steps):
    return np.round(num_train_steps * np.arange(num_steps, 0, -1) / num_steps)


_STEPS = ((LINEAR, 300, 250), (LINEAR, 900, 800), (COSINE, 150, 20))
_ENDS = (*_STEPS, (LINEAR, 100, 0))

EXERCISES: dict[str, Exercise] = {
    "ddim-step": Exercise(
        right=_ddim_step,
        cases=tuple((schedule, NOISY, NOISE, *steps) for schedule, *steps in _ENDS),
        mistakes=(
            (_ddim_step_old_noise, "The noise is put back at the strength of the old step: x_n wants sqrt(1 - bar_n)"),
            (_ddim_step_undivided, "x_t without its noise is sqrt(alpha_bar_t) x_0: divide by that root"),
            (_ddim_step_full_image, "The image is put in at full strength: x_n wants sqrt(alpha_bar_n) of it"),
            (_ddim_step_no_roots, "The roots are missing: alpha_bar is a share of the variance"),
            (_ddim_step_index, "One step too far: step t is at index t - 1, and step 0 is the clean image"),
            (_ddim_step_posterior, "This is the mean of the posterior, eta 1. With eta 0 all the noise is kept"),
        ),
    ),
    "fresh-deviation": Exercise(
        right=_fresh_deviation,
        cases=tuple((*steps, eta) for steps in _STEPS for eta in (1.0, 0.3)),
        mistakes=(
            (
                lambda schedule, step, next_step, eta: _fresh_deviation(schedule, step, next_step, eta) ** 2,
                "This is a variance, not a standard deviation",
            ),
            (
                lambda schedule, step, next_step, eta: _fresh_deviation(schedule, step, next_step, np.sqrt(eta)),
                "eta stands before the root: it scales the deviation, not the variance",
            ),
            (_fresh_deviation_upside_down, "The first fraction is upside down: it must be below 1"),
            (_fresh_deviation_neighbour, "This is beta_t of the neighbours. A longer step has 1 - bar_t / bar_n"),
            (_fresh_deviation_hat, "This is sigma-hat: the factor (1 - bar_n) / (1 - bar_t) is missing"),
        ),
    ),
    "variance-with-sigma-hat": Exercise(
        right=_variance_after,
        cases=_STEPS,
        mistakes=(
            (_excess, "This is the excess alone. Add it to 1 - alpha_bar_n"),
            (
                lambda schedule, step, next_step: 1 - _bars(schedule, next_step)[0],
                "This is what step n wants. sigma-hat adds more than was taken away",
            ),
            (_variance_after_sum, "Some of the noise of x_t was taken away before: only a part of 1 - bar_n is kept"),
            (
                lambda schedule, step, next_step: np.sqrt(_variance_after(schedule, step, next_step)),
                "This is the standard deviation; the variance is asked for",
            ),
        ),
    ),
    "encode-step": Exercise(
        right=_encode_step,
        cases=tuple((schedule, NOISY, NOISE, *steps[::-1]) for schedule, *steps in _ENDS),
        mistakes=(
            (
                _encode_step_forward,
                "This is a step of the forward process: it adds fresh noise. Here the noise is in x already",
            ),
            (_encode_step_sign, "The sign: on the way up rho grows, and so does the noise"),
            (_encode_step_rescaled, "This is the new x-bar. Multiply by the root of alpha_bar of the step you reach"),
            (_encode_step_undivided, "Divide x by the root of alpha_bar where it stands: that is x-bar"),
            (_encode_step_down, "The two steps are swapped: x stands at `step`, and goes to `later`"),
        ),
    ),
    "image-halfway": Exercise(
        right=_halfway(_log_snr),
        cases=tuple(
            (schedule, NOISY, NOISE, *steps) for schedule, *steps in ((LINEAR, 400, 300, 250), (COSINE, 199, 150, 20))
        ),
        mistakes=(
            (_halfway(_log_snr, 1.0), "This is the image at the end of the step. Halfway is asked for: h / (2 k)"),
            (_halfway(_log_snr, -0.5), "The sign: what has changed from f_before to f goes on changing"),
            (_halfway_inverse, "The fraction is upside down: this step over the step before"),
            (_halfway(lambda schedule: schedule.snr), "The logarithm is missing: h and k are lengths in log u"),
            (
                _halfway(lambda schedule: -np.arange(schedule.num_steps)),
                "These are lengths in t. The solver's are in log u",
            ),
        ),
    ),
    "order-of-a-method": Exercise(
        right=lambda n, error, m, other: np.log(error / other) / np.log(m / n),
        cases=((10, 0.2, 20, 0.05), (40, 3e-3, 160, 5e-4)),
        mistakes=(
            (
                lambda n, error, m, other: np.log(other / error) / np.log(m / n),
                "This is the slope of the line, which falls. The order is its opposite",
            ),
            (
                lambda n, error, m, other: np.log(error / other) / (m - n),
                "The steps need a logarithm, too",
            ),
            (
                lambda n, error, m, other: np.log(m / n) / np.log(error / other),
                "The fraction is upside down",
            ),
            (
                lambda n, error, m, other: (error / other) / (m / n),
                "The logarithms are missing: the error is a power of the number of steps",
            ),
        ),
    ),
    "trailing-steps": Exercise(
        right=_trailing,
        cases=((1000, 10), (1000, 7), (50, 50), (1000, 1)),
        mistakes=(
            (
                lambda total, count: _trailing(total, count) - 1,
                "These are indices. The paper's steps are larger by 1, and start at T",
            ),
            (
                lambda total, count: _trailing(total, count)[::-1],
                "The order: a sampler goes from T down",
            ),
            (
                lambda total, count: 1 + np.arange(count - 1, -1, -1) * (total // count),
                "This is leading: it ends at 1, and starts below T",
            ),
            (
                lambda total, count: np.round(np.linspace(total, 1, count)),
                "This is linspace: trailing does not visit step 1",
            ),
            (
                lambda total, count: total - np.arange(count) * (total // count),
                "The stride is cut to a whole number before it is used: round at the end",
            ),
        ),
    ),
}
