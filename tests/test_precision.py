"""Mixed precision: halves where they are fast, float32 where numbers would be lost."""

import keras
import numpy as np
import pytest
from keras import ops

from ddpm_lib import checkpoints, training
from ddpm_lib.attention import attend
from ddpm_lib.config import InputError
from ddpm_lib.hardware import choose_precision, has_fused_attention, precision_for
from ddpm_lib.unet import ResBlock, SelfAttention, SinusoidalEmbedding
from tests.test_training import IMAGES, new_trainer
from tests.test_training import TINY as ONE_LEVEL

TINY = ONE_LEVEL.replace(unet={"widths": (4, 8)})  # pooling and upsampling have a precision, too
MIXED = ["mixed_float16", "mixed_bfloat16"]
# Half a unit in the last place of a number in [1, 2): 11 bits of mantissa, and 8.
ROUNDING = {"mixed_float16": 2.0**-11, "mixed_bfloat16": 2.0**-8}


@pytest.fixture(params=MIXED)
def policy(request):
    if request.param == "mixed_float16" and keras.backend.backend() == "jax":
        pytest.skip("JAX has no float16 matrix products on CPUs")
    return request.param


def float64(x):
    return ops.convert_to_numpy(ops.cast(x, "float32")).astype(np.float64)


# --- Which policy ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "card, capability, policy",
    [
        ("GTX 1080", (6, 1), "float32"),
        ("P100", (6, 0), "float32"),
        ("V100", (7, 0), "mixed_float16"),
        ("T4", (7, 5), "mixed_float16"),
        ("A100", (8, 0), "mixed_bfloat16"),
        ("L4", (8, 9), "mixed_bfloat16"),
        ("B200", (10, 0), "mixed_bfloat16"),
        ("TPU", None, "float32"),
    ],
)
def test_policy_by_compute_capability(card, capability, policy):
    assert precision_for(capability)[0] == policy


def test_the_oldest_gpu_decides(monkeypatch):
    monkeypatch.setattr("ddpm_lib.hardware.gpus", lambda: [("A100", (8, 0)), ("T4", (7, 5)), ("no CUDA", None)])
    assert choose_precision() == ("mixed_float16", "compute capability 7.5 has float16 tensor cores")
    assert choose_precision("float32") == ("float32", "as asked for")


def test_a_negative_capability_is_refused():
    with pytest.raises(InputError, match="capability must be a pair"):
        precision_for((-1, 0))


# --- Float32 where it must be ----------------------------------------------------------------------------------------


def test_weights_averages_and_results_are_float32_and_the_rest_is_half(policy):
    trainer = new_trainer(TINY.replace(train={"precision": policy}))
    half = policy.removeprefix("mixed_")
    for network in (trainer.network, trainer.ema_network):
        assert {weight.dtype for weight in network.weights} == {"float32"}
        blocks = [layer for layer in network.layers if isinstance(layer, ResBlock | SelfAttention)]
        assert len(blocks) > 5 and {layer.compute_dtype for layer in blocks} == {half}
        assert {keras.backend.standardize_dtype(layer.output.dtype) for layer in blocks} == {half}
        assert network.output.dtype == "float32"
        assert network.get_layer("head").compute_dtype == "float32"


def test_every_timestep_has_a_code_of_its_own(policy):
    """Read as bfloat16, 507 of 1,000 indices would be left, and none between 992 and 1,000 would be right."""
    keras.config.set_dtype_policy(policy)
    try:
        codes = float64(SinusoidalEmbedding(128)(np.arange(1000, dtype="int32")))
    finally:
        keras.config.set_dtype_policy("float32")
    assert len(np.unique(codes, axis=0)) == 1000
    angles = np.arange(1000)[:, None] / 10_000.0 ** (np.arange(0, 128, 2) / 128)
    assert np.abs(codes[:, 0::2] - np.sin(angles)).max() < 2e-4
    assert np.abs(codes[:, 1::2] - np.cos(angles)).max() < 2e-4


def test_moments_of_norms_are_float32(policy):
    """Squares of these features overflow float16, and a bfloat16 sum of 8,192 of them stands still at 512 of them."""
    norm = ResBlock(8, dtype=policy).norm_1
    features = np.random.default_rng(0).normal(300, 20, (2, 32, 32, 16)).astype("float32")
    rounded = ops.cast(features, norm.compute_dtype)
    result = norm(rounded)
    assert keras.backend.standardize_dtype(result.dtype) == norm.compute_dtype
    exact = float64(rounded).reshape(2, 32, 32, 2, 8)
    exact = (exact - exact.mean((1, 2, 4), keepdims=True)) / exact.std((1, 2, 4), keepdims=True)
    errors = np.abs(float64(result) - exact.reshape(features.shape))
    assert (errors <= ROUNDING[policy] * np.abs(exact.reshape(features.shape)) + 1e-4).all()


def test_softmax_is_float32(policy, monkeypatch):
    """Summed in bfloat16, 1,024 equal shares stand still at 256 of them."""
    half = policy.removeprefix("mixed_")
    generator = np.random.default_rng(0)
    query, key, value = (generator.standard_normal((1, 1024, 2, 8)).astype("float32") for _ in range(3))
    query[0, :256] = 0.0  # these read from every pixel alike
    query[0, 256:512] *= 8.0  # scores up to 40
    q, k, v = (ops.cast(x, half) for x in (query, key, value))
    # On CPUs TensorFlow itself sums halves in float32, which the numbers would not tell from our doing so.
    softmax, dtypes = ops.softmax, set()
    monkeypatch.setattr(
        ops, "softmax", lambda x, axis: dtypes.add(keras.backend.standardize_dtype(x.dtype)) or softmax(x, axis)
    )
    mixed = attend(q, k, v)
    assert dtypes <= {"float32"}
    assert dtypes or has_fused_attention()
    assert keras.backend.standardize_dtype(mixed.dtype) == half
    scores = np.einsum("bqhd,bkhd->bhqk", float64(q), float64(k)) / np.sqrt(8)
    weights = np.exp(scores - scores.max(-1, keepdims=True))
    weights /= weights.sum(-1, keepdims=True)
    exact = np.einsum("bhqk,bkhd->bqhd", weights, float64(v))
    errors = np.abs(float64(mixed) - exact).max((0, 2, 3))
    assert errors[:256].max() < ROUNDING[policy] * np.abs(exact[0, :256]).max()
    # A backend may round the scores themselves to half precision, so a share is off by that much; so are the results.
    bounds = ROUNDING[policy] * (np.abs(scores).max((0, 1, 3)) + 1) * np.abs(value).max()
    assert (errors < bounds).all()


def first_loss(precision):
    trainer = new_trainer(TINY.replace(train={"precision": precision, "epochs": 1, "steps_per_epoch": 1}))
    training.fit_run(trainer, IMAGES, verbose=0)
    return trainer.finish_epoch()["loss"]


@pytest.fixture(scope="module")
def float32_first_loss():
    return first_loss("float32")


@pytest.mark.slow
def test_the_loss_is_float32(policy, float32_first_loss):
    """The head starts at zero, so the first loss is the mean square of the noise, whatever the halves before it."""
    assert first_loss(policy) == pytest.approx(float32_first_loss, rel=1e-6)


def test_the_average_moves_by_less_than_halves_can_hold(policy):
    trainer = new_trainer(TINY.replace(train={"precision": policy, "ema_decay": 0.9999}))
    trainer.network.set_weights([np.full(w.shape, 1.01) for w in trainer.network.weights])
    trainer.ema_network.set_weights([np.ones(w.shape) for w in trainer.network.weights])
    trainer.global_step.assign(10**6)
    trainer.update_average()
    for average in trainer.ema_network.get_weights():
        assert np.allclose(average - 1.0, 1e-6, rtol=0, atol=1.2e-7)


@pytest.mark.slow
def test_samples_are_drawn_in_float32(policy, tmp_path):
    checkpoints.save(new_trainer(TINY.replace(train={"precision": policy})), tmp_path / "x.keras")
    network = checkpoints.load(tmp_path / "x.keras").network
    assert {layer.compute_dtype for layer in network.layers} == {"float32"}


# --- One optimizer step ----------------------------------------------------------------------------------------------


def descend(precision, scaled=False):
    """Take one step of plain gradient descent, and return the change of every weight by its path.

    At a rate of 1,000, so that the change does not drown in the rounding of the weights that it is added to. The head
    is nearly zero, as at the start of every training, so the gradients behind it are small.
    """

    def optimizer(config):
        sgd = keras.optimizers.SGD(1000.0)
        return keras.optimizers.LossScaleOptimizer(sgd) if scaled else sgd

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(training, "make_optimizer", optimizer)
        trainer = new_trainer(TINY.replace(train={"precision": precision, "epochs": 1, "steps_per_epoch": 1}))
    paths = [weight.path for weight in trainer.network.weights]
    generator = np.random.default_rng(1)
    weights = [0.1 * generator.standard_normal(w.shape) for w in trainer.network.weights]
    factors = [1e-4 if path.startswith("head/") else 1.0 for path in paths]
    trainer.network.set_weights([factor * weight for factor, weight in zip(factors, weights, strict=True)])
    before = trainer.network.get_weights()
    training.fit_run(trainer, IMAGES, verbose=0)
    after = trainer.network.get_weights()
    return {path: a - b for path, a, b in zip(paths, after, before, strict=True)}


@pytest.fixture(scope="module")
def exact():
    return descend("float32")


def difference(step, exact, behind_head=False):
    """Norm of the difference of two steps, relative to the norm of the second."""
    paths = [path for path in exact if not (behind_head and path.startswith("head/"))]
    step, exact = (np.concatenate([changes[path].ravel() for path in paths]) for changes in (step, exact))
    return np.linalg.norm(step - exact) / np.linalg.norm(exact)


@pytest.mark.slow
def test_one_step_is_that_of_float32(policy, exact):
    """With plain gradient descent a forgotten loss scale would change the step 32,768 times; Adam would hide it."""
    mixed = descend(policy, scaled=policy == "mixed_float16")
    tolerance = {"mixed_float16": 1e-3, "mixed_bfloat16": 8e-3}[policy]  # three bits less
    assert difference(mixed, exact) < tolerance
    assert difference(mixed, exact, behind_head=True) < 2 * tolerance


@pytest.mark.parametrize("policy, scales", [("float32", False), ("mixed_float16", True), ("mixed_bfloat16", False)])
def test_float16_alone_scales_its_loss(policy, scales):
    optimizer = training.make_optimizer(ONE_LEVEL.replace(train={"precision": policy}).train)
    assert isinstance(optimizer, keras.optimizers.LossScaleOptimizer) == scales


@pytest.mark.slow
@pytest.mark.skipif(keras.backend.backend() == "jax", reason="JAX has no float16 matrix products on CPUs")
def test_without_loss_scaling_float16_loses_the_small_gradients(exact):
    assert difference(descend("mixed_float16"), exact, behind_head=True) > 0.1


@pytest.mark.slow
@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="jit_compile is a choice on TensorFlow only")
@pytest.mark.parametrize("policy", ["float32", "mixed_float16", "mixed_bfloat16"])
def test_a_step_compiles_with_xla_under_every_policy(policy):
    """GPUs compile by default, CPUs do not: without this test an operation without XLA gradient would go unseen."""
    config = TINY.replace(train={"precision": policy, "jit": True, "epochs": 1, "steps_per_epoch": 2})
    trainer = new_trainer(config)
    training.fit_run(trainer, IMAGES, verbose=0)
    assert trainer.step == 2
    assert trainer.finish_epoch()["loss"] == pytest.approx(1.0, abs=0.25)


# --- Three hundred steps ---------------------------------------------------------------------------------------------


def loss_curve(precision, seed):
    """Train for 300 steps and return the mean loss of each fifth of them."""
    settings = {"precision": precision, "seed": seed, "epochs": 5, "steps_per_epoch": 60, "learning_rate": 3e-3}
    trainer = new_trainer(TINY.replace(train=settings))
    booked = keras.callbacks.LambdaCallback(on_epoch_end=lambda epoch, logs: trainer.finish_epoch())
    training.fit_run(trainer, IMAGES, [booked], verbose=0)
    return np.array([row["loss"] for row in trainer.rows])


@pytest.fixture(scope="module")
def float32_curves():
    return [loss_curve("float32", seed) for seed in (5, 6)]


@pytest.mark.slow
def test_the_loss_falls_as_in_float32_within_the_noise_of_seeds(policy, float32_curves):
    exact, another_seed = float32_curves
    mixed = loss_curve(policy, seed=5)
    assert mixed[-1] < 0.8 * mixed[0], "nothing was learnt"
    assert np.abs(mixed - exact).max() < np.abs(another_seed - exact).mean()
