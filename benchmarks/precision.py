"""Compare the loss of mixed precision with that of float32 over a training, and with the spread between seeds.

    python benchmarks/precision.py [--steps 300] [--seeds 3]

A small network learns the handwritten digits. Runs of one seed start from the same weights and see the same images,
steps and noise in the same order, whatever their precision. The loss is averaged over ten parts of the training. Writes
`results/precision.json`.
"""

import argparse
import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import measure
import numpy as np

from ddpm_lib import data, training
from ddpm_lib.config import PRESETS

NUM_PARTS = 10
CONFIG = PRESETS["digits16"].replace(unet={"widths": (16, 32), "attention_dim": 32, "time_dim": 64})


def loss_curve(images, precision: str, seed: int, num_steps: int) -> list[float]:
    """Train and return the mean loss of each part."""
    settings = {"epochs": NUM_PARTS, "steps_per_epoch": num_steps // NUM_PARTS, "warmup_steps": num_steps // 10}
    config = CONFIG.replace(train={**settings, "precision": precision, "seed": seed, "batch_size": 32})
    keras.utils.set_random_seed(seed)
    trainer = training.DiffusionTrainer(config)

    class Book(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            self.model.finish_epoch()

    training.fit_run(trainer, images, [Book()], verbose=0)
    return [row["loss"] for row in trainer.rows]


def main() -> None:
    """Train all, print the comparison and write it down."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--output", default=measure.RESULTS / "precision.json", help="file to write")
    flags = parser.parse_args()

    backend = keras.backend.backend()
    # JAX and PyTorch compute bfloat16 on every CPU, float16 not.
    policies = ["float32", "mixed_bfloat16", *(["mixed_float16"] if backend == "tensorflow" else [])]
    images = data.load_images(CONFIG.data, CONFIG.unet)
    curves = {policy: [] for policy in policies}
    for seed in range(flags.seeds):
        for policy in policies:
            curves[policy].append(loss_curve(images, policy, seed, flags.steps))
            print(f"{policy}, seed {seed}: " + " ".join(f"{loss:.4f}" for loss in curves[policy][-1]), flush=True)

    exact = np.array(curves["float32"])
    spread = exact.std(axis=0, ddof=1)  # between seeds, by part
    comparison = {}
    for policy in policies[1:]:
        mixed = np.array(curves[policy])
        comparison[policy] = {
            "largest_difference_at_one_seed": float(np.abs(mixed - exact).max()),
            "largest_difference_of_means_over_spread": float((np.abs((mixed - exact).mean(axis=0)) / spread).max()),
            "last_part": float(mixed[:, -1].mean()),
        }
        print(policy, comparison[policy])
    print(
        f"float32: last part {exact[:, -1].mean():.4f}, spread between seeds {spread.min():.4f} to {spread.max():.4f}"
    )
    measure.write_results(
        flags.output,
        {
            "command": f"python benchmarks/precision.py --steps {flags.steps} --seeds {flags.seeds}",
            "machine": measure.machine(),
            "versions": measure.versions(["keras", backend, "numpy"]),
            "spread_between_seeds": [float(spread.min()), float(spread.max())],
            "last_part_float32": float(exact[:, -1].mean()),
            "comparison": comparison,
            "curves": curves,
        },
    )


if __name__ == "__main__":
    main()
