"""Every formula inside the book's sentences that states something, against numbers from elsewhere."""

import pytest

from tests import prose
from tests.ledger import inline

PAGES = pytest.mark.parametrize("page", inline.pages(), ids=prose.room)


@PAGES
def test_inline_statements_are_true(page):
    found = inline.complaints(page)
    assert not found, "\n" + "\n".join(found)


@PAGES
def test_single_alterations_are_caught(page):
    statements, _ = inline.examine(inline.read(page.read_text("utf8")), inline.rules(page))
    unnoticed = {place for statement in statements for place in statement.unnoticed()}
    assert unnoticed == {place for places in inline.rules(page).blind.values() for place in places}


PLANTED = {
    "a sum": ("30_posterior", r"$\alpha_t + \beta_t = 1$", r"$\alpha_t + \beta_t = 2$"),
    "a variance": ("30_posterior", r"with variance $1 - \bar\alpha_{t-1}$", r"with variance $1 - \bar\alpha_t$"),
    "beta-tilde for beta": ("50_first_model", r"Here $\sigma_t^2 = \beta_t$", r"Here $\sigma_t^2 = \tilde\beta_t$"),
    "a comparison": ("30_posterior", r"$\bar\alpha_{t-1} > \bar\alpha_t$", r"$\bar\alpha_{t-1} < \bar\alpha_t$"),
    "a factor": ("10_noising", r"the image by $\sqrt{\alpha_t}$", r"the image by $\alpha_t$"),
    "a limit": ("10_noising", r"= 1 / (2-\beta)$", r"= 1 / (2+\beta)$"),
    "a start": ("20_closed_form", r"and $1 - \bar\alpha_1 = \beta_1$", r"and $1 - \bar\alpha_1 = \alpha_1$"),
    "a default of the library": ("20_closed_form", "has $a = -3$, $b = 3$", "has $a = -4$, $b = 3$"),
    "a number without a test of numbers": ("20_closed_form", r"about $-10$", r"about $-20$"),
    "a row's code": ("notation", r"| $\bar\alpha_t$ | `alpha_bars` |", r"| $\bar\alpha_t$ | `alpha_bars_prev` |"),
    "a row's meaning": ("notation", r"| `alphas` | $1 - \beta_t$:", r"| `alphas` | $1 - \sqrt{\beta_t}$:"),
    "a row's ratio": (
        "notation",
        r"ratio $\bar\alpha_t / (1 - \bar\alpha_t)$",
        r"ratio $\bar\alpha_t / (1 - \alpha_t)$",
    ),
}


@pytest.mark.parametrize("place", PLANTED)
def test_planted_mistakes_are_named(place):
    name, old, new = PLANTED[place]
    page = prose.BOOK / f"{name}.md"
    text = page.read_text("utf8")
    assert text.count(old) == 1
    assert any("is not true in its worlds" in line for line in inline.complaints(page, text.replace(old, new)))


def complaints(sentence):
    """Find what is wrong with a sentence of a page whose worlds are chains."""
    statements, wrong = inline.examine(inline.read(sentence), inline.Inline(inline.chains, ROWS))
    return [line for line in wrong + inline.false(statements) if "no sentence has the row" not in line]


ROWS = {"near $#1$, with variance $#2$": inline.Says(inline.chains, r"\operatorname{Var}[x_t \mid x_0] = #2")}


@pytest.mark.parametrize(
    "sentence",
    [
        r"Here $\alpha_t = 1 - \beta_t$, for $t \ge 2$.",
        r"It is near $x_0$, with variance $1 - \bar\alpha_t$.",
        r"The symbols $x_{t-1}$, $s^2$, $[-1, 1]$, $t - 1$, $q(x_t \mid x_0)$ are names.",
        r"With $T = 1000$ steps.",
    ],
)
def test_what_is_true_may_be_said(sentence):
    assert not complaints(sentence)


@pytest.mark.parametrize(
    "sentence",
    [
        r"Here $\alpha_t = 1 + \beta_t$.",
        r"It is near $x_0$, with variance $1 - \alpha_t$.",
        r"It has the variance $1 - \bar\alpha_t$.",
        r"Draw $t \in \{1, 2\}$.",
        r"Here $\alpha_t \to 1$.",
        r"With $T = 9$ steps.",
    ],
)
def test_what_is_wrong_or_unknown_is_named(sentence):
    assert len(complaints(sentence)) == 1


def test_a_row_that_no_sentence_has_is_named():
    _, wrong = inline.examine("Nothing here.", inline.Inline(inline.chains, ROWS))
    assert wrong == ["no sentence has the row 'near $#1$, with variance $#2$'"]


def test_a_new_chapter_is_told_what_to_do():
    with pytest.raises(AssertionError, match=r"tests/ledger/new\.py has no INLINE: add INLINE = Inline\(worlds="):
        inline.rules(prose.BOOK / "99_new.md")
