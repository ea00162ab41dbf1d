"""The exercises of the chapter on what the network has learned."""

from __future__ import annotations

import numpy as np

from ddpm_lib.exercises.checking import COSINE, LINEAR, Exercise


def _signal_share(schedule, step, data_variance):
    signal = schedule.alpha_bars[step - 1] * data_variance
    return signal / (signal + 1 - schedule.alpha_bars[step - 1])


def _slerp(start, end, share):
    angle = np.arccos(np.sum(start * end) / (np.linalg.norm(start) * np.linalg.norm(end)))
    return (np.sin((1 - share) * angle) * start + np.sin(share * angle) * end) / np.sin(angle)


def _straight(start, end, share):
    return (1 - share) * start + share * end


def _copy_distance(image, photo):
    return min(np.sqrt(np.mean((image - photo) ** 2)), np.sqrt(np.mean((image - photo[:, ::-1]) ** 2)))


_RNG = np.random.default_rng(0)
_SHARES = ((LINEAR, 1, 0.25), (LINEAR, 500, 0.25), (COSINE, 60, 2.0))
_WAYS = tuple((start, end, share) for start, end in [_RNG.standard_normal((2, 3, 4))] for share in (0.3, 0.8))
_FACE, _PHOTO = _RNG.uniform(-1, 1, (2, 4, 4, 3))
_PAIRS = tuple((0.3 * _FACE + 0.7 * photo, _PHOTO) for photo in (_PHOTO, _PHOTO[:, ::-1]))

EXERCISES: dict[str, Exercise] = {
    "signal-share": Exercise(
        right=_signal_share,
        cases=_SHARES,
        mistakes=(
            (
                lambda schedule, step, data_variance: schedule.alpha_bars[step - 1],
                "alpha_bar is the share for data of variance 1. Use the data's variance",
            ),
            (
                lambda schedule, step, data_variance: schedule.alpha_bars[step - 1] * data_variance,
                "This is the image's variance. Divide it by the whole variance of x_t",
            ),
            (
                lambda schedule, step, data_variance: (
                    schedule.alpha_bars[step - 1] * data_variance / (1 - schedule.alpha_bars[step - 1])
                ),
                "This is image over noise. The share is image over image plus noise",
            ),
            (
                lambda schedule, step, data_variance: np.sqrt(_signal_share(schedule, step, data_variance)),
                "This is a share of amplitude. No root: variances add up, amplitudes do not",
            ),
            (
                lambda schedule, step, data_variance: 1 - _signal_share(schedule, step, data_variance),
                "This is the noise's share",
            ),
            (
                lambda schedule, step, data_variance: _signal_share(schedule, step + 1, data_variance),
                "One step too many: step t is at index t - 1",
            ),
        ),
    ),
    "slerp": Exercise(
        right=_slerp,
        cases=_WAYS,
        mistakes=(
            (_straight, "This is the straight line: in the middle the vector is too short"),
            (
                lambda start, end, share: (
                    _straight(start, end, share) * np.linalg.norm(start) / np.linalg.norm(_straight(start, end, share))
                ),
                "The length is kept, but not the speed: equal shares must be equal angles",
            ),
            (
                lambda start, end, share: np.cos(share * np.pi / 2) * start + np.sin(share * np.pi / 2) * end,
                "This is right for a right angle only. Compute the angle between the two",
            ),
            (
                lambda start, end, share: _slerp(end, start, share),
                "Start and end are swapped: at share 0 this gives the end",
            ),
            (
                lambda start, end, share: (
                    _slerp(start, end, share)
                    * np.sqrt(1 - (np.sum(start * end) / (np.linalg.norm(start) * np.linalg.norm(end))) ** 2)
                ),
                "Divide by the sine of the whole angle",
            ),
        ),
    ),
    "copy-distance": Exercise(
        right=_copy_distance,
        cases=_PAIRS,
        mistakes=(
            (
                lambda image, photo: np.sqrt(np.mean((image - photo) ** 2)),
                "A mirrored copy is a copy, too: take the smaller of two distances",
            ),
            (
                lambda image, photo: min(
                    np.sqrt(np.mean((image - photo) ** 2)), np.sqrt(np.mean((image - photo[::-1]) ** 2))
                ),
                "This turns the photograph upside down. The width is the second axis",
            ),
            (
                lambda image, photo: _copy_distance(image, photo) ** 2,
                "This is the mean squared difference: the root is missing",
            ),
            (
                lambda image, photo: _copy_distance(image, photo) * np.sqrt(image.size),
                "This is the root of the sum. Take the mean over all numbers",
            ),
            (
                lambda image, photo: min(np.mean(np.abs(image - photo)), np.mean(np.abs(image - photo[:, ::-1]))),
                "This is the mean absolute difference. Square first, and take the root at the end",
            ),
        ),
    ),
}
