"""The last write before the end: a signal, a full disk, a folder that vanished, two runs in one folder."""

import errno
import fcntl
import os
import pathlib
import pty
import shutil
import signal
import subprocess
import sys
import tempfile
import termios
import time

import keras
import numpy as np
import pytest

from ddpm_lib import checkpoints, cli, images, stopping, training
from ddpm_lib.cli import conventions
from ddpm_lib.config import InputError
from ddpm_lib.files import CannotWrite, whole_or_not_at_all
from tests.test_cli import ROOT, TRAIN, WITH_SMALL_NETWORKS, use_small_networks
from tests.test_training import IMAGES, TINY, callbacks, new_trainer


class AtStep(keras.callbacks.Callback):
    """Does something before the step of a number."""

    def __init__(self, step, act):
        super().__init__()
        self.step, self.act = step, act

    def on_train_batch_begin(self, batch, logs=None):
        if self.model.step == self.step:
            self.act()


# --- signals ---


@pytest.mark.slow
@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM", "SIGHUP"])
def test_whatever_ends_training_lets_it_finish_the_step_and_save(tmp_path, monkeypatch, name):
    number, saved = getattr(signal, name), []
    monkeypatch.setattr(checkpoints, "save", lambda trainer, path: saved.append((trainer.step, path.name)))
    monkeypatch.setattr(stopping, "_forget_terminal", lambda: None)  # it is that of the tests
    before = signal.signal(number, signal.SIG_DFL)
    try:
        act = AtStep(1, lambda: os.kill(os.getpid(), number))
        with pytest.raises(KeyboardInterrupt):
            training.fit_run(new_trainer(), IMAGES, [act, *callbacks(tmp_path / "run")], verbose=0)
        assert signal.getsignal(number) == signal.SIG_DFL
    finally:
        signal.signal(number, before)
    assert saved == [(2, "latest.keras")]


@pytest.mark.slow
def test_the_command_takes_sigterm_as_ctrl_c(tmp_path, monkeypatch, capsys):
    use_small_networks(monkeypatch)
    monkeypatch.setattr(
        training.SampleGrid, "on_train_begin", lambda grid, logs=None: os.kill(os.getpid(), signal.SIGTERM)
    )
    assert cli.main([*TRAIN, "--out", str(tmp_path)]) == 130
    assert capsys.readouterr().err.splitlines()[-1] == "ddpm train: interrupted"
    assert checkpoints.resume(tmp_path / "latest.keras").step == 1


def test_nohup_is_respected():
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with stopping.FinishStepOnInterrupt():
            assert signal.getsignal(signal.SIGHUP) == signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, before)


def test_printing_to_a_lost_terminal_is_no_error():
    """The signal may come after the first line that nobody reads."""
    ours, theirs = pty.openpty()
    program = "from ddpm_lib.cli import conventions; conventions.mend_streams(); print('ready'); input(); print('more')"
    process = subprocess.Popen(
        [sys.executable, "-c", program], cwd=ROOT, stdin=subprocess.PIPE, stdout=theirs, stderr=theirs
    )
    os.close(theirs)
    assert os.read(ours, 100).strip() == b"ready"
    os.close(ours)
    process.communicate(b"\n", timeout=100)
    assert process.returncode == 0


@pytest.mark.slow
def test_a_lost_terminal_saves(tmp_path):
    def begin():
        fcntl.ioctl(0, termios.TIOCSCTTY, 0)
        signal.signal(signal.SIGHUP, signal.SIG_DFL)  # the tests may run under nohup

    ours, theirs = pty.openpty()
    command = [sys.executable, "-c", WITH_SMALL_NETWORKS, *TRAIN[1:], "--epochs", "100000", "--out", tmp_path / "run"]
    process = subprocess.Popen(
        [str(part) for part in command],
        **{"cwd": ROOT, "stdin": theirs, "stdout": theirs, "stderr": theirs, "start_new_session": True},
        preexec_fn=begin,
    )
    os.close(theirs)
    os.set_blocking(ours, False)
    while not (tmp_path / "run/history.csv").exists():
        assert process.poll() is None
        try:
            os.read(ours, 10**6)
        except BlockingIOError:
            time.sleep(0.1)
    os.close(ours)  # the terminal goes away
    assert process.wait(timeout=300) == 130
    history = (tmp_path / "run/history.csv").read_text().splitlines()
    assert checkpoints.resume(tmp_path / "run/latest.keras").step >= int(history[-1].split(",")[1])


# --- disks ---


def full_disk(folder, monkeypatch):
    """Let no file get its name in a folder."""
    replace = os.replace

    def refuse(source, target):
        if pathlib.Path(target).is_relative_to(folder):
            raise OSError(errno.ENOSPC, "No space left on device")
        return replace(source, target)

    monkeypatch.setattr(os, "replace", refuse)


@pytest.mark.slow
@pytest.mark.parametrize("cause", ["vanished", "full"])
def test_a_state_that_cannot_be_saved_is_rescued(tmp_path, monkeypatch, capsys, cause):
    folder = tmp_path / "run"
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.setattr(tempfile, "gettempdir", lambda: str(tmp_path / "elsewhere"))
    act = (lambda: shutil.rmtree(folder)) if cause == "vanished" else (lambda: full_disk(folder, monkeypatch))
    grid = training.SampleGrid(folder, 3, num_images=1)
    with pytest.raises(CannotWrite) as caught:
        training.fit_run(new_trainer(), IMAGES, [AtStep(1, act), grid, *callbacks(folder)], verbose=0)
    [rescue] = tmp_path.glob("elsewhere/*/rescued_step_3.keras")
    reason = {"vanished": "No such file or directory", "full": "No space left on device"}[cause]
    assert str(caught.value) == (
        f"cannot write {folder}/unet_epoch_1.keras: {reason}; the state was saved to {rescue}: "
        f"go on with --resume {rescue} and another --out"
    )
    assert capsys.readouterr().err.splitlines() == [
        f"the samples were not written: cannot write {folder}/samples/epoch_1.png: {reason}",
        f"the history was not written: cannot write {folder}/history.csv: {reason}",
    ]
    trainer = checkpoints.resume(rescue)  # the advice is followed
    assert trainer.step == 3 and len(trainer.rows) == 1


def test_two_states_rescued_at_one_step_are_two_files(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "gettempdir", lambda: str(tmp_path))
    for seed in (5, 6):
        saver = checkpoints.SaveCheckpoints(tmp_path / "gone", 3)
        saver.set_model(new_trainer(TINY.replace(train={"seed": seed})))
        saver.on_train_begin()
        with pytest.raises(CannotWrite, match="the state was saved to"):
            saver.on_epoch_end(0)
    rescued = tmp_path.glob("*/rescued_step_0.keras")
    assert sorted(checkpoints.read_config(path).train.seed for path in rescued) == [5, 6]


@pytest.mark.slow
def test_where_nothing_can_be_saved_the_last_whole_state_is_named(tmp_path, monkeypatch):
    folder = tmp_path / "run"
    act = AtStep(4, lambda: full_disk("/", monkeypatch))
    with pytest.raises(CannotWrite) as caught:
        training.fit_run(new_trainer(), IMAGES, [act, *callbacks(folder)], verbose=0)
    advice = f"; make room there, then go on with --resume {folder}/latest.keras"
    assert str(caught.value) == f"cannot write {folder}/unet_epoch_2.keras: No space left on device{advice}"
    monkeypatch.undo()
    assert checkpoints.resume(folder / "latest.keras").step == 3
    assert not [path for path in folder.rglob("*") if "tmp" in path.name]


@pytest.mark.parametrize(
    "name, write",
    [
        ("x.png", lambda path: images.save_png(path, np.zeros((2, 2, 1), np.uint8))),
        ("x.gif", lambda path: images.save_gif(path, [np.zeros((2, 2, 1), np.uint8)] * 2)),
        ("x.png", lambda path: images.save_strip(path, [np.zeros((2, 2, 1), np.uint8)], ["x"])),
        ("x.keras", lambda path: checkpoints.save(new_trainer(), path)),
        ("samples.npz", lambda path: conventions.save_samples(path.parent, np.zeros((1, 2, 2, 1), np.uint8), [0])),
        pytest.param("x.npz", lambda path: checkpoints.export("digits", path), marks=pytest.mark.slow),
    ],
)
def test_a_full_disk_leaves_the_old_file_and_no_half_one(tmp_path, monkeypatch, name, write):
    path = tmp_path / name
    path.write_bytes(b"old")
    with monkeypatch.context() as context:
        full_disk(tmp_path, context)
        with pytest.raises(CannotWrite, match=f"cannot write {path}: No space left on device"):
            write(path)
    assert path.read_bytes() == b"old" and [file.name for file in tmp_path.iterdir()] == [name]
    write(path)
    assert path.read_bytes() != b"old"


def test_what_is_flushed_may_be_written_to(tmp_path, monkeypatch):
    flags = []
    monkeypatch.setattr(os, "fsync", lambda handle: flags.append(fcntl.fcntl(handle, fcntl.F_GETFL)))
    with whole_or_not_at_all(tmp_path / "x") as temporary:
        temporary.write_text("x")
    assert flags[0] & os.O_ACCMODE == os.O_RDWR, "Windows refuses to flush anything else"


def test_no_room_to_unpack_a_checkpoint_is_one_line(tmp_path, monkeypatch, capsys):
    checkpoints.save(new_trainer(), tmp_path / "x.keras")
    (tmp_path / "temporary").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "temporary"))

    def refuse(path, content):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(pathlib.Path, "write_bytes", refuse)
    assert cli.main(["info", "--model", str(tmp_path / "x.keras")]) == 2
    line = capsys.readouterr().err.splitlines()[-1]
    assert f"cannot unpack {tmp_path}/x.keras where temporary files go (No space left on device)" in line
    assert line.endswith("name another folder with TMPDIR") and "Errno" not in line
    assert not list((tmp_path / "temporary").iterdir())


def test_a_folder_in_the_place_of_a_file_is_named(tmp_path, capsys):
    with pytest.raises(CannotWrite, match="Is a directory"), whole_or_not_at_all(tmp_path) as temporary:
        temporary.write_text("x")
    (tmp_path / "out.npz").mkdir()
    assert cli.main(["export", "--model", "digits", "--out", str(tmp_path / "out.npz")]) == 2
    assert "is a folder: name a file in it, ending in .npz" in capsys.readouterr().err


# --- two runs ---


def test_two_runs_in_one_folder_are_refused(tmp_path, capsys):
    folder = tmp_path / "run"
    folder.mkdir()
    with conventions.sole_user(folder):
        assert cli.main(["train", "--out", str(folder)]) == 2
        line = capsys.readouterr().err.splitlines()[-1]
        assert f"another run is writing to {folder}: wait for it, or name another --out" in line
    with conventions.sole_user(folder):
        pass
    assert not list(folder.iterdir())


def test_a_dead_process_holds_no_folder(tmp_path):
    script = f"""
import os, time
from ddpm_lib.cli.conventions import sole_user
with sole_user({str(tmp_path)!r}):
    print("held", flush=True)
    time.sleep(600)
"""
    process = subprocess.Popen([sys.executable, "-c", script], cwd=ROOT, stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "held\n"
    with pytest.raises(InputError, match="another run"), conventions.sole_user(tmp_path):
        pass
    process.kill()
    process.wait()
    with conventions.sole_user(tmp_path):
        pass


def test_a_run_that_began_meanwhile_is_not_overwritten(tmp_path, capsys, monkeypatch):
    """Both saw an empty folder; the first had finished before the second took hold of it."""
    held = conventions.sole_user

    def late(folder):
        (folder / "latest.keras").write_bytes(b"of the first")
        return held(folder)

    monkeypatch.setattr(cli.importlib.import_module("ddpm_lib.cli.train"), "sole_user", late)
    assert cli.main(["train", "--out", str(tmp_path / "run")]) == 2
    assert "holds a run already" in capsys.readouterr().err
    assert (tmp_path / "run/latest.keras").read_bytes() == b"of the first"
