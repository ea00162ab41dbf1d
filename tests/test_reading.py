"""How the pages read: words of the glossary, one set of colours, and paper."""

import re
import subprocess
import sys

import pytest
from bs4 import BeautifulSoup

from tests.conftest import ROOT

PAPER = 665  # CSS pixels between the margins of A4
CHAPTERS = sorted(path.stem for path in (ROOT / "book").glob("[0-9]*.md"))


def soup(built_book, name):
    return BeautifulSoup((built_book / "book" / f"{name}.html").read_text("utf8"), "html.parser")


@pytest.fixture
def visit(built_book, chromium):
    """Open a page of the book without a network."""
    contexts = []

    def open_page(name, width=1280, **options):
        context = chromium.new_context(viewport={"width": width, "height": 850}, **options)
        contexts.append(context)
        context.set_offline(True)
        page = context.new_page()
        page.goto((built_book / "book" / f"{name}.html").as_uri())
        page.wait_for_function("!window.MathJax || (MathJax.startup && MathJax.startup.promise)")
        page.evaluate("window.MathJax && MathJax.startup.promise")
        return page

    yield open_page
    for context in contexts:
        context.close()


# ---- The glossary ----------------------------------------------------------------------------------------------------


def test_first_use_of_a_term_says_what_it_means(built_book):
    page = soup(built_book, "glossary")
    entries = {term["id"]: term for term in page.select("dl.glossary dt")}
    used = set()
    for chapter in CHAPTERS:
        marked = soup(built_book, chapter).select("article a.term")
        places = [link["href"].partition("#")[2] for link in marked]
        assert len(places) == len(set(places)), f"{chapter}: a term is marked twice"
        for link, place in zip(marked, places, strict=True):
            entry = entries[place]
            term = entry.find(string=True).strip()
            assert link.text.lower() in (term.lower(), term.lower() + "s")
            assert link["data-definition"] == " ".join(entry.find_next("dd").text.split())
            assert not link.find_parent(["a", "code", "h1", "h2", "h3"])
        used |= set(places)
    unused = {entries[place].find(string=True).strip() for place in set(entries) - used}
    assert all("(" in term for term in unused), f"no chapter uses {unused}"


def test_definition_is_seen_on_hover_by_keyboard_and_on_a_tap(visit):
    shown = """(link) => { const { content, display } = getComputedStyle(link, "::after");
      return content !== "none" && display !== "none"; }"""
    page = visit("10_noising")
    link = page.locator("a.term").first
    assert not link.evaluate(shown)
    link.hover()
    assert link.evaluate(shown)
    assert page.evaluate("() => document.documentElement.scrollWidth") <= 1280
    page.mouse.move(0, 0)
    link.focus()
    assert link.evaluate(shown)
    phone = visit("10_noising", width=390, has_touch=True, is_mobile=True)
    link = phone.locator("a.term").first
    link.tap()
    assert link.evaluate(shown) and phone.url.endswith("10_noising.html")
    assert phone.evaluate("() => document.documentElement.scrollWidth") <= 390
    link.tap()
    phone.wait_for_url("**/glossary.html#*")


# ---- Colours ---------------------------------------------------------------------------------------------------------


def test_explorers_and_pages_have_the_same_colours():
    style = (ROOT / "ddpm_lib" / "explorer" / "style.js").read_text("utf8")
    light, dark = (dict(re.findall(r"--(\w+): (#\w+)", block)) for block in style.split("}")[:2])
    css = (ROOT / "book" / "_static" / "book.css").read_text("utf8")
    names = {"blue": "primary", "orange": "secondary", "ink": "text-base", "line": "border"}
    for selector, colours in (('html:not([data-theme="dark"])', light), ('html[data-theme="dark"]', dark)):
        block = css.partition(selector + " {")[2].partition("}")[0]
        page = dict(re.findall(r"--pst-color-([\w-]+): (#\w+)", block))
        assert {name: page[own] for name, own in names.items()} == {name: colours[name] for name in names}


# ---- Paper -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("chapter", CHAPTERS)
def test_nothing_is_cut_on_paper(visit, chapter):
    page = visit(chapter, width=PAPER, color_scheme="dark")
    page.evaluate("() => dispatchEvent(new Event('beforeprint'))")
    page.emulate_media(media="print", color_scheme="dark")
    for hidden in (".bd-sidebar-primary", ".bd-sidebar-secondary", ".prev-next-footer", ".bd-header-article"):
        assert not page.locator(hidden).first.is_visible(), hidden
    assert page.evaluate("() => getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    wide = page.evaluate(
        f"""() => [...document.querySelectorAll('article :is(mjx-container, pre, table, img, .unet)')]
          .filter((node) => node.checkVisibility() && !node.closest('[class*=assistive], mjx-assistive-mml'))
          .filter((node) => node.getBoundingClientRect().right > {PAPER} + 1 || node.scrollWidth > {PAPER} + 1)
          .map((node) => `${{node.localName}}: ${{node.textContent.slice(0, 80)}}`)"""
    )
    assert not wide
    for explorer in page.locator("ddpm-reverse-explorer, ddpm-schedule-explorer").all():
        assert not explorer.locator(".card").is_visible() and explorer.locator("img").is_visible()
    page.evaluate("() => dispatchEvent(new Event('afterprint'))")
    assert page.evaluate("() => document.documentElement.dataset.theme") == "dark"


def test_pages_join_into_one_file_with_links(built_book, chromium, tmp_path):
    """Three pages: the file has its bookmarks, and links from page to page that stay inside it."""
    out = tmp_path / "book.pdf"
    tool = ROOT / "book" / "_tools" / "pdf.py"
    names = ["book/intro", "book/20_closed_form", "book/30_posterior"]
    command = [sys.executable, tool, "--html", built_book, "--out", out, "--pages", *names]
    result = subprocess.run(command, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr[-3000:]
    content = out.read_bytes()
    assert content.startswith(b"%PDF") and b"/Outlines" in content
    assert len(re.findall(rb"/Type /Page\b", content)) > 10
    titles = re.findall(rb"/Title \(([^)]*)\)", content)
    assert {b"Contents", b"The closed form", b"The posterior"} <= set(titles)
    assert content.count(b"/Dest") > 20 and b"file://" not in content
    assert not (built_book / "book" / "print.html").exists()
