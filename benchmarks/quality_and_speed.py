"""How good the shipped faces are, and how long they take, by sampler, number of steps and spacing of the steps.

    python benchmarks/quality_and_speed.py --data_dir img_align_celeba.zip

Quality is measured as `ddpm evaluate` does, always with the same first seeds. A run that is already in the file of
results is not done again, so a command that was stopped goes on where it was; --steps and --samplers choose. Of each
run the first 16 faces are kept as a picture. Then the samplers and the bare network take ten steps each in turn, on a
batch of 32 faces: so the seconds of a step can be compared, also where the qualities were measured on a busy machine.
DDIM with eta 1 is not among the samplers: it draws the pictures of DDPM with the posterior variance.
"""

from __future__ import annotations

import argparse
import os
import pathlib
import statistics

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import measure
from keras import ops
from measure.faces import JudgedFaces

import ddpm_lib
from ddpm_lib import hardware, images, sampling
from ddpm_lib.config import InputError
from ddpm_lib.evaluation import check_counts

OUT = pathlib.Path(__file__).parents[1] / "data/runs/faces64/quality_and_speed"
STEPS = (10, 20, 50, 100, 250, 1000)
BATCH, TIMED_STEPS = 32, 10
RUNS = {
    "ddpm beta": (sampling.ddpm_sample, {"variance": "beta"}),
    "ddpm posterior": (sampling.ddpm_sample, {"variance": "posterior"}),
    "ddim": (sampling.ddim_sample, {}),
    "dpm-solver++": (sampling.dpm_solver_pp_sample, {}),
    "ddpm posterior, log_snr": (sampling.ddpm_sample, {"variance": "posterior", "spacing": "log_snr"}),
    "dpm-solver++, log_snr": (sampling.dpm_solver_pp_sample, {"spacing": "log_snr"}),
}


def seconds_of_a_step(model):
    """Return the seconds that a step of one image takes with each sampler and without one, the median of five runs."""
    network = hardware.compiled(model.network)
    x_t = ops.convert_to_tensor(sampling.noise_per_image(range(BATCH), model.image_shape)(-1))
    t = ops.full((BATCH,), 500, dtype="int32")

    def run(name):
        sampler, options = RUNS[name]
        sampling.sample_images(model, sampler, range(BATCH), num_steps=TIMED_STEPS, batch_size=BATCH, **options)

    def bare():
        for _ in range(TIMED_STEPS):
            network(x_t, t)

    jobs = {"bare network": bare, **{name: lambda name=name: run(name) for name in RUNS}}
    seconds, others = measure.time_calls(jobs, 5)
    each = {name: statistics.median(times) / TIMED_STEPS / BATCH for name, times in seconds.items()}
    return {"seconds_of_a_step": each, "taken_by_others": others}


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
        check_counts(flags.num_samples, len(judged.photographs))
        if model.image_shape != judged.photographs.shape[1:]:
            raise InputError(f"{flags.model} does not draw faces of 64x64 pixels: name another --model")
        if not 1 <= min(flags.steps) <= max(flags.steps) <= model.schedule.num_steps:
            raise InputError(f"--steps must be 1 to {model.schedule.num_steps}")
    except InputError as error:
        parser.error(str(error))
    for num_steps in flags.steps:
        for sampler_name in flags.samplers:
            name = f"{sampler_name}, {num_steps} steps"
            if name in judged:
                continue
            sampler, options = RUNS[sampler_name]
            options = options | {"num_steps": num_steps, "batch_size": BATCH}
            drawn = sampling.sample_images(model, sampler, range(flags.num_samples), **options)
            judged.add(name, images.to_uint8(drawn))
    judged.note(**seconds_of_a_step(model))
    print(f"wrote {flags.out}")


if __name__ == "__main__":
    main()
