"""The equation checks of the chapter on half precision, and the worlds that only it uses."""

import itertools
import math

import keras
import ml_dtypes
import numpy as np

from ddpm_lib import cost
from ddpm_lib.config import PRESETS
from tests.ledger.checking import Check
from tests.ledger.inline import Inline, Says
from tests.ledger.variables import World
from tests.ledger.worlds import chains, library_steps, numbers

TYPES = {"float16": np.float16, "bfloat16": ml_dtypes.bfloat16, "float32": np.float32}
# Rounded from float64 at once, where bfloat16 goes through float32: so a threshold lies where it should, to 1e-9.
ROUNDED_ONCE = {"float16": np.float16, "float8": ml_dtypes.float8_e5m2}
STORED = "float64: every number comes from the formats' own types, by viewing bits, "


def layout(name):
    """Bits of the exponent and of the mantissa, from the library that implements the type."""
    info = ml_dtypes.finfo(TYPES[name])
    return info.nexp, info.nmant


def fields(number, name):
    """Sign, exponent and mantissa of a stored number, as whole numbers."""
    w, k = layout(name)
    pattern = int(np.asarray(number, TYPES[name]).view({16: np.uint16, 32: np.uint32}[1 + w + k]))
    return pattern >> (w + k), (pattern >> k) % 2**w, pattern % 2**k


def after(number, name):
    """The next larger number of a type."""
    dtype = (TYPES | ROUNDED_ONCE)[name]
    return float(np.nextafter(dtype(number), dtype(np.inf)))


def patterns(numbers):
    """Stored numbers beside their fields; the bias is the exponent field of 1."""
    worlds = []
    for name in ("float16", "bfloat16"):
        w, k = layout(name)
        for number in numbers[name]:
            S, E, M = fields(number, name)
            stored = float(TYPES[name](number))
            worlds.append(World({"w": w, "k": k, "b": fields(1.0, name)[1], "S": S, "E": E, "M": M, "y": stored}))
    return worlds


def normal_numbers():
    return patterns({name: (0.1, -999.0, 1.75, -3e-4) for name in TYPES})


def largest_numbers():
    return patterns({name: (float(ml_dtypes.finfo(TYPES[name]).max),) for name in TYPES})


def smallest_normal_numbers():
    return patterns({name: (float(ml_dtypes.finfo(TYPES[name]).smallest_normal),) for name in TYPES})


def smallest_numbers():
    return patterns({name: (after(0, name),) for name in TYPES})


def infinities():
    return patterns({name: (math.inf,) for name in TYPES})


def subnormal_numbers():
    return patterns({"float16": (3e-5, -1e-6), "bfloat16": (3e-39, -4e-40)})


def ends():
    """The ends of a type by walking to them, and what lies around 1 and the whole numbers."""
    worlds = []
    for name, dtype in TYPES.items():
        w, k = layout(name)

        def gap(number, name=name):
            return after(number, name) - number

        # Below the smallest normal number the gap no longer halves with the number.
        normal = next(2.0**p for p in range(-10, -200, -1) if gap(2.0 ** (p - 1)) == gap(2.0**p))
        names = {
            r"y_\mathrm{max}": float(np.nextafter(dtype(np.inf), dtype(0))),
            r"y_\mathrm{normal}": normal,
            r"y_\mathrm{tiny}": after(0, name),
            "u": gap(1.0) / 2,
            r"n_\mathrm{max}": next(2**p for p in range(30) if float(dtype(2**p + 1)) != 2**p + 1),
        }
        worlds.append(World({"w": w, "k": k, "b": fields(1.0, name)[1]} | names))
    return worlds


def gaps():
    worlds = []
    for name in TYPES:
        for number in (0.1, 1.0, 1.9, 999.0):
            stored = float(TYPES[name](number))
            gap = after(number, name) - stored
            names = {"k": layout(name)[1], "n": math.frexp(stored)[1] - 1, "y": stored, r"\Delta": gap}
            names["p"] = max(2.0**power for power in range(-10, 20) if 2.0**power <= stored)
            worlds.append(World(names))
    return worlds


def groups():
    """A feature with three values and unequal chances; the variance is a sum over pairs of values."""
    worlds = []
    for values, chances in [((0.5, -1.0, 3.0), (0.2, 0.5, 0.3)), ((300.0, 310.0, 280.0), (0.4, 0.4, 0.2))]:
        drawn = list(zip(values, chances, strict=True))
        pairs = [(p * q, (a - b) ** 2) for a, p in drawn for b, q in drawn]
        variance = sum(weight * square for weight, square in pairs) / 2
        rule = (np.array(values), np.array(chances))
        worlds.append(World({r"\sigma": math.sqrt(variance)}, quadrature={"h": rule}))
    return worlds


def bisected(moves, low, high):
    """The point between low and high from which on `moves` holds."""
    while high - low > 1e-13 * high:
        middle = (low + high) / 2
        low, high = (low, middle) if moves(middle) else (middle, high)
    return high


def kept(adam, kind):
    """The average of one weight that a Keras optimizer holds."""
    [variable] = [v for v in adam.variables if kind in v.path]
    return keras.ops.convert_to_numpy(variable).item()


def adams():
    """Keras's Adam, asked for its second moment after each of three steps."""
    worlds = []
    for rho in (0.999, 0.9):
        weight = keras.Variable(np.zeros(1), dtype="float64")
        adam = keras.optimizers.Adam(1.0, beta_2=rho)
        adam.build([weight])
        v, g = [0.0], [None, 0.3, -0.2, 0.7]
        for gradient in g[1:]:
            adam.apply([keras.ops.convert_to_tensor(np.array([gradient]))], [weight])
            v.append(kept(adam, "velocity"))
        for n in (1, 2, 3):
            worlds.append(World({"n": n, "v": v.__getitem__, "g": g.__getitem__, r"\rho": rho}))
    return worlds


def first_adam_steps():
    """The first move of Keras's Adam, which puts the root of 1 - rho into its epsilon; D is the move over the rate."""
    worlds = []
    for rho, g, epsilon in [(0.999, 0.3, 0.01), (0.9, 1.7, 0.2)]:
        weight = keras.Variable(np.zeros(1), dtype="float64")
        adam = keras.optimizers.Adam(0.5, beta_1=0.75, beta_2=rho, epsilon=epsilon * math.sqrt(1 - rho))
        adam.build([weight])
        adam.apply([keras.ops.convert_to_tensor(np.array([g]))], [weight])
        names = {
            r"\hatm": kept(adam, "momentum") / 0.25,
            r"\hatv": kept(adam, "velocity") / (1 - rho),
            r"\epsilon": epsilon,
            "g": g,
            "D": -float(keras.ops.convert_to_numpy(weight)[0]) / 0.5,
        }
        worlds.append(World(names))
    return worlds


def moment_floors():
    worlds = []
    for name, dtype in ROUNDED_ONCE.items():
        for rho in (0.999, 0.9):
            smallest = bisected(lambda g, rho=rho, dtype=dtype: dtype((1 - rho) * g * g) != 0, 0.0, 1.0)
            names = {r"\rho": rho, r"y_\mathrm{tiny}": after(0, name), r"g_\mathrm{min}": smallest}
            worlds.append(World(names))
    return worlds


def averages():
    """An average that is moved step by step."""
    worlds = []
    for decay, weight, start in [(0.9, 2.0, -1.0), (0.75, -0.4, 0.3)]:
        a = [start]
        for _ in range(7):
            a.append(a[-1] + (weight - a[-1]) - decay * (weight - a[-1]))
        names = {r"\lambda": decay, r"\theta": weight, "a": a.__getitem__}
        worlds += [World(names | {"n": n}) for n in (1, 4, 7)]
    return worlds


def standing_averages():
    """The largest distance at which the rounded average does not move, by bisection."""
    worlds = []
    for name, dtype in ROUNDED_ONCE.items():
        for average, decay in itertools.product((1.0, 1.5, 0.375, 320.0), (0.9999, 0.9)):

            def moves(distance, dtype=dtype, average=average, decay=decay):
                return float(dtype(average + (1 - decay) * distance)) != average

            distance = bisected(moves, 0.0, 1e6)
            names = {r"\lambda": decay, r"\Delta": after(average, name) - average, "d": distance}
            worlds.append(World(names))
    return worlds


def scaled_losses():
    """Derivatives of a loss and of its multiple by differences, and a step of Keras's own gradient descent."""
    worlds = []
    for scale, theta in [(8.0, 0.7), (1024.0, -1.2)]:

        def loss(x):
            return x**3 - 2 * x

        def slope(function, at=theta):
            return (function(at + 1e-3) - function(at - 1e-3)) / 2e-3

        scaled = slope(lambda x, scale=scale: scale * loss(x))
        variable = keras.Variable(theta, dtype="float64")
        keras.optimizers.SGD(0.25).apply([keras.ops.convert_to_tensor(slope(loss), dtype="float64")], [variable])
        after_step = float(keras.ops.convert_to_numpy(variable))
        names = {
            "c": scale,
            r"\partial(cL)/\partial\theta": scaled,
            r"\partialL/\partial\theta": slope(loss),
            "n": 5,
            r"\theta": {4: theta, 5: after_step}.__getitem__,
            r"\eta": 0.25,
            r"\tildeg": {5: scaled}.__getitem__,
        }
        worlds.append(World(names))
    return worlds


def bytes_of_a_weight():
    return [World({})]


def steps_in_memory():
    """What the cost model says of whole steps of several networks, which adds layer by layer."""
    worlds = []
    for preset, batch in [("celeba64", 16), ("faces32", 64), ("digits16", 2)]:
        unet = PRESETS[preset].unet
        full, mixed = (cost.step_cost(unet, batch, p) for p in ("float32", "mixed_float16"))
        weights = full.state_bytes / 16

        def others(step):
            return step.peak_bytes - step.state_bytes - step.gradient_bytes - step.copy_bytes

        names = {"P": weights, "A": others(full), r"A_\mathrm{half}": others(mixed)}
        worlds.append(World(names | {"s": (full.peak_bytes - mixed.peak_bytes) / full.peak_bytes}))
    return worlds


CHECKS: dict[str, Check] = {
    "eq-half-bias": Check(
        "book/58_half_precision.md: b",
        STORED + "the bias is the exponent field of the number 1.",
        normal_numbers,
        (("2^{w - 1} - 1", "2^{w - 1}"), ("2^{w - 1}", "2^w")),
    ),
    "eq-half-value": Check(
        "book/58_half_precision.md: value",
        STORED + "the fields are read from the pattern of a stored number.",
        normal_numbers,
        ((r"\left(1 + \frac{M}{2^k}\right)", r"\frac{M}{2^k}"), ("2^{E - b}", "2^{b - E}"), ("(-1)^S", "(-1)^{S + 1}")),
    ),
    "eq-half-subnormal": Check(
        "book/58_half_precision.md: value",
        STORED + "the fields are read from the pattern of a stored number.",
        subnormal_numbers,
        (("2^{1 - b}", "2^{-b}"), (r"\frac{M}{2^k}", r"\left(1 + \frac{M}{2^k}\right)")),
    ),
    "eq-half-range": Check(
        "book/58_half_precision.md: ends",
        STORED + "the ends are found by stepping from infinity down, from 0 up, and to where the gap stops shrinking.",
        ends,
        (
            ("(2 - 2^{-k})", "2"),
            (r"y_{\mathrm{normal}} &= 2^{1 - b}", r"y_{\mathrm{normal}} &= 2^{-b}"),
            ("- b - k", "- b"),
        ),
    ),
    "eq-half-spacing": Check(
        "book/58_half_precision.md: gap",
        STORED + "the gap is the distance to the next number.",
        gaps,
        (("2^{n - k}", "2^{-k}"), ("n - k", "n - k - 1")),
    ),
    "eq-half-roundoff": Check(
        "book/58_half_precision.md: the text",
        STORED + "half the distance from 1 to the next number.",
        ends,
        (("2^{-k - 1}", "2^{-k}"),),
    ),
    "eq-half-integers": Check(
        "book/58_half_precision.md: the text",
        STORED + "the powers of two are tried until the whole number after one does not exist.",
        ends,
        (("2^{k + 1}", "2^k"),),
    ),
    "half-variance": Check(
        "book/58_half_precision.md: variance",
        "float64: half the mean squared difference of two draws, over all pairs of values.",
        groups,
        ((r"- \mathbb{E}[h]^2", r"- \mathbb{E}[h]"), ("= \\mathbb{E}[h^2]", "= \\mathbb{E}[h]^2")),
    ),
    "eq-half-moment": Check(
        "book/58_half_precision.md: second",
        "float64: the second moment that Keras's Adam holds after each step.",
        adams,
        ((r"\rho\, v_{n-1}", r"v_{n-1}"), ("g_n^2", "g_n"), (r"(1 - \rho)", r"\rho")),
    ),
    "eq-half-moment-floor": Check(
        "book/58_half_precision.md: floor",
        STORED + "the smallest gradient whose second moment is stored as more than 0 is found by bisection.",
        moment_floors,
        ((r"{2\, (1 - \rho)}", r"{1 - \rho}"), (r"(1 - \rho)", r"\rho"), (r"\sqrt{", "{")),
    ),
    "eq-half-average": Check(
        "ddpm_lib/training.py: update_average",
        "float64: an average that is moved step by step.",
        averages,
        ((r"\lambda\, a_{n-1}", r"a_{n-1}"), (r"(1 - \lambda)", r"\lambda")),
    ),
    "half-average-move": Check(
        "book/58_half_precision.md: average",
        "float64: an average that is moved step by step.",
        averages,
        ((r"(1 - \lambda)", r"\lambda"), (r"\theta - a_{n-1}", r"\theta + a_{n-1}")),
    ),
    "eq-half-average-closed": Check(
        "book/58_half_precision.md: exact",
        "float64: an average that is moved step by step.",
        averages,
        ((r"\lambda^n", r"\lambda"), (r"(\theta - a_0)", r"(a_0 - \theta)")),
    ),
    "eq-half-standstill": Check(
        "book/58_half_precision.md: distance",
        STORED + "the largest distance at which the stored average stays the same is found by bisection.",
        standing_averages,
        ((r"{2\, (1 - \lambda)}", r"{1 - \lambda}"), (r"(1 - \lambda)", r"\lambda")),
    ),
    "eq-half-scaled": Check(
        "book/58_half_precision.md: backward",
        "float64: differences of a loss and of its multiple.",
        scaled_losses,
        ((r"= c\, ", "= "), (r"c\, \frac", r"\frac{1}{c} \frac")),
    ),
    "eq-half-unscaled": Check(
        "book/58_half_precision.md: train",
        "float64: a step of Keras's gradient descent with the gradient of the loss itself.",
        scaled_losses,
        ((r"\frac{\tilde g_n}{c}", r"\tilde g_n"), (r"- \eta", r"+ \eta")),
    ),
    "half-bytes": Check(
        "ddpm_lib/cost.py: state_bytes, gradient_bytes",
        "The cost model's bytes of a weight, from its state and its gradient.",
        bytes_of_a_weight,
        (("= 20", "= 16"), (r"2 \cdot 4", "4")),
    ),
    "eq-half-saved": Check(
        "book/58_half_precision.md: s",
        "float64: the peaks of the cost model, which adds layer by layer, for three networks.",
        steps_in_memory,
        (("22 P", "20 P"), (r"22 P + A_{\mathrm{half}}", r"20 P + A"), ("1 - ", "")),
    ),
}

INLINE = Inline(
    numbers,
    {
        "for all $E$ from 1 to $#1$.": Says(largest_numbers, "#1 = E"),
        "The smallest exponent, $#1$, is read": Says(subnormal_numbers),
        "the power stays that of $#1$. These": Says(smallest_normal_numbers, "#1, \\quad y = 2^{1 - b}"),
        "The largest exponent, $#1$, is kept for infinity (with $#2$)": Says(infinities, "#1, \\quad #2"),
        "The largest finite number has $#1$ and all": Says(largest_numbers, "#1, \\quad M = 2^k - 1"),
        "The smallest normal one has $#1$ and $#2$,": Says(smallest_normal_numbers, "#1, \\quad #2"),
        "the smallest of all has $#1$ and $#2$:": Says(smallest_numbers, "#1, \\quad #2"),
        "Let $#1$ be the largest power of two": Says(gaps, "#1 = p"),
        "$M$ counts in $#1$ steps, each": Says(gaps, r"#1 \Delta = p"),
        "relative to the number. At 1 it is $#1$.": Says(ends, "#1 = 2 u"),
        "image is nearly all there: $#1$. Both": Says(library_steps),
        "has the standard deviation $#1$, and whoever": Says(chains, r"\operatorname{Var}[x_t \mid x_0] = #1^2"),
        "It starts at $#1$. So": Says(adams),
        "by the rate times $#1$. The hats": Says(first_adam_steps, r"D \approx #1", 1e-5),
        r"$\hat m$ is $g$ and $#1$ is the size": Says(first_adam_steps, r"\hat m = g, \quad #1 = g"),
    },
)
