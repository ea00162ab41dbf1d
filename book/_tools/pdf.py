"""Join the built book into one file, `_build/pdf/book.pdf`, with a contents page, bookmarks and links that work.

    make pdf

The pages are joined before they are printed, in the order of the table of contents: places and links get the name of
their page, so that a link from one chapter to an equation of another stays inside the file. Chromium then sets the
formulas and prints, with the style sheet that a single chapter is printed with. Folded solutions are opened; folded
code stays away; of an interactive figure the still picture is shown.
"""

from __future__ import annotations

import argparse
import html
import pathlib
import re
import shutil

import yaml
from bs4 import BeautifulSoup
from playwright.sync_api import sync_playwright

ROOT = pathlib.Path(__file__).parents[2]
BUILT = ROOT / "_build" / "html"
JOINED = "print.html"  # beside the pages, where their pictures are found
REFERENCES = ("id", "for", "aria-labelledby", "aria-describedby", "aria-controls")
FOOTER = """\
<div style="width: 100%; font: 8px sans-serif; color: #5a6675; text-align: center">
<span class="pageNumber"></span> / <span class="totalPages"></span></div>"""


def main(argv=None):
    """Join, print, and say where the file is."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--html", type=pathlib.Path, default=BUILT, help="folder of the built pages")
    parser.add_argument("--out", type=pathlib.Path, default=ROOT / "_build" / "pdf" / "book.pdf")
    parser.add_argument("--pages", nargs="*", help="names of pages, such as book/30_posterior; all by default")
    options = parser.parse_args(argv)
    if not options.html.is_dir():
        raise SystemExit("there is no built book: run `make book` first")
    joined = options.html / "book" / JOINED
    joined.write_text(join(options.html, options.pages or in_order()), "utf8")
    options.out.parent.mkdir(parents=True, exist_ok=True)
    try:
        print_page(joined, options.out)
    finally:
        joined.unlink()
    print(f"wrote {options.out}")


def in_order() -> list[str]:
    """List all pages as the table of contents has them."""
    table = yaml.safe_load((ROOT / "_toc.yml").read_text("utf8"))
    return [table["root"], *(chapter["file"] for part in table["parts"] for chapter in part["chapters"])]


def join(built: pathlib.Path, names: list[str]) -> str:
    """Return one page with the articles of all, and a list of them after the first."""
    articles, titles, head = [], [], None
    for name in names:
        soup = BeautifulSoup((built / f"{name}.html").read_text("utf8"), "html.parser")
        article = soup.find("article")
        titles.append((own(name), article.find("h1").find(string=True).strip()))
        carry_over(article, name, names)
        if head is None and soup.select("script[src*=mathjax]"):
            head = soup.head
        articles.append(f'<section id="{own(name)}" class="joined">{article}</section>')
    head = head or soup.head
    head.title.string = titles[0][1]
    for script in head.find_all("script"):
        if "mathjax" not in (script.get("src") or "").lower() and "MathJax" not in (script.string or ""):
            script.decompose()
    contents = "".join(f'<li><a href="#{place}">{html.escape(title)}</a></li>' for place, title in titles)
    contents = f"<h1>Contents</h1><ol>{contents}</ol>"
    articles.insert(1, f'<section class="joined"><article class="bd-article">{contents}</article></section>')
    style = "<style>.joined { break-before: page; } .joined:first-of-type { break-before: auto; }</style>"
    return (
        f'<!doctype html><html lang="en" data-theme="light">{head.decode().replace("</head>", style + "</head>")}'
        f'<body><div class="bd-main"><div class="bd-content"><div class="bd-article-container">{"".join(articles)}'
        "</div></div></div></body></html>"
    )


def own(name: str, place: str = "") -> str:
    """Return the name of a page's place in the joined one."""
    page = name.rpartition("/")[2]
    return f"{page}--{place}" if place else page


def carry_over(article, name: str, names: list[str]) -> None:
    """Give the places and links of an article the name of its page, and open its solutions."""
    here = name.rpartition("/")[0]
    for tag in article.find_all(True):
        for key in REFERENCES:
            if tag.get(key):
                tag[key] = " ".join(own(name, each) for each in str(tag[key]).split())
        for key, value in tag.attrs.items():
            if isinstance(value, str) and "url(#" in value:
                tag[key] = re.sub(r"url\(#([^)]+)\)", lambda match: f"url(#{own(name, match[1])})", value)
        address = tag.get("href", "")
        file, _, place = address.partition("#")
        page = f"{here}/{file.removesuffix('.html')}"
        if address.startswith("#"):
            tag["href"] = f"#{own(name, place)}"
        elif tag.name == "a" and file.endswith(".html") and page in names:
            tag["href"] = f"#{own(page, place)}"
        elif tag.name == "a" and not re.match(r"\w+:", address):
            del tag["href"]  # a file that the book in one file does not have
        if tag.get("loading") == "lazy":
            del tag["loading"]  # on paper everything is in view
    for solution in article.select("details.sd-dropdown"):
        solution["open"] = ""


def print_page(page: pathlib.Path, out: pathlib.Path) -> None:
    """Let Chromium set the formulas of a page and print it."""
    browsers = map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))
    path = next(filter(None, browsers), None)
    if path is None:
        raise SystemExit("make pdf needs Chromium or Chrome, which prints the file; there is none here")
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=path, args=["--no-sandbox"])
        tab = browser.new_page()
        tab.set_default_timeout(0)
        tab.goto(page.as_uri(), timeout=0)
        tab.wait_for_function("!window.MathJax || (MathJax.startup && MathJax.startup.promise)")
        tab.evaluate("window.MathJax && MathJax.startup.promise")
        tab.pdf(
            path=out,
            prefer_css_page_size=True,
            print_background=True,
            tagged=True,
            outline=True,
            display_header_footer=True,
            header_template="<span></span>",
            footer_template=FOOTER,
        )
        browser.close()
    out.write_bytes(mended(out.read_bytes()))


def mended(pdf: bytes) -> bytes:
    """Take the doubling out of bookmarks: Chromium names a heading at the top of a page twice.

    Spaces fill the place of what is taken out, so that everything else stays where the file says it is.
    """

    def once(match):
        opening, title, closing = match.groups()
        prefix = b"FEFF" if title.startswith(b"FEFF") else b""
        half = len(title[len(prefix) :]) // 2
        first, second = title[len(prefix) :][:half], title[len(prefix) :][half:]
        if not half or first != second:
            return match[0]
        return (opening + prefix + first + closing).ljust(len(match[0]))

    pdf = re.sub(rb"(/Title \()((?:\\.|[^\\()])*)(\))", once, pdf)
    return re.sub(rb"(/Title <)([0-9A-F]+)(>)", once, pdf)


if __name__ == "__main__":
    main()
