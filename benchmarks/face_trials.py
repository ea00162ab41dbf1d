"""What makes training on faces faster? Settings that differ from the preset faces64 in one thing, for the same time.

    python benchmarks/face_trials.py --data_dir img_align_celeba.zip [--steps 2000] [--arms preset noise ...]

Time is counted in steps of the preset. An arm with another network takes as many steps as fit into that time, by how
much longer its own step takes, measured in turn with the preset's. So the trials can share a machine with other work.
Every arm starts from the same seed and sees the same photographs. Then 500 faces of the averaged weights are judged as
`ddpm evaluate` does. A loss would not do: it says little about faces. An arm that is already in the file of results is
not trained again. Of each the first 16 faces are kept as a picture.
"""

from __future__ import annotations

import argparse
import os
import pathlib
import statistics
import tempfile

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import measure
from measure.faces import JudgedFaces

import ddpm_lib
from ddpm_lib import checkpoints, images, sampling
from ddpm_lib.config import PRESETS, InputError
from ddpm_lib.training import DiffusionTrainer, fit_run

OUT = pathlib.Path(__file__).parents[1] / "data/runs/face_trials"
PRESET = PRESETS["faces64"]
NUM_SAMPLES = 500
SAMPLING = {"batch_size": 32, "num_steps": 50, "variance": "posterior"}
# What differs from the preset: v, the cosine schedule, patches of 2, no weights of the loss, attention at 8x8 alone.
ARMS = {
    "preset": {},
    "noise": {"diffusion": {"prediction": "noise"}},
    "linear": {"diffusion": {"kind": "linear"}},
    "noise, linear": {"diffusion": {"prediction": "noise", "kind": "linear"}},
    "min-SNR 5": {"train": {"min_snr_gamma": 5.0}},
    "patch 1": {"unet": {"patch": 1}},
    "half the rate": {"train": {"learning_rate": 2e-4}},
    "twice the rate": {"train": {"learning_rate": 8e-4}},
    "attention at 16x16": {"unet": {"attention_resolutions": (16,)}},
}


def relative_cost(name, pictures):
    """Return how many times as long as the preset's a step of this arm takes."""
    if "unet" not in ARMS[name]:  # the same operations, on other numbers
        return 1.0
    batch = images.from_uint8(pictures[: PRESET.train.batch_size])
    trainers = {other: DiffusionTrainer(PRESET.replace(**ARMS[other])) for other in ("preset", name)}
    calls = {other: lambda trainer=trainer: trainer.train_on_batch(batch) for other, trainer in trainers.items()}
    seconds, _ = measure.time_calls(calls, 10)
    return statistics.median(seconds[name]) / statistics.median(seconds["preset"])


def main():
    """Train and judge every arm that is not in the file yet."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data_dir", default=os.environ.get("DDPM_DATA_DIR"), help="archive or folder of photographs")
    parser.add_argument("--steps", type=int, default=2000, help="of the preset (default: 2000, 64,000 images)")
    parser.add_argument("--arms", nargs="+", choices=ARMS, default=list(ARMS))
    parser.add_argument("--out", type=pathlib.Path, default=OUT)
    flags = parser.parse_args()
    if flags.data_dir is None:
        print("skipped: no photographs are named by --data_dir or DDPM_DATA_DIR")
        return
    try:
        if flags.steps < 1:
            raise InputError("--steps must be at least 1")
        judged = JudgedFaces(flags.out, flags.data_dir, steps=flags.steps, num_samples=NUM_SAMPLES)
    except InputError as error:
        parser.error(str(error))
    for name in flags.arms:
        if name in judged:
            continue
        cost = relative_cost(name, judged.photographs)
        train = {**ARMS[name].get("train", {}), "epochs": 1, "steps_per_epoch": round(flags.steps / cost)}
        trainer = DiffusionTrainer(PRESET.replace(**ARMS[name] | {"train": train}))
        fit_run(trainer, judged.photographs, verbose=2)
        with tempfile.TemporaryDirectory() as folder:
            try:
                checkpoints.save(trainer, pathlib.Path(folder) / "arm.keras")
            except InputError as error:  # weights that are not finite: the other arms can do without this one
                print(f"{name}: {error}", flush=True)
                continue
            model = ddpm_lib.load(pathlib.Path(folder) / "arm.keras")
        drawn = sampling.sample_images(model, sampling.ddpm_sample, range(NUM_SAMPLES), **SAMPLING)
        judged.add(name, images.to_uint8(drawn), relative_cost=cost, images=trainer.step * PRESET.train.batch_size)
    print(f"wrote {flags.out}")


if __name__ == "__main__":
    main()
