"""The article's claims: every verdict rests on something that is there, and numbers come from the files alone."""

import ast
import json
import pathlib
import re
import tomllib

import pytest

from ddpm_lib.claims import VERDICTS, Spread, cards, overview, read_claims, read_value
from ddpm_lib.config import InputError

ROOT = pathlib.Path(__file__).parents[1]
CLAIMS, GROUPS = read_claims(ROOT)
ROWS = tomllib.loads((ROOT / "data" / "claims.toml").read_text("utf8"))["claim"]
TAKEAWAYS = 14  # that the article numbers
every_claim = pytest.mark.parametrize("claim", CLAIMS, ids=lambda claim: claim.number)


def test_every_takeaway_and_every_group_is_judged():
    numbers = [claim.number for claim in CLAIMS]
    assert len(set(numbers)) == len(numbers)
    assert {int(re.sub(r"\D", "", number)) for number in numbers if number[0].isdigit()} == set(range(1, TAKEAWAYS + 1))
    assert {claim.group for claim in CLAIMS} == set(GROUPS)


@every_claim
def test_a_verdict_names_files_and_tests_that_are_there(claim):
    assert claim.sources or claim.tests or claim.verdict == "not tested here"
    for test in claim.tests:
        file, _, name = test.partition(": ")
        tree = ast.parse((ROOT / file).read_text("utf8"))
        assert name in {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}, test


@every_claim
def test_links_lead_to_headings(claim):
    for place in claim.see:
        file, _, anchor = place.partition("#")
        headings = re.findall(r"^#+ (.+)$", (ROOT / "book" / file).read_text("utf8"), re.M)
        assert not anchor or anchor in {slug(heading) for heading in headings}, place


def slug(heading):
    """As the book and GitHub make it."""
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row["number"])
def test_every_value_is_used_and_no_measured_number_is_typed(row):
    """A typed decimal number is a setting, and stands in the claim of a chapter."""
    names = set(re.findall(r"\{(\w+)", row["finding"]))
    formulas = " ".join(place for place in row.get("values", {}).values() if place.startswith("="))
    assert set(row.get("values", {})) == names | set(re.findall(r"[a-z_]\w*", formulas))
    typed = re.findall(r"(?<![\w.{])\d+\.\d+", re.sub(r"\{[^}]*\}", "", row["finding"]))
    assert set(typed) <= SETTINGS.get(row["number"], set())


# Learning rates, the goal of a race, versions of TensorFlow.
SETTINGS = {"2": {"0.03", "0.1"}, "14": {"0.17"}, "D2": {"0.03", "0.1"}, "C3": {"2.1", "2.12"}}


@every_claim
def test_a_conditional_verdict_begins_with_its_condition(claim):
    assert (claim.verdict == "holds only if") == claim.finding.startswith("Only ")


def test_the_page_shows_every_claim_with_its_verdict():
    shown = overview(CLAIMS, GROUPS)
    for claim in CLAIMS:
        assert f"{claim.title}: {claim.verdict}" in repr(shown)
        assert claim.finding in cards(CLAIMS, claim.group)._repr_markdown_()
        assert claim.claim in cards(CLAIMS, claim.group).markdown
    page = (ROOT / "book" / "80_takeaways.md").read_text("utf8")
    assert re.findall(r'^cards\(claims, "(\w+)"\)$', page, re.M) == list(GROUPS)


# ---- The test of the test -------------------------------------------------------------------------------------------

GOOD = {
    "number": "1",
    "group": "math",
    "title": "A title",
    "claim": "A claim.",
    "verdict": "holds",
    "finding": "It is {far:.2f}, {twice:.1f} in all.",
    "values": {"far": "results.json > runs > * > far", "twice": "= 2 * far - 0"},
}


@pytest.fixture
def course(tmp_path):
    """Return a function that reads one claim of a small course."""
    (tmp_path / "data").mkdir()
    runs = [{"far": 1.0}, {"far": 3.0}]
    (tmp_path / "results.json").write_text(json.dumps({"runs": runs, "a, seed 0": 1, "a, seed 1": 2, "text": "so"}))
    printed = "rate  loss\n0.1   4.50 +- 0.25\n0.2   1,200\nend 7 %\n"
    cell = {"outputs": [{"name": "stdout", "text": [printed]}]}
    (tmp_path / "chapter.ipynb").write_text(json.dumps({"cells": [cell, {"cell_type": "markdown"}]}))

    def read(**changes):
        row = {key: value for key, value in {**GOOD, **changes}.items() if value is not None}
        lines = [f"{key} = {json.dumps(value)}" for key, value in row.items() if key != "values"]
        lines += ["[claim.values]"] + [f"{key} = {json.dumps(place)}" for key, place in row.get("values", {}).items()]
        table = '[groups]\nmath = "Mathematics"\n[[claim]]\n' + "\n".join(lines)
        (tmp_path / "data" / "claims.toml").write_text(table)
        [claim], _ = read_claims(tmp_path)
        return claim

    read.folder = tmp_path
    return read


def test_a_claim_is_filled_from_its_files(course):
    claim = course()
    assert claim.finding == "It is 2.00 ± 1.41, 4.0 in all." and claim.sources == ("results.json",)


def test_a_claim_may_rest_on_a_test_alone_and_an_untested_one_on_a_reason(course):
    assert course(values=None, finding="Yes.", tests=["tests/test_a.py: test_b"]).tests
    claim = course(values=None, verdict="not tested here", finding="", why="it takes years.")
    assert claim.finding == "*Why not:* it takes years."


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"values": None, "finding": "Yes."}, "must rest on a value or a test"),
        ({"verdict": "not tested here"}, "or say why"),
        ({"why": "because"}, "or say why"),
        ({"verdict": "probably"}, "unknown group, verdict or key"),
        ({"group": "physics"}, "unknown group, verdict or key"),
        ({"seen": "x"}, "unknown group, verdict or key"),
        ({"finding": "It is {farther:.2f}."}, "has no value 'farther'"),
        ({"values": {"far": "missing.json > a", "twice": "= far"}}, "no file missing.json"),
        ({"values": {"far": "results.json > walks", "twice": "= far"}}, "not found .KeyError"),
        ({"values": {"far": "results.json > runs > 5 > far", "twice": "= far"}}, "not found .IndexError"),
        ({"values": {"far": "results.json > runs", "twice": "= far"}}, "a number or a text is wanted"),
        ({"values": {"far": "results.json > b, seed *", "twice": "= far"}}, "finds 0, a spread needs two"),
        ({"values": {"far": "results.json > runs > * > far", "twice": "= near * 2"}}, "not made of known values"),
        ({"values": {"far": "results.json > runs > * > far", "twice": "= print(far)"}}, "not made of known values"),
    ],
)
def test_what_a_claim_lacks_is_said(course, changes, message):
    with pytest.raises(InputError, match=message):
        course(**changes)


@pytest.mark.parametrize(
    "place, value",
    [
        ("chapter.ipynb > rate  loss > 0.1 > 0", 4.5),
        ("chapter.ipynb > rate  loss > 0.1 > 1", 0.25),
        ("chapter.ipynb > rate  loss > 0.2 > 0", 1200.0),
        ("chapter.ipynb > rate > end > 0", 7.0),
        ("results.json > text", "so"),
        ("results.json > a, seed *", Spread(1.5, 0.5**0.5)),
    ],
)
def test_places(course, place, value):
    assert read_value(course.folder, place) == value


@pytest.mark.parametrize("place", ["weight > 0.1 > 0", "rate > 0.3 > 0", "rate > 0.1 > 2"])
def test_an_output_that_is_not_there_is_named(course, place):
    with pytest.raises(InputError, match=f"{place}: not found"):
        read_value(course.folder, f"chapter.ipynb > {place}")


def test_all_verdicts_occur():
    assert {claim.verdict for claim in CLAIMS} == set(VERDICTS)
