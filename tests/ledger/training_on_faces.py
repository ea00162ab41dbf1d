"""The equation checks of the chapter on training on faces, and the worlds that only it uses."""

import math

import numpy as np

from tests.ledger.checking import Check
from tests.ledger.variables import Linear, World, condition
from tests.ledger.worlds import WHOLE_CHAIN, chains, from_one


def correlated_images():
    """Images of three correlated numbers under noise; the best linear guess leaves the conditional covariance."""
    worlds = []
    for seed, t in [(0, 1), (1, 3), (2, 5)]:
        rng = np.random.default_rng(seed)
        mixing, betas = rng.standard_normal((3, 3)), rng.uniform(0.05, 0.4, 6)
        bar = math.prod(1 - betas[:t])
        source = [Linear(0.0, row, np.zeros(6)) for row in np.eye(6)]
        image = [sum(w * s for w, s in zip(row, source[:3], strict=True)) + 0.4 for row in mixing]
        seen = [math.sqrt(bar) * x + math.sqrt(1 - bar) * e for x, e in zip(image, source[3:], strict=True)]
        left = np.trace(condition(source[3:], seen)[1]) / 3
        variances = np.linalg.svd(mixing)[1] ** 2
        names = {
            "t": t,
            "D": 3,
            "L": {t: left}.__getitem__,
            "v": lambda k, variances=variances: variances[from_one(k) - 1],
            r"\bar\alpha": lambda i, betas=betas: math.prod(1 - betas[:i]),
        }
        worlds.append(World(names))
    return worlds


def imperfect_networks():
    """Chains beside a network that is wrong; its x_0 is the one that would have given x_t with its noise."""
    worlds = []
    for world in chains():
        names, t = world.names, world.names["t"]
        x_t, answer = names["x"](t), names[r"\varepsilon"]() + 0.3
        bar = names[r"\bar\alpha"](t)
        line = np.polynomial.Polynomial([math.sqrt(1 - bar) * answer - x_t, math.sqrt(bar)])
        network = {
            r"\varepsilon_\theta": lambda *at, known=(x_t, t), answer=answer: {known: answer}[at],
            r"\hatx": {0: line.roots()[0]}.__getitem__,
        }
        worlds.append(World(names | network))
    return worlds


CHECKS: dict[str, Check] = {
    "eq-faces-linear": Check(
        "book/60_training_on_faces.md: linear_losses",
        "float64: the covariance of the noise, given all numbers of x_t, from the joint covariance matrix of "
        "correlated images and their noise; the variances along the axes are singular values.",
        correlated_images,
        (
            (r"\bar\alpha_t\, v_k + 1", r"\bar\alpha_t\, v_k^2 + 1"),
            (r"\frac{1}{D} ", ""),
            (r"\frac{\bar\alpha_t\, v_k}", r"\frac{1 - \bar\alpha_t}"),
        ),
    ),
    "eq-faces-error": Check(
        "ddpm_lib/diffusion.py: x_0_from_noise",
        WHOLE_CHAIN + "the guess of x_0 is the root of the equation that mixes it with a wrong noise into x_t.",
        imperfect_networks,
        (
            (r"\frac{1 - \bar\alpha_t}{\bar\alpha_t}", r"\frac{\bar\alpha_t}{1 - \bar\alpha_t}"),
            (r"\varepsilon - \varepsilon_\theta(x_t, t)", r"\varepsilon_\theta(x_t, t) - \varepsilon"),
            (r"\sqrt{\frac", r"{\frac"),
        ),
    ),
}
