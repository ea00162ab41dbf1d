"""The equation ledger: for every display equation of the book, where its code is, how it is checked, known mutants.

A check evaluates the printed LaTeX, member by member, in worlds whose numbers come from elsewhere: from the joint
Gaussian of a whole chain, from a grid, from SymPy. The page `book/ledger.md` is written from this file and from the
chapters:

    python -m tests.equation_ledger
"""

from __future__ import annotations

import dataclasses
import math
import re
from collections.abc import Callable

import numpy as np
import sympy
from scipy.spatial.transform import Rotation

from ddpm_lib import schedules
from tests.equation_reader import BOOK, Linear, World, condition, displays

PAGE = BOOK / "ledger.md"


@dataclasses.dataclass(frozen=True)
class Check:
    """How one equation is checked.

    Args:
        code: where the library or the chapter computes it, as "file: name".
        how: one sentence for the ledger page.
        worlds: makes the worlds in which all members of each chain must agree.
        mutants: (old, new) pieces of LaTeX; each altered equation must fail the check.
        tolerance: relative, for the members that stand after an approximately-equal sign; for all others it is 1e-9.
        blind: alterations of single signs, digits or indices that change nothing, with the reason in a comment.
    """

    code: str
    how: str
    worlds: Callable[[], list[World]]
    mutants: tuple[tuple[str, str], ...]
    tolerance: float = 0.0
    blind: tuple[str, ...] = ()


# ---- Worlds ---------------------------------------------------------------------------------------------------------


def _chain(seed, t, last=6):
    """A chain of scalars with random betas; every variable is known as a combination of independent sources."""
    rng = np.random.default_rng(seed)
    betas = rng.uniform(0.05, 0.4, last)
    draw = rng.standard_normal(last + 1)
    source = [Linear(0.0, row, draw) for row in np.eye(last + 1)]
    x = [0.3 + 0.7 * source[0]]
    for beta, fresh in zip(betas, source[1:], strict=True):
        x.append(math.sqrt(1 - beta) * x[-1] + math.sqrt(beta) * fresh)

    def accumulated(i):
        """The noise in x_i that is not x_0, scaled to variance 1."""
        rest = x[i] - x[i].weights[0] / x[0].weights[0] * x[0]
        return rest / math.sqrt((rest.weights**2).sum())

    def noise(i=None):
        return accumulated(t) if i is None else source[_from_one(i)]

    def beta(i):
        return betas[_from_one(i) - 1]

    names = {
        "t": t,
        "T": last,
        "I": 1,
        r"\beta": beta,
        r"\alpha": lambda i: 1 - beta(i),
        r"\bar\alpha": lambda i: math.prod(1 - betas[:i]),
        "x": lambda i: x[i].value,
        r"\varepsilon": lambda i=None: noise(i).value,
        r"\bar\varepsilon": lambda i: accumulated(i).value,
        r"\partialx_t/\partialx_0": x[t].weights[0] / x[0].weights[0],
    }
    return World(names, {"x": lambda i: x[i], r"\varepsilon": noise, r"\bar\varepsilon": accumulated})


def _from_one(i):
    if i < 1:
        raise IndexError("this table starts at step 1")
    return i


def chains():
    return [_chain(seed, t) for seed, t in [(0, 2), (1, 4), (2, 6)]]


def first_steps():
    return [_chain(seed, 1) for seed in range(3)]


def second_steps():
    return [_chain(seed, 2) for seed in range(3)]


def walks():
    """Chains without the shrinking factor."""
    worlds = []
    for seed, t in [(0, 2), (1, 4), (2, 6)]:
        world = _chain(seed, t)
        beta = world.names[r"\beta"]
        x = [world.random["x"](0)]
        for i in range(1, 7):
            x.append(x[-1] + math.sqrt(beta(i)) * world.random[r"\varepsilon"](i))
        worlds.append(World(world.names, {"x": x.__getitem__}))
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


def independent_sum():
    worlds = []
    for a, b in [(0.6, 0.8), (2.0, 0.3)]:
        draw = np.array([0.4, -1.1])
        worlds.append(World({"a": a, "b": b}, {"X": Linear(0, [a, 0], draw), "Y": Linear(0, [0, b], draw)}))
    return worlds


def convolutions():
    """The density of X + Y at z, by summing the product of densities over a grid."""
    worlds = []
    for a, b, z in [(0.6, 0.8, 0.5), (1.3, 0.4, -1.7)]:
        y = np.arange(-400_000, 400_001) * 5e-5
        product = np.exp(-((z - y) ** 2) / (2 * a * a) - y * y / (2 * b * b)) / (2 * np.pi * a * b)
        density = product.sum() * 5e-5
        worlds.append(World({"a": a, "b": b, "z": z, "p": lambda point, z=z, p=density: p if point == z else None}))
    return worlds


def letters():
    """Every letter a positive symbol, so that equality is an identity."""
    names = {letter: sympy.Symbol(letter, positive=True) for letter in "abyzmv"}
    names[r"D_\mathrm{KL}(\mathcal{N}(m,v)\|\mathcal{N}(0,1))"] = (
        (names["m"] ** 2 + names["v"]) / 2 - sympy.Rational(1, 2) - sympy.log(names["v"]) / 2
    )
    return [World(names, symbolic=True)]


def symbolic_step():
    """One step t with alpha_t and alpha_bar_{t-1} as symbols."""
    t = 5
    alpha, before = sympy.symbols("alpha before", positive=True)
    x = {i: sympy.Symbol(f"x_{i}", real=True) for i in (0, t - 1, t)}
    names = {
        "t": t,
        r"\alpha": {t: alpha}.__getitem__,
        r"\beta": {t: 1 - alpha}.__getitem__,
        r"\bar\alpha": {t - 1: before, t: alpha * before}.__getitem__,
        "x": x.__getitem__,
    }
    return [World(names, symbolic=True)]


def pixel_pairs():
    """Two correlated numbers of an image, each with its own noise."""
    worlds = []
    for seed in range(3):
        rng = np.random.default_rng(seed)
        draw, betas = rng.standard_normal(8), rng.uniform(0.05, 0.4, 3)
        source = np.eye(8)
        pair = {"x": [Linear(0.2, source[0] + 0.4 * source[1], draw)], "y": [Linear(0.1, 0.9 * source[0], draw)]}
        for step, beta in enumerate(betas):
            for offset, letter in enumerate("xy"):
                fresh = Linear(0, source[2 + 2 * step + offset], draw)
                pair[letter].append(math.sqrt(1 - beta) * pair[letter][-1] + math.sqrt(beta) * fresh)
        names = {"t": 3, r"\bar\alpha": lambda i, betas=betas: math.prod(1 - betas[:i])}
        worlds.append(World(names, {letter: values.__getitem__ for letter, values in pair.items()}))
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
            "w": lambda k: weights[_from_one(k) - 1],
            "m": lambda k, i, moments=moments: moments[i][_from_one(k) - 1][0],
            "s": lambda k, i, moments=moments: math.sqrt(moments[i][_from_one(k) - 1][1]),
            r"\alpha": lambda i, betas=betas: 1 - betas[_from_one(i) - 1],
            r"\beta": lambda i, betas=betas: betas[_from_one(i) - 1],
        }
        worlds.append(World(names, density=lambda targets, given, at=grid[place], p=density: {(at,): p}[*targets,]))
    return worlds


def pathwise():
    """F(mu, sigma) = E[x^4 + x], whose derivatives are polynomials."""
    nodes, weights = np.polynomial.hermite_e.hermegauss(12)
    worlds = []
    for mu, sigma in [(0.7, 0.5), (-1.1, 1.3)]:
        names = {
            r"\mu": mu,
            r"\sigma": sigma,
            "f": lambda x: x**4 + x,
            "f'": lambda x: 4 * x**3 + 1,
            r"\partialF/\partial\mu": 4 * mu**3 + 12 * mu * sigma**2 + 1,
            r"\partialF/\partial\sigma": 12 * mu**2 * sigma + 12 * sigma**3,
        }
        worlds.append(World(names, quadrature={r"\varepsilon": (nodes, weights / math.sqrt(2 * math.pi))}))
    return worlds


def ratios():
    """The signal-to-noise ratio as the ratio of the two parts' variances, along a chain."""
    worlds = []
    for world in chains():

        def ratio(i, x=world.random["x"]):
            share = (x(i).weights[0] / x(0).weights[0]) ** 2
            return share / (x(i).weights[1:] ** 2).sum()

        worlds.append(World(world.names | {"SNR": ratio, r"\lambda": lambda i, ratio=ratio: math.log(ratio(i))}))
    return worlds


def linear_schedules():
    """The library's table, whose values at T = 1000 are pinned elsewhere, and the same line by repeated addition."""
    worlds = []
    for last, t in [(1000, 1), (1000, 487), (100, 60)]:
        betas = schedules.linear_schedule(last).betas
        stride = (0.02 - 1e-4) / (last - 1)
        assert np.allclose(betas, 1e-4 + np.cumsum(np.full(last, stride)) - stride, rtol=1e-9)
        worlds.append(World({"t": t, "T": last, r"\beta": lambda i, b=betas: b[_from_one(i) - 1]}))
    return worlds


def cosine_schedules():
    """alpha_bar multiplied up from the library's betas; f from the half-angle formula."""
    worlds = []
    for last, t in [(1000, 1), (1000, 487), (50, 33)]:
        library = schedules.cosine_schedule(last)

        def f(i, last=last):
            return (1 + math.cos(math.pi * (i / last + 0.008) / 1.008)) / 2

        def bar(i, library=library):
            return math.prod(1 - library.betas[:i])

        worlds.append(World({"t": t, "T": last, "s": 0.008, "f": f, r"\bar\alpha": bar}))
    return worlds


def sigmoid_schedules():
    """alpha_bar multiplied up from the library's betas; g as a hyperbolic tangent."""
    worlds = []
    for last, t, (a, b, tau) in [(1000, 1, (-3, 3, 1.0)), (1000, 487, (-3, 3, 1.0)), (50, 33, (-2, 4, 0.7))]:
        library = schedules.sigmoid_schedule(last, a, b, tau)

        def g(i, last=last, a=a, b=b, tau=tau):
            return (1 - math.tanh((a + (b - a) * i / last) / tau / 2)) / 2

        def bar(i, library=library):
            return math.prod(1 - library.betas[:i])

        worlds.append(World({"t": t, "T": last, "a": a, "b": b, r"\tau": tau, "g": g, r"\bar\alpha": bar}))
    return worlds


def linear_ends():
    worlds = []
    for last in (1000, 400, 50):
        library = schedules.linear_schedule(last)

        def bar(i, library=library):
            return math.prod(1 - library.betas[:i])

        worlds.append(World({"T": last, r"\beta": lambda i, b=library.betas: b[_from_one(i) - 1], r"\bar\alpha": bar}))
    return worlds


def _divergence(m, v):
    """The divergence of N(m, v) from N(0, 1) by summing over a grid."""
    x = np.linspace(m - 12 * math.sqrt(v), m + 12 * math.sqrt(v), 200_001)
    log_ratio = -0.5 * math.log(v) - (x - m) ** 2 / (2 * v) + x**2 / 2
    return np.trapezoid(np.exp(-((x - m) ** 2) / (2 * v)) / math.sqrt(2 * math.pi * v) * log_ratio, x)


def divergences():
    nodes, weights = np.polynomial.hermite_e.hermegauss(12)
    worlds = []
    for m, v in [(0.5, 0.3), (-1.2, 1.7)]:
        names = {"m": m, "v": v, r"D_\mathrm{KL}(\mathcal{N}(m,v)\|\mathcal{N}(0,1))": _divergence(m, v)}
        rule = (m + math.sqrt(v) * nodes, weights / math.sqrt(2 * math.pi))
        worlds.append(World(names, quadrature={"x": rule}))
    return worlds


def priors(ends=((0.3, 0.8), (0.01, -0.4))):
    worlds = []
    for bar, x_0 in ends:
        names = {"T": 9, "x": {0: x_0}.__getitem__, r"\bar\alpha": {9: bar}.__getitem__}
        worlds.append(World(names | {"L": {9: _divergence(math.sqrt(bar) * x_0, 1 - bar)}.__getitem__}))
    return worlds


def small_priors():
    return priors(((4.0358e-5, 0.8), (1e-4, -1.0)))


def rescaled_roots():
    """The one affine map of the roots that keeps the first and sends the last to 0."""
    worlds = []
    for t in (1, 400, 1000):
        roots = np.sqrt(schedules.linear_schedule(1000).alpha_bars)
        slope, shift = np.linalg.solve([[roots[0], 1], [roots[-1], 1]], [roots[0], 0])
        names = {"t": t, "T": 1000, "r": lambda i, r=roots: r[_from_one(i) - 1]}
        worlds.append(
            World(names | {r"\tilder": lambda i, r=roots, s=(slope, shift): s[0] * r[_from_one(i) - 1] + s[1]})
        )
    return worlds


def posteriors():
    """The posterior's mean and variance by conditioning the joint Gaussian of a whole chain."""
    worlds = []
    for world in chains():
        x, t = world.random["x"], world.names["t"]
        means, covariances = condition([x(t - 1)], [x(t), x(0)])
        mean, variance = means[0], covariances[0, 0]
        x_t, x_0 = x(t).value, x(0).value
        posterior = {
            r"\tilde\beta": {t: variance}.__getitem__,
            r"\tilde\mu_t": lambda first, second, at=(x_t, x_0), mean=mean: {at: mean}[first, second],
            "A": 1 / variance,
            "B": mean / variance,
            "C": mean**2 / variance,
            "E": (x(t - 1).value - mean) ** 2 / variance,
        }
        worlds.append(World(world.names | posterior, world.random))
    return worlds


def symbolic_posteriors():
    """The exponent as a SymPy expression; its derivatives at x_{t-1} = 0 are the coefficients."""
    (world,) = symbolic_step()
    names = world.names
    t, x, alpha, beta, bar = (names[key] for key in ("t", "x", r"\alpha", r"\beta", r"\bar\alpha"))
    unknown = x(t - 1)
    exponent = (
        (x(t) - sympy.sqrt(alpha(t)) * unknown) ** 2 / beta(t)
        + (unknown - sympy.sqrt(bar(t - 1)) * x(0)) ** 2 / (1 - bar(t - 1))
        - (x(t) - sympy.sqrt(bar(t)) * x(0)) ** 2 / (1 - bar(t))
    )
    curvature = sympy.diff(exponent, unknown, 2) / 2
    mean = sympy.solve(sympy.diff(exponent, unknown), unknown)[0]
    posterior = {
        r"\tilde\beta": {t: 1 / curvature}.__getitem__,
        r"\tilde\mu_t": lambda first, second: {(x(t), x(0)): mean}[first, second],
        r"\varepsilon": (x(t) - sympy.sqrt(bar(t)) * x(0)) / sympy.sqrt(1 - bar(t)),
        "A": curvature,
        "B": -sympy.diff(exponent, unknown).subs(unknown, 0) / 2,
        "C": exponent.subs(unknown, 0),
        "E": exponent,
    }
    return [World(names | posterior, symbolic=True)]


def both_posteriors():
    return posteriors() + symbolic_posteriors()


def products():
    """Mean and variance of a normalized product of two densities on a grid."""
    worlds = []
    for m_1, v_1, m_2, v_2 in [(0.5, 0.2, -1.0, 1.0), (2.0, 3.0, 1.0, 0.5)]:
        x = np.linspace(-25, 25, 200_001)
        density = np.exp(-((x - m_1) ** 2) / (2 * v_1) - (x - m_2) ** 2 / (2 * v_2))
        density /= density.sum()
        mean = (density * x).sum()
        variance = (density * (x - mean) ** 2).sum()
        names = {"m": mean, "v": variance, "m_1": m_1, "m_2": m_2, "v_1": v_1, "v_2": v_2}
        worlds.append(World(names))
    return worlds


def gaussian_data():
    """Chains whose first variable has the variance s^2; v_t is the variance of x_t, from the sources."""
    worlds = []
    for world in chains():
        x = world.random["x"]
        names = {"s": math.sqrt((x(0).weights ** 2).sum()), "v": lambda i, x=x: (x(i).weights ** 2).sum()}
        worlds.append(World(world.names | names, world.random))
    return worlds


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
            "v": lambda k, variances=variances: variances[_from_one(k) - 1],
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


# ---- Checks ---------------------------------------------------------------------------------------------------------

WHOLE_CHAIN = "float64: every variable of a chain with random betas is kept as a combination of independent sources; "

POSTERIOR = WHOLE_CHAIN + "the posterior comes from their joint covariance matrix"
POSTERIOR_AND_SYMPY = POSTERIOR + "; and SymPy: derivatives of the exponent."

CHECKS = {
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
    "closed-two-steps": Check(
        "book/20_closed_form.md: the text",
        WHOLE_CHAIN + "all members are evaluated on a draw.",
        second_steps,
        ((r"\sqrt{\alpha_2 \beta_1}", r"\sqrt{\alpha_1 \beta_1}"), (r"\alpha_1 \alpha_2", r"\alpha_1")),
    ),
    "eq-closed-sum": Check(
        "book/20_closed_form.md: convolved",
        "float64: mean and variance of a sum of two independent sources; its shape is the matter of the proof below.",
        independent_sum,
        (("a^2 + b^2", "(a + b)^2"), ("a^2 + b^2", "a + b")),
        # Y and -Y have the same law
        blind=("+->- in X + Y \\sim \\mathcal{",),
    ),
    "closed-convolution-start": Check(
        "book/20_closed_form.md: convolved",
        "float64: both integrals, and the density of the sum from a grid.",
        convolutions,
        ((r"\frac{1}{2 \pi a b}", r"\frac{1}{\sqrt{2 \pi a b}}"), (r"\frac{y^2}{b^2}", r"\frac{y^2}{b}")),
        # y runs over the whole line, in both directions
        blind=("-->+ in hcal{N}(z - y;\\, 0,\\",),
    ),
    "eq-closed-square": Check(
        "book/20_closed_form.md: the text",
        "SymPy: both sides are the same expression.",
        letters,
        ((r"\frac{b^2 z}", r"\frac{a^2 z}"), (r"+ \frac{z^2}{a^2 + b^2}", "")),
    ),
    "closed-square-2": Check(
        "book/20_closed_form.md: the text",
        "SymPy: both sides are the same expression.",
        letters,
        ((r"\frac{1}{b^2}", r"\frac{1}{b}"),),
    ),
    "closed-square-1": Check(
        "book/20_closed_form.md: the text",
        "SymPy: both sides are the same expression.",
        letters,
        ((r"-2 \cdot", r"2 \cdot"), (r"b^2 z", r"a^2 z")),
    ),
    "closed-square-0": Check(
        "book/20_closed_form.md: the text",
        "SymPy: all members are the same expression.",
        letters,
        (("b^4", "b^2"), (r"\frac{a^2 z^2}", r"\frac{b^2 z^2}")),
    ),
    "closed-convolution-middle": Check(
        "book/20_closed_form.md: convolved",
        "float64: the integral, and the density of the sum from a grid.",
        convolutions,
        ((r"2 a^2 b^2", r"a^2 b^2"), (r"e^{-\frac{z^2}", r"e^{\frac{z^2}")),
        # the integral does not depend on where the square has its centre
        blind=(
            "+->- in ^2 z}{a^2 + b^2}\\rig",
            "-->+ in } \\left(y - \\frac{b^",
            "digit in - \\frac{b^2 z}{a^2 +",
            "digit in {b^2 z}{a^2 + b^2}\\r",
            "digit in }{a^2 + b^2}\\right)^",
        ),
    ),
    "eq-closed-convolution": Check(
        "book/20_closed_form.md: convolved",
        "float64: the density of the sum from a grid.",
        convolutions,
        ((r"\frac{2 \pi a^2 b^2}", r"\frac{\pi a^2 b^2}"), (r"0,\, a^2 + b^2", r"0,\, a + b")),
    ),
    "eq-closed-form": Check(
        "ddpm_lib/diffusion.py: add_noise",
        WHOLE_CHAIN + "the conditional density comes from their joint covariance matrix.",
        chains,
        (
            (r"\sqrt{\bar\alpha_t}", r"\bar\alpha_t"),
            (r"\sqrt{\bar\alpha_t}", r"\sqrt{\bar\alpha_{t-1}}"),
            (r"(1 - \bar\alpha_t) I", r"\sqrt{1 - \bar\alpha_t} I"),
            (r"(1 - \bar\alpha_t) I", r"(1 - \alpha_t) I"),
        ),
    ),
    "eq-closed-start": Check(
        "ddpm_lib/diffusion.py: add_noise",
        WHOLE_CHAIN + "the conditional density comes from their joint covariance matrix.",
        first_steps,
        ((r"\beta_1 I", r"\alpha_1 I"), (r"\bar\alpha_1}\, x_0", r"\bar\alpha_0}\, x_0")),
        # at the first step alpha_bar is alpha
        blind=("bar in 0,\\, (1 - \\bar\\alpha", "bar in ;\\, \\sqrt{\\bar\\alpha"),
    ),
    "closed-assumption": Check(
        "ddpm_lib/diffusion.py: add_noise",
        WHOLE_CHAIN + "both sides are evaluated on a draw.",
        chains,
        ((r"\sqrt{1 - \bar\alpha_{t-1}}", r"\sqrt{1 - \bar\alpha_t}"),),
    ),
    "eq-closed-induction": Check(
        "book/20_closed_form.md: factors",
        WHOLE_CHAIN + "all members are evaluated on a draw.",
        chains,
        (
            (r"\sqrt{\alpha_t (1 - \bar\alpha_{t-1})}", r"\sqrt{1 - \bar\alpha_{t-1}}"),
            (r"\sqrt{\alpha_t \bar\alpha_{t-1}}", r"\sqrt{\alpha_t \bar\alpha_t}"),
            (r"\sqrt{\beta_t}\, \varepsilon_t\right)", r"\beta_t\, \varepsilon_t\right)"),
        ),
    ),
    "eq-closed-variance": Check(
        "book/20_closed_form.md: variances",
        "SymPy: all members are the same expression.",
        symbolic_step,
        ((r"&= 1 - \alpha_t \bar", r"&= 1 + \alpha_t \bar"), (r"&= 1 - \bar\alpha_t", r"&= \bar\alpha_t")),
    ),
    "eq-closed-gradient": Check(
        "ddpm_lib/diffusion.py: add_noise",
        WHOLE_CHAIN + "the weight of x_0's source in x_t over that in x_0.",
        chains,
        ((r"\sqrt{\bar\alpha_t}", r"\bar\alpha_t"),),
    ),
    "eq-closed-pathwise": Check(
        "book/20_closed_form.md: pathwise",
        "float64: for a polynomial, whose mean is known, by Gauss-Hermite quadrature.",
        pathwise,
        ((r"\mathbb{E}\left[\varepsilon f'", r"\mathbb{E}\left[f'"), (r"f'(\mu + \sigma", r"f'(\mu - 2 \sigma")),
        # the noise is symmetric, so its sign does not matter to the mean of f'
        blind=("+->- in ft[f'(\\mu + \\sigma \\",),
    ),
    "eq-closed-score-estimate": Check(
        "book/20_closed_form.md: score_function",
        "float64: for a polynomial, whose mean is known, by Gauss-Hermite quadrature.",
        pathwise,
        (
            (r"\frac{\varepsilon}{\sigma}", r"\frac{\varepsilon}{\sigma^2}"),
            (r"\frac{\varepsilon}{\sigma}", r"\varepsilon \sigma"),
        ),
    ),
    "eq-closed-preserved": Check(
        "book/20_closed_form.md: noisy.var",
        WHOLE_CHAIN + "variances are sums over the sources.",
        chains,
        (
            (r"+ 1 - \bar\alpha_t", r"+ 1"),
            (r"\left(\operatorname{Var}[x_0] - 1\right)", r"\operatorname{Var}[x_0]"),
        ),
    ),
    "eq-closed-covariance": Check(
        "book/20_closed_form.md: neighbour_correlation",
        "float64: two correlated numbers, each with its own noise, as combinations of independent sources.",
        pixel_pairs,
        ((r"\bar\alpha_t", r"\sqrt{\bar\alpha_t}"),),
    ),
    "eq-closed-snr": Check(
        "ddpm_lib/schedules.py: NoiseSchedule.snr",
        WHOLE_CHAIN + "the ratio of the variances of the two parts.",
        ratios,
        ((r"\frac{\bar\alpha_t}", r"\frac{\sqrt{\bar\alpha_t}}"), (r"1 - \bar\alpha_t", r"1 - \alpha_t")),
    ),
    "eq-closed-log-snr": Check(
        "book/20_closed_form.md: log_snr",
        WHOLE_CHAIN + "the ratio of the variances of the two parts.",
        ratios,
        ((r"e^{-\lambda_t}", r"e^{\lambda_t}"), (r"- \log(1", r"+ \log(1")),
    ),
    "eq-closed-linear": Check(
        "ddpm_lib/schedules.py: linear_schedule",
        "float64: the library's table, and the same line by repeated addition.",
        linear_schedules,
        ((r"{T - 1}", r"{T}"), (r"{t - 1}", r"{t}")),
    ),
    "eq-closed-cosine": Check(
        "ddpm_lib/schedules.py: cosine_schedule",
        "float64: alpha-bar multiplied up from the library's betas, f from the half-angle formula.",
        cosine_schedules,
        ((r"\cos^2", r"\cos"), (r"{1 + s}", r"{1 - s}"), (r"f(0)", r"f(1)")),
    ),
    "eq-closed-sigmoid": Check(
        "ddpm_lib/schedules.py: sigmoid_schedule",
        "float64: alpha-bar multiplied up from the library's betas, g as a hyperbolic tangent.",
        sigmoid_schedules,
        ((r"g(0) - g(T)", r"g(0)"), (r"(b - a) t", r"b t")),
    ),
    "eq-closed-custom": Check(
        "ddpm_lib/schedules.py: cosine_schedule",
        "float64: a chain with random betas and its cumulative products.",
        chains,
        ((r"\frac{\bar\alpha_t}{\bar\alpha_{t-1}}", r"\frac{\bar\alpha_{t-1}}{\bar\alpha_t}"),),
    ),
    "eq-closed-terminal": Check(
        "ddpm_lib/schedules.py: linear_schedule",
        "float64: the library's alpha-bar; the members that print an approximation agree to 1.1 %.",
        linear_ends,
        ((r"{2}", r"{1}"), (r"\beta_1 + \beta_T", r"\beta_T - 9 \beta_1"), (r"\approx -", r"\approx ")),
        tolerance=0.011,
    ),
    "closed-kl-start": Check(
        "book/20_closed_form.md: bits_to_prior",
        "float64: the divergence summed on a grid, the means by Gauss-Hermite quadrature.",
        divergences,
        ((r"\frac{(x - m)^2}{2 v}", r"\frac{(x - m)^2}{v}"), (r"+ \frac{x^2}{2}", r"- \frac{x^2}{2}")),
    ),
    "eq-closed-kl": Check(
        "book/20_closed_form.md: bits_to_prior",
        "float64: the divergence summed on a grid; and SymPy: the members are the same expression.",
        lambda: divergences() + letters(),
        ((r"- \log v\right)", r"+ \log v\right)"), (r"v - 1 -", r"v + 1 -"), (r"\frac{1}{2} \left", r"\left")),
    ),
    "eq-closed-prior": Check(
        "book/20_closed_form.md: bits_to_prior",
        "float64: the divergence of the last step summed on a grid.",
        priors,
        ((r"x_0^2 - 1", r"x_0^2"), (r"\frac{1}{2}", "")),
    ),
    "eq-closed-prior-small": Check(
        "book/20_closed_form.md: bits_to_prior",
        "float64: the divergence of the last step summed on a grid, to 0.1 %.",
        small_priors,
        ((r"}{2}", r"}{1}"), (r"x_0^2", r"x_0")),
        tolerance=1e-3,
    ),
    "eq-closed-zero-snr": Check(
        "book/20_closed_form.md: new_roots",
        "float64: the affine map through two points, from a linear solve.",
        rescaled_roots,
        ((r"{r_1 - r_T}", r"{r_1}"), (r"r_t - r_T", r"r_t")),
    ),
    "eq-posterior-bayes": Check(
        "book/30_posterior.md: posterior",
        POSTERIOR + ", as do the three densities.",
        chains,
        ((r"\, q(x_{t-1} \mid x_0)", r"\, q(x_{t-1})"), (r"{q(x_t \mid x_0)}", r"{q(x_t)}")),
    ),
    "posterior-markov": Check(
        "book/30_posterior.md: the text",
        POSTERIOR + ".",
        chains,
        ((r"= q(x_t \mid x_{t-1})", r"= q(x_t \mid x_0)"),),
    ),
    "posterior-factors": Check(
        "book/30_posterior.md: step_density",
        POSTERIOR + ", as do the three densities.",
        chains,
        ((r"\beta_t I", r"\alpha_t I"), (r"(1 - \bar\alpha_{t-1}) I", r"(1 - \bar\alpha_t) I")),
    ),
    "eq-posterior-exponent": Check(
        "book/30_posterior.md: the text",
        POSTERIOR_AND_SYMPY,
        both_posteriors,
        ((r"- \frac{(x_t - \sqrt{\bar", r"+ \frac{(x_t - \sqrt{\bar"), (r"{\beta_t}", r"{\alpha_t}")),
    ),
    "eq-posterior-quadratic": Check(
        "book/30_posterior.md: precision, slope",
        POSTERIOR_AND_SYMPY,
        both_posteriors,
        (("- 2 B", "- B"), (r"A\, x_{t-1}^2", r"A\, x_{t-1}")),
    ),
    "eq-posterior-a": Check(
        "book/30_posterior.md: precision",
        POSTERIOR_AND_SYMPY,
        both_posteriors,
        ((r"\frac{\alpha_t}", r"\frac{1}"), (r"{1 - \bar\alpha_{t-1}}", r"{1 - \bar\alpha_t}")),
    ),
    "eq-posterior-b": Check(
        "book/30_posterior.md: slope",
        POSTERIOR_AND_SYMPY,
        both_posteriors,
        ((r"\sqrt{\alpha_t}", r"\alpha_t"), (r"\sqrt{\bar\alpha_{t-1}}", r"\sqrt{\bar\alpha_t}")),
    ),
    "eq-posterior-c": Check(
        "book/30_posterior.md: the text",
        POSTERIOR_AND_SYMPY,
        both_posteriors,
        ((r"\frac{x_t^2}{\beta_t}", r"\frac{\alpha_t x_t^2}{\beta_t}"), (r"\bar\alpha_{t-1}\, x_0^2", r"x_0^2")),
    ),
    "eq-posterior-completed": Check(
        "book/30_posterior.md: mean",
        POSTERIOR_AND_SYMPY,
        both_posteriors,
        ((r"- \frac{B^2}{A}", r"+ \frac{B^2}{A}"), (r"x_{t-1} - \frac{B}{A}", r"x_{t-1} + \frac{B}{A}")),
    ),
    "eq-posterior-a-simple": Check(
        "ddpm_lib/schedules.py: NoiseSchedule.posterior_variances",
        POSTERIOR_AND_SYMPY,
        both_posteriors,
        ((r"+ \beta_t}", r"- \beta_t}"), (r"\frac{1 - \bar\alpha_t}", r"\frac{1 - \alpha_t}")),
    ),
    "eq-posterior-variance": Check(
        "ddpm_lib/schedules.py: NoiseSchedule.posterior_variances",
        POSTERIOR_AND_SYMPY,
        both_posteriors,
        (
            (r"\frac{1 - \bar\alpha_{t-1}}{1 - \bar\alpha_t}", r"\frac{1 - \bar\alpha_t}{1 - \bar\alpha_{t-1}}"),
            (r"\, \beta_t", r"\, \sqrt{\beta_t}"),
        ),
    ),
    "eq-posterior-mean": Check(
        "ddpm_lib/diffusion.py: posterior_mean",
        POSTERIOR_AND_SYMPY,
        both_posteriors,
        (
            (r"\sqrt{\bar\alpha_{t-1}}\, \beta_t", r"\sqrt{\bar\alpha_t}\, \beta_t"),
            (r"\sqrt{\alpha_t}\, (1 - \bar\alpha_{t-1})", r"\sqrt{\alpha_t}\, (1 - \bar\alpha_t)"),
            (r"{1 - \bar\alpha_t}\, x_t", r"{1 - \bar\alpha_t}\, x_0"),
        ),
    ),
    "posterior-rest": Check(
        "book/30_posterior.md: the text",
        POSTERIOR_AND_SYMPY,
        both_posteriors,
        (("B^2", "B"), ("C - ", "C + ")),
    ),
    "posterior-factors-in-front": Check(
        "book/30_posterior.md: the text",
        POSTERIOR + ".",
        posteriors,
        ((r"{\sqrt{2 \pi \tilde\beta_t}}", r"{2 \pi \tilde\beta_t}"),),
    ),
    "posterior-rest-tt": Check(
        "book/30_posterior.md: the text",
        "SymPy: all members are the same expression.",
        symbolic_step,
        ((r"- \frac{\alpha_t", r"- \frac{"), (r"+ \bar\alpha_t}", "}")),
        # denominators under a numerator that is 0
        blind=(
            "-->+ in beta_t (1 - \\bar\\alp",
            "bar in ta_t (1 - \\bar\\alpha",
            "digit in {\\beta_t (1 - \\bar\\a",
            "t->t-1 in \\bar\\alpha_t)} = 0\n\\",
        ),
    ),
    "posterior-rest-t0": Check(
        "book/30_posterior.md: the text",
        "SymPy: all members are the same expression.",
        symbolic_step,
        ((r"\sqrt{\bar\alpha_{t-1}}", r"\bar\alpha_{t-1}"),),
    ),
    "posterior-rest-00": Check(
        "book/30_posterior.md: the text",
        "SymPy: all members are the same expression.",
        symbolic_step,
        ((r"- \bar\alpha_{t-1} \beta_t}", r"+ \bar\alpha_{t-1} \beta_t}"),),
        # denominators under a numerator that is 0
        blind=(
            "-->+ in eta_t}{(1 - \\bar\\alp",
            "-->+ in {t-1}) (1 - \\bar\\alp",
            "bar in -1}) (1 - \\bar\\alpha",
            "digit in \\beta_t}{(1 - \\bar\\a",
            "digit in a_{t-1}) (1 - \\bar\\a",
            "t-1->t in \\bar\\alpha_{t-1}) (1",
            "t->t-1 in \\bar\\alpha_t)} \\\\\n&=",
        ),
    ),
    "eq-posterior-result": Check(
        "ddpm_lib/diffusion.py: posterior_mean",
        POSTERIOR + ".",
        posteriors,
        ((r"\tilde\beta_t I", r"\beta_t I"), (r"\mid x_t, x_0)", r"\mid x_t)")),
    ),
    "eq-posterior-product": Check(
        "ddpm_lib/exercises/posterior.py: product-of-gaussians",
        "float64: mean and variance of a normalized product of two densities on a grid.",
        products,
        ((r"\frac{1}{v_1} + \frac{1}{v_2}", r"\frac{1}{v_1 + v_2}"), (r"\frac{m_1}{v_1}", r"\frac{m_1}{v_2}")),
    ),
    "eq-posterior-x0": Check(
        "ddpm_lib/diffusion.py: x_0_from_noise",
        WHOLE_CHAIN + "both sides are evaluated on a draw.",
        chains,
        ((r"{\sqrt{\bar\alpha_t}}", r"{\bar\alpha_t}"), (r"x_t - ", r"x_t + ")),
    ),
    "posterior-noise-substituted": Check(
        "book/30_posterior.md: from_noise",
        POSTERIOR_AND_SYMPY,
        both_posteriors,
        ((r"\frac{\beta_t}{\sqrt{\alpha_t} \sqrt{1", r"\frac{\beta_t}{\alpha_t \sqrt{1"),),
    ),
    "posterior-noise-bracket": Check(
        "book/30_posterior.md: the text",
        "SymPy: all members are the same expression.",
        symbolic_step,
        ((r"= \frac{1}{\sqrt{\alpha_t}}", r"= \frac{1}{\alpha_t}"),),
    ),
    "eq-posterior-mean-noise": Check(
        "book/30_posterior.md: from_noise",
        POSTERIOR_AND_SYMPY,
        both_posteriors,
        (
            (r"\frac{\beta_t}{\sqrt{1 - \bar\alpha_t}}", r"\frac{\beta_t}{1 - \bar\alpha_t}"),
            (r"\frac{1}{\sqrt{\alpha_t}}", r"\frac{1}{\alpha_t}"),
            (r"\beta_t", r"\sqrt{\beta_t}"),
        ),
    ),
    "posterior-gaussian-data": Check(
        "book/30_posterior.md: v",
        WHOLE_CHAIN + "variances are sums over the sources.",
        gaussian_data,
        ((r"+ 1 -", r"- 1 -"),),
    ),
    "eq-posterior-reverse": Check(
        "book/30_posterior.md: row",
        WHOLE_CHAIN + "the conditional variance comes from the joint covariance matrix, with x_0 unknown.",
        gaussian_data,
        ((r"\frac{v_{t-1}}{v_t}", r"\frac{v_t}{v_{t-1}}"), (r"\right)^{-1}", r"\right)")),
    ),
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


# ---- The page -------------------------------------------------------------------------------------------------------

INTRODUCTION = """\
# Equation ledger

Every numbered equation of the chapters, with the place of its code and the way it is checked.
The tests read the formula as it is printed, evaluate all its members, and compare them with numbers from elsewhere.
So a wrong sign in a chapter fails a test that names the equation.
The steps between numbered equations are checked in the same way.

For each check the tests also alter the formula: known mistakes by hand, and every single sign, number, root, bar and
index in turn. The check must notice, unless the alteration changes nothing true; those few are listed beside the check,
with the reason. {labels} numbered equations and {steps} steps are checked, with {mutants} known
mistakes.
"""


def page() -> str:
    """Write the ledger page from the checks and the chapters."""
    found = displays()
    labels = [display for display in found if not display.is_step]
    mutants = sum(len(check.mutants) for check in CHECKS.values())
    parts = [INTRODUCTION.format(labels=len(labels), steps=len(found) - len(labels), mutants=mutants)]
    chapter = None
    for display in labels:
        if display.chapter != chapter:
            chapter = display.chapter
            parts.append(f"## {_title(chapter)}\n")
        check = CHECKS[display.name]
        parts.append(
            f"**Equation** {{eq}}`{display.name}`, `{display.name}`\n\n$$\n{display.latex}\n$$\n\n"
            f"- Code: `{check.code}`\n- Check: {check.how}\n"
        )
    return "\n".join(parts)


def _title(chapter):
    return re.search(r"^# (.+)$", (BOOK / f"{chapter}.md").read_text("utf8"), re.M)[1]


if __name__ == "__main__":
    PAGE.write_text(page(), "utf8")
