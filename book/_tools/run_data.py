"""Keep of a training run what the book shows: `data/runs/NAME/`, numbers and generated pictures, never a photograph.

    python book/_tools/run_data.py runs/faces32 faces32 --log runs/faces32.log --measure
    python book/_tools/run_data.py runs/celeba64_short celeba64 --last

Written are `run.json` (what was trained, and how long it took), `history.csv` (the loss by epoch) and `film.webp` (the
samples after every epoch), or with `--last` only `samples.webp` (those after the last one). `--measure` reads the
training images again, and adds

* `spectrum.csv` and `spectrum_half.csv`: the variances of the images along their principal axes, at full and half size;
* `loss_by_step.csv`: the loss of the trained network, and of a memory of all images, at some steps;
* `ema.webp`: the first eight seeds with the averaged weights, and below with the weights of the last step;
* `gaussian.webp`: the same seeds with the best linear answer.
"""

from __future__ import annotations

import argparse
import csv
import json
import pathlib
import re

import keras
import numpy as np
from PIL import Image

from ddpm_lib import checkpoints, data, sampling
from ddpm_lib.hardware import compiled
from ddpm_lib.images import from_uint8, make_grid, to_pil, to_uint8

ROOT = pathlib.Path(__file__).parents[2]
# The paper's t: every 50th, and more where the images are nearly clean.
STEPS = sorted({1, 2, 4, 8, 15, 25, 35, 75, *range(50, 1001, 50)})
IMAGES_PER_STEP = 128
NUM_ASKED = 64  # of them, what the memory is asked about


def write_csv(path, rows):
    """Write dictionaries with the same keys as a table, floats with six digits."""
    with open(path, "w", newline="") as file:
        writer = csv.DictWriter(file, fieldnames=list(rows[0]), lineterminator="\n")
        writer.writeheader()
        for row in rows:
            writer.writerow({key: f"{x:.6g}" if isinstance(x, float) else x for key, x in row.items()})


def facts(trainer, log):
    """Describe a run: its settings without paths, its length, and the seconds of every epoch if a log has them."""
    config = trainer.run.to_dict()
    del config["data"]["data_dir"], config["data"]["cache_dir"]
    epochs = len(trainer.rows)
    seconds = re.findall(r"^\d+/\d+ - (\d+)s", log.read_text("utf8"), re.M) if log else []
    return {
        "epochs": epochs,
        "steps": trainer.rows[-1]["step"],
        "images": trainer.rows[-1]["step"] * config["train"]["batch_size"],
        "weights": trainer.network.count_params(),
        "seconds_per_epoch": [int(found) for found in seconds[:epochs]],
        "config": config,
    }


def film(folder, scale):
    """Read the run's sample grids at their own size, in the order of the epochs."""
    paths = sorted(folder.glob("samples/epoch_*.png"), key=lambda path: int(re.search(r"\d+", path.stem)[0]))
    return [Image.open(path).convert("RGB").reduce(scale) for path in paths]


def draw(network, trainer):
    """Sample the first eight seeds by DDIM in 50 steps: (8, H, W, C) uint8."""
    model = checkpoints.LoadedModel(compiled(network), network, trainer.schedule, trainer.run)
    return to_uint8(sampling.sample_images(model, sampling.ddim_sample, range(8), num_steps=50))


def with_mirror_images(images_uint8):
    """Turn N images into 2 N rows of float32 numbers in [-1, 1]: (2 N, D)."""
    x_0 = from_uint8(images_uint8)
    return np.concatenate([x_0, x_0[:, :, ::-1]]).reshape(2 * len(x_0), -1)


def principal_axes(rows):
    """Mean of (N, D) rows, their variances along the principal axes (largest first), and the axes as columns."""
    mean = rows.mean(axis=0)
    centred = rows - mean
    variances, axes = np.linalg.eigh((centred.T @ centred).astype(np.float64) / len(rows))
    return mean, variances[::-1], axes[:, ::-1]


def draw_gaussian(trainer, mean, variances, axes):
    """Sample the first eight seeds with the best linear answer, by all the steps of DDIM that there could be.

    For the normal distribution with the mean and the covariance of the images, the walk from x_T to x_0 is known: along
    every axis the distance from the mean shrinks like its standard deviation.
    """
    unet = trainer.run.unet
    shape = (unet.image_size, unet.image_size, unet.channels)
    x_T = sampling.noise_per_image(range(8), shape)(-1).reshape(8, -1)
    alpha_bar = trainer.schedule.alpha_bars[-1]
    shrinking = np.sqrt(variances / (alpha_bar * variances + 1 - alpha_bar))
    x_0 = mean + ((x_T - np.sqrt(alpha_bar) * mean) @ axes * shrinking) @ axes.T
    return to_uint8(x_0.reshape(8, *shape))


def recall(asked, bank, alpha_bar):
    """Average of all images, weighted by the probability that each of them is behind a noisy image.

    Args:
        asked: (M, D) noisy images x_t.
        bank: (N, D) clean images, all equally likely.
        alpha_bar: of the step.

    Returns:
        (M, D), the expected clean image.
    """
    logs = np.sqrt(alpha_bar) * (asked @ bank.T) - alpha_bar / 2 * np.einsum("nd,nd->n", bank, bank)
    logs /= 1 - alpha_bar
    shares = np.exp(logs - logs.max(axis=1, keepdims=True))
    return (shares / shares.sum(axis=1, keepdims=True)).astype(bank.dtype) @ bank


def losses_by_step(trainer, images_uint8):
    """Loss of the averaged network and of the memory at some steps: rows of step, network, memory.

    The memory is the best possible answer on the training images: it knows that every image is one of them or its
    mirror image, and nothing else.
    """
    rng = np.random.default_rng(0)
    predict_noise = compiled(trainer.ema_network)
    shape = images_uint8.shape[1:]
    bank = with_mirror_images(images_uint8)
    rows = []
    for step in STEPS:
        x_0 = bank[rng.choice(len(bank), IMAGES_PER_STEP, replace=False)]
        noise = rng.standard_normal(x_0.shape, dtype=np.float32)
        alpha_bar = trainer.schedule.alpha_bars[step - 1]
        x_t = (np.sqrt(alpha_bar) * x_0 + np.sqrt(1 - alpha_bar) * noise).astype("float32")
        t = np.full(32, step - 1, "int32")
        batches = np.split(x_t.reshape(-1, *shape), IMAGES_PER_STEP // 32)
        answers = [keras.ops.convert_to_numpy(predict_noise(batch, t)) for batch in batches]
        asked = x_t[:NUM_ASKED]
        recalled = (asked - np.sqrt(alpha_bar) * recall(asked, bank, alpha_bar)) / np.sqrt(1 - alpha_bar)
        losses = {
            "network": np.square(np.concatenate(answers).reshape(noise.shape) - noise).mean(),
            "memory": np.square(recalled - noise[:NUM_ASKED]).mean(),
        }
        rows.append({"step": step, **{name: float(loss) for name, loss in losses.items()}})
    return rows


def main():
    """Read the command line and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=pathlib.Path, help="run folder")
    parser.add_argument("name", help="folder under data/runs")
    parser.add_argument("--log", type=pathlib.Path, help="what the training printed, for the seconds of its epochs")
    parser.add_argument("--last", action="store_true", help="no film, where it would be too large")
    parser.add_argument("--measure", action="store_true", help="also what needs the training images")
    parser.add_argument("--out", type=pathlib.Path, default=ROOT / "data" / "runs")
    flags = parser.parse_args()

    folder = flags.out / flags.name
    folder.mkdir(parents=True, exist_ok=True)
    [*_, (_, last)] = checkpoints.epoch_files(flags.run)
    trainer = checkpoints.resume(last)
    unet = trainer.run.unet
    frames = film(flags.run, max(1, 96 // unet.image_size))[: len(trainer.rows)]
    write_csv(folder / "history.csv", trainer.rows)
    (folder / "run.json").write_text(json.dumps(facts(trainer, flags.log), indent=1) + "\n", "utf8")
    if flags.last:
        frames[-1].save(folder / "samples.webp", lossless=True, method=6)
    else:
        rest = [400] * (len(frames) - 1) + [3000]
        frames[0].save(
            folder / "film.webp", save_all=True, append_images=frames[1:], duration=rest, lossless=True, method=6
        )
    if flags.measure:
        images = data.load_images(trainer.run.data, unet)
        mean, variances, axes = principal_axes(with_mirror_images(images))
        write_csv(folder / "spectrum.csv", [{"variance": float(value)} for value in variances])
        halves = np.stack([np.asarray(Image.fromarray(image).reduce(2)) for image in images])
        _, small, _ = principal_axes(with_mirror_images(halves))
        write_csv(folder / "spectrum_half.csv", [{"variance": float(value)} for value in small])
        write_csv(folder / "loss_by_step.csv", losses_by_step(trainer, images))
        pictures = {
            "ema": [draw(network, trainer) for network in (trainer.ema_network, trainer.network)],
            "gaussian": [draw_gaussian(trainer, mean, variances, axes)],
        }
        for name, rows in pictures.items():
            grid = make_grid(np.concatenate(rows), columns=8)
            to_pil(grid).save(folder / f"{name}.webp", lossless=True, method=6)
    for path in sorted(folder.iterdir()):
        print(f"{path.relative_to(flags.out)}: {path.stat().st_size:,} bytes")


if __name__ == "__main__":
    main()
