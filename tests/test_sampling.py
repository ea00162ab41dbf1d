"""Samplers against an exactly solvable case and against numbers published by another library."""

import importlib.util
import json
import subprocess
import sys

import numpy as np
import pytest
from keras import ops

from ddpm_lib.diffusion import noise_predictor
from ddpm_lib.sampling import (
    ddim_encode,
    ddim_sample,
    ddpm_sample,
    dpm_solver_pp_sample,
    fresh_noise,
    noise_per_image,
    sample_images,
)
from ddpm_lib.schedules import NoiseSchedule, linear_schedule

SCHEDULE = linear_schedule()


def numpy(x):
    return ops.convert_to_numpy(x)


# --- The probe that the tests of the diffusers library share: fixed images, fixed noise, a fixed fake network ---------

COUNT = 3 * 8 * 8 * 4
PROBE = (np.arange(COUNT).reshape(3, 8, 8, 4) / COUNT).transpose(3, 1, 2, 0).astype("float32")
PROBE_NOISE = (np.arange(COUNT)[::-1].reshape(3, 8, 8, 4) / COUNT).transpose(3, 1, 2, 0).astype("float32")


def probe_network(x, t):
    t = ops.reshape(ops.cast(t, "float32"), (-1, 1, 1, 1))
    return x * t / (t + 1)


def test_ddim_gives_the_sum_that_diffusers_publishes():
    x_0 = numpy(ddim_sample(probe_network, SCHEDULE, PROBE, num_steps=10, spacing="leading"))
    assert np.abs(x_0).sum() == pytest.approx(172.0067, abs=2e-3)
    assert np.abs(x_0).mean() == pytest.approx(0.223967, abs=1e-5)


# The factor from x_T to x_0 on the probe, which is linear; unclipped. And where clipping matters: x_0 from X_T under a
# network that predicts tanh(x), clipped. All by diffusers 0.42.1 with PyTorch 2.13.0:
#     scheduler = DPMSolverMultistepScheduler(timestep_spacing="trailing", thresholding=clip, sample_max_value=1.0)
#     scheduler = DDIMScheduler(timestep_spacing="trailing", clip_sample=clip)
#     scheduler.set_timesteps(num_steps)
#     for t in scheduler.timesteps:
#         x = scheduler.step(network(x, t), t, x).prev_sample  # DDIM: use_clipped_model_output=True
# Its defaults are "dpmsolver++", order 2, "midpoint", and a last sigma of 0. Thresholding up to 1 is clipping.
X_T = np.array([-2.0, -1.0, -0.5, 0.5, 1.0, 2.5], "float32").reshape(6, 1, 1, 1)
OF_DIFFUSERS = [
    (dpm_solver_pp_sample, 5, 0.3906662, [-1, -1, -0.344754, 0.344754, 1, 1]),
    (dpm_solver_pp_sample, 10, 0.4830896, [-1, -1, -0.375849, 0.375849, 1, 1]),
    (dpm_solver_pp_sample, 20, 0.5080298, [-1, -1, -0.393762, 0.393762, 1, 1]),
    (dpm_solver_pp_sample, 50, 0.5113200, [-1, -1, -0.397237, 0.397237, 1, 1]),
    (ddim_sample, 5, 0.3741112, [-1, -1, -0.424934, 0.424934, 1, 1]),
    (ddim_sample, 10, 0.4433768, [-1, -1, -0.401972, 0.401972, 1, 1]),
    (ddim_sample, 20, 0.4767178, [-1, -1, -0.398208, 0.398208, 1, 1]),
    (ddim_sample, 50, 0.4971894, [-1, -1, -0.397372, 0.397372, 1, 1]),
]


@pytest.mark.parametrize("sampler, num_steps, factor, clipped", OF_DIFFUSERS)
def test_values_of_diffusers(sampler, num_steps, factor, clipped):
    x_0 = numpy(sampler(probe_network, SCHEDULE, PROBE, num_steps=num_steps, clip=False))
    assert np.abs(x_0 - factor * PROBE).max() < 1e-4
    x_0 = numpy(sampler(lambda x, t: ops.tanh(x), SCHEDULE, X_T, num_steps=num_steps))
    assert np.abs(x_0.ravel() - clipped).max() < 1e-4


CASES = [(*case[:2], clip) for case in [*OF_DIFFUSERS, (dpm_solver_pp_sample, 27)] for clip in (True, False)]

# In a process of its own: TensorFlow and the Triton that comes with PyTorch for CUDA abort when both are in one.
CHAINS_OF_DIFFUSERS = """
import json
import sys

import diffusers
import numpy as np
import torch

path, results = sys.argv[1], {}
x_T = torch.tensor(np.load(path)["x_T"])
for name, num_steps, clip in json.loads(sys.argv[2]):
    options, how = {"timestep_spacing": "trailing"}, {}
    if name == "ddim_sample":
        scheduler, how = diffusers.DDIMScheduler(clip_sample=clip, **options), {"use_clipped_model_output": True}
    else:
        scheduler = diffusers.DPMSolverMultistepScheduler(thresholding=clip, sample_max_value=1.0, **options)
    scheduler.set_timesteps(num_steps)
    x = x_T
    for t in scheduler.timesteps:
        x = scheduler.step(torch.tanh(x) * t / (t + 1), t, x, **how).prev_sample
    key = f"{name} {num_steps} {clip}"
    results |= {key: x.numpy(), f"{key} steps": scheduler.timesteps.numpy()}
np.savez(path, **results)
"""


@pytest.fixture(scope="module")
def chains_of_diffusers(tmp_path_factory):
    if importlib.util.find_spec("diffusers") is None:
        pytest.skip("diffusers is not installed")
    path = tmp_path_factory.mktemp("diffusers") / "chains.npz"
    np.savez(path, x_T=PROBE)
    cases = json.dumps([(sampler.__name__, num_steps, clip) for sampler, num_steps, clip in CASES])
    command = [sys.executable, "-c", CHAINS_OF_DIFFUSERS, str(path), cases]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    return np.load(path)


@pytest.mark.parametrize("sampler, num_steps, clip", CASES)
def test_diffusers_itself_agrees(chains_of_diffusers, sampler, num_steps, clip):
    """Not DDIM in 27 steps: there diffusers leaves t for t - 1000 // 27, which is not where its next step begins."""
    told = []

    def network(x, t):
        return probe_network(ops.tanh(x), t)

    x_0 = numpy(sampler(network, SCHEDULE, PROBE, num_steps=num_steps, clip=clip, callback=told.append))
    key = f"{sampler.__name__} {num_steps} {clip}"
    assert [step.t for step in told] == chains_of_diffusers[f"{key} steps"].tolist()
    assert np.abs(x_0 - chains_of_diffusers[key]).max() < 1e-4


def reference_chain(network, x, steps, variance, clip, z, eta=None):
    """DDPM (or DDIM if eta is given) in float64, written from Eq. 7 and from Eq. 12 of the DDIM paper."""
    alpha_bars = np.cumprod(1 - np.linspace(1e-4, 0.02, 1000))
    x = x.astype(np.float64)
    for i, t in enumerate(steps):
        now = alpha_bars[t]
        then = alpha_bars[steps[i + 1]] if i + 1 < len(steps) else 1.0
        alpha = now / then
        eps = network(x, t)
        x_0 = (x - np.sqrt(1 - now) * eps) / np.sqrt(now)
        x_0 = np.clip(x_0, -1, 1) if clip else x_0
        eps = (x - np.sqrt(now) * x_0) / np.sqrt(1 - now)
        posterior = (1 - alpha) * (1 - then) / (1 - now)
        if eta is None:
            mean = (np.sqrt(then) * (1 - alpha) * x_0 + np.sqrt(alpha) * (1 - then) * x) / (1 - now)
            sigma = np.sqrt({"beta": 1 - alpha, "posterior": posterior}[variance])
        else:
            sigma = eta * np.sqrt(posterior)
            mean = np.sqrt(then) * x_0 + np.sqrt(max(1 - then - sigma**2, 0)) * eps
        x = mean + (sigma * z if i + 1 < len(steps) else 0)
    return x


@pytest.mark.parametrize("clip, variance, total", [(True, "beta", 730.7076), (True, "posterior", 730.3934)])
def test_ddpm_full_loop_on_the_probe(clip, variance, total):
    x_0 = numpy(ddpm_sample(probe_network, SCHEDULE, PROBE, noise_fn=lambda k: PROBE_NOISE, variance=variance))
    assert np.abs(x_0).sum() == pytest.approx(total, abs=2e-3)


@pytest.mark.parametrize("clip", [True, False])
@pytest.mark.parametrize("variance", ["beta", "posterior"])
@pytest.mark.parametrize("num_steps", [1, 7, 100])
def test_ddpm_with_skipped_steps(clip, variance, num_steps):
    steps = [round(1000 * k / num_steps) - 1 for k in range(num_steps, 0, -1)]
    expected = reference_chain(lambda x, t: x * t / (t + 1), PROBE, steps, variance, clip, PROBE_NOISE)
    options = {"num_steps": num_steps, "variance": variance, "clip": clip}
    x_0 = numpy(ddpm_sample(probe_network, SCHEDULE, PROBE, noise_fn=lambda k: PROBE_NOISE, **options))
    assert np.allclose(x_0, expected, rtol=2e-4, atol=2e-4)


@pytest.mark.parametrize("eta", [0.0, 0.5, 1.0])
def test_ddim_with_noise(eta):
    steps = list(range(999, 0, -50))
    expected = reference_chain(lambda x, t: x * t / (t + 1), PROBE, steps, None, True, PROBE_NOISE, eta)
    x_0 = numpy(ddim_sample(probe_network, SCHEDULE, PROBE, num_steps=20, eta=eta, noise_fn=lambda k: PROBE_NOISE))
    assert np.abs(x_0 - expected).max() < 2e-4


def test_ddim_with_eta_1_and_all_steps_is_ddpm_with_the_posterior_variance():
    options = {"num_steps": 1000, "noise_fn": lambda k: PROBE_NOISE, "clip": False}
    gaussian = gaussian_network(mean=0.2, variance=0.25)
    ddim = numpy(ddim_sample(gaussian, SCHEDULE, PROBE, eta=1.0, **options))
    ddpm = numpy(ddpm_sample(gaussian, SCHEDULE, PROBE, variance="posterior", **options))
    assert np.abs(ddim - ddpm).max() < 1e-3


# --- Gaussian data, for which the best network is known and every sampler is an affine map ----------------------------


def gaussian_network(mean, variance):
    """The expected noise in x_t when the data are N(mean, variance) per pixel."""

    def predict_noise(x, t):
        alpha_bar = float(SCHEDULE.alpha_bars[int(numpy(t)[0])])
        total = alpha_bar * variance + 1 - alpha_bar
        return np.float32(np.sqrt(1 - alpha_bar) / total) * (x - np.float32(np.sqrt(alpha_bar) * mean))

    return predict_noise


def moments_of(sampler, network, **options):
    """Mean and variance of what a sampler makes of standard normal x_T, exactly.

    The map is affine in x_T and in every step's noise. So one "image" a source of noise, each set to 1 alone, reads out
    the coefficients; image 0, where all sources are 0, reads out the mean.
    """
    num_steps = options.get("num_steps", 1000)
    x_T = np.zeros((num_steps + 1, 1, 1, 1), "float32")
    x_T[1] = 1.0

    def noise_fn(number):
        noise = np.zeros_like(x_T)
        if number + 2 < len(noise):
            noise[number + 2] = 1.0
        return noise

    out = numpy(sampler(network, SCHEDULE, x_T, noise_fn=noise_fn, clip=False, **options)).reshape(-1)
    return out[0], float(((out[1:] - out[0]).astype(np.float64) ** 2).sum())


@pytest.mark.parametrize(
    "data_variance, beta, posterior",
    [(1.0, 0.9999000, 0.9910674), (0.25, 0.2507521, 0.2461252), (0.01, 0.0101537, 0.0092759)],
)
def test_ddpm_reaches_the_exact_variance_of_gaussian_data(data_variance, beta, posterior):
    """Values of the exact linear recursion; "beta" fits unit variance, "posterior" is always a little narrow."""
    network = gaussian_network(0.3, data_variance)
    for variance, expected in (("beta", beta), ("posterior", posterior)):
        mean, reached = moments_of(ddpm_sample, network, variance=variance)
        assert reached == pytest.approx(expected, rel=2e-4)
        assert mean == pytest.approx(0.3, abs=2e-3)


def test_ddim_comes_closer_to_the_data_with_more_steps():
    """For zero-mean data DDIM multiplies x_T by one number a step; the product is known."""
    alpha_bars = np.cumprod(1 - np.linspace(1e-4, 0.02, 1000))
    variances = []
    for num_steps in (10, 50, 200, 1000):
        steps = [round(1000 * k / num_steps) - 1 for k in range(num_steps, 0, -1)]
        now, then = alpha_bars[steps], np.append(alpha_bars[steps[1:]], 1.0)
        total = 0.25 * now + 1 - now
        factors = np.sqrt(then / now) * (1 - (1 - now) / total) + np.sqrt((1 - then) * (1 - now)) / total
        _, reached = moments_of(ddim_sample, gaussian_network(0.0, 0.25), num_steps=num_steps)
        assert reached == pytest.approx(np.prod(factors) ** 2, rel=1e-4)
        variances.append(reached)
    assert variances == sorted(variances)
    assert variances[0] < 0.15 and 0.245 < variances[-1] < 0.25


@pytest.mark.parametrize(
    "data_variance, dpm_error, ddim_error",
    [(1.0, 2e-3, 0.02), (0.25, 2e-3, 0.03), (0.04, 0.012, 0.07)],
)
def test_samplers_without_noise_follow_the_probability_flow(data_variance, dpm_error, ddim_error):
    """Between Gaussians its exact solution keeps the distance from the mean, in standard deviations.

    How fast an error falls shows at a fixed time, here at index 399, which both 20 and 40 steps pass. With half the
    step it falls to a quarter, or for DDIM to half.
    """
    x_T = np.linspace(-3, 3, 7, dtype="float32").reshape(-1, 1, 1, 1)
    network = gaussian_network(mean=0.3, variance=data_variance)

    def exact(alpha_bar):
        total_T, total = (a * data_variance + 1 - a for a in (SCHEDULE.alpha_bars[-1], alpha_bar))
        return np.sqrt(alpha_bar) * 0.3 + np.sqrt(total / total_T) * (x_T - np.sqrt(SCHEDULE.alpha_bars[-1]) * 0.3)

    for sampler, ratio, error in ((dpm_solver_pp_sample, 4, dpm_error), (ddim_sample, 2, ddim_error)):
        errors = []
        for num_steps in (20, 40):
            told = []
            sampler(network, SCHEDULE, x_T, num_steps=num_steps, clip=False, callback=told.append)
            (passing,) = (step for step in told if step.t_next == 399)
            errors.append(np.abs(numpy(passing.x) - exact(SCHEDULE.alpha_bars[399])).max())
        assert errors[0] / errors[1] == pytest.approx(ratio, rel=0.1)
        x_0 = numpy(sampler(network, SCHEDULE, x_T, num_steps=100, clip=False))
        standard_deviation, mean = np.polyfit(x_T.ravel(), x_0.ravel(), 1)
        assert mean == pytest.approx(0.3, abs=2e-3)
        assert standard_deviation == pytest.approx(np.sqrt(data_variance), rel=error)
        assert np.abs(x_0 - exact(1.0)).max() < 3 * error * np.sqrt(data_variance)


# --- Contracts --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("num_steps", [1, 3, 7, 27, 50])
@pytest.mark.parametrize("sampler", [ddpm_sample, ddim_sample, dpm_solver_pp_sample])
def test_network_and_callback_see_the_steps_of_the_subsequence(sampler, num_steps):
    seen, told = [], []

    def network(x, t):
        assert numpy(t).dtype == np.int32 and len(set(numpy(t))) == 1
        seen.append(int(numpy(t)[0]))
        return x * 0.1

    sampler(network, SCHEDULE, PROBE, num_steps=num_steps, callback=told.append)
    assert seen == [round(1000 * k / num_steps) - 1 for k in range(num_steps, 0, -1)]
    assert [step.t for step in told] == seen
    assert [step.t_next for step in told] == [*seen[1:], -1]
    assert [step.number for step in told] == list(range(num_steps))
    assert all(np.abs(numpy(step.x_0_pred)).max() <= 1 for step in told)


@pytest.mark.parametrize("sampler, options", [(ddpm_sample, {}), (ddim_sample, {"eta": 1.0})])
def test_last_step_adds_no_noise_and_asks_for_none(sampler, options):
    asked = []

    def noise_fn(number):
        asked.append(number)
        return np.full(PROBE.shape, np.nan if number == 9 else 0.0, "float32")

    x_0 = sampler(probe_network, SCHEDULE, PROBE, num_steps=10, noise_fn=noise_fn, **options)
    assert np.isfinite(numpy(x_0)).all()
    assert asked == list(range(9))


def test_ddim_without_noise_asks_for_none():
    asked = []
    ddim_sample(probe_network, SCHEDULE, PROBE, num_steps=3, eta=0.0, noise_fn=asked.append)
    assert asked == []


def test_arrays_of_double_precision_are_sampled_from_in_single():
    def sample(kind):
        noise = PROBE_NOISE.astype(kind)
        return numpy(ddpm_sample(probe_network, SCHEDULE, PROBE.astype(kind), num_steps=3, noise_fn=lambda k: noise))

    assert sample("float64").dtype == np.float32
    assert np.array_equal(sample("float64"), sample("float32"))


@pytest.mark.parametrize("sampler", [ddim_sample, dpm_solver_pp_sample])
def test_clipping_keeps_a_network_that_predicts_nothing_in_range(sampler):
    x_T = np.random.default_rng(0).standard_normal((2, 4, 4, 1)).astype("float32")
    x_0 = numpy(sampler(lambda x, t: x * 0, SCHEDULE, x_T, num_steps=1000))
    assert np.isfinite(x_0).all() and np.abs(x_0).max() <= 1.0


def test_no_signal_at_all_is_refused():
    with pytest.raises(ValueError, match="alpha_bar is 0 at index 2"):
        ddim_sample(probe_network, NoiseSchedule(np.array([0.1, 0.5, 1.0])), PROBE, num_steps=3)


@pytest.mark.parametrize("sampler", [ddpm_sample, ddim_sample, dpm_solver_pp_sample])
def test_a_prediction_of_v_needs_no_signal(sampler):
    """Where alpha_bar is 0, v is -x_0. All images are one, so the exact v leads every sampler to it."""
    schedule, x_0 = NoiseSchedule(np.array([0.1, 0.5, 0.9, 1.0])), 0.3 * np.ones_like(PROBE)

    def exact(x_t, t):
        alpha_bar = ops.reshape(ops.take(ops.convert_to_tensor(schedule.alpha_bars, "float32"), t), (-1, 1, 1, 1))
        noise = (x_t - ops.sqrt(alpha_bar) * x_0) / ops.sqrt(1.0 - alpha_bar)
        return ops.sqrt(alpha_bar) * noise - ops.sqrt(1.0 - alpha_bar) * x_0

    with np.errstate(all="raise"):
        drawn = numpy(sampler(noise_predictor("v", schedule, exact), schedule, PROBE, num_steps=4))
    np.testing.assert_allclose(drawn, x_0, atol=1e-5)


def test_wrong_choices_are_named():
    with pytest.raises(ValueError, match="beta, posterior"):
        ddpm_sample(probe_network, SCHEDULE, PROBE, variance="learned")
    for sampler in (ddim_sample, dpm_solver_pp_sample):
        with pytest.raises(ValueError, match=r"1\.\.1000"):
            sampler(probe_network, SCHEDULE, PROBE, num_steps=1001)
        with pytest.raises(ValueError, match="trailing, leading or linspace"):
            sampler(probe_network, SCHEDULE, PROBE, spacing="karras")
    with pytest.raises(ValueError, match=r"1\.\.1000, got 0"):
        ddpm_sample(probe_network, SCHEDULE, PROBE, num_steps=0)


# --- Seeds ------------------------------------------------------------------------------------------------------------


class FakeModel:
    schedule, image_shape = SCHEDULE, (4, 4, 3)

    def predict_noise(self, x, t):
        return probe_network(x, t)


@pytest.mark.parametrize("sampler, options", [(ddim_sample, {"eta": 1.0}), (dpm_solver_pp_sample, {})])
def test_an_image_depends_on_its_seed_and_not_on_its_batch(sampler, options):
    options = {"num_steps": 10, **options}
    together = sample_images(FakeModel(), sampler, range(8), batch_size=8, **options)
    split = sample_images(FakeModel(), sampler, range(8), batch_size=3, **options)
    alone = sample_images(FakeModel(), sampler, [7], **options)
    assert np.abs(together - split).max() < 1e-6
    assert np.abs(together[7] - alone[0]).max() < 1e-6
    distances = [np.abs(together[i] - together[j]).max() for i in range(8) for j in range(i)]
    assert min(distances) > 0.05, "two seeds gave the same image"


def test_noise_is_standard_normal_and_new_at_every_step_and_seed():
    noise_fn = noise_per_image(range(200), (8, 8, 3))
    first, second = noise_fn(-1), noise_fn(0)
    assert first.dtype == np.float32 and first.shape == (200, 8, 8, 3)
    for noise in (first, second):
        assert abs(noise.mean()) < 4 / np.sqrt(noise.size)
        assert abs(noise.var() - 1) < 4 * np.sqrt(2 / noise.size)
    assert abs(np.corrcoef(first.ravel(), second.ravel())[0, 1]) < 4 / np.sqrt(first.size)
    assert not np.array_equal(fresh_noise((2, 3))(0), fresh_noise((2, 3))(0))


def test_settings_that_make_no_sense_are_refused():
    with pytest.raises(ValueError, match="eta must be 0 or more, got -1"):
        ddim_sample(None, None, None, eta=-1)
    for seeds, batch_size in (([], 16), ([1], 0)):
        with pytest.raises(ValueError, match="at least one seed and a batch_size of at least 1"):
            sample_images(None, ddim_sample, seeds, batch_size=batch_size)


# --- The way up ------------------------------------------------------------------------------------------------------


def test_encoding_follows_the_curve_of_gaussian_data():
    """Data N(0, s^2): the ODE keeps x_t in units of its deviation, so that x_T is x_0 sqrt(v_T) / s."""
    s, bars = 0.6, SCHEDULE.alpha_bars

    def network(x, t):
        return float(np.sqrt(1 - bars[int(t[0])]) / (bars[int(t[0])] * s**2 + 1 - bars[int(t[0])])) * x

    x_0 = s * np.random.default_rng(0).standard_normal((1, 4, 4, 1)).astype("float32")
    there = np.sqrt(bars[-1] * s**2 + 1 - bars[-1]) / s * x_0
    up, back = [], []
    for num_steps in (50, 100, 500):
        x_T = numpy(ddim_encode(network, SCHEDULE, x_0, num_steps=num_steps))
        up.append(np.abs(x_T - there).max())
        back.append(np.abs(ddim_sample(network, SCHEDULE, x_T, num_steps=num_steps, clip=False) - x_0).max())
    for errors in (up, back):  # Euler's method: the error falls as the number of steps grows
        assert errors[0] / errors[1] == pytest.approx(2, rel=0.15) and errors[1] / errors[2] == pytest.approx(
            5, rel=0.15
        )


@pytest.mark.parametrize("spacing", ["trailing", "leading", "linspace", "log_snr"])
def test_encoding_takes_the_steps_of_the_sampler_upwards(spacing):
    down, up, asked = [], [], []

    def network(x, t):
        asked.append(int(t[0]))
        return 0.5 * x

    ddim_sample(network, SCHEDULE, PROBE, num_steps=7, spacing=spacing, callback=down.append)
    asked.clear()
    x_T = ddim_encode(network, SCHEDULE, PROBE, num_steps=7, spacing=spacing, callback=up.append)
    assert [(step.t, step.t_next) for step in up] == [(step.t_next, step.t) for step in down[::-1]]
    assert asked == [0, *(step.t for step in up[1:])]
    assert np.array_equal(numpy(up[-1].x), numpy(x_T)) and [step.number for step in up] == list(range(7))
    with pytest.raises(ValueError, match=r"1\.\.1000"):
        ddim_encode(network, SCHEDULE, PROBE, num_steps=0)


def test_encoding_is_closed_where_the_noise_does_not_change():
    """A constant noise makes the curve a straight line, which Euler's method follows exactly both ways."""
    x_0 = PROBE - 0.5
    x_T = ddim_encode(lambda x, t: PROBE_NOISE, SCHEDULE, x_0, num_steps=5)
    back = numpy(ddim_sample(lambda x, t: PROBE_NOISE, SCHEDULE, x_T, num_steps=5, clip=False))
    assert np.abs(back - x_0).max() < 1e-4
