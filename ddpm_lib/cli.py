"""The command line: `ddpm train`, `ddpm generate`, `ddpm export`, `ddpm prepare`, `ddpm info`.

Exit codes: 0; 2 for bad input, with one line that says what is wrong; 130 after Ctrl-C, which saves first. `generate`
keeps the batches of images that were finished by then.
"""

from __future__ import annotations

import argparse
import contextlib
import itertools
import math
import os
import pathlib
import re
import sys
import tempfile

# Before Keras is imported anywhere: TensorFlow greets every process with a dozen lines.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

from ddpm_lib.config import DEFAULT_PRESETS, PRESETS, InputError, RunConfig

DEFAULT_MODEL = "faces"  # what `generate` draws with when no --model is given
MODEL = "a checkpoint, an exported file, or the name of a model that comes with the project"
STRIP_FRAMES = (1000, 750, 500, 250, 0)  # the steps at which the trajectory strip looks


class _Parser(argparse.ArgumentParser):
    def error(self, message):
        """End with one line and exit code 2."""
        self.exit(2, f"{self.prog}: error: {message} (see {self.prog} --help)\n")

    def flag(self, name, **options):
        """Add --a_b, also accepted as --a-b."""
        spellings = dict.fromkeys([f"--{name}", f"--{name.replace('_', '-')}"])
        return self.add_argument(*spellings, dest=name, **options)


def _number(kind, least, allow_least=True, most=math.inf):
    def parse(text):
        try:
            value = kind(text)
        except ValueError:
            raise argparse.ArgumentTypeError(f"{text!r} is not a number") from None
        if not math.isfinite(value):
            raise argparse.ArgumentTypeError(f"{text} is not a finite number")
        if value > most:
            raise argparse.ArgumentTypeError(f"{text} must be at most {most}")
        if value < least or (value == least and not allow_least):
            raise argparse.ArgumentTypeError(f"{text} must be {'at least' if allow_least else 'more than'} {least}")
        return value

    return parse


_count = _number(int, 1)
_seed = _number(int, 0, most=2**32 - 1)  # what the random generators of all backends take


def _data_flags(parser):
    parser.flag("data_dir", metavar="PATH", help="archive or folder of images, for celeba and folder")
    parser.flag("cache_dir", metavar="PATH", help="where prepared images are kept (default: the user's cache folder)")
    parser.flag(
        "max_bad_fraction",
        type=_number(float, 0.0),
        default=0.01,
        metavar="SHARE",
        help="share of unreadable images to put up with (default: 0.01)",
    )


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(prog="ddpm", description="Denoising diffusion probabilistic models: train, generate, prepare.")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND", parser_class=_Parser)

    train = commands.add_parser("train", help="train a network (without flags: handwritten digits, minutes on a CPU)")
    train.flag("dataset", choices=sorted(DEFAULT_PRESETS), help="what to train on (default: digits)")
    _data_flags(train)
    train.flag("preset", choices=sorted(PRESETS), help="network and settings (default: what suits the dataset)")
    train.flag("epochs", type=_count, help="in total, also when resuming")
    train.flag("batch_size", type=_count)
    train.flag("steps_per_epoch", type=_count, help="(default: one pass over the data)")
    train.flag("lr", type=_number(float, 0.0, allow_least=False), help="learning rate")
    train.flag("precision", choices=["auto", "float32", "mixed_float16", "mixed_bfloat16"], help="(default: auto)")
    train.flag("jit", choices=["auto", "on", "off"], help="compile the step with XLA (default: auto, with a GPU)")
    train.flag(
        "rematerialize",
        action="store_const",
        const=True,
        help="less memory, more time: compute blocks again on the way back",
    )
    train.flag("seed", type=_seed)
    train.flag("keep", type=_count, default=3, help="epoch checkpoints that stay (default: 3)")
    train.flag("save_every", type=_count, default=1000, metavar="STEPS", help="saves within an epoch (default: 1000)")
    train.flag("out", metavar="FOLDER", help="run folder (default: a new one under runs)")
    train.flag("resume", metavar="FILE", help="continue the run of this checkpoint")
    train.set_defaults(run=_train)

    generate = commands.add_parser("generate", help="draw images with a trained network")
    generate.flag("model", metavar="MODEL", help=f"{MODEL} (default: {DEFAULT_MODEL})")
    generate.flag("num_samples", type=_count, default=16, help="(default: 16)")
    generate.flag(
        "sampler", choices=["ddpm", "ddim", "dpm++"], default="ddim", help="dpm++ is DPM-Solver++(2M) (default: ddim)"
    )
    generate.flag("steps", type=_count, help="(default: 50 for ddim, 20 for dpm++, all for ddpm)")
    generate.flag("eta", type=_number(float, 0.0), help="share of fresh noise in ddim (default: 0)")
    generate.flag("seed", type=_seed, default=0, help="of the first image; the next ones count up (default: 0)")
    generate.flag("batch_size", type=_count, default=16, help="images at a time (default: 16)")
    generate.flag("out", default="generated", metavar="FOLDER", help="(default: generated)")
    generate.flag("trajectory", action="store_true", help="also save how the first images come about")
    generate.set_defaults(run=_generate)

    export = commands.add_parser("export", help="write what sampling needs of a checkpoint to a small file")
    export.flag("model", required=True, metavar="FILE", help="a checkpoint")
    export.flag("out", required=True, metavar="FILE", help="where to write, ending in .npz")
    export.set_defaults(run=_export)

    prepare = commands.add_parser("prepare", help="read a folder or archive of images once, into one array")
    _data_flags(prepare)
    prepare.flag("image_size", type=_count, default=64, help="height and width in pixels (default: 64)")
    prepare.set_defaults(run=_prepare)

    info = commands.add_parser("info", help="describe this machine, and a checkpoint")
    info.flag("model", metavar="MODEL", help=MODEL)
    info.set_defaults(run=_info)
    return parser


def main(arguments: list[str] | None = None) -> int:
    """Run one command and return its exit code.

    Args:
        arguments: what follows the program's name; by default the process's own.
    """
    flags = _parser().parse_args(arguments)
    try:
        flags.run(flags)
    except (InputError, OSError) as error:  # OSError: a full disk, a folder that went away
        print(f"ddpm {flags.command}: error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt as interrupt:
        print(f"\nddpm {flags.command}: " + ", ".join(["interrupted", *interrupt.args]), file=sys.stderr)
        return 130
    except Exception as error:
        # Every backend has its own class for a full memory, so the message decides.
        if not re.search("out of memory|OOM|RESOURCE_EXHAUSTED", f"{type(error).__name__} {error}", re.IGNORECASE):
            raise
        print(f"ddpm {flags.command}: error: out of memory; try a smaller --batch_size", file=sys.stderr)
        return 2
    return 0


def _import_keras():
    backend = os.environ.get("KERAS_BACKEND")
    if backend not in (None, "", "tensorflow", "jax", "torch"):
        raise InputError(f"KERAS_BACKEND={backend} is unknown: choose tensorflow, jax or torch")
    try:
        with _held_back_stderr():
            import keras
    except ModuleNotFoundError as error:
        raise InputError(
            f"{error.name} is not installed: install it, or name another backend, as in KERAS_BACKEND=jax"
        ) from error
    return keras


@contextlib.contextmanager
def _held_back_stderr():
    """Show what is written to file descriptor 2 meanwhile only if something fails.

    TensorFlow's C++ libraries greet before they read any setting. TF_CPP_MIN_LOG_LEVEL=0 shows all of it.
    """
    if os.environ.get("TF_CPP_MIN_LOG_LEVEL") != "3" or "keras" in sys.modules:
        yield
        return
    with tempfile.TemporaryFile() as held:
        terminal = os.dup(2)
        os.dup2(held.fileno(), 2)
        try:
            yield
        except BaseException:
            held.seek(0)
            os.write(terminal, held.read())
            raise
        finally:
            os.dup2(terminal, 2)
            os.close(terminal)


def _make_folder(path):
    path = pathlib.Path(path)
    try:
        path.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=path):  # its name is its own, even when eight runs start at once
            pass
    except OSError as error:
        raise InputError(f"cannot write to the folder {path}: {error.strerror}; name another one with --out") from error
    return path


# --- train -----------------------------------------------------------------------------------------------------------


def _train(flags):
    keras = _import_keras()
    from ddpm_lib import checkpoints, data, hardware, training

    hardware.enable_memory_growth()
    print(hardware.device_report())
    if flags.resume:
        trainer, folder = _resumed(flags)
        config = trainer.run
    else:
        precision, reason = hardware.choose_precision(flags.precision or "auto")
        print(f"precision {precision}: {reason}")
        config = _new_config(flags, precision, hardware.choose_jit(flags.jit or "auto"))
        if flags.out:
            _refuse_existing_run(pathlib.Path(flags.out))

    images = data.load_images(
        config.data, config.unet, cache_dir=flags.cache_dir, max_bad_fraction=flags.max_bad_fraction
    )
    if config.train.batch_size > len(images):
        raise InputError(f"--batch_size {config.train.batch_size} is more than the {len(images)} images of the dataset")
    facts = data.describe(images)
    if flags.resume and facts["sha256"] != config.data.sha256:
        raise InputError(
            f"these are not the images of the checkpoint: their sha256 is {facts['sha256'][:12]}..., "
            f"the checkpoint's is {str(config.data.sha256)[:12]}...; name the right ones with --data_dir"
        )
    if not flags.resume:
        config = config.replace(data=facts)
        folder = _make_folder(flags.out) if flags.out else _new_folder(config.preset)
        keras.utils.set_random_seed(config.train.seed)  # of the initial weights
        trainer = training.DiffusionTrainer(config)

    per_epoch = training.steps_per_epoch(config.train, len(images))
    print(
        f"{len(images)} images of {config.unet.image_size}x{config.unet.image_size}, "
        f"{trainer.network.count_params():,} weights, {per_epoch} steps an epoch, run folder {folder}"
    )
    if trainer.step >= config.train.epochs * per_epoch:
        print(f"this run has had {trainer.step // per_epoch} epochs already; name more with --epochs")
        return
    (folder / "config.json").write_text(config.to_json())
    training.fit_run(
        trainer,
        images,
        callbacks=[
            training.History(folder, per_epoch),
            checkpoints.SaveCheckpoints(folder, per_epoch, flags.keep, flags.save_every),
            training.SampleGrid(folder, per_epoch),
        ],
        verbose=1 if sys.stdout.isatty() else 2,
    )
    last = folder / f"unet_epoch_{len(trainer.rows)}.keras"
    print(f"done: loss {trainer.rows[-1]['loss']:.4f}; now try\n  python generate.py --num_samples 16 --model {last}")


def _new_config(flags, precision, jit) -> RunConfig:
    dataset = flags.dataset or (PRESETS[flags.preset].data.dataset if flags.preset else "digits")
    if flags.data_dir and dataset == "digits":
        raise InputError(f"the digits need no --data_dir {flags.data_dir}: leave it out, or name another --dataset")
    config = PRESETS[flags.preset or DEFAULT_PRESETS[dataset]]
    data = {"dataset": dataset, "data_dir": _absolute(flags.data_dir)}
    train = {"precision": precision, "jit": jit, **_given_train_flags(flags)}
    if flags.epochs:
        train["epochs"] = flags.epochs
    return config.replace(data=data, train=train)


def _absolute(path):
    return str(pathlib.Path(path).expanduser().resolve()) if path else None


def _given_train_flags(flags):
    """The settings among the flags that were given, by their names in `TrainConfig`."""
    given = {
        "batch_size": flags.batch_size,
        "steps_per_epoch": flags.steps_per_epoch,
        "learning_rate": flags.lr,
        "seed": flags.seed,
        "rematerialize": flags.rematerialize,
    }
    return {name: value for name, value in given.items() if value is not None}


def _new_folder(preset):
    """A new folder for every run. Making it claims it, so two runs that start at once do not share one."""
    for number in itertools.count(1):
        folder = pathlib.Path("runs") / (preset if number == 1 else f"{preset}-{number}")
        if not folder.exists():
            _make_folder(folder.parent)
            with contextlib.suppress(FileExistsError):
                folder.mkdir()
                return folder


def _refuse_existing_run(folder):
    if folder.is_dir() and any(folder.glob("*.keras")):
        latest = folder / "latest.keras"
        raise InputError(f"{folder} holds a run already: continue it with --resume {latest}, or name another --out")


def _resumed(flags):
    from ddpm_lib import checkpoints

    config = checkpoints.read_config(flags.resume)
    asked = {"preset": (flags.preset, config.preset), "dataset": (flags.dataset, config.data.dataset)}
    for name, value in _given_train_flags(flags).items():
        asked["lr" if name == "learning_rate" else name] = (value, getattr(config.train, name))
    if flags.precision not in (None, "auto"):
        asked["precision"] = (flags.precision, config.train.precision)
    if flags.jit not in (None, "auto"):
        asked["jit"] = (flags.jit, "on" if config.train.jit else "off")
    for name, (wanted, stored) in asked.items():
        if wanted is not None and wanted != stored:
            raise InputError(
                f"--{name} {wanted} contradicts the checkpoint, which has {name} {stored}: "
                "leave the flag out, or start a new run"
            )
    own_folder = pathlib.Path(flags.resume).parent
    if flags.out and pathlib.Path(flags.out).resolve() != own_folder.resolve():
        _refuse_existing_run(pathlib.Path(flags.out))
    folder = _make_folder(flags.out or own_folder)
    trainer = checkpoints.resume(flags.resume)
    # What may differ from the first part of the run: how long it goes on, and where the images lie now.
    changes = {"train": {"epochs": flags.epochs or config.train.epochs}}
    if flags.data_dir:
        changes["data"] = {"data_dir": _absolute(flags.data_dir)}
    trainer.run = config.replace(**changes)
    print(f"resuming {flags.resume} at step {trainer.step}")
    return trainer, folder


# --- generate --------------------------------------------------------------------------------------------------------


def _generate(flags):
    _import_keras()
    import numpy as np
    from tqdm import tqdm

    from ddpm_lib import checkpoints, hardware, images, sampling

    if flags.eta is not None and flags.sampler != "ddim":
        raise InputError("--eta belongs to --sampler ddim; leave it out, or change the sampler")
    hardware.enable_memory_growth()
    if flags.model is None:
        print(f"no --model given: drawing with the model {DEFAULT_MODEL}, which comes with the project")
    name = flags.model or DEFAULT_MODEL
    checkpoints.read_config(name)  # a wrong file is named before anything is written
    folder = _make_folder(flags.out)
    model = checkpoints.load(name)
    total = model.schedule.num_steps
    steps = flags.steps or min({"ddpm": total, "ddim": 50, "dpm++": 20}[flags.sampler], total)
    if steps > total:
        raise InputError(f"--steps {steps} is more than the {total} steps the model was trained with")
    options = {"num_steps": steps}
    if flags.sampler == "ddim":
        options["eta"] = flags.eta or 0.0
    sampler = {
        "ddpm": sampling.ddpm_sample,
        "ddim": sampling.ddim_sample,
        "dpm++": sampling.dpm_solver_pp_sample,
    }[flags.sampler]

    seeds = range(flags.seed, flags.seed + flags.num_samples)
    num_batches = -(-flags.num_samples // flags.batch_size)
    trajectory = Trajectory(total) if flags.trajectory else None
    with tqdm(total=steps * num_batches, unit="step", desc=f"{flags.sampler}, {steps} steps") as bar:

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
    np.savez_compressed(folder / "samples.npz", images=pixels, seeds=np.array(seeds))
    scale = max(1, 96 // model.config.unet.image_size)
    images.save_png(folder / "samples.png", images.make_grid(pixels), scale)
    written = ["samples.png", "samples.npz"]
    if trajectory:
        first = sampling.noise_per_image(seeds[: flags.batch_size], model.image_shape)(-1)
        trajectory.save(folder, first, scale)
        written += ["trajectory.png", "trajectory.gif"]
    if len(pixels) < flags.num_samples:
        raise KeyboardInterrupt(f"kept {len(pixels)} of {flags.num_samples} images in {folder}")
    print("wrote " + ", ".join(str(folder / name) for name in written))


class Trajectory:
    """Records how the first images of a run come about, for a strip and a film.

    Args:
        num_train_steps: T of the schedule; the starting noise is at step T, a clean image at step 0.
        num_images: how many of the first batch to show.
        num_frames: about how many frames the film has.
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
        film = list(frames.values())[:: max(1, len(frames) // self.num_frames)]
        if film[-1] is not frames[0]:
            film.append(frames[0])
        film = [images.make_grid(images.to_uint8(frame)) for frame in film]
        images.save_gif(folder / "trajectory.gif", film, scale)


# --- export, prepare and info ----------------------------------------------------------------------------------------


def _export(flags):
    _import_keras()
    from ddpm_lib import checkpoints

    checkpoints.read_config(flags.model)
    _make_folder(pathlib.Path(flags.out).parent)
    checkpoints.export(flags.model, flags.out)
    size = pathlib.Path(flags.out).stat().st_size
    print(f"wrote {flags.out}, {size / 1e6:.1f} MB; now try\n  python generate.py --num_samples 16 --model {flags.out}")


def _prepare(flags):
    _import_keras()
    from ddpm_lib import data

    if flags.data_dir is None:
        raise InputError(data.WHERE_CELEBA_IS)
    path = data.prepare(
        flags.data_dir, flags.image_size, cache_dir=flags.cache_dir, max_bad_fraction=flags.max_bad_fraction
    )
    print(f"prepared images: {path}")


def _info(flags):
    _import_keras()
    from ddpm_lib import checkpoints, cost, hardware

    config = PRESETS["celeba64"]
    print(hardware.device_report())
    print("precision {}: {}".format(*hardware.choose_precision()))
    if flags.model:
        model = checkpoints.load(flags.model)
        print(f"{flags.model}: step {model.step}, {model.network.count_params():,} weights")
        if model.rows:
            print(f"after {model.rows[-1]['epoch']} epochs: loss {model.rows[-1]['loss']:.4f}")
        print(model.config.to_json(), end="")
        config = model.config
    print(f"\n{config.preset}, {cost.what_fits(config.unet, config.train.batch_size)}")
