"""Distances between two sets of pictures, each given as features: a row of numbers for every picture."""

from __future__ import annotations

import numpy as np
from scipy import linalg


def frechet_distance(one: np.ndarray, other: np.ndarray) -> float:
    """Return the squared Fréchet distance of the two normal distributions with the means and covariances of two sets.

    (m_1 - m_2)^2 + tr(C_1 + C_2 - 2 (C_1 C_2)^(1/2)): Dowson and Landau (1982); as a measure of generated pictures
    Heusel et al. (2017), Eq. 6. The fewer rows, the larger it comes out, also between two samples of one distribution:
    compare at equal counts only.

    Args:
        one: (N, D) features, N >= 2.
        other: (M, D) features, M >= 2.

    Returns:
        0 or more, in squared units of the features.

    Raises:
        ValueError: if the features do not fit together or are too few.
    """
    one, other = np.asarray(one, np.float64), np.asarray(other, np.float64)
    if one.ndim != 2 or other.ndim != 2 or one.shape[1] != other.shape[1] or min(len(one), len(other)) < 2:
        raise ValueError(f"one and other must be (N, D) and (M, D) with N, M >= 2, got {one.shape} and {other.shape}")
    means = one.mean(axis=0) - other.mean(axis=0)
    covariances = [np.atleast_2d(np.cov(features, rowvar=False)) for features in (one, other)]
    # The eigenvalues of C_1 C_2 are those of C_1^(1/2) C_2 C_1^(1/2), which is symmetric.
    values, vectors = linalg.eigh(covariances[0])
    root = vectors * np.sqrt(np.clip(values, 0, None)) @ vectors.T
    eigenvalues = linalg.eigvalsh(root @ covariances[1] @ root)
    trace_of_root = np.sqrt(np.clip(eigenvalues, 0, None)).sum()
    distance = means @ means + np.trace(covariances[0]) + np.trace(covariances[1]) - 2 * trace_of_root
    return max(float(distance), 0.0)


def precision_recall(real: np.ndarray, generated: np.ndarray, k: int = 3) -> tuple[float, float]:
    """Return how much of the generated set lies among the real one, and how much of the real among the generated.

    Kynkäänniemi et al. (2019), Eq. 1 and 2. A set's region is the union of balls around its members, each reaching to
    the member's k-th nearest neighbour in the set.

    Args:
        real: (N, D) features, N > k.
        generated: (M, D) features, M > k; the paper takes M = N.
        k: the paper's is 3.

    Returns:
        Precision, the share of generated rows in the real region, and recall, the share of real rows in the generated
        region; both 0..1.

    Raises:
        ValueError: if a set has no more than k rows.
    """
    if min(len(real), len(generated)) <= k:
        raise ValueError(f"real and generated need more than k={k} rows each, got {len(real)} and {len(generated)}")
    real, generated = np.asarray(real, np.float64), np.asarray(generated, np.float64)
    between = _squares(real, generated)
    precision = (between <= _radii(real, k)[:, None]).any(axis=0).mean()
    recall = (between <= _radii(generated, k)).any(axis=1).mean()
    return float(precision), float(recall)


def _radii(features, k):
    """Square of the distance from each row to its k-th nearest other row."""
    squares = _squares(features, features)
    np.fill_diagonal(squares, -1.0)  # itself first, so that the k-th other row has index k
    return np.partition(squares, k, axis=1)[:, k]


def _squares(one, other):
    """Squared distances of all rows to all rows, (N, M)."""
    norms = np.einsum("ij,ij->i", one, one)[:, None] + np.einsum("ij,ij->i", other, other)
    return norms - 2 * one @ other.T
