"""The exercises of the chapter on the article's takeaways."""

from __future__ import annotations

import numpy as np

from ddpm_lib.exercises.checking import Exercise


def _rule(ours, theirs, ddof=1, of_mean=True, signs=True, factor=2.0):
    gaps = np.array(ours) - np.array(theirs)
    error = gaps.std(ddof=ddof) / (np.sqrt(len(gaps)) if of_mean else 1)
    agreed = not signs or abs(np.sign(gaps).sum()) == len(gaps)
    return np.sign(gaps.mean()) if agreed and abs(gaps.mean()) > factor * error else 0


def _ratio(fixed, each, small, large):
    return (fixed / small + each) / (fixed / large + each)


# Clear up, clear down, one sign but wide, seeds that differ by far more than the arms do, narrow but of two signs, and
# on either side of the two limits that a wrong standard error has.
_PAIRS = (
    ([0.31, 0.37, 0.25], [0.16, 0.17, 0.14]),
    ([1.0, 2.0, 4.0], [1.5, 2.6, 4.5]),
    ([0.3, 0.5, 2.0], [0.2, 0.1, 0.2]),
    ([1.1, 5.2, 9.3, 13.1], [1.0, 5.0, 9.0, 13.0]),
    ([2.0, 2.1, 1.9, 2.2, 1.99], [1.0, 1.0, 1.0, 1.0, 2.0]),
    ([1.2, 1.8, 3.0], [1.0, 1.0, 1.0]),
)

EXERCISES: dict[str, Exercise] = {
    "takeaways-rule": Exercise(
        right=_rule,
        cases=_PAIRS,
        mistakes=(
            (lambda ours, theirs: _rule(theirs, ours), "The sign is turned round: 1 if *ours* are larger"),
            (
                lambda ours, theirs: _rule(ours, theirs, ddof=0),
                "With few seeds divide the squares by n - 1: ddof=1",
            ),
            (
                lambda ours, theirs: _rule(ours, theirs, of_mean=False),
                "The standard error of a mean is the deviation over the root of the number of seeds",
            ),
            (lambda ours, theirs: _rule(ours, theirs, signs=False), "All seeds must have the same sign, too"),
            (
                lambda ours, theirs: _rule(ours, theirs, factor=0.0),
                "One sign is not enough: the mean must be more than two standard errors from 0",
            ),
            (
                lambda ours, theirs: np.sign(np.mean(ours) - np.mean(theirs)),
                "This says who is larger, and never that one cannot tell",
            ),
        ),
    ),
    "takeaways-chance": Exercise(
        right=lambda n: 2 * 0.5**n,
        cases=((2,), (3,), (10,)),
        mistakes=(
            (lambda n: 0.5**n, "All plus is one way, all minus is the other"),
            (lambda n: 1 - 2 * 0.5**n, "This is the chance that they do not agree"),
            (lambda n: 1 / n, "Each seed halves the chance"),
            (lambda n: 2 / n, "Each seed halves the chance, it does not take a share of it"),
        ),
    ),
    "takeaways-batch": Exercise(
        right=_ratio,
        cases=((1.0, 0.1, 8, 16), (0.2, 0.4, 8, 64)),
        mistakes=(
            (
                lambda fixed, each, small, large: (fixed + each * small) / (fixed + each * large),
                "These are single steps. An epoch with small batches has more of them",
            ),
            (
                lambda fixed, each, small, large: 1 / _ratio(fixed, each, small, large),
                "Small over large, not large over small",
            ),
            (
                lambda fixed, each, small, large: large / small,
                "This would be so if the images took no time themselves",
            ),
            (lambda fixed, each, small, large: 1.0, "The number of images is the same, the number of steps is not"),
        ),
    ),
}
