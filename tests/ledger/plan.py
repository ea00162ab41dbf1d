"""The table of chapters on the page for teachers, written from the chapters by `python -m tests.ledger`."""

import re

from ddpm_lib.exercises import OF_CHAPTER
from tests.ledger.displays import BOOK, displays

PAGE = BOOK / "for_teachers.md"
TABLE = re.compile(r"(?<=<!-- plan -->\n)\|.*?(?=<!-- end of plan -->)", re.DOTALL)


def table() -> str:
    """Count what each chapter holds."""
    lines = ["| chapter | the code runs | equations | exercises | judged |", "|---|---|---|---|---|"]
    found = displays()
    for source in sorted(BOOK.glob("[0-9]*.md")):
        text = source.read_text("utf8")
        title = re.search(r"^# (.+)$", text[text.index("\n---\n", 4) :], re.MULTILINE)[1]
        runs = re.search(r"^\*\*Time:\*\* (.+?) on two CPU cores", text, re.MULTILINE)[1]
        equations = sum(display.chapter == source.stem and not display.is_step for display in found)
        exercises = len(re.findall(r"^\*\*Exercise \d+", text, re.MULTILINE))
        judged = len(OF_CHAPTER.get(source.stem[3:], ()))
        lines.append(f"| [{title}]({source.name}) | {runs} | {equations} | {exercises} | {judged} |")
    return "\n".join(lines) + "\n"


def page() -> str:
    """Write the page for teachers with the table of today."""
    return TABLE.sub(table().replace("\\", r"\\"), PAGE.read_text("utf8"))
