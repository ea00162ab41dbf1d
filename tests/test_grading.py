"""`ddpm grade`: notebooks that solve, do not solve, hang, end their process, cheat or are none."""

import concurrent.futures
import csv
import json
import os
import signal
import subprocess
import sys
import time

import nbformat
import numpy as np
import pytest

from ddpm_lib import cli, grading
from ddpm_lib.cli import grade as command
from ddpm_lib.exercises import CHAPTERS, EXERCISES, OF_CHAPTER, answers, check
from tests.exercises import RIGHT
from tests.test_cli import ROOT, refused
from tests.test_exercises import exercises

IMPORTS = "import os\nimport numpy as np\nfrom ddpm_lib.exercises import EXERCISES, check"
NOISING = [exercise for exercise in exercises() if exercise[0] == "10_noising"]
STUBS = [stub for *_, stub, _ in NOISING]
SOLUTIONS = [f'{solution}\ncheck("{name}", {function})' for _, name, function, _, solution in NOISING]
WRONG = 'check("limit-variance", lambda beta: 1)'
SOLVED = SOLUTIONS[0]


def write(path, *sources):
    """Write a notebook of code cells, with a first one that imports."""
    path.parent.mkdir(parents=True, exist_ok=True)
    cells = [nbformat.v4.new_code_cell(source) for source in (IMPORTS, *sources)]
    nbformat.write(nbformat.v4.new_notebook(cells=cells), path)


CHEATS = """
print("jump: right")
print("variance-after: right")
os.write(1, b"half-amplitude: right")
import ddpm_lib.exercises, ddpm_lib.exercises.checking
ddpm_lib.exercises.judge = ddpm_lib.exercises.checking.judge = lambda *answers: "right"
ddpm_lib.exercises.checking.RIGHT = "not yet"
with open(os.environ["DDPM_ANSWERS"], "a") as file:
    file.write('["half-amplitude", "right"]\\n["variance-after", [[1], [1], [1]]]\\nno JSON\\n')
"""
MARKED = time.time_ns()  # the length of a sleep that no other process of this machine sleeps
LEAVES_A_PROCESS = f'import subprocess\nsubprocess.Popen(["sleep", "{MARKED}"])\nos._exit(0)'


# In a process of its own, since Playwright may have left a running event loop here. It hears Ctrl-C, which a shell's
# background jobs, such as the tests may be, do not.
RUN = """
import signal
from ddpm_lib import cli
signal.signal(signal.SIGINT, signal.default_int_handler)
raise SystemExit(cli.main())
"""
COMMAND = [sys.executable, "-c", RUN, "grade"]


def in_a_process(folder, *flags):
    return subprocess.run(
        [*COMMAND, folder, *flags],
        **{"cwd": ROOT, "capture_output": True, "text": True, "stdin": subprocess.DEVNULL},
    )


@pytest.fixture(scope="module")
def graded(tmp_path_factory):
    """Grade one class: {(student, chapter): row of the CSV file}, with what was printed, and the rows of the JSON."""
    folder = tmp_path_factory.mktemp("class")
    write(folder / "ada.ipynb", *SOLUTIONS)
    write(folder / "ben.ipynb", *STUBS)
    write(folder / "cleo/first.ipynb", "1 / 0", WRONG, 'check("jump", lambda *case: 1 / 0)')
    write(folder / "cleo/later/second.ipynb", 'check("limit-variance", lambda beta: 1 / (2 - beta))', STUBS[3])
    write(folder / "cleo/.ipynb_checkpoints/first-checkpoint.ipynb", *SOLUTIONS)
    write(folder / "dora.ipynb", SOLVED, 'while True:\n    print("on and on")', SOLUTIONS[1])
    write(folder / "emil.ipynb", SOLVED, LEAVES_A_PROCESS, SOLUTIONS[1])
    write(folder / "fay.ipynb", CHEATS, WRONG)
    write(folder / "=gus.ipynb", "hoard = bytearray(3 << 30)", SOLVED, "input()", "exit()", SOLUTIONS[1])
    (folder / "hal.ipynb").write_text("{")
    write(folder / "ida.ipynb")
    (folder / "notes.txt").write_text("not a notebook")
    results = {}
    for ending in ("csv", "json"):  # the second time with one student only
        out = folder / f"grades.{ending}"
        flags = ["--timeout", "10", "--memory", "2", "--out", out]
        result = in_a_process(folder, *flags)
        assert result.returncode == 0, result.stderr
        results[ending] = out.read_text("utf8")
        results.setdefault("printed", result.stdout)
        for path in folder.glob("[!a]*.ipynb"):
            path.unlink()
    results["rows"] = {(row["student"], row["chapter"]): row for row in csv.DictReader(results["csv"].splitlines())}
    return results


def sleeps():
    """Say whether a process of LEAVES_A_PROCESS is still there."""
    return f"sleep {MARKED}" in subprocess.run(["ps", "-eo", "args"], capture_output=True, text=True).stdout


def counts(row):
    return [int(row[name]) for name in ("solved", "tried", "total")]


slow = pytest.mark.slow


@slow
def test_a_solved_and_an_unsolved_chapter(graded):
    assert counts(graded["rows"]["ada", "noising"]) == [4, 4, 4]
    assert counts(graded["rows"]["ben", "noising"]) == [0, 0, 4]
    assert graded["rows"]["ada", "noising"]["remarks"] == graded["rows"]["ben", "noising"]["failed"] == ""


@slow
def test_a_folder_is_one_student_and_the_best_attempt_counts(graded):
    noising, closed_form = (graded["rows"]["cleo", chapter] for chapter in ("noising", "closed_form"))
    assert counts(noising) == [1, 1, 4] and noising["failed"] == ""
    assert counts(closed_form) == [0, 1, 4] and closed_form["failed"] == "jump"


@slow
def test_a_loop_without_end_is_stopped_and_what_came_before_it_counts(graded):
    row = graded["rows"]["dora", "noising"]
    assert counts(row) == [1, 1, 4]
    assert row["remarks"] == "dora.ipynb was stopped after 10 s, in code cell 3 of 4"


@slow
def test_a_process_that_ends_is_named_and_leaves_nothing_behind(graded):
    row = graded["rows"]["emil", "noising"]
    assert counts(row) == [1, 1, 4] and row["remarks"] == "emil.ipynb ended its process in code cell 3"
    assert not sleeps()


@slow
def test_what_a_notebook_prints_or_patches_is_no_verdict(graded):
    rows = [row for (student, _), row in graded["rows"].items() if student == "fay"]
    assert [(row["chapter"], counts(row), row["failed"]) for row in rows] == [
        ("noising", [0, 2, 4], "variance-after, limit-variance")
    ]
    assert "right" not in graded["printed"]


@slow
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="a memory limit that holds on Linux")
def test_a_hoard_of_memory_is_an_error_of_its_cell(graded):
    row = graded["rows"]["'=gus", "noising"]
    assert counts(row) == [2, 2, 4] and row["remarks"] == ""


@slow
def test_files_that_are_no_notebook_are_lines_of_the_table(graded):
    assert graded["rows"]["hal", ""]["remarks"] == "hal.ipynb is not a notebook: its text is not JSON"
    assert graded["rows"]["ida", ""]["remarks"] == "ida.ipynb has no exercise in it"


@slow
def test_the_table_is_printed_and_the_files_say_the_same(graded):
    lines = graded["printed"].splitlines()
    assert lines[0].split() == ["student", "chapter", "solved", "tried", "total", "failed"]
    assert "hal: hal.ipynb is not a notebook: its text is not JSON" in lines
    assert "ada      noising           4      4      4" in lines
    [ada, *_] = json.loads(graded["json"])
    assert (ada["student"], ada["chapter"], ada["solved"], ada["failed"]) == ("ada", "noising", 4, [])
    assert ada["exercises"] == dict.fromkeys(OF_CHAPTER["noising"], "right")


# ---- Bad input ------------------------------------------------------------------------------------------------------


def test_bad_input_is_one_line(tmp_path, capsys, monkeypatch):
    assert "holds no notebook" in refused(capsys, "grade", tmp_path)
    assert "there is no folder" in refused(capsys, "grade", tmp_path / "nowhere")
    write(tmp_path / "ada.ipynb")
    assert "is a file" in refused(capsys, "grade", tmp_path / "ada.ipynb")
    assert "FOLDER" in refused(capsys, "grade")
    for value, part in (("0", "more than 0"), ("soon", "not a number"), ("inf", "finite")):
        assert part in refused(capsys, "grade", tmp_path, "--timeout", value)
        assert part in refused(capsys, "grade", tmp_path, "--memory", value)
    assert "must end in .csv or .json" in refused(capsys, "grade", tmp_path, "--out", tmp_path / "grades.xls")
    (tmp_path / "grades.csv").write_text("with a teacher's notes")
    assert "--overwrite" in refused(capsys, "grade", tmp_path, "--out", tmp_path / "grades.csv")
    assert "--out" in refused(capsys, "grade", tmp_path, "--out", tmp_path / "ada.ipynb/grades.csv")
    monkeypatch.setattr(command, "NEEDED", ("nbclient", "no_such_package"))
    assert "no_such_package is not installed" in refused(capsys, "grade", tmp_path)
    assert (tmp_path / "grades.csv").read_text() == "with a teacher's notes"


@pytest.mark.parametrize(
    "content, part",
    [
        (b"", "not JSON"),
        (b"\xff\xfe\xfa", "not JSON"),
        (b"[" * 100_000, "not JSON"),
        (b"[]", "no list of cells"),
        (b'{"worksheets": []}', "no list of cells"),
        (b'{"cells": 3}', "no list of cells"),
        (b'{"cells": [{"cell_type": "code", "source": 3}]}', "is no text"),
        (b'{"cells": [{"cell_type": "code"}]}', "is no text"),
        (b'{"cells": [{"cell_type": "code", "source": ["a", null]}]}', "is no text"),
        (b'{"cells": [3, {"cell_type": "markdown"}]}', "has no exercise"),
    ],
)
def test_odd_files_are_one_remark(tmp_path, monkeypatch, content, part):
    path = tmp_path / "odd.ipynb"
    path.write_bytes(content)
    from ddpm_lib.grading import running

    monkeypatch.setattr(running, "run_cells", lambda *arguments: ({}, None))
    [grade] = grading.grade_notebook("odd", path)
    [remark] = grade.remarks
    assert part in remark and grade.total == grade.tried == 0


def test_half_letters_and_file_names_do_no_harm(tmp_path):
    from ddpm_lib.grading import running

    path = tmp_path / "x.ipynb"
    path.write_text('{"cells": [{"cell_type": "code", "source": ["a = 1 # \\ud800", "\\nb"]}]}')
    assert running.read_code(path) == ["a = 1 # ?\nb"]
    write(tmp_path / "a\x1b[31m\nb/x.ipynb")
    name, other = grading.find_notebooks(tmp_path)
    assert other == "x" and grading.plain(name) == r"a\x1b[31m\nb"
    with pytest.raises(grading.InputError, match="cannot be read"):
        running.read_code(tmp_path / "nothing.ipynb")


def test_a_process_that_does_not_start_in_time_is_said(monkeypatch):
    from ddpm_lib.grading import running

    monkeypatch.setattr(running, "START", 0.01)
    with concurrent.futures.ThreadPoolExecutor() as pool:  # tests in a browser leave this thread a loop that runs
        said = pool.submit(running.run_cells, ["1"], 600.0, 8.0).result()
    assert said == ({}, "did not start within 0.01 s")


def test_links_of_a_folder_are_not_followed_out_of_it(tmp_path):
    write(tmp_path / "elsewhere/secret.ipynb")
    write(tmp_path / "class/ada.ipynb")
    (tmp_path / "class/ben").symlink_to(tmp_path / "elsewhere")
    os.mkfifo(tmp_path / "class/pipe.ipynb")
    assert list(grading.find_notebooks(tmp_path / "class")) == ["ada"]


@slow
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="a memory limit that holds on Linux")
def test_a_memory_limit_in_which_nothing_runs_is_one_line(tmp_path):
    write(tmp_path / "ada.ipynb")
    result = in_a_process(tmp_path, "--memory", "0.01")
    *_, last = result.stderr.strip().splitlines()
    assert result.returncode == 2, result.stderr
    assert "--memory" in last
    assert "Traceback" not in result.stderr


# ---- What comes back from a notebook --------------------------------------------------------------------------------


@pytest.fixture
def file(tmp_path, monkeypatch):
    monkeypatch.setenv(answers.FILE, str(tmp_path / "answers"))
    return tmp_path / "answers"


def test_every_exercise_comes_back_as_it_was_judged(file, capsys):
    for name in EXERCISES:
        for answer in (RIGHT[name], None, 0.5, lambda *case: 1 / 0, lambda *case: [[[[1.0]]]]):
            check(name, answer)
    said = capsys.readouterr().out.splitlines()
    found = answers.read_back(file, EXERCISES)
    assert [f"{name}: {sentence}" for name, sentences in found.items() for sentence in sentences] == said
    assert all(sentences[0] == "right" and len(sentences) == 5 for sentences in found.values())


def test_infinite_numbers_come_back(file, capsys):
    check("limit-variance", lambda beta: np.inf)
    assert "infinite" in answers.read_back(file, EXERCISES)["limit-variance"][0]


@pytest.mark.parametrize(
    "line",
    [
        "",
        "[",
        "[" * 10_000,
        "3",
        '["jump"]',
        '["no-such-exercise", [[1]]]',
        '["jump", "right"]',
        '["jump", " right\\n"]',
        '["jump", {"a": 1}]',
        '["jump", [[1]]]',
        '["limit-variance", [["x"], [1]]]',
        '["limit-variance", [[[1]], [[1]], [[1]]]]',
        '["limit-variance", 3]',
        '[["jump"], [[1]]]',
    ],
)
def test_lines_that_check_cannot_have_written_are_left_out(file, line):
    file.write_text(line + "\n")
    assert answers.read_back(file, EXERCISES) == {}


def test_a_file_that_is_too_large_or_missing_holds_nothing(file, monkeypatch, capsys):
    assert answers.read_back(file, EXERCISES) == {}
    check("jump", RIGHT["jump"])
    assert answers.read_back(file, EXERCISES) == {"jump": ["right"]}
    monkeypatch.setattr(answers, "MOST_BYTES", 10)
    assert answers.read_back(file, EXERCISES) == {}


def test_a_students_sentence_is_one_short_line(file, capsys):
    def answer(*case):
        raise ValueError("\x1b[2J\n" * 1000)

    check("jump", answer)
    [said] = answers.read_back(file, EXERCISES)["jump"]
    assert len(said) <= answers.MOST_LETTERS and said.isprintable()


def test_without_the_variable_nothing_is_written(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv(answers.FILE, raising=False)
    check("jump", RIGHT["jump"])
    assert not list(tmp_path.iterdir())


@slow
def test_ctrl_c_ends_the_running_notebook(tmp_path):
    started = tmp_path / "started"
    process = f'import subprocess\nsubprocess.Popen(["sleep", "{MARKED}"])\nopen({str(started)!r}, "w").close()'
    write(tmp_path / "class/ada.ipynb", f"{process}\nwhile True:\n    pass")
    grading = subprocess.Popen(
        [*COMMAND, tmp_path / "class"], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    try:
        while not started.exists():
            assert grading.poll() is None, grading.stderr.read()
            time.sleep(0.1)
        grading.send_signal(signal.SIGINT)
        _, errors = grading.communicate(timeout=60)
    finally:
        grading.kill()
    assert grading.returncode == 130
    assert errors.splitlines()[-1] == "ddpm grade: interrupted, graded 0 of 1 notebooks"
    assert "Traceback" not in errors and not sleeps()


# ---- Grades ---------------------------------------------------------------------------------------------------------


def test_exercises_of_chapters_are_all_exercises():
    assert list(OF_CHAPTER) == list(CHAPTERS)
    assert sum(map(len, OF_CHAPTER.values())) == len(EXERCISES)


def test_ctrl_c_shows_what_was_graded(tmp_path, capsys, monkeypatch):
    for name in ("ada", "ben", "cleo"):
        write(tmp_path / f"{name}.ipynb")

    def run(student, path, timeout, memory):
        if student == "cleo":
            raise KeyboardInterrupt
        return [grading.Grade(student, "noising", {"noise-step": "right"})]

    monkeypatch.setattr(grading, "grade_notebook", run)
    assert cli.main(["grade", str(tmp_path), "--out", str(tmp_path / "grades.csv")]) == 130
    captured = capsys.readouterr()
    assert "ddpm grade: interrupted, graded 2 of 3 notebooks" in captured.err.splitlines()[-1]
    assert "ben      noising       1      1      4" in captured.out
    assert len((tmp_path / "grades.csv").read_text().splitlines()) == 3
