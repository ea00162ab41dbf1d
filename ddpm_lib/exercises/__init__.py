"""Exercises that check themselves: `check("posterior-mean", f)` says "right", or what is probably wrong with `f`.

In every exercise `step` is the paper's t = 1..T, so a table is read at index step - 1, and alpha_bar at step 0 is 1.
The exercises of a chapter lie in the module of its name.
"""

from __future__ import annotations

import importlib
from typing import Any

from ddpm_lib.exercises.checking import Exercise, verdict

CHAPTERS = (
    "noising",
    "closed_form",
    "posterior",
    "few_steps",
    "reverse_step",
    "objective",
    "half_precision",
    "training_on_faces",
    "what_it_learned",
)
EXERCISES: dict[str, Exercise] = {}
for _chapter in CHAPTERS:
    EXERCISES |= importlib.import_module(f"{__name__}.{_chapter}").EXERCISES

__all__ = ["CHAPTERS", "EXERCISES", "Exercise", "check", "verdict"]


def check(name: str, answer: Any) -> None:
    """Print whether `answer` solves the exercise `name`, and if not, what is probably wrong.

    Args:
        name: the name that the chapter gives, such as "posterior-mean".
        answer: the reader's function. One that returns None, returns ... or raises NotImplementedError counts as not
            filled in yet. Whatever else it raises is reported, not passed on, so that a notebook runs to its end.
    """
    if name in EXERCISES:
        said = verdict(EXERCISES[name], answer)
    else:
        said = f"there is no such exercise; there are {', '.join(EXERCISES)}"
    print(f"{name}: {said}")
