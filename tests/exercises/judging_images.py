"""Right and wrong answers to the exercises of the chapter on judging images."""

import numpy as np
from scipy.spatial.distance import cdist


def gaussian_cost(m_1, s_1, m_2, s_2, correlation=1.0):
    """Mean squared distance of pairs with this correlation."""
    return (m_1 - m_2) ** 2 + s_1**2 + s_2**2 - 2 * correlation * s_1 * s_2


def along_axes(one, other, width=np.std, correlation=1.0):
    return sum(
        gaussian_cost(a.mean(), width(a), b.mean(), width(b), correlation) for a, b in zip(one.T, other.T, strict=True)
    )


def line(n_1, F_1, n_2, F_2, at=0.0, over=lambda n: 1 / n):
    """The straight line through two points, at another point."""
    slope = (F_2 - F_1) / (over(n_2) - over(n_1))
    return F_1 + slope * (at - over(n_1))


def inside(real, generated, k, itself=0):
    """Which generated points lie in which ball, one by one."""
    table = []
    for i, centre in enumerate(real):
        others = sorted(abs(centre - other) for j, other in enumerate(real) if itself or j != i)
        table.append([abs(point - centre) <= others[k - 1] for point in generated])
    return np.array(table)


def ratios(images, training, power=1):
    nearest, second = np.sort(cdist(images, training), axis=1)[:, :2].T
    return (nearest / second) ** power


RIGHT = {
    "judge-line": lambda m_1, v_1, m_2, v_2: gaussian_cost(m_1, v_1**0.5, m_2, v_2**0.5),
    "judge-axes": along_axes,
    "judge-means": lambda v, n_1, n_2: sum(v) / n_1 + sum(v) / n_2,
    "judge-limit": line,
    "judge-precision": lambda real, generated, k: inside(real, generated, k).max(axis=0).mean(),
    "judge-copies": lambda images, training: np.mean(ratios(images, training) < 1 / 3),
}

WRONG = {
    "judge-line": {
        "take the roots": gaussian_cost,
        "pairing at random": lambda m_1, v_1, m_2, v_2: gaussian_cost(m_1, v_1**0.5, m_2, v_2**0.5, 0.0),
        "The widths are missing": lambda m_1, v_1, m_2, v_2: gaussian_cost(m_1, 1.0, m_2, 1.0),
        "This is the distance": lambda *case: RIGHT["judge-line"](*case) ** 0.5,
        "Square both": lambda m_1, v_1, m_2, v_2: abs(m_1 - m_2) + abs(v_1**0.5 - v_2**0.5),
    },
    "judge-axes": {
        "not the variances": lambda one, other: along_axes(one, other, np.var),
        "along axis 0": lambda one, other: gaussian_cost(one.mean(), one.std(), other.mean(), other.std()),
        "The widths are missing": lambda one, other: along_axes(one, other, lambda a: 1.0),
        "no mean over them": lambda one, other: along_axes(one, other) / 3,
        "This is the distance": lambda one, other: along_axes(one, other) ** 0.5,
    },
    "judge-means": {
        "add 1/n_1 and 1/n_2": lambda v, n_1, n_2: sum(v) / (n_1 + n_2),
        "independent things add": lambda v, n_1, n_2: sum(v) / n_1 - sum(v) / n_2,
        "no mean over them": lambda v, n_1, n_2: RIGHT["judge-means"](v, n_1, n_2) / len(v),
        "the variances themselves": lambda v, n_1, n_2: RIGHT["judge-means"](v**0.5, n_1, n_2),
        "second mean has an error": lambda v, n_1, n_2: sum(v) / n_1,
    },
    "judge-limit": {
        "has a floor, too": lambda n_1, F_1, n_2, F_2: F_2 if n_2 > n_1 else min(F_1, F_2),
        "constant c": lambda n_1, F_1, n_2, F_2: n_1 * (F_1 - line(n_1, F_1, n_2, F_2)),
        "not over n": lambda *case: line(*case, over=float),
        "mean of the two": lambda n_1, F_1, n_2, F_2: np.average([F_1, F_2], weights=[n_1, n_2]),
        "difference of the counts": lambda n_1, F_1, n_2, F_2: (n_1 - n_2) * line(n_1, F_1, n_2, F_2),
    },
    "judge-precision": {
        "This is the recall": lambda real, generated, k: RIGHT["judge-precision"](generated, real, k),
        "its own nearest": lambda real, generated, k: inside(real, generated, k, itself=1).max(axis=0).mean(),
        "one of the balls": lambda real, generated, k: inside(real, generated, k).min(axis=0).mean(),
        "count the generated": lambda real, generated, k: inside(real, generated, k).max(axis=1).mean(),
        "picture once": lambda real, generated, k: inside(real, generated, k).mean(),
    },
    "judge-copies": {
        "a ninth": lambda images, training: np.mean(ratios(images, training, 2) < 1 / 3),
        "need not be exact": lambda images, training: np.mean(ratios(images, training) == 0),
        "that are none": lambda images, training: np.mean(ratios(images, training) >= 1 / 3),
        "the number of copies": lambda images, training: np.sum(ratios(images, training) < 1 / 3),
    },
}
