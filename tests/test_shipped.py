"""The models that come with the project: whole, found by name, the same on every backend; and files for sharing."""

import hashlib
import json
import pathlib
import re
import runpy
import shutil
import socket
import subprocess
import sys
import zipfile

import keras
import numpy as np
import pytest

import ddpm_lib
from ddpm_lib import checkpoints, cli, data, images, training
from ddpm_lib.cli import generate, train
from ddpm_lib.config import PRESETS, InputError, RunConfig
from tests.test_cli import refused, run
from tests.test_training import IMAGES, TINY, callbacks, new_trainer

ROOT = pathlib.Path(__file__).parents[1]
FOLDER = ROOT / "data/checkpoints"
MANIFEST = json.loads((FOLDER / "manifest.json").read_text("utf8"))


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    """A short run that noted where its images lay."""
    folder = tmp_path_factory.mktemp("shipped") / "run"
    trainer = new_trainer(
        TINY.replace(train={"epochs": 2}, data={"data_dir": "a/private/folder", "cache_dir": "a/private/cache"})
    )
    training.fit_run(trainer, IMAGES, callbacks(folder), verbose=0)
    return folder / "latest.keras"


@pytest.fixture
def exported(checkpoint, tmp_path):
    checkpoints.export(checkpoint, tmp_path / "small.npz")
    return tmp_path / "small.npz"


# --- What is shipped -------------------------------------------------------------------------------------------------


def test_the_folder_holds_what_the_manifest_says_and_no_more():
    assert {path.name for path in FOLDER.glob("*.npz")} == {entry["file"] for entry in MANIFEST.values()}
    assert sum(path.stat().st_size for path in FOLDER.iterdir()) < 40e6
    for entry in MANIFEST.values():
        content = (FOLDER / entry["file"]).read_bytes()
        assert hashlib.sha256(content).hexdigest() == entry["sha256"] and len(content) == entry["bytes"]
        assert re.fullmatch("[0-9a-f]{40}", entry["commit"]) and entry["data"]["terms"]


@pytest.mark.parametrize("name", MANIFEST)
def test_a_shipped_file_is_plain_arrays_that_say_how_they_were_made(name):
    entry = MANIFEST[name]
    with np.load(FOLDER / entry["file"], allow_pickle=False) as arrays:
        about = json.loads(arrays["about"].item())
        weights = {key: arrays[key] for key in arrays.files if key != "about"}
    assert {array.dtype for array in weights.values()} == {np.dtype("float16")}
    assert all(np.isfinite(array).all() for array in weights.values())
    assert sum(array.size for array in weights.values()) == entry["weights"]
    assert about["config"]["data"]["data_dir"] is None
    # Settings that came after the file was made have their defaults.
    assert RunConfig.from_dict(about["config"]).unet == PRESETS[entry["preset"]].unet
    assert about["step"] == entry["steps"] and len(about["rows"]) == entry["epochs"]
    assert entry["images_seen"] == entry["steps"] * about["config"]["train"]["batch_size"]
    per_epoch = entry["data"]["count"] // about["config"]["train"]["batch_size"]
    assert [row["step"] for row in about["rows"]] == [per_epoch * (i + 1) for i in range(entry["epochs"])]
    assert entry["loss"]["all"] == pytest.approx(about["rows"][-1]["loss"], abs=1e-5)


def test_the_model_card_has_the_manifests_numbers_and_a_section_for_each_model():
    card = (FOLDER / "README.md").read_text("utf8")
    ship = runpy.run_path(str(ROOT / "data/ship.py"))
    assert ship["table"](MANIFEST) == card.split(ship["TABLE_MARK"])[1]
    assert set(re.findall(r"^## (\w+)", card, re.MULTILINE)) == set(MANIFEST)


def test_storing_as_float16_changed_nothing_that_counts():
    for name in ("digits", "faces32"):  # of faces the weights as trained were not kept
        storage = MANIFEST[name]["storage"]
        assert storage["loss_as_shipped"] == pytest.approx(storage["loss_as_trained"], rel=1e-3)
        assert storage["mean_difference"] < 0.5  # of 255


def test_the_digits_loss_is_what_the_manifest_says():
    """From the numbers alone: x_t by Eq. 4, mean squared error by Eq. 14."""
    model = ddpm_lib.load("digits")
    digits = data.load_images(model.config.data, model.config.unet)
    assert len(digits) == MANIFEST["digits"]["data"]["count"]
    x_0 = images.from_uint8(digits[:256])
    generator = np.random.default_rng(1)
    t = generator.integers(0, 1000, 256).astype("int32")
    noise = generator.standard_normal(x_0.shape).astype("float32")
    alpha_bar = np.cumprod(1 - np.linspace(1e-4, 0.02, 1000))[t][:, None, None, None]
    x_t = (np.sqrt(alpha_bar) * x_0 + np.sqrt(1 - alpha_bar) * noise).astype("float32")
    loss = np.mean((keras.ops.convert_to_numpy(model.predict_noise(x_t, t)) - noise) ** 2)
    assert loss == pytest.approx(MANIFEST["digits"]["storage"]["loss_as_shipped"], rel=0.25)  # other steps and noise


def test_every_model_that_the_texts_name_is_shipped():
    texts = [path.read_text("utf8") for path in (ROOT / "README.md", ROOT / "data/README.md", FOLDER / "README.md")]
    named = {name for text in texts for name in re.findall(r"--model (\w+)(?=\s|`)", text)}
    assert named and named | {generate.DEFAULT_MODEL} <= set(MANIFEST)


@pytest.mark.slow
def test_backends_draw_the_same_pictures(tmp_path):
    out = tmp_path / "backends.json"
    command = [sys.executable, "benchmarks/backends.py", "--num_samples", "2", "--steps", "6", "--out", out]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    models = json.loads(out.read_text())["models"]
    if not models:
        pytest.skip("one backend is installed")
    assert set(models) == set(MANIFEST)
    for pairs in models.values():
        for pair, found in pairs.items():
            assert found["max_difference"] <= 2, (pair, found)


# --- Found by name ---------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_generate_draws_offline_without_a_model_named(tmp_path, monkeypatch, capsys):
    def refuse(*arguments):
        raise OSError("no network here")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.chdir(tmp_path)
    assert cli.main(["generate", "--num_samples", "2", "--steps", "2"]) == 0
    assert generate.DEFAULT_MODEL in capsys.readouterr().out
    size = ddpm_lib.load(generate.DEFAULT_MODEL).config.unet.image_size
    assert np.load(tmp_path / "generated/samples.npz")["images"].shape[:3] == (2, size, size)


@pytest.mark.slow
def test_an_installed_package_brings_the_models(tmp_path):
    pytest.importorskip("setuptools", minversion="77")
    for name in ("ddpm_lib", "data"):
        shutil.copytree(ROOT / name, tmp_path / "source" / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, tmp_path / "source")
    script = "from setuptools import build_meta; build_meta.build_wheel('..')"
    assert run("-c", script, cwd=tmp_path / "source").returncode == 0
    [wheel] = tmp_path.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(tmp_path / "installed")
    shutil.rmtree(tmp_path / "source")
    script = "import ddpm_lib; print(ddpm_lib.__file__, ddpm_lib.load('digits').step)"
    result = run("-c", script, cwd=tmp_path, env={"PYTHONPATH": str(tmp_path / "installed")})
    assert result.stdout.split() == [str(tmp_path / "installed/ddpm_lib/__init__.py"), "672"], result.stderr


def test_unknown_names_and_folders_get_one_line(capsys, tmp_path):
    line = refused(capsys, "generate", "--model", "fases", "--out", tmp_path / "out")
    assert "fases" in line and all(name in line for name in MANIFEST)
    (tmp_path / "run").mkdir()
    assert "latest.keras" in refused(capsys, "info", "--model", tmp_path / "run")
    assert not (tmp_path / "out").exists()


def test_a_shipped_file_that_changed_is_refused(capsys, tmp_path, monkeypatch):
    shutil.copy(FOLDER / "manifest.json", tmp_path)
    monkeypatch.setattr(checkpoints, "SHIPPED_FOLDERS", (tmp_path / "nowhere", tmp_path))
    assert "digits.npz" in refused(capsys, "info", "--model", "digits")  # the file is missing
    content = bytearray((FOLDER / "digits.npz").read_bytes())
    content[len(content) // 2] ^= 1
    (tmp_path / "digits.npz").write_bytes(content)
    line = refused(capsys, "generate", "--model", "digits", "--out", tmp_path / "out")
    assert "not the file that was shipped" in line


def test_an_installation_without_models_says_so(monkeypatch, capsys):
    monkeypatch.setattr(checkpoints, "SHIPPED_FOLDERS", ())
    assert "missing from this installation" in refused(capsys, "generate")


# --- Files for sharing -----------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_an_exported_file_is_the_average_and_no_path(checkpoint, exported):
    ours, original = ddpm_lib.load(exported), ddpm_lib.load(checkpoint)
    for weight, stored in zip(original.network.get_weights(), ours.network.get_weights(), strict=True):
        # float16 has 11 significant bits, and nothing finer than 2^-24.
        assert np.abs(weight - stored).max() <= max(2**-11 * np.abs(weight).max(), 2**-25)
    assert ours.config == original.config.replace(data={"data_dir": None, "cache_dir": None})
    assert ours.step == original.step == 6
    assert repr(ours.rows) == repr(original.rows) and len(ours.rows) == 2  # nan is unequal to itself
    assert b"private" not in exported.read_bytes()
    again = exported.with_name("again.npz")
    checkpoints.export(exported, again)
    assert again.read_bytes() == exported.read_bytes()


@pytest.mark.slow
def test_export_and_info_from_the_command_line(checkpoint, tmp_path, capsys):
    out = tmp_path / "mine.npz"
    assert cli.main(["export", "--model", str(checkpoint), "--out", str(out)]) == 0
    assert f"--model {out}" in capsys.readouterr().out
    assert out.stat().st_size < checkpoint.stat().st_size / 4
    assert cli.main(["info", "--model", str(out)]) == 0
    text = capsys.readouterr().out
    assert "step 6" in text and "after 2 epochs" in text


def test_export_never_writes_over_a_checkpoint(checkpoint, capsys):
    before = checkpoint.read_bytes()
    assert ".npz" in refused(capsys, "export", "--model", checkpoint, "--out", checkpoint)
    assert checkpoint.read_bytes() == before


@pytest.mark.slow
def test_training_goes_on_from_an_exported_file(exported):
    trainer, average = checkpoints.resume(exported), ddpm_lib.load(exported).network.get_weights()
    for network in (trainer.network, trainer.ema_network):
        assert all(map(np.array_equal, network.get_weights(), average))
    assert trainer.step == 6 and len(trainer.rows) == 2
    assert int(np.array(trainer.optimizer.iterations)) == 0  # the warm-up begins again


def test_averaged_weights_may_go_on_otherwise(capsys):
    def resumed(*given):
        return train._resumed(cli._parser().parse_args(["train", "--resume", "faces32", *given]))

    stored = checkpoints.read_config("faces32")
    assert resumed() == stored and resumed("--mirror") == stored
    assert resumed("--no-mirror") == stored.replace(data={"horizontal_flip": False})
    given = ["--lr", "1e-4", "--precision", "mixed_bfloat16", "--jit", "on", "--seed", "7", "--rematerialize"]
    given += ["--min_snr_gamma", "5"]
    chosen = {"learning_rate": 1e-4, "precision": "mixed_bfloat16", "jit": True, "seed": 7, "rematerialize": True}
    chosen["min_snr_gamma"] = 5.0
    assert resumed(*given) == stored.replace(train=chosen)
    assert "batch_size" in refused(capsys, "train", "--resume", "faces32", "--batch_size", "8")


def test_the_trainer_of_averaged_weights_follows_what_was_chosen(exported):
    config = checkpoints.read_config(exported)
    config = config.replace(train={"learning_rate": 0.25, "warmup_steps": 1, "precision": "mixed_bfloat16"})
    trainer = checkpoints.resume(exported, config)
    assert trainer.run == config
    assert "bfloat16" in {layer.compute_dtype for layer in trainer.network.layers}
    assert float(trainer.optimizer.learning_rate) == 0.25


@pytest.mark.parametrize("part, value", [("unet", {"dropout": 0.1}), ("diffusion", {"prediction": "v"})])
def test_averaged_weights_of_another_network_do_not_go_on(exported, part, value):
    config = checkpoints.read_config(exported).replace(**{part: value})
    with pytest.raises(InputError, match=f"do not fit the configuration: its {part} is another one"):
        checkpoints.resume(exported, config)


def test_averaged_weights_do_not_write_over_the_run_they_came_from(checkpoint, capsys):
    before = checkpoint.read_bytes()
    averaged = checkpoint.with_name("averaged.npz")
    checkpoints.export(checkpoint, averaged)
    line = refused(capsys, "train", "--resume", averaged, "--epochs", "9", "--out", checkpoint.parent)
    assert "holds a run already" in line and checkpoint.read_bytes() == before
    averaged.unlink()


def test_the_digits_take_no_folder_of_images_when_they_go_on(capsys):
    assert "need no --data_dir" in refused(capsys, "train", "--resume", "digits", "--data_dir", "here")


@pytest.mark.slow
def test_a_run_that_is_over_leaves_no_empty_folder(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert cli.main(["train", "--resume", "digits"]) == 0
    assert "name more with --epochs" in capsys.readouterr().out
    assert list((tmp_path / "runs").iterdir()) == []


@pytest.mark.slow
def test_a_shipped_model_is_trained_on_in_a_folder_of_its_own(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    before = checkpoints.read_config("digits").train.epochs
    assert cli.main(["train", "--resume", "digits", "--epochs", str(before + 1)]) == 0
    out = capsys.readouterr().out
    assert "the optimizer starts anew" in out
    rows = ddpm_lib.load(f"runs/digits16/unet_epoch_{before + 1}.keras").rows
    assert [row["epoch"] for row in rows] == list(range(1, before + 2))
    # A trained network goes on from where it was: an untrained one would begin at 1.
    assert rows[-1]["loss"] < 1.2 * rows[-2]["loss"]


@pytest.mark.parametrize("kind", ["truncated", "flipped", "missing weight", "other shape", "other arrays"])
def test_damaged_exports_get_one_line(exported, kind):
    content = exported.read_bytes()
    with np.load(exported) as arrays:
        parts = dict(arrays)
    if kind == "truncated":
        exported.write_bytes(content[: len(content) // 2])
    elif kind == "flipped":
        middle = len(content) // 2
        exported.write_bytes(content[:middle] + bytes([content[middle] ^ 255]) + content[middle + 1 :])
    elif kind == "missing weight":
        del parts["head/kernel"]
        np.savez(exported, **parts)
    elif kind == "other shape":
        np.savez(exported, **{**parts, "head/kernel": np.zeros(3, "float16")})
    else:
        np.savez(exported, about=np.array([{}], dtype=object))
    with pytest.raises(InputError, match=exported.name) as caught:
        checkpoints.load(exported)
    assert "\n" not in str(caught.value)
