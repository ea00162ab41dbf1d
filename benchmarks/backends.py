"""Draw the same pictures from the shipped models on TensorFlow, JAX and PyTorch, and compare them pixel by pixel.

    python benchmarks/backends.py [--num_samples 16] [--steps 50]

DDIM with eta 0 from the same NumPy noise, seeds 0, 1, ..., so that only arithmetic differs. Pictures are compared as
uint8: a difference of 1 is 1/255 of the range from black to white. Backends that are not installed are skipped.
"""

import argparse
import itertools
import os
import pathlib
import subprocess
import sys
import tempfile

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import measure
import numpy as np

from ddpm_lib.images import to_uint8

BACKENDS = ("tensorflow", "jax", "torch")


def draw(num_samples: int, num_steps: int, path: str) -> None:
    """Write the pictures of every shipped model on the backend of this process, (N, H, W, C) float32 by name."""
    from ddpm_lib import checkpoints, sampling

    pictures = {}
    for name in checkpoints.shipped_models():
        model = checkpoints.load(name)
        pictures[name] = sampling.sample_images(
            model, sampling.ddim_sample, range(num_samples), num_steps=num_steps, eta=0.0
        )
    np.savez(path, **pictures)


def compare(ours: np.ndarray, theirs: np.ndarray) -> dict:
    """Compare two batches of pictures, as uint8 and, in the same unit, before they are rounded to it."""
    difference = np.abs(to_uint8(ours).astype(int) - to_uint8(theirs).astype(int))
    return {
        "max_difference": int(difference.max()),
        "share_of_equal_values": float((difference == 0).mean()),
        "max_difference_before_rounding": float(np.abs(ours - theirs).max() * 127.5),
    }


def main() -> None:
    """Draw on every backend in a process of its own, and print and write what differs for each pair."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--num_samples", type=int, default=16)
    parser.add_argument("--steps", type=int, default=50)
    parser.add_argument("--out", type=pathlib.Path, default=measure.RESULTS / "backends.json")
    parser.add_argument("--draw_to", help=argparse.SUPPRESS)
    flags = parser.parse_args()
    if flags.draw_to:
        draw(flags.num_samples, flags.steps, flags.draw_to)
        return

    pictures = {}
    with tempfile.TemporaryDirectory() as folder:
        for backend in measure.installed({name: [name] for name in BACKENDS}):
            path = str(pathlib.Path(folder) / f"{backend}.npz")
            options = ["--num_samples", str(flags.num_samples), "--steps", str(flags.steps), "--draw_to", path]
            environment = {**os.environ, **measure.ENVIRONMENT, "KERAS_BACKEND": backend}
            subprocess.run([sys.executable, __file__, *options], env=environment, check=True)
            with np.load(path) as arrays:
                pictures[backend] = dict(arrays)

    models = {}
    for one, other in itertools.combinations(pictures, 2):
        for name in pictures[one]:
            found = compare(pictures[one][name], pictures[other][name])
            models.setdefault(name, {})[f"{one}, {other}"] = found
            print(f"{name}, {one} and {other}: " + ", ".join(f"{key} {value:.4g}" for key, value in found.items()))
    measure.write_results(
        flags.out,
        {
            "command": f"python benchmarks/backends.py --num_samples {flags.num_samples} --steps {flags.steps}",
            "machine": measure.machine(),
            "versions": measure.versions(["keras", *BACKENDS]),
            "num_samples": flags.num_samples,
            "steps": flags.steps,
            "models": models,
        },
    )


if __name__ == "__main__":
    main()
