"""What several test files share: the built book, a browser, and processes to kill."""

import fcntl
import multiprocessing
import multiprocessing.forkserver
import os
import pathlib
import shutil
import subprocess
import sys

import pytest

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
# Small networks are compiled often and run for moments: XLA, of JAX and of TensorFlow, need not look for the best code.
os.environ.setdefault("XLA_FLAGS", "--xla_backend_optimization_level=0 --xla_llvm_disable_expensive_passes=true")

ROOT = pathlib.Path(__file__).parents[1]


def pytest_collection_modifyitems(items):
    """Mark what needs the built book or a browser as slow: building takes a minute, and a browser is slow to start."""
    for item in items:
        if {"built_book", "chromium"} & set(getattr(item, "fixturenames", ())):
            item.add_marker(pytest.mark.slow)


@pytest.fixture(scope="session")
def processes():
    """Return where processes come from that have imported what trains: each is a copy of one that has done so.

    They have one thread each, so that two of them do not wait for each other.
    """
    context = multiprocessing.get_context("forkserver")
    # Keras imports TensorFlow to train on JAX, too.
    context.set_forkserver_preload(["ddpm_lib.checkpoints", "tests.test_training", "tensorflow"])
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TF_NUM_INTRAOP_THREADS", "1")
        patch.setenv("TF_NUM_INTEROP_THREADS", "1")
        multiprocessing.forkserver.ensure_running()
    return context


@pytest.fixture(scope="session")
def built_book(tmp_path_factory):
    """Build the book from nothing, every warning an error, and return the folder of its pages.

    The processes of one test run share it: the first that asks builds, the others wait.
    """
    base = tmp_path_factory.getbasetemp()
    out = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "book"
    out.mkdir(exist_ok=True)
    with open(out / "lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (out / "built").exists():
            program = pathlib.Path(sys.executable).with_name("jupyter-book")
            command = [program, "build", ROOT, "--path-output", out, "-W", "-n", "--keep-going"]
            result = subprocess.run(command, capture_output=True, text=True)
            assert result.returncode == 0, result.stdout[-3000:] + result.stderr[-6000:]
            (out / "built").touch()
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
