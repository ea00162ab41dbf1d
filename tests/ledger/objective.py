"""The equation checks of the chapter on the objective; the worlds that only it uses lie in `objective_worlds.py`."""

from tests.ledger.checking import Check
from tests.ledger.inline import Inline, Says
from tests.ledger.objective_worlds import (
    atoms,
    coin_images,
    decoders,
    evenly_drawn_steps,
    from_standard,
    library_variances,
    networks,
    networks_with_beta,
    pairs,
    positive_numbers,
    scattered,
    score_networks,
    small_worlds,
    symbolic_ratios,
    turned_steps,
)
from tests.ledger.worlds import numbers

SMALL = "float64: a chain of three states, all of whose paths are listed; "
GRID = "float64: posteriors by regression, divergences summed over a grid, means by quadrature."
ATOMS = "float64: data on three points; guesses by Bayes' rule, the score by a step into the complex plane."

CHECKS: dict[str, Check] = {
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
        ((r"\le", r"\ge"), (r"\mathbb{E}\left[-\log", r"\mathbb{E}\left[\log")),
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
        blind=(
            "+->- in \\\\\n&\\quad + 2 (m - n",
            "-->+ in ad + 2 (m - n)\\, \\ma",
            "digit in \n&\\quad + 2 (m - n)\\",
        ),
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
        ((r"{2 \sigma_t^2}", r"{\sigma_t^2}"), ("- C_t", "+ C_t"), (r"- \mu_\theta", r"+ \mu_\theta")),
    ),
    "eq-objective-constant": Check(
        "ddpm_lib/evaluation/likelihood.py: ratio",
        GRID,
        networks,
        ((r"\frac{1}{2}", "1"), (r"- 1 - \log", r"- 1 + \log"), (r"\tilde\beta_t", r"\beta_t")),
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
        (
            (r"\frac{\beta_t}{2 \alpha_t (1 - \bar\alpha_{t-1})}", r"\frac{\beta_t}{2 \alpha_t (1 - \bar\alpha_t)}"),
            (r"\frac{\beta_t}{2 \alpha_t (1 - \bar\alpha_t)}", r"\frac{\beta_t}{2 (1 - \bar\alpha_t)}"),
            (r"2 \tilde\beta_t", r"2 \beta_t"),
        ),
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
            (r"\frac{1}{1 - \bar\alpha_t}", r"\frac{1}{\bar\alpha_t}"),
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
        "ddpm_lib/diffusion.py: noise_error_factors",
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
        "noise and image in their plane: $#1$.": Says(atoms),
        "In the second line, $#1$ is $#2$ plus 1": Says(atoms, "#1 = #2 + 1"),
        "it is the answer, divided by $#1$.": Says(atoms, r"s_t(x_t) = \frac{\hat\varepsilon}{#1}"),
        "The reason is the division by $#1$.": Says(
            atoms, r"x_0 = \frac{x_t - \sqrt{1 - \bar\alpha_t} \varepsilon}{#1}"
        ),
        "by multiplying it with $#1$.": Says(atoms, r"(\hat x_0 - x_0)^2 = #1 (\hat\varepsilon - \varepsilon)^2"),
    },
    not_evaluated={r"In the paper $\sigma_1^2 = \beta_1$": "a choice of the paper"},
)
