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
