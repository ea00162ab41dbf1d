"""The exercises: the right answer, known wrong ones and their messages, bad input, and the chapters' own solutions."""

import importlib
import re

import jupytext
import numpy as np
import pytest

from ddpm_lib.exercises import EXERCISES, Choice, check
from tests.exercises import RIGHT, WRONG
from tests.ledger.displays import BOOK


def said(capsys, name, answer):
    check(name, answer)
    return capsys.readouterr().out.strip()


def test_every_exercise_is_tested():
    assert set(RIGHT) == set(WRONG) == set(EXERCISES)
    assert all(len(answers) >= 3 for answers in WRONG.values())


@pytest.mark.parametrize("name", RIGHT)
def test_right_answer(capsys, name):
    assert said(capsys, name, RIGHT[name]) == f"{name}: right"


@pytest.mark.parametrize("name, message", [(name, message) for name, answers in WRONG.items() for message in answers])
def test_wrong_answer_is_explained(capsys, name, message):
    said_so = said(capsys, name, WRONG[name][message])
    assert said_so.startswith(f"{name}: not yet. ") and message in said_so


def test_every_wrong_name_is_tried():
    for name, exercise in EXERCISES.items():
        if isinstance(exercise, Choice):
            assert {RIGHT[name], *WRONG[name].values()} == {exercise.right, *exercise.others}
            assert len(set(exercise.others.values())) == len(exercise.others)


@pytest.mark.parametrize(
    "answer, message", [("grain", "none of the names; they are"), (3, "they are"), (" ", "they are")]
)
def test_a_name_that_is_none_of_the_choices_is_answered_with_the_names(capsys, answer, message):
    exercise = EXERCISES["bugs-c"]
    assert message in said(capsys, "bugs-c", answer)
    assert all(f'"{each}"' in said(capsys, "bugs-c", answer) for each in [exercise.right, *exercise.others])
    assert said(capsys, "bugs-c", f"  {exercise.right.upper()} ") == "bugs-c: right"


@pytest.mark.parametrize("name", [name for name, exercise in EXERCISES.items() if not isinstance(exercise, Choice)])
def test_no_two_mistakes_look_alike(name):
    exercise = EXERCISES[name]
    answers = [exercise.right, *(mistake for mistake, _ in exercise.mistakes)]
    results = [[np.asarray(answer(*case), dtype=float) for case in exercise.cases] for answer in answers]
    for i, first in enumerate(results):
        for second in results[:i]:
            assert any(
                a.shape != b.shape or not np.allclose(a, b, rtol=1e-4) for a, b in zip(first, second, strict=True)
            )


def unfinished():
    raise NotImplementedError


@pytest.mark.parametrize("answer", [None, ..., lambda *case: None, lambda *case: ..., lambda *case: unfinished()])
def test_unfilled_answer(capsys, answer):
    assert said(capsys, "jump", answer) == "jump: not filled in yet"


@pytest.mark.parametrize(
    "name, answer, message",
    [
        ("jumps", RIGHT["jump"], "there is no such exercise; there are noise-step, "),
        ("limit-variance", 0.5, "hand over the function itself, not its result"),
        ("limit-variance", lambda: 1, "your function stopped with TypeError"),
        ("limit-variance", lambda beta: 1 / 0, "your function stopped with ZeroDivisionError: division by zero"),
        ("limit-variance", lambda beta: "half", "expected numbers, got str"),
        ("limit-variance", lambda beta: [beta, beta], "the result has shape (2,), where () is expected"),
        ("limit-variance", lambda beta: np.nan, "infinite or undefined numbers"),
        ("limit-variance", lambda beta: 0.7, "A number that should be 0.505051 is 0.7"),
    ],
)
def test_odd_answers_get_a_plain_sentence(capsys, name, answer, message):
    assert message in said(capsys, name, answer)


def test_single_precision_is_precise_enough(capsys):
    single = lambda *case: np.asarray(RIGHT["jump"](*case), dtype=np.float32)  # noqa: E731
    assert said(capsys, "jump", single) == "jump: right"


# ---- The chapters ---------------------------------------------------------------------------------------------------

STUBS_AND_SOLUTIONS = re.compile(r"^````\{dropdown\} Solution\n```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)
CHECK = re.compile(r'^check\("([a-z0-9-]+)", (\w+)\)$', re.MULTILINE)


def exercises():
    """Find (chapter, exercise, function's name, stub, solution) in the chapters' text."""
    found = []
    for path in sorted(BOOK.glob("[0-9]*.md")):
        stub = None
        for cell in jupytext.read(path).cells:
            asked = CHECK.search(cell.source) if cell.cell_type == "code" else None
            if asked:
                assert stub is None, f"{path.stem}: {stub[0]} has no solution"
                stub = (*asked.groups(), cell.source)
            for solution in STUBS_AND_SOLUTIONS.finditer(cell.source) if cell.cell_type == "markdown" else ():
                assert stub, f"{path.stem}: a solution without an exercise"
                found.append((path.stem, *stub, solution[1]))
                stub = None
        assert stub is None, f"{path.stem}: {stub} has no solution"
    return found


def test_every_exercise_stands_in_one_chapter():
    assert sorted(name for _, name, *_ in exercises()) == sorted(EXERCISES)


@pytest.mark.parametrize("chapter", sorted({chapter for chapter, *_ in exercises()}))
def test_exercises_of_a_chapter_lie_in_the_module_of_its_name(chapter):
    asked = [exercise for place, exercise, *_ in exercises() if place == chapter]
    assert asked == list(importlib.import_module(f"ddpm_lib.exercises.{chapter[3:]}").EXERCISES)


@pytest.mark.parametrize("chapter, name, function, stub, solution", exercises(), ids=lambda item: item.splitlines()[0])
def test_printed_solution_is_right_and_stub_is_empty(capsys, chapter, name, function, stub, solution):
    names = {"np": np, "check": check}
    exec(stub, names)
    assert capsys.readouterr().out == f"{name}: not filled in yet\n"
    heads = [text.splitlines()[0].partition(" = ")[0] for text in (stub, solution)]
    assert heads[0] == heads[1], "stub and solution have different arguments, or names"
    exec(solution, names)
    assert said(capsys, name, names[function]) == f"{name}: right"
