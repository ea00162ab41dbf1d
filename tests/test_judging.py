"""Distances against scipy's matrix roots and brute force; judging with pictures whose answer is known."""

import importlib.util
import json
import pathlib

import keras
import numpy as np
import pytest
from scipy.linalg import sqrtm
from scipy.spatial.distance import cdist
from scipy.special import softmax

from ddpm_lib import data, evaluation
from ddpm_lib.config import PRESETS, DataConfig, InputError
from ddpm_lib.evaluation import faces, frechet_distance, precision_recall
from tests.data.sources import REAL_DATA, real

ROOT = pathlib.Path(__file__).parents[1]
GENERATOR = np.random.default_rng(0)


class Shrunk:
    """Describes a picture by itself, at 4x4 pixels."""

    name, about = "shrunk", "4x4 pixels"

    def features(self, images, progress=False):
        block = images.shape[1] // 4
        return images.reshape(len(images), 4, block, 4, block, -1).mean(axis=(2, 4)).reshape(len(images), -1)


def pictures(count, size=8):
    """Pictures that differ smoothly from one another: random colours, and a little noise."""
    colours = GENERATOR.normal(128, 30, (count, 1, 1, 3)) + GENERATOR.normal(0, 15, (count, size, size, 3))
    return np.clip(colours, 0, 255).astype(np.uint8)


def exactly(mean, covariance, count):
    """Draw features that have exactly this mean and covariance."""
    drawn = GENERATOR.standard_normal((count, len(mean)))
    drawn -= drawn.mean(axis=0)
    white = drawn @ np.linalg.inv(np.linalg.cholesky(np.atleast_2d(np.cov(drawn, rowvar=False)))).T
    return white @ np.linalg.cholesky(covariance).T + mean


# --- Distances -------------------------------------------------------------------------------------------------------


def test_frechet_distance_is_the_formula_with_scipys_root():
    means = GENERATOR.standard_normal((2, 6))
    halves = GENERATOR.standard_normal((2, 6, 9))
    one, other = halves @ halves.transpose(0, 2, 1)
    expected = np.sum((means[0] - means[1]) ** 2) + np.trace(one + other - 2 * sqrtm(one @ other).real)
    found = frechet_distance(exactly(means[0], one, 50), exactly(means[1], other, 70))
    assert found == pytest.approx(expected, rel=1e-9)


def test_frechet_distance_of_one_number_each():
    """(m_1 - m_2)^2 + (s_1 - s_2)^2: means 1 and 4, deviations 2 and 7."""
    found = frechet_distance(exactly([1.0], [[4.0]], 30), exactly([4.0], [[49.0]], 20))
    assert found == pytest.approx(9 + 25)


def test_frechet_distance_with_fewer_pictures_than_features():
    """The trace of the root is the nuclear norm of the product of the centred features."""
    one, other = GENERATOR.standard_normal((2, 8, 30))
    one, other = one - one.mean(axis=0), 2 * (other - other.mean(axis=0))
    squares = (one**2).sum() + (other**2).sum()
    expected = (squares - 2 * np.linalg.norm(one @ other.T, "nuc")) / 7
    assert frechet_distance(one, other) == pytest.approx(expected, rel=1e-7)
    assert frechet_distance(one, one) == pytest.approx(0, abs=1e-6)


def test_precision_and_recall_on_a_line():
    """With k = 1 the balls around 0, 1, 2, 3 reach from -1 to 4."""
    real = np.array([[0.0], [1.0], [2.0], [3.0]])
    generated = np.array([[3.5], [3.9], [10.0], [30.0]])
    # The generated balls: 3.1..3.9 and 3.5..4.3; 3.9..16.1 around 10; 10..50 around 30. None holds a real row.
    assert precision_recall(real, generated, k=1) == (0.5, 0.0)
    assert precision_recall(generated, real, k=1) == (0.0, 0.5)
    # 4 is on the edge of the ball around 3, which belongs to it.
    generated = np.array([[4.0], [4.5], [10.0], [30.0]])
    assert precision_recall(real, generated, k=1) == (0.25, 0.0)
    assert precision_recall(generated, real, k=1) == (0.0, 0.25)


def test_precision_and_recall_are_those_of_comparing_all():
    real, generated = GENERATOR.standard_normal((60, 4)), 1.3 * GENERATOR.standard_normal((50, 4))

    def inside(rows, others):
        radii = np.sort(cdist(others, others), axis=1)[:, 3]
        return np.mean([any(np.linalg.norm(row - o) <= r for o, r in zip(others, radii, strict=True)) for row in rows])

    assert precision_recall(real, generated) == (inside(generated, real), inside(real, generated))


def test_single_precision_is_enough_far_from_zero():
    """There the squares of distances are small differences of large numbers: all is worked out in double precision."""
    sets = np.random.default_rng(1).standard_normal((2, 50, 4)) * [[[1.0]], [[1.3]]] + 10_000
    real, generated = sets.astype(np.float32)

    def inside(rows, others):
        return (cdist(rows, others) <= np.sort(cdist(others, others), axis=1)[:, 3]).any(axis=1).mean()

    assert precision_recall(real, generated) == (inside(generated, real), inside(real, generated))


@pytest.mark.parametrize("one, other", [((5, 3), (5, 4)), ((1, 3), (5, 3)), ((5,), (5,)), ((5, 3), (5, 3, 1))])
def test_features_that_do_not_fit_are_refused(one, other):
    with pytest.raises(ValueError, match="one and other"):
        frechet_distance(np.zeros(one), np.zeros(other))


def test_too_few_neighbours_are_refused():
    with pytest.raises(ValueError, match="k=3"):
        precision_recall(np.zeros((3, 2)), np.zeros((9, 2)))


# --- Judging ---------------------------------------------------------------------------------------------------------


def test_photographs_in_place_of_samples_score_like_photographs():
    everything = pictures(600)
    result = evaluation.judge(everything[:100], everything[100:], Shrunk())
    for name in ("frechet_distance", "precision", "recall"):
        samples, floor = result["samples"][name], result["photographs"][name]
        assert abs(samples["mean"] - floor["mean"]) < 4 * (samples["std"] + floor["std"]), name
    assert 0 < result["photographs"]["frechet_distance"]["std"] < result["photographs"]["frechet_distance"]["mean"]
    nearest = [result[name]["nearest"]["median"] for name in ("samples", "photographs")]
    assert nearest[0] == pytest.approx(nearest[1], rel=0.05)
    assert "faces" not in result["samples"]


def test_one_picture_again_and_again_is_at_distance_1():
    """At the mean of the features nothing is left but the photographs' variance, which is the unit."""
    photographs = pictures(2000)
    mean = photographs.mean(axis=(0, 1, 2))
    same = np.broadcast_to(np.rint(mean).astype(np.uint8), (500, 8, 8, 3))
    result = evaluation.judge(same, photographs, Shrunk(), num_splits=3)
    assert result["samples"]["frechet_distance"]["mean"] == pytest.approx(1, abs=0.05)
    assert result["samples"]["recall"]["mean"] == 0


def test_judging_is_a_function_of_its_arguments():
    photographs = pictures(100)
    results = [evaluation.judge(photographs[:20], photographs, Shrunk(), seed=seed, num_splits=3) for seed in (0, 0, 1)]
    assert results[0] == results[1] != results[2]
    assert json.loads(json.dumps(results[0])) == results[0]


def test_copies_are_found():
    seen, unseen = pictures(80), pictures(60)
    noise = GENERATOR.integers(-3, 4, (20, 8, 8, 3))
    copied = np.clip(seen[:20].astype(int)[:, :, ::-1] + noise, 0, 255).astype(np.uint8)
    result = evaluation.judge(copied, seen, Shrunk(), held_out=unseen, num_splits=2)
    assert result["samples"]["nearest"]["copies"] == 20 and result["photographs"]["nearest"]["copies"] == 0
    # 60 of the 80 are compared with the 60 that were kept out, so some of the originals are missing.
    assert result["held_out"]["num_photographs"] == 60 and result["held_out"]["nearer_to_training"] > 0.7
    fresh = evaluation.judge(pictures(40), seen, Shrunk(), held_out=unseen, num_splits=2)
    assert 0.2 < fresh["held_out"]["nearer_to_training"] < 0.8 and fresh["samples"]["nearest"]["copies"] == 0


def test_means_and_deviations_are_over_the_splits(monkeypatch):
    distances = iter([1.0, 10.0, 2.0, 10.0, 6.0, 10.0])  # of samples and of photographs, split by split
    monkeypatch.setattr(evaluation.judging, "frechet_distance", lambda one, other: next(distances))
    samples, photographs = pictures(20), pictures(50)
    result = evaluation.judge(samples, photographs, Shrunk(), num_splits=3)
    found = [result[name]["frechet_distance"][key] for name in ("samples", "photographs") for key in ("mean", "std")]
    # The squares of 1 - 3, 2 - 3 and 6 - 3 add up to 14, with 2 degrees of freedom.
    assert np.multiply(found, result["total_variance"]) == pytest.approx([3, 7**0.5, 10, 0])
    settings = ("num_samples", "num_photographs", "image_size", "num_features", "num_splits")
    assert [result[name] for name in settings] == [20, 50, 8, 48, 3]
    nearest = evaluation.nearest_images(samples, photographs)[0][:, 0]
    quantiles = [result["samples"]["nearest"][name] for name in ("least", "5 %", "median")]
    assert quantiles == pytest.approx([nearest.min(), np.quantile(nearest, 0.05), np.median(nearest)])


def test_a_photograph_that_occurs_twice_can_be_copied():
    photographs = pictures(40)
    twice = np.concatenate([photographs, photographs])  # nearest and second nearest of a copy are both at distance 0
    assert evaluation.judge(photographs[:10], twice, Shrunk(), num_splits=2)["samples"]["nearest"]["copies"] == 10


def test_the_detector_must_find_a_face_in_half_of_the_photographs():
    class Detector(Shrunk):
        def is_face(self, images, progress=False):
            return images.mean(axis=(1, 2, 3)) > 0

    photographs = np.zeros((64, 4, 4, 3), np.uint8)
    photographs[:32] = 1
    evaluation.check_faces(photographs, Detector())
    evaluation.check_faces(photographs[32:], Shrunk())  # does not judge faces
    photographs[31] = 0
    with pytest.raises(InputError, match="only 48% of these pictures hold a face"):
        evaluation.check_faces(photographs, Detector())
    lines = evaluation.table(evaluation.judge(pictures(20), pictures(40), Detector(), num_splits=2)).splitlines()
    assert ["a", "face", "is", "found", "100.0%", "100.0%"] in [line.split() for line in lines]


def test_table_has_samples_beside_photographs():
    result = evaluation.judge(pictures(30), pictures(70), Shrunk(), held_out=pictures(20), num_splits=2)
    lines = evaluation.table(result).splitlines()
    assert lines[0].split() == ["samples", "photographs"]
    mean, std = (result["photographs"]["frechet_distance"][key] for key in ("mean", "std"))
    [row] = [line for line in lines if line.startswith("Fréchet distance")]
    assert row.endswith(f"{mean:.4f} ± {std:.4f}")
    assert "20 each" in lines[-1] and "memorising 50% ± 9%" in lines[-1]


@pytest.mark.parametrize(
    "samples, photographs, held_out, part",
    [
        (9, 100, None, "9 samples are too few"),
        (60, 100, None, "100 photographs are too few for 60 samples"),
        (60, 100, None, "--num_samples 50"),
        (20, 100, 5, "5 held-out photographs are too few"),
        (9, 19, None, "19 photographs are too few to say anything: at least 20 are needed"),
        (12, 20, None, "--num_samples 10"),
    ],
)
def test_too_few_pictures_are_counted(samples, photographs, held_out, part):
    others = None if held_out is None else pictures(held_out)
    with pytest.raises(InputError, match=part):
        evaluation.judge(pictures(samples), pictures(photographs), Shrunk(), held_out=others)


def test_photographs_that_are_all_the_same_are_refused():
    with pytest.raises(InputError, match="cannot be told apart by the features 'shrunk'"):
        evaluation.judge(pictures(10), np.repeat(pictures(1), 20, axis=0), Shrunk())


def test_pictures_of_another_size_are_refused():
    with pytest.raises(InputError, match=r"\(8, 8, 3\).*\(16, 16, 3\)"):
        evaluation.judge(pictures(10), pictures(20, 16), Shrunk())


# --- Networks that describe pictures ---------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def digit_network():
    return evaluation.feature_network("digits")


@pytest.fixture
def metrics(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    return importlib.import_module("metrics")


def test_digit_features_are_those_of_a_classifier_that_can_read(digit_network):
    from sklearn.datasets import load_digits

    digits = data.load_images(DataConfig("digits"), PRESETS["digits16"].unet)
    found = digit_network.features(digits)
    assert found.shape == (1797, 64) and found.dtype == np.float32 and found.min() == 0
    classifier = digit_network.classifier
    scores = found @ classifier.coefs_[1] + classifier.intercepts_[1]
    assert (scores.argmax(axis=1) == load_digits().target).mean() > 0.98
    by_scikit_learn = classifier.predict_proba(digits.reshape(1797, 256) / 255)
    np.testing.assert_allclose(softmax(scores, axis=1), by_scikit_learn, rtol=1e-4, atol=1e-6)
    np.testing.assert_array_equal(found, evaluation.feature_network("digits").features(digits))
    with pytest.raises(InputError, match="32x32"):
        digit_network.features(np.zeros((2, 32, 32, 1), np.uint8))


def test_distance_of_digits_rises_with_every_damage(digit_network, metrics):
    digits = np.random.default_rng(0).permutation(data.load_images(DataConfig("digits"), PRESETS["digits16"].unet))
    rows = metrics.measured(digits[:1200], digit_network, metrics.STRENGTHS["digits"], num_splits=2)
    assert [metrics.rises(rows, kind) for kind in ("noise", "blur", "pixelation")] == [True] * 3
    assert rows[0]["precision"] > 0.85 and rows[0]["recall"] > 0.85
    assert metrics.rises(rows[::-1], "blur") is False


def test_damages_are_what_they_say(metrics):
    grey = np.full((50, 16, 16, 3), 128, np.uint8)
    assert metrics.noised(grey, 10).std() == pytest.approx(10, rel=0.02)
    point = np.zeros((1, 33, 33, 1), np.uint8)
    point[0, 16, 16] = 255
    # A normal density of deviation 1 in the plane has 1 / (2 pi) at its peak.
    assert metrics.blurred(point, 1.0).max() == pytest.approx(255 / (2 * np.pi), abs=1)
    checks = np.indices((8, 8)).sum(axis=0) % 2 * 200
    assert set(metrics.pixelated(checks[None, ..., None].astype(np.uint8), 4).ravel()) == {100}


def test_inception_sees_colours_of_299_pixels_in_minus_one_to_one(monkeypatch):
    asked = {}

    def stub(**options):
        asked.update(options)
        image = keras.Input((299, 299, 3))
        return keras.Model(image, keras.layers.GlobalMaxPooling2D()(image))  # a float32 mean of 299x299 is not exact

    monkeypatch.setattr(keras.applications, "InceptionV3", stub)
    network = evaluation.feature_network("inception")
    assert asked == {"include_top": False, "pooling": "avg", "weights": "imagenet"}
    images = np.stack([np.full((8, 8, 1), value, np.uint8) for value in (0, 255, 51)] * 12)
    found = network.features(images)
    np.testing.assert_allclose(found, np.repeat([[-1], [1], [-0.6]], 3, axis=1).tolist() * 12, atol=1e-6)


def test_inception_without_its_weights_is_one_line(monkeypatch):
    def offline(**options):
        raise RuntimeError("URL fetch failure\nand a long story")

    monkeypatch.setattr(keras.applications, "InceptionV3", offline)
    with pytest.raises(InputError, match="URL fetch failure\\); the features 'faces'"):
        evaluation.feature_network("inception")


def test_every_kind_of_features_is_the_default_of_some_dataset():
    assert set(evaluation.DEFAULT_FEATURES.values()) == set(evaluation.FEATURES)


def test_unknown_features_are_named():
    with pytest.raises(InputError, match=r"'clip'.*faces, digits, inception"):
        evaluation.feature_network("clip")


@pytest.mark.parametrize("missing", ["mtcnn", "lz4"])
def test_a_missing_package_is_named_with_the_line_that_installs_it(monkeypatch, missing):
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == missing else find("json"))
    with pytest.raises(InputError, match=f"{missing}, which is not installed: pip install .*mtcnn==.*lz4=="):
        evaluation.feature_network("faces")


# --- The networks that find faces; their weights come with the packages mtcnn and lz4 ---------------------------------


def test_boxes_are_moved_by_shares_of_their_sizes():
    boxes, offsets = np.array([[10, 20, 30, 60]]), np.array([[0.1, 0.2, -0.1, 0.5]])  # 20 wide, 40 high
    assert faces._moved(boxes, offsets).tolist() == [[12, 28, 28, 80]]


def test_of_boxes_that_overlap_by_more_than_seven_tenths_the_most_certain_stays():
    boxes = np.array([[5, 0, 15, 10], [5, 0, 15, 8], [5, 0, 15, 6], [5, 0, 15, 8], [105, 0, 115, 10]])
    owners, scores = np.array([0, 0, 0, 1, 0]), np.array([0.9, 0.8, 0.7, 0.6, 0.95])
    # Of the first box the second is 0.8, the third 0.6, and the fourth belongs to another picture.
    assert faces._most_certain(owners, boxes, scores).tolist() == [4, 0, 2, 3]


@pytest.fixture(scope="module")
def face_network():
    pytest.importorskip("lz4")
    if importlib.util.find_spec("mtcnn") is None:
        pytest.skip("mtcnn is not installed")
    return evaluation.feature_network("faces")


@pytest.fixture(scope="module")
def photographs():
    """Some of the real photographs, in a cache of their own unless they were prepared before."""
    images = data.load_images(
        DataConfig("celeba", str(REAL_DATA / "img_align_celeba.zip")), PRESETS["celeba64"].unet, progress=False
    )
    return np.stack([images[index] for index in np.random.default_rng(0).permutation(len(images))[:240]])


def test_networks_compute_what_the_packages_do(face_network):
    if keras.backend.backend() != "tensorflow":
        pytest.skip("the package mtcnn computes with TensorFlow")
    import joblib
    import mtcnn
    from mtcnn.network import onet, pnet, rnet

    folder = pathlib.Path(mtcnn.__file__).parent / "assets/weights"
    images = GENERATOR.uniform(-1, 1, (2, 48, 48, 3)).astype(np.float32)
    for theirs, ours, side in [
        (pnet.PNet(), face_network._propose, 48),
        (rnet.RNet(), face_network._refine, 24),
        (onet.ONet(), face_network._decide, 48),
    ]:
        theirs.build()
        theirs.set_weights(joblib.load(folder / f"{type(theirs).__name__.lower()}.lz4"))
        expected, found = theirs(images[:, :side, :side]), ours(images[:, :side, :side])
        np.testing.assert_allclose(np.array(found[0]), np.array(expected[0]), atol=1e-5)
        np.testing.assert_allclose(np.array(found[1]), np.array(expected[-1]), atol=1e-5)


def test_a_face_is_found_and_noise_is_none(face_network):
    from skimage.data import astronaut  # a portrait in the public domain that comes with scikit-image

    picture = astronaut()
    head = picture[20:220, 120:320]
    elsewhere = picture[300:500, 300:500]
    noise = GENERATOR.integers(0, 256, head.shape, dtype=np.uint8)
    found = face_network.is_face(np.stack([head, elsewhere, noise, head[:, ::-1], np.full_like(head, 128)]))
    assert found.tolist() == [True, False, False, True, False]
    for alone in (noise, np.full((20, 20, 3), 128, np.uint8)):  # nothing is left for the next network; the least size
        assert face_network.is_face(alone[None]).tolist() == [False]
    described = face_network.features(np.stack([head, head[:, ::-1], noise]))
    assert described.shape == (3, 256)
    to_mirrored, to_noise = np.linalg.norm(described[1:] - described[0], axis=1)
    assert to_mirrored < to_noise


@real("img_align_celeba.zip")
def test_distance_of_faces_rises_with_every_damage(face_network, photographs, metrics):
    strengths = {kind: values[1::2] for kind, values in metrics.STRENGTHS["faces"].items()}
    rows = metrics.measured(photographs, face_network, strengths, num_splits=2, num_faces=40)
    assert [metrics.rises(rows, kind) for kind in ("noise", "blur", "pixelation")] == [True] * 3
    assert rows[0]["faces"] > 0.98
    assert {row["faces"] for row in rows if row["damage"] == "pixelation" and row["strength"] == 16} == {0.0}


@real("img_align_celeba.zip")
def test_pictures_without_faces_are_not_judged_by_the_detector(face_network, photographs):
    evaluation.check_faces(photographs[:70], face_network)
    noise = GENERATOR.integers(0, 256, (70, 64, 64, 3), dtype=np.uint8)
    with pytest.raises(InputError, match=r"only 0% of these pictures hold a face.*--features inception"):
        evaluation.check_faces(noise, face_network)


def test_pictures_too_small_for_a_face_or_grey_are_refused():
    networks = object.__new__(faces.FaceNetworks)  # the weights, which may not be installed, are not asked
    with pytest.raises(InputError, match="at least 20 pixels, and these pictures are 16x16"):
        networks.is_face(np.zeros((1, 16, 16, 3), np.uint8))
    for look in (networks.is_face, networks.features):
        with pytest.raises(InputError, match="these are grey: take the features inception"):
            look(np.zeros((1, 32, 32, 1), np.uint8))
