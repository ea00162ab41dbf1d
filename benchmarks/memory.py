"""Measure the memory of one training step of `celeba64` beside what `ddpm_lib.cost` predicts.

    python benchmarks/memory.py [--batch_sizes 4,16] [--backends tensorflow,jax] [--out FILE]

On TensorFlow each variant trains two steps in a process of its own. The figure is the most that TensorFlow's allocator
had handed out at any moment of the second step: weights, average, moments, activations, gradients, scratch space. The
whole process holds more: code, compiled graphs, and the gaps that the allocator leaves between tensors.

On JAX nothing runs: the compiler says how much memory the compiled step will take, arguments included, which are the
same weights, average and moments. `plain` is Keras's own attention, which keeps all scores; `singly` is
`ddpm_lib.attention`.
"""

import argparse
import itertools
import json
import resource

import measure

from ddpm_lib.config import PRESETS
from ddpm_lib.cost import step_cost

MIB = 2**20


def variant_names(batch_sizes: list[int]) -> list[str]:
    """Name every combination that is measured."""
    names = []
    for precision, attention, batch_size in itertools.product(
        ("float32", "mixed_bfloat16"), ("plain", "singly"), batch_sizes
    ):
        names.append(f"{precision}, {attention}, {batch_size}")
        if attention == "singly":
            names.append(f"{precision}, {attention}, {batch_size}, rematerialized")
    return names


def parse(variant: str) -> dict:
    """Turn a name into the arguments of `step_cost`."""
    precision, attention, batch_size, *rest = variant.split(", ")
    return {
        "batch_size": int(batch_size),
        "precision": precision,
        "attention": attention,
        "rematerialize": rest == ["rematerialized"],
    }


def measure_variant(variant: str) -> dict:
    """Build the trainer, and measure the most memory at any moment of a step."""
    import keras
    import numpy as np

    from ddpm_lib import attention, training

    choice = parse(variant)
    attention.has_fused_attention = lambda: choice["attention"] == "plain"
    train = {key: choice[key] for key in ("batch_size", "precision", "rematerialize")}
    trainer = training.DiffusionTrainer(PRESETS["celeba64"].replace(train=train))
    unet = trainer.run.unet
    shape = (choice["batch_size"], unet.image_size, unet.image_size, unet.channels)
    x_0 = np.random.default_rng(0).uniform(-1, 1, shape).astype("float32")
    if keras.backend.backend() == "jax":
        return {"mib": compiled_bytes(trainer, x_0) / MIB}

    import tensorflow as tf

    trainer.train_on_batch(x_0)
    tf.config.experimental.reset_memory_stats("CPU:0")
    trainer.train_on_batch(x_0)
    return {
        "mib": tf.config.experimental.get_memory_info("CPU:0")["peak"] / MIB,
        "process_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
    }


def compiled_bytes(trainer, x_0) -> int:
    """Compile the step with XLA, and return the bytes that it takes."""
    step, state = measure.jax_step(trainer)
    memory = step.lower(state, (x_0,)).compile().memory_analysis()
    return memory.argument_size_in_bytes + memory.temp_size_in_bytes


def table(results: dict, backend: str) -> str:
    """Lay a backend's variants out as a Markdown table."""
    lines = [
        "| precision | attention | `--rematerialize` | measured | predicted | ratio |",
        "|---|---|---|--:|--:|--:|",
    ]
    attentions = {"plain": "plain", "singly": "one head at a time"}
    for name, row in results["variants"].items():
        this_backend, variant = name.split(", ", 1)
        if this_backend == backend:
            choice = parse(variant)
            lines.append(
                f"| {choice['precision']} | {attentions[choice['attention']]} "
                f"| {'yes' if choice['rematerialize'] else 'no'} "
                f"| {row['mib']:,.0f} MiB | {row['predicted_mib']:,.0f} MiB | {row['ratio']:.2f} |"
            )
    return "\n".join(lines)


def main() -> None:
    """Measure every variant on every backend, print them beside the prediction, and write the results."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--batch_sizes", default="4,16")
    parser.add_argument("--backends", default="tensorflow,jax")
    parser.add_argument("--out", default=measure.RESULTS / "memory.json")
    parser.add_argument("--variant", help=argparse.SUPPRESS)
    flags = parser.parse_args()
    if flags.variant:
        print(json.dumps(measure_variant(flags.variant)))
        return

    batch_sizes = [int(size) for size in flags.batch_sizes.split(",")]
    packages = {name: (name,) for name in flags.backends.split(",")}
    variants = {}
    backends = measure.installed(packages)
    for backend in backends:
        figures = measure.in_turn(__file__, variant_names(batch_sizes), 1, [], KERAS_BACKEND=backend)
        for variant, (figure,) in figures.items():
            name = f"{backend}, {variant}"
            predicted = step_cost(PRESETS["celeba64"].unet, **parse(variant)).peak_bytes / MIB
            variants[name] = {**figure, "predicted_mib": predicted, "ratio": predicted / figure["mib"]}
    results = {
        "command": f"python benchmarks/memory.py --batch_sizes {flags.batch_sizes} --backends {flags.backends}",
        "machine": measure.machine(),
        "versions": measure.versions(["keras", "tensorflow", "jax"]),
        "variants": variants,
    }
    measure.write_results(flags.out, results)
    for backend in backends:
        print(f"\n{backend}\n{table(results, backend)}")


if __name__ == "__main__":
    main()
