"""What does each brick of the U-Net do? Networks that differ in one brick, trained for the same time.

    python benchmarks/unet_ablations.py [--data_dir fashion_mnist.npz] [--seeds 3] [--steps 500]

Two datasets at 16x16 pixels: the handwritten digits, and, where its file is given, Fashion-MNIST, of which 2x2 pixels
are averaged to one. One network serves both.

First all networks take turns in a few steps, and the median processor time of a step is noted for each, on one thread.
From it follows how many steps each may take in the time that the whole network needs for `--steps`. So "the same time"
does not depend on what else the machine does. Then every network is trained with every seed, and judged on images that
were kept out of training: the loss in each quarter of t, and the Fréchet distance of 256 samples in the hidden layer of
a small classifier. Every result is written at once to `data/runs/unet_ablations/`; a run that is
there already is not repeated.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import pathlib
import time

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import numpy as np
import tensorflow as tf
from keras import layers, ops
from threadpoolctl import threadpool_limits

from ddpm_lib import data, diffusion, images, sampling, schedules
from ddpm_lib.config import PRESETS, DataConfig, UNetConfig
from ddpm_lib.evaluation.distances import frechet_distance
from ddpm_lib.evaluation.features import DigitNetwork
from ddpm_lib.unet import (
    GROUP_NORM_EPSILON,
    SAME,
    BilinearUpsample,
    FoldPatches,
    ResBlock,
    SelfAttention,
    SinusoidalEmbedding,
    UnfoldPatches,
)

OUT = pathlib.Path(__file__).parents[1] / "data/runs/unet_ablations"
SCHEDULE = schedules.linear_schedule()
# Folded, the levels have 8x8 and 4x4 positions. As in the article, attention is at the second level and in the middle.
CONFIG = UNetConfig(
    16, 1, (24, 48), blocks_per_level=1, attention_resolutions=(4,), heads=2, attention_dim=32, time_dim=64, patch=2
)
HELD_OUT = {"digits": 297, "fashion_mnist": 10_000}
BATCH_SIZE, LEARNING_RATE, WARM_UP, CLIP_NORM = 32, 2e-3, 50, 1.0
ROUNDS, STEPS_A_ROUND = 8, 3  # of the timing
QUARTERS, NUM_PROBES, NUM_SAMPLES, SAMPLING_STEPS = 4, 1024, 256, 25


@dataclasses.dataclass(frozen=True)
class Arm:
    """A network: the library's, but for one brick."""

    skips: bool = True
    time: str = "adagn"  # adagn | added | none
    attention: str = "second"  # level: second (and middle) | first (and middle) | none
    down: str = "pool"  # pool | strided
    groups: int = 2
    zero_start: bool = True
    late_skips: bool = False  # join a level after its blocks, not before


ARMS = {
    "full": Arm(),
    "no skips": Arm(skips=False),
    "no time": Arm(time="none"),
    "added time": Arm(time="added"),
    "no attention": Arm(attention="none"),
    "attention at the first level": Arm(attention="first"),
    "strided": Arm(down="strided"),
    "8 groups": Arm(groups=8),
    "no zero start": Arm(zero_start=False),
}


class OtherTimeBlock(ResBlock):
    """A ResBlock without AdaGN: the time is added in front of the second norm, as by Ho et al. (2020), or left out."""

    def __init__(self, width, groups, added, **kwargs):
        super().__init__(width, groups, **kwargs)
        self.added = added
        # In place of the library's scale and shift: a shift alone, or nothing. So the norm needs its own again.
        self.scale_and_shift = layers.Dense(width, name="shift") if added else layers.Identity()
        self.norm_2 = layers.GroupNormalization(groups, epsilon=GROUP_NORM_EPSILON, name="norm_2")

    def _compute(self, x, time, training):
        h = self.conv_1(ops.silu(self.norm_1(x)))
        if self.added:
            h = h + self.scale_and_shift(time)[:, None, None, :]
        h = self.conv_2(ops.silu(self.norm_2(h)))
        return h + (x if self.shortcut is None else self.shortcut(x))


def build(config: UNetConfig, arm: Arm) -> keras.Model:
    """Build the network of an arm; that of `Arm()` is `ddpm_lib.unet.build_unet`'s."""
    x_t = keras.Input((config.image_size, config.image_size, config.channels), name="x_t")
    t = keras.Input((), dtype="int32", name="t")
    time_code = SinusoidalEmbedding(config.time_dim)(t)
    for _ in range(0 if arm.time == "none" else 2):
        time_code = layers.Dense(config.time_dim, activation="silu")(time_code)

    def block(x, width):
        library = arm.time == "adagn"
        layer = ResBlock(width, arm.groups) if library else OtherTimeBlock(width, arm.groups, arm.time == "added")
        return layer(x, time_code)

    def attend(x, wanted):
        return SelfAttention(config.heads, config.attention_dim, arm.groups)(x) if wanted else x

    x = FoldPatches(config.patch)(x_t) if config.patch > 1 else x_t
    attended = {"second": config.attention_resolutions, "first": (x.shape[1],), "none": ()}[arm.attention]
    x, skips, last = layers.Conv2D(config.widths[0], 3, **SAME)(x), [], len(config.widths) - 1
    for level, width in enumerate(config.widths):
        x = attend(block(x, width), x.shape[1] in attended)
        skips.append(x)
        if level < last:
            strided = layers.Conv2D(width, 3, strides=2, **SAME)
            x = strided(x) if arm.down == "strided" else layers.MaxPooling2D(2, data_format="channels_last")(x)
    x = block(attend(block(x, config.widths[-1]), arm.attention != "none"), config.widths[-1])
    for level in reversed(range(len(config.widths))):
        if arm.skips and not arm.late_skips:
            x = layers.Concatenate()([x, skips[level]])
        x = attend(block(x, config.widths[max(level - 1, 0)]), x.shape[1] in attended)
        if arm.skips and arm.late_skips:
            x = layers.Concatenate()([x, skips[level]])
        if level:
            x = BilinearUpsample()(x)
    x = layers.GroupNormalization(arm.groups, epsilon=GROUP_NORM_EPSILON)(x)
    head = layers.Conv2D(config.patch**2 * config.channels, 3, kernel_initializer="zeros", name="head", **SAME)
    x = head(ops.silu(x))
    return keras.Model([x_t, t], UnfoldPatches(config.patch)(x) if config.patch > 1 else x)


def draw(pictures, rng, count, quarter=None):
    """Draw images, steps (of one quarter) and noise."""
    length = SCHEDULE.num_steps // QUARTERS
    low, high = (0, SCHEDULE.num_steps) if quarter is None else (quarter * length, (quarter + 1) * length)
    x_0 = images.from_uint8(pictures[rng.integers(len(pictures), size=count)])
    return x_0, rng.integers(low, high, count, dtype=np.int32), rng.standard_normal(x_0.shape, dtype=np.float32)


class Runner:
    """One arm's network, its compiled step, and what is measured of it."""

    def __init__(self, config: UNetConfig, arm: Arm):
        self.config, self.arm, self.network = config, arm, build(config, arm)
        self.template = self.network.get_weights()
        variables = self.network.trainable_variables
        self.optimizer = keras.optimizers.Adam(global_clipnorm=CLIP_NORM)
        self.optimizer.build(variables)

        @tf.function
        def step(x_0, t, noise):
            with tf.GradientTape() as tape:
                noise_pred = self.network([diffusion.add_noise(SCHEDULE, x_0, t, noise), t])
                loss = ops.mean(ops.square(noise - noise_pred))
            self.optimizer.apply(tape.gradient(loss, variables), variables)
            return loss

        self.step = step
        self.predict_noise = tf.function(lambda x_t, t: self.network([x_t, t]), reduce_retracing=True)

    def start(self, seed: int) -> None:
        """Draw new weights; where an arm has no zero start, also those that start at zero in the library."""
        keras.utils.set_random_seed(seed)
        for variable, new in zip(self.network.weights, self.template, strict=True):
            drawn = variable.name == "kernel" and (np.any(new) or not self.arm.zero_start)
            variable.assign(keras.initializers.GlorotUniform()(new.shape) if drawn else new)

    def train(self, pictures: np.ndarray, seed: int, num_steps: int) -> list[float]:
        """Start anew, take all steps, and return the losses."""
        self.start(seed)
        for variable in self.optimizer.variables:
            variable.assign(ops.zeros_like(variable))
        rng, losses = np.random.default_rng([seed, 1]), []
        for number in range(num_steps):
            # Up in a line, then down to 0 in a cosine.
            rate = LEARNING_RATE * min(1, (number + 1) / WARM_UP) * (1 + np.cos(np.pi * number / num_steps)) / 2
            self.optimizer.learning_rate.assign(rate)
            losses.append(float(self.step(*draw(pictures, rng, BATCH_SIZE))))
        return losses

    def loss_by_quarter(self, held_out: np.ndarray, seed: int) -> list[float]:
        """Mean squared error of the noise in each quarter of t."""
        rng, found = np.random.default_rng([seed, 2]), []
        for quarter in range(QUARTERS):
            x_0, t, noise = draw(held_out, rng, NUM_PROBES, quarter)
            x_t = diffusion.add_noise(SCHEDULE, x_0, t, noise)
            found.append(float(np.mean((noise - self.predict_noise(x_t, t)) ** 2)))
        return found

    def samples(self, seed: int) -> np.ndarray:
        """Draw images by DDPM's sampler, in some of its steps."""
        size = self.config.image_size
        noise_fn = sampling.noise_per_image(range(1000 * seed, 1000 * seed + NUM_SAMPLES), (size, size, 1))
        options = {"num_steps": SAMPLING_STEPS, "noise_fn": noise_fn, "variance": "posterior"}
        return images.to_uint8(sampling.ddpm_sample(self.predict_noise, SCHEDULE, noise_fn(-1), **options))


class FashionNetwork:
    """Describes Fashion-MNIST by the hidden layer of a small classifier, as `DigitNetwork` does digits."""

    def __init__(self, pictures, labels):
        from sklearn.neural_network import MLPClassifier

        self.classifier = MLPClassifier((64,), learning_rate_init=0.003, batch_size=200, random_state=0)
        with threadpool_limits(1):
            for _ in range(6):
                self.classifier.partial_fit(self._rows(pictures), labels, classes=range(10))

    def features(self, pictures):
        """Map (N, 16, 16, 1) uint8 to (N, 64)."""
        return np.maximum(self._rows(pictures) @ self.classifier.coefs_[0] + self.classifier.intercepts_[0], 0)

    def _rows(self, pictures):
        return pictures.reshape(len(pictures), -1).astype(np.float32) / 255


def load(dataset: str, data_dir: str | None):
    """Return training images, held-out images, and what turns images into features."""
    if dataset == "digits":
        pictures = data.load_images(DataConfig("digits"), CONFIG)
    else:
        pictures = data.load_images(DataConfig("fashion_mnist", data_dir), PRESETS["fashion32"].unet)
        means = pictures.reshape(-1, 16, 2, 16, 2, 1).astype(np.float32).mean(axis=(2, 4))
        pictures = np.rint(means).astype(np.uint8)
    order = np.random.default_rng(0).permutation(len(pictures))
    held_out, training = np.split(order, [HELD_OUT[dataset]])
    if dataset == "digits":
        return pictures[training], pictures[held_out], DigitNetwork().features
    path = pathlib.Path(data_dir)
    with np.load(path / "fashion_mnist.npz" if path.is_dir() else path) as arrays:
        labels = arrays["y_train"]
    network = FashionNetwork(pictures[training[:20_000]], labels[training[:20_000]])
    return pictures[training], pictures[held_out], network.features


def step_times(runners: dict, training: np.ndarray) -> dict[str, float]:
    """Median processor seconds of a step of each arm; the arms take turns, so that a busy machine hits all alike."""
    batch = draw(training, np.random.default_rng(0), BATCH_SIZE)
    times = {name: [] for name in runners}
    for number in range(ROUNDS + 1):  # the first compiles
        for name, runner in runners.items():
            for _ in range(STEPS_A_ROUND):
                start = time.process_time()
                float(runner.step(*batch))
                if number:
                    times[name].append(time.process_time() - start)
    return {name: float(np.median(each)) for name, each in times.items()}


def rounded(value):
    """Four digits are enough."""
    return [rounded(each) for each in value] if isinstance(value, list) else float(f"{value:.4g}")


class Dataset:
    """One dataset, its distance, and the file of its results."""

    def __init__(self, name: str, data_dir: str | None, out: pathlib.Path):
        self.training, self.held_out, self.features = load(name, data_dir)
        self.reference = self.features(self.training[:10_000]).astype(np.float64)
        self.total_variance = self.reference.var(axis=0, ddof=1).sum()
        self.path = out / f"{name}.json"
        self.results = json.loads(self.path.read_text("utf8")) if self.path.exists() else None

    def distance(self, pictures: np.ndarray) -> float:
        """Fréchet distance from the training images, in units of their total variance."""
        return frechet_distance(self.features(pictures), self.reference) / self.total_variance

    def begin(self, runners: dict, times: dict[str, float], num_steps: int, command: str) -> None:
        """Note the settings, and the steps that each arm may take."""
        self.results = {
            "command": command,
            "unet": dataclasses.asdict(CONFIG),
            "batch_size": BATCH_SIZE,
            "learning_rate": LEARNING_RATE,
            "training": len(self.training),
            "held_out": len(self.held_out),
            "probes": QUARTERS * NUM_PROBES,
            "samples": NUM_SAMPLES,
            "sampling_steps": SAMPLING_STEPS,
            "distance_of_data": [rounded(self.distance(part)) for part in _parts(self.held_out)],
            "arms": {
                name: {
                    "weights": runner.network.count_params(),
                    "step_seconds": rounded(times[name]),
                    "steps": round(num_steps * times["full"] / times[name]),
                    "runs": [],
                }
                for name, runner in runners.items()
            },
        }

    def run(self, name: str, runner: Runner, seed: int) -> None:
        """Train an arm with a seed, unless that is done, and write down what came out."""
        arm = self.results["arms"][name]
        if len(arm["runs"]) > seed:
            return
        start = time.process_time()
        losses = runner.train(self.training, seed, arm["steps"])
        seconds = time.process_time() - start
        run = {
            "distance": rounded(self.distance(runner.samples(seed))),
            "loss_by_quarter": rounded(runner.loss_by_quarter(self.held_out, seed)),
            "first_loss": rounded(losses[0]),
            "last_loss": rounded(float(np.mean(losses[-100:]))),
            "training_seconds": rounded(seconds),
        }
        arm["runs"].append(run)
        self.path.write_text(json.dumps(self.results, indent=1) + "\n")
        print(f"{self.path.stem}, {name}, seed {seed}: {time.process_time() - start:.0f} s, {run}", flush=True)


def main() -> None:
    """Time all arms, train them, and write every result down."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data_dir", help="fashion_mnist.npz, or its folder; without it the digits alone")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=500, help="of the whole network; the others by their step times")
    parser.add_argument("--out", type=pathlib.Path, default=OUT, help="folder to write to")
    flags = parser.parse_args()
    # On one thread, processor time is the time that the work takes.
    tf.config.threading.set_intra_op_parallelism_threads(1)
    tf.config.threading.set_inter_op_parallelism_threads(1)
    flags.out.mkdir(parents=True, exist_ok=True)
    names = ["digits"] if flags.data_dir is None else list(HELD_OUT)
    datasets = [Dataset(name, flags.data_dir, flags.out) for name in names]
    runners = {name: Runner(CONFIG, arm) for name, arm in ARMS.items()}
    if new := [dataset for dataset in datasets if dataset.results is None]:
        times = step_times(runners, new[0].training)
        where = "" if flags.data_dir is None else " --data_dir fashion_mnist.npz"
        for dataset in new:
            dataset.begin(
                runners, times, flags.steps, f"python benchmarks/unet_ablations.py{where} --steps {flags.steps}"
            )
    for seed in range(flags.seeds):
        for dataset in datasets:
            for name, runner in runners.items():
                dataset.run(name, runner, seed)


def _parts(held_out):
    """Sets of as many images as there are samples, or all if there are fewer."""
    count = max(len(held_out) // NUM_SAMPLES, 1)
    return [held_out[k * NUM_SAMPLES : (k + 1) * NUM_SAMPLES] for k in range(min(count, 10))]


if __name__ == "__main__":
    main()
