"""Measure training on one and several devices, and predict it for 8 and 64 GPUs.

    python benchmarks/devices.py [--devices 1,2] [--batches 8,32] [--rounds 3] [--backends tensorflow,jax] [--gpus]

Each variant trains the network of `--preset` through `fit` in a process of its own, with a batch of so many images on
each device; what is timed follows the first steps, which compile. Without `--gpus` the devices are logical ones that
share the processors of this machine, and nothing can get faster. The measure is then what the division costs: the
processors' time for an image, over that of one device with the same whole batch. Other processes hardly change it, so
it can be measured on a busy machine. With GPUs the measure is the efficiency: images a second over the number of
devices times those of one device.

In processes of their own the weights of several devices are compared with those of one, after steps whose gradients are
all clipped.

Beside it the sum of all gradients over the devices (all-reduce) is timed by itself, and compared with the bytes that
`ddpm_lib.cost` counts, over the bandwidth of memory. The second table is computed, not measured: the step that the cost
model predicts for a GPU, and the all-reduce over links as fast as their data sheets say, one after the other. Its first
row is the article's: two T4, which talk by way of their slots.
"""

import argparse
import json
import statistics
import time

import measure

from ddpm_lib.config import PRESETS
from ddpm_lib.cost import DEVICES, all_reduce_bytes, predict_step_seconds, step_cost

# Bytes a second in one direction, by data sheet: NVLink of an H100 (900 GB/s both ways), PCI Express 3.0 x16 of a T4
# (32 GB/s both ways), Ethernet.
LINKS = {"NVLink": 450e9, "PCIe 3": 16e9, "100 Gbit/s": 12.5e9, "10 Gbit/s": 1.25e9}
ON_PAPER = (  # card, link between all of them, number, images on each
    ("T4", "PCIe 3", 2, 8),
    ("T4", "PCIe 3", 8, 16),
    ("T4", "10 Gbit/s", 8, 16),
    ("T4", "10 Gbit/s", 64, 16),
    ("H100", "NVLink", 8, 16),
    ("H100", "100 Gbit/s", 8, 16),
    ("H100", "100 Gbit/s", 64, 16),
    ("H100", "10 Gbit/s", 64, 16),
)
WARM_UP = 3
EQUALITY_STEPS = 20
EQUALITY_CLIP = 0.05  # below the norm of every gradient


def measure_variant(preset: str, devices: int, batch: int, steps: int) -> dict:
    """Train on several devices, and time the steps and the sum of the gradients."""
    from ddpm_lib import distribution

    with distribution.several_devices(devices):
        import numpy as np

        from ddpm_lib.data import Batches
        from ddpm_lib.training import DiffusionTrainer

        whole = devices * batch
        config = PRESETS[preset].replace(train={"batch_size": whole})
        unet = config.unet
        shape = (2 * whole, unet.image_size, unet.image_size, unet.channels)
        images = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
        trainer = DiffusionTrainer(config)
        spent = []

        def fit(number):
            begin = time.process_time()
            batches = distribution.feed(Batches(images, whole, seed=0))
            trainer.fit(batches, steps_per_epoch=number, shuffle=False, verbose=0)
            spent.append(time.process_time() - begin)

        fit(WARM_UP)
        times, others = measure.time_calls({"fit": lambda: fit(steps), "sum": sum_of_gradients(trainer, devices)}, 2)
        seconds = {name: min(values) for name, values in times.items()}
        return {
            "images_per_second": steps * whole / seconds["fit"],
            "processor_seconds_per_image": min(spent[-2:]) / (steps * whole),
            "all_reduce_seconds": seconds["sum"] if devices > 1 else 0.0,
            "parameters": int(trainer.network.count_params()),
            "taken_by_others": others,
        }


def measure_equality(devices: int) -> dict:
    """Train a small network on several devices and on one: the largest differences, and the largest way of a weight."""
    import keras
    import numpy as np

    from ddpm_lib import distribution, training

    config = PRESETS["digits16"].replace(
        unet={"image_size": 8, "widths": (8,), "blocks_per_level": 1, "attention_dim": 16, "time_dim": 32},
        train={
            "batch_size": 8,
            "epochs": 1,
            "steps_per_epoch": EQUALITY_STEPS,
            "clip_norm": EQUALITY_CLIP,
            "warmup_steps": 2,
            "learning_rate": 1e-3,
            "ema_decay": 0.9,
        },
    )
    images = np.random.default_rng(0).integers(0, 256, (64, 8, 8, 1), dtype=np.uint8)

    def train():
        keras.utils.set_random_seed(0)
        trainer = training.DiffusionTrainer(config)
        start = trainer.network.get_weights()
        training.fit_run(trainer, images, verbose=0)
        return start, {
            "weights": trainer.network.get_weights(),
            "average": trainer.ema_network.get_weights(),
            "loss": [np.array(trainer.history.history["loss"])],
        }

    def difference(first, second):
        return float(max(np.abs(a - b).max() for a, b in zip(first, second, strict=True)))

    with distribution.several_devices(devices):
        _, several = train()
    start, one = train()
    return {name: difference(several[name], one[name]) for name in one} | {"moved": difference(start, one["weights"])}


def sum_of_gradients(trainer, devices):
    """Return a function that sums what is as large as the gradients over the devices, and waits for it."""
    import keras
    import numpy as np

    shapes = [tuple(weight.shape) for weight in trainer.trainable_variables]
    if devices == 1:
        return lambda: None
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        from ddpm_lib import distribution

        strategy = trainer.distribute_strategy

        @tf.function
        def sums():
            def each():
                own = tf.cast(tf.distribute.get_replica_context().replica_id_in_sync_group, "float32")
                return distribution.summed([tf.fill(shape, own) for shape in shapes])

            per_device = strategy.run(each)
            return [strategy.experimental_local_results(x)[0] for x in per_device]

        return lambda: sums()[-1].numpy()

    import jax

    mesh = keras.distribution.distribution().device_mesh.backend_mesh
    spread = jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec("batch"))
    everywhere = jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec())
    parts = [jax.device_put(np.ones((devices, *shape), "float32"), spread) for shape in shapes]
    sums = jax.jit(lambda parts: [part.sum(0) for part in parts], out_shardings=everywhere)
    return lambda: jax.block_until_ready(sums(parts))


def compare(figures: dict[str, list[dict]], bandwidth: float) -> dict[str, dict]:
    """Reduce the rounds of every variant to medians, and set each beside one device.

    Args:
        figures: by variant, `backend, devices, batch on each`, the rounds' figures.
        bandwidth: bytes a second that all devices together read and write.
    """
    rows = {}
    for variant, rounds in figures.items():
        backend, devices, batch = variant.split(", ")
        devices, batch = int(devices), int(batch)
        speeds, spent = (
            [each[name] for each in rounds] for name in ("images_per_second", "processor_seconds_per_image")
        )
        row = {
            "images_per_second": statistics.median(speeds),
            "processor_seconds_per_image": statistics.median(spent),
            "all_reduce_seconds": statistics.median(each["all_reduce_seconds"] for each in rounds),
            "all_reduce_bytes": all_reduce_bytes(rounds[0]["parameters"], devices),
            "taken_by_others": max(each["taken_by_others"] for each in rounds),
        }
        # Logical devices send through the one memory, all at the same time.
        row["predicted_all_reduce_seconds"] = devices * row["all_reduce_bytes"] / bandwidth
        if one := figures.get(f"{backend}, 1, {batch}"):
            row["efficiency"] = measure.median_ratio(speeds, [each["images_per_second"] for each in one]) / devices
        one = figures[f"{backend}, 1, {devices * batch}"]
        row["processor_time_over_one_device"] = measure.median_ratio(
            spent, [each["processor_seconds_per_image"] for each in one]
        )
        rows[variant] = row
    return rows


def on_paper() -> list[dict]:
    """Predict steps of `celeba64` on several GPUs, each with the same batch, in bfloat16 or float16."""
    rows = []
    for card, link, devices, batch in ON_PAPER:
        cost = step_cost(PRESETS["celeba64"].unet, batch, "mixed_float16", "fused")
        step = predict_step_seconds(cost, DEVICES[card], "mixed_float16")
        moved = all_reduce_bytes(cost.parameters, devices)
        rows.append(
            {
                "card": card,
                "link": link,
                "devices": devices,
                "images_on_each": batch,
                "step_seconds": step,
                "all_reduce_bytes": moved,
                "all_reduce_seconds": moved / LINKS[link],
                "efficiency": step / (step + moved / LINKS[link]),
            }
        )
    return rows


def table(results: dict) -> str:
    """Lay what was measured out as a Markdown table."""
    lines = [
        "| engine | devices | images on each | images a second | efficiency | processors' time over one device's "
        "| all-reduce | predicted |",
        "|---|--:|--:|--:|--:|--:|--:|--:|",
    ]
    for variant, row in results["variants"].items():
        efficiency = f"{row['efficiency']:.0%}" if "efficiency" in row else ""
        lines.append(
            f"| {' | '.join(variant.split(', '))} | {row['images_per_second']:.0f} | {efficiency} | "
            f"{row['processor_time_over_one_device']:.2f} | {1e3 * row['all_reduce_seconds']:.1f} ms | "
            f"{1e3 * row['predicted_all_reduce_seconds']:.1f} ms |"
        )
    return "\n".join(lines)


def paper_table(results: dict) -> str:
    """Lay what was predicted out as a Markdown table."""
    lines = [
        "| card | link | devices | images on each | step | all-reduce | efficiency |",
        "|---|---|--:|--:|--:|--:|--:|",
    ]
    lines += [
        f"| {row['card']} | {row['link']} | {row['devices']} | {row['images_on_each']} "
        f"| {1e3 * row['step_seconds']:.1f} ms | {1e3 * row['all_reduce_seconds']:.1f} ms | {row['efficiency']:.0%} |"
        for row in results["on_paper"]
    ]
    return "\n".join(lines)


def main() -> None:
    """Measure every variant in turn, predict the rest, and print and write both."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--devices", default="1,2")
    parser.add_argument("--batches", default="8,16,32", help="images on each device")
    parser.add_argument("--preset", default="digits16")
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--backends", default="tensorflow,jax")
    parser.add_argument("--gpus", action="store_true", help="measure on GPUs")
    parser.add_argument("--out", default=measure.RESULTS / "devices.json")
    parser.add_argument("--variant", help=argparse.SUPPRESS)
    flags = parser.parse_args()
    if flags.variant:
        _, devices, batch = flags.variant.split(", ")
        if batch == "equality":
            print(json.dumps(measure_equality(int(devices))))
        else:
            print(json.dumps(measure_variant(flags.preset, int(devices), int(batch), flags.steps)))
        return

    counts, batches = ([int(x) for x in text.split(",")] for text in (flags.devices, flags.batches))
    environment = {"CUDA_VISIBLE_DEVICES": ",".join(map(str, range(max(counts))))} if flags.gpus else {}
    options = ["--preset", flags.preset, "--steps", str(flags.steps)]
    begin = time.time()
    figures, equality = {}, {}
    for backend in measure.installed({name: (name,) for name in flags.backends.split(",")}):
        pairs = [(devices, batch) for batch in batches for devices in counts]
        pairs += [(1, devices * batch) for devices, batch in pairs]  # what each is compared with
        variants = [f"{backend}, {devices}, {batch}" for devices, batch in dict.fromkeys(pairs)]
        environment["KERAS_BACKEND"] = backend
        figures |= measure.in_turn(__file__, variants, flags.rounds, options, **environment)
        compared = [f"{backend}, {devices}, equality" for devices in counts if devices > 1]
        equality |= measure.in_turn(__file__, compared, 1, options, **environment)
    results = {
        "command": f"python benchmarks/devices.py --devices {flags.devices} --batches {flags.batches} "
        f"--preset {flags.preset} --steps {flags.steps} --rounds {flags.rounds} --backends {flags.backends}"
        + " --gpus"
        * flags.gpus,
        "machine": measure.machine(),
        "versions": measure.versions(["keras", "tensorflow", "jax"]),
        "devices_are": "GPUs" if flags.gpus else "logical devices that share the processors",
        "seconds": time.time() - begin,
        "variants": compare(figures, DEVICES["two CPU cores"].bandwidth),
        "equality": {
            "steps": EQUALITY_STEPS,
            "clip_norm": EQUALITY_CLIP,
            "largest_difference": {name.removesuffix(", equality"): rounds[0] for name, rounds in equality.items()},
        },
        "on_paper": on_paper(),
    }
    measure.write_results(flags.out, results)
    print(table(results))
    for name, differences in results["equality"]["largest_difference"].items():
        print(f"{name} devices against one, after {EQUALITY_STEPS} clipped steps: {differences}")
    print(f"\npredicted for celeba64, half precision\n{paper_table(results)}")


if __name__ == "__main__":
    main()
