"""The notebooks where a reader runs them: outside the repository, with the built wheel, and other versions than ours.

DDPM_ELSEWHERE names a list of versions, such as the one that Colab publishes of its image. Once a week a workflow does.
"""

import os
import pathlib
import shutil
import subprocess
import sys

import pytest

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        "DDPM_ELSEWHERE" not in os.environ, reason="many minutes: DDPM_ELSEWHERE=FILE installs the versions of a list"
    ),
]
ROOT = pathlib.Path(__file__).parents[1]
CHAPTERS = sorted((ROOT / "book").glob("[0-9]*.ipynb"))
# What an image for notebooks has; the first cell of a chapter installs the rest. nbclient runs the notebooks here.
THERE = ["tensorflow", "matplotlib", "scikit-image", "scikit-learn", "sympy", "ipywidgets", "ipykernel", "nbclient"]


def run(*command, **options):
    result = subprocess.run(command, capture_output=True, text=True, **options)
    assert result.returncode == 0, result.stdout[-3000:] + result.stderr[-6000:]


@pytest.fixture(scope="module")
def elsewhere(tmp_path_factory):
    """Make an environment with the versions of the list, and build the wheel."""
    folder = tmp_path_factory.mktemp("elsewhere")
    lines = pathlib.Path(os.environ["DDPM_ELSEWHERE"]).read_text("utf8").splitlines()
    (folder / "versions.txt").write_text("\n".join(line for line in lines if "==" in line and "@" not in line))
    run(sys.executable, "-m", "venv", folder / "venv")
    pip = [folder / "venv/bin/python", "-m", "pip", "--quiet", "--disable-pip-version-check"]
    run(*pip, "install", "--constraint", folder / "versions.txt", *THERE)
    run(*pip, "wheel", "--no-deps", "--wheel-dir", folder, ROOT)
    return folder


@pytest.mark.parametrize("chapter", CHAPTERS, ids=lambda path: path.stem)
def test_a_chapter_runs(chapter, elsewhere, tmp_path):
    [wheel] = elsewhere.glob("*.whl")
    shutil.copy(chapter, tmp_path)
    # What a chapter fetches by itself where the library was installed from a repository, as on Colab: its results.
    run("git", "clone", "--quiet", "--depth", "1", ROOT.as_uri(), tmp_path / "course")
    private = ("KERAS_BACKEND", "PYTHONPATH", "MPLBACKEND")
    variables = {name: value for name, value in os.environ.items() if name not in private}
    variables |= {"DDPM_LIB_SPEC": str(wheel), "PIP_CONSTRAINT": str(elsewhere / "versions.txt")}
    run(elsewhere / "venv/bin/jupyter", "execute", "--timeout=900", chapter.name, cwd=tmp_path, env=variables)
