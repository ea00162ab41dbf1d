"""Short experiments for claims of the article that nothing else in the repository had tested.

    python benchmarks/takeaways.py [--seeds 3] [--steps 500]

* `walk`: many small steps of noise against one jump: the same distribution, and how much longer it takes.
* `told`: the shipped digits model at one step, told another.
* `one_way`: what changes in the features of the way down if all weights of the way up are drawn anew, and the reverse.
* `late_skips`: the small network of `unet_ablations.py` with skips that join after the blocks of a level, as in the
  article's diagram; trained with the same seeds, for the time that the whole network has there.
* `extract`: the article's lookup of a table, broken and repaired, in eager mode and in graphs.
* `channels`: a level as wide as the image, under the article's two groups.
* `cards`: what the cost model predicts for the article's two cards; nothing is run.
* `install`: whether pip can install what the article names.

Each part is written as soon as it is there, and a part that is in the file is not repeated. Everything but the timing
of `walk` and the number of steps of `late_skips` is the same on every machine up to rounding.
"""

from __future__ import annotations

import argparse
import json
import os
import pathlib
import subprocess
import sys
import tempfile
import time

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import measure
import numpy as np
import tensorflow as tf
import unet_ablations
from unet_ablations import CONFIG, Arm, Dataset, Runner, rounded, step_times

import ddpm_lib
from ddpm_lib import data, diffusion, images
from ddpm_lib.config import PRESETS, DataConfig
from ddpm_lib.cost import DEVICES, predict_epoch_seconds, step_cost
from ddpm_lib.schedules import linear_schedule
from ddpm_lib.unet import build_unet

STEPS = (100, 300, 500, 700, 900)
CARDS = ("T4", "P100")
BATCHES = (8, 16)


def pictures():
    """Return the digits as numbers."""
    return images.from_uint8(data.load_images(DataConfig("digits"), PRESETS["digits16"].unet))


def walk(seeds: int) -> dict:
    """Add noise in 1000 small steps, and in one."""
    schedule, x_0 = linear_schedule(1000), pictures()
    runs, t = [], np.full(len(x_0), 999, np.int32)
    for seed in range(seeds):
        rng = np.random.default_rng(seed)
        start, x = time.process_time(), x_0
        halfway = None
        for step, beta in enumerate(schedule.betas, start=1):
            x = np.sqrt(1 - beta) * x + np.sqrt(beta) * rng.standard_normal(x.shape)
            if step == 250:
                halfway = x
        walked = time.process_time() - start
        start = time.process_time()
        np.asarray(diffusion.add_noise(schedule, x_0, t, rng.standard_normal(x_0.shape).astype(np.float32)))
        jumped = time.process_time() - start
        jump = diffusion.add_noise(schedule, x_0, 0 * t + 249, rng.standard_normal(x_0.shape).astype(np.float32))
        runs.append(
            {
                "variance_walked": float(halfway.var()),
                "variance_jumped": float(np.asarray(jump).var()),
                "walk_over_jump_seconds": walked / jumped,
            }
        )
    return {"step": 250, "images": len(x_0), "runs": runs}


def told(seeds: int) -> dict:
    """Mean squared error of the noise at each of some steps, for each of them that the network is told."""
    model, x_0, runs = ddpm_lib.load("digits"), pictures()[:512], []
    for seed in range(seeds):
        rng, errors = np.random.default_rng(seed), {}
        for step in STEPS:
            noise = rng.standard_normal(x_0.shape, dtype=np.float32)
            x_t = diffusion.add_noise(model.schedule, x_0, np.full(len(x_0), step - 1, np.int32), noise)
            answers = {said: model.predict_noise(x_t, np.full(len(x_0), said - 1, np.int32)) for said in STEPS}
            errors[str(step)] = {str(said): float(np.mean((noise - a) ** 2)) for said, a in answers.items()}
        runs.append(errors)
    return {"images": len(x_0), "runs": runs}


def one_way() -> dict:
    """Draw the weights of one half of a network anew, and look at the features of the other half."""
    network = build_unet(PRESETS["digits16"].unet)
    halves = {"down": [], "up": []}
    for layer in network.layers:
        half = layer.name.split("_")[0]
        if half in halves:
            halves[half].append(layer)
    rng = np.random.default_rng(0)
    for weight in network.weights:
        weight.assign(0.1 * rng.standard_normal(weight.shape))
    inputs = [rng.standard_normal((2, 16, 16, 1)).astype(np.float32), np.array([10, 900], np.int32)]
    watch = {half: keras.Model(network.inputs, [layer.output for layer in found]) for half, found in halves.items()}

    def features(half):
        return [np.asarray(array) for array in watch[half](inputs)]

    found = {}
    for half, other in (("up", "down"), ("down", "up")):
        before = features(other)
        for layer in halves[half]:
            for weight in layer.weights:
                weight.assign(0.1 * rng.standard_normal(weight.shape))
        changes = [float(np.abs(a - b).max()) for a, b in zip(features(other), before, strict=True)]
        found[f"{half} drawn anew"] = {
            "features": len(changes),
            "changed": sum(change > 0 for change in changes),
            "largest_change": max(changes),
        }
    return found


def late_skips(seeds: int, num_steps: int) -> dict:
    """Train the network with late skips on the digits, in as many steps as fit into the time of the whole one."""
    dataset = Dataset("digits", None, unet_ablations.OUT)
    runners = {"full": Runner(CONFIG, Arm()), "late": Runner(CONFIG, Arm(late_skips=True))}
    times, runner = step_times(runners, dataset.training), runners["late"]
    steps = round(num_steps * times["full"] / times["late"])
    found = {"weights": runner.network.count_params(), "steps_of_full": num_steps, "steps": steps, "runs": []}
    for seed in range(seeds):
        runner.train(dataset.training, seed, steps)
        run = {
            "distance": rounded(dataset.distance(runner.samples(seed))),
            "loss_by_quarter": rounded(runner.loss_by_quarter(dataset.held_out, seed)),
        }
        found["runs"].append(run)
        print(seed, run, flush=True)
    return found


def extract() -> dict:
    """Look a table up by the article's function, broken and repaired."""

    def static(a, t, rank):
        b, *_ = t.shape
        return tf.reshape(tf.gather(a, t), (b, *((1,) * (rank - 1))))

    def dynamic(a, t, rank):
        return tf.reshape(tf.gather(a, t), [tf.shape(t)[0], *((1,) * (rank - 1))])

    def dynamic_tuple(a, t, rank):
        return tf.reshape(tf.gather(a, t), (tf.shape(t)[0], *((1,) * (rank - 1))))

    def no_shape(a, t, rank):
        return tf.reshape(tf.gather(a, t), (-1, *((1,) * (rank - 1))))

    table, t = tf.linspace(0.0, 1.0, 10), tf.constant([3, 1, 4])
    ways = {
        "eager": lambda f: f,
        "graph, batch known": lambda f: tf.function(f, input_signature=[tf.TensorSpec((3,), tf.int32)]),
        "graph, batch open": lambda f: tf.function(f, input_signature=[tf.TensorSpec((None,), tf.int32)]),
    }
    found = {}
    functions = {"t.shape": static, "tf.shape, list": dynamic, "tf.shape, tuple": dynamic_tuple, "-1": no_shape}
    for name, function in functions.items():
        found[name] = {}
        for way, wrap in ways.items():
            try:
                result = wrap(lambda t, f=function: f(table, t, 4))(t)
                found[name][way] = f"shape {tuple(result.shape)}"
            except (TypeError, ValueError) as error:
                found[name][way] = _message(error)
    return found


def _message(error):
    """Return the kind of error and the first sentence of its last line, which TensorFlow begins with the kind, too."""
    last = [line.strip() for line in str(error).splitlines() if line.strip()][-1]
    kind = type(error).__name__
    return f"{kind}: {last.removeprefix(kind + ': ').partition('. ')[0].rstrip('.')}"


def channels() -> dict:
    """Build a network whose finest level is as wide as an image in colours."""
    unet = PRESETS["celeba64"].unet
    found = {}
    for width in (unet.channels, unet.widths[0]):
        layer = keras.layers.GroupNormalization(unet.groups)
        try:
            layer.build((None, unet.image_size, unet.image_size, width))
            found[str(width)] = "builds"
        except ValueError as error:
            found[str(width)] = _message(error)
    return found


def cards() -> dict:
    """Predict seconds an epoch of CelebA with plain attention, what they wait for, and who moves the bytes."""
    unet, found = PRESETS["celeba64"].unet, {}
    for card in CARDS:
        device = DEVICES[card]
        found[card] = {"bandwidth": device.bandwidth, "float32": device.float32, "half": device.half}
        found[card]["memory"] = device.memory
        for precision in ("float32", "mixed_float16"):
            peak = device.float32 if precision == "float32" else device.half
            for batch in BATCHES:
                seconds = predict_epoch_seconds(unet, card, batch, precision, "plain")
                rows = step_cost(unet, batch, precision, "plain").rows
                waits = [(row.training_flops / peak, row.training_moved / device.bandwidth) for row in rows]
                for_bytes = sum(moved for work, moved in waits if moved > work)
                found[card][f"{precision}, batch {batch}"] = {
                    "epoch_seconds": seconds,
                    "waits_for_bytes": for_bytes / sum(max(pair) for pair in waits),
                    "memory_mib": step_cost(unet, batch, precision, "plain").peak_bytes / 2**20,
                }
    cost = step_cost(unet, 16, "float32", "plain")
    moved = {"attention": 0, "skips, pooling, upsampling": 0, "convolutions and the rest": 0}
    for row in cost.rows:
        paths = ("_skip", "_pool", "_upsample")
        kind = "attention" if "attention" in row.name else "convolutions and the rest"
        moved["skips, pooling, upsampling" if row.name.endswith(paths) else kind] += row.training_moved
    shares = {name: bytes_ / sum(moved.values()) for name, bytes_ in moved.items()}
    return {"cards": found, "bytes_moved": shares, "reported_epoch_seconds": {"T4": 13672, "P100": 6972}}


def install() -> dict:
    """Ask pip for the package, and keep the exit status and the error."""
    with tempfile.TemporaryDirectory() as folder:
        command = ["pip", "download", "--no-deps", "tensorflow-gpu"]
        run = subprocess.run([sys.executable, "-m", *command], cwd=folder, capture_output=True, text=True, timeout=300)
    [*_, said] = [line for line in run.stderr.splitlines() if line.startswith("error: ")] or ["nothing"]
    return {"command": " ".join(command), "status": run.returncode, "said": said}


def main() -> None:
    """Run all of it, and write it down."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=500, help="of the whole network")
    output = measure.RESULTS / "takeaways.json"
    parser.add_argument("--output", type=pathlib.Path, default=output, help="file to write")
    flags = parser.parse_args()
    # On one thread, processor time is the time that the work takes.
    tf.config.threading.set_intra_op_parallelism_threads(1)
    tf.config.threading.set_inter_op_parallelism_threads(1)
    results = {
        "command": f"python benchmarks/takeaways.py --seeds {flags.seeds} --steps {flags.steps}",
        "machine": measure.machine(),
        "versions": measure.versions(["keras", "tensorflow", "numpy", "pip"]),
    }
    parts = {
        "cards": cards,
        "extract": extract,
        "channels": channels,
        "one_way": one_way,
        "install": install,
        "walk": lambda: walk(flags.seeds),
        "told": lambda: told(flags.seeds),
        "late_skips": lambda: late_skips(flags.seeds, flags.steps),
    }
    if flags.output.exists():
        stored = json.loads(flags.output.read_text("utf8"))
        results |= {name: stored[name] for name in parts if name in stored}
    for name, part in parts.items():
        if name in results:
            continue
        results[name] = part()
        print(name, results[name], flush=True)
        measure.write_results(flags.output, results)


if __name__ == "__main__":
    main()
