"""Samplers: from noise to images, with any function that predicts noise.

A sampler walks down a sequence of steps t, each paired with the next one, t_next; -1 stands for the clean image, where
alpha_bar is 1. It calls `predict_noise(x_t, t)` with x_t (B, H, W, C) float32 and t (B,) int32, and wants the noise
back in the shape of x_t. That may be a trained network, its average, or the exact answer for a known distribution.
Where the function has an attribute `predict_x_0`, that is asked for the clean image instead (not by `ddim_encode`).
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from typing import NamedTuple

import keras
import numpy as np
from keras import ops

from ddpm_lib.schedules import NoiseSchedule

VARIANCES = ("beta", "posterior")


class Step(NamedTuple):
    """What a sampler tells its callback after each step."""

    number: int  # 0, 1, ... in the order of sampling
    t: int  # the index that was left
    t_next: int  # the index that was reached; -1 is the clean image
    x: object  # (B, H, W, C) the images now, at t_next
    x_0_pred: object  # (B, H, W, C) the clean images as predicted at t


def ddpm_sample(
    predict_noise: Callable,
    schedule: NoiseSchedule,
    x_T,
    *,
    num_steps: int | None = None,
    noise_fn: Callable[[int], object] | None = None,
    variance: str = "beta",
    clip: bool = True,
    spacing: str = "trailing",
    callback: Callable[[Step], None] | None = None,
):
    """Sample by the reverse Markov chain.

    Ho et al. (2020), Algorithm 2, with the predicted clean image clipped to [-1, 1] as in the authors' code. Where
    steps are skipped, beta_t becomes 1 - alpha_bar_t / alpha_bar_next (Nichol and Dhariwal, 2021, section 4).

    Args:
        predict_noise: see the module's text.
        schedule: the forward process that the network was trained on.
        x_T: (B, H, W, C) float32 standard normal noise.
        num_steps: how many of the schedule's steps to visit; all by default.
        noise_fn: the fresh noise of step number 0, 1, ..., shaped as x_T; drawn anew at every call by default. The
            last step adds none, and asks for none.
        variance: of the fresh noise, the two choices of section 3.2: "beta" is right for unit-variance data,
            "posterior" for a single image. With few steps "beta" leaves visible noise.
        clip: whether to clip the predicted clean image.
        spacing: see `NoiseSchedule.subsequence`.
        callback: called with a `Step` after each step.

    Returns:
        (B, H, W, C) float32 images.

    Raises:
        ValueError: if `variance` or `spacing` is unknown, `num_steps` is out of range, or noise is predicted where
            alpha_bar is 0.
    """
    if variance not in VARIANCES:
        raise ValueError(f"unknown variance {variance!r}: choose one of {', '.join(VARIANCES)}")

    def move(x_t, x_0_pred, alpha_bar, alpha_bar_next):
        beta = 1.0 - alpha_bar / alpha_bar_next
        # Mean of Eq. 7 with the predicted x_0.
        weight_x_0 = np.sqrt(alpha_bar_next) * beta / (1.0 - alpha_bar)
        weight_x_t = np.sqrt(1.0 - beta) * (1.0 - alpha_bar_next) / (1.0 - alpha_bar)
        sigma_squared = beta if variance == "beta" else beta * (1.0 - alpha_bar_next) / (1.0 - alpha_bar)
        return weight_x_0 * x_0_pred + weight_x_t * x_t, np.sqrt(sigma_squared)

    return _walk(predict_noise, schedule, x_T, move, num_steps, noise_fn, clip, spacing, callback)


def ddim_sample(
    predict_noise: Callable,
    schedule: NoiseSchedule,
    x_T,
    *,
    num_steps: int = 50,
    eta: float = 0.0,
    noise_fn: Callable[[int], object] | None = None,
    clip: bool = True,
    spacing: str = "trailing",
    callback: Callable[[Step], None] | None = None,
):
    """Sample by the non-Markovian process of DDIM, which may skip steps.

    Song, Meng and Ermon (2021), Eq. 12 and 16. With `eta` 0 the result is a function of x_T alone; with 1 and all
    steps it is DDPM with the posterior variance. Where `clip` changes the predicted image, the noise becomes the one
    that leads from it to x_t: the network's own noise would carry the clipped part on, step after step.

    Args:
        predict_noise: see the module's text.
        schedule: the forward process that the network was trained on.
        x_T: (B, H, W, C) float32 standard normal noise.
        num_steps: how many of the schedule's steps to visit.
        eta: share of fresh noise, 0 or more; usually 0..1.
        noise_fn: the fresh noise of step number 0, 1, ..., shaped as x_T, if `eta` > 0; drawn anew by default.
        clip: whether to clip the predicted clean image to [-1, 1].
        spacing: see `NoiseSchedule.subsequence`.
        callback: called with a `Step` after each step.

    Returns:
        (B, H, W, C) float32 images.

    Raises:
        ValueError: if `num_steps` is out of range, `spacing` is unknown, `eta` is negative, or noise is predicted where
            alpha_bar is 0.
    """
    if not eta >= 0:
        raise ValueError(f"eta must be 0 or more, got {eta}")

    def move(x_t, x_0_pred, alpha_bar, alpha_bar_next):
        beta = 1.0 - alpha_bar / alpha_bar_next
        sigma = eta * np.sqrt(beta * (1.0 - alpha_bar_next) / (1.0 - alpha_bar))
        # The network's noise, or after clipping the noise that belongs to the clipped image.
        noise_pred = (x_t - np.sqrt(alpha_bar) * x_0_pred) / np.sqrt(1.0 - alpha_bar)
        toward_x_t = np.sqrt(max(1.0 - alpha_bar_next - sigma**2, 0.0))
        return np.sqrt(alpha_bar_next) * x_0_pred + toward_x_t * noise_pred, sigma

    return _walk(predict_noise, schedule, x_T, move, num_steps, noise_fn, clip, spacing, callback)


def ddim_encode(
    predict_noise: Callable,
    schedule: NoiseSchedule,
    x_0,
    *,
    num_steps: int = 50,
    spacing: str = "trailing",
    callback: Callable[[Step], None] | None = None,
):
    """Walk the steps of DDIM upwards, from an image to the noise that `ddim_sample` turns into it.

    Song, Meng and Ermon (2021), Eq. 13 with the steps in the other order. Each step takes the noise that the network
    sees where the step begins, as DDIM does, which is the other end: the way there and back is closed only up to the
    length of the steps. The first step begins at the clean image, and asks the network at index 0.

    Args:
        predict_noise: see the module's text.
        schedule: the forward process that the network was trained on.
        x_0: (B, H, W, C) float32 images in [-1, 1].
        num_steps: how many of the schedule's steps to visit; `ddim_sample` goes back through the same ones.
        spacing: see `NoiseSchedule.subsequence`. The walk ends where `ddim_sample` begins, which may be below T-1.
        callback: called with a `Step` after each step; its `t` is -1 where the clean image was left.

    Returns:
        (B, H, W, C) float32, near standard normal if the network is good. `ddim_sample` with `clip=False` and the
        same steps leads back to x_0.

    Raises:
        ValueError: if `num_steps` is out of range or `spacing` is unknown.
    """
    visited = schedule.subsequence(num_steps, spacing)[::-1]
    x, alpha_bar = ops.convert_to_tensor(x_0, dtype="float32"), 1.0
    for number, (t, t_next) in enumerate(zip(np.append(-1, visited[:-1]), visited, strict=True)):
        noise_pred = predict_noise(x, ops.full((x.shape[0],), max(int(t), 0), dtype="int32"))
        x_0_pred = (x - np.sqrt(1.0 - alpha_bar) * noise_pred) / np.sqrt(alpha_bar)
        alpha_bar = float(schedule.alpha_bars[t_next])
        x = np.sqrt(alpha_bar) * x_0_pred + np.sqrt(1.0 - alpha_bar) * noise_pred
        if callback:
            callback(Step(number, int(t), int(t_next), x, x_0_pred))
    return x


def dpm_solver_pp_sample(
    predict_noise: Callable,
    schedule: NoiseSchedule,
    x_T,
    *,
    num_steps: int = 20,
    clip: bool = True,
    spacing: str = "trailing",
    callback: Callable[[Step], None] | None = None,
):
    """Sample by DPM-Solver++(2M), which looks back one step to see how the predicted image is changing.

    Lu et al. (2022), Algorithm 2. Like DDIM with `eta` 0 it follows the probability-flow ODE, so the result is a
    function of x_T alone. DDIM holds the predicted clean image fixed during a step; this sampler lets it go on changing
    as it changed in the step before. Its error therefore falls with the square of the step's length, at the same price:
    one call of the network a step.

    The first step has no step before, and the last one, to the clean image, has infinite length in log-SNR. Both are
    DDIM steps, so the last one returns the predicted clean image itself.

    Args:
        predict_noise: see the module's text.
        schedule: the forward process that the network was trained on.
        x_T: (B, H, W, C) float32 standard normal noise.
        num_steps: how many of the schedule's steps to visit.
        clip: whether to clip the predicted clean image to [-1, 1].
        spacing: see `NoiseSchedule.subsequence`.
        callback: called with a `Step` after each step.

    Returns:
        (B, H, W, C) float32 images.

    Raises:
        ValueError: if `num_steps` is out of range, `spacing` is unknown, or noise is predicted where alpha_bar is 0.
    """
    before = None  # log-SNR and predicted image of the step before

    def move(x_t, x_0_pred, alpha_bar, alpha_bar_next):
        nonlocal before
        with np.errstate(divide="ignore"):  # a schedule may begin without any signal
            log_snr = np.log(alpha_bar / (1.0 - alpha_bar))
        x_0_extrapolated = x_0_pred
        if before and alpha_bar_next < 1.0:
            log_snr_before, x_0_before = before
            log_snr_next = np.log(alpha_bar_next / (1.0 - alpha_bar_next))
            # 1 / (2 r) in the paper: halfway into this step, in lengths of the step before.
            halfway = (log_snr_next - log_snr) / (log_snr - log_snr_before) / 2.0
            x_0_extrapolated = x_0_pred + halfway * (x_0_pred - x_0_before)
        before = log_snr, x_0_pred
        # The paper's weight of the image, -alpha (exp(-h) - 1), without the infinite h of the last step.
        weight_x_t = np.sqrt((1.0 - alpha_bar_next) / (1.0 - alpha_bar))
        weight_x_0 = np.sqrt(alpha_bar_next) - weight_x_t * np.sqrt(alpha_bar)
        return weight_x_t * x_t + weight_x_0 * x_0_extrapolated, 0.0

    return _walk(predict_noise, schedule, x_T, move, num_steps, None, clip, spacing, callback)


def _walk(predict_noise, schedule, x_T, move, num_steps, noise_fn, clip, spacing, callback):
    """Visit the steps; `move` returns the mean of x_next and the standard deviation of its fresh noise."""
    visited = schedule.subsequence(schedule.num_steps if num_steps is None else num_steps, spacing)
    noise_fn = noise_fn or fresh_noise(x_T.shape)
    x = ops.convert_to_tensor(x_T, dtype="float32")
    for number, (t, t_next) in enumerate(zip(visited, np.append(visited[1:], -1), strict=True)):
        alpha_bar = float(schedule.alpha_bars[t])
        if alpha_bar == 0.0 and not hasattr(predict_noise, "predict_x_0"):
            raise ValueError(f"alpha_bar is 0 at index {t}: predicted noise says nothing about x_0 there")
        alpha_bar_next = float(schedule.alpha_bars[t_next]) if t_next >= 0 else 1.0
        index = ops.full((x.shape[0],), int(t), dtype="int32")
        if hasattr(predict_noise, "predict_x_0"):
            x_0_pred = predict_noise.predict_x_0(x, index)
        else:
            x_0_pred = (x - np.sqrt(1.0 - alpha_bar) * predict_noise(x, index)) / np.sqrt(alpha_bar)
        if clip:
            x_0_pred = ops.clip(x_0_pred, -1.0, 1.0)
        x, sigma = move(x, x_0_pred, alpha_bar, alpha_bar_next)
        if sigma > 0 and t_next >= 0:
            x = x + sigma * ops.convert_to_tensor(noise_fn(number), dtype="float32")
        if callback:
            callback(Step(number, int(t), int(t_next), x, x_0_pred))
    return x


def fresh_noise(shape: Sequence[int]) -> Callable[[int], np.ndarray]:
    """Return a noise function of the whole batch that never repeats, for callers who need no seeds."""
    generator = np.random.default_rng()
    return lambda number: generator.standard_normal(tuple(shape), dtype=np.float32)


def noise_per_image(seeds: Sequence[int], shape: Sequence[int]) -> Callable[[int], np.ndarray]:
    """Return a noise function in which every image has its own seed, whatever batch it is in.

    Args:
        seeds: one number of 0 or more an image.
        shape: (H, W, C) of one image.

    Returns:
        A function of the step number, whose value is (B, H, W, C) float32 standard normal. Number -1 is the starting
        noise x_T.
    """

    def noise(number):
        # SeedSequence wants no negative numbers, hence + 1.
        generators = [np.random.default_rng([seed, number + 1]) for seed in seeds]
        return np.stack([generator.standard_normal(tuple(shape), dtype=np.float32) for generator in generators])

    return noise


def sample_images(model, sampler: Callable, seeds: Sequence[int], *, batch_size: int = 16, **options) -> np.ndarray:
    """Sample one image a seed with a loaded model, in batches.

    Args:
        model: has `predict_noise`, `schedule` and `image_shape`, as `ddpm_lib.load` returns.
        sampler: `ddpm_sample`, `ddim_sample` or `dpm_solver_pp_sample`.
        seeds: one number of 0 or more an image.
        batch_size: images at a time; it does not change the noise.
        **options: passed on to the sampler, but for `noise_fn`: the noise is that of the seeds.

    Returns:
        (N, H, W, C) float32.

    Raises:
        ValueError: if there is no seed, or `batch_size` is less than 1.
    """
    if not len(seeds) or batch_size < 1:
        raise ValueError(f"at least one seed and a batch_size of at least 1, got {len(seeds)} and {batch_size}")
    adds_noise = "noise_fn" in inspect.signature(sampler).parameters
    batches = []
    for first in range(0, len(seeds), batch_size):
        noise_fn = noise_per_image(seeds[first : first + batch_size], model.image_shape)
        if adds_noise:
            options["noise_fn"] = noise_fn
        images = sampler(model.predict_noise, model.schedule, noise_fn(-1), **options)
        batches.append(keras.ops.convert_to_numpy(images))
    return np.concatenate(batches)
