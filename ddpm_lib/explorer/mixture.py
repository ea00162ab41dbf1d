"""A mixture of normal distributions: data for which the best denoiser is known exactly, and so is every q(x_t).

This is what the reverse explorer samples from, in float64 NumPy. Points are (N, D).
"""

from __future__ import annotations

import dataclasses

import numpy as np

from ddpm_lib.config import InputError

_GRID = np.linspace(-5.0, 5.0, 501)


@dataclasses.dataclass(frozen=True, eq=False)
class Mixture:
    """Normal distributions of one width, sum_k w_k N(m_k, s^2 I).

    Args:
        means: (K, D) centres m_k, D = 1 or 2.
        weights: (K,) w_k, positive; they are scaled to sum to 1.
        deviation: the width s, above 0.

    Raises:
        InputError: if a shape does not fit or a number is not positive.
    """

    means: np.ndarray
    weights: np.ndarray
    deviation: float

    def __post_init__(self):
        means, weights = np.asarray(self.means, np.float64), np.asarray(self.weights, np.float64)
        if means.ndim != 2 or means.shape[1] not in (1, 2) or weights.shape != means.shape[:1]:
            raise InputError(f"a mixture needs (K, 1) or (K, 2) means and (K,) weights: {means.shape}, {weights.shape}")
        if not (weights > 0).all() or not self.deviation > 0:
            raise InputError("the weights and the deviation of a mixture must be positive")
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
            alpha_bar: ab, in (0, 1].

        Returns:
            (N, D) float64.
        """
        logs = self._log_terms(x_t, alpha_bar)
        shares = np.exp(logs - logs.max(axis=1, keepdims=True))
        shares /= shares.sum(axis=1, keepdims=True)
        root = np.sqrt(alpha_bar)
        pull = root * self.deviation**2 / self.variance(alpha_bar)
        answers = self.means + pull * (x_t[:, None] - root * self.means)
        return (shares[..., None] * answers).sum(axis=1)

    def expected_noise(self, x_t: np.ndarray, alpha_bar: float) -> np.ndarray:
        """What a perfect network predicts: (x_t - sqrt(ab) E[x_0 | x_t]) / sqrt(1 - ab); (N, D), ab below 1."""
        return (x_t - np.sqrt(alpha_bar) * self.expected_x_0(x_t, alpha_bar)) / np.sqrt(1.0 - alpha_bar)

    def sample(self, num_points: int, generator: np.random.Generator) -> np.ndarray:
        """Draw (num_points, D) points of the data itself."""
        which = generator.choice(len(self.weights), num_points, p=self.weights)
        return self.means[which] + self.deviation * generator.standard_normal((num_points, self.means.shape[1]))

    def distance(self, points: np.ndarray, alpha_bar: float = 1.0) -> float:
        """Wasserstein-1 distance between (N, D) points and q(x_t): how far mass must move, on average.

        In one dimension it is the area between the two cumulative distributions, summed here on 501 points of [-5, 5]
        with the trapezoid rule inside. In two dimensions it is the mean of that over 8 directions, evenly spread over
        the half circle ("sliced").
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
        line = Mixture((self.means @ direction)[:, None], self.weights, self.deviation)
        density = line.density(_GRID[:, None], alpha_bar)
        return np.append(0.0, np.cumsum((density[1:] + density[:-1]) / 2.0)) * 0.02

    def _log_terms(self, x_t, alpha_bar):
        squares = np.square(x_t[:, None] - np.sqrt(alpha_bar) * self.means).sum(axis=2)
        return np.log(self.weights) - squares / (2.0 * self.variance(alpha_bar))


def _directions(dimensions):
    if dimensions == 1:
        return np.ones((1, 1))
    angles = np.pi * np.arange(8) / 8
    return np.stack([np.cos(angles), np.sin(angles)], axis=1)


def reverse_step(x_t, x_0, alpha_bar, alpha_bar_next, sampler="ddpm", variance="beta", eta=0.0):
    """Mean and standard deviation of x_next, one step of `ddpm_lib.sampling` without clipping.

    Args:
        x_t: (N, D) points at alpha_bar.
        x_0: (N, D) clean points as predicted from them.
        alpha_bar: in (0, 1).
        alpha_bar_next: of the step that is reached, above `alpha_bar`; 1 for the clean data, which gets no noise.
        sampler: ddpm (Ho et al., 2020, Eq. 7) or ddim (Song et al., 2021, Eq. 12 and 16).
        variance: of ddpm's noise: beta or posterior.
        eta: of ddim's, 0..1.

    Returns:
        The (N, D) mean, and a number.
    """
    beta = 1.0 - alpha_bar / alpha_bar_next
    posterior = beta * (1.0 - alpha_bar_next) / (1.0 - alpha_bar)
    if sampler == "ddpm":
        weight_x_0 = np.sqrt(alpha_bar_next) * beta / (1.0 - alpha_bar)
        weight_x_t = np.sqrt(1.0 - beta) * (1.0 - alpha_bar_next) / (1.0 - alpha_bar)
        sigma = 0.0 if alpha_bar_next == 1.0 else np.sqrt(beta if variance == "beta" else posterior)
        return weight_x_0 * x_0 + weight_x_t * x_t, sigma
    noise = (x_t - np.sqrt(alpha_bar) * x_0) / np.sqrt(1.0 - alpha_bar)
    sigma = eta * np.sqrt(posterior)
    return np.sqrt(alpha_bar_next) * x_0 + np.sqrt(max(1.0 - alpha_bar_next - sigma**2, 0.0)) * noise, sigma


def _moons():
    angles = np.pi * np.arange(12) / 11
    upper = np.stack([np.cos(angles), np.sin(angles)], axis=1)
    lower = np.stack([1.0 - np.cos(angles), 0.5 - np.sin(angles)], axis=1)
    return 1.25 * (np.concatenate([upper, lower]) - (0.5, 0.25))


def _ring():
    angles = np.pi * np.arange(8) / 4
    return 1.4 * np.stack([np.cos(angles), np.sin(angles)], axis=1)


# Rounded, so that the page's text is the same on every machine.
TARGETS = {
    "peaks": Mixture([[-1.2], [0.1], [1.0]], [0.35, 0.25, 0.4], 0.15),
    "ring": Mixture(np.round(_ring(), 4), np.ones(8), 0.12),
    "moons": Mixture(np.round(_moons(), 4), np.ones(24), 0.1),
}
