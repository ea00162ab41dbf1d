"""The equation checks of the page on where to go next, and the worlds that only it uses."""

import math

import numpy as np

from tests.ledger.checking import Check
from tests.ledger.inline import Inline, Says
from tests.ledger.variables import Linear, World, condition
from tests.ledger.worlds import WHOLE_CHAIN, unit_chains

LABELS = (
    "float64: data of two labels, each a Gaussian; slopes of logarithms of densities by a complex step, answers of a "
    "perfect network by conditioning"
)
SHORT = "float64: one step of variance 0.0001; the step back from the joint Gaussian of x_0, x_{t-1} and x_t"
LINE = "float64: Gaussian data; guesses by conditioning the joint Gaussian of picture, noise and what lies between"


def labelled(gamma, c, bar, x):
    """A noisy number x of two labels, beside a perfect network that knows the label c or does not."""
    weights, means, deviations = (0.3, 0.7), (-0.6, 0.9), (0.5, 0.2)

    def log_joint(x, label):
        variance = bar * deviations[label] ** 2 + 1 - bar
        distance = (x - math.sqrt(bar) * means[label]) ** 2 / (2 * variance)
        return np.log(weights[label] / math.sqrt(variance)) - distance

    def log_density(x):
        return np.log(np.exp(log_joint(x, 0)) + np.exp(log_joint(x, 1)))

    def log_label(x, label=c):
        return log_joint(x, label) - log_density(x)

    def slope(function):
        return function(x + 1e-30j).imag / 1e-30

    def noise(at, t, label=None):
        if label is None:
            return sum(math.exp(log_label(at, each)) * noise(at, t, each) for each in (0, 1))
        image, fresh = Linear(means[label], [deviations[label], 0], [0, 0]), Linear(0.0, [0, 1], [0, 0])
        mixed = math.sqrt(bar) * image + math.sqrt(1 - bar) * fresh
        draw = mixed.weights * (at - mixed.mean) / (mixed.weights**2).sum()
        return condition([fresh], [Linear(mixed.mean, mixed.weights, draw)])[0][0]

    known = {(x,): slope(log_density), ((x,), (c,)): slope(lambda at: log_joint(at, c))}
    names = {
        **{"t": 5, "c": c, r"\gamma": gamma, "x": {5: x}.__getitem__, r"\bar\alpha": {5: bar}.__getitem__},
        r"\varepsilon_\theta": noise,
        r"\tilde\varepsilon": -math.sqrt(1 - bar) * (slope(log_density) + gamma * slope(log_label)),
        "s_t": lambda *at: known[tuple(tuple(each) if isinstance(each, list) else each for each in at)],
        r"\partial\logq(c\midx_t)/\partialx_t": slope(log_label),
    }
    return World(names)


def labels(gammas=(1.7, 3.0)):
    return [labelled(gammas[0], 0, 0.3, 0.4), labelled(gammas[1], 1, 0.6, -0.8)]


def latents():
    """A chain whose clean end is what an encoder makes of a picture, divided by its deviation."""
    worlds = []
    for world, s in zip(unit_chains(), (0.4, 1.7, 5.5), strict=True):
        y, picture = world.names["x"], 2.3
        own = {"s": s, "y": y, "x": picture, "f": {picture: s * y(0)}.__getitem__}
        worlds.append(World(world.names | own))
    return worlds


def short_steps():
    """One short step forward, and the same one back, by Algorithm 2 with a network that knows the noise."""
    worlds = []
    for seed, before in [(0, 0.6), (1, 0.2), (2, 0.9)]:
        beta, t = 1e-4, 7
        draw = np.random.default_rng(seed).standard_normal(3)
        clean, noise, fresh = (Linear(0.0, row, draw) for row in np.eye(3))
        x = {0: 0.4 + 0.8 * clean}
        x[t - 1] = math.sqrt(before) * x[0] + math.sqrt(1 - before) * noise
        x[t] = math.sqrt(1 - beta) * x[t - 1] + math.sqrt(beta) * fresh
        bar = (1 - beta) * before
        total = (x[t].value - math.sqrt(bar) * x[0].value) / math.sqrt(1 - bar)
        mean = condition([x[t - 1]], [x[t], x[0]])[0][0]
        names = {
            **{"t": t, "x": lambda i, x=x: x[i].value, "z": (x[t - 1].value - mean) / math.sqrt(beta)},
            **{r"\beta": {t: beta}.__getitem__, r"\bar\alpha": {t: bar, t - 1: before}.__getitem__},
            r"\varepsilon": {t: fresh.value}.__getitem__,
            r"\varepsilon_\theta": lambda *at, seen={(x[t].value, t): total}: seen[at],
            r"s_\theta": {x[t].value: -total / math.sqrt(1 - bar)}.__getitem__,
        }
        worlds.append(World(names))
    return worlds


def ignored_labels():
    return labels((0, 0))


def labels_as_learned():
    return labels((1, 1))


def lines(places=((0, 0.7, 0.4), (1, 0.3, 0.05), (2, 0.9, 0.8))):
    """A point on the line between picture and noise, the guesses there, and the point that DDIM goes to."""
    worlds = []
    for seed, tau, after in places:
        draw = np.random.default_rng(seed).standard_normal(2)
        clean, noise = Linear(0.0, [1.0, 0.0], draw), Linear(0.0, [0.0, 1.0], draw)
        between = (1 - tau) * clean + tau * noise
        (guess, of_noise, velocity), _ = condition([clean, noise, noise - clean], [between])

        def share(at, clean=clean, noise=noise):
            """The share of the variance that is the picture's, for data of variance 1."""
            weights = ((1 - at) * clean + at * noise).weights
            return weights[0] ** 2 / (weights**2).sum()

        ddim = math.sqrt(share(after)) * guess + math.sqrt(1 - share(after)) * of_noise
        moving = (1 - (tau + 1e-30j)) * clean.value + (tau + 1e-30j) * noise.value
        names = {
            **{r"\tau": tau, r"\tau'": after, "x_0": clean.value, r"\varepsilon": noise.value},
            **{r"x_\tau": between.value, r"\hatx_0": guess, r"\hat\varepsilon": of_noise},
            **{r"\hatu": velocity, r"u_\theta": velocity, r"\bar\alpha": share(tau)},
            r"x_\tau'": ddim * math.hypot(1 - after, after),
            r"\mathrm{d}x_\tau/\mathrm{d}\tau": moving.imag / 1e-30,
        }
        worlds.append(World(names))
    return worlds


def ends():
    return lines([(seed, 1, 0.5) for seed in (0, 1)])


def constant_velocities():
    """Quadrature over picture and noise beside a network that answers u; L is a square and two variances."""
    nodes, weights = np.polynomial.hermite_e.hermegauss(6)
    weights = weights / math.sqrt(2 * math.pi)
    rule = {"x_0": (nodes + 0.4, weights), r"\varepsilon": (nodes, weights)}
    return [World({r"u_\theta": u, "L": (u + 0.4) ** 2 + 2.0}, quadrature=rule) for u in (0.3, -1.2)]


CHECKS: dict[str, Check] = {
    "eq-next-guidance": Check(
        "book/where_to_go_next.md: guided",
        LABELS + ". Guided noise is the slope of log q(x_t) + gamma log q(c | x_t), turned around.",
        labels,
        ((r"+ \gamma", r"- \gamma"), (r"c) - \varepsilon", r"c) + \varepsilon")),
    ),
    "eq-next-label": Check(
        "book/where_to_go_next.md: the text",
        LABELS + ".",
        labels,
        ((r"s_t(x_t) + \frac", r"s_t(x_t) - \frac"), (r"s_t(x_t \mid c)", "s_t(x_t)")),
    ),
    "eq-next-latent": Check(
        "ddpm_lib/diffusion.py: add_noise",
        WHOLE_CHAIN + "its clean end is the encoder's answer over s.",
        latents,
        ((r"\frac{f(x)}{s}", r"f(x)\, s"), (r"\sqrt{\bar\alpha_t}", r"\bar\alpha_t")),
    ),
    "eq-next-short": Check(
        "ddpm_lib/sampling.py: ddpm_sample",
        SHORT + ".",
        short_steps,
        ((r"x_{t-1} - \frac", r"x_{t-1} + \frac"), (r"+ \beta_t\, s", r"- \beta_t\, s"), (r"\frac{\beta_t}{2}", "0")),
        tolerance=1e-6,
    ),
    "eq-next-line": Check(
        "book/where_to_go_next.md: the text",
        "float64: the slope by a complex step.",
        lines,
        (("(1 - \\tau)", "(1 + \\tau)"), (r"\varepsilon - x_0", r"x_0 - \varepsilon")),
    ),
    "eq-next-euler": Check(
        "ddpm_lib/sampling.py: ddim_sample",
        LINE + "; where the step leads is DDIM's answer, in other units.",
        lines,
        ((r"(\tau' - \tau)", r"(\tau - \tau')"), (r"x_\tau + ", r"x_\tau - ")),
    ),
    "eq-next-bridge": Check(
        "book/where_to_go_next.md: the text",
        "float64: alpha-bar is the picture's share of the variance, for data of variance 1.",
        lines,
        ((r"\sqrt{(1 - \tau)^2 + \tau^2}", r"(1 - \tau) + \tau"), (r"\frac{(1 - \tau)^2}", r"\frac{1 - \tau}")),
    ),
    "eq-next-velocity": Check(
        "book/where_to_go_next.md: the text",
        LINE + ".",
        lines,
        ((r"{1 - \tau}", r"{\tau}"), (r"\hat\varepsilon - \hat", r"\hat\varepsilon + \hat")),
    ),
}

INLINE = Inline(
    lines,
    {
        "With $#1$ the label is ignored,": Says(
            ignored_labels, r"#1, \quad \tilde\varepsilon = \varepsilon_\theta(x_t, t)"
        ),
        "with $#1$ it is used as learned,": Says(
            labels_as_learned, r"#1, \quad \tilde\varepsilon = \varepsilon_\theta(x_t, t, c)"
        ),
        "answer as a score, $#1$.": Says(short_steps),
        "The loss is the mean of $#1$, with": Says(constant_velocities, r"L = \operatorname{E}[#1]"),
        "start at $#1$ with noise": Says(ends, r"#1, \quad x_\tau = \varepsilon"),
        "is the error of the noise divided by $#1$.": Says(
            lines, r"\hat u - (\varepsilon - x_0) = \frac{\hat\varepsilon - \varepsilon}{#1}"
        ),
    },
)
