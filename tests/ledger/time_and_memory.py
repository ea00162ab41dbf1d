"""The equation checks of the chapter on time and memory, and the worlds that only it uses."""

import itertools
from fractions import Fraction

import numpy as np

from ddpm_lib import cost
from ddpm_lib.config import PRESETS
from tests.ledger.checking import Check
from tests.ledger.inline import Inline, Says
from tests.ledger.variables import World
from tests.ledger.worlds import numbers


def convolutions():
    """Small convolutions, counted product by product, and the bytes of arrays of their shapes."""
    worlds = []
    for B, side, k, c, d, dtype in [(2, 3, 3, 4, 5, "float32"), (1, 4, 1, 3, 2, "float16"), (3, 2, 5, 2, 3, "float64")]:
        flops = 0
        for _ in itertools.product(range(B), range(side), range(side), range(d)):
            for _ in itertools.product(range(k), range(k), range(c)):
                flops += 1  # the product
                flops += 1  # its addition
        shapes = (B, side, side, c), (k, k, c, d), (B, side, side, d)
        moved = sum(np.zeros(shape, dtype).nbytes for shape in shapes)
        names = {"B": B, "n": side * side, "k": k, "c": c, "d": d, "s": np.dtype(dtype).itemsize}
        worlds.append(World(names | {"F": flops, "M": moved, "I": float(Fraction(flops, moved))}))
    return worlds


def devices():
    """A device that computes and moves in ticks of a second until nothing is left; all are whole ticks."""
    worlds = []
    for R, W, F, M in [(8, 3, 80, 9), (8, 3, 16, 30), (5, 10, 100, 70)]:
        flops, moved, ticks = F, M, 0
        while flops > 0 or moved > 0:
            flops, moved, ticks = flops - R, moved - W, ticks + 1
        worlds.append(World({"R": R, "W": W, "F": F, "M": M, "I": F / M, r"\tau": ticks}))
    return worlds


def ridges():
    """The intensity from which on a layer of a card no longer waits for bytes, by bisection."""
    worlds = []
    for card in (cost.DEVICES["T4"], cost.DEVICES["A100"]):
        low, high = 0.0, 1e4
        for _ in range(80):
            middle = (low + high) / 2
            waits = 1e9 / card.bandwidth > middle * 1e9 / card.float32
            low, high = (middle, high) if waits else (low, middle)
        worlds.append(World({"R": card.float32, "W": card.bandwidth, r"I_\mathrm{ridge}": high}))
    return worlds


def attentions():
    """Attention counted product by product: queries with keys, weights with values; scores as float32 arrays."""
    worlds = []
    for B, side, heads, width in [(2, 2, 3, 4), (1, 3, 2, 5), (3, 2, 1, 2)]:
        n, flops = side * side, 0
        for _ in itertools.product(range(B), range(heads), range(n), range(n)):
            flops += 2 * width  # a query with a key
            flops += 2 * width  # a weight with a value
        copy = np.zeros((B, heads, n, n), np.float32).nbytes
        names = {"B": B, "n": n, "a": heads * width, "h": heads, "F": flops, r"M_\mathrm{copy}": copy}
        # Written, read and written by the softmax, read again.
        worlds.append(World(names | {"I": flops / sum(copy for _ in range(4))}))
    return worlds


def steps():
    """Whole steps of several networks, whose seconds the library predicts."""
    worlds = []
    for preset, batch, name, share in [("celeba64", 16, "T4", 0.5), ("faces32", 8, "P100", 0.25)]:
        step, card = cost.step_cost(PRESETS[preset].unet, batch), cost.DEVICES[name]
        names = {
            "L": len(step.rows),
            "F": lambda i, rows=step.rows: rows[i - 1].training_flops,
            "M": lambda i, rows=step.rows: rows[i - 1].training_moved,
            "R": card.float32,
            "W": card.bandwidth,
            r"M_\mathrm{update}": step.update_moved,
            r"\kappa": share,
            r"\tau": cost.predict_step_seconds(step, card, "float32", share),
        }
        worlds.append(World(names))
    return worlds


def backward_passes():
    """A stack of blocks: each layer pushes what it keeps; the way back looks at all of them, and pops."""
    rng, worlds = np.random.default_rng(0), []
    for place in (1, 3, 5):
        kept, scratch = rng.integers(1, 100, (2, 5))
        blocks, at = [int(rng.integers(1, 100))], {}
        always = blocks[0]
        blocks += [int(size) for size in kept]
        for layer in range(5, 0, -1):
            at[layer] = sum([*blocks, int(scratch[layer - 1])])
            blocks.pop()
        names = {
            "i": place,
            "m": at.__getitem__,
            "S": always,
            "A": lambda j, kept=kept: int(kept[j - 1]),
            "w": lambda i, scratch=scratch: int(scratch[i - 1]),
        }
        worlds.append(World(names))
    return worlds


def epochs():
    """Epochs step by step."""
    worlds = []
    for N, B, seconds in [(120, 8, 0.54), (96, 16, 0.25)]:
        total, left, count = 0.0, N, 0
        while left:
            total, left, count = total + seconds, left - B, count + 1
        worlds.append(World({"N": N, "B": B, "E": total, r"\tau": seconds, "p": count}))
    return worlds


def two_runs():
    """Two runs whose predicted times, factor and price are chosen; their times are added up."""
    worlds = []
    for f, g, model in [(8.0, 0.1, (0.07, 0.09)), (1.5, 0.47, (0.2, 0.05))]:
        taken = [sum([g, f * seconds]) for seconds in model]
        for i in (0, 1):
            names = {
                "f": f,
                "g": g,
                r"\hat\tau": lambda i=i + 1, model=model: model[i - 1],
                r"\tau": lambda i=i + 1, taken=taken: taken[i - 1],
            }
            worlds.append(World(names))
    return worlds


def batches():
    """Two batch sizes on one card: a price for the step, and one for each image in turn."""
    worlds = []
    for g, b, sizes in [(0.4, 0.02, (8, 16)), (0.05, 0.3, (4, 32))]:
        taken = []
        for size in sizes:
            seconds = g
            for _ in range(size):
                seconds += b
            taken.append(seconds)
        for i in (0, 1):
            names = {
                "g": g,
                "b": b,
                "B": lambda i=i + 1, sizes=sizes: sizes[i - 1],
                r"\tau": lambda i=i + 1, taken=taken: taken[i - 1],
            }
            worlds.append(World(names))
    return worlds


def cards():
    """What a data sheet calls 16 GB, and 14 GiB counted by doubling."""
    gib = 1
    for _ in range(30):
        gib += gib
    return [World({"m": cost.DEVICES["T4"].memory, "w": 14 * gib})]


COUNTED = "Whole numbers: a small layer is counted product by product, and its bytes are those of NumPy's arrays."
TICKS = "Whole numbers: a device computes and moves, second by second, until nothing is left."

CHECKS: dict[str, Check] = {
    "eq-cost-convolution": Check(
        "ddpm_lib/cost.py: conv",
        COUNTED,
        convolutions,
        (("2\\, B n", "B n"), ("k^2 c\\, d \\\\", "k c\\, d \\\\"), ("+ B n d)", ")")),
    ),
    "eq-cost-intensity": Check(
        "book/62_time_and_memory.md: convolution",
        COUNTED,
        convolutions,
        ((r"\frac{F}{M}", r"\frac{M}{F}"),),
    ),
    "eq-cost-time": Check(
        "ddpm_lib/cost.py: predict_step_seconds",
        TICKS,
        devices,
        ((r"\max", r"\min"), (r"\frac{M}{W}", r"\frac{W}{M}")),
    ),
    "eq-cost-roof": Check(
        "book/62_time_and_memory.md: roof",
        TICKS,
        devices,
        ((r"\min", r"\max"), (r"I\, W", "W")),
    ),
    "eq-cost-ridge": Check(
        "book/62_time_and_memory.md: ridge",
        "float64: the intensity at which both times are equal, by bisection, for two cards.",
        ridges,
        ((r"\frac{R}{W}", r"\frac{W}{R}"),),
    ),
    "eq-cost-attention": Check(
        "ddpm_lib/cost.py: plain_attention",
        COUNTED,
        attentions,
        (("4\\, B n^2 a", "2\\, B n^2 a"), ("4\\, B h\\, n^2", "4\\, B n^2")),
    ),
    "eq-cost-scores": Check(
        "book/62_time_and_memory.md: the text",
        COUNTED,
        attentions,
        ((r"\frac{a}{4\, h}", r"\frac{a}{h}"), (r"4\, M_{\mathrm{copy}}", r"M_{\mathrm{copy}}")),
        tolerance=1e-9,
    ),
    "eq-cost-step": Check(
        "ddpm_lib/cost.py: predict_step_seconds",
        "float64: the seconds that the library predicts for steps of two networks.",
        steps,
        ((r"\frac{1}{\kappa}", r"\kappa"), (r"\max", r"\min"), (r"+ \frac{M_{\mathrm{update}}}{W}", "")),
    ),
    "eq-cost-memory": Check(
        "ddpm_lib/cost.py: peak_bytes",
        "Whole numbers: a stack of blocks that a forward pass pushes and a backward pass pops.",
        backward_passes,
        (("S + ", ""), ("+ w_i", ""), ("{i} A_j", "{i} A_i")),
    ),
    "eq-cost-seconds": Check(
        "book/62_time_and_memory.md: tau",
        "float64: an epoch added up step by step.",
        epochs,
        ((r"B\, E", "E"), (r"\frac{B\, E}{N}", r"\frac{N}{B\, E}")),
    ),
    "eq-cost-stories": Check(
        "book/62_time_and_memory.md: solve",
        "float64: two runs of chosen factor and price, added up.",
        two_runs,
        (("g + ", ""), (r"f\, ", "")),
    ),
    "cost-factor": Check(
        "book/62_time_and_memory.md: solve",
        "float64: two runs of chosen factor and price, added up.",
        two_runs,
        ((r"\tau_2 - \tau_1}{", r"\tau_2}{"), (r"\hat\tau_2 - \hat\tau_1", r"\hat\tau_1 - \hat\tau_2")),
    ),
    "eq-cost-batch": Check(
        "book/62_time_and_memory.md: t_8",
        "float64: two runs, to which every image is added in turn.",
        batches,
        (("g + ", ""), (r"b\, B", "b")),
    ),
    "eq-cost-line": Check(
        "book/62_time_and_memory.md: t_8",
        "float64: two runs, to which every image is added in turn.",
        batches,
        ((r"b\, B_1", r"b\, B_2"), ("B_2 - B_1", "B_1 - B_2")),
    ),
}

INLINE = Inline(
    numbers,
    {
        "Each of the $#1$ results is a sum of $#2$ products.": Says(convolutions, r"F = 2 \cdot #1 #2"),
        "an epoch of $E$ seconds has $#1$ steps.": Says(epochs, "p = #1"),
        "A GB has $#1$ bytes, a GiB has $#2$.": Says(cards, "m = 16 #1, \\quad w = 14 #2"),
    },
)
