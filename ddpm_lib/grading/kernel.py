"""The process in which one notebook runs: an IPython kernel that may take no more memory than it is told.

Started as `python -m ddpm_lib.grading.kernel BYTES` and the kernel's own arguments.
"""

from __future__ import annotations

import contextlib
import sys


def limit_memory(most: int) -> None:
    """Let this process and those it starts ask for at most so many bytes each, where the system has such a limit."""
    try:
        import resource
    except ImportError:  # Windows
        return
    # What is asked for, not the address space, of which the engines reserve far more than they use.
    with contextlib.suppress(ValueError, OSError):  # a lower limit is there already, or the system has none
        resource.setrlimit(resource.RLIMIT_DATA, (most, most))


if __name__ == "__main__":
    limit_memory(int(sys.argv[1]))
    from ipykernel.kernelapp import IPKernelApp

    IPKernelApp.launch_instance(argv=sys.argv[2:])
