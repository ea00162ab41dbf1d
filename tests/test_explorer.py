"""The explorers' Python side: their numbers, their HTML, and a kernel."""

import re
import sys

import nbclient
import nbformat
import numpy as np
import pytest
import scipy.integrate
import scipy.stats

from ddpm_lib import cost
from ddpm_lib.config import PRESETS, InputError
from ddpm_lib.exact import GaussianMixture
from ddpm_lib.explorer import (
    SCRIPT,
    CostExplorer,
    Denoiser,
    ReverseExplorer,
    SamplersExplorer,
    ScheduleExplorer,
    TrainingExplorer,
    pictures,
    prior_kl,
)
from ddpm_lib.explorer.costs import layer_costs
from ddpm_lib.explorer.mixture import reverse_step, solver_step
from ddpm_lib.explorer.script import FOLDER, PARTS


@pytest.mark.parametrize("alpha_bar", [4e-5, 0.1, 0.9])
def test_prior_kl_is_the_integral_of_its_definition(alpha_bar):
    pixels = np.array([-1.0, -0.3, 0.6, 1.0])
    found = scipy.stats.norm(scale=np.sqrt(1 - alpha_bar))

    def divergence(pixel):
        def integrand(x):
            shifted = x - np.sqrt(alpha_bar) * pixel
            return found.pdf(shifted) * (found.logpdf(shifted) - scipy.stats.norm.logpdf(x))

        return scipy.integrate.quad(integrand, -12, 12, epsabs=1e-13, limit=200)[0]

    expected = np.mean([divergence(pixel) for pixel in pixels]) / np.log(2)
    assert prior_kl(alpha_bar, pixels) == pytest.approx(expected, rel=1e-6)


def test_prior_kl_is_zero_only_without_signal():
    assert prior_kl(0.0, np.ones(3)) == 0.0
    assert prior_kl(0.36, np.zeros(3)) > 0.0


def test_reverse_step_is_the_product_of_two_normal_distributions():
    """q(x_s | x_t, x_0) from q(x_s | x_0) and q(x_t | x_s), by adding precisions."""
    x_t, x_0, alpha_bar, following = np.array([[0.7]]), np.array([[-0.4]]), 0.3, 0.55
    kept = alpha_bar / following
    precision = 1 / (1 - following) + kept / (1 - kept)
    mean = (np.sqrt(following) * x_0 / (1 - following) + np.sqrt(kept) * x_t / (1 - kept)) / precision
    for options in [("ddpm", "posterior", 0.0), ("ddim", "beta", 1.0)]:
        found, sigma = reverse_step(x_t, x_0, alpha_bar, following, *options)
        np.testing.assert_allclose(found, mean, rtol=1e-12)
        assert sigma**2 == pytest.approx(1 / precision, rel=1e-12)
    assert reverse_step(x_t, x_0, alpha_bar, following)[1] ** 2 == pytest.approx(1 - kept, rel=1e-12)
    assert reverse_step(x_t, x_0, alpha_bar, 1.0)[1] == 0.0


def test_solver_step_integrates_an_image_that_changes_evenly_in_log_u():
    """dy/du = x_0 with y = x / sqrt(1 - ab) and u the root of the signal-to-noise ratio, here by the exact integral."""
    u = np.array([0.5, 0.51, 0.523])
    bars = u**2 / (1 + u**2)
    x_0 = [np.array([[0.3 + 0.8 * np.log(at), -0.2]]) for at in u]
    x_t = np.array([[0.7, -0.4]])
    found = solver_step(x_t, x_0[1], bars[1], bars[2], (bars[0], x_0[0]))
    change = [0.3 * at + 0.8 * (at * np.log(at) - at) for at in u]
    expected = x_t / np.sqrt(1 - bars[1]) + np.array([[change[2] - change[1], -0.2 * (u[2] - u[1])]])
    # What it leaves out is of the third power of the step's length, log 0.523 / 0.51.
    np.testing.assert_allclose(found, np.sqrt(1 - bars[2]) * expected, rtol=0, atol=1e-6)
    np.testing.assert_allclose(solver_step(x_t, x_0[1], bars[1], 1.0, (bars[0], x_0[0])), x_0[1], rtol=1e-12)


def test_pictures_are_small_and_free():
    for name in pictures.NAMES:
        assert pictures.picture(name).shape == (64, 64, 3) and pictures.picture(name).dtype == np.uint8
    assert set(np.unique(pictures.picture("checkerboard"))) == {0, 255}


def test_own_picture_is_cut_and_shrunk():
    image = np.zeros((128, 300), np.uint8)
    image[:, 150:] = 200
    shrunk = pictures.shrink(image)
    assert shrunk.shape == (64, 64, 3)
    assert (shrunk[:, :32] == 0).all() and (shrunk[:, 32:] == 200).all()
    assert ScheduleExplorer(picture=image).picture == "yours"


@pytest.mark.parametrize(
    "make",
    [
        lambda: ScheduleExplorer("quadratic"),
        lambda: ScheduleExplorer(T=100),
        lambda: ScheduleExplorer(num_steps=1),
        lambda: ScheduleExplorer(num_steps=100, t=101),
        lambda: ScheduleExplorer(picture="dog"),
        lambda: ScheduleExplorer(picture=np.zeros((8, 8))),
        lambda: Denoiser("cats"),
        lambda: Denoiser(images="5"),
        lambda: Denoiser(seed=-1),
        lambda: CostExplorer("GTX"),
        lambda: CostExplorer(batch_size=0),
        lambda: CostExplorer(precision="float16"),
        lambda: CostExplorer(peak=1.0),
        lambda: ReverseExplorer("spiral"),
        lambda: ReverseExplorer(eta=-0.1),
        lambda: ReverseExplorer(num_steps=5, step=6),
        lambda: SamplersExplorer("peaks"),
        lambda: SamplersExplorer(GaussianMixture([[0.0]], [1.0], 0.1)),
        lambda: SamplersExplorer(GaussianMixture([[0.0, 0.0]], [1.0], 0.0)),
        lambda: SamplersExplorer(num_steps=251),
        lambda: SamplersExplorer(spacing="quadratic"),
        lambda: ReverseExplorer(GaussianMixture([[0.0, 0.0, 0.0]], [1.0], 0.1)),
        lambda: ReverseExplorer(GaussianMixture([[0.0]], [1.0], 0.0)),
        lambda: ReverseExplorer(step="1"),
        lambda: ScheduleExplorer(num_steps="x"),
        lambda: ScheduleExplorer(t=None),
        lambda: TrainingExplorer("square"),
        lambda: TrainingExplorer(np.zeros((301, 2))),
        lambda: TrainingExplorer(np.zeros((5, 3))),
        lambda: TrainingExplorer([[0.0, 2.7]]),
        lambda: TrainingExplorer([[0.0, np.nan]]),
        lambda: TrainingExplorer(target="score"),
        lambda: TrainingExplorer(num_steps=99),
    ],
)
def test_bad_settings_are_one_clear_line(make):
    with pytest.raises(InputError) as caught:
        make()
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "make",
    [
        ScheduleExplorer,
        ReverseExplorer,
        lambda: ReverseExplorer("moons"),
        SamplersExplorer,
        Denoiser,
        TrainingExplorer,
        CostExplorer,
    ],
)
def test_html_is_small_the_same_every_time_and_asks_for_nothing(make):
    text = make().to_html()
    assert text == make().to_html()
    assert len(text) < 60_000
    assert not re.search(r"https?:|<script|\bid=", text)
    assert 'alt="' in text and "sliders" in text


def test_costs_of_another_network_and_card():
    config = PRESETS["faces32"].unet
    explorer = CostExplorer("T4", config, bandwidth=900.0)
    assert explorer.card == "your own" and explorer.half == cost.DEVICES["T4"].half / 1e12
    step = cost.step_cost(config, 3, "mixed_float16", "fused", rematerialize=True)
    expected = [(row.name, row.training_flops, row.training_moved) for row in step.rows]
    assert layer_costs(explorer.costs, 3, "mixed_float16", "fused", "yes") == expected


def test_colab_gets_the_widget_alone(monkeypatch):
    assert "text/html" in ScheduleExplorer()._repr_mimebundle_()[0]
    monkeypatch.setitem(sys.modules, "google.colab", sys)
    data, _ = ScheduleExplorer()._repr_mimebundle_()
    assert "text/html" not in data and "application/vnd.jupyter.widget-view+json" in data


def test_script_needs_nothing_else():
    assert not re.search(r"https?://(?!www\.w3\.org/)|\bimport\s|\brequire\(", SCRIPT)


def test_every_module_of_the_front_end_is_in_the_script_once():
    assert sorted(PARTS) == sorted(path.stem for path in FOLDER.glob("*.js"))
    for part in PARTS:
        assert SCRIPT.count((FOLDER / f"{part}.js").read_text("utf-8")) == 1


@pytest.mark.slow
def test_widgets_through_a_kernel():
    lines = [
        "from ddpm_lib.explorer import ScheduleExplorer\nexplorer = ScheduleExplorer('cosine', t=7)\nexplorer",
        "explorer.t = 9",
        "from ddpm_lib.explorer import ReverseExplorer\nReverseExplorer('ring', sampler='ddim', num_steps=20)",
    ]
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(line) for line in lines])
    nbclient.NotebookClient(notebook, kernel_name="python3", timeout=120).execute()
    states = notebook.metadata.widgets["application/vnd.jupyter.widget-state+json"]["state"]
    views = [notebook.cells[place].outputs[0].data for place in (0, 2)]
    for data, expected in zip(
        views,
        [{"kind": "cosine", "t": 9, "num_steps": 1000}, {"target": "ring", "sampler": "ddim", "num_steps": 20}],
        strict=True,
    ):
        state = states[data["application/vnd.jupyter.widget-view+json"]["model_id"]]["state"]
        assert {key: state[key] for key in expected} == expected
        assert state["_esm"].startswith(SCRIPT)
    assert views[0]["text/html"] == ScheduleExplorer("cosine", t=7).to_html()


def test_a_short_schedule_is_shown_at_one_of_its_own_steps():
    explorer = ScheduleExplorer(num_steps=100)
    assert explorer.t == 100 and explorer.figure()[0].startswith(b"\x89PNG")
