"""`ddpm train`: start a run, or go on with one."""

from __future__ import annotations

import argparse
import contextlib
import os
import pathlib
import sys

from ddpm_lib.cli import watching
from ddpm_lib.cli.conventions import (
    BAD_INPUT,
    COUNT,
    SEED,
    add_data_flags,
    import_keras,
    make_folder,
    new_folder,
    number_type,
    path,
    refuse_data_dir_of_digits,
    sole_user,
)
from ddpm_lib.config import DEFAULT_PRESETS, PRECISIONS, PRESETS, InputError, RunConfig
from ddpm_lib.files import whole_or_not_at_all

LOGICAL = ", which share the processors of this machine: to learn and test with, nothing gets faster"
HELP = "train a network (without flags: handwritten digits, minutes on a CPU)"


def add_flags(parser):
    """Add the flags of this command."""
    parser.flag("dataset", choices=sorted(DEFAULT_PRESETS), help="what to train on (default: digits)")
    add_data_flags(parser)
    parser.flag(
        "mirror",
        action=argparse.BooleanOptionalAction,
        help="mirror half of the images, left to right, anew in every epoch (default: of celeba alone)",
    )
    parser.flag("preset", choices=sorted(PRESETS), help="network and settings (default: what suits the dataset)")
    parser.flag("epochs", type=COUNT, help="in total, also when resuming")
    parser.flag("batch_size", type=COUNT)
    parser.flag("steps_per_epoch", type=COUNT, help="(default: one pass over the data)")
    parser.flag("lr", type=number_type(float, 0.0, allow_least=False), help="learning rate")
    parser.flag(
        "min_snr_gamma",
        type=number_type(float, 0.0, allow_least=False),
        metavar="GAMMA",
        help="weigh the image's error by the signal-to-noise ratio, GAMMA at most, such as 5 (default: the preset's)",
    )
    parser.flag("precision", choices=["auto", *PRECISIONS], help="(default: auto, or that of the run resumed)")
    parser.flag(
        "jit",
        choices=["auto", "on", "off"],
        help="compile the step with XLA (default: auto, with a GPU, or as in the run resumed)",
    )
    parser.flag(
        "devices",
        type=_devices,
        default=1,
        metavar="N|all",
        help="divide each batch over so many GPUs, or over logical devices of the processors (default: 1)",
    )
    parser.flag(
        "rematerialize",
        action="store_const",
        const=True,
        help="less memory, more time: compute blocks again on the way back",
    )
    parser.flag("seed", type=SEED)
    parser.flag("keep", type=COUNT, default=3, help="epoch checkpoints that stay (default: 3)")
    parser.flag("save_every", type=COUNT, default=1000, metavar="STEPS", help="saves within an epoch (default: 1000)")
    parser.flag("out", type=path, metavar="FOLDER", help="run folder (default: a new one under runs)")
    parser.flag(
        "resume",
        type=path,
        metavar="FILE",
        help="continue the run of this checkpoint, or train a shipped or exported model on",
    )


def _devices(text):
    return text if text == "all" else COUNT(text)


def run(flags):
    """Train, from the first step or from a checkpoint on, and fill the run folder."""
    keras = import_keras()
    from ddpm_lib import distribution, hardware

    if distribution.processes_named():
        if not (flags.out or _is_whole_run(flags.resume)):
            raise InputError("several processes must know the run folder: name it with --out, the same for all of them")
        if keras.backend.backend() == "jax":
            _watch(flags)
    hardware.enable_memory_growth()
    with distribution.several_devices(flags.devices) as devices:
        print(hardware.device_report())
        index, processes = distribution.process()
        if processes > 1:
            print(f"process {index} of {processes}" + ("" if index else ", which writes all files"))
        if devices > 1:
            logical = devices > processes and not hardware.gpus()
            print(f"each batch is divided over {devices} devices{LOGICAL if logical else ''}")
        _train(flags)


def _watch(flags):
    """Go on in a child process: when another process is gone, JAX aborts it."""
    try:
        watching.go_on_in_a_child()
    except InputError as error:
        raise InputError(_start_again(error, flags.out or pathlib.Path(flags.resume).parent)) from error


def _start_again(reason, folder):
    from ddpm_lib.stopping import newest_file

    last = newest_file(folder)
    return f"{reason}: start all of them again" + (
        f" with --resume {last}" if last else f" (there is no checkpoint in {folder})"
    )


def _train(flags):
    import keras

    from ddpm_lib import checkpoints, data, distribution, hardware, training

    if flags.resume:
        config = _resumed(flags)
    else:
        precision, reason = hardware.choose_precision(flags.precision or "auto")
        print(f"precision {precision}: {reason}")
        config = _new_config(flags, precision, hardware.choose_jit(flags.jit or "auto"))
        if flags.out:
            _refuse_existing_run(pathlib.Path(flags.out))

    distribution.check_run(config.train.batch_size, config.unet.dropout)
    print(_treatment(config, settled=_is_whole_run(flags.resume)))
    images = data.load_images(
        config.data, config.unet, cache_dir=config.data.cache_dir, max_bad_fraction=flags.max_bad_fraction
    )
    per_epoch = training.steps_per_epoch(config.train, len(images))
    facts = data.describe(images)
    if flags.resume:
        _refuse_other_images(flags.resume, facts["sha256"], config.data)
    if not flags.resume:
        config = config.replace(data=facts)
    if distribution.process()[1] > 1:
        own = config.replace(data={"data_dir": None, "cache_dir": None})  # each machine has its own places
        distribution.check_agreement(f"{own} {checkpoints.digest(flags.resume) if flags.resume else ''}")
    own_folder = flags.out or _folder_of_run(flags.resume)
    folder = pathlib.Path(own_folder or f"runs/{config.preset}")
    if distribution.writes_files():
        folder = make_folder(folder) if own_folder else new_folder(folder)

    with sole_user(folder) if distribution.writes_files() else contextlib.nullcontext():
        keras.utils.set_random_seed(config.train.seed)  # of the initial weights: JAX has them equal in all processes
        if not _is_whole_run(flags.resume):
            _refuse_existing_run(folder)  # one that began while the images were read
        if flags.resume:
            trainer = checkpoints.resume(flags.resume, config)
            anew = "" if _is_whole_run(flags.resume) else ", with averaged weights alone: the optimizer starts anew"
            print(f"resuming {flags.resume} at step {trainer.step}{anew}")
        else:
            trainer = training.DiffusionTrainer(config)
        _fit(flags, trainer, folder, images, per_epoch)


def _refuse_other_images(resumed, sha256, stored):
    if stored.sha256 is None:
        raise InputError(
            f"{resumed} does not say which images it was trained on, as files of ddpm train do: "
            "go on with it in Python, by ddpm_lib.training.fit_run"
        )
    if sha256 != stored.sha256:
        instead = "start a new run" if stored.dataset == "digits" else "name the right ones with --data_dir"
        raise InputError(
            f"these are not the images of the checkpoint: their sha256 is {sha256[:12]}..., "
            f"the checkpoint's is {stored.sha256[:12]}...; {instead}"
        )


def _fit(flags, trainer, folder, images, per_epoch):
    from ddpm_lib import checkpoints, distribution, training
    from ddpm_lib.stopping import finite_divergence

    config = trainer.run
    print(
        f"{len(images)} images of {config.unet.image_size}x{config.unet.image_size}, "
        f"{trainer.network.count_params():,} weights, {per_epoch} steps an epoch, run folder {folder}"
    )
    if trainer.step >= config.train.epochs * per_epoch:
        print(f"this run has had {trainer.step // per_epoch} epochs already; name more with --epochs")
        if distribution.writes_files() and not flags.out:
            with contextlib.suppress(OSError):  # it is empty if it was made just now
                folder.rmdir()
        return
    writes = distribution.writes_files()
    if writes:
        with whole_or_not_at_all(folder / "config.json") as temporary:
            temporary.write_text(config.to_json())
    try:
        training.fit_run(
            trainer,
            images,
            callbacks=[
                training.History(folder, per_epoch),
                checkpoints.SaveCheckpoints(folder, per_epoch, flags.keep, flags.save_every),
                training.SampleGrid(folder, per_epoch),
            ],
            verbose=(1 if sys.stdout.isatty() else 2) if writes else 0,
        )
        distribution.check_agreement("done")  # nobody leaves before the last file is written
    except Exception as error:
        if not distribution.lost_another(error):
            raise
        # At the end of a program the engines wait for the others, or abort: this one ends here.
        message = _start_again("another process of this run is gone", folder)
        print(f"ddpm train: error: {message}", file=sys.stderr, flush=True)
        os._exit(BAD_INPUT)
    if diverged := finite_divergence(trainer.rows, config.diffusion.prediction, trainer.schedule):
        raise InputError(f"{diverged}; start a new run with --lr below {config.train.learning_rate:g}")
    loss = trainer.rows[-1]["loss"]
    last = folder / f"unet_epoch_{len(trainer.rows)}.keras"
    if not writes:
        print(f"done: loss {loss:.4f}; process 0 has written the files")
        return
    print(f"done: loss {loss:.4f}; now try\n  ddpm generate --num_samples 16 --model {last}")


def _new_config(flags, precision, jit) -> RunConfig:
    dataset = flags.dataset or (PRESETS[flags.preset].data.dataset if flags.preset else "digits")
    refuse_data_dir_of_digits(flags, dataset)
    config = PRESETS[flags.preset or DEFAULT_PRESETS[dataset]]
    # The preset is for a network; whether left and right may be exchanged is a matter of the data.
    mirror = dataset == "celeba" if flags.mirror is None else flags.mirror
    places = {"data_dir": _absolute(flags.data_dir), "cache_dir": _absolute(flags.cache_dir)}
    data = {"dataset": dataset, "horizontal_flip": mirror, **places}
    train = {"precision": precision, "jit": jit, **_given_train_flags(flags)}
    if flags.epochs:
        train["epochs"] = flags.epochs
    return config.replace(data=data, train=train)


def _treatment(config, settled=False):
    """Say in one line what is done to the images before the network sees them; `settled` where no flag changes it."""
    size, data = config.unet.image_size, config.data
    prepared = {
        "digits": "enlarged from 8x8",
        "fashion_mnist": "28x28 with a black edge of 2",
    }.get(data.dataset, "RGB, the centred square of each (148x148 of CelebA's 178x218), resized")
    mirrored = "half of them mirrored" if data.horizontal_flip else "not mirrored"
    otherwise = "" if settled else " (--no-mirror: none)" if data.horizontal_flip else " (see --mirror)"
    return f"images: {prepared}, {size}x{size}, {mirrored}{otherwise}"


def _absolute(path):
    return os.path.realpath(path) if path else None


def _given_train_flags(flags):
    """The settings among the flags that were given, by their names in `TrainConfig`."""
    return _given(
        {
            "batch_size": flags.batch_size,
            "steps_per_epoch": flags.steps_per_epoch,
            "learning_rate": flags.lr,
            "min_snr_gamma": flags.min_snr_gamma,
            "seed": flags.seed,
            "rematerialize": flags.rematerialize,
        }
    )


def _given(values):
    return {name: value for name, value in values.items() if value is not None}


def _refuse_existing_run(folder):
    from ddpm_lib.stopping import newest_file

    # Neither what a killed save left behind, nor a name that it did not come to.
    if last := newest_file(folder):
        raise InputError(f"{folder} holds a run already: continue it with --resume {last}, or name another --out")


def _is_whole_run(resumed):
    """Not a new run, nor a shipped model or an exported file, whose folder is no run's, and which has no optimizer."""
    return bool(resumed) and pathlib.Path(resumed).suffix == ".keras"


def _folder_of_run(resumed):
    return pathlib.Path(resumed).parent if _is_whole_run(resumed) else None


def _resumed(flags):
    """Return the configuration of a run that goes on, and refuse flags that contradict it.

    A checkpoint's run goes on as it began, for as many epochs as are asked for. Averaged weights begin a run of their
    own: what does not change how many steps an epoch has may be chosen anew.
    """
    from ddpm_lib import checkpoints, hardware

    config = checkpoints.read_config(flags.resume)
    refuse_data_dir_of_digits(flags, config.data.dataset)
    data = {"data_dir": _absolute(flags.data_dir), "cache_dir": _absolute(flags.cache_dir)}
    train, given = {"epochs": flags.epochs}, _given_train_flags(flags)
    if not _is_whole_run(flags.resume):
        data["horizontal_flip"] = flags.mirror
        free = ("learning_rate", "min_snr_gamma", "seed", "rematerialize")
        train |= {name: given.pop(name, None) for name in free}
        train["precision"] = flags.precision and hardware.choose_precision(flags.precision)[0]
        train["jit"] = flags.jit and hardware.choose_jit(flags.jit)
    asked = {"preset": (flags.preset, config.preset), "dataset": (flags.dataset, config.data.dataset)}
    for name, value in given.items():
        asked["lr" if name == "learning_rate" else name] = (value, getattr(config.train, name))
    if _is_whole_run(flags.resume):
        if flags.mirror not in (None, config.data.horizontal_flip):
            flag, stored = ("--mirror", "no-mirror") if flags.mirror else ("--no-mirror", "mirror")
            raise InputError(f"{flag} contradicts the checkpoint, which has {stored}: leave the flag out")
        if flags.precision not in (None, "auto"):
            asked["precision"] = (flags.precision, config.train.precision)
        if flags.jit not in (None, "auto"):
            asked["jit"] = (flags.jit, "on" if config.train.jit else "off")
    for name, (wanted, stored) in asked.items():
        if wanted is not None and wanted != stored:
            given = f"--{name}" if wanted is True else f"--{name} {wanted}"
            raise InputError(
                f"{given} contradicts the checkpoint, which has {name} {stored}: leave the flag out, or start a new run"
            )
    run_folder = _folder_of_run(flags.resume)
    if flags.out and not (run_folder and os.path.realpath(flags.out) == os.path.realpath(run_folder)):
        _refuse_existing_run(pathlib.Path(flags.out))
    return config.replace(data=_given(data), train=_given(train))
