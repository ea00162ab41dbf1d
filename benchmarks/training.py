"""Measure one training step of `celeba64` beside the same work in diffusers and denoising-diffusion-pytorch.

    python benchmarks/training.py [--batch_size 16] [--rounds 2] [--steps 3]

Float32 on the CPU. Each variant runs in a process of its own with the same number of threads, one after the other,
round after round. A round's figure is the median of its steps; a ratio is the median of the rounds' ratios. Prints
images per second, operations (FLOPs) per image, and their share of the fastest 3x3 convolution that this machine showed
in the same run. The peers are the extra `peers`: those not installed are skipped.
"""

import argparse
import json
import resource
import statistics

import measure
from measure import peers

from ddpm_lib.config import PRESETS

CONFIG = PRESETS["celeba64"]

# Each variant: the packages it needs.
VARIANTS = {
    "ours": (),
    "diffusers, NCHW": ("torch", "diffusers"),
    "diffusers, channels_last": ("torch", "diffusers"),
    "diffusers, channels_last, attention once a level": ("torch", "diffusers"),
    "denoising-diffusion-pytorch": ("torch", "denoising_diffusion_pytorch"),
}
PEERS = ("torch", "diffusers", "denoising-diffusion-pytorch")
# Images, height and width, channels in and out of the convolutions whose best speed is called the machine's peak.
PEAK_SHAPES = [(16, 32, 128), (16, 32, 256), (8, 64, 128)]


def build_peer(variant: str):
    """Build the network of a peer by the variant's name."""
    if variant.startswith("diffusers"):
        return peers.diffusers_unet(CONFIG.unet, attention_once="once" in variant)
    return peers.lucidrains_unet(CONFIG.unet)


def measure_ours(batch_size: int, num_steps: int) -> dict:
    """Time our step: forward, backward, clipping, Adam and the average of the weights."""
    import numpy as np
    import tensorflow as tf

    from ddpm_lib.training import DiffusionTrainer

    trainer = DiffusionTrainer(CONFIG)
    x_0 = np.random.default_rng(0).uniform(-1, 1, (batch_size, CONFIG.unet.image_size, CONFIG.unet.image_size, 3))
    x_0 = x_0.astype("float32")
    seconds, others = measure.time_calls({"step": lambda: trainer.train_on_batch(x_0)}, num_steps)
    memory = peak_memory_mib()

    convolve = tf.function(lambda x, kernel: tf.nn.conv2d(x, kernel, 1, "SAME"))
    speeds = []
    for num_images, size, width in PEAK_SHAPES:
        x, kernel = tf.random.normal((num_images, size, size, width)), tf.random.normal((3, 3, width, width))
        speeds.append(conv_speed(lambda: convolve(x, kernel), num_images, size, width))  # noqa: B023
    return {
        "images_per_second": batch_size / statistics.median(seconds["step"]),
        "taken_by_others": others,
        "peak_memory_mib": memory,
        "convolution_gflops": max(speeds),
        "parameters": trainer.network.count_params(),
    }


def measure_peer(variant: str, batch_size: int, num_steps: int) -> dict:
    """Time a peer's step in its usual training loop."""
    import torch

    torch.set_num_threads(measure.NUM_THREADS)
    network = build_peer(variant)
    channels_last = "NCHW" not in variant
    step = peers.torch_train_step(network, batch_size, CONFIG.unet.image_size, channels_last)
    seconds, others = measure.time_calls({"step": step}, num_steps)
    memory = peak_memory_mib()

    layout = torch.channels_last if channels_last else torch.contiguous_format
    speeds = []
    with torch.no_grad():
        for num_images, size, width in PEAK_SHAPES:
            x = torch.randn(num_images, width, size, size).to(memory_format=layout)
            convolution = torch.nn.Conv2d(width, width, 3, padding=1).to(memory_format=layout)
            speeds.append(conv_speed(lambda: convolution(x), num_images, size, width))  # noqa: B023
    return {
        "images_per_second": batch_size / statistics.median(seconds["step"]),
        "taken_by_others": others,
        "peak_memory_mib": memory,
        "convolution_gflops": max(speeds),
        "parameters": sum(parameter.numel() for parameter in network.parameters()),
    }


def conv_speed(convolve, num_images: int, size: int, width: int) -> float:
    """Time a 3x3 convolution between equal widths, in GFLOP/s."""
    seconds, _ = measure.time_calls({"convolution": convolve}, 3)
    return 2e-9 * num_images * size**2 * width**2 * 9 / min(seconds["convolution"])


def peak_memory_mib() -> float:
    """Peak memory of this process in MiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def count_flops() -> dict[str, dict]:
    """Count the operations of one image for every network that is installed, ours on Keras's PyTorch backend."""
    import torch

    from ddpm_lib.unet import build_unet

    x_t, t = torch.randn(1, CONFIG.unet.channels, CONFIG.unet.image_size, CONFIG.unet.image_size), torch.tensor([500])
    counts = {}
    for variant in measure.installed(VARIANTS):
        if variant == "ours":
            by_kind = peers.count_gflop(build_unet(CONFIG.unet), [x_t.permute(0, 2, 3, 1), t])
        else:
            by_kind = peers.count_gflop(build_peer(variant), x_t, t)
        counts[variant] = {"gflop_per_image": sum(by_kind.values()), "gflop_per_image_by_kind": by_kind}
    return counts


def compare(figures: dict[str, list[dict]], counts: dict[str, dict]) -> dict:
    """Turn the figures of all rounds and the counted operations into medians, shares and ratios."""
    peak = max(figure["convolution_gflops"] for rounds in figures.values() for figure in rounds)
    variants = {}
    for variant, rounds in figures.items():
        speeds = [figure["images_per_second"] for figure in rounds]
        speed = statistics.median(speeds)
        variants[variant] = {
            "images_per_second": speed,
            "rounds_images_per_second": speeds,
            "taken_by_others": max(figure["taken_by_others"] for figure in rounds),
            "parameters": rounds[0]["parameters"],
            "peak_memory_mib": statistics.median(figure["peak_memory_mib"] for figure in rounds),
            "convolution_gflops": max(figure["convolution_gflops"] for figure in rounds),
            **counts.get(variant, {}),
        }
        if variant in counts:
            gflops = speed * counts[variant]["gflop_per_image"]
            variants[variant] |= {"gflops": gflops, "share_of_convolution_peak": gflops / peak}

    def ratio(*theirs):
        """Ours over the fastest of theirs, round by round."""
        speeds = [variants[name]["rounds_images_per_second"] for name in theirs if name in variants]
        ours = variants["ours"]["rounds_images_per_second"]
        return measure.ratio_to_fastest(ours, speeds) if speeds else None

    return {
        "train_ratio_vs_diffusers": ratio("diffusers, NCHW", "diffusers, channels_last"),
        "train_ratio_vs_diffusers_attention_once": ratio("diffusers, channels_last, attention once a level"),
        "train_ratio_vs_denoising_diffusion_pytorch": ratio("denoising-diffusion-pytorch"),
        "convolution_peak_gflops": peak,
        "taken_by_others": max(row["taken_by_others"] for row in variants.values()),
        "variants": variants,
    }


def table(results: dict) -> str:
    """Lay the comparison out as a Markdown table."""
    lines = [
        "| one training step | images/s | GFLOP per image | GFLOP/s | of the peak | weights | memory |",
        "|---|--:|--:|--:|--:|--:|--:|",
    ]
    for variant, row in results["variants"].items():
        flops = "? | ? | ?"
        if "gflops" in row:
            share = row["share_of_convolution_peak"]
            flops = f"{row['gflop_per_image']:.1f} | {row['gflops']:.0f} | {share:.0%}"
        lines.append(
            f"| {variant} | {row['images_per_second']:.2f} | {flops} | {row['parameters'] / 1e6:.1f} M "
            f"| {row['peak_memory_mib'] / 1024:.1f} GiB |"
        )
    return "\n".join(lines)


def main() -> None:
    """Run all variants in turn, print the comparison and write it down."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--batch_size", type=int, default=16)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--steps", type=int, default=3, help="timed steps a round, after one that is not counted")
    parser.add_argument("--only", choices=VARIANTS, nargs="+", default=list(VARIANTS), help="variants beside ours")
    parser.add_argument("--output", default=measure.RESULTS / "training.json", help="file to write")
    parser.add_argument("--variant", choices=[*VARIANTS, "flops"], help=argparse.SUPPRESS)
    flags = parser.parse_args()
    if flags.variant:
        job = {
            "flops": count_flops,
            "ours": lambda: measure_ours(flags.batch_size, flags.steps),
        }.get(flags.variant, lambda: measure_peer(flags.variant, flags.batch_size, flags.steps))
        print(json.dumps(job()))
        return

    chosen = [variant for variant in measure.installed(VARIANTS) if variant == "ours" or variant in flags.only]
    options = [f"--batch_size={flags.batch_size}", f"--steps={flags.steps}"]
    figures = measure.in_turn(__file__, chosen, flags.rounds, options)
    counts = {}
    if not measure.missing_package(["torch"]):
        counts = measure.in_turn(__file__, ["flops"], 1, [], KERAS_BACKEND="torch")["flops"][0]
    results = {
        "command": f"python benchmarks/training.py --rounds {flags.rounds} {' '.join(options)}",
        "machine": measure.machine(),
        "versions": measure.versions(["tensorflow", "keras", *PEERS]),
        **compare(figures, counts),
    }
    measure.write_results(flags.output, results)
    print(table(results))
    print(f"fastest 3x3 convolution: {results['convolution_peak_gflops']:.0f} GFLOP/s")
    for key, value in results.items():
        if key.startswith("train_ratio") and value:
            print(f"{key}: {value:.2f} (median of {flags.rounds} rounds)")
    print(f"other processes took at most {results['taken_by_others']:.0%} of the processors' time meanwhile")


if __name__ == "__main__":
    main()
