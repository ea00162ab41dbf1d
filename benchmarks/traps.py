"""What changes a Fréchet distance although no picture became better or worse, and what leaves it where it was.

    python benchmarks/traps.py [--data_dir img_align_celeba.zip]

One half of some photographs, mirrored, cut, resized or stored in another way, is compared with the other half; also
halves of different sizes, pictures glued from two faces, and a half that holds nothing but copies of the other. All of
it in two kinds of features: those of a network that knows faces, and the mean colours of 8x8 squares. The extra
`evaluate` is needed, and photographs, named by --data_dir or DDPM_DATA_DIR. `results/traps.json` holds numbers
alone, no pictures.
"""

import argparse
import io
import os
import tempfile

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import measure
import numpy as np
from PIL import Image
from tqdm import tqdm

from ddpm_lib import data, evaluation
from ddpm_lib.data.pictures import CELEBA_CROP

SIZE, LARGE = 64, CELEBA_CROP[2] - CELEBA_CROP[0]
COUNTS = (50, 100, 200, 500, 1000, 2000, 5000)
SPLITS = 10
FILTERS = ("LANCZOS", "BICUBIC", "BILINEAR", "BOX", "NEAREST")
QUALITIES = (95, 75, 50, 25)
FRAMES = {"20 pixels closer": -10, "4 pixels closer": -2, "4 pixels wider": 2, "20 pixels wider": 10}


class Colours:
    """Describes pictures by the mean colours of 8x8 squares."""

    name = "colours"

    def features(self, images, progress=False):
        """Return (N, 192) float32 for (N, 64, 64, 3) uint8."""
        squares = images.reshape(len(images), 8, 8, 8, 8, 3).mean(axis=(2, 4))
        return (squares / 255).reshape(len(images), -1).astype(np.float32)


def resized(pictures, resampling="LANCZOS"):
    """Resize to 64x64 by one of Pillow's filters, which all look at every pixel but NEAREST."""
    return np.stack([Image.fromarray(p).resize((SIZE, SIZE), Image.Resampling[resampling]) for p in pictures])


def sampled(pictures):
    """Resize to 64x64 by bilinear interpolation between four pixels, wherever they lie: without antialiasing."""
    step = LARGE / SIZE
    corners = (step, 0, 0, 0, step, 0)
    affine, bilinear = Image.Transform.AFFINE, Image.Resampling.BILINEAR
    return np.stack([Image.fromarray(p).transform((SIZE, SIZE), affine, corners, bilinear) for p in pictures])


def compressed(pictures, quality):
    """Store as JPEG and read again."""

    def stored(picture):
        file = io.BytesIO()
        Image.fromarray(picture).save(file, "JPEG", quality=quality)
        return np.asarray(Image.open(file))

    return np.stack([stored(picture) for picture in pictures])


def glued(pictures):
    """Put the left half of each picture beside the right half of the next one."""
    return np.concatenate([pictures[:, :, : SIZE // 2], np.roll(pictures, 1, axis=0)[:, :, SIZE // 2 :]], axis=2)


def compare(first, second, total_variance):
    """Return mean and standard deviation over pairs of sets of features, in units of the total variance."""
    distances = [evaluation.frechet_distance(*pair) / total_variance for pair in zip(first, second, strict=True)]
    return {"mean": float(np.mean(distances)), "std": float(np.std(distances, ddof=1))}


def main() -> None:
    """Measure, print and write down."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--data_dir", default=os.environ.get("DDPM_DATA_DIR"), help="archive or folder of photographs")
    parser.add_argument("--num_samples", type=int, default=1000, help="in each half (1000)")
    parser.add_argument("--output", default=measure.RESULTS / "traps.json", help="file to write")
    flags = parser.parse_args()
    if not flags.data_dir:
        print("skipped: no photographs are named by --data_dir or DDPM_DATA_DIR")
        return

    networks = [evaluation.feature_network("faces"), Colours()]
    generator = np.random.default_rng(0)
    with tempfile.TemporaryDirectory() as cache:

        def photographs(size, wider=0):
            left, top, right, bottom = CELEBA_CROP
            crop = (left - wider, top - wider, right + wider, bottom + wider)
            return data.open_prepared(data.prepare(flags.data_dir, size, cache_dir=cache, crop=crop))

        whole = photographs(SIZE)
        order = generator.permutation(len(whole))
        chosen = order[: 2 * flags.num_samples]
        large = photographs(LARGE)[chosen]
        half_mirrored = whole[chosen]
        half_mirrored[::2] = half_mirrored[::2, :, ::-1]
        variants = {"untouched": whole[chosen], "mirrored": whole[chosen][:, :, ::-1]}
        variants["half of them mirrored"] = half_mirrored
        variants |= {f"resized: {name.lower()}": resized(large, name) for name in FILTERS}
        variants |= {"resized: bilinear, not antialiased": sampled(large)}
        variants |= {f"cut: {name}": photographs(SIZE, wider)[chosen] for name, wider in FRAMES.items()}
        variants |= {f"JPEG: quality {quality}": compressed(whole[chosen], quality) for quality in QUALITIES}
        variants |= {"two faces glued": glued(whole[chosen])}

        halves = [np.split(generator.permutation(len(chosen)), 2) for _ in range(SPLITS)]
        rows, floors = {}, {}
        for network in networks:
            everything = network.features(whole[:]).astype(np.float64)
            untouched = everything[chosen]
            total_variance = untouched.var(axis=0, ddof=1).sum()
            seconds = [untouched[second] for _, second in halves]
            for name, pictures in tqdm(variants.items(), desc=network.name):
                features = network.features(pictures).astype(np.float64)
                firsts = [features[first] for first, _ in halves]
                rows.setdefault(name, {})[network.name] = compare(firsts, seconds, total_variance)
            copies = [second[generator.integers(len(second), size=len(second))] for second in seconds]
            rows.setdefault("copies of the other half", {})[network.name] = compare(copies, seconds, total_variance)
            for count in [count for count in COUNTS if 2 * count <= len(whole)]:
                drawn = [np.split(generator.permutation(len(whole))[: 2 * count], 2) for _ in range(SPLITS)]
                firsts, others = zip(*((everything[a], everything[b]) for a, b in drawn), strict=True)
                floors.setdefault(str(count), {})[network.name] = compare(firsts, others, total_variance)

    for name, row in {**rows, **{f"{count} untouched": floor for count, floor in floors.items()}}.items():
        print(f"{name:36}" + "".join(f"  {key} {value['mean']:.4f} ± {value['std']:.4f}" for key, value in row.items()))
    measure.write_results(
        flags.output,
        {
            "command": f"python benchmarks/traps.py --num_samples {flags.num_samples}",
            "machine": measure.machine(),
            "versions": measure.versions(["keras", keras.backend.backend(), "mtcnn", "numpy", "pillow"]),
            "num_samples": flags.num_samples,
            "num_splits": SPLITS,
            "num_features": {"faces": 256, "colours": 192},
            "rows": rows,
            "floors": floors,
        },
    )


if __name__ == "__main__":
    main()
