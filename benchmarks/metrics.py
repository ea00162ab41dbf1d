"""Do the measures of `ddpm evaluate` notice what a person sees? Photographs made worse, step by step, and measured.

    python benchmarks/metrics.py [--data_dir img_align_celeba.zip]

Noise, blur and pixelation are added to one half of the photographs, and the half is compared with the other. Of each
kind the distance must rise from strength to strength, and begin above that of untouched photographs. Digits come with
scikit-learn; faces are measured if photographs are named by --data_dir or DDPM_DATA_DIR and the extra `evaluate` is
installed. Where both were measured, `results/metrics.json` is written: numbers alone, no pictures. Nothing is timed, so
the machine need not be quiet.
"""

import argparse
import itertools
import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import measure
import numpy as np
from scipy.ndimage import gaussian_filter
from tqdm import tqdm

from ddpm_lib import data, evaluation
from ddpm_lib.config import PRESETS, DataConfig, InputError

SPLITS = 10


def noised(pictures, strength):
    """Add normal noise; its standard deviation is in grey levels of 0..255."""
    noise = np.random.default_rng(0).normal(0.0, strength, pictures.shape)
    return np.clip(np.rint(pictures + noise), 0, 255).astype(np.uint8)


def blurred(pictures, strength):
    """Blur by a normal distribution; its standard deviation is in pixels."""
    blur = gaussian_filter(pictures.astype(np.float32), (0, strength, strength, 0), mode="nearest")
    return np.clip(np.rint(blur), 0, 255).astype(np.uint8)


def pixelated(pictures, strength):
    """Replace squares of strength x strength pixels by their mean."""
    count, height, width, channels = pictures.shape
    squares = (count, height // strength, strength, width // strength, strength, channels)
    means = pictures.reshape(squares).mean(axis=(2, 4), keepdims=True)
    return np.broadcast_to(np.rint(means), squares).reshape(pictures.shape).astype(np.uint8)


DAMAGES = {"noise": noised, "blur": blurred, "pixelation": pixelated}
STRENGTHS = {
    "faces": {"noise": (10, 20, 40, 80), "blur": (0.5, 1.0, 2.0, 4.0), "pixelation": (2, 4, 8, 16)},
    "digits": {"noise": (20, 40, 80, 160), "blur": (0.5, 1.0, 2.0, 3.0), "pixelation": (2, 4, 8)},
}


def measured(pictures, network, strengths, num_splits=SPLITS, num_faces=500):
    """Compare one half of the pictures, damaged, with the other half, over splits of the same pictures.

    Args:
        pictures: (2 N, H, W, C) uint8.
        network: see `ddpm_lib.evaluation.features`.
        strengths: by kind of damage.
        num_splits: how many.
        num_faces: in how many of the pictures faces are looked for.

    Returns:
        A list of rows, untouched pictures first: "damage", "strength", "frechet_distance" and "recall" and "precision"
        as means over the splits, the distance's "std", and "faces" where the network finds them.
    """
    count, generator = len(pictures) // 2, np.random.default_rng(0)
    splits = [np.split(generator.permutation(2 * count), 2) for _ in range(num_splits)]
    untouched = network.features(pictures).astype(np.float64)
    total_variance = untouched.var(axis=0, ddof=1).sum()
    rows = []
    conditions = [("none", 0), *((kind, strength) for kind in strengths for strength in strengths[kind])]
    for kind, strength in tqdm(conditions, unit="condition"):
        damaged = DAMAGES[kind](pictures, strength) if strength else pictures
        features = network.features(damaged).astype(np.float64)
        values = []
        for first, second in splits:
            distance = evaluation.frechet_distance(features[first], untouched[second]) / total_variance
            values.append((distance, *evaluation.precision_recall(untouched[second], features[first])))
        distance, precision, recall = (float(value) for value in np.mean(values, axis=0))
        row = {"damage": kind, "strength": strength, "frechet_distance": distance}
        row |= {"std": float(np.std(values, axis=0, ddof=1)[0]), "precision": precision, "recall": recall}
        if hasattr(network, "is_face"):
            row["faces"] = float(network.is_face(damaged[:num_faces]).mean())
        rows.append(row)
    return rows


def rises(rows, kind):
    """Say whether the distance of one kind of damage rises with its strength, from that of untouched pictures on."""
    distances = [row["frechet_distance"] for row in rows if row["damage"] in ("none", kind)]
    return all(lower < higher for lower, higher in itertools.pairwise(distances))


def table(rows):
    """Lay out the rows as a table in Markdown."""
    lines = [
        "| damage | strength | Fréchet distance | precision | recall | a face is found |",
        "|---|---|---|---|---|---|",
    ]
    for row in rows:
        faces = f"{row['faces']:.1%}" if "faces" in row else ""
        lines.append(
            f"| {row['damage']} | {row['strength']:g} | {row['frechet_distance']:.4f} ± {row['std']:.4f} "
            f"| {row['precision']:.2f} | {row['recall']:.2f} | {faces} |"
        )
    return "\n".join(lines)


def main() -> None:
    """Measure, print and write down."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--data_dir", default=os.environ.get("DDPM_DATA_DIR"), help="archive or folder of photographs")
    parser.add_argument("--num_samples", type=int, default=1000, help="in each half, or half of the digits (1000)")
    parser.add_argument("--output", default=measure.RESULTS / "metrics.json", help="file to write")
    flags = parser.parse_args()

    datasets = {
        "digits": (DataConfig("digits"), PRESETS["digits16"].unet),
        "faces": (DataConfig("celeba", flags.data_dir), PRESETS["celeba64"].unet),
    }
    results = {}
    for name, (config, unet) in datasets.items():
        try:
            network = evaluation.feature_network(name)
            pictures = data.load_images(config, unet)
        except InputError as error:
            print(f"skipped: {name} ({error})")
            continue
        count = min(flags.num_samples, len(pictures) // 2)
        chosen = np.random.default_rng(0).permutation(len(pictures))[: 2 * count]
        rows = measured(pictures[chosen], network, STRENGTHS[name])
        rising = {kind: rises(rows, kind) for kind in DAMAGES}
        results[name] = {
            "num_samples": count,
            "num_splits": SPLITS,
            "image_size": unet.image_size,
            "crop": data.describe(pictures)["crop"],
            "features": network.about,
            "rows": rows,
            "rises": rising,
        }
        print(f"{name}, {count} against {count}\n{table(rows)}\n" + ", ".join(f"{k}: {v}" for k, v in rising.items()))
    if len(results) < len(datasets):
        print("nothing is written: the file of results is for digits and faces")
        return
    measure.write_results(
        flags.output,
        {
            "command": f"python benchmarks/metrics.py --num_samples {flags.num_samples}",
            "machine": measure.machine(),
            "versions": measure.versions(["keras", keras.backend.backend(), "mtcnn", "numpy", "scikit-learn"]),
            **results,
        },
    )


if __name__ == "__main__":
    main()
