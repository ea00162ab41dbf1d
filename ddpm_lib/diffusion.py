"""The forward process, its posterior, and the conversions between what a network may predict.

Images are (B, H, W, C) float32 in [-1, 1], but every function here takes any (B, ...) shape. `t` is (B,) int32 with
values 0..T-1, in the index convention of `ddpm_lib.schedules`.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from keras import ops

from ddpm_lib.schedules import NoiseSchedule


def at(table: np.ndarray, t, x):
    """Look up a float64 table at the steps `t`, as float32 that broadcasts against `x`.

    The reshape names no batch size, so this also works inside a traced function that does not know it.

    Args:
        table: (T,) float64.
        t: (B,) int32 in 0..T-1.
        x: (B, ...) whose rank the result gets.

    Returns:
        (B, 1, ..., 1) float32.
    """
    values = ops.take(ops.convert_to_tensor(table, dtype="float32"), t, axis=0)
    return ops.reshape(values, (-1,) + (1,) * (len(x.shape) - 1))


def add_noise(schedule: NoiseSchedule, x_0, t, noise):
    """Jump from clean images to step `t` of the forward process: x_t = sqrt(ab) x_0 + sqrt(1 - ab) noise.

    Ho et al. (2020), Eq. 4, reparameterized. `noise` is standard normal and has the shape of `x_0`.
    """
    alpha_bars = schedule.alpha_bars
    return at(np.sqrt(alpha_bars), t, x_0) * x_0 + at(np.sqrt(1.0 - alpha_bars), t, x_0) * noise


def x_0_from_noise(schedule: NoiseSchedule, x_t, t, noise):
    """Solve `add_noise` for the clean image: x_0 = (x_t - sqrt(1 - ab) noise) / sqrt(ab).

    Ho et al. (2020), Eq. 15. At the last step of the default schedule an error in `noise` is multiplied by 157.
    """
    alpha_bars = schedule.alpha_bars
    return (x_t - at(np.sqrt(1.0 - alpha_bars), t, x_t) * noise) / at(np.sqrt(alpha_bars), t, x_t)


def noise_from_x_0(schedule: NoiseSchedule, x_t, t, x_0):
    """Solve `add_noise` for the noise: (x_t - sqrt(ab) x_0) / sqrt(1 - ab)."""
    alpha_bars = schedule.alpha_bars
    return (x_t - at(np.sqrt(alpha_bars), t, x_t) * x_0) / at(np.sqrt(1.0 - alpha_bars), t, x_t)


def v_from_x_0_and_noise(schedule: NoiseSchedule, x_0, t, noise):
    """Combine image and noise into the velocity v = sqrt(ab) noise - sqrt(1 - ab) x_0.

    Salimans and Ho (2022), Appendix D.
    """
    alpha_bars = schedule.alpha_bars
    return at(np.sqrt(alpha_bars), t, x_0) * noise - at(np.sqrt(1.0 - alpha_bars), t, x_0) * x_0


def x_0_from_v(schedule: NoiseSchedule, x_t, t, v):
    """Recover the clean image from the velocity: x_0 = sqrt(ab) x_t - sqrt(1 - ab) v."""
    alpha_bars = schedule.alpha_bars
    return at(np.sqrt(alpha_bars), t, x_t) * x_t - at(np.sqrt(1.0 - alpha_bars), t, x_t) * v


def noise_from_v(schedule: NoiseSchedule, x_t, t, v):
    """Recover the noise from the velocity: noise = sqrt(1 - ab) x_t + sqrt(ab) v."""
    alpha_bars = schedule.alpha_bars
    return at(np.sqrt(1.0 - alpha_bars), t, x_t) * x_t + at(np.sqrt(alpha_bars), t, x_t) * v


def prediction_target(prediction: str, schedule: NoiseSchedule, x_0, t, noise):
    """Return what a network of this kind of `prediction` should answer to x_t: the noise itself, or v.

    Raises:
        ValueError: if `prediction` is neither "noise" nor "v".
    """
    _check_prediction(prediction)
    return v_from_x_0_and_noise(schedule, x_0, t, noise) if prediction == "v" else noise


def noise_predictor(prediction: str, schedule: NoiseSchedule, network: Callable) -> Callable:
    """Turn a network of either kind of `prediction` into `predict_noise(x_t, t)`, which all samplers want.

    Args:
        prediction: "noise" or "v".
        schedule: the forward process that the network was trained on.
        network: a function of x_t (B, H, W, C) float32 and t (B,) int32.

    Returns:
        A function of the same arguments. That of a v-network has an attribute `predict_x_0`, which samplers prefer.

    Raises:
        ValueError: if `prediction` is neither.
    """
    _check_prediction(prediction)
    if prediction == "noise":
        return network

    def predict_noise(x_t, t):
        return noise_from_v(schedule, x_t, t, network(x_t, t))

    # From the noise a sampler would divide by sqrt(ab), which is 5e-5 at the end of a cosine schedule: float32 leaves
    # an error of some thousandths in x_0 there.
    predict_noise.predict_x_0 = lambda x_t, t: x_0_from_v(schedule, x_t, t, network(x_t, t))
    return predict_noise


def noise_error_factors(prediction: str, schedule: NoiseSchedule) -> np.ndarray:
    """Factors that turn the squared error of a prediction into that of the noise it implies; (T,) float64.

    Two v apart by d imply two noises apart by sqrt(ab) d, see `noise_from_v`.

    Raises:
        ValueError: if `prediction` is neither "noise" nor "v".
    """
    _check_prediction(prediction)
    return schedule.alpha_bars if prediction == "v" else np.ones(schedule.num_steps)


def loss_weights(prediction: str, schedule: NoiseSchedule, min_snr_gamma: float | None = None) -> np.ndarray:
    """Weights of the squared error of a prediction in the loss, by step; (T,) float64, 1 without `min_snr_gamma`.

    Hang et al. (2023), section 3.4: the squared error of x_0 is weighted by min(SNR, gamma). The same error is SNR
    times as large when measured in noise, and SNR + 1 times as large when measured in v.

    Raises:
        ValueError: if `prediction` is neither "noise" nor "v".
    """
    _check_prediction(prediction)
    if min_snr_gamma is None:
        return np.ones(schedule.num_steps)
    return np.minimum(schedule.snr, min_snr_gamma) / (schedule.snr + (prediction == "v"))


def _check_prediction(prediction):
    if prediction not in ("noise", "v"):
        raise ValueError(f"unknown prediction {prediction!r}: choose noise or v")


def score_from_noise(schedule: NoiseSchedule, t, noise):
    """Turn the expected noise at x_t into the score, the gradient of log q(x_t): -noise / sqrt(1 - ab).

    Song et al. (2021), section 3.
    """
    return -noise / at(np.sqrt(1.0 - schedule.alpha_bars), t, noise)


def posterior_mean(schedule: NoiseSchedule, x_0, x_t, t):
    """Mean of q(x_{t-1} | x_t, x_0), a weighted sum of the clean and the noisy image.

    Ho et al. (2020), Eq. 7. Its variance is `schedule.posterior_variances`.
    """
    weight_x_0, weight_x_t = posterior_weights(schedule)
    return at(weight_x_0, t, x_t) * x_0 + at(weight_x_t, t, x_t) * x_t


def posterior_weights(schedule: NoiseSchedule) -> tuple[np.ndarray, np.ndarray]:
    """The two coefficients of Eq. 7 of Ho et al. (2020), of x_0 and of x_t; each (T,) float64.

    At index 0 they are 1 and 0: one step back from x_1 is x_0 itself.
    """
    rest = 1.0 - schedule.alpha_bars
    weight_x_0 = np.sqrt(schedule.alpha_bars_prev) * schedule.betas / rest
    weight_x_t = np.sqrt(schedule.alphas) * (1.0 - schedule.alpha_bars_prev) / rest
    return weight_x_0, weight_x_t
