"""The equation checks of the chapter on what the network has learned, and the worlds that only it uses."""

import math

import numpy as np
from scipy.spatial.transform import Rotation

from tests.ledger.checking import Check
from tests.ledger.inline import Inline, Says
from tests.ledger.variables import Linear, World
from tests.ledger.worlds import WHOLE_CHAIN, chains, gaussian_data, posteriors


def picture_shares():
    """The share of x_0's source in the variance of x_t, along a chain."""
    worlds = []
    for world in gaussian_data():

        def share(i, x=world.random["x"]):
            return x(i).weights[0] ** 2 / (x(i).weights ** 2).sum()

        worlds.append(World(world.names | {"r": share}))
    return worlds


def two_noises():
    draw = np.array([0.4, -1.1])
    noises = {"a": Linear(0, [1, 0], draw), "b": Linear(0, [0, 1], draw)}
    return [World({"u": u}, noises) for u in (0.2, 0.5, 0.9)]


def great_circles():
    """One vector of space turned towards another of the same length, about the axis across both; one component."""
    worlds = []
    for seed, u in [(0, 0.3), (1, 0.8)]:
        a, b = np.random.default_rng(seed).standard_normal((2, 3))
        b *= np.linalg.norm(a) / np.linalg.norm(b)
        axis = np.cross(a, b)
        angle = math.atan2(np.linalg.norm(axis), a @ b)
        turn = Rotation.from_rotvec(u * angle * axis / np.linalg.norm(axis))
        worlds.append(World({"a": a[0], "b": b[0], "u": u, r"\Omega": angle, "c": turn.apply(a)[0]}))
    return worlds


def averaged_pixels():
    """The mean of 8 x 8 pixels of independent noise."""
    mean = sum(Linear(0, row, np.zeros(64)) for row in np.eye(64)) / 64
    return [World({}, {"m": mean})]


CHECKS: dict[str, Check] = {
    "eq-learned-share": Check(
        "book/70_what_it_learned.md: share",
        WHOLE_CHAIN + "the share is that of the source of x_0.",
        picture_shares,
        (
            (r"\bar\alpha_t\, s^2}", r"\bar\alpha_t}"),
            (r"\bar\alpha_t\, s^2}{\bar\alpha_t\, s^2 +", r"\bar\alpha_t\, s^2}{"),
        ),
    ),
    "eq-learned-straight": Check(
        "book/70_what_it_learned.md: straight",
        "float64: two independent sources; the variance is the sum of the squared weights.",
        two_noises,
        (("= (1 - u)^2 + u^2", "= 1"), ("= (1 - u)^2 + u^2", "= (1 - u) + u^2")),
        # noise with the other sign has the same law
        blind=("+->- in  - u)\\, a + u\\, b\\ri",),
    ),
    "eq-learned-slerp": Check(
        "ddpm_lib/evaluation/looking.py: slerp",
        "SciPy: a vector in space is turned towards another one about the axis that is across both.",
        great_circles,
        (
            (r"\frac{\sin((1 - u)\, \Omega)}{\sin(\Omega)}", "(1 - u)"),
            (r"\sin(u\, \Omega)", r"\sin((1 - u)\, \Omega)"),
        ),
    ),
}

INLINE = Inline(
    chains,
    {
        "So put $#1$ of the noise": Says(averaged_pixels, r"\operatorname{Var}[m] = #1"),
        '**$t = #1$, "high-quality face"**': Says(chains, r"\bar\alpha_#1 = 1"),
        r"Only DDIM with $\eta = #1$ just moves on": Says(posteriors, r"#1 \tilde\beta_t = 0"),
    },
)
