"""Softmax attention that never holds all its scores at once.

The scores of one layer over 32x32 pixels with 8 heads take 8 * 1024^2 numbers an image: 512 MiB in float32 for a batch
of 16, and the backward pass wants them again. Where the backend has no fused attention, the queries are taken in chunks
and the backward pass computes each chunk's scores a second time, so only one chunk's scores exist at any moment.
"""

from __future__ import annotations

from keras import ops

from ddpm_lib.hardware import has_fused_attention

QUERIES_PER_CHUNK = 128


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
    heads_first = [ops.transpose(x, (0, 2, 1, 3)) for x in (query, key, value)]
    return ops.transpose(_attend_in_chunks(*heads_first), (0, 2, 1, 3))


def _chunks(num_tokens):
    return [slice(first, first + QUERIES_PER_CHUNK) for first in range(0, num_tokens, QUERIES_PER_CHUNK)]


def _weights(query, key_transposed):
    """Softmax over the keys, (B, heads, queries, keys), in the dtype of the query."""
    scores = ops.cast(ops.matmul(query, key_transposed), "float32")
    return ops.cast(ops.softmax(scores, axis=-1), query.dtype)


@ops.custom_gradient
def _attend_in_chunks(query, key, value):
    """Attention over (B, heads, tokens, d), with a backward pass that recomputes the weights."""
    scale = query.shape[-1] ** -0.5
    chunks = _chunks(query.shape[2])
    scaled_query = query * scale
    key_transposed = ops.swapaxes(key, 2, 3)
    mixed = ops.concatenate(
        [ops.matmul(_weights(scaled_query[:, :, part], key_transposed), value) for part in chunks], axis=2
    )

    def gradient(*arguments, upstream=None):
        d_mixed = arguments[0] if upstream is None else upstream
        value_transposed = ops.swapaxes(value, 2, 3)
        # The softmax's backward pass needs sum_k weight_k d_weight_k, which is d_mixed . mixed (Dao et al., 2022).
        row_sums = ops.sum(ops.cast(d_mixed * mixed, "float32"), axis=-1, keepdims=True)
        d_query, d_key, d_value = [], 0.0, 0.0
        for part in chunks:
            weights = _weights(scaled_query[:, :, part], key_transposed)
            d_weights = ops.cast(ops.matmul(d_mixed[:, :, part], value_transposed), "float32")
            d_scores = ops.cast(weights, "float32") * (d_weights - row_sums[:, :, part])
            d_scores = ops.cast(d_scores, query.dtype)
            d_query.append(ops.matmul(d_scores, key) * scale)
            d_key += ops.matmul(ops.swapaxes(d_scores, 2, 3), scaled_query[:, :, part])
            d_value += ops.matmul(ops.swapaxes(weights, 2, 3), d_mixed[:, :, part])
        return ops.concatenate(d_query, axis=2), d_key, d_value

    return mixed, gradient
