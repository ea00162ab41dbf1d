"""Random variables that are known as combinations of independent sources, and the worlds that give names a meaning."""

from __future__ import annotations

import dataclasses
import math

import numpy as np


class Linear:
    """A random variable: a mean plus a linear combination of independent standard normal sources, with one draw."""

    __array_priority__ = 1

    def __init__(self, mean, weights, draw):
        self.mean, self.weights, self.draw = mean, np.asarray(weights), draw

    @property
    def value(self):
        """The value in this draw."""
        return self.mean + (self.weights * self.draw).sum()

    def __add__(self, other):
        other = other if isinstance(other, Linear) else Linear(other, 0 * self.weights, self.draw)
        return Linear(self.mean + other.mean, self.weights + other.weights, self.draw)

    def __mul__(self, factor):
        return Linear(self.mean * factor, self.weights * factor, self.draw)

    __radd__, __rmul__ = __add__, __mul__

    def __neg__(self):
        return self * -1

    def __sub__(self, other):
        return self + -1 * other

    def __rsub__(self, other):
        return -self + other

    def __truediv__(self, number):
        return self * (1 / number)


def covariance(first: Linear, second: Linear):
    """The covariance of two random variables."""
    return (first.weights * second.weights).sum()


def gaussian_density(values, means, covariances):
    """The density of a multivariate Gaussian, from its definition."""
    values, means, covariances = np.atleast_1d(values), np.atleast_1d(means), np.atleast_2d(covariances)
    distance = values - means
    exponent = -0.5 * distance @ np.linalg.solve(covariances, distance)
    return math.exp(exponent) / math.sqrt((2 * math.pi) ** len(values) * np.linalg.det(covariances))


def condition(targets: list[Linear], given: list[Linear]) -> tuple[np.ndarray, np.ndarray]:
    """The means and covariances of `targets`, given the drawn values of `given`, from their joint Gaussian."""
    joint = np.array([[covariance(a, b) for b in targets + given] for a in targets + given], dtype=float)
    cut = len(targets)
    gain = joint[:cut, cut:] @ np.linalg.inv(joint[cut:, cut:]) if given else np.zeros((cut, 0))
    surprise = np.array([variable.value - variable.mean for variable in given])
    means = np.array([variable.mean for variable in targets]) + gain @ surprise
    return means, joint[:cut, :cut] - gain @ joint[cut:, :cut]


def conditional_density(targets: list[Linear], given: list[Linear]) -> float:
    """The density of `targets` at their drawn values, given those of `given`."""
    return gaussian_density([variable.value for variable in targets], *condition(targets, given))


@dataclasses.dataclass
class World:
    """What the names of an equation mean.

    Args:
        names: numbers, tables (called with subscripts), functions (called with arguments), by their LaTeX.
        random: the names that are random variables inside Var, Cov, a law or a density q; also tables.
        quadrature: the names that an expectation E runs over, each with nodes and weights.
        density: what q(targets | given) means; by default conditioning of jointly Gaussian variables.
        symbolic: whether the numbers are SymPy expressions.
    """

    names: dict
    random: dict = dataclasses.field(default_factory=dict)
    quadrature: dict = dataclasses.field(default_factory=dict)
    density: object = conditional_density
    symbolic: bool = False
