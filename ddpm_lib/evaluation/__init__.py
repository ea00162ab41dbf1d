"""Looking at what a model has learned, and measuring it."""

from ddpm_lib.evaluation.likelihood import (
    BoundTerms,
    bits_per_dimension,
    bound_terms,
    bound_weights,
    discretized_log_likelihood,
    reverse_variances,
)
from ddpm_lib.evaluation.looking import nearest_images, slerp, split_scales

__all__ = [
    "BoundTerms",
    "bits_per_dimension",
    "bound_terms",
    "bound_weights",
    "discretized_log_likelihood",
    "nearest_images",
    "reverse_variances",
    "slerp",
    "split_scales",
]
