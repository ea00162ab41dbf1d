"""Where the chapters find the course's files: around the library, or in a clone of what it was installed from."""

import json
import pathlib
import shutil
import subprocess
import types

import pytest

from ddpm_lib import course
from ddpm_lib.config import InputError

ROOT = pathlib.Path(__file__).parents[1]


@pytest.fixture
def installed_from(tmp_path, monkeypatch):
    """Return a function that makes the library one that pip installed alone, from an address or an index."""
    monkeypatch.setattr(course, "REPOSITORY", tmp_path / "site-packages")
    monkeypatch.chdir(tmp_path)

    def install(address):
        note = None if address is None else json.dumps({"url": str(address), "vcs_info": {"vcs": "git"}})
        monkeypatch.setattr(course, "distribution", lambda name: types.SimpleNamespace(read_text=lambda file: note))

    return install


def test_in_a_checkout_it_is_the_checkout():
    assert course.course_folder() == ROOT


@pytest.mark.skipif(shutil.which("git") is None, reason="git is not installed")
def test_alone_it_is_a_clone_made_once(installed_from, tmp_path):
    origin = tmp_path / "origin"
    (origin / "data" / "runs").mkdir(parents=True)
    (origin / "data" / "runs" / "kept.csv").write_text("epoch\n")
    git = ["git", "-C", origin, "-c", "user.name=a", "-c", "user.email=a@b"]
    for command in (["init", "--quiet"], ["add", "."], ["commit", "--quiet", "--message", "results"]):
        subprocess.run([*git, *command], check=True)
    installed_from(origin.as_uri())
    assert (course.course_folder() / "data/runs/kept.csv").read_text() == "epoch\n"
    shutil.rmtree(origin)
    assert (tmp_path / "course/data/runs").is_dir() and course.course_folder() == pathlib.Path("course")


def test_a_machine_without_git_is_one_line(installed_from, monkeypatch):
    installed_from("file:///anywhere")
    monkeypatch.setenv("PATH", "")
    with pytest.raises(InputError, match="with git, which is not installed here"):
        course.course_folder()


@pytest.mark.parametrize("address, message", [(None, "clone of its repository"), ("file:///nowhere", "nowhere")])
def test_what_cannot_be_fetched_is_one_line(installed_from, address, message):
    installed_from(address)
    with pytest.raises(InputError, match=message) as caught:
        course.course_folder()
    assert "\n" not in str(caught.value)
