"""Preparing once: every picture of a folder or an archive becomes part of one array on disk, whole or not at all."""

from __future__ import annotations

import contextlib
import hashlib
import json
import math
import os
import platform
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import PIL
from PIL import features
from tqdm import tqdm

from ddpm_lib import __version__
from ddpm_lib.config import MAX_IMAGE_SIZE, InputError
from ddpm_lib.data.pictures import CELEBA_CROP, Box, find_pictures, load_picture, reason
from ddpm_lib.files import plain, user_path

try:
    import fcntl
except ImportError:  # Windows has no file locks of this kind
    fcntl = None


def prepare(
    source: str | os.PathLike,
    image_size: int = 64,
    *,
    cache_dir: str | os.PathLike | None = None,
    crop: Box | None = None,
    max_bad_fraction: float = 0.01,
    progress: bool = True,
) -> Path:
    """Crop and resize every picture of an archive or a folder, and store them as one uint8 array in a cache folder.

    Pictures come in the order of their names. Each one is turned upright as its EXIF tag says, converted to sRGB by its
    colour profile (what is transparent becomes white), cropped, and resized with an antialiasing filter (Lanczos).
    Unreadable, truncated and tiny ones, and those whose values have no known range, are skipped, counted and named.

    The same source with the same settings is prepared once: later calls find the result by the names, sizes and
    checksums or modification times of the files. The result appears under its name only when it is complete, whatever
    interrupts the preparation.

    Args:
        source: a zip archive of images such as CelebA's `img_align_celeba.zip`, or a folder that holds this archive, or
            a folder of images at any depth, also behind links. Hidden files, and files whose ending is not that of an
            image, are ignored and counted.
        image_size: height and width of the result, in pixels.
        cache_dir: where the result goes; by default `default_cache_dir()`.
        crop: the square to cut from every picture. By default `CELEBA_CROP` from pictures of CelebA's size, and the
            largest centred square from others.
        max_bad_fraction: how large a share of the pictures may be skipped, 0..1.
        progress: whether to show a progress bar.

    Returns:
        The path of a JSON file that describes the result. The array lies beside it with the ending `.npy`;
        `open_prepared` maps it into memory.

    Raises:
        InputError: if the source is missing, empty, corrupt or holds no image, if too many images are bad, or if the
            cache folder cannot be written or lies inside the source.
    """
    if not 1 <= image_size <= MAX_IMAGE_SIZE:
        raise InputError(f"image_size must be in 1..{MAX_IMAGE_SIZE} pixels, got {image_size}")
    if not 0 <= max_bad_fraction <= 1:
        raise InputError(f"max_bad_fraction must be in 0..1, got {max_bad_fraction}")
    if crop is not None:
        left, top, right, bottom = crop
        if min(left, top) < 0 or right - left < 1 or right - left != bottom - top:
            raise InputError(f"crop must be a square (left, top, right, bottom) inside the picture, got {tuple(crop)}")
    source = Path(os.path.realpath(user_path(source)))  # resolve() would fail at a link to itself
    cache = Path(os.path.realpath(user_path(default_cache_dir() if cache_dir is None else cache_dir)))
    if cache.is_relative_to(source):
        raise InputError(f"the cache folder {cache} lies inside {source}: name another one with --cache_dir")

    with contextlib.ExitStack() as resources:
        try:
            pictures = find_pictures(source, resources)
        except OSError as error:
            raise InputError(f"cannot read {error.filename or source}: {error.strerror}") from error
        settings = {
            "image_size": image_size,
            "crop": crop or {"178x218": CELEBA_CROP, "other": "largest centred square"},
            "filter": "LANCZOS",
            "colours": "sRGB, by embedded profiles",  # 0.1.0 took the numbers as they stood
            "fingerprint": pictures.fingerprint(),
        }
        key = hashlib.sha256(json.dumps(settings).encode()).hexdigest()[:12]
        path = cache / f"{source.stem}-{image_size}px-{key}.json"
        if _reusable(path, pictures):
            return path
        try:
            cache.mkdir(parents=True, exist_ok=True)
            resources.enter_context(_sole_writer(cache))
            if _reusable(path, pictures):  # another process may have made it while this one waited
                return path
            with _written_whole(path.with_suffix(".npy")) as file:
                result = _write_array(file, pictures, image_size, crop, max_bad_fraction, progress)
            description = {"source": source.name, **settings, **result, "versions": _versions()}
            with _written_whole(path) as file:
                file.write(json.dumps(description, indent=2).encode() + b"\n")
        except OSError as error:
            raise InputError(f"cannot write to the cache folder {cache}: {error.strerror}; see --cache_dir") from error
    if pictures.ignored.total():
        _say(f"Ignored {pictures.describe_ignored()}")
    _say(f"Prepared {result['count']:,} images at {image_size}x{image_size}: {path}")
    return path


def open_prepared(path: str | os.PathLike) -> np.ndarray:
    """Map the array that `prepare` made into memory, without reading it.

    Shape and type are checked against the description. The checksum is not, since that would read the whole array at
    every start; `hashlib.sha256(open_prepared(path)).hexdigest()` is what the description calls "sha256".

    Args:
        path: the JSON file that `prepare` returned.

    Returns:
        (N, image_size, image_size, 3) uint8, read-only.

    Raises:
        InputError: if the pair of files is incomplete or does not fit together.
    """
    path = Path(path)
    try:
        description = json.loads(path.read_text())
        shape = (description["count"], description["image_size"], description["image_size"], 3)
        if missing := {"crop", "sha256", "skipped"} - description.keys():  # which others read
            raise ValueError(f"it does not say {min(missing)}")
        array = np.load(path.with_suffix(".npy"), mmap_mode="r")
    except (OSError, EOFError, ValueError, KeyError, TypeError) as error:
        raise InputError(f"{path} does not describe a prepared dataset: {reason(error)}") from error
    if array.shape != shape or array.dtype != np.uint8:
        raise InputError(f"{path} promises uint8 {shape}, but the array beside it is {array.dtype} {array.shape}")
    return array


def default_cache_dir() -> Path:
    """Return where prepared datasets go by default: `ddpm` under the user's cache directory."""
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches" / "ddpm"
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "ddpm"


def _write_array(file, pictures, image_size, crop, max_bad_fraction, progress) -> dict[str, Any]:
    """Write the images one after another as a `.npy` file, in memory that does not grow with their number."""

    def load(name):
        # Decoders raise all kinds of exceptions on broken files; each means that this picture cannot be used.
        try:
            return load_picture(pictures.read(name), image_size, crop)
        except Exception as error:
            return reason(error)

    names = sorted(pictures.stamps)
    digest, count, num_enlarged, skipped = hashlib.sha256(), 0, 0, []
    _write_npy_header(file, count, image_size)
    # Pillow lets other threads run while it decodes and resizes, so threads use all cores.
    with (
        ThreadPoolExecutor(os.cpu_count()) as threads,
        tqdm(total=len(names), desc="Preparing", unit="image", disable=not progress) as bar,
    ):
        for start in range(0, len(names), 128):
            chunk = names[start : start + 128]
            for name, loaded in zip(chunk, threads.map(load, chunk), strict=True):
                if isinstance(loaded, str):
                    skipped.append({"name": name, "reason": loaded})
                    continue
                pixels, enlarged = loaded
                file.write(pixels)
                digest.update(pixels)
                count += 1
                num_enlarged += enlarged
            bar.update(len(chunk))
    file.seek(0)
    _write_npy_header(file, count, image_size)

    _judge(skipped, len(names), max_bad_fraction)
    if num_enlarged:
        _say(f"{num_enlarged:,} of {count:,} images were smaller than {image_size}x{image_size} and were enlarged")
    return {
        "count": count,
        "sha256": digest.hexdigest(),
        "num_enlarged": num_enlarged,
        "num_ignored_files": pictures.ignored.total(),
        "skipped": skipped,
    }


def _write_npy_header(file, count, image_size):
    # NumPy pads the header so that the first axis can grow in place: it has the same length for every count.
    header = {"descr": "|u1", "fortran_order": False, "shape": (count, image_size, image_size, 3)}
    np.lib.format.write_array_header_1_0(file, header)


def _judge(skipped, num_files, max_bad_fraction):
    if not skipped:
        return
    first = f"{skipped[0]['name']!r} ({skipped[0]['reason']})"
    if len(skipped) == num_files:
        raise InputError(f"none of the {num_files:,} images could be used; the first is {first}")
    if len(skipped) / num_files > max_bad_fraction:
        enough = math.ceil(1000 * len(skipped) / num_files) / 1000
        raise InputError(
            f"{len(skipped):,} of {num_files:,} images could not be used, more than {100 * max_bad_fraction:g} %; "
            f"the first is {first}. To go on without them: --max_bad_fraction {enough}"
        )
    _say(f"Skipped {len(skipped):,} of {num_files:,} images that could not be used:")
    for entry in skipped[:5]:
        _say(f"  {entry['name']!r}: {entry['reason']}")
    if len(skipped) > 5:
        _say("  ... all are named in the description")


def _reusable(path, pictures):
    if not path.exists():
        return False
    try:
        open_prepared(path)
    except InputError as error:
        _say(f"Preparing again: {error}")
        return False
    description = json.loads(path.read_text())
    left_out = f"{len(description['skipped'])} skipped, ignored {pictures.describe_ignored()}"
    _say(f"Using {description['count']:,} images prepared before ({left_out}): {path}")
    return True


@contextlib.contextmanager
def _sole_writer(cache):
    """Let one preparation at a time write to a cache folder; the system frees the lock when a process dies."""
    with open(cache / "prepare.lock", "w") as file:
        if fcntl:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                _say(f"Waiting for another preparation in {cache}")
                fcntl.flock(file, fcntl.LOCK_EX)
        ours = f"*px-{12 * '[0-9a-f]'}.*.partial"  # left by preparations that were killed, and by nobody else
        for leftover in cache.glob(ours):
            leftover.unlink()
        yield


@contextlib.contextmanager
def _written_whole(path):
    """Open a file for writing that gets its name only when it is complete and on the disk."""
    partial = path.with_name(path.name + ".partial")
    try:
        with open(partial, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)


def _versions():
    return {
        "ddpm_lib": __version__,
        "libjpeg-turbo": features.version("libjpeg_turbo"),
        "numpy": np.__version__,
        "pillow": PIL.__version__,
        "python": platform.python_version(),
    }


def _say(line):
    print(plain(line), file=sys.stderr)
