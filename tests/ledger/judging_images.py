"""The equation checks of the chapter on judging images, and the worlds that only it uses."""

import itertools
import math

import numpy as np
from scipy import linalg, optimize, stats

from tests.ledger.checking import Check
from tests.ledger.inline import Inline, Says
from tests.ledger.variables import Linear, World

MATRICES = "float64: "


class Matrix:
    """A matrix or a column, multiplied as matrices are; powers are SciPy's, and "T" transposes."""

    def __init__(self, entries):
        self.entries = np.atleast_2d(np.asarray(entries, dtype=float))

    def __array__(self, dtype=None, copy=None):
        return np.asarray(self.entries, dtype)

    def trace(self):
        return np.trace(self.entries)

    def __mul__(self, other):
        return Matrix(self.entries @ other.entries if isinstance(other, Matrix) else self.entries * other)

    __rmul__ = __mul__

    def __add__(self, other):
        return Matrix(self.entries + other.entries)

    def __sub__(self, other):
        return Matrix(self.entries - other.entries)

    def __pow__(self, power):
        if power == "T":
            return Matrix(self.entries.T)
        return Matrix(np.real(linalg.fractional_matrix_power(self.entries, power)))


def column(entries):
    return Matrix(np.reshape(entries, (-1, 1)))


def hermite(dimensions, nodes=3):
    """Points and weights that integrate polynomials of a standard normal vector exactly."""
    points, weights = np.polynomial.hermite_e.hermegauss(nodes)
    weights = weights / weights.sum()
    for chosen in itertools.product(range(nodes), repeat=dimensions):
        yield points[list(chosen)], math.prod(weights[list(chosen)])


def pairs():
    """Two numbers with a given covariance."""
    worlds = []
    for m_1, s_1, m_2, s_2, correlation in [(0.3, 1.2, -0.5, 0.4, 0.6), (1.0, 0.5, 2.0, 1.5, -0.3)]:
        rest, draw = math.sqrt(1 - correlation**2), [0.7, -1.1]
        weights = {"x": [s_1, 0], "y": [s_2 * correlation, s_2 * rest]}
        means = {"x": m_1, "y": m_2}
        random = {name: Linear(means[name], row, np.array(draw)) for name, row in weights.items()}
        rule = [({n: means[n] + np.dot(weights[n], point) for n in "xy"}, weight) for point, weight in hermite(2)]
        names = {"m_1": m_1, "s_1": s_1, "m_2": m_2, "s_2": s_2}
        worlds.append(World(names, random, {"pair": tuple(zip(*rule, strict=True))}))
    return worlds


def pairs_in_order():
    """The same share of each cloud lies below x and below its partner y; d is the mean squared way, by quadrature."""
    worlds = []
    for m_1, s_1, m_2, s_2 in [(0.3, 1.2, -0.5, 0.4), (1.0, 0.5, 2.0, 1.5)]:
        one, other = stats.norm(m_1, s_1), stats.norm(m_2, s_2)
        ways = [(weight, one.ppf(stats.norm.cdf(z)) - other.ppf(stats.norm.cdf(z))) for (z,), weight in hermite(1)]
        names = {"m_1": m_1, "s_1": s_1, "m_2": m_2, "s_2": s_2}
        names |= {"x": one.ppf(0.8), "y": other.ppf(0.8), "d": math.sqrt(sum(w * way**2 for w, way in ways))}
        worlds.append(World(names))
    return worlds


def rotated(deviations, angle):
    turn = np.array([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])
    return turn @ np.diag(np.square(deviations)) @ turn.T


CLOUDS = [
    ([0.3, -0.2], rotated([1.3, 0.4], 0.5), [1.0, 0.6], rotated([0.7, 1.1], -0.9)),
    ([0.0, 1.0], rotated([0.2, 0.9], 2.0), [-0.4, 0.1], rotated([1.5, 0.6], 0.1)),
]


def common_axes():
    """Independent numbers; every pairing along one axis is tried by its correlation, and the costs are summed."""
    worlds = []
    for m, s in [(([0.3, -0.2, 1.0], [0.0, 0.5, 0.2]), ([1.2, 0.3, 0.8], [0.4, 0.9, 0.8]))]:

        def cost(correlation, i, m=m, s=s):
            return (m[0][i] - m[1][i]) ** 2 + s[0][i] ** 2 + s[1][i] ** 2 - 2 * correlation * s[0][i] * s[1][i]

        d = math.sqrt(sum(min(cost(c, i) for c in np.linspace(-1, 1, 201)) for i in range(3)))
        tables = {name: lambda a, i, table=table: table[a - 1][i - 1] for name, table in [("m", m), ("s", s)]}
        worlds.append(World(tables | {"D": 3, "d": d}))
    return worlds


def paired_clouds():
    """Two clouds, paired by a random contraction R: all moments come from the pairs themselves."""
    worlds = []
    for seed, (m_1, C_1, m_2, C_2) in enumerate(CLOUDS):
        rng = np.random.default_rng(seed)
        left, _, right = np.linalg.svd(rng.standard_normal((2, 2)))
        R = left @ np.diag(rng.uniform(0.2, 0.9, 2)) @ right
        # u is the source itself, v has the covariances R with it and the variance 1.
        rest = linalg.cholesky(np.eye(2) - R.T @ R, lower=True)
        roots = [vectors * np.sqrt(values) @ vectors.T for values, vectors in map(np.linalg.eigh, (C_1, C_2))]

        def pair(point, R=R, rest=rest, roots=roots, means=(m_1, m_2)):
            u, v = point[:2], R.T @ point[:2] + rest @ point[2:]
            x, y = (np.array(mean) + root @ z for mean, root, z in zip(means, roots, (u, v), strict=True))
            return u, v, x, y

        nodes = [(pair(point), weight) for point, weight in hermite(4)]
        K = sum(weight * np.outer(x - m_1, y - m_2) for (_, _, x, y), weight in nodes)
        rule = [({"x": column(x), "y": column(y)}, weight) for (_, _, x, y), weight in nodes]
        u, v, x, y = pair(rng.standard_normal(4))
        names = {
            "m_1": column(m_1),
            "m_2": column(m_2),
            "C_1": Matrix(C_1),
            "C_2": Matrix(C_2),
            "K": Matrix(K),
            "R": Matrix(R),
            "u": column(u),
            "v": column(v),
            "x": column(x - m_1),
            "y": column(y - m_2),
            r"\top": "T",
        }
        worlds.append(World(names, quadrature={"pair": tuple(zip(*rule, strict=True))}))
    return worlds


def closest_clouds():
    """The cheapest pairing: all rotations and reflections of the one cloud's directions into the other's are tried."""
    worlds = []
    for m_1, C_1, m_2, C_2 in CLOUDS:
        one, other = linalg.cholesky(C_1, lower=True), linalg.cholesky(C_2, lower=True)

        def covariance(angle, flip, one=one, other=other):
            turn = np.array([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])
            return np.trace(one @ turn @ np.diag([1, flip]) @ other.T)

        starts = itertools.product(np.linspace(0, 2 * np.pi, 9), (-1, 1))
        largest = max(
            -optimize.minimize_scalar(lambda a, f=flip: -covariance(a, f), (start, start + 0.1), tol=1e-10).fun
            for start, flip in starts
        )
        square = sum((a - b) ** 2 for a, b in zip(m_1, m_2, strict=True))
        names = {"m_1": column(m_1), "m_2": column(m_2), "C_1": Matrix(C_1), "C_2": Matrix(C_2)}
        names |= {"d": math.sqrt(square + np.trace(C_1) + np.trace(C_2) - 2 * largest), "S": largest, r"\top": "T"}
        worlds.append(World(names))
    return worlds


def populations():
    """Two sets of pictures, each drawn from two pictures with equal chances: all draws are gone through."""
    worlds = []
    pictures = np.array([[0.4, -1.0], [1.2, 0.5]])
    C = np.cov(pictures.T, ddof=0)
    for n_1, n_2 in [(1, 2), (3, 2), (2, 2)]:
        rule = []
        for draws in itertools.product((0, 1), repeat=n_1 + n_2):
            first, second = pictures[list(draws[:n_1])], pictures[list(draws[n_1:])]
            means = {r"\hatm_1": column(first.mean(axis=0)), r"\hatm_2": column(second.mean(axis=0))}
            rule.append((means, 0.5 ** (n_1 + n_2)))
        names = {"n_1": n_1, "n_2": n_2, "C": Matrix(C)}
        worlds.append(World(names, quadrature={"draw": tuple(zip(*rule, strict=True))}))
    return worlds


def floors():
    """The expected squared distance of the means of n pictures each, from two kinds of pictures: all draws."""
    one, other = np.array([0.4, 1.2]), np.array([-0.5, 0.1])

    def F(n):
        total = 0.0
        for draws in itertools.product((0, 1), repeat=2 * n):
            total += (one[list(draws[:n])].mean() - other[list(draws[n:])].mean()) ** 2 / 4**n
        return total

    limit = (one.mean() - other.mean()) ** 2
    names = {"F": F, r"F_\infty": limit, "c": F(1) - limit}
    return [World(names | {"n": n}) for n in (1, 2, 4)]


def ranks():
    """As many directions as a covariance matrix of n pictures has, k."""
    worlds = []
    for n in (2, 5):
        features = np.random.default_rng(n).standard_normal((n, 12))
        worlds.append(World({"n": n, "k": int(np.linalg.matrix_rank(np.cov(features, rowvar=False)))}))
    return worlds


def counts_of_one_digit():
    """How far the number of pictures of one kind scatters, s: all numbers are gone through."""
    worlds = []
    for n, p in [(3, 0.1), (8, 0.4)]:
        chances = [math.comb(n, k) * p**k * (1 - p) ** (n - k) for k in range(n + 1)]
        mean = sum(k * chance for k, chance in enumerate(chances))
        s = math.sqrt(sum((k - mean) ** 2 * chance for k, chance in enumerate(chances)))
        worlds.append(World({"n": n, "p": p, "s": s}))
    return worlds


def real_against_real():
    """Two sets from the same pictures."""
    return [World({r"F_\infty": 0.0})]


CHECKS: dict[str, Check] = {
    "eq-judge-pairs": Check(
        "book/75_judging_images.md: x, y",
        MATRICES + "pairs of numbers with a given covariance, by quadrature.",
        pairs,
        (("- 2 ", "+ 2 "), ("(m_1 - m_2)^2", "(m_1 - m_2)"), ("s_2^2", "s_2")),
    ),
    "judge-schwarz": Check(
        "book/75_judging_images.md: the text",
        MATRICES + "two numbers as combinations of independent sources.",
        pairs,
        (("2 - ", "2 + "), ("{s_1 s_2}", "{s_1}"), (r"\frac{y}{s_2}", "y")),
    ),
    "eq-judge-map": Check(
        "book/75_judging_images.md: np.sort",
        MATRICES + "the quantiles of two Gaussians at the same share.",
        pairs_in_order,
        ((r"\frac{s_2}{s_1}", r"\frac{s_1}{s_2}"), ("(x - m_1)", "x")),
    ),
    "eq-judge-line": Check(
        "ddpm_lib/evaluation/distances.py: frechet_distance",
        MATRICES + "the mean squared way between equal quantiles, by quadrature.",
        pairs_in_order,
        (("(s_1 - s_2)^2", "s_1^2 + s_2^2"), ("(s_1 - s_2)", "(s_1^2 - s_2^2)"), ("d^2", "d")),
    ),
    "eq-judge-axes": Check(
        "ddpm_lib/evaluation/distances.py: frechet_distance",
        MATRICES + "along each axis the cheapest of 201 correlations.",
        common_axes,
        (("(s_{1,i} - s_{2,i})^2", "(s_{1,i} + s_{2,i})^2"), ("(m_{1,i} - m_{2,i})^2", "(m_{1,i} - m_{2,i})")),
    ),
    "eq-judge-trace": Check(
        "book/75_judging_images.md: costs",
        MATRICES + "pairs of two Gaussian clouds with a random matrix of covariances, by quadrature.",
        paired_clouds,
        (("- 2 ", "- "), (r"+ \operatorname{tr}(C_2)", ""), ("|m_1 - m_2|^2", "|m_1 - m_2|")),
    ),
    "judge-turned": Check(
        "book/75_judging_images.md: the text",
        MATRICES + "random matrices.",
        paired_clouds,
        ((r"= \operatorname{tr}(R\,", r"= \operatorname{tr}(R\, R\,"), (r"C_2^{1/2} C_1^{1/2}", "C_2^{1/2} C_1")),
    ),
    "eq-judge-frechet": Check(
        "ddpm_lib/evaluation/distances.py: frechet_distance",
        MATRICES + "the cheapest of all pairings, which turn and mirror the one cloud's directions into the other's.",
        closest_clouds,
        (("- 2 ", "- "), ("C_1^{1/2} C_2 C_1^{1/2}", "C_1 C_2 C_1"), (r"+ \operatorname{tr}(C_2)", "")),
    ),
    "eq-judge-means": Check(
        "book/75_judging_images.md: means",
        MATRICES + "all draws of up to three pictures from two.",
        populations,
        ((r"\frac{1}{n_1} + \frac{1}{n_2}", r"\frac{1}{n_1 + n_2}"), (r"+ \frac", r"- \frac")),
    ),
    "eq-judge-bias": Check(
        "book/75_judging_images.md: floors",
        MATRICES + "the part of the means, for which it is exact: all draws of n pictures from two.",
        floors,
        ((r"\frac{c}{n}", "c"), (r"+ \frac", r"- \frac")),
        tolerance=1e-9,
    ),
}

INLINE = Inline(
    paired_clouds,
    {
        "the sum of the singular values of $#1$: the best": Says(
            closest_clouds, r"\operatorname{tr}(((#1)^\top #1)^{1/2}) = S"
        ),
        "as {eq}`eq-judge-bias` says with $#1$, and": Says(real_against_real),
        "Here this product is $#1$. So": Says(closest_clouds, r"\operatorname{tr}((#1)^{1/2}) = S"),
        "printed form usually has $#1$. That": Says(closest_clouds, r"\operatorname{tr}(#1) = S"),
        "same eigenvalues as $#1$, which": Says(closest_clouds, r"\operatorname{tr}((#1)^{1/2}) = S"),
        "has at most $#1$ directions": Says(ranks, "#1 = k"),
        "their number would scatter by $#1$, for": Says(counts_of_one_digit, "#1 = s"),
    },
)
