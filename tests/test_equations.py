"""Every display equation of the book, as it is printed, against numbers from elsewhere: see equation_ledger.py."""

import itertools
import re

import numpy as np
import pytest
import sympy

from tests.equation_ledger import CHECKS, PAGE, page
from tests.equation_reader import BOOK, ReadingError, displays, statements, value

DISPLAYS = {display.name: display for display in displays()}


def verify(latex, check):
    """Evaluate all members of all chains in all worlds, and raise AssertionError where two disagree."""
    chains = statements(latex)
    assert chains and all(len(chain) > 1 for chain in chains), "a display that states nothing"
    for world in check.worlds():
        for chain in chains:
            for (_, first), (relation, second) in itertools.pairwise(chain):
                if relation == r"\sim":
                    variable = value(first, world, random=True)
                    left = np.array([variable.mean, (variable.weights**2).sum()], dtype=float)
                else:
                    left = value(first, world)
                right = value(second, world)
                text = f"{''.join(first)} {relation} {''.join(second)}: {left} against {right}"
                if world.symbolic:
                    assert sympy.simplify(left - right) == 0, text
                else:
                    tolerance = check.tolerance if relation == r"\approx" else 1e-9
                    assert np.allclose(left, right, rtol=tolerance, atol=1e-12), text


def fails(latex, check):
    """Say whether a check notices that its equation was altered."""
    try:
        with np.errstate(all="ignore"):
            verify(latex, check)
    except (AssertionError, ReadingError, ArithmeticError, LookupError, ValueError, TypeError):
        return True
    return False


def test_every_display_equation_has_a_name():
    nameless = [f"{display.chapter}: {display.latex}" for display in displays() if display.name is None]
    assert not nameless, "label it, or mark it as a step of a derivation"
    assert len(DISPLAYS) == len(displays()), "two equations have one name"
    for name, display in DISPLAYS.items():
        assert name.startswith("eq-") != display.is_step, f"{name}: labels start with eq-, names of steps do not"


def test_labels_and_checks_belong_together():
    assert not set(DISPLAYS) - set(CHECKS), "labels without a check"
    assert not set(CHECKS) - set(DISPLAYS), "checks without a label"


@pytest.mark.parametrize("name", CHECKS)
def test_code_is_where_the_ledger_says(name):
    file, _, places = CHECKS[name].code.partition(": ")
    text = (BOOK.parent / file).read_text("utf8")
    missing = [place for place in places.split(", ") if place.split(".")[-1] not in text]
    assert places == "the text" or not missing


@pytest.mark.parametrize("name", CHECKS)
def test_equation(name):
    verify(DISPLAYS[name].latex, CHECKS[name])


@pytest.mark.parametrize(
    "name, number", [(name, i) for name, check in CHECKS.items() for i in range(len(check.mutants))]
)
def test_mutant_is_caught(name, number):
    latex, (old, new) = DISPLAYS[name].latex, CHECKS[name].mutants[number]
    assert old in latex, "the mutant no longer fits the equation"
    assert fails(latex.replace(old, new, 1), CHECKS[name]), f"{old} -> {new} is not noticed"


def test_every_check_has_a_mutant():
    assert not [name for name, check in CHECKS.items() if not check.mutants]


SWEEP = {
    "+->-": (r"(?<![{(])\+", "-"),
    "-->+": (r"(?<=[\w})\]] )-(?= )", "+"),
    "digit": (r"\d+", lambda match: str(int(match[0]) + 1)),
    "sqrt": (r"\\sqrt(?=\{)", ""),
    "bar": (r"\\bar(?=\\)", ""),
    "t->t-1": (r"_t\b(?!\w)", "_{t-1}"),
    "t-1->t": (r"_\{t-1\}", "_t"),
}


def altered(latex):
    """Alter one sign, number, root, bar or index at a time: (kind and place, altered LaTeX)."""
    for kind, (pattern, new) in SWEEP.items():
        for match in re.finditer(pattern, latex):
            text = new(match) if callable(new) else new
            yield (
                f"{kind} in {latex[max(0, match.start() - 10) :][:20]}",
                latex[: match.start()] + text + latex[match.end() :],
            )


@pytest.mark.parametrize("name", CHECKS)
def test_single_alterations_are_caught(name):
    latex, check = DISPLAYS[name].latex, CHECKS[name]
    unnoticed = [place for place, text in altered(latex) if not fails(text, check)]
    assert sorted(unnoticed) == sorted(check.blind)


def test_ledger_page_is_current():
    assert PAGE.read_text("utf8") == page(), "run: python -m tests.equation_ledger"
