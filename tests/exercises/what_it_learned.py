"""Right and wrong answers to the exercises of the chapter on what the network has learned."""

import numpy as np

from tests.exercises.steps import tables


def image_share(schedule, step, v, late=0):
    bar = np.prod(1 - schedule.betas[: step + late])
    return 1 / (1 + (1 - bar) / (bar * v))


def turned(start, end, share):
    """Turn the start towards the end in the plane of the two: Gram and Schmidt."""
    unit = start / np.sqrt((start**2).sum())
    across = end - (end * unit).sum() * unit
    # The angle from both legs; a point between the two has the length that the sine rule gives it.
    angle = np.arctan2(np.sqrt((across**2).sum()), (end * unit).sum())
    coefficients = np.linalg.solve(
        np.array([[1, np.cos(angle)], [0, np.sin(angle)]]), [np.cos(share * angle), np.sin(share * angle)]
    )
    return coefficients[0] * start + coefficients[1] * end


def straight(start, end, share):
    return start + share * (end - start)


def away(image, photo, mirror=(1,)):
    sides = [photo, np.flip(photo, mirror)] if mirror else [photo]
    return min(np.linalg.norm((image - side).ravel()) for side in sides) / np.sqrt(image.size)


RIGHT = {
    "signal-share": image_share,
    "slerp": turned,
    "copy-distance": away,
}

WRONG = {
    "signal-share": {
        "share for data of variance 1": lambda schedule, step, v: tables(schedule, step)[2],
        "image's variance": lambda schedule, step, v: tables(schedule, step)[2] * v,
        "image over noise": lambda schedule, step, v: v * tables(schedule, step)[2] / (1 - tables(schedule, step)[2]),
        "share of amplitude": lambda *case: image_share(*case) ** 0.5,
        "noise's share": lambda *case: 1 - image_share(*case),
        "One step too many": lambda *case: image_share(*case, late=1),
    },
    "slerp": {
        "straight line": straight,
        "not the speed": lambda a, b, share: (
            straight(a, b, share) / np.linalg.norm(straight(a, b, share)) * np.linalg.norm(a)
        ),
        "right angle only": lambda a, b, share: np.sin((1 - share) * np.pi / 2) * a + np.sin(share * np.pi / 2) * b,
        "swapped": lambda a, b, share: turned(a, b, 1 - share),
        "sine of the whole angle": lambda a, b, share: (
            turned(a, b, share) * (1 - (a * b).sum() ** 2 / ((a**2).sum() * (b**2).sum())) ** 0.5
        ),
    },
    "copy-distance": {
        "mirrored copy is a copy": lambda *pair: away(*pair, mirror=()),
        "upside down": lambda *pair: away(*pair, mirror=(0,)),
        "root is missing": lambda *pair: away(*pair) ** 2,
        "root of the sum": lambda image, photo: away(image, photo) * 48**0.5,
        "mean absolute": lambda image, photo: min(abs(image - side).mean() for side in (photo, photo[:, ::-1])),
    },
}
