"""The exercises of the chapter on half precision."""

from __future__ import annotations

import numpy as np

from ddpm_lib.exercises.checking import Exercise


def _value(bits, w, k, bias=None, one=1, subnormals=True, lowest=1, signed=True):
    """Read a bit pattern; the options are the ways to misread it."""
    bias = 2 ** (w - 1) - 1 if bias is None else bias(w)
    sign = -1 if signed and bits >> (w + k) else 1
    exponent, mantissa = (bits >> k) % 2**w, bits % 2**k / 2**k
    if exponent == 0 and subnormals:
        return sign * 2.0 ** (lowest - bias) * mantissa
    return sign * 2.0 ** (exponent - bias) * (one + mantissa)


def _gap(number, k):
    return 2.0 ** (np.floor(np.log2(number)) - k)


def _tiny(w, k):
    return 2.0 ** (2 - 2 ** (w - 1) - k)


def _scaled_step(weights, scaled, scale, rate, clip, power=1, clip_first=False, skips=True):
    if skips and not np.isfinite(scaled).all():
        return weights
    finite = np.nan_to_num(scaled, nan=0.0, posinf=0.0, neginf=0.0)
    norm = np.sqrt((finite**2).sum()) / (1 if clip_first else scale**power)
    return weights - rate * finite / scale**power * (min(1, clip / norm) if clip else 1)


def _saved(P, A, f, before=20, after=22, kept=0.5):
    return 1 - (after * P + A * (1 - f) + f * A * kept) / (before * P + A)


_WEIGHTS, _GRADIENT = np.array([0.5, -1.0, 2.0]), np.array([0.3, -0.2, 0.6])
_OVERFLOW = np.array([3.0, np.inf, -1.0])

EXERCISES: dict[str, Exercise] = {
    "half-value": Exercise(
        right=_value,
        cases=tuple(
            (bits, w, k)
            for w, k, all_bits in [(5, 10, (0x3C00, 0xC0FF, 0x7BFF, 0x0001, 0x83FF)), (8, 7, (0x3F80, 0xC47A, 0x0041))]
            for bits in all_bits
        ),
        mistakes=(
            (
                lambda *case: _value(*case, subnormals=False),
                "With exponent 0 the free 1 is missing: read it as subnormal",
            ),
            (
                lambda *case: _value(*case, lowest=0),
                "Subnormal numbers keep the power of exponent 1: they are half of what they should be",
            ),
            (lambda *case: _value(*case, one=0), "The 1 in front of the mantissa is not stored, but it counts"),
            (lambda *case: _value(*case, bias=lambda w: 2 ** (w - 1)), "The bias is one less: 2^(w - 1) - 1"),
            (lambda *case: _value(*case, signed=False), "The sign is missing: it is the first bit"),
        ),
    ),
    "half-rounding": Exercise(
        right=lambda number, k: np.round(number / _gap(number, k)) * _gap(number, k),
        cases=((999.0, 7), (0.1, 10), (257.0, 7), (259.0, 7), (3.99, 7), (1e-6, 7), (2049.0, 10), (2051.0, 10)),
        mistakes=(
            (
                lambda number, k: np.floor(number / _gap(number, k)) * _gap(number, k),
                "This cuts off. The nearest is asked for",
            ),
            (
                lambda number, k: np.floor(number / _gap(number, k) + 0.5) * _gap(number, k),
                "Ties go to the even mantissa, not always up",
            ),
            (
                lambda number, k: np.round(number / _gap(number, k - 1)) * _gap(number, k - 1),
                "One bit too few: the 1 in front is not among the k bits",
            ),
            (
                lambda number, k: np.round(number * 2.0**k) / 2.0**k,
                "The gap is 2^-k only between 1 and 2. It grows with the number",
            ),
            (
                lambda number, k: np.round(number, k),
                "This keeps k decimals. Bits of the mantissa are meant",
            ),
        ),
    ),
    "half-moment-floor": Exercise(
        right=lambda rho, w, k: np.sqrt(_tiny(w, k) / 2 / (1 - rho)),
        cases=((0.999, 5, 10), (0.99, 5, 10), (0.999, 4, 3)),
        mistakes=(
            (
                lambda rho, w, k: np.sqrt(_tiny(w, k) / (1 - rho)),
                "What is larger than half the smallest number is rounded up to it",
            ),
            (
                lambda rho, w, k: np.sqrt(2.0 ** (2 - 2 ** (w - 1)) / 2 / (1 - rho)),
                "This stops at the smallest normal number. Subnormal ones are smaller",
            ),
            (lambda rho, w, k: _tiny(w, k) / 2 / (1 - rho), "The gradient is squared, so a root belongs here"),
            (lambda rho, w, k: np.sqrt(_tiny(w, k) / 2), "Only the share 1 - rho of the square enters the average"),
            (
                lambda rho, w, k: np.sqrt(_tiny(w, k) / 2 / rho),
                "The gradient's share is 1 - rho; rho is what the old average keeps",
            ),
        ),
    ),
    "half-standstill": Exercise(
        right=lambda average, decay, k: _gap(average, k) / 2 / (1 - decay),
        cases=((1.5, 0.9999, 10), (0.1, 0.999, 7), (300.0, 0.99, 7)),
        mistakes=(
            (
                lambda average, decay, k: _gap(average, k) / (1 - decay),
                "A move of more than half a gap is rounded up to a whole one",
            ),
            (
                lambda average, decay, k: 2.0**-k / 2 / (1 - decay),
                "This is the gap at 1. The gap at the average is meant",
            ),
            (
                lambda average, decay, k: average * 2.0**-k / 2 / (1 - decay),
                "The gap does not grow with every number, only with every power of two",
            ),
            (
                lambda average, decay, k: _gap(average, k) / 2 / decay,
                "The weight's share is 1 - decay; the decay is what the average keeps",
            ),
            (
                lambda average, decay, k: _gap(average, k) / 2 * (1 - decay),
                "The move is 1 - decay times the distance, so divide by it",
            ),
            (
                lambda average, decay, k: _gap(average, k) / 2,
                "This is the largest move that is lost. How far away is the weight then?",
            ),
        ),
    ),
    "half-scaled-step": Exercise(
        right=_scaled_step,
        cases=(
            (_WEIGHTS, 1024.0 * _GRADIENT, 1024.0, 0.1, 1.0),
            (_WEIGHTS, 64.0 * 5 * _GRADIENT, 64.0, 0.1, 1.0),
            (_WEIGHTS, _OVERFLOW, 8.0, 0.1, 1.0),
        ),
        mistakes=(
            (
                lambda *case: _scaled_step(*case, power=0),
                "The gradients are still those of the scaled loss: divide by the scale before you clip",
            ),
            (
                lambda *case: _scaled_step(*case, clip_first=True),
                "Divide by the scale first, then look at the norm",
            ),
            (
                lambda *case: _scaled_step(*case, skips=False),
                "One gradient is infinite: then no weight may move, not even those whose gradient is finite",
            ),
            (
                lambda weights, scaled, scale, rate, clip: _scaled_step(weights, scaled, scale, rate, None),
                "The clipping is missing",
            ),
            (
                lambda weights, scaled, scale, rate, clip: (
                    2 * weights - _scaled_step(weights, scaled, scale, rate, clip)
                ),
                "The sign: the gradient is taken away",
            ),
        ),
    ),
    "half-saved": Exercise(
        right=_saved,
        cases=((15e6, 700e6, 0.75), (1e6, 4e9, 0.9), (100e6, 1e8, 1.0)),
        mistakes=(
            (lambda P, A, f: _saved(P, A, f, after=20), "The copy of the weights in halves is missing"),
            (
                lambda P, A, f: _saved(P, A, f, after=10),
                "Weights, average, moments and gradients stay float32, and a copy in halves comes on top",
            ),
            (
                lambda P, A, f: _saved(P, A, f, before=16, after=18),
                "Five float32 numbers a weight: itself, its average, two moments, its gradient",
            ),
            (lambda P, A, f: _saved(P, A, f, kept=0), "Halves take half, not nothing"),
            (lambda P, A, f: _saved(P, A, 1 - f), "f is the share in halves, not the share in float32"),
            (lambda P, A, f: 1 - _saved(P, A, f), "This is the share that is still needed"),
        ),
    ),
}
