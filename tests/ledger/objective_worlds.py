"""The worlds of the chapter on the objective: small chains, networks beside exact posteriors, data on three points."""

import itertools
import math

import numpy as np
from scipy.stats import norm

from ddpm_lib import schedules
from ddpm_lib.exact import GaussianMixture
from tests.ledger.variables import World
from tests.ledger.worlds import divergence, symbolic_step

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
        worlds.append(World({"m": mean, "c": 0.7}, quadrature={"y": (values, chances)}))
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
