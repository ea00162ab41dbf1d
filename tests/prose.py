"""Finds the numbers that the book's prose states, and where a reader can check each of them.

A number counts if it has a decimal point, three or more digits, or a unit. `sections(page)` gives the sentences, table
rows, captions and alt texts of a page beside what the same section prints and computes. A number that stands in neither
needs a row in `tests/numbers/<page>.toml`, which says where it stands; CONTRIBUTING.md has the kinds of rows.
"""

from __future__ import annotations

import ast
import csv
import dataclasses
import functools
import importlib
import json
import math
import pathlib
import re
import tomllib
from decimal import ROUND_HALF_DOWN, ROUND_HALF_UP, Context, Decimal

import jupytext
import nbformat

ROOT = pathlib.Path(__file__).parents[1]
BOOK = ROOT / "book"
# Pages without code; the others are generated or chapters.
WRITTEN = {"intro", "before_you_start", "notation", "glossary", "where_to_go_next", "memory", "speed", "for_teachers"}

DIGITS = r"\d{1,3}(?:,\d{3})+(?:\.\d+)?|\d+(?:\.\d+)?(?:e[+-]?\d+)?"
NUMBER = rf"(?:(?<![\w.])|(?<=\dx))(?<![A-Za-z]-)(?:{DIGITS})(?![a-wyzA-Z_\d])(?!\.\d)"
WORDS = dict(
    one="1", two="2", three="3", four="4", five="5", six="6", seven="7", eight="8", nine="9", ten="10", twelve="12",
    fifteen="15", twenty="20", thirty="30", forty="40", fifty="50", sixty="60", ninety="90",
)  # fmt: skip
MEASURE = (
    r"%|percent\b|px\b|pixels?\b|m?s\b|seconds?\b|minutes?\b|hours?\b|days?\b|bytes?\b|[KMGT]i?B\b|[GT]?FLOPs?\b|"
    r"bits?\b|nats\b|times\b|degrees?\b"
)
COUNTED = (
    r"steps?\b|epochs?\b|images?\b|photographs?\b|pictures?\b|faces\b|seeds\b|weights\b|samples\b|chains\b|heads\b|"
    r"channels\b|batches\b"
)
CHECKSUM = r"\b(?=[a-f]*\d)[0-9a-f]{16,}\b"
FOUND = re.compile(
    rf"(?P<checksum>{CHECKSUM})|(?P<digits>{NUMBER})|\b(?P<word>{'|'.join(WORDS)})\b(?=[\s*-]+(?:{MEASURE}))"
)
UNIT = re.compile(rf"(?:\s*(?:x|to|and|or|\\times)\s*(?:{DIGITS}))*[\s*$\\,-]*(?P<unit>{MEASURE}|{COUNTED})")
HEDGE = re.compile(r"(?:\babout|\bnearly|\balmost|\broughly|\bsome|\bnear step|\\approx)\s*[$-]*$", re.I)
SENTENCE_END = re.compile(r"(?<!Eq\.)(?<!al\.)(?<=[.!?])[\"')*]*\s+(?=[\"'(*\[$`]*[A-Z0-9\\])")
WIDE = Context(prec=100)  # for numbers up to the largest of float32
FENCE = re.compile(r"^\s*(`{3,}|:{3,})(?:\{([a-z-]+)\})?\s*(.*)$")


@dataclasses.dataclass(frozen=True)
class Number:
    """A number of a sentence, between two places of it."""

    text: str
    start: int
    end: int
    percent: bool = False
    hedged: bool = False
    checksum: bool = False

    @property
    def value(self) -> Decimal:
        """Its size; prose tells the sign in many ways."""
        return Decimal(self.text.replace(",", ""))


@dataclasses.dataclass
class Section:
    """A part of a page between two headings of the second level: what it says, prints and computes."""

    title: str
    sentences: list[str] = dataclasses.field(default_factory=list)
    printed: list[Number] = dataclasses.field(default_factory=list)
    code: list[Decimal] = dataclasses.field(default_factory=list)
    strings: str = ""

    def shows(self, number: Number) -> bool:
        """Say whether the section prints a number or has it in its code."""
        if number.checksum:
            return number.text in self.strings
        for source in self.printed:
            if source.percent == number.percent and agrees(number, source.value):
                return True
            if number.percent and not source.percent and agrees(number, source.value * 100, whole=True):
                return True
        factor = 100 if number.percent else 1
        return any(agrees(number, factor * value) for value in self.code)


def agrees(number: Number, source: Decimal, whole: bool = False) -> bool:
    """Say whether a quoted number is a source, or is rounded from it; it never has more digits than the source.

    A whole number is a rounded one only if its sentence says "about", or where `whole` says that this is meant.
    """
    quoted, source = number.value, abs(source)
    digits = quoted.as_tuple().exponent
    if number.hedged and digits == 0:
        digits = quoted.normalize().as_tuple().exponent  # "about 40,000" is rounded to ten thousands
    elif digits == 0 and source != source.to_integral_value() and not whole:
        return False
    if digits < min(source.as_tuple().exponent, 0):
        return False
    step = Decimal(1).scaleb(digits)
    return quoted in {source.quantize(step, rounding, WIDE) for rounding in (ROUND_HALF_UP, ROUND_HALF_DOWN)}


def numbers(sentence: str) -> list[Number]:
    """Find the numbers of a sentence that need a source: with a decimal point, three digits, or a unit."""
    return [number for number, matters in _all_numbers(sentence) if matters]


def printed_numbers(text: str) -> list[Number]:
    """Find all the numbers of an output."""
    return [number for number, _ in _all_numbers(text)]


def _all_numbers(text):
    for match in FOUND.finditer(text):
        if match["checksum"]:
            yield Number(match[0], *match.span(), checksum=True), True
            continue
        unit = UNIT.match(text, match.end())
        number = Number(
            match["digits"] or WORDS[match["word"]],
            *match.span(),
            percent=bool(re.match(r"[\s*$\\,]*(%|percent)", text[match.end() :])),
            hedged=bool(HEDGE.search(text[: match.start()])),
        )
        matters = "." in number.text or "e" in number.text or len(re.sub(r"\D", "", number.text)) >= 3
        yield number, bool(matters or unit)


# ---- Pages ----------------------------------------------------------------------------------------------------------


def pages() -> list[pathlib.Path]:
    """List the pages whose prose is written by hand."""
    return sorted(BOOK.glob("[0-9]*.md")) + [BOOK / f"{name}.md" for name in sorted(WRITTEN)]


def room(page: pathlib.Path) -> str:
    """Return the page's name without its number, as its other files have it."""
    return re.sub(r"^\d+_", "", page.stem)


@functools.cache
def sections(page: pathlib.Path) -> list[Section]:
    """Read a page, and the outputs of its notebook if it has one."""
    return read(page.read_text("utf8"), outputs(page))


def outputs(page: pathlib.Path) -> dict:
    """Read the stored outputs of a chapter: {source of the cell: outputs}."""
    notebook = page.with_suffix(".ipynb")
    if not notebook.exists():
        return {}
    cells = nbformat.read(notebook, as_version=4).cells
    return {cell.source.rstrip(): cell.outputs for cell in cells if cell.cell_type == "code"}


def read(text: str, outputs: dict) -> list[Section]:
    """Split a page's text into sections; `outputs` has the stored outputs of code cells by their source."""
    found = [Section("")]
    for cell in jupytext.reads(text, fmt="md:myst").cells:
        if cell.cell_type == "markdown":
            _read_markdown(cell.source, found)
        elif "remove-cell" not in cell.metadata.get("tags", []):
            _read_code(cell.source, found[-1])
            alt = cell.metadata.get("mystnb", {}).get("image", {}).get("alt", "")
            found[-1].sentences += _sentences(alt)
            for output in outputs.get(cell.source.rstrip(), []):
                shown = output.get("text") or output.get("data", {}).get("text/plain", "")
                found[-1].printed += printed_numbers(shown)
    return found


def _read_markdown(source, found):
    """Sort the lines of a cell into paragraphs, table rows, captions, and code of solutions."""
    source = re.sub(r"<!--.*?-->|^\$\$$.*?^\$\$.*?$", "\n\n", source, flags=re.M | re.S)
    fences, paragraph, code = [], [], []

    def close():
        found[-1].sentences += _sentences(" ".join(paragraph))
        paragraph.clear()

    for line in source.splitlines():
        fence = FENCE.match(line)
        if fence:
            close()
            if fences and not fence[2] and not fence[3] and fence[1] == fences[-1][0]:
                if fences.pop()[1] == "python":
                    _read_code("\n".join(code), found[-1])
                    code.clear()
            else:
                fences.append((fence[1], fence[2] or fence[3]))
                if fence[2] == "dropdown":
                    paragraph.append(fence[3])
        elif fences and fences[-1][1] == "python":
            code.append(line)
        elif fences and re.match(r":(?!alt)\w+:", line):
            continue  # an option of a figure
        elif re.match(r"## ", line):
            close()
            found.append(Section(line[3:]))
            found[-1].sentences += _sentences(line[3:])
        elif line.startswith("|") or (fences and fences[-1][1] in {"bash", "text"}):
            paragraph.append(line.strip() + "\n")  # a table is one sentence
        elif re.match(r"\s*$|\s*([-*]|\d+\.) |#+ |:alt:", line):
            close()
            paragraph.append(line.strip().removeprefix(":alt:").lstrip("#-* "))
        else:
            if paragraph and paragraph[-1].endswith("\n"):
                close()
            paragraph.append(line.strip())
    close()


def _sentences(text):
    text = re.sub(r"\{(?:cite|eq|ref)(?::\w)?\}`[^`]*`", "", text)  # roles
    text = re.sub(r"\]\([^)]*\)", "]", text)  # targets of links
    text = re.sub(r"10\^\{?(-?\d+)\}?", r"1e\1", text)
    if text.endswith("\n"):
        return [re.sub(r"(?<=\n) | +(?= )", "", text)]
    return [part for part in SENTENCE_END.split(" ".join(text.split())) if part]


def _read_code(source, section):
    """Take the numbers and strings of a code cell; the alt text of a film is prose, and so is a docstring."""
    tree = ast.parse(source)
    no_code = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    for node in ast.walk(tree):
        if isinstance(node, ast.keyword) and node.arg == "alt" and isinstance(node.value, ast.Constant):
            section.sentences += _sentences(node.value.value)
            no_code.add(id(node.value))
    for node in ast.walk(tree):
        if not isinstance(node, ast.Constant) or id(node) in no_code or isinstance(node.value, bool):
            continue
        if isinstance(node.value, int | float):
            section.code.append(Decimal(repr(node.value)))
        elif isinstance(node.value, str):
            section.strings += node.value + "\n"
            section.code += [each.value for each in printed_numbers(node.value) if not each.checksum]


# ---- Rows of tests/numbers/<page>.toml ------------------------------------------------------------------------------


def rows(page: pathlib.Path) -> list[tuple[str, str, str]]:
    """Read a page's list: (kind, fragment of a sentence, where its number stands)."""
    path = ROOT / "tests" / "numbers" / f"{room(page)}.toml"
    tables = tomllib.loads(path.read_text("utf8")) if path.exists() else {}
    return [(kind, fragment, where) for kind, table in tables.items() for fragment, where in table.items()]


def check_row(kind: str, number: Number, where: str) -> str | None:
    """Say what is wrong with the place that a row names for a number, or None."""
    if kind == "cited":
        known = {"article", "licence", *_bibliography()}
        return None if where.partition(",")[0] in known else f"is cited from an unknown source, {where}"
    if kind in {"measured", "chosen"}:
        return None if where else "has a row without a reason"
    if kind == "tested":
        file, _, name = where.partition(": ")
        return None if f"def {name}(" in (ROOT / file).read_text("utf8") else f"is tested nowhere: {where}"
    if kind == "elsewhere":
        page, _, title = where.partition(": ")
        others = [other for other in sections(BOOK / f"{page}.md") if other.title == title]
        return None if others and others[0].shows(number) else f"is not shown in {where}"
    if kind in {"computed", "results"}:
        value = Decimal(f"{float(_computed(where)):.15f}") if kind == "computed" else Decimal(str(_result(where)))
        candidates = (value, value * 100) if number.percent else (value,)
        return None if any(agrees(number, each, whole=True) for each in candidates) else f"is not {value} ({where})"
    return f"has a row of unknown kind, {kind}"


@functools.cache
def _computed(expression):
    """Evaluate an expression of the list, with the library's modules."""
    modules = [name for name in ("config", "cost", "schedules") if f"{name}." in expression]
    names = {name: importlib.import_module(f"ddpm_lib.{name}") for name in modules}
    return eval(expression, {"math": math, **names})


def _result(where):
    """Look a number up: "file.json: key: key", or "file.csv: row: column" with rows counted from 0."""
    file, *keys = where.split(": ")
    text = (ROOT / file).read_text("utf8")
    found = list(csv.DictReader(text.splitlines())) if file.endswith(".csv") else json.loads(text)
    for key in keys:
        found = found[int(key)] if isinstance(found, list) else found[key]
    return found


@functools.cache
def _bibliography():
    """Read the entries of the bibliography: {key: (surnames, year)}."""
    entries = {}
    for entry in (BOOK / "references.bib").read_text("utf8").split("\n@")[0:]:
        key = re.search(r"\{([\w-]+),", entry)[1]
        authors, year = (re.search(rf"\b{field}\s*=\s*\{{(.*)\}}", entry)[1] for field in ("author", "year"))
        entries[key] = [name.partition(",")[0] for name in authors.split(" and ")], year
    return entries


def is_year_of_a_source(number: Number, sentence: str) -> bool:
    """Say whether a number is the year of a paper whose author the sentence names."""
    return any(
        number.text == year and surnames[0] in sentence[: number.start] for surnames, year in _bibliography().values()
    )


# ---- The check ------------------------------------------------------------------------------------------------------


def complaints(page: pathlib.Path, found: list[Section] | None = None, listed: list | None = None) -> list[str]:
    """Name the sentences whose numbers stand nowhere, and the rows that are wrong or not needed."""
    found, listed = found or sections(page), rows(page) if listed is None else listed
    wrong, used = [], set()
    for section in found:
        for sentence in section.sentences:
            for number in numbers(sentence):
                if section.shows(number) or is_year_of_a_source(number, sentence):
                    continue
                row = next((row for row in listed if covers(row, number, sentence)), None)
                used.add(row)
                reason = check_row(row[0], number, row[2]) if row else "stands nowhere"
                if reason:
                    wrong.append(
                        f"{page.name}, {section.title or 'start'}: {number.text} {reason}: {line_of(sentence, number)}"
                    )
    return wrong + [f"tests/numbers/{room(page)}.toml: {row[1]} is not needed" for row in listed if row not in used]


def line_of(sentence: str, number: Number) -> str:
    """Return a sentence, or of a table the row in which a number stands."""
    start = sentence.rfind("\n", 0, number.start) + 1
    return sentence[start:].partition("\n")[0]


def covers(row, number, sentence) -> bool:
    """Say whether a row's fragment holds a number of a sentence; a row of kind "tested" holds the whole sentence."""
    kind, fragment, _ = row
    if kind == "tested":
        return fragment in sentence
    places = (match.start() for match in re.finditer(re.escape(fragment), sentence))
    return any(start <= number.start and number.end <= start + len(fragment) for start in places)
