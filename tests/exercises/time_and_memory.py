"""Right and wrong answers to the exercises of the chapter on time and memory."""

import math
from fractions import Fraction

import numpy as np


def count_convolution(B, n, k, c, d, s, add=True, square=True, weights=True, result=True):
    """FLOPs per byte, as sums over what there is."""
    products = B * n * d * c * (k * k if square else k)
    numbers = [B * n * c, c * d * k * k if weights else 0, B * n * d if result else 0]
    return (products + (products if add else 0)) / sum(s * number for number in numbers)


def seconds(F, M, R, W):
    return [max(f / R, m / W) for f, m in zip(F, M, strict=True)]


def step(F, M, R, W, share, update, passes=("forward", "inputs", "weights")):
    return (sum(sum(seconds(F, M, R, W)) for _ in passes) + update / W) / share


def pairs(side):
    """Pairs of pixels, counted by their distance in one row of all of them."""
    pixels = side * side
    return sum(2 * (pixels - distance) for distance in range(1, pixels)) + pixels


def walk(S, A, w):
    """Push what every layer keeps, and pop it on the way back."""
    held, most = [S], 0
    for kept in A:
        held.append(kept)
    for scratch in reversed(list(w)):
        most = max(most, sum(held) + scratch)
        held.pop()
    return most


def fill(memory, usable, fixed, each):
    batch = 0
    while fixed + (batch + 1) * each <= usable * memory:
        batch += 1
    return batch


def line(B_1, tau_1, B_2, tau_2):
    return np.polyfit([B_1, B_2], [tau_1, tau_2], 1)


RIGHT = {
    "cost-intensity": count_convolution,
    "cost-reach": lambda F, M, R, W: min(R, F / M * W),
    "cost-step": step,
    "cost-scores": lambda B, side, heads, layers: sum(4 * B * heads * pairs(side) for _ in range(layers)),
    "cost-peak": walk,
    "cost-largest": fill,
    "cost-price": lambda *runs: line(*runs)[1],
}

WRONG = {
    "cost-intensity": {
        "are two operations": lambda *case: count_convolution(*case, add=False),
        "k times k pixels": lambda *case: count_convolution(*case, square=False),
        "weights are read": lambda *case: count_convolution(*case, weights=False),
        "result is written": lambda *case: count_convolution(*case, result=False),
        "FLOPs per number": lambda *case: count_convolution(*case) * case[-1],
        "Upside down": lambda *case: 1 / count_convolution(*case),
    },
    "cost-reach": {
        "This is the peak": lambda F, M, R, W: R,
        "slope alone": lambda F, M, R, W: W * F / M,
        "not the higher": lambda F, M, R, W: F / min(F / R, M / W),
        "one after the other": lambda F, M, R, W: 1 / (1 / R + M / F / W),
        "time of the layer": lambda F, M, R, W: float(max(Fraction(F) / Fraction(R), Fraction(M) / Fraction(W))),
    },
    "cost-step": {
        "and then add": lambda F, M, R, W, share, update: (
            max(3 * F.sum() / R, 3 * M.sum() / W) / share + update / W / share
        ),
        "not their sum": lambda F, M, R, W, share, update: (3 * F.sum() / R + 3 * M.sum() / W + update / W) / share,
        "twice the forward pass": lambda *case: step(*case, passes=("forward",)),
        "every product twice": lambda *case: step(*case, passes=("forward", "backward")),
        "divide by it": lambda F, M, R, W, share, update: share * step(F, M, R, W, 1, update),
        "update is missing": lambda F, M, R, W, share, update: step(F, M, R, W, share, 0),
        "no backward pass": lambda F, M, R, W, share, update: step(F, M, R, W, share, 3 * update),
    },
    "cost-scores": {
        "Every pixel meets": lambda B, side, heads, layers: 4 * B * heads * side * side * layers,
        "Every head": lambda B, side, heads, layers: 4 * B * side**4 * layers,
        "Every image": lambda B, side, heads, layers: 4 * heads * side**4 * layers,
        "Every layer": lambda B, side, heads, layers: 4 * B * heads * side**4,
        "how many scores": lambda B, side, heads, layers: B * heads * side**4 * layers,
        "float32 under every policy": lambda B, side, heads, layers: 2 * B * heads * side**4 * layers,
    },
    "cost-peak": {
        "Look at each layer": lambda S, A, w: S + sum(A) + max(w),
        "there all the time": lambda S, A, w: walk(0, A, w),
        "scratch space of the backward": lambda S, A, w: walk(S, A, 0 * w),
        "the layer itself keeps": lambda S, A, w: walk(S, A, w - A),
        "those behind are done": lambda S, A, w: walk(S, A[::-1], w[::-1]),
        "until the backward pass comes": lambda S, A, w: S + max(a + b for a, b in zip(A, w, strict=True)),
    },
    "cost-largest": {
        "fixed part takes room": lambda memory, usable, fixed, each: fill(memory, usable, 0, each),
        "Not all of the memory": lambda memory, usable, fixed, each: fill(memory, 1, fixed, each),
        "before you subtract": lambda memory, usable, fixed, each: fill(memory - fixed, usable, 0, each),
        "Rounded up": lambda memory, usable, fixed, each: max(0, math.ceil((usable * memory - fixed) / each)),
        "whole number": lambda memory, usable, fixed, each: max(0, (usable * memory - fixed) / each),
        "the answer is 0": lambda memory, usable, fixed, each: math.floor((usable * memory - fixed) / each),
        "power of two": lambda *case: max([0, *(b for b in map((2).__pow__, range(20)) if b <= fill(*case))]),
    },
    "cost-price": {
        "what each image adds": lambda *runs: line(*runs)[0],
        "a part of the fixed price": lambda B_1, tau_1, B_2, tau_2: tau_1 - B_1 * (tau_2 / B_2),
        "images of the same run": lambda B_1, tau_1, B_2, tau_2: tau_1 - line(B_1, tau_1, B_2, tau_2)[0] * B_2,
        "The sign": lambda B_1, tau_1, B_2, tau_2: 2 * tau_1 - line(B_1, tau_1, B_2, tau_2)[1],
        "twice the first": lambda B_1, tau_1, B_2, tau_2: 2 * tau_1 - tau_2,
    },
}
