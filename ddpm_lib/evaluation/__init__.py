"""Looking at what a model has learned, and measuring it."""

from ddpm_lib.evaluation.looking import nearest_images, slerp, split_scales

__all__ = ["nearest_images", "slerp", "split_scales"]
