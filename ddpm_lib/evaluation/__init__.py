"""Looking at what a model has learned, and measuring it."""

from ddpm_lib.evaluation.distances import frechet_distance, precision_recall
from ddpm_lib.evaluation.faces import FaceNetworks
from ddpm_lib.evaluation.features import DEFAULT_FEATURES, FEATURES, DigitNetwork, Inception, feature_network
from ddpm_lib.evaluation.judging import check_counts, check_faces, judge, table
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
    "DEFAULT_FEATURES",
    "FEATURES",
    "BoundTerms",
    "DigitNetwork",
    "FaceNetworks",
    "Inception",
    "bits_per_dimension",
    "bound_terms",
    "bound_weights",
    "check_counts",
    "check_faces",
    "discretized_log_likelihood",
    "feature_network",
    "frechet_distance",
    "judge",
    "nearest_images",
    "precision_recall",
    "reverse_variances",
    "slerp",
    "split_scales",
    "table",
]
