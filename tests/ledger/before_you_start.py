"""What the self-test states, from elsewhere: combinations of sources, quadrature, complex steps, sums over outcomes."""

import math
import statistics

import numpy as np

from tests.ledger.inline import Inline, Says
from tests.ledger.variables import Linear, World
from tests.ledger.worlds import chains


def sums(first=3.0, second=4.0):
    """Independent numbers X and Y with given standard deviations, and z with 1."""
    draw = np.array([0.4, -1.1, 0.7])
    x, y, z = (Linear(0.3, row, draw) for row in np.diag([first, second, 1.0]))
    return [World({}, {"X": x, "Y": y, "z": z - 0.3})]


def of_variance_four():
    return sums(first=2.0)


def moments(distances=(0.7, -1.3)):
    """Quadrature over X with mean 2 and variance 9, beside a number c; L is its mean squared distance, D the slope."""
    nodes, weights = np.polynomial.hermite_e.hermegauss(8)
    rule = {"X": (2 + 3 * nodes, weights / math.sqrt(2 * math.pi))}
    return [World({"c": 2 + d, "L": 9 + d**2, "D": 2.0 * d}, quadrature=rule) for d in distances]


def at_the_mean():
    return moments((0.0,))


def bells(places=(0.7, -1.6)):
    """S is the slope of the logarithm of a Gaussian's density at x, P its height above that at 0, E an exponent's."""
    worlds = []
    for x in places:
        v = 1.3
        normal = statistics.NormalDist(0.0, math.sqrt(v))
        step = x + 1e-30j
        names = {
            "x": x,
            "v": v,
            "S": (np.log(np.exp(-step * step / (2 * v)))).imag / 1e-30,
            "P": math.log(normal.pdf(x)) - math.log(normal.pdf(0.0)),
            "E": (-step * step / 2).imag / 1e-30,
            "f": lambda at: statistics.NormalDist().pdf(at) * math.sqrt(2 * math.pi),
            "f'": {x: np.exp(-step * step / 2).imag / 1e-30}.__getitem__,
        }
        worlds.append(World(names))
    return worlds


def middle():
    return bells((0.0,))


def descent():
    """The loss 9 w^2 - 36 w + 36 at w = 1, and its slope."""
    step = 1 + 1e-30j
    return [World({"w": 1, "L": 9.0 - 36.0 + 36.0, "D": (9 * step**2 - 36 * step + 36).imag / 1e-30})]


def coins():
    """The divergence of the unfair coin from the fair one."""
    return [World({"D": sum(r * (math.log(r) - math.log(p)) for r, p in [(0.25, 0.5), (0.75, 0.5)])})]


INLINE = Inline(
    bells,
    {
        "What is the variance of $#1$? ````{dropdown} Answer It is 36.": Says(
            of_variance_four, r"\operatorname{Var}[#1] = 36"
        ),
        "What is the variance of $#1$? Of $#2$? And": Says(
            sums, r"\operatorname{Var}[#1] = 25, \quad \operatorname{Var}[#2] = 25"
        ),
        "Standard deviations do not: $#1$ would be 7.": Says(sums, "#1 = 7"),
        "Answer It is 13. The variance is $#1$, so": Says(moments, "#1 = 9"),
        "When is $#1$? ````": Says(chains),
        "standard normal. Which distribution has $#1$?": Says(
            sums, r"\operatorname{E}[#1] = 2, \quad \operatorname{Var}[#1] = 9"
        ),
        "they are independent. Which distribution has $#1$?": Says(sums, r"\operatorname{Var}[#1] = 25"),
        "Answer $#1$. The logarithm is a parabola, $#2$ plus a constant.": Says(bells, r"S = #1, \quad P = #2"),
        "At $#1$ it is flat": Says(middle, r"#1, \quad S = 0"),
        "the exponent has the derivative $#1$.": Says(bells, "E = #1"),
        "Which number $c$ makes $#1$ as small": Says(moments, "L = #1"),
        "The derivative with respect to $c$ is $#1$, and": Says(moments, "D = #1"),
        "this is 0 if $#1$.": Says(at_the_mean, r"#1, \quad D = 0"),
        "The loss of a weight $w$ is $#1$. You are at $#2$ and": Says(descent, r"L = #1, \quad #2"),
        "The derivative is $#1$, which is $#2$ here": Says(descent, r"D = #1 = #2"),
        "it is 0.131: $#1$.": Says(coins, "D = #1"),
    },
    blind={
        "a constant does not spread, as the answer says": (
            "digit in 3X - 5 of What is the variance of $3X - 5$? ````{d",
            "-->+ in 3X - 5 of What is the variance of $3X - 5$? ````{d",
        ),
        "a number and its negative have the same variance": (
            "+->- in X + Y of What is the variance of $X + Y$? Of $X -",
            "-->+ in X - Y of What is the variance of $X + Y$? Of $X -",
            "+->- in X + Y of they are independent. Which distribution",
            "+->- in 2 + 3z of standard normal. Which distribution has ",
        ),
    },
)
