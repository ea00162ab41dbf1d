"""Every display equation of the book, as it is printed, against numbers from elsewhere: see tests/ledger/."""

import importlib

import pytest

from tests import prose
from tests.ledger import CHECKS
from tests.ledger.checking import altered, fails, verify
from tests.ledger.displays import BOOK, displays
from tests.ledger.page import PAGE, page

DISPLAYS = {display.name: display for display in displays()}


def test_every_display_equation_has_a_name():
    nameless = [f"{display.chapter}: {display.latex}" for display in displays() if display.name is None]
    assert not nameless, "label it, or mark it as a step of a derivation"
    assert len(DISPLAYS) == len(displays()), "two equations have one name"
    for name, display in DISPLAYS.items():
        assert name.startswith("eq-") != display.is_step, f"{name}: labels start with eq-, names of steps do not"


def test_labels_and_checks_belong_together():
    assert not set(DISPLAYS) - set(CHECKS), "labels without a check"
    assert not set(CHECKS) - set(DISPLAYS), "checks without a label"


@pytest.mark.parametrize("chapter", sorted({display.chapter for display in displays()}))
def test_checks_of_a_chapter_lie_in_the_module_of_its_name(chapter):
    checks = importlib.import_module(f"tests.ledger.{prose.room(BOOK / chapter)}").CHECKS
    assert set(checks) == {name for name, display in DISPLAYS.items() if display.chapter == chapter}


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


@pytest.mark.parametrize("name", CHECKS)
def test_single_alterations_are_caught(name):
    latex, check = DISPLAYS[name].latex, CHECKS[name]
    unnoticed = [place for place, text in altered(latex) if not fails(text, check)]
    assert sorted(unnoticed) == sorted(check.blind)


def test_ledger_page_is_current():
    assert PAGE.read_text("utf8") == page(), "run: python -m tests.ledger"
