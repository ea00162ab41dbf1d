"""Make the built pages stand alone: MathJax and the explorers from the page's own folder, nothing from elsewhere."""

from __future__ import annotations

import importlib.util
import pathlib

from sphinx.util.fileutil import copy_asset

from ddpm_lib.explorer import SCRIPT


def setup(app):
    """Register with Sphinx."""
    app.config.mathjax_path = "mathjax/tex-chtml-full.js"
    app.connect("html-page-context", prepare_page, priority=900)
    app.connect("build-finished", copy_scripts)
    return {"parallel_read_safe": True, "parallel_write_safe": True}


def prepare_page(app, pagename, templatename, context, doctree):
    """Leave out the theme's Thebe, which names an outside address; add the explorers where a page has one."""
    for kind in ("script_files", "css_files"):
        context[kind][:] = [file for file in context[kind] if not is_thebe(file)]
    if "<ddpm-" in context.get("body", ""):
        app.add_js_file("explorers.js", loading_method="defer")


def is_thebe(file):
    """Say whether a script or a style sheet of a page belongs to Thebe."""
    inline = getattr(file, "attributes", {}).get("body") or ""
    return "THEBE_JS_URL" in inline or "sphinx-thebe" in str(getattr(file, "filename", file))


def copy_scripts(app, exception):
    """Write the explorers' script and copy MathJax (TeX input, fonts, accessibility tools) into the book."""
    if exception or app.builder.format != "html":
        return
    static = pathlib.Path(app.outdir) / "_static"
    (static / "explorers.js").write_text(SCRIPT, "utf8")
    # The package is named with hyphens, so it can be found but not imported by a statement.
    package = importlib.util.find_spec("sphinx-mathjax-offline").submodule_search_locations[0]
    mathjax = pathlib.Path(package) / "static" / "mathjax"
    copy_asset(mathjax / "tex-chtml-full.js", static / "mathjax")
    for folder in ("output/chtml", "a11y", "sre"):
        copy_asset(mathjax / folder, static / "mathjax" / folder)
