"""Make the built pages stand alone: MathJax, explorers and models from the page's own folder, and nothing else."""

from __future__ import annotations

import importlib.util
import pathlib

from sphinx.util.fileutil import copy_asset

from ddpm_lib.explorer import SCRIPT, model_script


def setup(app):
    """Register with Sphinx."""
    app.config.mathjax_path = "mathjax/tex-chtml-full.js"
    app.connect("html-page-context", prepare_page, priority=900)
    app.connect("build-finished", copy_scripts)
    return {"parallel_read_safe": True, "parallel_write_safe": True}


def prepare_page(app, pagename, templatename, context, doctree):
    """Leave out the theme's Thebe, which names an outside address; load MathJax and explorers where they are needed."""
    body = context.get("body", "")
    for kind in ("script_files", "css_files"):
        context[kind][:] = [file for file in context[kind] if not is_thebe(file)]
    if 'class="math' not in body:
        context["script_files"][:] = [file for file in context["script_files"] if not is_mathjax(file)]
    if "<ddpm-" in body:
        app.add_js_file("explorers.js", loading_method="defer")


def is_thebe(file):
    """Say whether a script or a style sheet of a page belongs to Thebe."""
    inline = getattr(file, "attributes", {}).get("body") or ""
    return "THEBE_JS_URL" in inline or "sphinx-thebe" in str(getattr(file, "filename", file))


def is_mathjax(file):
    """Say whether a script of a page is MathJax, or its settings."""
    return "window.MathJax" in (file.attributes.get("body") or "") or "mathjax" in str(file.filename)


def copy_scripts(app, exception):
    """Write the scripts of explorers and models, and copy MathJax: TeX input, fonts, accessibility tools."""
    if exception or app.builder.format != "html":
        return
    static = pathlib.Path(app.outdir) / "_static"
    # The theme brings its icons twice: as a web font, and as this script, which is larger than the rest of a page.
    (static / "scripts" / "fontawesome.js").write_text("", "utf8")
    (static / "explorers.js").write_text(SCRIPT, "utf8")
    from ddpm_lib.checkpoints import shipped_models  # late: it imports Keras

    (static / "models").mkdir(exist_ok=True)
    for name, entry in shipped_models().items():
        (static / "models" / f"{name}.js").write_text(model_script(name, entry["path"]), "utf8")
    # The package is named with hyphens, so it can be found but not imported by a statement.
    package = importlib.util.find_spec("sphinx-mathjax-offline").submodule_search_locations[0]
    mathjax = pathlib.Path(package) / "static" / "mathjax"
    copy_asset(mathjax / "tex-chtml-full.js", static / "mathjax")
    for folder in ("output/chtml", "a11y", "sre"):
        copy_asset(mathjax / folder, static / "mathjax" / folder)
