"""Pages with explorers, as the book has them, and a notebook's way to show one."""

import contextlib
import json

from ddpm_lib.explorer import SCRIPT

PAGE = """<!doctype html><html lang="en"><head><meta charset="utf-8"><title>Explorers</title>
<meta name="viewport" content="width=device-width, initial-scale=1">
<script src="explorers.js" defer></script></head><body><main><h1>Explorers</h1>{}</main></body></html>"""


def write_pages(folder, bodies):
    """Write the script and a page for each body, {name: HTML}, into a folder, and return it."""
    (folder / "explorers.js").write_text(SCRIPT, "utf8")
    for name, body in bodies.items():
        (folder / f"{name}.html").write_text(PAGE.format(body), "utf8")
    return folder


@contextlib.contextmanager
def visits(chromium, folder):
    """Give a function that opens a page from file://; at the end nothing was said on the console or asked elsewhere."""
    contexts, complaints = [], []

    def open_page(name, query="", width=800, init="", missing=False, **options):
        context = chromium.new_context(viewport={"width": width, "height": 1000}, **options)
        contexts.append(context)
        context.add_init_script(init)
        page = context.new_page()
        ours = (folder.as_uri(), "blob:")
        page.on("request", lambda request: request.url.startswith(ours) or complaints.append(request.url))
        page.on("console", lambda message: missing or complaints.append(message.text))
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.goto(f"{folder.as_uri()}/{name}.html{query}")
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert not complaints


@contextlib.contextmanager
def no_long_task(chromium, page):
    """Fail if the page's own thread was held up for 50 ms of a processor's time: other programs do not count."""
    page.wait_for_timeout(200)
    chromium.start_tracing(page=page, categories=["toplevel", "__metadata"])
    yield
    events = json.loads(chromium.stop_tracing())["traceEvents"]
    names = {(e["pid"], e["tid"]): e["args"]["name"] for e in events if e["name"] == "thread_name"}
    times = [e.get("tdur", 0) / 1000 for e in events if names.get((e["pid"], e["tid"])) == "CrRendererMain"]
    print(f"longest task {max(times):.0f} ms of {len(times)}")
    assert 0 < max(times) < 50


def render(page, traits):
    """Do what anywidget does: import the module's text, then render a model into an element.

    The page then has `model.values`, `saved`, the number of times that they were sent to the kernel, and
    `hear(key, value)`, with which the kernel changes one.
    """
    page.goto("about:blank")
    page.evaluate(
        """async ([text, traits]) => {
          const module = await import(URL.createObjectURL(new Blob([text], { type: "text/javascript" })));
          const heard = {};
          window.saved = 0;
          window.model = { values: traits, get: (key) => traits[key], on: (name, act) => { heard[name] = act; },
            set: (key, value) => { traits[key] = value; }, save_changes: () => { window.saved++; } };
          window.hear = (key, value) => { traits[key] = value; heard[`change:${key}`](); };
          module.default.render({ model: window.model, el: document.body });
        }""",
        [traits._esm, {key: getattr(traits, key) for key in (*traits.settings, *traits.data)}],
    )
