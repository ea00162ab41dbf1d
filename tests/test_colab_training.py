"""The cells of chapter 60 that train on Colab, executed here with a tiny archive in the place of CelebA."""

import hashlib
import shutil
import sys
import types
import urllib.request
import zipfile

import jupytext
import numpy as np
import pytest
from PIL import Image

from ddpm_lib import cli
from tests.ledger.displays import BOOK


@pytest.fixture
def colab(tmp_path, monkeypatch):
    """Run the cells as on Colab: a Drive to mount, a shell that keeps its commands, an archive to fetch."""
    source = tmp_path / "fetched.zip"
    with zipfile.ZipFile(source, "w") as archive:
        for number in range(3):
            picture = np.random.default_rng(number).integers(0, 256, (218, 178, 3), dtype=np.uint8)
            Image.fromarray(picture).save(tmp_path / "face.jpg")
            archive.write(tmp_path / "face.jpg", f"img_align_celeba/{number:06d}.jpg")
    (tmp_path / "MyDrive").mkdir()
    module = types.SimpleNamespace(drive=types.SimpleNamespace(mount=lambda place: None))
    monkeypatch.setitem(sys.modules, "google.colab", module)
    monkeypatch.setattr(urllib.request, "urlretrieve", lambda address, path: shutil.copy(source, path))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("HOME", str(tmp_path))
    commands, shown = [], []
    shell = types.SimpleNamespace(system=commands.append)
    names = {"get_ipython": lambda: shell, "display": shown.append, "Image": types.SimpleNamespace(open=str)}
    exec("import pathlib", names)
    notebook = jupytext.read(BOOK / "60_training_on_faces.md")
    cells = [cell.source for cell in notebook.cells if cell.cell_type == "code" and "if train_here" in cell.source]

    def run(number):
        text = cells[number].replace("train_here = False", "train_here = True")
        exec(text.replace("/content/drive", str(tmp_path)), names)

    return types.SimpleNamespace(run=run, commands=commands, names=names, folder=tmp_path / "MyDrive" / "ddpm")


def believe_any_archive(monkeypatch):
    right = types.SimpleNamespace(hexdigest=lambda: "46fb89443c578308acf364d7d379fe1b9efb793042c0af734b6112e4fd3a8c74")
    monkeypatch.setattr(hashlib, "file_digest", lambda file, name: right)


def test_wrong_archive_is_refused(colab):
    with pytest.raises(SystemExit, match="this is not the archive: delete"):
        colab.run(0)


def test_cells_prepare_train_resume_and_draw(colab, monkeypatch, capsys):
    believe_any_archive(monkeypatch)
    colab.run(0)
    assert "Prepared 3 images at 64x64" in capsys.readouterr().err

    def command():
        program, *arguments = colab.commands.pop().split()
        assert program == "ddpm"
        return cli._parser().parse_args(arguments)

    colab.run(1)
    flags = command()
    assert (flags.dataset, flags.epochs, flags.save_every, flags.resume) == ("celeba", 10, 4000, None)
    assert flags.data_dir == str(colab.folder / "img_align_celeba.zip")
    assert flags.out == str(colab.folder / "celeba64")

    (colab.folder / "celeba64").mkdir()
    (colab.folder / "celeba64" / "latest.keras").touch()
    colab.run(1)
    flags = command()
    assert flags.resume == str(colab.folder / "celeba64" / "latest.keras")
    assert (flags.dataset, flags.out, flags.epochs) == (None, None, None), "the checkpoint knows"

    colab.run(2)
    assert command().model == str(colab.folder / "celeba64" / "latest.keras")
