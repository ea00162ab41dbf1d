"""The exercises of the chapter on time and memory."""

from __future__ import annotations

import numpy as np

from ddpm_lib.exercises.checking import Exercise


def _intensity(B, n, k, c, d, s, per_product=2, window=2, weights=1, result=1):
    """FLOPs per byte of a convolution; the options are the ways to miscount."""
    moved = B * n * c + weights * k**2 * c * d + result * B * n * d
    return per_product * B * n * k**window * c * d / (s * moved)


def _reach(F, M, R, W):
    return F / max(F / R, M / W)


def _step(F, M, R, W, share, update, passes=3, updates=1):
    return (passes * np.maximum(F / R, M / W).sum() + updates * update / W) / share


def _scores(B, side, heads, layers, size=4):
    return size * B * heads * side**4 * layers


def _peak(S, A, w):
    return S + np.max(np.cumsum(A) + w)


def _largest(memory, usable, fixed, each):
    return max(0, int((usable * memory - fixed) // each))


def _power_of_two(*case):
    batch = _largest(*case)
    return 2 ** int(np.log2(batch)) if batch else 0


def _slope(B_1, tau_1, B_2, tau_2):
    return (tau_2 - tau_1) / (B_2 - B_1)


_F, _M = np.array([4e9, 1e9, 9e9, 0.0]), np.array([1e8, 6e8, 2e8, 3e8])
_A, _W = np.array([5.0, 40.0, 8.0, 12.0]), np.array([3.0, 90.0, 6.0, 20.0])

EXERCISES: dict[str, Exercise] = {
    "cost-intensity": Exercise(
        right=_intensity,
        cases=((16, 4096, 3, 32, 64, 4), (1, 64, 3, 256, 256, 2), (8, 1, 1, 1024, 512, 4)),
        mistakes=(
            (
                lambda *case: _intensity(*case, per_product=1),
                "A product and its addition are two operations",
            ),
            (lambda *case: _intensity(*case, window=1), "The window has k times k pixels"),
            (lambda *case: _intensity(*case, weights=0), "The weights are read, too"),
            (lambda *case: _intensity(*case, result=0), "The result is written, too"),
            (
                lambda B, n, k, c, d, s: _intensity(B, n, k, c, d, 1),
                "These are FLOPs per number. A number takes s bytes",
            ),
            (lambda *case: 1 / _intensity(*case), "Upside down: these are bytes per FLOP"),
        ),
    ),
    "cost-reach": Exercise(
        right=_reach,
        cases=((1e9, 1e9, 8e12, 3e11), (4e11, 1e9, 8e12, 3e11), (3e9, 1e8, 9e12, 7e11)),
        mistakes=(
            (lambda F, M, R, W: R, "This is the peak. A layer of low intensity does not reach it"),
            (lambda F, M, R, W: F / M * W, "This is the slope alone. It ends at the peak R"),
            (lambda F, M, R, W: max(R, F / M * W), "The lower of the two limits holds, not the higher"),
            (
                lambda F, M, R, W: F / (F / R + M / W),
                "Here the device does one after the other. It does both at the same time",
            ),
            (lambda F, M, R, W: max(F / R, M / W), "This is the time of the layer. Its FLOPs per second are asked for"),
        ),
    ),
    "cost-step": Exercise(
        right=_step,
        cases=((_F, _M, 8e12, 3e11, 0.5, 5e8), (2 * _F, _M, 9e12, 7e11, 0.25, 1e9)),
        mistakes=(
            (
                lambda F, M, R, W, share, update: (3 * max(F.sum() / R, M.sum() / W) + update / W) / share,
                "Take the slower of the two for each layer, and then add",
            ),
            (
                lambda F, M, R, W, share, update: (3 * (F / R + M / W).sum() + update / W) / share,
                "A layer computes and moves at the same time: the slower of the two counts, not their sum",
            ),
            (lambda *case: _step(*case, passes=1), "The backward pass is missing: it takes twice the forward pass"),
            (lambda *case: _step(*case, passes=2), "The backward pass does every product twice"),
            (
                lambda F, M, R, W, share, update: _step(F, M, R, W, 1 / share, update),
                "With a smaller share of the peaks a step takes longer: divide by it",
            ),
            (lambda *case: _step(*case, updates=0), "The update is missing"),
            (lambda *case: _step(*case, updates=3), "The update is done once: it has no backward pass"),
        ),
    ),
    "cost-scores": Exercise(
        right=_scores,
        cases=((16, 32, 8, 2), (8, 64, 4, 1), (3, 8, 2, 3)),
        mistakes=(
            (
                lambda B, side, heads, layers: 4 * B * heads * side**2 * layers,
                "Every pixel meets every pixel, and there are side x side of them",
            ),
            (lambda B, side, heads, layers: _scores(B, side, 1, layers), "Every head has scores of its own"),
            (lambda B, side, heads, layers: _scores(1, side, heads, layers), "Every image has scores of its own"),
            (lambda B, side, heads, layers: _scores(B, side, heads, 1), "Every layer has scores of its own"),
            (lambda *case: _scores(*case, size=1), "This is how many scores there are. Each takes four bytes"),
            (lambda *case: _scores(*case, size=2), "Scores are float32 under every policy: four bytes"),
        ),
    ),
    "cost-peak": Exercise(
        right=_peak,
        cases=((100.0, _A, _W), (7.0, _A[::-1], _W), (0.5, _A, np.array([70.0, 1.0, 1.0, 1.0]))),
        mistakes=(
            (
                lambda S, A, w: S + A.sum() + w.max(),
                "The largest scratch space need not come when all is kept. Look at each layer",
            ),
            (lambda S, A, w: _peak(0, A, w), "What is there all the time is missing"),
            (lambda S, A, w: S + A.sum(), "The scratch space of the backward pass is missing"),
            (
                lambda S, A, w: S + np.max(np.cumsum(A) - A + w),
                "What the layer itself keeps is still there when the backward pass is at it",
            ),
            (
                lambda S, A, w: S + np.max(np.cumsum(A[::-1])[::-1] + w),
                "The wrong way: the layers in front still hold theirs, those behind are done",
            ),
            (
                lambda S, A, w: S + np.max(A + w),
                "The layers in front hold what they keep until the backward pass comes to them",
            ),
        ),
    ),
    "cost-largest": Exercise(
        right=_largest,
        cases=((16e9, 0.9, 3e8, 4.1e7), (1e9, 0.8, 2e8, 2.3e8), (1e9, 0.5, 6e8, 1e7)),
        mistakes=(
            (lambda memory, usable, fixed, each: _largest(memory, usable, 0, each), "The fixed part takes room, too"),
            (lambda memory, usable, fixed, each: _largest(memory, 1, fixed, each), "Not all of the memory is usable"),
            (
                lambda memory, usable, fixed, each: max(0, int(usable * (memory - fixed) // each)),
                "The share is of the whole memory: take it before you subtract",
            ),
            (
                lambda memory, usable, fixed, each: max(0, int(-(-(usable * memory - fixed) // each))),
                "Rounded up: the last image does not fit",
            ),
            (
                lambda memory, usable, fixed, each: max(0.0, (usable * memory - fixed) / each),
                "A batch is a whole number of images",
            ),
            (
                lambda memory, usable, fixed, each: int((usable * memory - fixed) // each),
                "Where the fixed part alone does not fit, the answer is 0",
            ),
            (_power_of_two, "It need not be a power of two"),
        ),
    ),
    "cost-price": Exercise(
        right=lambda B_1, tau_1, B_2, tau_2: tau_1 - _slope(B_1, tau_1, B_2, tau_2) * B_1,
        cases=((8, 0.5, 16, 0.7), (16, 0.9, 64, 2.1), (32, 1.5, 4, 0.4)),
        mistakes=(
            (_slope, "This is what each image adds. What is left at a batch of none?"),
            (
                lambda B_1, tau_1, B_2, tau_2: tau_1 - tau_2 / B_2 * B_1,
                "The time of an image is not tau / B: that has a part of the fixed price in it",
            ),
            (
                lambda B_1, tau_1, B_2, tau_2: tau_1 - _slope(B_1, tau_1, B_2, tau_2) * B_2,
                "Take away the images of the same run: B_1 for tau_1",
            ),
            (
                lambda B_1, tau_1, B_2, tau_2: tau_1 + _slope(B_1, tau_1, B_2, tau_2) * B_1,
                "The sign: the images' time is taken away",
            ),
            (
                lambda B_1, tau_1, B_2, tau_2: tau_1 - (tau_2 - tau_1),
                "This is right only if the second batch is twice the first",
            ),
        ),
    ),
}
