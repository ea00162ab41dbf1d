"""Right and wrong answers to the exercises of the chapter on noising."""

import numpy as np

from tests.exercises.steps import tables

RIGHT = {
    "noise-step": lambda x, beta, noise: x * (1 - beta) ** 0.5 + noise * beta**0.5,
    "half-amplitude": lambda schedule: 1 + sum(np.cumprod(1 - schedule.betas) > 0.25),
    "variance-after": lambda schedule, step, v: tables(schedule, step)[2] * v + 1 - tables(schedule, step)[2],
    "limit-variance": lambda beta: beta / (1 - (1 - beta) ** 2),
}

WRONG = {
    "noise-step": {
        "beta is a variance": lambda x, beta, noise: np.sqrt(1 - beta) * x + beta * noise,
        "multiplied by the root of 1 - beta": lambda x, beta, noise: (1 - beta) * x + np.sqrt(beta) * noise,
        "image is not scaled": lambda x, beta, noise: x + np.sqrt(beta) * noise,
        "Both roots are missing": lambda x, beta, noise: (1 - beta) * x + beta * noise,
    },
    "half-amplitude": {
        "This is the array index": lambda schedule: np.argmax(np.sqrt(schedule.alpha_bars) <= 0.5),
        "half of the variance": lambda schedule: np.argmax(schedule.alpha_bars <= 0.5) + 1,
        "take the root, and add one": lambda schedule: np.argmax(schedule.alpha_bars <= 0.5),
        "not its square": lambda schedule: np.argmax(schedule.alpha_bars**2 <= 0.5) + 1,
    },
    "variance-after": {
        "random walk": lambda schedule, step, v: v + sum(schedule.betas[:step]),
        "noise's is missing": lambda schedule, step, v: v * tables(schedule, step)[2],
        "only if the data's is 1": lambda schedule, step, v: 1,
        "One step too many": lambda schedule, step, v: 1 + (v - 1) * schedule.alpha_bars[step],
        "This is one step": lambda schedule, step, v: 1 + (v - 1) * schedule.alphas[step - 1],
    },
    "limit-variance": {
        "1 is the limit with the factor sqrt": lambda beta: 1,
        "Keep beta in the formula": lambda beta: 1 / 2,
        "variance beta, not 1": lambda beta: 1 / (2 * beta - beta**2),
        "not beta squared": lambda beta: beta / (2 - beta),
    },
}
