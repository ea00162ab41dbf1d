"""How far the shipped digits model's samples are from the digits, by sampler and number of steps.

    python benchmarks/few_steps.py

The distance is the energy distance of the pixels, 2 E|X - Y| - E|X - X'| - E|Y - Y'|, where X and X' are samples, Y and
Y' digits, and |.| is the length of all 256 differences. It is 0 only where both have the same distribution (Székely and
Rizzo, 2013). Its floor is what as many real digits have from the others: on average 0, with a spread.
"""

from __future__ import annotations

import argparse
import json
import os
import pathlib

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np
from scipy.spatial.distance import cdist

import ddpm_lib
from ddpm_lib import data, images, sampling
from ddpm_lib.schedules import timestep_subsequence

OUT = pathlib.Path(__file__).parents[1] / "data/runs/few_steps/digits.json"
FEW = (10, 20, 50, 100, 250)
ALL = (*FEW, 1000)


def noise_kept_sample(predict_noise, schedule, x_T, *, num_steps, noise_fn, eta=0.0):
    """Sample as `ddim_sample`, but put the network's own noise beside the clipped image."""
    x, visited = np.asarray(x_T), timestep_subsequence(schedule.num_steps, num_steps)
    for number, (t, t_next) in enumerate(zip(visited, np.append(visited[1:], -1), strict=True)):
        alpha_bar, alpha_bar_next = schedule.alpha_bars[t], schedule.alpha_bars[t_next] if t_next >= 0 else 1.0
        noise = np.asarray(predict_noise(x.astype("float32"), np.full(len(x), t, "int32")))
        x_0 = np.clip((x - np.sqrt(1 - alpha_bar) * noise) / np.sqrt(alpha_bar), -1, 1)
        sigma = eta * np.sqrt((1 - alpha_bar_next) / (1 - alpha_bar) * (1 - alpha_bar / alpha_bar_next))
        x = np.sqrt(alpha_bar_next) * x_0 + np.sqrt(1 - alpha_bar_next - sigma**2) * noise
        if sigma > 0:
            x = x + sigma * noise_fn(number)
    return x


RUNS = {  # sampler, its options, the numbers of steps
    "ddpm beta": (sampling.ddpm_sample, {"variance": "beta"}, ALL),
    "ddpm posterior": (sampling.ddpm_sample, {"variance": "posterior"}, ALL),
    "ddpm beta, leading": (sampling.ddpm_sample, {"variance": "beta", "spacing": "leading"}, FEW),
    "ddim": (sampling.ddim_sample, {}, ALL),
    "ddim, leading": (sampling.ddim_sample, {"spacing": "leading"}, FEW),
    "ddim, noise kept": (noise_kept_sample, {}, ALL),
    "ddim, noise kept, eta 1": (noise_kept_sample, {"eta": 1.0}, FEW),
    "ddim, not clipped": (sampling.ddim_sample, {"clip": False}, ALL),
    "dpm-solver++": (sampling.dpm_solver_pp_sample, {}, FEW),
}


def energy_distance(between: np.ndarray, within: np.ndarray, within_others: np.ndarray) -> float:
    """Estimate the energy distance of two samples without bias, from their lengths (N, M), (N, N) and (M, M)."""

    def mean(lengths):
        return lengths.sum() / len(lengths) / (len(lengths) - 1)

    return float(2 * between.mean() - mean(within) - mean(within_others))


def main():
    """Sample with everything, and write the distances down after each."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--num_samples", type=int, default=64)
    parser.add_argument("--out", type=pathlib.Path, default=OUT)
    flags = parser.parse_args()
    model = ddpm_lib.load("digits")
    digits = images.from_uint8(data.load_images(model.config.data, model.config.unet)).reshape(-1, 256)
    lengths, generator, floors = cdist(digits, digits), np.random.default_rng(0), []
    for _ in range(100):
        some, others = np.split(generator.permutation(len(digits)), [flags.num_samples])
        floors.append(
            energy_distance(*(lengths[np.ix_(*pair)] for pair in [(some, others), (some, some), (others, others)]))
        )
    result = {
        "command": f"python benchmarks/few_steps.py --num_samples {flags.num_samples}",
        "model_step": model.step,
        "num_digits": len(digits),
        "floor": {"mean": round(float(np.mean(floors)), 4), "standard_deviation": round(float(np.std(floors)), 4)},
        "distances": {name: {} for name in RUNS},
    }
    shape, predict_noise = model.image_shape, model.predict_noise
    noise_fn = sampling.noise_per_image(range(flags.num_samples), shape)
    flags.out.parent.mkdir(parents=True, exist_ok=True)
    for num_steps in ALL:
        for name, (sampler, options, counts) in RUNS.items():
            if num_steps not in counts:
                continue
            if sampler is not sampling.dpm_solver_pp_sample:
                options = options | {"noise_fn": noise_fn}
            x_0 = np.asarray(sampler(predict_noise, model.schedule, noise_fn(-1), num_steps=num_steps, **options))
            x_0 = x_0.reshape(-1, 256)
            distance = energy_distance(cdist(x_0, digits), cdist(x_0, x_0), lengths)
            result["distances"][name][str(num_steps)] = round(distance, 4)
            flags.out.write_text(json.dumps(result, indent=1) + "\n")
            print(f"{num_steps:4d} steps of {name}: {distance:.3f}", flush=True)
    print(f"wrote {flags.out}")


if __name__ == "__main__":
    main()
