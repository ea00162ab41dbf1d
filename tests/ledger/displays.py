"""Finds the display equations of the book, with their labels or their names as steps."""

from __future__ import annotations

import dataclasses
import pathlib
import re

import jupytext

BOOK = pathlib.Path(__file__).parents[2] / "book"
AFTER = ("where_to_go_next",)  # pages without code that have display equations
DISPLAY = re.compile(r"(?:<!-- step: ([a-z0-9-]+) -->\n)?^\$\$\n(.*?)\n\$\$(?: \(([a-z0-9-]+)\))?$", re.M | re.S)


@dataclasses.dataclass(frozen=True)
class Display:
    """One display equation: its chapter or page, its label or its name as a step, and the LaTeX between the $$."""

    chapter: str
    name: str | None
    latex: str
    is_step: bool


def displays(text: str | None = None, chapter: str = "") -> list[Display]:
    """Find the display equations of one page's text, or of all pages in reading order."""
    if text is None:
        sources = [*sorted(BOOK.glob("[0-9]*.md")), *(BOOK / f"{name}.md" for name in AFTER)]
        return [display for path in sources for display in displays(path.read_text("utf8"), path.stem)]
    found = []
    for cell in jupytext.reads(text, fmt="md:myst").cells:
        if cell.cell_type == "markdown":
            found += [Display(chapter, m[1] or m[3], m[2], m[1] is not None) for m in DISPLAY.finditer(cell.source)]
            assert cell.source.count("$$") == 2 * len(DISPLAY.findall(cell.source)), f"{chapter}: a $$ out of place"
            assert "{math}" not in cell.source, f"{chapter}: write $$, which Colab shows too, not the math directive"
    return found
