"""Datasets: prepare pictures once into a uint8 array on disk, then serve float batches of it without end.

Nothing here depends on a deep-learning backend: batches are NumPy arrays, and which images a batch holds is a function
of the seed and the global step alone.
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import io
import json
import math
import os
import platform
import sys
import threading
import zipfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import keras
import numpy as np
import PIL
from PIL import Image, ImageOps, features
from sklearn.datasets import load_digits
from tqdm import tqdm

from ddpm_lib import __version__
from ddpm_lib.config import DataConfig, InputError, UNetConfig
from ddpm_lib.images import from_uint8

try:
    import fcntl
except ImportError:  # Windows has no file locks of this kind
    fcntl = None

Box = tuple[int, int, int, int]  # left, top, right, bottom, in pixels

CELEBA_SIZE = (178, 218)  # width and height of CelebA's aligned and cropped pictures
CELEBA_CROP: Box = (15, 35, 163, 183)  # their centre 148x148, which is mostly face
MIN_SIDE = 8  # pixels; a smaller picture holds nothing worth learning
FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "GIF", "TIFF")

WHERE_CELEBA_IS = (
    "name the archive img_align_celeba.zip, or the folder it was unpacked to, with --data_dir. It is had from "
    "http://mmlab.ie.cuhk.edu.hk/projects/CelebA.html (Google Drive or Baidu; when Drive's daily quota is used up, a "
    "small web page is saved in place of the archive: try again a day later) or from Kaggle as "
    "jessicali9530/celeba-dataset"
)


# --- Preparing pictures -----------------------------------------------------------------------------------------------


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

    Pictures come in the order of their names. Each one is turned upright as its EXIF tag says, converted to RGB (what
    is transparent becomes white), cropped, and resized with an antialiasing filter (Lanczos). Unreadable, truncated and
    tiny ones are skipped, counted and named.

    The same source with the same settings is prepared once: later calls find the result by the names, sizes and
    checksums or modification times of the files. The result appears under its name only when it is complete, whatever
    interrupts the preparation.

    Args:
        source: a zip archive of images such as CelebA's `img_align_celeba.zip`, or a folder that holds this archive, or
            a folder of images at any depth. Hidden files, and files whose ending is not that of an image, are ignored.
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
    if image_size < 1:
        raise InputError(f"image_size must be at least 1 pixel, got {image_size}")
    if not 0 <= max_bad_fraction <= 1:
        raise InputError(f"max_bad_fraction must be in 0..1, got {max_bad_fraction}")
    if crop is not None:
        left, top, right, bottom = crop
        if min(left, top) < 0 or right - left < 1 or right - left != bottom - top:
            raise InputError(f"crop must be a square (left, top, right, bottom) inside the picture, got {tuple(crop)}")
    source = Path(source).expanduser().resolve()
    cache = Path(cache_dir or default_cache_dir()).expanduser().resolve()
    if cache.is_relative_to(source):
        raise InputError(f"the cache folder {cache} lies inside {source}: name another one with --cache_dir")

    with contextlib.ExitStack() as resources:
        try:
            pictures = _find_pictures(source, resources)
        except OSError as error:
            raise InputError(f"cannot read {error.filename or source}: {error.strerror}") from error
        settings = {
            "image_size": image_size,
            "crop": crop or {"178x218": CELEBA_CROP, "other": "largest centred square"},
            "filter": "LANCZOS",
            "fingerprint": pictures.fingerprint(),
        }
        key = hashlib.sha256(json.dumps(settings).encode()).hexdigest()[:12]
        path = cache / f"{source.stem}-{image_size}px-{key}.json"
        if _reusable(path):
            return path
        try:
            cache.mkdir(parents=True, exist_ok=True)
            resources.enter_context(_sole_writer(cache))
            if _reusable(path):  # another process may have made it while this one waited
                return path
            with _written_whole(path.with_suffix(".npy")) as file:
                result = _write_array(file, pictures, image_size, crop, max_bad_fraction, progress)
            description = {"source": source.name, **settings, **result, "versions": _versions()}
            with _written_whole(path) as file:
                file.write(json.dumps(description, indent=2).encode() + b"\n")
        except OSError as error:
            raise InputError(f"cannot write to the cache folder {cache}: {error.strerror}; see --cache_dir") from error
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
        array = np.load(path.with_suffix(".npy"), mmap_mode="r")
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(f"{path} does not describe a prepared dataset: {_reason(error)}") from error
    if array.shape != shape or array.dtype != np.uint8:
        raise InputError(f"{path} promises uint8 {shape}, but the array beside it is {array.dtype} {array.shape}")
    return array


def default_cache_dir() -> Path:
    """Return where prepared datasets go by default: `ddpm` under the user's cache directory."""
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches" / "ddpm"
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "ddpm"


@dataclasses.dataclass(frozen=True)
class _Pictures:
    stamps: dict[str, tuple[int, int]]  # name of each image -> numbers that change when the file does
    read: Callable[[str], bytes]
    num_ignored: int  # other files

    def fingerprint(self):
        return hashlib.sha256(json.dumps(sorted(self.stamps.items())).encode()).hexdigest()


def _find_pictures(source, resources):
    archive = source / "img_align_celeba.zip"
    if archive.is_file():
        source = archive
    if not source.exists():
        raise InputError(f"there is no file or folder {source}")
    pictures = _in_folder(source) if source.is_dir() else _in_archive(source, resources)
    if not pictures.stamps:
        raise InputError(
            f"{source} holds no images ({pictures.num_ignored} other files): expected {', '.join(FORMATS)}"
        )
    return pictures


def _in_folder(folder):
    def stop(error):  # a folder that cannot be read is no reason to train on the rest
        raise error

    stamps, num_ignored = {}, 0
    for root, _, files in os.walk(folder, onerror=stop):
        for path in (Path(root, file) for file in files):
            name = path.relative_to(folder).as_posix()
            if _is_image(name) and path.is_file():
                status = path.stat()
                stamps[name] = (status.st_size, status.st_mtime_ns)
            else:
                num_ignored += 1
    return _Pictures(stamps, lambda name: (folder / name).read_bytes(), num_ignored)


def _in_archive(path, resources):
    try:
        archive = resources.enter_context(zipfile.ZipFile(path))
    except zipfile.BadZipFile as error:
        raise InputError(
            f"{path} ({path.stat().st_size:,} bytes) is not a complete zip archive: "
            "download it again, or name a folder of images"
        ) from error
    files = [member for member in archive.infolist() if not member.is_dir()]
    members = {member.filename: member for member in files if _is_image(member.filename)}
    lock = threading.Lock()  # the threads share one open archive

    def read(name):
        with lock:
            return archive.read(members[name])

    stamps = {name: (member.file_size, member.CRC) for name, member in members.items()}
    return _Pictures(stamps, read, len(files) - len(members))


def _is_image(name):
    ending = os.path.splitext(name)[1].lower()
    hidden = any(part.startswith((".", "__MACOSX")) for part in name.split("/"))
    return Image.registered_extensions().get(ending) in FORMATS and not hidden


def _write_array(file, pictures, image_size, crop, max_bad_fraction, progress) -> dict[str, Any]:
    """Write the images one after another as a `.npy` file, in memory that does not grow with their number."""

    def load(name):
        # Decoders raise all kinds of exceptions on broken files; each means that this picture cannot be used.
        try:
            return _load_picture(pictures.read(name), image_size, crop)
        except Exception as error:
            return _reason(error)

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
        "num_ignored_files": pictures.num_ignored,
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


def _load_picture(encoded: bytes, image_size: int, crop: Box | None) -> tuple[np.ndarray, bool]:
    """Decode, crop and resize one picture; also tell whether it had to be enlarged."""
    with Image.open(io.BytesIO(encoded), formats=FORMATS) as opened:
        picture = _to_rgb(ImageOps.exif_transpose(opened))
    width, height = picture.size
    if min(width, height) < MIN_SIDE:
        raise ValueError(f"too small: {width}x{height} pixels")
    if crop is None:
        side = min(width, height)
        left, top = (width - side) // 2, (height - side) // 2
        box = CELEBA_CROP if picture.size == CELEBA_SIZE else (left, top, left + side, top + side)
    else:
        box = crop
        if box[2] > width or box[3] > height:
            raise ValueError(f"too small for the crop: {width}x{height} pixels")
    # First cropped, then resized: nothing outside the square can leak in through the filter.
    small = picture.crop(box).resize((image_size, image_size), Image.Resampling.LANCZOS)
    return np.asarray(small), box[2] - box[0] < image_size


def _to_rgb(picture):
    if picture.mode.startswith("I"):  # 16-bit grey, which Pillow would cut off at 255
        picture = Image.fromarray(np.clip(np.asarray(picture) // 257, 0, 255).astype(np.uint8))
    if picture.has_transparency_data:
        picture = picture.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", picture.size, "white"), picture).convert("RGB")
    return picture.convert("RGB")


def _reusable(path):
    if not path.exists():
        return False
    try:
        open_prepared(path)
    except InputError as error:
        _say(f"Preparing again: {error}")
        return False
    description = json.loads(path.read_text())
    _say(f"Using {description['count']:,} images prepared before ({len(description['skipped'])} skipped): {path}")
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
        for leftover in cache.glob("*.partial"):  # of preparations that were killed
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


def _reason(error):
    # The first line, without addresses of objects, which differ from run to run.
    return (str(error).splitlines() or [type(error).__name__])[0].split(" <_io.")[0]


def _say(line):
    print(line, file=sys.stderr)


# --- Loading datasets -------------------------------------------------------------------------------------------------


def load_images(
    data: DataConfig,
    unet: UNetConfig,
    cache_dir: str | os.PathLike | None = None,
    *,
    max_bad_fraction: float = 0.01,
    progress: bool = True,
) -> np.ndarray:
    """Return all training images of a dataset at the size the network expects.

    * "digits": scikit-learn's 1,797 handwritten digits of 8x8 pixels, enlarged to 16x16 with a bicubic filter.
    * "fashion_mnist": the 60,000 training images of 28x28 pixels with two black pixels around them, from `data_dir`
      (`fashion_mnist.npz` or its folder) or else downloaded by Keras.
    * "celeba", "folder": what `prepare` makes of `data_dir`, mapped into memory.

    Args:
        data: which dataset, and where it is.
        unet: its `image_size` and `channels` must fit the dataset.
        cache_dir: see `prepare`.
        max_bad_fraction: see `prepare`.
        progress: see `prepare`.

    Returns:
        (N, H, W, C) uint8; C is 1 for digits and Fashion-MNIST, and 3 for the others.

    Raises:
        InputError: if the dataset is unknown, is not at hand, or does not fit the network.
    """
    if data.dataset == "digits":
        _check_fit(data, unet, image_size=16, channels=1)
        return _digits()
    if data.dataset == "fashion_mnist":
        _check_fit(data, unet, image_size=32, channels=1)
        return np.pad(_fashion_mnist(data.data_dir), ((0, 0), (2, 2), (2, 2)))[..., None]
    if data.dataset not in ("celeba", "folder"):
        raise InputError(f"unknown dataset {data.dataset!r}: choose digits, fashion_mnist, celeba or folder")
    _check_fit(data, unet, image_size=unet.image_size, channels=3)
    if data.data_dir is None and data.dataset == "celeba":
        raise InputError(f"CelebA is not included: {WHERE_CELEBA_IS}")
    if data.data_dir is None:
        raise InputError("the dataset 'folder' needs --data_dir: a folder or a zip archive of images")
    return open_prepared(
        prepare(
            data.data_dir,
            unet.image_size,
            cache_dir=cache_dir,
            max_bad_fraction=max_bad_fraction,
            progress=progress,
        )
    )


def describe(images: np.ndarray) -> dict[str, Any]:
    """Return the crop and the checksum of what `load_images` returned, to be kept with what is trained on it.

    Args:
        images: (N, H, W, C) uint8.

    Returns:
        A dictionary of "crop", what `prepare` cut from the pictures (None for the other datasets), and "sha256", of the
        array's bytes (for prepared images as noted by `prepare`).
    """
    if isinstance(images, np.memmap):
        facts = json.loads(Path(images.filename).with_suffix(".json").read_text("utf8"))
        return {"crop": facts["crop"], "sha256": facts["sha256"]}
    return {"crop": None, "sha256": hashlib.sha256(images.tobytes()).hexdigest()}


def _check_fit(data, unet, *, image_size, channels):
    if unet.image_size != image_size:
        raise InputError(
            f"{data.dataset} images are {image_size}x{image_size}, but the network expects "
            f"{unet.image_size}x{unet.image_size}: choose the preset that belongs to the dataset"
        )
    if unet.channels != channels:
        raise InputError(
            f"{data.dataset} images have {channels} channels, but the network expects {unet.channels}: "
            f"choose the preset that belongs to the dataset"
        )


def _digits():
    pictures = [Image.fromarray(digit) for digit in load_digits().images.astype(np.float32)]
    enlarged = np.stack([np.asarray(picture.resize((16, 16), Image.Resampling.BICUBIC)) for picture in pictures])
    # 0..16 becomes 0..255; the filter overshoots at edges.
    return np.clip(np.rint(enlarged * (255 / 16)), 0, 255).astype(np.uint8)[..., None]


def _fashion_mnist(data_dir):
    if data_dir is None:
        try:
            (images, _), _ = keras.datasets.fashion_mnist.load_data()
        except Exception as error:  # whatever the network or the server does
            raise InputError(
                f"Fashion-MNIST could not be downloaded ({_reason(error)}): "
                "name a copy of fashion_mnist.npz, or its folder, with --data_dir"
            ) from error
        return images
    path = Path(data_dir).expanduser()
    path = path / "fashion_mnist.npz" if path.is_dir() else path
    try:
        with np.load(path) as arrays:
            images = arrays["x_train"]
    except FileNotFoundError as error:
        raise InputError(f"there is no file {path}") from error
    except Exception as error:  # whatever a damaged archive leads to
        raise InputError(f"{path} is not Fashion-MNIST as an .npz file with x_train: {_reason(error)}") from error
    if images.shape[1:] != (28, 28) or images.dtype != np.uint8 or not len(images):
        raise InputError(f"x_train in {path} must be uint8 (N, 28, 28), found {images.dtype} {images.shape}")
    return images


# --- Serving batches --------------------------------------------------------------------------------------------------


class Batches(keras.utils.PyDataset):
    """Training batches without end; item i is the batch of global step `start_step + i`.

    An epoch visits the images in a fresh random order, each at most once; what does not fill a batch at its end is left
    out, so that all batches have one shape. Order and flips are functions of (seed, global step): a run resumed with
    `start_step` goes on exactly as an uninterrupted one.

    Train with `fit(batches, steps_per_epoch=batches.steps_per_epoch, shuffle=False)`. Keras then asks for item 0, 1, 2,
    ... once each over all epochs of one call of `fit`, and starts at 0 again in the next call.

    Args:
        images: (N, H, W, C) uint8, in memory or mapped.
        batch_size: images a batch, 1..N.
        seed: of order and flips, not negative.
        horizontal_flip: whether each image is mirrored with probability 1/2.
        start_step: training steps done before.

    Raises:
        InputError: if `batch_size` is not in 1..N, or `seed` or `start_step` is negative.
    """

    def __init__(
        self,
        images: np.ndarray,
        batch_size: int,
        *,
        seed: int,
        horizontal_flip: bool = False,
        start_step: int = 0,
    ):
        super().__init__()
        if not 1 <= batch_size <= len(images):
            raise InputError(f"batch_size must be in 1..{len(images)}, the number of images, got {batch_size}")
        if seed < 0 or start_step < 0:
            raise InputError(f"seed and start_step must not be negative, got {seed} and {start_step}")
        self.images = images
        self.batch_size = batch_size
        self.seed = seed
        self.horizontal_flip = horizontal_flip
        self.start_step = start_step
        self._order_of_epoch = (-1, None)

    @property
    def num_batches(self) -> None:
        """None, which tells Keras that the batches never end."""
        return None

    @property
    def steps_per_epoch(self) -> int:
        """Whole batches in one pass over the images."""
        return len(self.images) // self.batch_size

    def __getitem__(self, index: int) -> np.ndarray:
        """Return the batch of step `start_step + index`: (batch_size, H, W, C) float32 in [-1, 1]."""
        step = self.start_step + index
        batch = from_uint8(self.images[self.image_indices(step)])
        if self.horizontal_flip:
            flipped = np.random.default_rng([self.seed, 1, step]).random(self.batch_size) < 0.5
            batch[flipped] = batch[flipped, :, ::-1]
        return batch

    def image_indices(self, step: int) -> np.ndarray:
        """Return which images the batch of a global step holds: (batch_size,) int64, all different."""
        epoch, place = divmod(step, self.steps_per_epoch)
        known_epoch, order = self._order_of_epoch
        if epoch != known_epoch:
            order = np.random.default_rng([self.seed, 0, epoch]).permutation(len(self.images))
            self._order_of_epoch = (epoch, order)
        return order[place * self.batch_size : (place + 1) * self.batch_size]
