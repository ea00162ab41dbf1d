"""Reading strangers' files: which of a folder or an archive are pictures, and what becomes of one.

The files come from anywhere, so any of them may be damaged, tiny, or something else than its name says. Whatever a
decoder raises concerns one picture; who calls decides how many bad ones are too many.
"""

from __future__ import annotations

import dataclasses
import hashlib
import io
import json
import os
import threading
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

from ddpm_lib.config import InputError

Box = tuple[int, int, int, int]  # left, top, right, bottom, in pixels

CELEBA_SIZE = (178, 218)  # width and height of CelebA's aligned and cropped pictures
CELEBA_CROP: Box = (15, 35, 163, 183)  # their centre 148x148, which is mostly face
MIN_SIDE = 8  # pixels; a smaller picture holds nothing worth learning
FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "GIF", "TIFF")


@dataclasses.dataclass(frozen=True)
class Pictures:
    """The pictures of a source: their names, and how to read them."""

    stamps: dict[str, tuple[int, int]]  # name of each image -> numbers that change when the file does
    read: Callable[[str], bytes]
    num_ignored: int  # other files

    def fingerprint(self):
        """Return a checksum that changes when any picture does."""
        return hashlib.sha256(json.dumps(sorted(self.stamps.items())).encode()).hexdigest()


def find_pictures(source, resources):
    """Find the pictures of a folder or an archive; `resources` keeps the archive open."""
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
    return Pictures(stamps, lambda name: (folder / name).read_bytes(), num_ignored)


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
    return Pictures(stamps, read, len(files) - len(members))


def _is_image(name):
    ending = os.path.splitext(name)[1].lower()
    hidden = any(part.startswith((".", "__MACOSX")) for part in name.split("/"))
    return Image.registered_extensions().get(ending) in FORMATS and not hidden


def load_picture(encoded: bytes, image_size: int, crop: Box | None) -> tuple[np.ndarray, bool]:
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


def reason(error):
    """Return the first line of an error, without addresses of objects, which differ from run to run."""
    return (str(error).splitlines() or [type(error).__name__])[0].split(" <_io.")[0]
