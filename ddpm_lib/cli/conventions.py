"""What all commands share: how flags are spelled, which numbers they take, how Keras starts, how a command ends."""

from __future__ import annotations

import argparse
import contextlib
import errno
import importlib.util
import io
import itertools
import math
import os
import pathlib
import sys
import tempfile

from ddpm_lib.config import InputError
from ddpm_lib.files import user_path, whole_or_not_at_all

try:
    import fcntl
except ImportError:  # Windows has no locks of this kind
    fcntl = None

# Before Keras is imported anywhere: TensorFlow greets every process with a dozen lines.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

BACKENDS = ("tensorflow", "jax", "torch")
CHOICE = "tensorflow, jax or torch"
BAD_INPUT, INTERRUPTED, READER_GONE = 2, 130, 141  # exit codes; the last is what a shell makes of SIGPIPE

# Help of every --model that takes more than a checkpoint.
MODEL = "a checkpoint, an exported file, or the name of a model that comes with the project"


class Parser(argparse.ArgumentParser):
    """Spells a flag in two ways, and meets a mistake with one line."""

    def error(self, message):
        """End with one line and exit code 2."""
        self.exit(BAD_INPUT, f"{self.prog}: error: {message} (see {self.prog} --help)\n")

    def parse_known_args(self, args=None, namespace=None):
        """Parse as argparse does, but refuse `--name=--`, of which it makes an empty list."""
        flags, others = super().parse_known_args(args, namespace)
        for name, value in vars(flags).items():
            if value == []:
                self.error(f"argument --{name}: expected one argument")
        return flags, others

    def flag(self, name, **options):
        """Add --a_b, also accepted as --a-b."""
        spellings = dict.fromkeys([f"--{name}", f"--{name.replace('_', '-')}"])
        return self.add_argument(*spellings, dest=name, **options)


def number_type(kind, least, allow_least=True, most=math.inf):
    """Make a type of flag: a finite int or float between two bounds."""

    def parse(text):
        try:
            value = kind(text)
        except ValueError:
            raise argparse.ArgumentTypeError(f"{text!r} is not a number") from None
        if kind is float and not math.isfinite(value):  # of whole numbers it wants none with 400 digits
            raise argparse.ArgumentTypeError(f"{text} is not a finite number")
        if value > most:
            raise argparse.ArgumentTypeError(f"{text} must be at most {most}")
        if value < least or (value == least and not allow_least):
            raise argparse.ArgumentTypeError(f"{text} must be {'at least' if allow_least else 'more than'} {least}")
        return value

    return parse


def path(text: str) -> str:
    """Type of every flag that takes a path: not empty, with ~ expanded, also in --out=~/pictures."""
    try:
        return str(user_path(text))
    except InputError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


COUNT = number_type(int, 1, most=2**31 - 1)
SEED = number_type(int, 0, most=2**32 - 1)  # what the random generators of all backends take


def add_data_flags(parser):
    """Add the flags that say where images are, for commands that may prepare them."""
    parser.flag("data_dir", type=path, metavar="PATH", help="archive or folder of images, for celeba and folder")
    where = "where prepared images are kept (default: the user's cache folder)"
    parser.flag("cache_dir", type=path, metavar="PATH", help=where)
    parser.flag(
        "max_bad_fraction",
        type=number_type(float, 0.0, most=1.0),
        default=0.01,
        metavar="SHARE",
        help="share of unreadable images to put up with (default: 0.01)",
    )


def refuse_data_dir_of_digits(flags, dataset):
    """Refuse a place of images for the dataset that comes with scikit-learn."""
    if flags.data_dir and dataset == "digits":
        raise InputError(f"the digits need no --data_dir {flags.data_dir}: leave it out, or name another --dataset")


def add_sampler_flags(parser):
    """Add the flags that say how images are drawn; `chosen_sampler` reads them."""
    parser.flag(
        "sampler", choices=["ddpm", "ddim", "dpm++"], default="ddpm", help="dpm++ is DPM-Solver++(2M) (default: ddpm)"
    )
    parser.flag("steps", type=COUNT, help="(default: 100, for ddim 50, for dpm++ 20)")
    parser.flag(
        "variance",
        choices=["beta", "posterior"],
        help="of ddpm's fresh noise (default: posterior, and beta where no step is skipped)",
    )
    parser.flag("eta", type=number_type(float, 0.0), help="share of fresh noise in ddim (default: 0)")


def check_sampler_flags(flags):
    """Refuse flags of one sampler that are given with another."""
    if flags.eta is not None and flags.sampler != "ddim":
        raise InputError("--eta belongs to --sampler ddim; leave it out, or change the sampler")
    if flags.variance is not None and flags.sampler != "ddpm":
        raise InputError("--variance belongs to --sampler ddpm; leave it out, or change the sampler")


def chosen_sampler(flags, total):
    """Return the sampler that checked flags name, and its options, for a model that was trained with `total` steps."""
    from ddpm_lib import sampling

    steps = flags.steps or min({"ddpm": 100, "ddim": 50, "dpm++": 20}[flags.sampler], total)
    if steps > total:
        raise InputError(f"--steps {steps} is more than the {total} steps the model was trained with")
    options = {"num_steps": steps}
    if flags.sampler == "ddpm":
        # With skipped steps beta leaves noise in the images.
        options["variance"] = flags.variance or ("posterior" if steps < total else "beta")
    if flags.sampler == "ddim":
        options["eta"] = flags.eta or 0.0
    sampler = {
        "ddpm": sampling.ddpm_sample,
        "ddim": sampling.ddim_sample,
        "dpm++": sampling.dpm_solver_pp_sample,
    }[flags.sampler]
    return sampler, options


def import_keras():
    """Import Keras in silence, or say in one line why it cannot be. Every command that computes begins with this."""
    backend = os.environ.get("KERAS_BACKEND")
    if backend not in (None, "", *BACKENDS):
        raise InputError(f"KERAS_BACKEND={backend} is unknown: choose {CHOICE}")
    try:
        with _held_back_stderr():
            import keras
    except ModuleNotFoundError as error:
        others = [name for name in BACKENDS if name != error.name and importlib.util.find_spec(name)]
        instead = f", or choose another backend: KERAS_BACKEND={others[0]}" if others else ""
        raise InputError(f"{error.name} is not installed: install it{instead}") from error
    except (AssertionError, AttributeError, TypeError, ValueError) as error:  # how Keras takes a bad keras.json
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise InputError(f"Keras cannot start ({reason}): mend ~/.keras/keras.json, its backend is {CHOICE}") from error
    if (backend := keras.backend.backend()) not in BACKENDS:
        raise InputError(f"Keras runs on {backend} here: set KERAS_BACKEND or ~/.keras/keras.json to {CHOICE}")
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


def new_folder(path):
    """Make a folder of this name, or with -2, -3, ... behind it where there is one.

    Making it claims it, so that two commands which start at once do not share one.
    """
    path = pathlib.Path(path)
    for number in itertools.count(1):
        folder = path if number == 1 else path.with_name(f"{path.name}-{number}")
        if not folder.exists():
            make_folder(folder.parent)
            with contextlib.suppress(FileExistsError):
                folder.mkdir()
                return folder


@contextlib.contextmanager
def sole_user(folder):
    """Hold a folder for the time of a `with` statement, and lend it; the system lets go of it when a process dies.

    Raises:
        InputError: if another process holds it.
    """
    if fcntl is None:
        yield folder
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise InputError(f"another run is writing to {folder}: wait for it, or name another --out") from None
        except OSError:  # a file system without locks, as a mounted Drive
            pass
        yield folder
    finally:
        os.close(handle)


def mend_streams():
    """Let printing never fail: a stream that the shell closed goes nowhere, and what a terminal lacks is spelt out.

    Before any file is opened: it would get the number of the closed stream, and the backend's messages with it.
    """
    for number, name in ((1, "stdout"), (2, "stderr")):
        if getattr(sys, name) is None:
            nowhere = os.open(os.devnull, os.O_WRONLY)
            if nowhere != number:
                os.dup2(nowhere, number)
                os.close(nowhere)
            setattr(sys, name, open(number, "w", closefd=False))
            continue
        stream = getattr(sys, name)
        if stream.isatty():
            terminal = io.BufferedWriter(_Terminal(number, "w", closefd=False))
            stream = io.TextIOWrapper(terminal, stream.encoding, line_buffering=True)
            setattr(sys, name, stream)
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")


class _Terminal(io.FileIO):
    """A terminal that may go away: SIGHUP tells of that, and printing may be the first to find out."""

    def write(self, data):
        try:
            return super().write(data)
        except OSError as error:
            if error.errno != errno.EIO:
                raise
            return len(data)


def save_samples(folder, images, seeds):
    """Write `samples.npz`: images (N, H, W, C) uint8, and their seeds."""
    import numpy as np

    with whole_or_not_at_all(folder / "samples.npz") as temporary:
        np.savez_compressed(temporary, images=images, seeds=np.array(seeds))


def refuse_to_write_over(flags, *patterns):
    """See that `--out` holds no file of these names yet, unless `--overwrite` is given."""
    folder = pathlib.Path(flags.out)
    held = sorted(path.name for pattern in patterns for path in folder.glob(pattern))
    if held and not flags.overwrite:
        raise InputError(f"{folder} holds {held[0]} already: name another --out, or add --overwrite")


def make_folder(path):
    """Make the folder if need be, see that it can be written to, and return its path."""
    path = pathlib.Path(path)
    try:
        path.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=path):  # its name is its own, even when eight runs start at once
            pass
    except OSError as error:
        raise InputError(f"cannot write to the folder {path}: {error.strerror}; name another one with --out") from error
    return path
