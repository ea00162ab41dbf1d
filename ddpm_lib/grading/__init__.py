"""Grades a folder of students' notebooks, by the chapters' own exercises.

Each notebook runs in a process of its own, with a time limit and a memory limit. Only numbers come back from it: those
that `check` was given. They are judged here, so what a notebook prints, or does to its copy of the library, is no
verdict. This keeps out mistakes and cheap tricks, and nothing more: students' code runs with your rights, and can read
and delete what you can. Grade strangers' notebooks under an account, or in a container, that has nothing to lose.
"""

from __future__ import annotations

import csv
import dataclasses
import io
import os
import pathlib
import re
from collections.abc import Callable

from ddpm_lib.config import InputError
from ddpm_lib.exercises import OF_CHAPTER
from ddpm_lib.exercises.checking import RIGHT, UNFILLED
from ddpm_lib.files import plain, user_path

HEAD = ["student", "chapter", "solved", "tried", "total", "failed", "remarks"]
TIMEOUT, MEMORY = 600.0, 8.0  # seconds a notebook, GiB a process
ASKED = re.compile(r"""\bcheck\(\s*["']([a-z0-9-]+)["']""")


@dataclasses.dataclass
class Grade:
    """What one student did in one chapter.

    Args:
        student: the name of the file or folder.
        chapter: a name of `exercises.CHAPTERS`, or None where a notebook has no exercise in it.
        said: the best verdict on each exercise that was checked, {name: sentence}.
        remarks: what else a teacher should know, a sentence each.
    """

    student: str
    chapter: str | None
    said: dict[str, str] = dataclasses.field(default_factory=dict)
    remarks: list[str] = dataclasses.field(default_factory=list)

    @property
    def total(self) -> int:
        """The number of exercises in the chapter."""
        return len(OF_CHAPTER.get(self.chapter, ()))

    @property
    def tried(self) -> int:
        """The number of exercises with an answer, right or not."""
        return sum(said != UNFILLED for said in self.said.values())

    @property
    def solved(self) -> int:
        """The number of exercises with a right answer."""
        return sum(said == RIGHT for said in self.said.values())

    @property
    def failed(self) -> list[str]:
        """The names of the exercises that were tried and not solved, in the chapter's order."""
        return [
            name for name in OF_CHAPTER.get(self.chapter, ()) if self.said.get(name, UNFILLED) not in (RIGHT, UNFILLED)
        ]

    def summary(self) -> dict:
        """Return it as a JSON file has it."""
        counts = {"solved": self.solved, "tried": self.tried, "total": self.total, "failed": self.failed}
        return {
            "student": self.student,
            "chapter": self.chapter,
            **counts,
            "exercises": {name: self.said.get(name) for name in OF_CHAPTER.get(self.chapter, ())},
            "remarks": self.remarks,
        }


def find_notebooks(folder: str | os.PathLike) -> dict[str, list[pathlib.Path]]:
    """Find each student's notebooks: a file of the folder is a student, and so is a sub-folder with all that is in it.

    Args:
        folder: where the notebooks lie.

    Raises:
        InputError: there is no such folder, or no notebook in it.
    """
    folder = user_path(folder)
    if not folder.exists():
        raise InputError(f"there is no folder {folder}")
    if not folder.is_dir():
        raise InputError(f"{folder} is a file: name the folder it lies in")
    found = {}
    for path in sorted(folder.rglob("*.ipynb")):
        inside = path.relative_to(folder).parts
        if path.is_file() and not any(part.startswith(".") for part in inside):
            found.setdefault(inside[0] if len(inside) > 1 else path.stem, []).append(path)
    if not found:
        raise InputError(f"{folder} holds no notebook (.ipynb)")
    return found


def grade_notebook(student: str, path: str | os.PathLike, timeout: float = TIMEOUT, memory: float = MEMORY):
    """Run one notebook and return a `Grade` for each chapter of which it has exercises.

    Args:
        student: whose it is.
        path: the notebook.
        timeout: seconds for the whole notebook.
        memory: GiB for each of its processes, where the system has such a limit.
    """
    from ddpm_lib.grading import running  # it needs Jupyter, which a reader of grades does not

    path = pathlib.Path(path)
    try:
        sources = running.read_code(path)
    except InputError as error:
        return [Grade(student, None, remarks=[f"{plain(path.name)} {error}"])]
    said, stopped = running.run_cells(sources, timeout, memory)
    asked = {name for source in sources for name in ASKED.findall(source)} | said.keys()
    grades = []
    for chapter, exercises in OF_CHAPTER.items():
        if asked & exercises.keys():
            best = {name: min(said[name], key=_rank) for name in exercises if name in said}
            grades.append(Grade(student, chapter, best))
    if not grades:
        grades = [Grade(student, None, remarks=[f"{plain(path.name)} has no exercise in it"])]
    if stopped:
        grades[0].remarks.append(f"{plain(path.name)} {stopped}")
    return grades


def grade(
    folder: str | os.PathLike,
    timeout: float = TIMEOUT,
    memory: float = MEMORY,
    progress: Callable[[list[Grade]], None] | None = None,
) -> list[Grade]:
    """Run every notebook of a folder, one after the other, and return a `Grade` per student and chapter.

    Args:
        folder: one file or one sub-folder per student, as `find_notebooks` reads it.
        timeout: seconds for each notebook.
        memory: GiB for each process of a notebook, where the system has such a limit.
        progress: is called after each notebook, with all grades so far.
    """
    grades: dict[tuple, Grade] = {}
    for student, paths in find_notebooks(folder).items():
        for path in paths:
            for new in grade_notebook(plain(student), path, timeout, memory):
                old = grades.setdefault((student, new.chapter), Grade(new.student, new.chapter))
                old.remarks += new.remarks
                for name, said in new.said.items():
                    old.said[name] = min(said, old.said.get(name, said), key=_rank)
            if progress:
                progress(list(grades.values()))
    return list(grades.values())


def table(grades: list[Grade]) -> str:
    """Write grades as a table of plain text, one line per student and chapter, and the remarks below it."""
    head = HEAD[:-1]
    rows = [head, *([str(cell) for cell in _row(each)[:-1]] for each in grades)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(head))]
    lines = []
    for row in rows:
        cells = [
            cell.rjust(width) if name in ("solved", "tried", "total") else cell.ljust(width)
            for name, cell, width in zip(head, row, widths, strict=True)
        ]
        lines.append("  ".join(cells).rstrip())
    remarks = [f"{each.student}: {remark}" for each in grades for remark in each.remarks]
    return "\n".join([*lines, *[""][: len(remarks)], *remarks])


def csv_text(grades: list[Grade]) -> str:
    """Write grades as the text of a CSV file. A name that a spreadsheet would take for a formula gets a ' before it."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(HEAD)
    for each in grades:
        writer.writerow([f"'{cell}" if str(cell).startswith(("=", "+", "-", "@")) else cell for cell in _row(each)])
    return text.getvalue()


def _row(grade):
    lists = [", ".join(grade.failed), "; ".join(grade.remarks)]
    return [grade.student, grade.chapter or "", grade.solved, grade.tried, grade.total, *lists]


def _rank(said):
    return (said != RIGHT, said == UNFILLED)
