"""The formulas and numbers of the library's docstrings, against numbers from elsewhere; their examples are run."""

import doctest
import importlib

import pytest

from tests import prose
from tests.ledger import docstrings, inline

MODULES = pytest.mark.parametrize("module", docstrings.MODULES)


def complaints(module, old="", new=""):
    line = docstrings.text(module)
    assert not old or line.count(old) == 1
    statements, wrong = docstrings.examine(line.replace(old, new), docstrings.ROWS[module])
    return wrong + inline.false(statements)


@MODULES
def test_formulas_and_numbers_are_true(module):
    found = complaints(module)
    assert not found, "\n" + "\n".join(found)


@MODULES
def test_single_alterations_are_caught(module):
    statements, _ = docstrings.examine(docstrings.text(module), docstrings.ROWS[module])
    unnoticed = {place for statement in statements for place in statement.unnoticed()}
    assert unnoticed == {place for places in docstrings.ROWS[module].blind.values() for place in places}


@pytest.mark.parametrize(
    "module, old, new",
    [
        ("schedules", "alpha_t = 1 - beta_t", "alpha_t = 1 + beta_t"),
        ("schedules", "0.36 for T = 100", "0.46 for T = 100"),
        ("diffusion", "x_0 = sqrt(ab) x_t - sqrt(1 - ab) v", "x_0 = sqrt(ab) x_t - (1 - ab) v"),
        ("diffusion", "is multiplied by 157", "is multiplied by 175"),
        ("sampling", "1 - alpha_bar_t / alpha_bar_next", "1 - alpha_bar_next / alpha_bar_t"),
        ("training", "(1 + step) / (10 + step)", "(1 + step) / (9 + step)"),
        ("training", "hold 37 %", "hold 73 %"),
    ],
)
def test_planted_mistakes_are_named(module, old, new):
    assert any("is not true" in line for line in complaints(module, old, new))


@pytest.mark.parametrize("new", ["x_T = 2 z", "0.75 of it", "200 of them"])
def test_a_formula_or_number_without_a_row_is_named(new):
    [line] = complaints("sampling", "Sample by the reverse Markov chain", f"Sample {new}")
    assert line.startswith("needs a row") and new in line


def test_examples_run():
    found = [
        doctest.testmod(importlib.import_module(f"ddpm_lib.{path.stem}"))
        for path in sorted((prose.ROOT / "ddpm_lib").glob("[a-z]*.py"))
    ]
    assert not sum(each.failed for each in found) and sum(each.attempted for each in found)
