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


def verdict(exercise: Exercise, answer: Any) -> str:
    """Say in one sentence whether `answer` solves the exercise, and if not, what is probably wrong.

    Args:
        exercise: the exercise.
        answer: what the reader hands over: a function, or None or ... where nothing is filled in yet.
    """
    if answer is None or answer is Ellipsis:
        return "not filled in yet"
    if not callable(answer):
        return "hand over the function itself, not its result"
    results = []
    for case in exercise.cases:
        try:
            result = answer(*case)
        except NotImplementedError:
            return "not filled in yet"
        except Exception as error:
            return f"your function stopped with {type(error).__name__}: {error}"
        if result is None or result is Ellipsis:
            return "not filled in yet"
        try:
            results.append(np.asarray(result, dtype=np.float64))
        except (TypeError, ValueError):
            return f"expected numbers, got {type(result).__name__}"
    expected = [np.asarray(exercise.right(*case)) for case in exercise.cases]
    for got, want in zip(results, expected, strict=True):
        if got.shape != want.shape:
            return f"the result has shape {got.shape}, where {want.shape} is expected"
    if _same(results, expected):
        return "right"
    for mistake, message in exercise.mistakes:
        if _same(results, [np.asarray(mistake(*case)) for case in exercise.cases]):
            return f"not yet. {message}"
    if not all(np.isfinite(got).all() for got in results):
        return "not yet. The result has infinite or undefined numbers: look for a division by 0 or the root or log of 0"
    index = next(i for i in range(len(results)) if not _same(results[i : i + 1], expected[i : i + 1]))
    got, want = results[index].ravel(), expected[index].ravel()
    place = np.argmax(~np.isclose(got, want, rtol=1e-5, atol=1e-9))
    return f"not yet. A number that should be {want[place]:.6g} is {got[place]:.6g}"


def _same(results, expected):
    return all(np.allclose(got, want, rtol=1e-5, atol=1e-9) for got, want in zip(results, expected, strict=True))


LINEAR, COSINE = linear_schedule(), cosine_schedule(200)
_RNG = np.random.default_rng(0)
CLEAN, NOISY, NOISE = _RNG.uniform(-1, 1, 6), _RNG.standard_normal(6), _RNG.standard_normal(6)
