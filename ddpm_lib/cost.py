"""What a training step costs, layer by layer, before anything is run: weights, FLOPs, bytes moved, memory.

Four rules say nearly all of it:

1. A layer with weights multiplies and adds once for every weight and pixel: two FLOPs. Attention also multiplies every
   query with every key, and every weight with every value. The backward pass does each product twice more.
2. Every operation reads its input from memory and writes its result there, once.
3. The backward pass needs the input of every operation that is not linear in it, and of every operation with weights.
   The forward pass keeps them: these are the activations.
4. The backward pass walks from the last layer to the first. While it is at a layer, what the layers before it keep is
   still there, and its own gradients take some more.

These are the rules of an engine that differentiates operation by operation, as TensorFlow does. A compiler that fuses
operations (XLA) moves fewer bytes. How far the numbers are off is measured by `benchmarks/memory.py`.
"""

from __future__ import annotations

import dataclasses
import functools
import itertools
import math

from keras import layers

from ddpm_lib.config import UNetConfig
from ddpm_lib.unet import BilinearUpsample, FoldPatches, ResBlock, SelfAttention, build_unet

FLOAT32 = 4  # bytes a number
NUM_CELEBA_IMAGES = 202_599
USABLE_MEMORY = 0.9  # of a card's; driver, libraries and the gaps between tensors take the rest (an assumption)
EFFICIENCY = 0.5  # share of a data sheet's two peaks that a step is taken to reach (an assumption, fitted to nothing)
PARALLEL_ITERATIONS = 2  # of a loop: as many as there are cores, one on a GPU


@dataclasses.dataclass(frozen=True)
class Cost:
    """What one or several operations take; costs add up."""

    flops: int = 0  # of the forward pass, two for each multiplication with addition
    moved: int = 0  # bytes that the forward pass reads and writes
    kept: int = 0  # bytes that stay in memory until the backward pass has been there
    workspace: int = 0  # bytes that the backward pass takes on top while it is there
    flops_again: int = 0  # of the products that the backward pass computes a second time
    moved_again: int = 0

    def __add__(self, other: Cost) -> Cost:
        sums = {field.name: getattr(self, field.name) + getattr(other, field.name) for field in FIELDS}
        return Cost(**{**sums, "workspace": max(self.workspace, other.workspace)})


FIELDS = dataclasses.fields(Cost)


@dataclasses.dataclass(frozen=True)
class Row(Cost):
    """What one layer takes."""

    name: str = ""
    parameters: int = 0

    @property
    def training_flops(self) -> int:
        """Forward once, backward twice as much, and what is computed again."""
        return 3 * self.flops + self.flops_again

    @property
    def training_moved(self) -> int:
        """Bytes, by the same count."""
        return 3 * self.moved + self.moved_again


@dataclasses.dataclass(frozen=True)
class StepCost:
    """What one training step takes: a row for each layer, and what is there beside the layers."""

    rows: tuple[Row, ...]
    size: int = FLOAT32  # bytes a number, in most tensors

    @property
    def parameters(self) -> int:
        """Number of trained weights."""
        return sum(row.parameters for row in self.rows)

    @property
    def flops(self) -> int:
        """FLOPs of one forward pass."""
        return sum(row.flops for row in self.rows)

    @property
    def training_flops(self) -> int:
        """FLOPs of one step, forward and backward."""
        return sum(row.training_flops for row in self.rows)

    @property
    def state_bytes(self) -> int:
        """Four float32 numbers a weight at all times, for weights, their average and Adam's two moments."""
        return 4 * FLOAT32 * self.parameters

    @property
    def gradient_bytes(self) -> int:
        """One float32 number a weight, from the backward pass to the update."""
        return FLOAT32 * self.parameters

    @property
    def copy_bytes(self) -> int:
        """Under mixed precision a copy of every weight in halves, from the start of the step on."""
        # A cast waits for nothing, so TensorFlow makes all of them first.
        return self.size * self.parameters if self.size < FLOAT32 else 0

    @property
    def update_moved(self) -> int:
        """Bytes of the update, which reads gradients and state and writes the state."""
        return self.gradient_bytes + 2 * self.state_bytes

    @property
    def moved(self) -> int:
        """Bytes that one step reads and writes."""
        return sum(row.training_moved for row in self.rows) + self.update_moved

    @property
    def activation_bytes(self) -> int:
        """What all layers keep for the backward pass."""
        return sum(row.kept for row in self.rows)

    @property
    def peak_bytes(self) -> int:
        """Most memory at any moment of the step, by rule 4."""
        kept, peak = 0, 0
        for row in self.rows:
            kept += row.kept
            peak = max(peak, kept + row.workspace)
        return self.state_bytes + self.gradient_bytes + self.copy_bytes + peak


def step_cost(
    config: UNetConfig,
    batch_size: int,
    precision: str = "float32",
    attention: str = "singly",
    rematerialize: bool = False,
) -> StepCost:
    """Predict what one training step takes.

    Args:
        config: the network.
        batch_size: images.
        precision: a Keras policy; under the mixed ones most tensors have two bytes a number.
        attention: "plain" keeps all scores; "singly" is `ddpm_lib.attention` where there is no fused one; "fused" is
            one operation that writes no scores at all, as PyTorch has it.
        rematerialize: ResBlocks keep their inputs alone, and are computed again on the way back.
    """
    size = FLOAT32 if precision == "float32" else 2
    rows = []
    for layer, inputs, result in _layers(config):
        inputs = [(batch_size, *shape) for shape in inputs]
        cost = _cost_of(layer, inputs, (batch_size, *result), size, attention)
        if rematerialize and isinstance(layer, ResBlock):
            cost = _rematerialized(cost, size * math.prod(inputs[0]))
        parameters = layer.count_params() if isinstance(layer, layers.Layer) else 0
        rows.append(Row(**vars(cost), name=layer.name, parameters=parameters))
    return StepCost(tuple(rows), size)


def _rematerialized(cost, input_bytes):
    return dataclasses.replace(
        cost,
        kept=input_bytes,
        workspace=cost.kept + cost.workspace,
        flops_again=cost.flops_again + cost.flops,
        moved_again=cost.moved_again + cost.moved,
    )


@dataclasses.dataclass(frozen=True)
class Device:
    """Peak numbers of a device, from its vendor's data sheet."""

    float32: float  # FLOPs a second; TF32 where the card has it, which TensorFlow and JAX use for float32
    half: float  # FLOPs a second with float16 or bfloat16 factors and dense matrices
    bandwidth: float  # bytes a second
    memory: float  # bytes
    capability: tuple[int, int] | None = None  # CUDA compute capability


# NVIDIA's data sheets: T4, P100 (PCIe), V100 (SXM2), A100 and H100 (SXM, 80 GB), H200 (SXM); compute capabilities from
# NVIDIA's table of GPUs. The two cores of a server have no data sheet: 0.23 TFLOP/s is the convolution peak in
# benchmarks/results/training.json, 20 GB/s an assumption.
DEVICES = {
    "T4": Device(8.1e12, 65e12, 320e9, 16e9, (7, 5)),
    "P100": Device(9.3e12, 18.7e12, 732e9, 16e9, (6, 0)),
    "V100": Device(15.7e12, 125e12, 900e9, 16e9, (7, 0)),
    "A100": Device(156e12, 312e12, 2039e9, 80e9, (8, 0)),
    "H100": Device(494e12, 989e12, 3350e9, 80e9, (9, 0)),
    "H200": Device(494e12, 989e12, 4800e9, 141e9, (9, 0)),
    "two CPU cores": Device(0.23e12, 0.23e12, 20e9, 16e9),
}


def predict_step_seconds(cost: StepCost, device: Device, precision: str, efficiency: float = EFFICIENCY) -> float:
    """Predict the seconds of a step: each layer waits for its FLOPs or for its bytes, whichever take longer.

    Time between operations, loading of data, and everything that is not the step are left out.
    """
    peak = device.float32 if precision == "float32" else device.half
    layers_seconds = sum(max(x.training_flops / peak, x.training_moved / device.bandwidth) for x in cost.rows)
    return (layers_seconds + cost.update_moved / device.bandwidth) / efficiency


def predict_epoch_seconds(
    config: UNetConfig,
    device: str,
    batch_size: int,
    precision: str = "float32",
    attention: str = "singly",
    rematerialize: bool = False,
    num_images: int = NUM_CELEBA_IMAGES,
    efficiency: float = EFFICIENCY,
) -> float:
    """Predict the seconds of one pass over the images on one of `DEVICES`."""
    cost = step_cost(config, batch_size, precision, attention, rematerialize)
    return num_images / batch_size * predict_step_seconds(cost, DEVICES[device], precision, efficiency)


def all_reduce_bytes(parameters: int, devices: int) -> int:
    """Count the bytes that each device sends to sum the gradients of all of them, which are float32, in a ring.

    The gradients are cut into as many pieces as there are devices. Each device sends all pieces but one to add them up,
    and all but one again to pass the sums round.
    """
    return 2 * (devices - 1) * FLOAT32 * parameters // devices


def largest_batch(
    config: UNetConfig,
    memory: float,
    precision: str = "float32",
    attention: str = "singly",
    rematerialize: bool = False,
) -> int:
    """Return the largest power of two of images whose training step fits into `memory` bytes, or 0."""
    batch_size = 1
    while step_cost(config, batch_size, precision, attention, rematerialize).peak_bytes <= USABLE_MEMORY * memory:
        batch_size *= 2
    return batch_size // 2


def what_fits(config: UNetConfig, batch_size: int) -> str:
    """Lay out, for a network, the predicted memory of a step at a batch size, and the largest batch on usual cards."""
    gigabytes = (8, 16, 24, 40, 80)
    lines = [
        f"predicted: memory of a training step at batch {batch_size}, and the largest batch (a power of two)",
        f"{'precision':15s}{'attention':11s}{'rematerialize':15s}{'MiB':>8s}"
        + "".join(f"{g:>6d}GB" for g in gigabytes),
    ]
    for precision, attention, rematerialize in itertools.product(
        ("float32", "mixed_float16"), ATTENTIONS, (False, True)
    ):
        options = (precision, attention, rematerialize)
        peak = step_cost(config, batch_size, *options).peak_bytes / 2**20
        batches = "".join(f"{largest_batch(config, 1e9 * g, *options):8d}" for g in gigabytes)
        lines.append(f"{precision:15s}{attention:11s}{'yes' if rematerialize else 'no':15s}{peak:8,.0f}{batches}")
    return "\n".join(lines)


@functools.cache
def _layers(config):
    """List the operations of the network in the order of the forward pass, with shapes without the batch."""

    def shapes(tensors):
        return [tuple(x.shape[1:]) for x in (tensors if isinstance(tensors, list) else [tensors])]

    operations = build_unet(config, "float32").operations  # the layers, and the bare SiLU of the head
    return [(x, shapes(x.input), shapes(x.output)[0]) for x in operations if not isinstance(x, layers.InputLayer)]


def _cost_of(layer, inputs, result, size, attention) -> Cost:
    """Add up what the operations of a layer take: `call` of `ddpm_lib.unet`, line by line."""
    x = inputs[0]
    match layer:
        case ResBlock():
            time, h = inputs[1], result
            cost = norm(x, size) + pointwise(x, size, keeps=x) + conv(x, h, 3, size)
            cost += dense(time, (*time[:-1], 2 * h[-1]), size)
            cost += norm(h, size) + pointwise(h, size, keeps=h) + pointwise(h, size, keeps=h) + conv(h, h, 3, size)
            cost += pointwise(h, size)
            if layer.shortcut is not None:
                # In float32 the norm keeps the same tensor already.
                cost += conv(x, h, 1, size, keeps=() if size == FLOAT32 else x)
            return cost
        case SelfAttention():
            mixed = (*x[:-1], layer.dim)
            cost = norm(x, size) + dense(x, (*x[:-1], 3 * layer.dim), size)
            cost += ATTENTIONS[attention](mixed, layer.heads, size)
            return cost + dense(mixed, x, size) + pointwise(x, size)
        case BilinearUpsample():
            # A weighted sum of neighbours is linear: nothing is kept.
            return pointwise(result, size)
        case FoldPatches():
            # Both ways, and always float32: numbers change places.
            return pointwise(result, FLOAT32)
        case layers.Conv2D():
            # Stem and head; the head is float32 under every policy.
            return conv(x, result, layer.kernel_size[0], FLOAT32 if layer.name == "head" else size)
        case layers.Dense():
            return dense(x, result, size) + pointwise(result, size, keeps=result)
        case layers.GroupNormalization():
            return norm(x, size)
        case layers.MaxPooling2D():
            return pointwise(x, size, keeps=x)
        case layers.Concatenate():
            return pointwise(result, size)
        case _:
            return pointwise(result, size, keeps=result)


def _bytes(size, *shapes):
    return size * sum(math.prod(shape) for shape in shapes if shape)


def conv(x, h, side, size, keeps=None) -> Cost:
    """Price a convolution with a window of side x side pixels; it keeps its input."""
    kernel = (side, side, x[-1], h[-1])
    return Cost(
        flops=2 * math.prod(h[:-1]) * math.prod(kernel),
        moved=_bytes(size, x, kernel, h),
        kept=_bytes(size, x if keeps is None else keeps),
        workspace=_bytes(size, x, h),  # the gradients of both
    )


def dense(x, h, size) -> Cost:
    """Price a dense layer: a convolution that sees one pixel."""
    return conv(x, h, 1, size)


def norm(x, size) -> Cost:
    """Price a group norm: read for the moments and again for the result; computed in float32, and so it keeps it."""
    return Cost(moved=3 * _bytes(size, x), kept=_bytes(FLOAT32, x), workspace=2 * _bytes(FLOAT32, x))


def pointwise(h, size, keeps=()) -> Cost:
    """Price an operation that takes every number by itself."""
    return Cost(moved=2 * _bytes(size, h), kept=_bytes(size, keeps), workspace=2 * _bytes(size, h))


def plain_attention(mixed, heads, size) -> Cost:
    """Price Keras's attention on TensorFlow, which keeps the weights of all pairs of pixels in float32.

    Under mixed precision it keeps them once more in halves, so that halves save nothing here.
    """
    scores, products = _scores(mixed, heads)
    return Cost(
        flops=products,
        moved=_bytes(size, *4 * [mixed]) + _score_traffic(scores, size),
        kept=_bytes(size, *3 * [mixed]) + _bytes(FLOAT32, scores) + (size < FLOAT32) * _bytes(size, scores),
        # The gradients of weights and scores, and one tensor of their size between them.
        workspace=3 * _bytes(FLOAT32, scores),
    )


def single_attention(mixed, heads, size) -> Cost:
    """Price `ddpm_lib.attention`: the scores of one head of one image at a time, and again on the way back.

    The few scores of up to 8x8 pixels, which it does keep, are left out.
    """
    scores, products = _scores(mixed, heads)
    single = scores[2:]
    return Cost(
        flops=products,
        moved=_bytes(size, *4 * [mixed]) + _score_traffic(scores, size),
        kept=_bytes(size, *4 * [mixed]),  # queries, keys, values, result
        # The loop takes five tensors apart and fills three lists with gradients, copies all, beside the gradient that
        # came in; and it holds scores, weights and their gradients of the iterations that run at the same time.
        workspace=_bytes(size, *9 * [mixed]) + PARALLEL_ITERATIONS * 4 * _bytes(FLOAT32, single),
        flops_again=products // 2,
        moved_again=_score_traffic(scores, size) // 2,
    )


def fused_attention(mixed, heads, size) -> Cost:
    """Price attention in one operation, which writes no scores to memory."""
    _, products = _scores(mixed, heads)
    kept = _bytes(size, *3 * [mixed])
    return Cost(products, kept + _bytes(size, mixed), kept, 4 * _bytes(size, mixed), flops_again=products // 2)


ATTENTIONS = {"plain": plain_attention, "singly": single_attention, "fused": fused_attention}


def _scores(mixed, heads):
    """Shape of the scores, and FLOPs of the two products: queries with keys, weights with values."""
    batch, height, width, dim = mixed
    tokens = height * width
    return (batch, heads, tokens, tokens), 2 * 2 * batch * tokens * tokens * dim


def _score_traffic(scores, size):
    """Bytes for writing the scores, reading and writing them in the softmax, and reading the weights."""
    return _bytes(FLOAT32, *3 * [scores]) + _bytes(size, scores)
