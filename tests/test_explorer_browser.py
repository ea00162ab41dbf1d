"""The explorers in a real browser, with the network blocked: their numbers, their controls, and who can use them."""

import functools
import http.server
import itertools
import threading

import numpy as np
import pytest

from ddpm_lib import cost, sampling
from ddpm_lib.config import PRESETS
from ddpm_lib.explorer import (
    TARGETS,
    CostExplorer,
    ReverseExplorer,
    SamplersExplorer,
    ScheduleExplorer,
    pictures,
    prior_kl,
)
from ddpm_lib.explorer.costs import device_numbers
from ddpm_lib.explorer.numbers import TERMINAL_ALPHA_BAR_LIMIT
from ddpm_lib.schedules import build_schedule, timestep_subsequence
from tests.pages import render, write_pages


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder with pages and the script, as the book has them."""
    bodies = {
        "schedule": ScheduleExplorer().to_html(),
        "reverse": ReverseExplorer().to_html(),
        "samplers": SamplersExplorer().to_html(),
        "cost": CostExplorer().to_html(),
        "many": ScheduleExplorer().to_html()
        + ScheduleExplorer("cosine").to_html()
        + ReverseExplorer("moons").to_html()
        + SamplersExplorer().to_html()
        + CostExplorer().to_html(),
    }
    return write_pages(tmp_path_factory.mktemp("pages"), bodies)


@pytest.fixture(scope="module")
def addresses(folder):
    """The folder over file:// and over http."""
    handler = functools.partial(QuietHandler, directory=folder)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield {"file": folder.as_uri(), "http": f"http://127.0.0.1:{server.server_port}"}
        server.shutdown()


class QuietHandler(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *arguments):
        pass


@pytest.fixture
def visit(chromium, addresses):
    """Open a page; at the end nothing may have been said on the console or asked of the network."""
    contexts, complaints = [], []

    def open_page(name, query="", scheme="file", width=800, **options):
        context = chromium.new_context(viewport={"width": width, "height": 900}, **options)
        contexts.append(context)
        page = context.new_page()

        def route(request):
            if request.request.url.startswith((addresses[scheme], "blob:")):
                request.continue_()
            else:
                complaints.append(f"asked for {request.request.url}")
                request.abort()

        context.route("**/*", route)
        page.on("console", lambda message: complaints.append(message.text))
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.goto(f"{addresses[scheme]}/{name}.html{query}")
        if options.get("java_script_enabled", True):
            page.wait_for_function(f"[...document.querySelectorAll('{ANY}')].every((e) => e.readings?.alpha_bar)")
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert not complaints


ANY = "ddpm-schedule-explorer, ddpm-reverse-explorer"
SIDE = "ddpm-samplers-explorer"


def readings(page, place=0):
    """The numbers as they are, before rounding, once the page has drawn them."""
    page.evaluate("() => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))")
    return page.evaluate(f"() => document.querySelectorAll('{ANY}')[{place}].readings")


def setting(page, place=0):
    return page.evaluate(f"() => document.querySelectorAll('{ANY}')[{place}].settings")


def pixels(page):
    return page.locator("canvas").first.evaluate("(canvas) => canvas.toDataURL()")


# ---- Numbers ---------------------------------------------------------------------------------------------------------

GRID = [
    *itertools.product(["linear"], [2, 10, 100, 1000, 4000], [1e-5, 1e-4, 1e-2], [1e-3, 0.02, 0.5]),
    *itertools.product(["cosine", "sigmoid"], [2, 3, 10, 50, 100, 300, 1000, 1500, 4000], [1e-4], [0.02]),
]


def test_tables_equal_the_librarys(visit):
    page = visit("schedule")
    for kind, num_steps, beta_start, beta_end in GRID:
        settings = {"kind": kind, "num_steps": num_steps, "beta_start": beta_start, "beta_end": beta_end}
        found = page.evaluate(
            "(settings) => Object.values(ddpmExplorers.schedule(settings)).map((table) => Array.from(table))", settings
        )
        schedule = build_schedule(**settings)
        expected = [schedule.betas, schedule.alpha_bars, schedule.posterior_variances, schedule.snr]
        for table, other in zip(found, expected, strict=True):
            np.testing.assert_allclose(table, other, rtol=1e-9, err_msg=str(settings))


@pytest.mark.parametrize("picture", pictures.NAMES)
def test_readings_equal_the_librarys(visit, picture):
    for kind, num_steps, t in [("linear", 1000, 1), ("linear", 100, 100), ("cosine", 300, 150), ("sigmoid", 50, 49)]:
        query = "&".join(
            f"schedule.{k}={v}" for k, v in dict(kind=kind, num_steps=num_steps, t=t, picture=picture).items()
        )
        schedule = build_schedule(kind, num_steps)
        terminal = schedule.alpha_bars[-1]
        assert readings(visit("schedule", "?" + query)) == pytest.approx(
            {
                "beta": schedule.betas[t - 1],
                "alpha_bar": schedule.alpha_bars[t - 1],
                "snr": schedule.snr[t - 1],
                "posterior_variance": schedule.posterior_variances[t - 1],
                "terminal_alpha_bar": terminal,
                "prior_kl": prior_kl(terminal, pictures.picture(picture) / 127.5 - 1.0),
            },
            rel=1e-9,
        )


def test_steps_visited_are_the_librarys(visit):
    page = visit("reverse")
    for total, count in [*((1000, count) for count in range(1, 1001, 7)), (1000, 16), (50, 50), (7, 4)]:
        found = page.evaluate("([total, count]) => ddpmExplorers.visitedSteps(total, count)", [total, count])
        assert found == [*(timestep_subsequence(total, count) + 1).tolist(), 0]


OPTIONS = [
    ("ddpm", "beta", 0.0),
    ("ddpm", "posterior", 0.0),
    ("ddim", "beta", 0.0),
    ("ddim", "beta", 0.35),
    ("ddim", "beta", 1.0),
]


def page_run(page, name, sampler, variance, eta, num_steps):
    """Let the page walk to the end; return every state, from x_T on, and the noise of each step."""
    change = {
        "target": name,
        "sampler": sampler,
        "variance": variance,
        "eta": eta,
        "num_steps": num_steps,
        "step": num_steps,
    }
    page.evaluate("(change) => document.querySelector('ddpm-reverse-explorer').change(change)", change)
    page.wait_for_function(
        "(count) => document.querySelector('ddpm-reverse-explorer').run.states.length === count + 1", arg=num_steps
    )
    dimensions = TARGETS[name].means.shape[1]
    states = page.evaluate("() => document.querySelector('ddpm-reverse-explorer').run.states.map((x) => Array.from(x))")
    noise = page.evaluate(
        """([size, count]) => Array.from({ length: count },
          (_, step) => Array.from(ddpmExplorers.gaussians(size, 100 + step)))""",
        [1000 * dimensions, num_steps],
    )
    return np.reshape(states, (-1, 1000, dimensions)), np.reshape(noise, (-1, 1000, dimensions))


@pytest.mark.parametrize(("sampler", "variance", "eta"), OPTIONS)
@pytest.mark.parametrize("name", TARGETS)
def test_walk_equals_an_independent_one(visit, name, sampler, variance, eta):
    """The formulas of the papers once more, in another form: posteriors by adding precisions, DDIM's Eq. 12 and 16."""
    states, noise = page_run(visit("reverse"), name, sampler, variance, eta, 12)
    means, weights, deviation = TARGETS[name].means, TARGETS[name].weights, TARGETS[name].deviation
    alpha_bars = np.append(1.0, np.cumprod(1 - np.linspace(1e-4, 0.02, 1000)))
    steps = [1000 - round(1000 * k / 12) for k in range(13)]
    for k, (t, s) in enumerate(itertools.pairwise(steps)):
        x, now, then = states[k], alpha_bars[t], alpha_bars[s]
        gaps = x[:, None] - np.sqrt(now) * means
        variance_t = now * deviation**2 + 1 - now
        shares = weights * np.exp(-(gaps**2).sum(2) / 2 / variance_t)
        shares /= shares.sum(1, keepdims=True)
        precision = 1 / deviation**2 + now / (1 - now)
        each = (means / deviation**2 + np.sqrt(now) * x[:, None] / (1 - now)) / precision
        x_0 = (shares[..., None] * each).sum(1)
        if sampler == "ddim":
            sigma = eta * np.sqrt((1 - then) / (1 - now)) * np.sqrt(1 - now / then)
            direction = np.sqrt(1 - then - sigma**2) * (x - np.sqrt(now) * x_0) / np.sqrt(1 - now)
            expected = np.sqrt(then) * x_0 + direction + sigma * noise[k]
        elif s == 0:
            expected = x_0
        else:
            kept = now / then
            precision = 1 / (1 - then) + kept / (1 - kept)
            mean = (np.sqrt(then) * x_0 / (1 - then) + np.sqrt(kept) * x / (1 - kept)) / precision
            expected = mean + np.sqrt(1 - kept if variance == "beta" else 1 / precision) * noise[k]
        np.testing.assert_allclose(states[k + 1], expected, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize(("sampler", "variance", "eta"), OPTIONS)
def test_walk_equals_the_librarys_samplers(visit, sampler, variance, eta):
    """The same x_T and noise through `ddpm_lib.sampling`, which computes in float32."""
    states, noise = page_run(visit("reverse"), "moons", sampler, variance, eta, 12)
    schedule = build_schedule("linear", 1000)

    def predict_noise(x_t, t):
        points = np.asarray(x_t, np.float64).reshape(-1, 2)
        return (
            TARGETS["moons"].expected_noise(points, schedule.alpha_bars[int(t[0])]).reshape(x_t.shape).astype("float32")
        )

    choice = {"variance": variance} if sampler == "ddpm" else {"eta": eta}
    sample = sampling.ddpm_sample if sampler == "ddpm" else sampling.ddim_sample
    found = sample(
        predict_noise,
        schedule,
        states[0].reshape(-1, 1, 1, 2).astype("float32"),
        num_steps=12,
        noise_fn=lambda number: noise[number].reshape(-1, 1, 1, 2).astype("float32"),
        clip=False,
        **choice,
    )
    # Near the border between two components a float32 rounding can send a point the other way.
    gap = np.abs(np.asarray(found).reshape(-1, 2) - states[-1]).max(axis=1)
    assert np.median(gap) < 1e-4 and (gap < 1e-2).mean() > 0.99


@pytest.mark.parametrize("name", TARGETS)
def test_distances_equal_the_librarys(visit, name):
    page = visit("reverse")
    states, _ = page_run(page, name, "ddim", "beta", 0.0, 10)
    for step in (0, 7, 10):
        page.evaluate("(step) => document.querySelector('ddpm-reverse-explorer').change({ step })", step)
        found = readings(page)
        expected = TARGETS[name].distance(states[step], found["alpha_bar"])
        assert found["distance"] == pytest.approx(expected, rel=1e-9)
        expected = TARGETS[name].expected_distance(1000, found["alpha_bar"])
        # Where F is almost 1, the square root of F (1 - F) turns rounding of 1e-16 into 1e-8.
        assert found["expected_distance"] == pytest.approx(expected, rel=1e-7)


# ---- Samplers side by side ------------------------------------------------------------------------------------------


def ends(page, **change):
    """Where the four runs end after a change of settings, from x_T on, and the numbers shown."""
    page.evaluate(f"(change) => document.querySelector('{SIDE}').change(change)", change)
    page.wait_for_function(
        f"""() => {{ const {{ runs, walk }} = document.querySelector('{SIDE}');
          return Object.values(runs).every((run) => run.done === walk.steps.length - 1); }}"""
    )
    page.evaluate("() => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))")
    points = page.evaluate(
        f"""() => Object.entries(document.querySelector('{SIDE}').runs).map(([key, run]) => [key, Array.from(run.x)])"""
    )
    shown = page.evaluate(f"() => document.querySelector('{SIDE}').readings")
    return {key: np.reshape(x, (1000, 2)) for key, x in points}, shown


@pytest.mark.parametrize("spacing", ["trailing", "leading", "linspace"])
def test_steps_visited_with_every_spacing_are_the_librarys(visit, spacing):
    page = visit("samplers")
    for total, count in [*((1000, count) for count in range(1, 1001, 7)), (1000, 16), (50, 50), (7, 4)]:
        found = page.evaluate("(asked) => ddpmExplorers.spacedSteps(...asked)", [total, count, spacing])
        assert found == [*(timestep_subsequence(total, count, spacing) + 1).tolist(), 0], (total, count)


@pytest.mark.parametrize("spacing", ["trailing", "leading"])
def test_all_samplers_end_where_the_librarys_do(visit, spacing):
    page, count = visit("samplers"), 8
    found, shown = ends(page, target="ring", num_steps=count, spacing=spacing)
    noise = page.evaluate(
        "(count) => [1, ...Array.from({ length: count }, (_, i) => 100 + i)].map((seed) => "
        "Array.from(ddpmExplorers.gaussians(2000, seed)))",
        count,
    )
    x_T, *fresh = np.reshape(noise, (-1, 1000, 1, 1, 2)).astype("float32")
    ring, schedule = TARGETS["ring"], build_schedule()
    options = {"num_steps": count, "clip": False, "spacing": spacing}
    noisy = options | {"noise_fn": lambda number: fresh[number]}
    arguments = ring.predict_noise(schedule), schedule, x_T
    expected = {
        "beta": sampling.ddpm_sample(*arguments, variance="beta", **noisy),
        "posterior": sampling.ddpm_sample(*arguments, variance="posterior", **noisy),
        "ddim": sampling.ddim_sample(*arguments, **options),
        "solver": sampling.dpm_solver_pp_sample(*arguments, **options),
    }
    for key, x_0 in expected.items():
        # Near the border between two components a float32 rounding can send a point the other way.
        gap = np.abs(np.asarray(x_0).reshape(-1, 2) - found[key]).max(axis=1)
        assert np.median(gap) < 1e-4 and (gap < 1e-2).mean() > 0.99, key
        assert shown[key] == pytest.approx(ring.distance(found[key]), rel=1e-9)
    assert shown["expected_distance"] == pytest.approx(ring.expected_distance(1000), rel=1e-7)


def test_slider_and_spacing_move_numbers_and_pixels(visit):
    page = visit("samplers")
    _, before = ends(page)
    picture = pixels(page)
    page.locator("input[data-key=num_steps]").focus()
    page.keyboard.press("ArrowRight")
    _, after = ends(page)
    assert page.evaluate(f"() => document.querySelector('{SIDE}').settings.num_steps") == 15
    assert after["ddim"] < before["ddim"] and pixels(page) != picture
    page.locator("input[value=leading]").check(force=True)
    _, leading = ends(page)
    assert leading["solver"] > 2 * after["solver"]  # it extrapolates over the long step to step 1
    page.wait_for_url("**samplers.spacing=leading**")
    page.get_by_role("button", name="Reset").click()
    assert ends(page)[1] == before


def test_samplers_widget_has_its_model(visit):
    page = visit("samplers")
    render(page, SamplersExplorer("ring", num_steps=5))
    _, shown = ends(page)
    assert shown["solver"] < shown["ddim"] < 1


# ---- Time and memory of a step --------------------------------------------------------------------------------------

PANEL = "ddpm-cost-explorer"
COSTLY = [
    ("T4", 8, "float32", "plain", False, 0.5),
    ("T4", 16, "mixed_float16", "plain", True, 0.5),
    ("P100", 16, "float32", "singly", True, 0.3),
    ("A100", 512, "mixed_float16", "fused", False, 1.0),
    ("two CPU cores", 1, "float32", "fused", True, 0.1),
    ("H200", 4096, "mixed_float16", "singly", False, 0.05),
]


def shown_costs(page, **change):
    """The numbers of the cost panel after a change of settings, before rounding."""
    page.evaluate(f"(change) => document.querySelector('{PANEL}').change(change)", change)
    page.evaluate("() => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))")
    return page.evaluate(f"() => document.querySelector('{PANEL}').readings")


@pytest.mark.parametrize(("card", "batch_size", "precision", "attention", "again", "share"), COSTLY)
def test_costs_equal_the_librarys(visit, card, batch_size, precision, attention, again, share):
    found = shown_costs(
        visit("cost"),
        card=card,
        batch_size=batch_size,
        precision=precision,
        attention=attention,
        rematerialize="yes" if again else "no",
        efficiency=share,
    )
    unet, device = PRESETS["celeba64"].unet, cost.DEVICES[card]
    step = cost.step_cost(unet, batch_size, precision, attention, again)
    seconds = cost.predict_step_seconds(step, device, precision, share)
    peak = device.float32 if precision == "float32" else device.half
    waits = [max(0.0, x.training_moved / device.bandwidth) for x in step.rows]
    waits = [wait if wait > x.training_flops / peak else 0.0 for wait, x in zip(waits, step.rows, strict=True)]
    assert found == pytest.approx(
        {
            "step_s": seconds,
            "images_per_second": batch_size / seconds,
            "epoch_minutes": cost.NUM_CELEBA_IMAGES / batch_size * seconds / 60,
            "memory_gb": step.peak_bytes / 1e9,
            "largest_batch": cost.largest_batch(unet, device.memory, precision, attention, again),
            "waiting_share": (sum(waits) + step.update_moved / device.bandwidth) / share / seconds,
        },
        rel=1e-9,
    )


def test_a_reader_enters_a_card_of_their_own(visit):
    page = visit("cost")
    before = shown_costs(page)
    field = page.get_by_label("bandwidth")
    field.fill("732")
    field.press("Enter")
    after = shown_costs(page)
    assert page.get_by_label("Card").input_value() == "your own"
    unet, numbers = PRESETS["celeba64"].unet, vars(cost.DEVICES["T4"]) | {"bandwidth": 732e9}
    step = cost.step_cost(unet, 16, attention="plain")
    assert after["step_s"] == pytest.approx(cost.predict_step_seconds(step, cost.Device(**numbers), "float32"))
    assert after["step_s"] < before["step_s"] and after["memory_gb"] == before["memory_gb"]
    page.get_by_label("Card").select_option("P100")
    assert page.evaluate(f"() => document.querySelector('{PANEL}').settings.memory") == 16
    assert field.input_value() == "732" and page.get_by_label("float32", exact=False).first.input_value() == "9.3"
    page.wait_for_url("**cost.card=P100**")
    again = visit("cost", page.url[page.url.index("?") :])
    assert shown_costs(again) == shown_costs(page)
    field.fill("")
    field.press("Enter")
    assert field.input_value() == "732"
    page.get_by_role("button", name="Reset").click()
    assert shown_costs(page) == before


def test_a_batch_that_does_not_fit_is_said(visit):
    page = visit("cost")
    shown_costs(page)
    assert page.locator(".warn").is_hidden()
    page.locator("input[data-key=batch_size]").focus()
    for _ in range(3):
        page.keyboard.press("ArrowRight")
    found = shown_costs(page)
    assert page.evaluate(f"() => document.querySelector('{PANEL}').settings.batch_size") == 128
    assert found["largest_batch"] == 64 and "128 does not fit" in page.locator(".warn").text_content()
    assert page.locator("svg.roof circle").count() > 20


def test_cost_widget_has_its_model(visit):
    page = visit("cost")
    render(page, CostExplorer("A100", batch_size=64))
    shown_costs(page)
    settings = page.evaluate(f"() => document.querySelector('{PANEL}').settings")
    assert settings | device_numbers("A100") | {"card": "A100", "batch_size": 64} == settings


# ---- Controls --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("scheme", ["file", "http"])
def test_mouse_moves_numbers_and_pixels(visit, scheme):
    page = visit("schedule", scheme=scheme)
    before, picture = readings(page), pixels(page)
    slider = page.locator("input[data-key=t]")
    box = slider.bounding_box()
    page.mouse.move(box["x"] + box["width"] * 0.25, box["y"] + box["height"] / 2)
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] * 0.8, box["y"] + box["height"] / 2, steps=8)
    page.mouse.up()
    after = readings(page)
    t = setting(page)["t"]
    assert 750 < t < 850
    assert after["alpha_bar"] == pytest.approx(build_schedule().alpha_bars[t - 1], rel=1e-9)
    assert after["alpha_bar"] < before["alpha_bar"] / 10 and pixels(page) != picture


def test_keyboard_moves_numbers_and_pixels(visit):
    page = visit("schedule")
    picture = pixels(page)
    page.locator("input[data-key=t]").focus()
    for _ in range(3):
        page.keyboard.press("ArrowRight")
    assert setting(page)["t"] == 253
    assert readings(page)["alpha_bar"] == pytest.approx(build_schedule().alpha_bars[252], rel=1e-9)
    moved = pixels(page)
    assert moved != picture
    for _ in range(3):
        page.keyboard.press("ArrowLeft")
    readings(page)
    assert pixels(page) == picture  # the noise stayed the same
    page.locator("input[value=linear]").focus()
    page.keyboard.press("ArrowRight")
    assert setting(page)["kind"] == "cosine"
    assert readings(page)["beta"] == pytest.approx(build_schedule("cosine").betas[249], rel=1e-9)
    assert page.locator("input[data-key=beta_end]").is_disabled()


def test_every_control_can_be_reached_and_is_named(visit):
    page = visit("many")
    for _ in range(10):
        page.keyboard.press("Tab")
        focused = "document.activeElement.shadowRoot?.activeElement"
        assert page.evaluate(f"() => {focused} && getComputedStyle({focused}).display !== 'none'")
    names = [page.get_by_role("slider", name=name) for name in ("step t", "steps T", "η", "steps done")]
    assert [found.count() for found in names] == [2, 2, 0, 1]  # eta waits until DDIM is chosen


def test_dragging_in_a_curve_moves_t(visit):
    page = visit("schedule")
    box = page.locator("svg").first.bounding_box()
    page.mouse.click(box["x"] + box["width"] - 7, box["y"] + box["height"] / 2)
    assert setting(page)["t"] > 980


def test_warning_comes_and_goes(visit):
    page = visit("schedule")
    warning = page.locator(".warn")
    assert warning.is_hidden()
    page.evaluate("() => document.querySelector('ddpm-schedule-explorer').change({ num_steps: 100 })")
    readings(page)
    assert warning.is_visible()
    assert f"{build_schedule('linear', 100).alpha_bars[-1]:.4f}" in warning.text_content()
    assert setting(page)["t"] == 25  # the same place along the way
    for num_steps in (500, 700):
        page.evaluate("(n) => document.querySelector('ddpm-schedule-explorer').change({ num_steps: n })", num_steps)
        terminal = readings(page)["terminal_alpha_bar"]
        assert warning.is_visible() == (terminal > TERMINAL_ALPHA_BAR_LIMIT) == (num_steps == 500)
    page.get_by_role("button", name="Reset").click()
    assert readings(page)["terminal_alpha_bar"] == pytest.approx(build_schedule().alpha_bars[-1], rel=1e-9)


def test_screen_reader_hears_once_after_a_move(visit):
    page = visit("schedule")
    heard = page.locator("[role=status]")
    page.locator("input[data-key=t]").focus()
    for _ in range(5):
        page.keyboard.press("ArrowRight")
        assert heard.text_content() == ""
    page.wait_for_function("() => document.querySelector('ddpm-schedule-explorer').said.textContent !== ''")
    assert heard.text_content().startswith("linear, t 255 of 1000: beta 0.005160")


def test_play_pause_and_step(visit):
    page = visit("reverse")
    picture = pixels(page)
    page.get_by_role("button", name="Step", exact=True).click()
    assert setting(page)["step"] == 1
    assert readings(page)["t"] == 980
    page.get_by_role("button", name="Play").click()
    page.wait_for_function("() => document.querySelector('ddpm-reverse-explorer').settings.step > 3")
    page.get_by_role("button", name="Pause").click()
    paused = setting(page)["step"]
    page.wait_for_timeout(300)
    assert setting(page)["step"] == paused < 50
    page.get_by_role("button", name="Play").click()
    page.locator("input[data-key=step]").press("Home")  # moving the slider by hand pauses too
    assert setting(page)["step"] == 0
    page.get_by_role("button", name="Play").click()
    page.get_by_role("button", name="Play").wait_for(timeout=20_000)  # it ends by itself
    assert setting(page)["step"] == 50
    found = readings(page)
    assert found["t"] == 0 and found["alpha_bar"] == 1 and pixels(page) != picture
    page.get_by_role("button", name="Restart").click()
    readings(page)
    assert pixels(page) == picture


# ---- The address -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("scheme", ["file", "http"])
def test_address_round_trips(visit, scheme):
    page = visit("many", "?keep=1#there", scheme=scheme)
    page.evaluate(
        """() => {
          const [first, second, reverse] = document.querySelectorAll('ddpm-schedule-explorer, ddpm-reverse-explorer');
          first.change({ kind: "sigmoid", t: 77 });
          second.change({ num_steps: 300, picture: "coffee" });
          reverse.change({ sampler: "ddim", eta: 0.5, step: 10 });
        }"""
    )
    page.wait_for_url("**reverse.step=10**")
    address = page.url
    assert address.endswith("#there") and "keep=1" in address
    first, second, reverse = (readings(page, place) for place in range(3))
    again = visit("many", address[address.index("?") :], scheme=scheme)
    assert [readings(again, place) for place in range(3)] == [first, second, reverse]
    assert setting(again, 0) | {"kind": "sigmoid", "t": 77} == setting(again, 0)
    assert setting(again, 1) | {"kind": "cosine", "num_steps": 300, "picture": "coffee"} == setting(again, 1)
    for reset in again.get_by_role("button", name="Reset").all():
        reset.click()
    again.wait_for_url("**.html?keep=1#there")


def test_nonsense_in_the_address_is_ignored(visit):
    page = visit(
        "schedule", "?schedule.kind=best&schedule.t=-5&schedule.num_steps=ten&schedule.beta_end=NaN&schedule.x=1"
    )
    assert setting(page) == {
        **{"kind": "linear", "picture": "cat", "num_steps": 1000, "t": 1, "beta_start": 1e-4, "beta_end": 0.02}
    }


# ---- In a notebook ---------------------------------------------------------------------------------------------------


def test_widget_follows_its_model_and_leaves_the_address_alone(visit, folder):
    page = visit("schedule")
    render(page, ScheduleExplorer("cosine", t=40))
    assert readings(page)["beta"] == pytest.approx(build_schedule("cosine").betas[39], rel=1e-9)
    page.locator("input[data-key=t]").focus()
    page.keyboard.press("ArrowRight")
    page.wait_for_function("() => window.saved === 1")
    assert page.evaluate("() => window.model.values.t") == 41
    page.evaluate("() => window.hear('kind', 'sigmoid')")
    assert readings(page)["beta"] == pytest.approx(build_schedule("sigmoid").betas[40], rel=1e-9)
    page.wait_for_timeout(600)
    assert page.url == "about:blank"


def test_element_taken_out_and_put_back_works_on(visit):
    """JupyterLab does this to cells that scroll out of view."""
    page = visit("schedule")
    page.evaluate(
        """() => {
          const explorer = document.querySelector('ddpm-schedule-explorer'), home = explorer.parentNode;
          explorer.remove();
          explorer.change({ t: 700 });
          home.append(explorer);
        }"""
    )
    assert readings(page)["alpha_bar"] == pytest.approx(build_schedule().alpha_bars[699], rel=1e-9)
    assert page.locator(".card").count() == 1


# ---- For people ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("width", [390, 800])
def test_accessible_in_both_themes_and_widths(visit, theme, width):
    axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="axe-playwright-python is not installed")
    page = visit("many", "?schedule.num_steps=100&reverse.sampler=ddim", width=width)
    page.evaluate("(theme) => { document.documentElement.dataset.theme = theme; }", theme)
    if theme == "dark":
        page.add_style_tag(content="body { background: #14181e; color: #fff; }")
    page.wait_for_timeout(100)
    page.wait_for_function(f"() => document.querySelector('{SIDE}').readings.ddim")
    found = axe.Axe().run(page)
    assert not found.response["violations"], found.generate_report()
    dark = page.evaluate(
        "() => getComputedStyle(document.querySelector('ddpm-schedule-explorer').card).backgroundColor"
    )
    assert (dark == "rgb(22, 27, 34)") == (theme == "dark")
    assert page.evaluate("() => document.documentElement.scrollWidth") <= width


def test_without_scripts_a_figure_and_a_sentence_stand_there(visit):
    page = visit("many", java_script_enabled=False)
    for image in page.locator("img").all():
        assert image.is_visible() and len(image.get_attribute("alt")) > 60
        assert image.evaluate("(image) => image.naturalWidth") > 600
    assert page.get_by_text("A still picture of an interactive figure").count() == 5
