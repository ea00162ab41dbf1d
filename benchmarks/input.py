"""Measure how long training waits for data, and what reading prepared arrays saves over decoding JPEGs every epoch.

    python benchmarks/input.py [--data_dir img_align_celeba.zip] [--steps 8]

The archive or folder of photographs is named by --data_dir or by the environment variable DDPM_DATA_DIR. One network is
trained for a few steps, while it is noted when each batch was ready and when each step ended: a step waited if its
batch was ready later than the step before it ended. Then one epoch is read from the prepared array, and one is decoded
from the photographs, by as many threads as there are cores. Writes `results/input.json`.
"""

import argparse
import os
import tempfile
import time

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import measure
import numpy as np

from ddpm_lib import data
from ddpm_lib.config import PRESETS, InputError
from ddpm_lib.training import DiffusionTrainer


class WatchedBatches(data.Batches):
    """Batches that note when each one was begun and ready."""

    def __init__(self, *arguments, **options):
        super().__init__(*arguments, **options)
        self.begun, self.ready = {}, {}

    def __getitem__(self, index):
        """Return the batch of a step, as ever."""
        self.begun[index] = time.perf_counter()
        batch = super().__getitem__(index)
        self.ready[index] = time.perf_counter()
        return batch


class StepEnds(keras.callbacks.Callback):
    """Notes when each step ended; having `on_train_batch_end`, it makes Keras wait for that."""

    def __init__(self):
        super().__init__()
        self.ended = []

    def on_train_batch_end(self, batch, logs=None):
        """Look at the clock."""
        self.ended.append(time.perf_counter())


def waiting(config, images, num_steps: int) -> dict:
    """Train for a few steps and compare when batches were ready with when steps ended."""
    num_warm_up = 2
    batches = WatchedBatches(images, config.train.batch_size, seed=0, horizontal_flip=config.data.horizontal_flip)
    clock = StepEnds()
    DiffusionTrainer(config).fit(
        batches, steps_per_epoch=num_warm_up + num_steps, shuffle=False, callbacks=[clock], verbose=0
    )
    measured = range(num_warm_up, num_warm_up + num_steps)
    waits = [max(0.0, batches.ready[step] - clock.ended[step - 1]) for step in measured]
    seconds = clock.ended[-1] - clock.ended[num_warm_up - 1]
    return {
        "seconds_a_step": seconds / num_steps,
        "waiting_share": sum(waits) / seconds,
        "batches_ready_ahead_of_their_step_s": float(
            np.median([clock.ended[step - 1] - batches.ready[step] for step in measured])
        ),
        "making_a_batch_ms": 1000 * float(np.median([batches.ready[step] - batches.begun[step] for step in measured])),
    }


def reading(images, batch_size: int) -> float:
    """Return the seconds that one epoch of batches takes, made by one thread as in training."""
    batches = data.Batches(images, batch_size, seed=0, horizontal_flip=True)
    start = time.perf_counter()
    for step in range(batches.steps_per_epoch):
        batches[step]
    return time.perf_counter() - start


def decoding(source, image_size: int) -> float:
    """Return the seconds that one epoch of decoding, cropping and resizing takes."""
    with tempfile.TemporaryDirectory() as cache:
        start = time.perf_counter()
        data.prepare(source, image_size, cache_dir=cache, progress=False)
        return time.perf_counter() - start


def main() -> None:
    """Measure, print and write down."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--data_dir", default=os.environ.get("DDPM_DATA_DIR"), help="archive or folder of photographs")
    parser.add_argument("--preset", default="celeba64", choices=[name for name in PRESETS if name != "digits16"])
    parser.add_argument("--steps", type=int, default=8, help="timed steps, after two that are not counted")
    parser.add_argument("--output", default=measure.RESULTS / "input.json", help="file to write")
    flags = parser.parse_args()

    if flags.data_dir is None:
        print("skipped: no photographs are named by --data_dir or DDPM_DATA_DIR")
        return
    config = PRESETS[flags.preset].replace(data={"data_dir": flags.data_dir})
    try:
        images = data.load_images(config.data, config.unet)
    except InputError as error:
        parser.error(str(error))
    results = waiting(config, images, flags.steps)
    prepared_s, decoded_s = reading(images, config.train.batch_size), decoding(flags.data_dir, config.unet.image_size)
    results |= {
        "images": len(images),
        "batch_size": config.train.batch_size,
        "batches_images_per_second": len(images) / prepared_s,
        "decoding_images_per_second": len(images) / decoded_s,
        "decoding_over_prepared": decoded_s / prepared_s,
    }
    measure.write_results(
        flags.output,
        {
            "command": f"python benchmarks/input.py --preset {flags.preset} --steps {flags.steps}",
            "machine": measure.machine(),
            "versions": measure.versions(["keras", keras.backend.backend(), "numpy", "pillow"]),
            **results,
        },
    )
    print(f"a step takes {results['seconds_a_step']:.2f} s; {100 * results['waiting_share']:.2f} % of it is waiting")
    print(f"a batch takes {results['making_a_batch_ms']:.1f} ms to make, by one thread beside the training")
    print(f"batches: {results['batches_images_per_second']:,.0f} images/s by one thread from the prepared array")
    print(f"decoding: {results['decoding_images_per_second']:,.0f} images/s by {measure.NUM_THREADS} threads")
    print(f"decoding an epoch takes {results['decoding_over_prepared']:.1f} times as long as its prepared batches")


if __name__ == "__main__":
    main()
