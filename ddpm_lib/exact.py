"""Data for which the best denoiser is known exactly, and so is every q(x_t): mixtures of normal distributions.

One component is one Gaussian; components of width 0 are a finite set of pictures. All numbers are float64 NumPy.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import numpy as np
from scipy.spatial.distance import cdist

from ddpm_lib.config import InputError
from ddpm_lib.schedules import NoiseSchedule

_GRID = np.linspace(-5.0, 5.0, 501)


@dataclasses.dataclass(frozen=True, eq=False)
class GaussianMixture:
    """Normal distributions of one width, sum_k w_k N(m_k, s^2 I).

    Args:
        means: (K, D) centres m_k; pictures are flattened.
        weights: (K,) w_k, positive; they are scaled to sum to 1.
        deviation: the width s, 0 or more.

    Raises:
        InputError: if a shape does not fit or a number is not positive.
    """

    means: np.ndarray
    weights: np.ndarray
    deviation: float

    def __post_init__(self):
        means, weights = np.asarray(self.means, np.float64), np.asarray(self.weights, np.float64)
        if means.ndim != 2 or weights.shape != means.shape[:1]:
            raise InputError(f"a mixture needs (K, D) means and (K,) weights: {means.shape}, {weights.shape}")
        if not (weights > 0).all() or not self.deviation >= 0:
            raise InputError("a mixture needs positive weights and a deviation of 0 or more")
        object.__setattr__(self, "means", means)
        object.__setattr__(self, "weights", weights / weights.sum())

    def variance(self, alpha_bar: float) -> float:
        """Variance of one component of q(x_t): ab s^2 + 1 - ab."""
        return alpha_bar * self.deviation**2 + 1.0 - alpha_bar

    def density(self, x_t: np.ndarray, alpha_bar: float = 1.0) -> np.ndarray:
        """Density of q(x_t) = sum_k w_k N(sqrt(ab) m_k, (ab s^2 + 1 - ab) I) at (N, D) points; (N,)."""
        norm = (2.0 * np.pi * self.variance(alpha_bar)) ** (-x_t.shape[1] / 2)
        return norm * np.exp(self._log_terms(x_t, alpha_bar)).sum(axis=1)

    def expected_x_0(self, x_t: np.ndarray, alpha_bar: float) -> np.ndarray:
        """The best denoiser E[x_0 | x_t]: each component's own answer, weighted by its posterior probability.

        Component k alone is normal, and answers m_k + sqrt(ab) s^2 / (ab s^2 + 1 - ab) (x_t - sqrt(ab) m_k).

        Args:
            x_t: (N, D) points.
            alpha_bar: ab, in (0, 1], or below 1 where the width is 0.

        Returns:
            (N, D) float64.
        """
        logs = self._log_terms(x_t, alpha_bar)
        shares = np.exp(logs - logs.max(axis=1, keepdims=True))
        shares /= shares.sum(axis=1, keepdims=True)
        root = np.sqrt(alpha_bar)
        pull = root * self.deviation**2 / self.variance(alpha_bar)
        return shares @ self.means * (1.0 - pull * root) + pull * x_t

    def expected_noise(self, x_t: np.ndarray, alpha_bar: float) -> np.ndarray:
        """What a perfect network predicts: (x_t - sqrt(ab) E[x_0 | x_t]) / sqrt(1 - ab); (N, D), ab below 1."""
        return (x_t - np.sqrt(alpha_bar) * self.expected_x_0(x_t, alpha_bar)) / np.sqrt(1.0 - alpha_bar)

    def predict_noise(self, schedule: NoiseSchedule) -> Callable:
        """Return `predict_noise(x_t, t)` for `ddpm_lib.sampling`: a network that has learned all there is to learn.

        The function takes x_t (B, ...), of D numbers an image, and t (B,) int; it returns float32 in the shape of x_t.
        """

        def predict(x_t, t):
            x_t, t = np.asarray(x_t), np.asarray(t)
            points, noise = x_t.reshape(len(x_t), -1).astype(np.float64), np.empty((len(x_t), self.means.shape[1]))
            for step in np.unique(t):
                noise[t == step] = self.expected_noise(points[t == step], schedule.alpha_bars[step])
            return noise.reshape(x_t.shape).astype(np.float32)

        return predict

    def sample(self, num_points: int, generator: np.random.Generator) -> np.ndarray:
        """Draw (num_points, D) points of the data itself."""
        which = generator.choice(len(self.weights), num_points, p=self.weights)
        return self.means[which] + self.deviation * generator.standard_normal((num_points, self.means.shape[1]))

    def distance(self, points: np.ndarray, alpha_bar: float = 1.0) -> float:
        """Wasserstein-1 distance between (N, D) points and q(x_t): how far mass must move, on average.

        In one dimension it is the area between the two cumulative distributions, summed here on 501 points of [-5, 5]
        with the trapezoid rule inside. In two dimensions it is the mean of that over 8 directions, evenly spread over
        the half circle ("sliced"). For data within [-5, 5].
        """
        areas = []
        for direction in _directions(points.shape[1]):
            found = np.searchsorted(np.sort(points @ direction), _GRID, side="right") / len(points)
            areas.append(0.02 * np.abs(found - self._cumulative(direction, alpha_bar)).sum())
        return float(np.mean(areas))

    def expected_distance(self, num_points: int, alpha_bar: float = 1.0) -> float:
        """What `distance` finds on average for an exact sample of q(x_t), which is not 0.

        The share of N points below x is binomial; its mean deviation from F(x) is sqrt(2 F (1 - F) / (pi N)) for
        large N.
        """
        areas = []
        for direction in _directions(self.means.shape[1]):
            below = self._cumulative(direction, alpha_bar)
            deviation = np.sqrt(2.0 * np.maximum(below * (1.0 - below), 0.0) / (np.pi * num_points))
            areas.append(0.02 * deviation.sum())
        return float(np.mean(areas))

    def _cumulative(self, direction, alpha_bar):
        """Cumulative distribution of q(x_t) along a unit vector, at the grid."""
        line = GaussianMixture((self.means @ direction)[:, None], self.weights, self.deviation)
        density = line.density(_GRID[:, None], alpha_bar)
        return np.append(0.0, np.cumsum((density[1:] + density[:-1]) / 2.0)) * 0.02

    def _log_terms(self, x_t, alpha_bar):
        squares = cdist(x_t, np.sqrt(alpha_bar) * self.means, "sqeuclidean")
        return np.log(self.weights) - squares / (2.0 * self.variance(alpha_bar))


def _directions(dimensions):
    if dimensions == 1:
        return np.ones((1, 1))
    angles = np.pi * np.arange(8) / 8
    return np.stack([np.cos(angles), np.sin(angles)], axis=1)
