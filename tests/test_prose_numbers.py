"""Every number in the book's prose, captions and alt texts stands where a reader can check it: see prose.py."""

import dataclasses
from collections import Counter

import nbformat
import pytest

from tests import prose

PAGES = pytest.mark.parametrize("page", prose.pages(), ids=prose.room)


@PAGES
def test_numbers_stand_where_a_reader_can_check_them(page):
    found = prose.complaints(page)
    assert not found, "\n" + "\n".join(found)


def test_every_list_belongs_to_a_page():
    rooms = {prose.room(page) for page in prose.pages()}
    assert {path.stem for path in (prose.ROOT / "tests" / "numbers").iterdir()} <= rooms


def test_outputs_are_those_of_the_code_that_is_there():
    """A chapter whose code changed has no outputs until its notebook is executed: the message says so."""
    page = prose.BOOK / "10_noising.md"
    text = page.read_text("utf8")
    assert len(prose.read(text, prose.outputs(page))[1].printed) > 3
    assert not prose.read(text.replace('print(f"mean', 'print(f"the mean'), prose.outputs(page))[1].printed


# ---- The test of the test -------------------------------------------------------------------------------------------

PAGE = """\
# A page

```{figure} picture.png
:alt: A curve that ends at 0.125.
:width: 560px

It takes %s steps.
```

## One

```{code-cell} ipython3
---
mystnb:
  image:
    alt: A line over 40 steps.
---
share = total / 20_000
print(f"{share:.4f}")  # 555
```

%s

| size | share |
|---|---|
| 8 x 8 pixels | %s |
"""
CODE = 'share = total / 20_000\nprint(f"{share:.4f}")  # 555'
OUTPUTS = {CODE: [nbformat.v4.new_output("stream", text="0.9934 of 40, 8 by 8, 0.125, 12.5 %\n")]}


def complaints(sentence="", caption="40", cell="0.99", rows=()):
    """Find what is wrong on the page with a sentence, a number in the caption, and a number in the table."""
    rows = [("chosen", "takes 40 steps", "a choice"), ("chosen", "A curve that ends at 0.125", "a choice"), *rows]
    return prose.complaints(prose.BOOK / "page.md", prose.read(PAGE % (caption, sentence, cell), OUTPUTS), rows)


@pytest.mark.parametrize(
    "sentence",
    [
        "It is 0.9934.",
        "It is 0.993, which is 0.99, which is 99 %.",
        "It is 99.34 percent, or 99.3%.",
        "It is $x = 0.99$ of 20,000.",
        "About 13 percent, or 12.5 %, of 20000.",
        "See Eq. 4 of celeba64, CIFAR-10 and x_17 for 7 of 12.",
        "Karras et al. (2022) say so.",
    ],
)
def test_what_is_shown_may_be_said(sentence):
    assert not complaints(sentence)


@pytest.mark.parametrize(
    "sentence, number",
    [
        ("It is 0.98.", "0.98"),  # wrong
        ("It is 0.9900.", "0.9900"),  # more digits than are shown
        ("It is 0.99340.", "0.99340"),
        ("It takes 0.994 seconds.", "0.994"),
        ("It is 93 %.", "93"),
        ("It is 0.125 %.", "0.125"),  # the number without its unit
        ("It is 20,001 long.", "20,001"),
        ("It takes 41 steps.", "41"),
        ("It takes twenty seconds.", "20"),
        ("It is 555.", "555"),  # a comment says so, and nothing else
        ("It is 560.", "560"),  # the size of a picture
        ("Karras et al. (2021) say so.", "2021"),
        ("It is $10^{-6}$.", "1e-6"),
        ("Its checksum is 00d2c5bc6d35e252742224ab0c1e8fcb.", "00d2c5bc6d35e252742224ab0c1e8fcb"),
    ],
)
def test_what_is_not_shown_is_named_with_its_sentence(sentence, number):
    [line] = complaints(sentence)
    assert line == f"page.md, One: {number} stands nowhere: {sentence.replace('10^{-6}', '1e-6')}"


def test_captions_alt_texts_and_tables_are_read():
    wrong, not_needed = complaints(caption="41")
    assert wrong == "page.md, start: 41 stands nowhere: It takes 41 steps." and "takes 40 steps" in not_needed
    assert complaints(cell="0.98") == ["page.md, One: 0.98 stands nowhere: | 8 x 8 pixels | 0.98 |"]
    alt = PAGE.replace("40 steps", "41 steps") % ("40", "", "0.99")
    found = prose.complaints(prose.BOOK / "page.md", prose.read(alt, OUTPUTS), [])
    assert "page.md, One: 41 stands nowhere: A line over 41 steps." in found


@pytest.mark.parametrize(
    "row, reason",
    [
        (("computed", "a third, 0.33", "1 / 3"), None),
        (("computed", "a third, 0.33", "1 / 4"), "is not 0.25"),
        (("results", "a third, 0.33", "benchmarks/results/profile.json: batch_size"), "is not 16"),
        (("cited", "a third, 0.33", "ho2020ddpm, section 4"), None),
        (("cited", "a third, 0.33", "nobody1999, section 4"), "unknown source"),
        (("elsewhere", "a third, 0.33", "20_closed_form: The signal-to-noise ratio"), "is not shown in"),
        (("tested", "a third", "tests/test_schedules.py: test_no_such_thing"), "is tested nowhere"),
        (("seen", "a third, 0.33", "somewhere"), "unknown kind"),
        (("measured", "a third, 0.33", ""), "without a reason"),
        (("cited", "a third, 0.34", "ho2020ddpm, section 4"), "stands nowhere"),
    ],
)
def test_rows_are_checked(row, reason):
    found = complaints("It is a third, 0.33.", rows=[row])
    assert bool(found) == bool(reason) and (not reason or reason in found[0])


def test_rows_that_nothing_needs_are_named():
    [line] = complaints(rows=[("cited", "It is 0.7", "ho2020ddpm, section 4")])
    assert line == "tests/numbers/page.toml: It is 0.7 is not needed"


PLANTED = {
    "from an output": ("10_noising", "is about 2 % or less", "is about 3 % or less"),
    "from code": ("10_noising", "a crowd of 40,000 random walkers", "a crowd of 50,000 random walkers"),
    "in a formula": ("10_noising", r"a list of $D = 49152$ numbers", r"a list of $D = 49125$ numbers"),
    "from another section": ("10_noising", "A photograph has 49152 dimensions", "A photograph has 49125 dimensions"),
    "from a paper": ("10_noising", "(section 3.3)", "(section 3.4)"),
    "more digits than are printed": (
        "30_posterior",
        "those that come to $x_t$ up to 0.02",
        "those that come to $x_t$ up to 0.020",
    ),
    "in an alt text": ("10_noising", "one half near step 260", "one half near step 290"),
    "in the alt text of a film": ("70_what_it_learned", "pure noise at t = 1000 to faces", "noise at t = 900 to faces"),
    "in a caption": ("intro", "takes 1000 small steps", "takes 2000 small steps"),
    "from the library": ("memory", "takes 5.13 GFLOP", "takes 5.31 GFLOP"),
    "from a file of results": ("60_training_on_faces", "It saw 11,980 photographs", "It saw 11,890 photographs"),
    "in a solution": ("50_first_model", "16 x 50 = 800", "16 x 50 = 900"),
    "in words": ("10_noising", "about twenty seconds", "about thirty seconds"),
    "of a year": ("30_posterior", "from Feller (1949)", "from Feller (1946)"),
}


@pytest.mark.parametrize("place", PLANTED)
def test_planted_mistakes_are_named(place):
    name, old, new = PLANTED[place]
    page = prose.BOOK / f"{name}.md"
    text = page.read_text("utf8")
    assert text.count(old) == 1
    found = prose.complaints(page, prose.read(text.replace(old, new), prose.outputs(page)))
    assert any("stands nowhere" in line and new in line for line in found)


def test_wrong_numbers_are_noticed():
    """Alter every number that its section shows by one in its last digit; few have a neighbour that is shown, too."""
    noticed = Counter()
    for page in prose.pages():
        for section in prose.sections(page):
            for sentence in section.sentences:
                for number in prose.numbers(sentence):
                    if section.shows(number):
                        last = (int(number.text[-1]) + 1) % 10
                        noticed[not section.shows(dataclasses.replace(number, text=f"{number.text[:-1]}{last}"))] += 1
    assert noticed[False] < noticed.total() / 7
