"""What fourteen faults look like: the pictures and curves of the chapter on bugs, with the answers to its riddles.

    python benchmarks/bugs.py [--only a n] [--out data/runs/bugs]

Every case has a letter. Its faulty code runs beside the healthy one, from the same noise and the same seeds: samplers
with the shipped model of digits or with the exact answer for points, trainings with the perceptron of
`training_loop.py` or a small U-Net. Numbers go to `LETTER.json`, pictures to `LETTER.npz`.
"""

from __future__ import annotations

import argparse
import functools
import json
import os
import pathlib
import time
from collections.abc import Callable

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import numpy as np
import tensorflow as tf
import training_loop
from training_loop import SCHEDULE, TRAINING, rounded
from why_noise import sliced

import ddpm_lib
from ddpm_lib import data, sampling, schedules, training
from ddpm_lib.config import PRESETS
from ddpm_lib.exact import GaussianMixture
from ddpm_lib.hardware import compiled
from ddpm_lib.images import from_uint8, to_uint8
from ddpm_lib.unet import SelfAttention

OUT = pathlib.Path(__file__).parents[1] / "data/runs/bugs"
SEEDS = range(8)
SHAPE = (16, 16, 1)
RING = GaussianMixture(
    0.8 * np.stack([np.cos(np.pi / 4 * np.arange(8)), np.sin(np.pi / 4 * np.arange(8))], axis=1), np.ones(8), 0.1
)


# ---- Samplers -------------------------------------------------------------------------------------------------------


def walk(
    predict_noise: Callable,
    x_T: np.ndarray,
    noise_of: Callable,
    num_steps: int,
    fault: str | None = None,
    variance: str = "beta",
) -> tuple[np.ndarray, list[float]]:
    """Take the steps of DDPM as `ddpm_lib.sampling` does, with or without a fault.

    Args:
        predict_noise: of x_t and t.
        x_T: (B, ...) noise.
        noise_of: of the number of the step.
        num_steps: how many of the schedule's steps to visit.
        fault: "neighbour's beta" takes beta_t of the full table although steps are skipped; "last noise" adds noise
            once more at the end; "clipped mean" clips the mean of the step in place of the predicted x_0.
        variance: of the fresh noise.

    Returns:
        The images, and the standard deviation of all numbers after each step.
    """
    visited = schedules.timestep_subsequence(SCHEDULE.num_steps, num_steps)
    x, spreads = np.asarray(x_T, np.float32), []
    for number, (t, t_next) in enumerate(zip(visited, np.append(visited[1:], -1), strict=True)):
        now, after = SCHEDULE.alpha_bars[t], SCHEDULE.alpha_bars[t_next] if t_next >= 0 else 1.0
        if fault == "neighbour's beta":
            after = SCHEDULE.alpha_bars_prev[t]
        beta = 1 - now / after
        noise_pred = np.asarray(predict_noise(x, np.full(len(x), t, np.int32)))
        x_0 = (x - np.sqrt(1 - now) * noise_pred) / np.sqrt(now)
        if fault != "clipped mean":
            x_0 = np.clip(x_0, -1, 1)
        x = np.sqrt(after) * beta / (1 - now) * x_0 + np.sqrt(1 - beta) * (1 - after) / (1 - now) * x
        if fault == "clipped mean":
            x = np.clip(x, -1, 1)
        if t_next >= 0 or fault == "last noise":
            sigma = np.sqrt(beta if variance == "beta" else beta * (1 - after) / (1 - now))
            x = x + sigma * noise_of(number)
        x = x.astype(np.float32)
        spreads.append(float(x.std()))
    return x, spreads


@functools.cache
def walk_of_digits(num_steps, fault=None, variance="beta"):
    """Take the steps with the shipped model, from eight seeds."""
    noise_of = sampling.noise_per_image(SEEDS, SHAPE)
    return walk(ddpm_lib.load("digits").predict_noise, noise_of(-1), noise_of, num_steps, fault, variance)


def neighbours_beta():
    """The betas of the full table in a walk that skips steps."""
    numbers, pictures = {}, {}
    for num_steps in (250, 100, 25):
        for name, fault in (("healthy", None), ("case", "neighbour's beta")):
            x, spreads = walk_of_digits(num_steps, fault, "posterior")
            pictures[f"{name}_{num_steps}"] = to_uint8(x)
            numbers[f"{name}_{num_steps}"] = {"spread": spreads[-1]}
    return numbers, pictures


def last_noise():
    """Fresh noise at the last step, too: `walk` with this fault, whose other steps are those of the healthy walk."""
    numbers, pictures = {}, {}
    for num_steps in (1000, 250, 100):
        x, _ = walk_of_digits(num_steps)
        last = schedules.timestep_subsequence(1000, num_steps)[-1]
        fresh = sampling.noise_per_image(SEEDS, SHAPE)(num_steps - 1)
        noisy = x + np.float32(np.sqrt(1 - SCHEDULE.alpha_bars[last])) * fresh
        background = x < -0.98
        numbers[str(num_steps)] = {
            "healthy": float(np.sqrt(np.mean((x[background] + 1) ** 2))),
            "case": float(np.sqrt(np.mean((noisy[background] + 1) ** 2))),
            "below": float(np.mean(noisy[background] < -1)),
        }
        pictures |= {f"healthy_{num_steps}": to_uint8(x), f"case_{num_steps}": to_uint8(noisy)}
    return numbers, pictures


def clipped_mean():
    """The mean of each step clipped in place of the predicted image."""
    numbers, pictures = {}, {}
    for name, fault in (("healthy", None), ("case", "clipped mean")):
        x, spreads = walk_of_digits(1000, fault)
        pictures[name] = to_uint8(x)
        numbers[name] = {"spread": spreads[::20], "ink": float(np.mean(x > 0)), "end": spreads[-1]}
    return numbers, pictures


def wrapped():
    """Numbers beyond [-1, 1] turned into bytes without clipping."""
    noise_of = sampling.noise_per_image(SEEDS, SHAPE)
    model = ddpm_lib.load("digits")
    x = np.asarray(sampling.ddim_sample(model.predict_noise, SCHEDULE, noise_of(-1), num_steps=50, clip=False))
    # By way of whole numbers: what a cast of a float does that is no byte depends on the machine.
    bytes_of = np.rint(127.5 * (x + 1)).astype(np.int64).astype(np.uint8)
    pictures = {"healthy": to_uint8(x), "case": bytes_of}
    differ = pictures["healthy"] != bytes_of
    numbers = {
        "least": float(x.min()),
        "most": float(x.max()),
        "changed": float(differ.mean()),
        "healthy_values": sorted({int(value) for value in pictures["healthy"][differ]}),
    }
    return numbers, pictures


def same_start():
    """Twelve images in batches of four, whose first noise is drawn once."""
    model, pictures = ddpm_lib.load("digits"), {}
    for name, seeds in (("healthy", range(12)), ("case", [0, 1, 2, 3] * 3)):
        x = sampling.sample_images(model, sampling.ddim_sample, list(seeds), batch_size=4, num_steps=50)
        pictures[name] = to_uint8(x)
    distinct = {name: len({image.tobytes() for image in images}) for name, images in pictures.items()}
    return {"distinct": distinct}, pictures


def off_by_one():
    """DDIM on points, whose next alpha_bar is read one place too far in the list of visited steps."""
    rng = np.random.default_rng(0)
    x_T, numbers, points = rng.standard_normal((2000, 2)), {"truth": RING.deviation}, {}
    for num_steps in (50, 100, 250, 1000):
        bars = np.append(SCHEDULE.alpha_bars[schedules.timestep_subsequence(1000, num_steps)], [1.0, 1.0])
        for name, shift in (("healthy", 1), ("case", 2)):
            x = x_T
            for number in range(num_steps):
                now, after = bars[number], bars[number + shift]
                noise = RING.expected_noise(x, now)
                x = np.sqrt(after) * (x - np.sqrt(1 - now) * noise) / np.sqrt(now) + np.sqrt(1 - after) * noise
            nearest = ((x[:, None] - RING.means) ** 2).sum(axis=2).min(axis=1)
            numbers[f"{name}_{num_steps}"] = float(np.sqrt(nearest.mean() / 2))
            if num_steps == 50:
                points[name] = x[:400].astype(np.float16)
    points["data"] = RING.sample(400, rng).astype(np.float16)
    return numbers, points


# ---- Trainings ------------------------------------------------------------------------------------------------------


class Run(training_loop.Run):
    """A training of the perceptron with one of this chapter's faults: "one t" for a batch, or "fixed batches"."""

    def draw_steps(self, shape):
        """Draw t for every image, or once for every batch."""
        drawn = super().draw_steps(shape)
        return np.repeat(drawn[:, :1], shape[1], axis=1) if self.settings.get("fault") == "one t" else drawn

    def images(self, step):
        """The images of a step; the fixed batches of an epoch come in a new order, with the same images in each."""
        if self.settings.get("fault") != "fixed batches":
            return super().images(step)
        batch = self.settings["batch"]
        epoch, place = divmod(step, len(TRAINING) // batch)
        order = np.random.default_rng([self.seed, 2, epoch]).permutation(len(TRAINING) // batch)
        return TRAINING[order[place] * batch : (order[place] + 1) * batch]

    def pictures(self, mode):
        """Sample eight digits as bytes."""
        return to_uint8(self.samples(mode, 8))


def small_range():
    """Pictures scaled to [0, 1]."""
    numbers, pictures = {}, {}
    for name, fault in (("healthy", None), ("case", "range")):
        run = Run(0, {"fault": fault})
        run.train(3000)
        x = run.samples("0.999 warmed")
        pictures[name] = to_uint8(x[:16])
        numbers[name] = {
            "loss": float(np.mean(run.losses[-200:])),
            "mean": float(x.mean()),
            "least": float(np.quantile(x, 0.01)),
            "most": float(np.quantile(x, 0.99)),
            "histogram": (np.histogram(x, 20, (-1, 1))[0] / x.size).tolist(),
        }
    return numbers, pictures


def dropped():
    """Dropout that stays on while sampling."""
    unet = {"widths": (16, 32), "blocks_per_level": 1, "heads": 2, "attention_dim": 32, "time_dim": 64, "dropout": 0.2}
    settings = {"epochs": 1, "steps_per_epoch": 450, "batch_size": 32, "learning_rate": 4e-3, "warmup_steps": 30}
    config = PRESETS["digits16"].replace(unet=unet, train=settings | {"ema_decay": 0.98})
    keras.utils.set_random_seed(0)
    trainer = training.DiffusionTrainer(config)
    digits = data.load_images(config.data, config.unet)
    training.fit_run(trainer, digits, verbose=0)
    network = trainer.ema_network
    x_T = sampling.noise_per_image(SEEDS, SHAPE)(-1)
    functions = {
        "healthy": compiled(network),
        "case": tf.function(lambda x_t, t: network([x_t, t], training=True)),
    }
    numbers, pictures = {}, {}
    for name, predict_noise in functions.items():
        twice = [np.asarray(sampling.ddim_sample(predict_noise, SCHEDULE, x_T)) for _ in range(2)]
        pictures |= {f"{name}_{i}": to_uint8(x) for i, x in enumerate(twice)}
        noise = sampling.noise_per_image(range(64), SHAPE)(-1)
        x = np.asarray(sampling.ddim_sample(predict_noise, SCHEDULE, noise))
        numbers[name] = {
            "difference": float(np.abs(twice[0] - twice[1]).max()),
            "distance": sliced(x, from_uint8(digits)),
        }
    return numbers, pictures


def raw_weights():
    """Samples of the last weights from checkpoint to checkpoint, where those of the average were meant."""
    run = Run(0, {"rate": 4e-3})
    run.train(3000)
    numbers, pictures = {"loss": [], "healthy": [], "case": []}, {}
    for checkpoint in range(6):
        run.train(100)
        numbers["loss"].append(float(np.mean(run.losses[-100:])))
        for name, mode in (("healthy", "0.999 warmed"), ("case", "raw")):
            numbers[name].append(run.distance(mode))
            if checkpoint < 4:
                pictures[f"{name}_{checkpoint}"] = run.pictures(mode)
    return numbers, pictures


def one_t():
    """One t for all images of a batch."""
    numbers = {}
    for name, fault in (("healthy", None), ("case", "one t")):
        run = Run(0, {"fault": fault})
        run.train(1500)
        numbers[name] = {
            "loss": run.losses[-300:],
            "mean": float(np.mean(run.losses[-1000:])),
            "spread": float(np.std(run.losses[-1000:])),
            "distance": run.distance("0.999 warmed"),
        }
    return numbers, {}


def fixed_batches():
    """Batches whose images are the same in every epoch."""
    numbers, pictures = {}, {}
    for name, fault in (("healthy", None), ("case", "fixed batches")):
        run = Run(0, {"fault": fault})
        epoch = len(TRAINING) // run.settings["batch"]
        for i, step in enumerate((0, 1, epoch, epoch + 1)):
            pictures[f"{name}_{i}"] = to_uint8(run.images(step).reshape(-1, 8, 8, 1)[::6][:10])
        run.train(1500)
        numbers[name] = {
            "mean": float(np.mean(run.losses[-1000:])),
            "spread": float(np.std(run.losses[-1000:])),
            "distance": run.distance("0.999 warmed"),
            "held_out": float(np.mean(run.held_out("0.999 warmed"))),
        }
    return numbers, pictures


def equal_replicas():
    """How much the mean loss of several devices varies, with noise and t of their own and with equal ones.

    The answers are exact: the pictures are 600 narrow bells.
    """
    share, repeats, rng = 16, 400, np.random.default_rng(0)
    bells = GaussianMixture(TRAINING[:: len(TRAINING) // 600][:600], np.ones(600), 0.1)

    def losses(x_0, t, noise):
        bars = SCHEDULE.alpha_bars[t]
        x_t = np.sqrt(bars)[:, None] * x_0 + np.sqrt(1 - bars)[:, None] * noise
        answers = [bells.expected_noise(x[None], bar)[0] for x, bar in zip(x_t, bars, strict=True)]
        return ((noise - answers) ** 2).mean(axis=1)

    numbers = {"replicas": [1, 2, 4, 8], "healthy": [], "case": []}
    for replicas in numbers["replicas"]:
        size = share * replicas
        for name in ("healthy", "case"):
            means = []
            for _ in range(repeats):
                t, noise = rng.integers(0, 1000, size), rng.standard_normal((size, 64))
                if name == "case":
                    t, noise = np.tile(t[:share], replicas), np.tile(noise[:share], (replicas, 1))
                means.append(losses(bells.sample(size, rng), t, noise).mean())
            numbers[name].append(float(np.std(means)))
    return numbers, {}


def unscaled_loss():
    """Gradients in float16 with and without a scaled loss, for larger and larger pictures, against float64.

    The network is a layer from 3 to 16 channels at every pixel, a square, and a head back to 3 with small weights. Sums
    are exact, as a tensor core nearly makes them; what is written down is rounded.
    """
    numbers = {"sides": [8, 16, 32, 64, 128], "healthy": [], "case": [], "zero": []}
    for side in numbers["sides"]:
        _, exact = layer_gradients(side, np.float64)
        for name, scale in (("healthy", 2.0**15), ("case", 1.0)):
            features, kernel = layer_gradients(side, np.float16, scale)
            gap = kernel.astype(np.float64) / scale - exact
            numbers[name].append(float(np.linalg.norm(gap) / np.linalg.norm(exact)))
        numbers["zero"].append(float(np.mean(features == 0)))
    return numbers | {"unet": unscaled_unet()}, {}


def layer_gradients(side, dtype, scale=1.0):
    """Gradients by the features and by the first kernel, for 16 pictures of a size."""
    rng = np.random.default_rng(0)
    kernel, head = rng.standard_normal((3, 16)), 1e-3 * rng.standard_normal((16, 3))
    x, noise = rng.standard_normal((2, 16 * side**2, 3))
    x, kernel, head = (array.astype(dtype) for array in (x, kernel, head))

    def product(a, b):
        return (a.astype(np.float64) @ b.astype(np.float64)).astype(dtype)

    before = product(x, kernel)
    error = (before * before).astype(np.float64) @ head.astype(np.float64) - noise
    by_output = (scale * 2 * error / error.size).astype(dtype)
    by_features = product(by_output, head.T)
    return by_features, product(x.T, dtype(2) * before * by_features)


def unscaled_unet():
    """Train a small U-Net on small pictures under both precisions, and under float16 with and without a scale."""
    unet = {"widths": (8, 16), "blocks_per_level": 1, "attention_dim": 16, "time_dim": 32}
    digits = data.load_images(PRESETS["digits16"].data, PRESETS["digits16"].unet)
    losses = {}
    for name, precision, scaled in (
        ("float32", "float32", False),
        ("case", "mixed_float16", False),
        ("healthy", "mixed_float16", True),
    ):
        settings = {"precision": precision, "epochs": 1, "steps_per_epoch": 150, "batch_size": 16}
        config = PRESETS["digits16"].replace(unet=unet, train=settings | {"learning_rate": 1e-3})
        keras.utils.set_random_seed(0)
        trainer = training.DiffusionTrainer(config)
        adam = keras.optimizers.Adam(training.LinearWarmup(1e-3, 100), global_clipnorm=1.0)
        trainer.compile(keras.optimizers.LossScaleOptimizer(adam) if scaled else adam)
        training.fit_run(trainer, digits, verbose=0)
        losses[name] = trainer.finish_epoch()["loss"]
    return losses


# ---- A layer --------------------------------------------------------------------------------------------------------


class NormalizedResidual(SelfAttention):
    """Adds what attention found to the normalized copy of the input."""

    def call(self, x):
        """Map x (B, H, W, C) to the same shape."""
        return super().call(x) - x + self.norm(x)


def residual_after_norm():
    """A new attention layer is given inputs of all sizes."""
    x = np.random.default_rng(0).standard_normal((4, 8, 8, 16)).astype(np.float32)
    numbers = {"scales": [0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 100.0]}
    for name, layer in (("healthy", SelfAttention(2, 16)), ("case", NormalizedResidual(2, 16))):
        outputs = [np.asarray(layer(scale * x)) for scale in numbers["scales"]]
        numbers[name] = [float(output.std()) for output in outputs]
    return numbers, {}


CASES = {
    "a": neighbours_beta,
    "b": last_noise,
    "c": small_range,
    "d": wrapped,
    "e": dropped,
    "f": same_start,
    "g": raw_weights,
    "h": clipped_mean,
    "i": off_by_one,
    "j": one_t,
    "k": fixed_batches,
    "l": equal_replicas,
    "m": unscaled_loss,
    "n": residual_after_norm,
}


def main() -> None:
    """Do every case, or those that are named, and write each down when it is done."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="*", default=list(CASES), help="letters of cases to do; default: all")
    parser.add_argument("--out", type=pathlib.Path, default=OUT, help="folder to write to")
    flags = parser.parse_args()
    flags.out.mkdir(parents=True, exist_ok=True)
    for letter in flags.only:
        start = time.perf_counter()
        numbers, pictures = CASES[letter]()
        (flags.out / f"{letter}.json").write_text(json.dumps(rounded(numbers)) + "\n", "utf8")
        if pictures:
            np.savez_compressed(flags.out / f"{letter}.npz", **pictures)
        print(f"{letter}: {time.perf_counter() - start:.0f} s", flush=True)


if __name__ == "__main__":
    main()
