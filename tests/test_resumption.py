"""Training processes killed with kill -9 at random moments go on as if nothing had happened, to the last bit."""

import random
import signal
import time

import keras
import numpy as np
import pytest

from ddpm_lib import checkpoints, training
from tests.test_training import IMAGES, TINY, assert_same, callbacks, new_trainer

NUM_KILLS = 2


def train(folder):
    """Begin a run, or go on with it."""
    latest = folder / "latest.keras"
    config = TINY.replace(train={"epochs": 3, "steps_per_epoch": 20})
    trainer = checkpoints.resume(latest) if latest.exists() else new_trainer(config)
    savers = [training.History(folder, 20), checkpoints.SaveCheckpoints(folder, 20, every=3)]
    training.fit_run(trainer, IMAGES, savers, verbose=0)


def end(process):
    process.join()
    assert process.exitcode == 0


def wait_for_saves(process, file, number):
    """Wait until a file was written this many times more, or the process has ended."""
    last = file.stat().st_mtime_ns if file.exists() else None
    while number and process.is_alive():
        time.sleep(0.001)
        now = file.stat().st_mtime_ns if file.exists() else None
        if now != last:
            last, number = now, number - 1


@pytest.mark.slow
def test_killed_runs_end_like_the_one_that_was_not(processes, tmp_path):
    def start(folder):
        process = processes.Process(target=train, args=(folder,))
        process.start()
        return process

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
        process.kill()
        process.join()
        assert process.exitcode == -signal.SIGKILL, "the run was over before it could be killed"
    end(start(killed))
    end(uninterrupted)
    runs = [checkpoints.resume(folder / "latest.keras") for folder in (whole, killed)]
    assert runs[0].step == 60 and len(runs[0].rows) == 3
    assert_same(*runs)
    assert (whole / "history.csv").read_text() == (killed / "history.csv").read_text()


@pytest.mark.slow
@pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16"])
def test_half_precision_goes_on_with_its_loss_scale(policy, tmp_path):
    """The loss scale and the count of steps until it doubles are state of the run like the moments of Adam."""
    if policy == "mixed_float16" and keras.backend.backend() == "jax":
        pytest.skip("JAX has no float16 matrix products on CPUs")

    def run(one, name):
        if policy == "mixed_float16":
            one.optimizer.dynamic_growth_steps = 4
        training.fit_run(one, IMAGES, callbacks(tmp_path / name), verbose=0)
        return one

    whole = run(new_trainer(TINY.replace(train={"precision": policy, "epochs": 2})), "whole")
    resumed = checkpoints.resume(tmp_path / "whole/unet_epoch_1.keras")
    if policy == "mixed_float16":
        assert np.array(resumed.optimizer.step_counter) == 3
    assert resumed.step == 3
    assert_same(whole, run(resumed, "part"))
    if policy == "mixed_float16":
        assert float(np.array(whole.optimizer.dynamic_scale)) == 2.0**16
