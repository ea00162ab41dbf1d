"""Checkpoints from strangers: everything a file may say is checked before anything is built, and no code of it runs."""

import json
import shutil
import sys
import warnings
import zipfile

import h5py
import keras
import numpy as np
import pytest

from ddpm_lib import checkpoints, cli, training, unet, vetting
from ddpm_lib.config import InputError
from tests.test_training import IMAGES, TINY, callbacks, new_trainer


@pytest.fixture(scope="module")
def good(tmp_path_factory):
    """A file of each kind, of one run."""
    folder = tmp_path_factory.mktemp("good") / "run"
    training.fit_run(new_trainer(TINY.replace(train={"epochs": 1})), IMAGES, callbacks(folder), verbose=0)
    checkpoints.export(folder / "latest.keras", folder / "small.npz")
    return folder


@pytest.fixture
def nothing_is_built(monkeypatch):
    for module in (checkpoints, training):
        monkeypatch.setattr(module, "build_unet", lambda *_: pytest.fail("a network was built"))


def forged(good, folder, kind, change):
    """Copy a good file with what it says about itself changed by a function."""
    path = folder / f"forged.{kind}"
    if kind == "npz":
        with np.load(good / "small.npz") as arrays:
            content = dict(arrays)
        about = json.loads(content["about"].item())
        change(about)
        np.savez(path, **{**content, "about": np.array(json.dumps(about).encode())})
        return path
    with zipfile.ZipFile(good / "latest.keras") as source, zipfile.ZipFile(path, "w") as target:
        for name in source.namelist():
            content = source.read(name)
            if name == "config.json":
                values = json.loads(content)
                change(values["config"])
                content = json.dumps(values)
            target.writestr(name, content)
    return path


def setting(section, **values):
    return lambda about: about["config"][section].update(values)


FORGERIES = {
    "no steps": setting("diffusion", num_steps=0),
    "steps without end": setting("diffusion", num_steps=10**10),
    "half a step": setting("diffusion", num_steps=1.5),
    "beta of text": setting("diffusion", beta_start="x"),
    "beta above one": setting("diffusion", beta_end=2.0),
    "so many steps that nothing is left": setting("diffusion", num_steps=100_000),
    "betas that leave nothing": setting("diffusion", beta_start=0.9),
    "unknown schedule": setting("diffusion", kind="x"),
    "no levels": setting("unet", widths=[]),
    "a million blocks": setting("unet", blocks_per_level=10**6),
    "huge embedding": setting("unet", time_dim=10**9),
    "large embedding": setting("unet", time_dim=60_000),
    "wide levels": setting("unet", widths=[16_384]),
    "huge attention": setting("unet", attention_dim=65_536),
    "huge patches": setting("unet", image_size=1024, patch=1024),
    "image of nothing": setting("unet", image_size=None),
    "preset that is a path": lambda about: about["config"].update(preset="../../x"),
    "preset that a terminal obeys": lambda about: about["config"].update(preset="\x1b[2J"),
    "preset with a zero byte": lambda about: about["config"].update(preset="a\0b"),
    "dataset that a terminal obeys": setting("data", dataset="\x1b[2J"),
    "no batch": setting("train", batch_size=0),
    "unknown precision": setting("train", precision="float1"),
    "rows missing": lambda about: about.pop("rows"),
    "rows of a number": lambda about: about.update(rows=3),
    "row of a text": lambda about: about.update(rows=["x"]),
    "row without a loss": lambda about: about["rows"][0].pop("loss"),
    "row with a loss of text": lambda about: about["rows"][0].update(loss="x"),
    "row of nan": lambda about: about["rows"][0].update(loss=float("nan")),
    "no configuration": lambda about: about.pop("config"),
    "configuration of a list": lambda about: about.update(config=[1]),
    "section of a number": lambda about: about["config"].update(unet=5),
}


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["keras", "npz"])
@pytest.mark.parametrize("name", FORGERIES)
def test_a_forged_file_is_one_line_and_nothing_is_built(good, tmp_path, capsys, nothing_is_built, kind, name):
    path = forged(good, tmp_path, kind, FORGERIES[name])
    for command in (
        *("generate --model", "info --model", "train --resume"),
        *(f"export --out {tmp_path}/x.npz --model", f"evaluate --dataset digits --out {tmp_path}/e --model"),
    ):
        assert cli.main([*command.split(), str(path)]) == 2, command
        line = capsys.readouterr().err.strip().splitlines()[-1]
        assert str(path) in line and len(line) < 400 and line.isprintable()
    assert [file.name for file in tmp_path.iterdir()] == [path.name]


@pytest.mark.parametrize("step", [None, "x", -1, 1.5, True, 2**31, 10**30])
def test_the_step_of_an_exported_file_is_checked(good, tmp_path, step):
    path = forged(good, tmp_path, "npz", lambda about: about.update(step=step))
    with pytest.raises(InputError, match="step must be a whole number"):
        checkpoints.load(path)
    with pytest.raises(InputError, match="is not a checkpoint"):
        checkpoints.load(forged(good, tmp_path, "npz", lambda about: about.pop("step")))


def test_the_least_number_of_weights_is_never_too_many():
    networks = [{}, {"widths": (4, 8)}, {"widths": (8, 4, 12)}, {"widths": (64,), "patch": 4, "channels": 3}]
    for config in (TINY.replace(unet=network) for network in networks):
        assert vetting._least_weights(config.unet) < unet.build_unet(config.unet).count_params()


def test_channels_that_no_picture_has_are_refused_before_drawing(good, tmp_path, capsys, nothing_is_built):
    path = forged(good, tmp_path, "npz", setting("unet", channels=5))
    assert cli.main(["generate", "--model", str(path), "--out", str(tmp_path / "out")]) == 2
    assert f"{path} draws 5 channels: a picture to look at has 1 (grey) or 3 (RGB)" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("name", ["data_dir", "cache_dir"])
@pytest.mark.parametrize("place", ["\ud800", "a\0b", ""])
def test_a_place_that_cannot_be_is_one_line(good, tmp_path, capsys, nothing_is_built, name, place):
    data = {"dataset": "folder", "data_dir": str(tmp_path), "cache_dir": str(tmp_path / "cache"), name: place}

    def change(about):
        about["config"]["data"].update(data)
        about["config"]["unet"].update(channels=3)

    path = forged(good, tmp_path, "keras", change)
    assert cli.main(["train", "--resume", str(path)]) == 2
    line = capsys.readouterr().err.strip().splitlines()[-1]
    assert ("no file can be named" in line or "a path" in line) and line.isprintable()
    assert [file.name for file in tmp_path.iterdir()] == [path.name]


def test_no_code_of_a_files_choosing_runs(good, tmp_path, monkeypatch):
    """The file names another module, a Lambda and a compile configuration; the library takes none of it."""
    (tmp_path / "evil_module.py").write_text("raise SystemExit('it ran')\nclass DiffusionTrainer: pass\n")
    monkeypatch.syspath_prepend(tmp_path)
    path = tmp_path / "evil.keras"
    with zipfile.ZipFile(good / "latest.keras") as source, zipfile.ZipFile(path, "w") as target:
        for name in source.namelist():
            content = source.read(name)
            if name == "config.json":
                values = json.loads(content)
                values |= {"module": "evil_module", "registered_name": "evil>DiffusionTrainer"}
                values["compile_config"] = {"optimizer": {"module": "evil_module", "class_name": "x", "config": {}}}
                values["build_config"] = {"input_shape": {"module": "evil_module", "class_name": "x", "config": {}}}
                content = json.dumps(values)
            target.writestr(name, content)
    trainer = checkpoints.resume(path)
    assert type(trainer) is training.DiffusionTrainer and trainer.step == 3
    assert "evil_module" not in sys.modules
    assert isinstance(trainer.optimizer, keras.optimizers.Adam)


def with_weights(good, path, change):
    """Copy a good file with its HDF5 part changed by a function."""
    part = path.with_suffix(".h5")
    with zipfile.ZipFile(good / "latest.keras") as source, zipfile.ZipFile(path, "w") as target:
        part.write_bytes(source.read("model.weights.h5"))
        with h5py.File(part, "r+") as file:
            change(file)
        for name in source.namelist():
            target.writestr(name, part.read_bytes() if name == "model.weights.h5" else source.read(name))
    return path


def datasets(file):
    found = []
    file.visititems(lambda name, entry: found.append(name) if isinstance(entry, h5py.Dataset) else None)
    return found


def replace_by_bomb(file):
    name = datasets(file)[0]
    del file[name]
    file.create_dataset(name, shape=(10**6, 10**6), dtype="f4", chunks=(1000, 1000), compression="gzip")


def replace_by_link(file):
    name = datasets(file)[0]
    del file[name]
    file[name] = h5py.ExternalLink("/etc/hostname", "x")


def empty_the_optimizer(file):
    for name in list(file["optimizer/vars"]):
        del file["optimizer/vars"][name]


def forget_a_weight(file):
    name = next(n for n in datasets(file) if n.startswith("ema_network"))
    del file[name]


def negative_step(file):
    name = next(n for n in datasets(file) if file[n].shape == () and file[n].dtype == np.int32 and n.startswith("vars"))
    file[name][()] = -5


@pytest.mark.parametrize(
    "change, words",
    [
        (replace_by_bomb, "promises more than it holds"),
        (replace_by_link, "lies elsewhere"),
        (empty_the_optimizer, "damaged"),
        (forget_a_weight, "damaged"),
        (negative_step, "its step is -5"),
    ],
)
def test_weights_are_checked_before_keras_reads_them(good, tmp_path, change, words, capfd):
    path = with_weights(good, tmp_path / "x.keras", change)
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)  # nor does Keras say anything beside our line
        with pytest.raises(InputError, match=words) as caught:
            checkpoints.resume(path)
    assert "\n" not in str(caught.value)
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("name", ["config.json", "about.npy"])
def test_a_file_that_unpacks_to_far_more_is_refused_unread(good, tmp_path, name, monkeypatch):
    path = tmp_path / "bomb.keras"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(name, bytes(10**8))
    monkeypatch.setattr(zipfile.ZipFile, "read", lambda *_: pytest.fail("it was read"))
    monkeypatch.setattr(vetting.np, "load", lambda *_: pytest.fail("it was read"))
    with pytest.raises(InputError, match="unpacks to 100,000,000 bytes"):
        checkpoints.load(path)


def test_a_wrong_ending_is_named(good, tmp_path):
    shutil.copy(good / "latest.keras", tmp_path / "run.zip")
    with pytest.raises(InputError, match="must have its ending back"):
        checkpoints.load(tmp_path / "run.zip")
    shutil.copy(good / "small.npz", tmp_path / "small.keras")  # its folder would pass for that of a run
    for read in (checkpoints.load, checkpoints.resume, checkpoints.read_config):
        with pytest.raises(InputError, match="must have its ending back"):
            read(tmp_path / "small.keras")
    (tmp_path / "x.weights.h5").write_bytes(b"\x89HDF\r\n\x1a\n")
    with pytest.raises(InputError, match=r"has weights only: name the \.keras file"):
        checkpoints.load(tmp_path / "x.weights.h5")
