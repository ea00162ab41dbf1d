"""What the landing page says of the rest of the book: film, ways on, counts, and a card for every page.

All of it is taken from the table of contents, the chapters, the ledger and the film's own file when the book is built,
so that nothing is typed twice. Four directives stand in `intro.md` for what is written here.
"""

from __future__ import annotations

import base64
import dataclasses
import html
import io
import json
import pathlib
import re

import nbformat
import yaml
from docutils import nodes
from docutils.parsers.rst import Directive
from PIL import Image

from ddpm_lib.exercises import EXERCISES

FOLDER = "book/"
CHAPTER = re.compile(r"book/\d\w*")
WORDS_A_MINUTE = 150
MINUTES_AN_EQUATION = 0.5
CARD_WIDTH, CARD_HEIGHT = 480, 240  # pixels


class landing_part(nodes.General, nodes.Element):
    """The place of something that is written once all pages are read."""


class Part(Directive):
    """A directive that leaves its place to one of `PARTS`, with its argument."""

    optional_arguments = 1

    def run(self):
        """Mark the place."""
        return [landing_part(part=self.name, argument=(self.arguments or [""])[0])]


def setup(app):
    """Register with Sphinx."""
    app.add_node(landing_part)
    for name in PARTS:
        app.add_directive(name, Part)
    app.connect("env-updated", lambda app, env: [app.config.root_doc])  # written again when any page was read again
    app.connect("doctree-resolved", write_parts)
    return {"parallel_read_safe": True, "parallel_write_safe": True}


def write_parts(app, doctree, docname):
    """Put the parts in their places."""
    for place in list(doctree.findall(landing_part)):
        text = PARTS[place["part"]](app, place["argument"])
        place.replace_self(nodes.raw("", text, format="html"))


# ---- What the pages say of themselves -------------------------------------------------------------------------------


@dataclasses.dataclass(frozen=True)
class Page:
    """A page of the table of contents, as a card shows it."""

    name: str
    title: str
    sentence: str  # what one learns there, or its first sentence
    minutes: int  # to read
    time: str  # to run, in the chapter's own words; empty where nothing runs


def contents(app) -> list[tuple[str, list[str]]]:
    """Read the table of contents: (caption, names of pages), part by part."""
    table = yaml.safe_load((pathlib.Path(app.srcdir) / app.config.external_toc_path).read_text("utf8"))
    return [(part["caption"], [chapter["file"] for chapter in part["chapters"]]) for part in table["parts"]]


def read_page(app, name: str) -> Page:
    """Read a page's title, what one learns there, and its times, from its text."""
    doctree = app.env.get_doctree(name)
    paragraphs = list(doctree.findall(nodes.paragraph))
    learned, time = None, ""
    for paragraph in paragraphs:
        text = plain(paragraph)
        if text.startswith("After this chapter"):
            bullets = paragraph.next_node(nodes.bullet_list, siblings=True, descend=False)
            learned = next((plain(item) for item in bullets if not list(item.findall(nodes.math))), None)
        elif text.startswith("Time:"):
            time = first_sentence(text.removeprefix("Time:"))
    sentence = f"You learn to {learned.rstrip('.;')}." if learned else first_sentence(plain(paragraphs[0])) + "."
    return Page(name, app.env.titles[name].astext(), sentence, minutes_to_read(doctree), time)


def plain(node) -> str:
    """Return a node's text on one line."""
    return " ".join(node.astext().split())


def first_sentence(text: str) -> str:
    """Return the first sentence of a text, without its full stop."""
    return re.split(r"[.:](?:\s|$)", text.strip(), maxsplit=1)[0]


def minutes_to_read(doctree) -> int:
    """Estimate how long a page takes to read: its words, without code and outputs, and its displayed equations."""
    blocks = (nodes.paragraph, nodes.title)
    words = sum(len(node.astext().split()) for node in doctree.findall(lambda node: isinstance(node, blocks)))
    equations = len(list(doctree.findall(nodes.math_block)))
    return max(1, round(words / WORDS_A_MINUTE + MINUTES_AN_EQUATION * equations))


def picture(app, name: str) -> tuple[bytes, str] | None:
    """Return a figure of a chapter's notebook, PNG, and its description.

    It is the first figure of a cell tagged `card`. Without such a cell it is the largest file of all, which is the one
    that is most of a picture.
    """
    found = []
    for cell in nbformat.read(pathlib.Path(app.srcdir) / f"{name}.ipynb", as_version=4).cells:
        rendering = cell.metadata.get("mystnb", {})
        alt = rendering.get("image", {}).get("alt") or rendering.get("figure", {}).get("alt")
        for output in cell.get("outputs", []):
            png = output.get("data", {}).get("image/png")
            if png and alt:
                found.append(("card" in cell.metadata.get("tags", []), len(png), png, alt))
    if not found:
        return None
    *_, png, alt = max(found, key=lambda each: each[:2])
    return base64.b64decode(png), alt


def thumbnail(png: bytes) -> bytes:
    """Shrink a figure onto a white card, as WebP."""
    figure = Image.open(io.BytesIO(png)).convert("RGB")
    figure.thumbnail((CARD_WIDTH, CARD_HEIGHT), Image.Resampling.LANCZOS)
    card = Image.new("RGB", (CARD_WIDTH, CARD_HEIGHT), "white")
    card.paste(figure, ((CARD_WIDTH - figure.width) // 2, (CARD_HEIGHT - figure.height) // 2))
    file = io.BytesIO()
    card.save(file, "WEBP", quality=70, method=6)
    return file.getvalue()


# ---- The parts ------------------------------------------------------------------------------------------------------


def film(app, _) -> str:
    """Four faces out of noise, and the button that runs their network in the page."""
    from ddpm_lib.explorer.widgets import Denoiser  # late: it imports Keras

    about = json.loads((pathlib.Path(app.srcdir) / "book/_static/landing_film.json").read_text("utf8"))
    chosen = {key: about[key] for key in ("sampler", "variance", "num_steps")}
    panel = Denoiser(about["model"], seed=about["seeds"][0], **chosen)
    settings = {"name": panel.name} | {key: getattr(panel, key) for key in panel.settings}
    settings |= {key: json.dumps(getattr(panel, key)) for key in panel.data}
    megabytes = 4 / 3 * panel.models[about["model"]]["bytes"] / 1e6  # in base64
    seeds, steps = about["seeds"], about["num_steps"]
    alt = f"A film of {steps} steps: four squares of coloured noise become four small portraits of people."
    return f"""\
<figure class="film" style="--frames: {about["frames"]}">
<div class="film-window"><img src="{static("landing_film.webp")}" alt="{alt}" onload="this.classList.add('runs')"></div>
<figcaption>Four faces out of noise, in {steps} steps: seeds {seeds[0]} to {seeds[-1]} of the model that comes with
the book. A drawn face shows nobody.</figcaption>
<button type="button" class="way" hidden data-element="{panel.tag}" data-settings="{html.escape(json.dumps(settings))}"
>Run the network in this page ({megabytes:.0f} MB)</button>
</figure>
"""


def ways_on(app, train: str) -> str:
    """Three buttons: the first chapter, the same in Colab, and the chapter that trains."""
    first = next(name for _, names in contents(app) for name in names if CHAPTER.fullmatch(name))
    if FOLDER + train not in app.env.titles:
        raise ValueError(f"there is no page {train}")
    options = app.config.html_theme_options
    repository = options["repository_url"].removeprefix("https://github.com/")
    colab = f"{options['launch_buttons']['colab_url']}/github/{repository}/blob/{options['repository_branch']}"
    ways = {
        "Start reading": link(first),
        "Open in Colab": f"{colab}/{first}.ipynb",
        "Train your own": link(FOLDER + train),
    }
    buttons = [f'<a class="way" href="{html.escape(address)}">{text}</a>' for text, address in ways.items()]
    return f'<p class="ways">{" ".join(buttons)}</p>\n'


def counts(app, _) -> str:
    """What is checked, in numbers: those of the ledger page, which the tests keep up to date, and the exercises."""
    ledger = " ".join((pathlib.Path(app.srcdir) / "book/ledger.md").read_text("utf8").split())
    labels, steps, mutants = re.search(
        r"(\d+) numbered equations and (\d+) steps are checked, with (\d+) known mistakes", ledger
    ).groups()
    [statements] = re.findall(r"read and evaluated, too: (\d+) statements", ledger)
    shown = [
        (labels, "numbered equations", "are read as they are printed, and evaluated"),
        (steps, "steps between them", "are checked in the same way"),
        (statements, "formulas inside sentences", "are evaluated, too"),
        (mutants, "known mistakes", "are planted, one by one; the check must notice each"),
        (len(EXERCISES), "exercises", "check your answer, and say what is probably wrong with it"),
    ]
    tiles = [f"<div><dt><b>{count}</b> {what}</dt><dd>{how}</dd></div>" for count, what, how in shown]
    return f'<dl class="counts">\n{"".join(tiles)}\n</dl>\n'


def chapter_cards(app, _) -> str:
    """A card for every page of a part with chapters; a list for the other parts."""
    parts = []
    for caption, names in contents(app):
        pages = [read_page(app, name) for name in names]
        cards = any(CHAPTER.fullmatch(name) for name in names)
        items = "".join(card(app, page) if cards else entry(page) for page in pages)
        style = "cards" if cards else "pages"
        parts.append(f'<p class="part">{html.escape(caption)}</p>\n<ul class="{style}">\n{items}</ul>\n')
    parts.append(
        f'<p class="rule">Minutes to read are counted, at {WORDS_A_MINUTE} words a minute and half a minute for each '
        "displayed equation. What a chapter takes to run is measured.</p>\n"
    )
    return "".join(parts)


def card(app, page: Page) -> str:
    """Write a chapter's card, and the file of its picture."""
    found = picture(app, page.name) if CHAPTER.fullmatch(page.name) else None
    image = ""
    if found:
        file = pathlib.Path(app.outdir) / "_static" / "cards" / f"{page.name.removeprefix(FOLDER)}.webp"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(thumbnail(found[0]))
        image = (
            f'<img src="{static("cards/" + file.name)}" alt="{html.escape(found[1])}" '
            f'width="{CARD_WIDTH}" height="{CARD_HEIGHT}" loading="lazy">\n'
        )
    run = f" · runs in {html.escape(page.time)}" if page.time else ""
    return (
        f'<li class="page-card">{image}<a href="{link(page.name)}">{html.escape(page.title)}</a>\n'
        f"<p>{html.escape(page.sentence)}</p>\n"
        f'<p class="minutes">{page.minutes} min to read{run}</p></li>\n'
    )


def entry(page: Page) -> str:
    """Write the line of a page that is no chapter."""
    return f'<li><a href="{link(page.name)}">{html.escape(page.title)}</a>: {html.escape(page.sentence)}</li>\n'


def link(name: str) -> str:
    """Return the address of a page, seen from the landing page, which lies in the same folder."""
    return f"{name.removeprefix(FOLDER)}.html"


def static(name: str) -> str:
    """Return the address of a static file, seen from the landing page."""
    return f"../_static/{name}"


PARTS = {"landing-film": film, "ways-on": ways_on, "counts": counts, "chapter-cards": chapter_cards}
