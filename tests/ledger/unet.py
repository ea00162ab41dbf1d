"""The equation checks of the chapter on the U-Net, and the worlds that only it uses."""

import cmath
import math

import keras
import numpy as np
from scipy.special import expit, softmax

from ddpm_lib.unet import ResBlock
from tests.ledger.checking import Check
from tests.ledger.inline import Inline, Says
from tests.ledger.variables import World
from tests.ledger.worlds import numbers


def reach(convolutions):
    """Walk back from one coarse position, keeping the set of fine ones that it depends on."""
    positions = {0}
    for level, n in reversed(list(enumerate(convolutions))):
        for _ in range(n):
            positions = {p + step for p in positions for step in (-1, 0, 1)}
        if level:
            positions = {2 * p + step for p in positions for step in (0, 1)}
    return max(positions) - min(positions) + 1


def stacks():
    return [World({"n": n, "r": reach([n])}) for n in (1, 2, 7)]


def levels():
    worlds = []
    for convolutions in ([3], [1, 4], [5, 4, 3], [2, 0, 1, 3]):
        names = {"n": convolutions.__getitem__, "L": len(convolutions), "r": reach(convolutions)}
        worlds.append(World(names))
    return worlds


def convolutions():
    """Count the products of a convolution one by one."""
    worlds = []
    for old, new, height, width in [(2, 3, 4, 5), (1, 4, 2, 3)]:
        products = sum(1 for _ in np.ndindex(height, width, new, 3, 3, old))
        worlds.append(World({"C": old, "C'": new, "H": height, "W": width, "M": products}))
    return worlds


def groups():
    """One group of numbers; the normalized ones are Keras's, in float64."""
    worlds = []
    for seed, epsilon in [(0, 1e-5), (1, 0.3)]:
        h = np.random.default_rng(seed).normal(2.0, 1.5, (1, 2, 3, 1))
        layer = keras.layers.GroupNormalization(1, epsilon=epsilon, scale=False, center=False, dtype="float64")
        normalized = np.asarray(layer(h)).ravel()
        rule = (h.ravel(), np.full(h.size, 1 / h.size))
        deviation = math.sqrt(np.mean([(a - b) ** 2 for a in h.ravel() for b in h.ravel()]) / 2)
        for k in (0, 4):
            names = {"h": h.ravel()[k], "m": h.sum() / h.size, "s": deviation, r"\epsilon": epsilon}
            worlds.append(World(names | {r"\hath": normalized[k]}, quadrature={"h": rule}))
    return worlds


def sigmoids():
    return [World({"x": x, "y": x * expit(x)}) for x in (-2.0, 0.3, 4.0)]


def blocks():
    """The library's block in float64; the change is computed by a second block without its shortcut."""
    keras.utils.set_random_seed(0)
    block = ResBlock(4, dtype="float64")
    x, code = np.random.default_rng(0).normal(size=(1, 3, 3, 4)), np.zeros((1, 2))
    block(x, code)
    weights = [np.random.default_rng(k).normal(size=w.shape) for k, w in enumerate(block.weights)]
    block.set_weights(weights)
    whole = np.asarray(block(x, code))
    block.shortcut = lambda h: 0 * h
    change = np.asarray(block(x, code))
    worlds = []
    for place in [(0, 0, 0, 0), (0, 1, 2, 3)]:
        worlds.append(World({"x": x[place], "y": whole[place], "f": lambda _, value=change[place]: value}))
    return worlds


def codes(frequencies=None):
    """Codes by powers of complex numbers on the circle."""
    worlds = []
    for t, d in [(7, 8), (999, 32)]:
        w = [10000.0 ** -(k / d) for k in range(0, d, 2)]
        hands = [cmath.exp(1j * frequency) ** t for frequency in w]
        code = [part for hand in hands for part in (hand.imag, hand.real)]
        for i in (1, d // 2 - 1):
            worlds.append(World({"i": i, "d": d, "t": t, r"\omega": w.__getitem__, "c": code.__getitem__}))
    return worlds


def similarities():
    """Dot products of two codes, at steps that do not matter."""
    worlds = []
    for t, k, d in [(3, 5, 8), (200, 40, 16)]:
        w = [10000.0 ** -(i / d) for i in range(0, d, 2)]
        first, second = ([f(at * x) for x in w for f in (math.sin, math.cos)] for at in (t, t + k))
        product = sum(a * b for a, b in zip(first, second, strict=True))
        worlds.append(World({"k": k, "d": d, r"\omega": w.__getitem__, "s": {k: product}.__getitem__}))
    return worlds


def other_codes():
    """Frequencies that fall by the same factor from 1 to 1/10000."""
    worlds = []
    for d, i in [(8, 1), (32, 9)]:
        worlds.append(World({"d": d, "i": i, r"\omega": np.geomspace(1, 1e-4, d // 2).__getitem__}))
    return worlds


def adaptive_norms():
    """Keras's group norm with the scale and shift in its own weights."""
    worlds = []
    h = np.random.default_rng(0).normal(size=(1, 2, 2, 1))
    for a, b in [(0.4, -0.3), (-1.7, 2.0)]:
        plain = keras.layers.GroupNormalization(1, scale=False, center=False, dtype="float64")
        layer = keras.layers.GroupNormalization(1, dtype="float64")
        layer.build(h.shape)
        layer.set_weights([np.array([1 + a]), np.array([b])])
        names = {"a": a, "b": b, r"\hath": np.asarray(plain(h)).ravel()[2], "y": np.asarray(layer(h)).ravel()[2]}
        worlds.append(World(names))
    return worlds


def attentions():
    worlds = []
    for n, d, seed in [(3, 2, 0), (5, 4, 1)]:
        Q, K, V = np.random.default_rng(seed).standard_normal((3, n + 1, d + 1))
        scores = np.einsum("id,jd->ij", Q[1:, 1:], K[1:, 1:]) * d**-0.5
        weights = softmax(scores, axis=1)
        tables = {
            "Q": lambda i, j, Q=Q: Q[i, j],
            "K": lambda i, j, K=K: K[i, j],
            "V": lambda i, j, V=V: V[i, j],
            "S": lambda i, j, S=scores: S[i - 1, j - 1],
            "A": lambda i, j, A=weights: A[i - 1, j - 1],
            "O": lambda i, j, mixed=weights @ V[1:, 1:]: mixed[i - 1, j - 1],
        }
        for i, j, column in [(1, 2, 1), (3, 1, 2)]:
            worlds.append(World(tables | {"i": i, "j": j, "l": column, "n": n, "d": d}))
    return worlds


def pairs():
    """Count the weights of Keras's attention."""
    worlds = []
    for heads, height, width in [(2, 3, 4), (3, 2, 2)]:
        tokens = np.zeros((1, height * width, 6))
        layer = keras.layers.MultiHeadAttention(heads, 2)
        _, weights = layer(tokens, tokens, return_attention_scores=True)
        worlds.append(World({"k": heads, "H": height, "W": width, "N": int(np.prod(weights.shape))}))
    return worlds


def lines():
    """NumPy's interpolation at the new centres, half a place apart."""
    x = np.random.default_rng(0).standard_normal(6)
    y = np.interp((np.arange(12) + 0.5) / 2 - 0.5, np.arange(6), x)
    return [World({"i": i, "x": x.__getitem__, "y": y.__getitem__}) for i in (1, 3, 4)]


def positions():
    """The side of one position of a level in pixels, where nothing but pools is on the way."""
    return [World({"l": level, "p": reach([0] * (level + 1))}) for level in (0, 1, 3)]


def maps():
    """The positions of a feature map, counted."""
    return [
        World({"H": height, "W": width, "n": sum(1 for _ in np.ndindex(height, width))})
        for height, width in [(3, 4), (8, 8)]
    ]


CHECKS: dict[str, Check] = {
    "eq-unet-field": Check(
        "book/52_unet.md: field",
        "The set of positions that one result depends on is walked back, convolution by convolution.",
        stacks,
        (("2 n", "3 n"), ("1 + 2 n", "2 n")),
    ),
    "eq-unet-field-levels": Check(
        "book/52_unet.md: field",
        "The set of positions that one result depends on is walked back, level by level.",
        levels,
        (("2^l", "l"), ("2^{L - 1}", "1"), ("2^{L - 1}", "2^L")),
    ),
    "eq-unet-conv-cost": Check(
        "ddpm_lib/cost.py: conv",
        "The products are counted one by one.",
        convolutions,
        (("9", "3"), ("C'", "C")),
    ),
    "eq-unet-norm": Check(
        "ddpm_lib/unet.py: ResBlock",
        "float64: Keras's group norm; the variance is half the mean squared difference of all pairs.",
        groups,
        ((r"\sqrt{s^2 + \epsilon}", r"s^2 + \epsilon"), (r"h - m}{", "h + m}{"), (r"s^2 + \epsilon", "s^2")),
    ),
    "eq-unet-silu": Check(
        "book/52_unet.md: silu",
        "float64: x times SciPy's sigmoid.",
        sigmoids,
        (("e^{-x}", "e^{x}"), ("{x}{1", "{1}{1")),
    ),
    "eq-unet-block": Check(
        "ddpm_lib/unet.py: ResBlock",
        "float64: the library's block, with and without its shortcut.",
        blocks,
        (("x + f", "f"), ("x + f", "x - f")),
    ),
    "eq-unet-time": Check(
        "ddpm_lib/unet.py: SinusoidalEmbedding",
        "float64: powers of complex numbers on the unit circle.",
        codes,
        (("-2 i / d", "-i / d"), (r"\sin", r"\cos"), ("c_{2i + 1}", "c_{2i}"), ("10000", "1000")),
    ),
    "eq-unet-similar": Check(
        "book/52_unet.md: s",
        "float64: the dot product of two codes.",
        similarities,
        ((r"\cos", r"\sin"), ("d/2 - 1", "d/2 - 2")),
    ),
    "eq-unet-time-ho": Check(
        "book/52_unet.md: theirs",
        "float64: frequencies that fall by a constant factor from 1 to 1/10000.",
        other_codes,
        (("d/2 - 1", "d/2"), ("-i /", "-2 i /")),
    ),
    "eq-unet-adagn": Check(
        "ddpm_lib/unet.py: ResBlock",
        "float64: Keras's group norm, with the scale and the shift as its own weights.",
        adaptive_norms,
        (("(1 + a)", "a"), ("+ b", "- b")),
    ),
    "eq-unet-attention": Check(
        "ddpm_lib/attention.py: attend",
        "float64: the products by einsum, the weights by SciPy's softmax.",
        attentions,
        ((r"\sqrt{d}", "d"), ("K_{j,l}", "K_{l,j}"), ("S_{i,k}", "S_{k,j}"), (r"A_{i,j}\, V", r"A_{j,i}\, V")),
    ),
    "eq-unet-pairs": Check(
        "ddpm_lib/cost.py: _scores",
        "The weights that Keras's multi-head attention returns are counted.",
        pairs,
        (("(H W)^2", "H W"), ("k", "k^2")),
    ),
    "eq-unet-bilinear": Check(
        "ddpm_lib/unet.py: BilinearUpsample",
        "float64: NumPy's interpolation at places half a place apart.",
        lines,
        ((r"\tfrac{3}{4}", r"\tfrac{1}{4}"), ("x_{i-1}", "x_{i+1}"), ("y_{2i}", "y_{2i + 1}")),
    ),
}

INLINE = Inline(
    numbers,
    {
        "On level $l$ a step to the side is $#1$ pixels": Says(positions, "#1 = p"),
        "Each of the $#1$ positions": Says(maps),
    },
    not_evaluated={r"this is the article's $\operatorname{Softmax}(Q K^\top / \sqrt d)\, V$.": "as above, in one line"},
)
