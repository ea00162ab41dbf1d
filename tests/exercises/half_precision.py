"""Right and wrong answers to the exercises of the chapter on half precision."""

import math
from fractions import Fraction

import ml_dtypes
import numpy as np


def stored(bits, w, k):
    """What the libraries' own types read in a bit pattern."""
    dtype = {(5, 10): np.float16, (8, 7): ml_dtypes.bfloat16}[w, k]
    return float(np.array(bits, np.uint16).view(dtype))


def fields(bits, w, k):
    text = f"{bits:0{1 + w + k}b}"
    return int(text[0]), int(text[1 : 1 + w], 2), Fraction(int(text[1 + w :], 2), 2**k)


def read_normal(bits, w, k, bias_less=1, one=1, sign=True):
    """Read every pattern as if it were normal, except that true subnormal ones are right if `one` and bias are."""
    s, e, m = fields(bits, w, k)
    bias = 2 ** (w - 1) - bias_less
    size = Fraction(2) ** ((e or 1) - bias) * ((one if e else 0) + m)
    return float(-size if s and sign else size)


def gap(number, k):
    """Distance to the next larger number with k bits of mantissa."""
    return math.ldexp(1.0, math.frexp(number)[1] - 1 - k)


def nearest(number, k, ties="even"):
    steps = Fraction(number) / Fraction(gap(number, k))
    low = math.floor(steps)
    if steps - low == Fraction(1, 2):
        up = ties == "up" or low % 2 == 1
    else:
        up = steps - low > Fraction(1, 2)
    return float((low + up) * Fraction(gap(number, k)))


def tiny(w, k):
    return math.ldexp(1.0, 1 - (2 ** (w - 1) - 1) - k)


def step(weights, scaled, scale, rate, clip, first=False, skip=True, sign=-1, divided=True):
    bad = ~np.isfinite(scaled)
    if bad.any() and skip:
        return weights
    gradient = np.where(bad, 0, scaled)
    norm = lambda g: np.linalg.norm(g)  # noqa: E731
    factor = min(1.0, clip / norm(gradient)) if first else None
    gradient = gradient / scale if divided else gradient
    factor = min(1.0, clip / norm(gradient)) if factor is None else factor
    return weights + sign * rate * factor * gradient


def saved(P, A, f, numbers=5, copy=2, half=2, swapped=False):
    """Count bytes: `numbers` float32 numbers a weight, a copy, and A / 4 activations."""
    in_halves = A / 4 * (1 - f if swapped else f)
    before = 4 * numbers * P + A
    return (before - (4 * numbers * P + copy * P + half * in_halves + 4 * (A / 4 - in_halves))) / before


RIGHT = {
    "half-value": stored,
    "half-rounding": nearest,
    "half-moment-floor": lambda rho, w, k: math.sqrt(0.5 * tiny(w, k) / (1 - rho)),
    "half-standstill": lambda average, decay, k: 0.5 * gap(average, k) / (1 - decay),
    "half-scaled-step": step,
    "half-saved": saved,
}

WRONG = {
    "half-value": {
        "free 1 is missing": lambda bits, w, k: float(
            (-1) ** fields(bits, w, k)[0]
            * Fraction(2) ** (fields(bits, w, k)[1] - 2 ** (w - 1) + 1)
            * (1 + fields(bits, w, k)[2])
        ),
        "half of what they should be": lambda bits, w, k: stored(bits, w, k) / (1 if fields(bits, w, k)[1] else 2),
        "is not stored, but it counts": lambda *case: read_normal(*case, one=0),
        "The bias is one less": lambda *case: read_normal(*case, bias_less=0),
        "The sign is missing": lambda *case: abs(stored(*case)),
    },
    "half-rounding": {
        "cuts off": lambda number, k: math.floor(number / gap(number, k)) * gap(number, k),
        "not always up": lambda number, k: nearest(number, k, ties="up"),
        "One bit too few": lambda number, k: nearest(number, k - 1),
        "only between 1 and 2": lambda number, k: round(number * 2**k) / 2**k,
        "keeps k decimals": lambda number, k: round(number, k),
    },
    "half-moment-floor": {
        "rounded up to it": lambda rho, w, k: math.sqrt(tiny(w, k) / (1 - rho)),
        "smallest normal number": lambda rho, w, k: math.sqrt(0.5 * tiny(w, 0) / (1 - rho)),
        "a root belongs here": lambda rho, w, k: 0.5 * tiny(w, k) / (1 - rho),
        "share 1 - rho of the square": lambda rho, w, k: math.sqrt(0.5 * tiny(w, k)),
        "rho is what the old average keeps": lambda rho, w, k: math.sqrt(0.5 * tiny(w, k) / rho),
    },
    "half-standstill": {
        "rounded up to a whole one": lambda average, decay, k: gap(average, k) / (1 - decay),
        "gap at 1": lambda average, decay, k: 0.5 * gap(1.0, k) / (1 - decay),
        "every power of two": lambda average, decay, k: 0.5 * average / 2**k / (1 - decay),
        "the decay is what the average keeps": lambda average, decay, k: 0.5 * gap(average, k) / decay,
        "so divide by it": lambda average, decay, k: 0.5 * gap(average, k) * (1 - decay),
        "largest move that is lost": lambda average, decay, k: 0.5 * gap(average, k),
    },
    "half-scaled-step": {
        "before you clip": lambda *case: step(*case, divided=False),
        "then look at the norm": lambda *case: step(*case, first=True),
        "no weight may move": lambda *case: step(*case, skip=False),
        "clipping is missing": lambda weights, scaled, scale, rate, clip: step(weights, scaled, scale, rate, math.inf),
        "gradient is taken away": lambda *case: step(*case, sign=1),
    },
    "half-saved": {
        "copy of the weights": lambda *case: saved(*case, copy=0),
        "stay float32": lambda *case: saved(*case, copy=-10),
        "Five float32 numbers": lambda *case: saved(*case, numbers=4),
        "half, not nothing": lambda *case: saved(*case, half=0),
        "not the share in float32": lambda *case: saved(*case, swapped=True),
        "still needed": lambda *case: 1 - saved(*case),
    },
}
