"""The pages around the chapters: the self-test, the plan for teachers."""

import re
import subprocess
import sys

import pytest

from ddpm_lib import grading
from tests.ledger import plan
from tests.ledger.displays import BOOK

SELF_TEST = (BOOK / "before_you_start.md").read_text("utf8")
TEACHERS = (BOOK / "for_teachers.md").read_text("utf8")
QUESTION = re.compile(r"^\*\*(\d+)\.\*\* (.*?)^````\{dropdown\} Answer\n(.*?)^````$", re.MULTILINE | re.DOTALL)
QUESTIONS = QUESTION.findall(SELF_TEST)
PROGRAMS = [(number, question) for number, question, _ in QUESTIONS if "```python" in question]


def test_questions_are_counted_and_each_has_an_answer_and_a_place_to_read():
    assert [int(number) for number, *_ in QUESTIONS] == list(range(1, len(QUESTIONS) + 1))
    assert f"Here are {len(QUESTIONS)} questions" in SELF_TEST
    assert SELF_TEST.count("{dropdown}") == len(QUESTIONS)
    for number, _, answer in QUESTIONS:
        assert re.search(r"^Another answer\? .", answer, re.MULTILINE), number


def headings(page):
    """Make the anchors of a page's headings as the book does: small letters, without signs and formulas."""
    found = re.findall(r"^#{1,3} (.+)$", (BOOK / page).read_text("utf8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", re.sub(r"\$[^$]+\$", "", title).lower()).replace(" ", "-") for title in found}


@pytest.mark.parametrize("page", ["before_you_start", "for_teachers", "where_to_go_next"])
def test_links_lead_to_headings(page):
    links = re.findall(r"\]\((\w+\.md)(?:#([\w-]+))?\)", (BOOK / f"{page}.md").read_text("utf8"))
    assert len(links) > 5
    for target, anchor in links:
        assert (BOOK / target).exists(), target
        assert not anchor or anchor in headings(target), f"{target}#{anchor}"


@pytest.mark.parametrize("number, question", PROGRAMS, ids=[number for number, _ in PROGRAMS])
def test_answers_of_code_are_what_it_prints(number, question):
    program = re.search(r"```python\n(.*?)```", question, re.DOTALL)[1]
    answer = dict((number, answer) for number, _, answer in QUESTIONS)[number]
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert result.stdout == re.match(r"```text\n(.*?)```", answer, re.DOTALL)[1], result.stderr


def test_plan_counts_what_the_chapters_hold():
    assert plan.page() == TEACHERS and "under 90 seconds" in TEACHERS, "run: python -m tests.ledger"
    for source in BOOK.glob("[0-9]*.md"):
        assert TEACHERS.count(f"]({source.name})") >= 2, f"{source.name} has no week"


def test_the_table_of_grades_is_as_the_command_writes_it():
    shown = re.search(r"```text\n(student.*?)```", TEACHERS, re.DOTALL)[1]
    stopped = "dora.ipynb was stopped after 600 s, in code cell 3 of 9"
    grades = [
        grading.Grade("ada", "noising", dict.fromkeys(grading.OF_CHAPTER["noising"], "right")),
        grading.Grade("ben", "noising", dict.fromkeys(grading.OF_CHAPTER["noising"], "not filled in yet")),
        grading.Grade("cleo", "noising", {"noise-step": "right", "limit-variance": "not yet. 1 is the limit"}),
        grading.Grade("cleo", "closed_form", {"jump": "not yet. A root is missing"}),
        grading.Grade("dora", "noising", {"noise-step": "right"}, [stopped]),
        grading.Grade("hal", None, remarks=["hal.ipynb is not a notebook: its text is not JSON"]),
    ]
    assert grading.table(grades) + "\n" == shown
