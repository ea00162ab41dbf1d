"""The bound against Gaussians whose likelihood is known, its terms against sums over a grid, and bad input."""

import numpy as np
import pytest
from scipy.stats import norm

from ddpm_lib.evaluation import (
    bits_per_dimension,
    bound_terms,
    bound_weights,
    discretized_log_likelihood,
    reverse_variances,
)
from ddpm_lib.schedules import NoiseSchedule, linear_schedule

SCHEDULE = linear_schedule()


def variances_of(deviation, schedule=SCHEDULE):
    """Variances of x_0 .. x_T for Gaussian data, one step after the other; (T + 1,)."""
    found = [deviation**2]
    for beta in schedule.betas:
        found.append((1 - beta) * found[-1] + beta)
    return np.array(found)


def gaussian_network(deviation):
    """E[noise | x_t] by the regression of the noise on x_t, both normal."""
    slopes = np.sqrt(1 - SCHEDULE.alpha_bars) / variances_of(deviation)[1:]
    return lambda x_t, t: slopes[np.asarray(t)][:, None] * np.asarray(x_t)


def true_reverse_variances(deviation):
    """Var[x_{t-1} | x_t] from the 2x2 covariance of neighbours."""
    v = variances_of(deviation)
    return v[:-1] - SCHEDULE.alphas * v[:-1] ** 2 / v[1:]


def gap(deviation, sigma_squared):
    """Bits per dimension lost by other variances than the true ones, and by starting from N(0, 1)."""
    ratio, end = true_reverse_variances(deviation) / sigma_squared, variances_of(deviation)[-1]
    return (0.5 * np.sum(ratio - 1 - np.log(ratio)) + 0.5 * (end - 1 - np.log(end))) / np.log(2)


@pytest.mark.parametrize("deviation", [1.0, 0.1])
@pytest.mark.parametrize("variance", ["true", "beta", "posterior"])
def test_bound_of_gaussian_data_is_their_likelihood_and_the_known_gap(deviation, variance):
    x_0 = deviation * np.random.default_rng(1).standard_normal((800, 64))
    likelihood = -norm(0, deviation).logpdf(x_0).mean(axis=1) / np.log(2)
    chosen = true_reverse_variances(deviation) if variance == "true" else variance
    lost = gap(deviation, reverse_variances(SCHEDULE, chosen))
    assert (lost < 1e-5) == (variance == "true" or (variance == "beta" and deviation == 1.0))
    terms = bound_terms(gaussian_network(deviation), SCHEDULE, x_0, variance=chosen, discrete=False, draws=16)
    surplus = terms.total - likelihood
    error = surplus.std(ddof=1) / np.sqrt(len(x_0))
    assert error < 0.02
    assert surplus.mean() == pytest.approx(lost, abs=4 * error)


def test_rounded_gaussian_data_have_the_entropy_of_their_levels():
    levels = np.arange(256) * 2 / 255 - 1
    edges = np.concatenate([[-np.inf], (levels[1:] + levels[:-1]) / 2, [np.inf]])
    shares = np.diff(norm(0, 0.25).cdf(edges))
    entropy = -np.sum(shares * np.log2(shares))
    x_0 = np.random.default_rng(2).choice(levels, (1000, 64), p=shares)
    chosen = true_reverse_variances(0.25)
    value, error = bits_per_dimension(bound_terms(gaussian_network(0.25), SCHEDULE, x_0, variance=chosen, draws=16))
    assert error < 0.02
    # A bound: above the entropy, here by very little, because a bin is narrow against the data.
    assert value == pytest.approx(entropy, abs=4 * error + 0.01)


def test_terms_are_divergences_summed_over_a_grid():
    """A network that is wrong, a coarse chain, and the divergence of each step by the trapezoid rule."""
    schedule, x_0, sigma_squared = NoiseSchedule([0.1, 0.3, 0.5]), 0.6, np.array([0.2, 0.15, 0.4])

    def network(x_t, t):
        return 0.3 * np.asarray(x_t) + 0.1 * np.asarray(t)[:, None]

    betas, bars = np.array([0.1, 0.3, 0.5]), np.array([0.9, 0.63, 0.315])
    grid = np.linspace(-6, 6, 2001)
    nodes, weights = np.polynomial.hermite_e.hermegauss(20)
    weights = weights / weights.sum()
    expected = 0.0
    for i in (1, 2):
        for node, weight in zip(nodes, weights, strict=True):
            x_t = np.sqrt(bars[i]) * x_0 + np.sqrt(1 - bars[i]) * node
            # Bayes' rule on the grid.
            before = norm(np.sqrt(bars[i - 1]) * x_0, np.sqrt(1 - bars[i - 1])).logpdf(grid)
            q = np.exp(before + norm(np.sqrt(1 - betas[i]) * grid, np.sqrt(betas[i])).logpdf(x_t))
            q /= np.trapezoid(q, grid)
            answer = 0.3 * x_t + 0.1 * i
            mean = (x_t - betas[i] / np.sqrt(1 - bars[i]) * answer) / np.sqrt(1 - betas[i])
            log_p = norm(mean, np.sqrt(sigma_squared[i])).logpdf(grid)
            inside = np.where(q > 1e-300, q * (np.log(np.maximum(q, 1e-300)) - log_p), 0)
            expected += weight * np.trapezoid(inside, grid) / np.log(2)
    x_1 = np.sqrt(0.9) * x_0 + np.sqrt(0.1) * nodes
    mean = (x_1 - np.sqrt(0.1) * 0.3 * x_1) / np.sqrt(0.9)
    decoder = -(weights * norm(mean, np.sqrt(0.2)).logpdf(x_0)).sum() / np.log(2)
    q_end = norm(np.sqrt(0.315) * x_0, np.sqrt(0.685)).pdf(grid)
    prior = np.trapezoid(q_end * np.log2(q_end / norm.pdf(grid)), grid)

    terms = bound_terms(
        network, schedule, np.full((20_000, 1), x_0), variance=sigma_squared, discrete=False, draws=4, batch_size=9000
    )
    assert terms.prior == pytest.approx(prior, rel=1e-6)
    assert terms.steps.mean() == pytest.approx(expected, abs=4 * terms.steps.std() / np.sqrt(20_000))
    assert terms.decoder.mean() == pytest.approx(decoder, abs=4 * terms.decoder.std() / np.sqrt(20_000))


def test_a_network_that_knows_the_image_pays_for_the_variances_alone():
    """With the posterior variance, and a single image: nothing at all from step 2 on."""
    x_0 = np.zeros((3, 5))

    def network(x_t, t):
        return np.asarray(x_t) / np.sqrt(1 - SCHEDULE.alpha_bars[np.asarray(t)])[:, None]

    assert bound_terms(network, SCHEDULE, x_0, variance="posterior", discrete=False).steps == pytest.approx(0, abs=1e-8)
    variances = variances_of(0.0)
    ratio = variances[1:-1] / variances[2:]  # of the true variance of a step back to beta, from step 2 on
    lost = 0.5 * np.sum(ratio - 1 - np.log(ratio)) / np.log(2)
    assert bound_terms(network, SCHEDULE, x_0, discrete=False).steps == pytest.approx(lost, rel=1e-6)


@pytest.mark.parametrize("mean, variance", [(0.0, 1e-4), (0.3, 0.1), (1.2, 1e-3), (-0.999, 1e-5)])
def test_probabilities_of_the_levels_sum_to_one(mean, variance):
    levels = np.arange(256) * 2 / 255 - 1
    logs = discretized_log_likelihood(levels, np.full(256, mean), variance)
    assert np.exp(logs).sum() == pytest.approx(1, abs=1e-9)
    assert np.isfinite(logs).all()
    i = 140
    expected = np.diff(norm(mean, np.sqrt(variance)).cdf([levels[i] - 1 / 255, levels[i] + 1 / 255]))[0]
    if expected > 1e-12:
        assert logs[i] == pytest.approx(np.log(expected), rel=1e-6)


def test_far_from_the_mean_the_logarithm_is_still_right():
    """From the density and the width of the bin, whose slope in the logarithm is known: both tails alike."""
    up, down = discretized_log_likelihood(np.array([1 - 2 / 255, -1 + 2 / 255]), np.zeros(2), 4e-4)
    assert up == pytest.approx(down, rel=1e-12)
    near_edge = norm(0, 0.02).logsf(1 - 3 / 255)
    assert up == pytest.approx(near_edge, abs=1e-6)


def test_weights_are_the_papers():
    weights = bound_weights(SCHEDULE)
    i = 299
    beta, bar = SCHEDULE.betas[i], np.prod(1 - SCHEDULE.betas[:300])
    assert weights[i] == pytest.approx(beta / (2 * (1 - beta) * (1 - bar)), rel=1e-12)
    small = bound_weights(SCHEDULE, "posterior")
    before = np.prod(1 - SCHEDULE.betas[:299])
    assert small[i] == pytest.approx(weights[i] * (1 - bar) / (1 - before), rel=1e-12)
    assert small[0] == pytest.approx(weights[0] * SCHEDULE.betas[0] / SCHEDULE.posterior_variances[1], rel=1e-12)


def test_batches_change_nothing():
    x_0 = np.random.default_rng(0).standard_normal((10, 3))
    one, other = (
        bound_terms(gaussian_network(1.0), SCHEDULE, x_0, discrete=False, batch_size=size).total for size in (7, 320)
    )
    np.testing.assert_allclose(one, other, rtol=1e-9)


@pytest.mark.parametrize(
    "change, message",
    [
        ({"variance": "betas"}, "unknown variance 'betas'"),
        ({"variance": np.ones(3)}, "variance must be 1000 positive numbers"),
        ({"draws": 0}, "draws"),
        ({"x_0": np.zeros(3)}, "x_0 must be"),
        ({"x_0": np.full((2, 3), 0.5)}, "x_0 must lie on the 256 levels"),
        ({"schedule": NoiseSchedule([0.5, 1.0])}, "schedule: alpha_bar is 0"),
        ({"schedule": NoiseSchedule([0.5])}, "schedule must have at least 2 steps"),
    ],
)
def test_bad_input_is_named(change, message):
    arguments = {"schedule": SCHEDULE, "x_0": np.ones((2, 3)), **change}
    with pytest.raises(ValueError, match=message):
        bound_terms(lambda x_t, t: 0 * x_t, **arguments)


def test_one_image_has_no_standard_error():
    terms = bound_terms(gaussian_network(1.0), SCHEDULE, np.zeros((1, 3)), discrete=False)
    with pytest.raises(ValueError, match="terms must have at least two images"):
        bits_per_dimension(terms)


def test_a_single_step_has_no_posterior_variance():
    with pytest.raises(ValueError, match="at least 2 steps"):
        reverse_variances(NoiseSchedule(np.array([0.5])), "posterior")
