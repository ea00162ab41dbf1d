"""The noise-predicting U-Net: its layers, and `build_unet`, which puts them together."""

from __future__ import annotations

import functools

import keras
import numpy as np
from keras import layers, ops

from ddpm_lib.attention import attend
from ddpm_lib.config import InputError, UNetConfig

register = keras.saving.register_keras_serializable(package="ddpm_lib")

GROUP_NORM_EPSILON = 1e-5
# Of every convolution. Keras would take the order of axes from the user's keras.json.
SAME = {"padding": "same", "data_format": "channels_last"}


@register
class SinusoidalEmbedding(layers.Layer):
    """Encode a step index as sines and cosines of geometrically falling frequencies.

    Vaswani et al. (2017), section 3.5: entries 2i and 2i+1 are sin and cos of t / 10000^(2i/dim). Ho et al. (2020)
    put all sines before all cosines and divide by a slightly different power.

    Always float32: in bfloat16 the indices 998 and 999 would both be read as 1000.

    Args:
        dim: width of the code, even.
    """

    def __init__(self, dim: int, **kwargs):
        super().__init__(**{**kwargs, "dtype": "float32"})
        self.dim = dim

    def call(self, t):
        """Map t (B,) int32 to (B, dim) float32 in [-1, 1]."""
        frequencies = 10000.0 ** (-np.arange(0, self.dim, 2) / self.dim)
        angles = ops.cast(t, "float32")[:, None] * ops.convert_to_tensor(frequencies, dtype="float32")
        return ops.reshape(ops.stack([ops.sin(angles), ops.cos(angles)], axis=-1), (-1, self.dim))

    def get_config(self):
        """Return the arguments of the constructor."""
        return {**super().get_config(), "dim": self.dim}


@register
class ResBlock(layers.Layer):
    """Two normalized 3x3 convolutions around a shortcut, told the noise level between them.

    GroupNorm - SiLU - Conv - AdaGN(time) - SiLU - Conv, added to the input. AdaGN is `norm(h) * (1 + scale) + shift`
    with scale and shift read from the time embedding (Dhariwal and Nichol, 2021, section 3). The second convolution
    starts at zero, so that a new block passes its input through.

    Args:
        width: channels of the result; a 1x1 convolution fits the shortcut where the input has another number.
        groups: of both norms.
        dropout: share of features dropped before the second convolution.
        rematerialize: keep the inputs alone, and compute the rest again in the backward pass.
    """

    def __init__(self, width: int, groups: int = 2, dropout: float = 0.0, rematerialize: bool = False, **kwargs):
        super().__init__(**kwargs)
        self.width, self.groups, self.dropout_rate, self.rematerialize = width, groups, dropout, rematerialize
        dtype = self.dtype_policy
        self.norm_1 = layers.GroupNormalization(groups, epsilon=GROUP_NORM_EPSILON, dtype=dtype, name="norm_1")
        self.conv_1 = layers.Conv2D(width, 3, **SAME, dtype=dtype, name="conv_1")
        self.scale_and_shift = layers.Dense(2 * width, dtype=dtype, name="scale_and_shift")
        # AdaGN brings its own scale and shift.
        self.norm_2 = layers.GroupNormalization(
            groups, epsilon=GROUP_NORM_EPSILON, scale=False, center=False, dtype=dtype, name="norm_2"
        )
        self.dropout = layers.Dropout(dropout, dtype=dtype, name="dropout")
        self.conv_2 = layers.Conv2D(width, 3, **SAME, kernel_initializer="zeros", dtype=dtype, name="conv_2")
        self.shortcut = None

    def build(self, x_shape, time_shape):
        """Create the weights for x (B, H, W, C) and a time embedding (B, D)."""
        hidden = (*x_shape[:-1], self.width)
        self.norm_1.build(x_shape)
        self.conv_1.build(x_shape)
        self.scale_and_shift.build(time_shape)
        self.norm_2.build(hidden)
        self.conv_2.build(hidden)
        if x_shape[-1] != self.width:
            self.shortcut = layers.Conv2D(self.width, 1, **SAME, dtype=self.dtype_policy, name="shortcut")
            self.shortcut.build(x_shape)

    def call(self, x, time, training=False):
        """Map x (B, H, W, C) and the activated time embedding (B, D) to (B, H, W, width)."""
        compute = functools.partial(self._compute, training=training)
        return keras.remat(compute)(x, time) if self.rematerialize and training else compute(x, time)

    def _compute(self, x, time, training):
        h = self.conv_1(ops.silu(self.norm_1(x)))
        scale, shift = ops.split(self.scale_and_shift(time)[:, None, None, :], 2, axis=-1)
        h = self.norm_2(h) * (1 + scale) + shift
        h = self.conv_2(self.dropout(ops.silu(h), training=training))
        return h + (x if self.shortcut is None else self.shortcut(x))

    def get_config(self):
        """Return the arguments of the constructor."""
        own = {"width": self.width, "groups": self.groups, "dropout": self.dropout_rate}
        return {**super().get_config(), **own, "rematerialize": self.rematerialize}


@register
class SelfAttention(layers.Layer):
    """Let every pixel read from every other: multi-head attention over H x W positions, added to the input.

    Vaswani et al. (2017), section 3.2. The output projection starts at zero, so that a new layer changes nothing.

    Args:
        heads: number of heads.
        dim: width over all heads together; each has dim / heads.
        groups: of the norm in front.
    """

    def __init__(self, heads: int, dim: int, groups: int = 2, **kwargs):
        super().__init__(**kwargs)
        self.heads, self.dim, self.groups = heads, dim, groups
        dtype = self.dtype_policy
        self.norm = layers.GroupNormalization(groups, epsilon=GROUP_NORM_EPSILON, dtype=dtype, name="norm")
        self.query_key_value = layers.Dense(3 * dim, dtype=dtype, name="query_key_value")
        self.project = None

    def build(self, x_shape):
        """Create the weights for x (B, H, W, C)."""
        self.norm.build(x_shape)
        self.query_key_value.build(x_shape)
        self.project = layers.Dense(x_shape[-1], kernel_initializer="zeros", dtype=self.dtype_policy, name="project")
        self.project.build((*x_shape[:-1], self.dim))

    def call(self, x):
        """Map x (B, H, W, C) to the same shape."""
        _, height, width, _ = x.shape
        by_head = (-1, height * width, self.heads, self.dim // self.heads)
        qkv = ops.split(self.query_key_value(self.norm(x)), 3, axis=-1)
        query, key, value = (ops.reshape(part, by_head) for part in qkv)
        mixed = attend(query, key, value)
        # The residual is the input itself, not its normalized copy.
        return x + self.project(ops.reshape(mixed, (-1, height, width, self.dim)))

    def get_config(self):
        """Return the arguments of the constructor."""
        return {**super().get_config(), "heads": self.heads, "dim": self.dim, "groups": self.groups}


@register
class BilinearUpsample(layers.Layer):
    """Double height and width by bilinear interpolation, pixel centres half a pixel apart.

    Every new pixel is 3/4 its nearer and 1/4 its farther old neighbour along each axis, so two weighted sums an axis do
    it. The resize operation gives the same numbers, but its gradient does not compile with XLA under mixed precision.
    """

    def call(self, x):
        """Map (B, H, W, C) to (B, 2H, 2W, C)."""
        _, height, width, channels = x.shape
        before = ops.concatenate([x[:, :1], x[:, :-1]], axis=1)
        after = ops.concatenate([x[:, 1:], x[:, -1:]], axis=1)
        x = ops.stack([0.75 * x + 0.25 * before, 0.75 * x + 0.25 * after], axis=2)
        x = ops.reshape(x, (-1, 2 * height, width, channels))
        before = ops.concatenate([x[:, :, :1], x[:, :, :-1]], axis=2)
        after = ops.concatenate([x[:, :, 1:], x[:, :, -1:]], axis=2)
        x = ops.stack([0.75 * x + 0.25 * before, 0.75 * x + 0.25 * after], axis=3)
        return ops.reshape(x, (-1, 2 * height, 2 * width, channels))


@register
class FoldPatches(layers.Layer):
    """Fold squares of pixels into channels, row by row (space to depth); `UnfoldPatches` is the way back.

    Most of a U-Net's work is done at full resolution. Folding 2x2 pixels quarters it, and loses nothing.

    Args:
        patch: height and width of a square in pixels.
    """

    def __init__(self, patch: int, **kwargs):
        super().__init__(**kwargs)
        self.patch = patch

    def call(self, x):
        """Map (B, H, W, C) to (B, H / patch, W / patch, patch * patch * C)."""
        _, height, width, channels = x.shape
        rows, columns = height // self.patch, width // self.patch
        x = ops.reshape(x, (-1, rows, self.patch, columns, self.patch, channels))
        return ops.reshape(ops.transpose(x, (0, 1, 3, 2, 4, 5)), (-1, rows, columns, self.patch**2 * channels))

    def get_config(self):
        """Return the arguments of the constructor."""
        return {**super().get_config(), "patch": self.patch}


@register
class UnfoldPatches(FoldPatches):
    """Unfold channels into squares of pixels (depth to space), the inverse of `FoldPatches`."""

    def call(self, x):
        """Map (B, H, W, patch * patch * C) to (B, H * patch, W * patch, C)."""
        _, rows, columns, channels = x.shape
        channels //= self.patch**2
        x = ops.reshape(x, (-1, rows, columns, self.patch, self.patch, channels))
        shape = (-1, rows * self.patch, columns * self.patch, channels)
        return ops.reshape(ops.transpose(x, (0, 1, 3, 2, 4, 5)), shape)


def build_unet(config: UNetConfig, dtype: str | None = None, rematerialize: bool = False) -> keras.Model:
    """Build the network that is shown x_t and t, and predicts the noise in x_t, or another image of its size.

    Ronneberger et al. (2015) for the shape, Ho et al. (2020), appendix B, for its use here.

    Args:
        config: the shape.
        dtype: a Keras precision policy such as "float32" or "mixed_bfloat16"; the global one by default. Inputs, time
            embedding, the last convolution and the result are float32 under every policy.
        rematerialize: in training, ResBlocks keep their inputs alone, and are computed again in the backward pass.

    Returns:
        A model of [x_t (B, H, W, C) float32, t (B,) int32] whose result (B, H, W, C) float32 is zero at first.

    Raises:
        InputError: rematerialization is asked for with dropout, or of a Keras that has none.
    """
    if rematerialize and config.dropout:
        raise InputError("dropout would drop other features the second time: rematerialize with dropout 0 only")
    if rematerialize and not hasattr(keras, "remat"):
        raise InputError(f"rematerialization needs Keras 3.9 or newer, this is {keras.__version__}")
    x_t = keras.Input((config.image_size, config.image_size, config.channels), dtype="float32", name="x_t")
    t = keras.Input((), dtype="int32", name="t")

    def res_block(x, width, name):
        return ResBlock(width, config.groups, config.dropout, rematerialize, dtype=dtype, name=name)(x, time)

    def attention(x, name):
        return SelfAttention(config.heads, config.attention_dim, config.groups, dtype=dtype, name=name)(x)

    time = SinusoidalEmbedding(config.time_dim, name="time_sinusoid")(t)
    time = layers.Dense(config.time_dim, activation="silu", dtype=dtype, name="time_dense_1")(time)
    # Every block wants the activated embedding, so it is activated once, here.
    time = layers.Dense(config.time_dim, activation="silu", dtype=dtype, name="time_dense_2")(time)

    # Down: blocks, attention where asked for, a skip for each level, and half the size after all but the last.
    x = FoldPatches(config.patch, dtype="float32", name="fold")(x_t) if config.patch > 1 else x_t
    x = layers.Conv2D(config.widths[0], 3, **SAME, dtype=dtype, name="stem")(x)
    size = config.image_size // config.patch
    skips = []
    for level, width in enumerate(config.widths):
        for block in range(config.blocks_per_level):
            x = res_block(x, width, f"down_{size}_block_{block + 1}")
        if size in config.attention_resolutions:
            x = attention(x, f"down_{size}_attention")
        skips.append(x)
        if level < len(config.widths) - 1:
            x = layers.MaxPooling2D(2, data_format="channels_last", dtype=dtype, name=f"down_{size}_pool")(x)
            size //= 2

    x = res_block(x, config.widths[-1], "middle_block_1")
    x = attention(x, "middle_attention")
    x = res_block(x, config.widths[-1], "middle_block_2")

    # Up: each level ends at the width of the next finer one, so its upsampled result meets a skip of its own width.
    for level in reversed(range(len(config.widths))):
        x = layers.Concatenate(dtype=dtype, name=f"up_{size}_skip")([x, skips.pop()])
        for block in range(config.blocks_per_level):
            is_last = block == config.blocks_per_level - 1
            width = config.widths[max(level - 1, 0)] if is_last else config.widths[level]
            x = res_block(x, width, f"up_{size}_block_{block + 1}")
        if size in config.attention_resolutions:
            x = attention(x, f"up_{size}_attention")
        if level > 0:
            x = BilinearUpsample(dtype=dtype, name=f"up_{size}_upsample")(x)
            size *= 2
    assert not skips

    x = layers.GroupNormalization(config.groups, epsilon=GROUP_NORM_EPSILON, dtype=dtype, name="head_norm")(x)
    head = {**SAME, "kernel_initializer": "zeros", "dtype": "float32", "name": "head"}
    x = layers.Conv2D(config.patch**2 * config.channels, 3, **head)(ops.silu(x))
    if config.patch > 1:
        x = UnfoldPatches(config.patch, dtype="float32", name="unfold")(x)
    return keras.Model([x_t, t], x, name="unet")
