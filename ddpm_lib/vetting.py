"""What a checkpoint says, read and checked before anything is built from it: the file may be anybody's.

Nothing here runs code of the file's choosing. Of a `.keras` file only `config.json` and the weights are read, and Keras
is given the weights alone: which classes to build, the library knows.
"""

from __future__ import annotations

import contextlib
import json
import math
import os
import pathlib
import tempfile
import zipfile

import h5py
import numpy as np

from ddpm_lib.config import InputError, RunConfig, UNetConfig
from ddpm_lib.files import unpacked_size

ABOUT = "about"  # the array of an exported file that is no weight
WEIGHTS = "model.weights.h5"  # the part of a .keras file with the weights
TRAINER = "DiffusionTrainer"
MAX_STEP = 2**31 - 1  # what a trainer's counter of steps holds
ROW_KEYS = {"epoch": int, "step": int, "loss": float, **{f"loss_q{quarter}": float for quarter in (1, 2, 3, 4)}}


def is_exported(path: str | os.PathLike) -> bool:
    """Tell whether a zip archive is a file for sampling, and not a whole run."""
    with zipfile.ZipFile(path) as archive:
        return f"{ABOUT}.npy" in archive.namelist()


def read_about(path: pathlib.Path) -> dict:
    """Read what a file says about itself: "config" (a `RunConfig`), "rows", and "step" (None for a whole run).

    Raises:
        InputError: if it is not a checkpoint of this library, or says something that cannot be.
    """
    try:
        unpacked = unpacked_size(path)
        if unpacked > 10 * path.stat().st_size + 2**20:  # NumPy and Keras do not compress
            raise InputError(f"it unpacks to {unpacked:,} bytes")
        if is_exported(path):
            with np.load(path) as arrays:
                about = json.loads(arrays[ABOUT].item())
            step = about["step"]
            if type(step) is not int or not 0 <= step <= MAX_STEP:
                raise InputError(f"step must be a whole number in 0..{MAX_STEP}, got {step!r:.80}")
        else:
            with zipfile.ZipFile(path) as archive:
                content = json.loads(archive.read("config.json"))
            if content["class_name"] != TRAINER:
                raise KeyError
            about, step = content["config"], None
        config = RunConfig.from_dict(about["config"])
        _check_rows(about["rows"])
        if 2 * _least_weights(config.unet) > unpacked:
            raise InputError(f"its network has more than {_least_weights(config.unet):,} weights, the file has not")
        return {"config": config, "rows": about["rows"], "step": step}
    except InputError as error:
        raise InputError(f"{path} holds a configuration that this version cannot read: {error}") from error
    except Exception as error:
        # zipfile, zlib and json raise a dozen kinds of errors on whatever else calls itself a zip archive.
        raise InputError(f"{path} is not a checkpoint of this library") from error


def _check_rows(rows):
    if not isinstance(rows, list):
        raise InputError(f"rows must be a list, got {rows!r:.80}")
    for row in rows:
        if not isinstance(row, dict) or set(row) != set(ROW_KEYS):
            raise InputError(f"a row of the history has the keys {sorted(ROW_KEYS)}, got {row!r:.80}")
        for key, kind in ROW_KEYS.items():
            # A quarter of an epoch without images has the loss nan.
            fits = type(row[key]) in (int, kind) and (math.isfinite(row[key]) or key.startswith("loss_q"))
            if not fits or row[key] < 0:
                raise InputError(f"{key} of a row must be a number of 0 or more, got {row[key]!r:.80}")


def _least_weights(unet: UNetConfig) -> int:
    """Return fewer weights than the network has: of both ends, a convolution and a dense layer a block, and so on."""
    ends = 2 * 9 * unet.channels * unet.patch**2 * unet.widths[0]
    blocks = sum(9 * width**2 + 2 * width * unet.time_dim for width in unet.widths) * unet.blocks_per_level
    return ends + blocks + 2 * unet.time_dim**2 + 4 * unet.attention_dim * unet.widths[-1]


@contextlib.contextmanager
def checked_weights(path: pathlib.Path):
    """Unpack the weights of a `.keras` file to a temporary HDF5 file for the time of a `with` statement.

    Raises:
        InputError: if they are missing or damaged, promise more numbers than there are bytes, or lie in other files; or
            if there is no room for temporary files.
    """
    with damage_in_one_line(path), zipfile.ZipFile(path) as archive:
        content = archive.read(WEIGHTS)
    with contextlib.ExitStack() as resources:
        try:
            unpacked = pathlib.Path(resources.enter_context(tempfile.TemporaryDirectory())) / WEIGHTS
            unpacked.write_bytes(content)
        except OSError as error:
            raise InputError(
                f"cannot unpack {path} where temporary files go ({error.strerror or error}): make room there, or name "
                "another folder with TMPDIR"
            ) from error
        with damage_in_one_line(path), h5py.File(unpacked, "r") as file:
            _check_promises(path, file, len(content))
        del content
        yield unpacked


def _check_promises(path, file, size):
    promised, groups = 0, [file]
    while groups:
        group = groups.pop()
        for name in group:
            if isinstance(group.get(name, getlink=True), h5py.ExternalLink):
                raise InputError(f"{path} is not a checkpoint of this library: its {name} lies elsewhere")
            entry = group[name]
            if isinstance(entry, h5py.Group):
                groups.append(entry)
                promised += 1  # so that a group inside itself ends, too
            elif entry.is_virtual or entry.external:
                raise InputError(f"{path} is not a checkpoint of this library: its {name} lies elsewhere")
            else:
                promised += entry.nbytes
            if promised > size:
                raise InputError(f"{path} is not a checkpoint of this library: it promises more than it holds")


@contextlib.contextmanager
def damage_in_one_line(path: str | os.PathLike):
    """Turn whatever is raised meanwhile into an `InputError` that names the file."""
    try:
        yield
    except InputError:
        raise
    except Exception as error:
        # Keras, NumPy, zipfile and h5py raise a dozen kinds of errors on damaged archives.
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise InputError(f"{path} is damaged and cannot be loaded ({reason}); use an earlier checkpoint") from error
