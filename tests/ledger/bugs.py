"""The equation checks of the chapter on bugs, and the worlds that only it uses."""

import math

import numpy as np

from tests.ledger.checking import Check
from tests.ledger.inline import STEPS, Inline, Says
from tests.ledger.variables import Linear, World, condition
from tests.ledger.worlds import WHOLE_CHAIN, chain, chains, first_steps, library_steps

SHARED = "float64: losses as combinations of what a batch shares and what each image has for itself"


def long_steps(before=None):
    """Steps of a chain, and the variance of a step given another one, by conditioning their joint Gaussian."""
    worlds = []
    for seed, t, n in [(0, 3, 1), (1, 6, 2), (2, 5, 4)]:
        one = chain(seed, t)

        def beta(low, high, x=one.random["x"]):
            return condition([x(high)], [x(low)])[1][0, 0]

        visited = [0, n, t, 6] if t < 6 else [0, n, 6]
        names = one.names | {"n": n, "K": len(visited) - 1, "s": visited.__getitem__, r"\beta": beta}
        worlds.append(World(names, one.random))
    return worlds


def last_steps():
    """A certain pixel, and what comes out when the noise of the step from t to it is added once more."""
    worlds = []
    for world in long_steps():
        sigma = math.sqrt(world.names[r"\beta"](0, world.names["t"]))
        worlds.append(World(world.names, {"y": Linear(-1.0, [sigma], np.array([0.3]))}))
    return worlds


def ranges():
    """A pixel as a combination of sources, and halfway between it and 1: the same pixel on the other scale."""
    worlds = []
    for weights in ([0.3, 0.1], [1.0, -2.0]):
        x_0 = Linear(-0.2, weights, np.array([0.4, -1.1]))
        u = Linear(0.4, np.array(weights) - np.array(weights) / 2, x_0.draw)
        worlds.append(World({"x_0": x_0.value, "u": u.value}, {"x_0": x_0, "u": u}))
    return worlds


def clipped_normals():
    """Quadrature in three pieces, cut where the function has corners."""
    inner, outer = np.polynomial.legendre.leggauss(40), np.polynomial.legendre.leggauss(120)
    nodes = np.concatenate([inner[0], 6.5 + 5.5 * outer[0], -6.5 - 5.5 * outer[0]])
    weights = np.concatenate([inner[1], 5.5 * outer[1], 5.5 * outer[1]])
    rule = (nodes, weights * np.exp(-(nodes**2) / 2) / math.sqrt(2 * math.pi))
    return [World({}, quadrature={r"\varepsilon": rule})]


def batches(shared=(0.9, 0.2)):
    """Losses with a part that all images share, and parts of their own; their mean."""
    worlds = []
    for common in shared:
        for B in (1, 3, 5):
            own, draw = 0.7, np.zeros(B + 1)
            losses = [Linear(1.0, common * np.eye(B + 1)[0] + own * row, draw) for row in np.eye(B + 1)[1:]]
            mean = sum(losses[1:], losses[0]) / B
            names = {"S": common**2, "V": (losses[0].weights ** 2).sum(), "B": B}
            worlds.append(World(names, {r"\barL": mean}))
    return worlds


CHECKS: dict[str, Check] = {
    "eq-bugs-long-step": Check(
        "ddpm_lib/sampling.py: ddpm_sample",
        WHOLE_CHAIN + "the variance of one step given another.",
        long_steps,
        ((r"\frac{\bar\alpha_t}{\bar\alpha_n}", r"\frac{\bar\alpha_n}{\bar\alpha_t}"), (r"1 - ", "")),
    ),
    "eq-bugs-walk": Check(
        "book/66_bugs.md: right",
        WHOLE_CHAIN + "the variances of the long steps by conditioning.",
        long_steps,
        ((r"\prod", r"\sum"), (r"1 - \beta", r"\beta")),
    ),
    "eq-bugs-grain": Check(
        "book/66_bugs.md: sigma",
        WHOLE_CHAIN + "the variance of step t given the clean image, added to a certain pixel.",
        last_steps,
        ((r"1 - \bar\alpha_t", r"\bar\alpha_t"),),
    ),
    "eq-bugs-range": Check(
        "ddpm_lib/images.py: from_uint8",
        "float64: a pixel as a combination of independent sources, and halfway between it and 1.",
        ranges,
        ((r"\frac{1}{4}", r"\frac{1}{2}"),),
    ),
    "eq-bugs-clipped": Check(
        "book/66_bugs.md: formula",
        "float64: Gauss-Legendre quadrature in three pieces.",
        clipped_normals,
        ((r"\sqrt{\frac{2}{\pi e}}", r"\frac{2}{\pi e}"), (r"\varepsilon^2", r"\varepsilon^4")),
    ),
    "eq-bugs-shared": Check(
        "book/66_bugs.md: formula",
        SHARED + ".",
        batches,
        ((r"S + \frac{V - S}{B}", r"\frac{V}{B}"), (r"V - S", "V")),
    ),
}

INLINE = Inline(
    chains,
    STEPS
    | {
        "number from a table: $#1$ for": Says(library_steps, r"#1^2 = \bar\alpha_t"),
        "its beta is $#1$. Take": Says(long_steps, r"\beta_{0,t} = #1"),
        "Let $#1$ be such a number": Says(ranges),
        "adds none at $#1$: what": Says(first_steps),
        "With nothing in common it is $#1$.": Says(lambda: batches((0.0,)), r"\operatorname{Var}[\bar L] = #1"),
    },
    blind={
        "after one step nothing is multiplied yet": (r"bar in \bar\alpha_1 = 1 - \ of $\bar\alpha_1 = 1 - \beta_1$",)
    },
)
