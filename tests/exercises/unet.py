"""Right and wrong answers to the exercises of the chapter on the U-Net."""

import math

import numpy as np

from ddpm_lib.unet import ResBlock


def reached(convolutions, left=1, right=1, pool=(0, 1)):
    """Walk back from one coarse position, keeping the set of fine ones that it depends on."""
    positions = {0}
    for level, n in reversed(list(enumerate(convolutions))):
        for _ in range(n):
            positions = {p + step for p in positions for step in range(-left, right + 1)}
        if level:
            positions = {2 * p + step for p in positions for step in pool}
    return max(positions) - min(positions) + 1


def normalized(h, groups, epsilon, ddof=0, root=math.sqrt, inside=True, member=None, alone=False):
    """Group norm, number by number."""
    channels = h.shape[2]
    size = channels // groups
    member = member or (lambda channel: channel // size)
    result = np.empty(h.shape)
    for i, j, c in np.ndindex(h.shape):
        place = (i, j) if alone else (slice(None), slice(None))
        group = [h[(*place, k)] for k in range(channels) if member(k) == member(c)]
        numbers = np.concatenate([np.atleast_1d(part).ravel() for part in group])
        mean = numbers.sum() / len(numbers)
        variance = ((numbers - mean) ** 2).sum() / (len(numbers) - ddof)
        below = root(variance + epsilon) if inside else root(variance) + epsilon
        result[i, j, c] = (h[i, j, c] - mean) / below
    return result


def hands(t, d, frequency=lambda i, d: 10000 ** (-2 * i / d), order="sc"):
    """The code by rotating hands: powers of a complex number on the circle."""
    numbers = [complex(math.cos(frequency(i, d)), math.sin(frequency(i, d))) ** t for i in range(d // 2)]
    parts = {"s": [z.imag for z in numbers], "c": [z.real for z in numbers]}
    if order == "halves":
        return np.array(parts["s"] + parts["c"])
    return np.array([x for pair in zip(*(parts[letter] for letter in order), strict=True) for x in pair])


def weighted(Q, K, V, scale=1.0, over_keys=True, power=True):
    scores = np.array([[sum(q * k for q, k in zip(a, b, strict=True)) * scale for b in K] for a in Q])
    if not power:
        return scores @ V
    weights = np.exp(scores)
    total = weights.sum(axis=1)[:, None] if over_keys else weights.sum(axis=0)[None, :]
    return (weights / total) @ V


def counted(old, new, d):
    """Build the library's block, and count."""
    block = ResBlock(new)
    block.build((1, 8, 8, old), (1, d))
    return block.count_params()


def interpolated(x):
    """NumPy's interpolation, at places half a place apart; it repeats the ends."""
    return np.interp((np.arange(2 * len(x)) + 0.5) / 2 - 0.5, np.arange(len(x)), x)


RIGHT = {
    "unet-field": reached,
    "unet-group-norm": normalized,
    "unet-time": hands,
    "unet-attention": lambda Q, K, V: weighted(Q, K, V, scale=K.shape[1] ** -0.5),
    "unet-weights": counted,
    "unet-bilinear": interpolated,
}

WRONG = {
    "unet-field": {
        "pools widen the field": lambda n: reached(n, pool=(0,)),
        "2^l pixels, not one": lambda n: 2 ** (len(n) - 1) + 2 * sum(n),
        "one position to each side": lambda n: reached(n, left=0),
        "adds two, not three": lambda n: reached(n, right=2),
        "itself counts": lambda n: reached(n) - 1,
        "plain stack": lambda n: reached([sum(n)]),
    },
    "unet-group-norm": {
        "every channel by itself": lambda h, groups, epsilon: normalized(h, h.shape[2], epsilon),
        "one group": lambda h, groups, epsilon: normalized(h, 1, epsilon),
        "not over the channels of one position alone": lambda *case: normalized(*case, alone=True),
        "Neighbouring channels": lambda h, groups, epsilon: normalized(h, groups, epsilon, member=lambda k: k % groups),
        "under the root": lambda *case: normalized(*case, inside=False),
        "the root of the variance": lambda *case: normalized(*case, root=lambda x: x),
        "not by one less": lambda *case: normalized(*case, ddof=1),
    },
    "unet-time": {
        "order of Ho et al.": lambda t, d: hands(t, d, order="halves"),
        "has a 2": lambda t, d: hands(t, d, lambda i, d: 10000 ** (-i / d)),
        "1/10000 exactly": lambda t, d: hands(t, d, lambda i, d: np.geomspace(1, 1e-4, d // 2)[i]),
        "sine comes first": lambda t, d: hands(t, d, order="cs"),
        "exponent is negative": lambda t, d: np.array(
            [f(t * 10000 ** (2 * i / d)) for i in range(d // 2) for f in (math.sin, math.cos)]
        ),
        "without adding 1": lambda t, d: hands(t + 1, d),
    },
    "unet-attention": {
        "not scaled": weighted,
        "not by d": lambda Q, K, V: weighted(Q, K, V, scale=1 / K.shape[1]),
        "not the number of positions": lambda Q, K, V: weighted(Q, K, V, scale=len(K) ** -0.5),
        "goes over the keys": lambda Q, K, V: weighted(Q, K, V, scale=K.shape[1] ** -0.5, over_keys=False),
        "softmax is missing": lambda Q, K, V: weighted(Q, K, V, scale=K.shape[1] ** -0.5, power=False),
        "are swapped": lambda Q, K, V: weighted(K, Q, V, scale=K.shape[1] ** -0.5),
    },
    "unet-weights": {
        "shortcut is missing": lambda old, new, d: counted(old, new, d) - (old != new) * (old + 1) * new,
        "is the input itself": lambda old, new, d: counted(old, new, d) + (old == new) * (old + 1) * new,
        "AdaGN brings them": lambda old, new, d: counted(old, new, d) + 2 * new,
        "two numbers": lambda old, new, d: counted(old, new, d) - (d + 1) * new,
        "biases are missing": lambda old, new, d: counted(old, new, d) - (4 + (old != new)) * new,
        "not the old ones": lambda old, new, d: counted(old, new, d) + 9 * (old - new) * new,
        "first norm has a scale": lambda old, new, d: counted(old, new, d) - 2 * old,
    },
    "unet-bilinear": {
        "repeats each number": lambda x: np.repeat(x, 2),
        "counts three quarters": lambda x: np.array(
            [0.25 * x[k] + 0.75 * x[min(max(k + s, 0), len(x) - 1)] for k in range(len(x)) for s in (-1, 1)]
        ),
        "Half and half": lambda x: np.array(
            [(x[k] + x[min(max(k + s, 0), len(x) - 1)]) / 2 for k in range(len(x)) for s in (-1, 1)]
        ),
        "not 0": lambda x: np.convolve(np.c_[x, 0 * x].ravel(), [0.25, 0.75, 0.75, 0.25])[1:-2],
        "no ring": lambda x: np.array(
            [0.75 * x[k] + 0.25 * x[(k + s) % len(x)] for k in range(len(x)) for s in (-1, 1)]
        ),
        "side of the number before": lambda x: interpolated(x).reshape(-1, 2)[:, ::-1].ravel(),
        "stretches the ends": lambda x: np.interp(
            np.arange(2 * len(x)) * (len(x) - 1) / (2 * len(x) - 1), range(len(x)), x
        ),
    },
}
