"""The equation checks of the chapter on the posterior, and the worlds that only it uses."""

import math

import numpy as np
import sympy

from tests.ledger.checking import Check
from tests.ledger.inline import AMPLITUDE, Inline, Says
from tests.ledger.variables import World, condition
from tests.ledger.worlds import (
    POSTERIOR,
    WHOLE_CHAIN,
    chain,
    chains,
    gaussian_data,
    library_steps,
    posteriors,
    single_points,
    symbolic_step,
)


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


def with_posteriors(size, steps=((0, 2), (1, 4), (2, 6))):
    """Posteriors of chains whose data have the deviation `size`; sigma is that of the true step back, x_0 unknown."""
    worlds = []
    for seed, t in steps:
        world = chain(seed, t, s=size)
        x = world.random["x"]
        names = {
            "s": size,
            "v": lambda i, x=x: (x(i).weights ** 2).sum(),
            r"\sigma": lambda i, x=x: math.sqrt(condition([x(i - 1)], [x(i)])[1][0, 0]),
            r"\tilde\beta": lambda i, x=x: condition([x(i - 1)], [x(i), x(0)])[1][0, 0],
        }
        worlds.append(World(world.names | names, world.random))
    return worlds


def unit_data():
    return with_posteriors(1.0)


def single_image():
    return single_points(with_posteriors)


def everything():
    """Posteriors together with the variances v_t of their chains."""
    pairs = zip(posteriors(), gaussian_data(), strict=True)
    return [World(posterior.names | data.names, posterior.random) for posterior, data in pairs]


def first_posteriors():
    return with_posteriors(0.7, ((0, 1), (1, 1)))


POSTERIOR_AND_SYMPY = POSTERIOR + "; and SymPy: derivatives of the exponent."

CHECKS: dict[str, Check] = {
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
}

INLINE = Inline(
    everything,
    {
        "say for which data $#1$ is right": Says(unit_data),
        "What remains is $#1$, with": Says(
            everything, r"q(x_{t-1} \mid x_t, x_0) = e^{#1} / \sqrt{2 \pi \tilde\beta_t}"
        ),
        "The exponent $#1$ is that of a Gaussian with **mean $#2$ and variance $#3$**.": Says(
            everything,
            r"q(x_{t-1} \mid x_t, x_0) = e^{#1} / \sqrt{2 \pi \tilde\beta_t}, \quad "
            r"\operatorname{E}[x_{t-1} \mid x_t, x_0] = #2, \quad \operatorname{Var}[x_{t-1} \mid x_t, x_0] = #3",
        ),
        r"In the first term $\beta_t$ cancels, in the second $#1$.": Says(
            everything, r"\tilde\beta_t / #1 = \beta_t / (1 - \bar\alpha_t)"
        ),
        "For $#1$ the unknown $x_{t-1}$ is $x_0$ itself, which is given. With $#2$ the": Says(
            first_posteriors, r"#1, \quad #2, \quad x_{t-1} = x_0"
        ),
        "the clean image says: near $#1$, with variance $#2$;": Says(
            chains, r"\operatorname{E}[x_{t-1} \mid x_0] = #1, \quad \operatorname{Var}[x_{t-1} \mid x_0] = #2"
        ),
        "the noisy image says: near $#1$, with variance $#2$.": Says(
            chains, r"q(x_t \mid x_{t-1}) = \mathcal{N}(x_{t-1}; #1, #2) / \sqrt{\alpha_t}"
        ),
        "since $#1$ is small against $#2$.": Says(library_steps, r"#1 \ll #2"),
        "The factors $#1$ and $#2$ leave a $#3$ below": Says(chains, r"#2, \quad #1 / \sqrt{\bar\alpha_t} = 1 / #3"),
        "has the variance $#1$ in place of $#2$.": Says(
            everything, r"\operatorname{Var}[x_{t-1}] = #1, \quad \operatorname{Var}[x_{t-1} \mid x_0] = #2"
        ),
        "$#1$: all $v_t$ are 1, and the variance of the true step back is $#2$.": Says(
            unit_data, r"#1, \quad v_t = 1, \quad \operatorname{Var}[x_{t-1} \mid x_t] = #2"
        ),
        "$#1$, a single image: $#2$, and the variance is $#3$.": Says(
            single_image, r"#1, \quad #2, \quad \operatorname{Var}[x_{t-1} \mid x_t] = #3"
        ),
        r"Gaussian data with $s^2 \le #1$ lie in between": Says(
            unit_data,
            r"s^2 = #1, \quad \tilde\beta_t < \operatorname{Var}[x_{t-1} \mid x_t], \quad \sigma_t^2 = \beta_t",
        ),
        r"have $s^2 \le #1$ too": Says(unit_data, "s^2 = #1"),
        "taken from the face times $#1$.": AMPLITUDE,
        "That would subtract $#1$, the noise of one step": Says(chains, r"x_t - \sqrt{\alpha_t} x_{t-1} = #1"),
        "$#1$ is smaller than $#2$ for every $#3$.": Says(chains, r"#1 < #2, \quad #3"),
        '**"$#1$."** The article knows only': Says(unit_data),
        "$#1$, so its logarithm": Says(first_posteriors),
        "Many texts write $#1$ where we write $#2$.": Says(chains, "#1 = #2"),
        "If you see $#1$ in that place": Says(chains, r"\beta_t < #1 = \operatorname{Var}[x_t \mid x_0]"),
    },
    blind={
        "there is room between the two sides": (
            r"t->t-1 in \beta_t of since $\beta_t$ is small against $1 - \b",
            r"-->+ in 1 - \bar\alpha_{t-1} of since $\beta_t$ is small against $1 - \b",
            r"digit in 1 - \bar\alpha_{t-1} of since $\beta_t$ is small against $1 - \b",
            r"digit in \alpha_{t-1} of since $\beta_t$ is small against $1 - \b",
            r"t-1->t in \bar\alpha_{t-1} of since $\beta_t$ is small against $1 - \b",
            r"-->+ in / \sqrt{1 - \bar\alp of $\beta_t / \sqrt{1 - \bar\alpha_t}$ is s",
            r"digit in t / \sqrt{1 - \bar\a of $\beta_t / \sqrt{1 - \bar\alpha_t}$ is s",
            r"t->t-1 in \bar\alpha_t} of $\beta_t / \sqrt{1 - \bar\alpha_t}$ is s",
            r"digit in \alpha_{t-1} > \bar\ of $\bar\alpha_{t-1} > \bar\alpha_t$",
            r"bar in \bar\alpha_{t-1} > \ of $\bar\alpha_{t-1} > \bar\alpha_t$",
        ),
        "all powers of 1 are 1, and of 0 they are 0": (
            r"digit in s^2 = 1 of $s^2 = 1$: all $v_t$ are 1, and the vari",
            r"digit in s^2 = 0 of $s^2 = 0$, a single image: $v_t = 1 - \b",
        ),
    },
)
