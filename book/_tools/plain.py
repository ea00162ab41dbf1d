r"""Turn the MyST of a chapter's text into Markdown that every notebook viewer shows, as Colab, Kaggle and JupyterLab.

The chapters use some things that only the book understands; each has a plain form:

    ````{dropdown} Solution   a folded <details>
    $$ (eq-name)              the number of the chapter and of the equation in it: \tag{40.7}
    {eq}`eq-name`             the same number, with a link where it is of another chapter
    {cite}`key`               authors and year, with a link where the bibliography knows an address
    [words](page.md#heading)  a link to the page in the repository; within a page, the words
"""

from __future__ import annotations

import functools
import pathlib
import re

import pybtex.database
import yaml
from packaging.version import Version

import ddpm_lib

ROOT = pathlib.Path(__file__).parents[2]
BOOK = ROOT / "book"
LABEL = re.compile(r"^\$\$ \((eq-[\w-]+)\)$", re.MULTILINE)
DROPDOWN = re.compile(r"^````\{dropdown\} (.*?)\n(.*?)^````$", re.MULTILINE | re.DOTALL)
ARXIV = re.compile(r"arXiv:(\d+\.\d+)")


def plain(text: str, page: str) -> str:
    """Return the plain form of a Markdown cell.

    Args:
        text: the cell's MyST.
        page: the chapter's name, such as "40_reverse_step".
    """

    def equation(match):
        chapter, number = numbers()[match[1]]
        return f"({number})" if chapter == page else f"[({number})]({address(chapter + '.ipynb')})"

    text = DROPDOWN.sub(r"<details>\n<summary>\1</summary>\n\n\2\n</details>", text)
    text = LABEL.sub(lambda match: f"\\tag{{{numbers()[match[1]][1]}}}\n$$", text)
    text = re.sub(r"\{eq\}`([^`]+)`", equation, text)
    text = re.sub(r"\{cite\}`([^`]+)`", lambda match: f"({'; '.join(map(cited, match[1].split(',')))})", text)
    text = re.sub(r"\[([^\]]+)\]\(#[\w-]+\)", r"\1", text)
    return re.sub(r"\]\((\w+)\.md(#[\w-]+)?\)", lambda match: f"]({address(file_of(match[1]))})", text)


def address(name: str) -> str:
    """Return where the repository shows a file of the book."""
    return f"{repository()['url']}/blob/{revision()}/book/{name}"


@functools.cache
def repository() -> dict[str, str]:
    """Return what `_config.yml` says of the repository."""
    return yaml.safe_load((ROOT / "_config.yml").read_text("utf8"))["repository"]


def revision() -> str:
    """Return the tag of the library's version, or the branch where it has not been released yet."""
    version = ddpm_lib.__version__
    return repository()["branch"] if Version(version).is_devrelease else f"v{version}"


def file_of(page: str) -> str:
    """Return the file a reader of notebooks wants to see of a page."""
    return page + (".ipynb" if page[0].isdigit() else ".md")


@functools.cache
def numbers() -> dict[str, tuple[str, str]]:
    """Number the labelled equations: {label: (chapter, number)}, the number being that of the chapter and within it."""
    found = {}
    for source in sorted(BOOK.glob("[0-9]*.md")):
        for count, label in enumerate(LABEL.findall(source.read_text("utf8")), 1):
            found[label] = source.stem, f"{source.stem.partition('_')[0]}.{count}"
    return found


def cited(key: str) -> str:
    """Return authors and year of an entry of the bibliography, linked to arXiv where the entry names its number."""
    entry = bibliography().entries[key.strip()]
    names = [" ".join(person.last_names).strip("{}") for person in entry.persons["author"]]
    names = names[0] + " et al." if len(names) > 2 else " and ".join(names)
    label = f"{names}, {entry.fields['year']}"
    number = ARXIV.search(entry.fields.get("note", ""))
    return f"[{label}](https://arxiv.org/abs/{number[1]})" if number else label


@functools.cache
def bibliography() -> pybtex.database.BibliographyData:
    """Read the book's bibliography."""
    return pybtex.database.parse_file(BOOK / "references.bib")
