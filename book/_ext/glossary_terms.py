"""Say what a word of the glossary means where a chapter first uses it: on hover, on a tap, and by keyboard.

The chapters are left as they are. Their text is searched for the terms of `book/glossary.md`, and the first occurrence
of each becomes a link to it that carries the definition; `book/_static/book.css` shows it.
"""

from __future__ import annotations

import html
import re

from docutils import nodes
from sphinx import addnodes

GLOSSARY = "book/glossary"
CHAPTER = re.compile(r"book/\d\w*")
# Inside these a word is no running text, or is a link already.
NOT_IN = (nodes.reference, nodes.literal, nodes.math, nodes.caption, nodes.term, addnodes.pending_xref)


def setup(app):
    """Register with Sphinx."""
    app.connect("env-updated", lambda app, env: [name for name in env.found_docs if CHAPTER.fullmatch(name)])
    app.connect("doctree-resolved", mark_terms)
    return {"parallel_read_safe": True, "parallel_write_safe": True}


def terms(env) -> dict[str, tuple[str, str]]:
    """Return the glossary: {term: (place on its page, definition)}."""
    found = {}
    for item in env.get_doctree(GLOSSARY).findall(nodes.definition_list_item):
        definition = " ".join(item[-1].astext().split())
        for term in item.findall(nodes.term):
            found[" ".join(term.astext().split())] = term["ids"][0], definition
    return found


def mark_terms(app, doctree, docname):
    """Mark the first occurrence of each term in a chapter's paragraphs."""
    if not CHAPTER.fullmatch(docname) or GLOSSARY not in app.env.found_docs:
        return
    waiting = terms(app.env)
    for paragraph in doctree.findall(nodes.paragraph):
        for text in list(paragraph.findall(nodes.Text)):
            if waiting and not has_ancestor(text, NOT_IN, paragraph):
                marked = mark(text.astext(), waiting)
                if len(marked) > 1:
                    text.parent.replace(text, marked)


def has_ancestor(node, kinds, top) -> bool:
    """Say whether a node lies in one of some kinds, below `top`."""
    while node is not top:
        node = node.parent
        if isinstance(node, kinds):
            return True
    return False


def mark(text: str, waiting: dict) -> list[nodes.Node]:
    """Split a text at the terms that are waiting; those that are found wait no more. A plural counts."""
    words = "|".join(re.escape(term) for term in sorted(waiting, key=len, reverse=True))
    match = re.search(rf"(?<![\w-])({words})s?(?![\w-])", text, re.IGNORECASE) if words else None
    if not match:
        return [nodes.Text(text)]
    place, definition = waiting.pop(next(term for term in waiting if term.lower() == match[1].lower()))
    link = (
        f'<a class="term" href="glossary.html#{place}" data-definition="{html.escape(definition)}">'
        f"{html.escape(match[0])}</a>"
    )
    before, after = nodes.Text(text[: match.start()]), mark(text[match.end() :], waiting)
    return [before, nodes.raw("", link, format="html"), *after]
