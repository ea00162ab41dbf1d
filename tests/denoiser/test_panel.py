"""The panel of the denoiser in the page, in a real browser: its controls, its address, and who can use it."""

import base64

import numpy as np
import pytest

from ddpm_lib.explorer import Denoiser
from ddpm_lib.images import save_png
from tests.conftest import ROOT
from tests.denoiser.models import ELEMENT, finish, walk
from tests.pages import no_long_task

# ---- The panel -------------------------------------------------------------------------------------------------------


def state(page):
    """Where the walk is: (steps done, steps in all), and whether it goes on."""
    return page.evaluate(
        f"() => {{ const {{ walk, running }} = {ELEMENT}; return [walk.newest.done, walk.count, Boolean(running)]; }}"
    )


def pixels(page, place):
    page.evaluate("() => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))")
    return page.locator("canvas").nth(place).evaluate("(canvas) => canvas.toDataURL()")


def test_nothing_is_loaded_before_the_button(visit):
    page = visit()
    asked = []
    page.on("request", lambda request: asked.append(request.url.rsplit("/")[-1]))
    page.wait_for_timeout(300)
    assert not asked and "has not been loaded: 1.9 MB" in page.locator(".line").text_content()
    page.get_by_role("button", name="One step").click()
    page.wait_for_function(f"() => {ELEMENT}.walk?.newest?.done === 1")
    assert [name for name in asked if name.endswith(".js")] == ["digits.js"]


def test_one_step_stop_go_on_and_look_back(visit):
    page = visit(query="?denoiser.num_steps=200&denoiser.sampler=ddpm")
    page.get_by_role("button", name="One step").click()
    page.wait_for_function(f"() => {ELEMENT}.walk?.newest?.done === 1 && !{ELEMENT}.running")
    first = pixels(page, 0)
    assert state(page) == [1, 200, False] and "step 1 of 200" in page.locator(".line").text_content()
    page.get_by_role("button", name="Denoise").press("Enter")
    page.wait_for_function(f"() => {ELEMENT}.walk.newest.done > 3")
    page.get_by_role("button", name="Stop").press("Enter")
    page.locator("[role=status]", has_text="digits: step").wait_for(state="attached")
    page.wait_for_timeout(1000)
    stopped = state(page)
    page.wait_for_timeout(500)
    assert state(page) == stopped and 3 < stopped[0] < 200
    assert page.get_by_role("progressbar").evaluate("(bar) => bar.value") == stopped[0]
    assert (
        page.locator("[role=status]").text_content() == f"digits: step {stopped[0]} of 200, t {1000 - 5 * stopped[0]}."
    )
    back = page.get_by_role("slider", name="step looked at")
    back.press("Home")
    back.press("ArrowRight")
    assert pixels(page, 0) == first and state(page) == stopped
    page.evaluate(f"() => {ELEMENT}.change({{ num_steps: 5 }})")
    page.get_by_role("button", name="Denoise").click()
    page.wait_for_function(f"() => {ELEMENT}.walk.newest?.done === 5")


def test_another_seed_and_the_address(visit):
    page = visit(query="?denoiser.num_steps=2&denoiser.seed=7&denoiser.images=1&denoiser.eta=0.5")
    page.get_by_role("button", name="Another seed").click()
    page.wait_for_function(f"() => {ELEMENT}.walk?.newest?.done === 2 && !{ELEMENT}.running")
    page.wait_for_url("**denoiser.seed=8**")
    shown = pixels(page, 0)
    again = visit(query=page.url[page.url.index("?") :])
    assert again.get_by_role("spinbutton", name="seed").input_value() == "8"
    again.get_by_role("button", name="Denoise").click()
    again.wait_for_function(f"() => {ELEMENT}.walk?.newest?.done === 2 && !{ELEMENT}.running")
    assert pixels(again, 0) == shown
    again.get_by_role("button", name="Reset").click()
    again.wait_for_url("**denoiser.html")


def test_a_file_of_the_readers_own(visit, models):
    page = visit(query="?denoiser.num_steps=3&denoiser.images=1")
    page.get_by_label("Your own…").set_input_files(models["sigmoid"])
    page.wait_for_function(f"() => {ELEMENT}.walk?.newest?.done === 3 && !{ELEMENT}.running")
    assert page.evaluate(f"() => {ELEMENT}.walk.shape") == [16, 16, 1]
    page.get_by_label("Your own…").set_input_files(ROOT / "data" / "checkpoints" / "manifest.json")
    page.locator(".warn").wait_for()
    assert "no file of ddpm export" in page.locator(".warn").text_content()


def test_a_model_that_is_not_there_is_said_so_and_asked_for_again(visit, folder):
    page, file = visit(query="?denoiser.images=1&denoiser.num_steps=1", missing=True), folder / "models" / "digits.js"
    away = file.rename(file.with_suffix(".away"))
    try:
        page.get_by_role("button", name="Denoise").click()
        page.locator(".warn").wait_for()
        assert "digits could not be loaded" in page.locator(".warn").text_content()
    finally:
        away.rename(file)
    page.get_by_role("button", name="Denoise").click()
    page.wait_for_function(f"() => {ELEMENT}.walk?.newest?.done === 1")
    assert page.locator(".warn").is_hidden()


def test_the_page_is_never_held_up(visit, chromium):
    page = visit()
    with no_long_task(chromium, page):  # reading the images would be a task of the test's
        finish(page, model="faces", images="4", sampler="ddpm", num_steps=5)


def test_with_reduced_motion_only_noise_and_end_are_drawn(visit):
    page = visit(reduced_motion="reduce")
    page.evaluate(
        f"""() => {{
          const element = {ELEMENT}, paint = element.paint;
          element.drawn = new Set();
          element.paint = (...given) => {{
            element.drawn.add(element.walk.newest.done);
            paint.apply(element, given);
          }};
        }}"""
    )
    walk(page, model="digits", num_steps=10)
    pixels(page, 0)
    assert page.evaluate(f"() => [...{ELEMENT}.drawn]") in ([0, 10], [10])


# ---- Painting --------------------------------------------------------------------------------------------------------


def test_it_runs_when_the_pen_lifts(visit, tmp_path):
    page = visit(query="?denoiser.start=painting&denoiser.num_steps=5&denoiser.images=1&denoiser.strength=0.6")
    page.get_by_role("button", name="Denoise").click()
    page.wait_for_function(f"() => {ELEMENT}.walk?.newest?.done === 3 && !{ELEMENT}.running")
    first = pixels(page, 1)
    box = page.locator("canvas.paper").bounding_box()
    page.mouse.move(box["x"] + 20, box["y"] + 20)
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] - 20, box["y"] + box["height"] - 20, steps=5)
    page.mouse.up()
    page.wait_for_function(f"() => {ELEMENT}.walk?.newest?.done === 3 && !{ELEMENT}.running")
    assert pixels(page, 1) != first
    page.get_by_role("button", name="Example").click()  # by keyboard or mouse: the painting from the beginning
    page.wait_for_function(f"() => {ELEMENT}.walk?.newest?.done === 3 && !{ELEMENT}.running")
    assert pixels(page, 1) == first
    save_png(tmp_path / "white.png", np.full((40, 60, 3), 255, "uint8"))
    page.get_by_label("Picture…").set_input_files(tmp_path / "white.png")
    page.wait_for_function(f"() => Math.min(...{ELEMENT}.paper.values([16, 16, 1])) === 1")
    page.wait_for_function(f"() => {ELEMENT}.walk?.newest?.done === 3 && !{ELEMENT}.running")
    page.get_by_label("Picture…").set_input_files(ROOT / "_toc.yml")
    page.locator(".warn").wait_for()
    assert "cannot read the picture" in page.locator(".warn").text_content()


def test_a_large_picture_is_averaged(visit, tmp_path):
    """Black and white by chance is grey from afar: the mean of 140 pixels strays by 0.09, that of four by 0.5."""
    page = visit(query="?denoiser.start=painting")
    black_and_white = np.random.default_rng(0).integers(0, 2, (1501, 2048, 1), "uint8") * 255
    save_png(tmp_path / "large.png", np.repeat(black_and_white, 3, axis=-1))
    page.get_by_label("Picture…").set_input_files(tmp_path / "large.png")
    page.wait_for_function(f"() => {ELEMENT}.paper.touched")
    values = page.evaluate(f"() => Array.from({ELEMENT}.paper.values([128, 128, 1]))")
    assert np.std(values) < 0.25 and abs(np.mean(values)) < 0.05


# ---- For people ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("width", [390, 800])
def test_accessible_in_both_themes_and_widths(visit, theme, width):
    axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="axe-playwright-python is not installed")
    page = visit(query="?denoiser.num_steps=2&denoiser.sampler=ddpm", width=width)
    page.evaluate("(theme) => { document.documentElement.dataset.theme = theme; }", theme)
    if theme == "dark":
        page.add_style_tag(content="body { background: #14181e; color: #fff; }")
    for start in (None, "noise", "painting"):
        if start:
            page.evaluate(f"(start) => {ELEMENT}.change({{ start }})", start)
            page.get_by_role("button", name="Denoise").click()
            page.wait_for_function(f"() => {ELEMENT}.walk?.newest?.done > 0 && !{ELEMENT}.running")
        page.wait_for_timeout(100)
        found = axe.Axe().run(page)
        assert not found.response["violations"], found.generate_report()
        assert page.evaluate("() => document.documentElement.scrollWidth") <= width


@pytest.mark.parametrize("scripts", [True, False])
def test_a_picture_stands_there_first(visit, scripts):
    page = visit("still", java_script_enabled=scripts)
    image = page.locator("img:visible")
    assert image.count() == 1 and image.evaluate("(image) => image.naturalWidth") > 600
    assert "Six moments on the way from noise" in image.get_attribute("alt")
    assert page.get_by_text("A still picture of an interactive figure").is_visible() != scripts


def test_widget_takes_the_file_from_its_kernel(visit, models):
    """What anywidget does: import the module's text, render a model, and pass messages on."""
    page = visit()
    page.goto("about:blank")
    traits = Denoiser("digits", num_steps=2, images="1")
    sent = []
    traits.send = lambda content, buffers=None: sent.append((content, buffers))
    traits._send_model(None, {"model": "digits"}, [])
    traits._send_model(None, {"model": "../secret"}, [])
    assert sent[0] == ({"model": "digits"}, [models["digits"].read_bytes()])
    assert sent[1] == ({"model": "../secret", "error": "there is no model ../secret"}, None)
    page.evaluate(
        """async ([text, traits, file]) => {
          const module = await import(URL.createObjectURL(new Blob([text], { type: "text/javascript" })));
          const bytes = Uint8Array.from(atob(file), (letter) => letter.charCodeAt(0));
          let hear;
          const model = {
            get: (key) => traits[key], set() {}, save_changes() {}, off() {},
            on: (name, act) => { if (name === "msg:custom") hear = act; },
            send: (content) => setTimeout(() => hear(content, [new DataView(bytes.buffer)])),
          };
          module.default.render({ el: document.body, model });
        }""",
        [
            traits._esm,
            {key: getattr(traits, key) for key in (*traits.settings, *traits.data)},
            base64.b64encode(models["digits"].read_bytes()).decode(),
        ],
    )
    page.get_by_role("button", name="Denoise").click()
    page.wait_for_function(f"() => {ELEMENT}.walk?.newest?.done === 2")
