"""Worlds that several chapters share: chains of random variables, posteriors, schedules, divergences.

Their numbers come from elsewhere: from the joint Gaussian of a whole chain, from a grid, from SymPy.
"""

import math

import numpy as np
import sympy

from ddpm_lib import schedules
from tests.ledger.variables import Linear, World, condition

WHOLE_CHAIN = "float64: every variable of a chain with random betas is kept as a combination of independent sources; "
POSTERIOR = WHOLE_CHAIN + "the posterior comes from their joint covariance matrix"


def chain(seed, t, last=6, s=0.7):
    """A chain of scalars with random betas; every variable is known as a combination of independent sources."""
    rng = np.random.default_rng(seed)
    betas = rng.uniform(0.05, 0.4, last)
    draw = rng.standard_normal(last + 1)
    source = [Linear(0.0, row, draw) for row in np.eye(last + 1)]
    x = [0.3 + s * source[0]]
    for beta, fresh in zip(betas, source[1:], strict=True):
        x.append(math.sqrt(1 - beta) * x[-1] + math.sqrt(beta) * fresh)

    def accumulated(i):
        """The noise in x_i that is not x_0, scaled to variance 1."""
        rest = x[i] - x[i].weights[0] / x[0].weights[0] * x[0]
        return rest / math.sqrt((rest.weights**2).sum())

    def noise(i=None):
        return accumulated(t) if i is None else source[from_one(i)]

    def beta(i):
        return betas[from_one(i) - 1]

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


def from_one(i):
    if i < 1:
        raise IndexError("this table starts at step 1")
    return i


def chains():
    return [chain(seed, t) for seed, t in [(0, 2), (1, 4), (2, 6)]]


def unit_chains():
    """Chains whose first variable has variance 1, as its later ones then have, too."""
    return [chain(seed, t, s=1.0) for seed, t in [(0, 2), (1, 4), (2, 6)]]


def first_steps():
    return [chain(seed, 1) for seed in range(3)]


def numbers():
    """A world without names, for statements about numbers."""
    return [World({})]


def halves():
    """The step at which image and noise have equal shares."""
    logarithm = {1: math.log(0.5) - math.log(1 - 0.5)}
    return [World({"t": 1, r"\bar\alpha": {1: 0.5}.__getitem__, r"\lambda": lambda i=1: logarithm[i]})]


def constant_answers():
    """Quadrature over the noise beside a network that answers c; L is the sum of the noise's variance and c^2."""
    nodes, weights = np.polynomial.hermite_e.hermegauss(8)
    rule = {r"\varepsilon": (nodes, weights / math.sqrt(2 * math.pi))}
    return [World({"c": c, r"\varepsilon_\theta": c, "L": 1.0 + c**2}, quadrature=rule) for c in (0.3, -1.2)]


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


def library_steps():
    """The library's schedule of 1000 steps, whose values are pinned elsewhere, at a few of its steps."""
    library = schedules.linear_schedule(1000)
    tables = {
        "T": 1000,
        r"\beta": lambda i: library.betas[from_one(i) - 1],
        r"\bar\alpha": lambda i: library.alpha_bars[from_one(i) - 1],
    }
    return [World({"t": t} | tables) for t in (100, 487, 900)]


def linear_schedules():
    """The library's table, whose values at T = 1000 are pinned elsewhere, and the same line by repeated addition."""
    worlds = []
    for last, t in [(1000, 1), (1000, 487), (100, 60)]:
        betas = schedules.linear_schedule(last).betas
        stride = (0.02 - 1e-4) / (last - 1)
        assert np.allclose(betas, 1e-4 + np.cumsum(np.full(last, stride)) - stride, rtol=1e-9)
        worlds.append(World({"t": t, "T": last, r"\beta": lambda i, b=betas: b[from_one(i) - 1]}))
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

        worlds.append(World({"T": last, r"\beta": lambda i, b=library.betas: b[from_one(i) - 1], r"\bar\alpha": bar}))
    return worlds


def divergence(m, v):
    """The divergence of N(m, v) from N(0, 1) by summing over a grid."""
    x = np.linspace(m - 12 * math.sqrt(v), m + 12 * math.sqrt(v), 200_001)
    log_ratio = -0.5 * math.log(v) - (x - m) ** 2 / (2 * v) + x**2 / 2
    return np.trapezoid(np.exp(-((x - m) ** 2) / (2 * v)) / math.sqrt(2 * math.pi * v) * log_ratio, x)


def divergences():
    nodes, weights = np.polynomial.hermite_e.hermegauss(12)
    worlds = []
    for m, v in [(0.5, 0.3), (-1.2, 1.7)]:
        names = {"m": m, "v": v, r"D_\mathrm{KL}(\mathcal{N}(m,v)\|\mathcal{N}(0,1))": divergence(m, v)}
        rule = (m + math.sqrt(v) * nodes, weights / math.sqrt(2 * math.pi))
        worlds.append(World(names, quadrature={"x": rule}))
    return worlds


def priors(ends=((0.3, 0.8), (0.01, -0.4))):
    worlds = []
    for bar, x_0 in ends:
        names = {"T": 9, "x": {0: x_0}.__getitem__, r"\bar\alpha": {9: bar}.__getitem__}
        worlds.append(World(names | {"L": {9: divergence(math.sqrt(bar) * x_0, 1 - bar)}.__getitem__}))
    return worlds


def small_priors():
    return priors(((4.0358e-5, 0.8), (1e-4, -1.0)))


def rescaled_roots():
    """The one affine map of the roots that keeps the first and sends the last to 0."""
    worlds = []
    for t in (1, 400, 1000):
        roots = np.sqrt(schedules.linear_schedule(1000).alpha_bars)
        slope, shift = np.linalg.solve([[roots[0], 1], [roots[-1], 1]], [roots[0], 0])
        names = {
            "t": t,
            "T": 1000,
            "r": lambda i, r=roots: r[from_one(i) - 1],
            r"\tilder": lambda i, r=roots, s=(slope, shift): s[0] * r[from_one(i) - 1] + s[1],
            r"\beta": lambda i, r=slope * roots + shift: 1 - (r[from_one(i) - 1] / r[i - 2]) ** 2,
            r"\bar\alpha": lambda i: schedules.linear_schedule(1000).alpha_bars[from_one(i) - 1],
        }
        worlds.append(World(names))
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


def single_points(data):
    """Data of nearly no variance, and the posterior's variance from data that have some; `data(s)` have deviation s."""
    return [
        World(point.names | {r"\tilde\beta": other.names[r"\tilde\beta"]}, point.random)
        for point, other in zip(data(1e-7), data(0.7), strict=True)
    ]


def gaussian_data():
    """Chains whose first variable has the variance s^2; v_t is the variance of x_t, from the sources."""
    worlds = []
    for world in chains():
        x = world.random["x"]
        names = {"s": math.sqrt((x(0).weights ** 2).sum()), "v": lambda i, x=x: (x(i).weights ** 2).sum()}
        worlds.append(World(world.names | names, world.random))
    return worlds
