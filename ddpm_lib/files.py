"""Files: what a path means that a user wrote, and how to write so that a file is whole or not there."""

from __future__ import annotations

import contextlib
import os
import pathlib
import zipfile
from collections.abc import Iterator

from ddpm_lib.config import InputError


class CannotWrite(InputError, OSError):
    """A file could not be written: the disk is full, or its folder is gone or read-only."""


def user_path(path: str | os.PathLike) -> pathlib.Path:
    """Return a path that a user wrote, with `~` and `~name` expanded.

    Raises:
        InputError: if there is no such home, the file system cannot hold such a name, or the path is empty: that is
            most often a variable that was never set, and would mean the working directory.
    """
    text = os.fspath(path)
    if not text or "\0" in text:
        raise InputError("a path is empty: was a variable left unset?" if not text else "a path has a zero byte in it")
    try:
        os.fsencode(text)  # fails at half a letter, as a stranger's checkpoint may name it
        return pathlib.Path(text).expanduser()
    except UnicodeEncodeError:
        raise InputError(f"no file can be named {text!r:.80}") from None
    except RuntimeError:
        # "./~x" does not help: pathlib makes "~x" of it.
        whole = pathlib.Path.cwd() / text
        raise InputError(f"there is no home folder {text.split('/')[0]}: a file of that name is {whole}") from None


def plain(text: str) -> str:
    """Spell out the letters that would move a terminal's cursor, or cannot be printed: the text may be a stranger's."""
    return "".join(letter if letter.isprintable() else repr(letter)[1:-1] for letter in text)


def unpacked_size(path: str | os.PathLike) -> int:
    """Return how many bytes a zip archive promises to unpack to; zipfile reads no more than that."""
    with zipfile.ZipFile(path) as archive:
        return sum(member.file_size for member in archive.infolist())


@contextlib.contextmanager
def whole_or_not_at_all(path: str | os.PathLike) -> Iterator[pathlib.Path]:
    """Lend another name to write to, then flush to the disk and rename: a crash leaves the old file or the new one.

    Raises:
        CannotWrite: if the system refuses; the old file is still there.
    """
    path = user_path(path)
    temporary = path.with_name(f".{path.stem}.{os.getpid()}.tmp{path.suffix}")
    try:
        yield temporary
        with open(temporary, "rb+") as file:  # Windows flushes only what may be written to
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except OSError as error:
        raise CannotWrite(f"cannot write {path}: {error.strerror or error}") from error
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)
