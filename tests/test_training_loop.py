"""The experiments of the chapter on the training loop: their step, their averages, and the stored results."""

import importlib
import json
import pathlib

import keras
import numpy as np
import pytest
from scipy.stats import chi2

ROOT = pathlib.Path(__file__).parents[1]


def stored(name):
    return json.loads((ROOT / f"data/runs/training_loop/{name}.json").read_text("utf8"))["runs"]


@pytest.fixture
def script(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    return importlib.import_module("training_loop")


@pytest.mark.parametrize("clip", [None, 0.5])
def test_a_step_is_that_of_keras_and_the_averages_follow(script, clip):
    run = script.Run(0, {"batch": 16, "rate": 1e-3, "warmup": 0, "clip": clip})
    start = run.state.weights.numpy()
    run.train(1)
    [norm] = run.norms
    assert run.losses[0] == pytest.approx(1, abs=0.1), "the first answer is 0"
    # The same batch again, and Keras's optimizer.
    rng = np.random.default_rng([0, 1])
    t = rng.integers(0, 1000, (1, 16), dtype=np.int32)[0]
    noise = rng.standard_normal((1, 16, 64), dtype=np.float32)[0]
    weights = keras.Variable(start)
    _, gradient = script.gradient_of(weights.value, run.images(0), t, noise, noise)
    assert float(np.linalg.norm(gradient)) == pytest.approx(norm, rel=1e-4)
    # Keras adds its epsilon before the correction, so it gets a smaller one.
    keras.optimizers.Adam(1e-3, epsilon=1e-7 * 0.001**0.5, global_clipnorm=clip).apply([gradient], [weights])
    theta = run.state.weights.numpy()
    np.testing.assert_allclose(theta, np.asarray(weights), atol=2e-6)
    for mode, average in zip(script.MODES, run.state.averages.numpy(), strict=True):
        decay = 0.1 if "warmed" in mode else float(mode)
        np.testing.assert_allclose(average, start + (1 - decay) * (theta - start), atol=1e-6)


def test_the_faults_are_what_their_names_say(script):
    batches = {fault: script.Run(0, {"fault": fault}).images(0) for fault in (None, "range", "no shuffle")}
    assert batches[None].min() == -1 and batches["range"].min() == 0 and batches["range"].max() <= 1
    np.testing.assert_array_equal(batches["no shuffle"], script.TRAINING[:64])
    bad = script.Run(0, {"bad_step": 0}).images(0)
    np.testing.assert_allclose(bad, 100 * batches[None])


@pytest.mark.parametrize("name, count", [("long", 3), ("warmup", 12), ("clipping", 12), ("batch", 18), ("faults", 7)])
def test_every_run_is_stored(script, name, count):
    runs = stored(name)
    assert len(runs) == count
    assert set(runs) == set(script.experiments(ROOT)[name])


def test_a_fault_shows_where_it_must():
    faults = stored("faults")
    assert faults["F"]["quarters"][3] is None, "it was never drawn"
    np.testing.assert_allclose(faults["C"]["quarters"], 1, atol=0.02)
    # The mean of 33 epochs at each of 23 places, with the batches' own spread: 99.99 % of fair draws stay below.
    spread = max(run["step_loss_spread"] for run in stored("long").values())
    bound = spread / 33**0.5 * (chi2.ppf(0.9999, 22) / 23) ** 0.5
    assert faults["A"]["waves"] > bound > max(faults[letter]["waves"] for letter in "BDF")
    assert faults["B"]["average"][-1] > 0.9 > faults["healthy"]["average"][-1]
    assert np.mean(faults["D"]["loss"][-50:]) < np.mean(faults["healthy"]["loss"][-50:])
