"""The chapter on bugs: each fault is planted in a copy of the library, where the test that the chapter names fails."""

import dataclasses
import importlib
import itertools
import json
import os
import pathlib
import re
import shutil
import subprocess
import sys

import jupytext
import numpy as np
import pytest

from ddpm_lib import sampling, schedules
from ddpm_lib.exercises.bugs import EXERCISES

ROOT = pathlib.Path(__file__).parents[1]
TEXT = (ROOT / "book/66_bugs.md").read_text("utf8")
STORED = ROOT / "data/runs/bugs"


@dataclasses.dataclass(frozen=True)
class Planted:
    """A fault as a change of one file of the library, and the test that notices it."""

    file: str
    old: str
    new: str
    test: str


NEXT = "alpha_bar_next = float(schedule.alpha_bars[t_next]) if t_next >= 0 else 1.0"
CLIP = """        if clip:
            x_0_pred = ops.clip(x_0_pred, -1.0, 1.0)
        x, sigma = move(x, x_0_pred, alpha_bar, alpha_bar_next)
"""
DRAW = 't = keras.random.randint((size * shares,), 0, self.schedule.num_steps, "int32", seed=self.seed_generator)'
ORDER = "permutation(len(self.images))"
FIXED = "permutation(self.steps_per_epoch)[:, None] * self.batch_size + np.arange(self.batch_size)"
FAULTS = {
    "extract": Planted(
        "diffusion.py",
        "ops.reshape(values, (-1,)",
        "ops.reshape(values, (t.shape[0],)",
        "tests/test_diffusion.py: test_table_lookup_inside_tf_function_with_open_batch_size",
    ),
    "a": Planted(
        "sampling.py",
        NEXT,
        "alpha_bar_next = float(schedule.alpha_bars_prev[t])",
        "tests/test_sampling.py: test_ddpm_with_skipped_steps",
    ),
    "b": Planted(
        "sampling.py",
        "if sigma > 0 and t_next >= 0:",
        "if sigma > 0:",
        "tests/test_sampling.py: test_last_step_adds_no_noise_and_asks_for_none",
    ),
    "c": Planted(
        "images.py",
        "/ np.float32(127.5) - np.float32(1.0)",
        "/ np.float32(255.0)",
        "tests/data/test_batches.py: test_batches_are_float32_from_minus_one_to_one",
    ),
    "d": Planted(
        "images.py",
        "np.clip(np.rint((images + 1.0) * 127.5), 0, 255).astype(np.uint8)",
        "np.rint((images + 1.0) * 127.5).astype(np.int64).astype(np.uint8)",
        "tests/test_images.py: test_values_outside_the_range_are_clipped_not_wrapped",
    ),
    "e": Planted(
        "hardware.py",
        "lambda x_t, t: network([x_t, t], training=False)",
        "lambda x_t, t: network([x_t, t], training=True)",
        "tests/test_unet.py: test_dropout_is_off_when_sampling",
    ),
    "f": Planted(
        "sampling.py",
        "noise_per_image(seeds[first : first + batch_size], model.image_shape)",
        "noise_per_image(seeds[: len(seeds[first : first + batch_size])], model.image_shape)",
        "tests/test_sampling.py: test_an_image_depends_on_its_seed_and_not_on_its_batch",
    ),
    "g": Planted(
        "checkpoints.py",
        "network.set_weights(trainer.ema_network.get_weights())",
        "network.set_weights(trainer.network.get_weights())",
        "tests/test_checkpoints.py: test_loading_gives_the_average_in_float32",
    ),
    "h": Planted(
        "sampling.py",
        CLIP,
        CLIP.split("\n")[-2] + "\n        if clip:\n            x = ops.clip(x, -1.0, 1.0)\n",
        "tests/test_sampling.py: test_ddpm_full_loop_on_the_probe",
    ),
    "i": Planted(
        "sampling.py",
        "zip(visited, np.append(visited[1:], -1), strict=True)",
        "zip(visited, np.append(visited[2:], [-1, -1])[: len(visited)], strict=True)",
        "tests/test_sampling.py: test_ddim_comes_closer_to_the_data_with_more_steps",
    ),
    "j": Planted(
        "training.py",
        DRAW,
        DRAW.replace("(size * shares,)", "(1,)") + "\n        t = ops.repeat(t, size * shares)",
        "tests/test_training.py: test_all_steps_are_drawn_evenly",
    ),
    "k": Planted(
        "data/batches.py",
        f"order = np.random.default_rng([self.seed, 0, epoch]).{ORDER}",
        f"order = (np.random.default_rng([self.seed, 0, epoch]).{FIXED}).ravel()",
        "tests/data/test_batches.py: test_batches_are_put_together_anew_in_every_epoch",
    ),
    "l": Planted(
        "training.py",
        "        index, shares = distribution.replica()\n        size",
        "        index, shares = 0, 1\n        size",
        "tests/test_distribution.py: test_devices_draw_different_steps_and_noise_together_what_one_draws",
    ),
    "m": Planted(
        "training.py",
        "keras.optimizers.LossScaleOptimizer(adam) if half else adam",
        "adam",
        "tests/test_precision.py: test_float16_alone_scales_its_loss",
    ),
    "n": Planted(
        "unet.py",
        "return x + self.project(",
        "return self.norm(x) + self.project(",
        "tests/test_unet.py: test_new_blocks_pass_their_input_through",
    ),
}


@pytest.fixture
def script(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    return importlib.import_module("bugs")


def numbers(letter):
    return json.loads((STORED / f"{letter}.json").read_text("utf8"))


# ---- The chapter ----------------------------------------------------------------------------------------------------


def test_every_case_has_a_fault_that_can_be_planted():
    assert set(FAULTS) == {"extract", *(name.removeprefix("bugs-") for name in EXERCISES)}


def test_the_chapter_names_the_tests_that_notice():
    named = re.findall(r"`(tests/[\w/]+\.py): (test_\w+)`", TEXT)
    assert {f"{file}: {name}" for file, name in named} >= {fault.test for fault in FAULTS.values()}
    for file, name in named:
        assert f"\ndef {name}(" in (ROOT / file).read_text("utf8"), f"{file} has no {name}"


def test_every_solution_names_the_test_of_its_case():
    for name in EXERCISES:
        solution = re.search(rf'^check\("{name}".*?^````\{{dropdown\}} Solution$(.*?)^````$', TEXT, re.M | re.S)[1]
        assert f"`{FAULTS[name[-1]].test}`" in solution, name


def test_the_chapter_offers_the_names_that_the_check_knows():
    cells = jupytext.reads(TEXT, fmt="md:myst").cells
    for before, cell in itertools.pairwise(cells):
        asked = re.search(r'^check\("(bugs-\w)"', cell.source, re.M)
        if asked:
            exercise = EXERCISES[asked[1]]
            offered = re.findall(r"^- `(.+)`$", before.source, re.M)
            assert offered == exercise.names, asked[1]


@pytest.mark.slow
@pytest.mark.skipif("DDPM_CAMPAIGN" not in os.environ, reason="minutes: DDPM_CAMPAIGN=1 plants every fault")
@pytest.mark.parametrize("fault", FAULTS)
def test_a_planted_fault_is_noticed(fault, tmp_path):
    planted = FAULTS[fault]
    for folder in ("ddpm_lib", "tests"):
        shutil.copytree(ROOT / folder, tmp_path / folder, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    path = tmp_path / "ddpm_lib" / planted.file
    text = path.read_text("utf8")
    assert text.count(planted.old) == 1
    path.write_text(text.replace(planted.old, planted.new), "utf8")
    file, _, name = planted.test.partition(": ")
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", f"{file}::{name}"]
    environment = os.environ | {"PYTHONPATH": str(tmp_path), "KERAS_BACKEND": "tensorflow"}
    result = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert result.returncode == 1 and re.search(r"\d+ failed", result.stdout), result.stdout[-2000:]


# ---- The experiments ------------------------------------------------------------------------------------------------


def probe(x, t):
    return np.tanh(x) * (np.asarray(t)[:, None] + 1) / 1000


@pytest.mark.parametrize("num_steps", [1000, 50])
@pytest.mark.parametrize("variance", ["beta", "posterior"])
def test_the_healthy_walk_is_that_of_the_library(script, num_steps, variance):
    rng = np.random.default_rng(0)
    x_T, noise = rng.standard_normal((3, 4)).astype("float32"), rng.standard_normal((num_steps, 3, 4)).astype("float32")
    ours, spreads = script.walk(probe, x_T, noise.__getitem__, num_steps, variance=variance)
    theirs = sampling.ddpm_sample(
        lambda x, t: probe(np.asarray(x), t),
        schedules.linear_schedule(),
        x_T,
        num_steps=num_steps,
        variance=variance,
        noise_fn=noise.__getitem__,
    )
    np.testing.assert_allclose(ours, np.asarray(theirs), atol=2e-4)
    assert len(spreads) == num_steps and spreads[-1] == pytest.approx(ours.std())


@pytest.mark.parametrize("fault", ["neighbour's beta", "last noise", "clipped mean"])
def test_a_faulty_walk_is_another_one(script, fault):
    rng = np.random.default_rng(0)
    x_T, noise = rng.standard_normal((3, 4)).astype("float32"), rng.standard_normal((50, 3, 4)).astype("float32")
    walks = [script.walk(probe, x_T, noise.__getitem__, 50, each)[0] for each in (None, fault)]
    assert np.abs(walks[0] - walks[1]).max() > 0.01
    if fault == "last noise":
        sigma = np.sqrt(1 - schedules.linear_schedule().alpha_bars[19])
        np.testing.assert_allclose(walks[1] - walks[0], sigma * noise[-1], atol=1e-5)


def test_the_faulty_batches_are_what_their_names_say(script):
    settings = {"batch": 64}
    one_t = script.Run(0, settings | {"fault": "one t"}).draw_steps((5, 64))
    assert (one_t == one_t[:, :1]).all() and len(np.unique(one_t)) == 5
    assert len(np.unique(script.Run(0, settings).draw_steps((5, 64))[0])) > 50
    fixed = script.Run(0, settings | {"fault": "fixed batches"})
    epochs = [[fixed.images(step).tobytes() for step in range(23 * epoch, 23 * epoch + 23)] for epoch in (0, 1)]
    assert set(epochs[0]) == set(epochs[1]) and epochs[0] != epochs[1]


def test_every_case_is_stored(script):
    assert set(script.CASES) == set(FAULTS) - {"extract"} == {path.stem for path in STORED.glob("*.json")}


def test_the_symptoms_are_there():
    assert numbers("a")["case_25"]["spread"] > 1.3 * numbers("a")["healthy_25"]["spread"]
    bars = np.cumprod(1 - np.linspace(1e-4, 0.02, 1000))
    for num_steps, index in (("1000", 0), ("250", 3), ("100", 9)):
        row = numbers("b")[num_steps]
        assert row["case"] ** 2 - row["healthy"] ** 2 == pytest.approx(1 - bars[index], rel=0.15)
    assert numbers("c")["case"]["loss"] < numbers("c")["healthy"]["loss"]
    assert numbers("d")["healthy_values"] == [0, 255]
    assert numbers("e")["healthy"]["difference"] == 0 < numbers("e")["case"]["difference"]
    assert numbers("f")["distinct"] == {"healthy": 12, "case": 4}
    assert np.std(numbers("g")["case"]) > 5 * np.std(numbers("g")["healthy"])
    # The first step clips, and adds the noise of its beta.
    first = np.sqrt(1 - np.sqrt(2 / (np.pi * np.e)) + 0.02)
    assert numbers("h")["case"]["spread"][0] == pytest.approx(first, rel=0.03)
    assert all(numbers("i")[f"case_{n}"] < 0.7 * numbers("i")[f"healthy_{n}"] for n in (50, 100, 250, 1000))
    assert numbers("j")["case"]["spread"] > 4 * numbers("j")["healthy"]["spread"]
    assert numbers("k")["case"]["held_out"] > numbers("k")["healthy"]["held_out"]
    healthy, case = (np.array(numbers("l")[name]) for name in ("healthy", "case"))
    np.testing.assert_allclose(healthy * np.sqrt([1, 2, 4, 8]), healthy[0], rtol=0.15)
    np.testing.assert_allclose(case, case[0], rtol=0.15)
    assert max(numbers("m")["healthy"]) < 1e-3 and np.all(np.diff(numbers("m")["case"]) > 0)
    assert numbers("m")["case"][3] > 0.3, "pictures of 64 pixels"
    np.testing.assert_allclose(numbers("n")["case"], 1, atol=1e-3)
    np.testing.assert_allclose(numbers("n")["healthy"], numbers("n")["scales"], rtol=0.01)
