"""A parent for a training process that JAX may abort: it says in one line what happened."""

from __future__ import annotations

import os
import re
import signal
import sys
import threading
import time

from ddpm_lib.config import InputError

# How JAX begins its last words when another process is gone; a page of C++ functions follows.
LAST_WORDS = re.compile(rb"^F\d{4} .*JAX distributed service detected fatal errors", re.MULTILINE)


def go_on_in_a_child() -> None:
    """Return in a child process; the parent stays here until that ends, and exits as it did.

    Raises:
        InputError: in the parent, if the child failed because, as JAX said, another process of the run is gone.
    """
    read, write = os.pipe()
    sys.stdout.flush()
    sys.stderr.flush()
    child = os.fork()
    if child == 0:
        os.setpgid(0, 0)  # Ctrl-C reaches the parent alone, which passes it on
        os.dup2(write, 2)
        os.close(read)
        os.close(write)
        threading.Thread(target=_end_with, args=(os.getppid(),), daemon=True).start()
        return
    os.close(write)
    for name in ("SIGINT", "SIGTERM", "SIGHUP"):
        signal.signal(getattr(signal, name), lambda number, frame: os.kill(child, number))
    another_is_gone = _pass_on(read)
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    if another_is_gone and status:  # what the child itself had to say came after JAX's words, or was the same
        raise InputError("another process of this run is gone")
    raise SystemExit(status if status >= 0 else 128 - status)  # as a shell says it of a signal


def _end_with(parent):
    """End this process when its parent has ended: a kill -9 of the one is meant for both."""
    while os.getppid() == parent:
        time.sleep(0.1)
    os._exit(1)


def _pass_on(read):
    """Pass the child's errors on, up to JAX's last words; return whether there were any."""
    while chunk := os.read(read, 65536):
        found = LAST_WORDS.search(chunk)
        os.write(2, chunk[: found.start()] if found else chunk)
        if found:
            while os.read(read, 65536):
                pass
            return True
    return False
