"""How good the shipped faces are, and how long they take, by sampler and number of steps.

    python benchmarks/quality_and_speed.py --data_dir img_align_celeba.zip

Quality is measured as `ddpm evaluate` does, always with the same first seeds. Seconds are those of one image, drawn in
batches of 32; they need a quiet machine. Of each run the first 16 faces are kept as a picture. A run that is already in
the file of results is not done again, so a command that was stopped goes on where it was; --steps chooses.
"""

from __future__ import annotations

import argparse
import json
import os
import pathlib
import time

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import ddpm_lib
from ddpm_lib import data, evaluation, images, sampling

OUT = pathlib.Path(__file__).parents[1] / "data/runs/faces64/quality_and_speed"
STEPS = (10, 20, 50, 100, 250, 1000)
BATCH = 32
RUNS = {
    "ddpm beta": (sampling.ddpm_sample, {"variance": "beta"}),
    "ddpm posterior": (sampling.ddpm_sample, {"variance": "posterior"}),
    "ddim": (sampling.ddim_sample, {}),
    "ddim eta 1": (sampling.ddim_sample, {"eta": 1.0}),
    "dpm-solver++": (sampling.dpm_solver_pp_sample, {}),
}


def main():
    """Draw with everything, and write down after each what was found."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data_dir", default=os.environ.get("DDPM_DATA_DIR"), help="archive or folder of photographs")
    parser.add_argument("--model", default="faces")
    parser.add_argument("--num_samples", type=int, default=500)
    parser.add_argument("--steps", type=int, nargs="+", default=STEPS)
    parser.add_argument("--samplers", nargs="+", choices=RUNS, default=list(RUNS))
    parser.add_argument("--out", type=pathlib.Path, default=OUT)
    flags = parser.parse_args()
    model, network = ddpm_lib.load(flags.model), evaluation.feature_network("faces")
    config = model.config.replace(data={"data_dir": flags.data_dir})
    photographs = data.load_images(config.data, config.unet)
    flags.out.mkdir(parents=True, exist_ok=True)
    file = flags.out / "results.json"
    result = {"model": flags.model, "model_step": model.step, "num_samples": flags.num_samples, "runs": {}}
    if file.exists():
        found = json.loads(file.read_text("utf8"))
        if {**found, "runs": {}, "photographs": None} != {**result, "photographs": None}:
            parser.error(f"{file} is of another model or number of samples: name another --out, or remove it")
        result = found
    for num_steps in flags.steps:
        for name in flags.samplers:
            if str(num_steps) in result["runs"].get(name, {}):
                continue
            sampler, options = RUNS[name]
            options = options | {"num_steps": num_steps, "batch_size": BATCH}
            sampling.sample_images(model, sampler, range(BATCH), **options | {"num_steps": 2})  # compiles
            began = time.perf_counter()
            drawn = images.to_uint8(sampling.sample_images(model, sampler, range(flags.num_samples), **options))
            seconds = (time.perf_counter() - began) / flags.num_samples
            judged = evaluation.judge(drawn, photographs, network)
            result["photographs"] = judged["photographs"]
            run = result["runs"].setdefault(name, {})[str(num_steps)] = {"seconds": seconds, **judged["samples"]}
            picture = flags.out / f"{name.replace(' ', '_')}_{num_steps}.webp"
            images.to_pil(images.make_grid(drawn[:16], 16)).save(picture, quality=85, method=6)
            file.write_text(json.dumps(result, indent=1) + "\n", "utf8")
            distance = run["frechet_distance"]
            print(
                f"{num_steps:4d} steps of {name}: {distance['mean']:.3f} ± {distance['std']:.3f}, "
                f"faces {run['faces']:.1%}, {seconds:.2f} s an image",
                flush=True,
            )
    print(f"wrote {flags.out}")


if __name__ == "__main__":
    main()
