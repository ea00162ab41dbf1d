"""The equation checks of the chapter on sampling in fewer steps, and the worlds that only it uses.

Step n is the one that a sampler visits after t, and p the one before. A number, not a picture, walks.
"""

import math

import numpy as np
from scipy.integrate import solve_ivp

from tests.ledger.checking import Check
from tests.ledger.inline import Inline, Says
from tests.ledger.variables import Linear, World, condition
from tests.ledger.worlds import WHOLE_CHAIN, chain

FAMILY = (
    "float64: x_n is made of x_0, the noise of x_t and fresh noise in given shares; its law when x_t and x_0 are known "
    "comes from their joint covariance matrix"
)
STRAIGHT = "float64: x_t and x_n are mixed from the same image and the same noise"
MARKOV = WHOLE_CHAIN + "the step from x_t to x_n comes from their joint covariance matrix"
PATH = (
    "float64: on the curve of Gaussian data, which keeps its place in standard deviations; derivatives by a complex "
    "step, the network's answers by conditioning"
)
LOGARITHM = "float64: a predicted image that changes evenly in log u"
CASES = ((0, 7, 4, 0.2, 0.6, 0.3), (1, 5, 2, 0.55, 0.9, 0.8), (2, 9, 8, 0.04, 0.05, 0.6))


def family(fresh=True):
    """Two steps of a process of the family, in which x_n has a given share of the noise in x_t, or all of it."""
    worlds = []
    for seed, t, n, a, b, share in CASES:
        share = share if fresh else 1.0
        draw = np.random.default_rng(seed).standard_normal(3)
        source, noise, other = (Linear(0.0, row, draw) for row in np.eye(3))
        clean = 0.3 + 0.7 * source
        bars = {t: a, n: b, 0: 1.0}
        x = {
            0: clean,
            t: math.sqrt(a) * clean + math.sqrt(1 - a) * noise,
            n: math.sqrt(b) * clean + math.sqrt(1 - b) * (share * noise + math.sqrt(1 - share**2) * other),
        }
        means, variances = condition([x[n]], [x[t], clean])
        seen = {(x[t].value, t): noise.value, (x[n].value, n): noise.value}  # by a network that knows the noise
        names = {
            "t": t,
            "n": n,
            "I": 1,
            r"\bar\alpha": bars.__getitem__,
            r"\rho": lambda i, bars=bars: math.sqrt(1 / bars[i] - 1),
            "SNR": lambda i, bars=bars: bars[i] / (1 - bars[i]),
            "x": lambda i, x=x: x[i].value,
            "y": lambda i, x=x, bars=bars: x[i].value / math.sqrt(1 - bars[i]),
            r"\hatx": {0: clean.value}.__getitem__,
            r"\tildef": clean.value,
            r"\varepsilon": noise.value,
            r"\varepsilon_\theta": lambda *at, seen=seen: seen[at],
            r"\sigma": {t: math.sqrt(max(variances[0, 0], 0.0))}.__getitem__,
            "z": other.value,
            "m": {n: means[0]}.__getitem__,
        }
        worlds.append(World(names, {"x": x.__getitem__}))
    return worlds


def straight():
    return family(fresh=False)


def markov(eta=None):
    """Chains of which some steps are left out; sigma is eta times the posterior's deviation."""
    worlds = []
    for seed, t, n in [(0, 2, 1), (1, 4, 2), (2, 6, 3)]:
        world = chain(seed, t)
        x, bar = world.random["x"], world.names[r"\bar\alpha"]
        share = (0.3, 0.7, 1.2)[seed] if eta is None else eta
        deviation = math.sqrt(condition([x(n)], [x(t), x(0)])[1][0, 0])
        hat = math.sqrt(condition([x(t)], [x(n)])[1][0, 0])
        names = {
            "n": n,
            r"\eta": share,
            r"\sigma": {t: share * deviation}.__getitem__,
            r"\hat\sigma": {t: hat}.__getitem__,
            "d": deviation,
            r"\bar\alpha": lambda i, bar=bar: bar(i),
        }
        worlds.append(World(world.names | names, world.random))
    return worlds


def whole_posterior():
    return markov(1.0)


def paths():
    """The curve of Gaussian data of deviation s, in continuous time; f is the image predicted on it, as u grows."""
    worlds = []
    for s, c in [(0.4, 0.9), (1.7, -0.6)]:
        t, n, p, last = 2, 1, 3, 4

        def bar(time):
            return np.exp(-0.2 * time - 0.15 * time**2)

        def x(time, s=s, c=c):
            return c * np.sqrt(bar(time) * s**2 + 1 - bar(time))

        def rho(time):
            return np.sqrt(1 / bar(time) - 1)

        def x_bar(size, s=s, c=c):
            return c * np.sqrt(s**2 + size**2)

        def slope(function, at):
            return function(at + 1e-30j).imag / 1e-30

        def known(time, target, s=s):
            """The mean of the image, or of the noise, when x is known."""
            image, noise = Linear(0.0, [s, 0.0], np.zeros(2)), Linear(0.0, [0.0, 1.0], np.zeros(2))
            mixed = math.sqrt(bar(time)) * image + math.sqrt(1 - bar(time)) * noise
            gain = (mixed.weights * (image if target == "image" else noise).weights).sum() / (mixed.weights**2).sum()
            return gain * x(time)

        def f(u, s=s, x_bar=x_bar):
            share = u**2 / (1 + u**2)
            return np.sqrt(share) * s**2 / (share * s**2 + 1 - share) * x_bar(1 / u) * np.sqrt(share)

        v = {i: bar(i) * s**2 + 1 - bar(i) for i in (0, n, t, p, last)}
        u = {i: 1 / rho(i) for i in (n, t, p, last)}
        seen = {(x(t), t): known(t, "noise")}
        names = {
            **{"t": t, "n": n, "p": p, "T": last, "s": s, "b": 0.2 + 0.3 * t, "S": -x(t) / v[t]},
            **{"x": lambda i=t, x=x: x(i), "v": v.__getitem__, r"\barx": x_bar(rho(t))},
            **{r"\bar\alpha": bar, r"\rho": lambda i=t, rho=rho: rho(i), "u": lambda i=t, u=u: u[i]},
            **{f"u_{name}": u[i] for name, i in (("n", n), ("t", t), ("p", p))},
            **{"h": math.log(u[n] / u[t]), "k": math.log(u[t] / u[p])},
            "y": lambda i=t, x=x: x(i) / np.sqrt(1 - bar(i)),
            "f": f,
            r"\hatx": {0: known(t, "image")}.__getitem__,
            r"\varepsilon_\theta": lambda *at, seen=seen: seen[at],
            r"\mathrm{d}x/\mathrm{d}t": slope(x, t),
            r"\mathrm{d}\rho/\mathrm{d}t": slope(rho, t),
            r"\mathrm{d}\barx/\mathrm{d}\rho": slope(x_bar, rho(t)),
            r"\mathrm{d}y/\mathrm{d}\rho": slope(lambda size, x_bar=x_bar: x_bar(size) / size, rho(t)),
            r"\mathrm{d}y/\mathrm{d}u": slope(lambda u, x_bar=x_bar: x_bar(1 / u) * u, u[t]),
        }
        worlds.append(World(names))
    return worlds


def gaussian_guesses():
    """One number of Gaussian data around 0, and what is known of it and of the noise when x_t is known."""
    worlds = []
    for s, bar in [(0.4, 0.3), (1.7, 0.8)]:
        draw = np.array([0.8, -0.5])
        image, noise = Linear(0.0, [s, 0.0], draw), Linear(0.0, [0.0, 1.0], draw)
        x_t = math.sqrt(bar) * image + math.sqrt(1 - bar) * noise
        seen = {(x_t.value, 3): condition([noise], [x_t])[0][0]}
        names = {
            **{"t": 3, "s": s, "x": {3: x_t.value}.__getitem__, r"\bar\alpha": {3: bar}.__getitem__},
            **{
                "v": {3: (x_t.weights**2).sum()}.__getitem__,
                r"\hatx": {0: condition([image], [x_t])[0][0]}.__getitem__,
            },
            r"\varepsilon_\theta": lambda *at, seen=seen: seen[at],
        }
        worlds.append(World(names))
    return worlds


def solved():
    """The probability-flow ODE of Gaussian data, solved from T down to 0 by a general solver."""
    worlds = []
    for s, x_T in [(0.4, 0.9), (1.7, -0.6)]:

        def slope(time, x, s=s):
            bar = np.exp(-0.2 * time - 0.15 * time**2)
            return (0.2 + 0.3 * time) / 2 * (x / (bar * s**2 + 1 - bar) - x)

        end = solve_ivp(slope, (4, 0), [x_T], rtol=1e-12, atol=1e-13, method="DOP853").y[0, -1]
        bar = math.exp(-0.2 * 4 - 0.15 * 16)
        names = {"T": 4, "s": s, "x": {0: end, 4: x_T}.__getitem__, "v": {4: bar * s**2 + 1 - bar}.__getitem__}
        worlds.append(World(names))
    return worlds


def logarithms():
    """An image that changes evenly in log u, over two short steps; halfway means halfway in log u."""
    worlds = []
    for first, rate, u_p, k, h in [(0.3, 0.8, 0.5, 0.02, 0.01), (-0.7, 1.3, 2.0, 0.01, 0.013)]:
        u = {8: u_p, 7: u_p * math.exp(k), 4: u_p * math.exp(k + h)}

        def f(at, first=first, rate=rate):
            return first + rate * np.log(at)

        names = {"p": 8, "t": 7, "n": 4, "h": h, "k": k, "f": f, r"\tildef": f(math.sqrt(u[7] * u[4]))}
        names |= {"u": lambda i=None, u=u: 1.7 if i is None else u[i], "u_p": u[8], "u_t": u[7], "u_n": u[4]}
        worlds.append(World(names))
    return worlds


def unchanging():
    """An image that does not change during the step."""
    names = {"t": 7, "n": 4, "u_t": 0.5, "u_n": 1.3, "f": lambda u: 0.4 + 0.0 * u}
    names["Y"] = 0.4 * 0.8  # how far y moves
    return [World(names)]


def bright():
    """D numbers that share a brightness; their sum over the root of D is one number of its own."""
    worlds = []
    for bar, size, c in [(0.3, 4, 0.5), (0.02, 9, 0.2)]:
        pixels = [Linear(0.0, np.append(c, np.zeros(size)), np.zeros(size + 1)) for _ in range(size)]
        noise = [Linear(0.0, row, np.zeros(size + 1)) for row in np.eye(size + 1)[1:]]

        def along(numbers, size=size):
            return sum(numbers[1:], numbers[0]) / math.sqrt(size)

        mixed = math.sqrt(bar) * along(pixels) + math.sqrt(1 - bar) * along(noise)
        names = {"t": 3, "D": size, "c": c, "v": {3: (mixed.weights**2).sum()}.__getitem__}
        names |= {r"\bar\alpha": {3: bar}.__getitem__, "s": math.sqrt((along(pixels).weights ** 2).sum())}
        worlds.append(World(names))
    return worlds


TEXT = "book/55_few_steps.md: the text"
DDIM, DPM = "ddpm_lib/sampling.py: ddim_sample", "ddpm_lib/sampling.py: dpm_solver_pp_sample"

CHECKS: dict[str, Check] = {
    "eq-few-family": Check(
        DDIM,
        FAMILY + ".",
        family,
        ((r"\bar\alpha_n - \sigma_t^2}", r"\bar\alpha_n}"), (r"\sqrt{\bar\alpha_n}", r"\bar\alpha_n")),
    ),
    "few-noise": Check(
        "book/55_few_steps.md: noise", FAMILY + ".", family, ((r"{\sqrt{1 - \bar\alpha_t}}", r"{1 - \bar\alpha_t}"),)
    ),
    "few-draw": Check(
        "book/55_few_steps.md: x_n", FAMILY + ".", family, ((r"\sigma_t z", r"\sigma_t^2 z"), (r"- \sigma_t^2", ""))
    ),
    "few-mean-variance": Check(
        "book/55_few_steps.md: mean, variance",
        FAMILY + ".",
        family,
        ((r"\sigma_t^2 + \sigma_t^2", r"\sigma_t^2"), (r"= \sqrt{\bar\alpha_n}", r"= \bar\alpha_n")),
    ),
    "eq-few-marginal": Check(
        "book/55_few_steps.md: mean, variance",
        FAMILY + ".",
        family,
        ((r"(1 - \bar\alpha_n)", r"\bar\alpha_n"), (r"\sqrt{\bar\alpha_n}", r"\bar\alpha_n")),
    ),
    "few-guess": Check(
        "ddpm_lib/diffusion.py: x_0_from_noise",
        FAMILY + "; a network that knows the noise finds x_0.",
        family,
        ((r"x_t - ", "x_t + "), (r"{\sqrt{\bar\alpha_t}}", r"{\bar\alpha_t}")),
    ),
    "eq-few-ddim": Check(
        DDIM,
        FAMILY + "; the network knows the noise.",
        family,
        ((r"- \sigma_t^2}", "}"), (r"\sqrt{\bar\alpha_n}\, \hat x_0", r"\hat x_0"), (r"\sigma_t z", "z")),
    ),
    "eq-few-eta": Check(
        DDIM,
        MARKOV + ".",
        markov,
        (
            (r"\frac{1 - \bar\alpha_n}{1 - \bar\alpha_t}", r"\frac{1 - \bar\alpha_t}{1 - \bar\alpha_n}"),
            (r"\sqrt{\frac{1 - \bar\alpha_n}{1 - \bar\alpha_t}}", ""),
            (r"\eta\,", ""),
        ),
    ),
    "eq-few-eta-one": Check(
        DDIM,
        MARKOV + ".",
        whole_posterior,
        (
            (r"\frac{\bar\alpha_t}{\bar\alpha_n}", r"\frac{\bar\alpha_n}{\bar\alpha_t}"),
            (r"{\sqrt{1 - \bar\alpha_t}}", r"{1 - \bar\alpha_t}"),
        ),
    ),
    "few-sigma-hat": Check(
        "ddpm_lib/sampling.py: ddpm_sample",
        MARKOV + ": it is the variance of the long step forwards.",
        markov,
        ((r"\frac{\bar\alpha_t}{\bar\alpha_n}", r"\frac{\bar\alpha_n}{\bar\alpha_t}"),),
    ),
    "eq-few-excess": Check(
        "book/55_few_steps.md: excess",
        MARKOV + ".",
        whole_posterior,
        (
            (r"\hat\sigma_t^4", r"\hat\sigma_t^2"),
            (r"\bar\alpha_n\,", ""),
            (r"{1 - \bar\alpha_t}", r"{1 - \bar\alpha_n}"),
        ),
    ),
    "few-gaussian-guess": Check(
        "book/55_few_steps.md: factor",
        "float64: by conditioning the joint Gaussian of image, noise and x_t.",
        gaussian_guesses,
        ((r"s^2}{v_t}", r"s}{v_t}"), (r"\frac{\sqrt{1 - \bar\alpha_t}}", r"\frac{1 - \bar\alpha_t}")),
    ),
    "few-rho": Check(TEXT, STRAIGHT + ".", straight, ((r"\rho_t^2 =", r"\rho_t ="),)),
    "eq-few-euler": Check(
        DDIM,
        STRAIGHT + ".",
        straight,
        ((r"\rho_n - \rho_t", r"\rho_t - \rho_n"), (r"\frac{x_n}{\sqrt{\bar\alpha_n}}", "x_n")),
    ),
    "eq-few-ode": Check(
        "book/55_few_steps.md: slope", PATH + ".", paths, ((r"= \varepsilon_\theta", r"= -\varepsilon_\theta"),)
    ),
    "few-flow-product": Check(
        TEXT, PATH + ".", paths, ((r"- \frac{b}{2}", r"+ \frac{b}{2}"), (r"\sqrt{\bar\alpha_t}\,", ""))
    ),
    "few-rho-rate": Check(TEXT, PATH + ".", paths, ((r"\bar\alpha_t\, \rho", r"\rho"),)),
    "eq-few-flow": Check(
        TEXT,
        PATH + ".",
        paths,
        ((r"{\sqrt{1 - \bar\alpha_t}}", r"{1 - \bar\alpha_t}"), (r"- x", r"+ x"), (r"\frac{b}{2}", "b")),
    ),
    "eq-few-gaussian-flow": Check(
        "book/55_few_steps.md: formula",
        "SciPy: the ODE, solved from T down to 0.",
        solved,
        ((r"\sqrt{v_T}", "v_T"), (r"\frac{s}", r"\frac{s^2}")),
    ),
    "few-linear": Check(
        TEXT, PATH + ".", paths, ((r"\hat x_0}{\rho}", r"\hat x_0}{\rho^2}"), (r"\bar x - ", r"\bar x + "))
    ),
    "few-quotient": Check(TEXT, PATH + ".", paths, ((r"= -\frac", r"= \frac"), (r"{\rho^2} =", r"{\rho} ="))),
    "eq-few-clock": Check(TEXT, PATH + ".", paths, ((r"= \hat x_0", r"= -\hat x_0"),)),
    "eq-few-integral": Check(
        TEXT, PATH + "; the integral by the trapezoid rule.", paths, ((r"y_t + ", "y_t - "), (r"f(u)", r"u f(u)"))
    ),
    "few-extrapolate": Check(
        TEXT,
        LOGARITHM + ".",
        logarithms,
        ((r"{k}", r"{h}"), (r"- f(u_p)", r"+ f(u_p)")),
        tolerance=1e-9,
    ),
    "few-half": Check(
        TEXT,
        LOGARITHM + "; the integral by the trapezoid rule.",
        logarithms,
        ((r"\frac{h}{2}", "h"), (r"= u_n h", r"= u_t h")),
        tolerance=5e-3,
    ),
    "eq-few-halfway": Check(
        DPM,
        LOGARITHM + ", taken halfway.",
        logarithms,
        ((r"\frac{h}{2 k}", r"\frac{h}{k}"), (r"\frac{h}{2 k}", r"\frac{k}{2 h}"), (r"- f(u_p)", r"+ f(u_p)")),
    ),
    "eq-few-dpm": Check(
        DPM,
        STRAIGHT + "; the image does not change.",
        straight,
        ((r"x_t - ", "x_t + "), (r"+ \sqrt{\bar\alpha_n}", r"+ \sqrt{\bar\alpha_t}")),
    ),
    "eq-few-encode": Check(
        "ddpm_lib/sampling.py: ddim_encode",
        STRAIGHT + ".",
        straight,
        ((r"\rho_t - \rho_n", r"\rho_n - \rho_t"), (r"(x_n, n)", r"(x_t, n)")),
    ),
    "eq-few-brightness": Check(
        "book/55_few_steps.md: narrow",
        "float64: D numbers that share a brightness, summed over independent sources.",
        bright,
        ((r"D c^2", r"c^2"), (r"D c^2", r"D^2 c^2"), (r"+ 1 - \bar\alpha_t", r"+ 1")),
    ),
    "few-again": Check(
        "ddpm_lib/sampling.py: ddim_sample",
        FAMILY + "; the image is the true one.",
        family,
        ((r"{\sqrt{1 - \bar\alpha_t}}", r"{1 - \bar\alpha_t}"), (r"\, \hat x_0", r"")),
    ),
}

INLINE = Inline(
    paths,
    {
        "Choose any $\\sigma_t$ from 0 up to $#1$.": Says(family, r"\sigma_t \le #1, \quad #1 \le 1"),
        "Add noise of the variance $#1$ that step $n$ wants.": Says(family, r"\operatorname{Var}[x_n \mid x_0] = #1"),
        "With $\\eta = #1$ nothing is fresh.": Says(markov, r"#1 \hat\sigma_t = 0"),
        "With $\\eta = #1$ we are back": Says(
            markov,
            r"d = #1 \sqrt{\frac{1 - \bar\alpha_n}{1 - \bar\alpha_t}} \sqrt{1 - \frac{\bar\alpha_t}{\bar\alpha_n}}",
        ),
        "Divide {eq}`eq-few-ddim` by $#1$.": Says(
            straight, r"\frac{x_n}{#1} = \hat x_0 + \rho_n \varepsilon_\theta(x_n, n)"
        ),
        "noise is the score, times $#1$.": Says(paths, r"\varepsilon_\theta(x_t, t) = #1 S"),
        "The part $#1$ is linear": Says(
            paths, r"\frac{\mathrm{d} \bar x}{\mathrm{d} \rho} = #1 - \frac{\hat x_0}{\rho}"
        ),
        "the integral is $#1$.": Says(unchanging, r"Y = #1"),
        "Times $#1$ this is DDIM once more.": Says(straight, "x_n = #1 y_n"),
        "Write $k$ for the length $#1$ of the step before": Says(paths, "k = #1"),
        "and multiplied by $#1$ the step is": Says(straight, "x_n = #1 y_n"),
        "is data of variance $#1$, and that is large": Says(bright),
        "write $\\lambda_t$ for $#1$. It is our $\\log u$": Says(paths, r"\log u = #1"),
    },
)
