"""What makes training on faces faster? Settings that differ from the preset faces64 in one thing, for the same time.

    python benchmarks/face_trials.py --data_dir img_align_celeba.zip [--minutes 20] [--arms preset noise ...]

Every arm starts from the same seed, sees the same photographs, and is stopped after the same time, so it needs the
machine alone. Then 500 faces of the averaged weights are judged as `ddpm evaluate` does. A loss would not do: what it
is the mean of differs from arm to arm. An arm that is already in the file of results is not trained again. Of each the
first 16 faces are kept as a picture.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import pathlib
import signal
import tempfile

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import ddpm_lib
from ddpm_lib import checkpoints, data, evaluation, images, sampling
from ddpm_lib.config import PRESETS
from ddpm_lib.training import DiffusionTrainer, fit_run

OUT = pathlib.Path(__file__).parents[1] / "data/runs/face_trials"
NUM_SAMPLES, SAMPLING_STEPS = 500, 50
# What differs from the preset: v predicted, cosine schedule, patches of 2, no weights of the loss, no attention.
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


def train(config, pictures, seconds):
    """Train from the beginning until the time is up, which ends a run as Ctrl-C does: after a whole step."""
    trainer = DiffusionTrainer(config)
    signal.signal(signal.SIGALRM, lambda *_: signal.raise_signal(signal.SIGINT))
    signal.setitimer(signal.ITIMER_REAL, seconds)
    with contextlib.suppress(KeyboardInterrupt):
        fit_run(trainer, pictures, verbose=2)
    return trainer


def main():
    """Train and judge every arm that is not in the file yet."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data_dir", default=os.environ.get("DDPM_DATA_DIR"), help="archive or folder of photographs")
    parser.add_argument("--minutes", type=float, default=20)
    parser.add_argument("--arms", nargs="+", choices=ARMS, default=list(ARMS))
    parser.add_argument("--out", type=pathlib.Path, default=OUT)
    flags = parser.parse_args()
    preset = PRESETS["faces64"].replace(data={"dataset": "celeba", "data_dir": flags.data_dir})
    pictures, network = data.load_images(preset.data, preset.unet), evaluation.feature_network("faces")
    flags.out.mkdir(parents=True, exist_ok=True)
    file = flags.out / "results.json"
    result = {"minutes": flags.minutes, "num_samples": NUM_SAMPLES, "arms": {}}
    if file.exists():
        result = json.loads(file.read_text("utf8"))
        if result["minutes"] != flags.minutes:
            parser.error(f"{file} is of arms of {result['minutes']:g} minutes: name another --out, or remove it")
    for name in flags.arms:
        if name in result["arms"]:
            continue
        trainer = train(preset.replace(**ARMS[name]), pictures, 60 * flags.minutes)
        with tempfile.TemporaryDirectory() as folder:
            checkpoints.save(trainer, pathlib.Path(folder) / "arm.keras")
            model = ddpm_lib.load(pathlib.Path(folder) / "arm.keras")
        drawn = images.to_uint8(
            sampling.sample_images(
                model,
                sampling.ddpm_sample,
                range(NUM_SAMPLES),
                batch_size=32,
                num_steps=SAMPLING_STEPS,
                variance="posterior",
            )
        )
        judged = evaluation.judge(drawn, pictures, network)
        result["photographs"] = judged["photographs"]
        arm = {"images": trainer.step * preset.train.batch_size, **judged["samples"]}
        result["arms"][name] = arm
        picture = flags.out / f"{name.replace(', ', '_').replace(' ', '_')}.webp"
        images.to_pil(images.make_grid(drawn[:16], 16)).save(picture, quality=85, method=6)
        file.write_text(json.dumps(result, indent=1) + "\n", "utf8")
        distance = arm["frechet_distance"]
        print(
            f"{name}: {arm['images']:,} images, distance {distance['mean']:.3f} ± {distance['std']:.3f}, "
            f"faces {arm['faces']:.1%}",
            flush=True,
        )
    print(f"wrote {flags.out}")


if __name__ == "__main__":
    main()
