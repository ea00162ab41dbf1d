"""`ddpm generate`: draw images with a trained network, and show how they come about."""

from __future__ import annotations

import contextlib
import math
import os
import pathlib

from ddpm_lib.cli.conventions import (
    COUNT,
    MODEL,
    SEED,
    add_sampler_flags,
    check_sampler_flags,
    chosen_sampler,
    import_keras,
    make_folder,
    new_folder,
    path,
    refuse_to_write_over,
    save_samples,
    sole_user,
)
from ddpm_lib.config import InputError

HELP = "draw images with a trained network"
DEFAULT_OUT = "generated"
DEFAULT_MODEL = "faces"  # what `generate` draws with when no --model is given
STRIP_FRAMES = (1000, 750, 500, 250, 0)  # the steps at which the trajectory strip looks
OWN_FILES = ("samples.*", "seed_*.png", "trajectory.*")  # by them a folder is known to hold images of this command


def add_flags(parser):
    """Add the flags of this command."""
    parser.flag("model", type=path, metavar="MODEL", help=f"{MODEL} (default: {DEFAULT_MODEL})")
    parser.flag("num_samples", type=COUNT, default=16, help="(default: 16)")
    add_sampler_flags(parser)
    parser.flag("seed", type=SEED, default=0, help="of the first image; the next ones count up (default: 0)")
    parser.flag("batch_size", type=COUNT, default=16, help="images at a time (default: 16)")
    where = "for samples.png, and samples.npz with the arrays images (N, H, W, C) uint8 and seeds (default: a new one)"
    parser.flag("out", type=path, metavar="FOLDER", help=where)
    parser.flag("overwrite", action="store_true", help="write over the images that --out holds, and remove the others")
    parser.flag("separate", action="store_true", help="also save every image as a file of its own, seed_N.png")
    parser.flag("trajectory", action="store_true", help="also save how the first images come about")


def run(flags):
    """Draw the images and write them as a grid and as an array."""
    import_keras()
    from ddpm_lib import checkpoints, hardware

    check_sampler_flags(flags)
    hardware.enable_memory_growth()
    if flags.model is None:
        print(f"no --model given: drawing with the model {DEFAULT_MODEL}, which comes with the project")
    name = flags.model or DEFAULT_MODEL
    config = checkpoints.read_config(name)
    sampler, options = chosen_sampler(flags, config.diffusion.num_steps)
    # All that can be wrong is named before anything is written.
    if config.unet.channels not in (1, 3):
        raise InputError(f"{name} draws {config.unet.channels} channels: a picture to look at has 1 (grey) or 3 (RGB)")
    _refuse_bad_out(flags)
    model = checkpoints.load(name)
    folder = make_folder(flags.out) if flags.out else new_folder(DEFAULT_OUT)
    with sole_user(folder):
        _refuse_bad_out(flags)  # images that another process has written meanwhile
        _draw(flags, model, folder, sampler, options)


def _draw(flags, model, folder, sampler, options):
    import numpy as np
    from tqdm import tqdm

    from ddpm_lib import images, sampling

    steps, total = options["num_steps"], model.config.diffusion.num_steps
    seeds = range(flags.seed, flags.seed + flags.num_samples)
    num_batches = -(-flags.num_samples // flags.batch_size)
    trajectory = Trajectory(total) if flags.trajectory else None
    how = f"{flags.sampler}, {steps} steps"
    settings = "".join(f", {name} {value}" for name, value in options.items() if name != "num_steps")
    with tqdm(total=steps * num_batches, unit="step", desc=how) as bar:

        def after_step(step):
            bar.update()
            if trajectory:
                trajectory.record(step)

        options |= {"batch_size": flags.batch_size, "callback": after_step}
        batches = []
        with contextlib.suppress(KeyboardInterrupt):  # what is finished by then is saved below
            for first in range(0, flags.num_samples, flags.batch_size):
                some = seeds[first : first + flags.batch_size]
                batches.append(sampling.sample_images(model, sampler, some, **options))

    if not batches:
        raise KeyboardInterrupt(f"kept none of {flags.num_samples} images: the first batch was not finished")
    pixels = images.to_uint8(np.concatenate(batches))
    seeds = seeds[: len(pixels)]
    save_samples(folder, pixels, seeds)
    scale = max(1, 96 // model.config.unet.image_size)
    images.save_png(folder / "samples.png", images.make_grid(pixels), scale)
    written = ["samples.png", "samples.npz"]
    if flags.separate:
        for seed, image in zip(seeds, pixels, strict=True):
            images.save_png(folder / f"seed_{seed}.png", image)
        written.append("seed_N.png")
    if trajectory:
        first = sampling.noise_per_image(seeds[: flags.batch_size], model.image_shape)(-1)
        trajectory.save(folder, first, scale)
        written += ["trajectory.png", "trajectory.gif"]
    _remove_earlier(folder, {*written, *(f"seed_{seed}.png" for seed in seeds if flags.separate)})
    if len(pixels) < flags.num_samples:
        raise KeyboardInterrupt(f"kept {len(pixels)} of {flags.num_samples} images in {folder}")
    print(f"seeds {seeds[0]} to {seeds[-1]} by {how}{settings}")
    print("wrote " + ", ".join(str(folder / name) for name in written))


def _remove_earlier(folder, written):
    """Remove the files of an earlier run that this one has not written over: they would pass for its own."""
    for pattern in OWN_FILES:
        for old in folder.glob(pattern):
            if old.name not in written and old.is_file():
                old.unlink()


def _refuse_bad_out(flags):
    if not flags.out:
        return
    folder = pathlib.Path(flags.out)
    if folder.suffix.lower() in (".png", ".jpg", ".jpeg", ".gif", ".webp", ".npz") and not folder.is_dir():
        raise InputError(f"--out {folder} is to be a folder: leave the ending out; samples.png is written into it")
    refuse_to_write_over(flags, *OWN_FILES)


class Trajectory:
    """Records how the first images of a run come about, for a strip and a film.

    Args:
        num_train_steps: T of the schedule; the starting noise is at step T, a clean image at step 0.
        num_images: how many of the first batch to show.
        num_frames: how many frames the film has at most, beside the last.
    """

    def __init__(self, num_train_steps: int, num_images: int = 4, num_frames: int = 60):
        self.num_train_steps, self.num_images, self.num_frames = num_train_steps, num_images, num_frames
        self.frames = {}  # paper step (T .. 0) -> (n, H, W, C) float32

    def record(self, step) -> None:
        """Keep the images after a step of the first batch, in the manner of a sampler's callback."""
        import keras

        now = step.t_next + 1  # index -1 is the paper's step 0
        if now not in self.frames:
            self.frames[now] = keras.ops.convert_to_numpy(step.x[: self.num_images])

    def save(self, folder: str | os.PathLike, x_T, scale: int) -> None:
        """Write `trajectory.png`, the frames nearest t = 1000, 750, 500, 250 and 0 (of 1000), and `trajectory.gif`."""
        from ddpm_lib import images

        folder = pathlib.Path(folder)
        frames = {self.num_train_steps: x_T[: self.num_images], **self.frames}
        grids = {t: images.make_grid(images.to_uint8(frame), columns=1) for t, frame in frames.items()}
        wanted = [round(share * self.num_train_steps / 1000) for share in STRIP_FRAMES]
        # With few steps one frame may be the nearest to several.
        shown = dict.fromkeys(min(grids, key=lambda t: abs(t - target)) for target in wanted)
        images.save_strip(folder / "trajectory.png", [grids[t] for t in shown], [f"t = {t}" for t in shown], scale)
        film = list(frames.values())[:: math.ceil(len(frames) / self.num_frames)]
        if film[-1] is not frames[0]:
            film.append(frames[0])
        film = [images.make_grid(images.to_uint8(frame)) for frame in film]
        images.save_gif(folder / "trajectory.gif", film, scale)
