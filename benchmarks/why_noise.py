"""Why predict the noise? The same network and budget with three targets: the clean image, the noise, and v.

    python benchmarks/why_noise.py [--seeds 3] [--points_steps 3000] [--digits_steps 800]

Two problems: points in the plane, for which the best answer is known exactly, and the handwritten digits at 8x8 pixels,
of which some are kept out of training. For each target and seed: how far the loss jumps from step to step, the share of
each quarter of t in the squared gradient norm, the errors of the noise and of the image that an answer implies, and the
distance of samples from the data. On the points also how well it is learned at higher and higher learning rates. Writes
`data/runs/why_noise/points.json` and `digits.json`.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import pathlib
import time
from collections.abc import Callable

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import numpy as np
import tensorflow as tf
from keras import layers, ops
from scipy.stats import wasserstein_distance
from sklearn.datasets import load_digits

from ddpm_lib import diffusion, sampling, schedules
from ddpm_lib.config import UNetConfig
from ddpm_lib.exact import GaussianMixture
from ddpm_lib.unet import SinusoidalEmbedding, build_unet

OUT = pathlib.Path(__file__).parents[1] / "data/runs/why_noise"
SCHEDULE = schedules.linear_schedule()
TARGETS = ("x_0", "noise", "v")
QUARTERS = 4
LADDER = (1e-3, 3e-3, 1e-2, 3e-2, 1e-1)  # learning rates
EARLY = 0.05  # the part of the training after which gradients are first compared
NUM_PROBES = 4096  # noisy images a quarter, for errors
NUM_SAMPLES = 512


@dataclasses.dataclass(frozen=True)
class Problem:
    """What is learned, by which network, and what it is compared with."""

    training: np.ndarray
    held_out: np.ndarray
    build: Callable[[], keras.Model]
    num_steps: int
    batch_size: int
    learning_rate: float
    exact: GaussianMixture | None = None


def points(num_steps: int) -> Problem:
    """Eight narrow bells on a ring within the unit circle, and a perceptron with three hidden layers."""
    angles = 2 * np.pi * np.arange(8) / 8
    exact = GaussianMixture(0.8 * np.stack([np.cos(angles), np.sin(angles)], axis=1), np.ones(8), 0.06)
    rng = np.random.default_rng(0)

    def build():
        x, t = keras.Input((2,)), keras.Input((), dtype="int32")
        h = layers.Concatenate()([x, layers.Dense(64, "silu")(SinusoidalEmbedding(64)(t))])
        for _ in range(3):
            h = layers.Dense(128, "silu")(h)
        return keras.Model([x, t], layers.Dense(2, kernel_initializer="zeros")(h))

    return Problem(*(exact.sample(n, rng) for n in (20_000, 5_000)), build, num_steps, 256, 2e-3, exact)


def digits(num_steps: int) -> Problem:
    """The handwritten digits as they are, 8x8, and a small U-Net."""
    pictures = (load_digits().images[..., None] / 8 - 1).astype(np.float32)
    pictures = pictures[np.random.default_rng(0).permutation(len(pictures))]
    unet = UNetConfig(8, 1, (24, 48), 1, attention_resolutions=(), heads=2, attention_dim=32, time_dim=64)
    return Problem(pictures[:1500], pictures[1500:], lambda: build_unet(unet), num_steps, 64, 2e-3)


def target_of(target, x_0, t, noise):
    """What the network should answer."""
    return x_0 if target == "x_0" else diffusion.prediction_target(target, SCHEDULE, x_0, t, noise)


def implied(target, x_t, t, answer):
    """The image and the noise that an answer implies."""
    if target == "x_0":
        return answer, diffusion.noise_from_x_0(SCHEDULE, x_t, t, answer)
    if target == "v":
        return diffusion.x_0_from_v(SCHEDULE, x_t, t, answer), diffusion.noise_from_v(SCHEDULE, x_t, t, answer)
    return diffusion.x_0_from_noise(SCHEDULE, x_t, t, answer), answer


def draw(images, rng, count, quarter=None):
    """Draw images, steps (of one quarter) and noise."""
    length = SCHEDULE.num_steps // QUARTERS
    low, high = (0, SCHEDULE.num_steps) if quarter is None else (quarter * length, (quarter + 1) * length)
    x_0 = images[rng.integers(len(images), size=count)].astype(np.float32)
    return x_0, rng.integers(low, high, count, dtype=np.int32), rng.standard_normal(x_0.shape, dtype=np.float32)


class Run:
    """The trainings of one target: a compiled step, and what is measured on the way."""

    def __init__(self, problem: Problem, target: str):
        self.problem, self.target = problem, target
        self.network = problem.build()
        variables = self.network.trainable_variables
        self.optimizer = keras.optimizers.Adam()
        self.optimizer.build(variables)

        @tf.function
        def step(x_0, t, noise, learn):
            with tf.GradientTape() as tape:
                answer = self.network([diffusion.add_noise(SCHEDULE, x_0, t, noise), t])
                loss = ops.mean(ops.square(target_of(target, x_0, t, noise) - answer))
            gradients = tape.gradient(loss, variables)
            if learn:
                self.optimizer.apply(gradients, variables)
            return loss, tf.add_n([tf.reduce_sum(tf.square(gradient)) for gradient in gradients])

        self.step = step
        self.answer = tf.function(lambda x_t, t: self.network([x_t, t]), reduce_retracing=True)

    def train(self, seed: int, num_steps: int, rate: float) -> dict:
        """Start anew and take all steps; return the jumps of the loss and the gradients early and late."""
        self.seed = seed
        keras.utils.set_random_seed(seed)
        self.network.set_weights(self.problem.build().get_weights())
        for variable in self.optimizer.variables:
            variable.assign(ops.zeros_like(variable))
        rng, losses, shares = np.random.default_rng([seed, 1]), [], {}
        for number in range(num_steps):
            if number == int(EARLY * num_steps):
                shares["gradient_early"] = self.gradient_shares()
            # A cosine from the rate to 0.
            self.optimizer.learning_rate.assign(rate * (1 + np.cos(np.pi * number / num_steps)) / 2)
            batch = draw(self.problem.training, rng, self.problem.batch_size)
            losses.append(float(self.step(*batch, tf.constant(True))[0]))
        shares["gradient_late"] = self.gradient_shares()
        logs = np.log(losses[num_steps // 4 :])
        return {"jump": float(np.diff(logs).std()), "last_loss": float(np.mean(losses[-200:])), **shares}

    def gradient_shares(self) -> list[float]:
        """Share of each quarter of t in the squared gradient norm of a batch, on average over 16 batches."""
        rng = np.random.default_rng([self.seed, 2])
        squares = np.zeros(QUARTERS)
        for quarter in range(QUARTERS):
            for _ in range(16):
                batch = draw(self.problem.training, rng, self.problem.batch_size, quarter)
                squares[quarter] += float(self.step(*batch, tf.constant(False))[1])
        return (squares / squares.sum()).tolist()

    def errors(self) -> dict:
        """Mean squared errors of noise and image by quarter, against the exact answer if there is one."""
        rng = np.random.default_rng([self.seed, 3])
        found = {"noise_error": [], "image_error": []}
        for quarter in range(QUARTERS):
            x_0, t, noise = draw(self.problem.held_out, rng, NUM_PROBES, quarter)
            x_t = np.asarray(diffusion.add_noise(SCHEDULE, x_0, t, noise))
            if self.problem.exact is not None:
                noise = self.problem.exact.predict_noise(SCHEDULE)(x_t, t)
                x_0 = np.asarray(diffusion.x_0_from_noise(SCHEDULE, x_t.astype(np.float64), t, noise))
            image_pred, noise_pred = implied(self.target, x_t, t, self.answer(x_t, t))
            found["noise_error"].append(float(np.mean((noise_pred - noise) ** 2)))
            found["image_error"].append(float(np.mean((image_pred - x_0) ** 2)))
        return found

    def distance(self, clip: bool) -> float:
        """Sliced Wasserstein distance of samples from the data: 50 DDPM steps."""
        rng = np.random.default_rng([self.seed, 4])
        shape = (NUM_SAMPLES, *self.problem.training.shape[1:])

        def predict_noise(x_t, t):
            return implied(self.target, x_t, t, self.answer(x_t, t))[1]

        samples = sampling.ddpm_sample(
            predict_noise,
            SCHEDULE,
            rng.standard_normal(shape, dtype=np.float32),
            num_steps=50,
            noise_fn=lambda number: rng.standard_normal(shape, dtype=np.float32),
            variance="posterior",
            clip=clip,
        )
        return sliced(np.asarray(samples), self.problem.training)


def sliced(first, second) -> float:
    """Mean Wasserstein-1 distance of two sets over 128 random directions of length 1."""
    first, second = first.reshape(len(first), -1), second.reshape(len(second), -1)
    directions = np.random.default_rng(0).standard_normal((first.shape[1], 128))
    directions /= np.linalg.norm(directions, axis=0)
    pairs = zip((first @ directions).T, (second @ directions).T, strict=True)
    return float(np.mean([wasserstein_distance(a, b) for a, b in pairs]))


def mean_answer(problem: Problem) -> list[float]:
    """The image error by quarter of somebody who always answers the mean of the training images."""
    rng, mean, found = np.random.default_rng(5), problem.training.mean(axis=0), []
    for quarter in range(QUARTERS):
        x_0, t, noise = draw(problem.held_out, rng, NUM_PROBES, quarter)
        if problem.exact is not None:
            x_t = np.asarray(diffusion.add_noise(SCHEDULE, x_0, t, noise), np.float64)
            x_0 = np.asarray(diffusion.x_0_from_noise(SCHEDULE, x_t, t, problem.exact.predict_noise(SCHEDULE)(x_t, t)))
        found.append(float(np.mean((x_0 - mean) ** 2)))
    return found


def missed(run: Run) -> float:
    """Of what is to be learned about the target, the share that was missed: 1 for a network that answers 0."""
    rng = np.random.default_rng([run.seed, 6])
    x_0, t, noise = draw(run.problem.held_out, rng, NUM_PROBES)
    x_t = np.asarray(diffusion.add_noise(SCHEDULE, x_0, t, noise))
    best_noise = run.problem.exact.predict_noise(SCHEDULE)(x_t, t)
    best_x_0 = diffusion.x_0_from_noise(SCHEDULE, x_t, t, best_noise)
    best = np.asarray(target_of(run.target, best_x_0, t, best_noise))
    return float(np.mean((run.answer(x_t, t) - best) ** 2) / np.mean(best**2))


def measure(problem: Problem, seeds: int) -> dict:
    """Train every target with every seed."""
    results = {}
    for target in TARGETS:
        run, runs = Run(problem, target), []
        for seed in range(seeds):
            start = time.perf_counter()
            found = run.train(seed, problem.num_steps, problem.learning_rate)
            found |= run.errors() | {"distance": run.distance(False)}
            runs.append(found | {"distance_clipped": run.distance(True)})
            print(f"{target}, seed {seed}: {time.perf_counter() - start:.0f} s, {runs[-1]}", flush=True)
        results[target] = {key: [rounded(each[key]) for each in runs] for key in runs[0]}
    return {
        "steps": problem.num_steps,
        "batch_size": problem.batch_size,
        "learning_rate": problem.learning_rate,
        "weights": problem.build().count_params(),
        "training": len(problem.training),
        "samples": NUM_SAMPLES,
        "mean_answer": rounded(mean_answer(problem)),
        "distance_of_data": rounded(sliced(problem.held_out[:NUM_SAMPLES], problem.training)),
        "targets": results,
    }


def ladder(problem: Problem, seeds: int) -> dict:
    """Train for an eighth of the budget at each learning rate: the share of the answer that is missed."""
    found = {}
    for target in TARGETS:
        run, found[target] = Run(problem, target), []
        for rate in LADDER:
            found[target].append([])
            for seed in range(seeds):
                run.train(seed, problem.num_steps // 8, rate)
                found[target][-1].append(rounded(missed(run)))
            print(f"{target}, rate {rate:g}: missed {found[target][-1]}", flush=True)
    return {"rates": LADDER, "missed": found}


def rounded(value):
    """Four digits are enough."""
    return [rounded(each) for each in value] if isinstance(value, list) else float(f"{value:.4g}")


def main() -> None:
    """Train all and write the results down."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--points_steps", type=int, default=3000)
    parser.add_argument("--digits_steps", type=int, default=800)
    parser.add_argument("--out", type=pathlib.Path, default=OUT, help="folder to write to")
    flags = parser.parse_args()
    flags.out.mkdir(parents=True, exist_ok=True)

    problem = points(flags.points_steps)
    results = measure(problem, flags.seeds) | {"ladder": ladder(problem, flags.seeds)}
    (flags.out / "points.json").write_text(json.dumps(results, indent=1) + "\n")
    results = measure(digits(flags.digits_steps), flags.seeds)
    (flags.out / "digits.json").write_text(json.dumps(results, indent=1) + "\n")


if __name__ == "__main__":
    main()
