"""Right and wrong answers to the exercises of the chapter on the training loop."""

import itertools
import math

import numpy as np


def adam(theta, m, v, g, n, rate, epsilon, first=0.9, second=0.999, correct=True, place="outside", up=False):
    """One weight after the other, with plain numbers."""
    moved = []
    for weight, mean, square, gradient in zip(theta, m, v, g, strict=True):
        mean = mean + (1 - first) * (gradient - mean)
        square = square + (1 - second) * (gradient * gradient - square)
        if correct:
            mean, square = mean / (1 - math.pow(first, n)), square / (1 - math.pow(second, n))
        below = {
            "outside": math.sqrt(square) + epsilon,
            "inside": math.sqrt(square + epsilon),
            "no root": square + epsilon,
        }[place]
        moved.append(weight + (rate if up else -rate) * mean / below)
    return moved


def warmup(step, rate, num_steps):
    return rate if step >= num_steps else rate * (step + 1) / num_steps


def clip(first, second, c):
    together = [*first, *second]
    length = math.hypot(*together)
    return [x if length <= c else x * c / length for x in together]


def in_proportion(first, second, c, length):
    together = [*first, *second]
    return [x * min(1, c / length(together)) for x in together]


def average(weights, decays, start=None):
    """Multiply out what every weight counts for in the end."""
    counts = [math.prod(decays), *((1 - d) * math.prod(decays[k + 1 :]) for k, d in enumerate(decays))]
    values = [weights[0] if start is None else start, *weights[1:]]
    return sum(count * value for count, value in zip(counts, values, strict=True))


def decays(weights, decay, shift=0):
    """1/10, 2/11, 3/12, ... up to the decay."""
    return [min(decay, (n - shift) / (n + 9 - shift)) for n in range(1, len(weights))]


def solve(B, long, b, short):
    """G^2 and S from two linear equations."""
    return np.linalg.solve([[1, 1 / B], [1, 1 / b]], [long, short])


# Names of the faults, in the chapter's order, and what the benchmark did to each run.
ORDER = ["range", "last quarter", "rate", "average", "no shuffle", "other noise"]
TRUTH = {
    "A": "no shuffle",
    "B": "average",
    "C": "other noise",
    "D": "range",
    "E": "rate",
    "F": "last quarter",
}


def number(letter, swapped=()):
    letter = dict([swapped, swapped[::-1]]).get(letter, letter) if swapped else letter
    return 1 + ORDER.index(TRUTH[letter])


def mixed_up(first, second):
    return lambda letter: number(letter, (first, second))


RIGHT = {
    "loop-adam": adam,
    "loop-warmup": warmup,
    "loop-clip": clip,
    "loop-decay": lambda num_steps, left: math.exp(math.log(left) / num_steps),
    "loop-average": lambda weights, decay: average(weights, decays(weights, decay)),
    "loop-noise-scale": lambda *case: solve(*case)[1] / solve(*case)[0],
    "loop-six-curves": number,
}

WRONG = {
    "loop-adam": {
        "start at 0 and are too small": lambda *case: adam(*case, correct=False),
        "not inside it": lambda *case: adam(*case, place="inside"),
        "average of squares": lambda *case: adam(*case, place="no root"),
        "decays are swapped": lambda *case: adam(*case, first=0.999, second=0.9),
        "counted from 1 already": lambda theta, m, v, g, n, *rest: adam(theta, m, v, g, n + 1, *rest),
        "against the gradient": lambda *case: adam(*case, up=True),
    },
    "loop-warmup": {
        "does nothing": lambda step, rate, num_steps: rate if step >= num_steps else rate * step / num_steps,
        "stop rising": lambda step, rate, num_steps: rate * (step + 1) / (num_steps or 1),
        "waits with the rate 0": lambda step, rate, num_steps: rate * (step > num_steps - 2),
        "multiplied by the rate": lambda step, rate, num_steps: min((step + 1) / (num_steps or 1), rate),
        "not the larger": lambda step, rate, num_steps: max(rate, rate * (step + 1) / (num_steps or 1)),
    },
    "loop-clip": {
        "both layers together": lambda first, second, c: clip(first, [], c) + clip(second, [], c),
        "cuts every number": lambda first, second, c: [max(-c, min(c, x)) for x in itertools.chain(first, second)],
        "shorter than c stays": lambda first, second, c: np.append(first, second) * c / math.hypot(*first, *second),
        "root of the norm": lambda *case: in_proportion(*case, lambda g: math.hypot(*g) ** 2),
        "not of a mean": lambda *case: in_proportion(*case, lambda g: math.hypot(*g) / math.sqrt(len(g))),
        "largest number alone": lambda *case: in_proportion(*case, lambda g: max(map(abs, g))),
    },
    "loop-decay": {
        "turned round": lambda num_steps, left: math.pow(left, num_steps),
        "right age": lambda num_steps, left: (num_steps - 1) / num_steps,
        "they do not add": lambda num_steps, left: 1 - left / num_steps,
        "the share 1 - left": lambda num_steps, left: math.exp(math.log(1 - left) / num_steps),
        "logarithm of the decay": lambda num_steps, left: math.log(left) / num_steps,
    },
    "loop-average": {
        "must warm up": lambda weights, decay: average(weights, [decay] * (len(weights) - 1)),
        "not at 0": lambda weights, decay: average(weights, decays(weights, decay), start=0),
        "is 0.1, not 0": lambda weights, decay: average(weights, decays(weights, decay, shift=1)),
        "shares are swapped": lambda weights, decay: average(weights, [1 - d for d in decays(weights, decay)]),
        "smaller of the two": lambda weights, decay: average(
            weights, [max(decay, n / (n + 9)) for n in range(1, len(weights))]
        ),
        "plain mean": lambda weights, decay: sum(weights) / len(weights),
    },
    "loop-noise-scale": {
        "turn it round": lambda *case: solve(*case)[0] / solve(*case)[1],
        "has noise, too": lambda B, long, b, short: solve(B, long, b, short)[1] / long,
        "variance of a single draw": lambda B, long, b, short: (short - long) / solve(B, long, b, short)[0],
        "squared already": lambda B, long, b, short: (
            solve(B, long * long, b, short * short)[1] / solve(B, long * long, b, short * short)[0]
        ),
        "still has G^2": lambda B, long, b, short: b * short / solve(B, long, b, short)[0],
    },
    "loop-six-curves": {
        "one is calm at exactly 1": mixed_up("C", "E"),
        "missing easy steps do not": mixed_up("D", "F"),
        "which the average cannot change": mixed_up("A", "B"),
        "falls as it should": mixed_up("B", "C"),
        "never drawn has no entry": mixed_up("A", "F"),
        "come back every epoch": mixed_up("A", "E"),
    },
}
