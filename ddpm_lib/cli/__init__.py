"""The command line: `ddpm train`, `generate`, `evaluate`, `grade`, `export`, `prepare`, `info`.

Exit codes: 0; 2 for bad input, with one line that says what is wrong; 130 after Ctrl-C, which saves first (training
does so after SIGTERM and SIGHUP, too); 141 where the reader of a pipe went away. `generate` keeps the batches of images
that were finished by then.

A command is a file of this folder: its `HELP` of one line, `add_flags(parser)` and `run(flags)`. None imports Keras, or
what imports it, before it runs: `ddpm --help` needs no backend.
"""

from __future__ import annotations

import importlib
import os
import re
import sys

from ddpm_lib.cli import conventions
from ddpm_lib.config import InputError
from ddpm_lib.files import plain

COMMANDS = (  # files of this folder, in the order of the help
    "train",
    "generate",
    "evaluate",
    "grade",
    "export",
    "prepare",
    "info",
)


def _parser() -> conventions.Parser:
    parser = conventions.Parser(
        prog="ddpm", description="Denoising diffusion probabilistic models: train, generate, evaluate, grade exercises."
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND", parser_class=conventions.Parser)
    for name in COMMANDS:
        module = importlib.import_module(f"ddpm_lib.cli.{name}")
        command = commands.add_parser(name, help=module.HELP)
        module.add_flags(command)
        command.set_defaults(run=module.run)
    return parser


def main(arguments: list[str] | None = None) -> int:
    """Run one command and return its exit code.

    Args:
        arguments: what follows the program's name; by default the process's own.
    """
    conventions.mend_streams()
    flags = _parser().parse_args(arguments)
    try:
        flags.run(flags)
        sys.stdout.flush()
    except BrokenPipeError:  # `| head -1` has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        return conventions.READER_GONE
    except (InputError, OSError) as error:  # OSError: a full disk, a folder that went away
        lines = [plain(line) for line in str(error).split("\n")]  # a name in it may be of a stranger's file
        print(f"ddpm {flags.command}: error: " + "\n".join(lines), file=sys.stderr)
        return conventions.BAD_INPUT
    except KeyboardInterrupt as interrupt:
        print(f"\nddpm {flags.command}: " + ", ".join(["interrupted", *interrupt.args]), file=sys.stderr)
        return conventions.INTERRUPTED
    except Exception as error:
        # Every backend has its own class for a full memory, so the message decides; NumPy's is a MemoryError.
        full = r"out of memory|\bOOM\b|RESOURCE_EXHAUSTED|MemoryError"
        if not re.search(full, f"{type(error).__name__} {error}", re.IGNORECASE):
            raise
        print(f"ddpm {flags.command}: error: out of memory; {_to_need_less(flags)}", file=sys.stderr)
        return conventions.BAD_INPUT
    return 0


def _to_need_less(flags):
    """Advise what the command takes: a run that goes on keeps its batch size, and not every command has one."""
    if getattr(flags, "resume", None):
        return "end other programs, or start a new run with a smaller --batch_size"
    return "try a smaller --batch_size" if hasattr(flags, "batch_size") else "end other programs"
