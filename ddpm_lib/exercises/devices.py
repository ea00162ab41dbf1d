"""The exercises of the chapter on several devices."""

from __future__ import annotations

import numpy as np

from ddpm_lib.exercises.checking import Exercise


def _clipped(gradient, c):
    return gradient * min(1, c / np.linalg.norm(gradient))


def _whole_noise(seed, M, D, N):
    return np.random.default_rng(seed).standard_normal((N * M, D))


def _worth(B, N, kappa):
    return B / (1 + (N - 1) * kappa)


_RNG = np.random.default_rng(3)
_PARTS = (3 * _RNG.standard_normal((2, 5)) + 1, _RNG.standard_normal((4, 3)) * [[0.1], [1], [5], [20]])

EXERCISES: dict[str, Exercise] = {
    "devices-uneven": Exercise(
        right=lambda gradients, sizes: sizes @ gradients / sizes.sum(),
        cases=((_PARTS[0], np.array([3, 2])), (_PARTS[1], np.array([8, 8, 8, 1]))),
        mistakes=(
            (
                lambda gradients, sizes: gradients.mean(axis=0),
                "This gives every device the same weight. Every image should have it",
            ),
            (
                lambda gradients, sizes: gradients.sum(axis=0),
                "This is the sum. A mean over all images is asked for",
            ),
            (
                lambda gradients, sizes: sizes @ gradients,
                "This sums over the images. Divide by their number",
            ),
            (
                lambda gradients, sizes: sizes @ gradients / len(sizes),
                "Divide by the number of images, not by the number of devices",
            ),
            (
                lambda gradients, sizes: (1 / sizes) @ gradients / (1 / sizes).sum(),
                "The larger share must count for more, not for less",
            ),
        ),
    ),
    "devices-noise": Exercise(
        right=lambda seed, M, D, i, N: _whole_noise(seed, M, D, N)[i * M : (i + 1) * M],
        cases=((0, 2, 3, 1, 4), (7, 3, 1, 2, 3)),
        mistakes=(
            (
                lambda seed, M, D, i, N: _whole_noise(seed, M, D, 1),
                "Every device draws the same numbers: those of the first share",
            ),
            (
                lambda seed, M, D, i, N: _whole_noise(seed + i, M, D, 1),
                "The devices differ now, but one device would draw other numbers, so the run depends on N",
            ),
            (
                lambda seed, M, D, i, N: _whole_noise(seed, M, D, N)[i::N],
                "The rows are dealt out like cards, but the images are cut into blocks: noise and image do not fit",
            ),
            (
                lambda seed, M, D, i, N: _whole_noise(seed, M, D, N)[(i - 1) * M : i * M],
                "These are the rows of the device before: devices are counted from 0",
            ),
        ),
    ),
    "devices-clip": Exercise(
        right=lambda gradients, c: _clipped(gradients.mean(axis=0), c),
        cases=((_PARTS[0], 0.5), (_PARTS[1], 2.0), (_PARTS[1], 100.0)),
        mistakes=(
            (
                lambda gradients, c: sum(_clipped(g, c) for g in gradients) / len(gradients),
                "Each share is clipped by itself. Take the mean first",
            ),
            (
                lambda gradients, c: sum(_clipped(g / len(gradients), c) for g in gradients),
                "Each part is clipped by itself, and the sum of N parts may be N c long",
            ),
            (
                lambda gradients, c: (
                    gradients.mean(axis=0) * min(1, c / np.mean([np.linalg.norm(g) for g in gradients]))
                ),
                "The mean of the norms is not the norm of the mean",
            ),
            (
                lambda gradients, c: _clipped(gradients.sum(axis=0), c),
                "This clips the sum. The gradient of the batch is the mean",
            ),
            (
                lambda gradients, c: gradients.mean(axis=0),
                "The clipping is missing",
            ),
            (
                lambda gradients, c: gradients.mean(axis=0) * c / np.linalg.norm(gradients.mean(axis=0)),
                "A gradient that is short enough stays as it is",
            ),
        ),
    ),
    "devices-worth": Exercise(
        right=_worth,
        cases=((64, 4, 0.5), (16, 8, 0.1), (32, 2, 0.9)),
        mistakes=(
            (lambda B, N, kappa: B / N, "This is the worst case, kappa = 1: then all devices are worth one"),
            (
                lambda B, N, kappa: _worth(B, N + 1, kappa),
                "An image shares its noise with N - 1 others, not with N",
            ),
            (lambda B, N, kappa: _worth(B, N, 1 - kappa), "kappa is the shared part. What is not shared costs nothing"),
            (lambda B, N, kappa: B * (1 + (N - 1) * kappa), "Equal noise makes the batch worth less, not more"),
            (
                lambda B, N, kappa: B / N + (1 - kappa) * (B - B / N),
                "The variances add up, not the numbers of images: set V equal to S / B'",
            ),
        ),
    ),
    "devices-ring": Exercise(
        right=lambda P, N, w: 2 * (N - 1) / N * 4 * P / w,
        cases=((15e6, 2, 16e9), (1e6, 8, 1.25e9), (300e6, 64, 450e9)),
        mistakes=(
            (lambda P, N, w: 8 * P / w, "This is the limit for many devices. Each sends N - 1 of N pieces a round"),
            (
                lambda P, N, w: (N - 1) / N * 4 * P / w,
                "There are two rounds: one that adds up, one that passes the sums on",
            ),
            (lambda P, N, w: 2 * (N - 1) / N * P / w, "w counts bytes, and each number has four"),
            (
                lambda P, N, w: (N - 1) * 4 * P / w,
                "This sends the whole gradient to each of the others. In a ring only pieces travel",
            ),
            (
                lambda P, N, w: 2 * (N - 1) * 4 * P / w,
                "A piece is one N-th of the gradient: divide by N",
            ),
        ),
    ),
    "devices-fixed-share": Exercise(
        right=lambda A, N: (N / A - 1) / (N - 1),
        cases=((1.8, 2), (1.0, 4), (5.0, 8)),
        mistakes=(
            (lambda A, N: 1 - A / N, "This is the share of the devices that is lost, not the share of the time"),
            (
                lambda A, N: N / A - 1,
                "This is by how much the step is longer than it should be. Solve for f: divide by N - 1",
            ),
            (lambda A, N: 1 - (N / A - 1) / (N - 1), "This is the share that is divided"),
            (lambda A, N: 1 / A - 1 / N, "Nearly: multiply by N / (N - 1)"),
            (lambda A, N: (N - A) / (N - 1), "The speed-up stands below in the equation: divide by A"),
        ),
    ),
}
