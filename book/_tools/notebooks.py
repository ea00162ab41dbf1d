"""Execute the chapters: write `book/NN_name.ipynb` beside `book/NN_name.md`, with the outputs that tests compare.

    python book/_tools/notebooks.py          the chapters that changed; where it was text alone, nothing is executed
    python book/_tools/notebooks.py --all    every chapter, after a change in ddpm_lib
    python book/_tools/notebooks.py 10_noising 20_closed_form
    python book/_tools/notebooks.py --changed  executes nothing; prints the notebooks that `make quick` tests

Running it twice gives the same files: no times, no random ids, no widget state.
"""

from __future__ import annotations

import argparse
import os
import pathlib
import re
import subprocess
import time

import jupytext
import nbformat
from nbclient import NotebookClient
from plain import plain, repository, revision

ROOT = pathlib.Path(__file__).parents[2]
BOOK = ROOT / "book"
FIRST_CODE_CELL = re.compile(r"^```\{code-cell\}.*?^```$", re.MULTILINE | re.DOTALL)
WIDGET_VIEW = "application/vnd.jupyter.widget-view+json"

BOOTSTRAP = """\
```{{code-cell}} ipython3
:tags: [remove-cell]

# Where the course's library is missing, as on Colab, this installs it, and leaves the TensorFlow that is there alone.
# On Kaggle, turn on *Internet* in the notebook's settings first.
import importlib.util
import os

missing = importlib.util.find_spec("ddpm_lib") is None
if missing:
    %pip install --quiet {{os.environ.get("DDPM_LIB_SPEC", "git+{url}@{revision}")}}
os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"  # a quiet TensorFlow
os.dup2(os.open(os.devnull, os.O_WRONLY), 2)  # what its C++ part says at import differs from machine to machine
if missing:
    from ddpm_lib.hardware import device_report

    print(device_report())
```"""


def sources() -> list[pathlib.Path]:
    """List the chapters' text files in reading order."""
    return sorted(BOOK.glob("[0-9]*.md"))


def bootstrap_cell() -> str:
    """Return every chapter's first code cell, with the repository's address from `_config.yml`."""
    return BOOTSTRAP.format(url=repository()["url"], revision=revision())


def refresh_bootstrap(source: pathlib.Path) -> None:
    """Bring the first code cell of a chapter's text up to date, or put one before the first other code cell."""
    text = source.read_text("utf8")
    first = FIRST_CODE_CELL.search(text)
    if first is None:
        raise SystemExit(f"{source}: no code cell")
    cell = bootstrap_cell()
    if "DDPM_LIB_SPEC" not in first.group():
        cell += "\n\n" + first.group()
    refreshed = text[: first.start()] + cell + text[first.end() :]
    if refreshed != text:
        source.write_text(refreshed, "utf8")


def cells(notebook: nbformat.NotebookNode) -> list[tuple]:
    """Return what a chapter's text and its notebook must share: type, source and metadata of every cell."""
    volatile = {"execution", "collapsed", "trusted"}

    def kept(metadata):
        return {key: value for key, value in metadata.items() if key not in volatile}

    return [(cell.cell_type, cell.source.rstrip(), kept(cell.metadata)) for cell in notebook.cells]


def read_source(source: pathlib.Path) -> nbformat.NotebookNode:
    """Read a chapter's text as the notebook it becomes, without outputs: its Markdown is plain."""
    notebook = jupytext.read(source)
    for number, cell in enumerate(notebook.cells):
        cell["id"] = f"cell-{number:03d}"
        if cell.cell_type == "markdown":
            cell.source = plain(cell.source, source.stem)
    return notebook


def is_current(source: pathlib.Path) -> bool:
    """Say whether the notebook beside a chapter's text has the same cells."""
    path = source.with_suffix(".ipynb")
    return path.exists() and cells(read_source(source)) == cells(nbformat.read(path, as_version=4))


def with_stored_outputs(source: pathlib.Path) -> nbformat.NotebookNode | None:
    """Return a chapter's notebook with new text and the outputs it has; None if its code changed."""
    path = source.with_suffix(".ipynb")
    if not path.exists():
        return None
    notebook, stored = read_source(source), nbformat.read(path, as_version=4)
    # The first code cell does nothing where the library is, so it is as good as text.
    new, old = ([cell for cell in cells(each) if cell[0] == "code"][1:] for each in (notebook, stored))
    if new != old:
        return None
    stored_code = (cell for cell in stored.cells if cell.cell_type == "code")
    for cell in notebook.cells:
        if cell.cell_type == "code":
            match = next(stored_code)
            cell.outputs, cell.execution_count = match.outputs, match.execution_count
    return finished(notebook)


def finished(notebook: nbformat.NotebookNode) -> nbformat.NotebookNode:
    """Give a notebook the metadata that is stored."""
    notebook.metadata["language_info"] = {"name": "python"}
    notebook.metadata.pop("jupytext", None)
    return notebook


def changed() -> list[pathlib.Path]:
    """List the chapters that differ from where this branch left `main`, or whose notebook is out of date.

    On `main` itself, and where there is no such branch, those that differ from the last commit.
    """

    def git(*arguments):
        return subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, text=True).stdout.split()

    base = git("merge-base", "HEAD", "main") or ["HEAD"]
    names = git("diff", "--name-only", *base, "--", "book") + git("ls-files", "--others", "--exclude-standard", "book")
    stems = {pathlib.Path(name).stem for name in names}
    return [source for source in sources() if source.stem in stems or not is_current(source)]


def execute(source: pathlib.Path) -> nbformat.NotebookNode:
    """Run a chapter's text from top to bottom in its own kernel and return the notebook with its outputs."""
    notebook = read_source(source)
    NotebookClient(
        notebook,
        timeout=600,
        kernel_name="python3",
        record_timing=False,
        store_widget_state=False,
        coalesce_streams=True,
        resources={"metadata": {"path": str(BOOK)}},
    ).execute()
    for cell in notebook.cells:
        for output in cell.get("outputs", []):
            make_stable(output)
    return finished(notebook)


def make_stable(output: nbformat.NotebookNode) -> None:
    """Remove from an output what differs from run to run: views of a widget that is gone, addresses in memory."""
    data = output.get("data", {})
    if "text/html" in data:
        data.pop(WIDGET_VIEW, None)
    if "text/plain" in data:
        data["text/plain"] = re.sub(r"\b0x[0-9a-f]{6,16}\b", "0xADDR", data["text/plain"])


def main():
    """Read the command line and execute."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("chapters", nargs="*", help="names without ending; by default all that changed")
    parser.add_argument("--all", action="store_true", help="also the unchanged ones")
    parser.add_argument("--changed", action="store_true", help="print the notebooks of changed chapters, and stop")
    arguments = parser.parse_args()
    if arguments.changed:
        print(*(source.with_suffix(".ipynb").relative_to(ROOT) for source in changed()))
        return
    os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
    os.environ.pop("MPLBACKEND", None)  # one named outside would keep the figures out of the notebook
    for source in sources():
        if arguments.chapters and source.stem not in arguments.chapters:
            continue
        refresh_bootstrap(source)
        if is_current(source) and not arguments.all and not arguments.chapters:
            print(f"{source.stem}: unchanged")
            continue
        if not arguments.all and not arguments.chapters and (notebook := with_stored_outputs(source)):
            nbformat.write(notebook, source.with_suffix(".ipynb"))
            print(f"{source.stem}: new text, the same code")
            continue
        start = time.perf_counter()
        nbformat.write(execute(source), source.with_suffix(".ipynb"))
        print(f"{source.stem}: executed in {time.perf_counter() - start:.0f} s")


if __name__ == "__main__":
    main()
