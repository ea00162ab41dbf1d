"""The exercises of the chapter on judging images."""

from __future__ import annotations

import numpy as np

from ddpm_lib.exercises.checking import Exercise


def _line(m_1, v_1, m_2, v_2, root=np.sqrt):
    return (m_1 - m_2) ** 2 + (root(v_1) - root(v_2)) ** 2


def _axes(one, other):
    means = one.mean(axis=0) - other.mean(axis=0)
    return np.sum(means**2) + np.sum((one.std(axis=0) - other.std(axis=0)) ** 2)


def _axes_variances(one, other):
    means = one.mean(axis=0) - other.mean(axis=0)
    return np.sum(means**2) + np.sum((one.var(axis=0) - other.var(axis=0)) ** 2)


def _axes_everything(one, other):
    return (one.mean() - other.mean()) ** 2 + (one.std() - other.std()) ** 2


def _balls(real, k, first=1):
    """Distance of each row to its k-th nearest row; with `first` 0 the row itself counts."""
    return np.sort(np.abs(real[:, None] - real[None, :]), axis=1)[:, k - 1 + first]


def _precision(real, generated, k):
    between = np.abs(real[:, None] - generated[None, :])
    return np.mean((between <= _balls(real, k)[:, None]).any(axis=0))


def _recall(real, generated, k):
    return _precision(generated, real, k)


def _precision_itself(real, generated, k):
    between = np.abs(real[:, None] - generated[None, :])
    return np.mean((between <= _balls(real, k, first=0)[:, None]).any(axis=0))


def _precision_all_balls(real, generated, k):
    between = np.abs(real[:, None] - generated[None, :])
    return np.mean((between <= _balls(real, k)[:, None]).all(axis=0))


def _precision_wrong_way(real, generated, k):
    between = np.abs(real[:, None] - generated[None, :])
    return np.mean((between <= _balls(real, k)[:, None]).any(axis=1))


def _distances(images, training):
    gaps = images[:, None] - training[None, :]
    return np.sort(np.sqrt((gaps**2).sum(axis=2)), axis=1)


def _copies(images, training):
    distances = _distances(images, training)
    return np.mean(distances[:, 0] < distances[:, 1] / 3)


def _copies_squared(images, training):
    squares = _distances(images, training) ** 2
    return np.mean(squares[:, 0] < squares[:, 1] / 3)


_RNG = np.random.default_rng(3)
_ONE, _OTHER = _RNG.normal(0.2, 1.5, (40, 3)), _RNG.normal(-0.1, 0.6, (30, 3)) * [1.0, 2.0, 0.5]
_REAL, _GENERATED = np.array([0.0, 0.1, 0.3, 0.6, 1.0, 5.0]), np.array([0.05, 0.2, 1.2, 1.7, 2.6, 8.9, 9.5])
_TRAINING = _RNG.uniform(-1, 1, (12, 5))
# Copies with more and more noise, and new pictures.
_IMAGES = np.concatenate(
    [_TRAINING[:6] + np.linspace(0.05, 0.6, 6)[:, None] * _RNG.uniform(-1, 1, (6, 5)), _RNG.uniform(-1, 1, (4, 5))]
)

EXERCISES: dict[str, Exercise] = {
    "judge-line": Exercise(
        right=_line,
        cases=((0.0, 1.0, 0.5, 0.16), (2.0, 0.25, -1.0, 9.0)),
        mistakes=(
            (lambda *case: _line(*case, root=lambda v: v), "The formula wants standard deviations: take the roots"),
            (
                lambda m_1, v_1, m_2, v_2: (m_1 - m_2) ** 2 + v_1 + v_2,
                "This is the cost of pairing at random: the covariance is missing",
            ),
            (lambda m_1, v_1, m_2, v_2: (m_1 - m_2) ** 2, "The means are right. The widths are missing"),
            (lambda *case: np.sqrt(_line(*case)), "This is the distance. What is asked for is its square"),
            (
                lambda m_1, v_1, m_2, v_2: abs(m_1 - m_2) + abs(np.sqrt(v_1) - np.sqrt(v_2)),
                "Square both differences before you add them",
            ),
        ),
    ),
    "judge-axes": Exercise(
        right=_axes,
        cases=((_ONE, _OTHER), (_OTHER, _ONE[:10])),
        mistakes=(
            (_axes_variances, "Compare the standard deviations, not the variances"),
            (_axes_everything, "Mean and deviation belong to each feature: take them along axis 0"),
            (
                lambda one, other: np.sum((one.mean(axis=0) - other.mean(axis=0)) ** 2),
                "The means are right. The widths are missing",
            ),
            (lambda one, other: _axes(one, other) / one.shape[1], "Costs along the axes add up: no mean over them"),
            (lambda one, other: np.sqrt(_axes(one, other)), "This is the distance. What is asked for is its square"),
        ),
    ),
    "judge-means": Exercise(
        right=lambda variances, n_1, n_2: np.sum(variances) * (1 / n_1 + 1 / n_2),
        cases=((np.array([1.0, 0.3]), 50, 200), (np.array([2.0, 0.1, 0.7]), 10, 10)),
        mistakes=(
            (lambda v, n_1, n_2: np.sum(v) / (n_1 + n_2), "Each mean has its own error: add 1/n_1 and 1/n_2"),
            (
                lambda v, n_1, n_2: np.sum(v) * (1 / n_1 - 1 / n_2),
                "Variances of independent things add, also in a difference",
            ),
            (lambda v, n_1, n_2: np.mean(v) * (1 / n_1 + 1 / n_2), "Sum over the features: no mean over them"),
            (
                lambda v, n_1, n_2: np.sum(np.sqrt(v)) * (1 / n_1 + 1 / n_2),
                "It is about squares, so the variances themselves",
            ),
            (lambda v, n_1, n_2: np.sum(v) / n_1, "The second mean has an error, too"),
        ),
    ),
    "judge-limit": Exercise(
        right=lambda n_1, F_1, n_2, F_2: (n_1 * F_1 - n_2 * F_2) / (n_1 - n_2),
        cases=((100, 0.12, 400, 0.06), (1000, 0.031, 500, 0.042)),
        mistakes=(
            (lambda n_1, F_1, n_2, F_2: min(F_1, F_2), "The larger set has a floor, too: extrapolate"),
            (
                lambda n_1, F_1, n_2, F_2: (F_1 - F_2) / (1 / n_1 - 1 / n_2),
                "This is the constant c, not what is left of the distance",
            ),
            (
                lambda n_1, F_1, n_2, F_2: F_1 - n_1 * (F_2 - F_1) / (n_2 - n_1),
                "The distance is a straight line over 1/n, not over n",
            ),
            (
                lambda n_1, F_1, n_2, F_2: (n_1 * F_1 + n_2 * F_2) / (n_1 + n_2),
                "This is a mean of the two: it still contains the floor",
            ),
            (
                lambda n_1, F_1, n_2, F_2: n_1 * F_1 - n_2 * F_2,
                "Divide by the difference of the counts",
            ),
        ),
    ),
    "judge-precision": Exercise(
        right=_precision,
        cases=((_REAL, _GENERATED, 2), (_REAL, _GENERATED, 1)),
        mistakes=(
            (_recall, "This is the recall: the balls belong to the real pictures"),
            (_precision_itself, "A picture is its own nearest one, at distance 0: do not count it"),
            (_precision_all_balls, "It is enough to lie in one of the balls"),
            (_precision_wrong_way, "This is the share of balls that hold something: count the generated pictures"),
            (
                lambda real, generated, k: (
                    np.abs(real[:, None] - generated[None, :]) <= _balls(real, k)[:, None]
                ).mean(),
                "Count each generated picture once, whatever the number of its balls",
            ),
        ),
    ),
    "judge-copies": Exercise(
        right=_copies,
        cases=((_IMAGES, _TRAINING), (_IMAGES[:3], _TRAINING[:5])),
        mistakes=(
            (_copies_squared, "A third of the distance is a ninth of its square: take the root"),
            (
                lambda images, training: np.mean(_distances(images, training)[:, 0] == 0),
                "A copy need not be exact: compare with the second nearest",
            ),
            (lambda images, training: 1 - _copies(images, training), "This is the share of pictures that are none"),
            (
                lambda images, training: np.sum(
                    _distances(images, training)[:, 0] < _distances(images, training)[:, 1] / 3
                ),
                "This is the number of copies: divide by the number of images",
            ),
        ),
    ),
}
