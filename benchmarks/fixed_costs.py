"""Measure what a training step costs beside its arithmetic: operations that are started one by one, small batches.

    python benchmarks/fixed_costs.py [--repeats 3]

The network is `celeba64` with plain attention, which keeps its scores, as the article's does. Its step is timed as one
graph at batch 8 and 16, and operation by operation ("eager") at batch 8.

Then the same step with next to no work: the same layers in the same order, so nearly as many operations, but two
channels and 16x16 pixels. What is left of its time is the price of starting operations. It is timed eagerly, as one
graph, and compiled by XLA. Eager operations are counted by TensorFlow's own hook. One thread does everything, and the
seconds are those of the processor. On a busy machine they are longer than on a quiet one: compare the ratios. Writes
`results/fixed_costs.json`.
"""

import argparse
import os
import statistics
import time

import measure

from ddpm_lib.config import PRESETS

# One thread: the processor's seconds are then those of the clock, less those in which others had the processor.
os.environ |= {name: "1" if "THREADS" in name else value for name, value in measure.ENVIRONMENT.items()}

CONFIG = PRESETS["celeba64"]
# Every layer of the network is there, each with as little to do as its shape allows.
NO_WORK = CONFIG.replace(
    unet={
        "image_size": 16,
        "widths": (2, 2, 2, 2),
        "attention_resolutions": (8,),
        "attention_dim": 8,
        "time_dim": 2,
    }
)
FULL = {"graph, batch 8": ("graph", 8), "graph, batch 16": ("graph", 16), "eager, batch 8": ("eager", 8)}
EMPTY = {"no work, graph": ("graph", 1), "no work, eager": ("eager", 1), "no work, XLA": ("XLA", 1)}


def training_step(config, mode: str, batch_size: int):
    """Return a function that takes one training step, as one graph, operation by operation, or compiled by XLA."""
    import numpy as np

    from ddpm_lib.training import DiffusionTrainer, make_optimizer

    trainer = DiffusionTrainer(config.replace(train={"jit": mode == "XLA"}))
    if mode == "eager":
        trainer.compile(make_optimizer(config.train), run_eagerly=True)
        trainer.optimizer.build(trainer.network.trainable_variables)
    shape = (batch_size, config.unet.image_size, config.unet.image_size, config.unet.channels)
    x_0 = np.random.default_rng(0).uniform(-1, 1, shape).astype("float32")
    return lambda: trainer.train_on_batch(x_0)


def count_operations(step) -> int:
    """Count the operations that TensorFlow starts one by one in a step."""
    from tensorflow.python.framework import op_callbacks

    started = []

    def note(kind, *arguments, **more):
        started.append(kind)

    op_callbacks.add_op_callback(note)
    try:
        step()
    finally:
        op_callbacks.remove_op_callback(note)
    return len(started)


def time_in_turn(steps: dict, repeats: int) -> dict[str, list[float]]:
    """Return the processor's seconds of each step's calls, taken in turn; the first call of each does not count."""
    for step in steps.values():
        step()
    seconds = {name: [] for name in steps}
    for _ in range(repeats):
        for name, step in steps.items():
            start = time.process_time()
            step()
            seconds[name].append(time.process_time() - start)
    return seconds


def compare(seconds: dict[str, list[float]]) -> dict:
    """Take the medians, and the ratios of what was timed in turn, round by round."""

    def ratio(first, second):
        return measure.median_ratio(seconds[first], seconds[second])

    return {
        "seconds": {name: statistics.median(times) for name, times in seconds.items()},
        "eager_over_graph": ratio("eager, batch 8", "graph, batch 8"),
        "batch_16_over_batch_8": ratio("graph, batch 16", "graph, batch 8"),
        "eager_over_graph_without_work": ratio("no work, eager", "no work, graph"),
        "graph_over_xla_without_work": ratio("no work, graph", "no work, XLA"),
    }


def main() -> None:
    """Measure, print and write down."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--repeats", type=int, default=3, help="timed calls of each step")
    parser.add_argument("--output", default=measure.RESULTS / "fixed_costs.json", help="file to write")
    flags = parser.parse_args()

    from ddpm_lib import attention

    attention.has_fused_attention = lambda: True  # Keras's own, which keeps all scores on TensorFlow
    steps = {name: training_step(CONFIG, *choice) for name, choice in FULL.items()}
    steps |= {name: training_step(NO_WORK, *choice) for name, choice in EMPTY.items()}
    seconds = time_in_turn(steps, flags.repeats)
    operations = {name: count_operations(step) for name, step in steps.items() if "eager" in name}
    results = compare(seconds)
    measure.write_results(
        flags.output,
        {
            "command": f"python benchmarks/fixed_costs.py --repeats {flags.repeats}",
            "machine": measure.machine() | {"threads": 1},
            "versions": measure.versions(["keras", "tensorflow"]),
            "eager_operations": operations,
            **results,
        },
    )
    for name, median in results["seconds"].items():
        print(f"{name:16s} {median:8.4f} s a step")
    for name, count in operations.items():
        print(f"{name:16s} {count:8,} operations")


if __name__ == "__main__":
    main()
