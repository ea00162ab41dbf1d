"""Execute the chapters: write `book/NN_name.ipynb` beside `book/NN_name.md`, with the outputs that tests compare.

    python book/_tools/notebooks.py          the chapters whose text or code changed
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
import yaml
from nbclient import NotebookClient

ROOT = pathlib.Path(__file__).parents[2]
BOOK = ROOT / "book"
FIRST_CODE_CELL = re.compile(r"^```\{code-cell\}.*?^```$", re.MULTILINE | re.DOTALL)
WIDGET_VIEW = "application/vnd.jupyter.widget-view+json"

BOOTSTRAP = """\
```{{code-cell}} ipython3
:tags: [remove-cell]

# On Colab this installs the course's library (not TensorFlow, which is there); elsewhere it installs nothing.
import importlib.util
import os

os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"  # a quiet TensorFlow
os.dup2(os.open(os.devnull, os.O_WRONLY), 2)  # what its C++ part says at import differs from machine to machine
if importlib.util.find_spec("ddpm_lib") is None:
    %pip install --quiet {{os.environ.get("DDPM_LIB_SPEC", "git+{url}@{branch}")}}
```"""


def sources() -> list[pathlib.Path]:
    """List the chapters' text files in reading order."""
    return sorted(BOOK.glob("[0-9]*.md"))


def bootstrap_cell() -> str:
    """Return every chapter's first code cell, with the repository's address from `_config.yml`."""
    repository = yaml.safe_load((ROOT / "_config.yml").read_text("utf8"))["repository"]
    return BOOTSTRAP.format(url=repository["url"], branch=repository["branch"])


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


def is_current(source: pathlib.Path) -> bool:
    """Say whether the notebook beside a chapter's text has the same cells."""
    path = source.with_suffix(".ipynb")
    return path.exists() and cells(jupytext.read(source)) == cells(nbformat.read(path, as_version=4))


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
    notebook = jupytext.read(source)
    for number, cell in enumerate(notebook.cells):
        cell["id"] = f"cell-{number:03d}"
    NotebookClient(
        notebook,
        timeout=600,
        kernel_name="python3",
        record_timing=False,
        store_widget_state=False,
        coalesce_streams=True,
        resources={"metadata": {"path": str(BOOK)}},
    ).execute()
    notebook.metadata["language_info"] = {"name": "python"}
    notebook.metadata.pop("jupytext", None)
    for cell in notebook.cells:
        for output in cell.get("outputs", []):
            make_stable(output)
    return notebook


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
    for source in sources():
        if arguments.chapters and source.stem not in arguments.chapters:
            continue
        refresh_bootstrap(source)
        if is_current(source) and not arguments.all and not arguments.chapters:
            print(f"{source.stem}: unchanged")
            continue
        start = time.perf_counter()
        nbformat.write(execute(source), source.with_suffix(".ipynb"))
        print(f"{source.stem}: executed in {time.perf_counter() - start:.0f} s")


if __name__ == "__main__":
    main()
