"""What several test files share: the built book and a browser."""

import os
import pathlib
import shutil
import subprocess
import sys

import pytest

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

ROOT = pathlib.Path(__file__).parents[1]


@pytest.fixture(scope="session")
def built_book(tmp_path_factory):
    """Build the book from nothing, every warning an error, and return the folder of its pages."""
    out = tmp_path_factory.mktemp("book")
    program = pathlib.Path(sys.executable).with_name("jupyter-book")
    command = [program, "build", ROOT, "--path-output", out, "-W", "-n", "--keep-going"]
    result = subprocess.run(command, capture_output=True, text=True)
    assert result.returncode == 0, result.stdout[-3000:] + result.stderr[-6000:]
    return out / "_build" / "html"


@pytest.fixture(scope="session")
def chromium():
    """Start the system's Chromium or Chrome once; skip where there is none."""
    playwright = pytest.importorskip("playwright.sync_api")
    path = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if path is None:
        pytest.skip("no Chromium or Chrome on this machine")
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=path, args=["--no-sandbox"])
        yield browser
        browser.close()


def pytest_report_collectionfinish(items):
    """Say how many notebook cells have an output that is compared; pictures are not."""
    cells = [item for item in items if type(item).__name__ == "IPyNbCell"]
    compared = [
        item
        for item in cells
        if item.options["check"] and any("image/png" not in output.get("data", {}) for output in item.cell.outputs)
    ]
    return f"notebooks: {len(cells)} cells, {len(compared)} of them with outputs that are compared" if cells else []
