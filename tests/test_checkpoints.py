"""Checkpoint files: whole or not there, and refused with one line when they are not ours."""

import json
import signal
import time
import types
import zipfile

import keras
import numpy as np
import pytest

import ddpm_lib
from ddpm_lib import checkpoints, training
from ddpm_lib.config import InputError
from tests.test_training import IMAGES, TINY, callbacks, new_trainer


@pytest.fixture(scope="module")
def run_folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("run") / "run"
    trainer = new_trainer(TINY.replace(train={"epochs": 5}))
    training.fit_run(trainer, IMAGES, callbacks(folder, keep=2), verbose=0)
    return folder


@pytest.mark.slow
def test_only_the_newest_epochs_stay(run_folder):
    names = sorted(path.name for path in run_folder.glob("*.keras"))
    assert names == ["latest.keras", "unet_epoch_4.keras", "unet_epoch_5.keras"]
    assert [number for number, _ in checkpoints.epoch_files(run_folder)] == [4, 5]


def test_loading_gives_the_average_in_float32(run_folder):
    path = run_folder / "unet_epoch_5.keras"
    trainer, model = checkpoints.resume(path), ddpm_lib.load(path)
    for ours, average, raw in zip(
        model.network.get_weights(), trainer.ema_network.get_weights(), trainer.network.get_weights(), strict=True
    ):
        assert np.array_equal(ours, average)
        assert not np.array_equal(ours, raw)
    assert model.config == TINY.replace(train={"epochs": 5})
    assert model.image_shape == (8, 8, 1) and model.schedule.num_steps == 1000
    x, t = np.zeros((2, 8, 8, 1), "float32"), np.array([0, 999], "int32")
    assert keras.ops.convert_to_numpy(model.predict_noise(x, t)).shape == (2, 8, 8, 1)


def test_a_checkpoint_is_an_ordinary_keras_file(run_folder):
    trainer = keras.saving.load_model(run_folder / "latest.keras")
    assert isinstance(trainer, training.DiffusionTrainer) and trainer.step == 15


def damaged(run_folder, tmp_path, kind):
    content = (run_folder / "unet_epoch_5.keras").read_bytes()
    path = tmp_path / f"{kind}.keras"
    if kind == "empty":
        path.write_bytes(b"")
    elif kind == "truncated":
        path.write_bytes(content[: len(content) // 2])
    elif kind == "flipped":
        middle = len(content) // 2
        path.write_bytes(content[:middle] + bytes([content[middle] ^ 255]) + content[middle + 1 :])
    elif kind == "text":
        path.write_text("hello")
    elif kind == "foreign":
        keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)]).save(path)
    elif kind == "other_zip":
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("hello.txt", "hello")
    elif kind == "not_text":
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("config.json", b"\xff\xfe{")
    elif kind == "other_version":
        with zipfile.ZipFile(path, "w") as archive:
            run = {**TINY.to_dict(), "train": {"a_new_setting": 1}}
            archive.writestr("config.json", json.dumps({"class_name": "DiffusionTrainer", "config": {"config": run}}))
    return path


KINDS = ["missing", "empty", "truncated", "flipped", "text", "foreign", "other_zip", "not_text", "other_version"]


@pytest.mark.parametrize("kind", KINDS)
def test_damaged_and_foreign_files_get_one_line(run_folder, tmp_path, kind):
    with pytest.raises(InputError) as caught:
        checkpoints.load(damaged(run_folder, tmp_path, kind))
    assert f"{kind}.keras" in str(caught.value) and "\n" not in str(caught.value)


def test_a_failed_save_keeps_the_old_file(run_folder, tmp_path, monkeypatch):
    trainer = checkpoints.resume(run_folder / "latest.keras")
    checkpoints.save(trainer, tmp_path / "x.keras")
    before = (tmp_path / "x.keras").read_bytes()

    def fail(self, path):
        path.write_bytes(b"half")
        raise OSError("disk full")

    monkeypatch.setattr(training.DiffusionTrainer, "save", fail)
    with pytest.raises(OSError, match="disk full"):
        checkpoints.save(trainer, tmp_path / "x.keras")
    assert (tmp_path / "x.keras").read_bytes() == before
    assert [path.name for path in tmp_path.iterdir()] == ["x.keras"]


def save_again_and_again(source, path, saved):
    trainer = checkpoints.resume(source)
    while True:
        checkpoints.save(trainer, path)
        saved.set()


@pytest.mark.slow
def test_a_killed_save_leaves_a_loadable_file(run_folder, processes, tmp_path):
    """kill -9 while one file is saved again and again, at different moments."""
    path = tmp_path / "x.keras"
    for delay in (0.0, 0.02, 0.05):
        saved = processes.Event()
        process = processes.Process(target=save_again_and_again, args=(run_folder / "latest.keras", path, saved))
        process.start()
        assert saved.wait(timeout=300)
        time.sleep(0.01 + delay)
        process.kill()
        process.join()
        assert process.exitcode == -signal.SIGKILL
        assert checkpoints.resume(path).step == 15


def test_a_state_is_saved_every_few_steps_and_once_at_the_end_of_an_epoch(tmp_path, monkeypatch):
    saved = []

    def save(trainer, path):
        saved.append(path.name)
        path.touch()

    monkeypatch.setattr(checkpoints, "save", save)
    (tmp_path / ".latest.123.tmp.keras").touch()
    callback = checkpoints.SaveCheckpoints(tmp_path, per_epoch=4, keep=1, every=2)
    callback.set_model(types.SimpleNamespace(step=0))
    callback.on_train_begin()
    for epoch in range(3):
        for batch in range(4):
            callback.on_train_batch_begin(batch)
        callback.on_epoch_end(epoch)
    assert saved == [name for n in (1, 2, 3) for name in ("latest.keras", f"unet_epoch_{n}.keras")]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["latest.keras", "unet_epoch_3.keras"]


@pytest.mark.slow
def test_leftovers_of_killed_saves_are_removed(tmp_path):
    (tmp_path / "run").mkdir()
    (tmp_path / "run/.latest.123.tmp.keras").write_bytes(b"half")
    training.fit_run(new_trainer(TINY.replace(train={"epochs": 1})), IMAGES, callbacks(tmp_path / "run"), verbose=0)
    assert not list((tmp_path / "run").glob(".*"))


@pytest.mark.slow
def test_a_network_that_predicts_v_is_exported_and_loaded_as_one_that_predicts_noise(tmp_path):
    unet = {"image_size": 8, "patch": 2, "widths": (4, 8)}
    trainer = new_trainer(TINY.replace(unet=unet, diffusion={"kind": "cosine", "prediction": "v"}))
    generator = np.random.default_rng(0)
    weights = [0.3 * generator.standard_normal(w.shape).astype("float16") for w in trainer.ema_network.weights]
    trainer.ema_network.set_weights(weights)
    checkpoints.save(trainer, tmp_path / "run.keras")
    checkpoints.export(tmp_path / "run.keras", tmp_path / "run.npz")
    x, t = generator.standard_normal((2, 8, 8, 1)).astype("float32"), np.array([5, 900], "int32")
    v = keras.ops.convert_to_numpy(trainer.ema_network([x, t]))
    alpha_bar = trainer.schedule.alpha_bars[t].reshape(-1, 1, 1, 1)
    noise = np.sqrt(1 - alpha_bar) * x + np.sqrt(alpha_bar) * v
    for name in ("run.keras", "run.npz"):
        model = ddpm_lib.load(tmp_path / name)
        assert model.config.diffusion.prediction == "v" and model.config.unet.patch == 2
        assert np.abs(keras.ops.convert_to_numpy(model.predict_noise(x, t)) - noise).max() < 1e-5
