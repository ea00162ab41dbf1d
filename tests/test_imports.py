"""The picture of the library: who may import whom. Arrows point one way; a lower room never imports a higher one."""

import ast
import os
import pathlib
import subprocess
import sys

import pytest

LIBRARY = pathlib.Path(__file__).parents[1] / "ddpm_lib"
BOOK = LIBRARY.parent / "book"

# What each module may import beside the standard library and `config.InputError`.
MAY_IMPORT = {
    "__init__": {"checkpoints"},
    "config": set(),
    "course": set(),
    "claims": {"numpy"},
    "schedules": {"numpy"},
    "exact": {"numpy", "scipy", "schedules"},
    "files": set(),
    "images": {"numpy", "PIL", "files"},
    "diffusion": {"keras", "numpy", "schedules"},
    "attention": {"keras", "hardware"},
    "unet": {"keras", "numpy", "config", "attention"},
    "cost": {"keras", "config", "unet"},
    "diagram": {"config", "cost", "unet"},
    "hardware": {"keras", "numpy", "config", "tensorflow", "jax", "torch"},
    "distribution": {"keras", "numpy", "tensorflow", "jax"},
    "sampling": {"keras", "numpy", "tqdm", "schedules", "diffusion", "hardware"},
    "data": {"keras", "numpy", "PIL", "sklearn", "tqdm", "config", "files", "images", "data", "ddpm_lib"},
    "stopping": {"keras", "numpy", "schedules", "diffusion"},
    "training": {
        *("keras", "numpy", "matplotlib"),
        *("config", "files", "schedules", "images", "diffusion", "unet", "hardware", "sampling", "data", "stopping"),
        "distribution",
    },
    "vetting": {"numpy", "h5py", "config", "files"},
    "checkpoints": {
        *("keras", "numpy"),
        *("config", "files", "schedules", "diffusion", "unet", "hardware", "stopping", "training", "vetting"),
        "distribution",
    },
    "evaluation": {
        *("keras", "numpy", "scipy", "PIL", "sklearn", "joblib", "threadpoolctl", "tqdm"),
        *("config", "schedules", "diffusion", "sampling", "images", "data", "evaluation"),
    },
    "exercises": {"numpy", "schedules", "exercises"},
    "explorer": {
        *("numpy", "matplotlib", "PIL", "skimage", "anywidget", "traitlets"),
        *("config", "cost", "schedules", "images", "exact", "sampling", "checkpoints", "explorer"),
    },
    "grading": {"nbformat", "jupyter_client", "nbclient", "ipykernel", "files", "exercises", "grading"},
    "cli": {
        *("keras", "numpy", "tqdm"),
        *(
            "config",
            "files",
            "images",
            "hardware",
            "distribution",
            "cost",
            "sampling",
            "data",
            "training",
            "checkpoints",
            "evaluation",
            "grading",
            "stopping",
            "cli",
        ),
    },
}
FILES = sorted(LIBRARY.rglob("*.py"))


def room(path):
    """Name the module or subpackage that a file belongs to."""
    return path.relative_to(LIBRARY).parts[0].removesuffix(".py")


def imports(path):
    """List what a file imports, at the top or inside functions: rooms of ddpm_lib, and other packages."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text("utf8"))):
        if isinstance(node, ast.Import):
            modules = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            if node.module == "ddpm_lib.config" and [alias.name for alias in node.names] == ["InputError"]:
                continue
            whole = node.module == "ddpm_lib"  # `from ddpm_lib import images` names a module
            modules = [f"ddpm_lib.{alias.name}" if whole else node.module for alias in node.names]
        else:
            continue
        for module in modules:
            parts = module.split(".")
            inside = parts[0] == "ddpm_lib" and len(parts) > 1 and parts[1] != "__version__"
            found.add(parts[1] if inside else parts[0])
    return found - set(sys.stdlib_module_names)


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(LIBRARY)))
def test_imports_follow_the_picture(path):
    assert room(path) in MAY_IMPORT, f"a new room: say in MAY_IMPORT what {room(path)} may import"
    forbidden = imports(path) - MAY_IMPORT[room(path)]
    assert not forbidden, f"{path.name} must not import {sorted(forbidden)}"


def is_chapter(path):
    """Say whether a file holds what belongs to one chapter: there is a chapter of its name."""
    return any(BOOK.glob(f"[0-9][0-9]_{path.stem}.md"))


CHAPTERS = [
    path
    for folder in ("ddpm_lib/exercises", "tests/exercises", "tests/ledger")
    for path in sorted((LIBRARY.parent / folder).glob("*.py"))
    if is_chapter(path)
]


@pytest.mark.parametrize("path", CHAPTERS, ids=lambda path: str(path.relative_to(LIBRARY.parent)))
def test_a_chapter_imports_no_other_chapter(path):
    found = [node.module for node in ast.walk(ast.parse(path.read_text("utf8"))) if isinstance(node, ast.ImportFrom)]
    rooms = {".".join(other.relative_to(LIBRARY.parent).with_suffix("").parts) for other in CHAPTERS}
    assert not rooms & set(found)


def test_the_picture_has_no_cycle():
    """Take away, again and again, the rooms that import no other room that is left."""
    left = {name: MAY_IMPORT[name] & MAY_IMPORT.keys() - {name} for name in MAY_IMPORT}
    while left:
        free = {name for name, targets in left.items() if not targets & left.keys()}
        assert free, f"these import one another: {sorted(left)}"
        left = {name: targets for name, targets in left.items() if name not in free}


def test_the_reader_of_imports_sees_every_form(tmp_path):
    source = tmp_path / "module.py"
    source.write_text(
        "import os, numpy as np\nfrom keras import ops\nfrom ddpm_lib.config import InputError\n"
        "from ddpm_lib import images, __version__\ndef late():\n    import ddpm_lib.training\n"
    )
    assert imports(source) == {"numpy", "keras", "images", "ddpm_lib", "training"}


@pytest.mark.skipif(sys.platform != "linux", reason="TensorFlow has these kernels on Linux and Windows")
@pytest.mark.parametrize("given, expected", [({}, "1"), ({"TF_ENABLE_ONEDNN_OPTS": "0"}, "0")])
def test_onednn_is_on_unless_the_reader_says_otherwise(given, expected):
    """TensorFlow reads the variable when it is imported; on processors without AVX-512 its own default is off."""
    environment = {name: value for name, value in os.environ.items() if name != "TF_ENABLE_ONEDNN_OPTS"}
    environment["KERAS_BACKEND"] = "tensorflow"
    program = "import os, ddpm_lib.training; print(os.environ['TF_ENABLE_ONEDNN_OPTS'])"
    run = subprocess.run(
        [sys.executable, "-c", program], env=environment | given, capture_output=True, text=True, check=True
    )
    assert run.stdout.split() == [expected]
    assert ("oneDNN custom operations are on" in run.stderr) == (expected == "1"), "TensorFlow's own word for it"
