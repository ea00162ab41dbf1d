"""The network: shapes, sizes, and what must hold before any training."""

import dataclasses

import keras
import numpy as np
import pytest
from keras import layers, ops

from ddpm_lib.attention import attend
from ddpm_lib.config import PRESETS, UNetConfig
from ddpm_lib.hardware import compiled
from ddpm_lib.unet import (
    BilinearUpsample,
    FoldPatches,
    ResBlock,
    SelfAttention,
    SinusoidalEmbedding,
    UnfoldPatches,
    build_unet,
)

TINY = UNetConfig(16, 3, (8, 16), attention_resolutions=(16,), heads=2, attention_dim=8, time_dim=16)


def numpy(x):
    return ops.convert_to_numpy(x)


def randomized(network, seed=0):
    """Give every weight a value, so that zero starts hide nothing."""
    generator = np.random.default_rng(seed)
    network.set_weights([0.2 * generator.standard_normal(w.shape).astype("float32") for w in network.weights])
    return network


def inputs(config=TINY, batch=2, seed=0):
    generator = np.random.default_rng(seed)
    x = generator.standard_normal((batch, config.image_size, config.image_size, config.channels)).astype("float32")
    return x, generator.integers(0, 1000, batch).astype("int32")


def conv(c_in, c_out, side=3):
    return side * side * c_in * c_out + c_out


def dense(c_in, c_out):
    return c_in * c_out + c_out


def count_by_hand(config):
    """Number of weights of the network that design and chapter describe."""
    time = config.time_dim

    def block(c_in, c_out):
        parts = 2 * c_in + conv(c_in, c_out) + dense(time, 2 * c_out) + conv(c_out, c_out)
        return parts + (conv(c_in, c_out, 1) if c_in != c_out else 0)

    def attention(c):
        return 2 * c + dense(c, 3 * config.attention_dim) + dense(config.attention_dim, c)

    channels = config.patch**2 * config.channels
    total = 2 * dense(time, time) + conv(channels, config.widths[0])
    width, size, sizes = config.widths[0], config.image_size // config.patch, []
    for level, level_width in enumerate(config.widths):
        sizes.append(size)
        for _ in range(config.blocks_per_level):
            total += block(width, level_width)
            width = level_width
        total += attention(width) if size in config.attention_resolutions else 0
        size //= 1 if level == len(config.widths) - 1 else 2
    total += 2 * block(width, width) + attention(width)
    for level in reversed(range(len(config.widths))):
        width += config.widths[level]
        for number in range(config.blocks_per_level):
            last = number == config.blocks_per_level - 1
            next_width = config.widths[max(level - 1, 0)] if last else config.widths[level]
            total += block(width, next_width)
            width = next_width
        total += attention(width) if sizes[level] in config.attention_resolutions else 0
    return total + 2 * width + conv(width, channels)


@pytest.mark.parametrize("name", PRESETS)
def test_every_preset_builds_with_the_counted_number_of_weights(name):
    config = PRESETS[name].unet
    assert build_unet(config).count_params() == count_by_hand(config)


def test_the_face_network_keeps_its_size():
    assert build_unet(PRESETS["celeba64"].unet).count_params() == 15_317_059


def test_the_article_s_example_holds_at_32_pixels():
    network = build_unet(PRESETS["celeba64"].unet)
    skip = network.get_layer("up_32_skip")
    assert [tuple(x.shape[1:]) for x in skip.input] == [(32, 32, 64), (32, 32, 64)]
    assert tuple(skip.output.shape[1:]) == (32, 32, 128)
    assert tuple(network.get_layer("middle_block_1").output.shape[1:]) == (8, 8, 256)


def test_a_new_network_predicts_zero_so_the_first_loss_is_one():
    x, t = inputs(batch=64)
    noise_pred = numpy(build_unet(TINY)([x, t]))
    assert noise_pred.dtype == np.float32 and (noise_pred == 0).all()
    assert np.mean((x - noise_pred) ** 2) == pytest.approx(1.0, abs=0.02)


def test_new_blocks_pass_their_input_through():
    x = np.random.default_rng(0).normal(2.5, 5.0, (2, 8, 8, 8)).astype("float32")
    time = np.random.default_rng(1).standard_normal((2, 16)).astype("float32")
    assert np.array_equal(numpy(ResBlock(8)(x, time)), x)
    assert np.array_equal(numpy(SelfAttention(2, 8)(x)), x)


def test_res_block_against_its_formula_in_numpy():
    block = ResBlock(4, groups=2)
    generator = np.random.default_rng(0)
    x = generator.standard_normal((2, 5, 5, 4)).astype("float32")
    time = generator.standard_normal((2, 6)).astype("float32")
    block(x, time)
    block.set_weights([generator.standard_normal(w.shape).astype("float32") for w in block.weights])
    w = {"/".join(weight.path.split("/")[-2:]): numpy(weight.value) for weight in block.weights}

    def group_norm(h):
        grouped = h.reshape(2, 25, 2, 2).astype("float64")
        mean, variance = grouped.mean((1, 3), keepdims=True), grouped.var((1, 3), keepdims=True)
        return ((grouped - mean) / np.sqrt(variance + 1e-5)).reshape(h.shape)

    def silu(h):
        return h / (1 + np.exp(-h))

    def convolve(h, kernel, bias):
        padded = np.pad(h, ((0, 0), (1, 1), (1, 1), (0, 0)))
        taps = [(i, j) for i in range(3) for j in range(3)]
        return sum(np.einsum("bhwc,cd->bhwd", padded[:, i : i + 5, j : j + 5], kernel[i, j]) for i, j in taps) + bias

    h = group_norm(x) * w["norm_1/gamma"] + w["norm_1/beta"]
    h = convolve(silu(h), w["conv_1/kernel"], w["conv_1/bias"])
    scale_and_shift = time @ w["scale_and_shift/kernel"] + w["scale_and_shift/bias"]
    scale, shift = scale_and_shift[:, None, None, :4], scale_and_shift[:, None, None, 4:]
    h = silu(group_norm(h) * (1 + scale) + shift)
    expected = x + convolve(h, w["conv_2/kernel"], w["conv_2/bias"])
    assert np.allclose(numpy(block(x, time)), expected, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("tokens", [64, 300], ids=["at once", "one head at a time"])
def test_attention_against_its_formula_in_numpy(tokens):
    generator = np.random.default_rng(0)
    query, key, value = generator.standard_normal((3, 2, tokens, 4, 8)).astype("float32")
    scores = np.einsum("bqhd,bkhd->bhqk", query, key) / np.sqrt(8)
    weights = np.exp(scores - scores.max(-1, keepdims=True))
    weights /= weights.sum(-1, keepdims=True)
    expected = np.einsum("bhqk,bkhd->bqhd", weights, value)
    assert np.abs(numpy(attend(query, key, value)) - expected).max() < 1e-5


@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="the loop over heads is TensorFlow's")
def test_attention_one_head_at_a_time_has_the_gradient_of_plain_attention():
    import tensorflow as tf

    generator = np.random.default_rng(0)
    arguments = [tf.constant(x) for x in generator.standard_normal((3, 2, 300, 2, 4)).astype("float32")]
    direction = tf.constant(generator.standard_normal((2, 300, 2, 4)).astype("float32"))
    gradients = []
    for function in (attend, ops.dot_product_attention):
        with tf.GradientTape() as tape:
            tape.watch(arguments)
            result = function(*arguments)
        gradients.append(tape.gradient(result, arguments, output_gradients=direction))
    for ours, plain in zip(*gradients, strict=True):
        assert np.abs(ours.numpy() - plain.numpy()).max() < 1e-5


@pytest.mark.parametrize("tokens", [64, 300])
def test_attention_survives_activations_that_overflow_float16_products(tokens):
    x = (60 * np.random.default_rng(0).standard_normal((1, tokens, 2, 32))).astype("float16")
    assert np.isfinite(numpy(attend(*[ops.convert_to_tensor(x)] * 3))).all()


def test_attention_is_256_wide_over_8_heads():
    layer = build_unet(PRESETS["celeba64"].unet).get_layer("down_32_attention")
    assert layer.query_key_value.kernel.shape == (64, 3 * 256)
    assert layer.project.kernel.shape == (256, 64)


def test_upsampling_is_bilinear():
    x = np.random.default_rng(0).standard_normal((2, 5, 3, 4)).astype("float32")
    expected = numpy(layers.UpSampling2D(2, interpolation="bilinear")(x))
    assert np.abs(numpy(BilinearUpsample()(x)) - expected).max() < 1e-6
    line = np.arange(4, dtype="float32").reshape(1, 1, 4, 1)
    assert numpy(BilinearUpsample()(line))[0, 0, :, 0].tolist() == [0, 0.25, 0.75, 1.25, 1.75, 2.25, 2.75, 3]


def test_sinusoid_values():
    code = numpy(SinusoidalEmbedding(8)(np.array([0, 3, 999], "int32")))
    expected = [[f(t / 10000 ** (2 * i / 8)) for i in range(4) for f in (np.sin, np.cos)] for t in (0, 3, 999)]
    assert np.abs(code - expected).max() < 1e-4
    wide = numpy(SinusoidalEmbedding(1024)(np.arange(1000, dtype="int32")))
    assert np.allclose((wide**2).sum(-1), 512, rtol=1e-4)


@pytest.mark.parametrize("policy", ["float32", "mixed_float16", "mixed_bfloat16"])
def test_all_1000_steps_stay_distinct_under_every_policy(policy):
    network = build_unet(TINY, policy)
    codes = numpy(network.get_layer("time_sinusoid")(np.arange(1000, dtype="int32")))
    assert codes.dtype == np.float32 and len(np.unique(codes, axis=0)) == 1000
    randomized(network)
    x, _ = inputs(batch=1)
    nearby = [numpy(network([x, np.array([t], "int32")])) for t in (998, 999)]
    assert nearby[0].dtype == np.float32
    assert np.abs(nearby[0] - nearby[1]).max() > 0


@pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16"])
def test_halves_are_used_where_they_may_and_weights_stay_float32(policy):
    network = build_unet(TINY, policy)
    half = policy.removeprefix("mixed_")
    assert network.get_layer("down_16_block_1").compute_dtype == half
    assert network.get_layer("down_16_block_1").conv_1.compute_dtype == half
    assert network.get_layer("head").compute_dtype == "float32"
    assert {w.dtype for w in network.weights} == {"float32"}


def test_the_result_depends_on_the_step_and_on_every_skip():
    network = randomized(build_unet(TINY))
    x, _ = inputs(batch=1)
    results = [numpy(network([x, np.array([t], "int32")])) for t in (0, 500)]
    assert np.abs(results[0] - results[1]).max() > 1e-3
    for size in (16, 8):
        middle = keras.Model(network.input, network.get_layer(f"up_{size}_skip").output)
        assert np.abs(numpy(middle([x, np.array([5], "int32")]))[..., -8:]).max() > 0


@pytest.mark.slow
@pytest.mark.parametrize("widths", [(8, 16, 16, 16), (8, 8, 16, 16, 32, 32)])
def test_levels_of_equal_width_are_still_levels(widths):
    """Ho et al.'s own networks have them: (1, 2, 2, 2) and (1, 1, 2, 2, 4, 4) times 128."""
    config = UNetConfig(32, 3, widths, attention_resolutions=(16,), heads=2, attention_dim=8, time_dim=16)
    network = build_unet(config)
    assert network.output_shape == (None, 32, 32, 3)
    assert tuple(network.get_layer("middle_block_1").output.shape[1:3]) == (32 // 2 ** (len(widths) - 1),) * 2


def test_dropout_is_off_when_sampling():
    network = randomized(build_unet(UNetConfig(16, 3, (8, 16), heads=2, attention_dim=8, time_dim=16, dropout=0.5)))
    x, t = inputs()
    assert np.array_equal(numpy(network([x, t], training=False)), numpy(network([x, t], training=False)))
    assert not np.array_equal(numpy(network([x, t], training=True)), numpy(network([x, t], training=True)))
    predict_noise = compiled(network)  # what every sampler is given
    assert np.array_equal(numpy(predict_noise(x, t)), numpy(predict_noise(x, t)))
    assert np.allclose(numpy(predict_noise(x, t)), numpy(network([x, t], training=False)), atol=1e-5)


@pytest.mark.slow
def test_a_network_survives_saving_alone(tmp_path):
    network = randomized(build_unet(TINY))
    network.save(tmp_path / "network.keras")
    x, t = inputs()
    assert np.array_equal(numpy(keras.saving.load_model(tmp_path / "network.keras")([x, t])), numpy(network([x, t])))


def test_folding_puts_squares_of_pixels_into_channels_row_by_row_and_unfolding_puts_them_back():
    x = np.arange(2 * 6 * 9 * 2, dtype="float32").reshape(2, 6, 9, 2)
    folded = numpy(FoldPatches(3)(x))
    assert folded.shape == (2, 2, 3, 18)
    for row in range(2):
        for column in range(3):
            square = x[:, 3 * row : 3 * row + 3, 3 * column : 3 * column + 3]
            assert np.array_equal(folded[:, row, column], square.reshape(2, 18))
    assert np.array_equal(numpy(UnfoldPatches(3)(folded)), x)


def test_a_network_on_patches_is_the_network_of_half_the_size_on_folded_images():
    patched = dataclasses.replace(TINY, image_size=32, attention_resolutions=(16,), patch=2)
    half = dataclasses.replace(TINY, channels=12)
    one, other = randomized(build_unet(patched)), randomized(build_unet(half))
    x, t = inputs(patched)
    unfolded = UnfoldPatches(2)(other([numpy(FoldPatches(2)(x)), t]))
    assert np.abs(numpy(one([x, t])) - numpy(unfolded)).max() < 1e-5
