"""Softmax attention that, on TensorFlow, never holds all the scores of a large image at once.

The scores of one layer over 32x32 pixels with 8 heads take 8 * 1024^2 numbers an image: 512 MiB in float32 for a batch
of 16, and the backward pass wants them again. Where the backend has no attention of its own, it is done for one head of
one image after the other, 4 MiB of scores each, and the backward pass computes them a second time. The loop is the
backend's own: an unrolled one would let TensorFlow start on all its parts at once, and hold the scores of all of them.
"""

from __future__ import annotations

from keras import ops

from ddpm_lib.hardware import has_fused_attention

# 8x8 pixels: up to here the scores of one head take 16 KiB or less, and a loop would cost more than it saves.
FEW_TOKENS = 64


def attend(query, key, value):
    """Return softmax(Q K^T / sqrt(d)) V for every head.

    Vaswani et al. (2017), Eq. 1. The softmax is float32 under every precision policy.

    Args:
        query: (B, tokens, heads, d).
        key: (B, tokens, heads, d).
        value: (B, tokens, heads, d).

    Returns:
        (B, tokens, heads, d).
    """
    if has_fused_attention():
        return ops.dot_product_attention(query, key, value)
    _, tokens, heads, width = query.shape
    query, key, value = (ops.transpose(x, (0, 2, 1, 3)) for x in (query, key, value))
    if tokens <= FEW_TOKENS:
        mixed = ops.matmul(_weights(query, key), value)
    else:
        singles = [ops.reshape(x, (-1, tokens, width)) for x in (query, key, value)]
        mixed = ops.reshape(_attend_singly(*singles), (-1, heads, tokens, width))
    return ops.transpose(mixed, (0, 2, 1, 3))


def _weights(query, key):
    """Softmax over the keys, (..., queries, keys), in the dtype of the query."""
    # Scaled first: in float16 the products themselves could overflow.
    scores = ops.cast(ops.matmul(query * query.shape[-1] ** -0.5, ops.swapaxes(key, -2, -1)), "float32")
    return ops.cast(ops.softmax(scores, axis=-1), query.dtype)


@ops.custom_gradient
def _attend_singly(query, key, value):
    """Attention over (B * heads, tokens, d), with a backward pass that recomputes the weights."""

    def forward(arguments):
        query, key, value = arguments
        return ops.matmul(_weights(query, key), value)

    def backward(arguments):
        query, key, value, mixed, d_mixed = arguments
        scale = query.shape[-1] ** -0.5
        weights = _weights(query, key)
        d_weights = ops.cast(ops.matmul(d_mixed, ops.transpose(value)), "float32")
        # The softmax's backward pass needs sum_k weight_k d_weight_k, which is d_mixed . mixed (Dao et al., 2022).
        row_sums = ops.sum(ops.cast(d_mixed * mixed, "float32"), axis=-1, keepdims=True)
        d_scores = ops.cast(ops.cast(weights, "float32") * (d_weights - row_sums), query.dtype)
        d_query = ops.matmul(d_scores, key) * scale
        d_key = ops.matmul(ops.transpose(d_scores), query * scale)
        return d_query, d_key, ops.matmul(ops.transpose(weights), d_mixed)

    mixed = ops.map(forward, (query, key, value))

    def gradient(d_mixed):
        return ops.map(backward, (query, key, value, mixed, d_mixed))

    return mixed, gradient
