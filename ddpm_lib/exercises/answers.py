"""Answers on their way from a notebook's process to `ddpm grade`: the numbers, never a verdict.

`check` adds a line to the file that the environment variable names, if it names one. Whoever reads it judges again.
"""

from __future__ import annotations

import json
import os
import pathlib

import numpy as np

from ddpm_lib.exercises.checking import RIGHT, Choice, Exercise, expected, judge

FILE = "DDPM_ANSWERS"  # the environment variable
MOST_BYTES = 16 * 2**20  # of the file; a chapter's answers are some kilobytes
MOST_LETTERS = 300  # of a sentence


def write_down(name: str, given: list[np.ndarray] | str) -> None:
    """Add what an exercise was given to the file, if there is one.

    Args:
        name: the exercise's name.
        given: what `checking.results` returned.
    """
    path = os.environ.get(FILE)
    if path:
        numbers = given if isinstance(given, str) else [array.ravel().tolist() for array in given]
        with open(path, "a", encoding="utf8") as file:
            file.write(json.dumps([name, numbers]) + "\n")


def read_back(path: str | os.PathLike, exercises: dict[str, Exercise | Choice]) -> dict[str, list[str]]:
    """Judge what a notebook wrote down: {name: a sentence for each time that it was checked}.

    The notebook could write to the file by itself, so every line may hold anything. Lines that `write_down` cannot have
    written are left out.

    Args:
        path: the file, which need not be there.
        exercises: the exercises to look for.
    """
    path = pathlib.Path(path)
    if not path.is_file() or path.stat().st_size > MOST_BYTES:
        return {}
    found = {}
    for line in path.read_bytes().splitlines():
        try:
            name, given = json.loads(line)
            said = _sentence(exercises[name], given)
        except (ValueError, TypeError, KeyError, RecursionError, OverflowError):
            continue
        if said:
            found.setdefault(name, []).append(said)
    return found


def _sentence(exercise, given):
    if isinstance(given, str):
        plain = "".join(letter if letter.isprintable() else " " for letter in given[:MOST_LETTERS])
        return plain if plain.strip() != RIGHT else None
    wanted = expected(exercise)
    arrays = [np.array(numbers, dtype=np.float64) for numbers in given]
    if len(arrays) != len(wanted) or any(got.ndim != 1 for got in arrays):
        return None
    # `reshape` refuses a wrong number of numbers.
    return judge(exercise, [got.reshape(want.shape) for got, want in zip(arrays, wanted, strict=True)])
