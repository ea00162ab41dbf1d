"""What the parts of a training loop do: the same small network, trained with and without each of them.

    python benchmarks/training_loop.py [--only warmup batch] [--out data/runs/training_loop]

The handwritten digits at 8x8 pixels, of which some are kept out of training, and a perceptron with three hidden layers.
All its weights lie in one vector, which makes Adam, clipping and several averages of the weights a few operations each,
so that 100,000 steps take minutes. One file of results for each experiment: `long` (10,000 steps: averages, clipping,
quarters of t, the gradient noise scale), `warmup`, `clipping`, `batch` and `faults`. A run that is already in its file
is not done again, so a command that was stopped goes on where it was.
"""

from __future__ import annotations

import argparse
import json
import os
import pathlib
import time

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np
import tensorflow as tf
from sklearn.datasets import load_digits
from why_noise import sliced

from ddpm_lib import sampling, schedules
from ddpm_lib.images import make_grid, save_png, to_uint8

OUT = pathlib.Path(__file__).parents[1] / "data/runs/training_loop"
SCHEDULE = schedules.linear_schedule()
NUM_STEPS, QUARTERS = SCHEDULE.num_steps, 4
PIXELS, WIDTH, CODE, LAYERS = 64, 128, 64, 3
NUM_SAMPLES = 512
CHUNK = 50  # steps of one call
MODES = ("0.99", "0.999", "0.9999", "0.999 warmed", "0.9999 warmed")  # averages that are kept side by side
BASE = {"batch": 64, "rate": 1e-3, "warmup": 100, "clip": 1.0}
SEEDS = (0, 1, 2)


def pictures() -> tuple[np.ndarray, np.ndarray]:
    """Return training and held-out digits, (N, 64) in [-1, 1], the former in the order of their labels."""
    digits = load_digits()
    order = np.random.default_rng(0).permutation(len(digits.data))
    train, held_out = order[:1500], order[1500:]
    train = train[np.argsort(digits.target[train], kind="stable")]
    return tuple((digits.data[part] / 8 - 1).astype(np.float32) for part in (train, held_out))


def codes() -> np.ndarray:
    """Return the sinusoidal code of every step: (T, CODE)."""
    angles = np.arange(NUM_STEPS)[:, None] * 10_000.0 ** (-np.arange(0, CODE, 2) / CODE)
    return np.concatenate([np.sin(angles), np.cos(angles)], axis=1).astype(np.float32)


SHAPES = [
    shape for layer in range(LAYERS) for shape in ((PIXELS if layer == 0 else WIDTH, WIDTH), (CODE, WIDTH), (WIDTH,))
] + [(WIDTH, PIXELS)]
SIZES = [int(np.prod(shape)) for shape in SHAPES]
TRAINING, HELD_OUT = pictures()
CODES = codes()
ROOTS, NOISE_ROOTS = (np.sqrt(bars).astype(np.float32) for bars in (SCHEDULE.alpha_bars, 1 - SCHEDULE.alpha_bars))


def first_weights(seed: int) -> np.ndarray:
    """Draw the weights: Glorot's rule, and an output layer of 0, so that the first loss is 1."""
    rng = np.random.default_rng([seed, 0])
    parts = [
        rng.standard_normal(shape) * np.sqrt(2 / sum(shape)) if len(shape) == 2 else np.zeros(shape)
        for shape in SHAPES[:-1]
    ]
    return np.concatenate([part.ravel() for part in [*parts, np.zeros(SHAPES[-1])]]).astype(np.float32)


def network(weights, x_t, t):
    """Predict the noise in x_t, (B, 64), with the weights in one vector."""
    parts = [tf.reshape(part, shape) for part, shape in zip(tf.split(weights, SIZES), SHAPES, strict=True)]
    code, h = tf.gather(CODES, t), x_t
    for layer in range(LAYERS):
        kernel, of_code, bias = parts[3 * layer : 3 * layer + 3]
        new = tf.nn.silu(h @ kernel + code @ of_code + bias)
        h = new if layer == 0 else h + new
    return h @ parts[-1]


def errors_of(weights, x_0, t, noise, target):
    """Squared error of the prediction for each image, by Algorithm 1."""
    x_t = tf.gather(ROOTS, t)[:, None] * x_0 + tf.gather(NOISE_ROOTS, t)[:, None] * noise
    return tf.reduce_mean(tf.square(target - network(weights, x_t, t)), axis=1)


def gradient_of(weights, *batch):
    """Return errors and gradient of one batch."""
    with tf.GradientTape() as tape:
        tape.watch(weights)
        errors = errors_of(weights, *batch)
        loss = tf.reduce_mean(errors)
    return errors, tape.gradient(loss, weights)


@tf.function(reduce_retracing=True)
def squared_norms(weights, x_0, t, noise):
    """Squared gradient norms of batches (N, B, ...): the mean over the N, and that of the one batch of all."""
    total, squares = tf.zeros_like(weights), 0.0
    for number in tf.range(tf.shape(t)[0]):
        _, gradient = gradient_of(weights, x_0[number], t[number], noise[number], noise[number])
        total, squares = total + gradient, squares + tf.reduce_sum(tf.square(gradient))
    count = tf.cast(tf.shape(t)[0], tf.float32)
    return squares / count, tf.reduce_sum(tf.square(total / count))


class State:
    """What a training carries from step to step: one of them for all runs, so that a step is compiled once."""

    def __init__(self):
        size = sum(SIZES)
        self.weights, self.first, self.second = (tf.Variable(tf.zeros(size)) for _ in range(3))
        self.averages, self.number = tf.Variable(tf.zeros((len(MODES), size))), tf.Variable(0.0)

    def start(self, weights: np.ndarray) -> None:
        """Begin a new training from some weights."""
        self.weights.assign(weights)
        self.averages.assign(np.tile(weights, (len(MODES), 1)))
        for variable in (self.first, self.second, self.number):
            variable.assign(tf.zeros_like(variable))

    @tf.function(reduce_retracing=True)
    def steps(self, x_0, t, noise, target, rates, clip, decays):
        """Take a stretch of steps, each with a batch of its own; return the errors and the gradient norms."""
        count = tf.shape(t)[0]
        errors, norms = tf.TensorArray(tf.float32, count), tf.TensorArray(tf.float32, count)
        for k in tf.range(count):
            found, gradient = gradient_of(self.weights.value(), x_0[k], t[k], noise[k], target[k])
            norm = tf.norm(gradient)
            gradient *= tf.minimum(1.0, clip / norm)
            n = self.number.assign_add(1.0)
            self.first.assign(0.9 * self.first + 0.1 * gradient)
            self.second.assign(0.999 * self.second + 0.001 * tf.square(gradient))
            mean, square = self.first / (1 - 0.9**n), self.second / (1 - 0.999**n)
            self.weights.assign_sub(rates[k] * mean / (tf.sqrt(square) + 1e-7))
            share = decays[k][:, None]
            self.averages.assign(share * self.averages + (1 - share) * self.weights[None])
            errors, norms = errors.write(k, found), norms.write(k, norm)
        return errors.stack(), norms.stack()


class Run:
    """One training, and what is measured on the way."""

    predict = staticmethod(tf.function(network, reduce_retracing=True))
    measure = staticmethod(tf.function(errors_of, reduce_retracing=True))
    state = None

    def __init__(self, seed: int, settings: dict):
        self.seed, self.settings = seed, BASE | settings
        Run.state = Run.state or State()
        self.state.start(first_weights(seed))
        self.step, self.order = 0, (-1, None)
        self.rng = np.random.default_rng([seed, 1])
        self.losses, self.norms, self.quarters, self.seconds = [], [], [], 0.0

    def images(self, step: int) -> np.ndarray:
        """The images of a step: each epoch in a new order, or always in that of the labels."""
        batch, fault = self.settings["batch"], self.settings.get("fault")
        epoch, place = divmod(step, len(TRAINING) // batch)
        if self.order[0] != epoch:
            shuffled = np.random.default_rng([self.seed, 2, epoch]).permutation(len(TRAINING))
            self.order = (epoch, np.arange(len(TRAINING)) if fault == "no shuffle" else shuffled)
        x_0 = TRAINING[self.order[1][place * batch : (place + 1) * batch]]
        if step == self.settings.get("bad_step"):
            return 100 * x_0
        return (x_0 + 1) / 2 if fault == "range" else x_0

    def draw_steps(self, shape: tuple[int, int]) -> np.ndarray:
        """Draw t for every image of every batch."""
        last = 3 * NUM_STEPS // QUARTERS if self.settings.get("fault") == "last quarter" else NUM_STEPS
        return self.rng.integers(0, last, shape, dtype=np.int32)

    def train(self, num_steps: int) -> None:
        """Take some steps more."""
        settings, fault = self.settings, self.settings.get("fault")
        while num_steps:
            count = min(CHUNK, num_steps)
            steps = self.step + np.arange(count)
            x_0 = np.stack([self.images(step) for step in steps])
            t = self.draw_steps(x_0.shape[:2])
            noise = self.rng.standard_normal(x_0.shape, dtype=np.float32)
            target = self.rng.standard_normal(x_0.shape, dtype=np.float32) if fault == "other noise" else noise
            rates = settings["rate"] * np.minimum(1, (steps + 1) / max(settings["warmup"], 1))
            start = time.process_time()
            errors, norms = self.state.steps(
                *(tf.constant(array) for array in (x_0, t, noise, target)),
                tf.constant(rates, tf.float32),
                tf.constant(settings["clip"] or np.inf, tf.float32),
                tf.constant(np.stack([decays_at(step) for step in steps]), tf.float32),
            )
            if self.step:  # the first chunk compiles
                self.seconds += time.process_time() - start
            errors = errors.numpy()
            self.losses += errors.mean(axis=1).tolist()
            self.norms += norms.numpy().tolist()
            which = t * QUARTERS // NUM_STEPS
            with np.errstate(invalid="ignore"):
                self.quarters.append(
                    [errors[which == q].mean() if (which == q).any() else np.nan for q in range(QUARTERS)]
                )
            self.step += count
            num_steps -= count

    def weights_of(self, mode: str):
        """The weights as they are ("raw"), or one of the averages."""
        return self.state.weights.value() if mode == "raw" else self.state.averages[MODES.index(mode)]

    def held_out(self, mode: str) -> list[float]:
        """The loss by quarter of t on 2048 noisy pictures that are the same for every run."""
        rng = np.random.default_rng(3)
        x_0 = HELD_OUT[rng.integers(len(HELD_OUT), size=2048)]
        t = np.arange(2048, dtype=np.int32) * NUM_STEPS // 2048
        noise = rng.standard_normal(x_0.shape, dtype=np.float32)
        if self.settings.get("fault") == "range":
            x_0 = (x_0 + 1) / 2
        errors = self.measure(self.weights_of(mode), x_0, t, noise, noise).numpy()
        return errors.reshape(QUARTERS, -1).mean(axis=1).tolist()

    def samples(self, mode: str, count: int = NUM_SAMPLES) -> np.ndarray:
        """Sample with DDIM in 25 steps, from the same noise every time."""
        x_T = np.random.default_rng(4).standard_normal((count, 8, 8, 1), dtype=np.float32)
        weights = self.weights_of(mode)

        def predict_noise(x_t, t):
            return tf.reshape(self.predict(weights, tf.reshape(x_t, (-1, PIXELS)), t), (-1, 8, 8, 1))

        return np.asarray(sampling.ddim_sample(predict_noise, SCHEDULE, x_T, num_steps=25))

    def distance(self, mode: str) -> float:
        """Sliced Wasserstein distance of samples from the training pictures."""
        samples = self.samples(mode)
        return sliced(samples, TRAINING) if np.isfinite(samples).all() else float("nan")

    def noise_scale(self) -> dict:
        """Mean squared gradient norms of batches of 16 and 1024 draws."""
        rng, found = np.random.default_rng([self.seed, 5]), []
        for _ in range(16):
            x_0 = TRAINING[rng.integers(len(TRAINING), size=(64, 16))]
            t = rng.integers(0, NUM_STEPS, (64, 16), dtype=np.int32)
            noise = rng.standard_normal(x_0.shape, dtype=np.float32)
            found.append([float(part) for part in squared_norms(self.state.weights.value(), x_0, t, noise)])
        small, large = np.mean(found, axis=0)
        return {"small": 16, "large": 1024, "square_small": float(small), "square_large": float(large)}


def decays_at(step: int) -> list[float]:
    """Decay of every average after a 0-based step."""
    warm = (1 + step) / (10 + step)
    return [min(float(mode.split()[0]), warm if "warmed" in mode else 1.0) for mode in MODES]


def means(values, length: int) -> list[float]:
    """Means over stretches of equal length."""
    return np.asarray(values).reshape(-1, length).mean(axis=1).tolist()


def long(seed: int, out: pathlib.Path) -> dict:
    """10,000 steps: the averages, the loss by quarter, how often clipping bites, the gradient noise scale."""
    run, found = Run(seed, {}), {"checkpoints": [], "distance": {}, "held_out": {}, "noise_scale": {}}
    for at in (100, 200, 500, 1000, 2000, 5000, 10_000):
        run.train(at - run.step)
        found["checkpoints"].append(at)
        for mode in ("raw", *MODES):
            found["distance"].setdefault(mode, []).append(run.distance(mode))
            found["held_out"].setdefault(mode, []).append(run.held_out(mode))
        if at in (100, 1000, 10_000):
            found["noise_scale"][str(at)] = run.noise_scale()
        if seed == 0 and at in (2000, 10_000):
            rows = [run.samples(mode, 8) for mode in ("raw", "0.9999", "0.9999 warmed")]
            save_png(out / f"samples_{at}.png", make_grid(to_uint8(np.concatenate(rows)), columns=8), scale=3)
    found["loss"], found["quarters"] = means(run.losses, CHUNK), run.quarters
    # The first 1,000 norms one by one in stretches of 10, then how many exceed 1 in each 1,000 steps.
    found["norms"] = means(run.norms[:1000], 10)
    found["clipped"] = means(np.asarray(run.norms) > 1, 1000)
    found["clipped_early"] = means(np.asarray(run.norms[:1000]) > 1, 100)
    found["largest_norm"] = max(run.norms)
    found["step_loss_spread"] = float(np.std(run.losses[-1000:]))
    return found


def short(seed: int, settings: dict, num_steps: int, length: int = CHUNK) -> dict:
    """A short run: its loss, the loss and the distance at its end."""
    run, averages = Run(seed, settings), {"0.999 warmed": [], "0.9999": []}
    for _ in range(num_steps // 100):
        run.train(100)
        for mode, losses in averages.items():
            losses.append(float(np.mean(run.held_out(mode))))
    epoch = len(TRAINING) // run.settings["batch"]
    places = np.reshape(run.losses[-num_steps // 2 // epoch * epoch :], (-1, epoch)).mean(axis=0)
    return {
        "loss": means(run.losses, length),
        "waves": float(places.std()),  # of the mean loss over the batches of an epoch
        "averages": averages,
        "quarters": run.quarters,
        "last_loss": float(np.mean(run.losses[-200:])),
        "largest_loss": max(run.losses),
        "held_out": run.held_out("raw"),
        "distance": {mode: run.distance(mode) for mode in ("raw", *averages)},
    }


def batch_run(seed: int, batch: int, rate: float) -> dict:
    """The held-out loss of one batch size over its steps, with the processor's seconds."""
    run, every = Run(seed, {"batch": batch, "rate": rate}), {16: 200, 64: 100, 256: 50}[batch]
    found = {"steps": [], "held_out": []}
    for _ in range(20):
        run.train(every)
        found["steps"].append(run.step)
        found["held_out"].append(float(np.mean(run.held_out("0.99"))))
    timed = run.step - CHUNK
    return found | {"milliseconds": 1000 * run.seconds / timed}


# The panels of the chapter's puzzle. The last entry is the average whose weights are judged.
FAULTS = {
    "healthy": (0, {}, "0.999 warmed"),
    "A": (1, {"fault": "no shuffle"}, "0.999 warmed"),
    "B": (1, {}, "0.9999"),
    "C": (1, {"fault": "other noise"}, "0.999 warmed"),
    "D": (1, {"fault": "range"}, "0.999 warmed"),
    "E": (1, {"rate": 0.1, "clip": None, "warmup": 0}, "0.999 warmed"),
    "F": (1, {"fault": "last quarter"}, "0.999 warmed"),
}


def faulty(seed: int, settings: dict, mode: str) -> dict:
    """A short run with a fault, as somebody sees it who does not know of the fault."""
    found = short(seed, settings, 1500, 10)
    with np.errstate(invalid="ignore"):
        quarters = np.mean(found["quarters"][-10:], axis=0).tolist()
    distance = {"raw": found["distance"]["raw"], "average": found["distance"][mode]}
    kept = {key: found[key] for key in ("loss", "waves")}
    return kept | {"quarters": quarters, "average": found["averages"][mode], "distance": distance}


def experiments(out: pathlib.Path) -> dict:
    """Every experiment: its runs by name, as calls."""
    found = {"faults": {name: (faulty, *arguments) for name, arguments in FAULTS.items()}}
    found["warmup"] = {
        f"rate {rate:g}, warm-up {warmup}, seed {s}": (short, s, {"rate": rate, "warmup": warmup, "clip": None}, 600)
        for rate in (1e-3, 1e-2)
        for warmup in (0, 100)
        for s in SEEDS
    }
    found["clipping"] = {
        f"clip {clip}, {'bad batch' if bad else 'good batches'}, seed {s}": (
            short,
            s,
            {"clip": clip, "bad_step": 300 if bad else None},
            800,
            10,
        )
        for clip in (None, 1.0)
        for bad in (False, True)
        for s in SEEDS
    }
    found["long"] = {f"seed {s}": (long, s, out) for s in SEEDS}
    found["batch"] = {
        f"batch {batch}, rate {rate:g}, seed {s}": (batch_run, s, batch, rate)
        for s in SEEDS[:1]
        for batch in (16, 64, 256)
        for rate in (5e-4, 1e-3, 2e-3, 4e-3, 8e-3, 1.6e-2)
    }
    return found


def rounded(value):
    """Four digits are enough; what is no number becomes null, which JSON has."""
    if isinstance(value, dict):
        return {key: rounded(each) for key, each in value.items()}
    if isinstance(value, list):
        return [rounded(each) for each in value]
    if isinstance(value, int):
        return value
    return float(f"{value:.4g}") if np.isfinite(value) else None


def main() -> None:
    """Do what is missing, and write each run down when it is done."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="*", help="experiments to do; default: all")
    parser.add_argument("--out", type=pathlib.Path, default=OUT, help="folder to write to")
    flags = parser.parse_args()
    flags.out.mkdir(parents=True, exist_ok=True)
    # One thread: the matrices are small, and the processor's seconds then do not depend on what else runs.
    tf.config.threading.set_intra_op_parallelism_threads(1)
    tf.config.threading.set_inter_op_parallelism_threads(1)
    about = {
        "weights": sum(SIZES),
        "training": len(TRAINING),
        "held_out": len(HELD_OUT),
        "samples": NUM_SAMPLES,
        "chunk": CHUNK,
        "settings": BASE,
        "distance_of_data": float(f"{sliced(HELD_OUT, TRAINING):.4g}"),
    }
    for name, runs in experiments(flags.out).items():
        if flags.only and name not in flags.only:
            continue
        path = flags.out / f"{name}.json"
        done = json.loads(path.read_text("utf8"))["runs"] if path.exists() else {}
        for key, (function, *arguments) in runs.items():
            if key in done:
                continue
            start = time.perf_counter()
            done[key] = rounded(function(*arguments))
            path.write_text(json.dumps({"about": about, "runs": done}) + "\n")
            print(f"{name}, {key}: {time.perf_counter() - start:.0f} s", flush=True)


if __name__ == "__main__":
    main()
