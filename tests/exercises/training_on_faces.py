"""Right and wrong answers to the exercises of the chapter on training on faces."""

import numpy as np

from tests.exercises.steps import tables


def loss_of_linear(schedule, step, variances, late=0):
    """The residual of a least-squares fit of the noise to x_t, axis by axis, over the corners of a square."""
    bar = tables(schedule, step + late)[2]
    image, noise = np.array([1, 1, -1, -1]), np.array([1, -1, 1, -1])
    seen = [np.sqrt(bar * v) * image + np.sqrt(1 - bar) * noise for v in variances]
    return np.mean([np.linalg.lstsq(x_t[:, None], noise)[1] / 4 for x_t in seen])


def error_of_image(schedule, step, loss, late=0, power=1.0):
    bar = tables(schedule, step + late)[2]
    return loss * (1 / bar - 1) ** power


RIGHT = {
    "linear-loss": loss_of_linear,
    "image-error": error_of_image,
    "steps-to-forget": lambda decay, share: np.emath.logn(decay, share),
}

WRONG = {
    "linear-loss": {
        "sum over the axes": lambda schedule, step, v: sum(loss_of_linear(schedule, step, [one]) for one in v),
        "mean of the fractions": lambda schedule, step, v: loss_of_linear(schedule, step, [v.mean()]),
        "share of the noise that is found": lambda *case: 1 - loss_of_linear(*case),
        "error of the clean image": lambda schedule, step, v: error_of_image(
            schedule, step, loss_of_linear(schedule, step, v)
        ),
        "One step too many": lambda *case: loss_of_linear(*case, late=1),
    },
    "image-error": {
        "upside down": lambda *case: error_of_image(*case, power=-1.0),
        "without the root": lambda *case: error_of_image(*case, power=0.5),
        "which is missing here": lambda schedule, step, loss: loss / tables(schedule, step)[2],
        "error in x_t": lambda schedule, step, loss: loss * (1 - tables(schedule, step)[2]),
        "One step too many": lambda *case: error_of_image(*case, late=1),
    },
    "steps-to-forget": {
        "Bring in the share": lambda decay, share: 1 / (1 - decay),
        "straight line": lambda decay, share: (1 - share) / (1 - decay),
        "upside down": lambda decay, share: 1 / np.emath.logn(decay, share),
        "this share is gone": lambda decay, share: np.emath.logn(decay, 1 - share),
        "newest weights": lambda decay, share: np.emath.logn(1 - decay, share),
    },
}
