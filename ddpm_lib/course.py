"""Where the files lie that the chapters show: results of training runs and of measurements."""

from __future__ import annotations

import json
import pathlib
import subprocess
from importlib.metadata import distribution

from ddpm_lib.config import InputError

REPOSITORY = pathlib.Path(__file__).parents[1]


def course_folder() -> pathlib.Path:
    """Return the folder of the course's repository, which holds `data/runs` and `benchmarks/results`.

    A library installed alone, as on Colab, has no such folder around it. Then the repository that it was installed
    from is cloned, once, into `course/` in the current folder.

    Raises:
        InputError: it is unknown where the library was installed from, or git cannot fetch it.
    """
    if (REPOSITORY / "data" / "runs").is_dir():
        return REPOSITORY
    clone = pathlib.Path("course")
    if not (clone / "data" / "runs").is_dir():
        # What pip notes when it installs from a repository.
        source = json.loads(distribution("ddpm-derived-and-built").read_text("direct_url.json") or "{}")
        if "url" not in source:
            raise InputError("the course's results are not here: run this chapter in a clone of its repository")
        command = ["git", "clone", "--quiet", "--depth", "1", source["url"], clone]
        try:
            done = subprocess.run(command, capture_output=True, text=True)
        except FileNotFoundError as error:
            raise InputError("the course's results are fetched with git, which is not installed here") from error
        if done.returncode:
            reason = done.stderr.strip().splitlines()[-1:] or ["git failed"]
            raise InputError(f"the course's results could not be fetched from {source['url']}: {reason[0]}")
    return clone
