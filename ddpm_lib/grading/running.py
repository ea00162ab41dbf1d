"""Runs a notebook's cells in a process of their own, within limits, and returns what `check` was given there."""

from __future__ import annotations

import asyncio
import json
import os
import pathlib
import subprocess
import sys
import tempfile

import nbformat
from jupyter_client.kernelspec import KernelSpec
from jupyter_client.manager import AsyncKernelManager
from nbclient import NotebookClient
from nbclient.exceptions import DeadKernelError

from ddpm_lib.config import InputError
from ddpm_lib.exercises import EXERCISES, answers

MOST_BYTES = 100 * 2**20  # of a notebook's file, most of which are pictures
START = 120.0  # seconds for the start of a process, before any cell


class _Kernel(AsyncKernelManager):
    """Starts kernels of this Python, whatever kernels the user has installed."""

    def __init__(self, memory, **options):
        super().__init__(**options)
        self.memory = memory

    @property
    def kernel_spec(self):
        """Say how to start one."""
        command = [sys.executable, "-m", "ddpm_lib.grading.kernel", str(self.memory), "-f", "{connection_file}"]
        return KernelSpec(argv=command, language="python")


class _Client(NotebookClient):
    """Executes cells and keeps nothing of what they print: it may be without end."""

    def process_message(self, msg, cell, cell_index):
        """Look only for the end of the cell."""
        if msg["msg_type"] == "status":
            super().process_message(msg, cell, cell_index)


def read_code(path: str | os.PathLike) -> list[str]:
    """Return the sources of a notebook's code cells.

    Raises:
        InputError: it is no notebook; the message has no path in it.
    """
    path = pathlib.Path(path)
    try:
        if path.stat().st_size > MOST_BYTES:
            raise InputError(f"is larger than {MOST_BYTES // 2**20} MB")
        content = json.loads(path.read_bytes())
    except OSError as error:
        raise InputError(f"cannot be read: {error.strerror}") from error
    except (ValueError, RecursionError) as error:
        raise InputError("is not a notebook: its text is not JSON") from error
    cells = content.get("cells") if isinstance(content, dict) else None
    if not isinstance(cells, list):
        raise InputError("is not a notebook: it has no list of cells")
    sources = []
    for cell in cells:
        if isinstance(cell, dict) and cell.get("cell_type") == "code":
            source = cell.get("source")
            lines = source if isinstance(source, list) else [source]
            if not all(isinstance(line, str) for line in lines):
                raise InputError("is not a notebook: a cell's source is no text")
            # Halves of letters, which JSON can spell and no kernel can be sent.
            sources.append("".join(lines).encode("utf8", "replace").decode("utf8"))
    return sources


def run_cells(sources: list[str], timeout: float, memory: float) -> tuple[dict[str, list[str]], str | None]:
    """Run code cells from the first to the last, also after one that fails.

    They run in an empty folder of their own, and what they print is thrown away. With them end the processes that they
    started, unless these made a session of their own.

    Args:
        sources: the cells.
        timeout: seconds for all of them together.
        memory: GiB for each process, where the system has such a limit.

    Returns:
        A sentence for each time that an exercise was checked, {name: sentences}; and why not all cells ran, or None.

    Raises:
        InputError: not even an empty notebook would run.
    """
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        own = pathlib.Path(folder)
        file = own / "answers"  # the folder's name is random, and each notebook has another
        stopped = asyncio.run(_run(sources, own, file, timeout, int(memory * 2**30)))
        return answers.read_back(file, EXERCISES), stopped


async def _run(sources, own, file, timeout, memory):
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(source) for source in sources])
    manager = _Kernel(memory, connection_file=str(own / "connection.json"))
    client = _Client(notebook, km=manager, timeout=None, allow_errors=True, record_timing=False)
    environment = {
        **os.environ,
        answers.FILE: str(file),
        "IPYTHONDIR": str(own / "ipython"),  # neither the teacher's settings nor the teacher's history
        "PIP_NO_INDEX": "1",  # a notebook must not change what is installed here
    }
    (own / "work").mkdir()
    number = 0
    try:
        try:
            async with asyncio.timeout(START):
                # What goes past the kernel, as C libraries' messages do, goes nowhere.
                streams = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
                await client.async_start_new_kernel(cwd=str(own / "work"), env=environment, **streams)
                try:
                    await client.async_start_new_kernel_client()
                except RuntimeError as error:
                    raise InputError("a notebook's process ends as it starts: does it need more --memory?") from error
        except TimeoutError:
            return f"did not start within {START:g} s"
        async with asyncio.timeout(timeout):
            for number, cell in enumerate(notebook.cells, 1):
                await _execute(client, cell, number - 1)
    except DeadKernelError:
        return f"ended its process in code cell {number}"
    except TimeoutError:
        return f"was stopped after {timeout:g} s, in code cell {number} of {len(sources)}"
    finally:
        if client.kc is not None:
            client.kc.stop_channels()
        if manager.has_kernel:
            await manager.shutdown_kernel(now=True)
        await manager.cleanup_resources()
    return None


async def _execute(client, cell, index):
    try:
        await client.async_execute_cell(cell, index)
    except DeadKernelError as error:
        if asyncio.current_task().cancelling():  # nbclient takes a cancelled wait for a dead kernel
            raise asyncio.CancelledError from error
        raise
