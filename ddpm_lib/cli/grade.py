"""`ddpm grade`: run a folder of students' notebooks, and say who solved which exercises."""

from __future__ import annotations

import importlib.util
import json
import pathlib

from ddpm_lib.cli.conventions import make_folder, number_type, path
from ddpm_lib.config import InputError
from ddpm_lib.files import whole_or_not_at_all

HELP = "run a folder of students' notebooks, and say who solved which exercises"
NEEDED = ("nbclient", "ipykernel")


def add_flags(parser):
    """Add the flags of this command."""
    parser.add_argument("folder", type=path, metavar="FOLDER", help="one .ipynb or one sub-folder per student")
    parser.flag(
        "timeout",
        type=number_type(float, 0.0, allow_least=False),
        default=600.0,
        metavar="SECONDS",
        help="time limit of each notebook (default: 600)",
    )
    parser.flag(
        "memory",
        type=number_type(float, 0.0, allow_least=False),
        default=8.0,
        metavar="GIB",
        help="memory limit of each process of a notebook, where the system has one (default: 8)",
    )
    parser.flag("out", type=path, metavar="FILE", help="also write the grades to a file, ending in .csv or .json")
    parser.flag("overwrite", action="store_true", help="write over the file that --out names")


def run(flags):
    """Run the notebooks one by one, print the table and write the file."""
    out = pathlib.Path(flags.out) if flags.out else None
    if out and out.suffix not in (".csv", ".json"):
        raise InputError(f"--out {out} must end in .csv or .json")
    if out and out.exists() and not flags.overwrite:
        raise InputError(f"{out} is there already: name another --out, or add --overwrite")
    for name in NEEDED:
        if importlib.util.find_spec(name) is None:
            raise InputError(f"{name} is not installed, and runs the notebooks: pip install {' '.join(NEEDED)}")
    from tqdm import tqdm

    from ddpm_lib import grading

    count = sum(map(len, grading.find_notebooks(flags.folder).values()))
    if out:
        make_folder(out.parent)
    grades, done = [], 0
    with tqdm(total=count, unit="notebook", desc="grading") as bar:

        def progress(so_far):
            nonlocal grades, done
            grades, done = so_far, done + 1
            bar.update()

        try:
            grading.grade(flags.folder, flags.timeout, flags.memory, progress)
        except KeyboardInterrupt:
            raise KeyboardInterrupt(f"graded {done} of {count} notebooks") from None
        finally:
            bar.close()
            if grades:
                _show(grades, out, grading)


def _show(grades, out, grading):
    print(grading.table(grades))
    if out:
        text = grading.csv_text(grades)
        if out.suffix == ".json":
            text = json.dumps([grade.summary() for grade in grades], indent=1) + "\n"
        with whole_or_not_at_all(out) as temporary:
            temporary.write_text(text, "utf8")
        print(f"\nwrote {out}")
