"""Measure what the chunked attention saves: one training step of `celeba64` with it and with Keras's own, in turn.

    python benchmarks/attention.py [--batch_size 8] [--rounds 5]

Each variant runs in a process of its own, so that its peak memory is its own; the two alternate, so that a machine
whose speed drifts slows both. Prints images per second and peak memory of each, and the ratios.
"""

import argparse
import os
import resource
import statistics
import subprocess
import sys
import time

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")


def measure(variant: str, batch_size: int) -> None:
    """Print images per second (best of three steps) and peak memory in MiB of one variant."""
    import numpy as np

    from ddpm_lib import attention, training
    from ddpm_lib.config import PRESETS

    if variant == "plain":
        attention.has_fused_attention = lambda: True  # Keras's own operation, which keeps all scores on TensorFlow
    config = PRESETS["celeba64"].replace(train={"batch_size": batch_size, "epochs": 1, "steps_per_epoch": 1})
    trainer = training.DiffusionTrainer(config)
    x_0 = np.random.default_rng(0).uniform(-1, 1, (batch_size, 64, 64, 3)).astype("float32")
    trainer.fit(x_0, batch_size=batch_size, verbose=0)
    seconds = []
    for _ in range(3):
        start = time.perf_counter()
        trainer.train_on_batch(x_0)
        seconds.append(time.perf_counter() - start)
    # The first timed call still traces; the best of the others counts.
    print(batch_size / min(seconds), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)


def main() -> None:
    """Run both variants in turn and print the comparison."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--batch_size", type=int, default=8)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--variant", choices=["plain", "chunked"], help=argparse.SUPPRESS)
    flags = parser.parse_args()
    if flags.variant:
        measure(flags.variant, flags.batch_size)
        return
    speed, memory = {"plain": [], "chunked": []}, {"plain": [], "chunked": []}
    for _ in range(flags.rounds):
        for variant in speed:
            command = [sys.executable, __file__, "--variant", variant, "--batch_size", str(flags.batch_size)]
            output = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout.split()
            speed[variant].append(float(output[-2]))
            memory[variant].append(float(output[-1]))
    for variant in speed:
        rate, peak = statistics.median(speed[variant]), statistics.median(memory[variant])
        print(f"{variant:8s} {rate:6.2f} images/s   peak memory {peak:6.0f} MiB")
    ratios = [a / b for a, b in zip(speed["chunked"], speed["plain"], strict=True)]
    print(f"chunked / plain: {statistics.median(ratios):.2f} times as fast (median of {flags.rounds} pairs)")


if __name__ == "__main__":
    main()
