"""The cost model against counters that know nothing of it: Keras, TensorFlow's profiler and graphs."""

import dataclasses
import pathlib
import re

import keras
import numpy as np
import pytest
from keras import ops

from ddpm_lib import attention, training, unet
from ddpm_lib.config import PRESETS, InputError, RunConfig, UNetConfig
from ddpm_lib.cost import DEVICES, all_reduce_bytes, largest_batch, predict_epoch_seconds, step_cost, what_fits
from ddpm_lib.unet import build_unet

CELEBA64 = PRESETS["celeba64"].unet
# Every kind of layer, and attention at 256 pixels, so that scores weigh.
SMALL = UNetConfig(32, 3, (16, 32), 1, attention_resolutions=(16,), heads=2, attention_dim=32, time_dim=32)
FOLDED = dataclasses.replace(SMALL, image_size=64, patch=2)
on_tensorflow = pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="reads TensorFlow's graphs")


@pytest.mark.slow
@pytest.mark.parametrize("name", PRESETS)
def test_parameters_are_the_network_s(name):
    assert step_cost(PRESETS[name].unet, 1).parameters == build_unet(PRESETS[name].unet).count_params()


@pytest.mark.slow
@on_tensorflow
@pytest.mark.parametrize("config", [SMALL, FOLDED, CELEBA64], ids=["small", "folded", "celeba64"])
def test_flops_are_those_that_tensorflow_counts(config, monkeypatch):
    import tensorflow as tf

    def attend(query, key, value):
        """Attention in operations that the profiler can price: it knows neither loops nor Einsum."""
        query, key, value = (ops.transpose(x, (0, 2, 1, 3)) for x in (query, key, value))
        weights = ops.softmax(ops.matmul(query, ops.swapaxes(key, 2, 3)))
        return ops.transpose(ops.matmul(weights, value), (0, 2, 1, 3))

    monkeypatch.setattr(unet, "attend", attend)
    network = unet.build_unet(config)
    x_t = tf.TensorSpec((1, config.image_size, config.image_size, config.channels))
    graph = tf.function(lambda x, t: network([x, t])).get_concrete_function(x_t, tf.TensorSpec((1,), tf.int32)).graph
    products = ["Conv2D", "MatMul", "BatchMatMulV2"]
    options = tf.compat.v1.profiler.ProfileOptionBuilder.float_operation()
    options |= {"output": "none", "account_type_regexes": products}
    counted = tf.compat.v1.profiler.profile(graph, options=options).total_float_ops
    assert step_cost(config, 1).flops == counted


def forward_tensors_kept(config, batch_size, precision, rematerialize=False):
    """Bytes of the tensors that the forward pass makes and the backward pass reads, from TensorFlow's own graph."""
    import tensorflow as tf

    network = build_unet(config, precision, rematerialize)
    num_forward = []

    @tf.function
    def gradients(x_t, t):
        with tf.GradientTape() as tape:
            loss = tf.reduce_sum(network([x_t, t], training=True))
        num_forward.append(len(tf.compat.v1.get_default_graph().get_operations()))
        return tape.gradient(loss, network.trainable_variables)

    x_t = tf.TensorSpec((batch_size, config.image_size, config.image_size, config.channels))
    graph = gradients.get_concrete_function(x_t, tf.TensorSpec((batch_size,), tf.int32)).graph
    forward = {operation.name for operation in graph.get_operations()[: num_forward[-1]]}

    def source(tensor):
        """Follow a tensor through operations that hand their input on without a copy."""
        while tensor.op.type in ("Reshape", "Identity", "IdentityN", "Squeeze", "ExpandDims"):
            tensor = tensor.op.inputs[tensor.value_index]
        return tensor

    kept, seen, waiting = {}, set(), [tensor.op for tensor in graph.outputs]
    while waiting:
        operation = waiting.pop()
        if operation.name in seen or operation.name in forward:
            continue
        seen.add(operation.name)
        waiting += [tensor.op for tensor in operation.inputs] + list(operation.control_inputs)
        for tensor in map(source, operation.inputs):
            in_forward = tensor.op.name in forward and tensor.op.type not in ("ReadVariableOp", "Placeholder", "Const")
            if in_forward and tensor.dtype != tf.variant and tensor.dtype != tf.resource:
                shape = [batch_size if size is None else size for size in tensor.shape]
                kept[tensor.name] = int(np.prod(shape)) * tensor.dtype.size
    return sum(kept.values())


@pytest.mark.slow
@on_tensorflow
@pytest.mark.parametrize("precision", ["float32", "mixed_bfloat16"])
@pytest.mark.parametrize("kind", ["plain", "singly", "rematerialized"])
def test_activations_are_those_that_tensorflow_keeps(precision, kind, monkeypatch):
    monkeypatch.setattr(attention, "has_fused_attention", lambda: kind == "plain")
    rematerialize = kind == "rematerialized"
    kept = forward_tensors_kept(SMALL, 64, precision, rematerialize)
    predicted = step_cost(
        SMALL, 64, precision, "plain" if kind == "plain" else "singly", rematerialize
    ).activation_bytes
    assert predicted == pytest.approx(kept, rel=0.02)


@on_tensorflow
@pytest.mark.parametrize("precision", ["float32", "mixed_bfloat16"])
def test_copies_of_the_weights_are_the_casts_of_tensorflow_s_graph(precision):
    import tensorflow as tf

    network = build_unet(SMALL, precision)
    x_t = tf.TensorSpec((1, SMALL.image_size, SMALL.image_size, SMALL.channels))
    forward = tf.function(lambda x_t, t: network([x_t, t]))
    graph = forward.get_concrete_function(x_t, tf.TensorSpec((1,), tf.int32)).graph
    copies = [
        int(np.prod(operation.outputs[0].shape)) * operation.outputs[0].dtype.size
        for operation in graph.get_operations()
        if operation.type == "Cast" and operation.inputs[0].op.type == "ReadVariableOp"
    ]
    assert step_cost(SMALL, 1, precision).copy_bytes == pytest.approx(sum(copies), rel=0.02)


@pytest.mark.slow
@on_tensorflow
@pytest.mark.parametrize("rematerialize", [False, True])
def test_the_peak_is_within_a_fifth_of_what_tensorflow_s_allocator_counts(rematerialize):
    import tensorflow as tf

    train = {"batch_size": 64, "rematerialize": rematerialize}
    trainer = training.DiffusionTrainer(RunConfig().replace(unet=vars(SMALL), train=train))
    x_0 = np.zeros((64, SMALL.image_size, SMALL.image_size, SMALL.channels), "float32")
    trainer.train_on_batch(x_0)
    try:
        # Other tests' tensors may be there still.
        others = tf.config.experimental.get_memory_info("CPU:0")["current"] - step_cost(SMALL, 64).state_bytes
        tf.config.experimental.reset_memory_stats("CPU:0")
    except ValueError:
        pytest.skip("this TensorFlow was built without oneDNN: its allocator does not count")
    trainer.train_on_batch(x_0)
    peak = tf.config.experimental.get_memory_info("CPU:0")["peak"] - others
    assert step_cost(SMALL, 64, rematerialize=rematerialize).peak_bytes == pytest.approx(peak, rel=0.2)


def test_one_attention_layer_s_scores_are_512_mib_at_batch_16():
    """The sentence of the book, from shapes alone: 16 images, 8 heads, 1024 x 1024 pairs, 4 bytes."""
    plain, singly = (step_cost(CELEBA64, 16, attention=kind) for kind in ("plain", "singly"))
    rows = [{row.name: row for row in cost.rows}["down_32_attention"] for cost in (plain, singly)]
    assert (
        rows[0].kept - rows[1].kept == 512 * 2**20 - 16 * 1024 * 256 * 4
    )  # less the result, which plain need not keep


def test_costs_grow_with_the_batch_and_weights_do_not():
    one, four = step_cost(SMALL, 1), step_cost(SMALL, 4)
    assert four.flops == 4 * one.flops
    assert four.activation_bytes == 4 * one.activation_bytes
    assert four.state_bytes == one.state_bytes == 4 * 4 * build_unet(SMALL).count_params()


def test_largest_batch_fits_and_twice_as_much_does_not():
    batch_size = largest_batch(CELEBA64, 16e9)
    assert step_cost(CELEBA64, batch_size).peak_bytes <= 0.9 * 16e9 < step_cost(CELEBA64, 2 * batch_size).peak_bytes
    assert largest_batch(CELEBA64, 1e8) == 0


def test_a_step_takes_no_less_than_its_flops_and_its_bytes():
    cost, t4 = step_cost(CELEBA64, 16), DEVICES["T4"]
    seconds = 16 / 202_599 * predict_epoch_seconds(CELEBA64, "T4", 16, efficiency=1.0)
    bounds = cost.training_flops / t4.float32, cost.moved / t4.bandwidth
    assert max(bounds) <= seconds <= sum(bounds)


def test_memory_page_has_the_predicted_seconds_of_an_epoch():
    page = (pathlib.Path(__file__).parents[1] / "book" / "memory.md").read_text("utf8")
    rows = re.findall(r"^\| (\w+) \| (plain|singly|fused) \| (\d+) \| ([\d,]+) s \| ([\d,]+) s \| .*\|$", page, re.M)
    assert len(rows) == 9
    for device, kind, batch_size, *quoted in rows:
        for precision, seconds in zip(("float32", "mixed_float16"), quoted, strict=True):
            predicted = predict_epoch_seconds(CELEBA64, device, int(batch_size), precision, kind)
            assert seconds == f"{predicted:,.0f}", (device, kind, precision)
    reported = re.findall(r"^\| (\w+) \| plain .* ([\d,]+) s \|$", page, re.M)
    assert reported == [("T4", "13,672"), ("P100", "6,972")]  # the article's table


def test_what_fits_is_a_table():
    lines = what_fits(SMALL, 16).splitlines()
    assert len(lines) == 2 + 12 and len({len(line) for line in lines[1:]}) == 1


@pytest.mark.slow
def test_a_rematerialized_step_is_the_plain_step():
    tiny = {"image_size": 8, "widths": (8, 16), "blocks_per_level": 1, "heads": 2, "attention_dim": 8, "time_dim": 16}
    x_0 = np.random.default_rng(0).uniform(-1, 1, (4, 8, 8, 3)).astype("float32")
    weights = []
    for rematerialize in (False, True):
        train = {"learning_rate": 1e-2, "warmup_steps": 1, "rematerialize": rematerialize}
        trainer = training.DiffusionTrainer(RunConfig().replace(unet=tiny, train=train))
        generator = np.random.default_rng(1)
        before = [0.1 * generator.standard_normal(w.shape) for w in trainer.network.weights]
        trainer.network.set_weights(before)
        trainer.fit(x_0, batch_size=4, epochs=2, verbose=0, shuffle=False)
        weights.append(np.concatenate([w.ravel() for w in trainer.network.get_weights()]))
    assert np.abs(weights[0] - np.concatenate([w.ravel() for w in before])).max() > 1e-3
    assert np.abs(weights[0] - weights[1]).max() < 1e-6


def test_rematerialization_refuses_dropout():
    with pytest.raises(InputError, match="dropout"):
        build_unet(UNetConfig(8, 3, (8,), heads=2, attention_dim=8, time_dim=16, dropout=0.1), rematerialize=True)


@pytest.mark.parametrize("devices", [1, 2, 5])
def test_bytes_of_an_all_reduce_are_those_of_a_ring_that_sums(devices):
    """A ring of devices, step by step: every piece goes once round to be added up, and once round as a sum."""
    pieces = np.random.default_rng(0).integers(0, 9, (devices, devices, 3))
    held, sent = pieces.copy(), np.zeros(devices, int)
    for round_, sums in ((0, True), (1, False)):
        for step in range(devices - 1):
            for device in range(devices):
                piece = (device - step + round_) % devices
                following = (device + 1) % devices
                held[following, piece] = held[device, piece] + (held[following, piece] if sums else 0)
                sent[device] += 4 * 3
    assert (held == pieces.sum(0)).all()
    assert set(sent) == {all_reduce_bytes(3 * devices, devices)}
