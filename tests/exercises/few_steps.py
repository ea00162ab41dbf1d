"""Right and wrong answers to the exercises of the chapter on sampling in fewer steps."""

import math

import numpy as np


def bar(schedule, step):
    """alpha_bar at the paper's step, from the betas alone."""
    return np.prod(1 - schedule.betas[:step])


def ddim_step(schedule, x, noise, step, following, image=0.5, divide=0.5, kept=None, roots=0.5):
    a, b = bar(schedule, step), bar(schedule, following)
    clean = (x - (1 - a) ** roots * noise) / a ** (2 * divide * roots)
    return b ** (2 * image * roots) * clean + (1 - (b if kept is None else kept(a, b))) ** roots * noise


def posterior_mean(schedule, x, noise, step, following):
    a, b = bar(schedule, step), bar(schedule, following)
    alpha = a / b
    return (x - (1 - alpha) / math.sqrt(1 - a) * noise) / math.sqrt(alpha)


def deviation(schedule, step, following, eta, power=0.5, upside_down=False, beta=None, first=True):
    a, b = bar(schedule, step), bar(schedule, following)
    ratio = (1 - b) / (1 - a) if first else 1.0
    return eta * ((1 / ratio if upside_down else ratio) * (1 - a / b if beta is None else beta)) ** power


def variance_after(schedule, step, following):
    """The noise that is kept, the posterior's weight of x_t squared, and the fresh noise."""
    a, b = bar(schedule, step), bar(schedule, following)
    kept = (a / b) * (1 - b) ** 2 / (1 - a)
    return kept + 1 - a / b


def encode(schedule, x, noise, step, later, sign=1):
    a, b = bar(schedule, later), bar(schedule, step)
    clean = (x - math.sqrt(1 - b) * noise) / math.sqrt(b)
    there = math.sqrt(a) * clean + math.sqrt(1 - a) * noise
    return there if sign == 1 else 2 * math.sqrt(a / b) * x - there


def halfway(schedule, f_before, f, before, step, following, clock=None, factor=0.5, inverse=False):
    clock = clock or (lambda i: math.log(bar(schedule, i) / (1 - bar(schedule, i))) / 2)
    share = (clock(following) - clock(step)) / (clock(step) - clock(before))
    return f + factor * (1 / share if inverse else share) * (f - f_before)


def trailing(total, count):
    return [round(total * (count - k) / count) for k in range(count)]


RIGHT = {
    "ddim-step": ddim_step,
    "fresh-deviation": deviation,
    "variance-with-sigma-hat": variance_after,
    "encode-step": encode,
    "image-halfway": halfway,
    "order-of-a-method": lambda n, error, m, other: (math.log(error) - math.log(other)) / (math.log(m) - math.log(n)),
    "trailing-steps": trailing,
}

WRONG = {
    "ddim-step": {
        "strength of the old step": lambda *case: ddim_step(*case, kept=lambda a, b: a),
        "divide by that root": lambda *case: ddim_step(*case, divide=0),
        "at full strength": lambda *case: ddim_step(*case, image=0),
        "roots are missing": lambda *case: ddim_step(*case, roots=1),
        "One step too far": lambda schedule, x, e, step, n: ddim_step(schedule, x, e, step + 1, n + 1),
        "mean of the posterior": posterior_mean,
    },
    "fresh-deviation": {
        "a variance, not a standard deviation": lambda *case: deviation(*case) ** 2,
        "eta stands before the root": lambda schedule, step, n, eta: deviation(schedule, step, n, eta**0.5),
        "upside down": lambda *case: deviation(*case, upside_down=True),
        "beta_t of the neighbours": lambda *case: deviation(*case, beta=case[0].betas[case[1] - 1]),
        "This is sigma-hat": lambda *case: deviation(*case, first=False),
    },
    "variance-with-sigma-hat": {
        "the excess alone": lambda *case: variance_after(*case) - 1 + bar(case[0], case[2]),
        "what step n wants": lambda *case: 1 - bar(case[0], case[2]),
        "taken away before": lambda *case: 2 - bar(case[0], case[2]) - bar(*case[:2]) / bar(case[0], case[2]),
        "the variance is asked for": lambda *case: variance_after(*case) ** 0.5,
    },
    "encode-step": {
        "adds fresh noise": lambda schedule, x, e, step, later: (
            (bar(schedule, later) / bar(schedule, step)) ** 0.5 * x
            + (1 - bar(schedule, later) / bar(schedule, step)) ** 0.5 * e
        ),
        "rho grows": lambda *case: encode(*case, sign=-1),
        "This is the new x-bar": lambda *case: encode(*case) / bar(case[0], case[4]) ** 0.5,
        "where it stands": lambda *case: (
            encode(*case)
            + (bar(case[0], case[4]) ** 0.5 - (bar(case[0], case[4]) / bar(case[0], case[3])) ** 0.5) * case[1]
        ),
        "steps are swapped": lambda schedule, x, e, step, later: encode(schedule, x, e, later, step),
    },
    "image-halfway": {
        "end of the step": lambda *case: halfway(*case, factor=1),
        "goes on changing": lambda *case: halfway(*case, factor=-0.5),
        "upside down": lambda *case: halfway(*case, inverse=True),
        "logarithm is missing": lambda *case: halfway(*case, clock=lambda i: 1 / (1 / bar(case[0], i) - 1)),
        "lengths in t": lambda *case: halfway(*case, clock=float),
    },
    "order-of-a-method": {
        "its opposite": lambda n, error, m, other: math.log(other / error, m / n),
        "need a logarithm": lambda n, error, m, other: math.log(error / other) / (m - n),
        "upside down": lambda n, error, m, other: math.log(m / n, error / other),
        "logarithms are missing": lambda n, error, m, other: error * n / (other * m),
    },
    "trailing-steps": {
        "These are indices": lambda *case: [step - 1 for step in trailing(*case)],
        "goes from T down": lambda *case: sorted(trailing(*case)),
        "This is leading": lambda total, count: list(range((count - 1) * (total // count) + 1, 0, -(total // count))),
        "This is linspace": lambda total, count: (
            [total] if count == 1 else [round(total - k * (total - 1) / (count - 1)) for k in range(count)]
        ),
        "round at the end": lambda total, count: list(
            range(total, total - count * (total // count), -(total // count))
        ),
    },
}
