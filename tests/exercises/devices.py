"""Right and wrong answers to the exercises of the chapter on several devices."""

import math

import numpy as np


def by_images(gradients, sizes):
    """Repeat each share's gradient once for every image of it, and take the mean."""
    return np.repeat(gradients, sizes, axis=0).mean(axis=0)


def draws(seed, M, D, N):
    rng = np.random.default_rng(seed)
    return [rng.standard_normal((M, D)) for _ in range(N)]


def shortened(vector, c):
    length = math.hypot(*vector)
    return vector if length <= c else vector / length * c


def variance_by_pairs(B, N, kappa):
    """Sum the covariance of all pairs of images of a batch; images k and l share their noise if k = l modulo B / N."""
    groups = np.arange(B) % (B // N)
    covariance = np.where(groups[:, None] == groups, kappa, 0.0)
    np.fill_diagonal(covariance, 1.0)
    return covariance.sum() / B**2


def sent_bytes(P, N, rounds=2, size=4, pieces=None):
    """What the pieces of one device weigh, hop by hop."""
    return sum(size * P / (N if pieces is None else pieces) for _ in range(rounds) for _ in range(N - 1))


def bisected(A, N):
    low, high = 0.0, 1.0
    for _ in range(60):
        f = (low + high) / 2
        low, high = (f, high) if 1 / (f + (1 - f) / N) > A else (low, f)
    return low


RIGHT = {
    "devices-uneven": by_images,
    "devices-noise": lambda seed, M, D, i, N: draws(seed, M, D, N)[i],
    "devices-clip": lambda gradients, c: shortened(sum(gradients) / len(gradients), c),
    "devices-worth": lambda B, N, kappa: 1 / variance_by_pairs(B, N, kappa),
    "devices-ring": lambda P, N, w: sent_bytes(P, N) / w,
    "devices-fixed-share": bisected,
}

WRONG = {
    "devices-uneven": {
        "every device the same weight": lambda gradients, sizes: sum(gradients) / len(gradients),
        "This is the sum": lambda gradients, sizes: sum(gradients),
        "sums over the images": lambda gradients, sizes: np.repeat(gradients, sizes, axis=0).sum(axis=0),
        "not by the number of devices": lambda gradients, sizes: (
            np.repeat(gradients, sizes, axis=0).sum(axis=0) / len(gradients)
        ),
        "count for more": lambda gradients, sizes: np.average(gradients, axis=0, weights=1 / sizes),
    },
    "devices-noise": {
        "draws the same numbers": lambda seed, M, D, i, N: draws(seed, M, D, N)[0],
        "one device would draw other numbers": lambda seed, M, D, i, N: draws(seed + i, M, D, 1)[0],
        "dealt out like cards": lambda seed, M, D, i, N: np.concatenate(draws(seed, M, D, N))[i::N],
        "counted from 0": lambda seed, M, D, i, N: draws(seed, M, D, N)[i - 1],
    },
    "devices-clip": {
        "Take the mean first": lambda gradients, c: np.mean([shortened(g, c) for g in gradients], axis=0),
        "may be N c long": lambda gradients, c: sum(shortened(g / len(gradients), c) for g in gradients),
        "not the norm of the mean": lambda gradients, c: (
            np.mean(gradients, axis=0) * min(1, c * len(gradients) / sum(math.hypot(*g) for g in gradients))
        ),
        "This clips the sum": lambda gradients, c: shortened(sum(gradients), c),
        "clipping is missing": lambda gradients, c: np.mean(gradients, axis=0),
        "short enough stays": lambda gradients, c: c * sum(gradients) / math.hypot(*sum(gradients)),
    },
    "devices-worth": {
        "all devices are worth one": lambda B, N, kappa: B / N,
        "not with N": lambda B, N, kappa: B / (1 + N * kappa),
        "What is not shared costs nothing": lambda B, N, kappa: B / (1 + (N - 1) * (1 - kappa)),
        "worth less, not more": lambda B, N, kappa: B + B * (N - 1) * kappa,
        "variances add up": lambda B, N, kappa: B / N * (1 + (1 - kappa) * (N - 1)),
    },
    "devices-ring": {
        "limit for many devices": lambda P, N, w: 2 * 4 * P / w,
        "two rounds": lambda P, N, w: sent_bytes(P, N, rounds=1) / w,
        "each number has four": lambda P, N, w: sent_bytes(P, N, size=1) / w,
        "to each of the others": lambda P, N, w: sent_bytes(P, N, rounds=1, pieces=1) / w,
        "divide by N": lambda P, N, w: sent_bytes(P, N, pieces=1) / w,
    },
    "devices-fixed-share": {
        "share of the devices that is lost": lambda A, N: (N - A) / N,
        "Solve for f": lambda A, N: (N - A) / A,
        "share that is divided": lambda A, N: 1 - bisected(A, N),
        "multiply by N / (N - 1)": lambda A, N: (N - A) / (A * N),
        "divide by A": lambda A, N: (N - A) / (N - 1),
    },
}
