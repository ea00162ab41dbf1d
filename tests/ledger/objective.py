"""The equation checks of the chapter on the objective, and the worlds that only it uses."""

import itertools
import math

import numpy as np
from scipy.stats import norm

from ddpm_lib import schedules
from ddpm_lib.exact import GaussianMixture
from tests.ledger.checking import Check
from tests.ledger.inline import Inline, Says
from tests.ledger.variables import World
from tests.ledger.worlds import divergence, numbers, symbolic_step

LAST = 3


def joint_table(seed, backwards):
    """Probabilities of all paths (x_0, .., x_3) of a chain with three states, from random tables."""
    rng = np.random.default_rng(seed)
    first, *tables = rng.uniform(0.02, 1, (LAST + 1, 3, 3)) ** 3
    first, tables = first[0] / first[0].sum(), [table / table.sum(axis=1, keepdims=True) for table in tables]
    paths = np.zeros((3,) * (LAST + 1))
    for path in itertools.product(range(3), repeat=LAST + 1):
        along = path[::-1] if backwards else path
        paths[path] = first[along[0]] * math.prod(tables[i][along[i], along[i + 1]] for i in range(LAST))
    return paths


def share(table, points):
    """Probability of some points (i, state) of a path: a sum over all others."""
    where = [slice(None)] * (LAST + 1)
    for i, state in points:
        where[i] = state
    return table[tuple(where)].sum()


def conditional(table):
    """Density of some points of a path, given others, by its definition."""
    return lambda targets, given=(): share(table, [*targets, *given]) / share(table, given)


def small_worlds():
    """Paths of three states, all of them listed: every density is a sum over a table, every mean a sum over paths."""
    worlds = []
    for seed in (0, 1, 6):
        q_table, p_table = joint_table(seed, False), joint_table(seed + 10, True)
        q, p = conditional(q_table), conditional(p_table)
        start = int(q_table.sum(axis=(1, 2, 3)).argmax())
        paths = [(start, *rest) for rest in itertools.product(range(3), repeat=LAST)]

        def point(path):
            return {"x": lambda i, path=path: (i, path[i])}

        def kl(first, second):
            return float((first * np.log(first / second)).sum())

        q_paths = q_table[start] / q_table[start].sum()
        p_paths = p_table[start] / p_table[start].sum()
        bound = float((q_paths * np.log(q_paths / p_table[start])).sum())
        ends = q_paths.sum(axis=(0, 1)), p_table.sum(axis=(0, 1, 2))

        def step_back(names, q=q, p=p, start=start):
            here, t = names["x"](names["t"]), names["t"]
            pair = [
                [q([(t - 1, state)], [here, (0, start)]) for state in range(3)],
                [p([(t - 1, state)], [here]) for state in range(3)],
            ]
            return kl(*np.array(pair))

        at = [q_paths.sum(axis=(1, 2)), q_paths.sum(axis=(0, 2)), q_paths.sum(axis=(0, 1))]  # q(x_t | x_0)
        terms = {LAST: kl(*ends)}
        for t in range(2, LAST + 1):
            names = [{"t": t, "x": lambda i, t=t, state=state: {t: (t, state)}[i]} for state in range(3)]
            terms[t - 1] = sum(at[t - 1][state] * step_back(names[state]) for state in range(3))
        terms[0] = -sum(at[0][state] * math.log(p([(0, start)], [(1, state)])) for state in range(3))
        unlikely = min(paths, key=lambda path: share(p_table, [(1, path[1])]))
        base = {
            **point(unlikely),
            "t": 2,
            "T": LAST,
            "p": lambda state, p=p: p([state]),
            r"p_\theta": lambda *sides, p=p: p(
                *(side if isinstance(side, list) and side and isinstance(side[0], tuple) else [side] for side in sides)
            ),
            "L": lambda i=None, terms=terms, bound=bound: bound if i is None else terms[i],
            r"D_\mathrm{KL}(q(x_T\midx_0)\|p(x_T))": kl(*ends),
            r"D_\mathrm{KL}(q(x_{1:T}\midx_0)\|p_\theta(x_{1:T}\midx_0))": kl(q_paths, p_paths),
            r"D_\mathrm{KL}(q(x_{t-1}\midx_t,x_0)\|p_\theta(x_{t-1}\midx_t))": step_back,
        }
        rule = ([point(path) for path in paths], [q_paths[path[1:]] for path in paths])
        worlds.append(World(base, quadrature={"x": rule}, density=q))
    return worlds


def turned_steps():
    """The same, at each step from the second on."""
    return [World(world.names | {"t": t}, density=world.density) for world in small_worlds() for t in (2, 3)]


def positive_numbers():
    return [World({"u": u}) for u in (0.01, 0.3, 1, 1.7, 40)]


def scattered():
    """A positive number with three values, and its mean."""
    worlds = []
    for values, chances in [((0.2, 1.0, 5.0), (0.5, 0.3, 0.2)), ((2.0, 3.0, 3.5), (0.1, 0.6, 0.3))]:
        mean = math.fsum(a * b for a, b in zip(values, chances, strict=True))
        worlds.append(World({"m": mean}, quadrature={"y": (values, chances)}))
    return worlds


def kl_on_grid(m, v, n, w):
    """The divergence of N(m, v) from N(n, w): in units of the second one, the divergence from N(0, 1) by a grid."""
    return divergence((m - n) / math.sqrt(w), v / w)


def pairs():
    nodes, weights = np.polynomial.hermite_e.hermegauss(12)
    worlds = []
    for m, v, n, w in [(0.5, 0.3, -0.4, 1.3), (-1.2, 1.7, 0.3, 0.6)]:
        key = r"D_\mathrm{KL}(\mathcal{N}(m,v)\|\mathcal{N}(n,w))"
        names = {"m": m, "v": v, "n": n, "w": w, key: kl_on_grid(m, v, n, w)}
        rule = (m + math.sqrt(v) * nodes, weights / math.sqrt(2 * math.pi))
        worlds.append(World(names, quadrature={"x": rule}))
    return worlds


def library_variances():
    """The library's posterior variances, by step."""
    return [World({r"\tilde\beta": dict(enumerate(schedules.linear_schedule().posterior_variances, 1)).__getitem__})]


def from_standard():
    """The divergence of a Gaussian from the standard one, summed over a grid."""
    return [World({"m": m, "v": v, "k": divergence(m, v)}) for m, v in [(0.5, 0.3), (-1.2, 1.7)]]


def networks(choice=None):
    """Scalar chains beside a network; posteriors by regression, divergences by a grid, means by quadrature."""
    nodes, weights = np.polynomial.hermite_e.hermegauss(10)
    worlds = []
    for seed, t in [(0, 2), (1, 4), (2, 6)]:
        rng = np.random.default_rng(seed)
        betas, x_0 = rng.uniform(0.05, 0.4, 6), 0.3 + seed
        variances, factors = [0.0], [1.0]  # of the noise in x_i, and of x_0 in it
        for beta in betas:
            variances.append((1 - beta) * variances[-1] + beta)
            factors.append(math.sqrt(1 - beta) * factors[-1])
        slope = math.sqrt(1 - betas[t - 1]) * variances[t - 1] / variances[t]
        small = variances[t - 1] - slope**2 * variances[t]
        sigma_squared = {None: 0.2 + 0.1 * seed, "beta": betas[t - 1], "posterior": small}

        def back(x, image, slope=slope, factors=factors, t=t):
            return factors[t - 1] * image + slope * (x - factors[t] * image)

        def noise_pred(x, i):
            return 0.3 * x - 0.1 * i

        def mean(x, i, back=back, factors=factors, variances=variances, t=t):
            if i != t:
                raise LookupError("the world knows one step")
            return back(x, (x - math.sqrt(variances[t]) * noise_pred(x, i)) / factors[t])

        def point(node, x_0=x_0, factors=factors, variances=variances, t=t):
            table = {0: x_0, t: factors[t] * x_0 + math.sqrt(variances[t]) * node}
            return {"x": table.__getitem__, r"\varepsilon": node}

        weights_here = weights / weights.sum()

        def terms(v, back=back, mean=mean, small=small, t=t, x_0=x_0, point=point, shares=weights_here):
            """L_{t-1}, C_t and the weight that the mean squared error of the noise has in their difference."""
            whole = error = 0.0
            for node, chance in zip(nodes, shares, strict=True):
                x = point(node)["x"](t)
                whole += chance * kl_on_grid(back(x, x_0), small, mean(x, t), v)
                error += chance * (node - noise_pred(x, t)) ** 2
            constant = kl_on_grid(0, small, 0, v)
            return whole, constant, (whole - constant) / error

        whole, constant, weight = terms(sigma_squared[choice])
        names = {
            "t": t,
            r"\beta": lambda i, betas=betas: betas[{j: j - 1 for j in range(1, 7)}[i]],
            r"\alpha": lambda i, betas=betas: 1 - betas[{j: j - 1 for j in range(1, 7)}[i]],
            r"\bar\alpha": lambda i, factors=factors: factors[i] ** 2,
            r"\tilde\beta": {t: small}.__getitem__,
            r"\sigma": {t: math.sqrt(sigma_squared[choice])}.__getitem__,
            r"\tilde\mu_t": back,
            r"\mu_\theta": mean,
            r"\varepsilon_\theta": noise_pred,
            "L": {t - 1: whole}.__getitem__,
            "C": {t: constant}.__getitem__,
            "w": {t: weight}.__getitem__,
            "w'": {t: terms(small)[2]}.__getitem__,
            "SNR": lambda i, variances=variances: (1 - variances[i]) / variances[i],
            **point(0.7),
        }
        rule = ([point(node) for node in nodes], weights_here)
        worlds.append(World(names, quadrature={"point": rule}))
    return worlds


def networks_with_beta():
    return networks("beta")


def symbolic_ratios():
    (world,) = symbolic_step()
    bar = world.names[r"\bar\alpha"]
    return [World(world.names | {"SNR": lambda i: bar(i) / (1 - bar(i))}, symbolic=True)]


def evenly_drawn_steps():
    """Four steps, each as probable, and a network with a straight line for an answer: the mean is known."""
    nodes, weights = np.polynomial.hermite_e.hermegauss(8)
    bars, x_0, slope, shift = (0.9, 0.6, 0.3, 0.1), 0.4, 0.7, -0.2
    points = [
        {"t": t, "x": {t: math.sqrt(bar) * x_0 + math.sqrt(1 - bar) * node}.__getitem__, r"\varepsilon": node}
        for t, bar in enumerate(bars, 1)
        for node in nodes
    ]
    known = [
        (1 - slope * math.sqrt(1 - bar)) ** 2 + (slope * math.sqrt(bar) * x_0 + shift * t) ** 2
        for t, bar in enumerate(bars, 1)
    ]
    names = {r"L_\mathrm{simple}": sum(known) / 4, r"\varepsilon_\theta": lambda x, t: slope * x + shift * t}
    return [World(names, quadrature={"point": (points, np.tile(weights / weights.sum() / 4, 4))})]


def decoders():
    """A level in the middle; the probability of its bin from SciPy, the edges from the neighbouring levels."""
    worlds = []
    levels = np.linspace(-1, 1, 256)
    for i, mean, sigma in [(128, 0.01, 0.01), (200, 0.55, 0.03)]:
        low, high = (levels[i - 1] + levels[i]) / 2, (levels[i] + levels[i + 1]) / 2
        x = {0: levels[i], 1: 0.123}
        chance = norm(mean, sigma).cdf(high) - norm(mean, sigma).cdf(low)
        names = {
            "x": x.__getitem__,
            "a": low,
            "b": high,
            r"\sigma": {1: sigma}.__getitem__,
            r"\mu_\theta": lambda *at, x=x, mean=mean: {(x[1], 1): mean}[at],
            r"p_\theta": lambda targets, given, x=x, chance=chance: {(x[0], x[1]): chance}[(*targets, *given)],
        }
        worlds.append(World(names))
    return worlds


def coin_images():
    """All images of D numbers on 2^k levels, each as probable: k bits for each number."""
    return [World({"bpd": k, "D": size, "L": math.log(float(2**k) ** size)}) for k, size in [(8, 5), (3, 12)]]


def atoms():
    """Data on three points: guesses by Bayes' rule, the score by a step into the complex plane."""
    worlds = []
    places, chances = np.array([-0.8, 0.1, 0.9]), np.array([0.5, 0.2, 0.3])
    exact, t = GaussianMixture(places[:, None], chances, 0.0), 4
    for bar, x_t, drawn in [(0.7, 0.3, 1), (0.3, -0.6, 0)]:
        root, deviation = math.sqrt(bar), math.sqrt(1 - bar)

        def log_density(x, bar=bar, root=root):
            return np.log((chances * np.exp(-((x - root * places) ** 2) / (2 * (1 - bar)))).sum())

        bells = chances * norm(root * places, deviation).pdf(x_t)
        shares = bells / bells.sum()
        noises = (x_t - root * places) / deviation
        angle = math.acos(root)
        turned = math.cos(angle) * noises - math.sin(angle) * places
        score = log_density(x_t + 1e-30j).imag / 1e-30
        density = float(exact.density(np.array([[x_t]]), bar)[0])

        def q(targets, given, x_t=x_t, density=density):
            return {((x_t,), ()): density}[tuple(targets), tuple(given)]

        names = {
            "t": t,
            r"\bar\alpha": {t: bar}.__getitem__,
            "x": {0: places[drawn], t: x_t}.__getitem__,
            r"\varepsilon": noises[drawn],
            "v": turned[drawn],
            "s": -(x_t - root * places[drawn]) / deviation**2,
            r"\hatx": {0: shares @ places}.__getitem__,
            r"\hat\varepsilon": shares @ noises,
            r"\hatv": shares @ turned,
            r"\hats": score,
            "s_t": {x_t: score}.__getitem__,
            "SNR": {t: 1 / math.tan(angle) ** 2}.__getitem__,
        }
        points = [{"x": {0: place, t: x_t}.__getitem__} for place in places]
        worlds.append(World(names, quadrature={"x": (points, chances)}, density=q))
    return worlds


def score_networks():
    """Gaussian data, whose score is a straight line, beside a network that answers with a parabola."""
    nodes, weights = np.polynomial.hermite_e.hermegauss(10)
    weights, t, worlds = weights / weights.sum(), 4, []
    for bar, mean, deviation in [(0.7, 0.2, 0.6), (0.2, -0.5, 1.4)]:
        centre, variance = math.sqrt(bar) * mean, bar * deviation**2 + 1 - bar
        points, chances = [], []
        for (i, a), (j, noise) in itertools.product(enumerate(nodes), enumerate(nodes)):
            x_0 = mean + deviation * a
            table = {0: x_0, t: math.sqrt(bar) * x_0 + math.sqrt(1 - bar) * noise}
            points.append({"x": table.__getitem__, r"\varepsilon": noise})
            chances.append(weights[i] * weights[j])
        names = {
            "t": t,
            r"\bar\alpha": {t: bar}.__getitem__,
            "s_t": lambda x, centre=centre, variance=variance: (centre - x) / variance,
            r"s_\theta": lambda x: 0.3 * x**2 - x + 0.5,
        }
        worlds.append(World(names, quadrature={"point": (points, chances)}))
    return worlds


SMALL = "float64: a chain of three states, all of whose paths are listed; "
GRID = "float64: posteriors by regression, divergences summed over a grid, means by quadrature."
ATOMS = "float64: data on three points; guesses by Bayes' rule, the score by a step into the complex plane."

CHECKS: dict[str, Check] = {
    "eq-objective-joint": Check(
        "book/45_objective.md: back",
        SMALL + "densities are sums over a table.",
        small_worlds,
        ((r"p(x_T) \prod", r"\prod"), (r"\prod_{t=1}", r"\prod_{t=2}")),
    ),
    "eq-objective-importance": Check(
        "book/45_objective.md: surprise",
        SMALL + "the mean is a sum over paths.",
        small_worlds,
        ((r"{q(x_{1:T} \mid x_0)}", r"{q(x_{1:T})}"), (r"p_\theta(x_{0:T})", r"p_\theta(x_{1:T})")),
    ),
    "objective-tangent": Check(
        "book/45_objective.md: the text",
        "float64: five numbers, 1 among them.",
        positive_numbers,
        (("u - 1", "u - 2"), (r"\le", r"\ge"), (r"u - 1", r"1 - u")),
        # there is more room above
        blind=("-->+ in g u \\le u - 1",),
    ),
    "eq-objective-jensen": Check(
        "book/45_objective.md: the text",
        "float64: a number with three values.",
        scattered,
        (("- 1 -", "+ 1 -"), (r"\ge 0", r"\le 0"), (r"\log m", "m")),
    ),
    "eq-objective-bound": Check(
        "book/45_objective.md: bound",
        SMALL + "the mean is a sum over paths.",
        small_worlds,
        ((r"&\le", r"&\ge"), (r"\mathbb{E}\left[-\log", r"\mathbb{E}\left[\log")),
    ),
    "eq-objective-sum": Check(
        "book/45_objective.md: bound",
        SMALL + "the mean is a sum over paths.",
        small_worlds,
        ((r"\sum_{t=1}", r"\sum_{t=2}"), (r"q(x_t \mid x_{t-1})", r"q(x_{t-1} \mid x_t)"), (r"-\log p(x_T)", "0")),
    ),
    "objective-conditional": Check(
        "book/45_objective.md: told",
        SMALL + "densities are sums over a table.",
        small_worlds,
        ((r"p_\theta(x_{1:T} \mid x_0)", r"p_\theta(x_{1:T})"),),
    ),
    "eq-objective-gap": Check(
        "book/45_objective.md: told",
        SMALL + "the divergence is a sum over paths.",
        small_worlds,
        ((r"-\log p_\theta(x_0)", r"\log p_\theta(x_0)"), (r"\quad + D", r"\quad - D")),
    ),
    "objective-turned": Check(
        "book/45_objective.md: joint",
        SMALL + "densities are sums over a table.",
        turned_steps,
        (
            (r"\frac{q(x_t \mid x_0)}{q(x_{t-1} \mid x_0)}", r"\frac{q(x_{t-1} \mid x_0)}{q(x_t \mid x_0)}"),
            (r"x_t, x_0)", "x_t)"),
        ),
    ),
    "objective-split-first": Check(
        "book/45_objective.md: the text",
        SMALL + "the mean is a sum over paths.",
        small_worlds,
        ((r"{q(x_1 \mid x_0)}", "{1}"), (r"{q(x_{t-1} \mid x_t, x_0)}", r"{q(x_{t-1} \mid x_t)}")),
    ),
    "objective-telescope": Check(
        "book/45_objective.md: the text",
        SMALL + "densities are sums over a table.",
        small_worlds,
        ((r"\log q(x_1 \mid x_0) -", r"\log q(x_2 \mid x_0) -"), (r"- \log q(x_T", r"+ \log q(x_T")),
    ),
    "eq-objective-sorted": Check(
        "book/45_objective.md: terms",
        SMALL + "the mean is a sum over paths.",
        small_worlds,
        ((r"- \log p_\theta(x_0 \mid x_1)", r"+ \log p_\theta(x_0 \mid x_1)"), (r"{p(x_T)}", r"{q(x_T)}")),
    ),
    "eq-objective-split": Check(
        "ddpm_lib/evaluation/likelihood.py: BoundTerms",
        SMALL + "each term is a sum over its own table.",
        small_worlds,
        (("+ L_0", "- L_0"), ("t=2", "t=1"), ("L_{t-1}", "L_t")),
    ),
    "eq-objective-terms": Check(
        "book/45_objective.md: terms",
        SMALL + "each term is a sum over its own table.",
        small_worlds,
        ((r"\left[-\log p_\theta(x_0 \mid x_1)", r"\left[-\log p_\theta(x_0)"), (r"L_T =", r"L_0 =")),
    ),
    "objective-kl-start": Check(
        "book/45_objective.md: gaussian_kl",
        "float64: the divergence summed over a grid, means by quadrature.",
        pairs,
        ((r"\frac{w}{v}", r"\frac{v}{w}"), (r"\frac{(x - n)^2}{2 w}", r"\frac{(x - n)^2}{2 v}")),
    ),
    "objective-kl-square": Check(
        "book/45_objective.md: the text",
        "float64: means by quadrature.",
        pairs,
        (("= v + (m - n)^2", "= v - (m - n)^2"), ("(x - n)^2", "(x - m)^2")),
        # the factor of what is 0
        blind=("+->- in ^2\\right] + 2 (m - n", "-->+ in t] + 2 (m - n)\\, \\ma", "digit in \\right] + 2 (m - n)\\"),
    ),
    "eq-objective-kl": Check(
        "book/45_objective.md: gaussian_kl",
        "float64: the divergence summed over a grid.",
        pairs,
        ((r"\frac{(m - n)^2}{2 w}", r"\frac{(m - n)^2}{2 v}"), (r"- 1 - \log", r"- 1 + \log"), ("- 1 -", "-")),
    ),
    "eq-objective-means": Check(
        "ddpm_lib/evaluation/likelihood.py: bound_terms",
        GRID,
        networks,
        ((r"{2 \sigma_t^2}", r"{\sigma_t^2}"), ("+ C_t", "- C_t"), (r"- \mu_\theta", r"+ \mu_\theta")),
    ),
    "eq-objective-constant": Check(
        "ddpm_lib/evaluation/likelihood.py: ratio",
        GRID,
        networks,
        ((r"\frac{1}{2}", "1"), (r"- 1 - \log", r"- 1 + \log"), (r"\tilde\beta_t", r"\beta_t")),
    ),
    "eq-objective-mean-network": Check(
        "book/45_objective.md: network_mean",
        "float64: the posterior's mean by regression, at the image that the network's noise implies.",
        networks,
        (
            (r"\frac{\beta_t}{\sqrt{1", r"\frac{\sqrt{\beta_t}}{\sqrt{1"),
            (r"\frac{1}{\sqrt{\alpha_t}}", r"\sqrt{\alpha_t}"),
        ),
    ),
    "objective-difference": Check(
        "book/45_objective.md: network_mean",
        GRID,
        networks,
        ((r"\varepsilon_\theta(x_t, t) - \varepsilon", r"\varepsilon - \varepsilon_\theta(x_t, t)"),),
    ),
    "eq-objective-weighted": Check(
        "ddpm_lib/evaluation/likelihood.py: bound_weights",
        GRID,
        networks,
        (
            (r"\alpha_t (1 - \bar\alpha_t)", r"(1 - \bar\alpha_t)"),
            (r"\beta_t^2", r"\beta_t"),
            (r"2 \sigma_t^2", r"2 \sigma_t"),
            ("L_{t-1} - C_t", "L_{t-1} + C_t"),
        ),
    ),
    "eq-objective-weight-choices": Check(
        "ddpm_lib/evaluation/likelihood.py: bound_weights",
        GRID,
        networks_with_beta,
        ((r"\bar\alpha_{t-1}", r"\bar\alpha_t"), (r"2 \alpha_t (1 - \bar\alpha_t)", r"2 (1 - \bar\alpha_t)")),
    ),
    "objective-snr-ratio": Check(
        "book/45_objective.md: the text",
        "SymPy: all members are the same expression.",
        symbolic_ratios,
        ((r"\frac{\beta_t}{\alpha_t", r"\frac{\beta_t}{\bar\alpha_t"), (r"- \alpha_t + \bar", r"- \alpha_t - \bar")),
    ),
    "eq-objective-weight-snr": Check(
        "ddpm_lib/evaluation/likelihood.py: bound_weights",
        GRID,
        networks,
        ((r"\frac{1}{2}", "1"), (r"\mathrm{SNR}(t-1)", r"\mathrm{SNR}(t)")),
    ),
    "eq-objective-simple": Check(
        "ddpm_lib/training.py: compute_loss",
        "float64: quadrature over four steps and the noise; the mean of a straight answer is known.",
        evenly_drawn_steps,
        ((r"^2\right]", r"\right]"), (r"- \varepsilon_\theta", r"+ \varepsilon_\theta")),
    ),
    "eq-objective-decoder": Check(
        "ddpm_lib/evaluation/likelihood.py: discretized_log_likelihood",
        "SciPy: the difference of two cumulative probabilities, at edges halfway between levels.",
        decoders,
        ((r"\sigma_1^2", r"\sigma_1"), (r"\int_{a}^{b}", r"\int_{-1}^{b}")),
    ),
    "objective-edges": Check(
        "ddpm_lib/evaluation/likelihood.py: BIN",
        "float64: halfway between neighbours of 256 even levels.",
        decoders,
        (("a &= x_0 - ", "a &= x_0 + "), (r"\frac{1}{255}", r"\frac{2}{255}")),
    ),
    "eq-objective-bits": Check(
        "ddpm_lib/evaluation/likelihood.py: bits",
        "float64: images of equal probability, whose bits can be counted.",
        coin_images,
        (("D ", ""), (r"\log 2", r"\log 10")),
    ),
    "objective-smoothed": Check(
        "ddpm_lib/exact.py: GaussianMixture.density",
        ATOMS,
        atoms,
        ((r"1 - \bar\alpha_t\right", r"\bar\alpha_t\right"),),
    ),
    "objective-slope": Check(
        "book/45_objective.md: score",
        ATOMS,
        atoms,
        ((r"x_0 - x_t", r"x_0 + x_t"), (r"{1 - \bar\alpha_t} \\", r"{\sqrt{1 - \bar\alpha_t}} \\")),
    ),
    "objective-score-mean": Check(
        "book/45_objective.md: the text",
        ATOMS,
        atoms,
        ((r"\hat x_0 - x_t", r"x_t - \hat x_0"),),
    ),
    "eq-objective-tweedie": Check(
        "book/45_objective.md: tweedie",
        ATOMS,
        atoms,
        ((r"x_t + (1", r"x_t - (1"), (r"(1 - \bar\alpha_t)", r"\sqrt{1 - \bar\alpha_t}"), (r"{\sqrt{\bar", r"{{\bar")),
    ),
    "eq-objective-noise-score": Check(
        "ddpm_lib/diffusion.py: score_from_noise",
        ATOMS,
        atoms,
        ((r"= -", "= "), (r"\sqrt{1 - \bar\alpha_t}", r"(1 - \bar\alpha_t)")),
    ),
    "eq-objective-answers": Check(
        "ddpm_lib/diffusion.py: noise_from_x_0, v_from_x_0_and_noise, score_from_noise",
        ATOMS,
        atoms,
        (
            (r"\hat\varepsilon - \sqrt{1", r"\hat\varepsilon + \sqrt{1"),
            (r"-\frac{\hat\varepsilon}", r"\frac{\hat\varepsilon}"),
            (r"x_t - \sqrt", r"x_t + \sqrt"),
        ),
    ),
    "objective-turn": Check(
        "ddpm_lib/diffusion.py: x_0_from_v",
        "float64: v by a turn about the angle whose cosine is the root of alpha_bar.",
        atoms,
        ((r"\bar\alpha_t\, x_0 +", r"x_0 +"), (r"(1 - \bar\alpha_t)\, x_0", r"\sqrt{1 - \bar\alpha_t}\, x_0")),
    ),
    "eq-objective-from-v": Check(
        "ddpm_lib/diffusion.py: x_0_from_v, noise_from_v",
        ATOMS,
        atoms,
        ((r"x_t - \sqrt", r"x_t + \sqrt"), (r"x_t + \sqrt", r"x_t - \sqrt")),
    ),
    "objective-error-noise": Check(
        "book/45_objective.md: the text",
        ATOMS,
        atoms,
        ((r"= -\frac", r"= \frac"),),
    ),
    "objective-error-v": Check(
        "book/45_objective.md: the text",
        ATOMS,
        atoms,
        ((r"\bar\alpha_t + 1 - \bar\alpha_t", r"1 - \bar\alpha_t"),),
    ),
    "eq-objective-losses": Check(
        "ddpm_lib/diffusion.py: loss_weights",
        ATOMS,
        atoms,
        (
            (r"\left(\mathrm{SNR}(t) + 1\right)", r"\mathrm{SNR}(t)"),
            (r"\frac{\mathrm{SNR}(t)}{1 - \bar\alpha_t}", r"\mathrm{SNR}(t)"),
        ),
    ),
    "eq-objective-v-sum": Check(
        "book/45_objective.md: the text",
        ATOMS,
        atoms,
        ((r"+ (\hat\varepsilon", r"- (\hat\varepsilon"),),
    ),
    "eq-objective-in-noise": Check(
        "ddpm_lib/diffusion.py: noise_error_shares",
        ATOMS,
        atoms,
        (
            (r"\frac{1}{\bar\alpha_t}", r"\frac{1}{1 - \bar\alpha_t}"),
            (r"\frac{1}{\mathrm{SNR}(t)}", r"\mathrm{SNR}(t)"),
        ),
    ),
    "objective-bell-score": Check(
        "book/45_objective.md: easy",
        ATOMS,
        atoms,
        ((r"= -\frac", r"= \frac"), (r"{1 - \bar\alpha_t} =", r"{\sqrt{1 - \bar\alpha_t}} =")),
    ),
    "objective-dsm-cross": Check(
        "book/45_objective.md: the text",
        "float64: Gaussian data and a network that answers with a parabola, by quadrature.",
        score_networks,
        ((r"s_t(x_t) + \frac", r"s_t(x_t) - \frac"), (r"\frac{\varepsilon}{\sqrt{1 - \bar\alpha_t}}", r"\varepsilon")),
        # any function of x_t does
        blind=("-->+ in heta(x_t) - s_t(x_t)",),
    ),
    "eq-objective-dsm": Check(
        "book/45_objective.md: left, right",
        "float64: Gaussian data and a network that answers with a parabola, by quadrature.",
        score_networks,
        ((r"s_\theta(x_t) + \frac", r"s_\theta(x_t) - \frac"), (r"s_\theta(x_t) - s_t", r"s_\theta(x_t) + s_t")),
    ),
}

WEIGHT = r"\frac{\beta_t^2}{2 #1 \alpha_t (1 - \bar\alpha_t)}"

INLINE = Inline(
    networks,
    {
        "we want to make $#1$ small": Says(
            small_worlds,
            r"#1 = L - D_{\mathrm{KL}}(q(x_{1:T} \mid x_0) \,\|\, p_\theta(x_{1:T} \mid x_0))",
        ),
        "Equality holds for $u = #1$ only": Says(numbers, r"\log #1 = #1 - 1"),
        "Put $u = #1$ and take the mean": Says(scattered, r"\mathbb{E}[#1 - 1] = 0"),
        "because the mean of $#1$ is 0": Says(pairs, r"\mathbb{E}[#1] = 0"),
        "With $n = #1$ and $w = #2$ this is": Says(
            from_standard, r"k = \frac{(m - #1)^2}{2 #2} + \frac{1}{2} (\frac{v}{#2} - 1 - \log \frac{v}{#2})"
        ),
        r"With $\sigma_t^2 = #1$ one factor cancels": Says(networks_with_beta, f"w_t = {WEIGHT}"),
        r"With $\sigma_t^2 = #1$, insert": Says(networks_with_beta, f"w'_t = {WEIGHT}"),
        "For $t = #1$ the term is $L_0$": Says(small_worlds, "L_{#1 - 1} = L_0"),
        "as $#1$. The library puts": Says(library_variances),
        "which is $#1$; the next section": Says(atoms, "s = #1"),
        "For the second, $#1$ is the ratio plus 1": Says(atoms, r"#1 = \mathrm{SNR}(t) + 1"),
        "the ratio plus 1 is the inverse of $#1$": Says(atoms, r"1 / #1 = \mathrm{SNR}(t) + 1"),
    },
    not_evaluated={r"In the paper $\sigma_1^2 = \beta_1$": "a choice of the paper"},
)
