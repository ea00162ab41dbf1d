"""The ledger page `book/ledger.md`, written from the checks and the chapters by `python -m tests.ledger`."""

import re

from tests.ledger import CHECKS, inline
from tests.ledger.displays import BOOK, displays

PAGE = BOOK / "ledger.md"

INTRODUCTION = """\
# Equation ledger

Every numbered equation of the chapters, with the place of its code and the way it is checked.
The tests read the formula as it is printed, evaluate all its members, and compare them with numbers from elsewhere.
So a wrong sign in a chapter fails a test that names the equation.
The steps between numbered equations are checked in the same way.

For each check the tests also alter the formula: known mistakes by hand, and every single sign, number, root, bar and
index in turn. The check must notice, unless the alteration changes nothing true; those few are listed beside the check,
with the reason. {labels} numbered equations and {steps} steps are checked, with {mutants} known
mistakes.
"""
INLINE = """\
## Inside sentences

The formulas inside the sentences of the chapters and of the page of symbols are read and evaluated, too: {statements}
statements. A formula that only computes, such as $1 - \\beta_t$, is evaluated as what its sentence says of it. A value
that a sentence gives to a letter, such as $T = 1000$, is left to the test of the numbers.
"""


def page() -> str:
    """Write the ledger page from the checks and the chapters."""
    found = displays()
    labels = [display for display in found if not display.is_step]
    mutants = sum(len(check.mutants) for check in CHECKS.values())
    parts = [INTRODUCTION.format(labels=len(labels), steps=len(found) - len(labels), mutants=mutants)]
    chapter = None
    for display in labels:
        if display.chapter != chapter:
            chapter = display.chapter
            parts.append(f"## {_title(chapter)}\n")
        check = CHECKS[display.name]
        parts.append(
            f"**Equation** {{eq}}`{display.name}`, `{display.name}`\n\n$$\n{display.latex}\n$$\n\n"
            f"- Code: `{check.code}`\n- Check: {check.how}\n"
        )
    return "\n".join([*parts, _inline()])


def _inline():
    pages = [(path, inline.rules(path)) for path in inline.pages()]
    count = sum(len(inline.examine(inline.read(path.read_text("utf8")), rules)[0]) for path, rules in pages)
    listed = [
        f'- {_title(path.stem)}: "{piece}" ({reason})'
        for path, rules in pages
        for piece, reason in rules.not_evaluated.items()
    ]
    return INLINE.format(statements=count) + "\nNot evaluated:\n\n" * bool(listed) + "\n".join([*listed, ""])


def _title(chapter):
    return re.search(r"^# (.+)$", (BOOK / f"{chapter}.md").read_text("utf8"), re.M)[1]
