"""Several devices compute what one does: logical devices of this machine's processors, and processes on 127.0.0.1.

The file runs on the backend that is set, and a second time on JAX.
"""

import contextlib
import io
import json
import os
import pathlib
import socket
import subprocess
import sys
import time
import zipfile

import h5py
import keras
import numpy as np
import pytest

from ddpm_lib import checkpoints, cli, config, distribution, training
from ddpm_lib.config import InputError
from ddpm_lib.data import Batches
from tests.test_training import TINY, callbacks, new_trainer, numpy

ROOT = pathlib.Path(__file__).parents[1]
BACKEND = keras.backend.backend()
NUM_STEPS, CLIP = 20, 0.05
# Two epochs of ten steps, whose gradients are all longer than CLIP.
RUN = TINY.replace(train={"epochs": 2, "steps_per_epoch": NUM_STEPS // 2, "clip_norm": CLIP})
IMAGES = np.random.default_rng(0).integers(0, 256, (43, 8, 8, 1), dtype=np.uint8)
several_backends = pytest.mark.skipif(BACKEND == "torch", reason="several devices work on TensorFlow and JAX")


def arrays(checkpoint):
    """Read every array of a checkpoint, by name: both networks, the optimizer, the books and the random state."""
    found = {}
    with zipfile.ZipFile(checkpoint) as file, h5py.File(io.BytesIO(file.read("model.weights.h5"))) as weights:
        weights.visititems(lambda name, item: found.update({name: item[()]} if isinstance(item, h5py.Dataset) else {}))
    return found


def difference(one, other):
    """Return the largest difference between any two numbers of two checkpoints, and of their histories."""
    one_arrays, other_arrays = arrays(one), arrays(other)
    assert one_arrays.keys() == other_arrays.keys() and len(one_arrays) > 100
    pairs = [(one_arrays[name], other_arrays[name]) for name in one_arrays]
    histories = [np.loadtxt(file.parent / "history.csv", delimiter=",", skiprows=1) for file in (one, other)]
    return max(np.abs(a.astype(float) - b).max() for a, b in [*pairs, histories])


# Several devices of one machine.


def train(folder, checkpoint=None):
    """Train from the beginning or from a checkpoint to the end."""
    trainer = checkpoints.resume(checkpoint) if checkpoint else new_trainer(RUN)
    training.fit_run(trainer, IMAGES, callbacks(folder, NUM_STEPS // 2), verbose=0)
    return trainer


def train_on_one_and_two(folder):
    """Train on two devices, on one, and on the one or the other after a half on the one or the other."""
    with distribution.several_devices(2) as devices:
        assert devices == 2
        trainer = train(folder / "2")
        train(folder / "2 2", folder / "2/unet_epoch_1.keras")
        trainer.restore_randomness()
        np.savez(folder / "draws_2.npz", *draws_of_devices(trainer))
        for config_, message in REFUSED:
            with pytest.raises(InputError, match=message):
                training.fit_run(new_trainer(config_), IMAGES, verbose=0)
    trainer = train(folder / "1")
    train(folder / "2 1", folder / "2/unet_epoch_1.keras")
    trainer.restore_randomness()
    np.savez(folder / "draws_1.npz", *[numpy(drawn) for drawn in trainer(IMAGES[:4].astype("float32"))[:2]])
    with distribution.several_devices(2):
        train(folder / "1 2", folder / "1/unet_epoch_1.keras")


def draws_of_devices(trainer):
    """Return the steps t and the targets that the devices draw for one batch, one device after the other."""
    x_0 = IMAGES[:4].astype("float32")
    if BACKEND != "tensorflow":
        return [numpy(drawn) for drawn in trainer(x_0)[:2]]
    strategy = trainer.distribute_strategy
    shares = strategy.experimental_distribute_values_from_function(
        lambda context: np.split(x_0, 2)[context.replica_id_in_sync_group]
    )
    drawn = strategy.run(lambda x: trainer(x)[:2], args=(shares,))
    return [np.concatenate(strategy.experimental_local_results(each)) for each in drawn]


REFUSED = [
    (RUN.replace(train={"batch_size": 5}), "batch of 5 images cannot be divided evenly over 2 devices: take 4 or 6"),
    (RUN.replace(train={"batch_size": 1}), "batch of 1 images cannot be divided evenly over 2 devices: take 2 images"),
]
if BACKEND == "tensorflow":
    REFUSED += [(RUN.replace(unet={"dropout": 0.1}), "dropout on several devices works on JAX alone")]


@pytest.fixture(scope="module")
def runs(processes, tmp_path_factory):
    """Return the folder of the runs of `train_on_one_and_two`, which a process of its own has made."""
    folder = tmp_path_factory.mktemp("runs")
    process = processes.Process(target=train_on_one_and_two, args=(folder,))
    process.start()
    process.join()
    assert process.exitcode == 0
    return folder


def last(folder):
    return folder / "unet_epoch_2.keras"


@pytest.mark.slow
@several_backends
def test_two_devices_compute_what_one_does(runs):
    """Weights, average, moments of Adam, books and history after 20 clipped steps."""
    assert difference(last(runs / "1"), last(runs / "2")) < 1e-6


@pytest.mark.slow
@several_backends
def test_every_gradient_was_clipped(runs):
    """Adam's second moments sum up to the mean square of the gradient's norm: the squared clip, if it always bites."""
    for name in ("1", "2"):
        found = arrays(last(runs / name))
        # The counter of steps, then two moments of each weight, in turn.
        moments = [found[f"optimizer/vars/{i}"] for i in range(sum(key.startswith("optimizer/") for key in found))]
        squares = sum(array.sum() for array in moments[2::2])
        assert squares == pytest.approx(CLIP**2 * (1 - 0.999**NUM_STEPS), rel=1e-3)


@pytest.mark.slow
@several_backends
def test_a_run_goes_on_with_another_number_of_devices(runs):
    assert difference(last(runs / "1"), last(runs / "2 1")) < 1e-6
    assert difference(last(runs / "1"), last(runs / "1 2")) < 1e-6


@pytest.mark.slow
@several_backends
def test_a_run_goes_on_with_as_many_devices_to_the_last_bit(runs):
    assert difference(last(runs / "2"), last(runs / "2 2")) == 0


@pytest.mark.slow
@several_backends
def test_devices_draw_different_steps_and_noise_together_what_one_draws(runs):
    (t, noise), (t_1, noise_1) = (np.load(runs / f"draws_{devices}.npz").values() for devices in (2, 1))
    assert np.array_equal(t, t_1) and np.array_equal(noise, noise_1)
    assert not np.array_equal(t[:2], t[2:])
    assert np.abs(np.corrcoef(noise.reshape(4, -1)) - np.eye(4)).max() < 0.6, "64 numbers of each: 0.6 is five sigma"


def test_one_device_changes_nothing():
    with distribution.several_devices(1) as devices:
        assert devices == 1 and keras.distribution.distribution() is None
        assert distribution.replica() == (0, 1) and distribution.process() == (0, 1)
        batches = Batches(IMAGES, 4, seed=0)
        assert distribution.feed(batches) is batches


def test_shares_of_a_batch_make_it_up():
    whole = Batches(IMAGES, 6, seed=1, horizontal_flip=True)
    shares = [Batches(IMAGES, 6, seed=1, horizontal_flip=True, share=(index, 3)) for index in range(3)]
    for step in (0, 9):
        assert np.array_equal(np.concatenate([share[step] for share in shares]), whole[step])
    with pytest.raises(InputError, match="batch_size 6 cannot be divided into 4 equal shares"):
        Batches(IMAGES, 6, seed=1, share=(0, 4))


def test_what_cannot_be_divided_is_said_in_one_line(monkeypatch):
    monkeypatch.setattr(keras.backend, "backend", lambda: "torch")
    with pytest.raises(InputError, match="work on TensorFlow and JAX, not on PyTorch: set KERAS_BACKEND=tensorflow"):
        with distribution.several_devices(2):
            pass


@pytest.mark.parametrize(
    "backend, variables, message",
    [
        ("tensorflow", {"TF_CONFIG": "{'cluster'"}, "TF_CONFIG is not what TensorFlow's guide"),
        ("tensorflow", {"TF_CONFIG": '["worker"]'}, "TF_CONFIG is not what TensorFlow's guide"),
        ("tensorflow", {"TF_CONFIG": '{"cluster": {"worker": ["a:1", "b:1"]}}'}, "does not say which task"),
        ("tensorflow", {"TF_CONFIG": '{"cluster": {"worker": ["a:1", "b:1"]}, "task": [1]}'}, "is not what Tensor"),
        (
            "tensorflow",
            {"TF_CONFIG": '{"cluster": {"worker": ["a:1", "b:1"]}, "task": {"type": ["worker"], "index": 0}}'},
            "is not what Tensor",
        ),
        ("jax", {"TF_CONFIG": '{"cluster": {"worker": ["a:1", "b:1"]}}'}, "TF_CONFIG names several processes, and the"),
        ("jax", {"KERAS_DISTRIBUTION_NUM_PROCESSES": "2"}, "must be the address of process 0"),
        ("jax", {"KERAS_DISTRIBUTION_NUM_PROCESSES": "two"}, "must be the address of process 0"),
    ],
)
def test_wrong_variables_are_said_in_one_line(backend, variables, message, monkeypatch):
    monkeypatch.setattr(keras.backend, "backend", lambda: backend)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(InputError, match=message):
        distribution.processes_named()


# Several machines: processes that find each other on this one.

SMALL = {"widths": (4,), "blocks_per_level": 1, "heads": 2, "attention_dim": 4, "time_dim": 8}
TRAIN = {"clip_norm": CLIP, "warmup_steps": 2, "batch_size": 8, "learning_rate": 1e-3, "ema_decay": 0.9}
FLAGS = ["--epochs", "3", "--steps_per_epoch", str(NUM_STEPS), "--save_every", "3"]


def command(variables, log, arguments):
    """Run `ddpm train` with a small network, and write what it says into a file."""
    os.environ.update(variables)
    for stream in (1, 2):
        os.dup2(os.open(log, os.O_CREAT | os.O_WRONLY | os.O_APPEND), stream)
    config.PRESETS["digits16"] = config.PRESETS["digits16"].replace(unet=SMALL, train=TRAIN)
    sys.exit(cli.main(["train", *map(str, arguments)]))


def variables_of_two():
    """Return by process the variables that name two processes on this machine."""
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(2)]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        addresses = [f"127.0.0.1:{each.getsockname()[1]}" for each in sockets]
    if BACKEND == "tensorflow":
        cluster = {"worker": addresses}
        tasks = [{"cluster": cluster, "task": {"type": "worker", "index": index}} for index in range(2)]
        return [{"TF_CONFIG": json.dumps(task)} for task in tasks]
    names = distribution.JAX_VARIABLES
    return [dict(zip(names, (addresses[0], "2", str(index)), strict=True)) for index in range(2)]


@pytest.fixture(scope="module")
def start_two(processes, tmp_path_factory):
    """Return a function that starts two processes of one run, and returns them and their logs."""
    folder = tmp_path_factory.mktemp("logs")

    def start(*arguments_of_each):
        logs = [folder / f"{time.monotonic_ns()}.txt" for _ in range(2)]
        started = [
            processes.Process(target=command, args=each)
            for each in zip(variables_of_two(), logs, arguments_of_each, strict=True)
        ]
        for process in started:
            process.start()
        return started, logs

    return start


def end(processes_and_logs):
    started, logs = processes_and_logs
    for process, log in zip(started, logs, strict=True):
        process.join()
        assert process.exitcode == 0, log.read_text()
    return logs


@pytest.fixture(scope="module")
def pair(processes, start_two, tmp_path_factory):
    """Train one process and a pair, and return the folder of their runs."""
    folder = tmp_path_factory.mktemp("pair")
    alone = processes.Process(target=command, args=({}, folder / "log", [*FLAGS, "--out", folder / "one"]))
    alone.start()
    logs = end(start_two([*FLAGS, "--out", folder / "two"], [*FLAGS, "--out", folder / "elsewhere"]))
    alone.join()
    assert alone.exitcode == 0, (folder / "log").read_text()
    assert "process 0 of 2, which writes all files\neach batch is divided over 2 devices" in logs[0].read_text()
    return folder


@pytest.mark.slow
@several_backends
def test_two_processes_compute_what_one_does_and_one_of_them_writes(pair):
    assert difference(pair / "one/unet_epoch_3.keras", pair / "two/unet_epoch_3.keras") < 1e-6
    for one, other in ((pair / "one", pair / "two"), (pair / "two", pair / "one")):
        assert {path.relative_to(one) for path in one.rglob("*")} == {
            path.relative_to(other) for path in other.rglob("*")
        }
    assert not (pair / "elsewhere").exists()


@pytest.mark.slow
@several_backends
@pytest.mark.parametrize("victim", [1, 0])
def test_a_killed_process_is_reported_and_both_go_on_when_started_again(victim, pair, start_two, tmp_path):
    latest = tmp_path / "latest.keras"
    resume = ["--resume", pair / "two/unet_epoch_1.keras", "--out", tmp_path, "--save_every", "3"]
    started, logs = start_two(resume, resume)
    while not latest.exists() and all(process.is_alive() for process in started):
        time.sleep(0.001)
    began = time.monotonic()
    started[victim].kill()
    survivor, log = started[1 - victim], logs[1 - victim]
    survivor.join(30)
    assert survivor.exitcode == 2, log.read_text()
    print(f"reported after {time.monotonic() - began:.1f} s")
    expected = f"another process of this run is gone: start all of them again with --resume {latest}"
    assert log.read_text().splitlines()[-1] == f"ddpm train: error: {expected}"
    if victim == 1:
        end(start_two(["--resume", latest], ["--resume", latest]))
        assert difference(tmp_path / "unet_epoch_3.keras", pair / "two/unet_epoch_3.keras") == 0


@pytest.mark.slow
@several_backends
def test_processes_that_differ_in_their_settings_do_not_begin(start_two, tmp_path):
    flags = [*FLAGS, "--out", tmp_path / "run"]
    started, logs = start_two([*flags, "--seed", "1"], [*flags, "--seed", "2"])
    for process, log in zip(started, logs, strict=True):
        process.join()
        assert process.exitcode == 2, log.read_text()
    assert "the processes of this run differ in their settings or their state" in logs[0].read_text()


@pytest.mark.slow
@pytest.mark.skipif(BACKEND != "tensorflow", reason="it runs on JAX already")
def test_all_of_this_on_jax(tmp_path):
    # The runs have the same few programs, which are compiled once.
    cache = {"JAX_COMPILATION_CACHE_DIR": str(tmp_path), "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0"}
    environment = {**os.environ, "KERAS_BACKEND": "jax", **cache}
    run = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", __file__], cwd=ROOT, env=environment, capture_output=True, text=True
    )
    assert run.returncode == 0, run.stdout
