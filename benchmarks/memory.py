"""Measure the memory of one training step of `celeba64` beside what `ddpm_lib.cost` predicts.

    python benchmarks/memory.py [--batch_sizes 4,16] [--backends tensorflow,jax] [--out FILE]

On TensorFlow each variant trains in a process of its own, first on one image, then on a batch. The figure is the most
memory that the process ever held, less what it held when weights, average and optimizer were there: activations,
gradients, scratch space, and some hundred MiB of TensorFlow itself, which are there with one image already. So what is
compared is the difference between the batch and one image.

On JAX nothing runs: the compiler says how much memory the compiled step will take beside its arguments, which are the
same weights, average and optimizer. `plain` is Keras's own attention, which keeps all scores; `singly` is
`ddpm_lib.attention`.
"""

import argparse
import itertools
import json
import resource
import time

import measure

from ddpm_lib.config import PRESETS

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
    """Build the trainer, and measure what a step takes beside weights, average and optimizer."""
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
    with open("/proc/self/statm") as file:
        before = int(file.read().split()[1]) * resource.getpagesize() / MIB
    peaks = {}
    for batch_size in (1, choice["batch_size"]):
        for _ in range(2):
            start = time.perf_counter()
            trainer.train_on_batch(x_0[:batch_size])
            seconds = time.perf_counter() - start
        peaks[batch_size] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024 - before
    return {"mib": peaks[choice["batch_size"]], "mib_at_batch_1": peaks[1], "seconds": seconds}


def compiled_bytes(trainer, x_0) -> int:
    """Compile the step with XLA, and return the bytes that it takes beside its arguments."""
    import jax

    trainer._symbolic_build(data_batch=(x_0,))
    variables = (
        trainer.trainable_variables,
        trainer.non_trainable_variables,
        trainer.optimizer.variables,
        trainer.metrics_variables,
    )
    state = tuple([variable.value for variable in group] for group in variables)
    step = jax.jit(trainer.train_step, donate_argnums=0).lower(state, (x_0,)).compile()
    return step.memory_analysis().temp_size_in_bytes


def predicted_mib(choice: dict) -> float:
    """Predict the most memory of a step beside weights, average and optimizer."""
    from ddpm_lib.cost import step_cost

    cost = step_cost(PRESETS["celeba64"].unet, **choice)
    return (cost.peak_bytes - cost.state_bytes) / MIB


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
    for backend in measure.installed(packages):
        figures = measure.in_turn(__file__, variant_names(batch_sizes), 1, [], KERAS_BACKEND=backend)
        for variant, (figure,) in figures.items():
            name, predicted = f"{backend}, {variant}", predicted_mib(parse(variant))
            known = figure.get("mib_at_batch_1", 0.0)
            of_one = predicted_mib({**parse(variant), "batch_size": 1}) if known else 0.0
            ratio = (predicted - of_one) / (figure["mib"] - known)
            variants[name] = {**figure, "predicted_mib": predicted, "ratio": ratio}
            print(f"{name:55s} {figure['mib']:6.0f} MiB, predicted {predicted:6.0f}: {ratio:.2f}")
    command = f"python benchmarks/memory.py --batch_sizes {flags.batch_sizes} --backends {flags.backends}"
    versions = measure.versions(["keras", "tensorflow", "jax"])
    measure.write_results(
        flags.out, {"command": command, "machine": measure.machine(), "versions": versions, "variants": variants}
    )


if __name__ == "__main__":
    main()
