"""The project around the library: one address, one version, pinned requirements."""

import pathlib
import re
import subprocess
import tomllib

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

import ddpm_lib

ROOT = pathlib.Path(__file__).parents[1]


def tracked_texts():
    """Yield (name, text) of every text file that git tracks."""
    listing = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True)
    if listing.returncode:
        pytest.skip("not a git checkout")
    for name in filter(None, listing.stdout.split("\0")):
        path = ROOT / name
        if path.is_file():
            content = path.read_bytes()
            if b"\0" not in content:
                yield name, content.decode("utf8")


def test_the_repository_is_named_in_one_place():
    """Only the chapters' first cells and their notebooks' links repeat it, and `make notebooks` writes them."""
    url = yaml.safe_load((ROOT / "_config.yml").read_text("utf8"))["repository"]["url"]
    owner_and_name = "/".join(url.split("/")[-2:])
    named = {name: text.count(owner_and_name) for name, text in tracked_texts() if owner_and_name in text}
    assert named.pop("_config.yml") == 1
    for name, count in named.items():
        notebook = re.fullmatch(r"book/\d\w*\.ipynb", name)
        assert notebook or (re.fullmatch(r"book/\d\w*\.md", name) and count == 1), f"{name} names the repository"


def test_no_file_names_a_package_registry_or_a_machine():
    # Written in pieces, so that this file does not name them either.
    registries = ["py" + "pi.org", "python" + "hosted", "registry." + "npmjs", "deb." + "debian"]
    machine = re.compile(r"(?<![\w.])/(?:" + "work|opt|tmp|root" + r")/")
    for name, text in tracked_texts():
        assert not [host for host in registries if host in text], name
        assert not machine.search(text), f"{name}: {machine.search(text)}"


def pyproject():
    """Read the project table of `pyproject.toml`."""
    return tomllib.loads((ROOT / "pyproject.toml").read_text("utf8"))["project"]


def test_every_folder_of_the_library_is_installed():
    """An editable installation has them all, whatever the list says."""
    listed = tomllib.loads((ROOT / "pyproject.toml").read_text("utf8"))["tool"]["setuptools"]["packages"]
    folders = {".".join(path.parent.relative_to(ROOT).parts) for path in (ROOT / "ddpm_lib").rglob("__init__.py")}
    assert sorted(listed) == sorted(folders | {"ddpm_lib.shipped"})  # the latter lies in data/checkpoints


def constraints():
    """Read `constraints.txt` as {canonical name: requirement}."""
    lines = (ROOT / "constraints.txt").read_text("utf8").splitlines()
    requirements = [Requirement(line) for line in lines if line and not line.startswith("#")]
    return {canonicalize_name(requirement.name): requirement for requirement in requirements}


def test_constraints_are_exact_versions():
    for requirement in constraints().values():
        operators = [specifier.operator for specifier in requirement.specifier]
        assert operators == ["=="] and requirement.url is None, requirement


def test_constraints_pin_what_the_project_asks_for():
    extras = pyproject()["optional-dependencies"]
    wanted = sum(
        (extras[name] for name in ("tf", "book", "test", "jax", "peers", "evaluate", "grade")),
        pyproject()["dependencies"],
    )
    pinned = constraints()
    assert "torch" not in pinned
    for requirement in map(Requirement, wanted):
        pin = pinned[canonicalize_name(requirement.name)]
        version = next(iter(pin.specifier)).version
        assert requirement.specifier.contains(version), f"{pin} is not {requirement}"


def test_the_lowest_versions_are_the_ones_tested():
    lines = (ROOT / "tests/lowest.txt").read_text("utf8").splitlines()
    tested = {canonicalize_name(pin.name): pin.specifier for pin in map(Requirement, lines[1:])}
    for requirement in map(Requirement, pyproject()["dependencies"] + pyproject()["optional-dependencies"]["tf"]):
        [lowest] = [Version(part.version) for part in requirement.specifier if part.operator == ">="]
        [pin] = tested[canonicalize_name(requirement.name)]
        assert pin.operator == "==" and Version(pin.version) == lowest, requirement


def test_tensorflow_is_no_hard_requirement():
    """On Colab the installed library must leave TensorFlow, JAX and PyTorch as they are."""
    names = {Requirement(line).name for line in pyproject()["dependencies"]}
    assert not names & {"tensorflow", "tensorflow-cpu", "jax", "torch"}


def test_one_version_everywhere():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text("utf8"))
    releases = re.findall(r"^## \[([\d.]+)\] - ([\d-]+)$", (ROOT / "CHANGELOG.md").read_text("utf8"), re.MULTILINE)
    version, date = releases[0]
    assert version == citation["version"]
    own = Version(ddpm_lib.__version__)
    assert own > Version(version) if own.is_devrelease else str(own) == version
    assert str(citation["date-released"]) == date


def test_environment_installs_this_project_with_the_pins():
    environment = yaml.safe_load((ROOT / "environment.yml").read_text("utf8"))
    [pip] = [part["pip"] for part in environment["dependencies"] if isinstance(part, dict)]
    assert pip == ["--constraint constraints.txt", "--editable .[tf,book,test]"]
