"""What the page of symbols states, against the library's tables and functions."""

import numpy as np

from ddpm_lib import diffusion, schedules
from tests.ledger.closed_form import scaled_noises
from tests.ledger.inline import SQUARED_ERROR, STEPS, SYMMETRIC, Inline, Says
from tests.ledger.variables import World, condition
from tests.ledger.worlds import chain, chains


def library():
    """Chains, beside what the library computes from their betas; `code` is named as the code is."""
    worlds = []
    for seed, t in [(0, 2), (1, 4), (2, 6)]:
        world = chain(seed, t)
        x, names = world.random["x"], world.names
        x_0, noise = names["x"](0), names[r"\varepsilon"]()
        means, covariances = condition([x(t - 1)], [x(t), x(0)])
        answer = {(names["x"](t), x_0): means[0]}
        share = (x(t).weights[0] / x(0).weights[0]) ** 2
        ratio = share / (x(t).weights[1:] ** 2).sum()
        symbols = {
            r"\tilde\beta": {t: covariances[0, 0]}.__getitem__,
            r"\tilde\mu_t": lambda *at, answer=answer: answer[at],
            "SNR": {t: ratio}.__getitem__,
            r"\lambda": {t: np.log(ratio)}.__getitem__,
            "v": names[r"\partialx_t/\partialx_0"] * noise - np.sqrt(1 - share) * x_0,
        }
        schedule = schedules.NoiseSchedule([names[r"\beta"](i) for i in range(1, 7)])
        tables = {
            "i": int(np.abs(schedule.betas - names[r"\beta"](t)).argmin()),
            "A": schedule.alpha_bars.__getitem__,
            "P": schedule.alpha_bars_prev.__getitem__,
        }
        at, x_0, noise = np.array([t - 1]), np.array([x_0], "float32"), np.array([noise], "float32")
        x_t = diffusion.add_noise(schedule, x_0, at, noise)
        code = {
            "x_0": x_0[0],
            "x_t": x_t[0],
            "noise": noise[0],
            "v": diffusion.v_from_x_0_and_noise(schedule, x_0, at, noise)[0],
            "posterior_mean": diffusion.posterior_mean(schedule, x_0, x_t, at)[0],
            "num_steps": schedule.num_steps,
            "np.log(schedule.snr)": np.log(schedule.snr)[t - 1],
        }
        code |= {table: getattr(schedule, table)[t - 1] for table in TABLES}
        code = {f"code{{{name}}}": float(value) for name, value in code.items()}
        worlds.append(World(names | symbols | tables | code, world.random))
    return worlds


def is_code(name):
    """State that the symbol of a row is what the library calls `name`."""
    return Says(library, rf"#1 \approx \mathrm{{code{{{name}}}}}", 1e-6)


TABLES = ("betas", "alphas", "alpha_bars", "alpha_bars_prev", "posterior_variances", "snr")
NAMES = ("x_0", "x_t", "v", "num_steps", "np.log(schedule.snr)", *TABLES)
INLINE = Inline(
    library,
    STEPS
    | {f"| $#1$ | `{name}` |": is_code(name) for name in NAMES}
    | {
        "| $#1$ | `noise` | the standard": is_code("noise"),
        r"here $\bar\alpha = #1$ |": Says(chains, r"\bar\alpha_0 = #1"),
        "| $x_#1$ | `t = #2` |": Says(library, "#1 = #2 + 1"),
        "| $x_#1$ | `#2` | $t$ steps of noise |": Says(library, "#1 = #2 + 1"),
        "`schedule.alpha_bars[#1]` is $#2$, and `schedule.alpha_bars_prev[#3]` is $#4$.": Says(
            library, r"A_#1 = #2, \quad P_#3 = #4"
        ),
        "| velocity, $#1$ |": Says(library, "v = #1"),
        "| `alphas` | $#1$: share": Says(library, r"\alpha_t = #1"),
        "| `alpha_bars` | $#1$: share kept": Says(library, r"\bar\alpha_t = #1"),
        "| variance of $q(#1)$ |": Says(library, r"\tilde\beta_t = \operatorname{Var}[#1]"),
        "| signal-to-noise ratio $#1$ |": Says(library, r"\mathrm{SNR}(t) = #1"),
        r"N(x; #1, #2 I)$ | the density at $x$ of independent normals with means $#3$ and variance $#4$": Says(
            scaled_noises, r"\operatorname{E}[x] = #1 = #3, \quad \operatorname{Var}[x] = #2 = #4"
        ),
        "| $q(#1)$ | one step of the forward process |": Says(
            library, r"q(#1) = \mathcal{N}(x_t; \sqrt{\alpha_t} x_{t-1}, \beta_t)"
        ),
        "| $q(#1)$ | $t$ steps of it at once |": Says(
            library, r"q(#1) = \mathcal{N}(x_t; \sqrt{\bar\alpha_t} x_0, 1 - \bar\alpha_t)"
        ),
        "| $q(#1)$ | the posterior: one step back when the clean image is known |": Says(
            library, r"q(#1) = \mathcal{N}(x_{t-1}; \tilde\mu_t(x_t, x_0), \tilde\beta_t)"
        ),
        "| $#1$ | its mean, `posterior_mean` |": is_code("posterior_mean"),
        "the training loss: mean of $#1$ |": SQUARED_ERROR,
    },
    blind={
        SYMMETRIC: (r"-->+ in arepsilon - \varepsi of the training loss: mean of $(\varepsilon",),
        "at the first step alpha_bar is alpha": (r"bar in \bar\alpha_1 of `schedule.alpha_bars[0]` is $\bar\alpha_",),
    },
)
