"""Finds the formulas and numbers in the docstrings of the library, and evaluates what they state.

A docstring writes its formulas as plain text. A piece of it is a row, as in `inline`: the row says in full what the
piece states, and `latex` turns what stands there into LaTeX.
"""

from __future__ import annotations

import ast
import dataclasses
import doctest
import inspect
import math
import re

import numpy as np

from ddpm_lib import diffusion, evaluation, schedules, training
from tests import prose
from tests.ledger.inline import Inline, Says, Statement, find
from tests.ledger.notation import library
from tests.ledger.variables import World
from tests.ledger.worlds import numbers

EVALUATION = sorted((prose.ROOT / "ddpm_lib" / "evaluation").glob("[a-z]*.py"))
MODULES = ["schedules", "diffusion", "sampling", "training", "config", "cost"]
MODULES += [f"evaluation/{path.stem}" for path in EVALUATION]
SIGN = re.compile(r" = |(?<=[\w)}]) [-+/] |sqrt\(|\bmin\(|\bmax\(| \.\.\. ")
CITED = re.compile(r"\(\d{4}\)|, \d{4},|section [\d.]+")
WORDS = {"ab": r"\bar\alpha_t", "noise": r"\varepsilon", "beta": r"\beta", "SNR": r"\mathrm{SNR}(t)", "next": "n"}
SHORT = {"alpha_bar": r"\bar\alpha", "alpha": r"\alpha", "beta": r"\beta"}


def latex(text: str) -> str:
    """Turn a plain formula into LaTeX: names of one letter stay, other unknown names are the code's."""
    text = re.sub(r"(\d)e(-?\d+)", r"\1 \\cdot 10^{\2}", text.replace("|", r"\mid").replace("...", r"\cdots"))
    text = re.sub(r"(\d+) %", r"\\frac{\1}{100}", re.sub(r"(?<=\d),(?=\d{3})", "", text))
    text = re.sub(r"\bsqrt\(([^()]*)\)", r"\\sqrt{\1}", re.sub(r"\b(min|max)\(", r"\\\1(", text))
    return re.sub(r"(?<!\\)\b(alpha_bar|alpha|beta)_(\w+|\{.*?\})|(?<![\\\w])([A-Za-z]\w+)\b(?!\{)", _name, text)


def _name(match):
    if match[1]:
        return f"{SHORT[match[1]]}_{WORDS.get(match[2], match[2])}"
    name = match[3]
    return WORDS.get(name) or (name if re.fullmatch(r"[A-Za-z]_\w", name) else rf"\mathrm{{{name}}}")


def text(module: str) -> str:
    """Join the public docstrings of a module into one line, without examples, each after its name."""
    found = []

    def walk(node, name):
        docstring = ast.get_docstring(node)
        if docstring:
            parts = doctest.DocTestParser().parse(docstring)
            found.append(f"[{name}] " + "".join(part for part in parts if isinstance(part, str)))
        for part in node.body:
            if isinstance(part, ast.ClassDef | ast.FunctionDef) and not part.name.startswith("_"):
                walk(part, part.name)

    walk(ast.parse((prose.ROOT / "ddpm_lib" / f"{module}.py").read_text("utf8")), module)
    return " ".join(" ".join(found).split())


def examine(line: str, rows: Inline) -> tuple[list[Statement], list[str]]:
    """Find the statements of a line of docstrings, and the formulas and numbers that no row has."""
    statements, wrong, covered = find(line, rows)
    statements = [dataclasses.replace(each, parts=tuple(latex(part) for part in each.parts)) for each in statements]
    plain = CITED.sub(lambda match: "_" * len(match[0]), line)
    places = [match.span() for match in SIGN.finditer(line)]
    places += [(number.start, number.end) for number in prose.numbers(plain)]
    bare = [f"needs a row: ... {line[max(0, place[0] - 60) :][:90]} ..." for place in places if not covered(*place)]
    return statements, wrong + bare


def conversions():
    """The library's chains with what each conversion answers, and the true step between x_t and x_n, n = t - 2."""
    worlds = []
    for world in library():
        names, t = world.names, world.names["t"]
        schedule = schedules.NoiseSchedule([names[r"\beta"](i) for i in range(1, 7)])
        x_0, x_t, noise, v = (
            np.array([value], "float32")
            for value in (names["x"](0), names["x"](t), names[r"\varepsilon"](), names["v"])
        )
        at = np.array([t - 1])
        code = {
            "add_noise": diffusion.add_noise(schedule, x_0, at, noise),
            "x_0_from_noise": diffusion.x_0_from_noise(schedule, x_t, at, noise),
            "noise_from_x_0": diffusion.noise_from_x_0(schedule, x_t, at, x_0),
            "v_from_x_0_and_noise": diffusion.v_from_x_0_and_noise(schedule, x_0, at, noise),
            "x_0_from_v": diffusion.x_0_from_v(schedule, x_t, at, v),
            "noise_from_v": diffusion.noise_from_v(schedule, x_t, at, v),
            "score_from_noise": diffusion.score_from_noise(schedule, at, noise),
            "apart": diffusion.noise_from_v(schedule, x_t, at, v + 0.5) - diffusion.noise_from_v(schedule, x_t, at, v),
        }
        code = {name: float(value[0]) for name, value in code.items()}
        share = schedule.alpha_bars[t - 1]
        for kind in ("noise", "v"):
            code[f"weight_{kind}"] = diffusion.loss_weights(kind, schedule, 1.5)[t - 1]
        code |= {"d": 0.5, "gamma": 1.5, "n": t - 2, "gradient": -(x_t[0] - math.sqrt(share) * x_0[0]) / (1 - share)}
        worlds.append(World(names | code, world.random))
    return worlds


def bounds():
    """The library's chains with the weight of their step in the bound."""
    worlds = []
    for world in library():
        names, t = world.names, world.names["t"]
        schedule = schedules.NoiseSchedule([names[r"\beta"](i) for i in range(1, 7)])
        found = evaluation.bound_weights(schedule, np.full(6, 0.3))[t - 1]
        worlds.append(World(names | {"found": found, "sigma_t": math.sqrt(0.3)}, world.random))
    return worlds


def wiped_out():
    schedule = schedules.NoiseSchedule([0.1, 1.0])
    return [World({r"\beta": schedule.betas[-1], r"\bar\alpha": lambda i: schedule.alpha_bars[-1], "T": 2})]


def strongest_noise():
    """How many times the signal's deviation the noise has where the steps by signal-to-noise ratio begin."""
    schedule = schedules.cosine_schedule(1000)
    return [World({"m": 1 / math.sqrt(schedule.snr[schedule.subsequence(20, "log_snr")[0]])})]


def first_weights():
    first, second = diffusion.posterior_weights(schedules.linear_schedule())
    return [World({"a": first[0], "b": second[0]})]


def ends():
    """The last alpha_bar of linear schedules by their number of steps, multiplied up from the betas."""

    def last(steps):
        return math.prod(1 - schedules.linear_schedule(steps).betas)

    return [
        World({r"\bar\alpha": last, "T": inspect.signature(schedules.linear_schedule).parameters["num_steps"].default})
    ]


def last_steps():
    """What an error of 1 in the noise makes of x_0 at the last step."""
    schedule, zero = schedules.linear_schedule(), np.zeros(1, "float32")
    found = diffusion.x_0_from_noise(schedule, zero, np.array([999]), np.ones(1, "float32"))
    return [World({"m": abs(float(found[0]))})]


def warm_ups():
    rate = training.LinearWarmup(2.0, 100)
    return [World({"k": k, "warmup_steps": 100, "s": float(rate(k)) / 2}) for k in (0, 42)]


def decays():
    """The library's decay by step, and the share of the first weights after many steps of a fixed decay."""
    worlds = []
    for step in (0, 80, 30_000):
        names = {"step": step, "max_decay": 0.999, "m": float(training.ema_decay_at(step, 0.999))}
        names["a"] = lambda i: float(training.ema_decay_at(i, 1.0))
        worlds.append(World(names))
    return worlds


ROWS = dict.fromkeys(MODULES, Inline(library)) | {
    "schedules": Inline(
        library,
        {
            "array index i = #1..#2 is the paper's step #3. Index": Says(
                library, r"#1 = 0, \quad #2 = T - 1, \quad #3"
            ),
            "`#1` wipes the signal out": Says(wiped_out, r"#1, \quad \bar\alpha_T = 0"),
            "The two ends are meant for #1: with": Says(ends),
            "(alpha_bar_T is #1 for T = #2, but #3 for T = #4).": Says(
                ends, r"\bar\alpha_#2 \approx #1, \quad \bar\alpha_#4 \approx #3", 0.012
            ),
            "[alphas] #1, the share": Says(library, r"\mathrm{code{alphas}} = #1"),
            "[alpha_bars] #1, the share": Says(library, r"\mathrm{code{alpha_bars}} = #1"),
            "[alpha_bars_prev] #1, with #2 before": Says(
                library, r"\mathrm{code{alpha_bars_prev}} = #1, \quad P_0 = #2"
            ),
            "[posterior_variances] Variance of q(#1 | #2) (": Says(
                library, r"\mathrm{code{posterior_variances}} = \operatorname{Var}[#1 \mid #2]"
            ),
            "from where the noise has #1 times the deviation": Says(strongest_noise, r"m \approx #1", 0.003),
            "ratio #1, a ratio of variances": Says(library, r"\mathrm{code{snr}} = #1 = \mathrm{SNR}(t)"),
        },
        blind={
            "one step more or less changes no digit that is printed": (
                "digit in 1000 of (alpha_bar_T is 4e-5 for T = 1000, but 0",
                "digit in 100 of (alpha_bar_T is 4e-5 for T = 1000, but 0",
            )
        },
    ),
    "diffusion": Inline(
        conversions,
        {
            "forward process: x_t = #1. Ho": Says(conversions, r"\mathrm{add_noise} \approx #1", 1e-5),
            "[x_0_from_noise] Solve `add_noise` for the clean image: x_0 = #1. Ho": Says(
                conversions, r"\mathrm{x_0_from_noise} \approx #1", 1e-5
            ),
            "is multiplied by #1.": Says(last_steps, r"m \approx #1", 0.003),
            "for the noise: #1. [": Says(conversions, r"\mathrm{noise_from_x_0} \approx #1", 1e-5),
            "the velocity v = #1. Salimans": Says(conversions, r"\mathrm{v_from_x_0_and_noise} \approx #1 = v", 1e-5),
            "from the velocity: x_0 = #1. [": Says(conversions, r"\mathrm{x_0_from_v} \approx #1 = x_0", 1e-5),
            "from the velocity: noise = #1. [": Says(
                conversions, r"\mathrm{noise_from_v} \approx #1 = \varepsilon", 1e-5
            ),
            "two noises apart by #1, see": Says(conversions, r"\mathrm{apart} \approx #1", 1e-4),
            "weighted by #1. The same error is #2 times as large when measured in noise, and #3 times": Says(
                conversions, r"#1 = \mathrm{weight_noise} #2 = \mathrm{weight_v} #3"
            ),
            "the gradient of log q(x_t): #1. Song": Says(
                conversions, r"\mathrm{score_from_noise} \approx #1 \approx \mathrm{gradient}", 1e-5
            ),
            "At index 0 they are #1 and #2:": Says(first_weights, r"a = #1, \quad b = #2"),
        },
    ),
    "sampling": Inline(
        conversions,
        {"beta_t becomes #1 (Nichol": Says(conversions, r"\operatorname{Var}[x_t \mid x_n] = #1")},
    ),
    "training": Inline(
        decays,
        {
            "step k takes the share #1 of it": Says(warm_ups, r"s \approx #1", 1e-6),
            "step `step`: #1. #2 at first, #3 at step #4, #5 at step #6: without": Says(
                decays, r"m \approx #1, \quad a_0 \approx #2, \quad a_#4 \approx #3, \quad a_#6 \approx #5", 1e-6
            ),
            "a decay of #1 would still hold #2 of the untrained weights after #3 steps": Says(
                numbers, r"#1^#3 \approx #2", 0.01
            ),
        },
        {
            "seeds 0 to num_images - 1": "the numbers of range(num_images)",
            "with DDIM in 25 steps": "a setting of its code",
        },
        {
            "one step more or less, or a percent of the percentage, changes no digit that is printed": (
                r"digit in \frac{37}{100} of a decay of 0.9999 would still hold 37 % ",
                "digit in 10000 of a decay of 0.9999 would still hold 37 % ",
                "digit in 8990 of step `step`: min(max_decay, (1 + step) /",
            )
        },
    ),
    "cost": Inline(
        library,
        not_evaluated={
            "for every weight and pixel: two FLOPs": "tests/test_cost.py compares with what TensorFlow counts",
            "most tensors have two bytes": "tests/test_cost.py compares with what TensorFlow keeps",
            "a convolution that sees one pixel": "a word",
            "up to 8x8 pixels": "a setting of ddpm_lib/attention.py",
        },
    ),
    "evaluation/distances": Inline(
        library,
        not_evaluated={
            "(m_1 - m_2)^2 + tr(C_1 + C_2 - 2 (C_1 C_2)^(1/2))": "tests/test_judging.py compares with the closed form",
            "takes M = N": "a condition on the shape",
        },
    ),
    "evaluation/faces": Inline(
        library,
        not_evaluated={
            "resized to 48x48, by 256 numbers each": "the shapes of the package's weights, which Keras checks",
            "(N, 256) float32": "the same",
            "at least 20 pixels high and wide": "the package's smallest face",
        },
    ),
    "evaluation/features": Inline(
        library,
        not_evaluated={
            "digits of 16x16 pixels": "other shapes are refused, see tests/test_judging.py",
            "(Szegedy et al., 2016)": "a year",
            "88 MB": "the size of Keras's file",
            "(Heusel et al., 2017)": "a year",
            "enlarged to 299x299, by 2,048 numbers each": "the input and output of Keras's Inception-v3",
            "C = 1 or 3": "a condition on the shape",
            "(N, 2048) float32": "the output of Keras's Inception-v3",
        },
    ),
    "evaluation/likelihood": Inline(
        library,
        {"in the bound: #1. Ho": Says(bounds, r"\mathrm{found} = #1")},
        not_evaluated={
            "of at least 2 steps": "a condition on the argument",
            "8-bit images": "a name",
            "256 levels -1, -1 + 2/255, ..., 1": "tests/test_likelihood.py sums the probabilities of these levels to 1",
            "256 levels": "the same",
        },
    ),
    "evaluation/looking": Inline(library, not_evaluated={"with H = W a multiple": "a condition on the shape"}),
}
