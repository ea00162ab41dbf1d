"""The article's claims, judged: `data/claims.toml`, with every number read from the file that it was measured in.

A claim's finding is a text with named gaps, such as `{full:.3f}`. Each name stands for a place in a file:

    data/runs/unet_ablations/digits.json > arms > full > runs > * > distance
    book/52_unet.ipynb > loss near the middle > middle > 0

The first leads through the keys of a JSON file. A star takes all entries of a list, or all keys that fit, such as
`seed *`: the gap then holds their mean and standard deviation. The second names an output of a chapter by words in it,
a line from there on by its beginning, and the number in the rest of it, counted from 0. A name may also be computed
from those before it: `= plain / singly`.
"""

from __future__ import annotations

import ast
import dataclasses
import json
import operator
import pathlib
import re
import tomllib
from collections.abc import Sequence
from fnmatch import fnmatch

import numpy as np

from ddpm_lib.config import InputError

VERDICTS = ("holds", "holds only if", "does not hold", "not tested here")
_OPERATORS = {ast.Add: operator.add, ast.Sub: operator.sub, ast.Mult: operator.mul, ast.Div: operator.truediv}
_NUMBER = re.compile(r"(?<![\w.])-?\d[\d,]*(?:\.\d+)?(?:e[+-]?\d+)?")


@dataclasses.dataclass(frozen=True)
class Spread:
    """Mean and standard deviation of several runs; formats both: "0.158 ± 0.015"."""

    mean: float
    std: float

    def __float__(self):
        return self.mean

    def __format__(self, spec):
        return f"{self.mean:{spec}} ± {self.std:{spec}}"


@dataclasses.dataclass(frozen=True)
class Claim:
    """One claim and its verdict.

    `number` is the article's, or a letter and a number where it has none. `sources` are the files that the numbers were
    read from, `tests` are tests of the repository as "tests/test_x.py: test_name", and `see` are sections of chapters.
    """

    number: str
    group: str
    title: str
    claim: str
    verdict: str
    finding: str
    sources: tuple[str, ...] = ()
    tests: tuple[str, ...] = ()
    see: tuple[str, ...] = ()


class Shown:
    """Text that a notebook shows as Markdown, and a terminal as it is."""

    def __init__(self, markdown: str, text: str):
        self.markdown, self.text = markdown, text

    def _repr_markdown_(self):
        return self.markdown

    def __repr__(self):
        return self.text


def read_claims(folder: str | pathlib.Path) -> tuple[list[Claim], dict[str, str]]:
    """Read the claims of the course's folder, and fill the gaps in their findings.

    Args:
        folder: with `data/`, `benchmarks/results/` and the chapters' notebooks, see `ddpm_lib.course`.

    Returns:
        The claims in the order of the page, and the groups' names by their keys.

    Raises:
        InputError: a verdict is none of the four or rests on nothing; a file, key, output or line is missing.
    """
    folder = pathlib.Path(folder)
    table = tomllib.loads((folder / "data" / "claims.toml").read_text("utf8"))
    return [_claim(folder, table["groups"], row) for row in table["claim"]], table["groups"]


def overview(claims: Sequence[Claim], groups: dict[str, str]) -> Shown:
    """Lay out all titles with their verdicts, group by group."""
    lines, text = [], []
    for group, name in groups.items():
        lines.append(f"\n**{name}**\n")
        text.append(name)
        for claim in (each for each in claims if each.group == group):
            lines.append(f"- {claim.number}: {claim.title} {_badge(claim.verdict)}")
            text.append(f"  {claim.number:4s}{claim.title}: {claim.verdict}")
    return Shown("\n".join(lines), "\n".join(text))


def cards(claims: Sequence[Claim], group: str) -> Shown:
    """Lay out the claims of a group, a card for each."""
    parts, text = [], []
    for claim in (each for each in claims if each.group == group):
        rests = [f"`{source}`" for source in claim.sources] + [f"`{test.replace(': ', '::')}`" for test in claim.tests]
        rests += [f"[{_page(section)}]({section})" for section in claim.see]
        parts.append(
            f'<div class="claim">\n\n**{claim.number}. {claim.title}** {_badge(claim.verdict)}\n\n'
            f"*The claim.* {claim.claim}\n\n*Found.* {claim.finding}\n\n"
            f'<div class="rests">\n\nRests on {", ".join(rests)}\n\n</div>\n\n</div>'
        )
        text.append(f"{claim.number}. {claim.title}: {claim.verdict}\n   {claim.finding}")
    return Shown("\n\n".join(parts), "\n".join(text))


def _page(section):
    name = section.partition(".")[0]
    return f"chapter {name[:2]}" if name[0].isdigit() else f"the page {name}"


def _badge(verdict):
    return f'<span class="verdict {verdict.replace(" ", "-")}">{verdict}</span>'


def _claim(folder, groups, row):
    name = f"the claim {row.get('number')!r}"
    unknown = set(row) - {"number", "group", "title", "claim", "verdict", "finding", "values", "tests", "see", "why"}
    if unknown or row["group"] not in groups or row["verdict"] not in VERDICTS:
        raise InputError(f"{name} has an unknown group, verdict or key: {row['group']}, {row['verdict']}, {unknown}")
    untested = row["verdict"] == "not tested here"
    if untested != ("why" in row) or (not untested and not (row.get("values") or row.get("tests"))):
        raise InputError(f"{name} must rest on a value or a test, or say why it was not tested")
    values, sources = {}, {}
    for key, place in row.get("values", {}).items():
        if place.startswith("="):
            values[key] = _compute(place[1:], values, name)
        else:
            values[key] = read_value(folder, place)
            sources[place.partition(" > ")[0]] = None
    try:
        finding = row["finding"].format_map(values)
    except KeyError as error:
        raise InputError(f"{name} has no value {error} for its finding") from error
    if untested:
        finding = f"{finding} *Why not:* {row['why']}".strip()
    texts = {key: row[key] for key in ("number", "group", "title", "claim", "verdict")}
    lists = {key: tuple(row.get(key, ())) for key in ("tests", "see")}
    return Claim(**texts, finding=finding, sources=tuple(sources), **lists)


def read_value(folder: pathlib.Path, place: str) -> float | str | Spread:
    """Read what stands at a place, as the module describes it.

    Raises:
        InputError: there is no such file, key, output, line or number.
    """
    file, *keys = (part.strip() for part in place.split(" > "))
    path = folder / file
    if not path.is_file():
        raise InputError(f"{place}: there is no file {file}")
    found = json.loads(path.read_text("utf8"))
    try:
        found = _printed(found, *keys) if path.suffix == ".ipynb" else _follow(found, keys)
    except (KeyError, IndexError, ValueError, TypeError) as error:
        raise InputError(f"{place}: not found ({type(error).__name__}: {error})") from error
    if isinstance(found, list):
        return Spread(float(np.mean(found)), float(np.std(found, ddof=1)))
    return found


def _follow(found, keys):
    for position, key in enumerate(keys):
        if "*" in key:
            chosen = found if isinstance(found, list) else [found[name] for name in sorted(found) if fnmatch(name, key)]
            if len(chosen) < 2:
                raise ValueError(f"{key} finds {len(chosen)}, a spread needs two")
            return [float(_follow(each, keys[position + 1 :])) for each in chosen]
        found = found[int(key)] if isinstance(found, list) else found[key]
    if isinstance(found, dict | list):
        raise ValueError("a number or a text is wanted")
    return found


def _printed(notebook, words, beginning, index):
    outputs = [
        "".join(output["text"])
        for cell in notebook["cells"]
        for output in cell.get("outputs", [])
        if output.get("name") == "stdout"
    ]
    [output] = [text for text in outputs if words in text]
    from_there_on = output[output.rfind("\n", 0, output.index(words)) + 1 :]
    [line, *_] = [line.strip() for line in from_there_on.splitlines() if line.strip().startswith(beginning)]
    return float(_NUMBER.findall(line[len(beginning) :])[int(index)].replace(",", ""))


def _compute(expression, values, name):
    def value(node):
        match node:
            case ast.BinOp() if type(node.op) in _OPERATORS:
                return _OPERATORS[type(node.op)](value(node.left), value(node.right))
            case ast.Constant():
                return float(node.value)
            case ast.Name() if node.id in values:
                return float(values[node.id])
        raise InputError(f"{name}: {expression.strip()!r} is not made of known values, numbers and + - * /")

    return value(ast.parse(expression.strip(), mode="eval").body)
