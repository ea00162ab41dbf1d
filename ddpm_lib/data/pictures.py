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
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image, ImageCms, ImageOps

from ddpm_lib.config import InputError

Box = tuple[int, int, int, int]  # left, top, right, bottom, in pixels

CELEBA_SIZE = (178, 218)  # width and height of CelebA's aligned and cropped pictures
CELEBA_CROP: Box = (15, 35, 163, 183)  # their centre 148x148, which is mostly face
MIN_SIDE = 8  # pixels; a smaller picture holds nothing worth learning
# What Pillow decodes itself. It would pass some others, such as EPS, to another program.
FORMATS = (
    *("JPEG", "PNG", "WEBP", "BMP", "GIF", "TIFF", "AVIF", "JPEG2000", "MPO"),
    *("PPM", "TGA", "DIB", "PCX", "QOI", "SGI"),
)
MAX_FILE_BYTES = 2**28  # of one picture, unpacked: an archive of 3 MB can hold one of 3 GB


@dataclasses.dataclass(frozen=True)
class Pictures:
    """The pictures of a source: their names, and how to read them."""

    stamps: dict[str, tuple[int, int]]  # name of each image -> numbers that change when the file does
    read: Callable[[str], bytes]
    ignored: Counter[str]  # other files, counted by their endings

    def fingerprint(self):
        """Return a checksum that changes when any picture does."""
        return hashlib.sha256(json.dumps(sorted(self.stamps.items())).encode()).hexdigest()

    def describe_ignored(self):
        """Return how many other files there are, and the commonest endings: "7 other files: 4 .heic, 3 .txt"."""
        commonest = sorted(self.ignored.items(), key=lambda item: (-item[1], item[0]))[:8]
        kinds = ", ".join(f"{count:,} {ending}" for ending, count in commonest)
        return f"{self.ignored.total():,} other files" + (f": {kinds}" if kinds else "")


def find_pictures(source, resources):
    """Find the pictures of a folder or an archive; `resources` keeps the archive open."""
    archive = source / "img_align_celeba.zip"
    if archive.is_file():
        source = archive
    if not source.exists():
        raise InputError(f"there is no file or folder {source}: name the images with --data_dir")
    if not source.is_dir() and not source.is_file():  # a device or a pipe might never end
        raise InputError(f"{source} is neither a folder nor an ordinary file")
    pictures = _in_folder(source) if source.is_dir() else _in_archive(source, resources)
    if not pictures.stamps:
        archives = sorted(source.glob("*.zip")) if source.is_dir() else []
        if archives:
            raise InputError(f"{source} holds no images, but an archive: name it with --data_dir {archives[0]}")
        raise InputError(f"{source} holds no images ({pictures.describe_ignored()}): expected {', '.join(_formats())}")
    return pictures


def _in_folder(folder):
    def stop(error):  # a folder that cannot be read is no reason to train on the rest
        raise error

    stamps, ignored, visited = {}, Counter(), set()
    for root, folders, files in os.walk(folder, onerror=stop, followlinks=True):
        status = os.stat(root)
        if (status.st_dev, status.st_ino) in visited:  # a link to where we have been, perhaps in a circle
            folders.clear()
            continue
        visited.add((status.st_dev, status.st_ino))
        # Where a folder has two names, its own one is taken, and not that of a link.
        folders.sort(key=lambda name: (os.path.islink(os.path.join(root, name)), name))
        for path in (Path(root, file) for file in files):
            name = path.relative_to(folder).as_posix()
            if _is_image(name) and path.is_file():
                status = path.stat()
                stamps[name] = (status.st_size, status.st_mtime_ns)
            else:
                ignored[_kind(name)] += 1

    def read(name):
        _refuse_huge(stamps[name][0])
        return (folder / name).read_bytes()

    return Pictures(stamps, read, ignored)


def _in_archive(path, resources):
    try:
        archive = resources.enter_context(zipfile.ZipFile(path))
    except (zipfile.BadZipFile, NotImplementedError, ValueError) as error:  # what zipfile says of a damaged directory
        size = f"{path} ({path.stat().st_size:,} bytes)"
        if _is_image(path.name):
            raise InputError(f"{size} is one picture: name the folder that it lies in") from error
        if path.suffix.lower() not in ("", ".zip"):
            raise InputError(f"{size} is not a zip archive: unpack it, and name the folder of images") from error
        raise InputError(
            f"{size} is not a complete zip archive: download it again, or name a folder of images"
        ) from error
    files = [member for member in archive.infolist() if not member.is_dir()]
    members = {member.filename: member for member in files if _is_image(member.filename)}
    # An archive may hold a name twice: the last one counts, as when it is unpacked.
    ignored = Counter(
        "of a name that comes again" if member.filename in members else _kind(member.filename)
        for member in files
        if member is not members.get(member.filename)
    )
    lock = threading.Lock()  # the threads share one open archive

    def read(name):
        _refuse_huge(members[name].file_size)  # zipfile reads no more than is promised here
        with lock:
            return archive.read(members[name])

    stamps = {name: (member.file_size, member.CRC) for name, member in members.items()}
    return Pictures(stamps, read, ignored)


def _refuse_huge(size):
    if size > MAX_FILE_BYTES:
        raise ValueError(f"too large: {size:,} bytes, at most {MAX_FILE_BYTES:,} are read")


def _formats():
    """Those of `FORMATS` that this Pillow was built with."""
    Image.init()
    return [name for name in FORMATS if name in Image.OPEN]


def _is_hidden(name):
    return any(part.startswith((".", "__MACOSX")) for part in name.split("/"))


def _is_image(name):
    ending = os.path.splitext(name)[1].lower()
    return Image.registered_extensions().get(ending) in FORMATS and not _is_hidden(name)


def _kind(name):
    return "hidden" if _is_hidden(name) else os.path.splitext(name)[1].lower() or "without an ending"


def load_picture(encoded: bytes, image_size: int, crop: Box | None) -> tuple[np.ndarray, bool]:
    """Decode, crop and resize one picture; also tell whether it had to be enlarged."""
    with Image.open(io.BytesIO(encoded), formats=_formats()) as opened:
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
    """Return the picture as sRGB: by its colour profile if it has one, and with what is transparent white."""
    profile = picture.info.get("icc_profile")
    if picture.mode == "F" or picture.mode.startswith("I"):
        picture = Image.fromarray(_to_8_bits(np.asarray(picture)))
    alpha = picture.convert("RGBA").getchannel("A") if picture.has_transparency_data else None
    picture = (profile and _by_profile(picture, profile)) or picture.convert("RGB")
    if alpha is None:
        return picture
    picture.putalpha(alpha)
    return Image.alpha_composite(Image.new("RGBA", picture.size, "white"), picture).convert("RGB")


def _to_8_bits(values):
    """Scale the values of a picture of more than 8 bits to 0..255, if what is white in it can be known."""
    least, most = values.min(), values.max()
    if values.dtype.kind == "f":
        if least >= 0 and most <= 255:
            return np.rint(values * (255 if most <= 1 else 1)).astype(np.uint8)
    elif least >= 0 and (most == 0 or 4096 <= most <= 65535):  # not 8 or 12 bits in the place of 16
        return np.rint(values / 257).astype(np.uint8)
    raise ValueError(f"its values go from {least:g} to {most:g}: rescale them, 16 bits to 0..65535 and floats to 0..1")


def _by_profile(picture, profile):
    """Convert to sRGB by an embedded ICC profile; return None where the profile is damaged or of another picture."""
    try:
        profile = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        mode = {"RGB": "RGB", "GRAY": "L", "CMYK": "CMYK", "Lab": "LAB"}[profile.profile.xcolor_space.strip()]
        picture = picture if picture.mode == mode else picture.convert(mode)
        return ImageCms.profileToProfile(picture, profile, ImageCms.createProfile("sRGB"), outputMode="RGB")
    except (ImageCms.PyCMSError, KeyError, OSError, ValueError):
        return None


def reason(error):
    """Return the first line of an error, without addresses of objects, which differ from run to run."""
    return (str(error).splitlines() or [type(error).__name__])[0].split(" <_io.")[0]
