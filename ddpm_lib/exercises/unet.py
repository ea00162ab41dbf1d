"""The exercises of the chapter on the U-Net."""

from __future__ import annotations

import numpy as np

from ddpm_lib.exercises.checking import Exercise


def _field(convolutions, pool=True, scaled=True, step=2, pixel=True):
    """Side of the receptive field; the options are the ways to miscount."""
    levels = len(convolutions)
    side = 2 ** (levels - 1) if pool else 1
    side -= 0 if pixel else 1
    return side + sum(step * n * (2**level if scaled else 1) for level, n in enumerate(convolutions))


def _group_norm(h, groups, epsilon, axes=(0, 2), ddof=0, power=0.5, outside=False, turned=False):
    height, width, channels = h.shape
    shape = (height * width, channels // groups, groups) if turned else (height * width, groups, channels // groups)
    axes = (0, 1) if turned else axes
    sets = h.reshape(shape)
    variance = sets.var(axis=axes, keepdims=True, ddof=ddof)
    scale = np.sqrt(variance) + epsilon if outside else (variance + epsilon) ** power
    return ((sets - sets.mean(axis=axes, keepdims=True)) / scale).reshape(h.shape)


def _time_code(t, d, exponent=None, cosine_first=False, halves=False):
    i = np.arange(d // 2)
    angles = t * 10000.0 ** -(2 * i / d if exponent is None else exponent(i, d))
    pair = [np.cos(angles), np.sin(angles)] if cosine_first else [np.sin(angles), np.cos(angles)]
    return np.concatenate(pair) if halves else np.stack(pair, axis=1).ravel()


def _attend(Q, K, V, divisor=None, axis=1, softmax=True):
    scores = Q @ K.T / (np.sqrt(Q.shape[1]) if divisor is None else divisor(Q))
    weights = np.exp(scores) if softmax else scores
    return weights / weights.sum(axis=axis, keepdims=True) @ V if softmax else weights @ V


def _weights(old, new, d, second_norm=0, biases=1, time=2, always=False, never=False, first_norm=2, second_input=None):
    convolutions = 9 * old * new + 9 * (second_input or new) * new + 2 * new * biases
    shortcut = old * new + new * biases
    shortcut *= always or (old != new and not never)
    return first_norm * old + second_norm * new + convolutions + (d + biases) * time * new + shortcut


def _double(x, near=0.75, ends="same", swapped=False):
    padded = {
        "same": lambda: np.r_[x[0], x, x[-1]],
        "zeros": lambda: np.r_[0, x, 0],
        "ring": lambda: np.r_[x[-1], x, x[0]],
    }[ends]()
    pair = [near * x + (1 - near) * padded[:-2], near * x + (1 - near) * padded[2:]]
    return np.stack(pair[::-1] if swapped else pair, axis=1).ravel()


_RNG = np.random.default_rng(0)
_FEATURES = _RNG.normal(1.0, 2.0, (3, 2, 8))
_Q, _K, _V = (_RNG.standard_normal(shape) for shape in ((5, 4), (5, 4), (5, 3)))

EXERCISES: dict[str, Exercise] = {
    "unet-field": Exercise(
        right=_field,
        cases=(([2],), ([1, 3],), ([5, 4, 4, 4],)),
        mistakes=(
            (lambda n: _field(n, pool=False), "The pools widen the field, too: one coarse position is several pixels"),
            (lambda n: _field(n, scaled=False), "On level l a step to the side is 2^l pixels, not one"),
            (lambda n: _field(n, step=1), "A convolution sees one position to each side: it adds two"),
            (lambda n: _field(n, step=3), "A window of 3 adds two, not three: its middle was there already"),
            (lambda n: _field(n, pixel=False), "The position itself counts, too"),
            (lambda n: 1 + 2 * sum(n), "This is a plain stack. Below a pool each step is twice as wide"),
        ),
    ),
    "unet-group-norm": Exercise(
        right=_group_norm,
        cases=((_FEATURES, 2, 1e-5), (_FEATURES, 4, 0.1), (_FEATURES, 1, 0.5)),
        mistakes=(
            (
                lambda h, groups, epsilon: _group_norm(h, h.shape[2], epsilon),
                "This normalizes every channel by itself. The channels of a group share a mean and a variance",
            ),
            (
                lambda h, groups, epsilon: _group_norm(h, 1, epsilon),
                "This takes all channels as one group",
            ),
            (
                lambda h, groups, epsilon: _group_norm(h, groups, epsilon, axes=(2,)),
                "The mean goes over all positions as well, not over the channels of one position alone",
            ),
            (
                lambda h, groups, epsilon: _group_norm(h, groups, epsilon, turned=True),
                "Neighbouring channels form a group: reshape to (positions, groups, channels of a group)",
            ),
            (
                lambda h, groups, epsilon: _group_norm(h, groups, epsilon, outside=True),
                "Epsilon is added to the variance, under the root",
            ),
            (
                lambda h, groups, epsilon: _group_norm(h, groups, epsilon, power=1),
                "Divide by the root of the variance",
            ),
            (
                lambda h, groups, epsilon: _group_norm(h, groups, epsilon, ddof=1),
                "The variance is the plain mean of squares: divide by the count, not by one less",
            ),
        ),
    ),
    "unet-time": Exercise(
        right=_time_code,
        cases=((0, 8), (7, 8), (999, 32)),
        mistakes=(
            (
                lambda t, d: _time_code(t, d, halves=True),
                "Sine and cosine take turns here. All sines first is the order of Ho et al.",
            ),
            (
                lambda t, d: _time_code(t, d, exponent=lambda i, d: i / d),
                "The exponent has a 2: it runs from 0 to nearly 1 over the d/2 frequencies",
            ),
            (
                lambda t, d: _time_code(t, d, exponent=lambda i, d: i / (d / 2 - 1)),
                "These are the frequencies of Ho et al., which end at 1/10000 exactly",
            ),
            (lambda t, d: _time_code(t, d, cosine_first=True), "The sine comes first"),
            (
                lambda t, d: _time_code(t, d, exponent=lambda i, d: -2 * i / d),
                "The frequencies fall: the exponent is negative",
            ),
            (
                lambda t, d: _time_code(t + 1, d),
                "The code takes t as it is handed over, without adding 1",
            ),
        ),
    ),
    "unet-attention": Exercise(
        right=_attend,
        cases=((_Q, _K, _V), (3 * _K, _Q, _V)),
        mistakes=(
            (lambda Q, K, V: _attend(Q, K, V, divisor=lambda Q: 1), "The scores are not scaled by the root of d"),
            (
                lambda Q, K, V: _attend(Q, K, V, divisor=lambda Q: Q.shape[1]),
                "Divide by the root of d, not by d",
            ),
            (
                lambda Q, K, V: _attend(Q, K, V, divisor=lambda Q: np.sqrt(len(Q))),
                "d is the width of a query, not the number of positions",
            ),
            (
                lambda Q, K, V: _attend(Q, K, V, axis=0),
                "The weights of one query sum to 1: the softmax goes over the keys",
            ),
            (lambda Q, K, V: _attend(Q, K, V, softmax=False), "The softmax is missing"),
            (lambda Q, K, V: _attend(K, Q, V), "Queries and keys are swapped: row i of the scores belongs to query i"),
        ),
    ),
    "unet-weights": Exercise(
        right=_weights,
        cases=((32, 32, 256), (64, 32, 256), (128, 256, 1024)),
        mistakes=(
            (lambda old, new, d: _weights(old, new, d, never=True), "The shortcut is missing, where the width changes"),
            (
                lambda old, new, d: _weights(old, new, d, always=True),
                "Where the width does not change, the shortcut is the input itself",
            ),
            (
                lambda old, new, d: _weights(old, new, d, second_norm=2),
                "The second norm has no scale and shift of its own: AdaGN brings them",
            ),
            (
                lambda old, new, d: _weights(old, new, d, time=1),
                "The time gives a scale and a shift for every channel: two numbers",
            ),
            (lambda old, new, d: _weights(old, new, d, biases=0), "The biases are missing"),
            (
                lambda old, new, d: _weights(old, new, d, second_input=old),
                "The second convolution gets the new channels, not the old ones",
            ),
            (lambda old, new, d: _weights(old, new, d, first_norm=0), "The first norm has a scale and a shift, too"),
        ),
    ),
    "unet-bilinear": Exercise(
        right=_double,
        cases=((np.array([1.0, 4.0, 2.0, -3.0]),), (np.array([2.0, 0.5]),)),
        mistakes=(
            (lambda x: _double(x, near=1.0), "This repeats each number. The neighbours count a quarter"),
            (lambda x: _double(x, near=0.25), "The nearer number counts three quarters"),
            (lambda x: _double(x, near=0.5), "Half and half is the middle. The new places are a quarter off the old"),
            (lambda x: _double(x, ends="zeros"), "At the ends the missing neighbour is the number itself, not 0"),
            (lambda x: _double(x, ends="ring"), "The list is no ring: at the ends the neighbour is the number itself"),
            (lambda x: _double(x, swapped=True), "First comes the one on the side of the number before"),
            (
                lambda x: np.interp(np.linspace(0, len(x) - 1, 2 * len(x)), np.arange(len(x)), x),
                "This stretches the ends onto the ends. The new numbers are half a place apart",
            ),
        ),
    ),
}
