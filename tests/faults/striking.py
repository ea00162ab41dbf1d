"""What strikes a command in the midst of its writing, and what the files say that it leaves."""

import contextlib
import json
import os
import pathlib
import random
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import zipfile

import pytest

from ddpm_lib import cli, config
from tests.test_cli import SMALL

PROGRAM = f"""
import sys
from ddpm_lib import cli, config
config.PRESETS["digits16"] = config.PRESETS["digits16"].replace(unet={SMALL})
sys.exit(cli.main())
"""


class Strike:
    """An audit hook: acts before the write of a number into a folder, or before each of them (None)."""

    def __init__(self, folder, act, at):
        self.folder, self.act, self.at = folder, ACTS[act], at
        self.number, self.acting = 0, False

    def __call__(self, event, arguments):
        if event == "open":
            paths = arguments[:1] if arguments[2] & (os.O_WRONLY | os.O_RDWR) else ()
        elif event in ("os.rename", "os.link"):
            paths = arguments[:2]
        elif event in ("os.remove", "os.mkdir"):
            paths = arguments[:1]
        else:
            return
        within = any(isinstance(path, str | os.PathLike) and str(path).startswith(str(self.folder)) for path in paths)
        if not within or self.acting:
            return
        self.acting = True  # what it does itself is no write of the command
        if self.at in (self.number, None):
            self.act(self, event, paths)
        self.number, self.acting = self.number + 1, False


def _signal(number):
    return lambda strike, event, paths: os.kill(os.getpid(), number)


def _fill(strike, event, paths):
    """Leave a few pages of the disk, so that files end in their middle."""
    with open(strike.folder.parent / "others", "wb", buffering=0) as file:
        with contextlib.suppress(OSError):
            while True:
                file.write(bytes(4096))
        file.truncate(max(0, file.tell() - 4096 * random.Random(strike.at).randrange(8)))


def _forbid(strike, event, paths):
    with contextlib.suppress(subprocess.CalledProcessError):  # refused while a file is open: nothing happens
        mount("-o", "remount,ro", strike.folder.parent)


def _turn_back(strike, event, paths):
    """Turn the clock back by an hour: what is there is of the future."""
    for name, hour in (("time", 3600), ("time_ns", 3600 * 10**9)):
        now = getattr(time, name)
        setattr(time, name, lambda now=now, hour=hour: now() - hour)
    for path in strike.folder.rglob("*"):
        os.utime(path, (path.stat().st_atime + 3600, path.stat().st_mtime + 3600))


def _record(strike, event, paths):
    """Keep a copy of every file that is about to get its name, beside the folder."""
    kept = strike.folder.with_name("versions") / f"{strike.number:04}"
    kept.mkdir(parents=True)
    if event == "os.rename":
        (kept / "name.json").write_text(json.dumps(str(pathlib.Path(paths[1]).relative_to(strike.folder))))
        shutil.copy(paths[0], kept / f"file{pathlib.Path(paths[1]).suffix}")


ACTS = {
    "kill": _signal(signal.SIGKILL),
    "interrupt": _signal(signal.SIGINT),
    "terminate": _signal(signal.SIGTERM),
    "delete": lambda strike, event, paths: shutil.rmtree(strike.folder),
    "fill": _fill,
    "forbid": _forbid,
    "turn back": _turn_back,
    "record": _record,
}


def command(arguments, folder, log, elsewhere, act, at):
    """Run a command in this process, and act before its write of a number."""
    output = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(output, 1), os.dup2(output, 2)
    os.environ["TMPDIR"] = tempfile.tempdir = str(elsewhere)
    config.PRESETS["digits16"] = config.PRESETS["digits16"].replace(unet=SMALL)
    signal.signal(signal.SIGINT, signal.default_int_handler)  # the tests may run where nobody presses Ctrl-C
    if act:
        sys.addaudithook(Strike(folder, act, at))
    sys.exit(cli.main(arguments))


def mount(*arguments):
    subprocess.run(["mount", *map(str, arguments)], check=True, capture_output=True, timeout=60)


@contextlib.contextmanager
def small_disk(folder):
    """Make a folder a disk of its own for the time of a `with` statement."""
    folder.mkdir(parents=True)
    try:
        mount("-t", "tmpfs", "-o", "size=16m", "tmpfs", folder)
    except (OSError, subprocess.SubprocessError) as error:
        pytest.skip(f"mounting a small disk takes Linux and a superuser: {error}")
    try:
        yield
    finally:
        subprocess.run(["umount", "--lazy", folder], check=True)


def meaning(path):
    """Return what a file says, all of it read: of a checkpoint, all but the date."""
    content = path.read_bytes()
    if path.suffix != ".keras":
        return content
    with zipfile.ZipFile(path) as archive:
        return {name: archive.read(name) for name in archive.namelist() if name != "metadata.json"}


def visible(folder):
    """Return what the files of a folder say by their names, without those that nobody takes for results."""
    names = [path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()]
    results = [name for name in names if not re.search(r"(^|/)\.|\.partial$|^prepare\.lock$", name)]
    return {name: meaning(folder / name) for name in results}


def versions(folder):
    """Return what every file said that was recorded beside a folder, by its name, and how many writes there were."""
    said, writes = {}, sorted(folder.with_name("versions").iterdir())
    for kept in writes:
        if (kept / "name.json").exists():
            (file,) = kept.glob("file*")
            said.setdefault(json.loads((kept / "name.json").read_text()), []).append(meaning(file))
    return said, len(writes)
