"""Noise schedules: the tables of the forward process, in float64 NumPy.

The index convention, stated here and followed everywhere: array index i = 0..T-1 is the paper's step t = i + 1.
Index 0 is an image diffused by one step; "before step 0" is the clean image, where alpha_bar is 1.
"""

from __future__ import annotations

import dataclasses
import functools

import numpy as np


@dataclasses.dataclass(frozen=True, eq=False)
class NoiseSchedule:
    """The variances beta_t of the forward process, and the tables that follow from them.

    Ho et al. (2020), section 2 and Eq. 2. Every table is a read-only (T,) float64 array.

    Args:
        betas: (T,) noise variances, each in (0, 1]. `beta = 1` wipes the signal out: it is how a schedule with
            zero terminal signal-to-noise ratio ends.

    Raises:
        ValueError: if `betas` is not a one-dimensional array of numbers in (0, 1].
    """

    betas: np.ndarray

    def __post_init__(self):
        betas = np.array(self.betas, dtype=np.float64)
        if betas.ndim != 1 or betas.size == 0 or not ((1.0 - betas < 1.0) & (betas <= 1)).all():
            raise ValueError("betas must be a one-dimensional array of at least one number in (0, 1]")
        object.__setattr__(self, "betas", _read_only(betas))

    @property
    def num_steps(self) -> int:
        """T, the number of steps."""
        return len(self.betas)

    @functools.cached_property
    def alphas(self) -> np.ndarray:
        """alpha_t = 1 - beta_t, the share of the signal's variance that step t keeps; (T,) in [0, 1)."""
        return _read_only(1.0 - self.betas)

    @functools.cached_property
    def alpha_bars(self) -> np.ndarray:
        """alpha_bar_t = alpha_1 ... alpha_t, the share kept since the clean image (Eq. 4); (T,), decreasing."""
        return _read_only(np.cumprod(self.alphas))

    @functools.cached_property
    def alpha_bars_prev(self) -> np.ndarray:
        """alpha_bar_{t-1}, with 1 before the first step; (T,)."""
        return _read_only(np.append(1.0, self.alpha_bars[:-1]))

    @functools.cached_property
    def posterior_variances(self) -> np.ndarray:
        """Variance of q(x_{t-1} | x_t, x_0) (Eq. 7); (T,), 0 at index 0 where x_0 itself is x_{t-1}."""
        return _read_only(self.betas * (1.0 - self.alpha_bars_prev) / (1.0 - self.alpha_bars))

    @functools.cached_property
    def snr(self) -> np.ndarray:
        """Signal-to-noise ratio alpha_bar_t / (1 - alpha_bar_t), a ratio of variances; (T,), decreasing."""
        return _read_only(self.alpha_bars / (1.0 - self.alpha_bars))

    def subsequence(self, num_steps: int, spacing: str = "trailing") -> np.ndarray:
        """Choose the steps that a sampler visits, in the order it visits them.

        Args:
            num_steps: how many of them to visit, 1..T.
            spacing: one that `timestep_subsequence` knows, or "log_snr": evenly in the logarithm of the signal-to-noise
                ratio, as Lu et al. (2022) do, from where the noise has 80 times the deviation of the signal (Karras et
                al., 2022, Table 1), or T-1 if it never has, down to index 0. So directions of large variance get as
                many steps as others. Where a step would come twice, its neighbours are taken; a single step is where
                the walk begins.

        Returns:
            (num_steps,) int64 indices, strictly decreasing.

        Raises:
            ValueError: if `num_steps` is not in 1..T or `spacing` is unknown.
        """
        if spacing != "log_snr":
            return timestep_subsequence(self.num_steps, num_steps, spacing)
        _check_count(self.num_steps, num_steps)
        with np.errstate(divide="ignore"):  # a schedule may end without any signal
            log_noise = -np.log(self.snr)
        levels = np.linspace(min(log_noise[-1], 2.0 * np.log(80.0)), log_noise[0], num_steps)[::-1]
        nearest = np.round(np.interp(levels, log_noise, np.arange(self.num_steps))).astype(np.int64)
        # Where the levels are denser than the steps, they would meet: each keeps a distance from its neighbour below,
        # and as many steps above as are still to come.
        number = np.arange(num_steps)
        apart = np.maximum.accumulate(nearest - number) + number
        return np.minimum(apart, self.num_steps - num_steps + number)[::-1]


def _read_only(table):
    table.setflags(write=False)
    return table


def linear_schedule(num_steps: int = 1000, beta_start: float = 1e-4, beta_end: float = 0.02) -> NoiseSchedule:
    """Space the betas evenly from `beta_start` to `beta_end`, both included.

    Ho et al. (2020), section 4. The two ends are meant for T = 1000: with fewer steps and the same ends much of the
    image is left at the end (alpha_bar_T is 4e-5 for T = 1000, but 0.36 for T = 100).

    Raises:
        ValueError: if `num_steps` is less than 1, or a beta is not in (0, 1].
    """
    return NoiseSchedule(np.linspace(beta_start, beta_end, _counted(num_steps)))


def cosine_schedule(num_steps: int = 1000, offset: float = 0.008, max_beta: float = 0.999) -> NoiseSchedule:
    """Let alpha_bar follow a squared cosine; betas are cut at `max_beta`.

    Nichol and Dhariwal (2021), Eq. 17. `offset` keeps the first betas from being too small.

    Raises:
        ValueError: if `num_steps` is less than 1, or a beta is not in (0, 1].
    """
    progress = np.linspace(0.0, 1.0, _counted(num_steps) + 1)
    return _from_signal_curve(np.cos((progress + offset) / (1 + offset) * np.pi / 2) ** 2, max_beta)


def sigmoid_schedule(
    num_steps: int = 1000, start: float = -3.0, end: float = 3.0, tau: float = 1.0, max_beta: float = 0.999
) -> NoiseSchedule:
    """Let alpha_bar follow a falling sigmoid, scaled to run from 1 to 0; betas are cut at `max_beta`.

    Proposed by Jabri et al. (2022); Chen (2023), Algorithm 1, has it with the same `start`, `end` and `tau`.

    Raises:
        ValueError: if `num_steps` is less than 1, or a beta is not in (0, 1].
    """
    arguments = np.linspace(start, end, _counted(num_steps) + 1) / tau
    falling = 1.0 / (1.0 + np.exp(arguments))
    return _from_signal_curve((falling - falling[-1]) / (falling[0] - falling[-1]), max_beta)


def _from_signal_curve(curve, max_beta):
    """Turn alpha_bar at steps 0..T (T + 1 values, up to a common factor) into betas."""
    return NoiseSchedule(np.minimum(1.0 - curve[1:] / curve[:-1], max_beta))


def _counted(num_steps):
    if num_steps < 1:
        raise ValueError(f"num_steps must be at least 1, got {num_steps}")
    return num_steps


def build_schedule(
    kind: str = "linear", num_steps: int = 1000, beta_start: float = 1e-4, beta_end: float = 0.02
) -> NoiseSchedule:
    """Make the schedule that a `DiffusionConfig` names; the two betas matter for "linear" only.

    Raises:
        ValueError: if `kind` is unknown, `num_steps` is less than 1, or a beta is not in (0, 1].
    """
    if kind == "linear":
        return linear_schedule(num_steps, beta_start, beta_end)
    if kind == "cosine":
        return cosine_schedule(num_steps)
    if kind == "sigmoid":
        return sigmoid_schedule(num_steps)
    raise ValueError(f"unknown schedule {kind!r}: choose linear, cosine or sigmoid")


def timestep_subsequence(num_train_steps: int, num_steps: int, spacing: str = "trailing") -> np.ndarray:
    """Choose the steps that a sampler visits, in the order it visits them.

    >>> timestep_subsequence(1000, 4)
    array([999, 749, 499, 249])

    Args:
        num_train_steps: T of the schedule the network was trained with.
        num_steps: how many of them to visit, 1..T.
        spacing: "trailing" starts at T-1, where the image really is noise; "leading" ends at 0; "linspace" does both.
            The names are those of Lin et al. (2023), Table 2.

    Returns:
        (num_steps,) int64 indices, strictly decreasing.

    Raises:
        ValueError: if `num_steps` is not in 1..T or `spacing` is unknown.
    """
    _check_count(num_train_steps, num_steps)
    if spacing == "trailing":
        return np.round(num_train_steps * np.arange(num_steps, 0, -1) / num_steps).astype(np.int64) - 1
    if spacing == "leading":
        return np.arange(num_steps - 1, -1, -1) * (num_train_steps // num_steps)
    if spacing == "linspace":
        return np.round(np.linspace(num_train_steps - 1, 0, num_steps)).astype(np.int64)
    raise ValueError(f"unknown spacing {spacing!r}: choose trailing, leading or linspace; samplers know log_snr, too")


def _check_count(num_train_steps, num_steps):
    if not 1 <= num_steps <= num_train_steps:
        raise ValueError(f"the number of sampling steps must be in 1..{num_train_steps}, got {num_steps}")
