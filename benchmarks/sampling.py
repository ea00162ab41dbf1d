"""Measure one sampling step of `celeba64` beside diffusers' `DDPMPipeline`, and what our samplers add to the network.

    python benchmarks/sampling.py [--batch_size 4] [--rounds 2] [--steps 10]

Float32 on the CPU, untrained weights. Each variant runs in a process of its own with the same number of threads, one
after the other, round after round; a ratio is the median of the rounds' ratios. The overhead of a sampler is its time
over that of as many calls of the bare compiled network, taken in turn in one process. diffusers is part of the extra
`peers`; without it only our own figures are printed.
"""

import argparse
import json
import statistics

import measure
from measure import peers

from ddpm_lib.config import PRESETS

CONFIG = PRESETS["celeba64"]
VARIANTS = {
    "ours": (),
    "diffusers, NCHW": ("torch", "diffusers"),
    "diffusers, channels_last": ("torch", "diffusers"),
}


def measure_ours(batch_size: int, num_steps: int, num_repeats: int) -> dict:
    """Time the bare compiled network and every sampler, in turn."""
    import numpy as np
    from keras import ops

    from ddpm_lib import sampling
    from ddpm_lib.hardware import compiled
    from ddpm_lib.schedules import build_schedule
    from ddpm_lib.unet import build_unet

    predict_noise = compiled(build_unet(CONFIG.unet))
    schedule = build_schedule()
    shape = (batch_size, CONFIG.unet.image_size, CONFIG.unet.image_size, CONFIG.unet.channels)
    x_T = np.random.default_rng(0).standard_normal(shape, dtype="float32")
    x_t, t = ops.convert_to_tensor(x_T), ops.full((batch_size,), 500, dtype="int32")

    def bare():
        for _ in range(num_steps):
            predict_noise(x_t, t)

    jobs = {"bare network": bare}
    for sampler in (sampling.ddpm_sample, sampling.ddim_sample, sampling.dpm_solver_pp_sample):
        jobs[sampler.__name__] = lambda sampler=sampler: sampler(predict_noise, schedule, x_T, num_steps=num_steps)
    seconds, others = measure.time_calls(jobs, num_repeats)
    return {
        "image_steps_per_second": batch_size * num_steps / statistics.median(seconds["ddpm_sample"]),
        "taken_by_others": others,
        "overhead": {
            name: measure.median_ratio(rows, seconds["bare network"]) - 1
            for name, rows in seconds.items()
            if name != "bare network"
        },
    }


def measure_diffusers(variant: str, batch_size: int, num_steps: int, num_repeats: int) -> dict:
    """Time `DDPMPipeline`."""
    import torch
    from diffusers import DDPMPipeline, DDPMScheduler

    torch.set_num_threads(measure.NUM_THREADS)
    layout = torch.contiguous_format if "NCHW" in variant else torch.channels_last
    pipeline = DDPMPipeline(peers.diffusers_unet(CONFIG.unet).eval().to(memory_format=layout), DDPMScheduler())
    pipeline.set_progress_bar_config(disable=True)
    sample = lambda: pipeline(batch_size, num_inference_steps=num_steps, output_type="np")  # noqa: E731
    seconds, others = measure.time_calls({"call": sample}, num_repeats)
    return {
        "image_steps_per_second": batch_size * num_steps / statistics.median(seconds["call"]),
        "taken_by_others": others,
    }


def compare(figures: dict[str, list[dict]]) -> dict:
    """Turn the figures of all rounds into medians and ratios."""
    variants = {}
    for variant, rounds in figures.items():
        speeds = [figure["image_steps_per_second"] for figure in rounds]
        variants[variant] = {
            "image_steps_per_second": statistics.median(speeds),
            "rounds_image_steps_per_second": speeds,
            "taken_by_others": max(figure["taken_by_others"] for figure in rounds),
        }
    overheads = [figure["overhead"] for figure in figures["ours"]]
    results = {"sampler_overhead": {name: statistics.median(row[name] for row in overheads) for name in overheads[0]}}
    theirs = [row["rounds_image_steps_per_second"] for name, row in variants.items() if name != "ours"]
    if theirs:
        ours = variants["ours"]["rounds_image_steps_per_second"]
        results["sample_ratio_vs_diffusers"] = measure.ratio_to_fastest(ours, theirs)
    results["taken_by_others"] = max(row["taken_by_others"] for row in variants.values())
    return {**results, "variants": variants}


def table(results: dict) -> str:
    """Lay the comparison out as a Markdown table."""
    lines = ["| one sampling step | image steps/s |", "|---|--:|"]
    lines += [f"| {name} | {row['image_steps_per_second']:.1f} |" for name, row in results["variants"].items()]
    return "\n".join(lines)


def main() -> None:
    """Run all variants in turn, print the comparison and write it down."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--batch_size", type=int, default=4)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--steps", type=int, default=10, help="sampling steps of a call")
    parser.add_argument("--repeats", type=int, default=3, help="timed calls a round, after one that is not counted")
    parser.add_argument("--output", default=measure.RESULTS / "sampling.json", help="file to write")
    parser.add_argument("--variant", choices=VARIANTS, help=argparse.SUPPRESS)
    flags = parser.parse_args()
    if flags.variant == "ours":
        print(json.dumps(measure_ours(flags.batch_size, flags.steps, flags.repeats)))
        return
    if flags.variant:
        print(json.dumps(measure_diffusers(flags.variant, flags.batch_size, flags.steps, flags.repeats)))
        return

    options = [f"--batch_size={flags.batch_size}", f"--steps={flags.steps}", f"--repeats={flags.repeats}"]
    figures = measure.in_turn(__file__, measure.installed(VARIANTS), flags.rounds, options)
    results = {
        "command": f"python benchmarks/sampling.py --rounds {flags.rounds} {' '.join(options)}",
        "machine": measure.machine(),
        "versions": measure.versions(["tensorflow", "keras", "torch", "diffusers"]),
        **compare(figures),
    }
    measure.write_results(flags.output, results)
    print(table(results))
    for name, overhead in results["sampler_overhead"].items():
        print(f"{name}: {overhead:.1%} more than the bare network")
    if "sample_ratio_vs_diffusers" in results:
        print(
            f"sample_ratio_vs_diffusers: {results['sample_ratio_vs_diffusers']:.2f} (median of {flags.rounds} rounds)"
        )
    print(f"other processes took at most {results['taken_by_others']:.0%} of the processors' time meanwhile")


if __name__ == "__main__":
    main()
