"""The forward process and its conversions, against float64 NumPy written out by hand."""

import keras
import numpy as np
import pytest

from ddpm_lib import diffusion, sampling
from ddpm_lib.schedules import cosine_schedule, linear_schedule

SCHEDULE = linear_schedule()


def numpy(x):
    return keras.ops.convert_to_numpy(x)


@pytest.fixture
def batch():
    generator = np.random.default_rng(0)
    x_0 = generator.uniform(-1, 1, (5, 4, 4, 3)).astype("float32")
    noise = generator.standard_normal((5, 4, 4, 3)).astype("float32")
    t = np.array([0, 1, 250, 500, 999], "int32")
    alpha_bar = np.cumprod(1 - np.linspace(1e-4, 0.02, 1000))[t].reshape(-1, 1, 1, 1)
    x_t = np.sqrt(alpha_bar) * x_0 + np.sqrt(1 - alpha_bar) * noise
    return x_0, noise, t, alpha_bar, x_t


def test_add_noise(batch):
    x_0, noise, t, _, x_t = batch
    result = numpy(diffusion.add_noise(SCHEDULE, x_0, t, noise))
    assert result.dtype == np.float32
    assert np.abs(result - x_t).max() < 1e-6


def test_add_noise_agrees_with_the_chain_of_small_steps():
    """One jump has the mean and the variance of t + 1 single steps of Eq. 2, followed exactly."""
    mean, variance = 1.0, 0.0
    for step, beta in enumerate(np.linspace(1e-4, 0.02, 1000)):
        mean, variance = np.sqrt(1 - beta) * mean, (1 - beta) * variance + beta
        if step in (0, 10, 999):
            t = np.array([step], "int32")
            one, zero = np.ones((1, 1), "float32"), np.zeros((1, 1), "float32")
            assert numpy(diffusion.add_noise(SCHEDULE, one, t, zero)).item() == pytest.approx(mean, rel=1e-6)
            assert numpy(diffusion.add_noise(SCHEDULE, zero, t, one)).item() == pytest.approx(
                np.sqrt(variance), rel=1e-6
            )


def test_conversions_undo_each_other(batch):
    x_0, noise, t, alpha_bar, x_t = batch
    x_t = x_t.astype("float32")
    # Near t = 999 an error of one float32 rounding in x_t is multiplied by 1 / sqrt(alpha_bar) = 157.
    tolerance = 4e-7 / np.sqrt(alpha_bar)
    assert (np.abs(numpy(diffusion.x_0_from_noise(SCHEDULE, x_t, t, noise)) - x_0) < tolerance).all()
    tolerance = 4e-7 / np.sqrt(1 - alpha_bar)
    assert (np.abs(numpy(diffusion.noise_from_x_0(SCHEDULE, x_t, t, x_0)) - noise) < tolerance).all()

    v = np.sqrt(alpha_bar) * noise - np.sqrt(1 - alpha_bar) * x_0
    assert np.abs(numpy(diffusion.v_from_x_0_and_noise(SCHEDULE, x_0, t, noise)) - v).max() < 1e-6
    v = v.astype("float32")
    assert np.abs(numpy(diffusion.x_0_from_v(SCHEDULE, x_t, t, v)) - x_0).max() < 2e-6
    assert np.abs(numpy(diffusion.noise_from_v(SCHEDULE, x_t, t, v)) - noise).max() < 2e-6


def test_score_is_the_gradient_of_the_log_density():
    """For data N(0, s^2) the density of x_t is N(0, ab s^2 + 1 - ab); its log gradient is known."""
    t = np.array([0, 300, 999], "int32")
    alpha_bar, x, spread = SCHEDULE.alpha_bars[t], np.array([0.3, -1.2, 2.0]), 0.5
    variance = alpha_bar * spread**2 + 1 - alpha_bar
    expected_noise = np.sqrt(1 - alpha_bar) * x / variance
    score = numpy(diffusion.score_from_noise(SCHEDULE, t, expected_noise[:, None].astype("float32")))[:, 0]
    assert np.allclose(score, -x / variance, rtol=1e-5)


def test_posterior_mean_by_brute_force():
    """q(x_{t-1} | x_t, x_0) on a fine grid: prior N(sqrt(ab') x_0, 1 - ab') times likelihood N(x_t; ., beta)."""
    grid = np.linspace(-6, 6, 200_001)
    for index in (1, 40, 500, 999):
        x_0, x_t = 0.7, -0.4
        before, beta = SCHEDULE.alpha_bars[index - 1], SCHEDULE.betas[index]
        log = -((grid - np.sqrt(before) * x_0) ** 2) / (2 * (1 - before))
        log -= (x_t - np.sqrt(1 - beta) * grid) ** 2 / (2 * beta)
        weights = np.exp(log - log.max())
        weights /= weights.sum()
        mean = (weights * grid).sum()
        variance = (weights * (grid - mean) ** 2).sum()
        t = np.array([index], "int32")
        arrays = [np.array([[value]], "float32") for value in (x_0, x_t)]
        assert numpy(diffusion.posterior_mean(SCHEDULE, *arrays, t)).item() == pytest.approx(mean, abs=2e-6)
        assert SCHEDULE.posterior_variances[index] == pytest.approx(variance, rel=1e-6)


def test_first_step_back_is_the_clean_image():
    weight_x_0, weight_x_t = diffusion.posterior_weights(SCHEDULE)
    assert weight_x_0[0] == pytest.approx(1.0, rel=1e-11) and weight_x_t[0] == 0.0


def test_table_lookup_works_without_a_known_batch_size_or_for_any_rank():
    """The article's bug: unpacking t.shape fails in a traced function whose batch size is open."""
    for rank in (1, 2, 4):
        x = keras.Input(batch_shape=(None,) * rank, dtype="float32")
        t = keras.Input(batch_shape=(None,), dtype="int32")
        symbolic = diffusion.add_noise(SCHEDULE, x, t, x)
        assert len(symbolic.shape) == rank


@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="tf.function belongs to TensorFlow")
def test_table_lookup_inside_tf_function_with_open_batch_size(batch):
    import tensorflow as tf

    x_0, noise, t, _, x_t = batch
    image = tf.TensorSpec((None, 4, 4, 3), tf.float32)
    traced = tf.function(
        lambda x, t, n: diffusion.add_noise(SCHEDULE, x, t, n),
        input_signature=[image, tf.TensorSpec((None,), tf.int32), image],
    )
    assert np.abs(traced(x_0, t, noise).numpy() - x_t).max() < 1e-6
    assert traced(x_0[:2], t[:2], noise[:2]).shape == (2, 4, 4, 3)


@pytest.mark.parametrize("prediction", ["noise", "v"])
def test_a_perfect_network_of_either_kind_predicts_the_noise(batch, prediction):
    x_0, noise, t, _, x_t = batch
    target = diffusion.prediction_target(prediction, SCHEDULE, x_0, t, noise)
    predict_noise = diffusion.noise_predictor(prediction, SCHEDULE, lambda x_t, t: target)
    assert np.abs(numpy(predict_noise(x_t.astype("float32"), t)) - noise).max() < 1e-5


def test_the_image_that_v_implies_is_exact_where_nothing_is_left_of_it():
    """At the end of a cosine schedule, where the noise is divided by sqrt(ab) = 5e-5."""
    schedule, rng = cosine_schedule(), np.random.default_rng(0)
    x_0, noise = rng.uniform(-1, 1, (2, 8, 8, 3)), rng.standard_normal((2, 8, 8, 3))
    root, rest = np.sqrt(schedule.alpha_bars[-1]), np.sqrt(1 - schedule.alpha_bars[-1])
    x_t, v = (root * x_0 + rest * noise).astype("float32"), (root * noise - rest * x_0).astype("float32")
    predict_noise = diffusion.noise_predictor("v", schedule, lambda x_t, t: v)
    steps = []
    sampling.ddim_sample(predict_noise, schedule, x_t, num_steps=2, callback=steps.append)
    np.testing.assert_allclose(numpy(steps[0].x_0_pred), x_0, atol=1e-6)


@pytest.mark.parametrize(
    "function",
    [
        lambda: diffusion.prediction_target("eps", SCHEDULE, 0.0, 0, 0.0),
        lambda: diffusion.noise_predictor("eps", SCHEDULE, None),
        lambda: diffusion.noise_error_factors("eps", SCHEDULE),
        lambda: diffusion.loss_weights("eps", SCHEDULE),
    ],
)
def test_an_unknown_prediction_is_refused_by_all_who_ask(function):
    with pytest.raises(ValueError, match="unknown prediction 'eps': choose noise or v"):
        function()


@pytest.mark.parametrize("prediction", ["noise", "v"])
@pytest.mark.parametrize("gamma", [None, 5.0])
def test_errors_and_weights_are_those_of_the_images_that_a_prediction_implies(prediction, gamma):
    """Two predictions for one x_t differ by `d`; what noise and what x_0 they imply is computed by hand."""
    alpha_bar = np.cumprod(1 - np.linspace(1e-4, 0.02, 1000))
    signal, sigma, d = np.sqrt(alpha_bar), np.sqrt(1 - alpha_bar), 0.3
    # x_t = signal x_0 + sigma noise and v = signal noise - sigma x_0, solved for both.
    noise_apart, x_0_apart = (d, sigma / signal * d) if prediction == "noise" else (signal * d, sigma * d)
    shares = diffusion.noise_error_factors(prediction, SCHEDULE)
    np.testing.assert_allclose(shares * d**2, noise_apart * noise_apart * np.ones(1000), rtol=1e-12)
    weighted = diffusion.loss_weights(prediction, SCHEDULE, gamma) * d**2
    if gamma is None:
        assert (weighted == d**2).all()
    else:
        np.testing.assert_allclose(weighted, np.minimum(alpha_bar / (1 - alpha_bar), gamma) * x_0_apart**2, rtol=1e-9)
