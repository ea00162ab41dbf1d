"""The exercises of the chapter on the training loop."""

from __future__ import annotations

import numpy as np

from ddpm_lib.exercises.checking import Exercise


def _adam(theta, m, v, g, n, rate, epsilon, decays=(0.9, 0.999), filled=True, inside=False, sign=-1, rooted=True):
    """Take a step of Adam; the options are the ways to get it wrong."""
    m, v = decays[0] * m + (1 - decays[0]) * g, decays[1] * v + (1 - decays[1]) * g**2
    if filled:
        m, v = m / (1 - decays[0] ** n), v / (1 - decays[1] ** n)
    down = np.sqrt(v + epsilon) if inside else (np.sqrt(v) if rooted else v) + epsilon
    return theta + sign * rate * m / down


def _rate(step, rate, num_steps, count=1):
    return rate * min(1, (step + count) / max(num_steps, 1))


def _clipped(first, second, c, norm=lambda g: np.sqrt(np.sum(g**2)), longer=False):
    g = np.concatenate([first, second])
    return g * (c / norm(g) if longer else min(1, c / norm(g)))


def _average(weights, decay, start=None, warm=lambda n: n / (n + 9), swapped=False, most=min):
    average = weights[0] if start is None else start
    for n, theta in enumerate(weights[1:], start=1):
        share = most(decay, warm(n))
        average = (1 - share) * average + share * theta if swapped else share * average + (1 - share) * theta
    return average


def _square(B, long, b, short):
    return (B * long - b * short) / (B - b)


def _variance(B, long, b, short):
    return (short - long) / (1 / b - 1 / B)


# The faults of the six curves, by the numbers that the chapter gives them.
_FAULTS = {"A": 5, "B": 4, "C": 6, "D": 1, "E": 3, "F": 2}


def _mixed_up(first, second):
    """The right answer, with two curves taken for each other."""
    return lambda letter: (_FAULTS | {first: _FAULTS[second], second: _FAULTS[first]})[letter]


_THETA, _M, _V = np.array([0.5, -1.0, 2.0]), np.array([0.1, -0.2, 0.0]), np.array([0.04, 0.01, 0.0])
_G, _NONE = np.array([0.3, -0.05, 0.7]), np.zeros(3)

EXERCISES: dict[str, Exercise] = {
    "loop-adam": Exercise(
        right=_adam,
        cases=((_THETA, _NONE, _NONE, _G, 1, 0.01, 1e-2), (_THETA, _M, _V, _G, 7, 0.1, 1e-2)),
        mistakes=(
            (lambda *case: _adam(*case, filled=False), "Both averages start at 0 and are too small: correct them"),
            (lambda *case: _adam(*case, inside=True), "epsilon is added to the root, not inside it"),
            (lambda *case: _adam(*case, rooted=False), "The root is missing: v is an average of squares"),
            (lambda *case: _adam(*case, decays=(0.999, 0.9)), "The two decays are swapped: the square has 0.999"),
            (
                lambda theta, m, v, g, n, rate, epsilon: _adam(theta, m, v, g, n + 1, rate, epsilon),
                "n is counted from 1 already",
            ),
            (lambda *case: _adam(*case, sign=1), "The sign: the step goes against the gradient"),
        ),
    ),
    "loop-warmup": Exercise(
        right=_rate,
        cases=((0, 2e-4, 1000), (499, 2e-4, 1000), (999, 1e-3, 1000), (5000, 1e-3, 1000), (0, 1e-3, 0)),
        mistakes=(
            (
                lambda step, rate, num_steps: _rate(step, rate, num_steps, count=0) if num_steps else rate,
                "The first step has the rate 0 and does nothing: count it as 1",
            ),
            (
                lambda step, rate, num_steps: rate * (step + 1) / max(num_steps, 1),
                "The rate must stop rising at its full size",
            ),
            (
                lambda step, rate, num_steps: rate if step + 1 >= num_steps else 0.0,
                "This waits with the rate 0. It should rise evenly",
            ),
            (
                lambda step, rate, num_steps: min(rate, (step + 1) / max(num_steps, 1)),
                "The share of the steps is to be multiplied by the rate",
            ),
            (
                lambda step, rate, num_steps: rate * max(1, (step + 1) / max(num_steps, 1)),
                "The smaller of the two is meant, not the larger",
            ),
        ),
    ),
    "loop-clip": Exercise(
        right=_clipped,
        cases=(
            (np.array([3.0, 0.0]), np.array([4.0, 12.0]), 1.0),
            (np.array([0.1, -0.2]), np.array([0.3]), 1.0),
            (np.array([0.3, -0.4]), np.array([2.0, 0.0]), 1.0),
        ),
        mistakes=(
            (
                lambda first, second, c: np.concatenate([_clipped(first, [], c), _clipped(second, [], c)]),
                "One norm for both layers together: else the direction changes",
            ),
            (
                lambda first, second, c: np.clip(np.concatenate([first, second]), -c, c),
                "This cuts every number for itself, which changes the direction",
            ),
            (lambda *case: _clipped(*case, longer=True), "A gradient that is shorter than c stays as it is"),
            (lambda *case: _clipped(*case, norm=lambda g: np.sum(g**2)), "The root of the norm is missing"),
            (
                lambda *case: _clipped(*case, norm=lambda g: np.sqrt(np.mean(g**2))),
                "The norm is the root of a sum, not of a mean",
            ),
            (
                lambda *case: _clipped(*case, norm=lambda g: np.abs(g).max()),
                "This looks at the largest number alone. The norm is meant",
            ),
        ),
    ),
    "loop-decay": Exercise(
        right=lambda num_steps, left: left ** (1 / num_steps),
        cases=((1000, 0.01), (100, 0.5), (20, 0.3)),
        mistakes=(
            (lambda num_steps, left: left**num_steps, "The power is turned round: the decay to the power n is `left`"),
            (
                lambda num_steps, left: 1 - 1 / num_steps,
                "This decay has the right age, but `left` does not occur in it",
            ),
            (lambda num_steps, left: 1 - left / num_steps, "The shares multiply from step to step, they do not add"),
            (
                lambda num_steps, left: (1 - left) ** (1 / num_steps),
                "This leaves the share 1 - left of the first weights",
            ),
            (lambda num_steps, left: np.log(left) / num_steps, "This is the logarithm of the decay"),
        ),
    ),
    "loop-average": Exercise(
        right=_average,
        cases=(
            (np.array([1.0, 3.0]), 0.9),
            (np.array([1.0, 3.0, -2.0, 4.0]), 0.9999),
            (np.array([2.0, 0.5, 1.5, -1.0, 3.0]), 0.2),
        ),
        mistakes=(
            (
                lambda weights, decay: _average(weights, decay, warm=lambda n: 1),
                "The decay must warm up: this holds on to the first weights",
            ),
            (
                lambda weights, decay: _average(weights, decay, start=0.0),
                "The average starts at the first weights, not at 0",
            ),
            (
                lambda weights, decay: _average(weights, decay, warm=lambda n: (n - 1) / (n + 8)),
                "n is counted from 1: the first decay is 0.1, not 0",
            ),
            (
                lambda weights, decay: _average(weights, decay, swapped=True),
                "The shares are swapped: the decay is what is kept",
            ),
            (lambda weights, decay: _average(weights, decay, most=max), "The smaller of the two decays is meant"),
            (lambda weights, decay: np.mean(weights), "A plain mean does not forget the first weights"),
        ),
    ),
    "loop-noise-scale": Exercise(
        right=lambda *case: _variance(*case) / _square(*case),
        cases=((1024, 3.0, 16, 7.0), (100, 5.0, 10, 9.0), (256, 0.02, 64, 0.05)),
        mistakes=(
            (lambda *case: _square(*case) / _variance(*case), "This is G^2 / S: turn it round"),
            (
                lambda B, long, b, short: _variance(B, long, b, short) / long,
                "The longer batch has noise, too: its square is not G^2",
            ),
            (
                lambda B, long, b, short: (short - long) / _square(B, long, b, short),
                "S is the variance of a single draw: divide by 1/b - 1/B",
            ),
            (
                lambda B, long, b, short: _variance(B, long**2, b, short**2) / _square(B, long**2, b, short**2),
                "The lengths are squared already",
            ),
            (
                lambda B, long, b, short: short * b / _square(B, long, b, short),
                "b times the short batch's square still has G^2 in it",
            ),
        ),
    ),
    "loop-six-curves": Exercise(
        right=lambda letter: _FAULTS[letter],
        cases=tuple((letter,) for letter in _FAULTS),
        mistakes=(
            (
                _mixed_up("C", "E"),
                "C and E are mixed up: one is calm at exactly 1 in every quarter, the other jumps first",
            ),
            (
                _mixed_up("D", "F"),
                "D and F are mixed up: smaller pictures make the noise easier to see, missing easy steps do not",
            ),
            (
                _mixed_up("A", "B"),
                "A and B are mixed up: look at the training loss, which the average cannot change",
            ),
            (
                _mixed_up("B", "C"),
                "B and C are mixed up: in one of them the training loss falls as it should",
            ),
            (
                _mixed_up("A", "F"),
                "A and F are mixed up: a quarter that is never drawn has no entry in the books",
            ),
            (
                _mixed_up("A", "E"),
                "A and E are mixed up: waves that come back every epoch are not jumps",
            ),
        ),
    ),
}
