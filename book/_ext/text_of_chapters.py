"""Let the book read each chapter's text from its .md, and the outputs from the .ipynb beside it.

The notebook's own text is the plain form of it (`book/_tools/plain.py`), for viewers that know no MyST.
"""

from __future__ import annotations

import pathlib

import jupytext
import nbformat


def setup(app):
    """Register with Sphinx."""
    app.connect("source-read", take_text)
    return {"parallel_read_safe": True, "parallel_write_safe": True}


def take_text(app, docname, content):
    """Put the cells of a chapter's text in the place of its notebook's Markdown cells."""
    path = pathlib.Path(app.env.doc2path(docname))
    if path.suffix != ".ipynb":
        return
    notebook, text = nbformat.reads(content[0], as_version=4), jupytext.read(path.with_suffix(".md"))
    for cell, source in zip(notebook.cells, text.cells, strict=True):
        if cell.cell_type == "markdown":
            cell.source = source.source
    content[0] = nbformat.writes(notebook)
