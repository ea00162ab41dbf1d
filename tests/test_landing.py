"""The landing page: its film, the network behind it, its counts and its cards, against where they come from."""

import gzip
import json
import re
import sys

import numpy as np
import pytest
import yaml
from bs4 import BeautifulSoup
from PIL import Image

from ddpm_lib import checkpoints, images, sampling
from ddpm_lib.exercises import EXERCISES
from tests.conftest import ROOT
from tests.ledger import CHECKS
from tests.ledger.displays import displays

sys.path.insert(0, str(ROOT / "book" / "_ext"))
import landing as cards

STATIC = ROOT / "book" / "_static"
ABOUT = json.loads((STATIC / "landing_film.json").read_text("utf8"))
PANEL = "document.querySelector('ddpm-denoiser')"


def last_frame():
    """The faces at the film's end, as (4, H, W, 3) uint8."""
    strip = np.asarray(Image.open(STATIC / "landing_film.webp").convert("RGB"))
    frame = strip.reshape(ABOUT["frames"], -1, *strip.shape[1:])[-1]
    half = len(frame) // 2
    return np.stack([frame[y : y + half, x : x + half] for y in (0, half) for x in (0, half)])


@pytest.fixture(scope="module")
def landing(built_book):
    return BeautifulSoup((built_book / "book" / "intro.html").read_text("utf8"), "html.parser")


@pytest.fixture
def visit(built_book, chromium):
    """Open the landing page without a network; at the end nothing may have gone wrong in it."""
    contexts, complaints = [], []

    def open_page(width=1280, height=850, **options):
        context = chromium.new_context(viewport={"width": width, "height": height}, **options)
        contexts.append(context)
        context.set_offline(True)
        page = context.new_page()
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("console", lambda message: message.type == "error" and complaints.append(message.text))
        page.asked = []
        page.on("request", lambda request: page.asked.append(request.url))
        page.goto((built_book / "book" / "intro.html").as_uri())
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert not complaints


# ---- The film --------------------------------------------------------------------------------------------------------


def test_film_is_that_of_the_shipped_model():
    shipped = checkpoints.shipped_models()[ABOUT["model"]]
    assert ABOUT["sha256"] == shipped["sha256"], "run `python book/_tools/landing_film.py`"
    assert (STATIC / "landing_film.webp").stat().st_size < 400_000
    with Image.open(STATIC / "landing_film.webp") as strip:
        assert strip.height == strip.width * ABOUT["frames"] == strip.width * (ABOUT["num_steps"] + 1)


@pytest.fixture(scope="module")
def faces():
    """What the library draws for the film's seeds: (4, H, W, 3) uint8."""
    model = checkpoints.load(ABOUT["model"])
    options = {key: ABOUT[key] for key in ("num_steps", "variance")}
    drawn = sampling.sample_images(model, sampling.ddpm_sample, ABOUT["seeds"], **options)
    return images.to_uint8(drawn).astype(int)


@pytest.mark.slow
def test_film_ends_with_the_faces_of_generate(faces):
    """But for what compression takes: seven shades in the mean square, less than an eye sees."""
    assert np.sqrt(np.mean((faces - last_frame()) ** 2)) < 7


def test_film_runs_once_and_stands_still_for_those_who_want_it(visit):
    name = "() => getComputedStyle(document.querySelector('.film-window img.runs')).animationName"
    assert visit().evaluate(name) == "out-of-noise"
    still = visit(reduced_motion="reduce")
    assert still.evaluate(name) == "none"
    last = "() => getComputedStyle(document.querySelector('.film-window img')).objectPosition"
    assert still.evaluate(last) == "50% 100%"


# ---- The network in the page ----------------------------------------------------------------------------------------


def test_network_is_loaded_when_pressed_and_draws_the_same_faces(visit, faces):
    page = visit()
    page.wait_for_timeout(500)
    assert not [url for url in page.asked if re.search(r"explorers\.js|models/|mathjax", url)]
    page.get_by_role("button", name="Run the network in this page").click()
    page.wait_for_function(f"() => {PANEL}?.walk?.newest?.done === {ABOUT['num_steps']}", timeout=300_000)
    shown = page.evaluate(f"() => Array.from({PANEL}.walk.moments.at(-1).x)")
    assert np.abs(np.reshape(shown, faces.shape) - faces).max() <= 2
    assert page.locator("button[data-element]").count() == 0


def test_page_is_light(visit, built_book):
    page = visit()
    page.mouse.wheel(0, 20_000)
    page.wait_for_timeout(1000)
    files = {url.partition("?")[0] for url in page.asked if url.startswith("file:")}
    paths = [built_book / url.partition(built_book.as_uri() + "/")[2] for url in files]
    assert any(path.parent.name == "cards" for path in paths)
    assert sum(map(transferred, paths)) < 1.5e6


def transferred(path):
    """The bytes of a file as web servers send it: text is compressed."""
    content = path.read_bytes()
    return len(gzip.compress(content) if path.suffix in {".html", ".css", ".js", ".svg"} else content)


# ---- Taken from elsewhere -------------------------------------------------------------------------------------------


def test_counts_are_those_of_the_tests(landing):
    shown = {re.sub(r"[\d ]+", "", tile.text): int(tile.b.text) for tile in landing.select(".counts dt")}
    found = displays()
    numbered = sum(not display.is_step for display in found)
    assert shown["numberedequations"] == numbered
    assert shown["stepsbetweenthem"] == len(found) - numbered
    assert shown["knownmistakes"] == sum(len(check.mutants) for check in CHECKS.values())
    assert shown["exercises"] == len(EXERCISES)
    assert shown["formulasinsidesentences"] > 0  # the ledger's page is compared with the chapters elsewhere


def test_every_page_of_the_contents_is_shown(landing, built_book):
    table = yaml.safe_load((ROOT / "_toc.yml").read_text("utf8"))
    pages = [chapter["file"].partition("/")[2] for part in table["parts"] for chapter in part["chapters"]]
    links = landing.select(".cards a, .pages a")
    assert [link["href"] for link in links] == [f"{name}.html" for name in pages]
    assert [part["caption"] for part in table["parts"]] == [tag.text for tag in landing.select(".part")]
    for link in links:
        shown = link.find_parent("li").text
        assert link.text and len(shown) > len(link.text) + 30
        if link["href"][0].isdigit():
            card = link.find_parent("li")
            text = (ROOT / "book" / link["href"]).with_suffix(".md").read_text("utf8")
            assert link.text == re.search(r"^# (.+)$", text, re.MULTILINE)[1]
            assert " min to read · runs in " in card.select_one(".minutes").text
            drawn = '"image/png"' in (ROOT / "book" / link["href"]).with_suffix(".ipynb").read_text("utf8")
            assert bool(card.img) == drawn
            assert not drawn or (built_book / "book" / card.img["src"]).stat().st_size < 60_000


def test_ways_on(landing, built_book):
    ways = {way.text: way["href"] for way in landing.select(".ways a")}
    assert list(ways) == ["Start reading", "Open in Colab", "Train your own"]
    for name in ("Start reading", "Train your own"):
        assert (built_book / "book" / ways[name]).exists()
    assert ways["Open in Colab"].endswith(f"/book/{ways['Start reading'].replace('.html', '.ipynb')}")


def test_reading_time_counts_words_and_equations():
    nodes = cards.nodes
    page = nodes.section("", nodes.paragraph(text="word " * 600), nodes.literal_block(text="code " * 600))
    assert cards.minutes_to_read(page) == 4
    page += [nodes.math_block(text="x") for _ in range(6)]
    assert cards.minutes_to_read(page) == 7
    assert cards.first_sentence("about twenty seconds on two cores. No GPU.") == "about twenty seconds on two cores"


# ---- For people -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("width", [390, 1280])
def test_accessible_in_both_themes_and_widths(visit, theme, width):
    axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="axe-playwright-python is not installed")
    page = visit(width=width, color_scheme=theme, reduced_motion="reduce")
    page.wait_for_timeout(300)
    assert page.evaluate("() => document.documentElement.dataset.theme") == theme
    found = axe.Axe().run(page, options={"preload": False})
    serious = [each for each in found.response["violations"] if each["impact"] in ("serious", "critical")]
    assert not serious, found.generate_report()


def test_first_screen_of_a_phone_and_a_desktop(visit):
    """What it is, four faces, and three ways on are seen before anything is scrolled."""
    for width, height in ((390, 844), (1280, 850)):
        page = visit(width=width, height=height)
        for seen in (".hero-words p", ".ways a >> nth=2", ".film-window"):
            box = page.locator(seen).first.bounding_box()
            assert box["y"] >= 0 and box["y"] + box["height"] <= height, (seen, width)
