"""The equation checks of the chapter on the training loop, and the worlds that only it uses."""

import itertools
import math

import keras
import numpy as np
import pytest

from ddpm_lib import training
from tests.ledger.checking import Check
from tests.ledger.inline import Inline, Says
from tests.ledger.variables import Linear, World
from tests.ledger.worlds import library_steps, numbers

ADAM = "float64: what Keras's Adam holds and does, with its other epsilon turned into this one."
AVERAGE = "float64: an average that is moved towards the weights, step by step; "
BATCHES = "float64: all batches that can be drawn from a few gradients, one by one; "


def kept(adam, kind):
    """The average of one weight that a Keras optimizer holds."""
    [variable] = [v for v in adam.variables if kind in v.path]
    return keras.ops.convert_to_numpy(variable).item()


def adams():
    """Keras's Adam over three steps; its epsilon comes before the correction, so it is given another one each step.

    Its decays go through float32, so they are numbers that fit.
    """
    worlds = []
    for gamma, rho, epsilon in [(0.75, 0.9375, 0.01), (0.5, 0.875, 0.2)]:
        weight = keras.Variable(np.array([0.4]), dtype="float64")
        adam = keras.optimizers.Adam(0.5, beta_1=gamma, beta_2=rho)
        adam.build([weight])
        theta, m, v, g, given = [0.4], [0.0], [0.0], [None, 0.3, -0.2, 0.7], [None]
        for n, gradient in enumerate(g[1:], start=1):
            adam.epsilon = epsilon * math.sqrt(1 - rho**n)
            given.append(adam.epsilon)
            adam.apply([keras.ops.convert_to_tensor(np.array([gradient]))], [weight])
            theta.append(keras.ops.convert_to_numpy(weight).item())
            m.append(kept(adam, "momentum"))
            v.append(kept(adam, "velocity"))
        tables = {r"\theta": theta, "m": m, "v": v, "g": g}
        names = {name: table.__getitem__ for name, table in tables.items()}
        names |= {r"\gamma": gamma, r"\rho": rho, r"\epsilon": epsilon, r"\eta": 0.5}
        worlds += [World(names | {"n": n, "E": given[n]}) for n in (1, 2, 3)]
    return worlds


def ages_of_gradients():
    """How much all gradients together count for in Adam's first average: what it holds when each of them is 1."""
    worlds = []
    for gamma in (0.9, 0.75):
        weight = keras.Variable(np.zeros(1), dtype="float64")
        adam = keras.optimizers.Adam(0.5, beta_1=gamma)
        adam.build([weight])
        for n in range(1, 4):
            adam.apply([keras.ops.convert_to_tensor(np.ones(1))], [weight])
            worlds.append(World({r"\gamma": gamma, "n": n, "W": kept(adam, "momentum")}))
    return worlds


def warmups():
    """The rate by adding the same share again and again, as the library has it to float32."""
    worlds = []
    for eta, steps in [(2e-4, 1000), (0.3, 7)]:
        rates = np.full(2 * steps + 1, eta)
        rates[: steps + 1] = np.cumsum([0.0, *[eta / steps] * steps])
        rate = training.LinearWarmup(eta, steps)
        for n in (1, 5, steps, steps + 3):
            assert float(rate(n - 1)) == pytest.approx(rates[n], rel=1e-6)
            names = {r"\eta": lambda i=None, r=rates, eta=eta: eta if i is None else r[i], "N": steps, "n": n}
            worlds.append(World(names))
    return worlds


def clippings():
    """What Keras's gradient descent takes away with and without clipping; the length by Pythagoras."""
    worlds = []
    for g, c in [((3.0, -4.0, 12.0), 1.0), ((3.0, -4.0, 12.0), 20.0), ((0.2, 0.1, -0.3), 0.1)]:
        weights = [keras.Variable(np.zeros(1), dtype="float64") for _ in g]
        gradients = [keras.ops.convert_to_tensor(np.array([x])) for x in g]
        keras.optimizers.SGD(1.0, global_clipnorm=c).apply(gradients, weights)
        moved = [-keras.ops.convert_to_numpy(weight).item() for weight in weights]
        names = {
            "K": 3,
            "G": math.hypot(*g),
            "c": c,
            "g": [None, *g].__getitem__,
            "g'": [None, *moved].__getitem__,
        }
        worlds += [World(names | {"k": k}) for k in (1, 2, 3)]
    return worlds


def averages():
    worlds = []
    for decay in (0.9, 0.75):
        theta = np.random.default_rng(0).standard_normal(8)
        a, other = [theta[0]], [theta[0] + 1]
        for weight in theta[1:]:
            a.append(weight + decay * (a[-1] - weight))
            other.append(weight + decay * (other[-1] - weight))
        names = {r"\lambda": decay, r"\theta": lambda i, w=theta: w[i], "a": a.__getitem__}
        # F: what is left of a change of the first weights.
        worlds += [World(names | {"n": n, "F": other[n] - a[n]}) for n in (1, 3, 7)]
    return worlds


def long_averages():
    """What each weight counts for in an average that is very old, and what follows from that by adding up."""
    worlds = []
    for decay in (0.9, 0.97):
        counts = [1 - decay]
        while counts[-1] > 1e-30:
            counts.append(counts[-1] * decay)
        counts = np.array(counts)
        low, high = 0.0, 1e4
        while high - low > 1e-12 * high:
            middle = (low + high) / 2
            low, high = (middle, high) if decay**middle > 0.5 else (low, middle)
        names = {
            r"\lambda": decay,
            "A": counts @ np.arange(len(counts)),
            "h": high,
            r"N_\lambda": 1 / (counts @ counts),
            "U": (counts @ counts) / (1 - decay) ** 2,
        }
        worlds.append(World(names))
    return worlds


def shaking_weights():
    """Weights with independent noise, as combinations of its sources, and their average and plain mean."""
    worlds = []
    for decay, s in [(0.9, 0.3), (0.6, 2.0)]:
        draw = np.random.default_rng(0).standard_normal(6)
        theta = [0.7 + s * Linear(0.0, row, draw) for row in np.eye(6)]
        a = [Linear(0.2, np.zeros(6), draw)]
        for weight in theta:
            a.append(weight + decay * (a[-1] - weight))
        for n in (1, 4, 6):
            plain = sum(theta[:n], Linear(0.0, np.zeros(6), draw)) / n
            names = {"n": n, "N": n, "s": s, r"\lambda": decay}
            worlds.append(World(names, {"a": a.__getitem__, "M": plain}))
    return worlds


def warmed_decays():
    """1/10, 2/11, 3/12, ... up to the decay, as the library has them to float32."""
    worlds = []
    for decay in (0.9999, 0.5):
        for n in (1, 8, 9, 10, 90_000, 200_000):
            expected = min(decay, 1 - 9 / (n + 9))
            assert float(training.ema_decay_at(n - 1, decay)) == pytest.approx(expected, rel=1e-6)
            table = {n: expected}
            names = {"n": n, r"\lambda": lambda i=None, t=table, d=decay: d if i is None else t[i]}
            worlds.append(World(names))
    return worlds


def gradients_of_batches():
    """Three equally likely gradients of two weights, scaled so that noise and gradient are equal at batches of 2."""
    drawn = np.array([[1.0, 0.5], [-2.0, 1.0], [0.4, 3.0]])
    deviations = drawn - drawn.mean(axis=0)
    spread = (deviations**2).sum(axis=1).mean()
    mean = np.array([0.6, 0.8]) * math.sqrt(spread / 2)
    population = mean + deviations

    def square(B):
        batches = itertools.product(range(3), repeat=B)
        return np.mean([(population[list(batch)].mean(axis=0) ** 2).sum() for batch in batches])

    pairs = itertools.product(range(3), repeat=2)
    noise = np.mean([(deviations[list(pair)].mean(axis=0) ** 2).sum() for pair in pairs])
    assert np.isclose(noise, (mean**2).sum())
    names = {"Q": square, "G": math.hypot(*mean), "S": spread, r"B_\mathrm{noise}": 2}
    return [World(names | {"B": B, "b": b}) for B, b in [(3, 1), (5, 2), (4, 3)]]


def parabolas():
    """The mean loss after a step, over all batches, for three rates; a parabola through them has its highest point."""
    worlds = []
    for h, theta, noise in [(2.0, 0.7, (-1.0, 1.0)), (0.5, -3.0, (-2.0, 0.5, 1.5))]:
        gradients = h * theta + np.array(noise)

        def gain(eta, B, h=h, theta=theta, gradients=gradients):
            steps = [np.mean(batch) for batch in itertools.product(gradients, repeat=B)]
            return h / 2 * (theta**2 - np.mean([(theta - eta * step) ** 2 for step in steps]))

        def best(B, gain=gain):
            a, b, _ = np.polyfit([0.0, 0.5, 1.0], [gain(eta, B) for eta in (0.0, 0.5, 1.0)], 2)
            return -(b**2) / (4 * a)

        spread = np.var(gradients)
        for B in (1, 2, 4):
            names = {
                "B": B,
                "h": h,
                r"\eta": 0.3,
                "G": abs(h * theta),
                "Q": {B: np.mean([np.mean(b) ** 2 for b in itertools.product(gradients, repeat=B)])}.__getitem__,
                "M": gain(0.3, B),
                r"B_\mathrm{noise}": spread / (h * theta) ** 2,
                r"\Delta": best,
                # The true gradient goes straight to the bottom.
                r"\Delta_\infty": h / 2 * theta**2,
            }
            worlds.append(World(names))
    return worlds


CHECKS: dict[str, Check] = {
    "eq-loop-moments": Check(
        "book/57_training_loop.md: m, v",
        ADAM,
        adams,
        ((r"\gamma\, m_{n-1}", "m_{n-1}"), (r"(1 - \rho)", r"\rho"), ("g_n^2", "g_n")),
    ),
    "eq-loop-adam": Check(
        "book/57_training_loop.md: theta",
        ADAM,
        adams,
        ((r"\gamma^n", r"\gamma"), (r"\rho^n", r"\rho"), (r"- \eta", r"+ \eta"), (r"\epsilon", r"2 \epsilon")),
    ),
    "eq-loop-first": Check(
        "book/57_training_loop.md: theta",
        ADAM,
        adams,
        ((r"\frac{g_1}{\sqrt{g_1^2} + \epsilon}", "g_1"), (r"\sqrt{g_1^2}", "g_1^2")),
    ),
    "eq-loop-warmup": Check(
        "ddpm_lib/training.py: LinearWarmup",
        "float64: the same share of the rate is added again and again; the library has these rates to 1e-6.",
        warmups,
        ((r"\frac{n}{N}", r"\frac{n - 1}{N}"), (r"\min", r"\max")),
    ),
    "eq-loop-clip": Check(
        "book/57_training_loop.md: clip",
        "float64: what a step of Keras's gradient descent with clipping takes away, and Pythagoras.",
        clippings,
        ((r"\frac{c}{G}", r"\frac{1}{G}"), (r"\min\left(1, \frac{c}{G}\right)", r"\frac{c}{G}"), (r"g_k^2", "g_k")),
    ),
    "eq-loop-average": Check(
        "ddpm_lib/training.py: update_average",
        AVERAGE + "the weights are random.",
        averages,
        ((r"\lambda\, a_{n-1}", "a_{n-1}"), (r"(1 - \lambda)", r"\lambda"), (r"\theta_n", r"\theta_{n-1}")),
    ),
    "eq-loop-average-sum": Check(
        "book/57_training_loop.md: powers",
        AVERAGE + "the weights are random.",
        averages,
        ((r"\lambda^{n-k}", r"\lambda^{k}"), (r"\lambda^n a_0", "a_0"), (r"(1 - \lambda) \sum", r"\sum")),
    ),
    "eq-loop-age": Check(
        "book/57_training_loop.md: decay",
        "float64: the shares of an old average, multiplied up, times the ages.",
        long_averages,
        ((r"\frac{\lambda}{1 - \lambda}", r"\frac{1}{1 - \lambda}"),),
    ),
    "eq-loop-half-life": Check(
        "book/57_training_loop.md: half_life",
        "float64: bisection for the power of the decay that is one half.",
        long_averages,
        ((r"\log 2", "1"), (r"-\log \lambda", r"1 - \lambda")),
    ),
    "loop-average-variance": Check(
        "book/57_training_loop.md: the text",
        AVERAGE + "every weight is a combination of independent sources.",
        shaking_weights,
        ((r"(1 - \lambda)^2", r"(1 - \lambda)"), ("2 (n - k)", "(n - k)"), ("s^2", "s")),
    ),
    "eq-loop-average-number": Check(
        "book/57_training_loop.md: decay",
        "float64: one over the sum of the squared shares of an old average.",
        long_averages,
        ((r"1 + \lambda", "1"), (r"1 - \lambda", r"1 + \lambda")),
    ),
    "eq-loop-average-warmup": Check(
        "ddpm_lib/training.py: ema_decay_at",
        "float64: 1 - 9 / (n + 9), up to the decay; the library has these to 1e-6.",
        warmed_decays,
        ((r"\min", r"\max"), (r"\frac{n}{n + 9}", r"\frac{n - 1}{n + 8}")),
    ),
    "eq-loop-square": Check(
        "book/57_training_loop.md: mean_square",
        BATCHES + "their mean squared length.",
        gradients_of_batches,
        ((r"\frac{S}{B}", "S"), ("G^2", "G")),
    ),
    "eq-loop-noise-scale": Check(
        "book/57_training_loop.md: truth",
        BATCHES + "the gradients are such that noise and gradient are equal at batches of 2.",
        gradients_of_batches,
        ((r"\frac{S}{G^2}", r"\frac{G^2}{S}"), ("G^2", "G")),
    ),
    "eq-loop-noise-estimate": Check(
        "book/57_training_loop.md: noise_scale",
        BATCHES + "two batch sizes against the mean and the variance of the gradients themselves.",
        gradients_of_batches,
        ((r"B\, Q_B - b\, Q_b", "Q_B - Q_b"), ("{1/b - 1/B}", "{B - b}"), ("Q_b - Q_B", "Q_B - Q_b")),
    ),
    "eq-loop-gain": Check(
        "book/57_training_loop.md: the text",
        BATCHES + "the mean loss after a step for three rates, and the top of the parabola through them.",
        parabolas,
        ((r"1 + B_{\mathrm{noise}} / B", r"1 + B / B_{\mathrm{noise}}"), (r"\Delta_\infty", r"2 \Delta_\infty")),
    ),
}

INLINE = Inline(
    numbers,
    {
        "`root` and `noise_root` look up $#1$ and $#2$.": Says(
            library_steps, r"#1^2 = \bar\alpha_t, \quad #2^2 = 1 - \bar\alpha_t"
        ),
        "have the total weight $#1$ in it": Says(ages_of_gradients, "W = #1"),
        "For $#1$ both averages": Says(lambda: adams()[:1]),
        "starts at the first weights, $#1$. The": Says(averages),
        "A plain mean of $N$ steps would have the variance $#1$.": Says(shaking_weights, r"\operatorname{Var}[M] = #1"),
        "The last column is $#1$, the share": Says(averages, "F = #1"),
        "adding the small move, $#1$, loses": Says(averages, "a_n - a_{n-1} = #1"),
        "up to step 8,991, where $#1$ reaches 0.999.": Says(lambda: [World({"n": 8991})], "#1 = 0.999"),
        "from two batch sizes $#1$. Write": Says(gradients_of_batches),
        r"So its $\epsilon$ counts for more at first, $#1$ times": Says(adams, r"\epsilon = #1 E"),
        "the sum goes to $#1$, and": Says(long_averages, "U = #1", 1e-9),
        "the mean gain is $#1$. Take": Says(parabolas, "M = #1"),
    },
)
