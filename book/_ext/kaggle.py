"""Give every chapter a button for Kaggle beside the theme's for Colab."""

from __future__ import annotations

import urllib.parse


def setup(app):
    """Register with Sphinx, after the theme has made its buttons."""
    app.connect("html-page-context", add_button, priority=502)
    return {"parallel_read_safe": True, "parallel_write_safe": True}


def add_button(app, pagename, templatename, context, doctree):
    """Add the button; Kaggle copies the notebook that the one for Colab opens."""
    for group in context.get("header_buttons", []):
        if group.get("label") == "launch-buttons":
            [colab] = group["buttons"]
            notebook = "https://github.com" + colab["url"].partition("/github")[2]
            address = "https://kaggle.com/kernels/welcome?" + urllib.parse.urlencode({"src": notebook})
            group["buttons"].append(
                {**colab, "text": "Kaggle", "tooltip": "Launch on Kaggle", "icon": "fab fa-kaggle", "url": address}
            )
