"""Say where one training step, or one sampling step, of `celeba64` spends its time, by kind of operation.

    python benchmarks/profile_step.py [--of training] [--batch_size 16]
    python benchmarks/profile_step.py --of sampling [--batch_size 4]

TensorFlow's own profiler books every operation. They run one after the other here, each on all threads, so that their
times add up to the step's. The operations a second are those that `training.py` has counted over the time taken here;
a sampling step does a third of them, the forward pass.
"""

import argparse
import json
import pathlib
import re
import tempfile

import measure

from ddpm_lib.config import PRESETS

CONFIG = PRESETS["celeba64"]

# Kinds of operations, each with the pattern of the names it has in the profile: scope/name:type. The first that fits
# counts. Attention is the one loop, so what is in a loop is attention's. Gradients that a function of its own computes,
# as those of SiLU, have no scope.
LOOP = "(^|/)(map(_[0-9]+)?|while)/"
KINDS = {
    "convolutions, backward": ":.*Conv2DBackprop",
    "convolutions, forward": ":.*Conv2D",
    "attention, products": f"{LOOP}.*:.*MatMul|:.*BatchMatMul",
    "attention, softmax": ":.*Softmax",
    "attention, the rest": f"{LOOP}|attention(?!.*:.*MatMul)",
    "clipping and Adam": "^(adam|clip)",
    "average of the weights": "^average/",
    "dense layers": ":.*MatMul",
    "group norms": "/(head_)?norm[_/]",
    "pooling, upsampling, skips": "_(pool|upsample|skip)",
    "SiLU, residuals and the rest": "",
}


def training_step(x_0):
    """Return a function that takes one training step."""
    import tensorflow as tf

    from ddpm_lib.training import DiffusionTrainer

    class Trainer(DiffusionTrainer):
        def update_average(self):
            with tf.name_scope("average"):
                super().update_average()

    trainer = Trainer(CONFIG)
    return lambda: trainer.train_on_batch(x_0)


def sampling_step(x_t):
    """Return a function that predicts the noise, which is all of a sampling step but a few percent."""
    from keras import ops

    from ddpm_lib.hardware import compiled
    from ddpm_lib.unet import build_unet

    predict_noise = compiled(build_unet(CONFIG.unet))
    x_t, t = ops.convert_to_tensor(x_t), ops.full((len(x_t),), 500, dtype="int32")
    return lambda: predict_noise(x_t, t)


# What a step is, the images it takes by default, and how many are profiled: sampling steps are short.
STEPS = {"training": (training_step, 16, 1), "sampling": (sampling_step, 4, 10)}


def profile(kind: str, batch_size: int) -> dict:
    """Profile one or several steps, after those that compile and those that are timed without the profiler."""
    import numpy as np
    import tensorflow as tf
    from tensorflow.tsl.profiler.protobuf import xplane_pb2

    make_step, _, num_steps = STEPS[kind]
    shape = (batch_size, CONFIG.unet.image_size, CONFIG.unet.image_size, CONFIG.unet.channels)
    step = make_step(np.random.default_rng(0).uniform(-1, 1, shape).astype("float32"))
    seconds, others = measure.time_calls({"step": step}, 2 * num_steps)
    with tempfile.TemporaryDirectory() as folder:
        with tf.profiler.experimental.Profile(folder):
            for _ in range(num_steps):
                step()
        (path,) = pathlib.Path(folder).rglob("*.xplane.pb")
        space = xplane_pb2.XSpace.FromString(path.read_bytes())
    durations = {}
    for plane in space.planes:
        for line in plane.lines:
            for event in line.events:
                name = plane.event_metadata[event.metadata_id].name.split("#")[0]
                # Operations alone are written name:type; C++ functions are written class::name, Python's have spaces.
                if re.fullmatch(r"[^:\s]+:[^:\s]+", name):
                    durations[name] = durations.get(name, 0.0) + event.duration_ps / 1e12 / num_steps
    return {"seconds": by_kind(durations), "step_seconds": min(seconds["step"]), "taken_by_others": others}


def by_kind(durations: dict[str, float]) -> dict[str, float]:
    """Sum up the durations of operations, given by name, for each kind."""
    sums = dict.fromkeys(KINDS, 0.0)
    for name, seconds in durations.items():
        sums[next(kind for kind, pattern in KINDS.items() if re.search(pattern, name))] += seconds
    return sums


def compare(figures: dict, counts: dict[str, float], batch_size: int, peak: float) -> dict:
    """Add shares and speeds to the seconds of each kind, and what is won if all products ran at the peak (GFLOP/s)."""
    total = at_peak = sum(figures["seconds"].values())
    kinds = {}
    for kind, seconds in figures["seconds"].items():
        if not seconds:
            continue
        kinds[kind] = {"seconds": seconds, "share": seconds / total}
        if kind in counts:
            kinds[kind] |= {"gflop_per_image": counts[kind], "gflops": batch_size * counts[kind] / seconds}
            at_peak -= seconds - batch_size * counts[kind] / peak
    others = {name: figures[name] for name in ("step_seconds", "taken_by_others")}
    won = {"speedup_if_products_ran_at_the_peak": total / at_peak} if counts else {}
    return {"batch_size": batch_size, "profiled_seconds": total, **won, **others, "kinds": kinds}


def table(results: dict) -> str:
    """Lay the profile out as a Markdown table, the longest first."""
    lines = ["| kind of operation | seconds | share | GFLOP/s |", "|---|--:|--:|--:|"]
    for kind, row in sorted(results["kinds"].items(), key=lambda item: -item[1]["seconds"]):
        speed = f"{row['gflops']:.0f}" if "gflops" in row else ""
        lines.append(f"| {kind} | {row['seconds']:.3f} | {row['share']:.0%} | {speed} |")
    return "\n".join(lines)


def main() -> None:
    """Profile, print the table and write it down."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--of", choices=STEPS, default="training")
    parser.add_argument("--batch_size", type=int, help="16 images for training, 4 for sampling")
    parser.add_argument("--output", type=pathlib.Path, help="file to write")
    parser.add_argument("--variant", choices=["ours"], help=argparse.SUPPRESS)
    flags = parser.parse_args()
    batch_size = flags.batch_size or STEPS[flags.of][1]
    if flags.variant:
        print(json.dumps(profile(flags.of, batch_size)))
        return
    options = [f"--of={flags.of}", f"--batch_size={batch_size}"]
    figures = measure.in_turn(__file__, ["ours"], 1, options, TF_NUM_INTEROP_THREADS="1")["ours"][0]
    training = json.loads((measure.RESULTS / "training.json").read_text())
    counts = training["variants"]["ours"].get("gflop_per_image_by_kind", {})  # counted where PyTorch is installed
    if flags.of == "sampling":  # the backward pass takes twice what the forward pass does
        counts = {kind: count if kind.endswith("forward") else count / 3 for kind, count in counts.items()}
    results = {
        "command": f"python benchmarks/profile_step.py {' '.join(options)}",
        "machine": measure.machine(),
        "versions": measure.versions(["tensorflow", "keras", "torch"]),
        **compare(figures, counts, batch_size, training["convolution_peak_gflops"]),
    }
    name = "profile.json" if flags.of == "training" else "profile_sampling.json"
    measure.write_results(flags.output or measure.RESULTS / name, results)
    print(table(results))
    print(f"{results['profiled_seconds']:.3f} s in operations; {results['step_seconds']:.3f} s a step without profiler")


if __name__ == "__main__":
    main()
