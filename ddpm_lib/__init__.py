"""Denoising diffusion probabilistic models, derived and built: the library behind the course."""

import os

# Before TensorFlow is imported. On a processor without AVX-512 it leaves oneDNN's kernels off, and a training step
# takes more than twice as long.
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")

__version__ = "0.2.0.dev0"


def load(path):
    """Load a trained model for sampling, from a file or by its name ("digits"); see `ddpm_lib.checkpoints.load`."""
    # Imported late, so that `ddpm_lib.schedules` and the explorers need no deep-learning framework.
    from ddpm_lib.checkpoints import load as load_checkpoint

    return load_checkpoint(path)
