"""The equation checks of the chapter on several devices, and the worlds that only it uses."""

import itertools

import keras
import numpy as np

from ddpm_lib.cost import all_reduce_bytes
from tests.ledger.checking import Check
from tests.ledger.inline import Inline, Says
from tests.ledger.variables import World

LOSSES = "float64: differences of the losses of single images, of shares and of the whole batch."
PAIRS = "float64: every batch that can be drawn from a few images and a few draws of noise, one by one."
CLIPPED = "float64: what a step of Keras's gradient descent with clipping takes away from each part."
RING = "Pieces are handed round a ring of devices, hop by hop, and their bytes counted; so does the cost model."


def slope(function, at):
    """The derivative of a polynomial of second degree."""
    return (function(at + 0.5) - function(at - 0.5)) / 1.0


def mean_loss(images):
    return lambda theta: np.mean([(x * theta - y) ** 2 for x, y in images])


def with_and_without(whole, of_device):
    """A letter that stands alone for the batch, and with an index, from 1 on, for a device."""
    return lambda i=None: whole if i is None else of_device[i - 1]


def batches(sizes):
    """A batch that is cut into shares of these sizes; every gradient is a difference of losses at the same weight."""
    images = np.random.default_rng(len(sizes)).standard_normal((sum(sizes), 2))
    shares = np.split(images, np.cumsum(sizes)[:-1])
    h = [slope(mean_loss([image]), 0.7) for image in images]
    g = with_and_without(slope(mean_loss(images), 0.7), [slope(mean_loss(share), 0.7) for share in shares])
    names = {"N": len(sizes), "h": lambda k: h[k - 1], "g": g, "B": with_and_without(len(images), sizes)}
    if len(set(sizes)) == 1:
        names["M"] = sizes[0]
    # F: the number of a device's first image; W, U: what an image's gradient counts for in its share, and in the batch.
    return [
        World(names | {"i": i, "F": sum(sizes[: i - 1]) + 1, "W": 1 / sizes[i - 1], "U": 1 / len(images)})
        for i in range(1, len(sizes) + 1)
    ]


def equal_shares():
    return batches([3, 3]) + batches([2, 2, 2, 2]) + batches([4])


def unequal_shares():
    return batches([3, 2]) + batches([1, 4, 2])


def shared_noise():
    """The variance of the mean over all batches in which N images share each draw of noise.

    S, C: of one image's gradient, and of two that share their noise, over all pairs of images.
    """
    worlds = []
    for seed, (B, N) in enumerate([(2, 1), (2, 2), (4, 2), (3, 3), (4, 4)]):
        h = np.random.default_rng(seed).standard_normal((3, 2))  # image, noise
        h += np.random.default_rng(seed + 9).standard_normal(2)
        images, noises = range(3), range(2)
        means = []
        for draws in itertools.product(noises, repeat=B // N):
            means += [
                np.mean([h[x, draws[k % (B // N)]] for k, x in enumerate(batch)])
                for batch in itertools.product(images, repeat=B)
            ]
        far = h - h.mean()
        names = {
            "B": B,
            "N": N,
            "S": np.mean(far**2),
            "C": np.mean([far[x, e] * far[y, e] for x in images for y in images for e in noises]),
            "V": np.var(means),
        }
        # As many independent images as have this variance, and how many others share an image's noise.
        others = sum(1 for k in range(1, B) if k % (B // N) == 0)
        worlds.append(World(names | {"B'": names["S"] / names["V"], "D": names["C"] / names["S"], "O": others}))
    return worlds


def equal_rows():
    """Devices that all have the same rows: C is what the variance of their mean says that two of them share."""
    worlds = []
    for B, N in [(4, 2), (6, 3)]:
        h = np.random.default_rng(B).standard_normal(3)
        means = [np.mean([draws[k % (B // N)] for k in range(B)]) for draws in itertools.product(h, repeat=B // N)]
        S, V = np.var(h), np.var(means)
        worlds.append(World({"S": S, "C": (B * V - S) / (N - 1)}))
    return worlds


def unshared_noise():
    return [world for world in shared_noise() if world.names["N"] == 1]


VECTORS = (  # the gradients of the devices, and a bound; some point the same way
    ([[3.0, 4.0], [0.0, 2.0]], 1.0),
    ([[3.0, 4.0], [6.0, 8.0], [9.0, 12.0], [3.0, 4.0]], 0.5),
    ([[0.3, -0.4], [0.3, 0.4]], 2.0),
    ([[6.0, -8.0], [6.0, -8.0]], 0.25),
)


def clipped_parts():
    """What Keras's gradient descent takes away for the part of each device, one at a time."""
    worlds = []
    for vectors, c in VECTORS:
        g, moved = np.array(vectors), []
        for vector in g:
            weight = keras.Variable(np.zeros(2), dtype="float64")
            part = keras.ops.convert_to_tensor(vector / len(g))
            keras.optimizers.SGD(1.0, global_clipnorm=c).apply([part], [weight])
            moved.append(-keras.ops.convert_to_numpy(weight))
        names = {
            "N": len(g),
            "c": c,
            "g": with_and_without(g.mean(axis=0), g),
            "g'": lambda i, moved=moved: moved[i - 1],
        }
        worlds += [World(names | {"i": i, "H": g[i - 1] / len(g)}) for i in range(1, len(g) + 1)]
    return worlds


def averages_of_devices():
    """An average that every device moves once in each step; the share of the old average that is left."""
    worlds = []
    for decay, N in [(0.9, 2), (0.75, 5), (0.5, 1)]:
        ends = []
        for average in (0.0, 1.0):
            for _ in range(N):
                average += (0.4 - average) - decay * (0.4 - average)
            ends.append(average)
        worlds.append(World({r"\lambda": decay, "N": N, r"\lambda'": ends[1] - ends[0]}))
    return worlds


def rings():
    """Bytes that one device of a ring sends, piece by piece, and the seconds that they take."""
    worlds = []
    for N, P, w in [(2, 6, 16.0), (4, 8, 3.0), (5, 100, 7.0)]:
        piece = np.zeros(P // N, np.float32)
        sent = [piece.nbytes for _ in range(2) for _ in range(N - 1)]
        assert sum(sent) == all_reduce_bytes(P, N)
        names = {"N": N, "P": P, "R": sum(sent), "K": len(sent) / 2, "w": w, "r": sum(each / w for each in sent)}
        worlds.append(World(names))
    return worlds


def steps_of_devices():
    """Images that are done in a long time on N devices and on one, when the sum comes after the step, or beside it."""
    worlds = []
    for N, s, r in [(2, 0.5, 0.03), (8, 0.02, 0.05), (64, 1.0, 1.0)]:
        one = 3600 / s
        after, beside = N * 3600 / (s + r), N * 3600 / (s if s > r else r)
        worlds.append(World({"N": N, "s": s, "r": r, "E": after / one / N, "E'": beside / one / N}))
    return worlds


def partly_divided():
    """A step of a hundred parts, some of which every device does, and the others a part of."""
    worlds = []
    for fixed, N in [(0, 4), (10, 2), (50, 8), (100, 3)]:
        seconds = sum(0.01 if part < fixed else 0.01 / N for part in range(100))
        worlds.append(World({"f": fixed / 100, "N": N, "A": 1 / seconds}))
    return worlds


CHECKS: dict[str, Check] = {
    "eq-devices-batch": Check(
        "book/64_devices.md: loss_and_gradient",
        LOSSES,
        lambda: equal_shares() + unequal_shares(),
        ((r"\frac{1}{B}", r"\frac{1}{N}"), ("h_k", "h_1")),
    ),
    "eq-devices-share": Check(
        "book/64_devices.md: cut",
        LOSSES,
        equal_shares,
        (("(i-1) M + k", "i M + k"), (r"\frac{1}{M}", "1")),
    ),
    "eq-devices-mean": Check(
        "ddpm_lib/distribution.py: sum_before_clipping",
        LOSSES,
        equal_shares,
        ((r"\frac{1}{N}", "1"), ("g_i", "g_1")),
    ),
    "eq-devices-sum": Check(
        "ddpm_lib/training.py: compute_loss",
        LOSSES,
        equal_shares,
        (("N g", "g"), ("g_i", "g_1")),
    ),
    "eq-devices-noise": Check(
        "book/64_devices.md: formula",
        PAIRS,
        shared_noise,
        (("(N - 1)", "N"), (r"\, C", r"\, S"), ("{B}", "{B^2}")),
    ),
    "eq-devices-effective": Check(
        "book/64_devices.md: worth",
        PAIRS,
        shared_noise,
        (("C / S", "S / C"), ("(N - 1)", "N"), (r"1 + (N - 1)\, C / S", "N")),
    ),
    "eq-devices-norms": Check(
        "book/64_devices.md: norms",
        "float64: vectors, some of which point the same way.",
        clipped_parts,
        ((r"\frac{1}{N}", r"\frac{1}{N^2}"), (r"\le", r"\ge")),
        # A larger bound is a bound, too.
        blind=(r"digit in \le \frac{1}{N} \sum",),
    ),
    "eq-devices-early": Check(
        "book/64_devices.md: part",
        CLIPPED,
        clipped_parts,
        ((r"\frac{N c}", r"\frac{c}"), (r"\frac{g_i}{N}", "g_i"), (r"\min", r"\max")),
    ),
    "eq-devices-early-bound": Check(
        "book/64_devices.md: wrong",
        CLIPPED,
        clipped_parts,
        (("N c", "c"), (r"\le", r"\ge")),
        # Parts that point the same way are shorter without the first.
        blind=(r"digit in t|\sum_{i=1}^{N} g_i",),
    ),
    "eq-devices-average": Check(
        "book/64_devices.md: average",
        "float64: an average that is moved once by every device.",
        averages_of_devices,
        ((r"\lambda^N", r"\lambda"), (r"\lambda^N", r"N \lambda")),
    ),
    "eq-devices-uneven": Check(
        "book/64_devices.md: guess",
        LOSSES,
        unequal_shares,
        ((r"\frac{B_i}{B}", r"\frac{1}{N}"), ("{B}", "{N}")),
    ),
    "eq-devices-ring": Check(
        "ddpm_lib/cost.py: all_reduce_bytes",
        RING,
        rings,
        (("2\\,", ""), (r"\frac{N - 1}{N}", "1"), ("4 P", "P")),
    ),
    "eq-devices-link": Check(
        "benchmarks/devices.py: all_reduce_seconds",
        RING,
        rings,
        ((r"\frac{R}{w}", r"\frac{w}{R}"),),
    ),
    "eq-devices-efficiency": Check(
        "benchmarks/devices.py: efficiency",
        "float64: images that are done in an hour, on N devices and on one.",
        steps_of_devices,
        (("{s + r}", "{r}"), (r"\frac{s}", r"\frac{r}")),
    ),
    "eq-devices-overlap": Check(
        "book/64_devices.md: max",
        "float64: images that are done in an hour, on N devices and on one.",
        steps_of_devices,
        ((r"\max", r"\min"),),
    ),
    "eq-devices-amdahl": Check(
        "book/64_devices.md: A",
        "float64: a step of a hundred parts, which are added up.",
        partly_divided,
        (("(1 - f) / N", "(1 - f)"), ("f + ", "")),
    ),
}

INLINE = Inline(
    equal_shares,
    {
        "has those from $#1$ on.": Says(equal_shares, "#1 = F"),
        "with the factor $#1$. Divide by $N$, and the factor is $#2$:": Says(equal_shares, "#1 = W, \\quad #2 = U"),
        "images the variance is $#1$ ([": Says(unshared_noise, "#1 = V"),
        "has $#1$ of the second kind": Says(shared_noise, "#1 = O"),
        "Set $V$ equal to $#1$:": Says(shared_noise, "V = #1"),
        "{eq}`eq-devices-effective` with $#1$. The": Says(equal_rows),
        "So measure $#1$. The": Says(shared_noise, "#1 = D"),
        "(How large $#1$ is for": Says(shared_noise, "#1 = D"),
        "`kappa` is the share $#1$. How": Says(shared_noise, "#1 = D"),
        "its own part, $#1$, before": Says(clipped_parts, "#1 = H"),
        "Each device sends $#1$ pieces per": Says(rings, "#1 = K"),
    },
)
