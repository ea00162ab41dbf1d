"""The equation checks of the chapter on the first model, and the worlds that only it uses."""

import math

from tests.ledger.checking import Check
from tests.ledger.inline import AMPLITUDE, SQUARED_ERROR, SYMMETRIC, Inline, Says
from tests.ledger.variables import World
from tests.ledger.worlds import POSTERIOR, WHOLE_CHAIN, chains, constant_answers, posteriors


def exact_networks():
    """Chains beside a network that knows the noise, the x_0 that follows, and the fresh noise of one step back."""
    worlds = []
    for world in posteriors():
        names, t = world.names, world.names["t"]
        x_t, noise = names["x"](t), names[r"\varepsilon"]()
        mean = names[r"\tilde\mu_t"](x_t, names["x"](0))
        network = {
            r"\varepsilon_\theta": lambda *at, known=(x_t, t), noise=noise: {known: noise}[at],
            r"\hatx": {0: names["x"](0)}.__getitem__,
            r"\sigma": lambda i, beta=names[r"\beta"]: math.sqrt(beta(i)),
            "z": (names["x"](t - 1) - mean) / math.sqrt(names[r"\beta"](t)),
        }
        worlds.append(World(names | network, world.random))
    return worlds


CHECKS: dict[str, Check] = {
    "eq-first-mix": Check(
        "ddpm_lib/diffusion.py: add_noise",
        WHOLE_CHAIN + "the noise is what is left of x_t without x_0, scaled to variance 1.",
        chains,
        ((r"\sqrt{1-\bar\alpha_t}", r"\sqrt{1-\alpha_t}"), (r"\sqrt{\bar\alpha_t}", r"\bar\alpha_t")),
    ),
    "eq-first-estimate": Check(
        "ddpm_lib/diffusion.py: x_0_from_noise",
        WHOLE_CHAIN + "a network that knows the noise must find x_0 itself.",
        exact_networks,
        (
            (r"\sqrt{1-\bar\alpha_t}", r"(1-\bar\alpha_t)"),
            ("x_t -", "x_t +"),
            (r"{\sqrt{\bar\alpha_t}}", r"{\bar\alpha_t}"),
        ),
    ),
    "eq-first-step": Check(
        "ddpm_lib/sampling.py: ddpm_sample",
        POSTERIOR + "; z is what is left of x_{t-1} without the posterior's mean, over the root of beta.",
        exact_networks,
        (
            (r"\frac{\beta_t}{\sqrt{1-\bar\alpha_t}}", r"\frac{\beta_t}{1-\bar\alpha_t}"),
            (r"\frac{1}{\sqrt{\alpha_t}}", r"\frac{1}{\alpha_t}"),
            (r"\sigma_t z", r"\sigma_t^2 z"),
        ),
    ),
}

INLINE = Inline(
    exact_networks,
    {
        "is the mean of $#1$ over its pixels": SQUARED_ERROR,
        "so $#1$. Any constant": Says(constant_answers),
        "error in the predicted noise is divided by $#1$,": AMPLITUDE,
    },
    blind={
        SYMMETRIC: (
            r"-->+ in arepsilon - \varepsi of is the mean of $(\varepsilon - \varepsil",
            r"-->+ in arepsilon - c)^2] =  of so $\operatorname{E}[(\varepsilon - c)^2",
        )
    },
)
