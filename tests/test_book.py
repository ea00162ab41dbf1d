"""The chapters' notebooks against their sources, and the built pages."""

import importlib
import inspect
import os
import pathlib
import pkgutil
import re
import sys
import urllib.parse

import jupytext
import nbformat
import pytest
import yaml
from bs4 import BeautifulSoup

import ddpm_lib

ROOT = pathlib.Path(__file__).parents[1]
BOOK = ROOT / "book"
sys.path.insert(0, str(BOOK / "_tools"))
import notebooks  # noqa: E402

CHAPTERS = notebooks.sources()
NOT_COMPARED = {"nbval-ignore-output", "nbval-skip", "raises-exception"}
CODE_COLUMNS = 72  # what a cell shows at 1280 pixels
every_chapter = pytest.mark.parametrize("source", CHAPTERS, ids=lambda path: path.stem)


def read(source):
    """Read the executed notebook beside a chapter's text."""
    return nbformat.read(source.with_suffix(".ipynb"), as_version=4)


def code_cells(notebook):
    """List the cells that hold code."""
    return [cell for cell in notebook.cells if cell.cell_type == "code" and cell.source.strip()]


def printed(cell):
    """Join what a cell prints or returns as text; pictures and their textual names do not count."""
    parts = []
    for output in cell.outputs:
        data = output.get("data", {})
        pictured = any(kind.startswith("image/") or kind == "text/html" for kind in data)
        parts += [output.get("text", ""), "" if pictured else data.get("text/plain", "")]
    return "".join(parts)


def test_every_chapter_is_in_the_table_of_contents():
    assert CHAPTERS
    listed = re.findall(r"file: book/(\d\w+)", (ROOT / "_toc.yml").read_text("utf8"))
    assert listed == [path.stem for path in CHAPTERS], "in reading order"


@every_chapter
def test_notebook_shows_its_text_where_myst_is_unknown(source):
    """As Colab, Kaggle and JupyterLab show it: CommonMark, formulas between dollars, and HTML."""
    text = "\n\n".join(cell.source for cell in read(source).cells if cell.cell_type == "markdown")
    prose = re.sub(r"```.*?```|(?<!`)`[^`\n]+`(?!`)|<!--.*?-->", "", text, flags=re.DOTALL)
    myst = re.compile(
        r"\{[a-z:-]+\}`|^\s*(?:`{3,}|:{3,})\{|^\$\$ \(|^\([\w-]+\)=$|\]\([\w/#-]*(?:\.md)?\)", re.MULTILINE
    )
    assert not myst.findall(text)
    assert prose.count("<details>") == prose.count("</details>") == source.read_text("utf8").count("{dropdown}")
    assert len(re.findall(r"^\$\$$", prose, re.MULTILINE)) % 2 == 0
    # Every number that the text refers to is the tag of one equation of this chapter, or links to that of another.
    tags = re.findall(r"\\tag\{([\d.]+)\}", prose)
    assert len(tags) == len(set(tags)) == len(re.findall(r"^\$\$ \(eq-", source.read_text("utf8"), re.MULTILINE))
    own = source.stem.partition("_")[0]
    assert set(re.findall(rf"\(({own}\.\d+)\)", prose)) <= set(tags)
    for number, page in re.findall(r"\[\((\d+\.\d+)\)\]\(\S+/book/(\w+)\.ipynb\)", prose):
        other = nbformat.read(BOOK / f"{page}.ipynb", as_version=4)
        assert any(f"\\tag{{{number}}}" in cell.source for cell in other.cells), number
    for name in re.findall(rf"/blob/{notebooks.revision()}/(book/[\w.]+)", prose):
        assert (ROOT / name).exists(), name


@every_chapter
def test_notebook_is_the_executed_source(source):
    notebook = read(source)
    assert notebooks.cells(notebook) == notebooks.cells(notebooks.read_source(source)), "run `make notebooks`"
    code = code_cells(notebook)
    assert [cell.execution_count for cell in code] == list(range(1, len(code) + 1)), "not executed from top to bottom"
    failed = {output.get("ename") for cell in code for output in cell.outputs if output.output_type == "error"}
    assert not failed, f"a cell raised {failed}"


@every_chapter
def test_outputs_are_compared(source):
    """A notebook test is worth what it compares: numbers, in most cells."""
    code = code_cells(read(source))
    ignored = [cell for cell in code if NOT_COMPARED & set(cell.metadata.get("tags", []))]
    assert len(ignored) <= len(code) / 5
    numeric = [cell for cell in code if cell not in ignored and re.search(r"\d", printed(cell))]
    assert len(numeric) >= 3, f"only {len(numeric)} cells print numbers"


@every_chapter
def test_outputs_hold_nothing_random(source):
    notebook = read(source)
    assert "widgets" not in notebook.metadata, "stored widget state"
    text = nbformat.writes(notebook)
    assert notebooks.WIDGET_VIEW not in text
    assert not re.search(r"\bat 0x[0-9a-f]{6,}", text)
    for cell in code_cells(notebook):
        streams = [output.name for output in cell.outputs if output.output_type == "stream"]
        # What goes to stderr differs between machines; a stream in pieces is cut where time happened to cut it.
        assert streams in ([], ["stdout"]), cell.source


@every_chapter
def test_first_cell_is_the_bootstrap(source):
    first = notebooks.FIRST_CODE_CELL.search(source.read_text("utf8"))
    assert first.group() == notebooks.bootstrap_cell(), "run `make notebooks`"


@every_chapter
def test_pictures_of_cells_are_described(source):
    for cell in code_cells(read(source)):
        if any(kind.startswith("image/") for output in cell.outputs for kind in output.get("data", {})):
            rendering = cell.metadata.get("mystnb", {})
            alt = rendering.get("image", {}).get("alt") or rendering.get("figure", {}).get("alt") or ""
            assert len(alt) >= 20, f"no alt text on the picture of:\n{cell.source}"


def too_wide(notebook):
    """List the lines of shown code that a page would cut: (place, line)."""
    shown, number = [], 0
    for cell in notebook.cells:
        if cell.cell_type == "code":
            number += 1
            if not {"remove-cell", "remove-input"} & set(cell.metadata.get("tags", [])):
                shown.append((f"code cell {number}", cell.source))
        else:
            blocks = re.findall(r"^```python\n(.*?)^```", cell.source, re.MULTILINE | re.DOTALL)
            shown += [(f"the solution after code cell {number}", block) for block in blocks]
    return [(place, line) for place, code in shown for line in code.splitlines() if len(line) > CODE_COLUMNS]


@every_chapter
def test_code_fits_its_cell(source):
    lines = [f"{place}, {len(line)} columns: {line}" for place, line in too_wide(jupytext.read(source))]
    assert not lines, f"over {CODE_COLUMNS} columns:\n" + "\n".join(lines)


def test_wide_code_is_found_in_cells_and_solutions():
    wide, narrow = "x" * 73, "x" * 72
    notebook = nbformat.v4.new_notebook(
        cells=[
            nbformat.v4.new_code_cell(f"%pip {wide}", metadata={"tags": ["remove-cell"]}),
            nbformat.v4.new_code_cell(f"{narrow}\n{wide}", metadata={"tags": ["hide-input"]}),
            nbformat.v4.new_markdown_cell(f"{wide}\n\n````{{dropdown}} Solution\n```python\n{wide}\n```\n````"),
        ]
    )
    assert too_wide(notebook) == [("code cell 2", wide), ("the solution after code cell 2", wide)]


# ---- The built pages ------------------------------------------------------------------------------------------------


@pytest.fixture(scope="session")
def pages(built_book):
    """Parse every page of the built book: {path: soup}."""
    paths = [path for path in built_book.rglob("*.html") if "_static" not in path.parts]
    return {path: BeautifulSoup(path.read_text("utf8"), "html.parser") for path in paths}


def test_links_inside_the_book_lead_somewhere(pages):
    ids = {path: {tag["id"] for tag in soup.find_all(id=True)} for path, soup in pages.items()}
    bad = []
    for path, soup in pages.items():
        for tag in soup.find_all(["a", "link", "script", "img"]):
            address = tag.get("href") or tag.get("src")
            if not address or re.match(r"\w+:|//", address):
                continue
            file, _, fragment = address.partition("#")
            target = (path.parent / urllib.parse.unquote(file.partition("?")[0])).resolve() if file else path
            if not target.exists():
                bad.append(f"{path.name}: {address} (no such file)")
            elif fragment and target in ids and urllib.parse.unquote(fragment) not in ids[target]:
                bad.append(f"{path.name}: {address} (no such place)")
    assert not bad, bad


def test_pages_take_nothing_from_outside(pages):
    outside = [
        (path.name, address)
        for path, soup in pages.items()
        for tag in soup.find_all(["script", "img", "iframe", "link", "source"])
        if re.match(r"https?:|//", address := tag.get("src") or tag.get("href") or "")
        and (tag.name != "link" or "stylesheet" in tag.get("rel", []))
    ]
    assert not outside
    for path in pages:
        named = re.search(r"require(?:\.min)?\.js|html-manager|THEBE_JS_URL|sphinx-thebe", path.read_text("utf8"))
        assert not named, f"{path.name}: {named}"


def test_every_image_is_described(pages):
    for path, soup in pages.items():
        article = soup.find("article")
        for image in article.find_all("img") if article else []:
            alt = image.get("alt", "")
            assert len(alt) >= 20 and not alt.endswith(".png"), f"{path.name}: {image.get('src', '')[:80]}"


@every_chapter
def test_colab_and_kaggle_buttons_open_the_notebook(source, pages, built_book):
    repository = yaml.safe_load((ROOT / "_config.yml").read_text("utf8"))["repository"]
    soup = pages[built_book / "book" / f"{source.stem}.html"]
    [link] = {tag["href"] for tag in soup.find_all("a", href=True) if "colab.research" in tag["href"]}
    name = repository["url"].removeprefix("https://github.com/")
    ending = f"/github/{name}/blob/{repository['branch']}/book/{source.stem}.ipynb"
    assert link.endswith(ending)
    [link] = {tag["href"] for tag in soup.find_all("a", href=True) if "kaggle.com" in tag["href"]}
    [opened] = urllib.parse.parse_qs(urllib.parse.urlsplit(link).query)["src"]
    assert opened == f"https://github.com{ending.removeprefix('/github')}"
    assert source.with_suffix(".ipynb").exists()


def public_functions():
    """Yield the full name of every public function and class of the library."""
    for module_info in pkgutil.iter_modules(ddpm_lib.__path__, "ddpm_lib."):
        module = importlib.import_module(module_info.name)
        for name, value in vars(module).items():
            is_ours = getattr(value, "__module__", "").startswith(module_info.name)
            if not name.startswith("_") and is_ours and (inspect.isfunction(value) or inspect.isclass(value)):
                yield f"{module_info.name}.{name}"


def test_api_page_lists_every_public_function(pages, built_book):
    ids = {tag["id"] for tag in pages[built_book / "book" / "api.html"].find_all(id=True)}
    assert not [name for name in public_functions() if name not in ids]


@pytest.mark.parametrize("width", [1280, 390])
def test_pages_in_a_browser(built_book, pages, chromium, width):
    """From the disk, without a network: no outside request, no error, equations set, nothing wider than the screen."""
    context = chromium.new_context(viewport={"width": width, "height": 850})
    context.set_offline(True)
    for path in sorted(pages):
        if path.parent.name != "book":
            continue
        page, requests, errors = context.new_page(), [], []
        page.on("request", lambda request, to=requests: to.append(request.url))
        page.on("pageerror", lambda error, to=errors: to.append(str(error)))
        page.on("console", lambda message, to=errors: to.append(message.text) if message.type == "error" else None)
        page.goto(path.as_uri())
        page.wait_for_function("!window.MathJax || (MathJax.startup && MathJax.startup.promise)")
        page.evaluate("window.MathJax && MathJax.startup.promise")
        assert not [url for url in requests if url.startswith(("http", "//"))], path.name
        assert not errors, f"{path.name}: {errors}"
        assert page.locator("mjx-merror").count() == 0, f"{path.name}: an equation that MathJax cannot read"
        unset = page.locator(".math").count() - page.locator(".math:has(mjx-container)").count()
        assert unset == 0, f"{path.name}: {unset} equations not set"
        assert page.evaluate("document.documentElement.scrollWidth") <= width, f"{path.name}: wider than the screen"
        page.close()
    context.close()


@pytest.mark.skipif("DDPM_CAMPAIGN" not in os.environ, reason="minutes: DDPM_CAMPAIGN=1 looks at every page")
@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("width", [390, 1280])
def test_axe_finds_nothing_serious_on_any_page(built_book, pages, chromium, width, theme):
    axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="axe-playwright-python is not installed")
    context = chromium.new_context(
        viewport={"width": width, "height": 850}, color_scheme=theme, reduced_motion="reduce"
    )
    context.set_offline(True)
    found = []
    for path in sorted(path for path in pages if path.parent.name == "book"):
        page = context.new_page()
        page.goto(path.as_uri())
        page.evaluate("window.MathJax && MathJax.startup.promise")
        violations = axe.Axe().run(page, options={"preload": False}).response["violations"]
        found += [(path.name, each["id"]) for each in violations if each["impact"] in ("serious", "critical")]
        page.close()
    context.close()
    assert not found
