"""Training processes killed with kill -9 at random moments go on as if nothing had happened, to the last bit."""

import os
import pathlib
import random
import signal
import subprocess
import sys
import time

import keras
import numpy as np
import pytest

from ddpm_lib import checkpoints, training
from tests.test_training import IMAGES, TINY, assert_same, callbacks, new_trainer

ROOT = pathlib.Path(__file__).parents[1]
NUM_KILLS = 2
SCRIPT = """
import pathlib, sys
from ddpm_lib import checkpoints, training
from tests.test_training import IMAGES, TINY, new_trainer

folder = pathlib.Path(sys.argv[1])
latest = folder / "latest.keras"
config = TINY.replace(train={"epochs": 3, "steps_per_epoch": 20})
trainer = checkpoints.resume(latest) if latest.exists() else new_trainer(config)
savers = [training.History(folder, 20), checkpoints.SaveCheckpoints(folder, 20, every=3)]
training.fit_run(trainer, IMAGES, savers, verbose=0)
"""


def start(folder):
    # With one thread each, two processes do not wait for each other.
    environment = {**os.environ, "TF_NUM_INTRAOP_THREADS": "1", "TF_NUM_INTEROP_THREADS": "1", "PYTHONPATH": str(ROOT)}
    return subprocess.Popen([sys.executable, "-c", SCRIPT, folder], env=environment, stderr=subprocess.PIPE)


def end(process):
    _, errors = process.communicate()
    assert process.returncode == 0, errors.decode()[-3000:]


def wait_for_saves(process, file, number):
    """Wait until a file was written this many times more, or the process has ended."""
    last = file.stat().st_mtime_ns if file.exists() else None
    while number and process.poll() is None:
        time.sleep(0.001)
        now = file.stat().st_mtime_ns if file.exists() else None
        if now != last:
            last, number = now, number - 1


def test_killed_runs_end_like_the_one_that_was_not(tmp_path):
    seed = time.time_ns()
    print(f"seed {seed}")
    generator = random.Random(seed)
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    whole.mkdir()
    killed.mkdir()
    uninterrupted = start(whole)
    for _ in range(NUM_KILLS):
        process = start(killed)
        wait_for_saves(process, killed / "latest.keras", generator.randint(2, 5))
        time.sleep(generator.uniform(0, 0.1))  # from one save into the next
        os.kill(process.pid, signal.SIGKILL)
        process.communicate()
        assert process.returncode == -signal.SIGKILL, "the run was over before it could be killed"
        print(f"killed; the last save is of step {checkpoints.resume(killed / 'latest.keras').step}")
    end(start(killed))
    end(uninterrupted)
    runs = [checkpoints.resume(folder / "latest.keras") for folder in (whole, killed)]
    assert runs[0].step == 60 and len(runs[0].rows) == 3
    assert_same(*runs)
    assert (whole / "history.csv").read_text() == (killed / "history.csv").read_text()


@pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16"])
def test_half_precision_goes_on_with_its_loss_scale(policy, tmp_path):
    """The loss scale and the count of steps until it doubles are state of the run like the moments of Adam."""
    if policy == "mixed_float16" and keras.backend.backend() == "jax":
        pytest.skip("JAX has no float16 matrix products on CPUs")

    def trainer(epochs):
        made = new_trainer(TINY.replace(train={"precision": policy, "epochs": epochs}))
        if policy == "mixed_float16":
            made.optimizer.dynamic_growth_steps = 4
        return made

    def run(one, name):
        training.fit_run(one, IMAGES, callbacks(tmp_path / name), verbose=0)
        return one

    whole = run(trainer(2), "whole")
    run(trainer(1), "part")
    resumed = checkpoints.resume(tmp_path / "part/latest.keras")
    resumed.run = resumed.run.replace(train={"epochs": 2})
    if policy == "mixed_float16":
        assert np.array(resumed.optimizer.step_counter) == 3
        resumed.optimizer.dynamic_growth_steps = 4
    assert_same(whole, run(resumed, "part"))
    if policy == "mixed_float16":
        assert float(np.array(whole.optimizer.dynamic_scale)) == 2.0**16
