"""Exercises that check themselves: `check("posterior-mean", f)` says "right", or what is probably wrong with `f`.

In every exercise `step` is the paper's t = 1..T, so a table is read at index step - 1, and alpha_bar at step 0 is 1.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np

from ddpm_lib.schedules import cosine_schedule, linear_schedule


@dataclasses.dataclass(frozen=True)
class Exercise:
    """One exercise: its right answer, the inputs to try, and the mistakes that people make.

    Args:
        right: the solution.
        cases: argument tuples that tell the solution from every mistake.
        mistakes: wrong solutions, each with the sentence that a reader who made it should see.
    """

    right: Callable
    cases: tuple[tuple, ...]
    mistakes: tuple[tuple[Callable, str], ...]


def check(name: str, answer: Any) -> None:
    """Print whether `answer` solves the exercise `name`, and if not, what is probably wrong.

    Args:
        name: the name that the chapter gives, such as "posterior-mean".
        answer: the reader's function. One that returns None, returns ... or raises NotImplementedError counts as not
            filled in yet. Whatever else it raises is reported, not passed on, so that a notebook runs to its end.
    """
    print(f"{name}: {_verdict(name, answer)}")


def _verdict(name, answer):
    if name not in EXERCISES:
        return f"there is no such exercise; there are {', '.join(EXERCISES)}"
    if answer is None or answer is Ellipsis:
        return "not filled in yet"
    if not callable(answer):
        return "hand over the function itself, not its result"
    exercise = EXERCISES[name]
    results = []
    for case in exercise.cases:
        try:
            result = answer(*case)
        except NotImplementedError:
            return "not filled in yet"
        except Exception as error:
            return f"your function stopped with {type(error).__name__}: {error}"
        if result is None or result is Ellipsis:
            return "not filled in yet"
        try:
            results.append(np.asarray(result, dtype=np.float64))
        except (TypeError, ValueError):
            return f"expected numbers, got {type(result).__name__}"
    expected = [np.asarray(exercise.right(*case)) for case in exercise.cases]
    for got, want in zip(results, expected, strict=True):
        if got.shape != want.shape:
            return f"the result has shape {got.shape}, where {want.shape} is expected"
    if _same(results, expected):
        return "right"
    for mistake, message in exercise.mistakes:
        if _same(results, [np.asarray(mistake(*case)) for case in exercise.cases]):
            return f"not yet. {message}"
    if not all(np.isfinite(got).all() for got in results):
        return "not yet. The result has infinite or undefined numbers: look for a division by 0 or the root or log of 0"
    index = next(i for i in range(len(results)) if not _same(results[i : i + 1], expected[i : i + 1]))
    got, want = results[index].ravel(), expected[index].ravel()
    place = np.argmax(~np.isclose(got, want, rtol=1e-5, atol=1e-9))
    return f"not yet. A number that should be {want[place]:.6g} is {got[place]:.6g}"


def _same(results, expected):
    return all(np.allclose(got, want, rtol=1e-5, atol=1e-9) for got, want in zip(results, expected, strict=True))


_LINEAR, _COSINE = linear_schedule(), cosine_schedule(200)
_RNG = np.random.default_rng(0)
_CLEAN, _NOISY, _NOISE = _RNG.uniform(-1, 1, 6), _RNG.standard_normal(6), _RNG.standard_normal(6)


def _half_amplitude(schedule):
    return np.argmax(np.sqrt(schedule.alpha_bars) <= 0.5) + 1


def _variance_after(schedule, step, data_variance):
    return 1 + schedule.alpha_bars[step - 1] * (data_variance - 1)


def _jump(schedule, x_0, step, noise):
    alpha_bar = schedule.alpha_bars[step - 1]
    return np.sqrt(alpha_bar) * x_0 + np.sqrt(1 - alpha_bar) * noise


def _kl_bits(alpha_bar, x_0):
    return 0.5 * np.mean(alpha_bar * (x_0**2 - 1) - np.log(1 - alpha_bar)) / np.log(2)


def _betas(alpha_bars):
    return 1 - alpha_bars / np.append(1.0, alpha_bars[:-1])


def _rescaled(curve):
    return (curve - curve[-1]) * curve[0] / (curve[0] - curve[-1])


def _mean_weights(schedule, step, alpha_bar, alpha_bar_prev):
    weight_x_0 = np.sqrt(alpha_bar_prev) * schedule.betas[step - 1] / (1 - alpha_bar)
    weight_x_t = np.sqrt(schedule.alphas[step - 1]) * (1 - alpha_bar_prev) / (1 - alpha_bar)
    return weight_x_0, weight_x_t


def _posterior_mean(schedule, x_0, x_t, step):
    weights = _mean_weights(schedule, step, schedule.alpha_bars[step - 1], schedule.alpha_bars_prev[step - 1])
    return weights[0] * x_0 + weights[1] * x_t


def _posterior_mean_bar_t(schedule, x_0, x_t, step):
    weights = _mean_weights(schedule, step, schedule.alpha_bars[step - 1], schedule.alpha_bars[step - 1])
    return weights[0] * x_0 + weights[1] * x_t


def _posterior_mean_swapped(schedule, x_0, x_t, step):
    return _posterior_mean(schedule, x_t, x_0, step)


def _posterior_mean_no_roots(schedule, x_0, x_t, step):
    alpha_bar, alpha_bar_prev = schedule.alpha_bars[step - 1], schedule.alpha_bars_prev[step - 1]
    weight_x_0 = alpha_bar_prev * schedule.betas[step - 1] / (1 - alpha_bar)
    return weight_x_0 * x_0 + schedule.alphas[step - 1] * (1 - alpha_bar_prev) / (1 - alpha_bar) * x_t


def _posterior_mean_next(schedule, x_0, x_t, step):
    return _posterior_mean(schedule, x_0, x_t, step + 1)


def _mean_from_noise(schedule, x_t, step, noise):
    alpha, alpha_bar = schedule.alphas[step - 1], schedule.alpha_bars[step - 1]
    return (x_t - (1 - alpha) / np.sqrt(1 - alpha_bar) * noise) / np.sqrt(alpha)


def _x_0_from_noise(schedule, x_t, step, noise):
    alpha_bar = schedule.alpha_bars[step - 1]
    return (x_t - np.sqrt(1 - alpha_bar) * noise) / np.sqrt(alpha_bar)


def _signal_share(schedule, step, data_variance):
    signal = schedule.alpha_bars[step - 1] * data_variance
    return signal / (signal + 1 - schedule.alpha_bars[step - 1])


def _slerp(start, end, share):
    angle = np.arccos(np.sum(start * end) / (np.linalg.norm(start) * np.linalg.norm(end)))
    return (np.sin((1 - share) * angle) * start + np.sin(share * angle) * end) / np.sin(angle)


def _straight(start, end, share):
    return (1 - share) * start + share * end


def _copy_distance(image, photo):
    return min(np.sqrt(np.mean((image - photo) ** 2)), np.sqrt(np.mean((image - photo[:, ::-1]) ** 2)))


def _linear_loss(schedule, step, variances):
    return np.mean(_signal_share(schedule, step, variances))


def _image_error(schedule, step, noise_error):
    alpha_bar = schedule.alpha_bars[step - 1]
    return noise_error * (1 - alpha_bar) / alpha_bar


_JUMPS = tuple((schedule, _CLEAN, step, _NOISE) for schedule, step in [(_LINEAR, 1), (_LINEAR, 400), (_COSINE, 77)])
_POSTERIORS = tuple(
    (schedule, _CLEAN, _NOISY, step) for schedule, step in [(_LINEAR, 1), (_LINEAR, 300), (_COSINE, 150)]
)
_SPREADS = tuple((schedule, step, np.array([2.0, 0.3, 0.01])) for schedule, step in [(_LINEAR, 5), (_COSINE, 120)])
_STEPS = ((_LINEAR, 2), (_LINEAR, 300), (_COSINE, 150))
_SHARES = ((_LINEAR, 1, 0.25), (_LINEAR, 500, 0.25), (_COSINE, 60, 2.0))
_WAYS = tuple((start, end, share) for start, end in [_RNG.standard_normal((2, 3, 4))] for share in (0.3, 0.8))
_FACE, _PHOTO = _RNG.uniform(-1, 1, (2, 4, 4, 3))
_PAIRS = tuple((0.3 * _FACE + 0.7 * photo, _PHOTO) for photo in (_PHOTO, _PHOTO[:, ::-1]))
_VARIANCES = ((_LINEAR, 1, 0.25), (_LINEAR, 300, 0.25), (_COSINE, 60, 2.0))
_MEANS_FROM_NOISE = tuple((schedule, _NOISY, step, _NOISE) for schedule, step in _STEPS)

EXERCISES = {
    "noise-step": Exercise(
        right=lambda x_prev, beta, noise: np.sqrt(1 - beta) * x_prev + np.sqrt(beta) * noise,
        cases=((_CLEAN, 0.02, _NOISE), (_CLEAN, 0.3, _NOISE)),
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
        cases=((_LINEAR,), (_COSINE,)),
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
        cases=((0.3, _CLEAN), (0.01, _CLEAN)),
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
        cases=((_LINEAR,), (linear_schedule(100),)),
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
    "product-of-gaussians": Exercise(
        right=lambda m_1, v_1, m_2, v_2: ((m_1 * v_2 + m_2 * v_1) / (v_1 + v_2), v_1 * v_2 / (v_1 + v_2)),
        cases=((0.5, 0.2, -1.0, 1.0), (2.0, 3.0, 1.0, 0.5)),
        mistakes=(
            (
                lambda m_1, v_1, m_2, v_2: ((m_1 * v_1 + m_2 * v_2) / (v_1 + v_2), v_1 * v_2 / (v_1 + v_2)),
                "The weights of the means are swapped: the narrow Gaussian counts more",
            ),
            (
                lambda m_1, v_1, m_2, v_2: ((m_1 + m_2) / 2, v_1 * v_2 / (v_1 + v_2)),
                "The variance is right. The mean is a weighted average, with weights 1 / v",
            ),
            (
                lambda m_1, v_1, m_2, v_2: ((m_1 * v_2 + m_2 * v_1) / (v_1 + v_2), v_1 + v_2),
                "The mean is right. The variances add for a sum; for a product, add their inverses",
            ),
            (
                lambda m_1, v_1, m_2, v_2: (m_1 + m_2, v_1 + v_2),
                "This is the sum of two independent numbers. A product of densities is asked for",
            ),
            (
                lambda m_1, v_1, m_2, v_2: ((m_1 * v_2 + m_2 * v_1) / (v_1 + v_2), 1 / v_1 + 1 / v_2),
                "The mean is right. 1 / v_1 + 1 / v_2 is the inverse of the variance",
            ),
        ),
    ),
    "posterior-mean": Exercise(
        right=_posterior_mean,
        cases=_POSTERIORS,
        mistakes=(
            (_posterior_mean_bar_t, "This is alpha_bar_t where alpha_bar_{t-1} belongs"),
            (_posterior_mean_swapped, "The two weights are swapped"),
            (_posterior_mean_no_roots, "The roots are missing: sqrt(alpha_bar_{t-1}) and sqrt(alpha_t)"),
            (_posterior_mean_next, "One step too far: step t is at index t - 1"),
        ),
    ),
    "posterior-deviation": Exercise(
        right=lambda schedule, step: np.sqrt(schedule.posterior_variances[step - 1]),
        cases=_STEPS,
        mistakes=(
            (
                lambda schedule, step: schedule.posterior_variances[step - 1],
                "This is a variance, not a standard deviation",
            ),
            (
                lambda schedule, step: np.sqrt(schedule.betas[step - 1]),
                "This is the root of beta_t, the deviation of a step forwards. Knowing x_0 makes it smaller",
            ),
            (
                lambda schedule, step: np.sqrt(
                    schedule.betas[step - 1]
                    * (1 - schedule.alpha_bars[step - 1])
                    / (1 - schedule.alpha_bars_prev[step - 1])
                ),
                "The fraction is upside down: it must be below 1",
            ),
            (
                lambda schedule, step: np.sqrt(schedule.posterior_variances[step]),
                "One step too far: step t is at index t - 1",
            ),
        ),
    ),
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
        cases=tuple((schedule, step, 0.02) for schedule, step in [(_LINEAR, 40), (_COSINE, 120)]),
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
    "mean-from-noise": Exercise(
        right=_mean_from_noise,
        cases=_MEANS_FROM_NOISE,
        mistakes=(
            (_x_0_from_noise, "This is the estimate of x_0, all the way back. One step back is asked for"),
            (
                lambda schedule, x_t, step, noise: (
                    (x_t - schedule.betas[step - 1] / np.sqrt(1 - schedule.alpha_bars[step - 1]) * noise)
                    / schedule.alphas[step - 1]
                ),
                "Divide by the root of alpha_t, not by alpha_t",
            ),
            (
                lambda schedule, x_t, step, noise: (
                    (x_t - np.sqrt(schedule.betas[step - 1]) * noise) / np.sqrt(schedule.alphas[step - 1])
                ),
                "This solves one step for x_{t-1}. The noise here is the noise of all t steps together",
            ),
            (
                lambda schedule, x_t, step, noise: (
                    (x_t - schedule.betas[step - 1] / (1 - schedule.alpha_bars[step - 1]) * noise)
                    / np.sqrt(schedule.alphas[step - 1])
                ),
                "1 - alpha_bar_t is a variance: the noise is divided by a standard deviation",
            ),
            (
                lambda schedule, x_t, step, noise: (
                    2 * x_t / np.sqrt(schedule.alphas[step - 1]) - _mean_from_noise(schedule, x_t, step, noise)
                ),
                "The sign: noise is taken away",
            ),
        ),
    ),
    "signal-share": Exercise(
        right=_signal_share,
        cases=_SHARES,
        mistakes=(
            (
                lambda schedule, step, data_variance: schedule.alpha_bars[step - 1],
                "alpha_bar is the share for data of variance 1. Use the data's variance",
            ),
            (
                lambda schedule, step, data_variance: schedule.alpha_bars[step - 1] * data_variance,
                "This is the image's variance. Divide it by the whole variance of x_t",
            ),
            (
                lambda schedule, step, data_variance: (
                    schedule.alpha_bars[step - 1] * data_variance / (1 - schedule.alpha_bars[step - 1])
                ),
                "This is image over noise. The share is image over image plus noise",
            ),
            (
                lambda schedule, step, data_variance: np.sqrt(_signal_share(schedule, step, data_variance)),
                "This is a share of amplitude. No root: variances add up, amplitudes do not",
            ),
            (
                lambda schedule, step, data_variance: 1 - _signal_share(schedule, step, data_variance),
                "This is the noise's share",
            ),
            (
                lambda schedule, step, data_variance: _signal_share(schedule, step + 1, data_variance),
                "One step too many: step t is at index t - 1",
            ),
        ),
    ),
    "slerp": Exercise(
        right=_slerp,
        cases=_WAYS,
        mistakes=(
            (_straight, "This is the straight line: in the middle the vector is too short"),
            (
                lambda start, end, share: (
                    _straight(start, end, share) * np.linalg.norm(start) / np.linalg.norm(_straight(start, end, share))
                ),
                "The length is kept, but not the speed: equal shares must be equal angles",
            ),
            (
                lambda start, end, share: np.cos(share * np.pi / 2) * start + np.sin(share * np.pi / 2) * end,
                "This is right for a right angle only. Compute the angle between the two",
            ),
            (
                lambda start, end, share: _slerp(end, start, share),
                "Start and end are swapped: at share 0 this gives the end",
            ),
            (
                lambda start, end, share: (
                    _slerp(start, end, share)
                    * np.sqrt(1 - (np.sum(start * end) / (np.linalg.norm(start) * np.linalg.norm(end))) ** 2)
                ),
                "Divide by the sine of the whole angle",
            ),
        ),
    ),
    "copy-distance": Exercise(
        right=_copy_distance,
        cases=_PAIRS,
        mistakes=(
            (
                lambda image, photo: np.sqrt(np.mean((image - photo) ** 2)),
                "A mirrored copy is a copy, too: take the smaller of two distances",
            ),
            (
                lambda image, photo: min(
                    np.sqrt(np.mean((image - photo) ** 2)), np.sqrt(np.mean((image - photo[::-1]) ** 2))
                ),
                "This turns the photograph upside down. The width is the second axis",
            ),
            (
                lambda image, photo: _copy_distance(image, photo) ** 2,
                "This is the mean squared difference: the root is missing",
            ),
            (
                lambda image, photo: _copy_distance(image, photo) * np.sqrt(image.size),
                "This is the root of the sum. Take the mean over all numbers",
            ),
            (
                lambda image, photo: min(np.mean(np.abs(image - photo)), np.mean(np.abs(image - photo[:, ::-1]))),
                "This is the mean absolute difference. Square first, and take the root at the end",
            ),
        ),
    ),
}
