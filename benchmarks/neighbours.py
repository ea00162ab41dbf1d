"""Does the model copy its training images? How far generated faces, and photographs, are from the nearest photograph.

    python benchmarks/neighbours.py --data_dir img_align_celeba.zip

The images must be the ones that the model was trained on. Only numbers are written, no pictures.
"""

from __future__ import annotations

import argparse
import json
import os
import pathlib
import sys

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np

import ddpm_lib
from ddpm_lib import data, evaluation, images, sampling
from ddpm_lib.config import DataConfig, InputError

OUT = pathlib.Path(__file__).parents[1] / "data/runs/faces64/neighbours.json"
BINS = np.arange(81) / 100  # of the histogram of all photographs' distances
QUANTILES = (0, 1, 5, 25, 50, 75, 95, 99, 100)
COPY = 1 / 3  # nearest over second nearest distance below which an image counts as a copy, Yoon et al. (2023)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data_dir", default=os.environ.get("DDPM_DATA_DIR"), help="(default: $DDPM_DATA_DIR)")
    parser.add_argument("--model", default="faces")
    parser.add_argument("--num_samples", type=int, default=256)
    parser.add_argument("--steps", type=int, default=100, help="of DDPM (default: 100, as in the chapter)")
    parser.add_argument("--out", type=pathlib.Path, default=OUT)
    flags = parser.parse_args()
    if flags.data_dir is None:
        print("neighbours: skipped, it compares with the training images: name them with --data_dir or DDPM_DATA_DIR")
        return
    try:
        model = ddpm_lib.load(flags.model)
        training = data.load_images(DataConfig("celeba", flags.data_dir), model.config.unet)
        if data.describe(training)["sha256"] != model.config.data.sha256:
            raise InputError(f"{flags.data_dir} holds other images than the model was trained on")
    except InputError as error:
        sys.exit(f"neighbours: error: {error}")
    training = np.array(training)

    seeds = range(flags.num_samples)
    # With few steps the smaller variance: the larger one leaves noise, which is far from every photograph.
    options = {"num_steps": flags.steps, "variance": "posterior"}
    x_0 = sampling.sample_images(model, sampling.ddpm_sample, seeds, **options)
    generated = images.to_uint8(x_0)
    everyone = np.arange(len(training))
    result = {
        "model_step": model.step,
        "sampler": f"DDPM, {flags.steps} steps, seeds 0 to {flags.num_samples - 1}",
        "num_photographs": len(training),
        "photographs_sha256": model.config.data.sha256,
        "generated": compare(generated, training),
        "photographs": compare(training, training, own=everyone),
        "coarse": {
            "generated": compare(coarse(generated), coarse(training)),
            "photographs": compare(coarse(training), coarse(training), own=everyone),
        },
        "moved": {str(pixels): moved(training, pixels) for pixels in (2, 4)},
        "statistics": {"generated": describe(generated), "photographs": describe(training)},
    }
    flags.out.parent.mkdir(parents=True, exist_ok=True)
    flags.out.write_text(json.dumps(result, indent=1) + "\n")
    print(f"wrote {flags.out}")


def compare(queries, training, own=None):
    """Summarize the distances to the nearest training image."""
    distances, _ = evaluation.nearest_images(queries, training, own=own)
    nearest, second = distances.T
    # An exact copy that occurs twice has 0 / 0.
    ratio = np.divide(nearest, second, out=np.zeros_like(nearest), where=second > 0)
    return {
        "count": len(nearest),
        "histogram": np.histogram(nearest, BINS)[0].tolist(),
        "quantiles": {str(q): round(float(np.percentile(nearest, q)), 4) for q in QUANTILES},
        "below_0.05": int((nearest < 0.05).sum()),
        "copies": int((ratio < COPY).sum()),
    }


def coarse(pictures):
    """Shrink (N, H, W, C) uint8 pictures to 8x8 pixels."""
    return images.to_uint8(evaluation.split_scales(images.from_uint8(pictures))[0])


def moved(pictures, pixels):
    """Median distance of a picture to itself moved to the side, whose edge is repeated: of all pixels, and coarse."""
    pictures = pictures[:2000]
    there = np.pad(pictures, ((0, 0), (0, 0), (pixels, 0), (0, 0)), mode="edge")[:, :, : pictures.shape[2]]

    def median(first, second):
        difference = images.from_uint8(first) - images.from_uint8(second)
        return round(float(np.median(np.sqrt(np.mean(difference**2, axis=(1, 2, 3))))), 4)

    return {"all": median(pictures, there), "coarse": median(coarse(pictures), coarse(there))}


def describe(pictures):
    """Mean colour, and the variance from picture to picture of the coarse and of the fine part."""
    x = images.from_uint8(pictures)
    large, small = evaluation.split_scales(x)
    return {
        "mean": [round(float(value), 4) for value in x.mean(axis=(0, 1, 2))],
        "coarse_variance": round(float(large.var(axis=0).mean()), 5),
        "fine_variance": round(float(small.var(axis=0).mean()), 5),
    }


if __name__ == "__main__":
    main()
