"""The equation checks of the chapter on noising, and the worlds that only it uses."""

import math

import numpy as np

from tests.ledger.checking import Check
from tests.ledger.inline import AMPLITUDE, STEPS, Inline, Says
from tests.ledger.variables import Linear, World
from tests.ledger.worlds import WHOLE_CHAIN, chain, chains, from_one, library_steps


def walks():
    """Chains without the shrinking factor."""
    worlds = []
    for seed, t in [(0, 2), (1, 4), (2, 6)]:
        world = chain(seed, t)
        beta = world.names[r"\beta"]
        x = [world.random["x"](0)]
        for i in range(1, 7):
            x.append(x[-1] + math.sqrt(beta(i)) * world.random[r"\varepsilon"](i))
        walk = {"x": lambda i, x=x: x[i].value}
        worlds.append(World(world.names | walk, {"x": x.__getitem__}))
    return worlds


def quarters():
    return [World({"t": 1, r"\bar\alpha": {1: 0.25}.__getitem__})]


def shrunk_too_much():
    """A chain that multiplies by 1 - beta and not by the root: v is the variance after very many steps."""
    worlds = []
    for beta in (0.02, 0.3):
        v = 3.0
        for _ in range(5000):
            v = (1 - beta) * (1 - beta) * v + beta
        worlds.append(World({"t": 1, "v": v, r"\beta": lambda i=1, beta=beta: {1: beta}[i]}))
    return worlds


def two_variables():
    """Correlated X and Y, and constants a and b."""
    worlds = []
    for seed in range(3):
        rng = np.random.default_rng(seed)
        rows, draw = rng.standard_normal((2, 3)), rng.standard_normal(3)
        a, b = rng.uniform(0.5, 2, 2)
        worlds.append(World({"a": a, "b": b}, {"X": Linear(1, rows[0], draw), "Y": Linear(-2, rows[1], draw)}))
    return worlds


def mixtures():
    """A mixture on a grid, pushed through the kernel step by step by numerical integration."""
    worlds = []
    grid = np.linspace(-8, 8, 1601)
    weights, means, variances = [0.3, 0.7], [-0.9, 0.5], [0.04, 0.09]
    for t in (1, 3):
        betas = np.array([0.1, 0.25, 0.4])[:t]
        parts = [
            np.exp(-((grid - m) ** 2) / (2 * v)) / np.sqrt(2 * np.pi * v) for m, v in zip(means, variances, strict=True)
        ]
        moments = [list(zip(means, variances, strict=True))]
        for beta in betas:
            distance = grid[:, None] - np.sqrt(1 - beta) * grid[None, :]
            kernel = np.exp(-(distance**2) / (2 * beta)) / np.sqrt(2 * np.pi * beta)
            parts = [kernel @ part * 0.01 for part in parts]
            centres = [(part * grid).sum() * 0.01 for part in parts]
            spreads = [(part * (grid - m) ** 2).sum() * 0.01 for part, m in zip(parts, centres, strict=True)]
            moments.append(list(zip(centres, spreads, strict=True)))
        place = 850
        density = sum(w * part[place] for w, part in zip(weights, parts, strict=True))
        names = {
            "t": t,
            "k": 2,
            "x": {t: grid[place]}.__getitem__,
            "w": lambda k: weights[from_one(k) - 1],
            "m": lambda k, i, moments=moments: moments[i][from_one(k) - 1][0],
            "s": lambda k, i, moments=moments: math.sqrt(moments[i][from_one(k) - 1][1]),
            r"\alpha": lambda i, betas=betas: 1 - betas[from_one(i) - 1],
            r"\beta": lambda i, betas=betas: betas[from_one(i) - 1],
        }
        worlds.append(World(names, density=lambda targets, given, at=grid[place], p=density: {(at,): p}[*targets,]))
    return worlds


CHECKS: dict[str, Check] = {
    "eq-noising-kernel": Check(
        "book/10_noising.md: noise_step",
        WHOLE_CHAIN + "the conditional density comes from their joint covariance matrix.",
        chains,
        ((r"\sqrt{1-\beta_t}\, x_{t-1}", r"(1-\beta_t)\, x_{t-1}"), (r"\beta_t I", r"\sqrt{\beta_t} I")),
    ),
    "eq-noising-step": Check(
        "book/10_noising.md: noise_step",
        WHOLE_CHAIN + "both sides are evaluated on a draw.",
        chains,
        ((r"\sqrt{\beta_t}\,", r"\beta_t\,"), (r"\sqrt{1-\beta_t}\,", ""), ("(0, I)", "(0, 2 I)")),
        # the noise of every step has this law
        blind=("t->t-1 in varepsilon_t &\\sim \\",),
    ),
    "eq-noising-joint": Check(
        "book/10_noising.md: noise_step",
        WHOLE_CHAIN + "the joint density of all steps against the product of the conditional ones.",
        chains,
        ((r"\prod_{t=1}", r"\prod_{t=2}"), (r"\mid x_0)", ")")),
    ),
    "noising-variance-rule": Check(
        "book/10_noising.md: the text",
        "float64: two correlated random variables, as combinations of three sources.",
        two_variables,
        (("+ 2ab", "+ ab"), ("b^2", "b")),
    ),
    "eq-noising-variance": Check(
        "book/10_noising.md: formula",
        WHOLE_CHAIN + "variances and covariances are sums over the sources.",
        chains,
        (
            (
                r"&= (1-\beta_t) \operatorname{Var}[x_{t-1}] + \beta_t" + "\n",
                r"&= (1-\beta_t) \operatorname{Var}[x_{t-1}] + \beta_t^2" + "\n",
            ),
        ),
        # the covariance that these multiply is 0, and the variance of the noise is 1 at every step
        blind=(
            "+->- in \\\\\n&\\quad + 2 \\sqrt{",
            "digit in \n&\\quad + 2 \\sqrt{1-",
            "digit in + 2 \\sqrt{1-\\beta_t}",
            "digit in Cov}[x_{t-1}, \\varep",
            "sqrt in -\\beta_t} \\sqrt{\\bet",
            "sqrt in \\quad + 2 \\sqrt{1-\\b",
            "t->t-1 in rt{1-\\beta_t} \\sqrt{",
            "t->t-1 in sqrt{\\beta_t} \\opera",
            "t->t-1 in varepsilon_t] \\\\\n&\\q",
        ),
    ),
    "eq-noising-distance": Check(
        "book/10_noising.md: formula",
        WHOLE_CHAIN + "variances are sums over the sources.",
        chains,
        ((r"(1-\beta_t)", r"\sqrt{1-\beta_t}"), (r"x_{t-1}", r"x_t")),
    ),
    "eq-noising-walk": Check(
        "book/10_noising.md: walk",
        "float64: a chain without the factor, kept as a combination of independent sources.",
        walks,
        ((r"\sum_{i=1}", r"\sum_{i=2}"), (r"\beta_i", r"\sqrt{\beta_i}")),
    ),
    "eq-noising-alpha": Check(
        "ddpm_lib/schedules.py: NoiseSchedule.alphas",
        "the definition, against the table of the chain's factors.",
        chains,
        ((r"1 - \beta_t", r"1 + \beta_t"),),
    ),
    "eq-noising-share": Check(
        "ddpm_lib/schedules.py: NoiseSchedule.alphas",
        WHOLE_CHAIN + "variances are sums over the sources.",
        chains,
        ((r"= \alpha_t", r"= \sqrt{\alpha_t}"),),
    ),
    "eq-noising-alpha-bar": Check(
        "ddpm_lib/schedules.py: NoiseSchedule.alpha_bars",
        "the definition, against the table of cumulative products.",
        chains,
        ((r"\prod_{i=1}^{t} \alpha_i", r"\prod_{i=1}^{t-1} \alpha_i"), (r"\sqrt{\alpha_i}", r"\alpha_i")),
    ),
    "eq-noising-component": Check(
        "book/10_noising.md: means, variances",
        "float64: mean and variance of a density that is pushed through the kernel on a grid.",
        mixtures,
        ((r"\sqrt{\alpha_t}\,", r"\alpha_t\,"), (r"+ \beta_t", r"- \beta_t"), (r"\alpha_t s", r"\sqrt{\alpha_t} s")),
    ),
    "eq-noising-mixture": Check(
        "book/10_noising.md: densities",
        "float64: a mixture is pushed through the kernel on a grid, step by step.",
        mixtures,
        ((r"s_{k,t}^2", r"s_{k,t}"), (r"w_k", r"w_k^2")),
    ),
    "eq-noising-jump": Check(
        "ddpm_lib/diffusion.py: add_noise",
        WHOLE_CHAIN + "the noise is what is left of x_t without x_0, scaled to variance 1.",
        chains,
        ((r"\sqrt{1-\bar\alpha_t}", r"(1-\bar\alpha_t)"), (r"\sqrt{\bar\alpha_t}", r"\bar\alpha_t")),
    ),
}

STEP = Says(chains, r"\operatorname{E}[x_t \mid x_{t-1}] = #1 x_{t-1}")
INLINE = Inline(
    chains,
    STEPS
    | {
        "multiplied by $#1$ and not by 1": STEP,
        "is standard noise times $#1$, its": Says(
            chains, r"x_t - \operatorname{E}[x_t \mid x_{t-1}] = #1 \varepsilon_t"
        ),
        "straight line from $#1$ to $#2$ (Ho": Says(library_steps, r"#1, \quad #2"),
        "Why $#1$, and not 1": STEP,
        "Put $X = #1$, $Y = #2$, $a = #3$ and $b = #4$.": Says(chains, r"x_t = #3 #1 + #4 #2"),
        "shrinks by the factor $#1$ at every": Says(
            chains, r"\operatorname{Var}[x_t] - 1 = #1 (\operatorname{Var}[x_{t-1}] - 1)"
        ),
        "Then $#1$ is a random walk": Says(walks),
        "multiplies the image by $#1$.": STEP,
        "$#1$ is the share of its amplitude": STEP,
        "The multiple should be $#1$.": AMPLITUDE,
        "Take $#1$: a quarter": Says(quarters, r"#1, \quad \sqrt{\bar\alpha_t} = \frac{1}{2}"),
        "multiplies the number by $#1$ and": STEP,
        r"What are $\bar\alpha_t$ and $#1$ there?": AMPLITUDE,
        "The amplitude that is kept is $#1$.": STEP,
        "at $#1$ the face still has half": Says(quarters, r"#1, \quad \sqrt{\bar\alpha_t} = \frac{1}{2}"),
        "multiplied by $#1$ instead of $#2$.": Says(shrunk_too_much, r"v = #1^2 v + \beta_t, \quad #2^2 + \beta_t = 1"),
        "no longer changes, so $#1$. This gives $#2$.": Says(shrunk_too_much, r"#1, \quad #2"),
    },
)
