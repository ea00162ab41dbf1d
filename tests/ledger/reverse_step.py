"""The equation checks of the chapter on the reverse step, and the worlds that only it uses."""

import math

import numpy as np
from scipy.stats import multivariate_normal

from tests.ledger.checking import Check
from tests.ledger.inline import AMPLITUDE, Inline, Says
from tests.ledger.variables import Linear, World, condition, conditional_density, covariance
from tests.ledger.worlds import WHOLE_CHAIN, chain, chains, library_steps, single_points, symbolic_step

UNKNOWN = WHOLE_CHAIN + "with x_0 unknown, means and variances come from their joint covariance matrix"


def regression(target, given):
    """The mean of `target` as a function of what is given, and its variance, from the joint Gaussian."""
    joint = np.array([[covariance(a, b) for b in given] for a in given])
    factors = np.linalg.solve(joint, [covariance(target, variable) for variable in given])

    def mean(*values):
        parts = (factor * (x - v.mean) for factor, x, v in zip(factors, values, given, strict=True))
        return sum(parts, start=0 * values[0]) + target.mean

    return mean, condition([target], given)[1][0, 0]


def on_a_line(x_0):
    """Conditional densities in which x_0 may be an array of values, as under an integral."""

    def density(targets, given):
        if not any(isinstance(variable, np.ndarray) for variable in targets + given):
            return conditional_density(targets, given)
        variables = [x_0 if isinstance(variable, np.ndarray) else variable for variable in targets + given]
        values = [v if isinstance(v, np.ndarray) else v.value for v in targets + given]
        mean, variance = regression(variables[0], variables[1:])
        return np.exp(-((values[0] - mean(*values[1:])) ** 2) / (2 * variance)) / math.sqrt(2 * math.pi * variance)

    return density


def with_network(world):
    """Add a network that answers with what is expected, and the step back that follows from it."""
    x, noise, t = world.random["x"], world.random[r"\varepsilon"](), world.names["t"]
    mean, variance = regression(x(t - 1), [x(t)])
    guess, _ = regression(x(0), [x(t)])
    answer, _ = regression(noise, [x(t)])
    drawn = [x(i).value for i in range(world.names["T"] + 1)]

    def reverse(*sides):
        if len(sides) == 1:
            return conditional_density([x(drawn.index(value)) for value in sides[0]], [])
        (to,), (start,) = sides
        return conditional_density([x(drawn.index(to))], [x(drawn.index(start))])

    def at_t(function):
        return lambda at, step: {t: function}[step](at)

    names = {
        r"\varepsilon_\theta": at_t(answer),
        r"\mu_\theta": at_t(mean),
        r"\hatx": {0: guess(x(t).value)}.__getitem__,
        r"\sigma": {t: math.sqrt(variance)}.__getitem__,
        "z": (x(t - 1).value - mean(x(t).value)) / math.sqrt(variance),
        r"p_\theta": reverse,
        "p": lambda value: conditional_density([x(drawn.index(value))], []),
    }
    if t > 1:
        posterior, spread = regression(x(t - 1), [x(t), x(0)])
        names |= {r"\tilde\mu_t": posterior, r"\tilde\beta": {t: spread}.__getitem__}
    else:
        names |= {r"\tilde\mu_t": lambda at, image: image, r"\tilde\beta": {1: 0.0}.__getitem__}
    return World(world.names | names, world.random, density=on_a_line(x(0)))


def steps_back():
    return [with_network(world) for world in chains()]


def last_steps():
    """At step 1; z is the noise that leads from the mean to the best guess of x_0."""
    worlds = []
    for world in [with_network(chain(seed, 1)) for seed in (0, 1)]:
        names = world.names
        mean = names[r"\mu_\theta"](names["x"](1), 1)
        names["z"] = (names[r"\hatx"](0) - mean) / names[r"\sigma"](1)
        worlds.append(world)
    return worlds


def data_of_deviation(s):
    """Steps back for data of this width, with the names of a walk."""
    data = [with_network(chain(seed, t, s=s)) for seed, t in [(0, 2), (1, 4), (2, 6)]]
    return [World(walk.names | world.names, world.random) for walk, world in zip(walks(data), data, strict=True)]


def everything():
    return data_of_deviation(0.7)


def unit_data():
    return data_of_deviation(1.0)


def single_point():
    return single_points(data_of_deviation)


def answers():
    """The noise for one x_t as a random variable, and some answer c."""
    worlds = []
    nodes, weights = np.polynomial.hermite_e.hermegauss(8)
    for world, c in zip(chains(), (0.0, -0.7, 1.2), strict=True):
        x, noise = world.random["x"], world.random[r"\varepsilon"]()
        means, covariances = condition([noise], [x(world.names["t"])])
        deviation = math.sqrt(covariances[0, 0])
        law = {r"\varepsilon": Linear(means[0], [deviation], np.zeros(1))}
        rule = (means[0] + deviation * nodes, weights / weights.sum())
        worlds.append(World({"c": c}, law, quadrature={r"\varepsilon": rule}))
    return worlds


def strides():
    return [World(world.names | {"k": k}, world.random) for world, k in zip(chains(), (1, 2, 4), strict=True)]


def walks(data=None):
    """A walk back from a standard normal, with the true means and any fresh noise: all of it from sources."""
    worlds = []
    for world in data or chains():
        x, last = world.random["x"], world.names["T"]
        chosen = np.random.default_rng(9).uniform(0.1, 0.6, last + 1)
        sources = [Linear(0.0, row, np.zeros(last + 1)) for row in np.eye(last + 1)]
        walk = {last: sources[last]}
        for i in range(last, 0, -1):
            step_back, _ = regression(x(i - 1), [x(i)])
            walk[i - 1] = step_back(walk[i]) + chosen[i] * sources[i - 1]
        u = {i: (walk[i].weights ** 2).sum() for i in walk}
        v = {i: (x(i).weights ** 2).sum() for i in walk}
        bars = [world.names[r"\bar\alpha"](i) for i in walk][::-1]
        names = {
            "m": x(0).mean,
            "s": math.sqrt(v[0]),
            "u": u.__getitem__,
            "v": v.__getitem__,
            r"\sigma": lambda i, chosen=chosen: {j: chosen[j] for j in range(1, len(chosen))}[i],
            "S": lambda i, u=u, v=v, bars=bars: bars[i] * u[i] / v[i] ** 2 - bars[-1] / v[len(bars) - 1] ** 2,
        }
        worlds.append(World(world.names | names, world.random | {"x": walk.__getitem__}))
    return worlds


def true_means():
    """The same names, with x the chain of the data."""
    return [World(walk.names, data.random) for walk, data in zip(walks(), chains(), strict=True)]


def energies():
    """Energy distance of two samples on a line: twice the area between their distribution functions, squared."""
    worlds = []
    for seed in (0, 1):
        rng = np.random.default_rng(seed)
        x, y = rng.standard_normal(7), rng.standard_normal(5) + 0.4
        ends = np.sort(np.append(x, y))
        steps = [(np.mean(x <= end) - np.mean(y <= end)) ** 2 for end in ends[:-1]]
        names = {"D": 2 * (steps * np.diff(ends)).sum()}
        for key, a, b in [("d_xy", x, y), ("d_xx", x, x), ("d_yy", y, y)]:
            names[key] = np.mean([abs(p - q) for p in a for q in b])
        worlds.append(World(names))
    return worlds


def finite_sets():
    """Bayes' rule for five points in space, with SciPy's density; of a picture, the first number."""
    worlds = []
    for seed, bar in [(0, 0.4), (1, 0.8)]:
        rng = np.random.default_rng(seed)
        points, x_t = rng.uniform(-1, 1, (5, 3)), rng.standard_normal(3)
        densities = [multivariate_normal.pdf(x_t, math.sqrt(bar) * point, (1 - bar) * np.eye(3)) for point in points]
        chances = dict(enumerate(np.array(densities) / sum(densities), 1))
        names = {
            "t": 7,
            "i": 2 + seed,
            "K": 5,
            r"\bar\alpha": {7: bar}.__getitem__,
            "w": chances.__getitem__,
            "a": {i: point[0] for i, point in enumerate(points, 1)}.__getitem__,
            "d": {i: math.dist(x_t, math.sqrt(bar) * point) for i, point in enumerate(points, 1)}.__getitem__,
            r"\hatx": {0: sum(chance * points[i - 1, 0] for i, chance in chances.items())}.__getitem__,
        }
        worlds.append(World(names))
    return worlds


def guesses():
    """Steps back whose guess is in range, or out of it on one side."""
    worlds = []
    for world, guess, kept in zip(chains(), (0.4, 1.3, -2.0), (0.4, 1.0, -1.0), strict=True):
        x, t = world.random["x"], world.names["t"]
        posterior, _ = regression(x(t - 1), [x(t), x(0)])
        names = {
            r"\hatx": {0: guess}.__getitem__,
            r"\hatx'": {0: kept}.__getitem__,
            r"\mu": posterior(x(t).value, kept),
            r"\tilde\mu_t": posterior,
        }
        worlds.append(World(world.names | names, world.random))
    return worlds


CHECKS: dict[str, Check] = {
    "eq-reverse-average": Check(
        "book/40_reverse_step.md: true_step_back",
        UNKNOWN + "; the integral is a sum over a grid.",
        steps_back,
        ((r"q(x_{t-1} \mid x_t, x_0)", r"q(x_{t-1} \mid x_0)"), (r"q(x_0 \mid x_t)", "q(x_0)")),
    ),
    "eq-reverse-true-mean": Check(
        "book/40_reverse_step.md: moments_of_step_back",
        UNKNOWN + ".",
        steps_back,
        ((r"\mathbb{E}[x_0 \mid x_t]", "x_0"), (r"\tilde\mu_t(x_t, x_0) \mid x_t", r"\tilde\mu_t(x_0, x_t) \mid x_t")),
    ),
    "eq-reverse-true-variance": Check(
        "book/40_reverse_step.md: moments_of_step_back",
        UNKNOWN + ".",
        steps_back,
        (
            (r"\right)^2", r"\right)"),
            (r"\sqrt{\bar\alpha_{t-1}}", r"\sqrt{\bar\alpha_t}"),
            (r"\tilde\beta_t", r"\beta_t"),
        ),
    ),
    "eq-reverse-model": Check(
        "book/40_reverse_step.md: by_hand",
        UNKNOWN + "; for Gaussian data the true step back is such a Gaussian.",
        steps_back,
        ((r"\sigma_t^2", r"\sigma_t"), (r"\mu_\theta", r"\varepsilon_\theta")),
    ),
    "eq-reverse-joint": Check(
        "book/40_reverse_step.md: by_hand",
        WHOLE_CHAIN + "the density of the whole path is that of all its points at once.",
        steps_back,
        (("p(x_T)", "p(x_0)"), (r"\prod_{t=1}", r"\prod_{t=2}")),
    ),
    "eq-reverse-squares": Check(
        "book/40_reverse_step.md: the text",
        "float64: the expected square by quadrature over the law of the noise, for one x_t.",
        answers,
        (("- c)^2 $".strip(" $"), "+ c)^2"), (r"\operatorname{Var}[\varepsilon] + ", "")),
    ),
    "eq-reverse-best": Check(
        "ddpm_lib/exact.py: GaussianMixture.expected_noise",
        UNKNOWN + ".",
        steps_back,
        ((r"{\sqrt{1 - \bar\alpha_t}}", r"{1 - \bar\alpha_t}"), (r"\sqrt{\bar\alpha_t}\, \mathbb", r"\mathbb")),
    ),
    "eq-reverse-estimate": Check(
        "ddpm_lib/diffusion.py: x_0_from_noise",
        UNKNOWN + "; the network answers with the expected noise.",
        steps_back,
        ((r"\sqrt{1 - \bar\alpha_t}\, ", ""), (r"{\sqrt{\bar\alpha_t}}", r"{\bar\alpha_t}")),
    ),
    "eq-reverse-choice": Check(
        "ddpm_lib/sampling.py: ddpm_sample",
        UNKNOWN + "; a perfect network finds the true mean.",
        steps_back,
        ((r"\hat x_0)", "x_0)"), (r"(1 - \bar\alpha_{t-1})", r"(1 - \bar\alpha_t)"), (r"\, \beta_t", r"\, \alpha_t")),
    ),
    "reverse-noise-factor": Check(
        "book/40_reverse_step.md: by_hand",
        "SymPy: all members are the same expression.",
        symbolic_step,
        ((r"{\sqrt{\bar\alpha_t}} \\", r"{\bar\alpha_t} \\"), (r"\frac{1}{\sqrt{\alpha_t}}", r"\frac{1}{\alpha_t}")),
    ),
    "eq-reverse-mean": Check(
        "book/40_reverse_step.md: by_hand",
        UNKNOWN + "; a perfect network finds the true mean.",
        steps_back,
        (
            (r"\frac{\beta_t}{\sqrt{1 - \bar\alpha_t}}", r"\sqrt{\beta_t}"),
            (r"\frac{\beta_t}{\sqrt{1 - \bar\alpha_t}}", r"\frac{\beta_t}{\sqrt{1 - \alpha_t}}"),
            (r"\frac{1}{\sqrt{\alpha_t}}", r"\frac{1}{\alpha_t}"),
        ),
    ),
    "eq-reverse-step": Check(
        "book/40_reverse_step.md: by_hand",
        UNKNOWN + "; z is what is left of x_{t-1} without the true mean, over its deviation.",
        steps_back,
        ((r"\sigma_t z", r"\sigma_t^2 z"), (r"\frac{1}{\sqrt{\alpha_t}}", r"\frac{1}{\sqrt{\bar\alpha_t}}")),
    ),
    "eq-reverse-solved": Check(
        "book/40_reverse_step.md: wrong_walk",
        WHOLE_CHAIN + "both sides are evaluated on a draw.",
        chains,
        ((r"\varepsilon_t", r"\varepsilon"), (r"\sqrt{\beta_t}", r"\beta_t")),
    ),
    "eq-reverse-share": Check(
        "book/40_reverse_step.md: gathered",
        WHOLE_CHAIN + "both sides are evaluated on a draw.",
        chains,
        ((r"\bar\varepsilon_{t-1}", r"\bar\varepsilon_t"), (r"\sqrt{\alpha_t} ", "")),
    ),
    "eq-reverse-covariance": Check(
        "book/40_reverse_step.md: share",
        WHOLE_CHAIN + "the covariance is a sum over the sources.",
        chains,
        ((r"{\sqrt{1 - \bar\alpha_t}}", r"{1 - \bar\alpha_t}"), (r"{\sqrt{\beta_t}}", r"{\beta_t}")),
    ),
    "eq-reverse-guess": Check(
        "book/40_reverse_step.md: share",
        WHOLE_CHAIN + "the conditional mean comes from the joint covariance matrix.",
        chains,
        ((r"\, \varepsilon", r"\, \varepsilon_t"), (r"\frac{\sqrt{\beta_t}}", r"\frac{\beta_t}")),
    ),
    "eq-reverse-lost": Check(
        "book/40_reverse_step.md: share",
        WHOLE_CHAIN + "the conditional variances come from the joint covariance matrix.",
        steps_back,
        ((r"\frac{\beta_t}{\alpha_t}", r"\beta_t"), (r"= 1 - \frac", r"= \frac")),
    ),
    "eq-reverse-last": Check(
        "book/40_reverse_step.md: by_hand",
        UNKNOWN + ", at the first step.",
        last_steps,
        (
            (r"\frac{\beta_1}{\sqrt{1 - \bar\alpha_1}}", r"\frac{\beta_1}{1 - \bar\alpha_1}"),
            (r"{\sqrt{\bar\alpha_1}}", r"{\bar\alpha_1}"),
        ),
        # at step 1 alpha and alpha_bar are one number
        blind=(
            "bar in 1)}{\\sqrt{\\bar\\alpha",
            "bar in \\sqrt{1 - \\bar\\alpha",
            "bar in \\sqrt{1 - \\bar\\alpha",
        ),
    ),
    "eq-reverse-stride": Check(
        "book/40_reverse_step.md: by_hand",
        WHOLE_CHAIN + "the conditional variance comes from the joint covariance matrix.",
        strides,
        ((r"\bar\alpha_{t-k}", r"\bar\alpha_{t-1}"), (r"\frac{\bar\alpha_t}", r"\frac{\alpha_t}")),
    ),
    "eq-reverse-gain": Check(
        "book/40_reverse_step.md: gaussian_noise",
        UNKNOWN + ".",
        true_means,
        ((r"\sqrt{\alpha_t}\, v", r"\alpha_t\, v"), (r"{v_t} \left", r"{v_{t-1}} \left")),
    ),
    "eq-reverse-recursion": Check(
        "book/40_reverse_step.md: last_ratio",
        "float64: the walk is kept as a combination of independent sources; its factors come from the data's chain.",
        walks,
        ((r"v_{t-1}^2", r"v_{t-1}"), (r"\sigma_t^2", r"\sigma_t"), (r"\alpha_t", r"\sqrt{\alpha_t}")),
    ),
    "reverse-telescope": Check(
        "book/40_reverse_step.md: walk_variances",
        "float64: the walk is kept as a combination of independent sources; its factors come from the data's chain.",
        walks,
        ((r"\bar\alpha_{t-1} \sigma_t^2", r"\bar\alpha_t \sigma_t^2"), (r"{v_t^2}", r"{v_t}")),
    ),
    "eq-reverse-closed": Check(
        "book/40_reverse_step.md: walk_variances",
        "float64: the walk is kept as a combination of independent sources; its factors come from the data's chain.",
        walks,
        (
            (r"\frac{\bar\alpha_T}{v_T^2}", r"\frac{\bar\alpha_T}{v_T}"),
            (r"i=t+1", r"i=t"),
            (r"\bar\alpha_{i-1}", r"\bar\alpha_i"),
        ),
    ),
    "eq-reverse-drift": Check(
        "book/40_reverse_step.md: walk_mean",
        "float64: the walk is kept as a combination of independent sources; its factors come from the data's chain.",
        walks,
        (("= -", "= "), (r"\frac{v_t}{v_T}", r"\frac{v_T}{v_t}")),
    ),
    "reverse-stays-right": Check(
        "book/40_reverse_step.md: the text",
        WHOLE_CHAIN + "variances are sums over the sources.",
        walks,
        ((r"\alpha_t v_{t-1} + \beta_t", r"\alpha_t v_t + \beta_t"), (r"{v_t^2}\, v_t", r"{v_t^2}\, v_{t-1}")),
    ),
    "eq-reverse-energy": Check(
        "book/40_reverse_step.md: energy_distance",
        "float64: on a line, twice the squared distance of the two distribution functions.",
        energies,
        (("2 d_{xy}", "d_{xy}"), ("- d_{yy}", "")),
    ),
    "eq-reverse-weights": Check(
        "book/40_reverse_step.md: weights_of",
        "SciPy: Bayes' rule with the densities of five points in space.",
        finite_sets,
        ((r"2 (1 - \bar\alpha_t)", r"(1 - \bar\alpha_t)"), ("d_i^2", "d_i"), (r"{\sum_{j=1}^{K}", r"{\sum_{j=2}^{K}")),
    ),
    "eq-reverse-finite": Check(
        "ddpm_lib/exact.py: GaussianMixture.expected_x_0",
        "SciPy: Bayes' rule with the densities of five points in space.",
        finite_sets,
        (("w_i a_i", "a_i"), (r"\sum_{i=1}", r"\sum_{i=2}")),
    ),
    "eq-reverse-clipped": Check(
        "ddpm_lib/sampling.py: clip",
        WHOLE_CHAIN + "the posterior comes from their joint covariance matrix; guesses in and out of range.",
        guesses,
        ((r"\max(-1", r"\max(0"), (r"\min(1", r"\min(2"), (r"\hat x_0')", r"\hat x_0)")),
    ),
}
SHARE = r"\sqrt{\alpha_t} \mu_\theta(x_t, t) = x_t - #1 \varepsilon_\theta(x_t, t)"
INLINE = Inline(
    everything,
    {
        "say for which data $#1$ is exact": Says(unit_data),
        "In the fraction of roots, $#1$ cancels and leaves $#2$ below.": Says(
            chains, r"#1 / \sqrt{\bar\alpha_t} = 1 / #2"
        ),
        "the weight of $\\hat x_0$ over $#1$.": AMPLITUDE,
        "Both have the factor $#1$, and before $x_t$ nothing else is left.": Says(
            everything,
            r"\mu_\theta(x_t, t) = #1 (x_t - \beta_t / \sqrt{1 - \bar\alpha_t} \varepsilon_\theta(x_t, t))",
        ),
        "for $t = #1, \\dots, #2$ |": Says(library_steps, r"#1 = T, \quad #2 = 1"),
        "else $#1$ |": Says(last_steps),
        "$#1$ undoes the shrinking: the noising step multiplied by $#2$.": Says(
            chains, r"#1 #2 = 1, \quad x_t = #2 x_{t-1} + \sqrt{\beta_t} \varepsilon_t"
        ),
        "$#1$ is a product. One $#2$ is the size of the noise of this step. The rest, $#3$, is": Says(
            everything,
            SHARE + r", \quad x_t - \sqrt{\alpha_t} x_{t-1} = #2 \varepsilon_t, "
            r"\quad \operatorname{Cov}[\varepsilon_t, \varepsilon] = #3, \quad #1 = #2 #3",
        ),
        "leaves a variance of $#1$ in $\\varepsilon_t$:": Says(
            chains, r"\operatorname{Var}[\varepsilon_t \mid x_t, x_0] = #1"
        ),
        "has the factor $#1$, whose square": Says(
            everything, r"\tilde\beta_t = {#1}^2 \operatorname{Var}[\varepsilon_t \mid x_t, x_0]"
        ),
        "For $#1$ all noise is the noise of this step.": Says(last_steps, r"#1, \quad \varepsilon_1 = \varepsilon"),
        "nothing is lost, and $#1$.": Says(last_steps),
        "Multiply by $#1$. Then": Says(everything, r"#1 \frac{\alpha_t v_{t-1}^2}{v_t^2} = \bar\alpha_t / v_t^2"),
        "mean starts at 0 and not at $#1$.": Says(everything, r"\operatorname{E}[x_T] = #1"),
        "The true step back has the variance $#1$, by": Says(everything, r"\operatorname{Var}[x_{t-1} \mid x_t] = #1"),
        "For data of variance 1 all $v_t$ are 1, and this is $#1$.": Says(unit_data, r"v_t = 1, \quad #1"),
        "a single point, $#1$, and it is $#2$.": Says(single_point, r"#1, \quad #2"),
        "It takes away $#1$ times the answer, where $#2$ times the answer is right. That is too much by the "
        "factor $#3$,": Says(
            everything,
            SHARE.replace("#1", "#2") + r", \quad x_t - \sqrt{\alpha_t} x_{t-1} = #1 \varepsilon_t, \quad #1 / #2 = #3",
        ),
        r"distance of $x_t$ from $#1\, a_i$,": AMPLITUDE,
        "as $t$ falls, $#1$ goes to 0": Says(chains, r"\operatorname{Var}[x_t \mid x_0] = #1"),
        "an error in the noise is divided by $#1$.": AMPLITUDE,
        '**"$#1$."** The article gives': Says(unit_data),
        "**$#1$ or $#2$.** The article has $#3$ before": Says(
            everything, SHARE.replace("#1", "#3") + r", \quad #1 = #2"
        ),
        "Algorithm 2 sets $#1$ for $#2$.": Says(last_steps, r"#1, \quad #2"),
        "which has $#1$, 0.6 % of the image,": Says(chains, r"\operatorname{E}[x_T \mid x_0] = #1 x_0"),
        "only the share $#1$ of that noise is taken away": Says(
            everything,
            SHARE.replace("#1", r"#1 \sqrt{1 - \bar\alpha_t}"),
        ),
        "Write {eq}`eq-reverse-step` with $#1$.": Says(unit_data),
        "{eq}`eq-reverse-recursion`, with $#1$.": Says(unit_data),
    },
    blind={
        "at step 1 alpha and alpha_bar are one number": (
            r"bar in \bar\alpha_1 = \alph of $\bar\alpha_1 = \alpha_1$",
            r"bar in a_1 = 1 - \bar\alpha of $\beta_1 = 1 - \bar\alpha_1$",
        ),
    },
)
