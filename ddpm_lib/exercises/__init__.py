"""Exercises that check themselves: `check("posterior-mean", f)` says "right", or what is probably wrong with `f`.

In every exercise `step` is the paper's t = 1..T, so a table is read at index step - 1, and alpha_bar at step 0 is 1.
The exercises of a chapter lie in the module of its name.
"""

from __future__ import annotations

import importlib
from typing import Any

from ddpm_lib.exercises import answers, checking
from ddpm_lib.exercises.checking import Choice, Exercise

CHAPTERS = (
    "noising",
    "closed_form",
    "posterior",
    "reverse_step",
    "objective",
    "few_steps",
    "unet",
    "training_loop",
    "half_precision",
    "training_on_faces",
    "time_and_memory",
    "devices",
    "bugs",
    "what_it_learned",
    "judging_images",
    "takeaways",
)
OF_CHAPTER: dict[str, dict[str, Exercise | Choice]] = {
    _chapter: importlib.import_module(f"{__name__}.{_chapter}").EXERCISES for _chapter in CHAPTERS
}
EXERCISES: dict[str, Exercise | Choice] = {
    name: exercise for some in OF_CHAPTER.values() for name, exercise in some.items()
}

__all__ = ["CHAPTERS", "EXERCISES", "OF_CHAPTER", "Choice", "Exercise", "check"]


def check(name: str, answer: Any) -> None:
    """Print whether `answer` solves the exercise `name`, and if not, what is probably wrong.

    Args:
        name: the name that the chapter gives, such as "posterior-mean".
        answer: the reader's function, or the name that the reader chose. None, ..., and a function that returns one of
            them or raises NotImplementedError count as not filled in yet. Whatever else a function raises is reported,
            not passed on, so that a notebook runs to its end.
    """
    if name not in EXERCISES:
        print(f"{name}: there is no such exercise; there are {', '.join(EXERCISES)}")
        return
    given = checking.results(EXERCISES[name], answer)
    answers.write_down(name, given)
    print(f"{name}: {given if isinstance(given, str) else checking.judge(EXERCISES[name], given)}")
