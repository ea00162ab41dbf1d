"""The experiment of the chapter on the objective: its conversions and distance, and the stored results."""

import importlib
import json
import pathlib

import numpy as np
import pytest
from scipy.stats import norm

ROOT = pathlib.Path(__file__).parents[1]
TARGETS = ("x_0", "noise", "v")
every_problem = pytest.mark.parametrize("problem", ["points", "digits"])


def stored(problem):
    return json.loads((ROOT / f"data/runs/why_noise/{problem}.json").read_text("utf8"))


@pytest.fixture
def script(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    return importlib.import_module("why_noise")


@pytest.mark.parametrize("target", TARGETS)
def test_a_right_answer_implies_the_image_and_the_noise(script, target):
    x_0, noise = np.random.default_rng(0).standard_normal((2, 4, 3))
    t = np.array([0, 100, 500, 800], np.int32)
    bars = np.cumprod(1 - np.linspace(1e-4, 0.02, 1000))[t][:, None]
    x_t = np.sqrt(bars) * x_0 + np.sqrt(1 - bars) * noise
    answer = script.target_of(target, x_0, t, noise)
    image, found = script.implied(target, x_t, t, answer)
    np.testing.assert_allclose(image, x_0, atol=2e-4)
    np.testing.assert_allclose(found, noise, atol=2e-4)


def test_a_shift_has_its_mean_length_along_directions(script):
    """Of a shift by d in two dimensions, a random direction sees the share 2 / pi on average."""
    points = norm.rvs(size=(400, 2), random_state=1)
    assert script.sliced(points, points) == 0
    assert script.sliced(points, points + np.array([3.0, 0.0])) == pytest.approx(3 * 2 / np.pi, rel=0.1)


@every_problem
def test_stored_results_have_three_seeds_and_shares_of_one(problem):
    for found in stored(problem)["targets"].values():
        assert {len(values) for values in found.values()} == {3}
        for when in ("gradient_early", "gradient_late"):
            np.testing.assert_allclose(np.sum(found[when], axis=1), 1, atol=2e-4)


@every_problem
def test_stored_errors_of_image_and_noise_belong_together(problem):
    """In the last quarter the factor 1 / SNR runs from 300 to 25,000, so that the ratio lies between."""
    bars = np.cumprod(1 - np.linspace(1e-4, 0.02, 1000))[750:]
    factors = (1 - bars) / bars
    for target, found in stored(problem)["targets"].items():
        ratio = np.array(found["image_error"])[:, 3] / np.array(found["noise_error"])[:, 3]
        assert (ratio > factors[0]).all() and (ratio < factors[-1]).all(), target
