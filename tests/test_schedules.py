"""Schedules against closed forms and against values that other implementations publish."""

import math

import numpy as np
import pytest
import scipy.optimize

from ddpm_lib.schedules import (
    NoiseSchedule,
    build_schedule,
    cosine_schedule,
    linear_schedule,
    sigmoid_schedule,
    timestep_subsequence,
)

# index: beta, alpha_bar, sqrt(alpha_bar), sqrt(1 - alpha_bar), posterior variance, for T = 1000; worked out with
# Python's decimal module at 50 digits.
GOLDEN = {
    0: (1.0e-4, 9.99900000e-01, 0.999950, 0.010000, 0.0),
    1: (1.19920e-4, 9.99780092e-01, 0.999890, 0.014829, 5.45318766e-05),
    250: (5.07998e-3, 5.21423031e-01, 0.722096, 0.691793, 5.05171984e-03),
    499: (1.004004e-2, 7.85872429e-02, 0.280334, 0.959902, 1.00313554e-02),
    500: (1.005996e-2, 7.77966584e-02, 0.278921, 0.960314, 1.00513358e-02),
    750: (1.503994e-2, 3.30015836e-03, 0.057447, 0.998349, 1.50391795e-02),
    999: (2.0e-2, 4.03582977e-05, 0.006353, 0.999980, 1.99999835e-02),
}


@pytest.mark.parametrize("index", GOLDEN)
def test_linear_schedule_has_the_published_values(index):
    schedule = linear_schedule()
    beta, alpha_bar, signal, noise, posterior = GOLDEN[index]
    assert schedule.betas[index] == pytest.approx(beta, rel=1e-5)
    assert schedule.alphas[index] == pytest.approx(1 - beta, rel=1e-7)
    assert schedule.alpha_bars[index] == pytest.approx(alpha_bar, rel=1e-8)
    assert np.sqrt(schedule.alpha_bars[index]) == pytest.approx(signal, abs=5e-7)
    assert np.sqrt(1 - schedule.alpha_bars[index]) == pytest.approx(noise, abs=5e-7)
    assert schedule.posterior_variances[index] == pytest.approx(posterior, rel=1e-8)
    assert schedule.snr[index] == pytest.approx(alpha_bar / (1 - alpha_bar), rel=1e-4)


def test_tables_keep_double_precision_to_the_last_step():
    schedule = linear_schedule()
    assert schedule.alpha_bars[-1] == pytest.approx(4.035829765375676e-05, rel=1e-12)
    for name in ("betas", "alphas", "alpha_bars", "alpha_bars_prev", "posterior_variances", "snr"):
        table = getattr(schedule, name)
        assert table.dtype == np.float64 and table.shape == (1000,), name
        with pytest.raises(ValueError):
            table[0] = 0.5


def test_before_the_first_step_the_image_is_clean():
    for schedule in (linear_schedule(), cosine_schedule(), sigmoid_schedule(), linear_schedule(7)):
        assert schedule.alpha_bars_prev[0] == 1.0
        assert schedule.posterior_variances[0] == 0.0
        assert np.array_equal(schedule.alpha_bars_prev[1:], schedule.alpha_bars[:-1])


def test_cosine_schedule_follows_its_curve_where_no_beta_is_cut():
    schedule = cosine_schedule()
    progress = np.arange(1, 1001) / 1000
    curve = np.cos((progress + 0.008) / 1.008 * np.pi / 2) ** 2 / np.cos(0.008 / 1.008 * np.pi / 2) ** 2
    kept = schedule.betas < 0.999
    assert kept.sum() == 999
    assert np.allclose(schedule.alpha_bars[kept], curve[kept], rtol=1e-10)


def test_sigmoid_schedule_is_symmetric_and_follows_its_curve():
    schedule = sigmoid_schedule()
    progress = np.arange(1, 1001) / 1000

    def sigmoid(x):
        return 1 / (1 + np.exp(-x))

    # Chen (2023), Algorithm 1, as printed: with rising sigmoids.
    curve = (sigmoid(3) - sigmoid(progress * 6 - 3)) / (sigmoid(3) - sigmoid(-3))
    kept = schedule.betas < 0.999
    assert np.allclose(schedule.alpha_bars[kept], curve[kept], rtol=1e-9)
    assert schedule.alpha_bars[499] == pytest.approx(0.5, abs=1e-12)
    assert np.allclose(schedule.alpha_bars[:499] + schedule.alpha_bars[998:499:-1], 1.0)


def test_zero_terminal_signal_is_allowed():
    schedule = NoiseSchedule(np.array([0.1, 0.5, 1.0]))
    assert schedule.alpha_bars[-1] == 0.0 and schedule.snr[-1] == 0.0


@pytest.mark.parametrize("betas", [[], [0.0, 0.1], [1e-17, 0.1], [0.1, 1.1], [[0.1]], [0.1, np.nan], [-0.1]])
def test_impossible_betas_are_refused(betas):
    with pytest.raises(ValueError, match="one-dimensional"):
        NoiseSchedule(np.array(betas))


def test_one_step_is_a_schedule_too():
    assert linear_schedule(1).betas.tolist() == [1e-4]
    # One step goes through the whole curve, to an alpha_bar of 0: its beta of 1 is cut.
    assert cosine_schedule(1).betas.tolist() == sigmoid_schedule(1).betas.tolist() == [0.999]


def test_schedules_are_found_by_name():
    assert np.array_equal(build_schedule().betas, np.linspace(1e-4, 0.02, 1000))  # Ho et al. (2020), section 4
    assert np.array_equal(build_schedule("linear", 10, 0.1, 0.2).betas, np.linspace(0.1, 0.2, 10))
    assert np.array_equal(build_schedule("cosine", 10).betas, cosine_schedule(10).betas)
    assert np.array_equal(build_schedule("sigmoid", 10).betas, sigmoid_schedule(10).betas)
    with pytest.raises(ValueError, match="choose linear, cosine or sigmoid"):
        build_schedule("quadratic")
    with pytest.raises(ValueError, match="at least 1"):
        linear_schedule(0)


@pytest.mark.parametrize("num_steps", [1, 3, 7, 9, 27, 250, 999, 1000])
@pytest.mark.parametrize("spacing", ["trailing", "leading", "linspace"])
def test_subsequences_have_the_asked_length_and_fall(num_steps, spacing):
    steps = timestep_subsequence(1000, num_steps, spacing)
    assert len(steps) == num_steps and (np.diff(steps) < 0).all()
    assert steps.min() >= 0 and steps.max() <= 999
    assert steps[0] == 999 or spacing == "leading"
    assert steps[-1] == 0 or spacing == "trailing" or num_steps == 1


def test_steps_even_in_the_logarithm_of_the_snr():
    schedule = cosine_schedule(1000)
    visited = schedule.subsequence(10, "log_snr")
    # Nichol and Dhariwal (2021), Eq. 17, whose alpha_bar has no tables: where its SNR has the ten even levels.
    first = schedule.snr[0]

    def log_snr(t):
        alpha_bar = (math.cos((t / 1000 + 0.008) / 1.008 * math.pi / 2) / math.cos(0.008 / 1.008 * math.pi / 2)) ** 2
        return math.log(alpha_bar / (1 - alpha_bar))

    levels = np.linspace(-2 * math.log(80), math.log(first), 10)
    for index, level in zip(visited, levels, strict=True):
        exact = scipy.optimize.brentq(lambda t, level=level: log_snr(t) - level, 0.1, 999)
        assert index + 1 == pytest.approx(exact, abs=0.51)
    assert visited[-1] == 0
    # The linear schedule of few steps never has that much noise, and begins with the most it has.
    assert linear_schedule(10, 0.01, 0.2).subsequence(4, "log_snr")[[0, -1]].tolist() == [9, 0]


@pytest.mark.parametrize("num_steps", [1, 2, 9, 50, 500, 990, 999, 1000])
@pytest.mark.parametrize("schedule", [linear_schedule(), cosine_schedule(1000), NoiseSchedule([*[0.01] * 999, 1.0])])
def test_steps_by_snr_are_as_many_as_asked_and_fall(schedule, num_steps):
    visited = schedule.subsequence(num_steps, "log_snr")
    assert len(visited) == num_steps and (np.diff(visited) < 0).all()
    assert visited[0] <= 999 and (visited[-1] == 0 or num_steps == 1)
    assert schedule.snr[visited[0]] <= 1 / 79**2 or visited[0] == 999, "also a single step begins in noise"


def test_subsequences_by_hand():
    assert timestep_subsequence(1000, 3).tolist() == [999, 666, 332]
    assert timestep_subsequence(1000, 10).tolist() == list(range(999, 0, -100))
    assert timestep_subsequence(1000, 10, "leading").tolist() == list(range(900, -1, -100))
    # Lin et al. (2023), Table 2, which counts steps from 1.
    table = [1, 112, 223, 334, 445, 556, 667, 778, 889, 1000]
    assert (timestep_subsequence(1000, 10, "linspace") + 1).tolist() == table[::-1]
    assert timestep_subsequence(1000, 1000).tolist() == list(range(999, -1, -1))


@pytest.mark.parametrize("num_steps", [0, -1, 1001])
def test_impossible_subsequences_are_refused(num_steps):
    with pytest.raises(ValueError, match=r"1\.\.1000"):
        timestep_subsequence(1000, num_steps)
    with pytest.raises(ValueError, match=r"1\.\.1000"):
        linear_schedule().subsequence(num_steps, "log_snr")


def test_unknown_spacing_is_refused():
    with pytest.raises(ValueError, match="trailing, leading or linspace"):
        timestep_subsequence(1000, 10, "uniform")
