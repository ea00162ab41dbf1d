"""The equation checks of the chapter on training on faces, and the worlds that only it uses."""

import math

import numpy as np

from tests.ledger.checking import Check
from tests.ledger.inline import SQUARED_ERROR, SYMMETRIC, Inline, Says
from tests.ledger.variables import Linear, World, condition
from tests.ledger.worlds import WHOLE_CHAIN, chains, from_one, library_steps


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
        deviations = np.linalg.svd(mixing)[1]
        names = {
            "t": t,
            "D": 3,
            "L": {t: left}.__getitem__,
            "s": lambda k, deviations=deviations: deviations[from_one(k) - 1],
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


def averages():
    """An average of weights, before and after a step (n), and the share w of a weight after n steps."""
    old, network, decay, steps = 0.4, -1.1, 0.9, 7
    after = np.average([old, network], weights=[decay, 1 - decay])
    shares = np.cumprod(np.full(steps, decay))
    return [World({r"\bar\theta": old, r"\theta": network, "d": decay, "a": after, "n": steps, "w": shares[-1]})]


def decays():
    from ddpm_lib.training import ema_decay_at

    return [World({"k": k, "d": 0.999, "m": float(ema_decay_at(k, 0.999))}) for k in (0, 80, 20_000)]


CHECKS: dict[str, Check] = {
    "eq-faces-linear": Check(
        "book/60_training_on_faces.md: linear_losses",
        "float64: the covariance of the noise, given all numbers of x_t, from the joint covariance matrix of "
        "correlated images and their noise; the deviations along the axes are singular values.",
        correlated_images,
        (
            (r"\bar\alpha_t\, s_k^2 + 1", r"\bar\alpha_t\, s_k + 1"),
            (r"\frac{1}{D} ", ""),
            (r"\frac{\bar\alpha_t\, s_k^2}", r"\frac{1 - \bar\alpha_t}"),
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

INLINE = Inline(
    chains,
    {
        r"$\bar\theta$ becomes $#1$,": Says(averages, "a = #1"),
        "still count $#1$ of": Says(averages, "w = #1"),
        "so solve $#1$ = share": Says(averages, "w = #1"),
        "as $#1$ at step $k$": Says(decays, r"m \approx #1", 1e-6),
        "The loss is the mean of $#1$, as": SQUARED_ERROR,
        "and noise of variance $#1$.": Says(chains, r"\operatorname{Var}[x_t \mid x_0] = #1"),
        "is the loss times $#1$.": Says(
            imperfect_networks, r"(x_0 - \hat{x}_0)^2 = #1 (\varepsilon - \varepsilon_\theta(x_t, t))^2"
        ),
        "At $t = #1$ nearly everything is signal": Says(library_steps, r"\bar\alpha_#1 > 0.99985"),
    },
    blind={SYMMETRIC: (r"-->+ in arepsilon - \varepsi of The loss is the mean of $(\varepsilon - ",)},
)
