"""What the book keeps of training runs, and the tool that writes it."""

import json
import pathlib
import re
import sys

import numpy as np
import pytest
from PIL import Image

import ddpm_lib
from ddpm_lib import schedules
from ddpm_lib.config import RunConfig, UNetConfig
from ddpm_lib.exact import GaussianMixture
from ddpm_lib.training import DiffusionTrainer

ROOT = pathlib.Path(__file__).parents[1]
RUNS = ROOT / "data" / "runs"
sys.path.insert(0, str(ROOT / "book" / "_tools"))
import run_data  # noqa: E402

KEPT = sorted(path.parent.name for path in RUNS.glob("*/history.csv"))  # the others are benchmarks' results
every_run = pytest.mark.parametrize("name", KEPT)


def table(path):
    return np.atleast_1d(np.genfromtxt(path, delimiter=",", names=True))


def test_recall_is_the_best_denoiser_of_narrow_peaks():
    """A memory of single images is a mixture whose peaks have no width."""
    rng = np.random.default_rng(0)
    bank, asked = rng.uniform(-1, 1, (5, 2)), rng.standard_normal((7, 2))
    for alpha_bar in (0.99, 0.5, 1e-3):
        peaks = GaussianMixture(bank, np.ones(5), 1e-7)
        np.testing.assert_allclose(
            run_data.recall(asked, bank, alpha_bar), peaks.expected_x_0(asked, alpha_bar), rtol=1e-6, atol=1e-9
        )


def test_principal_axes_are_those_of_the_covariance():
    rows = np.random.default_rng(0).standard_normal((50, 4)) @ np.diag([3.0, 1.0, 0.5, 0.1]) + 2.0
    mean, variances, axes = run_data.principal_axes(rows)
    np.testing.assert_allclose(mean, rows.mean(axis=0))
    np.testing.assert_allclose((axes * variances) @ axes.T, np.cov(rows.T, ddof=0), atol=1e-12)
    assert (np.diff(variances) < 0).all()


def test_mirror_images_are_added():
    images = np.arange(12, dtype=np.uint8).reshape(1, 2, 2, 3) * 20
    rows = run_data.with_mirror_images(images).reshape(2, 2, 2, 3)
    np.testing.assert_array_equal(rows[1, :, 0], rows[0, :, 1])
    assert rows.min() == -1.0


def test_gaussian_samples_are_where_ddim_ends():
    """All steps of DDIM with the exact answer for a normal distribution, against the formula for its end."""
    trainer = DiffusionTrainer(RunConfig(unet=UNetConfig(4, 1, (8,), 1, heads=1, attention_dim=8, time_dim=8)))
    rng = np.random.default_rng(0)
    axes = np.linalg.qr(rng.standard_normal((16, 16)))[0]
    mean, variances = rng.uniform(-0.2, 0.2, 16), np.geomspace(0.2, 1e-4, 16)
    expected = run_data.draw_gaussian(trainer, mean, variances, axes)

    def predict_noise(x_t, t):
        alpha_bar = trainer.schedule.alpha_bars[int(t[0])]
        centred = (np.asarray(x_t).reshape(8, 16) - np.sqrt(alpha_bar) * mean) @ axes
        noise = centred * np.sqrt(1 - alpha_bar) / (alpha_bar * variances + 1 - alpha_bar) @ axes.T
        return noise.reshape(8, 4, 4, 1).astype("float32")

    x_T = run_data.sampling.noise_per_image(range(8), (4, 4, 1))(-1)
    walked = run_data.sampling.ddim_sample(predict_noise, trainer.schedule, x_T, num_steps=1000, clip=False)
    difference = run_data.to_uint8(walked).astype(int) - expected
    assert np.abs(difference).max() <= 2


@every_run
def test_kept_run_is_consistent(name):
    run = json.loads((RUNS / name / "run.json").read_text("utf8"))
    history = table(RUNS / name / "history.csv")
    assert list(history["epoch"]) == list(range(1, run["epochs"] + 1))
    assert history["step"][-1] == run["steps"]
    assert run["images"] == run["steps"] * run["config"]["train"]["batch_size"]
    # All images count the same in the loss: it is the mean over the quarters, but for how many fell into each.
    quarters = np.array([history[f"loss_q{i}"] for i in (1, 2, 3, 4)])
    chance = quarters.std(axis=0) / np.sqrt(run["images"] / run["epochs"])
    assert (np.abs(history["loss"] - quarters.mean(axis=0)) < 4 * chance)[1:].all()
    [path] = [path for file in ("film.webp", "samples.webp") if (path := RUNS / name / file).exists()]
    side = 4 * run["config"]["unet"]["image_size"] + 3
    with Image.open(path) as film:
        assert (film.n_frames, film.size) == (run["epochs"] if path.stem == "film" else 1, (side, side))
    assert not re.search(r"[\"'](/|~|[A-Z]:)", (RUNS / name / "run.json").read_text("utf8")), "a path of a machine"


def test_kept_runs_are_small():
    assert sum(path.stat().st_size for path in RUNS.rglob("*")) < 3e6


def test_faces_are_the_shipped_model():
    model, run = ddpm_lib.load("faces32"), json.loads((RUNS / "faces32/run.json").read_text("utf8"))
    assert (model.step, model.network.count_params()) == (run["steps"], run["weights"])
    history = table(RUNS / "faces32/history.csv")
    np.testing.assert_allclose(history["loss"], [row["loss"] for row in model.rows], rtol=1e-5)


def test_what_judges_the_faces_judged_the_shipped_ones():
    run = json.loads((RUNS / "faces64/run.json").read_text("utf8"))
    files = ("evaluate_faces.json", "neighbours.json", "quality_and_speed/results.json", "longer.json")
    evaluated, near, quality, longer = (json.loads((RUNS / "faces64" / file).read_text("utf8")) for file in files)
    assert {ddpm_lib.load("faces").step, near["model_step"], quality["model_step"]} == {run["steps"]}
    assert evaluated["model_step"] == run["steps"] and evaluated["sha256"] == run["config"]["data"]["sha256"]
    # The same faces were judged twice, by `ddpm evaluate` and by the benchmark.
    [row] = [row for row in longer["rows"] if row["images"] == run["images"]]
    again = quality["runs"][f"ddpm posterior, {longer['num_steps']} steps"]
    assert (longer["variance"], longer["num_samples"]) == ("posterior", quality["num_samples"])
    for measure in ("frechet_distance", "precision", "recall"):
        assert row[measure]["mean"] == pytest.approx(again[measure]["mean"], abs=1e-4)


@pytest.mark.parametrize("folder", ["faces64/quality_and_speed", "face_trials"])
def test_every_judged_run_has_its_picture_of_16_faces(folder):
    results = json.loads((RUNS / folder / "results.json").read_text("utf8"))
    pictures = {run["picture"] for run in results["runs"].values()}
    assert pictures == {path.name for path in (RUNS / folder).glob("*.webp")} and len(pictures) == len(results["runs"])
    sizes = set()
    for name in pictures:
        with Image.open(RUNS / folder / name) as picture:
            sizes.add(picture.size)
    assert sizes == {(16 * 64 + 15, 64)}
    assert results["sha256"] == json.loads((RUNS / "faces64/run.json").read_text("utf8"))["config"]["data"]["sha256"]


def test_losses_of_faces_are_in_order():
    """Nothing beats the memory on the training images, and the memory of pure noise is the mean: a linear answer."""
    losses = table(RUNS / "faces32/loss_by_step.csv")
    variances = table(RUNS / "faces32/spectrum.csv")["variance"]
    assert (losses["memory"] < losses["network"]).all()
    alpha_bar = schedules.linear_schedule().alpha_bars[-1]
    linear = np.mean(alpha_bar * variances / (alpha_bar * variances + 1 - alpha_bar))
    assert losses["memory"][-1] == pytest.approx(linear, rel=0.2)
