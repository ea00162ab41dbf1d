"""Finds the formulas inside the book's sentences, and evaluates what they state.

A formula with a relation states something by itself; it is evaluated in the worlds of its chapter. A formula that only
computes, such as 1 - beta_t, states something together with the words around it. Such words are a row of the chapter's
`INLINE`, which says in full what they state. CONTRIBUTING.md shows how rows look.
"""

from __future__ import annotations

import dataclasses
import functools
import importlib.util
import pathlib
import re
from collections.abc import Callable, Iterator

import jupytext
import numpy as np

from tests import prose
from tests.ledger.checking import ALTERED_MEANS_FALSE, altered, verify
from tests.ledger.variables import World
from tests.ledger.worlds import chains, constant_answers, library_steps

FORMULA = re.compile(r"(?<![\\$])\$([^$]+)\$(?!\$)")
NO_PROSE = re.compile(r"^\$\$$.*?^\$\$.*?$|^( *)```python$.*?^\1```$|<!--.*?-->", re.M | re.S)
RELATION = re.compile(r"[=<>]|\\(?:le|ge|leq|geq|ne|neq|approx|sim|in|to|ll|gg|propto)\b")
COMPUTES = re.compile(r"[+/^]|\\[tc]?frac|\\sqrt|\\sum|\\prod|-(?! *[\d.]|\\infty)|(?<=[\w})\]])\s*-")
BARE = re.compile(RELATION.pattern + r"|\\mid|,")  # what braces around it would hide
NAME = re.compile(r"_(?:\{[^{}]*\}|.)|(?<=\w)\^\d|(?<=\})\^\d|\b[it] *[-+] *1\b")  # a subscript, a square, a step
SETTING = re.compile(r"(?:[A-Za-z](?:_\w)?|\\[a-z]+) *= *(?:[-\d., ]|\\dots)+")


@dataclasses.dataclass(frozen=True)
class Says:
    """What a piece of a sentence states.

    Args:
        worlds: makes the worlds in which it is true, as in a `Check`.
        statement: LaTeX with relations, in which #1, #2 stand for what the sentence has there.
        tolerance: relative, for what stands after an approximately-equal sign.
    """

    worlds: Callable[[], list[World]]
    statement: str = "#1"
    tolerance: float = 0.0


@dataclasses.dataclass(frozen=True)
class Inline:
    """The inline formulas of one page.

    Args:
        worlds: where a formula with a relation is evaluated if no row has it.
        says: rows {piece of a sentence, with #1, #2 for formulas or parts of them, in order: what it states}.
        not_evaluated: {piece of a sentence: the reason}; they are listed on the ledger page.
        blind: {reason: alterations of `test_single_alterations_are_caught` that change nothing true}.
    """

    worlds: Callable[[], list[World]]
    says: dict[str, Says] = dataclasses.field(default_factory=dict)
    not_evaluated: dict[str, str] = dataclasses.field(default_factory=dict)
    blind: dict[str, tuple[str, ...]] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True)
class Statement:
    """One statement of a page: where it stands, what it says, and the formulas that the sentence gives to it."""

    place: str
    says: Says
    parts: tuple[str, ...]

    def verify(self, parts: tuple[str, ...] | None = None):
        """Raise an exception where the statement is not true."""
        latex = self.says.statement
        for number, part in enumerate(parts or self.parts, 1):
            latex = latex.replace(f"#{number}", part if BARE.search(part) else f"{{{part}}}")
        verify(latex, dataclasses.replace(self.says, worlds=lambda: _worlds(self.says.worlds)))

    def unnoticed(self) -> Iterator[str]:
        """Alter one sign, digit, root, bar or index at a time, and name what changes nothing."""
        for number, part in enumerate(self.parts):
            for kind, text in altered(part):
                try:
                    with np.errstate(all="ignore"):
                        self.verify((*self.parts[:number], text, *self.parts[number + 1 :]))
                except ALTERED_MEANS_FALSE:
                    continue
                yield f"{kind} of {self.place[:40]}"


OTHERS = ("notation", "before_you_start", "where_to_go_next")
STEPS = {r"$t = #1, \dots, #2$": Says(library_steps, "#1 = 1, \\quad #2 = T")}
AMPLITUDE = Says(chains, r"\operatorname{E}[x_t \mid x_0] = #1 x_0")
SYMMETRIC = "the noise and its negative have the same law"
SQUARED_ERROR = Says(constant_answers, r"L = \operatorname{E}[#1]")

_worlds = functools.cache(lambda make: make())


def pages() -> list[pathlib.Path]:
    """List the chapters and the other pages with formulas in their sentences."""
    return [*sorted(prose.BOOK.glob("[0-9]*.md")), *(prose.BOOK / f"{name}.md" for name in OTHERS)]


def rules(page: pathlib.Path) -> Inline:
    """Return the `INLINE` of a page's room."""
    module = f"tests.ledger.{prose.room(page)}"
    found = getattr(importlib.import_module(module), "INLINE", None) if importlib.util.find_spec(module) else None
    assert found, (
        f"tests/ledger/{prose.room(page)}.py has no INLINE: add INLINE = Inline(worlds=...), with the worlds in "
        "which the formulas inside the chapter's sentences are true (CONTRIBUTING.md, Inline statements)"
    )
    return found


def read(text: str) -> str:
    """Join the sentences of a page into one line, without code and displays."""
    cells = [cell.source for cell in jupytext.reads(text, fmt="md:myst").cells if cell.cell_type == "markdown"]
    return " ".join(NO_PROSE.sub(" ", "\n\n".join(cells)).split())


def is_setting(formula: str) -> bool:
    """Say whether a formula gives a letter a value, such as T = 1000, whose number prose.py looks for."""
    return bool(SETTING.fullmatch(formula) and prose.numbers(formula))


def computes(formula: str) -> bool:
    """Say whether a formula is more than a name or a number."""
    return bool(COMPUTES.search(NAME.sub("", formula)))


def find(line: str, inline: Inline) -> tuple[list[Statement], list[str], Callable[[int, int], bool]]:
    """Find the pieces of a line that are rows: their statements, the rows that it lacks, and what they cover."""
    statements, wrong, spans = [], [], []
    for piece in [*inline.says, *inline.not_evaluated]:
        pattern = re.sub(r"\\#(\d)", r"(?P<part\1>[^$|`]+?)", re.escape(piece))
        matches = list(re.finditer(pattern, line))
        spans += [match.span() for match in matches]
        if not matches:
            wrong.append(f"no sentence has the row {piece!r}")
        elif piece in inline.says:
            statements += [Statement(match[0], inline.says[piece], match.groups()) for match in matches]

    def covered(start, end):
        return any(first <= start and end <= last for first, last in spans)

    return statements, wrong, covered


def examine(line: str, inline: Inline) -> tuple[list[Statement], list[str]]:
    """Find the statements of a page's line of text, and what nobody can check there."""
    statements, wrong, covered = find(line, inline)
    for match in FORMULA.finditer(line):
        if is_setting(match[1]) or covered(*match.span()):
            continue
        if RELATION.search(match[1]):
            statements.append(Statement(match[0], Says(inline.worlds), (match[1],)))
        elif computes(match[1]):
            around = line[max(0, match.start() - 50) : match.end() + 20]
            wrong.append(f"{match[0]} needs a row that says in full what its sentence states: ... {around} ...")
    return statements, wrong


def false(statements: list[Statement]) -> list[str]:
    """Name the statements that are not true."""
    found = []
    for statement in statements:
        try:
            statement.verify()
        except ALTERED_MEANS_FALSE as error:
            found.append(f"{statement.place} is not true in its worlds: correct it, or give it a row ({error!r})")
    return found


def complaints(page: pathlib.Path, text: str | None = None) -> list[str]:
    """Name the statements of a page that are not true, and those that nobody can check."""
    statements, wrong = examine(read(text or page.read_text("utf8")), rules(page))
    wrong += false(statements)
    return [f"{page.name}: {line} (INLINE in tests/ledger/{prose.room(page)}.py)" for line in wrong]
