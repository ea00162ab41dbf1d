"""The panel of training in the page: its controls, its address, and who can use it."""

import pytest

from ddpm_lib.explorer import TrainingExplorer
from ddpm_lib.explorer.points import SHAPES
from tests.pages import no_long_task, render

ELEMENT = "document.querySelector('ddpm-training-explorer')"
SHORT = "?training.num_steps=100"


def frames(page):
    page.evaluate("() => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))")


def pixels(page, place):
    frames(page)
    return page.locator("canvas").nth(place).evaluate("(canvas) => canvas.toDataURL()")


def readings(page):
    frames(page)
    return page.evaluate(f"() => {ELEMENT}.readings")


def done_and_points(page):
    found = readings(page)
    return found["done"], found["points"]


def press(page, name):
    page.get_by_role("button", name=name, exact=True).click()


def finished(page):
    page.wait_for_function(
        f"() => {ELEMENT}.runs[{ELEMENT}.settings.target].measured && !{ELEMENT}.running", timeout=300_000
    )


def table(page):
    """The table's rows as {label: cells}."""
    frames(page)
    rows = page.locator("tbody tr").all()
    return {row.locator("th").text_content(): row.locator("td").all_text_contents() for row in rows}


# ---- Training --------------------------------------------------------------------------------------------------------


def test_it_begins_with_points_and_learns_when_asked(visit):
    page = visit(SHORT)
    assert done_and_points(page) == (0, 48) and not page.evaluate(f"() => Boolean({ELEMENT}.worker)")
    assert {cell for row in table(page).values() for cell in row} == {"–"}
    before = [pixels(page, place) for place in range(4)]
    press(page, "Train")
    finished(page)
    found = readings(page)
    assert found["done"] == 100 and page.get_by_role("progressbar").evaluate("(bar) => bar.value") == 100
    limits = page.evaluate(f"() => {ELEMENT}.lesson.compare.limits.noise")
    assert limits["exact"] < found["loss"] < 0.6 * limits["silent"]
    rows = table(page)
    assert list(rows) == ["no network", "x₀", "noise", "v", "exact"]
    assert rows["exact"][:4] == ["0"] * 4 and rows["x₀"] == rows["v"] == ["–"] * 5
    assert float(rows["noise"][4]) < float(rows["no network"][4])
    after = [pixels(page, place) for place in range(4)]
    assert [a != b for a, b in zip(before, after, strict=True)] == [True, False, True, True]
    page.locator("[role=status]", has_text="noise: step 100 of 100, loss").wait_for(state="attached")
    assert "Distance of the samples" in page.locator("[role=status]").text_content()


def test_one_step_stop_and_go_on(visit):
    page = visit("?training.num_steps=5000")
    press(page, "One step")
    finished(page)
    assert readings(page)["done"] == 1
    page.get_by_role("button", name="Train", exact=True).press("Enter")
    page.wait_for_function(f"() => {ELEMENT}.runs.noise.done > 20")
    page.get_by_role("button", name="Stop", exact=True).press("Enter")
    page.wait_for_function(f"() => {ELEMENT}.runs.noise.measured.done === {ELEMENT}.runs.noise.done")
    stopped = readings(page)["done"]
    page.wait_for_timeout(500)
    assert readings(page)["done"] == stopped < 5000
    press(page, "One step")
    page.wait_for_function(f"() => {ELEMENT}.runs.noise.done === {stopped + 1}")


def test_all_three_with_the_same_start_and_again_with_another_seed(visit):
    page = visit(SHORT + "&training.target=v")
    press(page, "All three")
    page.wait_for_function(
        f"() => Object.values({ELEMENT}.runs).every((run) => run.measured?.done === 100) && !{ELEMENT}.running",
        timeout=300_000,
    )
    rows = table(page)
    assert all(cell != "–" for row in rows.values() for cell in row)
    expected = page.evaluate(
        """(points) => {
          const lesson = ddpmExplorers.makeLesson({ points, seed: 0, num_steps: 100 });
          return ["x_0", "noise", "v"].map((target) =>
            [lesson.train(target, 100).losses, lesson.measure(target).distance]);
        }""",
        SHAPES["moons"].tolist(),
    )
    runs = f"Object.values({ELEMENT}.runs).map((run) => [run.losses, run.measured.distance])"
    assert page.evaluate(f"() => {runs}") == expected
    page.locator("input[name=error][value=image]").check(force=True)
    assert table(page)["v"][:4] != rows["v"][:4] and table(page)["v"][4] == rows["v"][4]
    press(page, "Another seed")
    page.wait_for_function(
        f"() => {ELEMENT}.settings.seed === 1 && {ELEMENT}.runs.v.measured && !{ELEMENT}.running", timeout=300_000
    )
    assert page.evaluate(f"() => {runs}") != expected
    page.wait_for_url("**training.seed=1**")


def test_a_finished_run_can_be_watched_again(visit):
    page = visit(SHORT)
    press(page, "Train")
    finished(page)
    first = page.evaluate(f"() => {ELEMENT}.runs.noise.losses")
    press(page, "Train")
    finished(page)
    assert page.evaluate(f"() => {ELEMENT}.runs.noise.losses") == first


def test_target_and_step_change_what_is_shown_not_what_was_learned(visit):
    page = visit(SHORT)
    press(page, "Train")
    finished(page)
    learned = pixels(page, 2)
    exact = pixels(page, 1)
    page.get_by_role("slider", name="fields at t").press("Home")
    assert pixels(page, 1) != exact and pixels(page, 2) != learned
    page.evaluate(f"() => {ELEMENT}.change({{ t: 50 }})")
    assert (pixels(page, 1), pixels(page, 2)) == (exact, learned)
    page.locator("input[name=target][value=v]").check(force=True)
    assert readings(page)["done"] == 0 and pixels(page, 2) != learned
    page.locator("input[name=target][value=noise]").check(force=True)
    assert readings(page)["done"] == 100 and pixels(page, 2) == learned


def test_setting_changed_in_the_middle_begins_anew(visit):
    page = visit("?training.num_steps=5000")
    press(page, "All three")
    page.wait_for_function(f"() => {ELEMENT}.runs.x_0.done > 0")
    press(page, "Ring")
    assert done_and_points(page) == (0, 36)
    page.wait_for_timeout(500)
    assert readings(page)["done"] == 0 and page.locator(".warn").is_hidden()
    page.evaluate(f"() => {ELEMENT}.change({{ num_steps: 100 }})")
    press(page, "Train")
    finished(page)
    assert readings(page)["measured"]["done"] == 100


# ---- Drawing ---------------------------------------------------------------------------------------------------------


def points(page):
    return page.evaluate(f"() => {ELEMENT}.pad.points")


def test_points_are_drawn_with_the_mouse(visit):
    page = visit(SHORT)
    press(page, "One step")
    finished(page)
    press(page, "Clear")
    assert done_and_points(page) == (0, 0)
    press(page, "Train")
    assert "no points to learn" in page.locator(".warn").text_content()
    box = page.locator("canvas.paper").bounding_box()
    page.mouse.move(box["x"] + 0.25 * box["width"], box["y"] + 0.5 * box["height"])
    page.mouse.down()
    page.mouse.move(box["x"] + 0.75 * box["width"], box["y"] + 0.25 * box["height"], steps=20)
    page.mouse.up()
    page.mouse.move(box["x"] + 1, box["y"] + 1)
    drawn = points(page)
    assert 10 < len(drawn) < 30 and page.locator(".warn").is_hidden()
    assert drawn[0] == pytest.approx([-1.3, 0], abs=0.05) and drawn[-1] == pytest.approx([1.3, 1.3], abs=0.15)
    press(page, "Train")
    finished(page)
    assert readings(page)["measured"]["distance"] < 1


def test_points_are_drawn_with_a_finger(visit):
    page = visit(SHORT, width=390, has_touch=True)
    press(page, "Clear")
    box = page.locator("canvas.paper").bounding_box()
    page.touchscreen.tap(box["x"] + 0.5 * box["width"], box["y"] + 0.5 * box["height"])
    assert points(page) == [pytest.approx([0, 0], abs=0.05)]


def test_points_are_set_by_keys(visit):
    page = visit(SHORT)
    press(page, "Clear")
    empty = pixels(page, 0)
    pad = page.locator("canvas.paper")
    page.keyboard.press("Tab")
    pad.focus()
    page.keyboard.press("ArrowRight")
    page.keyboard.press("Space")
    page.keyboard.press("Shift+ArrowUp")
    page.keyboard.press("Enter")
    assert points(page) == [[0.1, 0], [0.1, 0.5]]
    assert pixels(page, 0) != empty
    page.keyboard.press("Backspace")
    assert points(page) == [[0.1, 0]]
    page.locator("[role=status]", has_text="1 points").wait_for(state="attached")
    assert pad.get_attribute("aria-label").startswith("1 points. Draw here.")
    press(page, "Reset")
    assert points(page) == SHAPES["moons"].tolist()


def test_number_of_points_has_a_limit(visit):
    page = visit()
    page.evaluate(f"() => {{ for (let i = 0; i < 400; i++) {ELEMENT}.pad.add([Math.sin(i), 0.5]); }}")
    assert len(points(page)) == 300


# ---- The address -----------------------------------------------------------------------------------------------------


def test_address_round_trips(visit):
    page = visit()
    page.evaluate(f"() => {ELEMENT}.change({{ shape: 'spiral', target: 'x_0', seed: 4, t: 30, error: 'image' }})")
    page.wait_for_url("**training.error=image**")
    again = visit(page.url[page.url.index("?") :])
    assert readings(again)["points"] == 60
    assert [pixels(again, place) for place in range(2)] == [pixels(page, place) for place in range(2)]
    assert again.evaluate(f"() => {ELEMENT}.settings") == page.evaluate(f"() => {ELEMENT}.settings")
    press(again, "Reset")
    again.wait_for_url("**training.html")


# ---- For people ------------------------------------------------------------------------------------------------------


def test_the_page_is_never_held_up(visit, chromium):
    page = visit("?training.shape=spiral")
    with no_long_task(chromium, page):
        press(page, "Train")
        finished(page)
        page.get_by_role("slider", name="fields at t").press("PageUp")
        frames(page)


def test_with_reduced_motion_only_start_and_end_are_drawn(visit):
    page = visit(SHORT, reduced_motion="reduce")
    frames(page)
    page.evaluate(
        f"""() => {{
          const element = {ELEMENT}, paint = element.pad.paint;
          element.drawn = new Set();
          element.pad.paint = (...given) => {{
            element.drawn.add(element.runs.noise.done);
            paint.apply(element.pad, given);
          }};
        }}"""
    )
    press(page, "Train")
    finished(page)
    frames(page)
    assert page.evaluate(f"() => [...{ELEMENT}.drawn]") in ([0, 100], [100])


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("width", [390, 800])
def test_accessible_in_both_themes_and_widths(visit, theme, width):
    axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="axe-playwright-python is not installed")
    page = visit(SHORT, width=width)
    page.evaluate("(theme) => { document.documentElement.dataset.theme = theme; }", theme)
    if theme == "dark":
        page.add_style_tag(content="body { background: #14181e; color: #fff; }")
    for state in ("fresh", "trained", "warned"):
        if state == "trained":
            press(page, "Train")
            finished(page)
        elif state == "warned":
            press(page, "Clear")
            press(page, "Train")
        page.wait_for_timeout(100)
        found = axe.Axe().run(page)
        assert not found.response["violations"], found.generate_report()
        assert page.evaluate("() => document.documentElement.scrollWidth") <= width


def test_every_control_is_reached_by_keyboard_and_named(visit):
    page = visit()
    for _ in range(14):
        page.keyboard.press("Tab")
        focused = "document.activeElement.shadowRoot?.activeElement"
        assert page.evaluate(f"() => {focused} && getComputedStyle({focused}).display !== 'none'")
    for role, name in [("slider", "steps"), ("slider", "fields at t"), ("radio", "x₀"), ("radio", "error of x₀")]:
        assert page.get_by_role(role, name=name, exact=True).count() == 1
    assert page.get_by_role("application").get_attribute("aria-label").startswith("48 points. Draw here.")


def test_a_worker_that_cannot_start_is_said_so(visit):
    page = visit(init="globalThis.Worker = class { constructor() { throw new Error('no workers here'); } }")
    press(page, "Train")
    page.locator(".warn", has_text="no workers here").wait_for()
    assert page.get_by_role("button", name="Train", exact=True).is_visible()


def test_without_scripts_a_figure_and_a_sentence_stand_there(visit):
    page = visit(java_script_enabled=False)
    image = page.locator("img:visible")
    assert image.count() == 1 and image.evaluate("(image) => image.naturalWidth") > 600
    assert image.get_attribute("alt").startswith("48 points, and the exact denoiser")
    assert page.get_by_text("A still picture of an interactive figure").is_visible()


def test_widget_follows_its_model(visit):
    page = visit()
    render(page, TrainingExplorer([[0.5, 0.5], [-1, 0]], num_steps=100, target="v"))
    assert points(page) == [[0.5, 0.5], [-1, 0]]
    press(page, "Train")
    finished(page)
    assert readings(page)["measured"]["distance"] < 0.5
    page.get_by_role("slider", name="fields at t").press("End")
    page.wait_for_function("() => window.model.values.t === 1000")
