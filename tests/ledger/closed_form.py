"""The equation checks of the chapter on the closed form, and the worlds that only it uses."""

import math

import numpy as np

from tests.ledger.checking import Check
from tests.ledger.variables import Linear, World
from tests.ledger.worlds import (
    WHOLE_CHAIN,
    chain,
    chains,
    cosine_schedules,
    divergences,
    letters,
    linear_ends,
    linear_schedules,
    priors,
    rescaled_roots,
    sigmoid_schedules,
    small_priors,
    symbolic_step,
)


def first_steps():
    return [chain(seed, 1) for seed in range(3)]


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
