"""Measure the training of `celeba64` on a GPU, beside a U-Net of diffusers' shape in plain PyTorch.

    KERAS_BACKEND=jax python benchmarks/gpu.py [--precision mixed_bfloat16] [--smoke]

For each precision the batch starts at 16 and doubles until it no longer pays (less than 5 % more images a second), no
longer fits, or the time is used up. What is timed:

* the bare step: Algorithm 1 with gradients, clipping, Adam and the average of the weights, on a batch that stays on the
  device;
* `fit` at the best batch: the same through `fit_run`, with uint8 images in the host's memory, as in real training;
* the peer: the same loss, clipping and Adam in PyTorch (channels_last, compiled), with the shape of diffusers'
  `UNet2DModel`, written in `measure/plain_unet.py`, because few machines have diffusers.

Each row runs in a process of its own. Prints a table and writes `results/gpu_BACKEND.json`. `--smoke` goes through
everything in a minute with a tiny network, also on a CPU, and writes nothing.
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import time

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
# JAX would take three quarters of the card for the first process, which only asks for its name.
os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")

import keras
import measure
import numpy as np

from ddpm_lib import hardware
from ddpm_lib.config import PRESETS, RunConfig
from ddpm_lib.cost import DEVICES, NUM_CELEBA_IMAGES, predict_epoch_seconds
from ddpm_lib.training import DiffusionTrainer, fit_run

BACKEND = keras.backend.backend()
REPORTED = {"T4": 13_672, "P100": 6_972}  # seconds an epoch, as reported for the course's network on these GPUs
PAYS = 1.05
MAX_BATCH = 4096


def run_config(precision: str, batch_size: int, smoke: bool) -> RunConfig:
    """Return the settings of the measured runs."""
    config = PRESETS["celeba64"].replace(
        train={"precision": precision, "batch_size": batch_size, "jit": hardware.choose_jit()}
    )
    if smoke:
        small = {"image_size": 8, "widths": (8,), "blocks_per_level": 1, "attention_resolutions": ()}
        config = config.replace(unet={**small, "heads": 2, "attention_dim": 8, "time_dim": 16})
    return config


# --- What is timed ---------------------------------------------------------------------------------------------------


def our_step(config: RunConfig, batch_size: int):
    """Return a function that takes one step, and one that waits until all steps are done."""
    trainer = DiffusionTrainer(config)
    size, channels = config.unet.image_size, config.unet.channels
    x_0 = np.random.default_rng(0).uniform(-1, 1, (batch_size, size, size, channels)).astype("float32")
    data = (keras.ops.convert_to_tensor(x_0),)
    if BACKEND == "jax":
        import jax

        compiled, first = measure.jax_step(trainer)
        state = [first]

        def step():
            _, state[0] = compiled(state[0], data)

        return step, lambda: jax.block_until_ready(state[0])
    if BACKEND == "tensorflow":
        import tensorflow as tf

        compiled = tf.function(trainer.train_step, jit_compile=config.train.jit)
        # The step count comes last in a step, so reading it waits for the step.
        return lambda: compiled(data), lambda: trainer.step
    import torch

    def step():
        trainer.train()
        trainer.train_step(data)

    return step, torch.cuda.synchronize if torch.cuda.is_available() else lambda: None


def peer_step(config: RunConfig, batch_size: int):
    """Return the same two functions for a U-Net of diffusers' shape, in its usual training loop."""
    import torch
    from measure import peers
    from measure.plain_unet import PlainUNet

    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = True
    torch.backends.cudnn.benchmark = True
    options = {"channels_last": True, "half": config.train.precision != "float32"}
    step = peers.torch_train_step(PlainUNet(config.unet), batch_size, config.unet.image_size, **options)
    return step, torch.cuda.synchronize if torch.cuda.is_available() else lambda: None


def seconds_a_step(step, wait, least_seconds: float) -> tuple[float, float]:
    """Time steps in a row, after two that compile and warm up; also return how long those two took."""
    start = time.perf_counter()
    step()
    step()
    wait()
    warm_up = time.perf_counter() - start
    num_steps, elapsed = 2, 0.0
    while elapsed < least_seconds:
        num_steps *= 2
        start = time.perf_counter()
        for _ in range(num_steps):
            step()
        wait()
        elapsed = time.perf_counter() - start
    return elapsed / num_steps, warm_up


class EpochSeconds(keras.callbacks.Callback):
    """Times whole epochs, each to the end of its last step."""

    def __init__(self):
        super().__init__()
        self.seconds = []

    def on_epoch_begin(self, epoch, logs=None):
        """Start the clock."""
        self.start = time.perf_counter()

    def on_epoch_end(self, epoch, logs=None):
        """Stop it when the device has counted the last step."""
        assert self.model.step
        self.seconds.append(time.perf_counter() - self.start)


def fit_seconds_a_step(config: RunConfig, num_steps: int) -> float:
    """Time steps through `fit_run`, with images in the host's memory; the first of two epochs warms up."""
    shape = (8 * config.train.batch_size, config.unet.image_size, config.unet.image_size, config.unet.channels)
    images = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    clock = EpochSeconds()
    trainer = DiffusionTrainer(config.replace(train={"epochs": 2, "steps_per_epoch": num_steps}))
    fit_run(trainer, images, [clock], verbose=0)
    return clock.seconds[1] / num_steps


def peak_memory_gib(peer: bool) -> float:
    """Peak memory on the device so far, or of the process where there is no GPU."""
    if peer or BACKEND == "torch":
        import torch

        if torch.cuda.is_available():
            return torch.cuda.max_memory_allocated() / 2**30
    elif hardware.gpus() and BACKEND == "jax":
        import jax

        return jax.devices()[0].memory_stats()["peak_bytes_in_use"] / 2**30
    elif hardware.gpus():
        import tensorflow as tf

        return tf.config.experimental.get_memory_info("GPU:0")["peak"] / 2**30
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20


# --- The rows of the table -------------------------------------------------------------------------------------------


def measure_row(variant: str, precision: str, seconds: float, smoke: bool) -> None:
    """Print a line of JSON for every batch size, and one for `fit` at the best: a crash leaves what came before."""
    hardware.enable_memory_growth()
    peer = variant == "peer"
    began = time.perf_counter()
    batch_size, best = 16, None
    while batch_size <= (32 if smoke else MAX_BATCH):
        config = run_config(precision, batch_size, smoke)
        try:
            step, wait = (peer_step if peer else our_step)(config, batch_size)
            duration, warm_up = seconds_a_step(step, wait, 0.1 if smoke else 3.0)
        except Exception as error:  # every backend has its own class for a full memory
            message = f"{type(error).__name__} {error}"
            if batch_size == 16:
                raise
            print(json.dumps({"batch_size": batch_size, "stopped": message.splitlines()[0][:200]}), flush=True)
            break
        row = {"batch_size": batch_size, "images_per_second": batch_size / duration, "warm_up_seconds": warm_up}
        row["peak_memory_gib"] = peak_memory_gib(peer)  # batches grow, so the peak so far is this one's
        print(json.dumps(row), flush=True)
        pays = best is None or row["images_per_second"] > PAYS * best["images_per_second"]
        if best is None or row["images_per_second"] > best["images_per_second"]:
            best = row
        # The next batch is twice as large and compiles anew.
        if not pays or time.perf_counter() - began + 2 * warm_up > seconds:
            break
        batch_size *= 2
        del step, wait
    if not peer:
        config = run_config(precision, best["batch_size"], smoke)
        num_steps = 3 if smoke else max(20, int(5 * best["images_per_second"] / best["batch_size"]))
        duration = fit_seconds_a_step(config, num_steps)
        result = {"batch_size": best["batch_size"], "fit_images_per_second": best["batch_size"] / duration}
        print(json.dumps(result), flush=True)


def rows_of(variant: str, precision: str, flags) -> list[dict]:
    """Run one row of the table in a process of its own and read its lines."""
    command = [sys.executable, __file__, "--variant", variant, "--precision", precision, "--seconds", flags.seconds]
    command = [*map(str, command), *(["--smoke"] if flags.smoke else [])]
    run = subprocess.run(command, stdout=subprocess.PIPE, text=True)
    if run.returncode:
        print(f"{variant}, {precision}: ended with exit code {run.returncode}", file=sys.stderr)
    return [json.loads(line) for line in run.stdout.splitlines() if line.startswith("{")]


def summary(rows: list[dict]) -> dict:
    """Pick the batch of 16 and the best one, and turn speeds into seconds an epoch."""
    measured = [row for row in rows if "images_per_second" in row]
    best = max(measured, key=lambda row: row["images_per_second"])
    found = {"at_16": measured[0], "best": best, "seconds_an_epoch": NUM_CELEBA_IMAGES / best["images_per_second"]}
    for row in rows:
        if "fit_images_per_second" in row:
            found["fit_images_per_second"] = row["fit_images_per_second"]
            found["fit_seconds_an_epoch"] = NUM_CELEBA_IMAGES / row["fit_images_per_second"]
    return found


def predictions(precision: str) -> dict:
    """Predict the epochs of the T4, the P100 and this machine's card, where the cost model knows it."""
    names = " ".join(name for name, _ in hardware.gpus())
    attention = "fused" if hardware.has_fused_attention() else "singly"
    return {
        f"{card}, {policy}": predict_epoch_seconds(PRESETS["celeba64"].unet, card, 16, policy, attention)
        for card in DEVICES
        if card in REPORTED or card in names
        for policy in ("float32", precision)
    }


def table(results: dict, predicted: dict) -> str:
    """Lay the results out as a Markdown table."""
    lines = [
        "| training step | images/s at 16 | memory | best batch | images/s | memory | through fit | an epoch |",
        "|---|--:|--:|--:|--:|--:|--:|--:|",
    ]
    for name, row in results.items():
        small, best = row["at_16"], row["best"]
        fit = f"{row['fit_images_per_second']:.0f}" if "fit_images_per_second" in row else "-"
        seconds = row.get("fit_seconds_an_epoch", row["seconds_an_epoch"])
        lines.append(
            f"| {name} | {small['images_per_second']:.0f} | {small['peak_memory_gib']:.1f} GiB | {best['batch_size']} "
            f"| {best['images_per_second']:.0f} | {best['peak_memory_gib']:.1f} GiB | {fit} | {seconds:.0f} s |"
        )
    reported = ", ".join(f"{seconds:,} s on a {gpu}" for gpu, seconds in REPORTED.items())
    lines.append(f"The course's article reports, for an epoch of {NUM_CELEBA_IMAGES:,} images: {reported}.")
    times = ", ".join(f"{seconds:,.0f} s ({name})" for name, seconds in predicted.items())
    return "\n".join([*lines, f"The cost model predicts, for an epoch at batch 16: {times}."])


def main() -> None:
    """Measure all rows, print the table and write it down."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--precision", default="mixed_bfloat16", help="the second one, beside float32")
    parser.add_argument("--seconds", type=float, default=100.0, help="for the doubling of the batch, in each row")
    parser.add_argument("--smoke", action="store_true", help="a tiny network, to see that everything runs")
    parser.add_argument("--output", default=measure.RESULTS / f"gpu_{BACKEND}.json", help="file to write")
    parser.add_argument("--variant", choices=["ours", "peer"], help=argparse.SUPPRESS)
    flags = parser.parse_args()
    if flags.variant:
        measure_row(flags.variant, flags.precision, flags.seconds, flags.smoke)
        return
    if not hardware.gpus() and not flags.smoke:
        print(f"skipped: Keras on {BACKEND} sees no GPU (--smoke goes through everything on a CPU)")
        return

    results, all_rows = {}, {}
    for variant in ("ours", "peer") if measure.missing_package(["torch"]) is None else ("ours",):
        for precision in ("float32", flags.precision):
            name = f"{f'ours on {BACKEND}' if variant == 'ours' else 'diffusers in shape, PyTorch'}, {precision}"
            all_rows[name] = rows_of(variant, precision, flags)
            if all_rows[name]:
                results[name] = summary(all_rows[name])
            print(name, json.dumps(all_rows[name]), flush=True)
    print(hardware.device_report())
    predicted = predictions(flags.precision)
    print(table(results, predicted))
    if not flags.smoke:
        measure.write_results(
            flags.output,
            {
                "command": f"KERAS_BACKEND={BACKEND} python benchmarks/gpu.py --precision {flags.precision}",
                "device": hardware.device_report(),
                "machine": measure.machine(),
                "versions": measure.versions(["keras", "tensorflow", "jax", "jaxlib", "torch", "numpy"]),
                "rows": results,
                "reported_seconds_an_epoch": REPORTED,
                "predicted_seconds_an_epoch": predicted,
                "all_batches": all_rows,
            },
        )


if __name__ == "__main__":
    main()
