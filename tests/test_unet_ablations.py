"""The ablations of the chapter on the U-Net: the whole network is the library's, and each arm lacks what it says."""

import importlib
import pathlib

import numpy as np
import pytest

from ddpm_lib.unet import build_unet

ROOT = pathlib.Path(__file__).parents[1]


@pytest.fixture
def script(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    return importlib.import_module("unet_ablations")


def inputs(script, count=3):
    size, rng = script.CONFIG.image_size, np.random.default_rng(0)
    return [rng.standard_normal((count, size, size, 1)).astype(np.float32), np.array([3, 500, 999])]


def with_random_weights(network):
    rng = np.random.default_rng(1)
    network.set_weights([rng.normal(0, 0.2, weight.shape) for weight in network.weights])
    return network


def test_the_whole_network_is_the_library_s(script):
    ours = with_random_weights(script.build(script.CONFIG, script.Arm()))
    theirs = with_random_weights(build_unet(script.CONFIG))
    np.testing.assert_allclose(ours(inputs(script)), theirs(inputs(script)), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("arm", ["no skips", "no time", "added time", "no attention", "strided", "8 groups"])
def test_an_arm_answers_with_an_image(script, arm):
    network = with_random_weights(script.build(script.CONFIG, script.ARMS[arm]))
    x_t, t = inputs(script)
    answer = np.asarray(network([x_t, t]))
    assert answer.shape == x_t.shape and np.isfinite(answer).all()
    # Only the network that is not told the step answers the same at every step.
    later = np.asarray(network([x_t, t[::-1]]))
    assert np.allclose(answer, later) == (arm == "no time")


def test_weights_that_an_arm_lacks(script):
    """Counted by hand: widths 24 and 48, a block a level, 6 blocks, a time of 64 numbers."""
    count = {name: script.build(script.CONFIG, arm).count_params() for name, arm in script.ARMS.items()}
    results = 24 + 48 + 48 + 48 + 24 + 24  # of the six blocks, down, middle, up
    # A shift alone in place of scale and shift, and the second norm's own scale and shift.
    assert count["full"] - count["added time"] == 65 * results - 2 * results
    assert count["added time"] - count["no time"] == 65 * results + 2 * (64 * 64 + 64)
    assert count["strided"] - count["full"] == 9 * 24 * 24 + 24
    assert count["8 groups"] == count["no zero start"] == count["full"]


def test_only_the_arm_without_a_zero_start_answers_at_once(script):
    for name in ("full", "no zero start"):
        runner = script.Runner(script.CONFIG, script.ARMS[name])
        runner.start(0)
        assert np.any(runner.network(inputs(script))) == (name == "no zero start")
