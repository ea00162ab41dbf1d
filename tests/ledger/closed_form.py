"""The equation checks of the chapter on the closed form, and the worlds that only it uses."""

import inspect
import math

import numpy as np

from ddpm_lib import schedules
from tests.ledger.checking import Check
from tests.ledger.inline import AMPLITUDE, STEPS, Inline, Says
from tests.ledger.variables import Linear, World
from tests.ledger.worlds import (
    WHOLE_CHAIN,
    chain,
    chains,
    cosine_schedules,
    divergences,
    first_steps,
    from_one,
    halves,
    letters,
    library_steps,
    linear_ends,
    linear_schedules,
    numbers,
    priors,
    rescaled_roots,
    sigmoid_schedules,
    small_priors,
    symbolic_step,
    unit_chains,
)


def second_steps():
    return [chain(seed, 2) for seed in range(3)]


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


def curves():
    """The integrand of the convolution as a curve in y, on a grid: v is its variance."""
    worlds = []
    for a, b, z in [(0.6, 0.8, 0.5), (1.3, 0.4, -1.7)]:
        y = np.linspace(-25, 25, 200_001)
        curve = np.exp(-((z - y) ** 2) / (2 * a * a) - y * y / (2 * b * b))
        curve /= curve.sum()
        v = (curve * (y - (curve * y).sum()) ** 2).sum()
        worlds.append(World({"a": a, "b": b, "v": v}))
    return worlds


def scaled_noises():
    """A draw x of a normal number, and the slope in mu of its log-density by a central difference."""
    worlds = []
    for mu, sigma, draw in [(0.7, 0.5, -0.4), (-1.1, 1.3, 0.9)]:
        noise = Linear(0, [1.0], np.array([draw]))
        x = mu + sigma * noise
        logs = [-((x.value - each) ** 2) / (2 * sigma**2) for each in (mu - 0.1, mu + 0.1)]
        names = {r"\mu": mu, r"\sigma": sigma, "x": x.value, r"\varepsilon": draw}
        slope = {r"\partial\logp/\partial\mu": (logs[1] - logs[0]) / 0.2}
        worlds.append(World(names | slope, {"x": x, r"\varepsilon": noise}))
    return worlds


def mean_squares():
    """Quadrature over a normal x, and the slope in mu of the mean of x^2 by a central difference."""
    nodes, weights = np.polynomial.hermite_e.hermegauss(12)
    weights = weights / math.sqrt(2 * math.pi)
    worlds = []
    for mu, sigma in [(0.7, 0.5), (-1.1, 1.3)]:
        low, high = (((each + sigma * nodes) ** 2 * weights).sum() for each in (mu - 0.1, mu + 0.1))
        names = {r"\mu": mu, r"\sigma": sigma, r"\partialF/\partial\mu": (high - low) / 0.2}
        worlds.append(World(names, quadrature={"x": (mu + sigma * nodes, weights)}))
    return worlds


def sigmoid_defaults():
    found = inspect.signature(schedules.sigmoid_schedule).parameters
    return [World({"a": found["start"].default, "b": found["end"].default, r"\tau": found["tau"].default})]


def fewer_steps():
    """Linear schedules with the same ends and fewer steps; S is the sum of the betas of 1000 steps."""
    worlds = []
    for last in (50, 100):
        betas = schedules.linear_schedule(last).betas
        total = schedules.linear_schedule(1000).betas.sum()
        worlds.append(World({"T": last, "S": total, r"\beta": lambda i, betas=betas: betas[from_one(i) - 1]}))
    return worlds


def fifty_steps():
    return fewer_steps()[:1]


def small_betas():
    return [World({r"\beta": beta}) for beta in (1e-4, 1e-3)]


def large_betas():
    return [World({r"\beta": 0.4})]


def velocities():
    """On the circle of amplitudes, v is the derivative of x_t = cos(angle) x_0 + sin(angle) noise; by two draws."""
    worlds = []
    for world in chains():

        def angle(t, bar=world.names[r"\bar\alpha"]):
            return math.acos(math.sqrt(bar(t)))

        t, x_0, noise = world.names["t"], world.names["x"](0), world.names[r"\varepsilon"]()
        quarter = angle(t) + math.pi / 2
        worlds.append(World(world.names | {"v": math.cos(quarter) * x_0 + math.sin(quarter) * noise}))
    return worlds


def wiped_out():
    """The last step of a chain that keeps nothing."""
    names = {"x": {0: 0.8}.__getitem__, r"\varepsilon": -0.3}
    return [World(names | {"v": math.cos(math.pi) * 0.8 + math.sin(math.pi) * -0.3})]


CHECKS: dict[str, Check] = {
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
}

INLINE = Inline(
    chains,
    STEPS
    | {
        r"where $a, #1$. (If": Says(independent_sum, r"a > 0, \quad #1"),
        "The sum is $z$ if $Y = #1$ and $X = #2$,": Says(letters, "z = #1 + #2"),
        "Its variance is $v = #1$.": Says(curves, "v = #1"),
        "integrates to $#1$, wherever": Says(curves, r"\int_{-\infty}^{\infty} e^{-y^2/(2 v)} \mathrm{d}y = #1"),
        "**Start, $#1$.** Here $#2$, and $#3$.": Says(first_steps, r"#1, \quad #2, \quad #3"),
        "At the start it is $#1$.": Says(first_steps),
        "Divide the bracket by its deviation $#1$,": Says(chains, r"\operatorname{Var}[x_t \mid x_0] = #1^2"),
        "the mean of $f(x)$ for $#1$.": Says(scaled_noises),
        "But write $#1$. Now": Says(scaled_noises),
        "is the density itself times $#1$.": Says(scaled_noises, r"#1 = \frac{\partial \log p}{\partial \mu}"),
        "Take $f(x) = #1$, so that $F = #2$ and the true slope is $#3$:": Says(
            mean_squares, r"\operatorname{E}[#1] = #2, \quad \frac{\partial F}{\partial \mu} = #3"
        ),
        "At $#1$ both shares are one half": Says(halves, r"#1, \quad \bar\alpha_t = 1 - \bar\alpha_t"),
        "multiplies the ratio by $#1$.": Says(numbers, tolerance=0.01),
        "The library has $#1$, $#2$ and $#3$:": Says(sigmoid_defaults, r"#1, \quad #2, \quad #3"),
        "crosses $#1$ after": Says(halves),
        "find the step at which $#1$ in each": Says(halves, r"#1, \quad \lambda = 0"),
        "The two ends $#1$ and $#2$ were chosen for $#3$.": Says(library_steps, r"#1, \quad #2, \quad #3"),
        "the logarithm of $#1$ is close to $#2$,": Says(small_betas, r"\log(#1) \approx #2", 1e-3),
        "With $T = #1$ it is about $#2$": Says(numbers, r"-#1 (0.0001 + 0.02) / 2 \approx #2", 0.0055),
        "and $#1$ is more than a third": Says(numbers, "1/3 < #1 < 1/2"),
        r"multiplies all $\beta_t$ by $#1$.": Says(fewer_steps, r"#1 \sum_{i=1}^{T} \beta_i = S"),
        "was trained with $#1$": Says(fifty_steps),
        r"With $#1$ the largest $\beta$ becomes #2, and": Says(fifty_steps, r"#1, \quad \frac{1000}{T} \beta_T = #2"),
        "The factors $#1$ have cancelled": Says(divergences, r"\mathcal{N}(m; 0, 1) = e^{-m^2/2} / #1"),
        "The mean of $#1$ is $#2$, and the mean of $#3$ is $#4$.": Says(
            divergences, r"\operatorname{E}[#1] = #2, \quad \operatorname{E}[#3] = #4"
        ),
        "At the end of the chain $m = #1$ and $v = #2$,": Says(
            chains, r"\operatorname{E}[x_T \mid x_0] = #1, \quad \operatorname{Var}[x_T \mid x_0] = #2"
        ),
        "the logarithm is about $#1$,": Says(small_priors, r"\log(1 - \bar\alpha_T) \approx #1", 1e-3),
        "shift and scale the roots $#1$ so": Says(rescaled_roots),
        "Put in $t = #1$: the bracket is 0. Put in $t = #2$: the fraction cancels.": Says(
            rescaled_roots, r"\tilde r_#1 = 0, \quad \tilde r_#2 = r_#2"
        ),
        "The last one is $#1$: the last step keeps nothing": Says(rescaled_roots),
        "velocity $#1$ instead.": Says(velocities),
        "At the last step it is $#1$.": Says(wiped_out, "v = #1"),
        'remains normalized."** The article writes $#1$.': Says(unit_chains),
        "**Scaling the betas with $#1$**": Says(fewer_steps, r"#1 \sum_{i=1}^{T} \beta_i = S"),
        "and $#1$ is no longer close to $#2$.": Says(large_betas, "#1 < 1.2 (#2)"),
        r"write $\alpha_t$ for what is $#1$ here": AMPLITUDE,
    },
    not_evaluated={
        "The paper states $L_T \\approx 10^{-5}$ bits": "quoted: tests/numbers/closed_form.toml says from where",
    },
    blind={
        "at the first step alpha_bar is alpha, and all noise is that of the step": (
            r"bar in \bar\alpha_1 = \alph of **Start, $t = 1$.** Here $\bar\alpha_1 =",
            r"bar in 1 - \bar\alpha_1 = \ of **Start, $t = 1$.** Here $\bar\alpha_1 =",
            r"bar in \bar\varepsilon_1 =  of At the start it is $\bar\varepsilon_1 = ",
        ),
        "all variances are 1": (r't->t-1 in ame{Var}(x_t) = \bar of remains normalized."** The article write',),
    },
)
