"""What every exercise is made of, how an answer is judged, and the inputs that several chapters try."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np

from ddpm_lib.schedules import cosine_schedule, linear_schedule


@dataclasses.dataclass(frozen=True)
class Exercise:
    """One exercise: its right answer, the inputs to try, and the mistakes that people make.

    Args:
        right: the solution.
        cases: argument tuples that tell the solution from every mistake.
        mistakes: wrong solutions, each with the sentence that a reader who made it should see.
    """

    right: Callable
    cases: tuple[tuple, ...]
    mistakes: tuple[tuple[Callable, str], ...]


@dataclasses.dataclass(frozen=True)
class Choice:
    """An exercise that asks for one of several names; its result is the number of the name in `names`.

    Args:
        right: the name that is right.
        others: the names that are not, each with the sentence that says why it does not fit.
    """

    right: str
    others: dict[str, str]

    @property
    def names(self) -> list[str]:
        """All names, as the chapter lists them."""
        return sorted([self.right, *self.others], key=str.lower)


RIGHT, UNFILLED = "right", "not filled in yet"


def results(exercise: Exercise | Choice, answer: Any) -> list[np.ndarray] | str:
    """Return what `answer` gives for the exercise's cases, or the sentence that says why it gives nothing to compare.

    Args:
        exercise: the exercise.
        answer: what the reader hands over: a function, or for a `Choice` a name; None or ... where nothing is filled in
            yet.
    """
    if answer is None or answer is Ellipsis:
        return UNFILLED
    if isinstance(exercise, Choice):
        return _number_of_name(exercise, answer)
    if not callable(answer):
        return "hand over the function itself, not its result"
    results = []
    for case in exercise.cases:
        try:
            result = answer(*case)
        except NotImplementedError:
            return UNFILLED
        except Exception as error:
            return f"your function stopped with {type(error).__name__}: {error}"
        if result is None or result is Ellipsis:
            return UNFILLED
        try:
            results.append(np.asarray(result, dtype=np.float64))
        except (TypeError, ValueError):
            return f"expected numbers, got {type(result).__name__}"
    for got, want in zip(results, expected(exercise), strict=True):
        if got.shape != want.shape:
            return f"the result has shape {got.shape}, where {want.shape} is expected"
    return results


def expected(exercise: Exercise | Choice) -> list[np.ndarray]:
    """Return what the solution gives for the exercise's cases."""
    if isinstance(exercise, Choice):
        return [np.asarray(exercise.names.index(exercise.right))]
    return [np.asarray(exercise.right(*case)) for case in exercise.cases]


def judge(exercise: Exercise | Choice, results: list[np.ndarray]) -> str:
    """Say in one sentence whether numbers solve the exercise, and if not, what is probably wrong.

    Args:
        exercise: the exercise.
        results: one array a case, of the shapes of `expected(exercise)`.
    """
    wanted = expected(exercise)
    if _same(results, wanted):
        return RIGHT
    if isinstance(exercise, Choice):
        chosen = [name for number, name in enumerate(exercise.names) if number == results[0]]
        return f"not yet. {exercise.others[chosen[0]]}" if chosen else _no_name(exercise)
    for mistake, message in exercise.mistakes:
        if _same(results, [np.asarray(mistake(*case)) for case in exercise.cases]):
            return f"not yet. {message}"
    if not all(np.isfinite(got).all() for got in results):
        return "not yet. The result has infinite or undefined numbers: look for a division by 0 or the root or log of 0"
    index = next(i for i in range(len(results)) if not _same(results[i : i + 1], wanted[i : i + 1]))
    got, want = results[index].ravel(), wanted[index].ravel()
    place = np.argmax(~np.isclose(got, want, rtol=1e-5, atol=1e-9))
    return f"not yet. A number that should be {want[place]:.6g} is {got[place]:.6g}"


def _number_of_name(choice, answer):
    name = " ".join(answer.lower().split()) if isinstance(answer, str) else None
    return [np.asarray(float(choice.names.index(name)))] if name in choice.names else _no_name(choice)


def _no_name(choice):
    return "that is none of the names; they are " + ", ".join(f'"{name}"' for name in choice.names)


def _same(results, expected):
    return all(np.allclose(got, want, rtol=1e-5, atol=1e-9) for got, want in zip(results, expected, strict=True))


LINEAR, COSINE = linear_schedule(), cosine_schedule(200)
_RNG = np.random.default_rng(0)
CLEAN, NOISY, NOISE = _RNG.uniform(-1, 1, 6), _RNG.standard_normal(6), _RNG.standard_normal(6)
