"""What the page computes when it learns: network, gradient, Adam, batches, exact answers, samples."""

import itertools

import keras
import numpy as np
import pytest
from scipy.spatial.distance import cdist
from scipy.stats import wasserstein_distance

from ddpm_lib import diffusion, sampling
from ddpm_lib.exact import GaussianMixture
from ddpm_lib.explorer.points import SHAPES
from ddpm_lib.schedules import linear_schedule

SCHEDULE = linear_schedule()
TARGETS = ("x_0", "noise", "v")


def layers_of(weights, widths):
    """Cut the page's one array into (matrix, bias) of each layer."""
    found, weights = [], np.asarray(weights)
    for into, out in itertools.pairwise(widths):
        matrix, bias, weights = np.split(weights, [into * out, into * out + out])
        found.append((matrix.reshape(into, out), bias))
    assert not len(weights)
    return found


def perceptron(weights, widths, inputs):
    """Answer as the page's network should."""
    *inner, (matrix, bias) = layers_of(weights, widths)
    for table, shift in inner:
        inputs = inputs @ table + shift
        inputs = inputs / (1 + np.exp(-inputs))
    return inputs @ matrix + bias


def features(x, t):
    """What goes into the network for (N, 2) points at (N,) indices of steps."""
    parts = []
    for value in x.T:
        parts += [value, np.sin(2 * value), np.cos(2 * value), np.sin(4 * value), np.cos(4 * value)]
    ab = SCHEDULE.alpha_bars[t]
    angle = np.arctan2(np.sqrt(1 - ab), np.sqrt(ab))
    for k in range(1, 5):
        parts += [np.sin(k * angle), np.cos(k * angle)]
    return np.stack(parts, axis=1)


def in_page(page, text, *arguments):
    """Run JavaScript on `arguments`, with `plain` to make lists of typed arrays in the result."""
    plain = """const plain = (value) => {
      if (ArrayBuffer.isView(value)) return Array.from(value);
      if (Array.isArray(value)) return value.map(plain);
      if (!value || typeof value !== "object") return value;
      return Object.fromEntries(Object.entries(value).map(([key, each]) => [key, plain(each)]));
    };"""
    return page.evaluate(f"(given) => {{ {plain} return plain((({text}))(...given)); }}", list(arguments))


# ---- One step --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("widths", [[6, 8, 10, 2], [18, 12, 4, 3], [2, 2, 2, 1]])
def test_answers_and_gradient_are_those_of_finite_differences(visit, widths):
    rng, count = np.random.default_rng(0), 10
    weights = rng.normal(0, 0.5, sum((a + 1) * b for a, b in itertools.pairwise(widths)))
    inputs, wanted = rng.normal(size=(count, widths[0])), rng.normal(size=(count, widths[-1]))
    found = in_page(
        visit(),
        """(widths, weights, inputs, wanted, count) => {
          const network = ddpmExplorers.makePerceptron(widths);
          const given = [weights, inputs].map((list) => new Float64Array(list));
          const answer = network.answer(...given, count);
          return { size: network.size, answer, ...network.gradient(...given, wanted, count) };
        }""",
        *(widths, weights.tolist(), inputs.ravel().tolist(), wanted.ravel().tolist(), count),
    )

    def loss(weights):
        return np.mean((perceptron(weights, widths, inputs) - wanted) ** 2)

    moves = 1e-5 * np.eye(len(weights))
    expected = [(loss(weights + move) - loss(weights - move)) / 2e-5 for move in moves]
    assert found["size"] == len(weights)
    np.testing.assert_allclose(
        np.reshape(found["answer"], wanted.shape), perceptron(weights, widths, inputs), atol=1e-12
    )
    np.testing.assert_allclose(found["gradient"], expected, rtol=0, atol=1e-8)
    assert found["loss"] == pytest.approx(loss(weights), rel=1e-12)


def test_answers_are_keras(visit):
    """The page's own network, with the weights it begins with and random ones in the last layer."""
    weights = in_page(
        visit(), "(widths) => ddpmExplorers.makePerceptron(widths).start(() => Math.random())", [18, 64, 64, 2]
    )
    tables = layers_of(weights, [18, 64, 64, 2])
    limits = [np.sqrt(6 / sum(matrix.shape)) for matrix, _ in tables[:2]]
    assert all(0.95 * limit < np.abs(m).max() < limit for (m, _), limit in zip(tables, limits, strict=False))
    assert not np.any(tables[2][0]) and not any(np.any(bias) for _, bias in tables)
    rng = np.random.default_rng(1)
    weights = np.array(weights) + rng.normal(0, 0.1, len(weights))
    inputs = rng.normal(size=(8, 18))
    model = keras.Sequential([keras.layers.Dense(64, "silu"), keras.layers.Dense(64, "silu"), keras.layers.Dense(2)])
    model.build((None, 18))
    model.set_weights([array for pair in layers_of(weights, [18, 64, 64, 2]) for array in pair])
    expected = np.asarray(model(inputs.astype("float32")))
    np.testing.assert_allclose(perceptron(weights, [18, 64, 64, 2], inputs), expected, atol=1e-5)


def test_adam_is_keras(visit):
    rng = np.random.default_rng(2)
    weights, gradients, rates = rng.normal(size=5), rng.normal(size=(6, 5)), np.linspace(0.02, 0.001, 6)
    found = in_page(
        visit(),
        """(weights, gradients, rates) => {
          const zeros = () => new Float64Array(weights.length);
          const state = { weights: new Float64Array(weights), mean: zeros(), square: zeros(), done: 0 };
          return gradients.map((gradient, i) => {
            ddpmExplorers.adamStep(state, gradient, rates[i]);
            return state.weights.slice();
          });
        }""",
        *(weights.tolist(), gradients.tolist(), rates.tolist()),
    )
    variable, optimizer = keras.Variable(weights.astype("float32")), keras.optimizers.Adam()
    for step, (gradient, rate) in enumerate(zip(gradients, rates, strict=True)):
        optimizer.learning_rate = rate
        optimizer.apply([keras.ops.convert_to_tensor(gradient.astype("float32"))], [variable])
        np.testing.assert_allclose(found[step], np.asarray(variable.value), atol=1e-6)


def test_batches_are_noised_points_with_every_step_as_probable(visit):
    points = SHAPES["ring"].tolist()
    batch = in_page(
        visit(),
        """(points) => {
          const { alphaBars } = document.querySelector('ddpm-training-explorer');
          let state = 1;
          const uniform = () => (state = state * 16807 % 2147483647) / 2147483647;
          const batch = ddpmExplorers.drawBatch(points, alphaBars, uniform, 20000, 1, 1000);
          return { ...batch, input: ddpmExplorers.networkInput(batch.x, batch.t, alphaBars).slice(0, 18 * 100) };
        }""",
        points,
    )
    t = np.array(batch["t"], np.int32) - 1
    x_0, noise, x = (np.reshape(batch[key], (-1, 2)) for key in ("x0", "noise", "x"))
    np.testing.assert_allclose(x, np.asarray(diffusion.add_noise(SCHEDULE, x_0, t, noise)), atol=1e-5)
    which = cdist(x_0, points).argmin(axis=1)
    assert np.abs(x_0 - np.array(points)[which]).max() < 1e-12
    assert np.bincount(which).min() > 0.8 * 20000 / 36 and np.bincount(which).max() < 1.2 * 20000 / 36
    assert t.min() == 0 and t.max() == 999
    assert np.abs(np.bincount(t // 250) / 5000 - 1).max() < 0.06
    assert np.abs(noise.mean()) < 0.02 and noise.std() == pytest.approx(1, abs=0.02)
    assert np.abs(np.corrcoef(noise.T)[0, 1]) < 0.03
    np.testing.assert_allclose(np.reshape(batch["input"], (100, 18)), features(x[:100], t[:100]), atol=1e-9)


def test_distance_is_scipys(visit):
    rng = np.random.default_rng(3)
    first, second = rng.normal(size=(50, 2)), rng.uniform(-1, 2, size=(36, 2))
    angles = np.pi * np.arange(8) / 8
    directions = np.stack([np.cos(angles), np.sin(angles)], axis=1)
    found = in_page(
        visit(),
        "(...given) => ddpmExplorers.slicedDistance(...given)",
        *(first.ravel().tolist(), second.ravel().tolist(), directions.tolist()),
    )
    assert found == pytest.approx(np.mean([wasserstein_distance(first @ d, second @ d) for d in directions]), rel=1e-9)


# ---- The exact answer ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", SHAPES)
def test_exact_field_is_the_librarys(visit, shape):
    page = visit(f"?training.shape={shape}")
    exact = GaussianMixture(SHAPES[shape], np.ones(len(SHAPES[shape])), 0.0)
    for t in (1, 20, 150, 400, 1000):
        places, x_0 = in_page(
            page,
            """(t) => {
              const element = document.querySelector('ddpm-training-explorer');
              element.change({ t });
              return [ddpmExplorers.GRID_PLACES, element.exactField().x0];
            }""",
            t,
        )
        expected = exact.expected_x_0(np.reshape(places, (-1, 2)), SCHEDULE.alpha_bars[t - 1])
        assert np.abs(np.reshape(x_0, (-1, 2)) - expected).max() < 1e-6


def test_posterior_of_a_point_is_bayes_rule(visit):
    points, rng = SHAPES["moons"], np.random.default_rng(5)
    exact, page = GaussianMixture(points, np.ones(len(points)), 0.0), visit()
    for t in (1, 100, 500, 1000):
        alpha_bar = SCHEDULE.alpha_bars[t - 1]
        x = np.sqrt(alpha_bar) * points[:20] + np.sqrt(1 - alpha_bar) * rng.standard_normal((20, 2))
        found = in_page(
            page,
            "(points, places, bar) => places.map((x) => ddpmExplorers.posteriorOfPoint(points, x, bar))",
            *(points.tolist(), x.tolist(), float(alpha_bar)),
        )
        mean = exact.expected_x_0(x, alpha_bar)
        np.testing.assert_allclose([each["mean"] for each in found], mean, atol=1e-9)
        chances = np.exp(-cdist(x, np.sqrt(alpha_bar) * points, "sqeuclidean") / (2 * (1 - alpha_bar)))
        chances /= chances.sum(axis=1, keepdims=True)
        variance = (chances @ points**2 - mean**2).mean(axis=1)
        np.testing.assert_allclose([each["variance"] for each in found], variance, atol=1e-9)


# ---- Learning --------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def lesson(chromium, folder):
    """500 steps for each target on two moons, in the page itself, and what is measured before and after."""
    page = chromium.new_page()
    page.goto(f"{folder.as_uri()}/training.html")
    found = in_page(
        page,
        """(points, targets) => {
          const lesson = ddpmExplorers.makeLesson({ points, seed: 0, num_steps: 500 });
          const found = { compare: lesson.compare() };
          for (const target of targets) found[target] = { ...lesson.train(target, 500), ...lesson.measure(target) };
          found.again = lesson.train("v", 3, true).losses;
          found.noise_of_samples = Array.from({ length: 50 }, (_, k) => ddpmExplorers.gaussians(512, k ? 99 + k : 1));
          return found;
        }""",
        *(SHAPES["moons"].tolist(), TARGETS),
    )
    page.close()
    return found


def test_every_target_is_learned(lesson):
    points = SHAPES["moons"]
    far = cdist(np.reshape(lesson["noise_of_samples"][0], (-1, 2)), points).min(axis=1).mean()
    for target in TARGETS:
        found, limits = lesson[target], lesson["compare"]["limits"][target]
        losses = found["losses"]
        assert len(losses) == found["done"] == 500 and np.isfinite(losses).all()
        share = (np.mean(losses[-100:]) - limits["exact"]) / (limits["silent"] - limits["exact"])
        near = cdist(np.reshape(found["samples"], (-1, 2)), points).min(axis=1).mean()
        print(f"{target}: missed {share:.3f}, samples {near:.3f} of {far:.3f}, distance {found['distance']:.3f}")
        assert share < 0.7
        assert near < 0.5 * far
        assert found["distance"] < 0.6 * lesson["compare"]["nothing"]["distance"]


def test_the_targets_fail_where_the_chapter_says(lesson):
    assert lesson["x_0"]["noise"][0] > 1.5 * max(lesson["noise"]["noise"][0], lesson["v"]["noise"][0])
    mean_point = lesson["compare"]["nothing"]["image"][3]
    assert lesson["noise"]["image"][3] > 100 * mean_point
    assert max(lesson["x_0"]["image"][3], lesson["v"]["image"][3]) < 100 * mean_point


def test_a_run_from_the_beginning_is_the_same_again(lesson):
    assert lesson["again"] == lesson["v"]["losses"][:3]


def test_measures_are_those_of_the_library(lesson):
    """Errors of silence and of the mean point, and the loss that is left, by a larger draw of NumPy's."""
    points, rng = SHAPES["moons"], np.random.default_rng(4)
    exact, compare = GaussianMixture(points, np.ones(len(points)), 0.0), lesson["compare"]
    left, silent = dict.fromkeys(TARGETS, 0.0), dict.fromkeys(TARGETS, 0.0)
    for quarter in range(4):
        t = rng.integers(250 * quarter, 250 * quarter + 250, 2000, dtype=np.int32)
        x_0, noise = points[rng.integers(len(points), size=2000)], rng.standard_normal((2000, 2))
        x = np.asarray(diffusion.add_noise(SCHEDULE, x_0, t, noise), np.float64)
        best = np.concatenate([exact.expected_x_0(x[i : i + 1], SCHEDULE.alpha_bars[t[i]]) for i in range(2000)])
        best_noise = np.asarray(diffusion.noise_from_x_0(SCHEDULE, x, t, best))
        assert compare["nothing"]["noise"][quarter] == pytest.approx(np.mean(best_noise**2), rel=0.2)
        assert compare["nothing"]["image"][quarter] == pytest.approx(np.mean((best - points.mean(0)) ** 2), rel=0.2)
        for target in TARGETS:
            wanted, answer = (
                image if target == "x_0" else np.asarray(diffusion.prediction_target(target, SCHEDULE, image, t, other))
                for image, other in ((x_0, noise), (best, best_noise))
            )
            left[target] += np.mean((wanted - answer) ** 2) / 4
            silent[target] += np.mean(wanted**2) / 4
    for target in TARGETS:
        limits = compare["limits"][target]
        assert (limits["exact"], limits["silent"]) == pytest.approx((left[target], silent[target]), rel=0.15)
    assert compare["exact"]["noise"] == compare["exact"]["image"] == [0, 0, 0, 0]


@pytest.mark.parametrize("target", TARGETS)
def test_samples_are_the_librarys(lesson, target):
    """The library's sampler with the network in NumPy, from the same noise."""
    weights, noise = lesson[target]["weights"], np.reshape(lesson["noise_of_samples"], (50, 256, 2))

    def predict_noise(x, t):
        x, t = np.asarray(x, np.float64), np.asarray(t)
        answer = perceptron(weights, [18, 64, 64, 2], features(x, t))
        if target == "noise":
            return answer
        to_noise = diffusion.noise_from_x_0 if target == "x_0" else diffusion.noise_from_v
        return np.asarray(to_noise(SCHEDULE, x, t, answer))

    found = sampling.ddpm_sample(
        predict_noise,
        SCHEDULE,
        noise[0].astype("float32"),
        num_steps=50,
        noise_fn=lambda number: noise[number + 1].astype("float32"),
        variance="posterior",
        clip=False,
    )
    gap = np.abs(np.asarray(found) - np.reshape(lesson[target]["samples"], (-1, 2)))
    print(f"{target}: {gap.max():.1e}")
    assert np.median(gap) < 1e-3 and gap.max() < 0.05
