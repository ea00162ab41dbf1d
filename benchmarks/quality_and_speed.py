"""How good the shipped faces are, and how long they take, by sampler and number of steps.

    python benchmarks/quality_and_speed.py --data_dir img_align_celeba.zip

Quality is measured as `ddpm evaluate` does, always with the same first seeds. Seconds are those of one image, drawn in
batches of 32; they need a quiet machine. Of each run the first 16 faces are kept as a picture. A run that is already in
the file of results is not done again, so a command that was stopped goes on where it was; --steps chooses.
"""

from __future__ import annotations

import argparse
import os
import pathlib
import time

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

from measure.faces import JudgedFaces

import ddpm_lib
from ddpm_lib import images, sampling
from ddpm_lib.config import InputError

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
    if flags.data_dir is None:
        print("skipped: no photographs are named by --data_dir or DDPM_DATA_DIR")
        return
    try:
        model = ddpm_lib.load(flags.model)
        judged = JudgedFaces(
            flags.out, flags.data_dir, model=flags.model, model_step=model.step, num_samples=flags.num_samples
        )
    except InputError as error:
        parser.error(str(error))
    for num_steps in flags.steps:
        for sampler_name in flags.samplers:
            name = f"{sampler_name}, {num_steps} steps"
            if name in judged:
                continue
            sampler, options = RUNS[sampler_name]
            options = options | {"num_steps": num_steps, "batch_size": BATCH}
            sampling.sample_images(model, sampler, range(BATCH), **options | {"num_steps": 2})  # compiles
            began = time.perf_counter()
            drawn = images.to_uint8(sampling.sample_images(model, sampler, range(flags.num_samples), **options))
            judged.add(name, drawn, seconds=(time.perf_counter() - began) / flags.num_samples)
    print(f"wrote {flags.out}")


if __name__ == "__main__":
    main()
